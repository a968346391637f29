//! The page that the harness writes and the shim reads, and the arithmetic that both hold to.
//!
//! What a process is told is the real time plus a [`Line`] for each of two [`Domain`]s of clocks. The page carries
//! the lines one way and, the other way, a [`Report`] of what was told. All of it is atomic words: nobody waits.

use core::ffi::CStr;
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

use Ordering::{Acquire, Relaxed};

/// The variable that names the page's file to the shim.
pub const VARIABLE: &CStr = c"LAB_CLOCK_PAGE";
/// Bytes mapped.
pub const SIZE: usize = 4096;
/// Parts per billion in one.
pub const PPB: i64 = 1_000_000_000;
/// Nanoseconds in a second.
pub const SECOND: i64 = 1_000_000_000;

const MAGIC: u64 = u64::from_le_bytes(*b"labclk-1");

/// Clocks that run together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Those that say what time of day it is.
    Wall,
    /// Those that only count on.
    Monotonic,
}

/// How far from the real time the told one is, as a function of the real one.
///
/// Constant before the anchor; from then on it grows by the rate, and a strobe adds its share in every other period,
/// the first of them included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Real time from which it holds, nanoseconds.
    pub anchor: i64,
    /// Told less real at the anchor, nanoseconds.
    pub offset: i64,
    /// What is added to the real rate, parts per billion; more than -[`PPB`].
    pub rate: i64,
    /// What the strobe adds, nanoseconds.
    pub strobe: i64,
    /// Half a cycle of the strobe, nanoseconds; 0 without one.
    pub period: i64,
    /// Not 0: nothing is told that is less than what was told before.
    pub never_back: i64,
}

impl Line {
    /// True if what is told is the real time.
    pub fn is_straight(&self) -> bool {
        self.offset == 0 && self.rate == 0 && self.period == 0
    }

    /// Told less real at `real`.
    pub fn offset_at(&self, real: i64) -> i64 {
        let elapsed = (real - self.anchor).max(0);
        self.offset + scaled(elapsed, self.rate) + self.strobe_at(real)
    }

    /// When `told` will have been reached, as the line runs at the real time `now`.
    pub fn real_of(&self, told: i64, now: i64) -> i64 {
        let ahead = told.saturating_sub(self.offset + self.strobe_at(now)).saturating_sub(self.anchor);
        if ahead <= 0 {
            return self.anchor.saturating_add(ahead);
        }
        let pace = PPB + self.rate;
        let elapsed = (ahead / pace).saturating_mul(PPB).saturating_add(ahead % pace * PPB / pace);
        self.anchor.saturating_add(elapsed)
    }

    fn strobe_at(&self, real: i64) -> i64 {
        let elapsed = (real - self.anchor).max(0);
        if self.period > 0 && elapsed / self.period % 2 == 0 { self.strobe } else { 0 }
    }
}

/// `elapsed` times `ppb` billionths, in 64 bits.
fn scaled(elapsed: i64, ppb: i64) -> i64 {
    if ppb == 0 { 0 } else { elapsed / PPB * ppb + elapsed % PPB * ppb / PPB }
}

/// A line in shared memory.
#[repr(C)]
struct SharedLine([AtomicI64; 6]);

impl SharedLine {
    fn load(&self) -> Line {
        let [anchor, offset, rate, strobe, period, never_back] = &self.0;
        Line {
            anchor: anchor.load(Relaxed),
            offset: offset.load(Relaxed),
            rate: rate.load(Relaxed),
            strobe: strobe.load(Relaxed),
            period: period.load(Relaxed),
            never_back: never_back.load(Relaxed),
        }
    }
}

/// What a domain's clocks have told so far.
#[repr(C, align(64))]
pub struct Report {
    /// Readings answered.
    pub reads: AtomicU64,
    /// Real time of the last one, nanoseconds; 0 before the first since a change.
    pub last_real: AtomicI64,
    /// Told less real at the last one, nanoseconds.
    pub last_offset: AtomicI64,
    /// The least of told less real since a change.
    pub least: AtomicI64,
    /// The most of told less real since a change.
    pub most: AtomicI64,
    /// The latest time told where it must never go back.
    highest: AtomicI64,
}

impl Report {
    fn note(&self, real: i64, offset: i64) {
        self.reads.fetch_add(1, Relaxed);
        self.last_offset.store(offset, Relaxed);
        self.last_real.store(real, Relaxed);
        if offset < self.least.load(Relaxed) {
            self.least.fetch_min(offset, Relaxed);
        }
        if offset > self.most.load(Relaxed) {
            self.most.fetch_max(offset, Relaxed);
        }
    }
}

/// The page. All zero but for the magic number, it tells the real time.
#[repr(C, align(64))]
pub struct Page {
    magic: AtomicU64,
    /// Its last bit says which of the two sets of lines is in force; the other is for the next change, so that a
    /// writer who dies half-way leaves nobody waiting.
    generation: AtomicU64,
    /// How often the shim has been loaded with this page.
    pub attached: AtomicU64,
    lines: [[SharedLine; 2]; 2],
    reports: [Report; 2],
}

const _: () = assert!(size_of::<Page>() <= SIZE);

impl Page {
    /// True if it is a page of this form.
    pub fn is_begun(&self) -> bool {
        self.magic.load(Acquire) == MAGIC
    }

    /// The line of a domain now.
    pub fn line(&self, domain: Domain) -> Line {
        loop {
            let generation = self.generation.load(Acquire);
            let line = self.lines[(generation & 1) as usize][domain as usize].load();
            fence(Acquire);
            if self.generation.load(Relaxed) == generation {
                return line;
            }
        }
    }

    /// What a domain's clocks have told.
    pub fn report(&self, domain: Domain) -> &Report {
        &self.reports[domain as usize]
    }

    /// What the process is told at `real`.
    pub fn tell(&self, domain: Domain, real: i64) -> i64 {
        let line = self.line(domain);
        let report = self.report(domain);
        let mut told = real + line.offset_at(real);
        if line.never_back != 0 {
            told = told.max(report.highest.fetch_max(told, Relaxed));
        }
        report.note(real, told - real);
        told
    }
}

/// The harness's side.
#[cfg(not(clock_shim))]
mod writer {
    use super::*;
    use Ordering::{Release, SeqCst};

    impl SharedLine {
        fn store(&self, line: &Line) {
            let Line { anchor, offset, rate, strobe, period, never_back } = *line;
            for (word, value) in self.0.iter().zip([anchor, offset, rate, strobe, period, never_back]) {
                word.store(value, Relaxed);
            }
        }
    }

    impl Report {
        /// Begins a new measurement; the count of readings goes on.
        pub fn restart(&self) {
            self.last_real.store(0, Relaxed);
            self.least.store(i64::MAX, Relaxed);
            self.most.store(i64::MIN, Relaxed);
        }
    }

    impl Page {
        /// Makes a page of zeros a page.
        pub fn begin(&self) {
            self.reports.iter().for_each(Report::restart);
            self.magic.store(MAGIC, Release);
        }

        /// Puts a domain's line in force; the other domain's stays. One writer at a time.
        pub fn draw(&self, domain: Domain, line: &Line) {
            let generation = self.generation.load(Relaxed);
            let (now, next) =
                (&self.lines[(generation & 1) as usize], &self.lines[((generation + 1) & 1) as usize]);
            for (i, shared) in next.iter().enumerate() {
                shared.store(&if i == domain as usize { *line } else { now[i].load() });
            }
            self.generation.store(generation + 1, Release);
            fence(SeqCst);
        }
    }
}
