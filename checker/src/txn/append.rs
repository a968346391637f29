//! List-append: every read shows the whole past of its key, so that the order of versions is seen, not guessed.

mod edges;
mod order;

use super::findings::{Findings, Names};
use super::graph::{Graph, Why};
use super::read_in::Txns;
use super::shortest::Step;
use super::{cycles, interrupted};
use crate::History;
use order::{Lists, Pasts};

/// Everything that is wrong with a history of `append` and `r` steps; `stop` is asked now and then.
pub(super) fn judge(history: &History, stop: &dyn Fn() -> bool) -> Findings {
    let mut findings = Findings::default();
    let mut pasts = Pasts::default();
    let txns = match Txns::new(history, "append", |codes, txn, key, value| pasts.read(codes, txn, key, value))
    {
        Ok(txns) => txns,
        Err(why) => {
            findings.undecided.push(why);
            return findings;
        }
    };
    let lists = Lists::new(&txns, pasts, &mut findings);
    if stop() {
        return interrupted(findings);
    }
    let edges = edges::edges(&txns, &lists, &mut findings);
    match cycles::find(Graph::new(&txns, &lists.committed, edges), stop) {
        Some(cycles) => {
            findings.take(&txns, cycles, |step, names| lists.clause(&txns, step, names));
            findings
        }
        None => interrupted(findings),
    }
}

impl Lists {
    /// What makes a dependency, in words.
    fn clause(&self, txns: &Txns<'_>, step: &Step, names: &Names<'_>) -> String {
        let key = step.key.unwrap_or_default();
        let (one, other, list) = (names.of(step.from), names.of(step.to), txns.key_text(key));
        let text = |code| txns.codes.text(code);
        match step.why {
            Why::Wr => {
                let seen = self
                    .view(txns, step.to, key)
                    .and_then(|length| self.element(key, length.checked_sub(1)?));
                let value = seen.map_or("a value".to_string(), |append| text(append.code));
                format!("{one} appended {value} to {list}, which {other} read")
            }
            Why::Rw => {
                let length = self.view(txns, step.from, key).unwrap_or(0);
                let next = self.first_of(key, length, step.to);
                let read = self.shown(txns, key, length);
                format!("{one} read {list} as {read}, without {}, which {other} appended", text(next))
            }
            _ => {
                let (last, next) = self.successive(key, step.from, step.to);
                format!("{one} appended {} to {list} before {other} appended {}", text(last), text(next))
            }
        }
    }
}
