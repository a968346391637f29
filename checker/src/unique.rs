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
//! and is fitted in afterwards; see [`observe`].

mod observe;
mod zone;

use crate::model::Entry;
use crate::model::register::{NULL, RegisterCall, ValueId};
pub use zone::Zone;

/// No entry, no value.
pub(crate) const NONE: u32 = u32::MAX;

/// What the engine found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unique {
    /// A legal order: places in the entries, in that order. Indefinite operations not in it never took effect.
    Legal(Vec<usize>),
    /// No legal order, and why.
    Illegal(Proof),
    /// Some value is written twice, or the initial one is written: not a case for this engine.
    NotUnique,
    /// Without its mismatches the history is legal; these could not all be fitted in, which proves nothing.
    Undecided,
}

/// Why there is no legal order. Numbers are places in the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A read or compare-and-set met a value that no operation can have written.
    NoWriter {
        /// The read or compare-and-set.
        entry: usize,
    },
    /// Two compare-and-sets both replaced the same value.
    TwoCas {
        /// One of them.
        first: usize,
        /// The other.
        second: usize,
    },
    /// Each compare-and-set waits for another one's value: none can have been the first.
    CasCycle {
        /// All of them.
        entries: Vec<usize>,
    },
    /// `early` can only come after `late`, but returned before `late` was called.
    Order {
        /// The operation that returned.
        early: usize,
        /// The operation that was called afterwards.
        late: usize,
    },
    /// Both blocks certainly hold the register at one moment.
    Overlap {
        /// The one whose hold begins first.
        first: Zone,
        /// The other.
        second: Zone,
    },
    /// A block has no room but inside another one's hold.
    Inside {
        /// The block that cannot be placed.
        inner: Zone,
        /// The block that holds the register all the while.
        outer: Zone,
    },
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
    let Some(mut groups) = Groups::new(entries, values_len) else { return Unique::NotUnique };
    let blocks = match groups.seen().and_then(|()| groups.link()).and_then(|()| zone::blocks(&groups)) {
        Ok(blocks) => blocks,
        Err(proof) => return Unique::Illegal(proof),
    };
    match observe::order(&groups, &blocks) {
        Some(order) => Unique::Legal(order),
        None => Unique::Undecided,
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
                return Err(Proof::NoWriter { entry: i });
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
                return Err(Proof::NoWriter { entry: writer });
            }
            if group.succ != NONE {
                let other = self.all[self.all[expected as usize].succ as usize].writer as usize;
                return Err(Proof::TwoCas { first: writer.min(other), second: writer.max(other) });
            }
            group.succ = value;
            if !group.needed {
                group.needed = true;
                work.push(expected);
            }
        }
        Ok(())
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

    /// Position of an entry's call, from 1; the initial write's is 0.
    fn inv(&self, entry: u32) -> u64 {
        if entry == NONE { 0 } else { self.entries[entry as usize].inv + 1 }
    }

    /// Position of an entry's return, from 1; the initial write's is 0.
    fn ret(&self, entry: u32) -> u64 {
        if entry == NONE { 0 } else { self.entries[entry as usize].ret.saturating_add(1) }
    }
}
