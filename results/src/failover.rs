//! Failovers, put together from agents' events, faults and the client history. Pure.
//!
//! # Rules
//! - A failover is an epoch of a shard that somebody won (`elected` or `promoted`) while the run was on. The
//!   first epoch, and what was won before time 0, belongs to the raising of the cluster.
//! - `suspected` and `lease_lost` carry the epoch that ends; they count when they lie between the winning of
//!   the epoch before and the winning of this one.
//! - A suspicion that was allayed does not count: the same epoch was suspected again at least
//!   [`ALLAYED_NS`] later, and a write that was *invoked* in between was acknowledged by the old master.
//! - The cause is the latest installed fault that began before the first sign of trouble (suspicion, lost
//!   lease, election) and was still on, or had just healed ([`JUST_HEALED_NS`]); only without one, the latest
//!   that healed no more than [`AFTERMATH_NS`] before it. At each of the two stages, faults on the old master's
//!   node, on ZooKeeper or on links of every server come first, faults on another node of the shard second.
//! - Fenced is the last server that was fenced for the epoch by the time its master served: those the new master
//!   rests on. An old master that is fenced when it comes back does not count.
//! - The replicas follow once every node of the shard has said so that could: neither the new master nor the old
//!   one, nor a node that a fault held when the new master was promoted.
//! - The first acknowledged write is the earliest completion of an `ok` write or compare-and-set that went
//!   to this shard in this epoch.
//! - Full rate: see [`rate`]. What was lost or stale: see [`blame`].
//!
//! How well each mark is known: see [`bars`].

pub mod bars;
pub mod blame;
pub mod rate;
mod spread;
mod trace;

use checker::{Op, OpEnd};
use serde::{Deserialize, Serialize};

pub use self::bars::Bar;
pub use self::blame::attribute;
pub use self::spread::{Distribution, by_kind, kind_of};
pub use self::trace::failovers;
use crate::summary::Failover;

/// Silence after which a suspicion may count as allayed: 2 s.
pub const ALLAYED_NS: u64 = 2_000_000_000;

/// How long after its healing a fault counts as if it were still on: 500 ms, about the time in which silence
/// is noticed.
pub const JUST_HEALED_NS: u64 = 500_000_000;

/// How long after its healing a fault can still be the cause: 5 s, more than any session timeout in use.
pub const AFTERMATH_NS: u64 = 5_000_000_000;

/// What a failover goes through. Each phase ends with a mark that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Fault struck → an agent suspects the master.
    Detect,
    /// → the master's lease is seen gone.
    Lease,
    /// → the servers that take part serve nobody of the old epoch.
    Fence,
    /// → the next epoch is won.
    Elect,
    /// → the new master serves.
    Promote,
    /// → a client's write is acknowledged in the new epoch.
    Serve,
    /// New master serves → every replica that could follows it.
    Follow,
    /// First acknowledged write → the shard answers as often as before the fault.
    Recover,
}

impl Phase {
    /// All of them.
    pub const ALL: [Phase; 8] = [
        Phase::Detect,
        Phase::Lease,
        Phase::Fence,
        Phase::Elect,
        Phase::Promote,
        Phase::Serve,
        Phase::Follow,
        Phase::Recover,
    ];

    /// Those that lead one after the other from the fault to the first acknowledged write, in their usual order.
    pub const CHAIN: [Phase; 6] =
        [Phase::Detect, Phase::Lease, Phase::Fence, Phase::Elect, Phase::Promote, Phase::Serve];

    /// The mark that ends the phase, as tables and legends call it.
    pub fn mark(self) -> &'static str {
        match self {
            Phase::Detect => "suspected",
            Phase::Lease => "lease gone",
            Phase::Fence => "fenced",
            Phase::Elect => "elected",
            Phase::Promote => "promoted",
            Phase::Serve => "first ack",
            Phase::Follow => "replicas follow",
            Phase::Recover => "full rate",
        }
    }
}

