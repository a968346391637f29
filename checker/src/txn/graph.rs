//! Dependencies between transactions, and the orders from outside, in a few words of memory each.
//!
//! Vertices are numbered in three stretches: transactions, by their place in the history; *crowds*, which stand for
//! several transactions at the far end of one dependency; *barriers*, which stand for instants. A barrier lies
//! before the first call after some return: whoever returned before leads to it, it leads to whoever is called before
//! the next one, and to the next one. So the order of time, which has up to n² pairs, takes 3 n edges, none of which
//! is stored: calls are in order of their numbers.

use rustc_hash::FxHashMap;

use super::Order;
use super::read_in::Txns;
use crate::{History, Process};

/// What an edge says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(super) enum Why {
    /// The second wrote the version after the first's.
    Ww,
    /// The second read the first's version.
    Wr,
    /// The second wrote the version after the one that the first read.
    Rw,
    /// Out of a crowd or a barrier: part of the edge into it.
    Onward,
    /// The same process called the second later.
    Process,
    /// The first had returned when the second was called.
    RealTime,
}

const KINDS: [Why; 4] = [Why::Ww, Why::Wr, Why::Rw, Why::Onward];
const KIND_SHIFT: u32 = 30;
const VERTEX: u32 = (1 << KIND_SHIFT) - 1;
const NONE: u32 = u32::MAX;

/// Edges as they are found.
#[derive(Debug, Default)]
pub(super) struct Edges {
    list: Vec<[u32; 3]>,
    /// Crowds so far.
    crowds: u32,
}

impl Edges {
    pub(super) fn push(&mut self, from: u32, why: Why, to: u32, key: u32) {
        if from != to {
            self.list.push([from, to | (why as u32) << KIND_SHIFT, key]);
        }
    }

    /// Edges from each of `sources` to each of `members` but itself, in a history of `txns` transactions. Both
    /// without repetition, members in order.
    ///
    /// Takes as many edges as there are sources and members. Sources that are members themselves reach the other
    /// ones of their kind in a ring: where there are two of them they are in a cycle all the same.
    pub(super) fn fan(&mut self, txns: usize, sources: &[(u32, Why)], members: &[u32], key: u32) {
        if sources.is_empty() || members.is_empty() {
            return;
        }
        let (mut both, outer): (Vec<(u32, Why)>, _) =
            sources.iter().copied().partition(|(source, _)| members.binary_search(source).is_ok());
        self.through(txns, &outer, members, key);
        if both.is_empty() {
            return;
        }
        both.sort_unstable();
        let is_both = |member: &u32| both.binary_search_by_key(member, |(source, _)| *source).is_ok();
        let others: Vec<u32> = members.iter().copied().filter(|member| !is_both(member)).collect();
        self.through(txns, &both, &others, key);
        for (i, (source, why)) in both.iter().enumerate() {
            self.push(*source, *why, both[(i + 1) % both.len()].0, key);
        }
    }

    /// From all of `sources` to all of `members`, by a crowd if that is shorter.
    fn through(&mut self, txns: usize, sources: &[(u32, Why)], members: &[u32], key: u32) {
        if sources.len() * members.len() <= sources.len() + members.len() + 1 {
            for (source, why) in sources {
                members.iter().for_each(|member| self.push(*source, *why, *member, key));
            }
            return;
        }
        let crowd = txns as u32 + self.crowds;
        self.crowds += 1;
        sources.iter().for_each(|(source, why)| self.push(*source, *why, crowd, key));
        members.iter().for_each(|member| self.push(crowd, Why::Onward, *member, key));
    }
}

/// A step along an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) to: u32,
    pub(super) why: Why,
    /// Place of the edge among the stored ones; `u32::MAX` for one that is not.
    edge: u32,
}

impl Hop {
    /// A hop in a graph of another kind, where only the target counts.
    pub(super) fn along(to: u32) -> Self {
        Hop { to, why: Why::Onward, edge: NONE }
    }
}

/// The whole graph.
pub(super) struct Graph<'t> {
    committed: &'t [bool],
    told: &'t Txns<'t>,
    pub(super) txns: u32,
    crowds: u32,
    /// Where the edges of each transaction and crowd begin; one more at the end.
    starts: Vec<u32>,
    /// Targets, with the kind in the two highest bits.
    targets: Vec<u32>,
    keys: Vec<u32>,
    /// The next committed transaction of the same process; empty until asked for.
    next_in_process: Vec<u32>,
    /// The first barrier after a transaction's return.
    barrier_after: Vec<u32>,
    /// The first transaction called after each barrier; one more at the end.
    called_from: Vec<u32>,
}

