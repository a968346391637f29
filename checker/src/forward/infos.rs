//! Indefinite operations, known by what they do: how many of each kind there are, and until when they matter.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::model::Entry;
use crate::model::register::{RegisterCall, ValueId};

/// A kind of indefinite operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) call: RegisterCall,
    /// The value it leaves behind.
    pub(super) to: ValueId,
    /// How many were called so far; 0 for a place that is free.
    pub(super) count: u16,
    /// After this position nobody wants what it leaves behind.
    until: u64,
}

/// The kinds that may take effect from now on.
#[derive(Clone)]
pub(super) struct Infos {
    kinds: Vec<Kind>,
    /// May each be used any number of times?
    pub(super) unlimited: bool,
    /// Last position at which somebody may want a value.
    wanted_until: Rc<FxHashMap<ValueId, u64>>,
    /// While there are mismatches to come, any value may serve.
    always_until: u64,
    /// Entries of each kind in order of call.
    members: Rc<FxHashMap<RegisterCall, Vec<u32>>>,
    next_end: u64,
    /// Kinds of blind writes there are.
    writes: usize,
}

impl Infos {
    pub(super) fn new(entries: &[Entry<RegisterCall>], unlimited: bool) -> Self {
        let mut members: FxHashMap<RegisterCall, Vec<u32>> = FxHashMap::default();
        for (i, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.is_optional()) {
            members.entry(entry.call).or_default().push(i as u32);
        }
        for list in members.values_mut() {
            list.sort_by_key(|&i| entries[i as usize].inv);
        }
        let (wanted_until, always_until) =
            if members.is_empty() { Default::default() } else { wanted(entries, &members) };
        Infos {
            kinds: Vec::new(),
            unlimited,
            wanted_until: Rc::new(wanted_until),
            always_until,
            members: Rc::new(members),
            next_end: u64::MAX,
            writes: 0,
        }
    }

    fn until(&self, value: ValueId) -> u64 {
        self.wanted_until.get(&value).copied().unwrap_or(0)
    }

    /// One more may take effect.
    pub(super) fn call(&mut self, entry: &Entry<RegisterCall>) {
        let Some(to) = entry.call.writes() else { return };
        let until = self.until(to).max(self.always_until);
        if until < entry.inv {
            return;
        }
        if let Some(kind) = self.kinds.iter_mut().find(|kind| kind.count > 0 && kind.call == entry.call) {
            kind.count = kind.count.saturating_add(1);
            return;
        }
        self.writes += usize::from(is_write(entry.call));
        self.next_end = self.next_end.min(until);
        let new = Kind { call: entry.call, to, count: 1, until };
        match self.kinds.iter_mut().find(|kind| kind.count == 0) {
            Some(free) => *free = new,
            None => self.kinds.push(new),
        }
    }

    /// Forgets kinds that nobody wants after `position`; returns their places.
    pub(super) fn retire(&mut self, position: u64) -> Vec<usize> {
        if position < self.next_end {
            return Vec::new();
        }
        let mut gone = Vec::new();
        self.next_end = u64::MAX;
        for (place, kind) in self.kinds.iter_mut().enumerate().filter(|(_, kind)| kind.count > 0) {
            if kind.until <= position {
                kind.count = 0;
                self.writes -= usize::from(is_write(kind.call));
                gone.push(place);
            } else {
                self.next_end = self.next_end.min(kind.until);
            }
        }
        gone
    }

    /// The kinds by place; those with a count of 0 are none.
    pub(super) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// Is there an indefinite blind write?
    pub(super) fn has_writes(&self) -> bool {
        self.writes > 0
    }

    /// The entries of a kind in order of call.
    pub(super) fn members(&self, call: RegisterCall) -> &[u32] {
        self.members.get(&call).map_or(&[], Vec::as_slice)
    }
}

fn is_write(call: RegisterCall) -> bool {
    matches!(call, RegisterCall::Write(_))
}

/// Until when each value is wanted: by those that need it and are definite, or by an indefinite compare-and-set
/// whose own value is wanted longer; and until when any value may be.
fn wanted(
    entries: &[Entry<RegisterCall>],
    members: &FxHashMap<RegisterCall, Vec<u32>>,
) -> (FxHashMap<ValueId, u64>, u64) {
    let (mut wanted, mut always) = (FxHashMap::<ValueId, u64>::default(), 0);
    for entry in entries.iter().filter(|entry| !entry.is_optional()) {
        if let Some(value) = entry.call.needs() {
            let until = wanted.entry(value).or_insert(0);
            *until = entry.ret.max(*until);
        }
        if let RegisterCall::Differs(_) = entry.call {
            always = entry.ret.max(always);
        }
    }
    let mut by_new: FxHashMap<ValueId, Vec<ValueId>> = FxHashMap::default();
    for call in members.keys() {
        if let RegisterCall::Cas(expected, new) = *call {
            by_new.entry(new).or_default().push(expected);
        }
    }
    let mut work: Vec<(ValueId, u64)> = wanted.iter().map(|(&value, &until)| (value, until)).collect();
    while let Some((new, until)) = work.pop() {
        for &expected in by_new.get(&new).into_iter().flatten() {
            let known = wanted.entry(expected).or_insert(0);
            if *known < until {
                *known = until;
                work.push((expected, until));
            }
        }
    }
    (wanted, always)
}
