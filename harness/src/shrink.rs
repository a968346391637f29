//! `shrink`: the smallest schedule, load and length with which a failing run still fails, found by running smaller
//! ones and counting.

mod candidate;
mod ddmin;
mod runner;
mod scenario;
mod steps;
mod tries;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use checker::{History, Verdict};
use results::reader::RunRecord;
use results::spec::RunSpec;
use results::summary::RunSummary;
use results::{RunFolder, layout};

use crate::cli::ShrinkArgs;
use crate::exit::{Exit, UsageError};
use crate::replay;
use crate::signals::Interrupt;
use candidate::Candidate;
use ddmin::Answer;
use runner::{Failure, Processes};
use scenario::Story;
use tries::{Bar, Tally, Tries};

/// Share of the budget that goes into finding candidates; the rest is for counting the smallest.
const SEARCH_SHARE: f64 = 0.75;

fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

/// Shrinks, tells, and leaves a folder with the smallest schedule that still fails.
pub fn shrink(args: &ShrinkArgs) -> Result<Exit> {
    if !(args.at_least > 0.0 && args.at_least <= 1.0) {
        return Err(usage(format!("--at-least {}: give a share above 0, at most 1", args.at_least)));
    }
    let original = Original::open(&args.path, args.anomaly.as_deref())?;
    let began = Instant::now();
    let _ = Interrupt::install();
    let store = std::path::absolute(&args.store).context("failed to find the current folder")?;
    let spec = original.record.run.spec.clone();
    let folder = layout::create_other(&store, &format!("shrink-{}-{}", spec.workload, spec.seed))?;
    for part in [layout::CANDIDATES, layout::RUNS] {
        std::fs::create_dir(folder.join(part)).with_context(|| format!("failed to make {part}"))?;
    }
    eprintln!("shardstorm: shrink {}, looking for {}", folder.display(), original.failure.words());
    let runner = Processes {
        folder: folder.clone(),
        stop_at_first: spec.stop_at_first
            || (original.failure.exit == Exit::Invalid && args.anomaly.is_none()),
        spec,
        failure: original.failure.clone(),
        deadline: began + args.budget.mul_f64(SEARCH_SHARE),
        trouble: Vec::new(),
        runs: 0,
    };
    let mut search = Search {
        tries: Tries::new(runner, Bar { tries: args.tries, at_least: args.at_least }),
        original,
        began,
    };
    let found = search.smallest(args.confirm, began + args.budget);
    search.conclude(args, &folder, found)
}

/// A run that failed.
struct Original {
    path: PathBuf,
    record: RunRecord,
    candidate: Candidate,
    failure: Failure,
    /// When its first contradiction was complete, milliseconds of the run clock.
    shown_ms: Option<u64>,
}

impl Original {
    fn open(path: &Path, anomaly: Option<&str>) -> Result<Original> {
        let folder = RunFolder::open(path)?;
        let record = folder.read()?;
        let name = path.display();
        let Some(summary) = record.summary.clone() else {
            return Err(usage(format!(
                "{name}: it has no verdict; judge it with `shardstorm check {name}` first"
            )));
        };
        let exit = Exit::from_code(summary.exit_code);
        if matches!(exit, Exit::Valid | Exit::Unknown) {
            let exit = format!("{exit:?}").to_lowercase();
            return Err(usage(format!("{name}: it ended {exit}; give a run that failed")));
        }
        let mut anomalies = replay::anomaly_names(&summary.verdict);
        if let Some(wanted) = anomaly {
            if !anomalies.iter().any(|name| name == wanted) {
                return Err(usage(format!("--anomaly {wanted}: {name} shows {}", list(&anomalies))));
            }
            anomalies = vec![wanted.to_string()];
        }
        let schedule = replay::schedule(&folder, &record)?;
        let failure = Failure { exit, anomalies };
        Ok(Original {
            path: folder.path().to_owned(),
            candidate: Candidate::of(&record.run.spec, &schedule),
            shown_ms: shown_ms(&record, &summary, &failure),
            failure,
            record,
        })
    }

    fn spec(&self) -> &RunSpec {
        &self.record.run.spec
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "no anomaly with a name".into() } else { names.join(", ") }
}

/// When the earliest of the wanted contradictions had been seen whole; none where nobody can say.
fn shown_ms(record: &RunRecord, summary: &RunSummary, failure: &Failure) -> Option<u64> {
    let Verdict::Invalid { anomalies } = &summary.verdict else { return None };
    let history = History::from_events(record.events.iter().cloned()).ok()?;
    let end_ns = |index: &u64| {
        let op = history.ops.iter().find(|op| op.index == *index)?;
        Some(op.ret_ns.unwrap_or(op.call_ns))
    };
    let wanted = anomalies.iter().filter(|anomaly| failure.anomalies.contains(&anomaly.name));
    let complete = wanted.filter(|anomaly| !anomaly.ops.is_empty()).filter_map(|anomaly| {
        let ends: Option<Vec<u64>> = anomaly.ops.iter().map(end_ns).collect();
        ends?.into_iter().max()
    });
    complete.min().map(|ns| ns / 1_000_000)
}

