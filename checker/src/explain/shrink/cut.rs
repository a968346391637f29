//! A part of the events: what had been called and what had returned by then.

use crate::model::Entry;
use crate::model::register::RegisterCall;

/// An entry and where it came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) place: usize,
    pub(super) entry: Entry<RegisterCall>,
}

impl Item {
    pub(super) fn is_mismatch(&self) -> bool {
        matches!(self.entry.call, RegisterCall::Differs(_))
    }

    /// May take effect at any later time, or never.
    fn opened(&self) -> Item {
        Item { entry: Entry { ret: u64::MAX, ..self.entry }, ..*self }
    }
}

/// What is left without all that had returned before `start`.
pub(super) fn before(all: &[Item], start: u64) -> Vec<Item> {
    let cut = |item: &Item| {
        let entry = item.entry;
        if entry.inv >= start {
            return Some(*item);
        }
        // Open at the cut: it may have taken effect before it, or may still do so.
        (entry.ret > start && entry.call.writes().is_some()).then(|| item.opened())
    };
    all.iter().filter_map(cut).collect()
}

/// What is left without all that happened after `end`.
pub(super) fn after(all: &[Item], end: u64) -> Vec<Item> {
    let cut = |item: &Item| {
        let entry = item.entry;
        if entry.inv > end {
            return None;
        }
        if entry.ret <= end {
            return Some(*item);
        }
        // A call that is still open: it may or may not have taken effect; a read has told nothing yet.
        entry.call.writes().map(|_| item.opened())
    };
    all.iter().filter_map(cut).collect()
}
