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
//! - The first acknowledged write is the earliest completion of an `ok` write or compare-and-set that went
//!   to this shard in this epoch.

use std::collections::{BTreeMap, BTreeSet};

use checker::{FaultRecord, History, Op, OpEnd};

use crate::summary::{Failover, NodeEvent};

/// Silence after which a suspicion may count as allayed: 2 s.
pub const ALLAYED_NS: u64 = 2_000_000_000;

/// How long after its healing a fault counts as if it were still on: 500 ms, about the time in which silence
/// is noticed.
pub const JUST_HEALED_NS: u64 = 500_000_000;

/// How long after its healing a fault can still be the cause: 5 s, more than any session timeout in use.
pub const AFTERMATH_NS: u64 = 5_000_000_000;

/// What a failover goes through, in order. Each phase ends with a mark that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Fault struck → an agent suspects the master.
    Detect,
    /// → the master's lease is seen gone.
    Lease,
    /// → the next epoch is won.
    Elect,
    /// → the new master serves.
    Promote,
    /// → a client's write is acknowledged in the new epoch.
    Serve,
}

impl Phase {
    /// All, in order.
    pub const ALL: [Phase; 5] = [Phase::Detect, Phase::Lease, Phase::Elect, Phase::Promote, Phase::Serve];

    /// The mark that ends the phase, as tables and legends call it.
    pub fn mark(self) -> &'static str {
        match self {
            Phase::Detect => "suspected",
            Phase::Lease => "lease gone",
            Phase::Elect => "elected",
            Phase::Promote => "promoted",
            Phase::Serve => "first ack",
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
            Phase::Elect => self.elected_ns,
            Phase::Promote => self.promoted_ns,
            Phase::Serve => self.first_ack_ns,
        }
    }

    /// Where its clock starts: the fault, or without one the first sign of trouble.
    pub fn start_ns(&self) -> Option<u64> {
        let marks = Phase::ALL.iter().filter_map(|&phase| self.mark_ns(phase));
        self.fault_ns.or_else(|| marks.min())
    }

    /// The phases that were seen, end to end. A mark that came earlier than the one before it (a lease that
    /// expired before anybody suspected) makes a phase of length 0, so that lengths add up to the total.
    pub fn segments(&self) -> Vec<Segment> {
        let Some(mut from_ns) = self.start_ns() else { return Vec::new() };
        let mut segments = Vec::new();
        for phase in Phase::ALL {
            if let Some(mark_ns) = self.mark_ns(phase) {
                let to_ns = mark_ns.max(from_ns);
                segments.push(Segment { phase, from_ns, to_ns });
                from_ns = to_ns;
            }
        }
        segments
    }

    /// Length of one phase; none when its mark was not seen.
    pub fn phase_ns(&self, phase: Phase) -> Option<u64> {
        self.segments().iter().find(|segment| segment.phase == phase).map(Segment::length_ns)
    }

    /// From the fault to the first write acknowledged in the new epoch. None when either end was not seen.
    /// Not the time without service: a master that was cut off from its agents may serve on for a while;
    /// [`crate::availability`] tells what clients saw.
    pub fn total_ns(&self) -> Option<u64> {
        Some(self.first_ack_ns?.saturating_sub(self.fault_ns?))
    }
}

/// Every failover of a run, in order of time.
pub fn failovers(events: &[NodeEvent], history: &History, faults: &[FaultRecord]) -> Vec<Failover> {
    let mut nodes: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    let mut shards: BTreeMap<u32, Vec<&NodeEvent>> = BTreeMap::new();
    for event in events {
        nodes.entry(event.shard).or_default().insert(&event.node);
        shards.entry(event.shard).or_default().push(event);
    }
    let mut found = Vec::new();
    for (&shard, events) in &mut shards {
        events.sort_by_key(|event| event.time_ns);
        let writes = Writes::of(history, shard);
        let epochs: Vec<Won> = won_epochs(events);
        for (i, won) in epochs.iter().enumerate() {
            let before = i.checked_sub(1).map(|i| &epochs[i]);
            if won.epoch <= 1 || won.time_ns() < 0 {
                continue;
            }
            found.push(Case { shard, won, before, events, writes: &writes }.tell(faults, &nodes));
        }
    }
    found.sort_by_key(|failover| (failover.start_ns(), failover.shard, failover.epoch));
    found
}

/// An epoch that somebody won.
struct Won {
    epoch: u64,
    node: String,
    elected_ns: Option<i64>,
    promoted_ns: Option<i64>,
}

impl Won {
    fn time_ns(&self) -> i64 {
        self.elected_ns.or(self.promoted_ns).unwrap_or(i64::MIN)
    }
}

fn won_epochs(events: &[&NodeEvent]) -> Vec<Won> {
    let mut epochs: BTreeMap<u64, Won> = BTreeMap::new();
    for event in events {
        let promoted = match event.step.as_str() {
            "elected" => false,
            "promoted" => true,
            _ => continue,
        };
        let won = epochs.entry(event.epoch).or_insert_with(|| Won {
            epoch: event.epoch,
            node: event.node.clone(),
            elected_ns: None,
            promoted_ns: None,
        });
        if promoted {
            won.promoted_ns.get_or_insert(event.time_ns);
            won.node.clone_from(&event.node); // who serves, should the two ever differ
        } else {
            won.elected_ns.get_or_insert(event.time_ns);
        }
    }
    epochs.into_values().collect()
}

/// Acknowledged writes of one shard.
struct Writes<'a> {
    acked: Vec<&'a Op>,
}

