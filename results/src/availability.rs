//! When each shard took writes, and when it answered reads, seen from outside. Pure.

use std::collections::BTreeMap;

use checker::{History, Op, OpEnd};
use serde::{Deserialize, Serialize};

use crate::failover::{is_answered, is_write};

/// What clients ask a shard for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    /// Changes.
    Writes,
    /// Looks.
    Reads,
}

impl Ask {
    fn is_of(self, op: &Op) -> bool {
        is_write(op) == (self == Ask::Writes)
    }
}

/// A time in which a shard was asked and did not answer; a line of the summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Shard.
    pub shard: u32,
    /// What was asked for.
    pub ask: Ask,
    /// Last answer before it, or the start of the load.
    pub from_ns: u64,
    /// First answer after it, or the end of the load.
    pub to_ns: u64,
}

/// Shortest time without an acknowledged write that counts as an outage where nothing else is asked: 250 ms.
pub const GAP_NS_MIN: u64 = 250_000_000;

/// A time in which a shard acknowledged no write although it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Last acknowledgement before it, or the start of the load.
    pub from_ns: u64,
    /// First acknowledgement after it, or the end of the load.
    pub to_ns: u64,
}

impl Gap {
    /// Its length.
    pub fn length_ns(&self) -> u64 {
        self.to_ns - self.from_ns
    }
}

/// How one shard served.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardAvailability {
    /// Shard.
    pub shard: u32,
    /// Its outages, in order.
    pub gaps: Vec<Gap>,
    /// Acknowledged writes, or answered reads.
    pub acked: u64,
    /// Share of the span outside the gaps, 0 to 1.
    pub share: f64,
}

/// The time in which writes were asked for: from the first invocation of a write to the last end of one,
/// over all shards. None without writes.
pub fn write_span(history: &History) -> Option<(u64, u64)> {
    span_of(history, Ask::Writes)
}

fn span_of(history: &History, ask: Ask) -> Option<(u64, u64)> {
    let asked = || history.ops.iter().filter(move |op| ask.is_of(op));
    let from_ns = asked().map(|op| op.call_ns).min()?;
    let to_ns = asked().map(|op| op.ret_ns.unwrap_or(op.call_ns)).max()?;
    Some((from_ns, to_ns.max(from_ns)))
}

/// How every shard that was written to served within [`write_span`].
///
/// An outage is a time longer than `gap_ns_min` between two acknowledged writes (or the ends of the span) in
/// which at least one write to the shard was asked for in vain: it was neither acknowledged nor turned down by
/// its precondition, or it waited longer than `gap_ns_min`. A shard that nobody asks is idle, not down.
pub fn availability(history: &History, gap_ns_min: u64) -> Vec<ShardAvailability> {
    availability_of(history, Ask::Writes, gap_ns_min)
}

/// The same of writes or of reads, each within the time in which such were asked for. Reads are judged up to the
/// last write where there are writes: what comes later are the reads that end a run.
pub fn availability_of(history: &History, ask: Ask, gap_ns_min: u64) -> Vec<ShardAvailability> {
    let Some(mut span) = span_of(history, ask) else { return Vec::new() };
    if let (Ask::Reads, Some((_, last_ns))) = (ask, write_span(history)) {
        span.1 = span.1.min(last_ns).max(span.0);
    }
    let mut shards: BTreeMap<u32, Vec<&Op>> = BTreeMap::new();
    for op in history.ops.iter().filter(|op| ask.is_of(op) && op.call_ns <= span.1) {
        if let Some(shard) = op.shard {
            shards.entry(shard).or_default().push(op);
        }
    }
    shards.into_iter().map(|(shard, calls)| of_shard(shard, &calls, span, gap_ns_min)).collect()
}

/// Every outage of at least [`GAP_NS_MIN`], of writes and of reads, in order of time.
pub fn outages(history: &History) -> Vec<Outage> {
    let of = |ask: Ask| {
        let shards = availability_of(history, ask, GAP_NS_MIN);
        shards.into_iter().flat_map(move |of| {
            let shard = of.shard;
            of.gaps.into_iter().map(move |gap| Outage { shard, ask, from_ns: gap.from_ns, to_ns: gap.to_ns })
        })
    };
    let mut outages: Vec<Outage> = of(Ask::Writes).chain(of(Ask::Reads)).collect();
    outages.sort_by_key(|outage| (outage.from_ns, outage.shard, outage.ask));
    outages
}

fn of_shard(shard: u32, calls: &[&Op], (start, end): (u64, u64), gap_ns_min: u64) -> ShardAvailability {
    let mut acks: Vec<u64> = calls
        .iter()
        .filter(|op| op.end == OpEnd::Ok)
        .filter_map(|op| op.ret_ns)
        .filter(|&ns| ns <= end)
        .collect();
    acks.sort_unstable();
    let asked_in_vain = |gap: &Gap| {
        calls.iter().any(|op| {
            // A call whose end was never recorded is only known to have been under way when it began.
            let (from_ns, to_ns) =
                (op.call_ns.max(gap.from_ns), op.ret_ns.unwrap_or(op.call_ns).min(gap.to_ns));
            if is_answered(op) {
                to_ns.saturating_sub(from_ns) > gap_ns_min
            } else {
                op.call_ns < gap.to_ns && op.ret_ns.unwrap_or(op.call_ns) > gap.from_ns
            }
        })
    };
    let edges_from = std::iter::once(start).chain(acks.iter().copied());
    let edges_to = acks.iter().copied().chain(std::iter::once(end));
    let gaps: Vec<Gap> = edges_from
        .zip(edges_to)
        .map(|(from_ns, to_ns)| Gap { from_ns, to_ns: to_ns.max(from_ns) })
        .filter(|gap| gap.length_ns() > gap_ns_min && asked_in_vain(gap))
        .collect();
    let down: u64 = gaps.iter().map(Gap::length_ns).sum();
    let span = end - start;
    let share = if span == 0 { 1.0 } else { 1.0 - down as f64 / span as f64 };
    ShardAvailability { shard, gaps, acked: acks.len() as u64, share }
}
