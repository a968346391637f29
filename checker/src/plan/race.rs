//! Searches against each other: the first answer counts, and what is known when there is none.

use std::thread;

use crate::forward::Report;
use crate::linear::Deepest;
use crate::model::Entry;
use crate::{Budget, EndedBy, Stop, Undecided};

/// What the searches say about a partition.
pub(crate) struct Settled {
    /// None when the budget ended first.
    pub(crate) legal: Option<bool>,
    /// How far they came.
    pub(crate) deepest: Deepest,
    /// Search states visited.
    pub(crate) spent: u64,
    /// Why there is no answer, if there is none.
    pub(crate) undecided: Option<Undecided>,
}

/// What the searches over some entries have said so far.
pub(crate) struct Race<'e, C> {
    entries: &'e [Entry<C>],
    reports: Vec<Report>,
    /// Did searches run at the same time?
    raced: bool,
}

impl<'e, C> Race<'e, C> {
    pub(crate) fn new(entries: &'e [Entry<C>]) -> Self {
        Race { entries, reports: Vec::new(), raced: false }
    }

    /// Remembers a search; true if it has an answer.
    pub(crate) fn note(&mut self, report: Report) -> bool {
        self.reports.push(report);
        self.verdict().is_some()
    }

    fn verdict(&self) -> Option<bool> {
        self.reports.iter().find_map(Report::legal)
    }

    /// The position up to which an order is known, after the searches so far.
    pub(crate) fn proven(&self) -> u64 {
        let exact = self.reports.iter().filter(|report| !report.relaxed);
        exact.filter_map(|report| report.last).map(|i| self.entries[i].ret).max().unwrap_or(0)
    }

    fn spent(&self) -> u64 {
        self.reports.iter().map(|report| report.states).sum()
    }

    /// Lets two sides run, each one search after another, until one of them has an answer. Each is given its
    /// budget: the second side, which follows everything, three quarters of the memory.
    pub(crate) fn run<Y, N>(
        &mut self,
        budget: &Budget,
        one: impl FnOnce(Budget) -> Y + Send,
        two: impl FnOnce(Budget) -> N,
    ) where
        Y: Iterator<Item = Report>,
        N: Iterator<Item = Report>,
    {
        let stop = budget.stop.below();
        let states_max = budget.states_max.saturating_sub(self.spent());
        let share = |quarters: u64| Budget {
            states_max,
            bytes_max: budget.bytes_max / 4 * quarters,
            stop: stop.clone(),
        };
        let (first, second) = (share(1), share(3));
        let reports = thread::scope(|scope| {
            let other = scope.spawn(|| until_answered(&stop, one(first)));
            let mut reports = until_answered(&stop, two(second));
            match other.join() {
                Ok(more) => reports.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
            reports
        });
        self.reports.extend(reports);
        self.raced = true;
    }

    /// The answer, or how much is known without one.
    pub(crate) fn settled(&self, budget: &Budget) -> Settled {
        let Some(legal) = self.verdict() else { return self.undecided(budget) };
        // Who answered a race depends on the machine, and what is told must not.
        let told = self.reports.iter().find(|report| report.legal() == Some(legal) && !self.raced);
        let deepest = told.map_or(Deepest::default(), |report| self.deepest(report));
        Settled { legal: Some(legal), deepest, spent: self.spent(), undecided: None }
    }

    fn deepest(&self, report: &Report) -> Deepest {
        let definite = self.entries.iter().filter(|entry| !entry.is_optional()).count();
        let proven = report.at.map_or(u64::MAX, |i| self.entries[i].ret);
        let (states, bytes) = (report.states, report.bytes);
        Deepest { placed: report.survived, definite, stuck: report.at, proven, states, bytes }
    }

    /// The longest prefix that some search proved, and where the one that follows everything stopped.
    fn undecided(&self, budget: &Budget) -> Settled {
        let exact = || self.reports.iter().filter(|report| !report.relaxed);
        let proven = exact().max_by_key(|report| report.survived);
        let stopped = exact().rfind(|report| report.complete).or(proven);
        let ret = |place: Option<usize>| place.map_or(0, |i| self.entries[i].ret);
        let deepest = proven.map_or(Deepest::default(), |report| self.deepest(report));
        let ended_by = match stopped.and_then(|report| report.ended_by) {
            _ if budget.stop.is_raised() => EndedBy::Stop,
            _ if self.spent() >= budget.states_max => EndedBy::States,
            Some(by) => by,
            None => EndedBy::Bytes,
        };
        let open = stopped.map_or(&[][..], |report| &report.open);
        // A beam may have gone back behind what it had survived.
        let begin = ret(stopped.and_then(|report| report.last));
        let end = ret(stopped.and_then(|report| report.at));
        let undecided = Undecided {
            proven_until: proven.and_then(|report| report.last).map(|i| self.entries[i].ret),
            proven_ops: deepest.placed,
            definite_ops: deepest.definite,
            window: (begin.min(end), begin.max(end)),
            open: open.iter().map(|&i| self.entries[i].op).collect(),
            states: self.spent(),
            bytes: self.reports.iter().map(|report| report.bytes).max().unwrap_or(0),
            ended_by,
        };
        Settled { legal: None, deepest, spent: self.spent(), undecided: Some(undecided) }
    }
}

/// Runs searches until one answers or there is none left; then nobody else need go on.
fn until_answered(stop: &Stop, searches: impl Iterator<Item = Report>) -> Vec<Report> {
    let mut reports = Vec::new();
    for report in searches {
        let is_answer = report.legal().is_some();
        reports.push(report);
        if is_answer {
            stop.raise();
            break;
        }
    }
    reports
}
