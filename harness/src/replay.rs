//! `replay`: the faults of an earlier run, issued again at the same points, and how faithfully that was done.

mod fidelity;
mod repeats;

use std::path::PathBuf;

use anyhow::{Context, Result};
use checker::{FaultRecord, History, Verdict};
use nemesis::Schedule;
use nemesis::byzantine::Strike;
use results::RunFolder;
use results::reader::RunRecord;
use results::strikes::StrikeLine;
use results::summary::RunSummary;

use crate::cli::ReplayArgs;
use crate::exit::{Exit, UsageError};
use crate::plan::Plan;
use crate::{registry, run};
use fidelity::{Fidelity, Strikes, Wanted};
pub use repeats::Repeats;

/// Whom a replay strikes.
const TARGETS: &[registry::Entry] = &[
    ("roles", "whoever holds the role that the schedule names"),
    ("nodes", "the nodes that were struck then"),
];

/// Where it is taken from what is done to messages.
const MESSAGES: &[registry::Entry] = &[
    ("drawn", "chosen anew from the same seed, by the same counts"),
    ("log", "what was done then, wherever the same message comes again on the same connection"),
];

/// The strikes of a run folder, as the nemesis takes them.
fn logged(before: &Earlier) -> Result<Vec<Strike>> {
    let read = |line: &StrikeLine| serde_json::from_value(line.strike.clone());
    let strikes: Vec<Strike> =
        before.record.strikes.iter().map(read).collect::<Result<_, _>>().map_err(|why| {
            UsageError(format!("{}/strikes.jsonl: {why}; was it changed by hand?", before.path.display()))
        })?;
    match strikes.is_empty() {
        true => Err(UsageError(format!(
            "{}: no message was altered in it; leave --messages out",
            before.path.display()
        ))
        .into()),
        false => Ok(strikes),
    }
}

/// Runs what a run folder describes again, compares, and writes `replay.json` into the new folder.
pub fn replay(args: &ReplayArgs) -> Result<Exit> {
    registry::one_of("--targets", &args.targets, TARGETS)?;
    let before = Earlier::open(&args.path)?;
    registry::one_of("--messages", &args.messages, MESSAGES)?;
    let wanted = Wanted { tolerance_ms: args.tolerance_ms, by_node: args.targets == "nodes" };
    let schedule = match wanted.by_node {
        true => fidelity::on_the_nodes_of(&before.schedule, &before.faults),
        false => before.schedule.clone(),
    };
    let spec = before.record.run.spec.clone();
    let mut plan = Plan::again(spec, schedule, before.path.display().to_string())?;
    if args.messages == "log" {
        plan.repeats = Some(Repeats::new(logged(&before)?, &before.record));
    }
    let done = run::carry_out(&plan, &args.store, args.budget_memory, args.budget_time)?;

    let now = Earlier::read(done.folder.clone())?;
    let fidelity = fidelity::compare(&before.schedule, &before.faults, &now.faults, wanted);
    let comparison = Comparison {
        replays: before.path.clone(),
        targets: args.targets.clone(),
        at_least: args.at_least,
        then: ending(before.record.summary.as_ref()),
        now: ending(now.record.summary.as_ref()),
        strikes: fidelity::altered_again(&before.record.strikes, &now.record.strikes),
        fidelity,
    };
    done.folder.write_replay(&comparison)?;
    print!("{}", comparison.text());
    Ok(match done.exit {
        Exit::Valid if !comparison.is_faithful() => Exit::Unknown,
        exit => exit,
    })
}

/// A run folder with what was planned and what was struck.
struct Earlier {
    path: PathBuf,
    record: RunRecord,
    schedule: Schedule,
    faults: Vec<FaultRecord>,
}

impl Earlier {
    fn open(path: &std::path::Path) -> Result<Earlier> {
        let folder = RunFolder::open(path)?;
        if !folder.schedule().is_file() {
            return Err(UsageError(format!(
                "{}: it has no schedule.json, so there is nothing to issue again; give the folder of a run",
                path.display()
            ))
            .into());
        }
        Earlier::read(folder)
    }

