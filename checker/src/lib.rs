//! Pure: a history in, a verdict out. No IO, no clock, no globals.
//!
//! A [`History`] is what was seen from outside: every call with the interval in which it ran and how it
//! ended, and every fault with the evidence that it took effect. A [`Checker`] turns it into a [`Verdict`]
//! within a [`Budget`].
//!
//! ```
//! use checker::{Budget, Checker, Linearizable, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |--w1--|  |--w2--|
//! p1                     |--r1--|
//! ",
//! )?;
//! let verdict = Linearizable.check(&history, &Budget::default());
//! assert_eq!(verdict.word(), "invalid");
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```
//!
//! # What a history means
//! Events are ordered by their position in the log; times are for people. An operation that ended
//! - `ok` took effect at one instant between its call and its return;
//! - `fail` had no effect, and never will have; a `cas` that failed with `mismatch` says besides that at some
//!   instant of its interval the register did not hold what it expected;
//! - `info`, or never, took effect at any instant after its call, even years later, or not at all. Its process
//!   is retired.
//!
//! Linearizability (Herlihy and Wing 1990) asks for one such instant per operation, so that the results are
//! those of a single register that does one thing after another. Keys are judged alone: that is sound.
//!
//! # How it is decided
//! 1. [`unique`]: where no value is written twice, exactly and in O(n log n), at any concurrency and with any
//!    number of indefinite operations. Workloads here write unique values for that reason.
//! 2. [`forward`]: registers with repeated values, by what they may hold after each event. A narrow beam looks for
//!    an order, a relaxed pass for a contradiction; where neither answers at once, both sides go on side by side.
//! 3. [`linear`]: any other model, depth first, and with [`linear::local`] event by event.
//!
//! The searches keep within the [`Budget`]; past it the answer is `Unknown`, with what is proven until then and
//! where it stopped ([`Undecided`]), never a guess.
//!
//! [`stream`] does the first while the run goes on, in memory bounded by what is live.
//!
//! Every "yes" on a register is an order that [`replay`] accepts, every "no" comes with a few operations that are
//! contradictory on their own.
//!
//! Beyond registers there are [`object`]s with checks of their own, [`txn`] for transactions over several keys, and
//! [`general`] for any model you write.
//!
//! # What it answers
//! [`anomalies::ALL`] has the names of all that can be wrong, and what they mean.

pub mod anomalies;
mod attempt;
mod budget;
mod coverage;
mod explain;
pub mod forward;
pub mod general;
pub mod history;
mod keys;
pub mod linear;
mod linearizable;
pub mod model;
pub mod object;
pub mod plan;
mod reduce;
mod replay;
mod stats;
pub mod stream;
pub mod txn;
mod undecided;
pub mod unique;
pub mod verdict;

pub use attempt::{Attempt, Placed, Refused, attempt};
pub use budget::{Budget, EndedBy, Stop};
pub use coverage::Coverage;
pub use history::{Event, EventKind, FaultRecord, History, Op, OpEnd, Process};
pub use linearizable::{Linearizable, check_key};
pub use replay::replay;
pub use stats::{Counts, FaultCounts, Stats};
pub use undecided::Undecided;
pub use verdict::{Anomaly, KeyVerdict, Verdict};

/// Judges a history.
pub trait Checker: Send + Sync {
    /// Short name under which the verdict is filed, e.g. `linearizable`.
    fn name(&self) -> &'static str;

    /// The verdict on `history`; never panics on a well-formed history, never runs past `budget`.
    fn check(&self, history: &History, budget: &Budget) -> Verdict;

    /// The verdict on each key, in the order of keys; their worst is what [`check`](Self::check) says. A checker
    /// that does not tell keys apart answers with one, without a name.
    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        let verdict = self.check(history, budget);
        vec![KeyVerdict { key: String::new(), ops: history.ops.len(), engine: self.name(), verdict }]
    }
}
