//! Packets that come twice, and packets that come late.

use std::collections::VecDeque;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::effect::{Effect, Fate, Seen};
use super::{Link, nanos};

/// Some packets arrive twice.
#[derive(Debug)]
pub(super) struct Duplicate {
    pub(super) probability: f64,
}

impl Effect for Duplicate {
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate {
        if seen.dice.chance(self.probability) { Fate::Twice } else { Fate::Pass }
    }
}

/// Some packets are held while others pass them by.
#[derive(Debug)]
pub(super) struct Reorder {
    probability: f64,
    by_ns: u64,
    /// When those leave that nobody has overtaken yet, by link.
    waiting: FxHashMap<Link, VecDeque<u64>>,
}

impl Reorder {
    pub(super) fn new(probability: f64, by: Duration) -> Reorder {
        Reorder { probability, by_ns: nanos(by), waiting: FxHashMap::default() }
    }
}

impl Effect for Reorder {
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate {
        let waiting = self.waiting.entry(seen.link).or_default();
        while waiting.front().is_some_and(|due_ns| *due_ns <= seen.now_ns) {
            waiting.pop_front();
        }
        if seen.dice.chance(self.probability) {
            let due_ns = seen.now_ns.saturating_add(self.by_ns);
            waiting.push_back(due_ns);
            return Fate::HoldUntil(due_ns);
        }
        seen.tally.reordered.add(waiting.len() as u64);
        waiting.clear();
        Fate::Pass
    }
}
