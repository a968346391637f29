//! `report.html`: one page that opens offline and explains a run, the verdict first and the command that
//! repeats it last.

use std::path::{Path, PathBuf};

use askama::Template;
use checker::{Anomaly, FaultRecord, History, Verdict};

use crate::availability::{GAP_NS_MIN, availability};
use crate::error::Result;
use crate::explain::{self, Headline};
use crate::failover::Distribution;
use crate::layout::{self, RunFolder};
use crate::plot::{Data, Plot, theme};
use crate::strikes::{self, StrikeTally};
use crate::summary::{Failover, NodeEvent, RunSummary};
use crate::table::{self, Align};
use crate::units;
use crate::writer::write_whole;

/// Anomalies the page tells; the rest are in `verdict.json`.
const ANOMALIES_TOLD: usize = 20;

/// Of those, how many stand open.
const ANOMALIES_OPEN: usize = 3;

/// What a report is made of.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// How the run ended.
    pub summary: &'a RunSummary,
    /// Operations.
    pub history: &'a History,
    /// The agents' steps.
    pub node_events: &'a [NodeEvent],
    /// What is worth telling about the folder itself, each a sentence; see [`crate::reader::RunRecord::notes`].
    pub notes: &'a [String],
    /// Logs to link, relative to the report; see [`RunFolder::logs`].
    pub logs: &'a [PathBuf],
}

