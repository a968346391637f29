//! A queue that delivers at least once: values may come again, and in any order, but none is lost.
//!
//! `enqueue` puts a value in; `dequeue` takes one out, or returns null when there is none; `drain` takes out all
//! there are, as an array. What comes out is counted against what was put in:
//! - *unexpected*: it came out, and nobody can have put it in;
//! - *duplicated*: it came out more often than it was put in, which is allowed unless said otherwise;
//! - *lost*: it was put in and acknowledged, came out never, and somebody found the queue empty who began only
//!   after that;
//! - *recovered*: nobody knew whether it was put in, and it came out.
//!
//! ```text
//! p0 |-enqueue(1)-|  |-enqueue(2)-|
//! p1                                 |-dequeue()=2-|  |-drain()=[]-|     invalid: 1 is lost
//! ```
//!
//! As long as nobody has found the queue empty, what has not come out may still be in it. An indefinite dequeue may
//! have taken one value with it, an indefinite drain any number.
//!
//! ```
//! use checker::object::delivery::AtLeastOnceQueue;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |-enqueue(1)-|  |-enqueue(2)-|
//! p1                                 |-dequeue()=2-|  |-drain()=[]-|
//! ",
//! )?;
//! let queue = AtLeastOnceQueue::default();
//! let Verdict::Invalid { anomalies } = queue.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!((anomalies[0].name.as_str(), &anomalies[0].ops[..]), ("lost-value", &[0, 6][..]));
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::{Broken, Trouble, by_key, foreign};
use crate::model::{Partition, key_text, partitions};
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Verdict};

/// Does every value come out, key by key, and nothing else? Exact for that promise, O(n log n).
///
/// Anomalies: `fabricated-value`, `aborted-read`, `value-of-another-key`, `future-read` (out before it was put in),
/// `lost-value`; `duplicated-value`, if that is not allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AtLeastOnceQueue {
    /// Must no value come out more often than it was put in?
    pub once: bool,
}

impl Checker for AtLeastOnceQueue {
    fn name(&self) -> &'static str {
        if self.once { "exactly-once-queue" } else { "at-least-once-queue" }
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, _| {
            let part = Part::new(ops)?;
            part.expected()?;
            if self.once {
                part.no_more_often()?;
            }
            Ok(part.none_lost()?)
        })
    }
}

/// What became of the values of one queue, each list in order of first mention.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueTally {
    /// The key; empty when there is none.
    pub key: String,
    /// Enqueues that were acknowledged.
    pub acknowledged: usize,
    /// Times that any value came out.
    pub delivered: usize,
    /// Acknowledged and never out, although somebody found the queue empty after that. Where there are indefinite
    /// dequeues, those may have taken as many of them.
    pub lost: Vec<Value>,
    /// Came out more often than they were put in.
    pub duplicated: Vec<Value>,
    /// Came out, although nobody can have put them in.
    pub unexpected: Vec<Value>,
    /// Came out, although nobody knew whether they had been put in.
    pub recovered: Vec<Value>,
}

/// The accounts of every queue; queues with foreign operations are left out.
pub fn tally(history: &History) -> Vec<QueueTally> {
    let tally = |part: Partition<'_>| {
        let ops: Vec<(usize, &Op)> = part.ops.iter().map(|&place| (place, &history.ops[place])).collect();
        let key = key_text(part.key);
        Some(Part::new(&ops).ok()?.tally(key))
    };
    partitions(history).into_iter().filter_map(tally).collect()
}

/// Puts and takes of one value, in order of call.
#[derive(Default)]
struct Account<'h> {
    puts: Vec<(usize, &'h Op)>,
    takes: Vec<(usize, &'h Op)>,
    failed: Option<usize>,
}

impl Account<'_> {
    /// Puts that were acknowledged before `position`.
    fn acknowledged(&self, position: u64) -> impl Iterator<Item = usize> {
        let puts = self.puts.iter().filter(move |(_, op)| op.end == OpEnd::Ok && op.ret < position);
        puts.map(|&(place, _)| place)
    }

    /// Places of puts whose values cannot all have come out: somebody found nothing who began at `position`.
    fn missing(&self, position: u64) -> Vec<usize> {
        let all: Vec<usize> = self.acknowledged(position).collect();
        all[self.takes.len().min(all.len())..].to_vec()
    }
}

#[derive(Default)]
struct Part<'h> {
    values: Vec<&'h Value>,
    accounts: FxHashMap<&'h Value, Account<'h>>,
    /// The empty dequeue, or the drain, that was called last.
    last_empty: Option<(usize, &'h Op)>,
    /// Indefinite dequeues; more than can be counted where there is an indefinite drain.
    unknown_takes: Vec<(usize, u64)>,
    unknown_drains: Vec<u64>,
}

