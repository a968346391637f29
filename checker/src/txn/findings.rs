//! What was found, with or without the promise that forbids it.

use std::collections::BTreeMap;

use super::cycles::{Cycles, EXAMPLES_MAX};
use super::graph::Why;
use super::read_in::Txns;
use super::shortest::Step;
use super::{ConsistencyModel, Trouble};
use crate::history::draw;
use crate::{Anomaly, Op, OpEnd, Verdict};

/// Transactions that an anomaly draws at most.
const DRAWN_MAX: usize = 12;

/// An anomaly with its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub trouble: Trouble,
    /// The transactions that prove it, a sentence, a drawing. A cycle's `ops` are in its order.
    pub anomaly: Anomaly,
}

/// Everything that is wrong with a history, whatever was promised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// A few of each kind.
    pub examples: Vec<Finding>,
    /// How many there are of each kind: for cycles, strongly connected components.
    pub counts: BTreeMap<Trouble, u64>,
    /// What could not be judged, each a sentence.
    pub undecided: Vec<String>,
}

impl Findings {
    /// Invalid when there is something that `model` forbids; else unknown when not everything could be judged.
    pub fn verdict(&self, model: ConsistencyModel) -> Verdict {
        let forbidden = self.examples.iter().filter(|finding| finding.trouble.breaks(model));
        let anomalies: Vec<Anomaly> = forbidden.map(|finding| finding.anomaly.clone()).collect();
        if !anomalies.is_empty() {
            return Verdict::Invalid { anomalies };
        }
        match self.undecided.is_empty() {
            true => Verdict::Valid,
            false => Verdict::Unknown { why: self.undecided.clone() },
        }
    }

    /// Examples that `model` allows.
    pub fn allowed(&self, model: ConsistencyModel) -> impl Iterator<Item = &Finding> {
        self.examples.iter().filter(move |finding| !finding.trouble.breaks(model))
    }

    /// Counts a trouble of one key; the first few are told.
    pub(super) fn note(
        &mut self,
        txns: &Txns<'_>,
        trouble: Trouble,
        key: u32,
        who: &[u32],
        reason: impl FnOnce() -> String,
    ) {
        let count = self.counts.entry(trouble).or_default();
        *count += 1;
        if *count <= EXAMPLES_MAX as u64 {
            self.examples.push(finding(txns, trouble, txns.key_text(key), who, reason()));
        }
    }

    /// Takes the cycles, each edge told by `clause`.
    pub(super) fn take(&mut self, txns: &Txns<'_>, cycles: Cycles, clause: impl Fn(&Step, &Names) -> String) {
        for (trouble, count) in cycles.counts {
            *self.counts.entry(trouble).or_default() += count;
        }
        for cycle in cycles.examples {
            let who: Vec<u32> = cycle.steps.iter().map(|step| step.from).collect();
            let names = Names { txns, who: &who };
            let clauses: Vec<String> = cycle
                .steps
                .iter()
                .map(|step| match step.why {
                    Why::Process => {
                        let process = txns.history.ops[step.from as usize].process;
                        format!(
                            "{} came before {} in process {process}",
                            names.of(step.from),
                            names.of(step.to)
                        )
                    }
                    Why::RealTime => {
                        format!(
                            "{} had returned before {} was called",
                            names.of(step.from),
                            names.of(step.to)
                        )
                    }
                    _ => clause(step, &names),
                })
                .collect();
            let list: Vec<String> = who
                .iter()
                .map(|&txn| format!("{} (operation {})", names.of(txn), txns.history.ops[txn as usize].index))
                .collect();
            let reason = format!(
                "{} each come before the next and the last before the first: {}",
                list.join(", "),
                clauses.join("; ")
            );
            let mut keys = cycle.steps.iter().filter_map(|step| step.key);
            let key = keys.next().filter(|first| keys.all(|key| key == *first));
            let key = key.map_or(String::new(), |key| txns.key_text(key));
            self.examples.push(finding(txns, cycle.trouble, key, &who, reason));
        }
    }
}

/// The transactions of a cycle by name: T1, T2, …
pub(super) struct Names<'t> {
    txns: &'t Txns<'t>,
    who: &'t [u32],
}

impl Names<'_> {
    pub(super) fn of(&self, txn: u32) -> String {
        match self.who.iter().position(|&one| one == txn) {
            Some(place) => format!("T{}", place + 1),
            None => format!("operation {}", self.txns.history.ops[txn as usize].index),
        }
    }
}

fn finding(txns: &Txns<'_>, trouble: Trouble, key: String, who: &[u32], reason: String) -> Finding {
    let ops: Vec<&Op> = who.iter().map(|&txn| &txns.history.ops[txn as usize]).collect();
    // A result repeats what was called, with the reads filled in: that says it all.
    let drawn: Vec<Op> = ops
        .iter()
        .take(DRAWN_MAX)
        .map(|op| Op {
            input: if op.end == OpEnd::Ok { op.output.clone() } else { op.input.clone() },
            ..(*op).clone()
        })
        .collect();
    let anomaly = Anomaly {
        name: trouble.name().to_string(),
        key,
        ops: ops.iter().map(|op| op.index).collect(),
        reason,
        drawing: draw(&drawn.iter().collect::<Vec<_>>()),
    };
    Finding { trouble, anomaly }
}
