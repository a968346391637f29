//! The searches over a register with repeated values, against each other.
//!
//! First a narrow beam and the relaxed pass, each for a moment: that settles nearly every history. Then two
//! threads, and the first answer counts: one widens the beam until it finds an order, the other lets the relaxed
//! pass run to its end and then follows all configurations.

use std::thread;

use crate::forward::{self, Forward, Mode, Report};
use crate::linear::{self, Deepest, Search};
use crate::model::Entry;
use crate::model::register::{Register, RegisterCall};
use crate::{Budget, EndedBy, Stop, Undecided};

/// Configurations kept at first while a yes is sought.
const BEAM_FIRST: usize = 16;

/// By how much a beam that found nothing is widened.
const WIDER: usize = 8;

/// Configurations that the first moment takes at most, besides some for each operation.
const MOMENT_STATES: u64 = 4_096;

/// Configurations for each operation in the first moment.
const MOMENT_STATES_PER_OP: u64 = 16;

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

/// Settles a partition within a budget.
pub(crate) fn settle_within(entries: &[Entry<RegisterCall>], budget: &Budget) -> Settled {
    let mut race = Race { entries, reports: Vec::new() };
    let moment = MOMENT_STATES + entries.len() as u64 * MOMENT_STATES_PER_OP;
    let moment = Budget { states_max: budget.states_max.min(moment), ..budget.clone() };
    for mode in [Mode::Beam(BEAM_FIRST), Mode::Relaxed] {
        if let Some(legal) = race.note(mode, forward::pass(entries, mode, &moment)) {
            return race.answer(legal);
        }
    }
    if race.is_too_wide() {
        return depth_first(entries, budget);
    }
    let left = Budget { states_max: budget.states_max.saturating_sub(race.spent()), ..budget.clone() };
    race.run(&left);
    match race.verdict() {
        Some(legal) => race.answer(legal),
        None => race.undecided(budget),
    }
}

/// A legal order, if the beams find one.
pub(crate) fn order(entries: &[Entry<RegisterCall>], budget: &Budget) -> Option<Vec<usize>> {
    let widths = std::iter::successors(Some(BEAM_FIRST), |width| width.checked_mul(WIDER));
    for width in widths {
        let report = forward::pass_with_order(entries, Mode::Beam(width), budget);
        if report.order.is_some() || report.complete || report.ended_by.is_some() {
            return report.order;
        }
    }
    None
}

/// For entries of more concurrency than a forward pass can follow.
fn depth_first(entries: &[Entry<RegisterCall>], budget: &Budget) -> Settled {
    let states_max = budget.states_max.min(budget.bytes_max / 100);
    match linear::search(&Register, entries, states_max) {
        Search::Linearizable { states, .. } => {
            Settled { legal: Some(true), deepest: Deepest::default(), spent: states, undecided: None }
        }
        Search::Impossible(deepest) => {
            Settled { legal: Some(false), deepest, spent: deepest.states, undecided: None }
        }
        Search::OutOfBudget(deepest) => {
            let undecided = Undecided {
                proven_until: None,
                proven_ops: 0,
                definite_ops: deepest.definite,
                window: (0, deepest.stuck.map_or(0, |i| entries[i].ret)),
                open: Vec::new(),
                states: deepest.states,
                bytes: deepest.states * 100,
                ended_by: EndedBy::Width,
            };
            Settled { legal: None, deepest, spent: deepest.states, undecided: Some(undecided) }
        }
    }
}

/// What the passes over some entries have said so far.
struct Race<'e> {
    entries: &'e [Entry<RegisterCall>],
    reports: Vec<(Mode, Report)>,
}

