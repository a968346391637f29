//! A link that carries so many bytes per second.

use rustc_hash::FxHashMap;

use super::Link;
use super::effect::{Effect, Fate, Seen};

const NS_PER_S: u128 = 1_000_000_000;

/// A token bucket, told by the time at which it would be full again: a packet takes its bytes out of the bucket, or
/// waits until they are in it.
#[derive(Debug)]
pub(super) struct Bucket {
    bytes_per_s: u64,
    burst_bytes: u64,
    queue_bytes: u64,
    full_ns: FxHashMap<Link, u64>,
}

impl Bucket {
    pub(super) fn new(bytes_per_s: u64, burst_bytes: u64, queue_bytes: u64) -> Bucket {
        Bucket { bytes_per_s: bytes_per_s.max(1), burst_bytes, queue_bytes, full_ns: FxHashMap::default() }
    }

    /// How long so many bytes take, rounded up.
    fn time_ns(&self, bytes: u64) -> u64 {
        let ns = (u128::from(bytes) * NS_PER_S).div_ceil(u128::from(self.bytes_per_s));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

impl Effect for Bucket {
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate {
        let full_ns = self.full_ns.get(&seen.link).copied().unwrap_or_default().max(seen.now_ns);
        let next_ns = full_ns.saturating_add(self.time_ns(seen.packet.len() as u64));
        let due_ns = next_ns.saturating_sub(self.time_ns(self.burst_bytes)).max(seen.now_ns);
        if due_ns - seen.now_ns > self.time_ns(self.queue_bytes) {
            return Fate::Drop;
        }
        self.full_ns.insert(seen.link, next_ns);
        if due_ns == seen.now_ns {
            return Fate::Pass;
        }
        seen.tally.shaped.add(1);
        Fate::HoldUntil(due_ns)
    }
}
