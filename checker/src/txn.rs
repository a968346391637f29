//! Transactions.

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

/// Everything that is wrong with a history of list-append transactions.
pub fn list_append(history: &History, _budget: &Budget) -> Findings {
    append::judge(history, &|| false)
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

/// Everything that is wrong with a history of read-write transactions.
pub fn rw_register(history: &History, keys: KeyOrder, _budget: &Budget) -> Findings {
    register::judge(history, keys, &|| false)
}

/// The caller's time was up.
fn interrupted(mut findings: Findings) -> Findings {
    findings.undecided.push("the time was up before all cycles were looked for".to_string());
    findings
}
