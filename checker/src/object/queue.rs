//! A first-in-first-out queue whose every value is put in once.
//!
//! `enqueue` puts a value in, `dequeue` takes the oldest out, or returns null when there is none. With unique
//! values everything that can go wrong shows in a few operations (Henzinger, Sezgin and Vafeiadis 2013; Bouajjani,
//! Emmi, Enea and Hamza 2015): a value from nowhere, a value twice, a value overtaken by one that came after it,
//! and an empty queue at a time when it certainly was not.
//!
//! ```text
//! p0 |-enqueue(1)-|  |-enqueue(2)-|
//! p1                                 |-dequeue()=2-|  |-dequeue()=1-|     invalid: 2 overtook 1
//! ```
//!
//! An indefinite enqueue that nobody took out is left out. An indefinite dequeue may have taken any value, or none;
//! whether they can have taken what is missing is a matter of counting, and in rare cases of a search, within the
//! budget.
//!
//! ```
//! use checker::object::queue::Queue;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |-enqueue(1)-|  |-enqueue(2)-|
//! p1                                 |-dequeue()=2-|  |-dequeue()=1-|
//! ",
//! )?;
//! let Verdict::Invalid { anomalies } = Queue.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!((anomalies[0].name.as_str(), &anomalies[0].ops[..]), ("reordered-values", &[0, 2, 4, 6][..]));
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

mod unknown;

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::{Broken, SHOWN_MAX, Trouble, by_key, foreign, searched};
use crate::general::Object;
use crate::model::Model;
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Verdict};
use unknown::Counted;

/// Is the history, key by key, one of a linearizable queue that starts empty? Exact; O(n log n) but for rare cases
/// with indefinite dequeues.
///
/// Anomalies: `fabricated-value`, `aborted-read` (dequeued although enqueueing it had failed), `duplicated-value`
/// (dequeued twice), `future-read` (dequeued before it was enqueued), `reordered-values`, `lost-value` (never dequeued,
/// although what came after it was), `false-empty`; `non-linearizable` from the search.
#[derive(Debug, Clone, Copy, Default)]
pub struct Queue;

impl Checker for Queue {
    fn name(&self) -> &'static str {
        "queue"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, budget| {
            let part = Part::new(ops)?;
            part.orders_of_taken().map_err(|broken| broken.of_queue(ops))?;
            let rest = part.what_was_left().and_then(|()| part.empties());
            match rest {
                Err(broken) if part.unknown_takes.is_empty() => Err(broken.of_queue(ops).into()),
                Ok(()) => Ok(()),
                Err(_) => match unknown::count(&part) {
                    Counted::Explained => Ok(()),
                    Counted::Broken(broken) => Err(broken.of_queue(ops).into()),
                    Counted::Open => searched(history, ops, "queue", Fifo, budget),
                },
            }
        })
    }
}

impl Broken {
    /// The same with the values and processes of its operations, which come in the order of each promise's proof.
    fn of_queue(mut self, ops: &[(usize, &Op)]) -> Broken {
        let op = |i: usize| {
            let place = self.places.get(i)?;
            let at = ops.binary_search_by_key(place, |(place, _)| *place).ok()?;
            Some(ops[at].1)
        };
        let told = match (self.name, op(0), op(1), op(2), op(3)) {
            ("reordered-values", Some(old), Some(new), Some(early), Some(late)) => Some(format!(
                "{} was dequeued by process {} before process {} began to dequeue {}, which had been enqueued before it",
                new.input, early.process, late.process, old.input
            )),
            ("lost-value", Some(old), Some(new), Some(take), _) if self.places.len() == 3 => Some(format!(
                "{} was enqueued by process {} and never dequeued, although {}, which was enqueued after that, was \
                 dequeued by process {}",
                old.input, old.process, new.input, take.process
            )),
            ("false-empty", Some(empty), Some(there), ..) => Some(format!(
                "process {} found the queue empty, although at every instant of that dequeue some value was there: {}",
                empty.process,
                values(&self.places, ops).unwrap_or_else(|| there.input.to_string())
            )),
            _ => None,
        };
        if let Some(told) = told {
            self.reason = told;
        }
        self
    }
}

