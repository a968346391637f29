//! `register`: read, write and compare-and-set over many keys, every written value unique.
//!
//! At any time a fixed number of keys is in use. Each lives for a few seconds and is then replaced by the
//! next generation, one key at a time, so that no key's history grows beyond what a checker can settle.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use checker::{Checker, EventKind, Linearizable};
use cluster::store::{Reply, Store};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::generator::{Draw, Mix, Pace, Paced, Slot};
use crate::outcome::{self, Effect};
use crate::seed::derive;
use crate::{Call, Client, Completion, Operation, Workload};

/// Without a rate there are no slot times to rotate keys by: a key then lives for this many operations.
const OPS_PER_KEY_UNPACED: u64 = 640;

/// What the register workload is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisterOptions {
    /// Fixes every input.
    pub seed: u64,
    /// Rate, number of workers, time limit.
    pub pace: Pace,
    /// Keys in use at once.
    pub keys: u32,
    /// How long a key stays in use, seconds.
    pub key_lifetime_s: f64,
    /// Relative frequency of reads.
    pub read_weight: u32,
    /// Relative frequency of writes.
    pub write_weight: u32,
    /// Relative frequency of compare-and-sets.
    pub cas_weight: u32,
    /// Of how many keys the last value is read in the end, newest first; none for all that were used.
    pub final_keys_max: Option<usize>,
}

impl RegisterOptions {
    /// 8 keys for 5 s each, half reads, 35 % writes, 15 % compare-and-sets, all keys read in the end.
    pub fn new(seed: u64, pace: Pace) -> Self {
        RegisterOptions {
            seed,
            pace,
            keys: 8,
            key_lifetime_s: 5.0,
            read_weight: 50,
            write_weight: 35,
            cas_weight: 15,
            final_keys_max: None,
        }
    }
}

/// Why a register workload cannot be made.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RegisterError {
    /// Nothing to read or write.
    #[error("the register workload needs at least one key")]
    NoKeys,
    /// A key must live.
    #[error("a key's lifetime must be a number of seconds above 0, not {0}")]
    Lifetime(f64),
    /// Nothing to do.
    #[error("at least one of the weights of read, write and cas must be above 0")]
    NoWeights,
}

/// One register of one generation. Ordered by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "f", rename_all = "lowercase")]
pub enum Input {
    /// Read it.
    Read {
        /// From where.
        key: Key,
    },
    /// Set it.
    Write {
        /// Where.
        key: Key,
        /// To what: no other input of the run has this value.
        value: u64,
    },
    /// Set it if it still holds what was last seen there.
    Cas {
        /// Where.
        key: Key,
        /// To what: no other input of the run has this value.
        new: u64,
    },
}

/// An input with everything decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    key: Key,
    name: String,
    action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Read,
    Write { value: String },
    Cas { expected: String, new: String },
}

impl Op {
    fn effect(&self) -> Effect {
        match self.action {
            Action::Read => Effect::Observes,
            Action::Write { .. } | Action::Cas { .. } => Effect::Updates,
        }
    }

    fn argument(&self) -> Value {
        match &self.action {
            Action::Read => Value::Null,
            Action::Write { value } => as_json(value),
            Action::Cas { expected, new } => json!([as_json(expected), as_json(new)]),
        }
    }
}

impl Operation for Op {
    fn call(&self) -> Call {
        let f = match self.action {
            Action::Read => "read",
            Action::Write { .. } => "write",
            Action::Cas { .. } => "cas",
        };
        Call { f, key: self.name.clone(), value: self.argument() }
    }
}

/// A stored text as the history shows it: the number it is the usual form of, else the text itself.
fn as_json(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => number.into(),
        _ => text.into(),
    }
}

/// Draws one worker's inputs.
#[derive(Debug)]
pub struct RegisterDraw {
    rng: ChaCha8Rng,
    mix: Mix<Kind>,
    worker: u32,
    workers: u32,
    keys: u32,
    lifetime_ns: u64,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Read,
    Write,
    Cas,
}

impl RegisterDraw {
    /// Places change their key in turn, evenly over a lifetime, so that there is no moment when all are new.
    fn key(&self, place: u32, slot: Slot) -> Key {
        let (age, lifetime) = match slot.due_ns {
            Some(due_ns) => (due_ns, self.lifetime_ns),
            None => {
                let ops = OPS_PER_KEY_UNPACED * u64::from(self.keys) / u64::from(self.workers);
                (slot.index, ops.max(1))
            }
        };
        let head_start = u128::from(lifetime) * u128::from(place) / u128::from(self.keys);
        let generation = (u128::from(age) + head_start) / u128::from(lifetime);
        Key { generation: generation as u64, place }
    }
}

impl Draw for RegisterDraw {
    type Input = Input;

    fn draw(&mut self, slot: Slot) -> Input {
        let kind = self.mix.draw(&mut self.rng);
        let place = self.rng.random_range(0..self.keys);
        let key = self.key(place, slot);
        let unique = slot.index * u64::from(self.workers) + u64::from(self.worker) + 1;
        match kind {
            Kind::Read => Input::Read { key },
            Kind::Write => Input::Write { key, value: unique },
            Kind::Cas => Input::Cas { key, new: unique },
        }
    }
}

