//! How the runs of each cell ended.

use std::collections::{BTreeMap, BTreeSet};

use checker::Verdict;

use super::{Measure, Sample};
use crate::stats::{Interval, share, spread};
use crate::summary::{Liveness, RunSummary};

/// How one run ended, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A promise was broken.
    Violated,
    /// The harness failed: no verdict.
    Failed,
    /// No violation seen, but not live again in time.
    NotLive,
    /// Nobody can say.
    Unknown,
    /// Every promise was kept.
    Kept,
}

impl End {
    /// All, the worst first.
    pub const ALL: [End; 5] = [End::Violated, End::Failed, End::NotLive, End::Unknown, End::Kept];

    /// Of a summary.
    pub fn of(summary: &RunSummary) -> End {
        match (&summary.verdict, &summary.liveness, &summary.error) {
            (Verdict::Invalid { .. }, ..) => End::Violated,
            (_, Liveness::NotLive { .. }, _) => End::NotLive,
            (_, _, Some(_)) => End::Failed,
            (Verdict::Unknown { .. }, ..) => End::Unknown,
            (Verdict::Valid, ..) => End::Kept,
        }
    }

    /// One or two words.
    pub fn word(self) -> &'static str {
        match self {
            End::Violated => "invalid",
            End::Failed => "harness failed",
            End::NotLive => "not live",
            End::Unknown => "unknown",
            End::Kept => "valid",
        }
    }

    /// Tells it apart without colour.
    pub fn sign(self) -> &'static str {
        match self {
            End::Violated => "✗",
            End::Failed => "!",
            End::NotLive => "◦",
            End::Unknown => "?",
            End::Kept => "✓",
        }
    }

    /// For class names.
    pub fn mood(self) -> &'static str {
        match self {
            End::Violated | End::NotLive => "bad",
            End::Failed | End::Unknown => "doubt",
            End::Kept => "good",
        }
    }
}

/// The runs of one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell<'a> {
    /// Its group.
    pub group: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its runs with their ends, in the order given.
    pub runs: Vec<(&'a Sample, End)>,
    /// Names of the anomalies found, with the number of runs that showed each.
    pub anomalies: Vec<(String, u64)>,
    /// Median time from fault to first acknowledged write, nanoseconds, and how many failovers were timed.
    pub median_ns: Option<f64>,
    /// How many failovers that is of.
    pub timed: usize,
}

impl Cell<'_> {
    /// How many runs ended so.
    pub fn count(&self, end: End) -> u64 {
        self.runs.iter().filter(|(_, of)| *of == end).count() as u64
    }

    /// Share of its runs that broke a promise, at 95 %, of those that could tell: a run in which the harness failed
    /// says nothing.
    pub fn violated(&self) -> Option<Interval> {
        share::wilson(self.count(End::Violated), self.judged())
    }

    /// Runs in which the harness did not fail.
    pub fn judged(&self) -> u64 {
        self.runs.len() as u64 - self.count(End::Failed)
    }
}

/// Cells by group and name.
pub fn cells(samples: &[Sample]) -> Vec<Cell<'_>> {
    let mut by_name: BTreeMap<(&str, &str), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        by_name.entry((&sample.group, &sample.cell)).or_default().push(sample);
    }
    by_name.into_iter().map(|((group, name), runs)| cell(group, name, runs)).collect()
}

fn cell<'a>(group: &'a str, name: &'a str, runs: Vec<&'a Sample>) -> Cell<'a> {
    let mut anomalies: BTreeMap<&str, u64> = BTreeMap::new();
    for run in &runs {
        if let Verdict::Invalid { anomalies: found } = &run.summary.verdict {
            let names: BTreeSet<&str> = found.iter().map(|anomaly| anomaly.name.as_str()).collect();
            names.into_iter().for_each(|name| *anomalies.entry(name).or_default() += 1);
        }
    }
    let mut totals: Vec<f64> = runs
        .iter()
        .flat_map(|run| &run.summary.failovers)
        .filter_map(|failover| Measure::Total.of(failover))
        .map(|ns| ns as f64)
        .collect();
    totals.sort_unstable_by(f64::total_cmp);
    Cell {
        group,
        name,
        runs: runs.into_iter().map(|run| (run, End::of(&run.summary))).collect(),
        anomalies: anomalies.into_iter().map(|(name, runs)| (name.to_owned(), runs)).collect(),
        median_ns: spread::median(&totals),
        timed: totals.len(),
    }
}
