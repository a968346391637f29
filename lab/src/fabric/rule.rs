//! Rules: what happens to packets on which directed links, as plain values; and their live state.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::node::NodeId;

/// A directed link: (from, to).
pub type Link = (NodeId, NodeId);

/// What a rule does to each packet it matches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Every packet vanishes, as on a cut wire: no reset, no ICMP message. Packets that another rule
    /// is holding at that moment are cut as well.
    Drop,
    /// Every packet is held for `base` plus a uniform draw from `0..=jitter`, and never overtakes an
    /// earlier packet of the same link under the same rule: a link is a queue, as a wire is (netem,
    /// without a rate, reorders under jitter). Healing releases what is held at once, in order.
    Delay {
        /// The least a packet is held.
        base: Duration,
        /// The most that is added to it.
        jitter: Duration,
    },
    /// Each packet vanishes with this probability, drawn independently.
    Loss {
        /// From 0 to 1.
        probability: f64,
    },
}

/// A harm on directed links. Installing it returns a guard that takes it away again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// A name for people; it appears in captures.
    pub name: String,
    /// The directed links it covers. A partition lists both directions, a one-way cut one of them.
    pub links: Vec<Link>,
    /// Only TCP and UDP packets with this port on either side; `None` for everything. Of a fragmented
    /// datagram only the first fragment carries a port (TCP on Linux does not fragment).
    pub port: Option<u16>,
    /// What happens to a packet.
    pub action: Action,
    /// Fixes the draws for loss and jitter: on one link, the n-th matching packet meets the same fate
    /// under the same seed.
    pub seed: u64,
}

/// What a rule has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCounters {
    /// Packets on its links with its port that came as far as this rule.
    pub matched: u64,
    /// Those it made vanish.
    pub dropped: u64,
    /// Those it held back.
    pub delayed: u64,
}

/// Tells installed rules apart; never used twice within a lab.
pub(crate) type RuleId = u64;

/// A rule while it is installed.
#[derive(Debug)]
pub(crate) struct RuleState {
    pub(crate) id: RuleId,
    pub(crate) rule: Rule,
    matched: AtomicU64,
    dropped: AtomicU64,
    delayed: AtomicU64,
    per_link: Mutex<HashMap<Link, LinkDice>>,
}

/// A rule's memory of one link.
#[derive(Debug)]
struct LinkDice {
    rng: ChaCha8Rng,
    /// When the last packet it held leaves it, in monotonic nanoseconds.
    last_due_ns: u64,
}

/// A rule's word on one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    Drop,
    /// Held until this monotonic time.
    HoldUntil(u64),
}

impl RuleState {
    pub(crate) fn new(id: RuleId, rule: Rule) -> RuleState {
        let zero = || AtomicU64::new(0);
        RuleState { id, rule, matched: zero(), dropped: zero(), delayed: zero(), per_link: Mutex::default() }
    }

    pub(crate) fn covers(&self, ports: Option<(u16, u16)>) -> bool {
        match (self.rule.port, ports) {
            (None, _) => true,
            (Some(port), Some((source, destination))) => port == source || port == destination,
            (Some(_), None) => false,
        }
    }

    /// Judges a packet that reaches this rule at `now_ns`, and counts it.
    pub(crate) fn judge(&self, link: Link, now_ns: u64) -> Fate {
        self.matched.fetch_add(1, Relaxed);
        let fate = match self.rule.action {
            Action::Drop => Fate::Drop,
            Action::Loss { probability } => {
                if self.with_dice(link, |dice| dice.rng.random::<f64>() < probability) {
                    Fate::Drop
                } else {
                    Fate::Pass
                }
            }
            Action::Delay { base, jitter } => Fate::HoldUntil(self.with_dice(link, |dice| {
                let extra_ns = dice.rng.random_range(0..=jitter.as_nanos() as u64);
                let due_ns = now_ns.saturating_add(base.as_nanos() as u64).saturating_add(extra_ns);
                dice.last_due_ns = dice.last_due_ns.max(due_ns);
                dice.last_due_ns
            })),
        };
        match fate {
            Fate::Pass => {}
            Fate::Drop => self.note_dropped(),
            Fate::HoldUntil(_) => drop(self.delayed.fetch_add(1, Relaxed)),
        }
        fate
    }

    /// Judges a packet that leaves another rule's hold: only a cut wire matters to it any more.
    pub(crate) fn cuts_held_packet(&self) -> bool {
        let cut = self.rule.action == Action::Drop;
        if cut {
            self.matched.fetch_add(1, Relaxed);
            self.note_dropped();
        }
        cut
    }

