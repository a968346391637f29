//! What stands in the page's lists and tables, in words.

use std::path::Path;

use checker::{Anomaly, FaultRecord, Op, Verdict};

use crate::explain;
use crate::spec::RunSpec;
use crate::strikes::{self, StrikeTally};
use crate::summary::{Liveness, RunSummary};
use crate::table::Align;
use crate::units;

/// A contradiction and what proves it.
pub(super) struct AnomalyView {
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) key: String,
    /// All of it in one sentence.
    pub(super) in_short: String,
    pub(super) meaning: Option<&'static str>,
    pub(super) reason: String,
    pub(super) drawing: String,
    pub(super) ops: Vec<String>,
    /// An order of them as far as one comes, and what does not fit then.
    pub(super) order: Vec<String>,
    pub(super) refused: Vec<String>,
    /// What nodes said to each other meanwhile, drawn; or why nobody knows.
    pub(super) scene: Result<String, &'static str>,
}

impl AnomalyView {
    pub(super) fn new(
        number: usize,
        anomaly: &Anomaly,
        ops: &[&Op],
        scene: Result<String, &'static str>,
    ) -> AnomalyView {
        let attempt = checker::attempt(ops);
        let steps = attempt.iter().flat_map(|attempt| &attempt.placed);
        let refused = attempt.iter().flat_map(|attempt| &attempt.refused);
        AnomalyView {
            number,
            name: anomaly.name.clone(),
            key: anomaly.key.clone(),
            in_short: explain::anomaly(anomaly),
            meaning: explain::meaning(&anomaly.name),
            reason: anomaly.reason.clone(),
            drawing: anomaly.drawing.clone(),
            ops: ops.iter().map(|op| explain::operation(op)).collect(),
            order: steps.map(|step| step_told(ops[step.op], step.holds.as_deref())).collect(),
            refused: refused.map(|one| format!("{}: {}", who(ops[one.op]), one.why)).collect(),
            scene,
        }
    }
}

/// A step of an order: `#12 process 4: write 5 → the register holds 5`.
fn step_told(op: &Op, holds: Option<&str>) -> String {
    let holds = holds.map(|value| format!(" → the register holds {value}"));
    format!("{}{}", who(op), holds.unwrap_or_default())
}

fn who(op: &Op) -> String {
    format!("#{} process {}: {}", op.index, op.process, explain::call(op))
}

pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) more: String,
}

impl Fact {
    pub(super) fn new(name: &'static str, value: String, more: String) -> Self {
        Fact { name, value, more }
    }
}

pub(super) struct Cell {
    pub(super) text: String,
    pub(super) class: &'static str,
}

pub(super) struct Figure {
    pub(super) stem: &'static str,
    pub(super) svg: String,
}

pub(super) struct FaultRow {
    pub(super) id: u64,
    pub(super) kind: String,
    pub(super) detail: String,
    pub(super) target: String,
    pub(super) struck: String,
    pub(super) start: String,
    pub(super) stop: String,
    pub(super) installed: bool,
    pub(super) evidence: Vec<(String, String)>,
}

pub(super) struct LogLink {
    pub(super) href: String,
    pub(super) text: String,
}

impl LogLink {
    pub(super) fn new(path: &Path) -> Self {
        let text = path.to_string_lossy().into_owned();
        LogLink { href: percent_encoded(&text), text }
    }
}

pub(super) struct CheckerRow {
    pub(super) name: String,
    pub(super) word: &'static str,
    pub(super) mood: &'static str,
    pub(super) why: Vec<String>,
}

impl CheckerRow {
    pub(super) fn new(name: &str, verdict: &Verdict) -> Self {
        let mood = match verdict {
            Verdict::Valid => "good",
            Verdict::Unknown { .. } => "doubt",
            Verdict::Invalid { .. } => "bad",
        };
        let why = match verdict {
            Verdict::Invalid { anomalies } => {
                vec![format!("{}, told above", units::plural(anomalies.len() as u64, "contradiction"))]
            }
            other => explain::reasons(other),
        };
        CheckerRow { name: name.to_owned(), word: verdict.word(), mood, why }
    }
}

pub(super) fn run_name(summary: &RunSummary) -> String {
    let spec = &summary.spec;
    format!("{} on {} ({}), seed {}", spec.workload, spec.target, spec.variant, spec.seed)
}

pub(super) fn unknown_reasons(summary: &RunSummary) -> Vec<String> {
    let mut reasons = match &summary.verdict {
        Verdict::Unknown { why } => why.clone(),
        _ => Vec::new(),
    };
    if let Liveness::NotLive { why, .. } = &summary.liveness {
        reasons.extend(why.iter().cloned());
    }
    reasons
}

