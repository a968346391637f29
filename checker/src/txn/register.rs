//! Read-write registers: a read shows one version, not those before it, so that the order of versions is only known
//! as far as it follows from the transactions.
//!
//! What is known of a key's versions, always soundly:
//! - the initial one (`null`) comes before all others;
//! - a transaction that reads a version and then writes makes a later one.
//!
//! Everything else is up to [`KeyOrder`].

mod edges;
mod order;

use serde_json::Value;

use super::findings::{Findings, Names};
use super::graph::{Graph, Why};
use super::read_in::{Act, Txns};
use super::shortest::Step;
use super::{KeyOrder, cycles, interrupted};
use crate::History;
use edges::Registers;

/// Everything that is wrong with a history of `w` and `r` steps; `stop` is asked now and then.
pub(super) fn judge(history: &History, keys: KeyOrder, stop: &dyn Fn() -> bool) -> Findings {
    let mut findings = Findings::default();
    let keep = |value| Ok(std::slice::from_ref(value));
    let txns = match Txns::new(history, "w", |_, _, _, value| keep(value)) {
        Ok(txns) => txns,
        Err(why) => {
            findings.undecided.push(why);
            return findings;
        }
    };
    let mut registers = Registers::new(&txns, &mut findings);
    if stop() {
        return interrupted(findings);
    }
    let edges = registers.edges(&txns, keys, &mut findings);
    match cycles::find(Graph::new(&txns, &registers.committed, edges), stop) {
        Some(cycles) => {
            findings.take(&txns, cycles, |step, names| clause(&txns, step, names));
            findings
        }
        None => interrupted(findings),
    }
}

/// What a transaction does to one key.
#[derive(Debug, Clone, Copy, Default)]
struct View<'h> {
    /// The first value that it read before it wrote.
    external: Option<&'h Value>,
    /// The code of the last value that it wrote.
    written: Option<u64>,
    /// A read did not fit to what came before it in the same transaction.
    contradicts: bool,
    /// It read a value that it wrote only later.
    foresees: bool,
}

/// Looks through the steps of one transaction on one key, in their order.
fn view<'h>(txns: &Txns<'h>, steps: impl Iterator<Item = Act<'h>> + Clone) -> View<'h> {
    let code = |value| txns.codes.find(value);
    let mut view = View::default();
    let mut latest: Option<&Value> = None;
    for act in steps.clone() {
        match (act, view.written) {
            (Act::Write(code), _) => view.written = Some(code),
            (Act::Read(value), Some(written)) => {
                view.contradicts |= value.first().and_then(code) != Some(written);
            }
            (Act::Read(value), None) => {
                view.contradicts |= latest.is_some_and(|before| value.first() != Some(before));
                view.external = view.external.or(value.first());
                latest = value.first();
            }
        }
    }
    if let Some(read) = view.external.and_then(code) {
        view.foresees = steps.clone().any(|act| matches!(act, Act::Write(code) if code == read));
    }
    view
}

/// What makes a dependency, in words.
fn clause(txns: &Txns<'_>, step: &Step, names: &Names<'_>) -> String {
    let key = step.key.unwrap_or_default();
    let (one, other, name) = (names.of(step.from), names.of(step.to), txns.key_text(key));
    let seen = |txn: u32| {
        let steps = txns.steps(txn).iter().filter(|step| step.key == key).map(|step| step.act);
        view(txns, steps)
    };
    let written = |txn: u32| seen(txn).written.map_or("a value".to_string(), |code| txns.codes.text(code));
    let read = |txn: u32| seen(txn).external.cloned().unwrap_or_default();
    match step.why {
        Why::Wr => format!("{one} wrote {} to {name}, which {other} read", read(step.to)),
        Why::Rw => {
            format!("{one} read {name} as {}, before {other} wrote {}", read(step.from), written(step.to))
        }
        _ => {
            format!("{one} wrote {} to {name} before {other} wrote {}", written(step.from), written(step.to))
        }
    }
}
