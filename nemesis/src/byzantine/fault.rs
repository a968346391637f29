//! The language of message faults: plain data, as people write it in TOML.
//!
//! ```toml
//! link = "replication"             # redis-client, replication, zk-client, election, quorum
//! message = "SET"                  # a kind, as the codec of the link names it
//! when = { key = "k" }             # only those whose fields hold these values
//! from = ["s0r0"]                  # only what these nodes send
//! nth = 3                          # from the third that is meant on; every = 2: every second; count = 1: once
//! do = "set"                       # and its values: see Op
//! field = "value"
//! value = "BBBB"
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What speaks on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// A client and a Redis.
    RedisClient,
    /// A replica and its master, from the answer to `PSYNC` on.
    Replication,
    /// A client and a ZooKeeper server.
    ZkClient,
    /// ZooKeeper servers that elect a leader.
    Election,
    /// A ZooKeeper leader and a follower.
    Quorum,
}

impl Link {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Link::RedisClient => "redis-client",
            Link::Replication => "replication",
            Link::ZkClient => "zk-client",
            Link::Election => "election",
            Link::Quorum => "quorum",
        }
    }
}

/// A value for a field: a number, or text; text that begins with `hex:` is the bytes it spells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Literal {
    /// A number, in the field's own form and width.
    Number(i64),
    /// Bytes.
    Text(String),
}

impl Literal {
    /// The bytes that a text stands for.
    pub fn bytes(text: &str) -> Result<Vec<u8>, String> {
        let Some(digits) = text.strip_prefix("hex:") else { return Ok(text.as_bytes().to_vec()) };
        let digits: Vec<char> = digits.chars().filter(|c| !c.is_whitespace()).collect();
        let pairs = digits.chunks(2).map(|pair| {
            let text: String = pair.iter().collect();
            if text.len() == 2 { u8::from_str_radix(&text, 16).ok() } else { None }
        });
        pairs
            .collect::<Option<_>>()
            .ok_or_else(|| format!("`{text}`: after hex: come pairs of digits 0 to f"))
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Number(number) => number.fmt(f),
            Literal::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Op {
    /// A field holds another value.
    Set {
        /// Which.
        field: String,
        /// The value.
        value: Literal,
        /// Bytes put after the message's own, within its frame.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        append: Option<String>,
    },
    /// A number is larger (or smaller) by so much: small scope is 1 or -1.
    Add {
        /// Which field.
        field: String,
        /// By how much.
        by: i64,
    },
    /// A field holds what it held in an earlier message of the kind, so many back.
    Previous {
        /// Which field.
        field: String,
        /// 1: in the one before.
        #[serde(default = "one")]
        back: usize,
    },
    /// A field holds bytes drawn at random, as many as it had (any scope).
    Random {
        /// Which field.
        field: String,
    },
    /// One bit, at random, is the other way round: of a field, or of the whole message (bit scope).
    Flip {
        /// Which field; none for the whole message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        field: Option<String>,
    },
    /// It never arrives; its sender's TCP is told that it did.
    Omit,
    /// In its place comes a command of its length that does nothing (RESP only).
    Idle,
    /// It arrives twice.
    Duplicate,
    /// It arrives after the message that follows it.
    Swap,
    /// It arrives after so many messages that follow it.
    Delay {
        /// How many.
        messages: u64,
    },
    /// After it comes an earlier message of its kind once more.
    Replay {
        /// 1: the one before.
        #[serde(default = "one")]
        back: usize,
    },
    /// After it comes this.
    Insert {
        /// Text, or `hex:…`; `{field}` stands for a field's bytes.
        text: String,
    },
    /// It never arrives; this comes back to its sender as the answer.
    Answer {
        /// Text, or `hex:…`; `{field}` stands for a field's bytes.
        text: String,
    },
    /// Half of it arrives, then the connection is reset.
    Truncate,
    /// It is only looked at (its values stand in the record).
    Eavesdrop,
    /// It waits until whoever armed the fault lets it go.
    Hold,
}

fn one() -> usize {
    1
}

/// Which messages are meant, and what becomes of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageFault {
    /// On which kind of link.
    pub link: Link,
    /// Which kind of message.
    pub message: String,
    /// Only those whose fields hold these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, Literal>,
    /// Only what these nodes send; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// Only what is meant for these nodes; all when empty. With a few receivers of several, each hears another story.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Only what goes from or to one of these nodes; all when empty. Settled when it strikes.
    #[serde(skip)]
    pub among: Vec<String>,
    /// From the how many-th on, from 1.
    #[serde(default = "first")]
    pub nth: u64,
    /// Every so many-th of those.
    #[serde(default = "first")]
    pub every: u64,
    /// At most so many; as many as come when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// What becomes of them.
    #[serde(flatten)]
    pub op: Op,
}

fn first() -> u64 {
    1
}

impl MessageFault {
    /// What is wrong with it, and the mend.
    pub fn check(&self) -> Result<(), String> {
        if self.message.is_empty() {
            return Err("`message` names a kind of message, like \"SET\" or \"PROPOSAL\"".into());
        }
        if self.nth == 0 || self.every == 0 || self.count == Some(0) {
            return Err("`nth`, `every` and `count` count from 1".into());
        }
        let texts = match &self.op {
            Op::Set { value: Literal::Text(value), append, .. } => vec![Some(value), append.as_ref()],
            Op::Set { append, .. } => vec![append.as_ref()],
            _ => Vec::new(),
        };
        texts.into_iter().flatten().try_for_each(|text| Literal::bytes(text).map(drop))?;
        match (&self.op, self.link) {
            (Op::Idle, Link::ZkClient | Link::Election | Link::Quorum) => {
                Err("`do = \"idle\"` is for Redis: use \"omit\"".into())
            }
            (Op::Delay { messages: 0 }, _) => Err("a delay is of at least 1 message".into()),
            (Op::Previous { back, .. } | Op::Replay { back }, _) if !(1..=SEEN_MAX).contains(back) => {
                Err(format!("`back` is between 1 and {SEEN_MAX}"))
            }
            _ => Ok(()),
        }
    }

