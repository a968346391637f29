//! What may be left out soundly: without it a legal order of the rest would stay one.

use super::cut::Item;
use crate::model::register::{NULL, RegisterCall, ValueId};

/// Most items of which single writes are looked at: it takes cubic time.
const SINGLE_WRITES_MAX: usize = 96;

/// Sets of items, as places among the items, that may be left out, each on its own or, but for single writes, with
/// others.
pub(super) struct Units {
    /// May be left out together.
    pub(super) free: Vec<Vec<usize>>,
    /// Writes that nobody can see; without one of them another one may be seen.
    pub(super) unseen: Vec<usize>,
}

/// All of them. Values and writes only where there are no mismatches: those see what no one reads.
pub(super) fn units(core: &[Item], values_len: usize, is_window: bool) -> Units {
    let mut free = Vec::new();
    let mut unseen = Vec::new();
    if !core.iter().any(Item::is_mismatch) {
        free = value_units(core, values_len, is_window);
        free.sort_by_key(|unit| std::cmp::Reverse(unit.len()));
        // A part with its beginning is told as the whole story: there a value that is read keeps its writers.
        if is_window && core.len() <= SINGLE_WRITES_MAX {
            unseen = (0..core.len()).filter(|&i| is_unseen(core, i)).collect();
        }
    }
    let pure = |i: &usize| core[*i].entry.call.writes().is_none();
    free.extend((0..core.len()).filter(pure).map(|i| vec![i]));
    Units { free, unseen }
}

/// Does this item write what nobody can see? An operation sees it only if it may come after it, and if no other
/// write certainly comes between them.
fn is_unseen(core: &[Item], i: usize) -> bool {
    let write = &core[i].entry;
    let Some(value) = write.call.writes() else { return false };
    let sees = |reader: &Item| {
        let reader = &reader.entry;
        reader.call.needs() == Some(value)
            && reader.ret > write.inv
            && !core.iter().any(|other| {
                let other = &other.entry;
                other.call.writes().is_some() && other.inv > write.ret && other.ret < reader.inv
            })
    };
    !core.iter().enumerate().any(|(j, reader)| j != i && sees(reader))
}

/// For each value, all operations that name it or a value that compare-and-sets lead to from it. Where a part begins
/// with any value, the initial value is like the others.
fn value_units(core: &[Item], values_len: usize, is_window: bool) -> Vec<Vec<usize>> {
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
    let is_kept = |value: ValueId| value == NULL && !is_window;
    let values = (0..values_len as ValueId).filter(|&value| named[value as usize]);
    values.filter_map(|value| value_unit(core, value, &follows, is_kept)).collect()
}

fn value_unit(
    core: &[Item],
    value: ValueId,
    follows: &[Vec<ValueId>],
    is_kept: impl Fn(ValueId) -> bool,
) -> Option<Vec<usize>> {
    let mut gone = vec![false; follows.len()];
    let mut work = vec![value];
    while let Some(value) = work.pop() {
        if is_kept(value) {
            return None;
        }
        if !std::mem::replace(&mut gone[value as usize], true) {
            work.extend(&follows[value as usize]);
        }
    }
    let names = |call: RegisterCall| call.writes().into_iter().chain(call.needs()).any(|v| gone[v as usize]);
    Some((0..core.len()).filter(|&i| names(core[i].entry.call)).collect())
}
