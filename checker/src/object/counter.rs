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
//! Counters that go up and down by any amount know besides
//! - `add` and `decrement` (by one, where they have no argument), which return nothing of interest;
//! - `fetch_add`, which returns the count before it. Where all changes do, each is a compare-and-set, and they have
//!   their order.
//!
//! Which of several amounts came before a read is a question of sums, and no quick algorithm for it is known. So
//! every read is held to the least and the most that it can have seen, and what those bounds allow is searched.
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

mod deltas;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Broken, Trouble, by_key, foreign};
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Process, Verdict};

/// Is the history, key by key, one of a linearizable counter that starts at 0? Exact and O(n log n) for increments
/// by one, and where every change returned what it changed; within the budget by search for other amounts.
///
/// Anomalies: `went-back`, a read smaller than one that had returned before it began; `lost-update`, fewer than
/// had been acknowledged; `fabricated-value`, more than had been called; `duplicated-count`, two increments that returned
/// the same count; those of registers where all changes return the count, `non-linearizable` from the search.
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
        by_key(self.name(), history, budget, |ops, budget| {
            match ops.iter().all(|(_, op)| matches!(&*op.f, "increment" | "read")) {
                true => judge(ops),
                false => deltas::judge(history, ops, budget),
            }
        })
    }
}

/// An operation's interval; `ret` is `u64::MAX` for an indefinite one.
#[derive(Clone, Copy)]
struct Item {
    place: usize,
    call: u64,
    ret: u64,
    process: Process,
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
        let item = Item { place, call: op.call, ret, process: op.process };
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
            ("read", OpEnd::Ok) => match (op.output.as_u64(), op.output.as_i64()) {
                (Some(value), _) => reads.push((value, item)),
                (None, Some(value)) => {
                    let reason = format!("process {} saw {value}, and no count is below 0", op.process);
                    return Err(Broken::new("fabricated-value", vec![place], reason).into());
                }
                (None, None) => {
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
            let [(count, one), (_, other)] = [pair[0], pair[1]];
            let reason = format!(
                "an increment by process {} and one by process {} both made it {count}",
                one.process, other.process
            );
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
            let reason = format!(
                "process {} saw {value}, and process {} saw less in what began only after that had returned",
                first.process, late.process
            );
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
            return Err(too_many(levels, highest, item.place, &[]));
        }
        stages[lowest].push((highest, item));
    }
    let mut ready: BinaryHeap<(Reverse<usize>, Reverse<usize>)> = BinaryHeap::new();
    let mut count = 0;
    // What was counted so far: the stage, the latest one that would have done, and the increment.
    let mut counted: Vec<Counted> = Vec::new();
    for (number, level) in levels.iter().enumerate() {
        ready.extend(stages[number].iter().map(|&(highest, item)| (Reverse(highest), Reverse(item.place))));
        while count < level.value {
            let Some((Reverse(highest), Reverse(place))) = ready.pop() else {
                let reason = format!(
                    "process {} saw {}, but no more than {count} increments can have come before",
                    level.first_back.process, level.value
                );
                return Err(Broken::new("fabricated-value", vec![level.first_back.place], reason));
            };
            count += 1;
            counted.push(Counted { stage: number, highest, place });
        }
        if let Some(&(Reverse(highest), Reverse(place))) = ready.peek()
            && highest <= number
        {
            return Err(too_many(levels, number, place, &counted));
        }
    }
    Ok(())
}

struct Counted {
    stage: usize,
    highest: usize,
    place: usize,
}

/// `place` had to be counted by `number`, and so had as many others as there is room for.
fn too_many(levels: &[Level], number: usize, place: usize, counted: &[Counted]) -> Broken {
    // Before the last one that could have waited, nobody who could not was there to be counted.
    let free = counted.iter().rposition(|one| one.highest > number);
    let since = free.map(|free| counted[free].stage);
    let packed = &counted[free.map_or(0, |free| free + 1)..];
    let read = levels[..=number]
        .iter()
        .map(|level| (level.value, level.last_called))
        .max_by_key(|(_, read)| read.call);
    let base = since.and_then(|since| {
        levels[since..].iter().map(|level| (level.value, level.first_back)).min_by_key(|(_, read)| read.ret)
    });
    let saw = read.map_or(String::new(), |(value, read)| format!("process {} saw {value}", read.process));
    let acknowledged = match packed.len() + 1 {
        1 => "an increment".to_string(),
        more => format!("{more} increments"),
    };
    let after =
        base.map_or(String::new(), |(value, _)| format!(", which all began after {value} had been seen"));
    let reason = format!("{saw}, although {acknowledged} had been acknowledged before that began{after}");
    let reads = [read, base].into_iter().flatten().map(|(_, read)| read.place);
    Broken::new(
        "lost-update",
        reads.chain([place]).chain(packed.iter().map(|one| one.place)).collect(),
        reason,
    )
}

fn running(values: impl Iterator<Item = u64>, of: fn(u64, u64) -> u64) -> Vec<u64> {
    values
        .scan(None, |so_far: &mut Option<u64>, value| {
            *so_far = Some(so_far.map_or(value, |so_far| of(so_far, value)));
            *so_far
        })
        .collect()
}
