//! What is done to messages: altered, swallowed, forged on their way, by what they say.

use std::fmt;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use super::{Evidence, Healed, InForce, Means, Strike};
use crate::arena::{Arena, FaultOnMessages};
use crate::byzantine::{Link, MessageFault, Op};
use crate::family::Family;
use crate::schedule::Limits;
use crate::targets::Target;

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
        let fault = self.fault();
        let of_zookeeper = matches!(target, Target::ZooKeeperLeader | Target::ZooKeeperMinority);
        if of_zookeeper && matches!(fault.link, Link::RedisClient | Link::Replication) {
            return Err(format!(
                "a ZooKeeper server has no {} link: strike a node of a shard",
                fault.link.name()
            ));
        }
        if !of_zookeeper && matches!(fault.link, Link::Election | Link::Quorum) {
            return Err(format!(
                "only ZooKeeper servers have an {} link: strike one of them",
                fault.link.name()
            ));
        }
        if fault.op == Op::Hold {
            return Err("`do = \"hold\"` is for points at which another fault strikes: use \"delay\"".into());
        }
        fault.check()
    }

    /// Small lies that a system without message integrity is known to believe, and a few that it ought to refuse.
    fn draw(_: Family, _: bool, target: Target, rng: &mut ChaCha8Rng) -> Self {
        let on = |link, message: &str, op| MessageFault {
            link,
            message: message.into(),
            when: Default::default(),
            from: Vec::new(),
            to: Vec::new(),
            among: Vec::new(),
            nth: 1,
            every: 1,
            count: Some(1),
            op,
        };
        let field = |name: &str| name.to_string();
        let choices = match target {
            Target::ZooKeeperLeader | Target::ZooKeeperMinority => vec![
                on(Link::Quorum, "COMMIT", Op::Delay { messages: 1 }),
                on(Link::Quorum, "ACK", Op::Add { field: field("zxid"), by: 1 }),
                on(Link::Quorum, "PING", Op::Omit),
                on(Link::Election, "notification", Op::Add { field: field("zxid"), by: 1 }),
                on(Link::ZkClient, "reply getData", Op::Flip { field: Some(field("data")) }),
            ],
            Target::Client => vec![
                on(Link::RedisClient, "EVALSHA", Op::Duplicate),
                on(Link::RedisClient, "reply EVALSHA", Op::Flip { field: None }),
                on(Link::ZkClient, "reply getData", Op::Flip { field: Some(field("data")) }),
            ],
            _ => vec![
                on(Link::Replication, "REPLCONF ACK", Op::Add { field: field("offset"), by: 1_000_000 }),
                on(Link::Replication, "SET", Op::Idle),
                on(Link::Replication, "EVALSHA", Op::Duplicate),
                on(Link::RedisClient, "reply EVALSHA", Op::Flip { field: None }),
            ],
        };
        let mut fault = choices.choose(rng).expect("there are choices").clone();
        fault.nth = rng.random_range(1..10);
        MessageHarm::Message(fault)
    }

    fn inject<'a>(&self, strike: &Strike, arena: &'a dyn Arena) -> Box<dyn InForce + 'a> {
        let fault = MessageFault { among: strike.nodes(), ..self.fault().clone() };
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
        let counters = armed.counters();
        evidence.push(("messages meant".into(), counters.matched.to_string()));
        evidence.push(("messages altered".into(), counters.applied.to_string()));
        if let Some(strike) = armed.first() {
            let (before, after) = (shown(&strike.before), shown(&strike.after));
            evidence.push((
                format!("the first, {} → {}", strike.from, strike.to),
                format!("{before} became {after}"),
            ));
        }
        Healed { installed: counters.applied > 0, evidence }
    }
}

/// Bytes for people: not too many.
fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 48;
    match bytes.len() {
        0 => "nothing".into(),
        len if len > SHOWN_MAX => format!("{}… ({len} bytes)", bytes[..SHOWN_MAX].escape_ascii()),
        _ => bytes.escape_ascii().to_string(),
    }
}

impl fmt::Display for MessageHarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.fault().link.name(), self.fault())
    }
}
