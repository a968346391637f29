//! A forward pass over the events of a register with repeated values.
//!
//! It carries the set of all configurations the register may be in (Lowe 2017, just-in-time linearization):
//! the state, and which of the open operations took effect. Configurations change at returns only, and an
//! operation that has returned is forgotten, so the cost depends on how many calls are open at once and not
//! on the length of the history. What keeps the set small, exactly:
//! - reads and mismatches are taken as soon as they are possible;
//! - when a blind write takes effect, every other open blind write may have gone just before it, unseen. It is
//!   then *either*: done, or still to be used, as needed. One configuration stands for all subsets of those;
//! - a write is used for its own sake only where somebody wants its value, see [`wants`];
//! - of equal open operations the one that returns first is used, and indefinite ones are known by what they
//!   do and how often they were used, not one by one; those whose value nobody wants any more are forgotten;
//! - a configuration is dropped when another one can do all that it can.
//!
//! Indefinite operations, which never return, still multiply configurations. So there are four ways to go:
//! - [`Mode::Relaxed`] lets them take effect any number of times, and explains a mismatch by any write that
//!   might have gone unseen. If no configuration survives that, there is no legal order.
//! - [`Mode::Late`] does so up to some position, and counts from there on: what it allows is still more than there
//!   is, and less than that, where indefinite operations run out within a short time.
//! - [`Mode::Beam`] counts their uses, but keeps only the most promising configurations. If one survives, there
//!   is a legal order.
//! - [`Mode::Exact`] counts their uses and keeps all: an answer either way, if the budget lasts.

mod config;
mod expand;
mod infos;
mod open;
mod retry;
mod trail;
mod wants;

use crate::Budget;
use crate::budget::{EndedBy, Meter};
use crate::model::Entry;
use crate::model::register::{RegisterCall, ValueId};
use config::Config;
use infos::Infos;
use open::Open;
pub(crate) use open::bits;
use retry::{Picture, Retry};
use trail::Trail;

/// Most operations that may be open at one time.
pub const OPEN_MAX: usize = open::Slots::BITS as usize;

/// Configurations a beam may visit at one return, as a multiple of its width.
const VISITS_PER_BEAM: u64 = 50;

/// Configurations that survive one return, as a multiple of a beam's width, after which it looks at none that
/// takes indefinite operations.
const SURVIVORS_PER_BEAM: usize = 4;

/// Which configurations are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// More than there are.
    Relaxed,
    /// More than there are up to this position; from then on no others than could come of those.
    Late(u64),
    /// So many at most, and more for a while where none survive.
    Beam(usize),
    /// All and no others.
    Exact,
}

impl Mode {
    /// Is more allowed than there is?
    fn is_relaxed(self) -> bool {
        matches!(self, Mode::Relaxed | Mode::Late(_))
    }
}

/// What a pass found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// No configuration survived the return of this entry (a place in the entries). Unless that was a beam, no
    /// legal order exists for what had been called by then.
    Impossible {
        /// That entry.
        at: usize,
    },
    /// Something survived. Proves that a legal order exists unless something was allowed that should not be:
    /// by a relaxed pass over indefinite operations or mismatches.
    Possible {
        /// Is it a proof?
        exact: bool,
    },
    /// More than 128 operations open at once, or more configurations than the budget allows.
    TooLarge,
}

/// A pass, and how far it came.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it found.
    pub found: Forward,
    /// Why it ended early, if it did.
    pub ended_by: Option<EndedBy>,
    /// Configurations visited.
    pub states: u64,
    /// Most bytes held at one time.
    pub bytes: u64,
    /// Returns that some configuration survived.
    pub survived: usize,
    /// The entry whose return was survived last.
    pub last: Option<usize>,
    /// Was nothing left out but what cannot matter? Then no survivor means that there is no legal order.
    pub complete: bool,
    /// Was more allowed than there is? Then survivors mean nothing.
    pub relaxed: bool,
    /// The entry at whose return it ended, if it did.
    pub at: Option<usize>,
    /// The entries open where it ended.
    pub open: Vec<usize>,
    /// A legal order as places in the entries, where one was asked for and found.
    pub order: Option<Vec<usize>>,
}

impl Report {
    /// What it proves: is there a legal order?
    pub fn legal(&self) -> Option<bool> {
        match self.found {
            Forward::Possible { exact: true } => Some(true),
            Forward::Impossible { .. } if self.complete => Some(false),
            _ => None,
        }
    }
}

/// Asks for a no; visits at most `configs_max` configurations. Answers with what it found and how many it
/// visited.
pub fn relaxed(entries: &[Entry<RegisterCall>], configs_max: u64) -> (Forward, u64) {
    let report = pass(entries, Mode::Relaxed, &Budget::of_states(configs_max));
    (report.found, report.states)
}