impl<'h> Part<'h> {
    fn new(ops: &[(usize, &'h Op)]) -> Result<Self, Trouble> {
        let mut part = Part::default();
        for &(place, op) in ops {
            match (&*op.f, op.end, &op.output) {
                ("enqueue", OpEnd::Fail, _) => part.account(&op.input).failed = Some(place),
                ("enqueue", ..) => part.account(&op.input).puts.push((place, op)),
                ("dequeue" | "drain", OpEnd::Fail, _) => {}
                ("dequeue", OpEnd::Info, _) => part.unknown_takes.push((place, op.call)),
                ("drain", OpEnd::Info, _) => part.unknown_drains.push(op.call),
                ("dequeue", OpEnd::Ok, Value::Null) => part.last_empty = Some((place, op)),
                ("dequeue", OpEnd::Ok, value) => part.account(value).takes.push((place, op)),
                ("drain", OpEnd::Ok, Value::Array(all)) => {
                    all.iter().for_each(|value| part.account(value).takes.push((place, op)));
                    part.last_empty = Some((place, op));
                }
                ("drain", OpEnd::Ok, other) => {
                    return Err(Trouble::Unjudged(format!(
                        "operation {} drained {other}, no array",
                        op.index
                    )));
                }
                _ => return Err(foreign(op, "a queue that delivers at least once")),
            }
        }
        Ok(part)
    }

    fn account(&mut self, value: &'h Value) -> &mut Account<'h> {
        if !self.accounts.contains_key(value) {
            self.values.push(value);
        }
        self.accounts.entry(value).or_default()
    }

    /// Whatever came out had been put in, or was about to be.
    fn expected(&self) -> Result<(), Broken> {
        for &value in &self.values {
            let account = &self.accounts[value];
            let first_out = account.takes.iter().min_by_key(|(_, op)| op.ret);
            let Some(&(place, take)) = first_out else { continue };
            let Some(&(put, first)) = account.puts.first() else {
                let claim = format!("process {} dequeued {value}", take.process);
                return Err(Broken::nowhere(value, place, account.failed, &claim));
            };
            if take.ret < first.call {
                let reason = format!(
                    "process {} dequeued {value}, which process {} began to enqueue only after that",
                    take.process, first.process
                );
                return Err(Broken::new("future-read", vec![put, place], reason));
            }
        }
        Ok(())
    }

    fn no_more_often(&self) -> Result<(), Broken> {
        for &value in &self.values {
            let Account { puts, takes, .. } = &self.accounts[value];
            if takes.len() > puts.len() {
                let times = |n: usize| if n == 1 { "once".to_string() } else { format!("{n} times") };
                let reason = format!(
                    "{value} was enqueued {}, and dequeued {}, at last by process {}",
                    times(puts.len()),
                    times(takes.len()),
                    takes[takes.len() - 1].1.process
                );
                let places = puts.iter().chain(takes).map(|&(place, _)| place).collect();
                return Err(Broken::new("duplicated-value", places, reason));
            }
        }
        Ok(())
    }

    fn none_lost(&self) -> Result<(), Broken> {
        let Some((place, empty)) = self.last_empty else { return Ok(()) };
        if self.unknown_drains.iter().any(|&call| call < empty.ret) {
            return Ok(());
        }
        let unknown: Vec<usize> = self
            .unknown_takes
            .iter()
            .filter(|(_, call)| *call < empty.ret)
            .map(|&(place, _)| place)
            .collect();
        let missing = |&value: &&'h Value| {
            let puts = self.accounts[value].missing(empty.call);
            (!puts.is_empty()).then_some((value, puts))
        };
        let missing: Vec<(&Value, Vec<usize>)> = self.values.iter().filter_map(missing).collect();
        let puts: Vec<usize> = missing.iter().flat_map(|(_, puts)| puts).copied().collect();
        if puts.len() <= unknown.len() {
            return Ok(());
        }
        let reason = lost(&missing, puts.len(), unknown.len(), empty);
        let mut places = vec![place];
        // One more than the indefinite dequeues can have taken proves it.
        for (value, puts) in missing.iter().take(unknown.len() + 1) {
            let account = &self.accounts[*value];
            match account.takes.is_empty() {
                true => places.extend(puts),
                false => places.extend(account.acknowledged(empty.call)),
            }
            places.extend(account.takes.iter().map(|&(place, _)| place));
        }
        places.extend(unknown);
        Err(Broken::new("lost-value", places, reason))
    }

    fn tally(&self, key: String) -> QueueTally {
        let mut tally = QueueTally { key, ..QueueTally::default() };
        let position = self.last_empty.map_or(0, |(_, op)| op.call);
        for &value in &self.values {
            let account = &self.accounts[value];
            let (acknowledged, taken) = (account.acknowledged(u64::MAX).count(), account.takes.len());
            tally.acknowledged += acknowledged;
            tally.delivered += taken;
            let mut note = |is_so: bool, list: fn(&mut QueueTally) -> &mut Vec<Value>| {
                if is_so {
                    list(&mut tally).push(value.clone());
                }
            };
            note(!account.missing(position).is_empty(), |tally| &mut tally.lost);
            note(taken > account.puts.len() && !account.puts.is_empty(), |tally| &mut tally.duplicated);
            note(taken > 0 && account.puts.is_empty(), |tally| &mut tally.unexpected);
            note(taken > acknowledged && account.puts.len() > acknowledged, |tally| &mut tally.recovered);
        }
        tally
    }
}

/// Most values that a sentence lists.
const VALUES_MAX: usize = 5;

fn lost(missing: &[(&Value, Vec<usize>)], puts: usize, unknown: usize, empty: &Op) -> String {
    let mut names: Vec<String> =
        missing.iter().take(VALUES_MAX).map(|(value, _)| value.to_string()).collect();
    if missing.len() > VALUES_MAX {
        names.push(format!("{} more", missing.len() - VALUES_MAX));
    }
    let last = names.pop().unwrap_or_default();
    let values = if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) };
    let was = if puts == 1 { "was" } else { "were" };
    let found = match &*empty.f {
        "drain" => "drained the queue",
        _ => "found the queue empty",
    };
    let mut reason = format!(
        "{values} {was} enqueued and acknowledged, and never dequeued, although process {} {found} after that",
        empty.process
    );
    if unknown > 0 {
        reason.push_str(&format!(
            "; dequeues that nobody knows the fate of can have taken no more than {unknown}"
        ));
    }
    reason
}
