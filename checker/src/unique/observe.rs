//! The legal order itself, with the observations "it did not hold `a`" fitted in.
//!
//! For a fixed order of the writers `w1, w2, …` everything else is a choice of their instants
//! `t1 <= t2 <= …`, each between the latest call before it and the earliest return after it. An observation
//! that the register did not hold `a`, called at `i` and back at `r`, asks that the writer of `a` takes effect
//! at or after `i`, or the writer that follows it at or before `r`. Whether such instants exist is decided
//! exactly, in one pass: what is possible for one writer is always an interval, given what is possible for
//! the one before it. Which order the writers have is chosen by the zones, and where an observation does
//! not fit, by trying the alternatives that are near: an indefinite write that nobody saw may explain it, or
//! a neighbouring block that has room elsewhere.

use super::zone::Block;
use super::{Groups, NONE};
use crate::model::register::{RegisterCall, ValueId};

/// Most places that may be looked at again while changing the order of one history.
const REPAIR_PLACES_MAX: usize = 4_000_000;

/// How many blocks to either side are tried in another place.
const NEIGHBOURS: usize = 8;

/// A mismatch: the register did not hold the value at some instant between `inv` and `ret`.
#[derive(Debug, Clone, Copy)]
struct Mismatch {
    entry: u32,
    inv: u64,
    ret: u64,
}

/// Can every mismatch be fitted in? A no proves nothing.
pub(super) fn fits(groups: &Groups<'_>, blocks: &[Block]) -> bool {
    fitted(groups, &Mismatches::new(groups), blocks).is_some()
}

/// A legal order of all that took effect; none when a mismatch could not be fitted in.
pub(super) fn order(groups: &Groups<'_>, blocks: &[Block]) -> Option<Vec<usize>> {
    let mismatches = Mismatches::new(groups);
    let (line, instants) = fitted(groups, &mismatches, blocks)?;
    Some(line.witness(groups, &mismatches, &instants))
}

/// An order of the writers and their instants.
fn fitted(groups: &Groups<'_>, mismatches: &Mismatches, blocks: &[Block]) -> Option<(Line, Vec<u64>)> {
    let mut line = Line::new(groups, blocks);
    let mut spent = 0;
    loop {
        match line.instants(mismatches) {
            Ok(instants) => return Some((line, instants)),
            Err(stuck) if spent < REPAIR_PLACES_MAX => {
                if !line.insert_unseen(groups, stuck) && !line.move_neighbour(mismatches, stuck, &mut spent) {
                    return None;
                }
                spent += line.places.len();
            }
            Err(_) => return None,
        }
    }
}

/// The mismatches of a history, by value.
struct Mismatches {
    /// Sorted by value.
    all: Vec<(ValueId, Mismatch)>,
}

impl Mismatches {
    fn new(groups: &Groups<'_>) -> Self {
        let mut all: Vec<(ValueId, Mismatch)> = Vec::new();
        for (i, entry) in groups.entries.iter().enumerate() {
            if let RegisterCall::Differs(value) = entry.call {
                let (inv, ret) = (groups.inv(i as u32), groups.ret(i as u32));
                all.push((value, Mismatch { entry: i as u32, inv, ret }));
            }
        }
        all.sort_by_key(|(value, _)| *value);
        Mismatches { all }
    }

    fn of(&self, value: ValueId) -> &[(ValueId, Mismatch)] {
        let start = self.all.partition_point(|(v, _)| *v < value);
        let len = self.all[start..].partition_point(|(v, _)| *v == value);
        &self.all[start..start + len]
    }
}

/// A group in its place.
#[derive(Debug, Clone, Copy)]
struct Place {
    value: ValueId,
    /// True where a block begins: only there something else can go before it.
    begins: bool,
    /// Not earlier than its own call.
    inv: u64,
    /// Latest call of the group.
    inv_max: u64,
    /// Earliest return of the group.
    ret_min: u64,
}

/// The groups in order.
struct Line {
    places: Vec<Place>,
    /// Indefinite writers nobody saw that the order does not use yet, by order of call.
    unseen: Vec<ValueId>,
}

