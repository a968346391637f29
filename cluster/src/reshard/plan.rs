//! Which slots must move, from whom to whom, and in which portions. Pure.

use std::collections::BTreeMap;

use crate::ring::{Ring, slots};

/// Slots that move together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Who gives them.
    pub from: u32,
    /// Who gets them.
    pub to: u32,
    /// Which, in order.
    pub slots: Vec<u16>,
}

/// The slots whose owner differs between two rings, in portions of at most `batch` (at least one) that have
/// one giver and one taker each. Where either ring is empty, nothing moves.
pub fn plan(before: &Ring, after: &Ring, batch: usize) -> Vec<Transfer> {
    let mut between: BTreeMap<(u32, u32), Vec<u16>> = BTreeMap::new();
    for slot in slots() {
        if let (Some(from), Some(to)) = (before.owner_of(slot), after.owner_of(slot))
            && from != to
        {
            between.entry((from, to)).or_default().push(slot);
        }
    }
    let portions = between.into_iter().flat_map(|((from, to), slots)| {
        slots
            .chunks(batch.max(1))
            .map(|slots| Transfer { from, to, slots: slots.to_vec() })
            .collect::<Vec<_>>()
    });
    portions.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ring::SLOTS;

    /// A ring after any history of moves.
    fn any_ring() -> impl Strategy<Value = Ring> {
        proptest::collection::vec(0u32..5, usize::from(SLOTS)).prop_map(|owners| {
            let runs: Vec<(u32, u16)> = owners.into_iter().map(|owner| (owner, 1)).collect();
            Ring::try_from(runs).unwrap()
        })
    }

    fn carried_out(plan: &[Transfer], ring: Ring) -> Ring {
        plan.iter().fold(ring, |ring, transfer| ring.with(&transfer.slots, transfer.to))
    }

    fn moved(plan: &[Transfer]) -> usize {
        plan.iter().map(|transfer| transfer.slots.len()).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_must_move_moves_once_and_nothing_else_does(before in any_ring(), after in any_ring(), batch in 0usize..100) {
            let plan = plan(&before, &after, batch);
            prop_assert_eq!(carried_out(&plan, before.clone()), after.clone());
            let must = slots().filter(|&slot| before.owner_of(slot) != after.owner_of(slot)).count();
            prop_assert_eq!(moved(&plan), must);
            for transfer in &plan {
                prop_assert!(!transfer.slots.is_empty() && transfer.slots.len() <= batch.max(1));
                for &slot in &transfer.slots {
                    prop_assert_eq!(before.owner_of(slot), Some(transfer.from));
                    prop_assert_eq!(after.owner_of(slot), Some(transfer.to));
                }
            }
        }

        #[test]
        fn a_plan_may_be_made_anew_after_any_part_of_it(before in any_ring(), after in any_ring(), batch in 1usize..100, done in 0usize..20) {
            let whole = plan(&before, &after, batch);
            let done = done.min(whole.len());
            let halfway = carried_out(&whole[..done], before);
            let rest = plan(&halfway, &after, batch);
            prop_assert_eq!(moved(&rest), moved(&whole[done..]));
            prop_assert_eq!(carried_out(&rest, halfway), after);
        }

        #[test]
        fn a_shard_that_comes_only_takes_and_one_that_goes_only_gives(n in 1u32..9, vnodes in 1u32..200) {
            let few = Ring::new(&(0..n).collect::<Vec<_>>(), vnodes);
            let more = Ring::new(&(0..=n).collect::<Vec<_>>(), vnodes);
            prop_assert!(plan(&few, &more, 32).iter().all(|transfer| transfer.to == n));
            prop_assert!(plan(&more, &few, 32).iter().all(|transfer| transfer.from == n));
            prop_assert_eq!(moved(&plan(&few, &more, 32)), slots().filter(|&slot| more.owner_of(slot) == Some(n)).count());
            prop_assert!(plan(&few, &few, 32).is_empty());
        }
    }

    #[test]
    fn an_empty_ring_gives_and_gets_nothing() {
        let ring = Ring::new(&[0], 1);
        assert!(plan(&Ring::default(), &ring, 8).is_empty() && plan(&ring, &Ring::default(), 8).is_empty());
    }
}
