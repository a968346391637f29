//! When each shard took writes, seen from outside. Pure.

use std::collections::BTreeMap;

use checker::{History, Op, OpEnd};

use crate::failover::{is_acked_write, is_write};

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
    /// Acknowledged writes.
    pub acked: u64,
    /// Share of the span outside the gaps, 0 to 1.
    pub share: f64,
}

/// The time in which writes were asked for: from the first invocation of a write to the last end of one,
/// over all shards. None without writes.
pub fn write_span(history: &History) -> Option<(u64, u64)> {
    let writes = || history.ops.iter().filter(|op| is_write(op));
    let from_ns = writes().map(|op| op.call_ns).min()?;
    let to_ns = writes().map(|op| op.ret_ns.unwrap_or(op.call_ns)).max()?;
    Some((from_ns, to_ns.max(from_ns)))
}

/// How every shard that was written to served within [`write_span`].
///
/// An outage is a time longer than `gap_ns_min` between two acknowledged writes (or the ends of the span) in
/// which at least one write to the shard was asked for in vain: it was neither acknowledged nor turned down by
/// its precondition, or it waited longer than `gap_ns_min`. A shard that nobody asks is idle, not down.
pub fn availability(history: &History, gap_ns_min: u64) -> Vec<ShardAvailability> {
    let Some(span) = write_span(history) else { return Vec::new() };
    let mut shards: BTreeMap<u32, Vec<&Op>> = BTreeMap::new();
    for op in history.ops.iter().filter(|op| is_write(op)) {
        if let Some(shard) = op.shard {
            shards.entry(shard).or_default().push(op);
        }
    }
    shards.into_iter().map(|(shard, writes)| of_shard(shard, &writes, span, gap_ns_min)).collect()
}

fn of_shard(shard: u32, writes: &[&Op], (start, end): (u64, u64), gap_ns_min: u64) -> ShardAvailability {
    let mut acks: Vec<u64> =
        writes.iter().filter(|op| is_acked_write(op)).filter_map(|op| op.ret_ns).collect();
    acks.sort_unstable();
    let asked_in_vain = |gap: &Gap| {
        writes.iter().any(|op| {
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

/// Acknowledged, or turned down because its condition did not hold: the shard was there.
fn is_answered(op: &Op) -> bool {
    is_acked_write(op) || (op.end == OpEnd::Fail && op.error.as_deref() == Some("mismatch"))
}
