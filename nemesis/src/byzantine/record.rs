//! What was done to a message, so that it can be read, counted and done again.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::language::Place;
use super::pattern::Pattern;
use crate::wire::{Field, Link, Message, Splice, Way, hex};

/// What was decided to happen to a message: an operation after all choices are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Some of its bytes are others.
    Edit {
        /// Which.
        splices: Vec<Splice>,
        /// Lengths around them are mended.
        mend: bool,
    },
    /// It does not arrive.
    Swallow,
    /// Something else comes with it.
    Insert {
        /// What.
        #[serde(with = "hex")]
        bytes: Vec<u8>,
        /// Where.
        place: Place,
    },
    /// It does not arrive, and this is the answer.
    Forge {
        /// The answer.
        #[serde(with = "hex")]
        answer: Vec<u8>,
    },
    /// It comes so many messages later.
    Delay {
        /// Messages of any kind.
        messages: u64,
    },
    /// It comes after the next of these.
    Swap {
        /// Which.
        with: Pattern,
    },
    /// The connection is reset after it, or after so many bytes of it.
    Cut {
        /// Bytes of it that arrive; all if not given.
        keep: Option<usize>,
    },
    /// It was written down.
    Hear,
}

/// A message that was struck.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Strike {
    /// The fault.
    pub fault: u64,
    /// The connection's number in the lab.
    pub flow: u64,
    /// The connection's number among those between its two nodes on this kind of port, from 0.
    pub connection: u64,
    /// The node that dialled.
    pub client: String,
    /// The node that was dialled.
    pub server: String,
    /// The kind of conversation.
    pub link: Link,
    /// Which way the message went.
    pub way: Way,
    /// Its kind.
    pub kind: String,
    /// Its number among those the fault means, from 1.
    pub occurrence: u64,
    /// Its number among those of its kind this way on this connection, from 1.
    pub nth: u64,
    /// Where it began in the stream as sent, bytes.
    pub offset_in: u64,
    /// Where its place began in the stream as delivered, bytes.
    pub offset_out: u64,
    /// Its bytes; of a long message those of its head.
    #[serde(with = "hex")]
    pub before: Vec<u8>,
    /// What arrived in its place, at that moment.
    #[serde(with = "hex")]
    pub after: Vec<u8>,
    /// The field that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What the field said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_before: Option<String>,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_after: Option<String>,
    /// Bytes by which the stream grew.
    pub delta: i64,
    /// When, `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
    /// What was done.
    pub action: Action,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = match self.way {
            Way::ToServer => (&self.client, &self.server),
            Way::ToClient => (&self.server, &self.client),
        };
        write!(f, "{} {} from {from} to {to} on {}: ", self.kind, self.occurrence, self.link)?;
        match (&self.action, &self.field_before, &self.field_after) {
            (Action::Edit { .. }, Some(before), Some(after)) => {
                write!(f, "{} was {before}, is {after}", self.field.as_deref().unwrap_or("it"))?;
            }
            (Action::Edit { .. }, ..) => f.write_str("edited")?,
            (Action::Swallow, ..) => f.write_str("swallowed")?,
            (Action::Insert { bytes, .. }, ..) => write!(f, "{} bytes came with it", bytes.len())?,
            (Action::Forge { .. }, ..) => f.write_str("swallowed and answered")?,
            (Action::Delay { messages }, ..) => write!(f, "delayed by {messages} messages")?,
            (Action::Swap { .. }, ..) => f.write_str("swapped with the next")?,
            (Action::Cut { .. }, ..) => f.write_str("then the connection was reset")?,
            (Action::Hear, ..) => f.write_str("heard")?,
        }
        if self.delta != 0 {
            write!(f, " ({:+} bytes)", self.delta)?;
        }
        Ok(())
    }
}

/// How much of a log was found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fidelity {
    /// Strikes in the log.
    pub recorded: u64,
    /// Strikes whose message came again, in the same shape.
    pub matched: u64,
}

impl Fidelity {
    /// Matched of recorded, 0 to 1; 1 for an empty log.
    pub fn share(self) -> f64 {
        if self.recorded == 0 { 1.0 } else { self.matched as f64 / self.recorded as f64 }
    }
}

type Place5 = (Link, Way, String, String, u64);

/// A log that is done again: each strike once, where its message comes again.
#[derive(Debug, Default)]
pub(super) struct Log {
    strikes: HashMap<(Place5, String, u64), Strike>,
    pub fidelity: Fidelity,
}

impl Log {
    pub fn new(strikes: Vec<Strike>) -> Log {
        let fidelity = Fidelity { recorded: strikes.len() as u64, matched: 0 };
        let keyed = strikes.into_iter().map(|strike| {
            let place =
                (strike.link, strike.way, strike.client.clone(), strike.server.clone(), strike.connection);
            ((place, strike.kind.clone(), strike.nth), strike)
        });
        Log { strikes: keyed.collect(), fidelity }
    }

    /// What was done to this message, if the log has it and its shape is the same.
    pub fn again(
        &mut self,
        (client, server, connection): (&str, &str, u64),
        way: Way,
        message: &Message,
        bytes: &[u8],
        nth: u64,
    ) -> Option<Strike> {
        let place = (message.link, way, client.to_owned(), server.to_owned(), connection);
        let strike = self.strikes.remove(&(place, message.kind.to_string(), nth))?;
        let strike = fitted(strike, message, bytes)?;
        self.fidelity.matched += 1;
        Some(strike)
    }
}

/// The strike, moved to where its field is in this message; `None` if the message has another shape.
fn fitted(mut strike: Strike, message: &Message, bytes: &[u8]) -> Option<Strike> {
    let named: Option<Field> = strike.field.as_deref().and_then(|name| message.field(name));
    match (&mut strike.action, named) {
        (Action::Edit { splices, .. }, Some(field)) if splices.len() == 1 => {
            // The same number of bytes, or the field as a whole: part of a field has no place in another length.
            let whole = splices[0].span.len() == field.span.len();
            if !whole && strike.before.len() != bytes.len() {
                return None;
            }
            if whole {
                splices[0].span = field.span;
            }
        }
        (Action::Edit { .. } | Action::Cut { keep: Some(_) }, _) if strike.before.len() != bytes.len() => {
            return None;
        }
        _ => {}
    }
    Some(strike)
}