impl<'a> Writes<'a> {
    fn of(history: &'a History, shard: u32) -> Self {
        let acked = history.ops.iter().filter(|op| op.shard == Some(shard) && is_acked_write(op)).collect();
        Writes { acked }
    }

    fn first_ack_ns(&self, epoch: u64) -> Option<u64> {
        self.acked.iter().filter(|op| op.epoch == Some(epoch)).filter_map(|op| op.ret_ns).min()
    }

    /// Was a write of an epoch before `epoch` both invoked and acknowledged within the span?
    fn served_between(&self, epoch: u64, from_ns: i64, to_ns: i64) -> bool {
        self.acked.iter().any(|op| {
            op.epoch.is_some_and(|of| of < epoch)
                && op.call_ns as i64 > from_ns
                && op.ret_ns.is_some_and(|ret| (ret as i64) < to_ns)
        })
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

/// One won epoch with all that is known around it.
struct Case<'a> {
    shard: u32,
    won: &'a Won,
    before: Option<&'a Won>,
    events: &'a [&'a NodeEvent],
    writes: &'a Writes<'a>,
}

impl Case<'_> {
    fn tell(&self, faults: &[FaultRecord], nodes: &BTreeMap<u32, BTreeSet<&str>>) -> Failover {
        let suspected = self.first_suspicion();
        let lease_lost = self.first_loss(suspected);
        let signs = [suspected, lease_lost, self.won.elected_ns, self.won.promoted_ns];
        let first_sign = signs.into_iter().flatten().min().unwrap_or(0);
        let from = self.before.map(|before| before.node.clone());
        let cause = cause(faults, first_sign, self.shard, from.as_deref(), nodes);
        let on_clock = |ns: i64| ns.max(0) as u64;
        Failover {
            shard: self.shard,
            epoch: self.won.epoch,
            from,
            to: self.won.node.clone(),
            fault: cause.map(|fault| fault.id),
            fault_ns: cause.map(|fault| fault.start_ns),
            suspected_ns: suspected.map(on_clock),
            lease_lost_ns: lease_lost.map(on_clock),
            elected_ns: self.won.elected_ns.map(on_clock),
            promoted_ns: self.won.promoted_ns.map(on_clock),
            first_ack_ns: self.writes.first_ack_ns(self.won.epoch),
        }
    }

    /// Times of a step that ends the epoch before, between the two winnings.
    fn endings(&self, step: &str) -> impl Iterator<Item = i64> {
        let after = self.before.map_or(i64::MIN, Won::time_ns);
        let until = self.won.time_ns();
        let least = self.before.map_or(0, |before| before.epoch);
        self.events
            .iter()
            .filter(move |e| e.step == step && (least..self.won.epoch).contains(&e.epoch))
            .map(|e| e.time_ns)
            .filter(move |&t| t >= after && t <= until)
    }

    fn first_suspicion(&self) -> Option<i64> {
        let mut suspicions = self.endings("suspected");
        let mut first = suspicions.next()?;
        let mut last = first;
        for next in suspicions {
            let silence = next - last;
            if silence >= ALLAYED_NS as i64 && self.writes.served_between(self.won.epoch, last, next) {
                first = next;
            }
            last = next;
        }
        Some(first)
    }

    /// The lease may go before anybody suspects, but not so long before that it belongs to other trouble.
    fn first_loss(&self, suspected: Option<i64>) -> Option<i64> {
        let earliest = suspected.map_or(i64::MIN, |at| at.saturating_sub(ALLAYED_NS as i64));
        self.endings("lease_lost").find(|&at| at >= earliest)
    }
}

fn cause<'a>(
    faults: &'a [FaultRecord],
    first_sign_ns: i64,
    shard: u32,
    from: Option<&str>,
    nodes: &BTreeMap<u32, BTreeSet<&str>>,
) -> Option<&'a FaultRecord> {
    let felt = |fault: &FaultRecord, aftermath_ns: u64| {
        let over =
            fault.stop_ns.is_some_and(|stop| (stop.saturating_add(aftermath_ns) as i64) < first_sign_ns);
        fault.installed && fault.start_ns as i64 <= first_sign_ns && !over
    };
    let latest = |aftermath_ns: u64, near: &dyn Fn(&FaultRecord) -> bool| {
        let near = faults.iter().filter(|fault| felt(fault, aftermath_ns) && near(fault));
        near.max_by_key(|fault| (fault.start_ns, fault.id))
    };
    let on = |fault: &FaultRecord, is: &dyn Fn(&str, &str) -> bool| {
        let roles = fault.roles.iter().map(String::as_str).chain(std::iter::repeat(""));
        fault.nodes.iter().map(String::as_str).zip(roles).any(|(node, role)| is(node, role))
    };
    let at_the_top = |fault: &FaultRecord| {
        fault.wide || on(fault, &|node, role| Some(node) == from || is_zookeeper(node, role))
    };
    let in_the_shard =
        |fault: &FaultRecord| on(fault, &|node, _| nodes.get(&shard).is_some_and(|of| of.contains(node)));
    let stages = [JUST_HEALED_NS, AFTERMATH_NS];
    stages.into_iter().find_map(|ns| latest(ns, &at_the_top).or_else(|| latest(ns, &in_the_shard)))
}

fn is_zookeeper(node: &str, role: &str) -> bool {
    let says = |text: &str| text.starts_with("zk") || text.contains("zookeeper");
    says(&role.to_ascii_lowercase()) || says(&node.to_ascii_lowercase())
}

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
