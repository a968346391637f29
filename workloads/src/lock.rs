//! `lock`: workers take turns to count under a lock, and tell the store which turn they have.
//!
//! A turn is `acquire` → token, `claim` with it → count, some `read`s where it lingers, `guarded` with the token
//! and the count plus one, `release`; one operation a slot. The claim is a read that tells the store the token: a
//! plain read would let an older holder write between it and the write that rests on it.
//!
//! A turn that lingers outlasts a session, so that a holder that is cut off from the lock service, but not from
//! the store, comes back to write after somebody else was granted the lock. Nobody asks whether the lock is still
//! held: what a client knows of that, it does not know while it is stopped.
//!
//! Judged is what can be promised: tokens that grow, a store that refuses what comes with an old one, and a
//! count that is the number of writes that were accepted. That no two clients take themselves for the holder at
//! the same time can only be promised where no client is ever stopped or cut off, so it is told, not judged,
//! unless asked for.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use checker::object::{fence::FencedLock, guarded::GuardedCounter, mutex};
use checker::{Budget, Checker, EventKind, History, Verdict};
use cluster::store::{Answer, CallError, Command, Reply, Store};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::generator::{Draw, Pace, Paced, Slot};
use crate::outcome::{self, Effect};
use crate::seed::derive;
use crate::{Call, Client, Completion, Operation, Workload, words};

/// Without a rate there are no slots to linger for: this many reads instead.
const LINGER_OPS_UNPACED: u32 = 300;

/// What the lock workload is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct LockOptions {
    /// Fixes every input.
    pub seed: u64,
    /// Rate, number of workers, time limit.
    pub pace: Pace,
    /// Locks that the workers share, at least 1.
    pub locks: u32,
    /// How long an acquire waits for its turn.
    pub patience: Duration,
    /// One turn in so many lingers; 0 for none.
    pub linger_one_in: u32,
    /// How long it then takes, seconds.
    pub linger_s: f64,
    /// Whether two clients that take themselves for the holder are an anomaly.
    pub exclusive: bool,
}

impl LockOptions {
    /// A lock for every three workers, 300 ms of patience; every third turn lingers for 4 s: longer than a session
    /// that was cut off early in it.
    pub fn new(seed: u64, pace: Pace) -> Self {
        LockOptions {
            seed,
            pace,
            locks: pace.concurrency.div_ceil(3).max(1),
            patience: Duration::from_millis(300),
            linger_one_in: 3,
            linger_s: 4.0,
            exclusive: false,
        }
    }
}

/// What a worker is asked to do. Pure function of seed, worker and options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The next step of its turn. Where a turn begins, the rest counts.
    Step {
        /// Which lock.
        lock: u32,
        /// Reads between claim and write.
        linger: u32,
    },
    /// Read the count, whatever the turn.
    Read {
        /// Of which lock.
        lock: u32,
    },
}

/// An input with everything decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    lock: u32,
    action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Acquire { patience: Duration, linger: u32 },
    Release { token: i64 },
    Store(Command),
}

impl Op {
    fn lock_name(&self) -> String {
        format!("l{}", self.lock)
    }

    /// Under which key the store keeps the count.
    fn store_key(&self) -> String {
        format!("count-{}", self.lock)
    }

    fn effect(&self) -> Effect {
        match &self.action {
            Action::Acquire { .. } | Action::Release { .. } => Effect::Updates,
            Action::Store(command) => Effect::of(command),
        }
    }

    fn argument(&self) -> Value {
        match &self.action {
            Action::Acquire { .. } => Value::Null,
            Action::Release { token } => json!(token),
            Action::Store(command) => words::argument(command),
        }
    }

    fn complete<T>(&self, reply: Reply<T>, value: impl FnOnce(T) -> Option<Value>) -> Completion {
        let (kind, value, error) = match reply.result {
            Ok(answer) => match value(answer) {
                Some(value) => (EventKind::Ok, value, None),
                None => (EventKind::Fail, self.argument(), Some(STALE.into())),
            },
            Err(error) => {
                (outcome::of_error(self.effect(), &error), self.argument(), Some(error.reason.into()))
            }
        };
        Completion { kind, value, error, served_by: reply.served_by }
    }
}

/// Error text of a write that came with an old token.
const STALE: &str = "stale token";

impl Operation for Op {
    fn call(&self) -> Call {
        let f = match &self.action {
            Action::Acquire { .. } => "acquire",
            Action::Release { .. } => "release",
            Action::Store(command) => words::f(command),
        };
        Call { f, key: self.lock_name(), value: self.argument() }
    }
}

/// Draws one worker's inputs.
#[derive(Debug)]
pub struct LockDraw {
    rng: ChaCha8Rng,
    locks: u32,
    linger_one_in: u32,
    linger_ops: u32,
}

impl Draw for LockDraw {
    type Input = Input;

    fn draw(&mut self, _slot: Slot) -> Input {
        let lock = self.rng.random_range(0..self.locks);
        let lingers = self.linger_one_in > 0 && self.rng.random_ratio(1, self.linger_one_in);
        Input::Step { lock, linger: if lingers { self.linger_ops } else { 0 } }
    }
}

/// The lock workload.
#[derive(Debug, Clone)]
pub struct Lock {
    options: LockOptions,
    used: Arc<Mutex<BTreeSet<u32>>>,
}

