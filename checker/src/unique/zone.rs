//! Chains as zones, and the zones against each other.

use super::clash::torn;
use super::{Groups, NONE, Proof};
use crate::model::register::ValueId;

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

/// The zones of all needed chains, none of which clash.
pub(super) struct Zones {
    /// By `ret_min`, disjoint.
    forward: Vec<Zone>,
    backward: Vec<Zone>,
}

impl Zones {
    pub(super) fn new(groups: &Groups<'_>) -> Result<Self, Proof> {
        let (mut forward, backward) = zones(groups)?;
        forward.sort_unstable_by_key(|zone| zone.ret_min);
        for pair in forward.windows(2) {
            if pair[1].ret_min < pair[0].inv_max {
                return Err(torn(groups, pair[0], pair[1]));
            }
        }
        let zones = Zones { forward, backward };
        for zone in &zones.backward {
            match zones.cover(zone) {
                Some(outer) if outer.ret_min < zone.inv_max => return Err(torn(groups, outer, *zone)),
                _ => {}
            }
        }
        Ok(zones)
    }

    /// The forward zone that covers a backward zone's end. It is the last one that begins before that end.
    fn cover(&self, backward: &Zone) -> Option<Zone> {
        let next = self.forward.partition_point(|outer| outer.ret_min < backward.ret_min);
        let outer = self.forward[next.checked_sub(1)?];
        (backward.ret_min < outer.inv_max).then_some(outer)
    }

    /// Every chain, in an order in which they can follow each other.
    pub(super) fn into_blocks(self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::with_capacity(self.forward.len() + self.backward.len());
        for zone in &self.backward {
            // Before a forward zone that covers its end, as it began before that.
            let at = self.cover(zone).map_or(zone.ret_min, |outer| outer.ret_min);
            blocks.push(Block { zone: *zone, at });
        }
        blocks.extend(self.forward.into_iter().map(|zone| Block { zone, at: zone.ret_min }));
        blocks.sort_unstable_by_key(|block| (block.at, block.zone.is_forward(), block.zone.ret_min));
        blocks
    }
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
