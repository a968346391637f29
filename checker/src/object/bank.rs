//! A bank: transfers move money, none is made or lost.
//!
//! `read` returns all balances at once, as an object or an array; whatever `transfer`s ran, definite or not,
//! their sum is the same in every read. That is no proof of isolation, but whoever reads half a transfer, or
//! loses one half of it, is caught.
//!
//! ```text
//! p0 |-transfer([0,1,5])-|
//! p1       |-read()=[5,15]-|  |-read()=[5,10]-|     invalid: 5 are gone
//! ```
//!
//! ```
//! use checker::object::bank::Bank;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |-transfer([0,1,5])-|
//! p1       |-read()=[5,15]-|  |-read()=[5,10]-|
//! ",
//! )?;
//! let bank = Bank { total: Some(20), ..Bank::default() };
//! let Verdict::Invalid { anomalies } = bank.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!((anomalies[0].name.as_str(), &anomalies[0].ops[..]), ("wrong-total", &[4][..]));
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

use serde_json::Value;

use super::{Broken, Trouble, by_key, foreign};
use crate::{Budget, Checker, History, Op, OpEnd, Verdict};

/// Does every read, key by key, show the same total? O(all that was read). A necessary condition of
/// serialisability and of snapshot isolation, not a sufficient one.
///
/// Anomalies: `wrong-total`; `negative-balance`, unless allowed; `missing-account`, when reads show different
/// numbers of accounts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bank {
    /// What all balances add up to; none takes the first read's word for it.
    pub total: Option<i64>,
    /// May an account be overdrawn?
    pub overdraft: bool,
}

impl Checker for Bank {
    fn name(&self) -> &'static str {
        "bank"
    }

    fn check(&self, history: &History, _: &Budget) -> Verdict {
        by_key(history, |ops| self.judge(ops))
    }
}

/// What one read showed.
struct Statement {
    place: usize,
    accounts: usize,
    sum: i128,
    least: i64,
}

impl Bank {
    fn judge(&self, ops: &[(usize, &Op)]) -> Result<(), Trouble> {
        let mut first: Option<Statement> = None;
        for &(place, op) in ops {
            match (&*op.f, op.end) {
                ("transfer", _) | ("read", OpEnd::Fail | OpEnd::Info) => {}
                ("read", OpEnd::Ok) => {
                    let statement = statement(place, op)?;
                    self.compare(&statement, first.as_ref())?;
                    first.get_or_insert(statement);
                }
                _ => return Err(foreign(op, "a bank")),
            }
        }
        Ok(())
    }

    fn compare(&self, statement: &Statement, first: Option<&Statement>) -> Result<(), Broken> {
        if let Some(first) = first
            && first.accounts != statement.accounts
        {
            let reason =
                format!("one read showed {} accounts, another one {}", first.accounts, statement.accounts);
            return Err(Broken("missing-account", vec![first.place, statement.place], reason));
        }
        if statement.least < 0 && !self.overdraft {
            let reason = format!("a read showed a balance of {}", statement.least);
            return Err(Broken("negative-balance", vec![statement.place], reason));
        }
        let (expected, by) = match (self.total, first) {
            (Some(total), _) => (i128::from(total), None),
            (None, Some(first)) => (first.sum, Some(first.place)),
            (None, None) => return Ok(()),
        };
        if statement.sum != expected {
            let reason = format!("a read showed {} in all, where there are {expected}", statement.sum);
            return Err(Broken("wrong-total", by.into_iter().chain([statement.place]).collect(), reason));
        }
        Ok(())
    }
}

fn statement(place: usize, op: &Op) -> Result<Statement, Trouble> {
    let balances: Vec<&Value> = match &op.output {
        Value::Array(all) => all.iter().collect(),
        Value::Object(all) => all.values().collect(),
        other => return Err(Trouble::Unjudged(format!("operation {} read {other}, no balances", op.index))),
    };
    let mut statement = Statement { place, accounts: balances.len(), sum: 0, least: i64::MAX };
    for balance in balances {
        let Some(balance) = balance.as_i64() else {
            let why = format!("operation {} read the balance {balance}, which is no integer", op.index);
            return Err(Trouble::Unjudged(why));
        };
        statement.sum += i128::from(balance);
        statement.least = statement.least.min(balance);
    }
    Ok(statement)
}
