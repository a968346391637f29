//! What a campaign shows while it goes on: bars on a terminal, lines anywhere else.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use results::campaign::line::told;
use results::campaign::{CampaignPlan, Outcome, RunLine};
use results::units;

use super::child::Running;
use super::estimate::Estimates;
use super::resume::Book;
use super::room::Room;

/// Between two looks at what runs say, on a terminal and elsewhere.
const TERMINAL_TICK: Duration = Duration::from_millis(300);
const LOG_TICK: Duration = Duration::from_secs(30);
/// Width of the bar of a run, characters.
const BAR: usize = 16;

/// A bar for the whole, a line for each run under way; what has ended scrolls by above.
pub struct Progress {
    bars: Option<Bars>,
    last: Instant,
    total: usize,
}

struct Bars {
    all: MultiProgress,
    whole: ProgressBar,
    runs: Vec<ProgressBar>,
}

impl Progress {
    /// Begins with what has been done before.
    pub fn start(plan: &CampaignPlan, book: &Book<'_>) -> Progress {
        let total = plan.own().count();
        let bars = std::io::stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            let whole = all.add(ProgressBar::new(total as u64));
            let style = ProgressStyle::with_template("{prefix} [{bar:32}] {pos}/{len}  {msg}")
                .expect("a fixed template");
            whole.set_style(style.progress_chars("=> "));
            whole.set_prefix(plan.name.clone());
            whole.set_position(book.done() as u64);
            Bars { all, whole, runs: Vec::new() }
        });
        let last = Instant::now();
        Progress { bars, last, total }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        match &self.bars {
            Some(bars) => {
                let _ = bars.all.println(line); // a closed terminal is no reason to end
            }
            None => eprintln!("{line}"),
        }
    }

    /// A run has ended.
    pub fn ended(&self, plan: &CampaignPlan, line: &RunLine) {
        let name = plan.cells.get(line.index as usize).map(ToString::to_string).unwrap_or_default();
        let again = if line.attempt > 1 { format!(", run {}", line.attempt) } else { String::new() };
        let what = told(line.verdict, &line.anomalies);
        let mark = match line.outcome {
            Outcome::AsExpected => "ok    ",
            Outcome::Missed => "missed",
            Outcome::Unexpected => "NOT OK",
        };
        let mut text = format!("{mark}  {name}{again}: {what} ({})", units::seconds(line.wall_s));
        if line.outcome == Outcome::Unexpected {
            if !line.reason.is_empty() {
                text += &format!("\n        {}", line.reason);
            }
            if let Some(folder) = &line.folder {
                text += &format!("\n        in {folder}");
            }
        }
        self.say(&text);
    }

    /// Shows where it stands, if it is time to. Cheap enough to call often.
    pub fn tick(&mut self, book: &Book<'_>, running: &[Running], estimates: &Estimates, room: &Room) {
        let pause = if self.bars.is_some() { TERMINAL_TICK } else { LOG_TICK };
        if self.last.elapsed() < pause {
            return;
        }
        self.last = Instant::now();
        let left = left_s(book, running, estimates, room);
        let state = |run: &Running| {
            run.progress().unwrap_or_else(|| {
                let raises = run.began.elapsed().as_secs_f64() < run.cell.duration_s;
                (0.0, if raises { "begins".into() } else { "ends".into() })
            })
        };
        match &mut self.bars {
            Some(bars) => {
                bars.whole.set_position(book.done() as u64);
                bars.whole.set_message(format!("about {} left", units::seconds(left)));
                while bars.runs.len() < running.len() {
                    let bar = bars.all.add(ProgressBar::new_spinner());
                    bar.set_style(
                        ProgressStyle::with_template("  {spinner} {wide_msg}").expect("a fixed template"),
                    );
                    bars.runs.push(bar);
                }
                for bar in bars.runs.drain(running.len()..) {
                    bar.finish_and_clear();
                    bars.all.remove(&bar);
                }
                for (run, bar) in running.iter().zip(&bars.runs) {
                    let (seconds, faults) = state(run);
                    let share =
                        (run.began.elapsed().as_secs_f64() / estimates.seconds(&run.cell)).clamp(0.0, 1.0);
                    let full = (share * BAR as f64) as usize;
                    let line = format!("{}{}", "=".repeat(full), " ".repeat(BAR - full));
                    bar.set_message(format!("[{line}] {}  {seconds:.0} s  {faults}", run.cell));
                    bar.tick();
                }
            }
            None => {
                eprintln!("{} of {}, about {} left", book.done(), self.total, units::seconds(left));
                for run in running {
                    let (seconds, faults) = state(run);
                    eprintln!("        {}: {seconds:.0} s, {faults}", run.cell);
                }
            }
        }
    }

    /// The bars go.
    pub fn end(&self) {
        if let Some(bars) = &self.bars {
            bars.runs.iter().for_each(ProgressBar::finish_and_clear);
            bars.whole.finish_and_clear();
        }
    }
}

/// Seconds until all is done, if nothing fails from here on.
fn left_s(book: &Book<'_>, running: &[Running], estimates: &Estimates, room: &Room) -> f64 {
    let rest = |run: &Running| (estimates.seconds(&run.cell) - run.began.elapsed().as_secs_f64()).max(0.0);
    let under_way = running.iter().map(|run| (run.cell.target.as_str(), rest(run)));
    let waiting = book.waiting().map(|cell| (cell.target.as_str(), estimates.seconds(cell)));
    room.wall_s(under_way.chain(waiting))
}
