//! How well each mark of a failover is known: the method's error, stated and tested.
//!
//! | mark | what it stands for | true time within |
//! |---|---|---|
//! | an agent's step | the server's answer that made it so | [`LOOK_NS`] before the mark |
//! | first acknowledged write | the shard takes writes again | the latest *try in vain* before the mark |
//! | full rate | the shard answers as often as before | see [`super::rate`] |
//!
//! - An agent writes a step when it learns of it, with the machine's monotonic clock, the same that times the calls:
//!   it may be late by one look at its servers, never early.
//! - When a shard takes writes again is not known better than by asking. A write that was sent to the new epoch in
//!   vain shows that the shard did not yet serve when it was sent; nothing was served before the server was
//!   promoted. The bar reaches back to the later of both.
//! - The fault counts from the moment the strike was ordered; it takes effect within the few milliseconds until its
//!   evidence is read. Lengths from the fault are so much too long at most, never too short.

use serde::{Deserialize, Serialize};

/// Time between two looks of an agent at a server, the answer included: 25 ms, and 5 ms for the answer.
pub const LOOK_NS: u64 = 30_000_000;

/// The true time lies between `before_ns` before a mark and `after_ns` after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// How much earlier it may have been.
    pub before_ns: u64,
    /// How much later it may have been.
    pub after_ns: u64,
}

impl Bar {
    /// Of a step that an agent wrote.
    pub fn of_agent() -> Bar {
        Bar { before_ns: LOOK_NS, after_ns: 0 }
    }

    /// Does a true time agree with a mark?
    pub fn holds(&self, mark_ns: u64, truth_ns: u64) -> bool {
        truth_ns <= mark_ns.saturating_add(self.after_ns)
            && truth_ns.saturating_add(self.before_ns) >= mark_ns
    }

    /// From one end to the other.
    pub fn width_ns(&self) -> u64 {
        self.before_ns + self.after_ns
    }
}