/// Every key in use so far, with the value last seen there by any client.
///
/// Shared by all clients of a workload: with many writers on few keys, what one client has seen alone is
/// nearly always out of date, and hardly a compare-and-set would succeed.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<Key, Option<String>>>>);

impl Seen {
    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<Key, Option<String>>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The register workload.
#[derive(Debug, Clone)]
pub struct Register {
    options: RegisterOptions,
    mix: Mix<Kind>,
    lifetime_ns: u64,
    seen: Seen,
}

impl Register {
    /// A workload that has seen nothing yet.
    pub fn new(options: RegisterOptions) -> Result<Self, RegisterError> {
        if options.keys == 0 {
            return Err(RegisterError::NoKeys);
        }
        let lifetime_ns = (options.key_lifetime_s * 1e9) as u64;
        if lifetime_ns == 0 || !options.key_lifetime_s.is_finite() {
            return Err(RegisterError::Lifetime(options.key_lifetime_s));
        }
        let mix = Mix::new([
            (Kind::Read, options.read_weight),
            (Kind::Write, options.write_weight),
            (Kind::Cas, options.cas_weight),
        ])
        .ok_or(RegisterError::NoWeights)?;
        Ok(Register { options, mix, lifetime_ns, seen: Seen::default() })
    }
}

impl Workload for Register {
    type Input = Input;
    type Generator = Paced<RegisterDraw>;
    type Client = RegisterClient;

    fn name(&self) -> &'static str {
        "register"
    }

    fn generator(&self, worker: u32) -> Paced<RegisterDraw> {
        let workers = self.options.pace.concurrency;
        assert!(worker < workers, "worker {worker} of {workers}: its values would not be unique");
        let seed = derive(self.options.seed, "register", u64::from(worker));
        let draw = RegisterDraw {
            rng: ChaCha8Rng::seed_from_u64(derive(seed, "inputs", 0)),
            mix: self.mix.clone(),
            worker,
            workers,
            keys: self.options.keys,
            lifetime_ns: self.lifetime_ns,
        };
        Paced::new(seed, self.options.pace, draw)
    }

    fn client(&self, _worker: u32) -> RegisterClient {
        RegisterClient { seen: self.seen.clone() }
    }

    fn final_reads(&self) -> Vec<Input> {
        self.seen.with(|seen| {
            let skip = self.options.final_keys_max.map_or(0, |max| seen.len().saturating_sub(max));
            seen.keys().skip(skip).map(|&key| Input::Read { key }).collect()
        })
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Linearizable)]
    }
}

/// One worker's hands on the registers.
#[derive(Debug, Clone)]
pub struct RegisterClient {
    seen: Seen,
}

impl RegisterClient {
    fn see(&self, key: Key, value: Option<&str>) {
        self.seen.with(|seen| seen.insert(key, value.map(str::to_owned)));
    }

    fn conclude<T>(&self, op: &Op, reply: Reply<T>, value: impl FnOnce(T) -> Option<Value>) -> Completion {
        let (kind, value, error) = match reply.result {
            Ok(result) => match value(result) {
                Some(value) => (EventKind::Ok, value, None),
                None => (EventKind::Fail, op.argument(), Some(outcome::MISMATCH.into())),
            },
            Err(error) => (outcome::of_error(op.effect(), &error), op.argument(), Some(error.reason.into())),
        };
        Completion { kind, value, error, served_by: reply.served_by }
    }
}

impl Client for RegisterClient {
    type Input = Input;
    type Op = Op;

    /// A compare-and-set expects what any client last saw under its key; where nothing was seen yet there is
    /// nothing to expect, and it becomes a read.
    fn prepare(&mut self, input: &Input) -> Op {
        let (Input::Read { key } | Input::Write { key, .. } | Input::Cas { key, .. }) = *input;
        let last_seen = self.seen.with(|seen| seen.entry(key).or_default().clone());
        let action = match (input, last_seen) {
            (Input::Read { .. }, _) | (Input::Cas { .. }, None) => Action::Read,
            (Input::Write { value, .. }, _) => Action::Write { value: value.to_string() },
            (Input::Cas { new, .. }, Some(expected)) => Action::Cas { expected, new: new.to_string() },
        };
        Op { key, name: key.to_string(), action }
    }

    async fn call<S: Store>(&mut self, store: &mut S, op: &Op) -> Completion {
        match &op.action {
            Action::Read => {
                let reply = store.read(&op.name).await;
                if let Ok(value) = &reply.result {
                    self.see(op.key, value.as_deref());
                }
                self.conclude(op, reply, |value| Some(value.as_deref().map_or(Value::Null, as_json)))
            }
            Action::Write { value } => {
                let reply = store.write(&op.name, value).await;
                if reply.result.is_ok() {
                    self.see(op.key, Some(value));
                }
                self.conclude(op, reply, |()| Some(op.argument()))
            }
            Action::Cas { expected, new } => {
                let reply = store.cas(&op.name, expected, new).await;
                if reply.result == Ok(true) {
                    self.see(op.key, Some(new));
                }
                self.conclude(op, reply, |swapped| swapped.then(|| op.argument()))
            }
        }
    }

    fn timed_out(&mut self, op: &Op) -> Completion {
        Completion {
            kind: outcome::of_timeout(op.effect()),
            value: op.argument(),
            error: Some(outcome::TIMEOUT.into()),
            served_by: None,
        }
    }
}

#[cfg(test)]
mod tests;