    /// True when the `n`-th message that is meant, from 1, is struck after `applied` others were.
    pub fn strikes(&self, n: u64, applied: u64) -> bool {
        n >= self.nth
            && (n - self.nth).is_multiple_of(self.every)
            && self.count.is_none_or(|count| applied < count)
    }
}

/// Messages of a kind whose values are remembered.
pub const SEEN_MAX: usize = 8;

impl fmt::Display for MessageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.op {
            Op::Set { field, value, .. } => write!(f, "set {field} of {} to {value}", self.message)?,
            Op::Add { field, by } => write!(f, "add {by} to {field} of {}", self.message)?,
            Op::Previous { field, back: 1 } => write!(f, "previous {field} in {}", self.message)?,
            Op::Previous { field, back } => write!(f, "{field} of {back} before in {}", self.message)?,
            Op::Random { field } => write!(f, "random {field} in {}", self.message)?,
            Op::Flip { field: Some(field) } => write!(f, "flip a bit of {field} of {}", self.message)?,
            Op::Flip { field: None } => write!(f, "flip a bit of {}", self.message)?,
            Op::Omit => write!(f, "omit {}", self.message)?,
            Op::Idle => write!(f, "{} becomes an idle PING", self.message)?,
            Op::Duplicate => write!(f, "{} twice", self.message)?,
            Op::Swap => write!(f, "{} after the next message", self.message)?,
            Op::Delay { messages } => write!(f, "{} after {messages} messages", self.message)?,
            Op::Replay { back } => write!(f, "replay {} of {back} before", self.message)?,
            Op::Insert { .. } => write!(f, "insert a message after {}", self.message)?,
            Op::Answer { .. } => write!(f, "swallow {} and forge its answer", self.message)?,
            Op::Truncate => write!(f, "half of {}, then a reset", self.message)?,
            Op::Eavesdrop => write!(f, "read {}", self.message)?,
            Op::Hold => write!(f, "hold {}", self.message)?,
        }
        match (self.nth, self.every, self.count) {
            (1, 1, None) => Ok(()),
            (nth, 1, Some(1)) => write!(f, ", number {nth}"),
            (nth, every, count) => {
                write!(f, ", from number {nth} on")?;
                if every > 1 {
                    write!(f, ", every {every}")?;
                }
                count.map_or(Ok(()), |count| write!(f, ", {count} times"))
            }
        }
    }
}
