//! Swarm: each seed draws which families are on at all, and how hard, so that runs differ more than windows do.
//! A run that does a little of everything rarely does much of anything (Groce and others, 2012).

use std::collections::BTreeMap;

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::Window;
use super::mix::{Ingredient, Mix, Stage, Stretch, usual_ms};
use crate::family::{Family, Group};

/// Weights that a family which is on may have beside others of its group.
const WEIGHTS: [f64; 3] = [1.0, 2.0, 4.0];
/// How hard a group strikes: so much longer, and so much bigger, than usual.
const STRENGTH: std::ops::Range<f64> = 0.3..1.7;
/// How calm it is in between: so much longer than usual.
const CALM: std::ops::Range<f64> = 0.3..2.0;

/// Windows of some of these families; a lane for each group of them, from `lane` on.
pub(super) fn draw(
    families: &[Family],
    stretch: Stretch,
    stage: &Stage<'_>,
    lane: u32,
    seed: u64,
) -> Vec<Window> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut groups: BTreeMap<Group, Vec<(Ingredient, f64)>> = BTreeMap::new();
    for family in on(families, &mut rng) {
        let weight = *WEIGHTS.choose(&mut rng).expect("not empty");
        groups.entry(family.group()).or_default().push((Ingredient::Any(family), weight));
    }
    let (window_ms, gap_ms) = usual_ms(stage.limits);
    let mut windows = Vec::new();
    for (lane, ingredients) in (lane..).zip(groups.into_values()) {
        let (strength, calm) = (rng.random_range(STRENGTH), rng.random_range(CALM));
        let calmer = |ms: u64| (ms as f64 * calm * strength) as u64; // a strong mix shortens its calms
        let gap_ms = (calmer(gap_ms.0), calmer(gap_ms.1));
        let (targets, ramp) = (Vec::new(), (strength, strength));
        let mix = Mix { stretch, window_ms, gap_ms, ingredients, targets, ramp };
        windows.extend(mix.draw(stage, lane, &mut ChaCha8Rng::seed_from_u64(rng.random())));
    }
    windows
}

/// Each on by the toss of a coin, but at least one.
fn on(families: &[Family], rng: &mut ChaCha8Rng) -> Vec<Family> {
    let mut families = families.to_vec();
    families.sort_unstable();
    families.dedup();
    let mut on: Vec<Family> = families.iter().copied().filter(|_| rng.random_bool(0.5)).collect();
    if on.is_empty() {
        on.extend(families.choose(rng));
    }
    on
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Limits, Schedule};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const LIMITS: Limits = Limits { time_limit_ms: 60_000, shards: 2, replicas: 3, zookeepers: 3 };

    proptest! {
        #[test]
        fn the_same_seed_gives_the_same_bytes_and_every_window_is_sound(seed: u64, time_limit_ms in 5_000u64..90_000) {
            let limits = Limits { time_limit_ms, ..LIMITS };
            let draw = || Schedule::swarm(&Family::ALL, &limits, seed);
            let schedule = draw();
            prop_assert_eq!(serde_json::to_vec(&schedule).unwrap(), serde_json::to_vec(&draw()).unwrap());
            for (id, window) in (0..).zip(&schedule.windows) {
                prop_assert_eq!(window.id, id);
                prop_assert!(window.start_ms < window.stop_ms && window.stop_ms < time_limit_ms);
                prop_assert!(window.harm.check(window.target, &limits).is_ok());
            }
            let text = schedule.to_toml();
            prop_assert_eq!(Schedule::from_toml(&text, &limits, 0).unwrap(), schedule);
        }
    }

    #[test]
    fn seeds_differ_in_what_is_on_and_in_how_hard() {
        let families = [Family::Kill, Family::Pause, Family::Partition, Family::Loss, Family::Delay];
        let mut sets = BTreeSet::new();
        let (mut seen, mut lengths) = (BTreeSet::new(), Vec::new());
        for seed in 0..60 {
            let windows = Schedule::swarm(&families, &LIMITS, seed).windows;
            assert!(!windows.is_empty(), "seed {seed}");
            let on: BTreeSet<Family> = windows.iter().map(|window| window.harm.family()).collect();
            seen.extend(on.iter().copied());
            sets.insert(on);
            lengths.push(windows.iter().map(|w| w.stop_ms - w.start_ms).sum::<u64>() / windows.len() as u64);
        }
        assert_eq!(seen.len(), families.len(), "each is on in some run");
        assert!(sets.len() > 10, "{}", sets.len());
        lengths.sort_unstable();
        assert!(lengths[50] > 2 * lengths[10], "{lengths:?}");
    }
}
