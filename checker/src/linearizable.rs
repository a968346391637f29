//! The checker of the register workload: every key on its own, keys in order.

use crate::model::register::RegisterPart;
use crate::model::{Partition, partitions};
use crate::plan::{self, Decision};
use crate::{Budget, Checker, History, Verdict, explain};

/// Is the history, key by key, one of linearizable registers?
///
/// Understands `read`, `write` and `cas`; anything else makes its key's verdict `Unknown`. The answer does
/// not depend on anything but the history and the budget.
#[derive(Debug, Clone, Copy, Default)]
pub struct Linearizable;

impl Checker for Linearizable {
    fn name(&self) -> &'static str {
        "linearizable"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        partitions(history)
            .iter()
            .map(|partition| check_key(history, partition, budget))
            .fold(Verdict::Valid, Verdict::merge)
    }
}

/// The verdict on one key.
pub fn check_key(history: &History, partition: &Partition<'_>, budget: &Budget) -> Verdict {
    let part = match RegisterPart::new(history, &partition.ops) {
        Ok(part) => part,
        Err(error) => return Verdict::unknown(error.to_string()),
    };
    let case = explain::Case { history, part: &part, key: partition.key_text() };
    match plan::decide(&part, budget.states_max) {
        Decision::Legal => Verdict::Valid,
        Decision::Illegal(proof) => Verdict::Invalid { anomalies: vec![case.proven(&proof)] },
        Decision::Exhausted(deepest) => Verdict::Invalid { anomalies: vec![case.searched(deepest, budget)] },
        Decision::Unknown(deepest) => Verdict::unknown(case.undecided(deepest, budget)),
    }
}
