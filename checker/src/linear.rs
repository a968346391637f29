//! The Wing–Gong–Lowe search over one partition, for any [`Model`].
//!
//! Depth first over configurations: which operations have taken effect, and the state they left. A
//! configuration that was visited before is not entered again (Wing and Gong 1993; Lowe 2017 for the memo).
//! What is done beyond that, each sound for every model:
//! - A configuration's key is canonical and compact: the index of the first definite operation still to come,
//!   the bits of those after it, the indefinite operations that were used, and the state's number. Long
//!   histories therefore cost memory in proportion to their concurrency, not to their length.
//! - Pure operations are taken as soon as they are possible, and never taken back: they change nothing, so
//!   taking them later cannot help.
//! - Of equal calls only the one that must return first is tried; a definite one before an indefinite one;
//!   of equal indefinite ones the one that was called first.
//! - An indefinite operation that would leave the state as it is stays unused.
//! - Of the operations that could go next, those that must return first are tried first.

pub mod local;
mod memo;
mod states;

use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::budget::Meter;
use crate::forward::{Forward, Report};
use crate::model::{Entry, Model};
use crate::{Budget, EndedBy};
use memo::Memo;
use states::{NONE, States};

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// A legal order exists: places in the entries, in that order. Indefinite operations that are not in it
    /// never took effect.
    Linearizable {
        /// The order.
        order: Vec<usize>,
        /// Configurations visited.
        states: u64,
    },
    /// No order exists.
    Impossible(Deepest),
    /// The budget ended first, and what of it.
    OutOfBudget(Deepest, EndedBy),
}

/// How far the search came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deepest {
    /// Most definite operations that could be put in order together.
    pub placed: usize,
    /// Of how many.
    pub definite: usize,
    /// The entry that had to come next at that point and could not.
    pub stuck: Option<usize>,
    /// All that returned before this position can be put in order.
    pub proven: u64,
    /// Configurations visited.
    pub states: u64,
    /// Most bytes held at one time.
    pub bytes: u64,
}

/// Searches for a legal order of `entries` within a budget.
pub fn search<M: Model>(model: &M, entries: &[Entry<M::Call>], budget: &Budget) -> Search {
    let mut run = Run::new(model, entries, budget);
    let found = run.run();
    run.deepest.states = run.memo.len() as u64;
    run.deepest.bytes = run.meter.bytes_peak();
    match found {
        Ok(true) => {
            let order = run.trail.iter().map(|&i| i as usize).collect();
            Search::Linearizable { order, states: run.deepest.states }
        }
        Ok(false) => Search::Impossible(run.deepest),
        Err(ended_by) => Search::OutOfBudget(run.deepest, ended_by),
    }
}

/// The same, told like a pass over the events.
pub fn search_report<M: Model>(model: &M, entries: &[Entry<M::Call>], budget: &Budget) -> Report {
    let (found, deepest, ended_by, order) = match search(model, entries, budget) {
        Search::Linearizable { order, states } => {
            let deepest = Deepest { states, proven: u64::MAX, ..Deepest::default() };
            (Forward::Possible { exact: true }, deepest, None, Some(order))
        }
        Search::Impossible(deepest) => {
            (Forward::Impossible { at: deepest.stuck.unwrap_or(0) }, deepest, None, None)
        }
        Search::OutOfBudget(deepest, ended_by) => (Forward::TooLarge, deepest, Some(ended_by), None),
    };
    let end = deepest.proven;
    let back = |i: &usize| entries[*i].ret < end;
    let is_open = |i: &usize| entries[*i].inv < end && entries[*i].ret >= end && !entries[*i].is_optional();
    Report {
        found,
        ended_by,
        states: deepest.states,
        bytes: deepest.bytes,
        survived: (0..entries.len()).filter(back).count(),
        last: (0..entries.len()).filter(back).max_by_key(|&i| entries[i].ret),
        complete: true,
        relaxed: false,
        at: deepest.stuck,
        open: (0..entries.len()).filter(is_open).collect(),
        order,
    }
}

/// The whole search: the static view of the entries, and the one configuration that is changed in place.
struct Run<'e, M: Model> {
    model: &'e M,
    entries: &'e [Entry<M::Call>],
    /// Definite entries by order of call.
    definite: Vec<u32>,
    /// Indefinite entries by order of call.
    optional: Vec<u32>,
    /// Number of each entry's call among the different calls.
    class: Vec<u32>,
    pure: Vec<bool>,
    states: States<M>,

    /// Per place in `definite`: has it taken effect?
    done: Vec<bool>,
    /// All before this place in `definite` have.
    base: usize,
    /// Places in `optional` that were used, ascending.
    used: Vec<u32>,
    state: u32,
    placed: usize,

    /// Entries in the order in which they took effect.
    trail: Vec<u32>,
    stack: Vec<Frame>,
    candidates: Vec<Candidate>,
    /// For each class, the enumeration that last met it: keeps equal calls from being tried twice.
    class_seen: Vec<u64>,
    enumeration: u64,
    memo: Memo,
    key: Vec<u32>,
    deepest: Deepest,
    meter: Meter,
}

