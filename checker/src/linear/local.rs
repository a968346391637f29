//! Forward configuration sets for any [`Model`]: all that may be the case at each return (Lowe 2017, just-in-time
//! linearization).
//!
//! Where depth-first search says no only after it went back through all the history, this says so at the first
//! return that nothing survives, and forgets what has returned: its cost depends on how many calls are open at
//! once. A configuration is a state, the open operations that took effect, and how often each kind of indefinite
//! operation was used. Pure operations are taken at once; of equal calls the one that returns first is used; and
//! of two configurations that differ only in pure operations done and indefinite ones used, one that did all the
//! first and no more of the second is enough.

use rustc_hash::FxHashMap;

use super::states::States;
use crate::budget::Meter;
use crate::forward::{Forward, Report};
use crate::model::{Entry, Model};
use crate::{Budget, EndedBy};

/// Open definite operations as bits.
type Slots = u128;

/// A pass over `entries` from each of `starts`; [`Forward::Possible`] says that a legal order exists,
/// [`Forward::Impossible`] that none does, at the first return that shows it.
pub fn pass<M: Model>(model: &M, entries: &[Entry<M::Call>], starts: &[M::State], budget: &Budget) -> Report {
    Pass::new(model, entries, starts, budget).report()
}

/// The last time before `end` that no definite operation was open, and every state the object may have been in;
/// none where there was no such time, or the budget ended first.
pub fn states_at_rest<M: Model>(
    model: &M,
    entries: &[Entry<M::Call>],
    end: u64,
    budget: &Budget,
) -> Option<(u64, Vec<M::State>)> {
    let mut pass = Pass::new(model, entries, &[model.init()], budget);
    pass.end = end;
    // Nothing may have survived the end itself: what counts is the last rest before it.
    match pass.run() {
        Err((End::Budget(_), _)) => None,
        Ok(()) | Err((End::Empty, _)) => pass.rest,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Config {
    state: u32,
    done: Slots,
    /// Uses by kind of indefinite operation, without trailing zeros.
    used: Vec<u16>,
}

/// A kind of indefinite operation.
struct Kind {
    class: u32,
    entry: usize,
    count: u16,
}

enum End {
    Empty,
    Budget(EndedBy),
}

impl From<EndedBy> for End {
    fn from(ended_by: EndedBy) -> Self {
        End::Budget(ended_by)
    }
}

struct Pass<'e, M: Model> {
    model: &'e M,
    entries: &'e [Entry<M::Call>],
    classes: Vec<u32>,
    states: States<M>,
    configs: Vec<Config>,
    /// The entry in each slot.
    slots: Vec<usize>,
    open: Slots,
    pure: Slots,
    kinds: Vec<Kind>,
    meter: Meter,
    survived: usize,
    last: Option<usize>,
    /// Nothing from this position on is looked at.
    end: u64,
    rest: Option<(u64, Vec<M::State>)>,
}

impl<'e, M: Model> Pass<'e, M> {
    fn new(model: &'e M, entries: &'e [Entry<M::Call>], starts: &[M::State], budget: &Budget) -> Self {
        let mut numbers: FxHashMap<&M::Call, u32> = FxHashMap::default();
        let classes = entries.iter().map(|entry| {
            let fresh = numbers.len() as u32;
            *numbers.entry(&entry.call).or_insert(fresh)
        });
        let classes = classes.collect();
        let mut states = States::new(model, model.init());
        let starts = starts.iter().map(|start| states.number(model, start.clone()));
        let configs = starts.map(|state| Config { state, done: 0, used: Vec::new() }).collect();
        Pass {
            model,
            entries,
            classes,
            states,
            configs,
            slots: Vec::new(),
            open: 0,
            pure: 0,
            kinds: Vec::new(),
            meter: Meter::new(budget),
            survived: 0,
            last: None,
            end: u64::MAX,
            rest: None,
        }
    }

    fn report(mut self) -> Report {
        let (found, ended_by, at) = match self.run() {
            Ok(()) => (Forward::Possible { exact: true }, None, None),
            Err((End::Empty, at)) => (Forward::Impossible { at }, None, Some(at)),
            Err((End::Budget(by), at)) => (Forward::TooLarge, Some(by), Some(at)),
        };
        Report {
            found,
            ended_by,
            states: self.meter.states(),
            bytes: self.meter.bytes_peak(),
            survived: self.survived,
            last: self.last,
            complete: true,
            relaxed: false,
            at,
            open: bits(self.open).map(|slot| self.slots[slot]).collect(),
            order: None,
        }
    }

    fn run(&mut self) -> Result<(), (End, usize)> {
        self.meter.holds(self.entries.len() as u64 * 32).map_err(|by| (End::Budget(by), 0))?;
        for (position, i) in crate::forward::edges(self.entries) {
            if position >= self.end {
                return Ok(());
            }
            if position == self.entries[i].inv {
                self.call(i).map_err(|by| (End::Budget(by), i))?;
            } else {
                self.give_back(i).map_err(|end| (end, i))?;
                self.survived += 1;
                self.last = Some(i);
                if self.open == 0 && self.end != u64::MAX {
                    self.note_rest(position);
                }
            }
        }
        Ok(())
    }

    fn note_rest(&mut self, position: u64) {
        let mut numbers: Vec<u32> = self.configs.iter().map(|config| config.state).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let states = numbers.into_iter().filter_map(|number| self.states.get(number).cloned());
        self.rest = Some((position, states.collect()));
    }

    fn call(&mut self, i: usize) -> Result<(), EndedBy> {
        let class = self.classes[i];
        if self.entries[i].is_optional() {
            match self.kinds.iter_mut().find(|kind| kind.class == class) {
                Some(kind) => kind.count = kind.count.saturating_add(1),
                None => self.kinds.push(Kind { class, entry: i, count: 1 }),
            }
            return Ok(());
        }
        let slot = (!self.open).trailing_zeros() as usize;
        if slot == Slots::BITS as usize {
            return Err(EndedBy::Width);
        }
        match self.slots.get_mut(slot) {
            Some(place) => *place = i,
            None => self.slots.push(i),
        }
        let bit = 1 << slot;
        self.open |= bit;
        if self.model.is_pure(&self.entries[i].call) {
            self.pure |= bit;
            let mut configs = std::mem::take(&mut self.configs);
            configs.iter_mut().for_each(|config| self.settle(config));
            self.configs = configs;
        }
        Ok(())
    }

    /// Takes every open pure operation that is possible.
    fn settle(&mut self, config: &mut Config) {
        for slot in bits(self.pure & !config.done) {
            if self.step(config.state, self.slots[slot]).is_some() {
                config.done |= 1 << slot;
            }
        }
    }

    fn step(&mut self, state: u32, i: usize) -> Option<u32> {
        self.states.step(self.model, state, self.classes[i], &self.entries[i].call)
    }

    fn give_back(&mut self, i: usize) -> Result<(), End> {
        let Some(slot) = bits(self.open).find(|&slot| self.slots[slot] == i) else { return Ok(()) };
        let bit: Slots = 1 << slot;
        let (mut kept, mut seen) = (Antichain::new(self.pure & !bit), Antichain::new(self.pure));
        let mut work: Vec<Config> = Vec::new();
        let mut next = std::mem::take(&mut self.configs);
        loop {
            for config in next.drain(..) {
                if config.done & bit != 0 {
                    kept.insert(Config { done: config.done & !bit, ..config });
                } else if seen.insert(config.clone()) {
                    work.push(config);
                }
            }
            let Some(config) = work.pop() else { break };
            self.follow(&config, &mut next);
            self.meter.visits(1 + next.len() as u64 / 8)?;
            let each = size_of::<Config>() * 2 + 16 + 2 * self.kinds.len();
            let configs = ((kept.len + seen.len + work.len()) * each) as u64;
            self.meter.holds_besides(configs + self.states.bytes())?;
        }
        self.open &= !bit;
        self.pure &= !bit;
        self.configs = kept.into_configs();
        if self.configs.is_empty() { Err(End::Empty) } else { Ok(()) }
    }

    /// Everything that may happen next.
    fn follow(&mut self, config: &Config, next: &mut Vec<Config>) {
        let left = self.open & !self.pure & !config.done;
        for slot in bits(left) {
            let i = self.slots[slot];
            let is_first = !bits(left).any(|other| {
                let j = self.slots[other];
                self.classes[j] == self.classes[i] && self.entries[j].ret < self.entries[i].ret
            });
            if is_first && let Some(state) = self.step(config.state, i) {
                let mut after = Config { state, done: config.done | 1 << slot, used: config.used.clone() };
                self.settle(&mut after);
                next.push(after);
            }
        }
        for place in 0..self.kinds.len() {
            let Kind { entry, count, .. } = self.kinds[place];
            if config.used.get(place).is_some_and(|&used| used >= count) {
                continue;
            }
            if let Some(state) = self.step(config.state, entry).filter(|&state| state != config.state) {
                let mut after = Config { state, ..config.clone() };
                after.used.resize(after.used.len().max(place + 1), 0);
                after.used[place] += 1;
                self.settle(&mut after);
                next.push(after);
            }
        }
    }
}

fn bits(slots: Slots) -> impl Iterator<Item = usize> {
    crate::forward::bits(slots)
}

/// Configurations none of which can do all that another one can.
struct Antichain {
    pure: Slots,
    len: usize,
    groups: FxHashMap<(u32, Slots), Vec<Config>>,
}

impl Antichain {
    fn new(pure: Slots) -> Self {
        Antichain { pure, len: 0, groups: FxHashMap::default() }
    }

    /// Adds a configuration, and drops those it covers; false when one that is there covers it.
    fn insert(&mut self, config: Config) -> bool {
        let group = self.groups.entry((config.state, config.done & !self.pure)).or_default();
        if group.iter().any(|other| covers(other, &config)) {
            return false;
        }
        let before = group.len();
        group.retain(|other| !covers(&config, other));
        group.push(config);
        self.len = self.len + group.len() - before;
        true
    }

    fn into_configs(self) -> Vec<Config> {
        let mut groups: Vec<_> = self.groups.into_iter().collect();
        groups.sort_unstable_by_key(|(key, _)| *key);
        groups.into_iter().flat_map(|(_, group)| group).collect()
    }
}

/// Of two that differ only in pure operations done and indefinite ones used: did `one` do as much with no more?
fn covers(one: &Config, other: &Config) -> bool {
    let used = |kind: usize| other.used.get(kind).copied().unwrap_or(0);
    other.done & !one.done == 0 && one.used.iter().enumerate().all(|(kind, &uses)| uses <= used(kind))
}
