//! What is run: a schedule, a load, a length. Each is made smaller on its own. Pure.

use nemesis::{Limits, Schedule, Window};
use results::spec::RunSpec;
use serde::Serialize;

/// Load after the last window has healed, milliseconds: what was lost must be looked for, and is not at once.
const TAIL_MS: u64 = 2_000;
/// Fewer clients than this hardly meet.
const FEWEST_CLIENTS: u32 = 2;
/// Fewer operations per second than this are no load.
const LOWEST_RATE: f64 = 25.0;
/// A shorter load than this is none, seconds.
const SHORTEST_S: f64 = 1.0;

/// A run that may fail as the original did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// What goes wrong.
    pub schedule: Schedule,
    /// Client processes.
    pub concurrency: u32,
    /// Operations per second.
    pub rate: f64,
    /// Seconds of load.
    pub time_limit_s: f64,
}

impl Candidate {
    /// The run itself.
    pub fn of(spec: &RunSpec, schedule: &Schedule) -> Candidate {
        Candidate {
            schedule: schedule.clone(),
            concurrency: spec.concurrency,
            rate: spec.rate,
            time_limit_s: spec.time_limit_s,
        }
    }

    /// The spec of a run of it.
    pub fn spec(&self, original: &RunSpec) -> RunSpec {
        RunSpec {
            concurrency: self.concurrency,
            rate: self.rate,
            time_limit_s: self.time_limit_s,
            ..original.clone()
        }
    }

    /// The same with other windows, and only as long as they need; never longer than before.
    pub fn with(&self, schedule: Schedule) -> Candidate {
        let needed_s = (schedule.end_ms() + TAIL_MS) as f64 / 1_000.0;
        let time_limit_s =
            if schedule.windows.is_empty() { self.time_limit_s } else { needed_s.min(self.time_limit_s) };
        Candidate { schedule, time_limit_s, ..self.clone() }
    }

    /// With only the windows that began within so many milliseconds.
    pub fn until(&self, ms: u64) -> Candidate {
        let early =
            self.schedule.windows.iter().filter(|window| window.start_ms < ms).map(|window| window.id);
        self.with(self.schedule.keep(&early.collect()))
    }

    /// With one window in place of the one at `position`.
    pub fn replacing(&self, position: usize, window: Window) -> Candidate {
        let mut schedule = self.schedule.clone();
        schedule.windows[position] = window;
        self.with(schedule)
    }

    /// Smaller loads to try, the biggest step first; each on its own.
    pub fn lighter(&self) -> Vec<Candidate> {
        let mut lighter = Vec::new();
        if self.concurrency / 2 >= FEWEST_CLIENTS {
            lighter.push(Candidate { concurrency: self.concurrency / 2, ..self.clone() });
        }
        if self.rate / 2.0 >= LOWEST_RATE {
            lighter.push(Candidate { rate: (self.rate / 2.0).round(), ..self.clone() });
        }
        lighter
    }

    /// Half of the load after the last window cut off, if that is worth it.
    pub fn briefer(&self) -> Option<Candidate> {
        let end_s = self.schedule.end_ms() as f64 / 1_000.0;
        let tail_s = ((self.time_limit_s - end_s) / 2.0 * 10.0).round() / 10.0;
        let time_limit_s = ((end_s + tail_s.max(0.1)) * 1_000.0).round() / 1_000.0;
        let briefer = Candidate { time_limit_s, ..self.clone() };
        let is_worth_it =
            briefer.time_limit_s + 0.2 <= self.time_limit_s && briefer.time_limit_s >= SHORTEST_S;
        is_worth_it.then_some(briefer)
    }

    /// In a few words.
    pub fn words(&self) -> String {
        let windows = match self.schedule.windows.len() {
            1 => "1 window".to_string(),
            n => format!("{n} windows"),
        };
        let rate = if self.rate > 0.0 { format!("{}/s", self.rate) } else { "unlimited rate".into() };
        format!("{windows}, {:.1} s, {} clients, {rate}", self.time_limit_s, self.concurrency)
    }

    /// Equal for equal candidates only.
    pub fn key(&self) -> String {
        serde_json::to_string(self).expect("a candidate is plain data")
    }
}

/// What a window must stay within for this spec, whatever the length of the run.
pub fn limits(spec: &RunSpec) -> Limits {
    Limits { time_limit_ms: u64::MAX / 2, ..crate::plan::limits(spec) }
}
