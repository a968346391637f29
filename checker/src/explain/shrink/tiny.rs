//! Exhaustive search over a few operations, their progress as the bits of one word.

use rustc_hash::FxHashSet;

use super::cut::Item;
use crate::model::register::{RegisterCall, ValueId};

/// Most operations it looks at.
pub(super) const ITEMS_MAX: usize = u64::BITS as usize;

/// Operations that took effect, and what the register holds.
type Config = (u64, ValueId);

/// The search; one for many questions, so that its buffers are made once.
#[derive(Default)]
pub(super) struct Tiny {
    seen: FxHashSet<Config>,
    work: Vec<Config>,
}

impl Tiny {
    /// Is there a legal order from one of the starts? None when there are too many items or configurations.
    /// Answers also with how many configurations it visited.
    ///
    /// Items come in order of their calls.
    pub(super) fn legal(
        &mut self,
        items: &[Item],
        starts: &[ValueId],
        configs_max: usize,
    ) -> (Option<bool>, usize) {
        if items.is_empty() || items.len() > ITEMS_MAX {
            return (items.is_empty().then_some(true), 0);
        }
        let of = |is: &dyn Fn(&Item) -> bool| {
            (0..items.len()).filter(|&i| is(&items[i])).fold(0u64, |mask, i| mask | 1 << i)
        };
        let definite = of(&|item| !item.entry.is_optional());
        let mismatches = of(&Item::is_mismatch);
        let all = u64::MAX >> (ITEMS_MAX - items.len());
        self.seen.clear();
        self.work.clear();
        self.work.extend(starts.iter().map(|&start| (0, start)));
        while let Some((done, state)) = self.work.pop() {
            let (done, mut ready) = advance(items, all & !done, done, state);
            if definite & !done == 0 {
                return (Some(true), self.seen.len());
            }
            if !self.seen.insert((done, state)) {
                continue;
            }
            if self.seen.len() > configs_max {
                return (None, self.seen.len());
            }
            let undone = all & !done;
            let needed = |value: ValueId, besides: u64| {
                bits(undone & !besides).any(|i| items[i].entry.call.needs() == Some(value))
            };
            while ready != 0 {
                let i = ready.trailing_zeros() as usize;
                let entry = &items[i].entry;
                // Of equal calls the one that returns first; they are all ready.
                let equal = bits(ready)
                    .filter(|&j| items[j].entry.call == entry.call)
                    .fold(0u64, |mask, j| mask | 1 << j);
                ready &= !equal;
                let first = bits(equal).min_by_key(|&j| items[j].entry.ret).unwrap_or(i);
                let Some(after) = entry.call.writes() else { continue };
                if items[first].entry.is_optional()
                    && (after == state || undone & mismatches == 0 && !needed(after, 1 << first))
                {
                    continue;
                }
                self.work.push((done | 1 << first, after));
            }
        }
        (Some(false), self.seen.len())
    }
}

/// Takes what changes nothing as soon as it is possible; answers with what is done then, and what else may be next.
fn advance(items: &[Item], undone: u64, mut done: u64, state: ValueId) -> (u64, u64) {
    let (mut ready, mut ret_min) = (0, u64::MAX);
    for i in bits(undone) {
        let entry = &items[i].entry;
        if entry.inv > ret_min {
            break;
        }
        let possible = match entry.call {
            RegisterCall::Read(value) => value == state,
            RegisterCall::Differs(value) => value != state,
            RegisterCall::Write(_) => {
                ready |= 1 << i;
                false
            }
            RegisterCall::Cas(expected, _) => {
                ready |= u64::from(expected == state) << i;
                false
            }
        };
        if possible {
            done |= 1 << i;
        } else {
            ret_min = ret_min.min(entry.ret);
        }
    }
    (done, ready)
}

/// The places in a set, lowest first.
fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = set.trailing_zeros() as usize;
        (set != 0).then(|| {
            set &= set - 1;
            place
        })
    })
}
