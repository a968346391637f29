//! A forward pass over the events of a register with repeated values: a no by relaxation, a yes by a beam.
//!
//! It carries the set of all configurations the register may be in (Lowe 2017, just-in-time linearization):
//! the state, and which of the open operations took effect. Configurations change at returns only, and an
//! operation that has returned is forgotten, so the cost depends on how many calls are open at once and not
//! on the length of the history. What keeps the set small, exactly:
//! - reads and mismatches are taken as soon as they are possible;
//! - when a blind write takes effect, every other open blind write may have gone just before it, unseen. It is
//!   then *either*: done, or still to be used, as needed. One configuration stands for all subsets of those;
//! - of equal open operations the one that returns first is used, and indefinite ones are known by what they
//!   do and how often they were used, not one by one;
//! - a configuration is dropped when another one can do all that it can.
//!
//! Indefinite operations, which never return, still multiply configurations. So there are two ways to go:
//! - [`relaxed`] lets them take effect any number of times, and explains a mismatch by any write that might
//!   have gone unseen. If no configuration survives that, there is no legal order.
//! - [`beam`] counts their uses, but keeps only the most promising configurations. If one survives, there is a
//!   legal order.

use rustc_hash::FxHashMap;

use crate::model::Entry;
use crate::model::register::{NULL, RegisterCall, ValueId};

/// Configurations a beam may visit at one return, as a multiple of its width.
const VISITS_PER_BEAM: u64 = 50;

/// What the relaxed pass found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// No legal order exists: none for what was called before this entry (a place in the entries) returned.
    Impossible {
        /// The entry whose return no configuration survived.
        at: usize,
    },
    /// Something survived. Proves that a legal order exists only if nothing had to be allowed that should not
    /// be: without indefinite operations and mismatches.
    Possible {
        /// Is it a proof?
        exact: bool,
    },
    /// More than 128 operations open at once, or more configurations than allowed.
    TooLarge,
}

/// Asks for a no; visits at most `configs_max` configurations, each of about 100 bytes while its return is
/// worked on. Answers with what it found and how many it visited.
pub fn relaxed(entries: &[Entry<RegisterCall>], configs_max: u64) -> (Forward, u64) {
    let mut pass = Pass::new(entries, None, configs_max);
    let found = match pass.run() {
        Ok(()) => {
            let inexact = |entry: &Entry<RegisterCall>| {
                entry.is_optional() || matches!(entry.call, RegisterCall::Differs(_))
            };
            Forward::Possible { exact: !entries.iter().any(inexact) }
        }
        Err(Stop::Empty(at)) => Forward::Impossible { at },
        Err(Stop::TooLarge) => Forward::TooLarge,
    };
    (found, configs_max - pass.configs_left)
}

/// Asks for a yes, keeping `width` configurations; visits at most `configs_max`. A false proves nothing. Answers
/// also with how many it visited.
pub fn beam(entries: &[Entry<RegisterCall>], width: usize, configs_max: u64) -> (bool, u64) {
    let mut pass = Pass::new(entries, Some(width), configs_max);
    let legal = pass.run().is_ok();
    (legal, configs_max - pass.configs_left)
}

/// Open definite operations as bits.
type Slots = u128;

/// Where the register may be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Config {
    state: ValueId,
    /// Open operations that took effect.
    done: Slots,
    /// Open blind writes that took effect, or did not, as needed.
    either: Slots,
    /// How often each kind of indefinite operation was used; always empty where that is not counted.
    used: Vec<u16>,
}

/// Why a pass ended early.
enum Stop {
    /// No configuration survived the return of this entry.
    Empty(usize),
    /// More than can be followed.
    TooLarge,
}

struct Pass<'e> {
    entries: &'e [Entry<RegisterCall>],
    /// Configurations that may still be visited.
    configs_left: u64,
    configs: Vec<Config>,
    /// The entry in each slot.
    slots: Vec<Option<usize>>,
    slot_of: FxHashMap<usize, usize>,
    reads: Slots,
    mismatches: Slots,
    writes: Slots,
    cas: Slots,
    /// Kinds of indefinite operation that may take effect from now on, and how many of each there are.
    infos: Vec<(RegisterCall, u16)>,
    /// How many configurations are kept, if not all; then uses of indefinite operations are counted.
    beam: Option<usize>,
}

impl<'e> Pass<'e> {
    fn new(entries: &'e [Entry<RegisterCall>], beam: Option<usize>, configs_left: u64) -> Self {
        Pass {
            entries,
            configs_left,
            configs: vec![Config { state: NULL, done: 0, either: 0, used: Vec::new() }],
            slots: Vec::new(),
            slot_of: FxHashMap::default(),
            reads: 0,
            mismatches: 0,
            writes: 0,
            cas: 0,
            infos: Vec::new(),
            beam,
        }
    }

