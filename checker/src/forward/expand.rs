//! What may happen until an operation returns.

use super::config::{Antichain, Config};
use super::open::Slots;
use super::wants::{Wants, is_left};
use super::{End, Pass, SURVIVORS_PER_BEAM, VISITS_PER_BEAM, settle};
use crate::model::Entry;
use crate::model::register::{RegisterCall, ValueId};

/// The search for all that may happen until one operation returns.
struct Hunt {
    /// The slot that returns, as a bit.
    bit: Slots,
    /// What goes on after the return.
    kept: Antichain,
    /// What was met before it.
    seen: Antichain,
    /// What is still to be followed, by how many indefinite operations it used here.
    work: Vec<Vec<Config>>,
    waiting: usize,
    visited: u64,
}

impl Hunt {
    /// Goes on after the return.
    fn keep(&mut self, config: &Config) {
        self.kept.insert(&config.without(self.bit));
    }

    /// Is to be followed, `spent` indefinite operations after the beginning.
    fn push(&mut self, config: Config, spent: usize) {
        if self.seen.insert(&config) {
            if self.work.len() <= spent {
                self.work.resize_with(spent + 1, Vec::new);
            }
            self.work[spent].push(config);
            self.waiting += 1;
        }
    }

    /// The next one that used fewest, if no other one covers it by now.
    fn pop(&mut self) -> Option<(Config, usize)> {
        for spent in 0..self.work.len() {
            while let Some(config) = self.work[spent].pop() {
                self.waiting -= 1;
                if self.seen.holds(&config) {
                    return Some((config, spent));
                }
            }
        }
        None
    }
}

impl Pass<'_> {
    /// An operation returns: only configurations in which it has taken effect go on.
    pub(super) fn give_back(&mut self, i: usize) -> Result<(), End> {
        let Some(slot) = self.open.slot_of(i) else { return Ok(()) };
        let bit: Slots = 1 << slot;
        let pure = self.open.reads | self.open.mismatches;
        let mut hunt = Hunt {
            bit,
            kept: Antichain::new(self.open.cas & !bit, pure & !bit),
            seen: Antichain::new(self.open.cas, pure),
            work: Vec::new(),
            waiting: 0,
            visited: 0,
        };
        for config in std::mem::take(&mut self.configs) {
            self.arrive(&mut hunt, config, slot, true, 0);
        }
        self.exhaust(&mut hunt, slot)?;
        self.configs = hunt.kept.into_configs();
        if self.configs.is_empty() {
            return Err(End::Empty);
        }
        self.open.free(slot);
        self.narrow();
        self.forget(self.entries[i].ret);
        Ok(())
    }

    fn exhaust(&mut self, hunt: &mut Hunt, slot: usize) -> Result<(), End> {
        let bytes_each = Config::bytes(if self.infos.unlimited { 0 } else { self.infos.kinds().len() });
        let mut next = Vec::new();
        while let Some((config, spent)) = hunt.pop() {
            if let Some(width) = self.width()
                && (hunt.visited > (width as u64).saturating_mul(VISITS_PER_BEAM)
                    || hunt.kept.len() > width.saturating_mul(SURVIVORS_PER_BEAM) && spent > 0)
            {
                self.complete = false;
                return Ok(());
            }
            self.follow(&config, slot, &mut next);
            let cost = 1 + next.len() as u64 / 8;
            hunt.visited += cost;
            self.meter.visits(cost)?;
            for (after, uses) in next.drain(..) {
                let was_either = config.either & hunt.bit != 0;
                self.arrive(hunt, after, slot, !was_either, spent + uses);
            }
            let held = hunt.kept.len() + hunt.seen.len() + hunt.waiting;
            let held = held + self.retry.as_ref().map_or(0, |retry| retry.configs());
            let trail = self.trail.as_ref().map_or(0, |trail| trail.bytes());
            self.meter.holds_besides(held as u64 * bytes_each + trail)?;
        }
        Ok(())
    }

    /// A configuration before the return: goes on after it, is followed further, or both.
    fn arrive(&mut self, hunt: &mut Hunt, config: Config, slot: usize, fresh: bool, spent: usize) {
        if config.done & hunt.bit != 0 {
            hunt.keep(&config);
            return;
        }
        if config.either & hunt.bit != 0 {
            // What happens after it became either can wait until after the return.
            if fresh {
                let mut config = config.clone();
                if let Some(trail) = &mut self.trail {
                    config.trail = trail.hidden(config.trail, self.open.entry(slot));
                }
                hunt.keep(&config);
            }
            if !self.is_worth_showing(&config, slot) {
                return;
            }
        }
        hunt.push(config, spent);
    }

    /// A write that may have gone unseen returns: may anybody still want to see its value?
    fn is_worth_showing(&self, config: &Config, slot: usize) -> bool {
        let RegisterCall::Write(value) = self.open.call_in(slot) else { return true };
        let named = self.open.of(value);
        self.shown[self.open.entry(slot) as usize]
            || (named.reads | named.expects) & !config.done != 0
            || self.open.mismatches & !config.done != 0
    }

    /// Everything that may happen next, and how many indefinite operations it takes.
    fn follow(&mut self, config: &Config, returning: usize, next: &mut Vec<(Config, usize)>) {
        let wants = Wants::new(&self.open, &self.infos, config);
        let owed = wants.owed;
        let undone = self.open.writes & !config.done & !config.either;
        let mut writes: Vec<usize> =
            self.open.first_of_each(undone).chain(self.open.first_of_each(config.either)).collect();
        let worth = |slot: &usize| match self.open.call_in(*slot) {
            RegisterCall::Write(to) => *slot == returning || wants.includes(to),
            _ => false,
        };
        writes.retain(worth);
        let kinds: Vec<usize> = (0..self.infos.kinds().len())
            .filter(|&place| {
                let kind = &self.infos.kinds()[place];
                is_left(&self.infos, config, place, kind)
                    && wants.includes(kind.to)
                    && match kind.call {
                        RegisterCall::Write(to) => to != config.state || owed,
                        RegisterCall::Cas(from, to) => from == config.state && to != from,
                        _ => false,
                    }
            })
            .collect();
        for slot in writes {
            next.push((self.write(config, slot), 0));
        }
        let ready = self.open.of(config.state).expects & !config.done;
        let ready: Vec<usize> = self.open.first_of_each(ready).collect();
        for slot in ready {
            next.extend(self.replace(config, slot).map(|after| (after, 0)));
        }
        for place in kinds {
            next.push((self.use_info(config, place), 1));
        }
    }

    fn write(&mut self, config: &Config, slot: usize) -> Config {
        let mut after = config.clone();
        after.done |= 1 << slot;
        after.either &= !(1 << slot);
        if let Some(trail) = &mut self.trail {
            after.trail = trail.took(after.trail, self.open.entry(slot));
        }
        if let RegisterCall::Write(to) = self.open.call_in(slot) {
            self.write_blindly(&mut after, to);
        }
        after
    }

    fn replace(&mut self, config: &Config, slot: usize) -> Option<Config> {
        let RegisterCall::Cas(_, to) = self.open.call_in(slot) else { return None };
        let mut after = config.clone();
        after.state = to;
        after.done |= 1 << slot;
        if let Some(trail) = &mut self.trail {
            after.trail = trail.took(after.trail, self.open.entry(slot));
        }
        settle(&self.open, self.trail.as_mut(), &mut after);
        Some(after)
    }

    /// An indefinite operation takes effect.
    fn use_info(&mut self, config: &Config, place: usize) -> Config {
        let kind = self.infos.kinds()[place];
        let mut after = config.clone();
        if !self.infos.unlimited {
            after.use_up(place);
        }
        if let Some(trail) = &mut self.trail {
            after.trail = trail.info(after.trail, kind.call);
        }
        if let RegisterCall::Write(_) = kind.call {
            self.write_blindly(&mut after, kind.to);
        } else {
            after.state = kind.to;
            settle(&self.open, self.trail.as_mut(), &mut after);
        }
        after
    }

    /// After a blind write of `to` all others that are open may have gone before it.
    fn write_blindly(&mut self, config: &mut Config, to: ValueId) {
        let hidden = self.open.writes & !config.done;
        config.state = to;
        config.either |= hidden;
        if self.infos.unlimited && (hidden != 0 || self.infos.has_writes()) {
            config.done |= self.open.mismatches;
        }
        settle(&self.open, self.trail.as_mut(), config);
    }
}

