//! From agents' lines and clients' calls to failovers.

use std::collections::{BTreeMap, BTreeSet};

use checker::{FaultRecord, History, Op};

use super::bars::LOOK_NS;
use super::rate::{Span, full_rate};
use super::{AFTERMATH_NS, ALLAYED_NS, Bar, JUST_HEALED_NS, Phase, is_acked_write, is_answered, is_write};
use crate::availability::{Ask, GAP_NS_MIN, Gap, availability_of};
use crate::summary::{Down, Failover, NodeEvent};

/// Every failover of a run, in order of time.
pub fn failovers(events: &[NodeEvent], history: &History, faults: &[FaultRecord]) -> Vec<Failover> {
    let mut nodes: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    let mut shards: BTreeMap<u32, Vec<&NodeEvent>> = BTreeMap::new();
    for event in events {
        nodes.entry(event.shard).or_default().insert(&event.node);
        shards.entry(event.shard).or_default().push(event);
    }
    let end_ns = load_end_ns(history);
    let gaps = ASKS.map(|ask| availability_of(history, ask, GAP_NS_MIN));
    let mut found = Vec::new();
    for (&shard, events) in &mut shards {
        events.sort_by_key(|event| event.time_ns);
        let calls = Calls::of(history, shard);
        let epochs: Vec<Won> = won_epochs(events);
        let mut of_shard = Vec::new();
        for (i, won) in epochs.iter().enumerate() {
            let before = i.checked_sub(1).map(|i| &epochs[i]);
            if won.epoch <= 1 || won.time_ns() < 0 {
                continue;
            }
            of_shard.push(Case { shard, won, before, events, calls: &calls }.tell(faults, &nodes));
        }
        let gaps = [0, 1]
            .map(|ask: usize| gaps[ask].iter().find(|of| of.shard == shard).map_or(&[][..], |of| &of.gaps));
        round_off(&mut of_shard, &calls, gaps, end_ns);
        found.append(&mut of_shard);
    }
    found.sort_by_key(|failover| (failover.start_ns(), failover.shard, failover.epoch));
    found
}

/// Writes first.
const ASKS: [Ask; 2] = [Ask::Writes, Ask::Reads];

/// When the last change was asked for: reads that come later are those that end a run.
fn load_end_ns(history: &History) -> u64 {
    history.ops.iter().filter(|op| is_write(op)).map(|op| op.call_ns).max().unwrap_or(0)
}

/// What depends on the shard's other failovers: when full rate was reached before the next one began, and how much of
/// the time until then clients were without service.
fn round_off(failovers: &mut [Failover], calls: &Calls<'_>, gaps: [&[Gap]; 2], end_ns: u64) {
    let mut since_ns = 0;
    for i in 0..failovers.len() {
        let next_ns = failovers.get(i + 1).and_then(Failover::start_ns).unwrap_or(u64::MAX);
        let failover = &mut failovers[i];
        let Some(start_ns) = failover.start_ns() else { continue };
        if let Some(first_ack_ns) = failover.first_ack_ns {
            let span = Span { since_ns, start_ns, first_ack_ns, until_ns: end_ns.min(next_ns) };
            if let Some((mark_ns, bar)) = full_rate(&calls.answers_ns, span) {
                failover.full_rate_ns = Some(mark_ns);
                failover.bars.insert(Phase::Recover, bar);
            }
        }
        let last_ns = Phase::CHAIN.iter().filter_map(|&phase| failover.mark_ns(phase)).max();
        let last_ns = last_ns.unwrap_or(start_ns);
        let within = |gaps: &[Gap]| -> u64 {
            let of_it = gaps.iter().filter(|gap| gap.from_ns < last_ns && gap.to_ns > start_ns);
            of_it.map(|gap| gap.to_ns.min(next_ns).saturating_sub(gap.from_ns.max(start_ns))).sum()
        };
        failover.down = Some(Down { writes_ns: within(gaps[0]), reads_ns: within(gaps[1]) });
        since_ns = failover.full_rate_ns.unwrap_or(last_ns);
    }
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

/// Calls of one shard.
struct Calls<'a> {
    acked: Vec<&'a Op>,
    /// Writes that were not answered, or were refused.
    vain: Vec<&'a Op>,
    /// Times of all answers, sorted.
    answers_ns: Vec<u64>,
}

impl<'a> Calls<'a> {
    fn of(history: &'a History, shard: u32) -> Self {
        let calls = || history.ops.iter().filter(move |op| op.shard == Some(shard));
        let mut answers_ns: Vec<u64> =
            calls().filter(|op| is_answered(op)).filter_map(|op| op.ret_ns).collect();
        answers_ns.sort_unstable();
        Calls {
            acked: calls().filter(|op| is_acked_write(op)).collect(),
            vain: calls().filter(|op| is_write(op) && !is_answered(op)).collect(),
            answers_ns,
        }
    }

