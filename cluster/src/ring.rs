//! Consistent hashing with virtual nodes: which shard owns a key.
//!
//! A key falls into one of [`SLOTS`] slots, equal arcs of a ring of 2^64 positions; every shard sits at `vnodes`
//! points of the ring, and a slot belongs to the first point at or after its beginning (Karger et al. 1997).
//! Adding a shard moves about `1/n` of the slots, all of them to the new shard. The hash is SHA-1, because a
//! script inside Redis can compute it too: a server refuses a key whose slot it does not own, whatever ring the
//! client believes in. Every process of every version agrees on the owner.

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::znodes::RingRecord;

/// Number of slots: what moves from shard to shard.
pub const SLOTS: u16 = 1024;

/// Virtual nodes of a shard unless told otherwise: spreads keys to within about a tenth of the fair share.
pub const VNODES: u32 = 128;

/// The slot of a key: the first ten bits of its SHA-1.
pub fn slot(key: &str) -> u16 {
    (position(key.as_bytes()) >> (64 - SLOTS.trailing_zeros())) as u16
}

/// Every slot in order.
pub fn slots() -> impl Iterator<Item = u16> {
    0..SLOTS
}

/// Owners of all keys.
///
/// In ZooKeeper it is a list of runs, `[[owner, slots], …]`, which must cover all slots and no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<(u32, u16)>", try_from = "Vec<(u32, u16)>")]
pub struct Ring {
    /// The owner of each slot; empty if there are no shards.
    owners: Vec<u32>,
}

impl Ring {
    /// A ring of `shards` with `vnodes` points each (at least one).
    pub fn new(shards: &[u32], vnodes: u32) -> Self {
        let mut points: Vec<(u64, u32)> = shards
            .iter()
            .flat_map(|&shard| {
                (0..vnodes.max(1))
                    .map(move |v| (position(format!("shard {shard} vnode {v}").as_bytes()), shard))
            })
            .collect();
        points.sort_unstable();
        let Some(first) = points.first().copied() else { return Ring::default() };
        let owner = |slot: u16| {
            let at = u64::from(slot) << (64 - SLOTS.trailing_zeros());
            let next = points.partition_point(|&(point, _)| point < at);
            points.get(next).unwrap_or(&first).1
        };
        Ring { owners: slots().map(owner).collect() }
    }

    /// The shard that owns `key`; none if the ring is empty.
    pub fn owner(&self, key: &str) -> Option<u32> {
        self.owner_of(slot(key))
    }

    /// The shard that owns a slot; none if the ring is empty.
    pub fn owner_of(&self, slot: u16) -> Option<u32> {
        self.owners.get(usize::from(slot)).copied()
    }

    /// A key that begins with `prefix` and belongs to `shard`; none if the shard owns nothing.
    pub fn key_of(&self, shard: u32, prefix: &str) -> Option<String> {
        self.has(shard).then(|| {
            let mut keys = (0u64..).map(|n| format!("{prefix}-{n}"));
            keys.find(|key| self.owner(key) == Some(shard)).expect("every slot has keys")
        })
    }

    /// The slots of one shard as its dataset keeps them: a `1` for each that it owns, else a `0`.
    pub fn slots_of(&self, shard: u32) -> String {
        slots().map(|slot| if self.owner_of(slot) == Some(shard) { '1' } else { '0' }).collect()
    }

    /// Whether the shard owns any slot.
    pub fn has(&self, shard: u32) -> bool {
        self.owners.contains(&shard)
    }

    /// The same with some slots given to `shard`; an empty ring stays empty.
    pub fn with(mut self, slots: &[u16], shard: u32) -> Ring {
        for &slot in slots {
            if let Some(owner) = self.owners.get_mut(usize::from(slot)) {
                *owner = shard;
            }
        }
        self
    }
}

impl From<&RingRecord> for Ring {
    fn from(record: &RingRecord) -> Self {
        record.owners.clone().unwrap_or_else(|| Ring::new(&record.shards, record.vnodes))
    }
}

