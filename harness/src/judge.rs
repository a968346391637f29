//! From a run folder to a summary: used at the end of a run, and by `check` on any old folder.

use std::path::PathBuf;

use anyhow::{Context, Result};
use checker::{Budget, Checker, Coverage, History, OpEnd, Verdict};
use nemesis::Schedule;
use results::RunFolder;
use results::plot;
use results::reader::RunRecord;
use results::report::Report;
use results::spec::RunSpec;
use results::summary::{Counts, Liveness, RunSummary};
use workloads::Workload;

use crate::exit::Exit;
use crate::plan;
use crate::registry::{self, ForWorkload};
use crate::score;

/// What a judged run consists of.
pub struct Judged {
    /// The verdict and all that goes with it.
    pub summary: RunSummary,
    /// What it was judged on.
    pub history: History,
    /// The same, read back.
    pub record: RunRecord,
}

/// What only the run itself can know; a folder whose run was killed has none of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Was every shard live again in time?
    pub liveness: Option<Liveness>,
    /// Seconds spent per phase.
    pub phases_s: Vec<(String, f64)>,
    /// Why it ended early, if it did.
    pub cut_short: Option<String>,
    /// The harness's own failure, if it failed.
    pub error: Option<String>,
}

/// Judges what lies in `folder`. Nothing is written.
pub fn judge(folder: &RunFolder, outcome: Outcome, budget: &Budget) -> Result<Judged> {
    let record = folder.read()?;
    let history =
        History::from_events(record.events.iter().cloned()).context("failed to pair calls with returns")?;
    let spec = record.run.spec.clone();
    let schedule: Schedule = match &record.schedule {
        Some(value) => serde_json::from_value(value.clone()).context("failed to read schedule.json")?,
        None => Schedule::default(),
    };
    let looks = Looks { history: &history, budget, coverage: coverage(&spec, &schedule) };
    let Seen { verdicts, observations } =
        registry::dispatch(&spec.workload, plan::workload_options(&spec), looks)?;
    let mut verdict = verdicts.iter().fold(Verdict::Valid, |all, (_, one)| all.merge(one.clone()));
    if let Some(why) = outcome.cut_short.iter().chain(&outcome.error).next() {
        // What was seen may still convict, but a run that did not end as planned acquits nobody.
        verdict = verdict.merge(Verdict::unknown(format!("the run was cut short: {why}")));
    }
    let liveness = outcome.liveness.unwrap_or(Liveness::NotJudged);
    let exit = match (&outcome.error, Exit::of(&verdict, &liveness)) {
        (Some(_), exit) if exit != Exit::Invalid => Exit::Harness,
        (_, exit) => exit,
    };
    let mut failovers = results::failover::failovers(&record.node_events, &history, &history.faults);
    results::failover::attribute(&mut failovers, &history, &verdict);
    let strikes = score::tallies(&schedule, &history, &record.strikes, &verdict, &liveness);
    let summary = RunSummary {
        format_version: results::layout::FORMAT_VERSION,
        started_at: record.run.started_at.clone(),
        versions: record.run.versions.clone().into_iter().collect(),
        verdict,
        checkers: verdicts,
        liveness,
        observations,
        counts: counts(&history),
        faults: history.faults.clone(),
        strikes,
        failovers,
        outages: results::availability::outages(&history),
        phases_s: outcome.phases_s,
        cut_short: outcome.cut_short,
        error: outcome.error,
        command: record.run.command.clone(),
        exit_code: exit.code(),
        spec,
    };
    Ok(Judged { summary, history, record })
}

/// The eyes of a workload on a history.
struct Looks<'a> {
    history: &'a History,
    budget: &'a Budget,
    coverage: Coverage,
}

/// What they saw.
struct Seen {
    verdicts: Vec<(String, Verdict)>,
    observations: Vec<String>,
}

impl ForWorkload for Looks<'_> {
    type Output = Seen;

    fn with<W: Workload>(self, workload: W) -> Result<Seen> {
        let mut checkers = workload.checkers();
        let mut coverage = self.coverage;
        if !workload.covers_shards() {
            coverage.shards.clear();
        }
        checkers.push(Box::new(coverage));
        let verdict = |checker: Box<dyn Checker>| {
            (checker.name().to_string(), checker.check(self.history, self.budget))
        };
        let verdicts = checkers.into_iter().map(verdict).collect();
        Ok(Seen { verdicts, observations: workload.observations(self.history) })
    }
}

/// What must have happened for the run to count as a test.
fn coverage(spec: &RunSpec, schedule: &Schedule) -> Coverage {
    Coverage {
        shards: (0..crate::reshard::shards_raised(spec)).collect(),
        exempt: vec!["open".into()],
        ..Coverage::of_faults(schedule.windows.len() + crate::reshard::turns(spec).len())
    }
}

/// Operations by how they ended.
pub fn counts(history: &History) -> Counts {
    let ended = |end| history.ops.iter().filter(|op| op.end == end).count() as u64;
    Counts {
        invoked: history.ops.len() as u64,
        ok: ended(OpEnd::Ok),
        fail: ended(OpEnd::Fail),
        info: ended(OpEnd::Info),
    }
}

impl Judged {
    /// Writes report and plots into the folder; returns where the report is.
    pub fn draw(&self, folder: &RunFolder, summary: &RunSummary) -> Result<PathBuf> {
        let logs = folder.logs();
        let (history, node_events, notes) = (&self.history, &self.record.node_events, &self.record.notes);
        let messages = &self.record.messages;
        let report = Report { summary, history, node_events, messages, notes, logs: &logs };
        plot::write_all(folder, &report.data())?;
        Ok(report.write(folder)?)
    }
}
