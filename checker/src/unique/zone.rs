//! Chains as zones, and the zones against each other.

use super::{Groups, Hold, NONE, Proof};
use crate::model::register::{NULL, RegisterCall, ValueId};

/// A chain of groups as others see it. Positions are those of events plus one; the initial write is at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Zone {
    /// The value the chain begins with.
    pub(super) root: ValueId,
    /// Earliest return of any of its operations.
    pub(super) ret_min: u64,
    /// Latest call of any of its operations.
    pub(super) inv_max: u64,
}

impl Zone {
    /// Does it certainly hold the register from `ret_min` to `inv_max`?
    pub(super) fn is_forward(&self) -> bool {
        self.ret_min < self.inv_max
    }
}

/// A chain with the instant from which it can hold the register.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) zone: Zone,
    pub(super) at: u64,
}

/// Every needed chain, in an order in which they can follow each other.
pub(super) fn blocks(groups: &Groups<'_>) -> Result<Vec<Block>, Proof> {
    let (mut forward, backward) = zones(groups)?;
    forward.sort_unstable_by_key(|zone| zone.ret_min);
    for pair in forward.windows(2) {
        if pair[1].ret_min < pair[0].inv_max {
            return Err(torn(groups, pair[0], pair[1]));
        }
    }
    let mut blocks: Vec<Block> = Vec::with_capacity(forward.len() + backward.len());
    for zone in backward {
        // The last forward zone that begins at or before the end of this one: only it can cover that end.
        let next = forward.partition_point(|outer| outer.ret_min < zone.ret_min);
        let at = match next.checked_sub(1).map(|i| forward[i]) {
            Some(outer) if zone.ret_min < outer.inv_max => {
                if outer.ret_min < zone.inv_max {
                    return Err(torn(groups, outer, zone));
                }
                outer.ret_min
            }
            _ => zone.ret_min,
        };
        blocks.push(Block { zone, at });
    }
    blocks.extend(forward.into_iter().map(|zone| Block { zone, at: zone.ret_min }));
    blocks.sort_unstable_by_key(|block| (block.at, block.zone.is_forward(), block.zone.ret_min));
    Ok(blocks)
}

/// Forward and backward zones; checks the order within each chain.
fn zones(groups: &Groups<'_>) -> Result<(Vec<Zone>, Vec<Zone>), Proof> {
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    let mut chained = 0;
    let needed = groups.all.iter().filter(|group| group.needed).count();
    for root in (0..groups.all.len() as ValueId).filter(|&value| groups.is_root(value)) {
        let mut walk = Walk { groups, value: root, last: NONE, ret_min: u64::MAX };
        for value in groups.chain(root) {
            chained += 1;
            walk.value = value;
            let group = groups.all[value as usize];
            match group.writer {
                NONE => walk.ret_min = 0,
                writer => walk.step(writer, writer)?,
            }
            if group.read_min != NONE {
                walk.step(group.read_min, group.read_max)?;
            }
        }
        let zone = Zone { root, ret_min: walk.ret_min, inv_max: groups.inv(walk.last) };
        if zone.is_forward() { forward.push(zone) } else { backward.push(zone) }
    }
    if chained < needed { Err(cycle(groups)) } else { Ok((forward, backward)) }
}

/// A walk along a chain.
struct Walk<'g, 'e> {
    groups: &'g Groups<'e>,
    /// The value it is at.
    value: ValueId,
    /// The operation met so far that was called last.
    last: u32,
    /// The earliest return met so far.
    ret_min: u64,
}

impl Walk<'_, '_> {
    /// Goes past operations of which `first_back` returned first and `last_called` was called last.
    fn step(&mut self, first_back: u32, last_called: u32) -> Result<(), Proof> {
        if self.groups.ret(first_back) < self.groups.inv(self.last) {
            let support = self.groups.path(self.value);
            return Err(Proof::Order { early: first_back as usize, late: self.last as usize, support });
        }
        if self.groups.inv(last_called) > self.groups.inv(self.last) {
            self.last = last_called;
        }
        self.ret_min = self.ret_min.min(self.groups.ret(first_back));
        Ok(())
    }
}

