//! `report.html`: one page that opens offline and explains a run, the verdict first and the command that
//! repeats it last.

mod rows;
pub(crate) mod style;

use std::path::PathBuf;

use askama::Template;
use checker::{Anomaly, History, Op, Verdict};

use crate::availability::{GAP_NS_MIN, availability};
use crate::error::{Error, Result};
use crate::explain::{self, Headline};
use crate::failover::{Distribution, Phase};
use crate::layout::{self, RunFolder};
use crate::messages::{self, MessageLine};
use crate::plot::{Data, Plot, phase_key};
use crate::space_time;
use crate::summary::{Failover, NodeEvent, RunSummary};
use crate::table;
use crate::timeline::{self, Proof};
use crate::units;
use crate::writer::write_whole;

use self::rows::{
    AnomalyView, Cell, CheckerRow, Fact, FaultRow, Figure, LogLink, StrikeRow, fault_row, heads,
    liveness_fact, rows, run_name, spec_rows, unknown_reasons,
};

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
    /// Messages between nodes around anomalies and failovers.
    pub messages: &'a [MessageLine],
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
        let mut anomalies = self.anomalies()?;
        let more_anomalies = anomalies.split_off(ANOMALIES_OPEN.min(anomalies.len()));
        let svgs: Result<Vec<Figure>> = Plot::ALL.into_iter().map(|plot| self.figure(plot)).collect();
        Ok(Page {
            style: style::css(),
            script: style::SCRIPT,
            policy: style::policy(),
            operations: self.operations()?,
            phase_key: Phase::ALL.map(phase_key).map(|(tone, word)| (style::name(tone), word)).to_vec(),
            first: anomalies.first().map(|anomaly| anomaly.in_short.clone()),
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
            failover_scenes: self.failover_scenes()?,
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

    /// Every operation, packed for the timeline; none where there are none.
    fn operations(&self) -> Result<Option<String>> {
        if self.history.ops.is_empty() {
            return Ok(None);
        }
        let proof = |anomaly: &Anomaly| Proof {
            name: anomaly.name.clone(),
            key: anomaly.key.clone(),
            ops: anomaly.ops.clone(),
        };
        let proofs = self.told().iter().map(proof).collect();
        let packed = timeline::pack(&self.data(), self.summary.spec.concurrency.into(), proofs);
        packed.map(Some).map_err(|why| Error::Draw { plot: "timeline", why: why.to_string() })
    }

    /// The anomalies that the page tells.
    fn told(&self) -> &[Anomaly] {
        match &self.summary.verdict {
            Verdict::Invalid { anomalies } => &anomalies[..anomalies.len().min(ANOMALIES_TOLD)],
            _ => &[],
        }
    }

    fn figure(&self, plot: Plot) -> Result<Figure> {
        let svg = sized_by_the_page(&plot.svg(&self.data())?, plot.stem());
        Ok(Figure { stem: plot.stem(), svg })
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

    fn anomalies(&self) -> Result<Vec<AnomalyView>> {
        let view = |(number, anomaly): (usize, &Anomaly)| {
            let proves = |op: &&Op| anomaly.ops.contains(&op.index);
            let ops: Vec<&Op> = self.history.ops.iter().filter(proves).collect();
            let title = format!("Messages around {}", explain::named(anomaly));
            let scene = self.scene(&title, &messages::of_anomaly(anomaly), &ops)?;
            let scene = scene.ok_or_else(|| self.why_unheard());
            Ok(AnomalyView::new(number, anomaly, &ops, scene))
        };
        self.told().iter().enumerate().map(view).collect()
    }

    /// What nodes said to each other in a scene, drawn; none where nobody listened.
    fn scene(&self, title: &str, scene: &str, ops: &[&Op]) -> Result<Option<String>> {
        let of_it = messages::of_scene(self.messages, scene);
        if of_it.is_empty() {
            return Ok(None);
        }
        let svg = space_time::draw(title, &of_it, ops).to_svg();
        let svg = svg.map_err(|why| Error::Draw { plot: "space-time", why })?;
        Ok(Some(sized_by_the_page(&svg, title)))
    }

    /// Why there are no messages of a moment.
    fn why_unheard(&self) -> &'static str {
        let spec = &self.summary.spec;
        match (spec.target.as_str(), spec.tls) {
            ("fake", _) => "The in-memory cluster has no network: there are no messages between its nodes.",
            (_, true) => {
                "Connections in this run are encrypted: what the nodes said to each other cannot be read."
            }
            _ => {
                "No messages between the nodes are kept of this moment: only the first part of a run is listened to,                  unless it is asked for with --capture."
            }
        }
    }

    /// Each failover whose messages are known.
    fn failover_scenes(&self) -> Result<Vec<(String, String)>> {
        let mut scenes = Vec::new();
        for failover in &self.summary.failovers {
            let name = messages::of_failover(failover);
            let title = format!("Messages of the {name}");
            scenes.extend(self.scene(&title, &name, &[])?.map(|svg| (title, svg)));
        }
        Ok(scenes)
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

/// A picture that keeps its own measures in its view box alone.
fn sized_by_the_page(svg: &str, name: &str) -> String {
    let body = svg.split_once("viewBox").map_or(svg, |(_, rest)| rest);
    let name = name.replace(['"', '<', '&'], " ");
    format!("<svg role=\"img\" aria-label=\"{name}\" viewBox{body}")
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    style: String,
    script: &'static str,
    policy: String,
    operations: Option<String>,
    first: Option<String>,
    phase_key: Vec<(String, &'static str)>,
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
    failover_scenes: Vec<(String, String)>,
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
