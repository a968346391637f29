//! What happens to them: the operations of a fault, as plain values.
//!
//! ```toml
//! link = "zk-client"
//! way = "to-server"
//! message = "setData"
//! where = [{ field = "path", is = "/shards/0" }]
//! nth = 2
//! op = { set = { field = "version", to = "minus-one" } }
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use super::pattern::{Literal, Pattern, called};
use crate::wire::Way;

/// What is wrong with a fault as written: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FaultError(pub String);

/// What a field is set to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum To {
    /// What it says, and so much more; of a word that is a number as well.
    Add(i64),
    /// Zero; bytes become zeros.
    Zero,
    /// -1.
    MinusOne,
    /// Another of the values that the field may have, where those are few.
    Neighbour,
    /// This.
    Literal(Literal),
    /// The value it had so many different values ago, in a message about the same key or path. 1 is the
    /// previous one.
    Seen(usize),
    /// The value it had last in a message about another key or path.
    OtherKey,
    /// Anything of its type.
    Random,
}

/// How far a random change may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// One more, one less, or one of the last eight values of that field.
    Small,
    /// Any value of the field's type.
    Any,
    /// A bit flipped anywhere: the baseline that knows nothing of structure.
    Bits,
}

/// On which side of a message something is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Before it.
    Before,
    /// After it.
    #[default]
    After,
}

/// What a forged answer says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forged {
    /// That it was done: `+OK`, error 0 and an empty result, an acknowledgement of the proposal.
    Success,
    /// That it failed: the text of a Redis error, the number or name of a ZooKeeper error.
    Error(Literal),
    /// These bytes.
    Literal(Literal),
}

/// What happens to a message that is struck.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Op {
    /// A field says something else.
    Set {
        /// The field; `message` is all of it.
        field: String,
        /// What it says.
        to: To,
        /// Leaves the lengths around it as they were, so that they lie too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep_lengths: bool,
    },
    /// A field, this one or any, changes at random.
    Mutate {
        /// How far.
        scope: Scope,
        /// Which; any if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        field: Option<String>,
    },
    /// One bit of a field, or anywhere in the message, is flipped.
    FlipBit {
        /// Which field; all of the message if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        field: Option<String>,
    },
    /// It does not arrive.
    Omit,
    /// Something of the same length that does nothing arrives in its place, so that offsets stay true.
    Blank,
    /// It arrives twice.
    Dup,
    /// After it comes again the one that came so many messages of its kind before.
    Replay {
        /// 1 is the one before.
        back: usize,
    },
    /// It comes after the next message that is meant.
    Swap,
    /// It comes so many messages later.
    Delay {
        /// Messages of any kind.
        messages: u64,
    },
    /// Something else comes with it.
    Insert {
        /// What.
        bytes: Literal,
        /// Where.
        #[serde(default)]
        place: Place,
    },
    /// A request does not arrive, and is answered; an answer says something else.
    Forge {
        /// How.
        answer: Forged,
    },
    /// The connection is reset.
    Truncate {
        /// After so many bytes of it; after all of it if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<usize>,
    },
    /// It is written down and goes on.
    Eavesdrop,
}

/// Whose messages are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counting {
    /// Those from one node to another, over all their connections.
    #[default]
    Pair,
    /// Those of one connection.
    Connection,
    /// All.
    All,
}

/// A fault on messages: which, how often, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MessageFault {
    /// Which messages are counted.
    #[serde(flatten)]
    pub pattern: Pattern,
    /// The first of them that is struck, from 1, since the fault was armed.
    #[serde(default = "one")]
    pub nth: u64,
    /// Every so many are struck from there on.
    #[serde(default = "one")]
    pub every: u64,
    /// So many are struck at most; 0 is no limit.
    #[serde(default = "one")]
    pub count: u64,
    /// What `nth`, `every` and `count` count.
    #[serde(default)]
    pub counting: Counting,
    /// What happens to them.
    pub op: Op,
}

fn one() -> u64 {
    1
}

impl MessageFault {
    /// Strikes the first such message.
    pub fn first(pattern: Pattern, op: Op) -> MessageFault {
        MessageFault { pattern, nth: 1, every: 1, count: 1, counting: Counting::Pair, op }
    }

