//! Verdicts, anomalies and endings in short sentences, the same for terminal and report.

use checker::{Anomaly, FaultRecord, Op, OpEnd, Process, Verdict};
use serde_json::Value;

use crate::summary::{Counts, Liveness, RunSummary};
use crate::table;
use crate::units;

/// Anomalies told in full on a terminal; the report has all.
const ANOMALIES_TOLD: usize = 3;

/// How an ending should be felt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// All is well.
    Good,
    /// A promise was broken.
    Bad,
    /// Nobody can say.
    Doubt,
}

impl Mood {
    /// For class names.
    pub fn word(self) -> &'static str {
        match self {
            Mood::Good => "good",
            Mood::Bad => "bad",
            Mood::Doubt => "doubt",
        }
    }
}

/// A run's ending at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headline {
    /// How it should be felt.
    pub mood: Mood,
    /// One or two words: `Valid`, `Invalid`, `Unknown`, `Not live`, `Harness failed`.
    pub title: String,
    /// One sentence.
    pub sentence: String,
}

/// The ending at a glance. What is worst comes first: a violation is never masked.
pub fn headline(summary: &RunSummary) -> Headline {
    let tell = |mood, title: &str, sentence: String| Headline { mood, title: title.to_owned(), sentence };
    match (&summary.verdict, &summary.liveness, &summary.error) {
        (Verdict::Invalid { anomalies }, _, _) => {
            let count = units::plural(anomalies.len() as u64, "contradiction");
            tell(
                Mood::Bad,
                "Invalid",
                format!("The cluster broke its promise: {count} in what clients were told."),
            )
        }
        (_, Liveness::NotLive { bound_s, .. }, _) => tell(
            Mood::Bad,
            "Not live",
            format!(
                "No broken promise was found, but not every shard took writes again within {bound_s} s of the last heal."
            ),
        ),
        (_, _, Some(error)) => tell(Mood::Doubt, "Harness failed", format!("There is no verdict: {error}.")),
        (Verdict::Unknown { why }, _, _) => {
            let reasons = units::plural(why.len() as u64, "reason");
            tell(
                Mood::Doubt,
                "Unknown",
                format!("Nobody can say whether the promise was kept: {reasons} below."),
            )
        }
        (Verdict::Valid, _, _) => tell(Mood::Good, "Valid", kept(summary)),
    }
}

/// The promise that was kept, as a sentence.
fn kept(summary: &RunSummary) -> String {
    if summary.checkers.iter().any(|(name, _)| name == "bounded-staleness") {
        return format!(
            "No read was more than {} s behind what had been acknowledged.",
            summary.spec.staleness_s
        );
    }
    "Everything clients were told fits one order of operations, and every write that was acknowledged is accounted \
     for."
        .to_owned()
}

/// Why the verdict is what it is: one sentence a reason; empty for a valid run.
pub fn reasons(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Valid => Vec::new(),
        Verdict::Unknown { why } => why.clone(),
        Verdict::Invalid { anomalies } => anomalies.iter().map(anomaly).collect(),
    }
}

/// An anomaly as one sentence: `lost-update on key k17: …`.
pub fn anomaly(anomaly: &Anomaly) -> String {
    format!("{}: {}", named(anomaly), anomaly.reason)
}

/// Its name and where it happened: `lost-update on key k17`.
pub fn named(anomaly: &Anomaly) -> String {
    let on = if anomaly.key.is_empty() { String::new() } else { format!(" on key {}", anomaly.key) };
    format!("{}{on}", anomaly.name)
}

/// What the name of an anomaly means in general; none for a name that the checker does not give.
pub fn meaning(name: &str) -> Option<&'static str> {
    checker::anomalies::meaning(name)
}

/// How the cluster came back.
pub fn liveness(liveness: &Liveness) -> String {
    match liveness {
        Liveness::Live { after_s } => {
            format!("every shard took writes again {} after the last heal", units::seconds(*after_s))
        }
        Liveness::NotLive { bound_s, why } if why.is_empty() => {
            format!("not every shard took writes again within {bound_s} s of the last heal")
        }
        Liveness::NotLive { bound_s, why } => {
            format!(
                "not every shard took writes again within {bound_s} s of the last heal: {}",
                why.join("; ")
            )
        }
        Liveness::NotJudged => "not judged: the run ended before".to_owned(),
    }
}

