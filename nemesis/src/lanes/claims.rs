//! Who is being struck by which window, and what may not be struck beside it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::arena::{Topology, Victim};
use crate::family::Group;
use crate::schedule::{SafeLimits, Window};

/// Whom each window so far has turned out to mean.
#[derive(Default)]
pub(super) struct Struck(Mutex<HashMap<u64, Vec<Victim>>>);

impl Struck {
    pub(super) fn of(&self, window: u64) -> Option<Vec<Victim>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&window).cloned()
    }

    pub(super) fn note(&self, window: u64, victims: &[Victim]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(window, victims.to_vec());
    }
}

/// A process is killed or paused by one window at a time, or the first to heal would undo the other's harm; so with
/// its clock, which may be wrong while it is killed. Links and messages may be struck by many: their rules stand side
/// by side. All together keep to the schedule's limits.
pub(super) struct Claims<'a> {
    topology: &'a Topology,
    limits: SafeLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: HashMap<(Held, Victim), u64>,
    in_force: BTreeMap<u64, Vec<Victim>>,
}

/// What of a process a window holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Held {
    Process,
    Clock,
}

impl Held {
    /// None for what stands side by side.
    fn by(group: Group) -> Option<Held> {
        match group {
            // Disks too: their harms kill, and start again whom they made end.
            Group::Process | Group::Disk => Some(Held::Process),
            Group::Clock => Some(Held::Clock),
            Group::Net | Group::Message => None,
        }
    }

    /// As an error names it, before `Redis of s0r2`.
    fn word(self) -> &'static str {
        match self {
            Held::Process => "",
            Held::Clock => "clock of the ",
        }
    }
}

/// The right of a window to strike some; given back when dropped.
pub(super) struct Claim<'a> {
    claims: &'a Claims<'a>,
    window: u64,
    held: Vec<(Held, Victim)>,
}

impl<'a> Claims<'a> {
    pub(super) fn new(topology: &'a Topology, limits: SafeLimits) -> Claims<'a> {
        Claims { topology, limits, state: Mutex::default() }
    }

    /// Says who stands in the way, if somebody does.
    pub(super) fn claim(&'a self, window: &Window, victims: &[Victim]) -> Result<Claim<'a>, String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let what = Held::by(window.harm.family().group());
        let held: Vec<_> = what
            .into_iter()
            .flat_map(|what| victims.iter().map(move |victim| (what, victim.clone())))
            .collect();
        if let Some(((what, victim), other)) = held.iter().find_map(|key| Some((key, state.held.get(key)?))) {
            let (what, part) = (what.word(), victim.part.word());
            return Err(format!("the {what}{part} of {} is held by window {other}", victim.node));
        }
        self.limits.allow(self.topology, &state.in_force, victims)?;
        state.held.extend(held.iter().map(|key| (key.clone(), window.id)));
        state.in_force.insert(window.id, victims.to_vec());
        Ok(Claim { claims: self, window: window.id, held })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.claims.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.in_force.remove(&self.window);
        for key in &self.held {
            state.held.remove(key);
        }
    }
}
