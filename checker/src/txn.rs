//! Transactions.

mod append;
mod cycles;
mod findings;
mod graph;
mod level;
mod read_in;
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

/// The caller's time was up.
fn interrupted(mut findings: Findings) -> Findings {
    findings.undecided.push("the time was up before all cycles were looked for".to_string());
    findings
}
