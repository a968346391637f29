//! Rules: what happens to packets on which directed links, as plain values; and their live state.
//!
//! [`Action`] says what is done; each kind of it has a file of its own, behind the [`Effect`](effect::Effect) trait.

mod action;
mod connections;
mod copies;
mod corrupt;
mod counters;
mod delay;
mod dice;
mod effect;
mod ends;
mod loss;
mod rate;
mod reset;
mod stall;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

pub use self::action::{Action, CountedPer};
pub use self::counters::RuleCounters;
use self::counters::Tally;
pub use self::delay::{Latency, Spread};
use self::dice::Dice;
use self::effect::{Effect, Seen};
pub(crate) use self::effect::{Fate, Made};
pub use self::reset::End;
use super::switch::now_ns;
use crate::node::NodeId;

/// A directed link: (from, to).
pub type Link = (NodeId, NodeId);

/// A harm on directed links. Installing it returns a guard that takes it away again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// A name for people; it appears in captures.
    pub name: String,
    /// The directed links it covers. A partition lists both directions, a one-way cut one of them.
    pub links: Vec<Link>,
    /// Which packets it covers on them.
    #[serde(default)]
    pub ports: Ports,
    /// What happens to a packet.
    pub action: Action,
    /// Fixes every draw: on one link, the n-th matching packet meets the same fate under the same seed.
    pub seed: u64,
    /// On and off by turns, instead of on all the time.
    #[serde(default)]
    pub flap: Option<Flap>,
    /// A dead man's switch: so long after its installation the fabric stops applying it and lets go of what it holds,
    /// whether or not anybody is still there to heal it. `None` leaves it in force as long as its guard lives.
    #[serde(default)]
    pub expires: Option<Duration>,
}

impl Rule {
    /// A rule on every packet of these links, until its guard is dropped.
    pub fn new(name: impl Into<String>, links: Vec<Link>, action: Action, seed: u64) -> Rule {
        let (name, ports) = (name.into(), Ports::default());
        Rule { name, links, ports, action, seed, flap: None, expires: None }
    }

    /// The same on these ports only.
    pub fn on_ports(self, ports: impl Into<Ports>) -> Rule {
        Rule { ports: ports.into(), ..self }
    }

    /// The same, `on` and `off` by turns.
    pub fn flapping(self, on: Duration, off: Duration) -> Rule {
        Rule { flap: Some(Flap { on, off }), ..self }
    }

    /// The same with a dead man's switch.
    pub fn expiring(self, after: Duration) -> Rule {
        Rule { expires: Some(after), ..self }
    }
}

/// Ports a rule is meant for. The default is every packet, TCP and UDP or not.
///
/// Of a fragmented datagram only the first fragment carries ports (TCP on Linux does not fragment).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// Only TCP and UDP packets with one of these ports; none means all packets.
    pub numbers: Vec<u16>,
    /// On which side of the packet.
    pub side: Side,
}

impl Ports {
    /// True if a packet with these source and destination ports is meant.
    pub(crate) fn cover(&self, packet: Option<(u16, u16)>) -> bool {
        if self.numbers.is_empty() {
            return true;
        }
        let Some((source, destination)) = packet else { return false };
        let named = |port| self.numbers.contains(&port);
        match self.side {
            Side::Either => named(source) || named(destination),
            Side::Source => named(source),
            Side::Destination => named(destination),
        }
    }
}

impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Ports { numbers: vec![port], side: Side::Either }
    }
}

impl From<(u16, Side)> for Ports {
    fn from((port, side): (u16, Side)) -> Self {
        Ports { numbers: vec![port], side }
    }
}

impl From<Vec<u16>> for Ports {
    fn from(numbers: Vec<u16>) -> Self {
        Ports { numbers, side: Side::Either }
    }
}

/// A side of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Any of the two.
    #[default]
    Either,
    /// Where it comes from.
    Source,
    /// Where it goes to.
    Destination,
}

/// A rule that is on and off by turns. Its seed says where in the cycle it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flap {
    /// How long it is on.
    pub on: Duration,
    /// How long it is off. Packets that it held before keep being held.
    pub off: Duration,
}

impl Flap {
    /// Where in the cycle it starts.
    fn phase_ns(self, seed: u64) -> u64 {
        Dice::of_rule(seed).below(self.cycle_ns())
    }

