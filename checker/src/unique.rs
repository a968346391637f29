//! Registers whose every written value is written once: exact, O(n log n), at any concurrency and with any
//! number of indefinite operations.
//!
//! All operations on one value form a group: its writer and its readers. A compare-and-set glues its group
//! behind that of its expected value with nothing between, so groups form chains, and each chain is one
//! contiguous block of any legal order. Let `F` be the earliest return in a block and `S` its latest call.
//! - `F < S`: the block certainly holds the register from `F` to `S` (a *forward zone*).
//! - `S <= F`: it can be squeezed into any single instant of `[S, F]` (a *backward zone*).
//!
//! ```text
//! p0 |--w1--|              |--r1--|      forward: from the first bar's end to the second one's start
//! p1     |----w2-----|                   backward
//! ```
//!
//! A legal order exists if and only if each chain can be ordered within itself, no two forward zones overlap
//! and no backward zone lies inside a forward one. An indefinite operation that was seen is as good as
//! definite, one that nobody saw may be left out. Bases: Gibbons and Korach 1997 (reads mapped to writes),
//! Golab, Li and Shah 2011 (zones). Compare-and-set that failed on a mismatch is an observation of its own
//! and is fitted in afterwards.

mod clash;
mod observe;
mod proof;
mod zone;

use crate::model::Entry;
use crate::model::register::{NULL, RegisterCall, ValueId};
pub use proof::{Hold, Proof};

/// No entry, no value.
pub(crate) const NONE: u32 = u32::MAX;

/// What the engine found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unique {
    /// A legal order exists; [`witness`] gives one.
    Legal,
    /// No legal order, and why.
    Illegal(Proof),
    /// Some value is written twice, or the initial one is written: not a case for this engine.
    NotUnique,
    /// Without its mismatches the history is legal; these could not all be fitted in, which proves nothing.
    Undecided,
}

/// The operations on one value.
#[derive(Debug, Clone, Copy)]
struct Group {
    /// The entry that wrote it.
    writer: u32,
    /// The reader that returned first.
    read_min: u32,
    /// The reader that was called last.
    read_max: u32,
    /// The value that a needed compare-and-set put in its place.
    succ: ValueId,
    /// Did it certainly hold the register at some time?
    needed: bool,
}

const EMPTY: Group = Group { writer: NONE, read_min: NONE, read_max: NONE, succ: NONE, needed: false };

/// Decides one partition; `values_len` is one more than the largest value number.
pub fn check(entries: &[Entry<RegisterCall>], values_len: usize) -> Unique {
    let Solved { groups, zones } = match Solved::new(entries, values_len) {
        Ok(solved) => solved,
        Err(answer) => return answer,
    };
    let mismatches = entries.iter().any(|entry| matches!(entry.call, RegisterCall::Differs(_)));
    if !mismatches || observe::fits(&groups, zones) {
        return Unique::Legal;
    }
    match clash::denied(&groups) {
        Err(proof) => Unique::Illegal(proof),
        Ok(()) => Unique::Undecided,
    }
}

/// A legal order where [`check`] says `Legal`: places in the entries. Indefinite operations that are not in it
/// never took effect.
pub fn witness(entries: &[Entry<RegisterCall>], values_len: usize) -> Option<Vec<usize>> {
    let solved = Solved::new(entries, values_len).ok()?;
    observe::order(&solved.groups, solved.zones.into_blocks())
}

/// What holds without mismatches.
struct Solved<'e> {
    groups: Groups<'e>,
    zones: zone::Zones,
}

impl<'e> Solved<'e> {
    fn new(entries: &'e [Entry<RegisterCall>], values_len: usize) -> Result<Self, Unique> {
        let mut groups = Groups::new(entries, values_len).ok_or(Unique::NotUnique)?;
        groups.seen().and_then(|()| groups.link()).map_err(Unique::Illegal)?;
        let zones = zone::Zones::new(&groups).map_err(Unique::Illegal)?;
        Ok(Solved { groups, zones })
    }
}

/// The groups of a partition, by value number.
struct Groups<'e> {
    entries: &'e [Entry<RegisterCall>],
    all: Vec<Group>,
}

impl<'e> Groups<'e> {
    /// Finds each value's writer; none when some value has two.
    fn new(entries: &'e [Entry<RegisterCall>], values_len: usize) -> Option<Self> {
        let mut all = vec![EMPTY; values_len];
        for (i, entry) in entries.iter().enumerate() {
            if let Some(value) = entry.call.writes() {
                let group = &mut all[value as usize];
                if value == NULL || group.writer != NONE {
                    return None;
                }
                group.writer = i as u32;
                group.needed = !entry.is_optional();
            }
        }
        all[NULL as usize].needed = true;
        Some(Groups { entries, all })
    }

