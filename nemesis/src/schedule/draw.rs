//! Drawing a schedule from a seed.
//!
//! Each group of faults runs in a lane of its own, so that killing and cutting overlap now and then but no
//! process is killed and paused at once. Each lane deals its families like a deck of cards: every family
//! comes up once before any comes up twice. A family's first window strikes the master of a shard (a
//! partition isolates it; a faulty disk is the ZooKeeper leader's), so that even a short run sees each family
//! cause a failover; later ones are drawn with weights.

use std::collections::BTreeMap;

use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt, SeedableRng};

use super::{Limits, Rhythm, SafeLimits, Schedule, Window};
use crate::family::{Family, Group};
use crate::harm::Harm;
use crate::targets::Target;

/// Length of the load that the times below are made for; shorter loads scale them down to `SCALE_MIN`.
const REFERENCE_MS: f64 = 30_000.0;
const SCALE_MIN: f64 = 0.4;
/// Calm before the first window, between lanes' first windows, and before the end of the load.
pub(super) const LEAD_MS: f64 = 1_500.0;
const LANE_OFFSET_MS: f64 = 1_200.0;
const CALM_END_MS: f64 = 1_500.0;
/// Length of a window, and of the calm after it.
pub(super) const WINDOW_MS: std::ops::Range<f64> = 2_200.0..3_600.0;
pub(super) const GAP_MS: std::ops::Range<f64> = 1_800.0..3_200.0;

impl Schedule {
    /// Draws windows of the given families. The same arguments give the same schedule, byte for byte.
    pub fn draw(families: &[Family], limits: &Limits, seed: u64) -> Schedule {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let first_shard = rng.random_range(0..limits.shards.max(1));
        let mut groups: BTreeMap<Group, Vec<Family>> = BTreeMap::new();
        families.iter().for_each(|family| groups.entry(family.group()).or_default().push(*family));
        let mut windows = Vec::new();
        for (lane, families) in groups.into_values().enumerate() {
            // A stream of its own per lane: what one lane draws does not shift the other.
            let rng = ChaCha8Rng::seed_from_u64(rng.next_u64());
            windows.extend(Lane::new(lane, first_shard + lane, families, limits, rng));
        }
        Schedule::numbered(windows, SafeLimits::default())
    }
}

/// One lane's windows, one after another, until the load is nearly over.
struct Lane<'a> {
    lane: usize,
    families: Vec<Family>,
    limits: &'a Limits,
    rng: ChaCha8Rng,
    scale: f64,
    now_ms: f64,
    deck: Vec<Family>,
    dealt: Vec<Family>,
    next_shard: usize,
}

impl<'a> Lane<'a> {
    fn new(
        lane: usize,
        first_shard: usize,
        families: Vec<Family>,
        limits: &'a Limits,
        rng: ChaCha8Rng,
    ) -> Self {
        let scale = scale(limits);
        let now_ms = scale * (LEAD_MS + LANE_OFFSET_MS * lane as f64);
        let (deck, dealt) = (Vec::new(), Vec::new());
        Lane { lane, families, limits, rng, scale, now_ms, deck, dealt, next_shard: first_shard }
    }

    /// The next family off the deck, and whether it is dealt for the first time.
    fn deal(&mut self) -> (Family, bool) {
        if self.deck.is_empty() {
            self.deck = self.families.clone();
            self.deck.sort_unstable();
            self.deck.dedup();
            self.deck.shuffle(&mut self.rng);
        }
        let family = self.deck.pop().expect("a lane has at least one family");
        let first = !self.dealt.contains(&family);
        self.dealt.push(family);
        (family, first)
    }

    fn shard(&mut self) -> usize {
        let shard = self.next_shard % self.limits.shards.max(1);
        self.next_shard += 1;
        shard
    }

    fn target(&mut self, family: Family, first: bool) -> Target {
        if family == Family::Disk {
            // Only ZooKeeper keeps files that outlive its process.
            let minority = !first && self.limits.zookeepers >= 3 && self.rng.random_bool(0.5);
            return if minority { Target::ZooKeeperMinority } else { Target::ZooKeeperLeader };
        }
        let shard = self.shard();
        if first {
            return Target::Master { shard };
        }
        let choices = choices(family, shard, self.limits);
        choices.choose_weighted(&mut self.rng, |(_, weight)| *weight).expect("some weight is not zero").0
    }
}

/// By how much windows and calms are shorter than usual, in a short load.
pub(super) fn scale(limits: &Limits) -> f64 {
    (limits.time_limit_ms as f64 / REFERENCE_MS).clamp(SCALE_MIN, 1.0)
}

