//! Transactions over several keys: which isolation did a database give, and where did it not?
//!
//! An operation is a transaction; its argument is a list of steps, its result the same list with the reads filled
//! in, as Jepsen writes them:
//! - [`ListAppend`]: `["append", key, element]` and `["r", key, list]`. Each element is appended to a list once. A
//!   read shows the whole past of its key, so that the order of all versions is seen.
//! - [`RwRegister`]: `["w", key, value]` and `["r", key, value]`. Each value is written to a key once, `null` is
//!   what a key holds at first. A read shows one version, and of the order of versions only a part is known.
//!
//! A transaction that ended `fail` was aborted. One that ended `info`, or never, counts as committed as soon as an
//! acknowledged one has read from it; if nobody has, it is left out.
//!
//! ```
//! use checker::txn::{ConsistencyModel, ListAppend};
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! // Each of two doctors goes off call, as the other one still is on it.
//! let history = sketch::history(
//!     "
//! p0 |-txn([[r,bob,[]],[append,alice,off]])-|
//! p1     |-txn([[r,alice,[]],[append,bob,off]])-|
//! p2                                              |-txn([[r,alice,[off]],[r,bob,[off]]])-|
//! ",
//! )?;
//! let Verdict::Invalid { anomalies } = ListAppend::default().check(&history, &Budget::default()) else { panic!() };
//! assert_eq!((anomalies[0].name.as_str(), &anomalies[0].ops[..]), ("G2-item", &[0, 1][..]));
//!
//! let model: ConsistencyModel = "snapshot-isolation".parse()?;
//! assert_eq!(ListAppend { model }.check(&history, &Budget::default()), Verdict::Valid);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Cycles
//! One transaction depends on another one (Adya 1999)
//! - *ww*: it wrote the version after the other one's,
//! - *wr*: it read the other one's version,
//! - *rw*: it wrote the version after one that the other one read;
//!
//! and it comes after another one in the order *of its process*, or *in real time*, when the other had returned before
//! it was called. A cycle of these has no order that explains it. What kind of edges it needs tells what is wrong:
//!
//! | anomaly | its cycle has | for instance |
//! |---|---|---|
//! | `G0` | ww only | two transactions' writes to two keys in opposite orders: *dirty write* |
//! | `G1c` | ww and wr | each of two reads what the other one wrote: *circular information flow* |
//! | `G-single` | one rw | a read of one key from before, of another one from after a transaction: *read skew* |
//! | `G-nonadjacent` | several rw, no two in a row | two readers see two writes in opposite orders: *long fork* |
//! | `G2-item` | rw in a row | each of two reads what the other one is to replace: *write skew* |
//! | …`-process` | besides, the order of a process | a process does not see what it did before |
//! | …`-realtime` | besides, real time | *stale read*: a read does not see what was acknowledged before it |
//!
//! A cycle gets the least name that is true of it. Each strongly connected component that has no lesser anomaly in it
//! counts once; a short cycle is told for the first few.
//!
//! # Without a cycle
//! | anomaly | meaning |
//! |---|---|
//! | `fabricated-value` | a value was read that nobody wrote |
//! | `G1a` | a value of a failed transaction was read |
//! | `G1b` | a value was read that its own transaction replaced, or added to |
//! | `dirty-update` | a committed append stands on top of a failed one |
//! | `internal` | a transaction did not see its own effects, or not twice the same |
//! | `future-read` | a transaction read what it was to write later |
//! | `lost-update` | two transactions read one version, and both replaced it |
//! | `incompatible-order` | two reads of a list disagree on its past, or on the order within one transaction |
//! | `duplicated-element` | a list showed an element twice |
//! | `cyclic-versions` | the values of a register come before each other in a circle |
//!
//! `docs/anomalies.md` has a drawn example of each. Which of them a model forbids: [`Trouble::breaks`].
//!
//! # Exactness and cost
//! For lists of unique elements the answer is exact: a history is invalid for `serializable` and
//! `strict-serializable` if and only if no order of its transactions explains it. For registers every "invalid" is
//! right, but what rests on the unknown order of blind writes is not found.
//!
//! Time and memory are O(n) in steps and elements read, but for sorting the returns; real time takes 3 n edges, not
//! n². The method is Elle's (Kingsbury and Alvaro, VLDB 2020).

mod append;
mod cycles;
mod findings;
mod graph;
mod level;
mod read_in;
mod register;
mod scc;
mod shortest;
mod writes;

pub use findings::{Finding, Findings};
pub use level::{ConsistencyModel, Isolation, ModelError, Order, Shape, Trouble};

use crate::{Budget, Checker, History, Verdict};

/// Does a history of list-append transactions keep to a consistency model?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListAppend {
    /// What the database promises.
    pub model: ConsistencyModel,
}

impl Checker for ListAppend {
    fn name(&self) -> &'static str {
        "list-append"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        list_append(history, budget).verdict(self.model)
    }
}

/// Everything that is wrong with a history of list-append transactions, whatever was promised.
pub fn list_append(history: &History, budget: &Budget) -> Findings {
    append::judge(history, budget)
}

/// What may be taken for granted of the order of a register's versions, beyond what follows from the transactions
/// themselves: the initial version is the first, and who reads a version and then writes makes a later one.
///
/// The others are promises of the database that a consistency model does not contain: where they do not hold, they
/// yield anomalies that are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyOrder {
    /// Nothing.
    #[default]
    Inferred,
    /// Each key alone is sequentially consistent: what a process met earlier comes first.
    Sequential,
    /// Each key alone is linearizable: what was met by someone who had returned comes before what is met later.
    Linearizable,
}

/// Does a history of read-write transactions over registers keep to a consistency model?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RwRegister {
    /// What the database promises.
    pub model: ConsistencyModel,
    /// What it promises of each key besides.
    pub keys: KeyOrder,
}

impl Checker for RwRegister {
    fn name(&self) -> &'static str {
        "rw-register"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        rw_register(history, self.keys, budget).verdict(self.model)
    }
}

/// Everything that is wrong with a history of read-write transactions, whatever was promised.
pub fn rw_register(history: &History, keys: KeyOrder, budget: &Budget) -> Findings {
    register::judge(history, keys, budget)
}

/// The caller's time was up.
const OUT_OF_TIME: &str = "no answer within the budget of time";
