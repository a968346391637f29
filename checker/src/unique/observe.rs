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
    mismatches.all.is_empty() || Line::new(groups, zones.into_blocks()).fit(groups, &mismatches, true)
}

/// A legal order of all that took effect; none when a mismatch could not be fitted in.
pub(super) fn order(groups: &Groups<'_>, blocks: Vec<Block>) -> Option<Vec<usize>> {
    let mismatches = Mismatches::new(groups);
    let mut line = Line::new(groups, blocks);
    if !line.fit(groups, &mismatches, false) {
        return None;
    }
    // Each as late as the next one lets it be: later is better for its own mismatches.
    let mut instants: Vec<u64> = line.reach.iter().map(|reach| reach.latest).collect();
    least_from_here(&mut instants);
    Some(line.witness(groups, &mismatches, &instants))
}

/// The mismatches of a history, by value.
struct Mismatches {
    /// Those of the same value beside each other, in order of call.
    all: Vec<Mismatch>,
    /// By value: where its own begin. One more at the end.
    starts: Vec<u32>,
}

impl Mismatches {
    fn new(groups: &Groups<'_>) -> Self {
        let all = (0..groups.entries.len() as u32).filter(|&entry| groups.denied(entry).is_some());
        Self::by_value(groups, &all.collect::<Vec<_>>())
    }

    /// Those that do not fit into every legal order by themselves. All others ask nothing of an order.
    fn in_doubt(groups: &Groups<'_>) -> Self {
        let mut doubtful = without_another_value(groups);
        doubtful.retain(|&entry| !is_not_there_yet(groups, entry));
        surely_over(groups, &mut doubtful);
        Self::by_value(groups, &doubtful)
    }

    /// `entries` are mismatches in order of call.
    fn by_value(groups: &Groups<'_>, entries: &[u32]) -> Self {
        if entries.is_empty() {
            return Mismatches { all: Vec::new(), starts: Vec::new() };
        }
        let value = |entry: u32| groups.denied(entry).unwrap_or(NULL) as usize;
        let mut starts = vec![0; groups.all.len() + 1];
        entries.iter().for_each(|&entry| starts[value(entry)] += 1);
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut all = vec![Mismatch { entry: NONE, inv: 0, ret: 0 }; entries.len()];
        for &entry in entries.iter().rev() {
            let start = &mut starts[value(entry)];
            *start -= 1;
            all[*start as usize] = Mismatch { entry, inv: groups.inv(entry), ret: groups.ret(entry) };
        }
        Mismatches { all, starts }
    }

    fn of(&self, value: ValueId) -> &[Mismatch] {
        match self.starts.get(value as usize..value as usize + 2) {
            Some(&[start, end]) => &self.all[start as usize..end as usize],
            _ => &[],
        }
    }
}