/// The smallest that was found, by fresh runs.
struct Found {
    candidate: Candidate,
    tally: Tally,
    /// It failed often enough in all the runs that were to be made.
    is_confirmed: bool,
}

struct Search {
    tries: Tries<Processes>,
    original: Original,
    began: Instant,
}

impl Search {
    /// None when the run itself does not fail often enough any more.
    fn smallest(&mut self, confirm: u32, deadline: Instant) -> Option<Found> {
        let start = self.original.candidate.clone();
        self.say(&format!("the run itself: {}", start.words()), &Tally::default());
        let answer = self.tries.fails(&start);
        let tally = self.tries.tally(&start);
        self.say("as it was", &tally);
        match answer {
            Answer::Passes => return None,
            Answer::Over if tally.failed == 0 => return None,
            _ => {}
        }
        let limits = candidate::limits(self.original.spec());
        let (began, mut kept_words) = (self.began, Vec::new());
        let mut tell = |what: &str, kept: &Candidate| {
            eprintln!("  {:4.0} s  {what}: {}", began.elapsed().as_secs_f64(), kept.words());
            kept_words.push(what.to_string());
        };
        let kept = steps::shrink(&mut self.tries, start, self.original.shown_ms, &limits, &mut tell);
        self.tries.runner().deadline = deadline;
        self.confirmed(kept, confirm)
    }

    /// The smallest of these that fails often enough in fresh runs; when time is over, what was seen of it so far.
    fn confirmed(&mut self, kept: Vec<Candidate>, runs: u32) -> Option<Found> {
        for candidate in kept.into_iter().rev() {
            let (answer, tally) = self.tries.confirm(&candidate, runs);
            self.say(&format!("counted: {}", candidate.words()), &tally);
            match answer {
                Answer::Fails => return Some(Found { candidate, tally, is_confirmed: true }),
                Answer::Passes => {}
                Answer::Over => {
                    let tally = if tally.runs == 0 { self.tries.tally(&candidate) } else { tally };
                    return Some(Found { candidate, tally, is_confirmed: false });
                }
            }
        }
        None
    }

    fn say(&self, what: &str, tally: &Tally) {
        let counts = match tally.runs {
            0 => String::new(),
            runs => format!(": failed in {} of {runs}", tally.failed),
        };
        eprintln!("  {:4.0} s  {what}{counts}", self.began.elapsed().as_secs_f64());
    }

    /// Writes what was found, tells the user, and says how it ended.
    fn conclude(mut self, args: &ShrinkArgs, folder: &Path, found: Option<Found>) -> Result<Exit> {
        for trouble in std::mem::take(&mut self.tries.runner().trouble) {
            eprintln!("shardstorm: {trouble}");
        }
        let runs = self.tries.runner().runs;
        let story = Story {
            original: &self.original.path,
            spec: self.original.spec(),
            failure: &self.original.failure,
            at_least: args.at_least,
            folder,
            elapsed: self.began.elapsed(),
            runs,
        };
        story.write_candidates(
            self.tries.tried(),
            found.as_ref().map(|found| (&found.candidate, &found.tally)),
        )?;
        let Some(found) = found else {
            let Tally { runs, failed, .. } = self.tries.tally(&self.original.candidate);
            println!(
                "the failure does not come back often enough to be shrunk: the run itself failed in {failed} of {runs} \
                 (wanted: {:.0} %); raise --tries or lower --at-least",
                args.at_least * 100.0
            );
            return Ok(Exit::Invalid);
        };
        let file = story.write_smallest(&found.candidate, &found.tally)?;
        print!("{}", story.text(&self.original.candidate, &found.candidate, &found.tally, &file));
        if Interrupt.asked() {
            println!("interrupted: this is the smallest so far");
        } else if !found.is_confirmed {
            println!("time is over: this is the smallest so far, counted in fewer runs than asked for");
        }
        let often_enough =
            f64::from(found.tally.failed) >= args.at_least * f64::from(found.tally.runs) - 1e-9;
        Ok(if often_enough && found.tally.failed > 0 { Exit::Valid } else { Exit::Invalid })
    }
}

/// Seconds, for people.
fn seconds(time: Duration) -> String {
    format!("{:.0} s", time.as_secs_f64())
}