/// `6,000 operations: 5,412 ok, 203 fail, 385 info`.
pub fn counts(counts: &Counts) -> String {
    format!(
        "{}: {} ok, {} fail, {} info",
        units::plural(counts.invoked, "operation"),
        units::count(counts.ok),
        units::count(counts.fail),
        units::count(counts.info)
    )
}

/// An operation in one line: `#1204 12.304 s p4 write k17 93 → ok (s0r1, epoch 2)`.
pub fn operation(op: &Op) -> String {
    let process = match op.process {
        Process::Client(number) => format!("p{number}"),
        Process::Nemesis => "nemesis".to_owned(),
    };
    let place: Vec<String> = op
        .node
        .iter()
        .map(ToString::to_string)
        .chain(op.epoch.map(|epoch| format!("epoch {epoch}")))
        .collect();
    let place = if place.is_empty() { String::new() } else { format!(" ({})", place.join(", ")) };
    format!("#{} {} s {process} {} → {}{place}", op.index, units::clock_s(op.call_ns), call(op), outcome(op))
}

/// What was called: `write k 5`.
pub fn call(op: &Op) -> String {
    format!("{}{}{}", op.f, word(&op.key), word(&op.input))
}

/// What came of it: `ok 88`, `fail: mismatch`, `nobody can say: timeout`.
pub fn outcome(op: &Op) -> String {
    let end = match op.end {
        OpEnd::Ok => format!("ok{}", if op.output == op.input { String::new() } else { word(&op.output) }),
        OpEnd::Fail => "fail".to_owned(),
        OpEnd::Info => "nobody can say".to_owned(),
    };
    let error = op.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{end}{error}")
}

/// A value after a space; nothing for none.
fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => format!(" {text}"),
        other => format!(" {other}"),
    }
}

/// On whom a fault fell: `s0r1 (master), zk2 (leader)`.
pub fn struck(fault: &FaultRecord) -> String {
    let nodes = fault.nodes.iter().enumerate().map(|(i, node)| match fault.roles.get(i) {
        Some(role) if !role.is_empty() => format!("{node} ({role})"),
        _ => node.clone(),
    });
    let nodes: Vec<String> = nodes.collect();
    if nodes.is_empty() { "nobody".to_owned() } else { nodes.join(", ") }
}

/// The ending for a terminal: headline, reasons with their drawings, facts, the table of failovers, and last
/// the command that repeats the run. No colours; ends with a newline.
pub fn ending(summary: &RunSummary) -> String {
    let headline = headline(summary);
    let mut text = format!("{}: {}\n", headline.title, headline.sentence);
    for (name, verdict) in summary.checkers.iter().filter(|(_, verdict)| *verdict != Verdict::Valid) {
        text.push_str(&format!("\n{name}: {}\n", verdict.word()));
        tell_reasons(&mut text, verdict);
    }
    if summary.checkers.is_empty() {
        tell_reasons(&mut text, &summary.verdict);
    }
    text.push_str(&format!("\n{}\n", counts(&summary.counts)));
    text.push_str(&format!("liveness: {}\n", liveness(&summary.liveness)));
    for observation in &summary.observations {
        text.push_str(&format!("seen: {observation}\n"));
    }
    let vain: Vec<String> = summary
        .faults
        .iter()
        .filter(|fault| !fault.installed)
        .map(|fault| format!("#{} {} on {}", fault.id, fault.kind, fault.target))
        .collect();
    if !vain.is_empty() {
        text.push_str(&format!("faults without effect: {}\n", vain.join(", ")));
    }
    if let Some(why) = &summary.cut_short {
        text.push_str(&format!("cut short: {why}\n"));
    }
    text.push_str(&format!("\n{}", table::failovers(&summary.failovers, &summary.faults)));
    text.push_str(&format!("\nrepeat with: {}\n", summary.command));
    text
}

fn tell_reasons(text: &mut String, verdict: &Verdict) {
    match verdict {
        Verdict::Invalid { anomalies } => {
            for found in anomalies.iter().take(ANOMALIES_TOLD) {
                text.push_str(&format!("  {}\n", anomaly(found)));
                for line in found.drawing.lines() {
                    text.push_str(&format!("      {line}\n"));
                }
            }
            if anomalies.len() > ANOMALIES_TOLD {
                text.push_str(&format!("  and {} more in the report\n", anomalies.len() - ANOMALIES_TOLD));
            }
        }
        other => reasons(other).iter().for_each(|why| text.push_str(&format!("  {why}\n"))),
    }
}
