//! Mixes: windows drawn one after the other in a lane, from what the mix holds, as often as its weights say. Pure.

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

use super::{Limits, Rhythm, SafeLimits, Window, draw};
use crate::family::Family;
use crate::harm::Harm;
use crate::targets::Target;

/// A stretch of time, milliseconds: from, to.
pub(super) type Stretch = (u64, u64);

/// One thing that a mix may do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ingredient {
    /// A harm of this family, drawn anew each time.
    Any(Family),
    /// This one.
    This(Box<Harm>),
}

/// What is drawn from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mix {
    /// When the first window may open and the last must have healed.
    pub stretch: Stretch,
    /// Shortest and longest window, milliseconds.
    pub window_ms: (u64, u64),
    /// Shortest and longest calm after each, milliseconds.
    pub gap_ms: (u64, u64),
    /// What is done, with weights.
    pub ingredients: Vec<(Ingredient, f64)>,
    /// To whom, with weights; empty for what suits each family.
    pub targets: Vec<(Target, f64)>,
    /// Strength at the beginning and at the end of the stretch: windows are so much longer, calms so much shorter,
    /// and probabilities and delays so much bigger than without.
    pub ramp: (f64, f64),
}

/// What every mix of a file keeps to.
pub(super) struct Stage<'a> {
    pub limits: &'a Limits,
    /// Stretches in which no window may be open.
    pub quiet: &'a [Stretch],
    pub safe: &'a SafeLimits,
}

/// How often a harm is drawn that does not suit its target, or is too wide, before the window is left out.
const DRAWS: usize = 30;

impl Mix {
    /// The windows, in order of start.
    pub fn draw(&self, stage: &Stage<'_>, lane: u32, rng: &mut ChaCha8Rng) -> Vec<Window> {
        let (from_ms, to_ms) = self.stretch;
        let (mut windows, mut now_ms) = (Vec::new(), from_ms);
        loop {
            let strength = self.strength(now_ms);
            let scaled = |(least, most): (u64, u64), by: f64, rng: &mut ChaCha8Rng| {
                ((rng.random_range(least as f64..=most as f64) * by).round() as u64).max(1)
            };
            let length_ms = scaled(self.window_ms, strength, rng);
            let gap_ms = scaled(self.gap_ms, 1.0 / strength, rng);
            let start_ms = after_quiet(stage.quiet, now_ms, length_ms);
            let stop_ms = start_ms + length_ms;
            if stop_ms > to_ms {
                return windows;
            }
            let drawn = self.strike(stage, strength, rng);
            let seed = rng.next_u64() >> 11; // exact in JSON readers that know only doubles
            if let Some((harm, target)) = drawn {
                let rhythm = Rhythm::Steady;
                windows.push(Window { id: u64::MAX, lane, start_ms, stop_ms, harm, target, rhythm, seed });
            }
            now_ms = stop_ms + gap_ms;
        }
    }

    fn strength(&self, now_ms: u64) -> f64 {
        let (from_ms, to_ms) = self.stretch;
        let passed = now_ms.saturating_sub(from_ms) as f64 / (to_ms - from_ms).max(1) as f64;
        self.ramp.0 + (self.ramp.1 - self.ramp.0) * passed.min(1.0)
    }

    fn strike(&self, stage: &Stage<'_>, strength: f64, rng: &mut ChaCha8Rng) -> Option<(Harm, Target)> {
        let (ingredient, _) = self.ingredients.choose_weighted(rng, |(_, weight)| *weight).ok()?;
        for _ in 0..DRAWS {
            let family = match ingredient {
                Ingredient::Any(family) => *family,
                Ingredient::This(harm) => harm.family(),
            };
            let target = self.target(stage.limits, family, rng)?;
            let harm = match ingredient {
                Ingredient::Any(family) => Harm::draw(*family, false, target, rng),
                Ingredient::This(harm) => (**harm).clone(),
            };
            let harm = harm.scaled(strength, target, stage.limits);
            let is_too_wide = harm.is_wide() && stage.safe.counts_nodes();
            if !is_too_wide && harm.check(target, stage.limits).is_ok() {
                return Some((harm, target));
            }
        }
        None
    }

    fn target(&self, limits: &Limits, family: Family, rng: &mut ChaCha8Rng) -> Option<Target> {
        if !self.targets.is_empty() {
            return self.targets.choose_weighted(rng, |(_, weight)| *weight).ok().map(|(target, _)| *target);
        }
        let shard = rng.random_range(0..limits.shards.max(1));
        let choices = draw::choices(family, shard, limits);
        choices.choose_weighted(rng, |(_, weight)| *weight).ok().map(|(target, _)| *target)
    }
}

