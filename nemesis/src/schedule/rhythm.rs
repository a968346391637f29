//! How a window strikes between its start and its end.

use serde::{Deserialize, Serialize};

/// Whether a window's harm is in force all the time, by turns, or each time something happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rhythm {
    /// From start to end.
    #[default]
    Steady,
    /// On and off, the same victims each time.
    Flip {
        /// How long it is in force each time, milliseconds.
        on_ms: u64,
        /// How long it is healed each time, milliseconds.
        off_ms: u64,
    },
    /// Each time somebody new holds the target's role, and upon whoever holds it at the start.
    Each {
        /// What is waited for.
        event: Event,
        /// How long it is in force each time, milliseconds.
        hold_ms: u64,
    },
}

/// What a window can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A shard has a master of a new epoch, or ZooKeeper another leader.
    Election,
}

impl Rhythm {
    /// Nothing to be said of it.
    pub fn is_steady(&self) -> bool {
        *self == Rhythm::Steady
    }

    /// As people read it after a harm: `, 200 ms on and 300 ms off by turns`.
    pub fn words(&self) -> String {
        match self {
            Rhythm::Steady => String::new(),
            Rhythm::Flip { on_ms, off_ms } => format!(", {on_ms} ms on and {off_ms} ms off by turns"),
            Rhythm::Each { hold_ms, .. } => format!(", for {hold_ms} ms at each election"),
        }
    }
}
