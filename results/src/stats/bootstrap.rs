//! Intervals by drawing the sample again and again from itself (B. Efron and R. Tibshirani, *An Introduction to the
//! Bootstrap*, 1993). Seeded: the same values give the same interval.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::{CONFIDENCE, Interval, normal, spread};

/// Draws of each bootstrap: enough that the ends move by less than a few percent of the width from seed to seed.
pub const DRAWS: usize = 2_000;

/// Values below which drawing from them says nothing.
pub const LEAST: usize = 5;

/// One sample drawn from values with replacement.
fn again(values: &[f64], into: &mut Vec<f64>, rng: &mut ChaCha8Rng) {
    into.clear();
    into.extend((0..values.len()).map(|_| values[rng.random_range(0..values.len())]));
}

/// Interval between percentiles of a statistic of drawn samples (ibid., chapter 13). None of fewer than [`LEAST`]
/// values.
pub fn percentile(values: &[f64], statistic: impl Fn(&[f64]) -> f64, seed: u64) -> Option<Interval> {
    let tail = (1.0 - CONFIDENCE) / 2.0;
    between(&draws(values, statistic, seed)?, tail, 1.0 - tail)
}

/// The same, bias-corrected and accelerated (ibid., chapter 14): better where the statistic is smooth and skewed, such
/// as a mean. For quantiles use [`spread::quantile_interval`], which is exact.
pub fn bca(values: &[f64], statistic: impl Fn(&[f64]) -> f64, seed: u64) -> Option<Interval> {
    let drawn = draws(values, &statistic, seed)?;
    let observed = statistic(values);
    let below = drawn.iter().filter(|&&value| value < observed).count() as f64;
    let ties = drawn.iter().filter(|&&value| value == observed).count() as f64;
    let bias = normal::quantile((below + ties / 2.0) / drawn.len() as f64);
    let without: Vec<f64> =
        (0..values.len()).map(|i| statistic(&[&values[..i], &values[i + 1..]].concat())).collect();
    let mean = without.iter().sum::<f64>() / without.len() as f64;
    let cubes: f64 = without.iter().map(|value| (mean - value).powi(3)).sum();
    let squares: f64 = without.iter().map(|value| (mean - value).powi(2)).sum();
    let acceleration = if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 };
    if !bias.is_finite() {
        return between(&drawn, 0.0, 1.0);
    }
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let moved = |p: f64| {
        let z = bias + normal::quantile(p);
        normal::cdf(bias + z / (1.0 - acceleration * z))
    };
    between(&drawn, moved(tail), moved(1.0 - tail))
}

/// Interval for the ratio of two medians, `b` over `a`, each drawn from its own values. None where either has fewer than
/// [`LEAST`] values, or a median of 0 may be divided by.
pub fn ratio_of_medians(a: &[f64], b: &[f64], seed: u64) -> Option<Interval> {
    if a.len() < LEAST || b.len() < LEAST {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    let mut ratios: Vec<f64> = (0..DRAWS)
        .map(|_| {
            again(a, &mut of_a, &mut rng);
            again(b, &mut of_b, &mut rng);
            median_of(&mut of_b) / median_of(&mut of_a)
        })
        .collect();
    if ratios.iter().any(|ratio| !ratio.is_finite()) {
        return None;
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    between(&ratios, tail, 1.0 - tail)
}

fn median_of(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    spread::median(values).unwrap_or(f64::NAN)
}

/// A statistic of so many drawn samples, sorted.
fn draws(values: &[f64], statistic: impl Fn(&[f64]) -> f64, seed: u64) -> Option<Vec<f64>> {
    if values.len() < LEAST {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut sample = Vec::new();
    let mut drawn: Vec<f64> = (0..DRAWS)
        .map(|_| {
            again(values, &mut sample, &mut rng);
            statistic(&sample)
        })
        .collect();
    drawn.sort_unstable_by(f64::total_cmp);
    Some(drawn)
}

fn between(sorted: &[f64], low: f64, high: f64) -> Option<Interval> {
    Some(Interval { low: spread::quantile(sorted, low)?, high: spread::quantile(sorted, high)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    /// In how many of so many samples of `n` exponential values (mean 1) the interval holds the truth.
    fn covered(n: usize, truth: f64, interval: impl Fn(&[f64], u64) -> Option<Interval>) -> f64 {
        const SAMPLES: u64 = 150;
        let held = (0..SAMPLES).filter(|&seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let values: Vec<f64> = (0..n).map(|_| -(1.0 - rng.random::<f64>()).ln()).collect();
            interval(&values, seed).is_some_and(|interval| interval.holds(truth))
        });
        held.count() as f64 / SAMPLES as f64
    }

    #[test]
    fn intervals_hold_the_truth_about_as_often_as_they_say() {
        let bca_mean = covered(30, 1.0, |values, seed| bca(values, mean, seed));
        assert!((0.88..=1.0).contains(&bca_mean), "{bca_mean}");
        let percentile_mean = covered(30, 1.0, |values, seed| percentile(values, mean, seed));
        assert!((0.86..=1.0).contains(&percentile_mean), "{percentile_mean}");
        let ratio = covered(40, 1.0, |values, seed| {
            let (a, b) = values.split_at(20);
            ratio_of_medians(a, b, seed)
        });
        assert!((0.89..=1.0).contains(&ratio), "{ratio}");
        let wrong = covered(30, 1.5, |values, seed| bca(values, mean, seed));
        assert!(wrong < 0.6, "an interval that holds anything tells nothing: {wrong}");
    }

    #[test]
    fn the_same_values_give_the_same_interval_and_few_give_none() {
        let values = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        assert_eq!(bca(&values, mean, 1), bca(&values, mean, 1));
        assert_eq!(bca(&values[..4], mean, 1), None);
        assert_eq!(percentile(&[], mean, 1), None);
        assert_eq!(ratio_of_medians(&[0.0; 6], &values, 1), None);
        assert_eq!(ratio_of_medians(&[2.0; 6], &[3.0; 6], 1), Some(Interval { low: 1.5, high: 1.5 }));
        assert_eq!(bca(&[2.0; 6], mean, 1), Some(Interval { low: 2.0, high: 2.0 }));
    }
}
