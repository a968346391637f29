//! Many objects of one kind, each under a key of its own: what all workloads on data have in common.
//!
//! At any time a fixed number of keys is in use. Each lives for a few seconds and is then replaced by the
//! next generation, one key at a time, so that no key's history grows beyond what a checker can settle.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use checker::stream::Watch;
use checker::{Checker, EventKind, History};
use cluster::store::{Answer, CallError, Command, Store};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use thiserror::Error;

use crate::generator::{Draw, Pace, Paced, Slot};
use crate::outcome::{self, Effect};
use crate::seed::derive;
use crate::{Call, Client, Completion, Operation, Workload, words};

/// Without a rate there are no slot times to rotate keys by: a key then lives for this many operations at most.
const OPS_PER_KEY_UNPACED: u64 = 640;

/// A kind of object: what is drawn for it, what clients remember of it, what judges it.
pub trait Object: Clone + fmt::Debug + Send + Sync + 'static {
    /// What all clients of a run together remember of one key.
    ///
    /// Shared, since with many writers on few keys what one client has seen alone is nearly always out of date.
    type Memory: Clone + fmt::Debug + Default + Send;

    /// Name on the command line.
    fn name(&self) -> &'static str;

    /// Most operations on one key, where its reads or its checker grow with them.
    fn ops_per_key_max(&self) -> Option<u64> {
        None
    }

    /// What to do next; `unique` (above 0) is drawn for no other slot of the run.
    fn draw(&self, rng: &mut ChaCha8Rng, unique: u64) -> Command;

    /// Decides what `drawn` left open.
    fn prepare(&self, drawn: &Command, _memory: &Self::Memory) -> Command {
        drawn.clone()
    }

    /// Takes notice of how a call ended.
    fn learn(&self, _memory: &mut Self::Memory, _command: &Command, _result: &Result<Answer, CallError>) {}

    /// What to ask of a key in the end.
    fn final_reads(&self, memory: &Self::Memory) -> Vec<Command>;

    /// What judges the history.
    fn checkers(&self) -> Vec<Box<dyn Checker>>;

    /// See [`Workload::watch`].
    fn watch(&self, _lag_ns: u64) -> Option<Watch> {
        None
    }

    /// See [`Workload::observations`].
    fn observations(&self, _history: &History) -> Vec<String> {
        Vec::new()
    }
}

/// How inputs are spread over time and keys.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyedOptions {
    /// Fixes every input.
    pub seed: u64,
    /// Rate, number of workers, time limit.
    pub pace: Pace,
    /// Keys in use at once.
    pub keys: u32,
    /// How long a key stays in use, seconds; shorter where that would be more operations than the object takes.
    pub key_lifetime_s: f64,
    /// Of how many keys the state is read in the end, newest first; none for all that were used.
    pub final_keys_max: Option<usize>,
}

impl KeyedOptions {
    /// 8 keys for 5 s each, all read in the end.
    pub fn new(seed: u64, pace: Pace) -> Self {
        KeyedOptions { seed, pace, keys: 8, key_lifetime_s: 5.0, final_keys_max: None }
    }
}

/// Why a workload cannot be made.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum KeyedError {
    /// Nothing to read or write.
    #[error("a workload needs at least one key")]
    NoKeys,
    /// A key must live.
    #[error("a key's lifetime must be a number of seconds above 0, not {0}")]
    Lifetime(f64),
}

/// One key of one generation. Ordered by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// How many keys had this place before.
    pub generation: u64,
    /// Which of the places.
    pub place: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{}-{}", self.generation, self.place)
    }
}

/// What a worker is asked to do. Pure function of seed, worker and options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where.
    pub key: Key,
    /// What, before [`Object::prepare`].
    pub command: Command,
}

/// An input with everything decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    key: Key,
    name: String,
    command: Command,
}

impl Operation for Op {
    fn call(&self) -> Call {
        Call { f: words::f(&self.command), key: self.name.clone(), value: words::argument(&self.command) }
    }
}

/// Draws one worker's inputs.
#[derive(Debug)]
pub struct KeyedDraw<O> {
    object: O,
    rng: ChaCha8Rng,
    worker: u32,
    workers: u32,
    keys: u32,
    lifetime: Lifetime,
}

/// How long a key is in use.
#[derive(Debug, Clone, Copy)]
struct Lifetime {
    ns: u64,
    /// Operations of all workers on it, where nothing is paced.
    ops: u64,
}

impl<O> KeyedDraw<O> {
    /// Places change their key in turn, evenly over a lifetime, so that there is no moment when all are new.
    fn key(&self, place: u32, slot: Slot) -> Key {
        let (age, lifetime) = match slot.due_ns {
            Some(due_ns) => (due_ns, self.lifetime.ns),
            None => {
                let ops = self.lifetime.ops * u64::from(self.keys) / u64::from(self.workers);
                (slot.index, ops.max(1))
            }
        };
        let head_start = u128::from(lifetime) * u128::from(place) / u128::from(self.keys);
        let generation = (u128::from(age) + head_start) / u128::from(lifetime);
        Key { generation: generation as u64, place }
    }
}

impl<O: Object> Draw for KeyedDraw<O> {
    type Input = Input;

    fn draw(&mut self, slot: Slot) -> Input {
        let unique = slot.index * u64::from(self.workers) + u64::from(self.worker) + 1;
        let command = self.object.draw(&mut self.rng, unique);
        let place = self.rng.random_range(0..self.keys);
        Input { key: self.key(place, slot), command }
    }
}

