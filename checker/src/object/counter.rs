//! A counter that goes up by one.
//!
//! `increment` adds one and may return the count after it, `read` returns how many there were. A read of 3 has exactly three increments before it:
//! so the reads, by their values, cut time into stages, and between a read of 3 and one of 5 lie exactly two.
//! Every increment may lie in a range of stages, by the reads that ended before it began and those that began
//! after it ended; whether all stages can be filled is a matter of taking, for each in turn, the increments
//! whose range ends first.
//!
//! ```text
//! p0 |-increment()-|  |-increment()-|
//! p1                                    |-read()=1-|     invalid: two were acknowledged before
//! ```
//!
//! An indefinite increment may lie in any stage from its call on, or nowhere. An increment that returns the count
//! it made has its place: it is the only one between a read of one less and a read of that.
//!
//! ```
//! use checker::object::counter::Counter;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |-increment()-|  |-increment()-|
//! p1                                    |-read()=1-|
//! ",
//! )?;
//! let Verdict::Invalid { anomalies } = Counter.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!(anomalies[0].name, "lost-update");
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Broken, Trouble, by_key, foreign};
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Verdict};

/// Is the history, key by key, one of a linearizable counter that starts at 0? Exact, O(n log n).
///
/// Anomalies: `went-back`, a read smaller than one that had returned before it began; `lost-update`, fewer than
/// had been acknowledged; `fabricated-value`, more than had been called; `duplicated-count`, two increments that returned
/// the same count.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counter;

impl Checker for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, _| judge(ops))
    }
}

/// An operation's interval; `ret` is `u64::MAX` for an indefinite one.
#[derive(Clone, Copy)]
struct Item {
    place: usize,
    call: u64,
    ret: u64,
}

/// The reads of one value.
struct Level {
    value: u64,
    /// The read that returned first, and the one that was called last.
    first_back: Item,
    last_called: Item,
}

fn judge(ops: &[(usize, &Op)]) -> Result<(), Trouble> {
    let (mut increments, mut counted, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    for &(place, op) in ops {
        let ret = if op.end == OpEnd::Info { u64::MAX } else { op.ret };
        let item = Item { place, call: op.call, ret };
        match (&*op.f, op.end) {
            ("increment" | "read", OpEnd::Fail) | ("read", OpEnd::Info) => {}
            ("increment", OpEnd::Ok) if is_count(op) => match op.output.as_u64() {
                Some(count) if count > 0 => counted.push((count, item)),
                _ => {
                    let reason = format!("an increment made it {}, which is no count above 0", op.output);
                    return Err(Broken::new("fabricated-value", vec![place], reason).into());
                }
            },
            ("increment", _) => increments.push(item),
            ("read", OpEnd::Ok) => match op.output.as_u64() {
                Some(value) => reads.push((value, item)),
                None => {
                    let why = format!("operation {} read {}, no count", op.index, op.output);
                    return Err(Trouble::Unjudged(why));
                }
            },
            _ => return Err(foreign(op, "a counter")),
        }
    }
    no_count_twice(&mut counted)?;
    reads.extend(counted.iter().flat_map(|&(count, item)| [(count - 1, item), (count, item)]));
    let levels = levels(reads)?;
    fill(&levels, &increments, &counted)?;
    Ok(())
}

/// Does it return the count? One that has an argument may only give that back.
fn is_count(op: &Op) -> bool {
    op.input.is_null() && !op.output.is_null()
}

fn no_count_twice(counted: &mut [(u64, Item)]) -> Result<(), Broken> {
    counted.sort_by_key(|&(count, item)| (count, item.place));
    match counted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        None => Ok(()),
        Some(pair) => {
            let reason = format!("two increments made it {}", pair[0].0);
            Err(Broken::new("duplicated-count", vec![pair[0].1.place, pair[1].1.place], reason))
        }
    }
}

/// The values that were read, ascending; none was read after a greater one was known.
fn levels(mut reads: Vec<(u64, Item)>) -> Result<Vec<Level>, Broken> {
    reads.sort_by_key(|&(value, item)| (value, item.call));
    let mut levels: Vec<Level> = Vec::new();
    let mut last_called: Option<Item> = None;
    for reads in reads.chunk_by(|(one, _), (other, _)| one == other) {
        let value = reads[0].0;
        let first = reads.iter().map(|&(_, item)| item).min_by_key(|item| item.ret).unwrap_or(reads[0].1);
        let last = reads[reads.len() - 1].1;
        if let Some(late) = last_called.filter(|late| first.ret < late.call) {
            let reason = format!("{value} had been seen, and what began later saw less");
            return Err(Broken::new("went-back", vec![first.place, late.place], reason));
        }
        last_called = last_called.into_iter().chain([last]).max_by_key(|item| item.call);
        levels.push(Level { value, first_back: first, last_called: last });
    }
    Ok(levels)
}

/// Fills the stages before each level in turn. An increment lies before a level at the latest if it returned
/// before some read of that level, or of a lower one, was called; and at the earliest after every level of which
/// a read returned before it was called. Whoever must be placed by then and was left over cannot be.
///
/// One that returned its count is the only one before that level and after the one below.
fn fill(levels: &[Level], increments: &[Item], counted: &[(u64, Item)]) -> Result<(), Broken> {
    // Latest calls never fall and earliest returns never rise from here to the ends: what binds one level binds
    // those beyond it.
    let called: Vec<u64> = running(levels.iter().map(|level| level.last_called.call), u64::max);
    let mut back: Vec<u64> = running(levels.iter().rev().map(|level| level.first_back.ret), u64::min);
    back.reverse();
    let mut stages: Vec<Vec<(usize, Item)>> = vec![Vec::new(); levels.len() + 1];
    for &(count, item) in counted {
        let number = levels.partition_point(|level| level.value < count);
        stages[number].push((number, item));
    }
    for &item in increments {
        let lowest = back.partition_point(|&ret| ret < item.call);
        let highest = called.partition_point(|&call| call < item.ret);
        if highest < lowest {
            return Err(lost(&levels[highest], item.place));
        }
        stages[lowest].push((highest, item));
    }
    let mut ready: BinaryHeap<(Reverse<usize>, Reverse<usize>)> = BinaryHeap::new();
    let mut count = 0;
    for (number, level) in levels.iter().enumerate() {
        ready.extend(stages[number].iter().map(|&(highest, item)| (Reverse(highest), Reverse(item.place))));
        while count < level.value {
            if ready.pop().is_none() {
                let reason = format!(
                    "{} was seen, but no more than {count} increments can have come before",
                    level.value
                );
                return Err(Broken::new("fabricated-value", vec![level.first_back.place], reason));
            }
            count += 1;
        }
        if let Some(&(Reverse(highest), Reverse(place))) = ready.peek()
            && highest <= number
        {
            return Err(lost(level, place));
        }
    }
    Ok(())
}

fn lost(level: &Level, place: usize) -> Broken {
    let reason = format!("{} was seen, although more increments had been acknowledged before", level.value);
    Broken::new("lost-update", vec![place, level.last_called.place], reason)
}

fn running(values: impl Iterator<Item = u64>, of: fn(u64, u64) -> u64) -> Vec<u64> {
    values
        .scan(None, |so_far: &mut Option<u64>, value| {
            *so_far = Some(so_far.map_or(value, |so_far| of(so_far, value)));
            *so_far
        })
        .collect()
}