    /// Says what is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), FaultError> {
        let wrong = |why: &str| Err(FaultError(why.into()));
        if self.nth == 0 {
            return wrong("`nth` counts from 1");
        }
        if self.every == 0 {
            return wrong("`every` is at least 1: leave it out to strike each");
        }
        self.pattern.check()?;
        match &self.op {
            Op::Set { field, .. } if field.is_empty() => wrong("`set` needs a field: name one"),
            Op::Set { to: To::Seen(0), .. } => wrong("`seen` counts from 1, the previous value"),
            Op::Set { to: To::Add(0), .. } => wrong("adding 0 changes nothing: add something else"),
            Op::Set { to: To::Literal(literal), .. } => literal.check(),
            Op::Insert { bytes, .. } => literal_some(bytes),
            Op::Forge { answer: Forged::Literal(literal) } => literal_some(literal),
            Op::Forge { .. } if !self.can_forge() => Err(FaultError(format!(
                "`{}` {} on a {} link has no answer to forge: use `insert`",
                self.pattern.message, self.pattern.way, self.pattern.link
            ))),
            Op::Replay { back: 0 } => wrong("`back` counts from 1, the message before"),
            Op::Delay { messages: 0 } => wrong("a delay of no messages is none: give at least 1"),
            _ => Ok(()),
        }
    }

    fn can_forge(&self) -> bool {
        use crate::wire::Link;
        match self.pattern.link {
            Link::RedisClient | Link::Replication | Link::ZkClient => {
                self.pattern.way == Way::ToServer || self.pattern.message.ends_with("reply")
            }
            Link::Quorum => self.pattern.message == "PROPOSAL" && self.pattern.way == Way::ToClient,
            Link::Election => false,
        }
    }

    /// The field whose earlier values the operation needs; `Some(None)` is every field.
    pub(super) fn remembers(&self) -> Option<Option<&str>> {
        match &self.op {
            Op::Set { field, to: To::Seen(_) | To::OtherKey, .. } => Some(Some(field)),
            Op::Mutate { scope: Scope::Small, field } => Some(field.as_deref()),
            Op::Replay { .. } => Some(Some(crate::wire::WHOLE)),
            _ => None,
        }
    }
}

fn literal_some(literal: &Literal) -> Result<(), FaultError> {
    if literal.raw().is_empty() {
        literal.check()?;
        return Err(FaultError("there are no bytes to insert: give some".into()));
    }
    literal.check()
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            To::Add(n) => write!(f, "itself {n:+}"),
            To::Zero => f.write_str("zero"),
            To::MinusOne => f.write_str("-1"),
            To::Neighbour => f.write_str("a neighbouring value"),
            To::Literal(literal) => write!(f, "{literal}"),
            To::Seen(1) => f.write_str("its previous value"),
            To::Seen(back) => write!(f, "its value {back} values ago"),
            To::OtherKey => f.write_str("that of another key"),
            To::Random => f.write_str("anything"),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_any = |field: &Option<String>| field.clone().unwrap_or_else(|| "any field".into());
        match self {
            Op::Set { field, to, keep_lengths } => {
                write!(f, "set {} to {to}", called(field))?;
                f.write_str(if *keep_lengths { ", lengths kept" } else { "" })
            }
            Op::Mutate { scope: Scope::Small, field } => write!(f, "nudge {}", or_any(field)),
            Op::Mutate { scope: Scope::Any, field } => write!(f, "randomise {}", or_any(field)),
            Op::Mutate { scope: Scope::Bits, .. } => f.write_str("flip a bit"),
            Op::FlipBit { field: Some(field) } => write!(f, "flip a bit of {field}"),
            Op::FlipBit { field: None } => f.write_str("flip a bit"),
            Op::Omit => f.write_str("omit"),
            Op::Blank => f.write_str("blank out"),
            Op::Dup => f.write_str("duplicate"),
            Op::Replay { back } => write!(f, "replay the one {back} back"),
            Op::Swap => f.write_str("swap with the next"),
            Op::Delay { messages } => write!(f, "delay by {messages} messages"),
            Op::Insert { bytes, place: Place::Before } => write!(f, "insert {bytes} before"),
            Op::Insert { bytes, place: Place::After } => write!(f, "insert {bytes} after"),
            Op::Forge { answer: Forged::Success } => f.write_str("forge success of"),
            Op::Forge { answer: Forged::Error(literal) } => write!(f, "forge error {literal} of"),
            Op::Forge { answer: Forged::Literal(literal) } => write!(f, "forge answer {literal} of"),
            Op::Truncate { keep: None } => f.write_str("reset the connection after"),
            Op::Truncate { keep: Some(keep) } => write!(f, "reset the connection after {keep} bytes of"),
            Op::Eavesdrop => f.write_str("eavesdrop on"),
        }
    }
}

impl fmt::Display for MessageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.op)?;
        match (self.nth, self.every, self.count) {
            (nth, _, 1) => write!(f, "{} ", Nth(nth))?,
            (1, 1, 0) => f.write_str("every ")?,
            (nth, 1, 0) => write!(f, "every from the {} ", Nth(nth))?,
            (nth, every, 0) => write!(f, "each {} from the {} ", Nth(every), Nth(nth))?,
            (nth, 1, count) => write!(f, "{count} from the {} ", Nth(nth))?,
            (nth, every, count) => write!(f, "{count}, each {} from the {} ", Nth(every), Nth(nth))?,
        }
        write!(f, "{}", self.pattern)
    }
}

/// A number as a place in a row.
struct Nth(u64);

impl fmt::Display for Nth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = match (self.0 % 10, self.0 % 100) {
            (1, tens) if tens != 11 => "st",
            (2, tens) if tens != 12 => "nd",
            (3, tens) if tens != 13 => "rd",
            _ => "th",
        };
        write!(f, "{}{ending}", self.0)
    }
}
