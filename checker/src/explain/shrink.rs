//! From an illegal partition to a small core of it that is still illegal.
//!
//! Only steps that keep a legal history legal are taken, so a core that is illegal proves that the whole was:
//! - cutting off everything after some event (what was open then becomes indefinite);
//! - cutting off everything that had returned before some event: then the register may have held anything, and
//!   what was open may have been done or not, so the rest must be illegal from every value;
//! - leaving out a read or a mismatch;
//! - leaving out an indefinite write that nobody wants, where there are no mismatches;
//! - leaving out every operation on some values, where there are no mismatches and no compare-and-set leads
//!   from one of those values to another one: the register just keeps what it held before.
//!
//! The core is minimal as to these steps, unless the budget ends first.

use crate::forward::{self, Forward, Mode};
use crate::model::Entry;
use crate::model::register::{NULL, RegisterCall, ValueId};
use crate::plan;
use crate::reduce::reduce;
use crate::unique::{self, Unique};
use crate::{Budget, Stop};

/// Least that is spent, in operations looked at and states visited: small histories are worth their smallest cores.
const SPENT_MIN: u64 = 200_000;

/// How much more may be spent than it takes to judge the whole once.
const SHARE_OF_CHECK: u64 = 4;

/// A small illegal core. Spends a few times what the relaxed pass over the whole costs, or little, and ends soon
/// after the budget's flag was raised.
pub(super) fn core(entries: &[Entry<RegisterCall>], values_len: usize, budget: &Budget) -> Core {
    let states_max = budget.states_max.min(super::SHRINK_STATES_MAX);
    let mut judge = Judge {
        values_len,
        left: states_max,
        relaxed: true,
        starts: Vec::new(),
        ended_at: None,
        bytes_max: budget.bytes_max,
        stop: budget.stop.clone(),
    };
    let all: Vec<Item> = (0..entries.len()).map(|place| Item { place, entry: entries[place] }).collect();
    judge.relaxed = judge.illegal(&all);
    let spent = states_max - judge.left;
    judge.left = judge.left.min(SPENT_MIN.max(spent.saturating_mul(SHARE_OF_CHECK)));
    let mut core = shortest_prefix(all, &mut judge);
    drop_mismatches(&mut core, &mut judge);
    if core.len() > WINDOW_MIN {
        core = shortest_suffix(core, &mut judge);
    }
    loop {
        let before = core.len();
        drop_mismatches(&mut core, &mut judge);
        drop_units(&mut core, &mut judge);
        if core.len() == before || !judge.may_go_on() {
            break;
        }
    }
    Core { places: core.into_iter().map(|item| item.place).collect(), is_window: !judge.starts.is_empty() }
}

/// What is left of an illegal partition.
pub(super) struct Core {
    /// Places in the entries, ascending.
    pub(super) places: Vec<usize>,
    /// True when they are illegal whatever the register held before them.
    pub(super) is_window: bool,
}

/// Most different values for which all starts are tried.
const STARTS_MAX: usize = 24;

/// Smaller cores are left with their beginning: it makes for better stories.
const WINDOW_MIN: usize = 12;

/// An entry and where it came from.
#[derive(Clone, Copy)]
struct Item {
    place: usize,
    entry: Entry<RegisterCall>,
}

struct Judge {
    values_len: usize,
    /// Search states that may still be spent.
    left: u64,
    /// Is the relaxed pass enough to see it? It says no much sooner than the searches.
    relaxed: bool,
    /// What the register may hold at the beginning; empty for nothing but the initial value.
    starts: Vec<ValueId>,
    /// The return that the last relaxed pass could not pass.
    ended_at: Option<u64>,
    bytes_max: u64,
    stop: Stop,
}

impl Judge {
    fn may_go_on(&self) -> bool {
        self.left > 0 && !self.stop.is_raised()
    }

    fn budget(&self) -> Budget {
        Budget { states_max: self.left, bytes_max: self.bytes_max, stop: self.stop.clone() }
    }

    /// Is it certainly illegal?
    fn illegal(&mut self, items: &[Item]) -> bool {
        if !self.may_go_on() {
            return false;
        }
        if self.starts.is_empty() {
            return self.illegal_from(None, items);
        }
        // Not a question of some start: of every one.
        (0..self.starts.len()).all(|i| self.illegal_from(Some(self.starts[i]), items))
    }

