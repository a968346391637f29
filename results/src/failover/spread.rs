//! Lengths of failovers, sorted, and by what caused them.

use std::collections::BTreeMap;

use checker::FaultRecord;

use crate::summary::Failover;

/// Sorted lengths, and what is asked of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    sorted_ns: Vec<u64>,
}

impl FromIterator<u64> for Distribution {
    fn from_iter<I: IntoIterator<Item = u64>>(lengths: I) -> Self {
        let mut sorted_ns: Vec<u64> = lengths.into_iter().collect();
        sorted_ns.sort_unstable();
        Distribution { sorted_ns }
    }
}

impl Distribution {
    /// The lengths, shortest first.
    pub fn sorted_ns(&self) -> &[u64] {
        &self.sorted_ns
    }

    /// Smallest length that at least a share `q` (0 to 1) of all lengths do not exceed (nearest rank).
    pub fn quantile_ns(&self, q: f64) -> Option<u64> {
        // Less than the hair's breadth by which 14/25 of 25 exceeds 14.
        let rank = (q.clamp(0.0, 1.0) * self.sorted_ns.len() as f64 - 1e-9).ceil() as usize;
        self.sorted_ns.get(rank.saturating_sub(1)).copied()
    }

    /// The longest.
    pub fn max_ns(&self) -> Option<u64> {
        self.sorted_ns.last().copied()
    }

    /// Empirical distribution: for each distinct length, the share of lengths that do not exceed it.
    pub fn cdf(&self) -> Vec<(u64, f64)> {
        let n = self.sorted_ns.len() as f64;
        let mut steps: Vec<(u64, f64)> = Vec::new();
        for (i, &length) in self.sorted_ns.iter().enumerate() {
            let share = (i + 1) as f64 / n;
            match steps.last_mut() {
                Some(step) if step.0 == length => step.1 = share,
                _ => steps.push((length, share)),
            }
        }
        steps
    }
}

/// Lengths by family of the fault that caused them (`none` where no cause was found), in order of name.
/// `length` picks what is measured: [`Failover::total_ns`], or one phase.
pub fn by_kind(
    failovers: &[Failover],
    faults: &[FaultRecord],
    length: impl Fn(&Failover) -> Option<u64>,
) -> Vec<(String, Distribution)> {
    let mut kinds: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for failover in failovers {
        if let Some(ns) = length(failover) {
            kinds.entry(kind_of(failover, faults)).or_default().push(ns);
        }
    }
    kinds.into_iter().map(|(kind, lengths)| (kind.to_owned(), lengths.into_iter().collect())).collect()
}

/// Family of the fault that caused a failover, or `none`.
pub fn kind_of<'a>(failover: &Failover, faults: &'a [FaultRecord]) -> &'a str {
    let cause = faults.iter().find(|fault| Some(fault.id) == failover.fault);
    cause.map_or("none", |fault| fault.kind.as_str())
}
