//! Failovers of many runs, per family of fault and variant, and what their lengths are like.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Sample, variant_of};
use crate::failover::{Phase, kind_of};
use crate::stats::Interval;
use crate::stats::spread::{median, quantile, quantile_interval};
use crate::summary::Failover;
use crate::units;

/// What is measured of a failover, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// From the fault to the first acknowledged write.
    Total,
    /// From the fault to the mark of a phase.
    Until(Phase),
    /// How long clients could not write.
    NoWrites,
    /// How long clients could not read.
    NoReads,
}

impl Measure {
    /// Of one failover; none where it was not seen.
    pub fn of(self, failover: &Failover) -> Option<u64> {
        match self {
            Measure::Total => failover.total_ns(),
            Measure::Until(phase) => failover.fault_ns.and_then(|_| failover.since_start_ns(phase)),
            Measure::NoWrites => failover.down.map(|down| down.writes_ns),
            Measure::NoReads => failover.down.map(|down| down.reads_ns),
        }
    }
}

/// Failovers with one kind of cause under one variant.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Family of the fault; `none` where no cause was found.
    pub family: String,
    /// See [`variant_of`].
    pub variant: String,
    /// They, in order of runs.
    pub failovers: Vec<Failover>,
    /// Runs they come from.
    pub runs: usize,
}

/// Every series there is, by family and variant. What no fault caused is left out: it has no time to count from.
pub fn series(samples: &[Sample]) -> Vec<Series> {
    let mut found: BTreeMap<(String, String), Series> = BTreeMap::new();
    for sample in samples {
        let summary = &sample.summary;
        let mut seen = Vec::new();
        for failover in &summary.failovers {
            let family = kind_of(failover, &summary.faults);
            if family == "none" {
                continue;
            }
            let key = (family.to_owned(), variant_of(&summary.spec));
            let (family, variant) = key.clone();
            let series = found.entry(key.clone()).or_insert_with(|| Series {
                family,
                variant,
                failovers: Vec::new(),
                runs: 0,
            });
            series.failovers.push(failover.clone());
            if !seen.contains(&key) {
                series.runs += 1;
                seen.push(key);
            }
        }
    }
    found.into_values().collect()
}

impl Series {
    /// What it is called: `kill · hardened`.
    pub fn name(&self) -> String {
        format!("{} · {}", self.family, self.variant)
    }

    /// Sorted lengths, nanoseconds.
    pub fn values(&self, measure: Measure) -> Vec<f64> {
        let mut values: Vec<f64> =
            self.failovers.iter().filter_map(|failover| measure.of(failover)).map(|ns| ns as f64).collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    }

    /// The same in numbers.
    pub fn spread(&self, measure: Measure) -> Spread {
        Spread::of(&self.values(measure))
    }
}

/// A quantile and its interval, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantile {
    /// Of the values seen; none where they are too few to speak of it.
    pub value_ns: Option<f64>,
    /// Of what they were drawn from, at 95 %; none where they are too few for one.
    pub interval_ns: Option<Interval>,
}

/// What lengths are like.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// How many.
    pub n: usize,
    /// Median.
    pub median: Quantile,
    /// Only of 20 values and more.
    pub p95: Quantile,
    /// Only of 100 values and more.
    pub p99: Quantile,
    /// Longest, nanoseconds.
    pub max_ns: Option<f64>,
}

impl Spread {
    /// Of sorted values, nanoseconds.
    pub fn of(sorted: &[f64]) -> Spread {
        let n = sorted.len();
        let quantile_of = |q: f64, least: usize| Quantile {
            value_ns: quantile(sorted, q).filter(|_| n >= least),
            interval_ns: quantile_interval(sorted, q),
        };
        Spread {
            n,
            median: Quantile { value_ns: median(sorted), interval_ns: quantile_interval(sorted, 0.5) },
            p95: quantile_of(0.95, 20),
            p99: quantile_of(0.99, 100),
            max_ns: sorted.last().copied(),
        }
    }

    /// `1.24 s (0.9–1.6 s)`, or why there is none: `n = 4: no p99`.
    pub fn told(&self, name: &str, quantile: Quantile) -> String {
        match (quantile.value_ns, quantile.interval_ns) {
            (Some(value), Some(interval)) => format!("{} ({})", ns(value), told_interval(interval)),
            (Some(value), None) => ns(value),
            (None, _) if self.n == 0 => crate::table::UNSEEN.to_owned(),
            (None, _) => format!("n = {}: no {name}", self.n),
        }
    }
}

/// Nanoseconds as people read them.
pub fn ns(value: f64) -> String {
    if value < 0.5 { "0".to_owned() } else { units::duration(value.round() as u64) }
}

/// From one end to the other.
pub fn told_interval(interval: Interval) -> String {
    format!("{}–{}", ns(interval.low), ns(interval.high))
}
