//! Which kinds of cycles there are, how many, and a short one of each.
//!
//! Four levels of dependencies (ww; and wr; and rw that do not follow each other; and any rw) times three orders from
//! outside make twelve graphs, each part of those with a higher level or a stronger order. A strongly connected
//! component of one that holds none of a lesser one is an anomaly of exactly that kind: every cycle in it has an
//! edge of the level's and one of the order's own. Existence is decided exactly, in linear time; only how short
//! the cycle is that stands for a large component depends on how many were tried.

use super::graph::{Graph, Plain, Snapshots, View, Why};
use super::scc::{Components, components};
use super::shortest::{Search, Step};
use super::{Order, Shape, Trouble};

/// A cycle that proves an anomaly.
#[derive(Debug)]
pub(super) struct Cycle {
    pub(super) trouble: Trouble,
    pub(super) steps: Vec<Step>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Cycles {
    /// Short ones, at most [`EXAMPLES_MAX`] of a kind.
    pub(super) examples: Vec<Cycle>,
    /// Components by kind. Where only their level is known and not the shape, the more subtle shape.
    pub(super) counts: Vec<(Trouble, u64)>,
}

/// Cycles of one kind that are shown.
pub(super) const EXAMPLES_MAX: usize = 4;

/// Components of one level and order whose cycles are looked for.
const SEARCHED_MAX: usize = 64;

const ORDERS: [Order; 3] = [Order::Free, Order::Session, Order::RealTime];

/// What a level adds: from the first to the last, each graph holds the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Writes,
    Reads,
    Snapshots,
    All,
}

const LEVELS: [Level; 4] = [Level::Writes, Level::Reads, Level::Snapshots, Level::All];

impl Level {
    /// The edge that every cycle of this level and none below has.
    pub(super) fn edge(self) -> Why {
        match self {
            Level::Writes => Why::Ww,
            Level::Reads => Why::Wr,
            Level::Snapshots | Level::All => Why::Rw,
        }
    }

    fn shape(self, steps: &[Step]) -> Shape {
        match self {
            Level::Writes => Shape::G0,
            Level::Reads => Shape::G1c,
            Level::Snapshots if steps.iter().filter(|step| step.why == Why::Rw).count() == 1 => {
                Shape::GSingle
            }
            Level::Snapshots => Shape::GNonadjacent,
            Level::All => Shape::G2Item,
        }
    }
}

/// Components of the twelve graphs: by level, by order.
type Grid = [[Components; 3]; 4];

/// All cycles of a graph; none when `stop` said so.
pub(super) fn find(graph: Graph<'_>, stop: &dyn Fn() -> bool) -> Option<Cycles> {
    let everything = Plain { graph: &graph, most: Why::Rw, order: Order::RealTime };
    let all = components(&everything, everything.late_first(), |_, _| true, stop)?;
    match all.len() {
        0 => Some(Cycles::default()),
        _ => classify(&graph.with_sessions(), all, stop),
    }
}

/// From the components of everything, those of each kind.
fn classify(graph: &Graph<'_>, all: Components, stop: &dyn Fn() -> bool) -> Option<Cycles> {
    let mut grid = Grid::default();
    grid[3][2] = all;
    let everything = Plain { graph, most: Why::Rw, order: Order::RealTime };
    for order in (0..3).rev() {
        if order < 2 {
            let scope = scope(&everything, &grid[3][order + 1]);
            grid[3][order] = within(graph, Level::All, ORDERS[order], &scope, stop)?;
        }
        for level in (0..3).rev() {
            let above = &grid[level + 1][order];
            let scope = match LEVELS[level + 1] {
                Level::Snapshots => scope_of_snapshots(graph, ORDERS[order], above),
                _ => scope(&everything, above),
            };
            grid[level][order] = within(graph, LEVELS[level], ORDERS[order], &scope, stop)?;
        }
    }
    tell(graph, &grid, stop)
}

/// The component of each vertex of [`Plain`], from 1; 0 for none.
fn scope<V: View>(view: &V, found: &Components) -> Vec<u32> {
    let mut scope = vec![0; view.len() as usize];
    for (number, members) in (1..).zip(found.iter()) {
        for &vertex in members {
            scope[vertex as usize] = number;
        }
    }
    scope
}

