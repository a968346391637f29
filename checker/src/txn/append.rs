//! List-append: every read shows the whole past of its key, so that the order of versions is seen, not guessed.

mod edges;
mod order;

use super::findings::{Findings, Names};
use super::graph::{Graph, Why};
use super::read_in::Txns;
use super::shortest::Step;
use super::{OUT_OF_TIME, cycles};
use crate::{Budget, History};
use order::{Lists, Pasts};

/// Everything that is wrong with a history of `append` and `r` steps; the budget's stop is asked now and then.
pub(super) fn judge(history: &History, budget: &Budget) -> Findings {
    let mut findings = Findings::default();
    let mut pasts = Pasts::default();
    let txns = match Txns::new(history, "append", budget, |codes, txn, key, value| {
        pasts.read(codes, txn, key, value)
    }) {
        Ok(txns) => txns,
        Err(why) => {
            findings.undecided.push(why);
            return findings;
        }
    };
    let lists = Lists::new(&txns, pasts, &mut findings);
    let edges = edges::edges(&txns, &lists, &mut findings);
    match cycles::find(Graph::new(&txns, &lists.committed, edges), &budget.stop) {
        Some(cycles) => {
            findings.take(&txns, cycles, |step, names| lists.clause(&txns, step, names));
            findings
        }
        None => {
            findings.undecided.push(OUT_OF_TIME.to_string());
            findings
        }
    }
}

impl Lists {
    /// What makes a dependency, in words, and who else's read shows it.
    fn clause(&self, txns: &Txns<'_>, step: &Step, names: &Names<'_>) -> (String, Option<u32>) {
        let key = step.key.unwrap_or_default();
        let (one, other, list) = (names.of(step.from), names.of(step.to), txns.key_text(key));
        let text = |code| txns.codes.text(code);
        match step.why {
            Why::Wr => {
                let length = self.view(txns, step.to, key);
                let seen = length.and_then(|length| self.element(key, length.checked_sub(1)?));
                let value = seen.map_or("what it did".to_string(), |append| text(append.code));
                (format!("{one} appended {value} to {list}, which {other} read"), None)
            }
            Why::Rw => {
                let length = self.view(txns, step.from, key).unwrap_or(0);
                let next = text(self.first_of(key, length, step.to));
                let read = self.shown(txns, key, length);
                (format!("{one} read {list} as {read}, without {next}, which {other} appended"), None)
            }
            _ => {
                let (last, next) = self.successive(key, step.from, step.to);
                let reader = self.reader(key);
                let (last, next, by) = (text(last), text(next), names.of(reader));
                let clause =
                    format!("{one} appended {last} to {list} before {other} appended {next}, as {by} read");
                (clause, Some(reader))
            }
        }
    }
}