/// What the enqueues at `places` put in, one after another.
fn values(places: &[usize], ops: &[(usize, &Op)]) -> Option<String> {
    // More than that is not shown either.
    let places = &places[..places.len().min(SHOWN_MAX)];
    let puts = ops.iter().filter(|(place, op)| op.f == "enqueue" && places.contains(place));
    let values: Vec<String> = puts.map(|(_, op)| op.input.to_string()).take(VALUES_MAX + 1).collect();
    (1..=VALUES_MAX).contains(&values.len()).then(|| values.join(", then "))
}

/// Most values that a sentence lists.
const VALUES_MAX: usize = 5;

/// What became of one value.
#[derive(Clone, Copy)]
struct Life {
    enqueue: usize,
    /// Call and return of its enqueue; the return is `u64::MAX` for an indefinite one.
    put: (u64, u64),
    /// Who took it out: place, call, return.
    taken: Option<(usize, u64, u64)>,
}

#[derive(Clone)]
struct Part<'h> {
    lives: FxHashMap<&'h Value, Life>,
    /// Dequeues that found nothing: place, call, return.
    empties: Vec<(usize, u64, u64)>,
    /// Indefinite dequeues, in order of call: place, call.
    unknown_takes: Vec<(usize, u64)>,
}

impl<'h> Part<'h> {
    fn new(ops: &[(usize, &'h Op)]) -> Result<Self, Trouble> {
        let mut part = Part { lives: FxHashMap::default(), empties: Vec::new(), unknown_takes: Vec::new() };
        let mut failed: FxHashMap<&Value, usize> = FxHashMap::default();
        let mut takes = Vec::new();
        for &(place, op) in ops {
            match (&*op.f, op.end) {
                ("dequeue", OpEnd::Fail) => {}
                ("dequeue", OpEnd::Info) => part.unknown_takes.push((place, op.call)),
                ("dequeue", OpEnd::Ok) if op.output.is_null() => part.empties.push((place, op.call, op.ret)),
                ("dequeue", OpEnd::Ok) => takes.push((&op.output, (place, op.call, op.ret))),
                ("enqueue", OpEnd::Fail) => drop(failed.insert(&op.input, place)),
                ("enqueue", end) => {
                    let ret = if end == OpEnd::Info { u64::MAX } else { op.ret };
                    let life = Life { enqueue: place, put: (op.call, ret), taken: None };
                    if part.lives.insert(&op.input, life).is_some() || op.input.is_null() {
                        let why = format!("operation {} enqueues {}", op.index, op.input);
                        return Err(Trouble::Unjudged(format!("{why}; only unique values can be judged")));
                    }
                }
                _ => return Err(foreign(op, "a queue")),
            }
        }
        part.unknown_takes.sort_unstable_by_key(|&(_, call)| call);
        for (value, take) in takes {
            part.take(value, take, &failed)?;
        }
        Ok(part)
    }

    fn take(
        &mut self,
        value: &Value,
        take: (usize, u64, u64),
        failed: &FxHashMap<&Value, usize>,
    ) -> Result<(), Broken> {
        let Some(life) = self.lives.get_mut(value) else {
            let claim = format!("{value} was dequeued");
            return Err(Broken::nowhere(value, take.0, failed.get(value).copied(), &claim));
        };
        if let Some((other, ..)) = life.taken {
            let reason = format!("{value} was dequeued twice");
            return Err(Broken::new("duplicated-value", vec![life.enqueue, other, take.0], reason));
        }
        if take.2 < life.put.0 {
            let reason = format!("{value} was dequeued before it was enqueued");
            return Err(Broken::new("future-read", vec![life.enqueue, take.0], reason));
        }
        life.taken = Some(take);
        Ok(())
    }

    /// No value was taken out after one that was put in after it.
    fn orders_of_taken(&self) -> Result<(), Broken> {
        let taken = |life: &Life| life.taken.map(|taken| (*life, taken));
        let all: Vec<(Life, (usize, u64, u64))> = self.lives.values().filter_map(taken).collect();
        let mut by_put: Vec<_> = all.iter().filter(|(life, _)| life.put.1 != u64::MAX).collect();
        by_put.sort_by_key(|(life, _)| life.put.1);
        let mut by_call: Vec<_> = all.iter().collect();
        by_call.sort_by_key(|(life, _)| life.put.0);
        let mut earlier = by_put.into_iter().peekable();
        let mut last_taken: Option<&(Life, (usize, u64, u64))> = None;
        for (life, taken) in by_call {
            while let Some(older) = earlier.next_if(|(older, _)| older.put.1 < life.put.0) {
                if last_taken.is_none_or(|last| last.1.1 < older.1.1) {
                    last_taken = Some(older);
                }
            }
            if let Some((older, late)) = last_taken
                && taken.2 < late.1
            {
                let reason = "a value was dequeued before another one was, which had been enqueued before it"
                    .to_string();
                return Err(Broken::new(
                    "reordered-values",
                    vec![older.enqueue, life.enqueue, taken.0, late.0],
                    reason,
                ));
            }
        }
        Ok(())
    }

    /// No value was left behind by one that was put in after it.
    fn what_was_left(&self) -> Result<(), Broken> {
        let left = self.lives.values().filter(|life| life.taken.is_none() && life.put.1 != u64::MAX);
        let Some(oldest) = left.min_by_key(|life| life.put.1) else { return Ok(()) };
        let mut after = self.lives.values().filter(|life| life.put.0 > oldest.put.1);
        let overtook = after.find_map(|life| life.taken.map(|taken| (life, taken)));
        match overtook {
            None => Ok(()),
            Some((life, taken)) => {
                let reason =
                    "a value was never dequeued, although one that was enqueued after it was".to_string();
                Err(Broken::new("lost-value", vec![oldest.enqueue, life.enqueue, taken.0], reason))
            }
        }
    }

    /// Whoever found nothing did so at an instant at which no value certainly was there.
    fn empties(&self) -> Result<(), Broken> {
        let mut held: Vec<(u64, u64, &Life)> = self
            .lives
            .values()
            .map(|life| (life.put.1, life.taken.map_or(u64::MAX, |(_, call, _)| call), life))
            .filter(|(from, until, _)| from < until)
            .collect();
        held.sort_by_key(|&(from, until, _)| (from, until));
        // Stretches without a gap, each with who made it so.
        let mut stretches: Vec<(u64, u64, Vec<&Life>)> = Vec::new();
        for (from, until, life) in held {
            match stretches.last_mut() {
                Some((_, end, lives)) if from < *end => {
                    if until > *end {
                        *end = until;
                        lives.push(life);
                    }
                }
                _ => stretches.push((from, until, vec![life])),
            }
        }
        for &(place, call, ret) in &self.empties {
            let next = stretches.partition_point(|&(from, ..)| from < call);
            if let Some((_, _, lives)) = next.checked_sub(1).map(|at| &stretches[at]).filter(|s| s.1 > ret) {
                let until =
                    |life: &&&Life| life.taken.is_none_or(|(_, until, _)| until > call) && life.put.1 < ret;
                let there = lives.iter().filter(until);
                let places = there.flat_map(|life| [Some(life.enqueue), life.taken.map(|(take, ..)| take)]);
                let reason = "a dequeue found nothing, although at every instant of it some value was there";
                let places = std::iter::once(place).chain(places.flatten()).collect();
                return Err(Broken::new("false-empty", places, reason.to_string()));
            }
        }
        Ok(())
    }
}

/// The queue as a model, for what indefinite dequeues may have done.
struct Fifo;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Call {
    Enqueue(Value),
    /// Took this value, or found nothing.
    Dequeue(Option<Value>),
    /// Took something, or not.
    Took,
}

impl Model for Fifo {
    type State = VecDeque<Value>;
    type Call = Call;

    fn init(&self) -> VecDeque<Value> {
        VecDeque::new()
    }

    fn step(&self, queue: &VecDeque<Value>, call: &Call) -> Option<VecDeque<Value>> {
        let mut queue = queue.clone();
        match call {
            Call::Enqueue(value) => queue.push_back(value.clone()),
            Call::Dequeue(value) if queue.pop_front() != *value => return None,
            Call::Dequeue(_) => {}
            Call::Took => drop(queue.pop_front()),
        }
        Some(queue)
    }

    fn is_pure(&self, call: &Call) -> bool {
        *call == Call::Dequeue(None)
    }
}

impl Object for Fifo {
    fn call(&self, op: &Op) -> Result<Option<Call>, String> {
        Ok(match (&*op.f, op.end) {
            (_, OpEnd::Fail) => None,
            ("enqueue", _) => Some(Call::Enqueue(op.input.clone())),
            (_, OpEnd::Info) => Some(Call::Took),
            _ => Some(Call::Dequeue(Some(op.output.clone()).filter(|value| !value.is_null()))),
        })
    }
}
