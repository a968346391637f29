//! What is done to messages: altered, swallowed, forged on their way, by what they say.

use std::fmt;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use super::{Evidence, Healed, InForce, Means, Strike};
use crate::arena::{Arena, FaultOnMessages, Marks, Signs};
use crate::byzantine::{MessageFault, Op, Pattern, To, signs};
use crate::family::Family;
use crate::schedule::Limits;
use crate::targets::Target;
use crate::wire::{Link, Way};

/// A harm to messages between the nodes struck and all others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum MessageHarm {
    /// See [`MessageFault`].
    Message(MessageFault),
}

impl MessageHarm {
    fn fault(&self) -> &MessageFault {
        let MessageHarm::Message(fault) = self;
        fault
    }
}

impl Means for MessageHarm {
    const FAULTS: &'static [&'static str] = &["message"];

    fn family(&self) -> Family {
        Family::Message
    }

    fn check(&self, target: Target, _: &Limits) -> Result<(), String> {
        let (fault, link) = (self.fault(), self.fault().pattern.link);
        let of_zookeeper = matches!(target, Target::ZooKeeperLeader | Target::ZooKeeperMinority);
        if of_zookeeper && matches!(link, Link::RedisClient | Link::Replication) {
            return Err(format!("a ZooKeeper server has no {link} link: strike a node of a shard"));
        }
        if !of_zookeeper && matches!(link, Link::Election | Link::Quorum) {
            return Err(format!("only ZooKeeper servers have a {link} link: strike one of them"));
        }
        fault.check().map_err(|e| e.to_string())
    }

    /// Small lies: some that a system without message integrity is known to believe, some that it ought to refuse.
    fn draw(_: Family, _: bool, target: Target, rng: &mut ChaCha8Rng) -> Self {
        let on = |link, way, message: &str, op| MessageFault::first(Pattern::of(link, way, message), op);
        let add = |field: &str, n| Op::Set { field: field.into(), to: To::Add(n), keep_lengths: false };
        let flip = || Op::FlipBit { field: None };
        use Way::{ToClient, ToServer};
        let choices = match target {
            Target::ZooKeeperLeader | Target::ZooKeeperMinority => vec![
                on(Link::Quorum, ToClient, "COMMIT", Op::Delay { messages: 1 }),
                on(Link::Quorum, ToServer, "ACK", add("zxid", 1)),
                on(Link::Quorum, ToClient, "PING", Op::Omit),
                on(Link::Election, ToServer, "notification", add("zxid", 1)),
                on(Link::ZkClient, ToClient, "getData.reply", flip()),
            ],
            Target::Client => vec![
                on(Link::RedisClient, ToServer, "evalsha", Op::Dup),
                on(Link::RedisClient, ToClient, "evalsha.reply", flip()),
                on(Link::ZkClient, ToClient, "getData.reply", flip()),
            ],
            _ => vec![
                on(Link::Replication, ToServer, "replconf-ack", add("offset", 1_000_000)),
                on(Link::Replication, ToClient, "write", Op::Blank),
                on(Link::Replication, ToClient, "write", Op::Dup),
                on(Link::RedisClient, ToClient, "evalsha.reply", flip()),
            ],
        };
        let mut fault = choices.choose(rng).expect("there are choices").clone();
        fault.nth = rng.random_range(1..10);
        MessageHarm::Message(fault)
    }

    fn inject<'a>(&self, strike: &Strike, arena: &'a dyn Arena) -> Box<dyn InForce + 'a> {
        let mut fault = self.fault().clone();
        fault.pattern.among = strike.nodes();
        let mut evidence = Evidence::new();
        let armed = arena.interfere(strike.window, &fault);
        let armed = armed.map_err(|why| evidence.push(("not installed".into(), why))).ok();
        Box::new(Struck { arena, armed, marks: arena.marks(), evidence })
    }
}

/// A fault armed, with what is known of it so far.
struct Struck<'a> {
    arena: &'a dyn Arena,
    armed: Option<Box<dyn FaultOnMessages>>,
    /// How all processes were when it began.
    marks: Marks,
    evidence: Evidence,
}