/// One phase of one failover, on the run clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Which phase.
    pub phase: Phase,
    /// End of the phase before it that was seen.
    pub from_ns: u64,
    /// When its mark was seen; never before `from_ns`.
    pub to_ns: u64,
}

impl Segment {
    /// Its length.
    pub fn length_ns(&self) -> u64 {
        self.to_ns - self.from_ns
    }
}

impl Failover {
    /// When the mark of a phase was seen.
    pub fn mark_ns(&self, phase: Phase) -> Option<u64> {
        match phase {
            Phase::Detect => self.suspected_ns,
            Phase::Lease => self.lease_lost_ns,
            Phase::Fence => self.fenced_ns,
            Phase::Elect => self.elected_ns,
            Phase::Promote => self.promoted_ns,
            Phase::Serve => self.first_ack_ns,
            Phase::Follow => self.following_ns,
            Phase::Recover => self.full_rate_ns,
        }
    }

    /// How well that mark is known; none where it was not seen, or by a version that did not tell.
    pub fn bar(&self, phase: Phase) -> Option<Bar> {
        self.bars.get(&phase).copied()
    }

    /// Where its clock starts: the fault, or without one the first sign of trouble.
    pub fn start_ns(&self) -> Option<u64> {
        let marks = Phase::CHAIN.iter().filter_map(|&phase| self.mark_ns(phase));
        self.fault_ns.or_else(|| marks.min())
    }

    /// From the start to the mark of a phase.
    pub fn since_start_ns(&self, phase: Phase) -> Option<u64> {
        Some(self.mark_ns(phase)?.saturating_sub(self.start_ns()?))
    }

    /// The phases of the chain that were seen, end to end, in the order in which their marks came: a lease may
    /// expire before anybody suspects, and servers be fenced before or after the vote. Lengths add up to the
    /// time from the start to the last mark.
    pub fn segments(&self) -> Vec<Segment> {
        let Some(mut from_ns) = self.start_ns() else { return Vec::new() };
        let mut marks: Vec<(u64, Phase)> =
            Phase::CHAIN.into_iter().filter_map(|phase| Some((self.mark_ns(phase)?, phase))).collect();
        marks.sort_unstable();
        let mut segments = Vec::new();
        for (mark_ns, phase) in marks {
            let to_ns = mark_ns.max(from_ns);
            segments.push(Segment { phase, from_ns, to_ns });
            from_ns = to_ns;
        }
        segments
    }

    /// Length of one phase, from the mark before it; none when its mark was not seen. Replicas are counted from
    /// the promotion, the full rate from the first acknowledged write.
    pub fn phase_ns(&self, phase: Phase) -> Option<u64> {
        match phase {
            Phase::Follow => Some(self.following_ns?.saturating_sub(self.promoted_ns?)),
            Phase::Recover => Some(self.full_rate_ns?.saturating_sub(self.first_ack_ns?)),
            _ => self.segments().iter().find(|segment| segment.phase == phase).map(Segment::length_ns),
        }
    }

    /// From the fault to the first write acknowledged in the new epoch. None when either end was not seen.
    /// Not the time without service: a master that was cut off from its agents may serve on for a while;
    /// [`crate::availability`] tells what clients saw.
    pub fn total_ns(&self) -> Option<u64> {
        Some(self.first_ack_ns?.saturating_sub(self.fault_ns?))
    }
}

/// An update that was acknowledged.
pub(crate) fn is_acked_write(op: &Op) -> bool {
    op.end == OpEnd::Ok && is_write(op)
}

/// A call that asks for a change.
pub(crate) fn is_write(op: &Op) -> bool {
    !matches!(&*op.f, "read" | "members")
}

/// Acknowledged, or turned down because its condition did not hold: the shard was there.
pub(crate) fn is_answered(op: &Op) -> bool {
    op.end == OpEnd::Ok || (op.end == OpEnd::Fail && op.error.as_deref() == Some("mismatch"))
}
