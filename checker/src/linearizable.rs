//! The checker of the register workload: every key on its own, keys in order.

use crate::keys::judge_keys;
use crate::model::Partition;
use crate::model::register::{NotRegister, RegisterPart};
use crate::plan::{self, Decision};
use crate::{Budget, Checker, History, KeyVerdict, Verdict, explain};

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
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        judge_keys(history, budget, |partition, share| judge_key(history, partition, share))
    }
}

/// The verdict on one key.
pub fn check_key(history: &History, partition: &Partition<'_>, budget: &Budget) -> Verdict {
    let part = RegisterPart::new(history, &partition.ops);
    judge_part(history, part, partition.key_text(), budget).1
}

/// The engine that answered for a key, and its answer. The places of its operations are given back before the
/// search for an answer begins.
fn judge_key(history: &History, partition: Partition<'_>, budget: &Budget) -> (&'static str, Verdict) {
    let key = partition.key_text();
    let part = RegisterPart::new(history, &partition.ops);
    drop(partition);
    judge_part(history, part, key, budget)
}

fn judge_part(
    history: &History,
    part: Result<RegisterPart<'_>, NotRegister>,
    key: String,
    budget: &Budget,
) -> (&'static str, Verdict) {
    let part = match part {
        Ok(part) => part,
        Err(error) => return ("none", Verdict::unknown(error.to_string())),
    };
    let case = explain::Case { history, part: &part, key };
    let (engine, decision) = plan::decide_by(&part, budget);
    let verdict = match decision {
        Decision::Legal => Verdict::Valid,
        Decision::Illegal(proof) => Verdict::Invalid { anomalies: vec![case.proven(&proof)] },
        Decision::Exhausted(deepest) => Verdict::Invalid { anomalies: vec![case.searched(deepest, budget)] },
        Decision::Unknown(undecided) => Verdict::unknown(case.undecided(&undecided)),
    };
    (engine, verdict)
}
