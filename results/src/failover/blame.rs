//! Which failover lost a write, or let a stale read pass.
//!
//! # Rule
//! - The anomaly must be about a lost acknowledged change ([`LOST`]) or an outdated view ([`STALE`]). Of the
//!   operations that prove it, those count that went to a shard; the shard is that of most of them.
//! - Where they were answered in several epochs of the shard, the change of master lies between: it is the earliest
//!   failover whose epoch is later than the earliest of those, and not later than the latest.
//! - Else it is the failover under way: the latest of the shard that started before the last of them returned, if its
//!   last mark, and [`AFTERMATH_NS`] more, was not over before the first of them was called.
//! - What fits none is left over.

use std::collections::BTreeMap;

use checker::{Anomaly, History, Op, Verdict};

use super::{AFTERMATH_NS, Phase};
use crate::summary::Failover;

/// Anomalies that say that an acknowledged change is gone.
pub const LOST: [&str; 3] = ["lost-update", "lost-element", "lost-value"];

/// Anomalies that say that somebody was told what was out of date.
pub const STALE: [&str; 5] =
    ["stale-read", "false-empty", "false-mismatch", "read-your-writes", "monotonic-reads"];

/// Counts for every failover the acknowledged writes that it lost and the stale reads around it; 0 where the verdict
/// has none. Each anomaly counts once, however much its key has lost: so many at least. Returns how many such
/// anomalies fit no failover.
pub fn attribute(failovers: &mut [Failover], history: &History, verdict: &Verdict) -> u64 {
    for failover in failovers.iter_mut() {
        (failover.lost_writes, failover.stale_reads) = (Some(0), Some(0));
    }
    let Verdict::Invalid { anomalies } = verdict else { return 0 };
    let by_index: BTreeMap<u64, &Op> = match anomalies.is_empty() {
        true => BTreeMap::new(),
        false => history.ops.iter().map(|op| (op.index, op)).collect(),
    };
    let mut left_over = 0;
    for anomaly in anomalies {
        let lost = LOST.contains(&anomaly.name.as_str());
        if !lost && !STALE.contains(&anomaly.name.as_str()) {
            continue;
        }
        match blamed(failovers, anomaly, &by_index) {
            Some(i) if lost => failovers[i].lost_writes = failovers[i].lost_writes.map(|n| n + 1),
            Some(i) => failovers[i].stale_reads = failovers[i].stale_reads.map(|n| n + 1),
            None => left_over += 1,
        }
    }
    left_over
}

/// Which of the failovers it is.
fn blamed(failovers: &[Failover], anomaly: &Anomaly, by_index: &BTreeMap<u64, &Op>) -> Option<usize> {
    let ops: Vec<&Op> = anomaly.ops.iter().filter_map(|index| by_index.get(index).copied()).collect();
    let mut votes: BTreeMap<u32, usize> = BTreeMap::new();
    for shard in ops.iter().filter_map(|op| op.shard) {
        *votes.entry(shard).or_default() += 1;
    }
    let (&shard, _) = votes.iter().max_by_key(|&(&shard, &votes)| (votes, std::cmp::Reverse(shard)))?;
    let ops: Vec<&Op> = ops.into_iter().filter(|op| op.shard == Some(shard)).collect();
    let of_shard = || failovers.iter().enumerate().filter(|(_, failover)| failover.shard == shard);

    let epochs = || ops.iter().filter_map(|op| op.epoch);
    if let (Some(first), Some(last)) = (epochs().min(), epochs().max()) {
        let between = of_shard().filter(|(_, failover)| failover.epoch > first && failover.epoch <= last);
        if let Some((i, _)) = between.min_by_key(|(_, failover)| failover.epoch) {
            return Some(i);
        }
    }
    let called_ns = ops.iter().map(|op| op.call_ns).min()?;
    let returned_ns = ops.iter().map(|op| op.ret_ns.unwrap_or(op.call_ns)).max()?;
    let started = of_shard().filter(|(_, failover)| failover.start_ns().is_some_and(|ns| ns <= returned_ns));
    let (i, failover) = started.max_by_key(|(_, failover)| failover.start_ns())?;
    let over_ns = Phase::ALL.iter().filter_map(|&phase| failover.mark_ns(phase)).max()?;
    (over_ns.saturating_add(AFTERMATH_NS) >= called_ns).then_some(i)
}