/// Whom a harm of a family strikes, and how often one rather than another.
pub(super) fn choices(family: Family, shard: usize, limits: &Limits) -> Vec<(Target, u32)> {
    let minority = if limits.zookeepers >= 3 { 8 } else { 0 };
    if family == Family::Disk {
        // Only ZooKeeper keeps files that outlive its process.
        return vec![(Target::ZooKeeperLeader, 8), (Target::ZooKeeperMinority, minority)];
    }
    let mut choices = vec![(Target::Master { shard }, 45)];
    if limits.replicas > 1 {
        choices.push((Target::Replica { shard }, 15));
    }
    choices.push((Target::Agent { shard }, if family.is_network() { 0 } else { 15 }));
    choices.push((Target::ZooKeeperLeader, 12));
    if minority > 0 {
        choices.push((Target::ZooKeeperMinority, minority));
    }
    if family.strikes_clients() {
        choices.push((Target::Client, 8));
    }
    choices
}

impl Iterator for Lane<'_> {
    type Item = Window;

    fn next(&mut self) -> Option<Window> {
        let length_ms = self.scale * self.rng.random_range(WINDOW_MS);
        let gap_ms = self.scale * self.rng.random_range(GAP_MS);
        let (start_ms, stop_ms) = (self.now_ms, self.now_ms + length_ms);
        if stop_ms + self.scale * CALM_END_MS > self.limits.time_limit_ms as f64 {
            return None;
        }
        self.now_ms = stop_ms + gap_ms;
        let (family, first) = self.deal();
        let target = self.target(family, first);
        let harm = Harm::draw(family, first, target, &mut self.rng);
        Some(Window {
            id: 0,
            lane: self.lane as u32,
            start_ms: start_ms as u64,
            stop_ms: stop_ms as u64,
            harm,
            target,
            rhythm: Rhythm::Steady,
            seed: self.rng.next_u64() >> 11, // exact in JSON readers that know only doubles
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(time_limit_ms: u64) -> Limits {
        Limits { time_limit_ms, shards: 2, replicas: 3, zookeepers: 3 }
    }

    const DEMO: [Family; 3] = [Family::Kill, Family::Pause, Family::Partition];

    proptest! {
        #[test]
        fn the_same_seed_gives_the_same_bytes(seed: u64) {
            let draw = || serde_json::to_vec(&Schedule::draw(&DEMO, &limits(30_000), seed)).unwrap();
            prop_assert_eq!(draw(), draw());
        }

        #[test]
        fn windows_of_a_lane_never_overlap_and_all_heal_before_the_load_ends(
            seed: u64, time_limit_ms in 1_000u64..120_000,
        ) {
            let schedule = Schedule::draw(&Family::ALL, &limits(time_limit_ms), seed);
            for (i, window) in schedule.windows.iter().enumerate() {
                prop_assert_eq!(window.id, i as u64);
                prop_assert!(window.start_ms < window.stop_ms && window.stop_ms < time_limit_ms);
            }
            for lane in schedule.lanes() {
                let lane: Vec<_> = schedule.windows.iter().filter(|w| w.lane == lane).collect();
                prop_assert!(lane.windows(2).all(|pair| pair[0].stop_ms < pair[1].start_ms));
            }
        }

        #[test]
        fn the_demo_strikes_a_master_with_each_family(seed: u64) {
            let schedule = Schedule::draw(&DEMO, &limits(30_000), seed);
            for family in DEMO {
                let first = schedule.windows.iter().find(|w| w.harm.family() == family).unwrap();
                prop_assert!(matches!(first.target, Target::Master { .. }), "{:?}", first);
            }
            prop_assert!(schedule.windows.len() >= 6);
        }

        #[test]
        fn a_drawn_schedule_reads_back_from_its_json(seed: u64) {
            let schedule = Schedule::draw(&Family::ALL, &limits(60_000), seed);
            let text = serde_json::to_string_pretty(&schedule).unwrap();
            prop_assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule);
        }
    }

    #[test]
    fn different_seeds_give_different_schedules() {
        let draw = |seed| Schedule::draw(&DEMO, &limits(30_000), seed);
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn ten_seconds_are_enough_for_each_family_of_the_demo() {
        for seed in 0..200 {
            let schedule = Schedule::draw(&DEMO, &limits(10_000), seed);
            for family in DEMO {
                assert!(
                    schedule.windows.iter().any(|w| w.harm.family() == family),
                    "seed {seed}, {family:?}"
                );
            }
        }
    }

    #[test]
    fn no_families_no_windows() {
        assert!(Schedule::draw(&[], &limits(30_000), 7).windows.is_empty());
    }
}