    fn illegal_from(&mut self, start: Option<ValueId>, items: &[Item]) -> bool {
        let later = |at: u64| at.saturating_add(2);
        let write = |value| Entry { call: RegisterCall::Write(value), inv: 0, ret: 1, op: 0 };
        let mut entries: Vec<Entry<RegisterCall>> = start.map(write).into_iter().collect();
        entries.extend(items.iter().map(|item| {
            let entry = item.entry;
            Entry { inv: later(entry.inv), ret: later(entry.ret), ..entry }
        }));
        self.left = self.left.saturating_sub(1 + entries.len() as u64);
        match unique::check(&entries, self.values_len + 1) {
            Unique::Legal => return false,
            Unique::Illegal(_) => return true,
            Unique::NotUnique | Unique::Undecided => {}
        }
        let reduced = reduce(&entries, self.values_len + 1);
        let (illegal, spent) = if self.relaxed {
            let report = forward::pass(&reduced.entries, Mode::Relaxed, &self.budget());
            let (found, visited) = (report.found, report.states);
            if let Forward::Impossible { at } = found {
                self.ended_at = Some(reduced.entries[at].ret.saturating_sub(2));
            }
            (matches!(found, Forward::Impossible { .. }), visited)
        } else {
            let settled = plan::settle(&reduced.entries, &self.budget());
            (settled.legal == Some(false), settled.spent)
        };
        self.left = self.left.saturating_sub(spent);
        illegal
    }
}

