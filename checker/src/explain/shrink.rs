//! From an illegal partition to a small core of it that is still illegal.
//!
//! Only steps that keep a legal history legal are taken, so a core that is illegal proves that the whole was:
//! - cutting off everything after some event (what was open then becomes indefinite);
//! - cutting off everything that had returned before some event: then the register may have held anything, and
//!   what was open may have been done or not, so the rest must be illegal from every value;
//! - leaving out a read or a mismatch;
//! - leaving out a write that nobody can see, where there are no mismatches: everybody who needs its value had
//!   returned before it was called, or another write certainly came between (done only where the beginning was
//!   cut off: elsewhere it would look as if nobody had written the value);
//! - leaving out every operation on some values, where there are no mismatches and no compare-and-set leads
//!   from one of those values to another one: the register just keeps what it held before.
//!
//! The core is minimal as to these steps, unless the budget ends first.

mod cut;
mod judge;
mod tiny;
mod units;

use crate::Budget;
use crate::linear::Deepest;
use crate::model::Entry;
use crate::model::register::RegisterCall;
use cut::Item;
use judge::Judge;
use units::{Units, units};

/// Least that is spent, in operations looked at and states visited: small histories are worth their smallest cores.
const SPENT_MIN: u64 = 200_000;

/// How much more may be spent than it takes to judge the whole once.
const SHARE_OF_CHECK: u64 = 4;

/// Smaller cores are left with their beginning: it makes for better stories.
const WINDOW_MIN: usize = 12;

/// Cores of so many operations are not made smaller in another way.
const SMALL: usize = 3;

/// As many units as are tried one by one from the start; of more, first many at a time.
const SINGLE_UNITS: usize = 16;

/// What is left of an illegal partition.
pub(super) struct Core {
    items: Vec<Item>,
    /// True when they are illegal whatever the register held before them.
    pub(super) is_window: bool,
}

impl Core {
    /// Places in the entries, ascending.
    pub(super) fn places(&self) -> Vec<usize> {
        self.items.iter().map(|item| item.place).collect()
    }
}

/// A small illegal core. Spends a few times what a pass over the whole costs, or little, and ends soon
/// after the budget's flag was raised.
pub(super) fn core(
    entries: &[Entry<RegisterCall>],
    values_len: usize,
    deepest: &Deepest,
    budget: &Budget,
) -> Core {
    let states_max = budget.states_max.min(super::SHRINK_STATES_MAX);
    let check = (entries.len() as u64).saturating_add(deepest.states);
    let mut judge =
        Judge::new(values_len, states_max.min(SPENT_MIN.max(check.saturating_mul(SHARE_OF_CHECK))), budget);
    let all: Vec<Item> = (0..entries.len()).map(|place| Item { place, entry: entries[place] }).collect();
    let part = shortest_part(all, deepest.stuck.map(|stuck| entries[stuck].ret), &mut judge);
    Core { items: smallest(part, &mut judge), is_window: judge.is_window }
}

/// A short illegal stretch of events: from the beginning, or, where that is long, from every beginning.
fn shortest_part(all: Vec<Item>, end: Option<u64>, judge: &mut Judge) -> Vec<Item> {
    // Where a search ended is mostly where the shortest prefix ends; a window that ends there costs little.
    if let Some(end) = end.filter(|&end| end != u64::MAX) {
        let prefix = cut::after(&all, end);
        let rest = without_mismatches(&prefix);
        // Without mismatches more can be left out.
        let preferred = (rest.len() < prefix.len()).then_some(rest);
        for prefix in preferred.into_iter().chain([prefix]) {
            if let Some(window) = shortest_suffix(&prefix, judge) {
                return window;
            }
            if judge.illegal(&prefix) {
                return prefix;
            }
        }
    }
    let prefix = shortest_prefix(all, judge);
    shortest_suffix(&prefix, judge).unwrap_or(prefix)
}

