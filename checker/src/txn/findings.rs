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
    /// The transactions that prove it, a sentence, a drawing. A cycle's `ops` are in its order; after them come those
    /// whose reads show the order of its writes.
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

    /// Takes the cycles; `clause` tells of a dependency, and names the reader who shows it if it is another one.
    pub(super) fn take(
        &mut self,
        txns: &Txns<'_>,
        cycles: Cycles,
        clause: impl Fn(&Step, &Names<'_>) -> (String, Option<u32>),
    ) {
        for (trouble, count) in cycles.counts {
            *self.counts.entry(trouble).or_default() += count;
        }
        for cycle in cycles.examples {
            let mut who: Vec<u32> = cycle.steps.iter().map(|step| step.from).collect();
            let names = Names { txns, who: &who };
            let told: Vec<(String, Option<u32>)> = cycle
                .steps
                .iter()
                .map(|step| names.outside(step).map_or_else(|| clause(step, &names), |text| (text, None)))
                .collect();
            let clauses: Vec<&str> = told.iter().map(|(clause, _)| &**clause).collect();
            let reason = format!("{}: {}", names.circle(), clauses.join("; "));
            for reader in told.into_iter().filter_map(|(_, reader)| reader) {
                if !who.contains(&reader) {
                    who.push(reader);
                }
            }
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
    /// An edge of an order from outside, in words.
    fn outside(&self, step: &Step) -> Option<String> {
        let (one, other) = (self.of(step.from), self.of(step.to));
        match step.why {
            Why::Process => {
                let process = self.txns.history.ops[step.from as usize].process;
                Some(format!("{one} came before {other} in process {process}"))
            }
            Why::RealTime => Some(format!("{one} had returned before {other} was called")),
            Why::Ww | Why::Wr | Why::Rw | Why::Onward => None,
        }
    }

    /// Who they are, and that there is no order of them.
    fn circle(&self) -> String {
        let all: Vec<String> = self
            .who
            .iter()
            .map(|&txn| format!("{} (operation {})", self.of(txn), self.txns.history.ops[txn as usize].index))
            .collect();
        match &all[..] {
            [one, other] => format!("{one} and {other} each have to come before the other one"),
            [all @ .., last] => {
                format!(
                    "{} and {last} each have to come before the next, and the last before the first",
                    all.join(", ")
                )
            }
            [] => String::new(),
        }
    }

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
