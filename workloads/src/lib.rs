//! What clients do: the next input, how it becomes a call, and how its answer reads in the history.
//!
//! ```text
//! Generator ──input──→ Client::prepare ──op──→ recorded as an invocation
//!                          ↑                         ↓
//!                     what was seen ←── Completion ←── Client::call on a Store
//! ```
//!
//! Inputs are a pure function of seed, worker and options. What depends on earlier answers (the value a
//! compare-and-set expects) is decided in [`Client::prepare`], before the invocation is recorded.
//!
//! | workload | its operations | judged by |
//! |---|---|---|
//! | [`register`] | `read`, `write`, `cas` | linearizability |
//! | [`set`] | `add`, `read` → all | linearizability |
//! | [`append`] | `append`, `read` → all, in order | linearizability |
//! | [`counter`] | `increment` → count, `read` → count | linearizability |
//! | [`queue`] | `enqueue`, `dequeue` | linearizability |
//! | [`bank`] | `transfer`, `read` → balances | linearizability, and the sum of all balances |
//! | [`replica_reads`] | `write`, `read` at replicas | bounded staleness |
//!
//! | [`lock`] | `acquire` → token, `claim`, `guarded`, `release` | tokens that grow, a store that keeps to them, no lost update |
//! | [`members`] | `join` → incarnation, `leave`, `members` → all | whom lists must and must not show |
//!
//! All but the last two are [`keyed`]: many objects of one kind, under keys that rotate.

pub mod append;
pub mod bank;
pub mod counter;
pub mod generator;
pub mod keyed;
pub mod lock;
pub mod members;
pub mod outcome;
pub mod queue;
pub mod register;
pub mod replica_reads;
pub mod seed;
pub mod set;
pub mod words;

use std::borrow::Cow;

use checker::stream::Watch;
use checker::{Checker, EventKind, History};
use cluster::store::{ServedBy, Store};
use serde_json::Value;

pub use append::Append;
pub use bank::Bank;
pub use counter::Counter;
pub use generator::{Generator, Next};
pub use keyed::{Keyed, KeyedOptions};
pub use lock::{Lock, LockOptions};
pub use members::{Members, MembersOptions};
pub use queue::Queue;
pub use register::Register;
pub use replica_reads::ReplicaReads;
pub use set::Set;

/// What goes into the invocation event.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What is called: `read`, `write`, `cas`.
    pub f: &'static str,
    /// The partition it touches.
    pub key: String,
    /// The argument; null for a read, `[expected, new]` for a compare-and-set.
    pub value: Value,
}

/// What goes into the completion event.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// [`EventKind::Ok`], [`EventKind::Fail`] or [`EventKind::Info`].
    pub kind: EventKind,
    /// The result when it is ok, else the argument again.
    pub value: Value,
    /// Why it failed, or why nobody can say; none when it is ok.
    pub error: Option<Cow<'static, str>>,
    /// Where it was sent, as far as the client knows.
    pub served_by: Option<ServedBy>,
}

/// An operation of which everything is decided.
pub trait Operation {
    /// How the history names it.
    fn call(&self) -> Call;
}

/// One worker's hands. A client is single-threaded, and outlives the process ids the worker goes through.
#[expect(async_fn_in_trait, reason = "clients live on current-thread runtimes, so futures need not be Send")]
pub trait Client {
    /// What the generator yields.
    type Input;
    /// What an input becomes once everything is decided.
    type Op: Operation;

    /// Decides what the input left open, from answers seen so far; the result is recorded, then called.
    fn prepare(&mut self, input: &Self::Input) -> Self::Op;

    /// Tries `op` on `store`, once. The caller drops the future when it has waited long enough, and then asks
    /// [`Client::timed_out`] instead.
    async fn call<S: Store>(&mut self, store: &mut S, op: &Self::Op) -> Completion;

    /// How a call reads whose future was dropped.
    fn timed_out(&mut self, op: &Self::Op) -> Completion;
}

/// Inputs, hands and checkers that belong together.
pub trait Workload {
    /// One thing a client may be asked to do.
    type Input;
    /// Where a worker's inputs come from.
    type Generator: Generator<Input = Self::Input>;
    /// What carries them out.
    type Client: Client<Input = Self::Input>;

    /// Name on the command line.
    fn name(&self) -> &'static str;

    /// The inputs of worker `worker` (from 0), the same each time it is asked for.
    fn generator(&self, worker: u32) -> Self::Generator;

    /// The hands of worker `worker`. Clients of one workload may share what they have seen.
    fn client(&self, worker: u32) -> Self::Client;

    /// What to ask once the cluster has converged, so that a lost acknowledged write shows: every part of
    /// the state that any client has touched since this workload was made, in a stable order. Each should be
    /// tried until it succeeds.
    fn final_reads(&self) -> Vec<Self::Input>;

    /// What judges the history.
    fn checkers(&self) -> Vec<Box<dyn Checker>>;

    /// What judges the history while it grows, where that can be done event by event; `lag_ns` is longer than
    /// any call takes to end.
    fn watch(&self, _lag_ns: u64) -> Option<Watch> {
        None
    }

    /// Whether its operations spread over all shards, so that a shard without any was not tested.
    fn covers_shards(&self) -> bool {
        true
    }

    /// What is worth telling of the history although nothing was promised about it, each a sentence.
    fn observations(&self, _history: &History) -> Vec<String> {
        Vec::new()
    }
}
