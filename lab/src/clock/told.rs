//! What a process was told.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use super::Began;
use super::page::Report;

/// What a process was told since its clock was last changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// By the clocks that say what time of day it is.
    pub wall: ToldBy,
    /// By those that only count on.
    pub monotonic: ToldBy,
}

/// What clocks that run together have told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToldBy {
    /// Readings answered.
    pub reads: u64,
    /// Told less real at the last reading, nanoseconds; 0 without one.
    pub last_ns: i64,
    /// The least of it, nanoseconds; 0 without a reading.
    pub least_ns: i64,
    /// The most of it, nanoseconds; 0 without a reading.
    pub most_ns: i64,
    /// Told seconds in a real one, from the change to the last reading; `None` where they are too close.
    pub pace: Option<f64>,
}

/// Real time that must have passed before a pace means anything, nanoseconds.
const PACE_NEEDS_NS: i64 = 10_000_000;

/// What a report says since `began`.
pub(super) fn of(report: &Report, began: Began) -> ToldBy {
    let reads = report.reads.load(Relaxed).saturating_sub(began.reads);
    let (real, last_ns) = (report.last_real.load(Relaxed), report.last_offset.load(Relaxed));
    let (least_ns, most_ns) = (report.least.load(Relaxed), report.most.load(Relaxed));
    if reads == 0 || real == 0 || least_ns > most_ns {
        return ToldBy { reads: 0, last_ns: 0, least_ns: 0, most_ns: 0, pace: None };
    }
    let elapsed = real - began.real_ns;
    let gained = last_ns - began.offset_ns;
    let pace = (elapsed >= PACE_NEEDS_NS).then(|| 1.0 + gained as f64 / elapsed as f64);
    ToldBy { reads, last_ns, least_ns, most_ns, pace }
}

impl fmt::Display for ToldBy {
    /// As evidence reads: `+4.000 s (132 readings)`, `+0.000 to +4.000 s (132 readings)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reads == 0 {
            return f.write_str("not asked");
        }
        let seconds = |ns: i64| format!("{:+.3}", (ns as f64 / 1e9) + 0.0);
        let (least, most) = (seconds(self.least_ns), seconds(self.most_ns));
        let plural = if self.reads == 1 { "" } else { "s" };
        match least == most {
            true => write!(f, "{least} s ({} reading{plural})", self.reads),
            false => write!(f, "{least} to {most} s ({} reading{plural})", self.reads),
        }
    }
}
