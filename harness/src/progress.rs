//! What a run shows while it goes on: elapsed, rates, faults in force, masters.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use nemesis::{Edge, EdgeKind, View};
use results::summary::Counts;

/// One status line on a terminal; a line every few seconds anywhere else.
pub struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    began: Instant,
    state: Mutex<State>,
}

struct State {
    last: Instant,
    counts: Counts,
    faults: Vec<(u64, String)>,
}

/// Between two status lines: on a terminal, and elsewhere.
const TERMINAL_TICK: Duration = Duration::from_millis(250);
const LOG_TICK: Duration = Duration::from_secs(5);

impl Progress {
    /// Begins to count now.
    pub fn start() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let bar = if is_terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a fixed template"));
        let now = Instant::now();
        let state = State { last: now, counts: Counts::default(), faults: Vec::new() };
        Progress { bar, is_terminal, began: now, state: Mutex::new(state) }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        if self.is_terminal {
            self.bar.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    /// A fault begins or has healed.
    pub fn fault(&self, edge: &Edge<'_>) {
        let mut state = self.lock();
        let window = edge.window;
        match edge.kind {
            EdgeKind::Start => {
                let whom = match edge.report.nodes.as_slice() {
                    [] => window.target.to_string(),
                    nodes => format!("{} ({})", nodes.join(", "), window.target),
                };
                state.faults.push((window.id, format!("{} {whom}", window.harm.family().name())));
            }
            EdgeKind::Stop => state.faults.retain(|(id, _)| *id != window.id),
        }
    }

    /// Shows where the run is, if it is time to. Cheap enough to call often.
    pub fn tick(&self, counts: Counts, view: impl FnOnce() -> View) {
        let mut state = self.lock();
        let passed = state.last.elapsed();
        if passed < if self.is_terminal { TERMINAL_TICK } else { LOG_TICK } {
            return;
        }
        let per_s = |now: u64, before: u64| (now - before) as f64 / passed.as_secs_f64();
        let before = state.counts;
        let line = format!(
            "{:5.1} s  ok {:.0}/s  fail {:.0}/s  unknown {:.0}/s  | {} | {}",
            self.began.elapsed().as_secs_f64(),
            per_s(counts.ok, before.ok),
            per_s(counts.fail, before.fail),
            per_s(counts.info, before.info),
            masters(&view()),
            faults(&state.faults),
        );
        state.last = Instant::now();
        state.counts = counts;
        drop(state);
        if self.is_terminal {
            self.bar.set_message(line);
            self.bar.tick();
        } else {
            eprintln!("{line}");
        }
    }

    /// The run is over; the status line goes.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn masters(view: &View) -> String {
    let each = view.masters.iter().enumerate().map(|(shard, master)| match master {
        Some((node, epoch)) => format!("{shard}: {node} (epoch {epoch})"),
        None => format!("{shard}: none"),
    });
    format!("masters {}", each.collect::<Vec<_>>().join(", "))
}

fn faults(active: &[(u64, String)]) -> String {
    match active {
        [] => "no fault".into(),
        active => active.iter().map(|(_, fault)| fault.as_str()).collect::<Vec<_>>().join("; "),
    }
}