impl Lock {
    /// A workload that has used no lock yet.
    pub fn new(options: LockOptions) -> Self {
        let options = LockOptions { locks: options.locks.max(1), ..options };
        Lock { options, used: Arc::default() }
    }

    fn linger_ops(&self) -> u32 {
        match self.options.pace.interval_ns() {
            Some(interval_ns) => (self.options.linger_s * 1e9 / interval_ns as f64).ceil() as u32,
            None => LINGER_OPS_UNPACED,
        }
    }
}

impl Workload for Lock {
    type Input = Input;
    type Generator = Paced<LockDraw>;
    type Client = LockClient;

    fn name(&self) -> &'static str {
        "lock"
    }

    fn generator(&self, worker: u32) -> Paced<LockDraw> {
        let seed = derive(self.options.seed, "lock", u64::from(worker));
        let draw = LockDraw {
            rng: ChaCha8Rng::seed_from_u64(derive(seed, "inputs", 0)),
            locks: self.options.locks,
            linger_one_in: self.options.linger_one_in,
            linger_ops: self.linger_ops(),
        };
        Paced::new(seed, self.options.pace, draw)
    }

    fn client(&self, _worker: u32) -> LockClient {
        LockClient { turn: None, patience: self.options.patience, used: self.used.clone() }
    }

    fn final_reads(&self) -> Vec<Input> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.iter().map(|&lock| Input::Read { lock }).collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        let mut checkers: Vec<Box<dyn Checker>> = vec![Box::new(FencedLock), Box::new(GuardedCounter)];
        if self.options.exclusive {
            checkers.push(Box::new(mutex::Mutex));
        }
        checkers
    }

    fn covers_shards(&self) -> bool {
        false
    }

    fn observations(&self, history: &History) -> Vec<String> {
        match mutex::Mutex.check(history, &Budget::default()) {
            Verdict::Invalid { anomalies } if !self.options.exclusive => {
                anomalies.iter().map(|anomaly| format!("lock {}: {}", anomaly.key, anomaly.reason)).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Where in its turn a worker is.
#[derive(Debug, Clone, Copy)]
struct Turn {
    lock: u32,
    token: i64,
    linger: u32,
    next: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Claim,
    /// The count as claimed.
    Write(i64),
    Release,
}

/// One worker's hands on the locks.
#[derive(Debug, Clone)]
pub struct LockClient {
    turn: Option<Turn>,
    patience: Duration,
    used: Arc<Mutex<BTreeSet<u32>>>,
}

impl LockClient {
    fn acquired(&mut self, lock: u32, linger: u32, token: i64) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(lock);
        self.turn = Some(Turn { lock, token, linger, next: Step::Claim });
    }

    /// Goes on with the turn after `command` ended like this, and back to the lock after any trouble.
    fn learn(&mut self, command: &Command, result: &Result<Answer, CallError>) {
        let Some(turn) = &mut self.turn else { return };
        match (command, result) {
            (Command::Claim(_), Ok(Answer::Value(count))) => {
                let count = count.as_deref().map_or(Some(0), |count| count.parse().ok());
                turn.next = count.map_or(Step::Release, Step::Write);
            }
            (Command::GuardedRead, _) => turn.linger = turn.linger.saturating_sub(1),
            _ => turn.next = Step::Release,
        }
    }
}

impl Client for LockClient {
    type Input = Input;
    type Op = Op;

    fn prepare(&mut self, input: &Input) -> Op {
        let (lock, linger) = match *input {
            Input::Read { lock } => return Op { lock, action: Action::Store(Command::GuardedRead) },
            Input::Step { lock, linger } => (lock, linger),
        };
        let Some(Turn { lock, token, linger, next }) = self.turn else {
            return Op { lock, action: Action::Acquire { patience: self.patience, linger } };
        };
        let action = match next {
            Step::Claim => Action::Store(Command::Claim(token)),
            Step::Write(_) if linger > 0 => Action::Store(Command::GuardedRead),
            Step::Write(count) => Action::Store(Command::Guarded { token, value: (count + 1).to_string() }),
            Step::Release => Action::Release { token },
        };
        Op { lock, action }
    }

    async fn call<S: Store>(&mut self, store: &mut S, op: &Op) -> Completion {
        match &op.action {
            Action::Acquire { patience, linger } => {
                let reply = store.acquire(&op.lock_name(), *patience).await;
                if let Ok(token) = reply.result {
                    self.acquired(op.lock, *linger, token);
                }
                op.complete(reply, |token| Some(json!(token)))
            }
            Action::Release { token } => {
                // Whatever comes of it: the lock service goes on until it is done.
                self.turn = None;
                let reply = store.release(&op.lock_name(), *token).await;
                op.complete(reply, |()| Some(Value::Null))
            }
            Action::Store(command) => {
                let reply = store.execute(&op.store_key(), command).await;
                self.learn(command, &reply.result);
                op.complete(reply, |answer| words::result(command, &answer))
            }
        }
    }

    fn timed_out(&mut self, op: &Op) -> Completion {
        if let Action::Store(command) = &op.action {
            self.learn(command, &Err(CallError::indefinite(outcome::TIMEOUT)));
        }
        let late: Reply<()> = Reply { result: Err(CallError::indefinite(outcome::TIMEOUT)), served_by: None };
        op.complete(late, |()| None)
    }
}

#[cfg(test)]
mod tests;
