//! A forward pass over the events that can only say no: a register with repeated values, made a little more
//! permissive than it is.
//!
//! It carries the set of all configurations the register may be in (Lowe 2017, just-in-time linearization):
//! the state, and which of the open operations took effect. Configurations change at returns only, and an
//! operation that has returned is forgotten, so the cost depends on how many calls are open at once and not
//! on the length of the history. If the set becomes empty, no legal order exists. That it does not proves
//! nothing, for two things are allowed that should not be:
//! - an indefinite operation may take effect any number of times after its call;
//! - a mismatch is explained by any write that might have gone unseen just before another one.
//!
//! That keeps the set small where the search drowns: many indefinite operations, and no order. What else keeps
//! it small is exact:
//! - reads and mismatches are taken as soon as they are possible;
//! - when a blind write takes effect, every other open blind write may have gone just before it, unseen. It is
//!   then *either*: done, or still to be used, as needed. One configuration stands for all subsets of those;
//! - of equal open operations the one that returns first is used;
//! - a configuration is dropped when another one can do all that it can.

use rustc_hash::FxHashMap;

use crate::model::Entry;
use crate::model::register::{NULL, RegisterCall, ValueId};

/// What the pass found.
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

/// Goes once over `entries`, visiting at most `configs_max` configurations in all. Each takes about 100 bytes
/// while its return is worked on.
///
/// Answers with what it found and how many it visited.
pub fn pass(entries: &[Entry<RegisterCall>], configs_max: u64) -> (Forward, u64) {
    let mut edges: Vec<(u64, bool, u32)> = Vec::with_capacity(entries.len() * 2);
    for (i, entry) in entries.iter().enumerate() {
        edges.push((entry.inv, false, i as u32));
        if !entry.is_optional() {
            edges.push((entry.ret, true, i as u32));
        }
    }
    edges.sort_unstable();
    let mut pass = Pass::new(entries, configs_max);
    let found = pass.run(&edges);
    (found, configs_max - pass.configs_left)
}

/// Open definite operations as bits.
type Slots = u128;

/// Where the register may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Config {
    state: ValueId,
    /// Open operations that took effect.
    done: Slots,
    /// Open blind writes that took effect, or did not, as needed.
    either: Slots,
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
    /// Values that indefinite writes may leave at any time from now on.
    info_writes: Vec<ValueId>,
    /// Changes that indefinite compare-and-sets may make from now on.
    info_cas: Vec<(ValueId, ValueId)>,
}

impl<'e> Pass<'e> {
    fn new(entries: &'e [Entry<RegisterCall>], configs_left: u64) -> Self {
        Pass {
            entries,
            configs_left,
            configs: vec![Config { state: NULL, done: 0, either: 0 }],
            slots: Vec::new(),
            slot_of: FxHashMap::default(),
            reads: 0,
            mismatches: 0,
            writes: 0,
            cas: 0,
            info_writes: Vec::new(),
            info_cas: Vec::new(),
        }
    }

    /// Goes over the calls and returns (position, is it a return, entry), in order.
    fn run(&mut self, edges: &[(u64, bool, u32)]) -> Forward {
        for &(_, returns, i) in edges {
            let fits = if returns { self.give_back(i as usize) } else { self.call(i as usize) };
            if !fits {
                return Forward::TooLarge;
            }
            if self.configs.is_empty() {
                return Forward::Impossible { at: i as usize };
            }
        }
        let inexact = |entry: &Entry<RegisterCall>| {
            entry.is_optional() || matches!(entry.call, RegisterCall::Differs(_))
        };
        Forward::Possible { exact: !self.entries.iter().any(inexact) }
    }