    /// Goes over the calls and returns in order.
    fn run(&mut self) -> Result<(), Stop> {
        // (position, is it a return, entry)
        let mut edges: Vec<(u64, bool, usize)> = Vec::with_capacity(self.entries.len() * 2);
        for (i, entry) in self.entries.iter().enumerate() {
            edges.push((entry.inv, false, i));
            if !entry.is_optional() {
                edges.push((entry.ret, true, i));
            }
        }
        edges.sort_unstable();
        for (_, returns, i) in edges {
            if returns {
                self.give_back(i)?
            } else {
                self.call(i)?
            }
            if self.configs.is_empty() {
                return Err(Stop::Empty(i));
            }
        }
        Ok(())
    }

    fn call(&mut self, i: usize) -> Result<(), Stop> {
        let entry = &self.entries[i];
        if entry.is_optional() {
            match self.infos.iter_mut().find(|(call, _)| *call == entry.call) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => self.infos.push((entry.call, 1)),
            }
            return Ok(());
        }
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if slot == Slots::BITS as usize {
            return Err(Stop::TooLarge);
        }
        self.slots.resize(self.slots.len().max(slot + 1), None);
        self.slots[slot] = Some(i);
        self.slot_of.insert(i, slot);
        let bit = 1 << slot;
        match entry.call {
            RegisterCall::Read(_) => self.reads |= bit,
            RegisterCall::Differs(_) => self.mismatches |= bit,
            RegisterCall::Write(_) => self.writes |= bit,
            RegisterCall::Cas(..) => self.cas |= bit,
        }
        let mut configs = std::mem::take(&mut self.configs);
        configs.iter_mut().for_each(|config| self.settle(config));
        self.configs = configs;
        Ok(())
    }

    /// An operation returns: only configurations in which it has taken effect go on.
    fn give_back(&mut self, i: usize) -> Result<(), Stop> {
        let Some(slot) = self.slot_of.remove(&i) else { return Ok(()) };
        let bit: Slots = 1 << slot;
        let mut kept = Antichain::new(self.cas & !bit, self.reads | self.mismatches);
        let mut seen = Antichain::new(self.cas, self.reads | self.mismatches);
        let mut work: Vec<Config> = Vec::new();
        let mut next = std::mem::take(&mut self.configs);
        let mut visited = 0;
        loop {
            for config in next.drain(..) {
                if (config.done | config.either) & bit != 0 {
                    let (done, either) = (config.done & !bit, config.either & !bit);
                    kept.insert(&Config { done, either, ..config.clone() });
                }
                // In `either` it may also be used now, for the sake of those that need its value.
                if config.done & bit == 0 && seen.insert(&config) {
                    work.push(config);
                }
            }
            let enough = self.beam.is_some_and(|width| visited > width as u64 * VISITS_PER_BEAM);
            let Some(config) = work.pop().filter(|_| !enough) else { break };
            self.follow(&config, &mut next);
            let cost = 1 + next.len() as u64 / 8;
            visited += cost;
            self.configs_left = self.configs_left.checked_sub(cost).ok_or(Stop::TooLarge)?;
        }
        self.slots[slot] = None;
        for kind in [&mut self.reads, &mut self.mismatches, &mut self.writes, &mut self.cas] {
            *kind &= !bit;
        }
        self.configs = kept.into_configs();
        if let Some(width) = self.beam
            && self.configs.len() > width
        {
            // Fewest indefinite operations spent first, then most freedom.
            self.configs.sort_by_cached_key(|config| {
                let spent: u32 = config.used.iter().map(|&used| u32::from(used)).sum();
                (spent, u32::MAX - config.either.count_ones() - (config.done & !self.writes).count_ones())
            });
            self.configs.truncate(width);
        }
        Ok(())
    }

    /// Everything that may happen next.
    fn follow(&self, config: &Config, next: &mut Vec<Config>) {
        let undone = self.writes & !config.done & !config.either;
        for slot in self.first_of_each(undone).chain(self.first_of_each(config.either)) {
            if let Some(RegisterCall::Write(to)) = self.call_in(slot) {
                let mut after = config.clone();
                after.done |= 1 << slot;
                after.either &= !(1 << slot);
                self.write_blindly(&mut after, to);
                next.push(after);
            }
        }
        for slot in self.first_of_each(self.cas & !config.done) {
            if let Some(RegisterCall::Cas(from, to)) = self.call_in(slot)
                && from == config.state
            {
                let mut after = Config { state: to, ..config.clone() };
                after.done |= 1 << slot;
                self.settle(&mut after);
                next.push(after);
            }
        }
        for kind in 0..self.infos.len() {
            next.extend(self.use_info(config, kind, undone != 0));
        }
    }

    /// An indefinite operation takes effect, if one is left and it makes a difference.
    fn use_info(&self, config: &Config, kind: usize, hides: bool) -> Option<Config> {
        let (call, count) = self.infos[kind];
        let to = match call {
            RegisterCall::Write(to) if to != config.state || hides => to,
            RegisterCall::Cas(from, to) if from == config.state && to != from => to,
            _ => return None,
        };
        let used = config.used.get(kind).copied().unwrap_or(0);
        if self.beam.is_some() && used >= count {
            return None;
        }
        let mut after = config.clone();
        if self.beam.is_some() {
            after.used.resize(after.used.len().max(kind + 1), 0);
            after.used[kind] += 1;
        }
        if let RegisterCall::Write(_) = call {
            self.write_blindly(&mut after, to);
        } else {
            after.state = to;
            self.settle(&mut after);
        }
        Some(after)
    }

    /// Of each different call among `slots` the one that returns first.
    fn first_of_each(&self, slots: Slots) -> impl Iterator<Item = usize> {
        bits(slots).filter(move |&slot| {
            let (call, ret) = (self.call_in(slot), self.ret_in(slot));
            !bits(slots).any(|other| self.ret_in(other) < ret && self.call_in(other) == call)
        })
    }

    /// After a blind write of `to` all others that are open may have gone before it.
    fn write_blindly(&self, config: &mut Config, to: ValueId) {
        let hidden = self.writes & !config.done;
        config.state = to;
        config.either |= hidden;
        let some_write =
            hidden != 0 || self.infos.iter().any(|(call, _)| matches!(call, RegisterCall::Write(_)));
        if self.beam.is_none() && some_write {
            config.done |= self.mismatches;
        }
        self.settle(config);
    }

    /// Takes what is possible at once: reads of the state, mismatches of other values, writes of the same.
    fn settle(&self, config: &mut Config) {
        for slot in bits((self.reads | self.mismatches | self.writes) & !config.done & !config.either) {
            match self.call_in(slot) {
                Some(RegisterCall::Read(value)) if value == config.state => config.done |= 1 << slot,
                Some(RegisterCall::Differs(value)) if value != config.state => config.done |= 1 << slot,
                Some(RegisterCall::Write(value)) if value == config.state => config.either |= 1 << slot,
                _ => {}
            }
        }
    }

    fn call_in(&self, slot: usize) -> Option<RegisterCall> {
        self.slots[slot].map(|i| self.entries[i].call)
    }

    fn ret_in(&self, slot: usize) -> u64 {
        self.slots[slot].map_or(u64::MAX, |i| self.entries[i].ret)
    }
}