    pub(crate) fn counters(&self) -> RuleCounters {
        RuleCounters {
            matched: self.matched.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            delayed: self.delayed.load(Relaxed),
        }
    }

    fn note_dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    fn with_dice<T>(&self, link: Link, f: impl FnOnce(&mut LinkDice) -> T) -> T {
        let mut per_link = self.per_link.lock().unwrap_or_else(PoisonError::into_inner);
        f(per_link.entry(link).or_insert_with(|| LinkDice {
            rng: ChaCha8Rng::from_seed(link_seed(self.rule.seed, link)),
            last_due_ns: 0,
        }))
    }
}

/// Each link draws from a stream of its own, so that traffic elsewhere does not shift its draws.
fn link_seed(seed: u64, (from, to): Link) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..10].copy_from_slice(&from.0.to_le_bytes());
    bytes[10..12].copy_from_slice(&to.0.to_le_bytes());
    bytes
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
        match self.action {
            _ if self.links.is_empty() => Some("it covers no link".to_owned()),
            Action::Loss { probability } if !(0.0..=1.0).contains(&probability) => {
                Some(format!("loss probability {probability} is not between 0 and 1"))
            }
            Action::Delay { base, jitter } if base + jitter > Duration::from_secs(3600) => {
                Some(format!("a delay of up to {:?} is longer than an hour", base + jitter))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link = (NodeId(0), NodeId(1));

    fn state(action: Action, seed: u64) -> RuleState {
        let rule = Rule { name: "r".into(), links: vec![LINK], port: None, action, seed };
        RuleState::new(1, rule)
    }

    fn fates(rule: &RuleState, link: Link, count: u64) -> Vec<Fate> {
        (0..count).map(|i| rule.judge(link, i * 1_000)).collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_fates_whatever_other_links_carry() {
        let loss = Action::Loss { probability: 0.3 };
        let (alone, shared) = (state(loss, 7), state(loss, 7));
        fates(&shared, (NodeId(1), NodeId(0)), 17);
        assert_eq!(fates(&alone, LINK, 500), fates(&shared, LINK, 500));
        assert_ne!(fates(&state(loss, 8), LINK, 500), fates(&state(loss, 7), LINK, 500));
    }

    #[test]
    fn loss_drops_about_its_share_and_counts_each() {
        let rule = state(Action::Loss { probability: 0.2 }, 1);
        let dropped = fates(&rule, LINK, 10_000).iter().filter(|f| **f == Fate::Drop).count() as u64;
        assert!((1_800..2_200).contains(&dropped), "{dropped}");
        assert_eq!(rule.counters(), RuleCounters { matched: 10_000, dropped, delayed: 0 });
    }

    #[test]
    fn jitter_stays_in_range_and_never_reorders_a_link() {
        let ms = Duration::from_millis;
        let rule = state(Action::Delay { base: ms(10), jitter: ms(5) }, 3);
        let mut last = 0;
        for i in 0..1_000u64 {
            let now = i * 1_000_000;
            let Fate::HoldUntil(due) = rule.judge(LINK, now) else { panic!("not held") };
            assert!(due >= last && (now + 10_000_000..=now + 15_000_000).contains(&due));
            last = due;
        }
        assert_eq!(rule.counters().delayed, 1_000);
    }

    #[test]
    fn a_port_matches_on_either_side() {
        let mut rule = state(Action::Drop, 0);
        rule.rule.port = Some(6379);
        assert!(rule.covers(Some((6379, 1))) && rule.covers(Some((1, 6379))));
        assert!(!rule.covers(Some((1, 2))) && !rule.covers(None));
    }

    #[test]
    fn rules_that_cannot_work_are_told_why() {
        let rule = |links: Vec<Link>, action| Rule { name: "r".into(), links, port: None, action, seed: 0 };
        assert!(rule(vec![], Action::Drop).problem(2).unwrap().contains("no link"));
        assert!(
            rule(vec![(NodeId(0), NodeId(2))], Action::Drop).problem(2).unwrap().contains("does not exist")
        );
        assert!(rule(vec![(NodeId(1), NodeId(1))], Action::Drop).problem(2).unwrap().contains("own node"));
        let loss = Action::Loss { probability: f64::NAN };
        assert!(rule(vec![LINK], loss).problem(2).unwrap().contains("between 0 and 1"));
        assert_eq!(rule(vec![LINK], Action::Drop).problem(2), None);
    }
}
