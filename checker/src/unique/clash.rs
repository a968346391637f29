//! The few operations that show why two zones, or a zone and a mismatch, cannot both be.

use super::zone::Zone;
use super::{Groups, Hold, NONE, Proof};
use crate::model::register::{NULL, RegisterCall};

/// The clash of two zones, with as few and as early operations as show it.
///
/// Something of `newer` was called after something of `older` had returned (so it comes after), and
/// something of `older` was called after something of `newer` had returned (so it comes before).
pub(super) fn torn(groups: &Groups<'_>, older: Zone, newer: Zone) -> Proof {
    let (of_older, of_newer) = (members(groups, older), members(groups, newer));
    let mut held = hold(groups, older);
    let mut torn = hold(groups, newer);
    let last_called = torn.last_called;
    // One operation of the newer block may be enough for both.
    let single = first(groups, &of_newer, |e| groups.inv(e) > older.ret_min && groups.ret(e) < older.inv_max);
    if single.is_some() {
        (torn.first_back, torn.last_called) = (single, single);
    }
    let known = torn.first_back.map_or(0, |e| groups.ret(e as u32));
    held.last_called = first(groups, &of_older, |e| groups.inv(e) > known).or(held.last_called);
    // What was there before had best be what was seen after, rather than something that led to it.
    let seen = held.last_called.and_then(|e| groups.entries[e].call.needs());
    let writer =
        torn.first_back.and_then(|e| groups.value_of(e as u32)).map(|v| groups.all[v as usize].writer);
    let writer = writer.filter(|&e| e != NONE).map(|e| e as usize);
    for began in [torn.last_called, writer, last_called] {
        let at = began.map_or(0, |e| groups.inv(e as u32));
        let before = first(groups, &of_older, |e| groups.value_of(e) == seen && groups.ret(e) < at);
        if before.is_some() {
            (held.first_back, torn.last_called) = (before, began);
            break;
        }
    }
    Proof::Torn { older: Box::new(held.supported(groups)), newer: Box::new(torn.supported(groups)) }
}

/// The first definite entry on one of the values for which `is_it` holds.
fn first(groups: &Groups<'_>, inside: &[bool], is_it: impl Fn(u32) -> bool) -> Option<usize> {
    (0..groups.entries.len()).find(|&i| {
        let on_them = groups.value_of(i as u32).is_some_and(|value| inside[value as usize]);
        on_them && !groups.entries[i].is_optional() && is_it(i as u32)
    })
}

/// A mismatch from whose call to whose return the value it denies was certainly there: something on that
/// value had returned before, and something that needs it was called after.
pub(super) fn denied(groups: &Groups<'_>) -> Result<(), Proof> {
    for (i, entry) in groups.entries.iter().enumerate() {
        let RegisterCall::Differs(value) = entry.call else { continue };
        let group = &groups.all[value as usize];
        if !group.needed {
            continue;
        }
        let some = |entry: u32| (entry != NONE).then_some(entry);
        let next = some(group.succ).and_then(|succ| some(groups.all[succ as usize].writer));
        let back = [group.writer, group.read_min].into_iter().filter_map(some).min_by_key(|&e| groups.ret(e));
        let called = some(group.read_max).into_iter().chain(next).max_by_key(|&e| groups.inv(e));
        // The initial value was there from the start.
        let since = if value == NULL { 0 } else { back.map_or(u64::MAX, |e| groups.ret(e)) };
        let until = called.map_or(0, |e| groups.inv(e));
        if since < groups.inv(i as u32) && groups.ret(i as u32) < until {
            let first_back = if value == NULL { None } else { back.map(|e| e as usize) };
            let last_called = called.map(|e| e as usize);
            let hold = Hold { first_back, last_called, support: Vec::new(), is_unseen: false };
            return Err(Proof::Denied { entry: i, hold: Box::new(hold.supported(groups)) });
        }
    }
    Ok(())
}

/// By value number: is it in the zone's chain?
fn members(groups: &Groups<'_>, zone: Zone) -> Vec<bool> {
    let mut inside = vec![false; groups.all.len()];
    groups.chain(zone.root).for_each(|value| inside[value as usize] = true);
    inside
}

/// The operations at the ends of a zone, without support.
fn hold(groups: &Groups<'_>, zone: Zone) -> Hold {
    let (mut first_back, mut last_called) = (None, None);
    for value in groups.chain(zone.root) {
        let group = &groups.all[value as usize];
        for entry in [group.writer, group.read_min, group.read_max].into_iter().filter(|&entry| entry != NONE)
        {
            if groups.ret(entry) == zone.ret_min {
                first_back = Some(entry as usize);
            }
            if groups.inv(entry) == zone.inv_max {
                last_called = Some(entry as usize);
            }
        }
    }
    let root = &groups.all[zone.root as usize];
    Hold {
        first_back,
        last_called,
        support: Vec::new(),
        is_unseen: root.read_min == NONE && root.succ == NONE,
    }
}

impl Hold {
    fn supported(mut self, groups: &Groups<'_>) -> Hold {
        for entry in self.first_back.into_iter().chain(self.last_called) {
            if let Some(value) = groups.value_of(entry as u32) {
                self.support.extend(groups.path(value));
                self.support.extend(groups.sighting(value));
            }
        }
        self
    }
}