impl From<Ring> for Vec<(u32, u16)> {
    fn from(ring: Ring) -> Self {
        let runs = ring.owners.chunk_by(|a, b| a == b);
        runs.map(|run| (run[0], u16::try_from(run.len()).expect("no run exceeds SLOTS"))).collect()
    }
}

impl TryFrom<Vec<(u32, u16)>> for Ring {
    type Error = String;

    fn try_from(runs: Vec<(u32, u16)>) -> Result<Self, String> {
        let covered: u64 = runs.iter().map(|&(_, slots)| u64::from(slots)).sum();
        if covered != u64::from(SLOTS) {
            return Err(format!("the owners cover {covered} slots instead of {SLOTS}"));
        }
        let owners = runs.into_iter().flat_map(|(owner, slots)| (0..slots).map(move |_| owner));
        Ok(Ring { owners: owners.collect() })
    }
}

/// The first 64 bits of SHA-1.
fn position(bytes: &[u8]) -> u64 {
    let digest = Sha1::digest(bytes);
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 20 bytes"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn shares(ring: &Ring, keys: usize) -> BTreeMap<u32, usize> {
        let mut shares = BTreeMap::new();
        for i in 0..keys {
            *shares.entry(ring.owner(&format!("key-{i}")).unwrap()).or_insert(0) += 1;
        }
        shares
    }

    #[test]
    fn an_empty_ring_owns_nothing() {
        assert_eq!(Ring::new(&[], 8).owner("k"), None);
    }

    #[test]
    fn owners_never_change_between_versions() {
        let ring = Ring::new(&[0, 1, 2], VNODES);
        let owners: Vec<u32> = (0..8).map(|i| ring.owner(&format!("k{i}")).unwrap()).collect();
        assert_eq!(owners, OWNERS_OF_K0_TO_K7);
    }
    const OWNERS_OF_K0_TO_K7: [u32; 8] = [1, 2, 0, 0, 1, 2, 2, 1];

    #[test]
    fn a_ring_with_a_hole_is_refused() {
        let text = serde_json::to_string(&Ring::new(&[0, 1], 1)).unwrap();
        assert_eq!(serde_json::from_str::<Ring>(&text).unwrap(), Ring::new(&[0, 1], 1));
        let error = serde_json::from_str::<Ring>("[[0,1000],[1,23]]").unwrap_err();
        assert!(error.to_string().contains("cover 1023 slots instead of 1024"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_shard_gets_a_fair_share(shards in 2u32..9) {
            let ids: Vec<u32> = (0..shards).collect();
            let keys = 20_000;
            let fair = keys / shards as usize;
            let shares = shares(&Ring::new(&ids, VNODES), keys);
            prop_assert_eq!(shares.len(), ids.len());
            for (&shard, &share) in &shares {
                prop_assert!(share > fair * 6 / 10 && share < fair * 15 / 10, "shard {} has {} of {}", shard, share, keys);
            }
        }

        #[test]
        fn a_new_shard_takes_its_share_and_nothing_else_moves(shards in 1u32..9) {
            let before = Ring::new(&(0..shards).collect::<Vec<_>>(), VNODES);
            let after = Ring::new(&(0..=shards).collect::<Vec<_>>(), VNODES);
            let keys = 20_000;
            let mut moved = 0;
            for i in 0..keys {
                let key = format!("key-{i}");
                if before.owner(&key) != after.owner(&key) {
                    prop_assert_eq!(after.owner(&key), Some(shards), "{} moved between old shards", key);
                    moved += 1;
                }
            }
            let fair = keys / (shards as usize + 1);
            prop_assert!(moved > fair * 6 / 10 && moved < fair * 15 / 10, "{} moved, fair is {}", moved, fair);
        }

        #[test]
        fn the_order_of_shards_does_not_matter(key in "[a-z0-9]{1,12}", swap in any::<bool>()) {
            let ids = if swap { [2, 0, 1] } else { [1, 2, 0] };
            prop_assert_eq!(Ring::new(&ids, 16).owner(&key), Ring::new(&[0, 1, 2], 16).owner(&key));
        }
    }
}