/// For each entry that is a blind write: may somebody who is called after it returned see its value before it is
/// certainly written again? For other entries it says nothing.
pub(super) fn shown(entries: &[Entry<RegisterCall>], values_len: usize) -> Vec<bool> {
    let mut uses = vec![Uses::default(); values_len];
    let mut last_mismatch = 0;
    for entry in entries {
        if let RegisterCall::Differs(_) = entry.call {
            last_mismatch = entry.inv.max(last_mismatch);
        }
        if let Some(value) = entry.call.needs() {
            let uses = &mut uses[value as usize];
            uses.calls.push(entry.inv);
            uses.always |= entry.is_optional();
        }
        if let Some(value) = entry.call.writes().filter(|_| !entry.is_optional()) {
            uses[value as usize].written.push((entry.inv, entry.ret));
        }
    }
    uses.iter_mut().for_each(Uses::sort);
    let is_shown = |entry: &Entry<RegisterCall>| match entry.call {
        RegisterCall::Write(value) => last_mismatch > entry.ret || uses[value as usize].after(entry.ret),
        _ => true,
    };
    entries.iter().map(is_shown).collect()
}

/// Who needs a value and who writes it.
#[derive(Debug, Clone, Default)]
struct Uses {
    /// Calls of those that need it.
    calls: Vec<u64>,
    /// May some of them take effect at any time?
    always: bool,
    /// Definite operations that write it: call, and the first return from there on.
    written: Vec<(u64, u64)>,
}

impl Uses {
    fn sort(&mut self) {
        self.calls.sort_unstable();
        self.written.sort_unstable();
        let mut first = u64::MAX;
        for (_, ret) in self.written.iter_mut().rev() {
            first = first.min(*ret);
            *ret = first;
        }
    }

    /// May somebody who is called after `position` see what was written before it?
    fn after(&self, position: u64) -> bool {
        let next = self.calls.get(self.calls.partition_point(|&inv| inv <= position));
        let again = self.written.get(self.written.partition_point(|&(inv, _)| inv <= position));
        self.always || next.is_some_and(|&inv| again.is_none_or(|&(_, ret)| inv < ret))
    }
}