    fn first_ack_ns(&self, epoch: u64) -> Option<u64> {
        self.acked.iter().filter(|op| op.epoch == Some(epoch)).filter_map(|op| op.ret_ns).min()
    }

    /// When a write was last sent to this epoch in vain before it acknowledged its first.
    fn last_vain_call_ns(&self, epoch: u64, first_ack_ns: u64) -> Option<u64> {
        let before = |op: &&&Op| op.epoch == Some(epoch) && op.call_ns < first_ack_ns;
        self.vain.iter().filter(before).map(|op| op.call_ns).max()
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

/// One won epoch with all that is known around it.
struct Case<'a> {
    shard: u32,
    won: &'a Won,
    before: Option<&'a Won>,
    events: &'a [&'a NodeEvent],
    calls: &'a Calls<'a>,
}

impl Case<'_> {
    fn tell(&self, faults: &[FaultRecord], nodes: &BTreeMap<u32, BTreeSet<&str>>) -> Failover {
        let suspected = self.first_suspicion();
        let lease_lost = self.first_loss(suspected);
        let fenced = self.fenced();
        let signs = [suspected, lease_lost, fenced, self.won.elected_ns, self.won.promoted_ns];
        let first_sign = signs.into_iter().flatten().min().unwrap_or(0);
        let from = self.before.map(|before| before.node.clone());
        let cause = cause(faults, first_sign, self.shard, from.as_deref(), nodes);
        let on_clock = |ns: i64| ns.max(0) as u64;
        let first_ack_ns = self.calls.first_ack_ns(self.won.epoch);
        let mut failover = Failover {
            shard: self.shard,
            epoch: self.won.epoch,
            from,
            to: self.won.node.clone(),
            fault: cause.map(|fault| fault.id),
            fault_ns: cause.map(|fault| fault.start_ns),
            suspected_ns: suspected.map(on_clock),
            lease_lost_ns: lease_lost.map(on_clock),
            fenced_ns: fenced.map(on_clock),
            elected_ns: self.won.elected_ns.map(on_clock),
            promoted_ns: self.won.promoted_ns.map(on_clock),
            following_ns: self.following(faults, nodes).map(on_clock),
            first_ack_ns,
            ..Failover::default()
        };
        for phase in Phase::ALL {
            let bar = match phase {
                Phase::Serve => first_ack_ns.map(|mark_ns| self.bar_of_first_ack(mark_ns)),
                _ => failover.mark_ns(phase).map(|_| Bar::of_agent()),
            };
            failover.bars.extend(bar.map(|bar| (phase, bar)));
        }
        failover
    }

    /// Nothing was served before the server was promoted, nor when a write was last sent to it in vain.
    fn bar_of_first_ack(&self, mark_ns: u64) -> Bar {
        let promoted_ns = self.won.promoted_ns.or(self.won.elected_ns).map_or(0, |ns| ns.max(0) as u64);
        let vain_ns = self.calls.last_vain_call_ns(self.won.epoch, mark_ns).unwrap_or(0);
        let least_ns = promoted_ns.saturating_sub(LOOK_NS).max(vain_ns);
        Bar { before_ns: mark_ns.saturating_sub(least_ns), after_ns: 0 }
    }

    /// The last server fenced for this epoch by the time its master served.
    fn fenced(&self) -> Option<i64> {
        let until = self.won.promoted_ns.or(self.won.elected_ns)?;
        let fenced = self.events.iter().filter(|e| e.step == "fenced" && e.epoch == self.won.epoch);
        fenced.map(|e| e.time_ns).filter(|&t| t <= until).max()
    }

    /// When the last of those that could has followed; none when one of them never did, or none could.
    fn following(&self, faults: &[FaultRecord], nodes: &BTreeMap<u32, BTreeSet<&str>>) -> Option<i64> {
        let promoted = self.won.promoted_ns?;
        let old = self.before.map(|before| before.node.as_str());
        let held = |node: &str| {
            faults.iter().any(|fault| {
                fault.installed
                    && fault.start_ns as i64 <= promoted
                    && fault.stop_ns.is_none_or(|stop| stop as i64 >= promoted)
                    && fault.nodes.iter().any(|of| of == node)
            })
        };
        let could = nodes[&self.shard]
            .iter()
            .filter(|&&node| node != self.won.node && Some(node) != old && !held(node));
        let followed = |node: &str| {
            let mut steps = self.events.iter().filter(|e| e.step == "following" && e.epoch == self.won.epoch);
            steps.find(|e| e.node == node).map(|e| e.time_ns)
        };
        let times: Option<Vec<i64>> = could.map(|node| followed(node)).collect();
        times?.into_iter().max()
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
            if silence >= ALLAYED_NS as i64 && self.calls.served_between(self.won.epoch, last, next) {
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
