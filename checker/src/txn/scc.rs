//! Strongly connected components, without recursion.

use super::graph::View;

/// Components of more than one vertex.
#[derive(Debug, Default)]
pub(super) struct Components {
    members: Vec<u32>,
    /// Where each ends.
    ends: Vec<u32>,
}

impl Components {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.len()).map(|i| self.get(i))
    }

    pub(super) fn get(&self, i: usize) -> &[u32] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.members[start as usize..self.ends[i] as usize]
    }
}

struct Frame {
    vertex: u32,
    cursor: u32,
    is_root: bool,
}

/// Belongs to a component that is complete.
const DONE: u32 = u32::MAX;

/// The components that `roots` lead to along hops for which `inside` holds (Tarjan 1972, in Pearce's form, which
/// keeps one number a vertex and stacks only what is in a cycle).
///
/// None when `stop` says so; it is asked now and then.
pub(super) fn components<V: View>(
    view: &V,
    roots: impl Iterator<Item = u32>,
    inside: impl Fn(u32, u32) -> bool,
    stop: &dyn Fn() -> bool,
) -> Option<Components> {
    let mut low = vec![0u32; view.len() as usize];
    let (mut path, mut waiting): (Vec<Frame>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut found = Components::default();
    let mut seen = 0;
    for root in roots {
        if low[root as usize] != 0 {
            continue;
        }
        seen += 1;
        low[root as usize] = seen;
        path.push(Frame { vertex: root, cursor: 0, is_root: true });
        while let Some(top) = path.last_mut() {
            let vertex = top.vertex;
            if let Some(hop) = view.next(vertex, &mut top.cursor) {
                if !inside(vertex, hop.to) {
                    continue;
                }
                let there = low[hop.to as usize];
                if there == 0 {
                    seen += 1;
                    low[hop.to as usize] = seen;
                    path.push(Frame { vertex: hop.to, cursor: 0, is_root: true });
                    if seen % (1 << 16) == 0 && stop() {
                        return None;
                    }
                } else if there < low[vertex as usize] {
                    low[vertex as usize] = there;
                    top.is_root = false;
                }
                continue;
            }
            let is_root = top.is_root;
            path.pop();
            if is_root {
                found.close(vertex, &mut low, &mut waiting);
            } else {
                waiting.push(vertex);
            }
            if let Some(below) = path.last_mut()
                && low[vertex as usize] < low[below.vertex as usize]
            {
                low[below.vertex as usize] = low[vertex as usize];
                below.is_root = false;
            }
        }
    }
    Some(found)
}

impl Components {
    /// The component whose first vertex is `root`, out of those that wait for theirs.
    fn close(&mut self, root: u32, low: &mut [u32], waiting: &mut Vec<u32>) {
        let first = low[root as usize];
        let before = self.members.len();
        while let Some(&vertex) = waiting.last()
            && low[vertex as usize] >= first
        {
            waiting.pop();
            low[vertex as usize] = DONE;
            self.members.push(vertex);
        }
        low[root as usize] = DONE;
        if self.members.len() > before {
            self.members.push(root);
            self.ends.push(self.members.len() as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::Hop;
    use super::*;
    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt, SeedableRng};

    struct Lists(Vec<Vec<u32>>);

    impl View for Lists {
        fn len(&self) -> u32 {
            self.0.len() as u32
        }

        fn next(&self, vertex: u32, cursor: &mut u32) -> Option<Hop> {
            let to = *self.0[vertex as usize].get(*cursor as usize)?;
            *cursor += 1;
            Some(Hop::along(to))
        }

        fn row(&self, vertex: u32) -> Option<u32> {
            Some(vertex)
        }

        fn plain(&self, vertex: u32) -> u32 {
            vertex
        }
    }

    /// Which vertices reach each other, by closing the relation step by step.
    fn by_closure(lists: &[Vec<u32>]) -> Vec<Vec<u32>> {
        let n = lists.len();
        let mut reaches = vec![vec![false; n]; n];
        for (from, row) in lists.iter().enumerate() {
            row.iter().for_each(|&to| reaches[from][to as usize] = true);
        }
        for via in 0..n {
            for from in 0..n {
                for to in 0..n {
                    reaches[from][to] |= reaches[from][via] && reaches[via][to];
                }
            }
        }
        let mut found: Vec<Vec<u32>> = (0..n)
            .map(|one| {
                let both = |&other: &usize| one == other || reaches[one][other] && reaches[other][one];
                (0..n).filter(both).map(|vertex| vertex as u32).collect()
            })
            .filter(|component: &Vec<u32>| component.len() > 1)
            .collect();
        found.sort();
        found.dedup();
        found
    }

    #[test]
    fn components_are_those_of_the_closed_relation() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut with_cycles = 0;
        for _ in 0..2_000 {
            let n = rng.random_range(1..9u32);
            let lists: Vec<Vec<u32>> = (0..n)
                .map(|one| (0..n).filter(|&other| other != one && rng.random_range(0..6) == 0).collect())
                .collect();
            let view = Lists(lists);
            let found =
                components(&view, view.late_first(), |_, _| true, &|| false).expect("nobody stops it");
            let mut found: Vec<Vec<u32>> = found.iter().map(<[u32]>::to_vec).collect();
            found.iter_mut().for_each(|component| component.sort_unstable());
            found.sort();
            let expected = by_closure(&view.0);
            with_cycles += usize::from(!expected.is_empty());
            assert_eq!(found, expected, "{:?}", view.0);
        }
        assert!(with_cycles > 200, "{with_cycles}");
    }

    #[test]
    fn a_path_of_a_million_vertices_needs_no_stack() {
        let view = Lists((0..1_000_000u32).map(|v| vec![(v + 1) % 1_000_000]).collect());
        let found = components(&view, 0..1, |_, _| true, &|| false).expect("nobody stops it");
        assert_eq!((found.len(), found.get(0).len()), (1, 1_000_000));
        assert!(components(&view, 0..1, |_, _| true, &|| true).is_none(), "stopped");
    }
}