impl Report<'_> {
    /// What the pictures are drawn from.
    pub fn data(&self) -> Data<'_> {
        Data {
            history: self.history,
            faults: &self.summary.faults,
            failovers: &self.summary.failovers,
            node_events: self.node_events,
        }
    }

    /// The page.
    pub fn render(&self) -> Result<String> {
        Ok(self.page()?.render()?)
    }

    /// Writes the page into the folder.
    pub fn write(&self, folder: &RunFolder) -> Result<PathBuf> {
        let path = folder.report();
        write_whole(&path, self.render()?.as_bytes())?;
        Ok(path)
    }

    fn page(&self) -> Result<Page> {
        let summary = self.summary;
        let mut anomalies = self.anomalies();
        let more_anomalies = anomalies.split_off(ANOMALIES_OPEN.min(anomalies.len()));
        let svgs: Result<Vec<Figure>> = Plot::ALL.into_iter().map(|plot| self.figure(plot)).collect();
        Ok(Page {
            dark_css: theme::dark_css(".plot"),
            name: run_name(summary),
            started_at: summary.started_at.replace('T', " ").replace('Z', " UTC"),
            headline: explain::headline(summary),
            notes: self.notes(),
            reasons: unknown_reasons(summary),
            anomalies,
            more_anomalies,
            untold: match &summary.verdict {
                Verdict::Invalid { anomalies } => anomalies.len().saturating_sub(ANOMALIES_TOLD),
                _ => 0,
            },
            facts: self.facts(),
            failover_head: heads(&table::FAILOVER_HEAD),
            failovers: rows(
                summary.failovers.iter().map(|f| table::failover_cells(f, &summary.faults)),
                &table::FAILOVER_HEAD,
            ),
            totals_head: heads(&table::TOTALS_HEAD),
            totals: rows(
                table::totals_cells(&summary.failovers, &summary.faults).into_iter(),
                &table::TOTALS_HEAD,
            ),
            figures: svgs?,
            faults: summary.faults.iter().map(fault_row).collect(),
            strikes: summary.strikes.iter().map(StrikeRow::new).collect(),
            logs: self.logs.iter().map(|log| LogLink::new(log)).collect(),
            checkers: summary.checkers.iter().map(|(name, verdict)| CheckerRow::new(name, verdict)).collect(),
            spec: spec_rows(summary),
            versions: summary.versions.clone(),
            phases: summary.phases_s.iter().map(|(name, s)| (name.clone(), units::seconds(*s))).collect(),
            capture: self.summary.spec.capture.then_some(layout::CAPTURE),
            command: summary.command.clone(),
        })
    }

    fn figure(&self, plot: Plot) -> Result<Figure> {
        let svg = plot.svg(&self.data())?;
        // Sized by the page: the picture keeps its own measures in its view box alone.
        let body = svg.split_once("viewBox").map_or(svg.as_str(), |(_, rest)| rest);
        Ok(Figure {
            stem: plot.stem(),
            svg: format!("<svg role=\"img\" aria-label=\"{}\" viewBox{body}", plot.stem()),
        })
    }

    fn notes(&self) -> Vec<String> {
        // The verdict may give these as its own reasons.
        let told = unknown_reasons(self.summary).join("\n");
        let cut = self.summary.cut_short.iter().map(|why| (why, format!("The run was cut short: {why}.")));
        let error = self.summary.error.iter().map(|why| (why, format!("The harness failed: {why}.")));
        let folder = self.notes.iter().map(|note| (note, note.clone()));
        let seen = self.summary.observations.iter().map(|seen| (seen, format!("{seen}.")));
        let notes = cut.chain(error).chain(folder).chain(seen);
        notes.filter(|(why, _)| !told.contains(why.as_str())).map(|(_, note)| note).collect()
    }

    fn anomalies(&self) -> Vec<AnomalyView> {
        let Verdict::Invalid { anomalies } = &self.summary.verdict else { return Vec::new() };
        let told = |anomaly: &Anomaly| AnomalyView {
            name: anomaly.name.clone(),
            key: anomaly.key.clone(),
            meaning: explain::meaning(&anomaly.name),
            reason: anomaly.reason.clone(),
            drawing: anomaly.drawing.clone(),
            ops: self
                .history
                .ops
                .iter()
                .filter(|op| anomaly.ops.contains(&op.index))
                .map(explain::operation)
                .collect(),
        };
        anomalies.iter().take(ANOMALIES_TOLD).map(told).collect()
    }

    fn facts(&self) -> Vec<Fact> {
        let summary = self.summary;
        let counts = &summary.counts;
        let load_s = summary.phases_s.iter().find(|(name, _)| name == "load").map(|(_, s)| *s);
        let mut facts = vec![Fact::new(
            "Operations",
            units::count(counts.invoked),
            format!(
                "{} ok · {} fail · {} info",
                units::count(counts.ok),
                units::count(counts.fail),
                units::count(counts.info)
            ),
        )];
        if let Some(s) = load_s {
            let rate = if s > 0.0 { (counts.invoked as f64 / s).round() as u64 } else { 0 };
            facts.push(Fact::new(
                "Load",
                format!("{s:.1} s"),
                format!("{} operations per second", units::count(rate)),
            ));
        }
        let installed = summary.faults.iter().filter(|fault| fault.installed).count();
        facts.push(Fact::new(
            "Faults in effect",
            format!("{installed} of {}", summary.faults.len()),
            "each with evidence".to_owned(),
        ));
        let totals: Distribution = summary.failovers.iter().filter_map(Failover::total_ns).collect();
        let spread = match (totals.quantile_ns(0.5), totals.max_ns()) {
            (Some(p50), Some(max)) => {
                format!("median {} · longest {}", units::duration(p50), units::duration(max))
            }
            _ => "none timed from end to end".to_owned(),
        };
        facts.push(Fact::new("Failovers", units::count(summary.failovers.len() as u64), spread));
        let shards = availability(self.history, GAP_NS_MIN);
        if let Some(worst) = shards.iter().min_by(|a, b| a.share.total_cmp(&b.share)) {
            facts.push(Fact::new(
                "Availability",
                units::percent(worst.share),
                format!("worst shard: {}", worst.shard),
            ));
        }
        facts.push(liveness_fact(summary));
        facts
    }
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    dark_css: String,
    name: String,
    started_at: String,
    headline: Headline,
    notes: Vec<String>,
    reasons: Vec<String>,
    anomalies: Vec<AnomalyView>,
    more_anomalies: Vec<AnomalyView>,
    untold: usize,
    facts: Vec<Fact>,
    failover_head: Vec<Cell>,
    failovers: Vec<Vec<Cell>>,
    totals_head: Vec<Cell>,
    totals: Vec<Vec<Cell>>,
    figures: Vec<Figure>,
    faults: Vec<FaultRow>,
    strikes: Vec<StrikeRow>,
    logs: Vec<LogLink>,
    checkers: Vec<CheckerRow>,
    spec: Vec<(&'static str, String)>,
    versions: Vec<(String, String)>,
    phases: Vec<(String, String)>,
    capture: Option<&'static str>,
    command: String,
}