/// The same for components of [`Snapshots`]. A lesser cycle passes through the snapshots of all its transactions.
fn scope_of_snapshots(graph: &Graph<'_>, order: Order, found: &Components) -> Vec<u32> {
    let view = Snapshots { graph, order };
    let mut scope = vec![0; Plain { graph, most: Why::Rw, order }.len() as usize];
    for (number, members) in (1..).zip(found.iter()) {
        for &vertex in members {
            let is_commit = view.row(vertex).is_some_and(|row| Snapshots::snapshot(row) != vertex);
            if !is_commit {
                scope[view.plain(vertex) as usize] = number;
            }
        }
    }
    scope
}

/// The components of one of the graphs inside those of a larger one.
fn within(
    graph: &Graph<'_>,
    level: Level,
    order: Order,
    scope: &[u32],
    stop: &dyn Fn() -> bool,
) -> Option<Components> {
    fn run<V: View>(view: &V, scope: &[u32], stop: &dyn Fn() -> bool) -> Option<Components> {
        let scope = |vertex: u32| scope[view.plain(vertex) as usize];
        let roots = view.late_first().filter(|&vertex| scope(vertex) != 0);
        components(view, roots, |from, to| scope(from) == scope(to), stop)
    }
    if scope.iter().all(|&number| number == 0) {
        return Some(Components::default());
    }
    match level {
        Level::Snapshots => run(&Snapshots { graph, order }, scope, stop),
        _ => run(&Plain { graph, most: level.edge(), order }, scope, stop),
    }
}

/// Which snapshots and commits lie in components; a transaction in one of [`Plain`] with both.
struct Marks(Vec<bool>);

impl Marks {
    fn new(graph: &Graph<'_>) -> Self {
        Marks(vec![false; 2 * graph.rows() as usize])
    }

    fn places(&self, level: Level, vertex: u32) -> std::ops::Range<usize> {
        let vertex = vertex as usize;
        let range = if level == Level::Snapshots { vertex..vertex + 1 } else { 2 * vertex..2 * vertex + 2 };
        range.start.min(self.0.len())..range.end.min(self.0.len())
    }

    fn set(&mut self, level: Level, found: &Components) {
        for &vertex in found.iter().flatten() {
            let places = self.places(level, vertex);
            self.0[places].fill(true);
        }
    }

    fn any(&self, level: Level, members: &[u32]) -> bool {
        members.iter().any(|&vertex| self.0[self.places(level, vertex)].contains(&true))
    }
}

/// From the least graph to the largest, each component that holds no lesser one.
fn tell(graph: &Graph<'_>, grid: &Grid, stop: &dyn Fn() -> bool) -> Option<Cycles> {
    let mut cycles = Cycles::default();
    let mut search = Search::new(graph);
    for order in 0..3 {
        for level in 0..4 {
            let found = &grid[level][order];
            if found.len() == 0 {
                continue;
            }
            let mut lesser = Marks::new(graph);
            if level > 0 {
                lesser.set(LEVELS[level - 1], &grid[level - 1][order]);
            }
            if order > 0 {
                lesser.set(LEVELS[level], &grid[level][order - 1]);
            }
            let mut own: Vec<&[u32]> =
                found.iter().filter(|members| !lesser.any(LEVELS[level], members)).collect();
            own.sort_by_key(|members| members.len());
            cycles.describe(&mut search, LEVELS[level], ORDERS[order], &own, stop)?;
        }
    }
    Some(cycles)
}

impl Cycles {
    fn describe(
        &mut self,
        search: &mut Search<'_>,
        level: Level,
        order: Order,
        components: &[&[u32]],
        stop: &dyn Fn() -> bool,
    ) -> Option<()> {
        for (i, members) in components.iter().enumerate() {
            if stop() {
                return None;
            }
            let steps = if i < SEARCHED_MAX { search.cycle(level, order, members) } else { Vec::new() };
            let trouble = Trouble::Cycle(level.shape(&steps), order);
            self.count(trouble);
            let shown = self.examples.iter().filter(|cycle| cycle.trouble == trouble).count();
            if !steps.is_empty() && shown < EXAMPLES_MAX {
                self.examples.push(Cycle { trouble, steps });
            }
        }
        Some(())
    }

    fn count(&mut self, trouble: Trouble) {
        match self.counts.iter_mut().find(|(counted, _)| *counted == trouble) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((trouble, 1)),
        }
    }
}