/// Every key in use so far, with what is remembered of it.
#[derive(Debug, Clone, Default)]
struct Seen<M>(Arc<Mutex<BTreeMap<Key, M>>>);

impl<M> Seen<M> {
    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<Key, M>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A workload on objects of kind `O`.
#[derive(Debug, Clone)]
pub struct Keyed<O: Object> {
    object: O,
    options: KeyedOptions,
    lifetime: Lifetime,
    seen: Seen<O::Memory>,
}

impl<O: Object> Keyed<O> {
    /// A workload that has seen nothing yet.
    pub fn new(object: O, options: KeyedOptions) -> Result<Self, KeyedError> {
        if options.keys == 0 {
            return Err(KeyedError::NoKeys);
        }
        let mut ns = (options.key_lifetime_s * 1e9) as u64;
        if ns == 0 || !options.key_lifetime_s.is_finite() {
            return Err(KeyedError::Lifetime(options.key_lifetime_s));
        }
        let ops_max = object.ops_per_key_max();
        if let Some(ops_max) = ops_max
            && options.pace.rate > 0.0
        {
            let by_ops = ops_max as f64 * f64::from(options.keys) / options.pace.rate * 1e9;
            ns = ns.min((by_ops as u64).max(1));
        }
        let ops = OPS_PER_KEY_UNPACED.min(ops_max.unwrap_or(u64::MAX));
        Ok(Keyed { object, options, lifetime: Lifetime { ns, ops }, seen: Seen::default() })
    }
}

impl<O: Object> Workload for Keyed<O> {
    type Input = Input;
    type Generator = Paced<KeyedDraw<O>>;
    type Client = KeyedClient<O>;

    fn name(&self) -> &'static str {
        self.object.name()
    }

    fn generator(&self, worker: u32) -> Paced<KeyedDraw<O>> {
        let workers = self.options.pace.concurrency;
        assert!(worker < workers, "worker {worker} of {workers}: its values would not be unique");
        let seed = derive(self.options.seed, self.name(), u64::from(worker));
        let draw = KeyedDraw {
            object: self.object.clone(),
            rng: ChaCha8Rng::seed_from_u64(derive(seed, "inputs", 0)),
            worker,
            workers,
            keys: self.options.keys,
            lifetime: self.lifetime,
        };
        Paced::new(seed, self.options.pace, draw)
    }

    fn client(&self, _worker: u32) -> KeyedClient<O> {
        KeyedClient { object: self.object.clone(), seen: self.seen.clone() }
    }

    fn final_reads(&self) -> Vec<Input> {
        self.seen.with(|seen| {
            let skip = self.options.final_keys_max.map_or(0, |max| seen.len().saturating_sub(max));
            let reads = |(&key, memory): (&Key, &O::Memory)| {
                self.object.final_reads(memory).into_iter().map(move |command| Input { key, command })
            };
            seen.iter().skip(skip).flat_map(reads).collect()
        })
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        self.object.checkers()
    }

    fn watch(&self, lag_ns: u64) -> Option<Watch> {
        self.object.watch(lag_ns)
    }

    fn observations(&self, history: &History) -> Vec<String> {
        self.object.observations(history)
    }
}

/// One worker's hands on the objects.
#[derive(Debug, Clone)]
pub struct KeyedClient<O: Object> {
    object: O,
    seen: Seen<O::Memory>,
}

impl<O: Object> KeyedClient<O> {
    fn learn(&self, op: &Op, result: &Result<Answer, CallError>) {
        self.seen.with(|seen| self.object.learn(seen.entry(op.key).or_default(), &op.command, result));
    }
}

/// How a call of `command` reads that ended like this, its server aside.
fn completion(command: &Command, result: Result<Answer, CallError>) -> Completion {
    let (kind, value, error) = match result {
        Ok(answer) => match words::result(command, &answer) {
            Some(value) => (EventKind::Ok, value, None),
            None => (EventKind::Fail, words::argument(command), Some(outcome::MISMATCH.into())),
        },
        Err(error) => {
            let kind = outcome::of_error(Effect::of(command), &error);
            (kind, words::argument(command), Some(error.reason.into()))
        }
    };
    Completion { kind, value, error, served_by: None }
}

impl<O: Object> Client for KeyedClient<O> {
    type Input = Input;
    type Op = Op;

    fn prepare(&mut self, input: &Input) -> Op {
        let prepare = |memory: &mut O::Memory| self.object.prepare(&input.command, memory);
        let command = self.seen.with(|seen| prepare(seen.entry(input.key).or_default()));
        Op { key: input.key, name: input.key.to_string(), command }
    }

    async fn call<S: Store>(&mut self, store: &mut S, op: &Op) -> Completion {
        let reply = store.execute(&op.name, &op.command).await;
        self.learn(op, &reply.result);
        Completion { served_by: reply.served_by, ..completion(&op.command, reply.result) }
    }

    fn timed_out(&mut self, op: &Op) -> Completion {
        let result = Err(CallError::indefinite(outcome::TIMEOUT));
        self.learn(op, &result);
        completion(&op.command, result)
    }
}

/// The value of a slot as it is stored.
pub(crate) fn text(unique: u64) -> String {
    unique.to_string()
}

#[cfg(test)]
mod tests;
