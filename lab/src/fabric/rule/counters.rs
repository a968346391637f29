//! What a rule has done so far.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::effect::Fate;

/// What a rule has done so far: the evidence that it took effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleCounters {
    /// Packets on its links with its ports that came as far as this rule.
    pub matched: u64,
    /// Those it made vanish.
    pub dropped: u64,
    /// Those it held back, for whatever reason.
    pub delayed: u64,
    /// Those of which it delivered a second copy.
    pub duplicated: u64,
    /// Those that a later packet overtook while they were held.
    pub reordered: u64,
    /// Those in which it turned a bit over.
    pub corrupted: u64,
    /// Those that waited because the link was slow; `delayed` counts them too.
    pub shaped: u64,
    /// Those that would have ended a connection, and did not say so to their receiver.
    pub hidden: u64,
    /// Connections that it reset, at one end or at both.
    pub reset: u64,
    /// True once its dead man's switch has taken it out of force.
    pub expired: bool,
}

/// A number that the switch alone writes and anybody reads.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed) + more, Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The live counters. `matched`, `dropped`, `delayed` and `duplicated` follow from fates; effects count the others.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) matched: Count,
    pub(super) dropped: Count,
    pub(super) reordered: Count,
    pub(super) shaped: Count,
    pub(super) reset: Count,
    pub(super) corrupted: Count,
    pub(super) hidden: Count,
    delayed: Count,
    duplicated: Count,
}

impl Tally {
    pub(super) fn note(&self, fate: &Fate) {
        match fate {
            Fate::Pass | Fate::Become(_) => {}
            Fate::Drop => self.dropped.add(1),
            Fate::HoldUntil(_) => self.delayed.add(1),
            Fate::Twice => self.duplicated.add(1),
            Fate::Beside { passes, .. } => self.dropped.add(u64::from(!passes)),
        }
    }

    pub(super) fn read(&self) -> RuleCounters {
        RuleCounters {
            matched: self.matched.read(),
            dropped: self.dropped.read(),
            delayed: self.delayed.read(),
            duplicated: self.duplicated.read(),
            reordered: self.reordered.read(),
            corrupted: self.corrupted.read(),
            shaped: self.shaped.read(),
            hidden: self.hidden.read(),
            reset: self.reset.read(),
            expired: false, // a matter of the time at which one asks
        }
    }
}