impl<'t> Graph<'t> {
    /// Sorts the edges in; `committed` says which transactions took effect for certain.
    pub(super) fn new(told: &'t Txns<'t>, committed: &'t [bool], edges: Edges) -> Self {
        let txns = told.len();
        let rows = txns + edges.crowds as usize;
        let mut starts = vec![0u32; rows + 2];
        for [from, ..] in &edges.list {
            starts[*from as usize + 2] += 1;
        }
        for i in 2..starts.len() {
            starts[i] += starts[i - 1];
        }
        let (mut targets, mut keys) = (vec![0; edges.list.len()], vec![0; edges.list.len()]);
        for [from, to, key] in &edges.list {
            let at = &mut starts[*from as usize + 1];
            targets[*at as usize] = *to;
            keys[*at as usize] = *key;
            *at += 1;
        }
        starts.pop();
        drop(edges.list);
        let (barrier_after, called_from) = barriers(told);
        Graph {
            committed,
            told,
            txns: txns as u32,
            crowds: edges.crowds,
            starts,
            targets,
            keys,
            next_in_process: Vec::new(),
            barrier_after,
            called_from,
        }
    }

    /// The same with the order of each process.
    pub(super) fn with_sessions(self) -> Self {
        Graph { next_in_process: sessions(self.told.history, self.committed), ..self }
    }

    fn barriers(&self) -> u32 {
        self.called_from.len() as u32 - 1
    }

    /// Transactions and crowds.
    pub(super) fn rows(&self) -> u32 {
        self.txns + self.crowds
    }

    /// The key of a hop along a stored edge.
    pub(super) fn key(&self, hop: Hop) -> Option<u32> {
        self.keys.get(hop.edge as usize).copied()
    }

    /// Had `first` returned when `second` was called?
    pub(super) fn precedes(&self, first: u32, second: u32) -> bool {
        let barrier = self.barrier_after[first as usize];
        barrier != NONE && self.called_from[barrier as usize] <= second
    }

    /// Stored edges out of a row, from the one at `cursor` on.
    #[inline]
    fn stored(&self, row: u32, cursor: &mut u32, keep: impl Fn(Why) -> bool) -> Option<Hop> {
        let (start, end) = (self.starts[row as usize], self.starts[row as usize + 1]);
        while start + *cursor < end {
            let edge = start + *cursor;
            *cursor += 1;
            let target = self.targets[edge as usize];
            let why = KINDS[(target >> KIND_SHIFT) as usize];
            if keep(why) {
                return Some(Hop { to: target & VERTEX, why, edge });
            }
        }
        None
    }

    fn degree(&self, row: u32) -> u32 {
        self.starts[row as usize + 1] - self.starts[row as usize]
    }

    /// The edge out of a transaction that the order from outside gives; barriers are numbered from `base`.
    #[inline]
    fn outside(&self, txn: u32, order: Order, base: u32) -> Option<Hop> {
        if txn >= self.txns {
            return None;
        }
        let (to, why) = match order {
            Order::Free => return None,
            Order::Session => (*self.next_in_process.get(txn as usize)?, Why::Process),
            Order::RealTime => (self.barrier_after[txn as usize], Why::RealTime),
        };
        let base = if order == Order::RealTime { base } else { 0 };
        (to != NONE).then(|| Hop { to: base + to, why, edge: NONE })
    }

    /// Out of a barrier: first to the transactions called after it, then to the next one.
    #[inline]
    fn onward(&self, barrier: u32, cursor: &mut u32, base: u32, row: impl Fn(u32) -> u32) -> Option<Hop> {
        let (from, to) = (self.called_from[barrier as usize], self.called_from[barrier as usize + 1]);
        let at = *cursor;
        *cursor += 1;
        let next = match at {
            at if from + at < to => row(from + at),
            at if from + at == to && barrier + 1 < self.barriers() => base + barrier + 1,
            _ => return None,
        };
        Some(Hop { to: next, why: Why::Onward, edge: NONE })
    }
}

/// For each transaction the first barrier after its return, for each barrier the first call after it.
fn barriers(txns: &Txns<'_>) -> (Vec<u32>, Vec<u32>) {
    let mut returns: Vec<(u64, u32)> =
        txns.acknowledged().map(|txn| (txns.spans[txn as usize].1, txn)).collect();
    returns.sort_unstable();
    let mut barrier_after = vec![NONE; txns.len()];
    let mut called_from = Vec::new();
    let mut next = 0;
    for (txn, &(call, _)) in (0u32..).zip(&txns.spans) {
        let before = next;
        while let Some(&(ret, returned)) = returns.get(next)
            && ret < call
        {
            barrier_after[returned as usize] = called_from.len() as u32;
            next += 1;
        }
        if next > before {
            called_from.push(txn);
        }
    }
    called_from.push(txns.len() as u32);
    (barrier_after, called_from)
}

