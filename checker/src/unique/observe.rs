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

use super::zone::{Block, Zones};
use super::{Groups, NONE};
use crate::model::register::{NULL, RegisterCall, ValueId};

/// Most places that may be looked at again while changing the order of one history.
const REPAIR_PLACES_MAX: usize = 4_000_000;

/// How far on a block is looked for that could come earlier, in places.
const WINDOW: usize = 512;

/// How many blocks are tried in another place, to either side.
const TRIES: usize = 16;

/// A mismatch: the register did not hold the value at some instant between `inv` and `ret`.
#[derive(Debug, Clone, Copy)]
struct Mismatch {
    entry: u32,
    inv: u64,
    ret: u64,
}

/// Can every mismatch be fitted in? A no proves nothing.
pub(super) fn fits(groups: &Groups<'_>, zones: Zones) -> bool {
    let mismatches = Mismatches::in_doubt(groups);
    mismatches.all.is_empty() || fitted(groups, &mismatches, &zones.into_blocks()).is_some()
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
    loop {
        match line.advance(mismatches, usize::MAX) {
            Ok(()) => break,
            Err(stuck) if line.spent < REPAIR_PLACES_MAX => {
                let mismatch = stuck.mismatch?;
                if !line.repair(groups, mismatches, stuck.place, mismatch) {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
    // Each as late as the next one lets it be: later is better for its own mismatches.
    let instants = backwards_min(line.reach.iter().map(|reach| reach.latest));
    Some((line, instants))
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

    /// Those that do not fit into every legal order by themselves. All others ask nothing of an order.
    fn in_doubt(groups: &Groups<'_>) -> Self {
        let mut doubtful = without_another_value(groups);
        doubtful.retain(|(value, mismatch)| !is_not_there_yet(groups, *value, mismatch));
        surely_over(groups, &mut doubtful);
        doubtful.sort_unstable_by_key(|(value, mismatch)| (*value, mismatch.entry));
        Mismatches { all: doubtful }
    }

    fn of(&self, value: ValueId) -> &[(ValueId, Mismatch)] {
        let start = self.all.partition_point(|(v, _)| *v < value);
        let len = self.all[start..].partition_point(|(v, _)| *v == value);
        &self.all[start..start + len]
    }
}

/// The mismatches during which no operation on another value was both called and back: at that one's instant
/// the register does not hold what is denied, in whatever order.
fn without_another_value(groups: &Groups<'_>) -> Vec<(ValueId, Mismatch)> {
    let mut doubtful = Vec::new();
    // Of all operations called later: the earliest return, and the earliest on any other value than that one's.
    let (mut first, mut other) = ((u64::MAX, NONE), (u64::MAX, NONE));
    for (i, entry) in groups.entries.iter().enumerate().rev() {
        let ret = groups.ret(i as u32);
        match entry.call {
            RegisterCall::Differs(value) => {
                let back = if first.1 == value { other.0 } else { first.0 };
                if ret < back {
                    doubtful.push((value, Mismatch { entry: i as u32, inv: groups.inv(i as u32), ret }));
                }
            }
            RegisterCall::Read(value) | RegisterCall::Write(value) | RegisterCall::Cas(_, value) => {
                if value == first.1 {
                    first.0 = first.0.min(ret);
                } else if ret < first.0 {
                    (first, other) = ((ret, value), first);
                } else if ret < other.0 {
                    other = (ret, value);
                }
            }
        }
    }
    doubtful
}

/// Its value was written by nobody, or by an operation that was called after the mismatch was.
fn is_not_there_yet(groups: &Groups<'_>, value: ValueId, mismatch: &Mismatch) -> bool {
    let writer = groups.all[value as usize].writer;
    (writer == NONE && value != NULL) || groups.inv(writer) > mismatch.inv
}

/// Takes out the mismatches that were back only after an update was back that certainly replaced their value, as
/// it was called when something on that value had returned.
fn surely_over(groups: &Groups<'_>, doubtful: &mut Vec<(ValueId, Mismatch)>) {
    let since = |value: ValueId| {
        let group = &groups.all[value as usize];
        let read_min = if group.read_min == NONE { u64::MAX } else { groups.ret(group.read_min) };
        // Value 0's writer is the beginning itself; the others here have one.
        groups.ret(group.writer).min(read_min)
    };
    let mut by_since: Vec<(u64, u32)> =
        doubtful.iter().zip(0..).map(|((value, _), at)| (since(*value), at)).collect();
    by_since.sort_unstable();
    let mut is_over = vec![false; doubtful.len()];
    let mut updates = (0..groups.entries.len() as u32)
        .rev()
        .filter(|&i| groups.entries[i as usize].call.writes().is_some())
        .peekable();
    // The earliest return of any update that was called later.
    let mut back = u64::MAX;
    for (since, at) in by_since.into_iter().rev() {
        while let Some(update) = updates.next_if(|&update| groups.inv(update) > since) {
            back = back.min(groups.ret(update));
        }
        is_over[at as usize] = back < doubtful[at as usize].1.ret;
    }
    let mut is_over = is_over.into_iter();
    doubtful.retain(|_| !is_over.next().unwrap_or(false));
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

/// The groups in order, with what is possible for the first of them.
struct Line {
    places: Vec<Place>,
    /// By place: the earliest return of its group and all that follow.
    latest: Vec<u64>,
    /// The first places, as far as they were looked at.
    reach: Vec<Reach>,
    /// Indefinite writers nobody saw that the order does not use yet, by order of call.
    unseen: Vec<ValueId>,
    /// Places that were looked at while changing the order.
    spent: usize,
}

/// The interval of instants that are possible for a writer, given all before it.
#[derive(Debug, Clone, Copy)]
struct Reach {
    earliest: u64,
    latest: u64,
    /// The latest call of its group and all before.
    called: u64,
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
        let latest = backwards_min(places.iter().map(|place| place.ret_min));
        let reach = Vec::with_capacity(places.len());
        Line { places, latest, reach, unseen, spent: 0 }
    }

    /// Finds what is possible for the places up to `end`; or where this order breaks down before.
    fn advance(&mut self, mismatches: &Mismatches, end: usize) -> Result<(), Stuck> {
        while self.reach.len() < self.places.len().min(end) {
            let i = self.reach.len();
            let place = self.places[i];
            let reach = match i.checked_sub(1) {
                None => Reach { earliest: place.inv, latest: self.latest[0], called: place.inv_max },
                Some(before) => {
                    let called = self.reach[before].called;
                    let reach = self.follow(before, called.max(place.inv), self.latest[i], mismatches)?;
                    Reach { called: called.max(place.inv_max), ..reach }
                }
            };
            self.reach.push(reach);
        }
        if end > self.places.len()
            && let Some(last) = self.places.len().checked_sub(1)
        {
            self.follow(last, u64::MAX, u64::MAX, mismatches)?;
        }
        Ok(())
    }

    /// What is possible for the writer after `place`, which must lie between `floor` and `ceiling`.
    fn follow(
        &self,
        place: usize,
        floor: u64,
        ceiling: u64,
        mismatches: &Mismatches,
    ) -> Result<Reach, Stuck> {
        let from = self.reach[place];
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
        if earliest > latest {
            Err(Stuck { place, mismatch: None })
        } else {
            Ok(Reach { earliest, latest, ..from })
        }
    }

    /// Lets something else come after `place`, so that the mismatch there has room; false when nothing helps.
    fn repair(
        &mut self,
        groups: &Groups<'_>,
        mismatches: &Mismatches,
        place: usize,
        mismatch: Mismatch,
    ) -> bool {
        // Nothing comes between a value and the compare-and-set that replaced it.
        let is_free = self.places.get(place + 1).is_none_or(|next| next.begins);
        let in_time = is_free && self.reach[place].called <= mismatch.ret;
        let helps = in_time
            && (self.insert_unseen(groups, place, mismatch)
                || self.bring_forward(mismatches, place, mismatch));
        helps || self.put_behind(mismatches, place)
    }

    /// Lets an indefinite write that nobody saw explain the mismatch.
    fn insert_unseen(&mut self, groups: &Groups<'_>, place: usize, mismatch: Mismatch) -> bool {
        let (held, next) = (self.places[place].value, place + 1);
        let writer_inv = |value: ValueId| groups.inv(groups.all[value as usize].writer);
        let in_time = self.unseen.partition_point(|&value| writer_inv(value) <= mismatch.ret);
        // Of those called in time the last one: the others may serve where it is too late.
        let fits = |&value: &ValueId| groups.expected(value).is_none_or(|expected| expected == held);
        let Some(at) = self.unseen[..in_time].iter().rposition(fits) else { return false };
        let value = self.unseen.remove(at);
        self.places.insert(next, Place::new(groups, value, groups.expected(value).is_none()));
        // Nobody saw it return: the bounds of the others stay.
        self.latest.insert(next, self.latest.get(next).copied().unwrap_or(u64::MAX));
        self.spent += 1 + (self.places.len() - next) / 16;
        true
    }

    /// Moves a block that was called in time from behind to directly after `place`.
    fn bring_forward(&mut self, mismatches: &Mismatches, place: usize, mismatch: Mismatch) -> bool {
        let next = place + 1;
        let mut candidates = Vec::new();
        let mut start = next;
        while start < self.places.len().min(next + WINDOW) {
            let end = self.end_of(start);
            if start > next && self.places[start].inv <= mismatch.ret {
                let inv_max = self.places[start..end].iter().map(|place| place.inv_max).max();
                candidates.push((inv_max, start, end));
            }
            start = end;
        }
        // What follows has to wait until all of the block was called: the earlier, the better.
        candidates.sort_unstable();
        self.spent += start - next;
        candidates.iter().take(TRIES).any(|&(_, start, end)| {
            self.places[next..end].rotate_right(end - start);
            let helps = self.look_again(mismatches, next, next, end);
            if !helps {
                self.places[next..end].rotate_left(end - start);
                self.refresh(next, end);
            }
            helps
        })
    }

    /// Moves a block that comes before that of `place` behind it.
    fn put_behind(&mut self, mismatches: &Mismatches, place: usize) -> bool {
        let own = (0..=place).rev().find(|&i| self.places[i].begins).unwrap_or(0);
        let end = self.end_of(own);
        let begins = |&i: &usize| self.places[i].begins;
        let starts: Vec<usize> = (1..own).rev().take(WINDOW).filter(begins).take(TRIES).collect();
        starts.into_iter().any(|start| {
            let len = self.end_of(start) - start;
            self.places[start..end].rotate_left(len);
            let helps = self.look_again(mismatches, start, place - len, end);
            if !helps {
                self.places[start..end].rotate_right(len);
                self.refresh(start, end);
                self.reach.truncate(start);
                // It went so far before.
                let _ = self.advance(mismatches, place + 1);
            }
            helps
        })
    }

    /// After the places from `start` on changed: does the order hold up to `end`, or break down behind `from`
    /// without being wrong itself?
    fn look_again(&mut self, mismatches: &Mismatches, start: usize, from: usize, end: usize) -> bool {
        let end = end.min(self.places.len());
        self.refresh(start, end);
        self.reach.truncate(start);
        self.spent += end - start;
        match self.advance(mismatches, end) {
            Ok(()) => true,
            Err(stuck) => stuck.place > from && stuck.mismatch.is_some(),
        }
    }

    /// Bounds of the places from `start` to `end` anew; the set of those behind each place before is the same.
    fn refresh(&mut self, start: usize, end: usize) {
        let mut bound = self.latest.get(end).copied().unwrap_or(u64::MAX);
        for i in (start..end).rev() {
            bound = bound.min(self.places[i].ret_min);
            self.latest[i] = bound;
        }
    }

    /// The first place behind the block that begins at `start`.
    fn end_of(&self, start: usize) -> usize {
        let len = self.places[start + 1..].iter().take_while(|place| !place.begins).count();
        start + 1 + len
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