/// The interval of instants that are possible for a writer, given all before it.
#[derive(Debug, Clone, Copy)]
struct Reach {
    earliest: u64,
    latest: u64,
}

/// Where an order breaks down: after this place, for this mismatch; without one the order itself is wrong.
#[derive(Debug, Clone, Copy)]
struct Stuck {
    place: usize,
    mismatch: Option<Mismatch>,
}

impl Line {
    fn new(groups: &Groups<'_>, blocks: &[Block]) -> Self {
        let mut places = Vec::with_capacity(groups.all.len());
        for block in blocks {
            for value in groups.chain(block.zone.root) {
                places.push(Place::new(groups, value, value == block.zone.root));
            }
        }
        let mut unseen: Vec<ValueId> = (1..groups.all.len() as ValueId)
            .filter(|&v| !groups.all[v as usize].needed && groups.all[v as usize].writer != NONE)
            .collect();
        unseen.sort_by_key(|&value| groups.inv(groups.all[value as usize].writer));
        Line { places, unseen }
    }

    /// An instant for each writer; or where this order breaks down.
    fn instants(&self, mismatches: &Mismatches) -> Result<Vec<u64>, Stuck> {
        let latest = backwards_min(self.places.iter().map(|place| place.ret_min));
        let mut reach: Vec<Reach> = Vec::with_capacity(self.places.len());
        let mut called = 0;
        for (i, place) in self.places.iter().enumerate() {
            let floor = called.max(place.inv);
            reach.push(match i.checked_sub(1) {
                None => Reach { earliest: floor, latest: latest[0] },
                Some(before) => self.follow(before, reach[before], floor, latest[i], mismatches)?,
            });
            called = called.max(place.inv_max);
        }
        if let Some(last) = reach.len().checked_sub(1) {
            self.follow(last, reach[last], u64::MAX, u64::MAX, mismatches)?;
        }
        // Each as late as the next one lets it be: later is better for its own mismatches.
        Ok(backwards_min(reach.iter().map(|reach| reach.latest)))
    }

    /// What is possible for the writer after `place`, which must lie between `floor` and `ceiling`.
    fn follow(
        &self,
        place: usize,
        from: Reach,
        floor: u64,
        ceiling: u64,
        mismatches: &Mismatches,
    ) -> Result<Reach, Stuck> {
        let (mut earliest, mut latest) = (from.earliest, ceiling);
        for &(_, mismatch) in mismatches.of(self.places[place].value) {
            if mismatch.ret < floor {
                // Too early for the next writer to explain it: this one must come late enough.
                earliest = earliest.max(mismatch.inv);
            }
            if mismatch.inv > from.latest {
                latest = latest.min(mismatch.ret);
            }
            if earliest > from.latest {
                return Err(Stuck { place, mismatch: Some(mismatch) });
            }
        }
        earliest = earliest.max(floor);
        if earliest > latest { Err(Stuck { place, mismatch: None }) } else { Ok(Reach { earliest, latest }) }
    }

    /// Lets an indefinite write that nobody saw explain the mismatch; false when there is none.
    fn insert_unseen(&mut self, groups: &Groups<'_>, stuck: Stuck) -> bool {
        let (Some(mismatch), next) = (stuck.mismatch, stuck.place + 1) else { return false };
        if self.places.get(next).is_some_and(|place| !place.begins) {
            return false;
        }
        let held = self.places[stuck.place].value;
        // Of those called in time the last one: the others may serve where it is too late.
        let found = self.unseen.iter().rposition(|&value| {
            let in_time = groups.inv(groups.all[value as usize].writer) <= mismatch.ret;
            in_time && groups.expected(value).is_none_or(|expected| expected == held)
        });
        let Some(at) = found else { return false };
        let value = self.unseen.remove(at);
        self.places.insert(next, Place::new(groups, value, groups.expected(value).is_none()));
        true
    }