impl Race<'_> {
    /// Remembers a pass; the verdict, if it has one.
    fn note(&mut self, mode: Mode, report: Report) -> Option<bool> {
        let legal = verdict(mode, &report);
        self.reports.push((mode, report));
        legal
    }

    fn verdict(&self) -> Option<bool> {
        self.reports.iter().find_map(|(mode, report)| verdict(*mode, report))
    }

    fn spent(&self) -> u64 {
        self.reports.iter().map(|(_, report)| report.states).sum()
    }

    fn is_too_wide(&self) -> bool {
        self.reports.iter().any(|(_, report)| report.ended_by == Some(EndedBy::Width))
    }

    /// Lets both sides run until one of them has an answer.
    fn run(&mut self, budget: &Budget) {
        let entries = self.entries;
        let stop = budget.stop.below();
        // The side that follows everything needs most.
        let beams = Budget { bytes_max: budget.bytes_max / 4, stop: stop.clone(), ..budget.clone() };
        let all =
            Budget { bytes_max: budget.bytes_max - beams.bytes_max, stop: stop.clone(), ..budget.clone() };
        let reports = thread::scope(|scope| {
            let other = scope.spawn(|| until_answered(&stop, || widen(entries, &beams)));
            let mut reports = until_answered(&stop, || follow_all(entries, &all));
            match other.join() {
                Ok(more) => reports.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
            reports
        });
        self.reports.extend(reports);
    }

    fn answer(&self, legal: bool) -> Settled {
        let told = self.reports.iter().find(|(mode, report)| verdict(*mode, report) == Some(legal));
        let deepest = told.map_or(Deepest::default(), |(_, report)| self.deepest(report));
        Settled { legal: Some(legal), deepest, spent: self.spent(), undecided: None }
    }

    fn deepest(&self, report: &Report) -> Deepest {
        let definite = self.entries.iter().filter(|entry| !entry.is_optional()).count();
        Deepest { placed: report.survived, definite, stuck: report.at, states: report.states }
    }

    /// The longest prefix that some beam proved, and where the side that follows everything stopped.
    fn undecided(&self, budget: &Budget) -> Settled {
        let exact = self.reports.iter().filter(|(mode, _)| *mode != Mode::Relaxed);
        let proven = exact.max_by_key(|(_, report)| report.survived).map(|(_, report)| report);
        let all = self.reports.iter().rfind(|(mode, _)| *mode == Mode::Exact);
        let stopped = all.or(self.reports.last()).map(|(_, report)| report);
        let ret = |place: Option<usize>| place.map_or(0, |i| self.entries[i].ret);
        let deepest = proven.map_or(Deepest::default(), |report| self.deepest(report));
        let ended_by = match stopped.and_then(|report| report.ended_by) {
            _ if budget.stop.is_raised() => EndedBy::Stop,
            Some(by) => by,
            None => EndedBy::Bytes,
        };
        let place = |&i: &usize| self.entries[i].op;
        let undecided = Undecided {
            proven_until: proven.and_then(|report| report.last).map(|i| self.entries[i].ret),
            proven_ops: deepest.placed,
            definite_ops: deepest.definite,
            window: (ret(stopped.and_then(|r| r.last)), ret(stopped.and_then(|r| r.at))),
            open: stopped.map_or(Vec::new(), |report| report.open.iter().map(place).collect()),
            states: self.spent(),
            bytes: self.reports.iter().map(|(_, report)| report.bytes).max().unwrap_or(0),
            ended_by,
        };
        Settled { legal: None, deepest, spent: self.spent(), undecided: Some(undecided) }
    }
}

/// Runs passes until one answers, the budget ends or there is none left; then nobody else need go on.
fn until_answered<I>(stop: &Stop, passes: impl FnOnce() -> I) -> Vec<(Mode, Report)>
where
    I: Iterator<Item = (Mode, Report)>,
{
    let mut reports = Vec::new();
    for (mode, report) in passes() {
        let legal = verdict(mode, &report);
        reports.push((mode, report));
        if legal.is_some() {
            stop.raise();
            break;
        }
    }
    reports
}

/// Wider and wider beams, while there is memory for the next.
fn widen<'r>(
    entries: &'r [Entry<RegisterCall>],
    budget: &'r Budget,
) -> impl Iterator<Item = (Mode, Report)> + 'r {
    let widths = std::iter::successors(Some(BEAM_FIRST * WIDER), |width| width.checked_mul(WIDER));
    let passes = widths.map(|width| {
        let mode = Mode::Beam(width);
        (mode, forward::pass(entries, mode, budget))
    });
    let mut ended = false;
    passes.take_while(move |(_, report)| !std::mem::replace(&mut ended, report.ended_by.is_some()))
}

/// More configurations than there are, and then exactly those.
fn follow_all<'r>(
    entries: &'r [Entry<RegisterCall>],
    budget: &'r Budget,
) -> impl Iterator<Item = (Mode, Report)> + 'r {
    let modes = [Mode::Relaxed, Mode::Exact].into_iter();
    modes.map(|mode| (mode, forward::pass(entries, mode, budget)))
}

/// What a pass proves.
fn verdict(mode: Mode, report: &Report) -> Option<bool> {
    match report.found {
        Forward::Possible { exact: true } => Some(true),
        Forward::Impossible { .. } if mode == Mode::Relaxed || report.complete => Some(false),
        _ => None,
    }
}
