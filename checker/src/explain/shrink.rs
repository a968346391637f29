//! From an illegal partition to a small core of it that is still illegal.
//!
//! Only steps that keep a legal history legal are taken, so a core that is illegal proves that the whole was:
//! - cutting off everything after some event (what was open then becomes indefinite);
//! - leaving out a read or a mismatch;
//! - leaving out an indefinite write that nobody wants, where there are no mismatches;
//! - leaving out every operation on some values, where there are no mismatches and no compare-and-set leads
//!   from one of those values to another one: the register just keeps what it held before.
//!
//! The core is minimal as to these steps, unless the budget ends first.

use crate::model::Entry;
use crate::model::register::{NULL, RegisterCall, ValueId};
use crate::plan;
use crate::reduce::reduce;
use crate::unique::{self, Unique};

/// Places of the operations of a small illegal core, ascending. Spends about as much again as `states_max`.
pub(super) fn core(entries: &[Entry<RegisterCall>], values_len: usize, states_max: u64) -> Vec<usize> {
    let mut judge = Judge { values_len, left: states_max };
    let all: Vec<Item> = (0..entries.len()).map(|place| Item { place, entry: entries[place] }).collect();
    let mut core = shortest_prefix(all, &mut judge);
    loop {
        let before = core.len();
        drop_mismatches(&mut core, &mut judge);
        drop_units(&mut core, &mut judge);
        if core.len() == before || judge.left == 0 {
            break;
        }
    }
    core.into_iter().map(|item| item.place).collect()
}

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
}

impl Judge {
    /// Is it certainly illegal?
    fn illegal(&mut self, items: &[Item]) -> bool {
        if self.left == 0 {
            return false;
        }
        let entries: Vec<Entry<RegisterCall>> = items.iter().map(|item| item.entry).collect();
        self.left = self.left.saturating_sub(1 + entries.len() as u64);
        match unique::check(&entries, self.values_len) {
            Unique::Legal => return false,
            Unique::Illegal(_) => return true,
            Unique::NotUnique | Unique::Undecided => {}
        }
        let reduced = reduce(&entries, self.values_len);
        let settled = plan::settle(&reduced.entries, self.left);
        self.left = self.left.saturating_sub(settled.spent);
        settled.legal == Some(false)
    }
}

/// The items of the shortest prefix of events that is illegal.
fn shortest_prefix(all: Vec<Item>, judge: &mut Judge) -> Vec<Item> {
    let mut ends: Vec<u64> = all.iter().map(|item| item.entry.ret).filter(|&ret| ret != u64::MAX).collect();
    ends.sort_unstable();
    // Legality changes only at returns. The whole is illegal; what is known to be is at `high`.
    let (mut low, mut high) = (0, ends.len().saturating_sub(1));
    let mut core = all.clone();
    while low < high {
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
            if at >= units.len() || judge.left == 0 {
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
        if size == 1 || judge.left == 0 {
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
