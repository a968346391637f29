//! What a register in a stream can be caught at, and how it is told.

use super::zone::Zone;

/// The register's beginning, which no operation wrote.
pub(super) const NO_OP: u64 = u64::MAX;

/// One end of an operation, by its position, with what is needed to speak of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edge {
    /// Position among the events, from 1.
    pub(super) at: u64,
    /// The operation, by the index of its call.
    pub(super) op: u64,
    /// Who wrote its value; itself if it is the writer.
    pub(super) writer: u64,
    pub(super) is_update: bool,
}

/// What became of a value that is no longer live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    /// It was replaced for certain: this operation on it had returned before that update was called.
    Over { shown: u64, replaced: u64 },
    /// Its write failed.
    Failed,
}

/// Why no order explains what was seen so far, or why this engine cannot say.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault<V> {
    /// A value was met that no live operation can have written.
    NoWriter { op: u64, by_cas: bool, value: V, past: Option<(u64, Past)> },
    /// Two compare-and-sets replaced the same value.
    TwoCas { ops: [u64; 2], writer: u64, value: V },
    /// Compare-and-sets that each built on another one's value, with no beginning.
    CasCycle { ops: Vec<u64> },
    /// `early` can only come after `late`, but returned before that was called.
    Order { early: Edge, late: Edge },
    /// A mismatch while its value was certainly there: `before` had returned, `after` was called later.
    Denied { op: u64, value: V, before: u64, after: u64, writer: u64 },
    /// Something of `newer` comes after something of `older` and something of it before.
    Torn { older: Box<Zone>, newer: Box<Zone> },
    /// A value is written twice: not a case for unique values.
    Repeated { op: u64, value: V },
}

/// A fault in words: the anomaly's name, its operations, a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) name: &'static str,
    pub(super) ops: Vec<u64>,
    pub(super) reason: String,
}

impl<V: std::fmt::Display> Fault<V> {
    /// The violation in words; or, where this is none, the operation that writes a value again, and the value.
    pub(super) fn told(&self) -> Result<Told, (u64, String)> {
        let (name, mut ops, reason) = match self {
            Fault::Repeated { op, value } => return Err((*op, value.to_string())),
            Fault::NoWriter { op, by_cas, value, past } => no_writer(*op, *by_cas, value, *past),
            Fault::TwoCas { ops: [first, second], writer, value } => {
                let reason = format!(
                    "the compare-and-sets {first} and {second} both took effect, although {value} was there only \
                     once to be replaced"
                );
                ("split-cas", vec![*first, *second, *writer], reason)
            }
            Fault::CasCycle { ops } => {
                let reason = format!(
                    "the compare-and-sets {} each replaced what another one of them wrote: none can have been \
                     the first",
                    listed(ops)
                );
                ("cas-cycle", ops.clone(), reason)
            }
            Fault::Order { early, late } => order(*early, *late),
            Fault::Denied { op, value, before, after, writer } => {
                let since = if *before == NO_OP {
                    "from the start".to_string()
                } else {
                    format!("once operation {before} had returned, before it began")
                };
                let reason = format!(
                    "compare-and-set {op} failed on a mismatch, although {value} was there {since}, and operation \
                     {after}, which began after it, met {value} again"
                );
                ("false-mismatch", vec![*op, *before, *after, *writer], reason)
            }
            Fault::Torn { older, newer } => torn(older, newer),
        };
        ops.retain(|&op| op != NO_OP);
        ops.sort_unstable();
        ops.dedup();
        Ok(Told { name, ops, reason })
    }
}

fn no_writer<V: std::fmt::Display>(
    op: u64,
    by_cas: bool,
    value: &V,
    past: Option<(u64, Past)>,
) -> (&'static str, Vec<u64>, String) {
    let met = if by_cas { "replaced" } else { "returned" };
    match past {
        Some((writer, Past::Failed)) => {
            let reason = format!("operation {op} {met} {value}, although its write {writer} had failed");
            ("aborted-read", vec![op, writer], reason)
        }
        Some((writer, Past::Over { shown, replaced })) => {
            let name = if by_cas { "lost-update" } else { "stale-read" };
            let since = match shown {
                NO_OP => "after it was there from the start".to_string(),
                shown => format!("after operation {shown} had shown it"),
            };
            let reason = format!(
                "operation {op} {met} {value}, although operation {replaced} had replaced that {since}, and was back \
                 before {op} began"
            );
            (name, vec![op, writer, shown, replaced], reason)
        }
        None => {
            let reason = format!(
                "operation {op} {met} {value}, although nobody had called a write of it, or it was replaced long ago"
            );
            ("fabricated-value", vec![op], reason)
        }
    }
}

fn order(early: Edge, late: Edge) -> (&'static str, Vec<u64>, String) {
    let ops = vec![early.op, early.writer, late.op, late.writer];
    let (early, what) = (early.op, if late.is_update { "future-read" } else { "stale-read" });
    let reason = format!(
        "operation {early} depends on operation {}, but had returned before that was called",
        late.op
    );
    (what, ops, reason)
}

fn torn(older: &Zone, newer: &Zone) -> (&'static str, Vec<u64>, String) {
    let name = if newer.is_unseen || older.inv_max.is_update { "lost-update" } else { "stale-read" };
    let edges = [older.ret_min, older.inv_max, newer.ret_min, newer.inv_max];
    let before = match older.ret_min.op {
        NO_OP => "what was there from the start".to_string(),
        op => format!("what operation {op} had met or written"),
    };
    let between = match (newer.ret_min.op, newer.inv_max.op) {
        (one, other) if one == other => format!("operation {one}, on another value, lies"),
        (one, other) => format!("operations {one} and {other}, on another value, lie"),
    };
    let reason =
        format!("operation {} still met {before}, although {between} between them", older.inv_max.op);
    (name, edges.iter().flat_map(|edge| [edge.op, edge.writer]).collect(), reason)
}

fn listed(ops: &[u64]) -> String {
    ops.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}
