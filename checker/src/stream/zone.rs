//! Settling what nothing still to come can change, and the zones that come of it.

use std::hash::Hash;

use super::fault::{Edge, Fault, NO_OP};
use super::register::{Group, NONE, Register};

/// A chain, or the settled beginning of one: its earliest return and its latest call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Zone {
    pub(super) ret_min: Edge,
    pub(super) inv_max: Edge,
    /// Is it one write that nobody saw?
    pub(super) is_unseen: bool,
}

impl Zone {
    fn empty() -> Self {
        let edge = |at| Edge { at, op: NO_OP, writer: NO_OP, is_update: true };
        Zone { ret_min: edge(u64::MAX), inv_max: edge(0), is_unseen: true }
    }

    /// Adds the chain's next group; its operations must not have returned before those before it were called.
    fn fold<V>(&mut self, group: &Group<V>) -> Result<(), Fault<V>> {
        let edge = |at| Edge { at, op: group.writer, writer: group.writer, is_update: true };
        self.is_unseen &= group.reads.is_none() && !group.by_cas;
        self.step(edge(group.ret), edge(group.inv))?;
        match group.reads {
            Some((first_back, last_called)) => self.step(first_back, last_called),
            None => Ok(()),
        }
    }

    fn step<V>(&mut self, first_back: Edge, last_called: Edge) -> Result<(), Fault<V>> {
        if first_back.at < self.inv_max.at {
            return Err(Fault::Order { early: first_back, late: self.inv_max });
        }
        if last_called.at > self.inv_max.at {
            self.inv_max = last_called;
        }
        if first_back.at < self.ret_min.at {
            self.ret_min = first_back;
        }
        Ok(())
    }

    fn is_forward(&self) -> bool {
        self.ret_min.at < self.inv_max.at
    }

    /// Neither can come before the other: one lies inside the other, or they overlap, and at least one of them
    /// holds the register all the while.
    fn clashes(&self, other: &Zone) -> bool {
        (self.is_forward() || other.is_forward())
            && self.ret_min.at < other.inv_max.at
            && other.ret_min.at < self.inv_max.at
    }

    fn right(&self) -> u64 {
        self.ret_min.at.max(self.inv_max.at)
    }
}

/// Settled chains that a later one may still contradict.
#[derive(Debug, Default)]
pub(super) struct Zones {
    kept: Vec<Zone>,
}

impl Zones {
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    fn add<V>(&mut self, zone: Zone) -> Result<(), Fault<V>> {
        match self.kept.iter().find(|kept| kept.clashes(&zone)) {
            Some(&kept) => {
                // The older one holds the register; a backward zone never does.
                let zone_first =
                    zone.is_forward() && (!kept.is_forward() || zone.ret_min.at < kept.ret_min.at);
                let (older, newer) = if zone_first { (zone, kept) } else { (kept, zone) };
                Err(Fault::Torn { older: Box::new(older), newer: Box::new(newer) })
            }
            None => {
                self.kept.push(zone);
                Ok(())
            }
        }
    }
}

impl<V: Clone + Eq + Hash> Register<V> {
    /// Settles every group that certainly precedes `settled`, the call of an update that returned before
    /// `oldest`, from which on anything still open was called.
    ///
    /// Something on such a group, or on one behind it in its chain, returned before that update was called, so
    /// it is over: no operation still open can meet it.
    pub(super) fn settle(&mut self, settled: u64, oldest: u64) -> Result<(), Fault<V>> {
        let roots: Vec<u32> = (0..self.groups.len() as u32)
            .filter(|&place| self.groups[place as usize].as_ref().is_some_and(|group| !group.is_linked))
            .collect();
        let measured: Vec<(u32, usize, usize)> = roots
            .into_iter()
            .map(|root| {
                let (length, frozen) = self.measure(root, settled);
                (root, length, frozen)
            })
            .collect();
        if measured.iter().map(|&(_, length, _)| length).sum::<usize>() < self.live().groups {
            return Err(self.cycle());
        }
        let mut left = oldest;
        for (root, _, frozen) in measured {
            let (rest, zone) = self.fold(root, frozen)?;
            match (rest, zone) {
                (NONE, Some(zone)) => self.zones.add(zone)?,
                (rest, _) => left = left.min(self.left_end(rest)),
            }
        }
        self.zones.kept.retain(|zone| zone.right() >= left);
        Ok(())
    }

    /// How many groups a chain has, and how many of them, from the root on, are over.
    fn measure(&self, root: u32, settled: u64) -> (usize, usize) {
        let (mut length, mut frozen, mut place) = (0, 0, root);
        while let Some(Some(group)) = self.groups.get(place as usize) {
            length += 1;
            if group.ret_min() < settled || settled == u64::MAX {
                frozen = length;
            }
            place = group.succ;
        }
        (length, frozen)
    }

    /// Folds the first `count` groups of a chain: what is left of it, and the zone if that is nothing.
    fn fold(&mut self, root: u32, count: usize) -> Result<(u32, Option<Zone>), Fault<V>> {
        if count == 0 {
            return Ok((root, None));
        }
        let mut zone = self.group(root).base.take().unwrap_or_else(Zone::empty);
        let mut place = root;
        for _ in 0..count {
            let Some(group) = self.forget(place) else { break };
            zone.fold(&group)?;
            place = group.succ;
        }
        if place == NONE {
            return Ok((NONE, Some(zone)));
        }
        let rest = self.group(place);
        (rest.base, rest.is_linked) = (Some(zone), false);
        Ok((place, None))
    }

    /// Before this no zone of the chain will ever begin, whatever still joins it.
    fn left_end(&self, root: u32) -> u64 {
        let base = self.groups[root as usize].as_ref().and_then(|group| group.base);
        let (mut ret_min, mut inv_max) =
            base.map_or((u64::MAX, 0), |zone| (zone.ret_min.at, zone.inv_max.at));
        let mut place = root;
        while let Some(Some(group)) = self.groups.get(place as usize) {
            ret_min = ret_min.min(group.ret_min());
            inv_max = inv_max.max(group.inv).max(group.reads.map_or(0, |(_, called)| called.at));
            place = group.succ;
        }
        ret_min.min(inv_max)
    }

    /// The writers of a chain that has no beginning.
    fn cycle(&self) -> Fault<V> {
        let mut reached = vec![false; self.groups.len()];
        let roots = |group: &&Group<V>| !group.is_linked;
        for root in self.groups.iter().flatten().filter(roots) {
            self.walk(root.succ, &mut reached);
        }
        let round = self.groups.iter().flatten().filter(|group| group.is_linked);
        let start = round.map(|group| group.succ).find(|&succ| succ != NONE && !reached[succ as usize]);
        Fault::CasCycle { ops: self.walk(start.unwrap_or(NONE), &mut reached) }
    }

    /// The writers from `place` to the end of its chain, or once round it.
    fn walk(&self, place: u32, reached: &mut [bool]) -> Vec<u64> {
        let (mut place, mut ops) = (place, Vec::new());
        while let Some(Some(group)) = self.groups.get(place as usize)
            && !std::mem::replace(&mut reached[place as usize], true)
        {
            ops.push(group.writer);
            place = group.succ;
        }
        ops
    }
}
