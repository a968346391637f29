//! From an illegal partition to a small core of it that is still illegal, for any model.
//!
//! Only steps that keep a legal history legal are taken, so a core that is illegal proves that the whole was:
//! - cutting off everything after the first return that nothing survives (what was open then becomes indefinite);
//! - cutting off everything before the last time that no definite operation was open: the object was then in one
//!   of the states that the pass found, all that it could be in, so the rest must be illegal from each of them;
//! - leaving out a pure operation: others do not notice it.
//!
//! The core is minimal as to these steps, unless the budget ends first. An indefinite operation may not be left
//! out: it can be what made the history legal.

use crate::Budget;
use crate::forward::Forward;
use crate::linear::local;
use crate::model::{Entry, Model};

/// Smaller cores are left with their beginning.
const WINDOW_MIN: usize = 12;

/// Most states in which a core may begin.
const STARTS_MAX: usize = 64;

/// Search states spent on making a core small.
const STATES_MAX: u64 = 500_000;

/// A small illegal part of an illegal history.
#[derive(Debug, Clone)]
pub struct Core<M: Model> {
    /// Its operations, with what was open at its end as indefinite.
    pub entries: Vec<Entry<M::Call>>,
    /// The states in one of which it begins.
    pub starts: Vec<M::State>,
    /// The position at which it begins; none for the beginning of the history.
    pub from: Option<u64>,
    /// How many operations there were up to its end.
    pub prefix_len: usize,
}

/// The core of `entries`; none where the budget does not suffice to see that they are illegal.
pub fn core<M: Model>(model: &M, entries: &[Entry<M::Call>], budget: &Budget) -> Option<Core<M>> {
    let budget = Budget { states_max: budget.states_max.min(STATES_MAX), ..budget.clone() };
    let start = [model.init()];
    let report = local::pass(model, entries, &start, &budget);
    let Forward::Impossible { at } = report.found else { return None };
    let end = entries[at].ret;
    let prefix = cut_after(model, entries, end);
    let mut shrink = Shrink { model, budget: budget.clone(), starts: start.to_vec() };
    let mut core = Core { prefix_len: prefix.len(), entries: prefix, starts: start.to_vec(), from: None };
    let prefix = core.entries.clone();
    shrink.drop_pure(&mut core.entries);
    // A core that is small enough to be shown is left with its beginning: it stands on its own.
    if core.entries.len() >= WINDOW_MIN {
        shrink.cut_before(&mut core, &prefix, end);
    }
    Some(core)
}

struct Shrink<'m, M: Model> {
    model: &'m M,
    budget: Budget,
    starts: Vec<M::State>,
}

impl<M: Model> Shrink<'_, M> {
    /// Is it certainly illegal from every start?
    fn illegal(&mut self, entries: &[Entry<M::Call>]) -> bool {
        let report = local::pass(self.model, entries, &self.starts, &self.budget);
        self.budget.states_max = self.budget.states_max.saturating_sub(report.states + entries.len() as u64);
        matches!(report.found, Forward::Impossible { .. })
    }

    /// Leaves out everything before the last time that nothing was open, if what stays is illegal from every state
    /// the object may have been in then.
    fn cut_before(&mut self, core: &mut Core<M>, prefix: &[Entry<M::Call>], end: u64) {
        let Some((position, states)) = local::states_at_rest(self.model, prefix, end, &self.budget) else {
            return;
        };
        if states.len() > STARTS_MAX {
            return;
        }
        // Indefinite operations from before may all still be unused: that allows more than there was.
        let is_left = |entry: &&Entry<M::Call>| entry.inv > position || entry.is_optional();
        let mut rest: Vec<Entry<M::Call>> = prefix.iter().filter(is_left).cloned().collect();
        let whole = std::mem::replace(&mut self.starts, states);
        if rest.len() < core.entries.len() && self.illegal(&rest) {
            self.drop_pure(&mut rest);
            core.entries = rest;
            core.starts = self.starts.clone();
            core.from = Some(position);
        } else {
            self.starts = whole;
        }
    }

    /// Leaves out pure operations, many at a time first, as long as what stays is illegal.
    fn drop_pure(&mut self, core: &mut Vec<Entry<M::Call>>) {
        let mut size = core.len().next_power_of_two();
        loop {
            let before = core.len();
            let mut at = 0;
            loop {
                let pure = (0..core.len()).filter(|&i| self.model.is_pure(&core[i].call));
                let some: Vec<usize> = pure.skip(at).take(size).collect();
                if some.is_empty() || self.budget.states_max == 0 {
                    break;
                }
                let kept = (0..core.len()).filter(|i| some.binary_search(i).is_err());
                let rest: Vec<Entry<M::Call>> = kept.map(|i| core[i].clone()).collect();
                if self.illegal(&rest) { *core = rest } else { at += size }
            }
            // Once more as long as leaving one out makes room for leaving out others.
            if size == 1 && core.len() == before || self.budget.states_max == 0 {
                return;
            }
            size = (size / 2).max(1);
        }
    }
}

/// What had happened at the position: calls still open may have taken effect or not; the pure ones tell nothing
/// yet.
fn cut_after<M: Model>(model: &M, entries: &[Entry<M::Call>], end: u64) -> Vec<Entry<M::Call>> {
    let cut = |entry: &Entry<M::Call>| match entry.ret > end {
        _ if entry.inv > end => None,
        true if model.is_pure(&entry.call) => None,
        true => Some(Entry { ret: u64::MAX, ..entry.clone() }),
        false => Some(entry.clone()),
    };
    entries.iter().filter_map(cut).collect()
}
