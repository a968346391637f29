//! What a rule remembers of TCP connections: a bounded table.

use std::collections::VecDeque;
use std::net::SocketAddrV4;

use rustc_hash::FxHashMap;

use crate::fabric::packet::tcp::Segment;

/// Connections remembered at once; beyond, the oldest are forgotten.
const REMEMBERED_MAX: usize = 65_536;

/// A connection by its two ends, the lesser first: the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends(SocketAddrV4, SocketAddrV4);

impl Ends {
    pub(super) fn of(segment: &Segment) -> Ends {
        Ends(segment.from.min(segment.to), segment.from.max(segment.to))
    }
}

/// Memories by key. Keys that were forgotten and come back count as new.
#[derive(Debug)]
pub(super) struct Remembered<K, V> {
    memories: FxHashMap<K, V>,
    /// Keys by age; it may name some that are forgotten.
    ages: VecDeque<K>,
}

impl<K: Copy + Eq + std::hash::Hash, V: Default> Remembered<K, V> {
    pub(super) fn new() -> Self {
        Remembered { memories: FxHashMap::default(), ages: VecDeque::new() }
    }

    /// What is remembered of `key`; a blank if nothing is.
    pub(super) fn of(&mut self, key: K) -> &mut V {
        if !self.memories.contains_key(&key) {
            if self.ages.len() >= REMEMBERED_MAX
                && let Some(oldest) = self.ages.pop_front()
            {
                self.memories.remove(&oldest);
            }
            self.ages.push_back(key);
        }
        self.memories.entry(key).or_default()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.memories.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let mut table: Remembered<usize, usize> = Remembered::new();
        for key in 0..3 * REMEMBERED_MAX {
            *table.of(key) = key;
        }
        assert_eq!(table.len(), REMEMBERED_MAX);
        assert_eq!(*table.of(3 * REMEMBERED_MAX - 1), 3 * REMEMBERED_MAX - 1);
        assert_eq!(*table.of(0), 0, "a blank");
        assert_eq!(table.len(), REMEMBERED_MAX);
    }
}