    /// Assigns reads to their values.
    fn seen(&mut self) -> Result<(), Proof> {
        for (i, entry) in self.entries.iter().enumerate() {
            let RegisterCall::Read(value) = entry.call else { continue };
            let entries = self.entries;
            let group = &mut self.all[value as usize];
            if group.writer == NONE && value != NULL {
                return Err(Proof::NoWriter { entry: i, support: Vec::new() });
            }
            group.needed = true;
            if group.read_min == NONE || entry.ret < entries[group.read_min as usize].ret {
                group.read_min = i as u32;
            }
            if group.read_max == NONE || entry.inv > entries[group.read_max as usize].inv {
                group.read_max = i as u32;
            }
        }
        Ok(())
    }

    /// Links each needed compare-and-set behind its expected value, which is thereby needed too.
    fn link(&mut self) -> Result<(), Proof> {
        let mut work: Vec<ValueId> =
            (0..self.all.len() as ValueId).filter(|&v| self.expected(v).is_some()).collect();
        work.retain(|&value| self.all[value as usize].needed);
        while let Some(value) = work.pop() {
            let Some(expected) = self.expected(value) else { continue };
            let writer = self.all[value as usize].writer as usize;
            let group = &mut self.all[expected as usize];
            if group.writer == NONE && expected != NULL {
                return Err(Proof::NoWriter { entry: writer, support: self.sighting(value) });
            }
            if group.succ != NONE {
                let other = group.succ;
                return Err(self.two_cas(expected, [value, other]));
            }
            group.succ = value;
            if !group.needed {
                group.needed = true;
                work.push(expected);
            }
        }
        Ok(())
    }

    fn two_cas(&self, expected: ValueId, values: [ValueId; 2]) -> Proof {
        let mut pair = values.map(|value| self.all[value as usize].writer as usize);
        pair.sort_unstable();
        let mut support = self.path(expected);
        values.iter().for_each(|&value| support.extend(self.sighting(value)));
        Proof::TwoCas { first: pair[0], second: pair[1], support }
    }

    /// The writers of the chain up to and with `value`; cut off at its near end when it is very long.
    fn path(&self, value: ValueId) -> Vec<usize> {
        const PATH_MAX: usize = 16;
        let back = std::iter::successors(Some(value), |&value| self.expected(value));
        let writers = back.map(|value| self.all[value as usize].writer).take_while(|&writer| writer != NONE);
        writers.take(PATH_MAX).map(|writer| writer as usize).collect()
    }

    /// Who shows that the writer of `value` took effect, if it does not say so itself.
    fn sighting(&self, value: ValueId) -> Vec<usize> {
        let mut support = Vec::new();
        let mut value = value;
        loop {
            let group = &self.all[value as usize];
            if group.writer == NONE || !self.entries[group.writer as usize].is_optional() {
                return support;
            }
            if group.read_min != NONE {
                support.push(group.read_min as usize);
                return support;
            }
            if group.succ == NONE {
                return support;
            }
            value = group.succ;
            support.push(self.all[value as usize].writer as usize);
        }
    }

    /// The value that the writer of `value` replaced, if a compare-and-set wrote it.
    fn expected(&self, value: ValueId) -> Option<ValueId> {
        match self.all[value as usize].writer {
            NONE => None,
            writer => match self.entries[writer as usize].call {
                RegisterCall::Cas(expected, _) => Some(expected),
                _ => None,
            },
        }
    }

    /// Does a chain begin with this value?
    fn is_root(&self, value: ValueId) -> bool {
        self.all[value as usize].needed && self.expected(value).is_none()
    }

    /// The values of the chain that begins with `root`.
    fn chain(&self, root: ValueId) -> impl Iterator<Item = ValueId> {
        std::iter::successors(Some(root), |&value| match self.all[value as usize].succ {
            NONE => None,
            succ => Some(succ),
        })
    }

    /// The value whose group an entry belongs to; none for a mismatch.
    fn value_of(&self, entry: u32) -> Option<ValueId> {
        let call = self.entries[entry as usize].call;
        call.writes().or(call.needs())
    }

    /// The value that a mismatch denies; none for other entries.
    fn denied(&self, entry: u32) -> Option<ValueId> {
        match self.entries[entry as usize].call {
            RegisterCall::Differs(value) => Some(value),
            _ => None,
        }
    }

    /// Position of an entry's call, from 1; the initial write's is 0.
    fn inv(&self, entry: u32) -> u64 {
        if entry == NONE { 0 } else { self.entries[entry as usize].inv + 1 }
    }

    /// Position of an entry's return, from 1; the initial write's is 0.
    fn ret(&self, entry: u32) -> u64 {
        if entry == NONE { 0 } else { self.entries[entry as usize].ret.saturating_add(1) }
    }
}

/// A read or compare-and-set of a value that no entry writes; looks at nothing else, so it holds for repeated
/// values too.
pub(crate) fn no_writer(entries: &[Entry<RegisterCall>], values_len: usize) -> Option<Proof> {
    let mut written = vec![false; values_len];
    written[NULL as usize] = true;
    for value in entries.iter().filter_map(|entry| entry.call.writes()) {
        written[value as usize] = true;
    }
    let unexplained = |entry: &Entry<RegisterCall>| {
        !entry.is_optional() && entry.call.needs().is_some_and(|value| !written[value as usize])
    };
    let entry = entries.iter().position(unexplained)?;
    Some(Proof::NoWriter { entry, support: Vec::new() })
}
