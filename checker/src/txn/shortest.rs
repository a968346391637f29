//! A short cycle through a component: fewest rw first, then fewest edges of the order from outside, then fewest
//! edges at all.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::{FxHashMap, FxHashSet};

use super::Order;
use super::cycles::Level;
use super::graph::{Graph, Hop, Plain, Snapshots, View, Why};

/// An edge of a cycle, between transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) why: Why,
    /// For a dependency: by which key.
    pub(super) key: Option<u32>,
}

/// Numbers of rw edges, of edges of an order from outside, of all.
type Cost = (u32, u32, u32);

fn cost(before: Cost, why: Why) -> Cost {
    let (rw, outside, all) = before;
    match why {
        Why::Onward => before,
        Why::Rw => (rw + 1, outside, all + 1),
        Why::Process | Why::RealTime => (rw, outside + 1, all + 1),
        Why::Ww | Why::Wr => (rw, outside, all + 1),
    }
}

/// Vertices that all searches together may settle, but for the first in each component.
const SETTLED_MAX: u64 = 1 << 20;

pub(super) struct Search<'g> {
    graph: &'g Graph<'g>,
    settled: u64,
}

/// Where a search came to a vertex from.
struct Reached {
    cost: Cost,
    from: u32,
    hop: Hop,
}

impl<'g> Search<'g> {
    pub(super) fn new(graph: &'g Graph<'g>) -> Self {
        Search { graph, settled: 0 }
    }

    /// A cycle among `members`, a component of the graph of that level and order. It has an edge of the level's own.
    pub(super) fn cycle(&mut self, level: Level, order: Order, members: &[u32]) -> Vec<Step> {
        let graph = self.graph;
        match level {
            Level::Snapshots => self.shortest(&Snapshots { graph, order }, level.edge(), order, members),
            _ => self.shortest(&Plain { graph, most: level.edge(), order }, level.edge(), order, members),
        }
    }

    fn shortest<V: View>(&mut self, view: &V, edge: Why, order: Order, members: &[u32]) -> Vec<Step> {
        let inside: FxHashSet<u32> = members.iter().copied().collect();
        let mut first: Vec<(u32, Hop)> = Vec::new();
        for &vertex in members {
            let mut cursor = 0;
            while let Some(hop) = view.next(vertex, &mut cursor) {
                if hop.why == edge && inside.contains(&hop.to) {
                    first.push((vertex, hop));
                }
            }
        }
        first.sort_unstable_by_key(|(vertex, hop)| (*vertex, hop.to));
        let straight_back = |(from, hop): &&(u32, Hop)| {
            order == Order::RealTime
                && matches!((view.row(*from), view.row(hop.to)), (Some(one), Some(other))
                    if other < self.graph.txns && self.graph.precedes(other, one))
        };
        // A dependency against the order of time is a cycle of two: nothing is shorter but one without time.
        let mut best: Option<(Cost, Vec<Step>)> = first.iter().find(straight_back).map(|(from, hop)| {
            let (from, to) = (view.row(*from).unwrap_or_default(), view.row(hop.to).unwrap_or_default());
            let back = Step { from: to, to: from, why: Why::RealTime, key: None };
            let there = Step { from, to, why: hop.why, key: self.graph.key(*hop) };
            (cost(cost((0, 0, 0), hop.why), Why::RealTime), vec![there, back])
        });
        if best.is_some() {
            // With an order from outside, no cycle of this component does without it.
            return best.map(|(_, steps)| steps).unwrap_or_default();
        }
        for (from, hop) in first {
            let limit = best.as_ref().map(|(cost, _)| *cost);
            if limit.is_some_and(|(_, _, edges)| edges == 2 || self.settled > SETTLED_MAX) {
                break;
            }
            if let Some((cost, path)) = self.path(view, from, hop, &inside, limit) {
                best = Some((cost, self.steps(view, &path)));
            }
        }
        best.map(|(_, steps)| steps).unwrap_or_default()
    }

    /// The cheapest way from the far end of `first` back to `start`, if it is cheaper than `limit` (Dijkstra 1959).
    fn path<V: View>(
        &mut self,
        view: &V,
        start: u32,
        first: Hop,
        inside: &FxHashSet<u32>,
        limit: Option<Cost>,
    ) -> Option<(Cost, Vec<(u32, Hop)>)> {
        let mut reached: FxHashMap<u32, Reached> = FxHashMap::default();
        let mut heap = BinaryHeap::new();
        let begin = cost((0, 0, 0), first.why);
        reached.insert(first.to, Reached { cost: begin, from: start, hop: first });
        heap.push(Reverse((begin, first.to)));
        while let Some(Reverse((so_far, vertex))) = heap.pop() {
            if limit.is_some_and(|limit| so_far >= limit || self.settled > SETTLED_MAX) {
                return None;
            }
            if vertex == start {
                return Some((so_far, trace(&reached, start, first.to)));
            }
            if so_far > reached[&vertex].cost {
                continue;
            }
            self.settled += 1;
            let mut cursor = 0;
            while let Some(hop) = view.next(vertex, &mut cursor) {
                let next = cost(so_far, hop.why);
                if inside.contains(&hop.to) && reached.get(&hop.to).is_none_or(|known| next < known.cost) {
                    reached.insert(hop.to, Reached { cost: next, from: vertex, hop });
                    heap.push(Reverse((next, hop.to)));
                }
            }
        }
        None
    }

    /// A path of vertices as edges between transactions; where it passes one twice, only the round between.
    fn steps<V: View>(&self, view: &V, path: &[(u32, Hop)]) -> Vec<Step> {
        let txn = |vertex| view.row(vertex).filter(|&row| row < self.graph.txns);
        let mut steps: Vec<Step> = Vec::new();
        let mut under_way: Option<Step> = None;
        for (from, hop) in path {
            if hop.why != Why::Onward
                && let Some(from) = txn(*from)
            {
                let key = self.graph.key(*hop);
                under_way = Some(Step { from, to: from, why: hop.why, key });
            }
            if let (Some(to), Some(step)) = (txn(hop.to), under_way.take_if(|_| txn(hop.to).is_some())) {
                steps.push(Step { to, ..step });
            }
        }
        one_round(steps)
    }
}

/// The hops from `start` by `first` and back to `start`.
fn trace(reached: &FxHashMap<u32, Reached>, start: u32, first: u32) -> Vec<(u32, Hop)> {
    let mut path = Vec::new();
    let mut vertex = start;
    loop {
        let Reached { from, hop, .. } = &reached[&vertex];
        path.push((*from, *hop));
        // The first hop is the only one that leaves `start`.
        if vertex == first {
            break;
        }
        vertex = *from;
    }
    path.reverse();
    path
}

/// One round of a walk that may pass a transaction twice, once by its commit and once by its snapshot.
///
/// What begins at the first of its transactions may leave its snapshot and come back to its commit, which is no
/// round of [`Snapshots`]; the rest of the walk then is.
fn one_round(mut steps: Vec<Step>) -> Vec<Step> {
    let start = steps.first().map(|step| step.from);
    if let Some(again) = steps.iter().rposition(|step| Some(step.from) == start) {
        steps.drain(..again);
    }
    let mut passed: FxHashMap<u32, usize> = FxHashMap::default();
    for (i, step) in steps.iter().enumerate() {
        passed.insert(step.from, i);
        if let Some(&began) = passed.get(&step.to) {
            return steps[began..=i].to_vec();
        }
    }
    steps
}
