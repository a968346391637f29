//! What happens to a member, told as it happens.

use std::sync::{Mutex, PoisonError};

use crate::clock;

/// A change in a member's stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stay {
    /// It is in the group, as this incarnation.
    Joined {
        /// Unique for ever.
        incarnation: String,
        /// Transaction that began it.
        czxid: i64,
    },
    /// No server is connected; it may well still be in the group.
    Disconnected,
    /// The servers may have ended its session: it may no longer be in the group. A new incarnation follows.
    Doubtful,
    /// It has left for good, and was seen to be gone.
    Closed,
}

/// A change and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StayEvent {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub mono_ns: u64,
    /// What changed.
    pub stay: Stay,
}

/// All changes so far, in order.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<Vec<StayEvent>>);

impl Journal {
    pub fn note(&self, stay: Stay) {
        let event = StayEvent { mono_ns: clock::monotonic_ns(), stay };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    pub fn read(&self) -> Vec<StayEvent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