/// Asks for a yes, keeping `width` configurations; visits at most `configs_max`. A false proves nothing. Answers
/// also with how many it visited.
pub fn beam(entries: &[Entry<RegisterCall>], width: usize, configs_max: u64) -> (bool, u64) {
    let report = pass(entries, Mode::Beam(width), &Budget::of_states(configs_max));
    (matches!(report.found, Forward::Possible { .. }), report.states)
}

/// One pass within a budget.
pub fn pass(entries: &[Entry<RegisterCall>], mode: Mode, budget: &Budget) -> Report {
    Pass::new(entries, mode, budget, None).report()
}

/// One pass over what may begin with any of the values `starts`: no survivor means that it is illegal from all of
/// them.
pub(crate) fn pass_from(
    starts: &[ValueId],
    entries: &[Entry<RegisterCall>],
    mode: Mode,
    budget: &Budget,
) -> Report {
    let mut pass = Pass::new(entries, mode, budget, None);
    pass.open.name(starts);
    pass.configs = starts.iter().map(|&state| Config::beginning(state)).collect();
    pass.report()
}

/// One pass that remembers how each configuration came about; a relaxed one does not.
pub fn pass_with_order(entries: &[Entry<RegisterCall>], mode: Mode, budget: &Budget) -> Report {
    let trail = (!mode.is_relaxed()).then(Trail::default);
    Pass::new(entries, mode, budget, trail).report()
}

/// Why a pass ended early.
enum End {
    /// No configuration survived.
    Empty,
    /// More than can be followed.
    Budget(EndedBy),
}

impl From<EndedBy> for End {
    fn from(ended_by: EndedBy) -> Self {
        End::Budget(ended_by)
    }
}

struct Pass<'e> {
    entries: &'e [Entry<RegisterCall>],
    mode: Mode,
    meter: Meter,
    configs: Vec<Config>,
    open: Open,
    infos: Infos,
    trail: Option<Trail>,
    /// For each blind write: may anybody called after its return see its value?
    shown: Vec<bool>,
    complete: bool,
    survived: usize,
    /// Most returns survived, and the entry of the last of them.
    furthest: (usize, Option<usize>),
    /// For a beam.
    retry: Option<Retry>,
}

impl<'e> Pass<'e> {
    fn new(entries: &'e [Entry<RegisterCall>], mode: Mode, budget: &Budget, trail: Option<Trail>) -> Self {
        Pass {
            entries,
            mode,
            meter: Meter::new(budget),
            configs: vec![Config::default()],
            open: Open::new(entries),
            infos: Infos::new(entries, mode.is_relaxed()),
            trail,
            shown: expand::shown(entries, values_len(entries)),
            complete: true,
            survived: 0,
            furthest: (0, None),
            retry: match mode {
                Mode::Beam(width) => Some(Retry::new(width)),
                Mode::Relaxed | Mode::Late(_) | Mode::Exact => None,
            },
        }
    }

    fn report(mut self) -> Report {
        let ended = self.run();
        let (found, ended_by, at) = match ended {
            Ok(()) => (Forward::Possible { exact: self.is_exact() }, None, None),
            Err((End::Empty, at)) => (Forward::Impossible { at }, None, Some(at)),
            Err((End::Budget(by), at)) => (Forward::TooLarge, Some(by), Some(at)),
        };
        let order = match (&self.trail, found, self.configs.first()) {
            (Some(trail), Forward::Possible { .. }, Some(config)) => {
                Some(trail.order(config.trail, self.entries, &self.infos))
            }
            _ => None,
        };
        Report {
            found,
            ended_by,
            states: self.meter.states(),
            bytes: self.meter.bytes_peak(),
            survived: self.furthest.0,
            last: self.furthest.1,
            // A beam that came again is no picture of everything, unless it ended for want of survivors.
            complete: self.complete && (ended_by.is_none() || self.retry.is_none()),
            relaxed: self.mode.is_relaxed(),
            at,
            open: self.open.entries().collect(),
            order,
        }
    }

    fn is_exact(&self) -> bool {
        let inexact = |entry: &Entry<RegisterCall>| {
            entry.is_optional() || matches!(entry.call, RegisterCall::Differs(_))
        };
        !self.mode.is_relaxed() || !self.entries.iter().any(inexact)
    }

