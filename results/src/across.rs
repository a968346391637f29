//! What is told across runs: how failover times are distributed per fault and variant, how often a cell broke its
//! promise, whether one set of runs is slower than another, and how it went from commit to commit. Pure, but for
//! [`collect`] and the writing of a [`page`].
//!
//! Failovers are the values of all statistics here. Those of one run share its machine and its moment; where runs differ
//! much from each other, intervals are wider in truth than they are told.

pub mod collect;
pub mod compare;
pub mod page;
pub mod series;
pub mod tally;
pub mod trend;

pub use self::collect::collect;
pub use self::compare::{Comparison, compare};
pub use self::series::{Measure, Series, Spread, series};
use crate::spec::RunSpec;
use crate::summary::RunSummary;

/// One run among others.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What belongs together in the table of cells: a heading.
    pub group: String,
    /// The cell of the campaign's matrix that the run repeats.
    pub cell: String,
    /// How it ended.
    pub summary: RunSummary,
    /// Name of its folder below `runs/` of the campaign; links lead there.
    pub folder: String,
}

/// What was run, in a few words: the variant, with what it leaves out, and the target where it is not the usual one.
pub fn variant_of(spec: &RunSpec) -> String {
    let mut name = match spec.target.as_str() {
        "zk-redis" => spec.variant.clone(),
        target => format!("{target} {}", spec.variant),
    };
    for without in spec.weaken.iter().chain(&spec.bug) {
        name.push_str(" −");
        name.push_str(without);
    }
    name
}