/// The clash of two zones, with as few and as early operations as show it.
fn torn(groups: &Groups<'_>, older: Zone, newer: Zone) -> Proof {
    let (inside_older, inside_newer) = (members(groups, older), members(groups, newer));
    let is_in =
        |inside: &[bool], entry: &u32| groups.value_of(*entry).is_some_and(|value| inside[value as usize]);
    let definite = |entry: &u32| !groups.entries[*entry as usize].is_optional();
    let all = 0..groups.entries.len() as u32;
    // One operation of the newer block may be enough: called after the older one was there, back before it
    // was there again.
    let single = all
        .clone()
        .filter(|entry| is_in(&inside_newer, entry) && definite(entry))
        .find(|&entry| groups.inv(entry) > older.ret_min && groups.ret(entry) < older.inv_max);
    let newer = match single {
        Some(entry) => Hold {
            first_back: Some(entry as usize),
            last_called: Some(entry as usize),
            ..hold(groups, newer)
        },
        None => hold(groups, newer),
    };
    let known = newer.first_back.map_or(0, |entry| groups.ret(entry as u32));
    let witness = all
        .filter(|entry| is_in(&inside_older, entry) && definite(entry))
        .find(|&entry| groups.inv(entry) > known);
    let mut older = hold(groups, older);
    older.last_called = witness.map(|entry| entry as usize).or(older.last_called);
    Proof::Torn { older: Box::new(older.supported(groups)), newer: Box::new(newer.supported(groups)) }
}

/// A mismatch from whose call to whose return the value it denies was certainly there: something on that
/// value had returned before, and something that needs it was called after.
pub(super) fn denied(groups: &Groups<'_>) -> Result<(), Proof> {
    for (i, entry) in groups.entries.iter().enumerate() {
        let RegisterCall::Differs(value) = entry.call else { continue };
        let group = &groups.all[value as usize];
        if !group.needed {
            continue;
        }
        let some = |entry: u32| (entry != NONE).then_some(entry);
        let next = some(group.succ).and_then(|succ| some(groups.all[succ as usize].writer));
        let back = [group.writer, group.read_min].into_iter().filter_map(some).min_by_key(|&e| groups.ret(e));
        let called = some(group.read_max).into_iter().chain(next).max_by_key(|&e| groups.inv(e));
        // The initial value was there from the start.
        let since = if value == NULL { 0 } else { back.map_or(u64::MAX, |e| groups.ret(e)) };
        let until = called.map_or(0, |e| groups.inv(e));
        if since < groups.inv(i as u32) && groups.ret(i as u32) < until {
            let first_back = if value == NULL { None } else { back.map(|e| e as usize) };
            let last_called = called.map(|e| e as usize);
            let hold = Hold { first_back, last_called, support: Vec::new(), is_unseen: false };
            return Err(Proof::Denied { entry: i, hold: Box::new(hold.supported(groups)) });
        }
    }
    Ok(())
}

/// By value number: is it in the zone's chain?
fn members(groups: &Groups<'_>, zone: Zone) -> Vec<bool> {
    let mut inside = vec![false; groups.all.len()];
    groups.chain(zone.root).for_each(|value| inside[value as usize] = true);
    inside
}

/// The operations at the ends of a zone, without support.
fn hold(groups: &Groups<'_>, zone: Zone) -> Hold {
    let (mut first_back, mut last_called) = (None, None);
    for value in groups.chain(zone.root) {
        let group = &groups.all[value as usize];
        for entry in [group.writer, group.read_min, group.read_max].into_iter().filter(|&entry| entry != NONE)
        {
            if groups.ret(entry) == zone.ret_min {
                first_back = Some(entry as usize);
            }
            if groups.inv(entry) == zone.inv_max {
                last_called = Some(entry as usize);
            }
        }
    }
    let root = &groups.all[zone.root as usize];
    Hold {
        first_back,
        last_called,
        support: Vec::new(),
        is_unseen: root.read_min == NONE && root.succ == NONE,
    }
}

impl Hold {
    fn supported(mut self, groups: &Groups<'_>) -> Hold {
        for entry in self.first_back.into_iter().chain(self.last_called) {
            if let Some(value) = groups.value_of(entry as u32) {
                self.support.extend(groups.path(value));
                self.support.extend(groups.sighting(value));
            }
        }
        self
    }
}

/// Needed groups that hang on no root: compare-and-sets in a circle.
fn cycle(groups: &Groups<'_>) -> Proof {
    let mut state = vec![0u8; groups.all.len()];
    for root in (0..groups.all.len() as ValueId).filter(|&value| groups.is_root(value)) {
        groups.chain(root).for_each(|value| state[value as usize] = 1);
    }
    let start =
        (0..groups.all.len()).find(|&v| groups.all[v].needed && state[v] == 0).unwrap_or(0) as ValueId;
    // Going back from there must come round, as it never reaches a root.
    let back = |value: ValueId| groups.expected(value).unwrap_or(value);
    let mut value = start;
    while state[value as usize] == 0 {
        state[value as usize] = 2;
        value = back(value);
    }
    let mut entries = Vec::new();
    while state[value as usize] == 2 {
        state[value as usize] = 3;
        entries.push(groups.all[value as usize].writer as usize);
        value = back(value);
    }
    entries.sort_unstable();
    let support = entries.iter().filter_map(|&i| groups.entries[i].call.writes());
    let support = support.flat_map(|value| groups.sighting(value)).collect();
    Proof::CasCycle { entries, support }
}