    /// Goes over the calls and returns in order.
    fn run(&mut self) -> Result<(), (End, usize)> {
        let fixed = self.open.bytes() + self.entries.len() as u64 * 40;
        self.meter.holds(fixed).map_err(|by| (End::Budget(by), 0))?;
        let edges: Vec<(u64, usize)> = edges(self.entries).collect();
        let mut next = 0;
        while let Some(&(position, i)) = edges.get(next) {
            self.keep_picture(next);
            if let Mode::Late(begin) = self.mode {
                self.infos.unlimited &= position < begin;
            }
            if position == self.entries[i].inv {
                self.call(i).map_err(|by| (End::Budget(by), i))?;
            } else if let Err(end) = self.give_back(i) {
                let before = match end {
                    End::Empty => self.come_again(next),
                    End::Budget(_) => None,
                };
                next = before.ok_or((end, i))?;
                continue;
            } else {
                self.survived += 1;
                if self.survived > self.furthest.0 {
                    self.furthest = (self.survived, Some(i));
                }
            }
            next += 1;
        }
        Ok(())
    }

    fn keep_picture(&mut self, next: usize) {
        let Some(retry) = &mut self.retry else { return };
        if retry.is_due(next) {
            retry.keep(Picture {
                next,
                configs: self.configs.clone(),
                open: self.open.picture(),
                infos: self.infos.clone(),
                complete: self.complete,
                survived: self.survived,
            });
        }
    }

    /// After a beam died: the event from which it is tried again.
    fn come_again(&mut self, at: usize) -> Option<usize> {
        // If it was no beam so far, nothing was left out.
        let picture = self.retry.as_mut().filter(|_| !self.complete)?.died(at)?;
        self.configs = picture.configs;
        self.open.restore(picture.open);
        self.infos = picture.infos;
        self.complete = picture.complete;
        self.survived = picture.survived;
        Some(picture.next)
    }

    fn call(&mut self, i: usize) -> Result<(), EndedBy> {
        let entry = &self.entries[i];
        if entry.is_optional() {
            self.infos.call(entry);
            return Ok(());
        }
        self.open.call(i, entry).ok_or(EndedBy::Width)?;
        for config in &mut self.configs {
            settle(&self.open, self.trail.as_mut(), config);
        }
        Ok(())
    }

    /// Keeps the beam's best.
    fn narrow(&mut self) {
        let Some(width) = self.width().filter(|&width| self.configs.len() > width) else { return };
        self.complete = false;
        let Open { writes, reads, mismatches, cas, .. } = self.open;
        let bound = reads | mismatches | cas;
        // Most promising is what has least left to do that depends on the state, then what has used up fewest
        // writes and owes fewest; what indefinite operations it took for that hardly matters.
        self.configs.sort_by_cached_key(|config| {
            let undone = !config.done & !config.either;
            let writes = (writes & (undone | config.done)).count_ones();
            (2 * (bound & undone).count_ones() + writes, config.spent())
        });
        self.configs.truncate(width);
    }

    /// Configurations kept at present, if not all.
    fn width(&self) -> Option<usize> {
        self.retry.as_ref().map(|retry| retry.width)
    }

    /// Forgets indefinite operations whose value nobody wants any more.
    fn forget(&mut self, position: u64) {
        for kind in self.infos.retire(position) {
            for config in &mut self.configs {
                config.reset(kind);
            }
        }
        if let Some(trail) = &mut self.trail {
            let pictures = self.retry.iter_mut().flat_map(|retry| &mut retry.pictures);
            trail.compact(self.configs.iter_mut().chain(pictures.flat_map(|picture| &mut picture.configs)));
        }
    }
}

/// One more than the largest value number that is named.
fn values_len(entries: &[Entry<RegisterCall>]) -> usize {
    let named = entries.iter().flat_map(|entry| open::values(entry.call));
    named.max().map_or(1, |value| value as usize + 1)
}

/// Takes what is possible at once: reads of the state, mismatches of other values; a write of the state may be
/// taken or not.
fn settle(open: &Open, trail: Option<&mut Trail>, config: &mut Config) {
    let here = open.of(config.state);
    let pure = (here.reads | open.mismatches & !here.differs) & !config.done;
    config.done |= pure;
    config.either |= here.writes & !config.done;
    if let Some(trail) = trail {
        bits(pure).for_each(|slot| config.trail = trail.took(config.trail, open.entry(slot)));
    }
}

/// Calls and returns, as positions and places, by position.
pub(crate) fn edges<C>(entries: &[Entry<C>]) -> impl Iterator<Item = (u64, usize)> {
    let mut edges: Vec<(u64, usize)> = Vec::with_capacity(entries.len() * 2);
    for (i, entry) in entries.iter().enumerate() {
        edges.push((entry.inv, i));
        if !entry.is_optional() {
            edges.push((entry.ret, i));
        }
    }
    edges.sort_unstable();
    edges.into_iter()
}
