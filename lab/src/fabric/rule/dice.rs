//! Seeded chance. Each link has dice of its own, so that traffic elsewhere does not shift what it draws.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::Link;

/// The dice of one rule on one link.
#[derive(Debug)]
pub(super) struct Dice {
    rng: ChaCha8Rng,
    /// The normal deviate before, which the next one may resemble.
    last: Option<f64>,
}

impl Dice {
    pub(super) fn of_link(seed: u64, (from, to): Link) -> Dice {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..10].copy_from_slice(&from.0.to_le_bytes());
        bytes[10..12].copy_from_slice(&to.0.to_le_bytes());
        Dice { rng: ChaCha8Rng::from_seed(bytes), last: None }
    }

    /// For what a rule decides once, whatever the link.
    pub(super) fn of_rule(seed: u64) -> Dice {
        let mut bytes = [0xff; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Dice { rng: ChaCha8Rng::from_seed(bytes), last: None }
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.rng.random::<f64>() < probability
    }

    /// One of `0..bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.rng.random_range(0..bound.max(1))
    }

    /// Uniform between 0 and 1, without either. With a correlation, neighbours resemble each other, and the
    /// distribution stays what it is: the deviates are normal ones seen through their own distribution.
    pub(super) fn share(&mut self, correlation: f64) -> f64 {
        if correlation == 0.0 { self.unit() } else { below_normal(self.normal(correlation)) }
    }

    /// Normal, of mean 0 and variance 1; two neighbours have this correlation.
    pub(super) fn normal(&mut self, correlation: f64) -> f64 {
        // Box and Muller.
        let fresh = (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos();
        let next = match self.last {
            Some(last) => correlation * last + (1.0 - correlation * correlation).sqrt() * fresh,
            None => fresh,
        };
        self.last = Some(next);
        next
    }

    fn unit(&mut self) -> f64 {
        // The middle of one of 2^53 steps.
        (self.rng.random::<f64>() + f64::EPSILON / 4.0).clamp(f64::EPSILON / 4.0, 1.0 - f64::EPSILON / 2.0)
    }
}

/// The share of normal deviates below `z`, to some 10^-7 (Abramowitz and Stegun, 7.1.26).
fn below_normal(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let tail = series.iter().fold(0.0, |sum, factor| sum * t + factor) * t * (-x * x).exp() / 2.0;
    let share = if z < 0.0 { tail } else { 1.0 - tail };
    share.clamp(1e-9, 1.0 - 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::NodeId;

    #[test]
    fn correlated_shares_stay_uniform_and_resemble_their_neighbours() {
        for correlation in [0.0, 0.5, 0.9] {
            let mut dice = Dice::of_link(3, (NodeId(0), NodeId(1)));
            let draws: Vec<f64> = (0..100_000).map(|_| dice.share(correlation)).collect();
            for tenth in 1..10 {
                let below = draws.iter().filter(|draw| **draw < f64::from(tenth) / 10.0).count() as f64 / 1e5;
                assert!((below - f64::from(tenth) / 10.0).abs() < 0.02, "{correlation} {tenth} {below}");
            }
            let neighbours = draws.windows(2).map(|pair| (pair[0] - 0.5) * (pair[1] - 0.5) * 12.0);
            let seen = neighbours.sum::<f64>() / 99_999.0;
            let expected = 6.0 / std::f64::consts::PI * (correlation / 2.0_f64).asin();
            assert!((seen - expected).abs() < 0.03, "{correlation}: {seen} beside {expected}");
        }
    }

    #[test]
    fn the_normal_distribution_is_the_one_in_the_books() {
        for (z, share) in [(0.0, 0.5), (1.0, 0.841_344_7), (-1.96, 0.024_997_9), (3.0, 0.998_650_1)] {
            assert!((below_normal(z) - share).abs() < 1e-6, "{z}");
        }
    }
}