/// The items of the shortest prefix of events that is illegal.
fn shortest_prefix(all: Vec<Item>, judge: &mut Judge) -> Vec<Item> {
    judge.ended_at = None;
    judge.relaxed = judge.illegal(&all);
    // A pass over events ends at the first one that it cannot pass: nothing later matters to it.
    if let Some(end) = judge.ended_at {
        let cut = cut::after(&all, end);
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
        let cut = cut::after(&all, ends[middle]);
        if judge.illegal(&cut) {
            core = cut;
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    core
}

/// The items of the shortest suffix of events that is illegal whatever the register held before; none when there
/// is none, or no need. From then on the judge asks for every start.
fn shortest_suffix(all: &[Item], judge: &mut Judge) -> Option<Vec<Item>> {
    if all.len() <= WINDOW_MIN {
        return None;
    }
    let mut calls: Vec<u64> = all.iter().map(|item| item.entry.inv).collect();
    calls.sort_unstable();
    judge.is_window = true;
    let mut core = None;
    // Windows that end where the prefix does, twice as long each time: it costs what the one costs that is found.
    let (mut low, mut high) = (0, calls.len());
    let mut length = WINDOW_MIN;
    while length < calls.len() && judge.may_go_on() {
        let start = calls.len() - length;
        let cut = cut::before(all, calls[start]);
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
        let cut = cut::before(all, calls[middle]);
        if judge.illegal(&cut) {
            core = Some(cut);
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    judge.is_window = core.is_some();
    core
}

/// What cannot be made smaller: the smaller of what two orders of trying come to.
fn smallest(part: Vec<Item>, judge: &mut Judge) -> Vec<Item> {
    let mut other = part.clone();
    let mut core = part;
    minimize(&mut core, judge, false);
    if core.len() > SMALL {
        minimize(&mut other, judge, true);
        if other.len() < core.len() && judge.may_go_on() {
            return other;
        }
    }
    core
}

/// Leaves out what can be left out, until nothing can; what comes last first if `reversed`.
fn minimize(core: &mut Vec<Item>, judge: &mut Judge, reversed: bool) {
    loop {
        let before = core.len();
        drop_mismatches(core, judge);
        drop_units(core, judge, reversed);
        drop_unseen(core, judge);
        if core.len() == before || !judge.may_go_on() {
            break;
        }
    }
}

/// Without mismatches more can be left out: tries without all of them at once.
fn drop_mismatches(core: &mut Vec<Item>, judge: &mut Judge) {
    if core.iter().any(Item::is_mismatch) {
        keep_if_illegal(core, without_mismatches(core), judge);
    }
}

fn without_mismatches(items: &[Item]) -> Vec<Item> {
    items.iter().filter(|item| !item.is_mismatch()).copied().collect()
}

fn keep_if_illegal(core: &mut Vec<Item>, rest: Vec<Item>, judge: &mut Judge) -> bool {
    let illegal = judge.illegal(&rest);
    if illegal {
        *core = rest;
    }
    illegal
}

/// Leaves out sets of operations, many at a time while there are many.
fn drop_units(core: &mut Vec<Item>, judge: &mut Judge, reversed: bool) {
    let mut units = free_units(core, judge, reversed);
    let mut size = if units.len() <= SINGLE_UNITS { 1 } else { units.len().div_ceil(4) };
    loop {
        let mut at = 0;
        while at < units.len() && judge.may_go_on() {
            let mut dropped = vec![false; core.len()];
            units[at..(at + size).min(units.len())].iter().flatten().for_each(|&i| dropped[i] = true);
            if keep_if_illegal(core, without(core, &dropped), judge) {
                units = free_units(core, judge, reversed);
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

fn free_units(core: &[Item], judge: &Judge, reversed: bool) -> Vec<Vec<usize>> {
    let mut units = units(core, judge.values_len, judge.is_window).free;
    if reversed {
        units.reverse();
    }
    units
}

fn without(core: &[Item], dropped: &[bool]) -> Vec<Item> {
    (0..core.len()).filter(|&i| !dropped[i]).map(|i| core[i]).collect()
}

/// Leaves out single writes: one at a time, as without one another one may be seen.
fn drop_unseen(core: &mut Vec<Item>, judge: &mut Judge) {
    let mut from = 0;
    while judge.may_go_on() {
        let Units { unseen, .. } = units(core, judge.values_len, judge.is_window);
        let Some(&i) = unseen.iter().find(|&&i| i >= from) else { return };
        let mut dropped = vec![false; core.len()];
        dropped[i] = true;
        // What comes after it moves down.
        if !keep_if_illegal(core, without(core, &dropped), judge) {
            from = i + 1;
        } else {
            from = i;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::linear::{Search, search};
    use crate::model::register::{NULL, Register, ValueId};
    use tiny::Tiny;

    const VALUES: usize = 4;

    /// A few processes that write and read three values, sometimes wrongly.
    fn entries(seed: u64) -> Vec<Entry<RegisterCall>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (ops, mismatches) = (rng.random_range(3..16), seed.is_multiple_of(4));
        let mut free = [0u64; 4];
        let mut entries = Vec::new();
        let mut held = NULL;
        for op in 0..ops {
            let process = rng.random_range(0..free.len());
            let inv = (free[process] + rng.random_range(0..6u64)) * 100 + op as u64;
            let ret = inv + rng.random_range(1..8u64) * 100 + 50;
            free[process] = ret / 100 + 1;
            let some = rng.random_range(1..VALUES as ValueId);
            let call = match rng.random_range(0..10) {
                0..4 => RegisterCall::Write(some),
                4..8 => RegisterCall::Read(if rng.random_range(0..3) == 0 { some } else { held }),
                8 if mismatches => RegisterCall::Differs(some),
                _ => RegisterCall::Cas(held, some),
            };
            held = call.writes().unwrap_or(held);
            let is_open = call.writes().is_some() && rng.random_range(0..6) == 0;
            entries.push(Entry { call, inv, ret: if is_open { u64::MAX } else { ret }, op });
        }
        entries.sort_by_key(|entry| entry.inv);
        entries
    }

    fn items(entries: &[Entry<RegisterCall>]) -> Vec<Item> {
        (0..entries.len()).map(|place| Item { place, entry: entries[place] }).collect()
    }

    /// By the search of the engine, after a write of the start.
    fn legal(items: &[Item], start: ValueId) -> bool {
        let mut entries = vec![Entry { call: RegisterCall::Write(start), inv: 0, ret: 1, op: 0 }];
        entries.extend(items.iter().map(|item| Entry {
            inv: item.entry.inv + 2,
            ret: item.entry.ret.saturating_add(2),
            ..item.entry
        }));
        matches!(search(&Register, &entries, &Budget::default()), Search::Linearizable { .. })
    }

    fn legal_from_some(items: &[Item], is_window: bool) -> bool {
        let last = if is_window { VALUES as ValueId } else { NULL };
        (NULL..=last).any(|start| legal(items, start))
    }

    fn all_units(core: &[Item], is_window: bool) -> Vec<Vec<usize>> {
        let Units { mut free, unseen } = units(core, VALUES, is_window);
        free.extend(unseen.into_iter().map(|i| vec![i]));
        free
    }

    fn leave_out(core: &[Item], unit: &[usize]) -> Vec<Item> {
        (0..core.len()).filter(|i| !unit.contains(i)).map(|i| core[i]).collect()
    }

    #[test]
    fn few_operations_are_judged_as_by_the_search() {
        let mut tiny = Tiny::default();
        let mut illegal = 0;
        for seed in 0..3_000 {
            let items = items(&entries(seed));
            for start in NULL..=VALUES as ValueId {
                let (found, _) = tiny.legal(&items, &[start], usize::MAX);
                assert_eq!(found, Some(legal(&items, start)), "seed {seed} from {start}");
                illegal += usize::from(found == Some(false));
            }
        }
        assert!(illegal > 1_000, "{illegal} illegal");
    }

    #[test]
    fn what_is_left_of_a_legal_history_is_legal() {
        let mut left_out = 0;
        for seed in 0..3_000 {
            let items = items(&entries(seed));
            for is_window in [false, true] {
                if legal_from_some(&items, is_window) {
                    for unit in all_units(&items, is_window) {
                        let rest = leave_out(&items, &unit);
                        assert!(legal_from_some(&rest, is_window), "seed {seed}: {items:?} without {unit:?}");
                        left_out += 1;
                    }
                }
            }
        }
        assert!(left_out > 5_000, "{left_out} left out");
    }

    #[test]
    fn a_core_is_illegal_and_legal_without_any_unit() {
        let mut cores = [0, 0];
        for seed in 0..4_000 {
            let entries = entries(seed);
            if legal(&items(&entries), NULL) {
                continue;
            }
            let core = core(&entries, VALUES, &Deepest::default(), &Budget::default());
            assert!(!legal_from_some(&core.items, core.is_window), "seed {seed}: {:?}", core.items);
            for unit in all_units(&core.items, core.is_window) {
                let rest = leave_out(&core.items, &unit);
                assert!(
                    legal_from_some(&rest, core.is_window),
                    "seed {seed}: {:?} needs no {unit:?}",
                    core.items
                );
            }
            cores[usize::from(core.is_window)] += 1;
        }
        assert!(cores[0] > 500 && cores[1] > 20, "{cores:?} cores looked at");
    }
}
