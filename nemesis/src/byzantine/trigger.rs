//! Points of a protocol: when a message is seen, others are held while something is done elsewhere.

use std::fmt;
use std::sync::mpsc::{Receiver, Sender};

use serde::{Deserialize, Serialize};

use super::faults::Faults;
use super::language::FaultError;
use super::pattern::Pattern;

/// When the trigger says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FireAt {
    /// When the message it waits for is seen.
    #[default]
    Match,
    /// When the first message is held.
    Hold,
}

/// The n-th message of a kind, and what is held from then on.
///
/// Without `hold` it is that message itself, "just before it arrives". With it that message goes on, and what
/// `hold` means stays, on every connection: of those that have a place in the protocol's order only what is
/// not before the message waited for. "After the master's n-th write has left and before a replica's
/// acknowledgement of it arrives" is a wait for `write` and a hold of `replconf-ack`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Trigger {
    /// What is waited for.
    #[serde(deserialize_with = "Pattern::alone")]
    pub at: Pattern,
    /// Its number, from 1, over all connections.
    #[serde(default = "one")]
    pub nth: u64,
    /// What is held afterwards; the message itself if not given.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "Pattern::alone_or_none")]
    pub hold: Option<Pattern>,
    /// When the signal is given.
    #[serde(default)]
    pub fire: FireAt,
    /// Longest time a message is held, milliseconds: then it goes on as if nothing had been.
    #[serde(default = "five_seconds")]
    pub max_hold_ms: u64,
}

fn one() -> u64 {
    1
}

fn five_seconds() -> u64 {
    5_000
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at number {} of {}", self.nth, self.at)?;
        self.hold.as_ref().map_or(Ok(()), |hold| write!(f, ", before {hold}"))
    }
}

impl Trigger {
    /// Says what is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), FaultError> {
        if self.nth == 0 {
            return Err(FaultError("`nth` counts from 1".into()));
        }
        if self.max_hold_ms == 0 || self.max_hold_ms > 60_000 {
            return Err(FaultError("`max-hold-ms` is 1 to 60000".into()));
        }
        self.at.check()?;
        self.hold.as_ref().map_or(Ok(()), Pattern::check)
    }
}

/// The signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    /// The node that sent the message.
    pub from: String,
    /// The node it was for.
    pub to: String,
    /// Its kind.
    pub kind: String,
    /// Its place in the protocol's order: offset, zxid, xid.
    pub order: Option<i64>,
    /// When, `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
}

/// A trigger in force. What it holds goes on when it is released or dropped; poke the tap so that this is
/// noticed at once.
#[derive(Debug)]
pub struct Held {
    pub(super) faults: Faults,
    pub(super) id: u64,
    /// Where the signal arrives, once.
    pub fired: Receiver<Fired>,
}

impl Held {
    /// Messages held so far.
    pub fn messages(&self) -> u64 {
        self.faults.held(self.id)
    }

    /// Lets go of what is held, and holds nothing more.
    pub fn release(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.faults.release(self.id);
    }
}

/// How far a trigger has come.
#[derive(Debug)]
pub(super) struct Watch {
    pub id: u64,
    pub trigger: Trigger,
    pub signal: Sender<Fired>,
    pub matched: u64,
    /// Set once the message has been seen: its place in the order.
    pub passed: Option<Option<i64>>,
    pub fired: bool,
    pub held: u64,
}