struct AnomalyView {
    name: String,
    key: String,
    meaning: Option<&'static str>,
    reason: String,
    drawing: String,
    ops: Vec<String>,
}

struct Fact {
    name: &'static str,
    value: String,
    more: String,
}

impl Fact {
    fn new(name: &'static str, value: String, more: String) -> Self {
        Fact { name, value, more }
    }
}

struct Cell {
    text: String,
    class: &'static str,
}

struct Figure {
    stem: &'static str,
    svg: String,
}

struct FaultRow {
    id: u64,
    kind: String,
    detail: String,
    target: String,
    struck: String,
    start: String,
    stop: String,
    installed: bool,
    evidence: Vec<(String, String)>,
}

struct LogLink {
    href: String,
    text: String,
}

impl LogLink {
    fn new(path: &Path) -> Self {
        let text = path.to_string_lossy().into_owned();
        LogLink { href: percent_encoded(&text), text }
    }
}

struct CheckerRow {
    name: String,
    word: &'static str,
    mood: &'static str,
    why: Vec<String>,
}

impl CheckerRow {
    fn new(name: &str, verdict: &Verdict) -> Self {
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

fn run_name(summary: &RunSummary) -> String {
    let spec = &summary.spec;
    format!("{} on {} ({}), seed {}", spec.workload, spec.target, spec.variant, spec.seed)
}

fn unknown_reasons(summary: &RunSummary) -> Vec<String> {
    let mut reasons = match &summary.verdict {
        Verdict::Unknown { why } => why.clone(),
        _ => Vec::new(),
    };
    if let crate::summary::Liveness::NotLive { why, .. } = &summary.liveness {
        reasons.extend(why.iter().cloned());
    }
    reasons
}

fn liveness_fact(summary: &RunSummary) -> Fact {
    use crate::summary::Liveness::{Live, NotJudged, NotLive};
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

fn class_of(align: Align) -> &'static str {
    match align {
        Align::Left => "",
        Align::Right => "num",
    }
}

fn heads(columns: &[(&str, Align)]) -> Vec<Cell> {
    columns.iter().map(|&(name, align)| Cell { text: name.to_owned(), class: class_of(align) }).collect()
}

fn rows(cells: impl Iterator<Item = Vec<String>>, columns: &[(&str, Align)]) -> Vec<Vec<Cell>> {
    let row = |cells: Vec<String>| {
        cells
            .into_iter()
            .zip(columns)
            .map(|(text, &(_, align))| Cell { text, class: class_of(align) })
            .collect()
    };
    cells.map(row).collect()
}

fn fault_row(fault: &FaultRecord) -> FaultRow {
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
struct StrikeRow {
    fault: u64,
    link: String,
    what: String,
    matched: String,
    applied: String,
    between: String,
    outcome: String,
    class: &'static str,
    meaning: &'static str,
    because: String,
}

impl StrikeRow {
    fn new(tally: &StrikeTally) -> Self {
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
            between: tally.between.join(", "),
            outcome: tally.outcome.clone(),
            class,
            meaning: strikes::meaning(&tally.outcome),
            because: tally.because.clone(),
        }
    }
}

fn spec_rows(summary: &RunSummary) -> Vec<(&'static str, String)> {
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

fn load_words(spec: &crate::spec::RunSpec) -> String {
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
fn percent_encoded(path: &str) -> String {
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
