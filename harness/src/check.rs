//! `check` and `report`: judge and draw again what an earlier run left, or what another tool recorded.

mod amounts;
mod answer;
mod input;
mod models;
mod stream;
mod targets;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use checker::history::formats::{Format, Leniency, Note};
use checker::txn::ConsistencyModel;
use checker::{Budget, History, Stop};
use results::{Error, RunFolder};
use serde_json::Value;

pub use amounts::{Alarm, bytes, duration};
pub use input::events;
pub use models::describe;

use crate::cli::{CheckArgs, ReportArgs};
use crate::exit::{Exit, UsageError};
use crate::judge::{Judged, Outcome, counts, judge};
use crate::{exit_of, plan, tell};
use answer::{Answer, Source, Spent};
use models::{Model, Options};
use targets::Target;

/// Judges run folders (and writes their verdicts and reports anew) and history files; the worst counts.
pub fn check(args: &CheckArgs) -> Result<Exit> {
    let wishes = Wishes::of(args)?;
    let mut worst = Exit::Valid;
    for target in targets::of(&args.paths)? {
        let (answer, text) = match wishes.judge(&target) {
            Ok(judged) => judged,
            Err(error) => {
                let why = format!("{error:#}");
                eprintln!("shardstorm: {why}");
                (Answer::failed(target.path().display().to_string(), why, exit_of(&error)), String::new())
            }
        };
        if args.json {
            say(&(serde_json::to_string(&answer)? + "\n"))?;
        } else {
            eprint!("{}", answer.notes_text());
            say(&text)?;
        }
        worst = worst.worse(answer.exit());
    }
    Ok(worst)
}

/// Writes to standard output; a reader that has seen enough is no error.
fn say(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("failed to write the verdict")
        }
        _ => Ok(()),
    }
}

/// How everything on the command line is to be judged.
struct Wishes {
    format: Option<Format>,
    leniency: Leniency,
    model: Option<&'static Model>,
    options: Options,
    independent: bool,
    budget: Budget,
    time_max: Option<Duration>,
    explain: bool,
    stream: bool,
    lag: Duration,
}

impl Wishes {
    fn of(args: &CheckArgs) -> Result<Self> {
        let consistency: Option<ConsistencyModel> = match &args.consistency {
            Some(name) => Some(name.parse().map_err(|error| UsageError(format!("--consistency: {error}")))?),
            None => None,
        };
        let options = Options {
            initial: args.initial.as_deref().map(value),
            staleness_max: plan::staleness_max(args.staleness_s),
            consistency: consistency.unwrap_or_default(),
        };
        let budget = Budget {
            states_max: args.budget_states.unwrap_or(u64::MAX),
            bytes_max: args.budget_memory,
            stop: Stop::default(),
        };
        Ok(Wishes {
            format: args.format.as_deref().map(format_of).transpose()?,
            leniency: if args.lenient { Leniency::Lenient } else { Leniency::Strict },
            model: args.model.as_deref().map(models::named).transpose()?,
            options,
            independent: args.independent,
            budget,
            time_max: args.budget_time,
            explain: args.explain,
            stream: args.stream,
            lag: args.lag,
        })
    }

    fn judge(&self, target: &Target) -> Result<(Answer, String)> {
        match target {
            Target::Run(path) => self.judge_run(path),
            Target::File(path) if self.stream => stream::judge(path, self),
            Target::File(path) => self.judge_file(path),
        }
    }

    /// The budget for one file; its time begins now.
    fn budget(&self) -> Result<(Budget, Alarm)> {
        let budget = Budget { stop: Stop::default(), ..self.budget.clone() };
        let alarm = Alarm::set(self.time_max, budget.stop.clone()).context("failed to start a thread")?;
        Ok((budget, alarm))
    }

    fn spent(&self, read_s: f64, begun: Instant, budget: &Budget) -> Spent {
        Spent {
            read_s,
            judge_s: begun.elapsed().as_secs_f64(),
            judge_s_max: self.time_max.map(|time| time.as_secs_f64()),
            bytes_max: budget.bytes_max,
            out_of_time: budget.stop.is_raised(),
        }
    }

    fn judge_run(&self, path: &Path) -> Result<(Answer, String)> {
        if self.stream {
            let file = path.join(results::layout::HISTORY);
            return Err(UsageError(format!("--stream judges files: give {}", file.display())).into());
        }
        let (budget, _alarm) = self.budget()?;
        let begun = Instant::now();
        let folder = RunFolder::open(path)?;
        let judged = judge_again(&folder, &budget)?;
        folder.write_summary(&judged.summary)?;
        let report = judged.draw(&folder, &judged.summary)?;
        let answer =
            Answer::of_run(path.display().to_string(), &judged.summary, self.spent(0.0, begun, &budget));
        let text = tell::summary(&judged.summary, &report);
        let explained = if self.explain { answer.text(&judged.history, true) } else { String::new() };
        Ok((answer, text + &explained))
    }

    fn judge_file(&self, path: &Path) -> Result<(Answer, String)> {
        let begun = Instant::now();
        let (mut history, mut reading) = input::read(path, self.format, self.leniency)?;
        let independent = self.split(&mut history, path)?;
        let history = &mut history;
        let model = match self.model {
            Some(model) => model,
            None => {
                models::fitting(history).map_err(|why| UsageError(format!("{}: {why}", path.display())))?
            }
        };
        let operations = counts(history);
        if operations.invoked == 0 {
            reading.notes.push(Note { line: 1, what: "there are no operations in it".to_string() });
        }
        let checkers = model.prepare(history, &self.options, reading.events)?;
        let read_s = begun.elapsed().as_secs_f64();
        let (budget, _alarm) = self.budget()?;
        let begun = Instant::now();
        let keys = answer::answers(history, &checkers, &budget, self.explain);
        let source = Source {
            format: reading.format.name(),
            compression: reading.compression.name(),
            model: model.name,
            model_detected: self.model.is_none(),
            independent,
        };
        let spent = self.spent(read_s, begun, &budget);
        let name = path.display().to_string();
        let answer = Answer::of_history(name, source, operations, keys, spent, reading.notes);
        let text = answer.text(history, self.explain);
        Ok((answer, text))
    }

    /// Splits values into keys and values, where they are that or are said to be.
    fn split(&self, history: &mut History, path: &Path) -> Result<bool> {
        if !self.independent && !history.looks_independent() {
            return Ok(false);
        }
        let refused = |index| {
            UsageError(format!(
                "{}: --independent: the value of operation {index} is no pair [key value]",
                path.display()
            ))
        };
        history.split_independent().map_err(refused)?;
        Ok(true)
    }
}

/// A value on the command line: JSON, or else text.
fn value(text: &str) -> Value {
    match text {
        "nil" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    }
}

fn format_of(name: &str) -> Result<Format> {
    let names = || Format::ALL.map(Format::name).join(", ");
    Format::named(name)
        .ok_or_else(|| anyhow!(UsageError(format!("--format {name}: unknown; use one of {}", names()))))
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

/// True for errors in what the user gave us, false for our own troubles.
pub fn is_input_error(error: &Error) -> bool {
    matches!(
        error,
        Error::NotARunFolder { .. }
            | Error::NotACampaign { .. }
            | Error::NewerFormat { .. }
            | Error::Malformed { .. }
            | Error::Unfit { .. }
    )
}