    /// An operation is called; false when there is no slot for it.
    fn call(&mut self, i: usize) -> bool {
        let entry = &self.entries[i];
        if entry.is_optional() {
            match entry.call {
                RegisterCall::Write(value) if !self.info_writes.contains(&value) => {
                    self.info_writes.push(value)
                }
                RegisterCall::Cas(from, to) if from != to && !self.info_cas.contains(&(from, to)) => {
                    self.info_cas.push((from, to));
                }
                _ => {}
            }
            return true;
        }
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if slot == Slots::BITS as usize {
            return false;
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
        configs.iter_mut().for_each(|config| *config = self.settled(*config));
        self.configs = configs;
        true
    }

    /// An operation returns: only configurations in which it has taken effect go on. False when there are too
    /// many to follow.
    fn give_back(&mut self, i: usize) -> bool {
        let Some(slot) = self.slot_of.remove(&i) else { return true };
        let bit: Slots = 1 << slot;
        let mut kept = Antichain::new(self.cas & !bit, self.reads | self.mismatches);
        let mut seen = Antichain::new(self.cas, self.reads | self.mismatches);
        let mut work: Vec<Config> = Vec::new();
        let cleared =
            |config: Config| Config { done: config.done & !bit, either: config.either & !bit, ..config };
        for config in std::mem::take(&mut self.configs) {
            if config.done & bit == 0 && seen.insert(config) {
                work.push(config);
            }
            if (config.done | config.either) & bit != 0 {
                kept.insert(cleared(config));
            }
        }
        let mut next = Vec::new();
        while let Some(config) = work.pop() {
            self.follow(config, &mut next);
            let visited = 1 + next.len() as u64;
            for config in next.drain(..) {
                if (config.done | config.either) & bit != 0 {
                    kept.insert(cleared(config));
                }
                if config.done & bit == 0 && seen.insert(config) {
                    work.push(config);
                }
            }
            let Some(left) = self.configs_left.checked_sub(visited) else { return false };
            self.configs_left = left;
        }
        self.slots[slot] = None;
        for kind in [&mut self.reads, &mut self.mismatches, &mut self.writes, &mut self.cas] {
            *kind &= !bit;
        }
        self.configs = kept.into_configs();
        true
    }

    /// Everything that may happen next.
    fn follow(&self, config: Config, next: &mut Vec<Config>) {
        self.each_kind(self.writes & !config.done & !config.either, next, |slot, to| {
            self.written(config, slot, to)
        });
        self.each_kind(config.either, next, |slot, to| self.written(config, slot, to));
        self.each_kind(self.cas & !config.done, next, |slot, to| match self.call_in(slot) {
            Some(RegisterCall::Cas(from, _)) if from == config.state => {
                Some(self.settled(Config { state: to, done: config.done | 1 << slot, ..config }))
            }
            _ => None,
        });
        let hidden = self.writes & !config.done & !config.either;
        for &to in &self.info_writes {
            if to != config.state || hidden != 0 {
                next.push(self.blindly(config, to));
            }
        }
        for &(from, to) in &self.info_cas {
            if from == config.state {
                next.push(self.settled(Config { state: to, ..config }));
            }
        }
    }

    /// Tries one operation for each different call among `slots`: the one that returns first.
    fn each_kind(
        &self,
        slots: Slots,
        next: &mut Vec<Config>,
        try_it: impl Fn(usize, ValueId) -> Option<Config>,
    ) {
        let mut rest = slots;
        while rest != 0 {
            let slot = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let Some(call) = self.call_in(slot) else { continue };
            let ret = self.ret_in(slot);
            let earlier = |other: usize| self.call_in(other) == Some(call) && self.ret_in(other) < ret;
            if !bits(slots).any(earlier)
                && let Some(to) = call.writes()
            {
                next.extend(try_it(slot, to));
            }
        }
    }

    fn written(&self, config: Config, slot: usize, to: ValueId) -> Option<Config> {
        let bit: Slots = 1 << slot;
        let config = Config { done: config.done | bit, either: config.either & !bit, ..config };
        Some(self.blindly(config, to))
    }

    /// After a blind write of `to`: all others that are open may have gone before it.
    fn blindly(&self, config: Config, to: ValueId) -> Config {
        let hidden = self.writes & !config.done;
        let some_write = !self.info_writes.is_empty() || hidden != 0;
        let mut config = Config { state: to, either: config.either | hidden, ..config };
        if some_write {
            config.done |= self.mismatches;
        }
        self.settled(config)
    }

    /// Takes what is possible at once: reads of the state, mismatches of other values, writes of the same.
    fn settled(&self, mut config: Config) -> Config {
        for slot in bits((self.reads | self.mismatches | self.writes) & !config.done & !config.either) {
            match self.call_in(slot) {
                Some(RegisterCall::Read(value)) if value == config.state => config.done |= 1 << slot,
                Some(RegisterCall::Differs(value)) if value != config.state => config.done |= 1 << slot,
                Some(RegisterCall::Write(value)) if value == config.state => config.either |= 1 << slot,
                _ => {}
            }
        }
        config
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
    fn insert(&mut self, config: Config) -> bool {
        let pure = self.pure;
        let group = self.groups.entry((config.state, config.done & self.cas)).or_default();
        if group.iter().any(|other| covers(other, &config, pure)) {
            return false;
        }
        group.retain(|other| !covers(&config, other, pure));
        group.push(config);
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
}
