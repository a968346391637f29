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
pub(super) struct Item {
    pub(super) place: usize,
    pub(super) call: u64,
    pub(super) ret: u64,
}

/// The operations of one object.
pub(super) struct Growing<'h> {
    /// Who put in each element.
    updates: FxHashMap<&'h Value, Item>,
    /// Who failed to.
    failed: FxHashMap<&'h Value, usize>,
    pub(super) reads: Vec<(Item, &'h [Value])>,
}

/// What was seen first by the same reads, and those reads.
#[derive(Debug, Default)]
pub(super) struct Stage {
    pub(super) updates: Vec<Item>,
    pub(super) reads: Vec<Item>,
}

impl<'h> Growing<'h> {
    /// Reads the operations `update` and `read`; every element must be put in once.
    pub(super) fn new(ops: &[(usize, &'h Op)], update: &str, object: &str) -> Result<Self, Trouble> {
        let mut growing =
            Growing { updates: FxHashMap::default(), failed: FxHashMap::default(), reads: Vec::new() };
        for &(place, op) in ops {
            let ret = if op.end == OpEnd::Info { u64::MAX } else { op.ret };
            let item = Item { place, call: op.call, ret };
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
    pub(super) fn seen(&mut self, element: &Value, read: Item) -> Result<Item, Broken> {
        self.updates.remove(element).ok_or_else(|| match self.failed.get(element) {
            Some(&failed) => {
                let reason = format!("{element} was read, although putting it in had failed");
                Broken("aborted-read", vec![failed, read.place], reason)
            }
            None => Broken(
                "fabricated-value",
                vec![read.place],
                format!("{element} was read, but nobody put it in"),
            ),
        })
    }

    /// Judges the stages; what nobody saw comes after all of them, if it happened at all.
    pub(super) fn judge(self, mut stages: Vec<Stage>) -> Result<(), Broken> {
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
struct Sweep {
    last: Option<(Item, Part)>,
}

impl Sweep {
    fn take(&mut self, stages: &[Stage], items: &[Item], part: Part) -> Result<(), Broken> {
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
fn clash(stages: &[Stage], (early, part): (Item, Part), (late, of): (Item, Part)) -> Broken {
    let mut places = vec![early.place, late.place];
    if !part.is_read && !of.is_read {
        // Who shows that the one was there without the other.
        places.extend(stages[of.stage].reads.first().map(|read| read.place));
    }
    let (name, reason) = match (part.is_read, of.is_read) {
        (true, false) => {
            ("future-read", "a read showed an element that was put in only after it had returned")
        }
        (true, true) => {
            ("stale-read", "a read missed what a read that had returned before it began had shown")
        }
        (false, _) if part.is_unseen => {
            ("lost-update", "an element was put in and acknowledged, and later reads miss it")
        }
        (false, true) => ("stale-read", "a read missed an element that had been put in before it began"),
        (false, false) => (
            "stale-read",
            "a read showed an element, and missed one that had been put in before that was begun",
        ),
    };
    Broken(name, places, reason.to_string())
}