/// A choice that was made, and what is left to try instead.
struct Frame {
    candidates: Range<usize>,
    trail_len: usize,
    base: usize,
    state: u32,
}

#[derive(Clone, Copy)]
struct Candidate {
    /// Place in `definite`, or in `optional`.
    place: u32,
    optional: bool,
    next: u32,
    ret: u64,
}

impl<'e, M: Model> Run<'e, M> {
    fn new(model: &'e M, entries: &'e [Entry<M::Call>], budget: &Budget) -> Self {
        let mut classes: FxHashMap<&M::Call, u32> = FxHashMap::default();
        let mut class = Vec::with_capacity(entries.len());
        for entry in entries {
            let fresh = classes.len() as u32;
            class.push(*classes.entry(&entry.call).or_insert(fresh));
        }
        let by_call = |optional: bool| {
            let mut places: Vec<u32> = (0..entries.len() as u32)
                .filter(|&i| entries[i as usize].is_optional() == optional)
                .collect();
            places.sort_by_key(|&i| entries[i as usize].inv);
            places
        };
        let definite = by_call(false);
        let pure = entries.iter().map(|entry| model.is_pure(&entry.call)).collect();
        Run {
            model,
            entries,
            done: vec![false; definite.len()],
            deepest: Deepest { definite: definite.len(), ..Deepest::default() },
            definite,
            optional: by_call(true),
            class_seen: vec![0; classes.len()],
            class,
            pure,
            states: States::new(model, model.init()),
            base: 0,
            used: Vec::new(),
            state: 0,
            placed: 0,
            trail: Vec::new(),
            stack: Vec::new(),
            candidates: Vec::new(),
            enumeration: 0,
            memo: Memo::default(),
            key: Vec::new(),
            meter: Meter::new(budget),
        }
    }

    /// True when an order was found, false when there is none.
    fn run(&mut self) -> Result<bool, EndedBy> {
        self.meter.holds(self.entries.len() as u64 * 32)?;
        let mut entered = true;
        loop {
            if entered {
                self.take_pure();
                if self.placed == self.definite.len() {
                    return Ok(true);
                }
                self.write_key();
                if self.memo.insert(&self.key) {
                    self.push_frame();
                }
                self.meter.visits(1)?;
                self.meter.holds_besides(self.bytes())?;
            }
            match self.next_candidate() {
                Some(candidate) => {
                    self.apply(candidate);
                    entered = true;
                }
                None if self.stack.is_empty() => return Ok(false),
                None => entered = false,
            }
        }
    }

    /// Bytes that grow with the search.
    fn bytes(&self) -> u64 {
        let stack = self.stack.capacity() * size_of::<Frame>();
        let candidates = self.candidates.capacity() * size_of::<Candidate>();
        let trail = (self.trail.capacity() + self.used.capacity() + self.key.capacity()) * size_of::<u32>();
        self.memo.bytes() + self.states.bytes() + (stack + candidates + trail) as u64
    }

    /// Takes every pure operation that is possible now; repeats, as each may let later ones be called.
    fn take_pure(&mut self) {
        loop {
            let mut min_ret = u64::MAX;
            let mut took = false;
            let mut place = self.base;
            while place < self.definite.len() {
                let index = self.definite[place] as usize;
                let entry = &self.entries[index];
                if entry.inv > min_ret {
                    break;
                }
                if !self.done[place] {
                    if self.pure[index] && self.step(self.state, index).is_some() {
                        self.mark(place, index);
                        took = true;
                    } else {
                        min_ret = min_ret.min(entry.ret);
                    }
                }
                place += 1;
            }
            if !took {
                return;
            }
        }
    }

    fn mark(&mut self, place: usize, index: usize) {
        self.done[place] = true;
        self.placed += 1;
        self.trail.push(index as u32);
        while self.base < self.done.len() && self.done[self.base] {
            self.base += 1;
        }
    }

    fn step(&mut self, state: u32, index: usize) -> Option<u32> {
        self.states.step(self.model, state, self.class[index], &self.entries[index].call)
    }