fn bits(mut slots: Slots) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let slot = slots.trailing_zeros() as usize;
        (slots != 0).then(|| {
            slots &= slots - 1;
            slot
        })
    })
}

/// Configurations none of which can do all that another one can.
struct Antichain {
    cas: Slots,
    pure: Slots,
    groups: FxHashMap<(ValueId, Slots), Vec<Config>>,
}

impl Antichain {
    fn new(cas: Slots, pure: Slots) -> Self {
        Antichain { cas, pure, groups: FxHashMap::default() }
    }

    /// Adds a configuration, and drops those it covers; false when one that is there covers it.
    fn insert(&mut self, config: &Config) -> bool {
        let pure = self.pure;
        let group = self.groups.entry((config.state, config.done & self.cas)).or_default();
        if group.iter().any(|other| covers(other, config, pure)) {
            return false;
        }
        group.retain(|other| !covers(config, other, pure));
        group.push(config.clone());
        true
    }

    fn into_configs(self) -> Vec<Config> {
        let mut groups: Vec<_> = self.groups.into_iter().collect();
        groups.sort_unstable_by_key(|(key, _)| *key);
        groups.into_iter().flat_map(|(_, group)| group).collect()
    }
}

/// Of two configurations with the same state and the same compare-and-sets done: can `one` do all that
/// `other` can? Reads done are only good; a write is better either way than one way.
fn covers(one: &Config, other: &Config, pure: Slots) -> bool {
    let writes = !pure;
    other.done & pure & !one.done == 0
        && other.either & !one.either == 0
        && other.done & writes & !(one.done | one.either) == 0
        && one.done & writes & !other.done == 0
        && one.used.iter().enumerate().all(|(kind, used)| *used <= other.used.get(kind).copied().unwrap_or(0))
}
