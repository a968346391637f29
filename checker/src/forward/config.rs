//! Configurations, and sets of them in which none can do all that another one can.

use rustc_hash::FxHashMap;

use super::open::Slots;
use crate::model::register::ValueId;

/// Where the register may be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Config {
    pub(super) state: ValueId,
    /// How it came about; 0 where that is not kept.
    pub(super) trail: u32,
    /// Open operations that took effect.
    pub(super) done: Slots,
    /// Open blind writes that took effect, or did not, as needed.
    pub(super) either: Slots,
    /// How often each kind of indefinite operation was used; always empty where that is not counted.
    used: Vec<u16>,
}

impl Config {
    /// Nothing happened yet.
    pub(super) fn beginning(state: ValueId) -> Self {
        Config { state, ..Config::default() }
    }

    /// Bytes of one that counts the uses of `kinds` kinds of indefinite operation, with its share of the maps.
    pub(super) fn bytes(kinds: usize) -> u64 {
        let heap = if kinds == 0 { 0 } else { 16 + 2 * kinds.next_power_of_two().max(4) };
        (size_of::<Config>() * 3 / 2 + heap) as u64
    }

    /// Uses of a kind.
    pub(super) fn used(&self, kind: usize) -> u16 {
        self.used.get(kind).copied().unwrap_or(0)
    }

    /// Counts one more.
    pub(super) fn use_up(&mut self, kind: usize) {
        if self.used.len() <= kind {
            self.used.resize(kind + 1, 0);
        }
        self.used[kind] = self.used[kind].saturating_add(1);
    }

    /// Forgets the uses of a kind.
    pub(super) fn reset(&mut self, kind: usize) {
        if let Some(used) = self.used.get_mut(kind) {
            *used = 0;
        }
        while self.used.last() == Some(&0) {
            self.used.pop();
        }
    }

    /// All uses.
    pub(super) fn spent(&self) -> u32 {
        self.used.iter().map(|&used| u32::from(used)).sum()
    }

    /// The same with `slot` returned.
    pub(super) fn without(&self, bit: Slots) -> Config {
        Config { done: self.done & !bit, either: self.either & !bit, ..self.clone() }
    }
}

/// Configurations none of which can do all that another one can.
pub(super) struct Antichain {
    cas: Slots,
    pure: Slots,
    len: usize,
    groups: FxHashMap<(ValueId, Slots), Vec<Config>>,
}

impl Antichain {
    /// `cas` and `pure` are the open compare-and-sets, and the open reads and mismatches.
    pub(super) fn new(cas: Slots, pure: Slots) -> Self {
        Antichain { cas, pure, len: 0, groups: FxHashMap::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a configuration, and drops those it covers; false when one that is there covers it.
    pub(super) fn insert(&mut self, config: &Config) -> bool {
        let pure = self.pure;
        let group = self.groups.entry((config.state, config.done & self.cas)).or_default();
        if group.iter().any(|other| covers(other, config, pure)) {
            return false;
        }
        let before = group.len();
        group.retain(|other| !covers(config, other, pure));
        group.push(config.clone());
        self.len = self.len + group.len() - before;
        true
    }

    /// Is it still there, not covered by another one?
    pub(super) fn holds(&self, config: &Config) -> bool {
        let group = self.groups.get(&(config.state, config.done & self.cas));
        group.is_some_and(|group| group.contains(config))
    }

    pub(super) fn into_configs(self) -> Vec<Config> {
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
        && one.used.iter().enumerate().all(|(kind, &used)| used <= other.used(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(done: Slots, either: Slots, used: &[u16]) -> Config {
        Config { done, either, used: used.to_vec(), ..Config::default() }
    }

    #[test]
    fn more_freedom_covers_less() {
        // Bit 0 is a read, the others are writes.
        let mut set = Antichain::new(0, 0b1);
        assert!(set.insert(&config(0b010, 0, &[])));
        assert!(set.insert(&config(0b000, 0, &[])), "undone is not worse than done");
        assert!(set.insert(&config(0b001, 0b010, &[])), "either covers both");
        assert_eq!(set.len(), 1);
        assert!(!set.insert(&config(0b011, 0, &[])));
    }

    #[test]
    fn fewer_uses_cover_more() {
        let mut set = Antichain::new(0, 0);
        assert!(set.insert(&config(0, 0, &[1, 2])));
        assert!(!set.insert(&config(0, 0, &[1, 2, 1])));
        assert!(set.insert(&config(0, 0, &[2, 1])));
        assert_eq!(set.len(), 2);
        assert!(set.insert(&config(0, 0, &[1, 1])));
        assert_eq!(set.len(), 1);
    }
}
