//! What a shrink leaves: the smallest schedule as a file of faults, and every candidate with its counts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use results::layout;
use results::spec::RunSpec;
use results::writer::{write_json, write_whole};
use serde::Serialize;

use super::candidate::Candidate;
use super::runner::Failure;
use super::seconds;
use super::tries::Tally;
use crate::plan;
use crate::rate::{wilson, wilson_words};

/// What the files say beside the candidates.
pub struct Story<'a> {
    /// The run that failed.
    pub original: &'a Path,
    /// Its spec.
    pub spec: &'a RunSpec,
    /// How it failed.
    pub failure: &'a Failure,
    /// Share of its runs in which the smallest must fail.
    pub at_least: f64,
    /// Where all this is written.
    pub folder: &'a Path,
    /// Time it took.
    pub elapsed: Duration,
    /// Runs it took.
    pub runs: u32,
}

/// `shrink.json`.
#[derive(Serialize)]
struct Record<'a> {
    shrinks: &'a Path,
    failure: String,
    at_least: f64,
    runs: u32,
    seconds: f64,
    candidates: Vec<Line<'a>>,
    smallest: Option<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    windows: usize,
    concurrency: u32,
    rate: f64,
    time_limit_s: f64,
    #[serde(flatten)]
    tally: &'a Tally,
    /// Where the true share lies with 95 % confidence.
    interval: (f64, f64),
    schedule: &'a nemesis::Schedule,
}

impl<'a> Line<'a> {
    fn of(candidate: &'a Candidate, tally: &'a Tally) -> Line<'a> {
        let Candidate { schedule, concurrency, rate, time_limit_s } = candidate;
        Line {
            windows: schedule.windows.len(),
            concurrency: *concurrency,
            rate: *rate,
            time_limit_s: *time_limit_s,
            tally,
            interval: wilson(tally.failed, tally.runs),
            schedule,
        }
    }
}

impl Story<'_> {
    /// Writes `shrink.json`.
    pub fn write_candidates<'a>(
        &self,
        tried: impl Iterator<Item = (&'a Candidate, &'a Tally)>,
        smallest: Option<(&'a Candidate, &'a Tally)>,
    ) -> Result<()> {
        let record = Record {
            shrinks: self.original,
            failure: self.failure.words(),
            at_least: self.at_least,
            runs: self.runs,
            seconds: self.elapsed.as_secs_f64(),
            candidates: tried.map(|(candidate, tally)| Line::of(candidate, tally)).collect(),
            smallest: smallest.map(|(candidate, tally)| Line::of(candidate, tally)),
        };
        Ok(write_json(&self.folder.join(layout::SHRINK), &record)?)
    }

    /// Writes `smallest.toml`; returns where it is.
    pub fn write_smallest(&self, smallest: &Candidate, tally: &Tally) -> Result<PathBuf> {
        let file = self.folder.join(layout::SMALLEST);
        write_whole(&file, self.scenario(smallest, tally, &file).as_bytes())?;
        Ok(file)
    }

    /// A file of faults that says how to run it and what to expect.
    fn scenario(&self, smallest: &Candidate, tally: &Tally, file: &Path) -> String {
        let lines = [
            format!("The smallest schedule found with which a run fails as {} did.", self.original.display()),
            format!("failure: {}", self.failure.words()),
            format!("rate: {}", self.rate(tally)),
            format!("seen: {}", seen(tally)),
            format!("command: {}", plan::command(&smallest.spec(self.spec), Some(file))),
        ];
        let header: String = lines.iter().map(|line| format!("# {line}\n")).collect();
        format!("{header}\n{}", smallest.schedule.to_toml())
    }

    fn rate(&self, tally: &Tally) -> String {
        let Tally { runs, failed, .. } = tally;
        let interval = wilson_words(*failed, *runs);
        format!(
            "failed in {failed} of {runs} runs (95 % interval: {interval}); asked for: {:.0} %",
            self.at_least * 100.0
        )
    }

    /// What the terminal says.
    pub fn text(&self, before: &Candidate, after: &Candidate, tally: &Tally, file: &Path) -> String {
        format!(
            "\nbefore: {}\nafter:  {}\n{}, {}\n{} runs in {}\nfaults: {}\nrepeat with: {}\n",
            before.words(),
            after.words(),
            self.failure.words(),
            self.rate(tally),
            self.runs,
            seconds(self.elapsed),
            file.display(),
            plan::command(&after.spec(self.spec), Some(file)),
        )
    }
}

fn seen(tally: &Tally) -> String {
    let counts: Vec<String> = tally.seen.iter().map(|(what, n)| format!("{what} in {n}")).collect();
    counts.join(", ")
}