pub(super) fn liveness_fact(summary: &RunSummary) -> Fact {
    use Liveness::{Live, NotJudged, NotLive};
    match &summary.liveness {
        Live { after_s } => {
            Fact::new("Live again", units::seconds(*after_s), "after the last heal, every shard".to_owned())
        }
        NotLive { bound_s, .. } => {
            Fact::new("Live again", "no".to_owned(), format!("within {bound_s} s of the last heal"))
        }
        NotJudged => Fact::new("Live again", "not judged".to_owned(), "the run ended before".to_owned()),
    }
}

pub(super) fn class_of(align: Align) -> &'static str {
    match align {
        Align::Left => "",
        Align::Right => "num",
    }
}

pub(super) fn heads(columns: &[(&str, Align)]) -> Vec<Cell> {
    columns.iter().map(|&(name, align)| Cell { text: name.to_owned(), class: class_of(align) }).collect()
}

pub(super) fn rows(cells: impl Iterator<Item = Vec<String>>, columns: &[(&str, Align)]) -> Vec<Vec<Cell>> {
    let row = |cells: Vec<String>| {
        cells
            .into_iter()
            .zip(columns)
            .map(|(text, &(_, align))| Cell { text, class: class_of(align) })
            .collect()
    };
    cells.map(row).collect()
}

pub(super) fn fault_row(fault: &FaultRecord) -> FaultRow {
    FaultRow {
        id: fault.id,
        kind: fault.kind.clone(),
        detail: fault.detail.clone(),
        target: fault.target.clone(),
        struck: explain::struck(fault),
        start: units::clock_s(fault.start_ns),
        stop: fault.stop_ns.map_or_else(|| "never".to_owned(), units::clock_s),
        installed: fault.installed,
        evidence: fault.evidence.clone(),
    }
}

/// A message fault on a link, and what came of it.
pub(super) struct StrikeRow {
    pub(super) fault: u64,
    pub(super) link: String,
    pub(super) what: String,
    pub(super) matched: String,
    pub(super) applied: String,
    pub(super) delivered: String,
    pub(super) between: String,
    pub(super) outcome: String,
    pub(super) class: &'static str,
    pub(super) meaning: &'static str,
    pub(super) because: String,
}

impl StrikeRow {
    pub(super) fn new(tally: &StrikeTally) -> Self {
        let class = match tally.outcome.as_str() {
            "silent" | "detected-served" | "liveness" => "bad",
            "not-triggered" => "doubt",
            _ => "good",
        };
        StrikeRow {
            fault: tally.fault,
            link: tally.link.clone(),
            what: tally.what.clone(),
            matched: units::count(tally.matched),
            applied: units::count(tally.applied),
            delivered: units::count(tally.delivered),
            between: tally.between.join(", "),
            outcome: tally.outcome.clone(),
            class,
            meaning: strikes::meaning(&tally.outcome),
            because: tally.because.clone(),
        }
    }
}

pub(super) fn spec_rows(summary: &RunSummary) -> Vec<(&'static str, String)> {
    let spec = &summary.spec;
    let mut rows = vec![
        ("target", format!("{}, variant {}", spec.target, spec.variant)),
        (
            "cluster",
            format!(
                "{} of {} Redis servers, {} ZooKeeper servers",
                units::plural(spec.shards.into(), "shard"),
                spec.replicas,
                spec.zookeepers
            ),
        ),
        ("workload", format!("{}, reads from the {}, WAIT {}", spec.workload, spec.reads, spec.wait)),
        ("load", load_words(spec)),
        ("faults", if spec.faults.is_empty() { "none".to_owned() } else { spec.faults.join(", ") }),
        ("seed", spec.seed.to_string()),
    ];
    if let Some(bug) = &spec.bug {
        rows.push(("bug switched on", bug.clone()));
    }
    rows
}

pub(super) fn load_words(spec: &RunSpec) -> String {
    let rate = if spec.rate > 0.0 {
        format!("{} operations per second", spec.rate)
    } else {
        "full speed".to_owned()
    };
    format!(
        "{} processes at {rate} for {} s, calls given up after {} ms",
        spec.concurrency, spec.time_limit_s, spec.op_timeout_ms
    )
}

/// A path as a relative link: everything but letters, digits, `/`, `-`, `.`, `_` and `~` is escaped.
pub(super) fn percent_encoded(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_survive_odd_names() {
        assert_eq!(percent_encoded("nodes/s0r1/redis.log"), "nodes/s0r1/redis.log");
        assert_eq!(percent_encoded("a b#?%\"é"), "a%20b%23%3F%25%22%C3%A9");
    }
}
