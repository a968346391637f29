//! What sets and lists that only grow have in common: whole reads cut time into stages.
//!
//! A read that returned everything there was comes after every update it shows and before every one it does
//! not. So the reads, once they are in order, put all updates and reads into stages, each wholly before the
//! next, and a legal order exists if and only if nothing returned before something of an earlier stage (or an
//! update that its own stage's read shows) was called.

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::{Broken, Trouble, foreign};
use crate::{Op, OpEnd};

/// An operation and its interval; `ret` is `u64::MAX` for an indefinite one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'h> {
    pub(super) place: usize,
    pub(super) call: u64,
    pub(super) ret: u64,
    op: &'h Op,
}

impl Item<'_> {
    /// Who read, as sentences begin: `the read by process 3`.
    pub(super) fn read(&self) -> String {
        format!("the read by process {}", self.op.process)
    }
}

/// The operations of one object.
pub(super) struct Growing<'h> {
    /// Who put in each element.
    updates: FxHashMap<&'h Value, Item<'h>>,

    /// Who failed to.
    failed: FxHashMap<&'h Value, usize>,
    pub(super) reads: Vec<(Item<'h>, &'h [Value])>,
}

/// What was seen first by the same reads, and those reads.
#[derive(Debug, Default)]
pub(super) struct Stage<'h> {
    pub(super) updates: Vec<Item<'h>>,
    pub(super) reads: Vec<Item<'h>>,
}

impl<'h> Growing<'h> {
    /// Reads the operations `update` and `read`; every element must be put in once.
    pub(super) fn new(ops: &[(usize, &'h Op)], update: &str, object: &str) -> Result<Self, Trouble> {
        let mut growing =
            Growing { updates: FxHashMap::default(), failed: FxHashMap::default(), reads: Vec::new() };
        for &(place, op) in ops {
            let ret = if op.end == OpEnd::Info { u64::MAX } else { op.ret };
            let item = Item { place, call: op.call, ret, op };
            match (&*op.f, op.end, &op.output) {
                (f, OpEnd::Fail, _) if f == update => drop(growing.failed.insert(&op.input, place)),
                (f, ..) if f == update => {
                    if growing.updates.insert(&op.input, item).is_some() {
                        let why = format!("operation {} puts in {} a second time", op.index, op.input);
                        return Err(Trouble::Unjudged(format!("{why}; only unique elements can be judged")));
                    }
                }
                ("read", OpEnd::Ok, Value::Array(all)) => growing.reads.push((item, all)),
                ("read", OpEnd::Ok, Value::Null) => growing.reads.push((item, &[])),
                ("read", OpEnd::Ok, other) => {
                    return Err(Trouble::Unjudged(format!("operation {} read {other}, no array", op.index)));
                }
                ("read", ..) => {}
                _ => return Err(foreign(op, object)),
            }
        }
        Ok(growing)
    }

    /// Takes out who put in an element that `read` shows.
    pub(super) fn seen(&mut self, element: &Value, read: Item<'h>) -> Result<Item<'h>, Broken> {
        self.updates.remove(element).ok_or_else(|| {
            let claim = format!("{} showed {element}", read.read());
            Broken::nowhere(element, read.place, self.failed.get(element).copied(), &claim)
        })
    }

    /// Judges the stages; what nobody saw comes after all of them, if it happened at all.
    pub(super) fn judge(self, mut stages: Vec<Stage<'h>>) -> Result<(), Broken> {
        let mut unseen: Vec<Item> = self.updates.into_values().filter(|item| item.ret != u64::MAX).collect();
        unseen.sort_by_key(|item| item.place);
        stages.push(Stage { updates: unseen, reads: Vec::new() });
        let mut sweep = Sweep { last: None };
        let last = stages.len() - 1;
        for (number, stage) in stages.iter().enumerate() {
            let part = |is_read| Part { stage: number, is_read, is_unseen: number == last };
            sweep.take(&stages, &stage.updates, part(false))?;
            sweep.take(&stages, &stage.reads, part(true))?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Part {
    stage: usize,
    is_read: bool,
    is_unseen: bool,
}

/// The operation that was called last among all that come before.
struct Sweep<'h> {
    last: Option<(Item<'h>, Part)>,
}

impl<'h> Sweep<'h> {
    fn take(&mut self, stages: &[Stage<'h>], items: &[Item<'h>], part: Part) -> Result<(), Broken> {
        if let Some((late, of)) = self.last
            && let Some(early) = items.iter().find(|item| item.ret < late.call)
        {
            return Err(clash(stages, (*early, part), (late, of)));
        }
        let latest = items.iter().max_by_key(|item| item.call).map(|&item| (item, part));
        self.last = [self.last, latest].into_iter().flatten().max_by_key(|(item, _)| item.call);
        Ok(())
    }
}

/// `early` returned before `late` was called, and yet comes after it.
fn clash(stages: &[Stage<'_>], (early, part): (Item<'_>, Part), (late, of): (Item<'_>, Part)) -> Broken {
    let both = vec![early.place, late.place];
    if part.is_read && of.is_read {
        return missed_what_was_shown(stages, (early, part), late);
    }
    if part.is_read {
        let reason = format!(
            "{} showed {}, although process {} began to put it in only after that read had returned",
            early.read(),
            late.op.input,
            late.op.process
        );
        return Broken::new("future-read", both, reason);
    }
    let put = format!("{} was put in by process {}", early.op.input, early.op.process);
    if of.is_read {
        let (name, ever) = match part.is_unseen {
            true => ("lost-element", ", as does every other read"),
            false => ("stale-read", ""),
        };
        let reason = format!("{put} and acknowledged before {} began, which misses it{ever}", late.read());
        return Broken::new(name, both, reason);
    }
    // Who shows that the one was there without, or before, the other.
    let sighting =
        (of.stage..).zip(&stages[of.stage..]).find_map(|(at, stage)| Some((at, stage.reads.first()?)));
    let seen = sighting.map_or("a read".to_string(), |(_, read)| read.read());
    let (kept, gone) = (&late.op.input, &early.op.input);
    let missed = format!("{kept} and missed {gone}");
    let (name, shown) = match sighting {
        Some((at, _)) if at >= part.stage => ("reordered-elements", format!("{gone} after {kept}")),
        _ if part.is_unseen => ("lost-element", missed),
        _ => ("stale-read", missed),
    };
    let reason = format!(
        "{seen} showed {shown}, although process {} had put in {gone} before process {} began to put in {kept}",
        early.op.process, late.op.process
    );
    let witness = sighting.map(|(_, read)| read.place);
    Broken::new(name, both.into_iter().chain(witness).collect(), reason)
}

/// A read that had returned before `late` began showed more than that.
fn missed_what_was_shown(stages: &[Stage<'_>], (early, part): (Item<'_>, Part), late: Item<'_>) -> Broken {
    let element = stages[part.stage].updates.first();
    let reason = format!(
        "{} missed {}, which {} had shown before it began",
        late.read(),
        element.map_or("an element".to_string(), |put| put.op.input.to_string()),
        early.read()
    );
    let put = element.map(|put| put.place);
    Broken::new("stale-read", [early.place, late.place].into_iter().chain(put).collect(), reason)
}