/// When a window of this length may open, from now on, so that it is not open in any quiet stretch.
fn after_quiet(quiet: &[Stretch], now_ms: u64, length_ms: u64) -> u64 {
    let mut start_ms = now_ms;
    loop {
        let hit = quiet.iter().find(|(from, to)| start_ms < *to && *from < start_ms + length_ms);
        match hit {
            Some((_, to)) => start_ms = *to,
            None => return start_ms,
        }
    }
}

/// The widest and the narrowest window and calm of a drawn schedule, at this length of the load.
pub(super) fn usual_ms(limits: &Limits) -> ((u64, u64), (u64, u64)) {
    let scale = draw::scale(limits);
    let scaled = |range: std::ops::Range<f64>| ((range.start * scale) as u64, (range.end * scale) as u64);
    (scaled(draw::WINDOW_MS), scaled(draw::GAP_MS))
}

/// Where windows may be, if nothing else is said: not at once, and not up to the very end.
pub(super) fn usual_stretch(limits: &Limits) -> Stretch {
    let calm_ms = (draw::LEAD_MS * draw::scale(limits)) as u64;
    (calm_ms, limits.time_limit_ms.saturating_sub(calm_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    const LIMITS: Limits = Limits { time_limit_ms: 60_000, shards: 2, replicas: 3, zookeepers: 3 };
    const NONE: SafeLimits = SafeLimits { zookeeper: None, shard: None, windows: None };

    fn mix(ramp: (f64, f64)) -> Mix {
        Mix {
            stretch: (2_000, 58_000),
            window_ms: (500, 1_500),
            gap_ms: (300, 900),
            ingredients: vec![(Ingredient::Any(Family::Kill), 3.0), (Ingredient::Any(Family::Loss), 1.0)],
            targets: Vec::new(),
            ramp,
        }
    }

    fn draw(mix: &Mix, quiet: &[Stretch], seed: u64) -> Vec<Window> {
        let stage = Stage { limits: &LIMITS, quiet, safe: &NONE };
        mix.draw(&stage, 0, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    proptest! {
        #[test]
        fn windows_keep_to_their_stretch_and_out_of_the_quiet(seed: u64, at in 0u64..60_000, for_ms in 1u64..20_000) {
            let quiet = [(at, at + for_ms), (30_000, 31_000)];
            let windows = draw(&mix((0.3, 2.0)), &quiet, seed);
            prop_assert!(windows.windows(2).all(|two| two[0].stop_ms < two[1].start_ms));
            for window in &windows {
                prop_assert!(window.start_ms >= 2_000 && window.stop_ms <= 58_000 && window.start_ms < window.stop_ms);
                prop_assert!(quiet.iter().all(|(from, to)| window.stop_ms <= *from || *to <= window.start_ms));
                prop_assert!(window.harm.check(window.target, &LIMITS).is_ok());
            }
            prop_assert_eq!(windows, draw(&mix((0.3, 2.0)), &quiet, seed));
        }
    }

    #[test]
    fn a_ramp_makes_later_windows_longer() {
        let windows: Vec<Window> = (0..20).flat_map(|seed| draw(&mix((0.2, 2.0)), &[], seed)).collect();
        let mean = |early: bool| {
            let some: Vec<u64> = windows
                .iter()
                .filter(|w| (w.start_ms < 20_000) == early && (early || w.start_ms > 40_000))
                .map(|w| w.stop_ms - w.start_ms)
                .collect();
            some.iter().sum::<u64>() as f64 / some.len() as f64
        };
        assert!(mean(false) > 2.0 * mean(true), "{} {}", mean(true), mean(false));
    }

    #[test]
    fn weights_are_kept_to() {
        let windows: Vec<Window> = (0..40).flat_map(|seed| draw(&mix((1.0, 1.0)), &[], seed)).collect();
        let kills = windows.iter().filter(|window| window.harm.family() == Family::Kill).count() as f64;
        let share = kills / windows.len() as f64;
        assert!((0.7..0.8).contains(&share), "{share} of {}", windows.len());
    }

    #[test]
    fn under_limits_that_count_nodes_no_wide_partition_is_drawn() {
        let mut mix = mix((1.0, 1.0));
        mix.ingredients = vec![(Ingredient::Any(Family::Partition), 1.0)];
        let safe = SafeLimits { shard: Some(crate::schedule::safe::MajorityStays::MajorityStays), ..NONE };
        let wide = |safe: &SafeLimits| {
            let stage = Stage { limits: &LIMITS, quiet: &[], safe };
            let windows = (0..20).flat_map(|seed| mix.draw(&stage, 0, &mut ChaCha8Rng::seed_from_u64(seed)));
            windows.filter(|window| window.harm.is_wide()).count()
        };
        assert!(wide(&NONE) > 0 && wide(&safe) == 0);
    }
}
