//! Pure: a history in, a verdict out. No IO, no clock, no globals.
//!
//! A [`History`] is what was seen from outside: every call with the interval in which it ran and how it
//! ended, and every fault with the evidence that it took effect. A [`Checker`] turns it into a [`Verdict`]
//! within a [`Budget`].

mod coverage;
mod explain;
pub mod history;
pub mod linear;
mod linearizable;
pub mod model;
pub mod plan;
mod reduce;
mod replay;
mod stats;
pub mod unique;
pub mod verdict;

pub use coverage::Coverage;
pub use history::{Event, EventKind, FaultRecord, History, Op, OpEnd, Process};
pub use linearizable::{Linearizable, check_key};
pub use replay::replay;
pub use stats::{Counts, FaultCounts, Stats};
pub use verdict::{Anomaly, Verdict};

/// How much a checker may spend before it has to answer [`Verdict::Unknown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Most search states one partition (key) may visit.
    pub states_max: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { states_max: 20_000_000 }
    }
}

/// Judges a history.
pub trait Checker {
    /// Short name under which the verdict is filed, e.g. `linearizable`.
    fn name(&self) -> &'static str;

    /// The verdict on `history`; never panics on a well-formed history, never runs past `budget`.
    fn check(&self, history: &History, budget: &Budget) -> Verdict;
}
