//! Is a part of a partition still illegal?

use super::cut::Item;
use super::tiny::{self, Tiny};
use crate::forward::{self, Forward, Mode};
use crate::model::Entry;
use crate::model::register::{NULL, RegisterCall, ValueId};
use crate::plan;
use crate::reduce::reduce;
use crate::unique::{self, Unique};
use crate::{Budget, Stop};

/// Configurations that exhaustive search visits before it leaves a question to the forward pass.
const TINY_CONFIGS: usize = 1_500;

/// Configurations that an exact pass over a small part may visit.
const EXACT_STATES: u64 = 10_000;

/// Answers "certainly illegal" or "not known to be", within what may be spent.
pub(super) struct Judge {
    pub(super) values_len: usize,
    /// May the register hold anything at the beginning?
    pub(super) is_window: bool,
    /// Operations looked at and states visited that may still be spent.
    pub(super) left: u64,
    /// Is the relaxed pass enough to see it? It says no much sooner than the searches.
    pub(super) relaxed: bool,
    /// The return that the last relaxed pass could not pass.
    pub(super) ended_at: Option<u64>,
    tiny: Tiny,
    bytes_max: u64,
    stop: Stop,
}

impl Judge {
    pub(super) fn new(values_len: usize, left: u64, budget: &Budget) -> Self {
        Judge {
            values_len,
            is_window: false,
            left,
            relaxed: true,
            ended_at: None,
            tiny: Tiny::default(),
            bytes_max: budget.bytes_max,
            stop: budget.stop.clone(),
        }
    }

    pub(super) fn may_go_on(&self) -> bool {
        self.left > 0 && !self.stop.is_raised()
    }

    fn budget(&self, states_max: u64) -> Budget {
        Budget { states_max: self.left.min(states_max), bytes_max: self.bytes_max, stop: self.stop.clone() }
    }

    fn spend(&mut self, states: u64) {
        self.left = self.left.saturating_sub(states);
    }

    /// Is it certainly illegal?
    pub(super) fn illegal(&mut self, items: &[Item]) -> bool {
        if !self.may_go_on() {
            return false;
        }
        self.spend(1 + items.len() as u64);
        let starts = self.starts(items);
        let (legal, visited) = self.tiny.legal(items, &starts, TINY_CONFIGS);
        self.spend(visited as u64);
        match legal {
            Some(legal) => !legal,
            None => self.illegal_by_passes(items, &starts),
        }
    }

    /// What the register may hold at the beginning, as far as it makes a difference.
    fn starts(&self, items: &[Item]) -> Vec<ValueId> {
        if !self.is_window {
            return vec![NULL];
        }
        let named = |item: &Item| match item.entry.call {
            RegisterCall::Differs(value) => Some(value),
            call => call.needs(),
        };
        let mut starts: Vec<ValueId> = items.iter().filter_map(named).collect();
        // A number that no value has: something that nobody names.
        starts.push(self.values_len as ValueId);
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    fn illegal_by_passes(&mut self, items: &[Item], starts: &[ValueId]) -> bool {
        let entries: Vec<Entry<RegisterCall>> = items.iter().map(|item| item.entry).collect();
        if !self.is_window {
            match unique::check(&entries, self.values_len) {
                Unique::Legal => return false,
                Unique::Illegal(_) => return true,
                Unique::NotUnique | Unique::Undecided => {}
            }
        }
        let reduced = reduce(&entries, self.values_len).entries;
        if self.relaxed {
            let illegal = self.impossible(&reduced, starts, Mode::Relaxed, u64::MAX);
            let exact = !illegal && items.len() <= tiny::ITEMS_MAX;
            return illegal || exact && self.impossible(&reduced, starts, Mode::Exact, EXACT_STATES);
        }
        if self.is_window {
            return self.impossible(&reduced, starts, Mode::Exact, u64::MAX);
        }
        let settled = plan::settle(&reduced, &self.budget(u64::MAX));
        self.spend(settled.spent);
        settled.legal == Some(false)
    }

    fn impossible(
        &mut self,
        entries: &[Entry<RegisterCall>],
        starts: &[ValueId],
        mode: Mode,
        states_max: u64,
    ) -> bool {
        let report = forward::pass_from(starts, entries, mode, &self.budget(states_max));
        self.spend(report.states);
        let Forward::Impossible { at } = report.found else { return false };
        self.ended_at = Some(entries[at].ret);
        true
    }
}