/// The items of the shortest prefix of events that is illegal.
fn shortest_prefix(all: Vec<Item>, judge: &mut Judge) -> Vec<Item> {
    // A pass over events ends at the first one that it cannot pass: nothing later matters to it.
    if let Some(end) = judge.ended_at.take() {
        let cut = cut_after(&all, end);
        if judge.illegal(&cut) {
            return cut;
        }
    }
    let mut ends: Vec<u64> = all.iter().map(|item| item.entry.ret).filter(|&ret| ret != u64::MAX).collect();
    ends.sort_unstable();
    // Legality changes only at returns. The whole is illegal; what is known to be is at `high`.
    let (mut low, mut high) = (0, ends.len().saturating_sub(1));
    let mut core = all.clone();
    while low < high && judge.may_go_on() {
        let middle = low + (high - low) / 2;
        let cut = cut_after(&all, ends[middle]);
        if judge.illegal(&cut) {
            core = cut;
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    core
}

/// The items of the shortest suffix of events that is illegal whatever the register held before; all of them
/// when there is none. From then on the judge asks for every start.
fn shortest_suffix(all: Vec<Item>, judge: &mut Judge) -> Vec<Item> {
    let mut starts: Vec<ValueId> = all.iter().filter_map(|item| item.entry.call.needs()).collect();
    starts.extend(all.iter().filter(|item| is_mismatch(item)).map(|item| match item.entry.call {
        RegisterCall::Differs(value) => value,
        _ => NULL,
    }));
    // A number that no value has: something that nobody names.
    starts.extend([NULL, judge.values_len as ValueId]);
    starts.sort_unstable();
    starts.dedup();
    if starts.len() > STARTS_MAX {
        return all;
    }
    judge.starts = starts;
    let mut calls: Vec<u64> = all.iter().map(|item| item.entry.inv).collect();
    calls.sort_unstable();
    let mut core = None;
    // Windows that end where the prefix does, twice as long each time: it costs what the one costs that is found.
    let (mut low, mut high) = (0, calls.len());
    let mut length = WINDOW_MIN;
    while length < calls.len() && judge.may_go_on() {
        let start = calls.len() - length;
        let cut = cut_before(&all, calls[start]);
        if judge.illegal(&cut) {
            core = Some(cut);
            low = start + 1;
            break;
        }
        high = start;
        length *= 2;
    }
    while core.is_some() && low < high && judge.may_go_on() {
        let middle = low + (high - low) / 2;
        let cut = cut_before(&all, calls[middle]);
        if judge.illegal(&cut) {
            core = Some(cut);
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    core.unwrap_or_else(|| {
        judge.starts.clear();
        all
    })
}

fn cut_before(all: &[Item], start: u64) -> Vec<Item> {
    let cut = |item: &Item| {
        let entry = item.entry;
        if entry.inv >= start {
            return Some(*item);
        }
        // Open at the cut: it may have taken effect before it, or may still do so.
        let writes = entry.ret > start && entry.call.writes().is_some();
        writes.then_some(Item { entry: Entry { ret: u64::MAX, ..entry }, ..*item })
    };
    all.iter().filter_map(cut).collect()
}

fn cut_after(all: &[Item], end: u64) -> Vec<Item> {
    let cut = |item: &Item| {
        let entry = item.entry;
        if entry.inv > end {
            return None;
        }
        if entry.ret <= end {
            return Some(*item);
        }
        // A call that is still open: it may or may not have taken effect; a read has told nothing yet.
        entry.call.writes().map(|_| Item { entry: Entry { ret: u64::MAX, ..entry }, ..*item })
    };
    all.iter().filter_map(cut).collect()
}

fn is_mismatch(item: &Item) -> bool {
    matches!(item.entry.call, RegisterCall::Differs(_))
}

/// Without mismatches more can be left out: tries without all of them at once.
fn drop_mismatches(core: &mut Vec<Item>, judge: &mut Judge) {
    if core.iter().any(is_mismatch) {
        let rest: Vec<Item> = core.iter().filter(|item| !is_mismatch(item)).copied().collect();
        if judge.illegal(&rest) {
            *core = rest;
        }
    }
}

/// Leaves out sets of operations, large ones first, as long as what stays is illegal.
fn drop_units(core: &mut Vec<Item>, judge: &mut Judge) {
    let mut size = units(core, judge.values_len).len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        loop {
            let units = units(core, judge.values_len);
            if at >= units.len() || !judge.may_go_on() {
                break;
            }
            let mut dropped = vec![false; core.len()];
            units[at..(at + size).min(units.len())].iter().flatten().for_each(|&i| dropped[i] = true);
            let rest: Vec<Item> = (0..core.len()).filter(|&i| !dropped[i]).map(|i| core[i]).collect();
            if judge.illegal(&rest) {
                *core = rest;
            } else {
                at += size;
            }
        }
        if size == 1 || !judge.may_go_on() {
            return;
        }
        size = size.div_ceil(2);
    }
}

/// Sets of items that may be left out soundly, each on its own or with others.
fn units(core: &[Item], values_len: usize) -> Vec<Vec<usize>> {
    let mut units = Vec::new();
    if !core.iter().any(is_mismatch) {
        units = value_units(core, values_len);
    }
    let pure = |i: &usize| core[*i].entry.call.writes().is_none();
    units.extend((0..core.len()).filter(pure).map(|i| vec![i]));
    units
}

/// For each value, all operations that name it or a value that compare-and-sets lead to from it.
fn value_units(core: &[Item], values_len: usize) -> Vec<Vec<usize>> {
    let mut follows: Vec<Vec<ValueId>> = vec![Vec::new(); values_len];
    let mut named = vec![false; values_len];
    for item in core {
        if let RegisterCall::Cas(expected, new) = item.entry.call {
            follows[expected as usize].push(new);
        }
        for value in item.entry.call.writes().into_iter().chain(item.entry.call.needs()) {
            named[value as usize] = true;
        }
    }
    let values = (0..values_len as ValueId).filter(|&value| value != NULL && named[value as usize]);
    values.filter_map(|value| value_unit(core, value, &follows)).collect()
}

fn value_unit(core: &[Item], value: ValueId, follows: &[Vec<ValueId>]) -> Option<Vec<usize>> {
    let mut gone = vec![false; follows.len()];
    let mut work = vec![value];
    while let Some(value) = work.pop() {
        if value == NULL {
            return None;
        }
        if !std::mem::replace(&mut gone[value as usize], true) {
            work.extend(&follows[value as usize]);
        }
    }
    let names = |call: RegisterCall| call.writes().into_iter().chain(call.needs()).any(|v| gone[v as usize]);
    Some((0..core.len()).filter(|&i| names(core[i].entry.call)).collect())
}
