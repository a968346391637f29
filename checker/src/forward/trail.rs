//! How configurations came about, so that the last one tells a legal order.

use super::config::Config;
use super::infos::Infos;
use crate::model::Entry;
use crate::model::register::{NULL, RegisterCall, ValueId};
use rustc_hash::FxHashMap;

/// Nodes above which dead branches are cleared away for the first time.
const COMPACT_MIN: usize = 1 << 16;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A definite operation took effect.
    Took(u32),
    /// An indefinite operation of this kind did.
    Info(RegisterCall),
    /// A write returned that had gone unseen at some time since it was called.
    Hidden(u32),
}

/// Steps, each after another one: a tree whose leaves are the configurations.
#[derive(Debug)]
pub(super) struct Trail {
    /// Each step and the one before it; the first is none.
    nodes: Vec<(u32, Step)>,
    compact_at: usize,
}

impl Default for Trail {
    fn default() -> Self {
        Trail { nodes: vec![(0, Step::Hidden(0))], compact_at: COMPACT_MIN }
    }
}

impl Trail {
    pub(super) fn bytes(&self) -> u64 {
        (self.nodes.capacity() * size_of::<(u32, Step)>()) as u64
    }

    fn push(&mut self, after: u32, step: Step) -> u32 {
        self.nodes.push((after, step));
        (self.nodes.len() - 1) as u32
    }

    pub(super) fn took(&mut self, after: u32, entry: u32) -> u32 {
        self.push(after, Step::Took(entry))
    }

    pub(super) fn info(&mut self, after: u32, call: RegisterCall) -> u32 {
        self.push(after, Step::Info(call))
    }

    pub(super) fn hidden(&mut self, after: u32, entry: u32) -> u32 {
        self.push(after, Step::Hidden(entry))
    }

    /// Clears away what led to no configuration that is left.
    pub(super) fn compact<'c>(&mut self, configs: impl Iterator<Item = &'c mut Config>) {
        if self.nodes.len() < self.compact_at {
            return;
        }
        let mut alive = vec![false; self.nodes.len()];
        alive[0] = true;
        let configs: Vec<&mut Config> = configs.collect();
        for config in &configs {
            let mut at = config.trail as usize;
            while !alive[at] {
                alive[at] = true;
                at = self.nodes[at].0 as usize;
            }
        }
        // A step comes after the one before it, so numbers are known when they are needed.
        let mut number = vec![0u32; self.nodes.len()];
        let mut kept = 0;
        for at in 0..self.nodes.len() {
            if alive[at] {
                let (before, step) = self.nodes[at];
                self.nodes[kept] = (number[before as usize], step);
                number[at] = kept as u32;
                kept += 1;
            }
        }
        self.nodes.truncate(kept);
        self.compact_at = (kept * 2).max(COMPACT_MIN);
        configs.into_iter().for_each(|config| config.trail = number[config.trail as usize]);
    }

    /// The order that led to the leaf `last`.
    pub(super) fn order(&self, last: u32, entries: &[Entry<RegisterCall>], infos: &Infos) -> Vec<usize> {
        let mut steps = Vec::new();
        let mut at = last as usize;
        while at != 0 {
            let (before, step) = self.nodes[at];
            steps.push(step);
            at = before as usize;
        }
        let mut used: FxHashMap<RegisterCall, usize> = FxHashMap::default();
        let mut order: Vec<Placed> = Vec::with_capacity(steps.len());
        for step in steps.into_iter().rev() {
            let state = order.last().map_or(NULL, |placed| placed.after);
            let take = |entry: u32| Placed {
                entry: entry as usize,
                before: state,
                after: entries[entry as usize].call.writes().unwrap_or(state),
            };
            match step {
                Step::Took(entry) => order.push(take(entry)),
                Step::Info(call) => {
                    let uses = used.entry(call).or_insert(0);
                    // Uses are counted against calls, so there is one more.
                    if let Some(&entry) = infos.members(call).get(*uses) {
                        order.push(take(entry));
                    }
                    *uses += 1;
                }
                Step::Hidden(entry) => hide(&mut order, entry as usize, entries),
            }
        }
        order.into_iter().map(|placed| placed.entry).collect()
    }
}

/// An entry in its place, with the state before and after it.
struct Placed {
    entry: usize,
    before: ValueId,
    after: ValueId,
}

/// Puts a write at the last place where nobody notices: where its value is held anyway, or just before another
/// blind write.
fn hide(order: &mut Vec<Placed>, entry: usize, entries: &[Entry<RegisterCall>]) {
    let Some(value) = entries[entry].call.writes() else { return };
    let mut place = order.len();
    let mut state = order.last().map_or(NULL, |placed| placed.after);
    while state != value && place > 0 {
        place -= 1;
        state = order[place].before;
        if matches!(entries[order[place].entry].call, RegisterCall::Write(_)) {
            break;
        }
    }
    if let Some(next) = order.get_mut(place) {
        next.before = value;
    }
    order.insert(place, Placed { entry, before: state, after: value });
}
