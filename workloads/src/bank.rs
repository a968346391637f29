//! `bank`: transfers between the accounts of a bank, and reads of all balances.
//!
//! Amounts are drawn from a wide range, so that a read tells which transfers came before it.

use checker::Checker;
use checker::object::bank;
use cluster::store::{Answer, CallError, Command};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::keyed::Object;

const ACCOUNTS: u32 = 5;
const BALANCE: i64 = 1_000_000;
/// Large enough that some transfers are refused.
const AMOUNT_MAX: i64 = 500_000;

/// A bank of five accounts with a million each; half of what is done are transfers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bank;

fn account(number: u32) -> String {
    format!("a{number}")
}

impl Object for Bank {
    /// Is it known to be open?
    type Memory = bool;

    fn name(&self) -> &'static str {
        "bank"
    }

    /// Judged by search.
    fn ops_per_key_max(&self) -> Option<u64> {
        Some(150)
    }

    fn draw(&self, rng: &mut ChaCha8Rng, _unique: u64) -> Command {
        if rng.random_ratio(1, 2) {
            return Command::Balances;
        }
        let from = rng.random_range(0..ACCOUNTS);
        let to = (from + rng.random_range(1..ACCOUNTS)) % ACCOUNTS;
        Command::Transfer { from: account(from), to: account(to), amount: rng.random_range(1..=AMOUNT_MAX) }
    }

    /// A bank that nobody has seen open is opened first.
    fn prepare(&self, drawn: &Command, open: &bool) -> Command {
        if *open {
            return drawn.clone();
        }
        Command::Open { accounts: (0..ACCOUNTS).map(|number| (account(number), BALANCE)).collect() }
    }

    fn learn(&self, open: &mut bool, command: &Command, result: &Result<Answer, CallError>) {
        *open |= matches!(command, Command::Open { .. }) && result.is_ok();
    }

    /// A bank that was never seen open may be closed for ever.
    fn final_reads(&self, open: &bool) -> Vec<Command> {
        if *open { vec![Command::Balances] } else { Vec::new() }
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        let total = Some(i64::from(ACCOUNTS) * BALANCE);
        vec![Box::new(bank::Bank { total, overdraft: false }), Box::new(bank::LinearizableBank)]
    }
}