    /// Writes the configuration's canonical key.
    fn write_key(&mut self) {
        let rest = &self.done[self.base..];
        self.key.clear();
        self.key.extend([self.base as u32, self.state, self.used.len() as u32]);
        self.key.extend_from_slice(&self.used);
        // No operation is done that was called after the earliest return among those that are not.
        let (mut word, mut bits, mut left) = (0u32, 0, self.placed - self.base);
        for &done in rest {
            if left == 0 {
                break;
            }
            word |= u32::from(done) << bits;
            left -= usize::from(done);
            bits += 1;
            if bits == 32 {
                self.key.push(word);
                (word, bits) = (0, 0);
            }
        }
        if bits > 0 {
            self.key.push(word);
        }
    }

    /// Lists what could go next, best last, and remembers where to come back to.
    fn push_frame(&mut self) {
        let start = self.candidates.len();
        self.enumeration += 1;
        let mut min_ret = u64::MAX;
        let mut tightest = NONE;
        for place in self.base..self.definite.len() {
            let index = self.definite[place] as usize;
            let (inv, ret) = (self.entries[index].inv, self.entries[index].ret);
            if inv > min_ret {
                break;
            }
            if self.done[place] {
                continue;
            }
            if ret < min_ret {
                (min_ret, tightest) = (ret, index as u32);
            }
            if let Some(next) = self.step(self.state, index) {
                self.candidates.push(Candidate { place: place as u32, optional: false, next, ret });
            }
        }
        self.note_depth(tightest, min_ret);
        self.candidates[start..].sort_by_key(|candidate| candidate.ret);
        self.keep_first_of_each_class(start);
        self.list_optional(min_ret);
        self.candidates[start..].reverse();
        self.stack.push(Frame {
            candidates: start..self.candidates.len(),
            trail_len: self.trail.len(),
            base: self.base,
            state: self.state,
        });
    }

    fn note_depth(&mut self, tightest: u32, min_ret: u64) {
        self.deepest.proven = self.deepest.proven.max(min_ret);
        if self.placed > self.deepest.placed || self.deepest.stuck.is_none() {
            self.deepest.placed = self.placed;
            self.deepest.stuck = (tightest != NONE).then_some(tightest as usize);
        }
    }

    fn keep_first_of_each_class(&mut self, start: usize) {
        let mut kept = start;
        for i in start..self.candidates.len() {
            let candidate = self.candidates[i];
            let class = self.class[self.definite[candidate.place as usize] as usize] as usize;
            if self.class_seen[class] != self.enumeration {
                self.class_seen[class] = self.enumeration;
                self.candidates[kept] = candidate;
                kept += 1;
            }
        }
        self.candidates.truncate(kept);
    }

    fn list_optional(&mut self, min_ret: u64) {
        let mut used = 0;
        for place in 0..self.optional.len() {
            let index = self.optional[place] as usize;
            if self.entries[index].inv > min_ret {
                break;
            }
            if self.used.get(used) == Some(&(place as u32)) {
                used += 1;
                continue;
            }
            let class = self.class[index] as usize;
            if self.class_seen[class] == self.enumeration {
                continue;
            }
            self.class_seen[class] = self.enumeration;
            if let Some(next) = self.step(self.state, index)
                && next != self.state
            {
                let candidate = Candidate { place: place as u32, optional: true, next, ret: u64::MAX };
                self.candidates.push(candidate);
            }
        }
    }

    fn apply(&mut self, candidate: Candidate) {
        let place = candidate.place as usize;
        if candidate.optional {
            let at = self.used.partition_point(|&used| used < candidate.place);
            self.used.insert(at, candidate.place);
            self.trail.push(self.optional[place]);
        } else {
            self.mark(place, self.definite[place] as usize);
        }
        self.state = candidate.next;
    }

    /// The next thing to try: undoes what was tried last, and drops choices that have nothing left.
    fn next_candidate(&mut self) -> Option<Candidate> {
        let frame = self.stack.last()?;
        let (range, trail_len, base, state) =
            (frame.candidates.clone(), frame.trail_len, frame.base, frame.state);
        self.undo_to(trail_len);
        (self.base, self.state) = (base, state);
        if range.is_empty() {
            self.stack.pop();
            self.candidates.truncate(range.start);
            return None;
        }
        let candidate = self.candidates[range.end - 1];
        if let Some(frame) = self.stack.last_mut() {
            frame.candidates.end -= 1;
        }
        Some(candidate)
    }

    fn undo_to(&mut self, trail_len: usize) {
        while self.trail.len() > trail_len {
            let Some(index) = self.trail.pop() else { return };
            let inv = self.entries[index as usize].inv;
            let by_inv = |&i: &u32| self.entries[i as usize].inv < inv;
            if self.entries[index as usize].is_optional() {
                let place = self.optional.partition_point(by_inv) as u32;
                if let Ok(at) = self.used.binary_search(&place) {
                    self.used.remove(at);
                }
            } else {
                let place = self.definite.partition_point(by_inv);
                self.done[place] = false;
                self.placed -= 1;
            }
        }
    }
}