impl Struck<'_> {
    /// Whoever ended over it is started again, and what was said is told.
    fn look_around(&self, evidence: &mut Evidence) {
        let Signs { ended, logs } = self.arena.signs(&self.marks);
        for (victim, log) in &logs {
            let said = signs::complaints(victim.part, log).into_iter();
            evidence.extend(said.map(|line| (format!("{victim} {}", signs::SAID), line.to_owned())));
        }
        for (victim, how) in ended {
            evidence.push((format!("{victim} {}", signs::ENDED), how));
            let revived = self.arena.revive(&victim);
            let seen = revived.map(|seen| seen.unwrap_or_else(|| "somebody else did that".into()));
            evidence.push((
                format!("{victim} started again"),
                seen.unwrap_or_else(|why| format!("failed: {why}")),
            ));
        }
    }
}

impl InForce for Struck<'_> {
    fn undo(&mut self) -> Healed {
        let mut evidence = std::mem::take(&mut self.evidence);
        let Some(armed) = self.armed.take() else { return Healed { installed: false, evidence } };
        let tally = armed.tally();
        evidence.push((signs::MEANT.into(), tally.matched.to_string()));
        evidence.push((signs::ALTERED.into(), tally.applied.to_string()));
        evidence.push((signs::ARRIVED.into(), tally.delivered.to_string()));
        if let Some(strike) = armed.first() {
            evidence.push(("the first".into(), strike.to_string()));
        }
        if let Some(why) = tally.why {
            evidence.push((format!("could not be altered, {} times", tally.refused), why));
        }
        drop(armed);
        if tally.applied > 0 {
            self.look_around(&mut evidence);
        }
        Healed { installed: tally.applied > 0, evidence }
    }
}

impl fmt::Display for MessageHarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{Part, Topology, Victim, View};
    use crate::byzantine::Tally;
    use std::sync::Mutex;

    /// A system in which every fault strikes once, one Redis ends over it and another one complains.
    #[derive(Default)]
    struct Touchy {
        topology: Topology,
        revived: Mutex<Vec<Victim>>,
        /// How many messages each fault strikes.
        applied: u64,
    }

    struct Armed(u64);

    impl FaultOnMessages for Armed {
        fn tally(&self) -> Tally {
            Tally { matched: 3, applied: self.0, delivered: self.0, ..Tally::default() }
        }
        fn first(&self) -> Option<crate::byzantine::Strike> {
            None
        }
    }

    fn redis(node: &str) -> Victim {
        Victim { node: node.into(), part: Part::Redis }
    }

    impl Arena for Touchy {
        fn topology(&self) -> &Topology {
            &self.topology
        }
        fn view(&self) -> View {
            View::default()
        }
        fn interfere(&self, _: u64, _: &MessageFault) -> Result<Box<dyn FaultOnMessages>, String> {
            Ok(Box::new(Armed(self.applied)))
        }
        fn signs(&self, _: &Marks) -> Signs {
            Signs {
                ended: vec![(redis("s0r1"), "exited with code 1".into())],
                logs: vec![(redis("s0r2"), "all is well\n== CRITICAL == is it not\nall is well".into())],
            }
        }
        fn revive(&self, victim: &Victim) -> Result<Option<String>, String> {
            self.revived.lock().unwrap().push(victim.clone());
            Ok(Some("running".into()))
        }
    }

    fn healed(arena: &Touchy) -> Healed {
        let pattern = Pattern::of(Link::Replication, Way::ToClient, "set");
        let strike =
            Strike { window: 0, name: String::new(), victims: vec![redis("s0r0")], seed: 1, lasts: None };
        MessageHarm::Message(MessageFault::first(pattern, Op::Omit)).inject(&strike, arena).undo()
    }

    #[test]
    fn who_ends_over_a_message_is_told_and_started_again_and_what_is_said_is_told() {
        let arena = Touchy { applied: 1, ..Touchy::default() };
        let Healed { installed, evidence } = healed(&arena);
        let told = |what: &str| evidence.iter().find(|(name, _)| name == what).map(|(_, seen)| seen.as_str());
        assert!(installed);
        assert_eq!(told(signs::ARRIVED), Some("1"));
        assert_eq!(told("Redis of s0r1 ended by itself"), Some("exited with code 1"));
        assert_eq!(told("Redis of s0r1 started again"), Some("running"));
        assert_eq!(told("Redis of s0r2 said"), Some("== CRITICAL == is it not"));
        assert_eq!(*arena.revived.lock().unwrap(), [redis("s0r1")]);
    }

    #[test]
    fn nothing_is_held_against_a_fault_that_struck_nothing() {
        let arena = Touchy::default();
        let Healed { installed, evidence } = healed(&arena);
        assert!(!installed && evidence.iter().all(|(name, _)| !name.ends_with(signs::ENDED)), "{evidence:?}");
    }
}