    /// Is it on, so long after the beginning of a cycle?
    fn is_on(self, age_ns: u64) -> bool {
        age_ns % self.cycle_ns() < nanos(self.on)
    }

    fn cycle_ns(self) -> u64 {
        nanos(self.on).saturating_add(nanos(self.off)).max(1)
    }
}

/// Tells installed rules apart; never used twice within a lab.
pub(crate) type RuleId = u64;

/// A rule while it is installed.
#[derive(Debug)]
pub(crate) struct RuleState {
    pub(crate) id: RuleId,
    pub(crate) rule: Rule,
    installed_ns: u64,
    /// Of a rule that flaps: how much of its first cycle lies before the installation.
    phase_ns: u64,
    tally: Tally,
    memory: Mutex<Memory>,
}

/// What a rule remembers. Only the switch asks for it, so nobody ever waits.
#[derive(Debug)]
struct Memory {
    dice: FxHashMap<Link, Dice>,
    effect: Box<dyn Effect>,
}

impl RuleState {
    /// A rule that is installed now.
    pub(crate) fn new(id: RuleId, rule: Rule) -> RuleState {
        let effect = rule.action.effect(&rule.ports);
        let memory = Mutex::new(Memory { dice: FxHashMap::default(), effect });
        let phase_ns = rule.flap.map_or(0, |flap| flap.phase_ns(rule.seed));
        RuleState { id, installed_ns: now_ns(), phase_ns, tally: Tally::default(), memory, rule }
    }

    /// True if it has a say about packets with these ports at that time.
    pub(crate) fn covers(&self, ports: Option<(u16, u16)>, at_ns: u64) -> bool {
        let age_ns = at_ns.saturating_sub(self.installed_ns);
        let on = self.rule.flap.is_none_or(|flap| flap.is_on(age_ns.wrapping_add(self.phase_ns)));
        on && self.rule.ports.cover(ports) && !self.is_over(at_ns)
    }

    /// When its dead man's switch goes off, in monotonic nanoseconds.
    pub(crate) fn over_ns(&self) -> Option<u64> {
        self.rule.expires.map(|after| self.installed_ns.saturating_add(nanos(after)))
    }

    /// True if it has, at that time.
    pub(crate) fn is_over(&self, at_ns: u64) -> bool {
        self.over_ns().is_some_and(|over_ns| over_ns <= at_ns)
    }

    /// Judges a packet that reaches this rule at `now_ns`, and counts it.
    pub(crate) fn judge(&self, link: Link, packet: &[u8], now_ns: u64) -> Fate {
        self.tally.matched.add(1);
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let Memory { dice, effect } = &mut *memory;
        let dice = dice.entry(link).or_insert_with(|| Dice::of_link(self.rule.seed, link));
        let fate = effect.judge(&mut Seen { link, packet, now_ns, dice, tally: &self.tally });
        self.tally.note(&fate);
        fate
    }

    /// Judges a packet that leaves another rule's hold, or that a rule made: only a cut wire matters to it any more.
    pub(crate) fn cuts_packet_in_flight(&self) -> bool {
        let cut = self.rule.action == Action::Drop;
        if cut {
            self.tally.matched.add(1);
            self.tally.dropped.add(1);
        }
        cut
    }

    pub(crate) fn counters(&self) -> RuleCounters {
        RuleCounters { expired: self.is_over(now_ns()), ..self.tally.read() }
    }
}

impl Rule {
    /// Says what is wrong with it, if anything, in a lab of `nodes` nodes.
    pub(crate) fn problem(&self, nodes: usize) -> Option<String> {
        for (from, to) in &self.links {
            if from.index() >= nodes || to.index() >= nodes {
                return Some(format!(
                    "link {from} -> {to} names a node that does not exist (there are {nodes})"
                ));
            }
            if from == to {
                return Some(format!(
                    "link {from} -> {to} leads back to its own node, which no packet takes"
                ));
            }
        }
        if self.links.is_empty() {
            return Some("it covers no link".to_owned());
        }
        if self.flap.is_some_and(|flap| flap.on.is_zero() || flap.off.is_zero()) {
            return Some("a rule that flaps needs some time on and some time off".to_owned());
        }
        self.action.problem()
    }
}

/// A time in nanoseconds; five hundred years at most.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
