//! Who appended which piece, and the register that comes of it.

use rustc_hash::FxHashMap;

use super::decode::{Block, quoted};
use super::{Calls, Update};
use crate::model::Entry;
use crate::model::register::{NULL, RegisterCall, ValueId};
use crate::object::Broken;

/// The update behind each piece of each block.
pub(super) struct Owners {
    /// By block and piece: place in the updates.
    of: Vec<Vec<usize>>,
    /// False when some pieces might have been given to others.
    pub(super) is_forced: bool,
}

/// A piece where it was seen.
#[derive(Clone, Copy)]
struct Sighting {
    block: usize,
    piece: usize,
    /// It was there only after this position, and by this one at the latest.
    after: u64,
    by: u64,
}

/// Gives every piece to an append; none where no append is left that fits.
pub(super) fn owners(calls: &Calls<'_>, blocks: &[Block<'_>]) -> Result<Option<Owners>, Broken> {
    let mut appends: FxHashMap<&str, Vec<usize>> = FxHashMap::default();
    for (number, update) in calls.updates.iter().enumerate().filter(|(_, update)| !update.is_put) {
        appends.entry(update.text).or_default().push(number);
    }
    let mut owners = Owners {
        of: blocks.iter().map(|block| vec![usize::MAX; block.pieces.len()]).collect(),
        is_forced: true,
    };
    let mut repeated: FxHashMap<&str, Vec<Sighting>> = FxHashMap::default();
    let mut owned = vec![None; calls.updates.len()];
    for (at, block) in blocks.iter().enumerate() {
        let windows = windows(calls, block);
        for (piece, word) in block.pieces.iter().enumerate() {
            let by = &appends[word];
            if by.len() > 1 {
                let (after, by) = windows[piece];
                repeated.entry(word).or_default().push(Sighting { block: at, piece, after, by });
            } else if let Some(other) = owned[by[0]].replace(at) {
                return Err(too_often(calls, blocks, by, &[other, at]));
            } else {
                owners.of[at][piece] = by[0];
            }
        }
    }
    let mut repeated: Vec<(&str, Vec<Sighting>)> = repeated.into_iter().collect();
    repeated.sort_by_key(|(word, _)| *word);
    for (word, sightings) in repeated {
        let by = &appends[word];
        if sightings.len() > by.len() {
            let seen: Vec<usize> = sightings.iter().map(|sighting| sighting.block).collect();
            return Err(too_often(calls, blocks, by, &seen));
        }
        if !owners.share_out(sightings, by, &calls.updates) {
            return Ok(None);
        }
    }
    Ok(Some(owners))
}

/// When each piece of a block came: after the last call of what does not show it, before the first return of what
/// does.
fn windows(calls: &Calls<'_>, block: &Block<'_>) -> Vec<(u64, u64)> {
    let mut windows =
        vec![(block.put.map_or(0, |put| calls.updates[put].call), u64::MAX); block.pieces.len()];
    for &(get, shown) in &block.gets {
        let get = calls.gets[get];
        if let Some((after, _)) = windows.get_mut(shown) {
            *after = get.call.max(*after);
        }
        if let Some((_, by)) = shown.checked_sub(1).and_then(|last| windows.get_mut(last)) {
            *by = get.ret.min(*by);
        }
    }
    for i in 1..windows.len() {
        windows[i].0 = windows[i].0.max(windows[i - 1].0);
    }
    for i in (1..windows.len()).rev() {
        windows[i - 1].1 = windows[i - 1].1.min(windows[i].1);
    }
    windows
}

fn too_often(calls: &Calls<'_>, blocks: &[Block<'_>], by: &[usize], seen: &[usize]) -> Broken {
    let word = calls.updates[by[0]].text;
    let times = match by.len() {
        1 => "once".to_string(),
        times => format!("{times} times"),
    };
    let reason = format!("{} was appended {times}, and seen {} times", quoted(word), seen.len());
    let gets = seen.iter().map(|&block| calls.gets[blocks[block].gets[0].0].place);
    Broken::new(
        "duplicated-element",
        by.iter().map(|&i| calls.updates[i].place).chain(gets).collect(),
        reason,
    )
}

impl Owners {
    /// Gives the pieces, in the order in which they had to be there, to those whose time ends first.
    fn share_out(&mut self, mut sightings: Vec<Sighting>, by: &[usize], updates: &[Update<'_>]) -> bool {
        sightings.sort_by_key(|sighting| (sighting.by, sighting.after, sighting.block, sighting.piece));
        let mut left: Vec<usize> = by.to_vec();
        left.sort_by_key(|&i| (updates[i].ret, updates[i].call));
        for Sighting { block, piece, after, by: until } in sightings {
            let fits = |&i: &usize| updates[i].call < until && updates[i].ret > after;
            self.is_forced &= by.iter().filter(|&i| fits(i)).count() == 1;
            let Some(at) = left.iter().position(fits) else { return false };
            self.of[block][piece] = left.remove(at);
        }
        true
    }
}

/// A text as a register.
pub(super) struct AsRegister {
    pub(super) entries: Vec<Entry<RegisterCall>>,
    /// One more than the largest value number.
    pub(super) values_len: usize,
}

pub(super) fn as_register(calls: &Calls<'_>, blocks: &[Block<'_>], owners: &Owners) -> AsRegister {
    let mut entries: Vec<Entry<RegisterCall>> = Vec::with_capacity(calls.updates.len() + calls.gets.len());
    let mut is_seen = vec![false; calls.updates.len()];
    let mut fresh = NULL;
    let mut number = || {
        fresh += 1;
        fresh
    };
    let mut update = |i: usize, call: RegisterCall, entries: &mut Vec<Entry<RegisterCall>>| {
        is_seen[i] = true;
        let Update { place, call: inv, ret, .. } = calls.updates[i];
        entries.push(Entry { call, inv, ret, op: place });
    };
    let mut texts: Vec<ValueId> = Vec::new();
    for (block, owners) in blocks.iter().zip(&owners.of) {
        texts.clear();
        texts.push(match block.put {
            None => NULL,
            Some(put) => {
                let text = number();
                update(put, RegisterCall::Write(text), &mut entries);
                text
            }
        });
        for &owner in owners {
            let (before, after) = (texts[texts.len() - 1], number());
            update(owner, RegisterCall::Cas(before, after), &mut entries);
            texts.push(after);
        }
        entries.extend(block.gets.iter().map(|&(get, shown)| {
            let get = calls.gets[get];
            Entry { call: RegisterCall::Read(texts[shown]), inv: get.call, ret: get.ret, op: get.place }
        }));
    }
    let unseen =
        calls.updates.iter().zip(&is_seen).filter(|(update, is_seen)| update.ret != u64::MAX && !**is_seen);
    entries.extend(unseen.map(|(&Update { place, call: inv, ret, .. }, _)| Entry {
        call: RegisterCall::Write(number()),
        inv,
        ret,
        op: place,
    }));
    entries.sort_unstable_by_key(|entry| entry.inv);
    AsRegister { entries, values_len: fresh as usize + 1 }
}
