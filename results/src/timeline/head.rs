//! What stands before the columns: names, faults, marks, and where the anomalies are.

use serde::Serialize;

use super::columns::{Columns, Sent};
use crate::failover::Phase;
use crate::plot::{Data, phase_key};
use crate::report::style;

/// Everything but the operations. Times are microseconds of the run clock.
#[derive(Debug, Serialize)]
pub struct Head<'a> {
    /// Number of operations.
    ops: usize,
    /// The last thing that was seen.
    end: u64,
    /// Processes that act at a time.
    workers: u64,
    processes: &'a [u64],
    functions: &'a [String],
    keys: &'a [String],
    sent: &'a [Sent],
    errors: &'a [String],
    faults: Vec<Band>,
    failovers: Vec<Phases>,
    marks: Vec<Mark>,
    proofs: Vec<Proof>,
}

/// A fault's time.
#[derive(Debug, Serialize)]
pub struct Band {
    id: u64,
    kind: String,
    detail: String,
    target: String,
    nodes: Vec<String>,
    from: u64,
    to: Option<u64>,
    installed: bool,
}

/// A failover cut into its phases.
#[derive(Debug, Serialize)]
pub struct Phases {
    shard: u32,
    epoch: u64,
    from: Option<String>,
    to: String,
    /// Beginning, end, what was waited for, and the name of its colour.
    parts: Vec<(u64, u64, &'static str, String)>,
}

/// An agent's step.
#[derive(Debug, Serialize)]
pub struct Mark {
    at: i64,
    shard: u32,
    node: String,
    step: String,
    epoch: u64,
    detail: String,
}

/// An anomaly, by the indices of the operations that prove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Its name and key.
    pub name: String,
    /// As the operations have it; empty where there is none.
    pub key: String,
    /// Indices of invocation events.
    pub ops: Vec<u64>,
}

impl<'a> Head<'a> {
    pub(super) fn new(data: &Data<'_>, columns: &'a Columns, proofs: Vec<Proof>) -> Head<'a> {
        let us = |ns: u64| ns / 1_000;
        Head {
            ops: columns.len,
            end: us(data.span_ns()),
            workers: columns.workers.max(1),
            processes: &columns.processes.all,
            functions: &columns.functions.all,
            keys: &columns.keys.all,
            sent: &columns.sent.all,
            errors: &columns.errors.all,
            faults: data
                .faults
                .iter()
                .map(|fault| Band {
                    id: fault.id,
                    kind: fault.kind.clone(),
                    detail: fault.detail.clone(),
                    target: fault.target.clone(),
                    nodes: fault.nodes.clone(),
                    from: us(fault.start_ns),
                    to: fault.stop_ns.map(us),
                    installed: fault.installed,
                })
                .collect(),
            failovers: data
                .failovers
                .iter()
                .map(|failover| Phases {
                    shard: failover.shard,
                    epoch: failover.epoch,
                    from: failover.from.clone(),
                    to: failover.to.clone(),
                    parts: failover
                        .segments()
                        .iter()
                        .map(|part| {
                            (
                                us(part.from_ns),
                                us(part.to_ns),
                                phase_word(part.phase),
                                phase_colour(part.phase),
                            )
                        })
                        .collect(),
                })
                .collect(),
            marks: data
                .node_events
                .iter()
                .filter(|event| event.time_ns >= 0)
                .map(|event| Mark {
                    at: event.time_ns / 1_000,
                    shard: event.shard,
                    node: event.node.clone(),
                    step: event.step.clone(),
                    epoch: event.epoch,
                    detail: event.detail.clone(),
                })
                .collect(),
            proofs,
        }
    }
}

fn phase_word(phase: Phase) -> &'static str {
    phase_key(phase).1
}

fn phase_colour(phase: Phase) -> String {
    style::name(phase_key(phase).0)
}