/// The next committed transaction of the same process.
fn sessions(history: &History, committed: &[bool]) -> Vec<u32> {
    let mut latest: FxHashMap<Process, u32> = FxHashMap::default();
    let mut next = vec![NONE; history.ops.len()];
    for (txn, op) in (0u32..).zip(&history.ops) {
        if committed[txn as usize]
            && let Some(before) = latest.insert(op.process, txn)
        {
            next[before as usize] = txn;
        }
    }
    next
}

/// A graph to walk on: some of the edges.
pub(super) trait View {
    /// Vertices.
    fn len(&self) -> u32;
    /// The next hop out of `vertex` from `cursor` on, which starts at 0 and is moved.
    fn next(&self, vertex: u32, cursor: &mut u32) -> Option<Hop>;
    /// The row (transaction or crowd) that a vertex stands for; none for a barrier.
    fn row(&self, vertex: u32) -> Option<u32>;
    /// The number in [`Plain`] of what a vertex stands for.
    fn plain(&self, vertex: u32) -> u32;
    /// Every vertex, late ones first: then few are left to follow from each.
    fn late_first(&self) -> impl Iterator<Item = u32> {
        (0..self.len()).rev()
    }
}

/// Every vertex once; dependencies up to `most` and one order.
#[derive(Clone, Copy)]
pub(super) struct Plain<'g> {
    pub(super) graph: &'g Graph<'g>,
    pub(super) most: Why,
    pub(super) order: Order,
}

impl View for Plain<'_> {
    fn len(&self) -> u32 {
        self.graph.rows() + self.graph.barriers()
    }

    #[inline]
    fn next(&self, vertex: u32, cursor: &mut u32) -> Option<Hop> {
        let base = self.graph.rows();
        if vertex >= base {
            return self.graph.onward(vertex - base, cursor, base, |txn| txn);
        }
        let most = self.most;
        if let Some(hop) = self.graph.stored(vertex, cursor, |why| why <= most || why == Why::Onward) {
            return Some(hop);
        }
        if *cursor > self.graph.degree(vertex) {
            return None;
        }
        *cursor += 1;
        self.graph.outside(vertex, self.order, base)
    }

    fn row(&self, vertex: u32) -> Option<u32> {
        (vertex < self.graph.rows()).then_some(vertex)
    }

    fn plain(&self, vertex: u32) -> u32 {
        vertex
    }
}

/// Every transaction twice, as the instant of its snapshot (2 v) and of its commit (2 v + 1): what it depends on had
/// committed before its snapshot, what replaced its reads committed after it. A cycle here is one in which no two rw
/// follow each other, which is what snapshot isolation forbids (Cerone and Gotsman 2016).
#[derive(Clone, Copy)]
pub(super) struct Snapshots<'g> {
    pub(super) graph: &'g Graph<'g>,
    pub(super) order: Order,
}

impl Snapshots<'_> {
    pub(super) fn snapshot(row: u32) -> u32 {
        2 * row
    }

    fn commit(row: u32) -> u32 {
        2 * row + 1
    }
}

impl View for Snapshots<'_> {
    fn len(&self) -> u32 {
        2 * self.graph.rows() + self.graph.barriers()
    }

    #[inline]
    fn next(&self, vertex: u32, cursor: &mut u32) -> Option<Hop> {
        let base = 2 * self.graph.rows();
        if vertex >= base {
            return self.graph.onward(vertex - base, cursor, base, Self::snapshot);
        }
        let (row, commits) = (vertex / 2, vertex % 2 == 1);
        let keep = |why| if commits { why != Why::Rw } else { matches!(why, Why::Rw | Why::Onward) };
        if let Some(hop) = self.graph.stored(row, cursor, keep) {
            // Out of a crowd the edge goes on as it came in.
            let arrives_at_commit = hop.why == Why::Rw || hop.why == Why::Onward && commits;
            let to = if arrives_at_commit { Self::commit(hop.to) } else { Self::snapshot(hop.to) };
            return Some(Hop { to, ..hop });
        }
        if *cursor > self.graph.degree(row) {
            return None;
        }
        *cursor += 1;
        match commits {
            false => Some(Hop { to: vertex + 1, why: Why::Onward, edge: NONE }),
            true => {
                let hop = self.graph.outside(row, self.order, base)?;
                Some(if hop.to < base { Hop { to: Self::snapshot(hop.to), ..hop } } else { hop })
            }
        }
    }

    fn row(&self, vertex: u32) -> Option<u32> {
        (vertex < 2 * self.graph.rows()).then_some(vertex / 2)
    }

    fn plain(&self, vertex: u32) -> u32 {
        let rows = self.graph.rows();
        if vertex < 2 * rows { vertex / 2 } else { vertex - rows }
    }
}
