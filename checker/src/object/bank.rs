//! A bank: transfers move money, none is made or lost.
//!
//! - `open`, with accounts and balances as its argument, creates the bank; nothing happens to one that is there.
//! - `transfer`, of `{from, to, amount}` or `[from, to, amount]`, moves money if both accounts are there and the
//!   payer has as much; one that failed with `mismatch` found that not to be so.
//! - `read` returns all balances at once, as an object or an array.
//!
//! [`Bank`] looks at every read alone: whatever transfers ran, definite or not, the sum is the same in every read.
//! That is no proof of isolation, but whoever reads half a transfer, or loses one half of it, is caught.
//! [`LinearizableBank`] asks for an order of all operations, and so finds a transfer that was lost as a whole.
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

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Broken, Trouble, by_key, foreign};
use crate::general::{General, Object};
use crate::model::{Model, key_text};
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Verdict};

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

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, _| self.judge(ops))
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
                ("transfer" | "open", _) | ("read", OpEnd::Fail | OpEnd::Info) => {}
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
            return Err(Broken::new("missing-account", vec![first.place, statement.place], reason));
        }
        if statement.least < 0 && !self.overdraft {
            let reason = format!("a read showed a balance of {}", statement.least);
            return Err(Broken::new("negative-balance", vec![statement.place], reason));
        }
        let (expected, by) = match (self.total, first) {
            (Some(total), _) => (i128::from(total), None),
            (None, Some(first)) => (first.sum, Some(first.place)),
            (None, None) => return Ok(()),
        };
        if statement.sum != expected {
            let reason = format!("a read showed {} in all, where there are {expected}", statement.sum);
            return Err(Broken::new(
                "wrong-total",
                by.into_iter().chain([statement.place]).collect(),
                reason,
            ));
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

/// Is the history, key by key, one of a linearizable bank that is opened by its first `open`? By search: exact
/// within the budget, and quick where amounts differ, so that a read tells which transfers came before it.
///
/// Anomaly: `non-linearizable`.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinearizableBank;

impl Checker for LinearizableBank {
    fn name(&self) -> &'static str {
        "linearizable-bank"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        General::new(self.name(), *self).check_keys(history, budget)
    }
}

/// Balances by account.
type Balances = BTreeMap<String, i64>;

/// One call to a bank, with what it came to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BankCall {
    /// Create it.
    Open(Balances),
    /// Money was moved.
    Transfer(Transfer),
    /// It could not be.
    Refused(Transfer),
    /// All balances; none where there is no bank.
    Read(Balances),
}

/// Who pays whom how much.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transfer {
    from: String,
    to: String,
    amount: i64,
}

impl Transfer {
    fn is_allowed(&self, balances: &Balances) -> bool {
        balances.contains_key(&self.to)
            && balances.get(&self.from).is_some_and(|&balance| balance >= self.amount)
    }

    fn apply(&self, balances: &Balances) -> Option<Balances> {
        let mut after = balances.clone();
        let payer = after.get_mut(&self.from)?;
        *payer = payer.checked_sub(self.amount)?;
        let payee = after.get_mut(&self.to)?;
        *payee = payee.checked_add(self.amount)?;
        Some(after)
    }
}

impl Model for LinearizableBank {
    /// Empty while there is no bank.
    type State = Balances;
    type Call = BankCall;

    fn init(&self) -> Balances {
        Balances::new()
    }

    fn step(&self, balances: &Balances, call: &BankCall) -> Option<Balances> {
        match call {
            BankCall::Open(accounts) if balances.is_empty() => Some(accounts.clone()),
            BankCall::Open(_) => Some(balances.clone()),
            BankCall::Transfer(transfer) => {
                transfer.is_allowed(balances).then(|| transfer.apply(balances)).flatten()
            }
            BankCall::Refused(transfer) => (!transfer.is_allowed(balances)).then(|| balances.clone()),
            BankCall::Read(seen) => (seen == balances).then(|| balances.clone()),
        }
    }

    fn is_pure(&self, call: &BankCall) -> bool {
        matches!(call, BankCall::Refused(_) | BankCall::Read(_))
    }
}

impl Object for LinearizableBank {
    fn call(&self, op: &Op) -> Result<Option<BankCall>, String> {
        let is_mismatch = op.error.as_deref() == Some("mismatch");
        Ok(Some(match (&*op.f, op.end) {
            ("transfer", OpEnd::Fail) if is_mismatch => BankCall::Refused(transfer(&op.input)?),
            ("open" | "transfer" | "read", OpEnd::Fail) | ("read", OpEnd::Info) => return Ok(None),
            ("open", _) => BankCall::Open(balances(&op.input)?),
            ("transfer", _) => BankCall::Transfer(transfer(&op.input)?),
            ("read", OpEnd::Ok) => BankCall::Read(balances(&op.output)?),
            (f, _) => return Err(format!("`{f}` is none of open, transfer and read")),
        }))
    }
}

fn balances(value: &Value) -> Result<Balances, String> {
    let balance = |(account, balance): (String, &Value)| Some((account, balance.as_i64()?));
    let all: Option<Balances> = match value {
        Value::Object(all) => all.iter().map(|(account, b)| balance((account.clone(), b))).collect(),
        Value::Array(all) => all.iter().enumerate().map(|(i, b)| balance((i.to_string(), b))).collect(),
        _ => None,
    };
    all.ok_or_else(|| format!("{value} is no integer balances by account"))
}

fn transfer(value: &Value) -> Result<Transfer, String> {
    let part = |name: &str, place: usize| value.get(name).or_else(|| value.get(place));
    let parts = part("from", 0).zip(part("to", 1)).zip(part("amount", 2).and_then(Value::as_i64));
    let transfer = |((from, to), amount)| Transfer { from: key_text(from), to: key_text(to), amount };
    parts.map(transfer).ok_or_else(|| format!("{value} is no transfer of {{from, to, amount}}"))
}