/// The mismatches, in order of call, during which no operation on another value was both called and back: at
/// that one's instant the register does not hold what is denied, in whatever order.
fn without_another_value(groups: &Groups<'_>) -> Vec<u32> {
    let mut doubtful = Vec::new();
    // Of all operations called later: the earliest return, and the earliest on any other value than that one's.
    let (mut first, mut other) = ((u64::MAX, NONE), (u64::MAX, NONE));
    for (i, entry) in groups.entries.iter().enumerate().rev() {
        let ret = groups.ret(i as u32);
        match entry.call {
            RegisterCall::Differs(value) => {
                let back = if first.1 == value { other.0 } else { first.0 };
                if ret < back {
                    doubtful.push(i as u32);
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
    doubtful.reverse();
    doubtful
}

/// Its value was written by nobody, or by an operation that was called after the mismatch was.
fn is_not_there_yet(groups: &Groups<'_>, mismatch: u32) -> bool {
    let Some(value) = groups.denied(mismatch) else { return false };
    let writer = groups.all[value as usize].writer;
    (writer == NONE && value != NULL) || groups.inv(writer) > groups.inv(mismatch)
}

/// Takes out the mismatches that were back only after an update was back that certainly replaced their value, as
/// it was called when something on that value had returned.
fn surely_over(groups: &Groups<'_>, doubtful: &mut Vec<u32>) {
    let since = |mismatch: u32| {
        let group = &groups.all[groups.denied(mismatch).unwrap_or(NULL) as usize];
        let read_min = if group.read_min == NONE { u64::MAX } else { groups.ret(group.read_min) };
        // Value 0's writer is the beginning itself; the others here have one.
        groups.ret(group.writer).min(read_min)
    };
    let mut by_since: Vec<(u64, u32)> =
        doubtful.iter().zip(0..).map(|(&mismatch, at)| (since(mismatch), at)).collect();
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
        is_over[at as usize] = back < groups.ret(doubtful[at as usize]);
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

/// The groups in order, with what is possible for the first of them. Only those places are kept that may change
/// or are asked for.
struct Line {
    places: Vec<Place>,
    /// By place: the earliest return of its group and all that follow.
    latest: Vec<u64>,
    /// The first places, as far as they were looked at.
    reach: Vec<Reach>,
    /// Blocks whose places come behind all others, the next one last.
    ahead: Vec<Ahead>,
    /// Indefinite writers nobody saw that the order does not use yet, by order of call.
    unseen: Unseen,
    /// Places that were looked at while changing the order, and how many may be.
    spent: usize,
    spent_max: usize,
}

/// A block that is not among the places yet.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    /// The value it begins with.
    root: ValueId,
    /// Earliest return of its operations and all that follow.
    latest: u64,
}

/// Indefinite writers nobody saw.
struct Unseen {
    /// Those called in time for some mismatch that was asked about, by order of call.
    called: Vec<ValueId>,
    /// All others, the next one last.
    later: Vec<ValueId>,
}

impl Unseen {
    fn new(groups: &Groups<'_>) -> Self {
        let is_unseen =
            |&v: &ValueId| !groups.all[v as usize].needed && groups.all[v as usize].writer != NONE;
        let mut later: Vec<ValueId> = (1..groups.all.len() as ValueId).filter(is_unseen).collect();
        later.sort_by_key(|&value| std::cmp::Reverse(groups.inv(groups.all[value as usize].writer)));
        Unseen { called: Vec::new(), later }
    }

    /// Takes out, of those that were called by `ret` and may follow `held`, the one called last: the others may
    /// serve where it is too late.
    fn take(&mut self, groups: &Groups<'_>, held: ValueId, ret: u64) -> Option<ValueId> {
        let in_time = |value: &ValueId| groups.inv(groups.all[*value as usize].writer) <= ret;
        while let Some(value) = self.later.pop_if(|value| in_time(value)) {
            self.called.push(value);
        }
        let end = self.called.partition_point(in_time);
        let fits = |&value: &ValueId| groups.expected(value).is_none_or(|expected| expected == held);
        let at = self.called[..end].iter().rposition(fits)?;
        Some(self.called.remove(at))
    }
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
    fn new(groups: &Groups<'_>, blocks: Vec<Block>) -> Self {
        let mut bound = u64::MAX;
        let ahead = blocks.into_iter().rev().map(|block| {
            bound = bound.min(block.zone.ret_min);
            Ahead { root: block.zone.root, latest: bound }
        });
        let ahead: Vec<Ahead> = ahead.collect();
        let spent_max = REPAIR_PLACES_MAX.max(ahead.len() * 4);
        let (places, latest, reach) = (Vec::new(), Vec::new(), Vec::new());
        Line { places, latest, reach, ahead, unseen: Unseen::new(groups), spent: 0, spent_max }
    }

    /// Finds an order with room for every mismatch, and what is possible in it; false where none is found.
    /// With `forgets`, only whether there is one: places that cannot change any more are given up.
    fn fit(&mut self, groups: &Groups<'_>, mismatches: &Mismatches, forgets: bool) -> bool {
        let mut kept_max = 16 * WINDOW;
        loop {
            self.load(groups);
            let is_end = self.ahead.is_empty();
            let end = if is_end { self.places.len() } else { self.places.len() - 2 * WINDOW };
            let advanced = self.advance(mismatches, end);
            match advanced.and_then(|()| if is_end { self.end(mismatches) } else { Ok(()) }) {
                Ok(()) if is_end => return true,
                Ok(()) => {}
                Err(stuck) => {
                    let Some(mismatch) = stuck.mismatch else { return false };
                    if self.spent >= self.spent_max || !self.repair(groups, mismatches, stuck.place, mismatch)
                    {
                        return false;
                    }
                }
            }
            if forgets && self.reach.len() > kept_max {
                self.forget();
                kept_max = 16 * WINDOW + 2 * self.reach.len();
            }
        }
    }

    /// Turns blocks into places, so that there are always some more than are looked at.
    fn load(&mut self, groups: &Groups<'_>) {
        if self.places.len() >= self.reach.len() + 3 * WINDOW {
            return;
        }
        while self.places.len() < self.reach.len() + 8 * WINDOW
            && let Some(block) = self.ahead.pop()
        {
            let start = self.places.len();
            let begin = |value| Place::new(groups, value, value == block.root);
            self.places.extend(groups.chain(block.root).map(begin));
            self.latest.resize(self.places.len(), 0);
            self.refresh(start, self.places.len());
        }
    }

    /// Gives up the first places, as far as no change reaches back to them.
    fn forget(&mut self) {
        let begin = |places: &[Place]| places.iter().rposition(|place| place.begins).unwrap_or(0);
        let own = begin(&self.places[..self.reach.len()]);
        let first = begin(&self.places[..own.saturating_sub(2 * WINDOW)]);
        self.places.drain(..first);
        self.latest.drain(..first);
        self.reach.drain(..first);
    }

    /// Finds what is possible for the places up to `end`; or where this order breaks down before.
    fn advance(&mut self, mismatches: &Mismatches, end: usize) -> Result<(), Stuck> {
        while self.reach.len() < end {
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
        Ok(())
    }

    /// Is there room for the mismatches of the last place of all?
    fn end(&self, mismatches: &Mismatches) -> Result<(), Stuck> {
        match self.places.len().checked_sub(1) {
            Some(last) => self.follow(last, u64::MAX, u64::MAX, mismatches).map(|_| ()),
            None => Ok(()),
        }
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
        for &mismatch in mismatches.of(self.places[place].value) {
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
        let Some(value) = self.unseen.take(groups, held, mismatch.ret) else { return false };
        self.places.insert(next, Place::new(groups, value, groups.expected(value).is_none()));
        // Nobody saw it return: the bounds of the others stay.
        self.latest.insert(next, self.latest_from(next));
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
        let mut bound = self.latest_from(end);
        for i in (start..end).rev() {
            bound = bound.min(self.places[i].ret_min);
            self.latest[i] = bound;
        }
    }

    /// The earliest return of the place at `at` and all that follow.
    fn latest_from(&self, at: usize) -> u64 {
        let ahead = || self.ahead.last().map_or(u64::MAX, |block| block.latest);
        self.latest.get(at).copied().unwrap_or_else(ahead)
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
        for mismatch in &mismatches.all {
            let denied = groups.denied(mismatch.entry).unwrap_or(NULL);
            let (instant, place) = explain(place_of[denied as usize], mismatch, instants);
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

/// Makes each number the least of it and all that follow.
fn least_from_here(numbers: &mut [u64]) {
    let mut bound = u64::MAX;
    for number in numbers.iter_mut().rev() {
        bound = bound.min(*number);
        *number = bound;
    }
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