    /// Moves a block from nearby behind the place that is stuck; false when none helps.
    fn move_neighbour(&mut self, mismatches: &Mismatches, stuck: Stuck, spent: &mut usize) -> bool {
        let (Some(mismatch), next) = (stuck.mismatch, stuck.place + 1) else { return false };
        if self.places.get(next).is_some_and(|place| !place.begins) {
            return false;
        }
        for (start, end) in self.neighbours(stuck.place) {
            if self.places[start].inv > mismatch.ret || *spent > REPAIR_PLACES_MAX {
                continue;
            }
            let before = self.places.clone();
            let block: Vec<Place> = self.places.drain(start..end).collect();
            let at = if start < next { next - block.len() } else { next };
            self.places.splice(at..at, block);
            *spent += self.places.len();
            match self.instants(mismatches) {
                Err(worse) if worse.place < at => self.places = before,
                _ => return true,
            }
        }
        false
    }

    /// Ranges of the blocks near the one that holds `place`, nearest first, without that one and the initial.
    fn neighbours(&self, place: usize) -> Vec<(usize, usize)> {
        let end_of = |start: usize| {
            let len = self.places[start + 1..].iter().take_while(|place| !place.begins).count();
            start + 1 + len
        };
        let own = (0..=place).rev().find(|&i| self.places[i].begins).unwrap_or(0);
        let after = (place + 1..self.places.len()).filter(|&i| self.places[i].begins).take(NEIGHBOURS);
        let before = (1..own).rev().filter(|&i| self.places[i].begins).take(NEIGHBOURS);
        after.chain(before).map(|start| (start, end_of(start))).collect()
    }

    /// Everything that took effect, in order.
    fn witness(&self, groups: &Groups<'_>, mismatches: &Mismatches, instants: &[u64]) -> Vec<usize> {
        // (instant, place, 1 = its writer, 2 = what sees it, entry)
        let mut order: Vec<(u64, u32, u8, u32)> = Vec::with_capacity(groups.entries.len());
        let mut place_of = vec![NONE; groups.all.len()];
        for (i, (place, &instant)) in self.places.iter().zip(instants).enumerate() {
            place_of[place.value as usize] = i as u32;
            let writer = groups.all[place.value as usize].writer;
            if writer != NONE {
                order.push((instant, i as u32, 1, writer));
            }
        }
        for (i, entry) in groups.entries.iter().enumerate() {
            if let RegisterCall::Read(value) = entry.call {
                let place = place_of[value as usize];
                order.push((groups.inv(i as u32).max(instants[place as usize]), place, 2, i as u32));
            }
        }
        for (value, mismatch) in &mismatches.all {
            let (instant, place) = explain(place_of[*value as usize], mismatch, instants);
            order.push((instant, place, 2, mismatch.entry));
        }
        order.sort_unstable();
        order.into_iter().map(|(_, _, _, entry)| entry as usize).collect()
    }
}

/// An instant of the mismatch at which another value is held, and the place of that value.
fn explain(place: u32, mismatch: &Mismatch, instants: &[u64]) -> (u64, u32) {
    let holder = |instant: u64| (instants.partition_point(|&at| at <= instant) as u32).saturating_sub(1);
    if place == NONE {
        return (mismatch.inv, holder(mismatch.inv));
    }
    if mismatch.inv <= instants[place as usize] {
        return (mismatch.inv, holder(mismatch.inv).min(place.saturating_sub(1)));
    }
    let over = instants.get(place as usize + 1).copied().unwrap_or(u64::MAX);
    let instant = mismatch.inv.max(over);
    (instant, holder(instant))
}

/// Of each element the least of it and all that follow.
fn backwards_min(numbers: impl DoubleEndedIterator<Item = u64>) -> Vec<u64> {
    let mut bound = u64::MAX;
    let mut least: Vec<u64> = numbers
        .rev()
        .map(|number| {
            bound = bound.min(number);
            bound
        })
        .collect();
    least.reverse();
    least
}

impl Place {
    fn new(groups: &Groups<'_>, value: ValueId, begins: bool) -> Self {
        let group = &groups.all[value as usize];
        let mut place = Place {
            value,
            begins,
            inv: groups.inv(group.writer),
            inv_max: groups.inv(group.writer),
            ret_min: groups.ret(group.writer),
        };
        if group.read_min != NONE {
            place.inv_max = place.inv_max.max(groups.inv(group.read_max));
            place.ret_min = place.ret_min.min(groups.ret(group.read_min));
        }
        place
    }
}