    fn read(folder: RunFolder) -> Result<Earlier> {
        let record = folder.read()?;
        let schedule = schedule(&folder, &record)?;
        let events = record.events.iter().cloned();
        let history = History::from_events(events).context("failed to pair calls with returns")?;
        let ours = |fault: &FaultRecord| fault.id < schedule.windows.len() as u64;
        let faults = history.faults.into_iter().filter(ours).collect();
        Ok(Earlier { path: folder.path().to_owned(), record, schedule, faults })
    }
}

/// The schedule in a run folder, as plain data.
pub fn schedule(folder: &RunFolder, record: &RunRecord) -> Result<Schedule> {
    let value = record.schedule.clone().unwrap_or_default();
    serde_json::from_value(value).map_err(|why| {
        UsageError(format!("{}: {why}; was it changed by hand?", folder.schedule().display())).into()
    })
}

/// How a run ended, for a comparison.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
struct Ending {
    exit_code: Option<i32>,
    /// Names of the contradictions, each once, in order of appearance.
    anomalies: Vec<String>,
}

fn ending(summary: Option<&RunSummary>) -> Ending {
    let anomalies = summary.map(|summary| anomaly_names(&summary.verdict)).unwrap_or_default();
    Ending { exit_code: summary.map(|summary| summary.exit_code), anomalies }
}

/// Names of the contradictions in a verdict, each once, in order of appearance.
pub fn anomaly_names(verdict: &Verdict) -> Vec<String> {
    let mut names = Vec::new();
    if let Verdict::Invalid { anomalies } = verdict {
        for anomaly in anomalies {
            if !names.contains(&anomaly.name) {
                names.push(anomaly.name.clone());
            }
        }
    }
    names
}

impl Ending {
    fn words(&self) -> String {
        let Some(code) = self.exit_code else { return "ended without a verdict".into() };
        let how = match Exit::from_code(code) {
            Exit::Valid => "valid",
            Exit::Invalid => "invalid",
            Exit::Unknown => "unknown",
            Exit::NotLive => "not live again in time",
            Exit::Usage | Exit::Harness => "failed by the harness",
        };
        match self.anomalies.as_slice() {
            [] => how.into(),
            names => format!("{how} ({})", names.join(", ")),
        }
    }
}

/// All that `replay.json` says.
#[derive(Debug, serde::Serialize)]
struct Comparison {
    replays: PathBuf,
    targets: String,
    at_least: f64,
    then: Ending,
    now: Ending,
    strikes: Strikes,
    #[serde(flatten)]
    fidelity: Fidelity,
}

impl Comparison {
    fn is_faithful(&self) -> bool {
        self.fidelity.share >= self.at_least && self.strikes.share() >= self.at_least
    }

    fn text(&self) -> String {
        let Fidelity { share, compared, faithful, same_nodes, windows, .. } = &self.fidelity;
        let mut text = format!(
            "\nreplay of {}\nfidelity {share:.2}: {faithful} of {compared} windows as they were then \
             ({same_nodes} on the same nodes)\n",
            self.replays.display()
        );
        for window in windows {
            for miss in &window.misses {
                text += &format!("  window {} ({}): {miss}\n", window.window, window.what);
            }
        }
        let Strikes { then, now, same } = self.strikes;
        if then + now > 0 {
            text += &format!(
                "messages altered: {then} then, {now} now; {same} of those then were altered again\n"
            );
        }
        text += &format!("then: {}\nnow:  {}\n", self.then.words(), self.now.words());
        text += match (self.is_faithful(), self.then.exit_code == self.now.exit_code) {
            (false, _) => "not reproduced faithfully: how it ended says little about the earlier run\n",
            (true, true) => "reproduced faithfully, and it ended as it did then\n",
            (true, false) => "reproduced faithfully, but it ended otherwise\n",
        };
        text
    }
}
