//! What is done to messages: altered, swallowed, forged on their way, by what they say.

use std::fmt;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use super::{Evidence, Healed, InForce, Means, Strike};
use crate::arena::{Arena, FaultOnMessages};
use crate::byzantine::{MessageFault, Op, Pattern, To};
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
        Box::new(Struck { armed, evidence })
    }
}

/// A fault armed, with what is known of it so far.
struct Struck {
    armed: Option<Box<dyn FaultOnMessages>>,
    evidence: Evidence,
}

impl InForce for Struck {
    fn undo(&mut self) -> Healed {
        let mut evidence = std::mem::take(&mut self.evidence);
        let Some(armed) = self.armed.take() else { return Healed { installed: false, evidence } };
        let tally = armed.tally();
        evidence.push(("messages meant".into(), tally.matched.to_string()));
        evidence.push(("messages altered".into(), tally.applied.to_string()));
        if let Some(strike) = armed.first() {
            evidence.push(("the first".into(), strike.to_string()));
        }
        if let Some(why) = tally.why {
            evidence.push((format!("could not be altered, {} times", tally.refused), why));
        }
        Healed { installed: tally.applied > 0, evidence }
    }
}

impl fmt::Display for MessageHarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault().fmt(f)
    }
}
