//! Counters of the directed links.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// What a directed link has carried since the lab came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkCounters {
    /// Packets its sender put on it, whatever became of them.
    pub packets: u64,
    /// The bytes of those, IP headers included.
    pub bytes: u64,
    /// Packets that rules made vanish.
    pub dropped: u64,
    /// Packets that rules held back.
    pub delayed: u64,
}

/// A link's live counters; written by the switch only.
#[derive(Debug, Default)]
pub(crate) struct LinkStats {
    packets: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    delayed: AtomicU64,
}

impl LinkStats {
    pub(crate) fn note_packet(&self, bytes: usize) {
        bump(&self.packets, 1);
        bump(&self.bytes, bytes as u64);
    }

    pub(crate) fn note_dropped(&self) {
        bump(&self.dropped, 1);
    }

    pub(crate) fn note_delayed(&self) {
        bump(&self.delayed, 1);
    }

    pub(crate) fn read(&self) -> LinkCounters {
        LinkCounters {
            packets: self.packets.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            delayed: self.delayed.load(Relaxed),
        }
    }
}

/// One writer, so a plain load and store will do; it spares the locked instruction.
fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed) + by, Relaxed);
}
