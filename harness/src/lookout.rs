//! `--stop-at-first`: the history is judged while it is recorded, and the load ends at the first violation.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use checker::history::HistoryBuilder;
use checker::stream::{Stop, Watch};
use checker::{Anomaly, Budget, Checker, Event, Verdict};
use workloads::Workload;

use crate::recorder::Recorder;
use crate::signals::Interrupt;

/// What a call may take beyond its time limit until its outcome is recorded, nanoseconds.
const LAG_SLACK_NS: u64 = 500_000_000;

/// A history is judged again once it has grown by this many events and by a quarter: all judgements together
/// then cost no more than a few times the last.
const GROWTH_EVENTS: usize = 400;

/// Whether clients are to end early: the user wants it, or what was looked for is found.
#[derive(Debug, Clone)]
pub struct Halt {
    interrupt: Interrupt,
    found: Arc<OnceLock<Anomaly>>,
}

impl Halt {
    /// Nothing is found yet.
    pub fn new(interrupt: Interrupt) -> Halt {
        Halt { interrupt, found: Arc::default() }
    }

    /// Should work end?
    pub fn asked(&self) -> bool {
        self.interrupt.asked() || self.found.get().is_some()
    }

    /// The violation that was found, if one was.
    pub fn found(&self) -> Option<&Anomaly> {
        self.found.get()
    }
}

/// A thread that judges what it hears of; it ends at the first violation, or when nobody is left to tell it more.
#[derive(Debug)]
pub struct Lookout {
    budget: Budget,
    thread: JoinHandle<Result<()>>,
}

impl Lookout {
    /// Starts to look at what `recorder` records from here on.
    pub fn start<W: Workload>(
        workload: &W,
        op_timeout: Duration,
        halt: Halt,
        recorder: Recorder,
    ) -> Result<(Lookout, Recorder)> {
        let (ear, events) = channel();
        let budget = Budget::default();
        let mut eyes = Eyes::of(workload, op_timeout.as_nanos() as u64, budget.clone());
        let thread = std::thread::Builder::new()
            .name("lookout".into())
            .spawn(move || eyes.look(&events, &halt))
            .context("failed to start the thread that judges")?;
        Ok((Lookout { budget, thread }, recorder.heard_by(ear)))
    }

    /// Ends it; the error says why it could not judge to the end. The whole history is judged after the run anyway.
    pub fn join(self) -> Result<()> {
        self.budget.stop.raise();
        self.thread.join().unwrap_or_else(|_| Err(anyhow!("the thread that judges has panicked")))
    }
}

/// How a growing history is judged.
enum Eyes {
    /// Event by event.
    Stream(Box<Watch>),
    /// As a whole, now and then: every beginning of a history that keeps a promise keeps it too.
    Again(Again),
}

/// What is judged again and again.
struct Again {
    history: HistoryBuilder,
    checkers: Vec<Box<dyn Checker>>,
    budget: Budget,
    events: usize,
    due: usize,
}

impl Eyes {
    fn of<W: Workload>(workload: &W, op_timeout_ns: u64, budget: Budget) -> Eyes {
        match workload.watch(op_timeout_ns + LAG_SLACK_NS) {
            Some(watch) => Eyes::Stream(Box::new(watch)),
            None => Eyes::Again(Again {
                history: HistoryBuilder::new(),
                checkers: workload.checkers(),
                budget,
                events: 0,
                due: GROWTH_EVENTS,
            }),
        }
    }

    fn look(&mut self, events: &Receiver<Event>, halt: &Halt) -> Result<()> {
        let mut early = BTreeMap::new();
        let mut next = 0;
        while let Ok(event) = events.recv() {
            early.insert(event.index, event);
            while let Some(event) = early.remove(&next) {
                next += 1;
                if let Some(anomaly) = self.see(event)? {
                    let _ = halt.found.set(anomaly); // nobody else sets it
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The violation that shows with this event, if one does.
    fn see(&mut self, event: Event) -> Result<Option<Anomaly>> {
        match self {
            Eyes::Stream(watch) => match watch.push(event) {
                Ok(()) => Ok(None),
                Err(Stop::Violation(anomaly)) => Ok(Some(*anomaly)),
                Err(Stop::Undecidable(why)) => Err(why.into()),
            },
            Eyes::Again(again) => again.see(event),
        }
    }
}

impl Again {
    fn see(&mut self, event: Event) -> Result<Option<Anomaly>> {
        self.history.push(event)?;
        self.events += 1;
        if self.events < self.due {
            return Ok(None);
        }
        self.due = self.events + GROWTH_EVENTS.max(self.events / 4);
        let verdicts = self.checkers.iter().map(|c| c.check(self.history.so_far(), &self.budget));
        match verdicts.fold(Verdict::Valid, Verdict::merge) {
            Verdict::Invalid { anomalies } => Ok(anomalies.into_iter().next()),
            Verdict::Valid | Verdict::Unknown { .. } => Ok(None),
        }
    }
}
