//! `check` and `report`: judge and draw again what an earlier run left.

use std::io::Read;
use std::path::Path;

use anyhow::{Result, anyhow};
use checker::history::formats::{self, Format, Leniency};
use checker::{Budget, Event};
use results::{Error, RunFolder};

use crate::cli::{CheckArgs, ReportArgs};
use crate::exit::{Exit, UsageError};
use crate::judge::{Judged, Outcome, judge, judge_events};
use crate::{plan, registry, tell};
use results::summary::Liveness;

/// Judges a run folder (and writes its verdict and report anew) or a bare history file.
pub fn check(args: &CheckArgs) -> Result<Exit> {
    let budget = Budget::of_states(args.budget_states);
    if args.path.is_dir() {
        let folder = RunFolder::open(&args.path)?;
        let judged = judge_again(&folder, &budget)?;
        folder.write_summary(&judged.summary)?;
        let report = judged.draw(&folder, &judged.summary)?;
        print!("{}", tell::summary(&judged.summary, &report));
        return Ok(Exit::of(&judged.summary.verdict, &judged.summary.liveness));
    }
    let checkers = registry::checkers(&args.workload, plan::staleness_max(args.staleness_s))?;
    let events = read_file(args)?;
    let (history, verdict) = judge_events(events, &checkers, &budget)
        .map_err(|e| UsageError(format!("{}: {e:#}", args.path.display())))?;
    print!("{}", tell::verdict(&verdict, &history));
    Ok(Exit::of(&verdict, &Liveness::NotJudged))
}

/// Draws a run folder's plots and report from what is recorded.
pub fn redraw(args: &ReportArgs) -> Result<Exit> {
    let folder = RunFolder::open(&args.path)?;
    let judged = judge_again(&folder, &Budget::default())?;
    let summary = folder.read_summary()?.unwrap_or_else(|| judged.summary.clone());
    println!("{}", judged.draw(&folder, &summary)?.display());
    Ok(Exit::Valid)
}

/// What only the run knew is taken from its summary; a run that was killed has none.
fn judge_again(folder: &RunFolder, budget: &Budget) -> Result<Judged> {
    let outcome = match folder.read_summary()? {
        Some(summary) => Outcome {
            liveness: Some(summary.liveness),
            phases_s: summary.phases_s,
            cut_short: summary.cut_short,
            error: summary.error,
        },
        None => Outcome {
            cut_short: Some("the harness did not reach the end of the run".into()),
            ..Outcome::default()
        },
    };
    let judged = judge(folder, outcome, budget)?;
    for note in &judged.record.notes {
        eprintln!("shardstorm: note: {note}");
    }
    Ok(judged)
}

/// A history that is not part of a run folder, in whichever form it is.
fn read_file(args: &CheckArgs) -> Result<Vec<Event>> {
    let usage = |why: String| anyhow!(UsageError(format!("{}: {why}", args.path.display())));
    let format = args.format.as_deref().map(format_of).transpose()?;
    let mut bytes = Vec::new();
    if args.path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes)?;
    } else if args.path.exists() {
        bytes = std::fs::read(&args.path).map_err(|e| usage(e.to_string()))?;
    } else {
        return Err(usage("no such file or folder".into()));
    }
    let leniency = if args.lenient { Leniency::Lenient } else { Leniency::Strict };
    let reading = formats::read(&bytes, format, leniency).map_err(|e| usage(e.to_string()))?;
    for note in &reading.notes {
        eprintln!("shardstorm: note: {note}");
    }
    Ok(reading.events)
}

fn format_of(name: &str) -> Result<Format> {
    match name {
        "lines" => Ok(Format::Lines),
        "edn" => Ok(Format::Edn),
        "jepsen-log" | "etcd-log" => Ok(Format::JepsenLog),
        _ => Err(anyhow!(UsageError(format!("--format {name}: unknown; use lines, edn or etcd-log")))),
    }
}

/// True for errors in what the user gave us, false for our own troubles.
pub fn is_input_error(error: &Error) -> bool {
    matches!(error, Error::NotARunFolder { .. } | Error::NewerFormat { .. } | Error::Malformed { .. })
}
