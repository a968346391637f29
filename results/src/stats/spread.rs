//! Quantiles with intervals that assume nothing about the distribution.

use super::share::binomial_cdf;
use super::{CONFIDENCE, Interval};

/// Median of sorted values: the middle one, or the mean of the two in the middle.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let n = sorted.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(sorted[n / 2]),
        _ => Some((sorted[n / 2 - 1] + sorted[n / 2]) / 2.0),
    }
}

/// Smallest of the sorted values that a share `q` of them does not exceed (nearest rank).
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let rank = (q.clamp(0.0, 1.0) * sorted.len() as f64 - 1e-9).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Interval for the quantile `q` of what the sorted values were drawn from: between two of them, by how many of `n`
/// fall below a quantile, which is binomial whatever the distribution (W. J. Conover, *Practical Nonparametric
/// Statistics*, 1999, 3.2). None where so few values cannot give one: the median asks for 6, p95 for 72, p99 for 368.
pub fn quantile_interval(sorted: &[f64], q: f64) -> Option<Interval> {
    let n = sorted.len() as u64;
    let tail = (1.0 - CONFIDENCE) / 2.0;
    // The quantile is below the value of rank r (from 1) if fewer than r fall below it.
    let low = (1..=n).rev().find(|&r| binomial_cdf(r - 1, n, q) <= tail)?;
    let high = (1..=n).find(|&r| binomial_cdf(r - 1, n, q) >= 1.0 - tail)?;
    Some(Interval { low: sorted[low as usize - 1], high: sorted[high as usize - 1] })
}

/// The numbers of a box plot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quartiles {
    /// A quarter is not above it.
    pub q1: f64,
    /// Half.
    pub median: f64,
    /// Three quarters.
    pub q3: f64,
    /// Least value no further below `q1` than 1.5 times the box (J. W. Tukey, 1977).
    pub low: f64,
    /// Greatest value no further above `q3`.
    pub high: f64,
}

/// Of sorted values; none of nothing.
pub fn quartiles(sorted: &[f64]) -> Option<Quartiles> {
    let half = sorted.len().div_ceil(2);
    let (q1, q3) = (median(&sorted[..half])?, median(&sorted[sorted.len() - half..])?);
    let reach = 1.5 * (q3 - q1);
    Some(Quartiles {
        q1,
        median: median(sorted)?,
        q3,
        low: sorted.iter().copied().find(|&value| value >= q1 - reach)?,
        high: sorted.iter().rev().copied().find(|&value| value <= q3 + reach)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(n: usize) -> Vec<f64> {
        (1..=n).map(|i| i as f64).collect()
    }

    #[test]
    fn so_many_values_are_needed_and_no_fewer() {
        for (q, needed) in [(0.5, 6), (0.95, 72), (0.99, 368)] {
            assert_eq!(quantile_interval(&ranks(needed - 1), q), None, "{q}");
            assert!(quantile_interval(&ranks(needed), q).is_some(), "{q}");
        }
    }

    #[test]
    fn ranks_of_the_interval_of_a_median_are_those_of_the_tables() {
        // Conover's table A3 for the sign test: n = 6: 1 and 6; 10: 2 and 9; 20: 6 and 15; 50: 18 and 33.
        for (n, low, high) in [(6, 1.0, 6.0), (10, 2.0, 9.0), (20, 6.0, 15.0), (50, 18.0, 33.0)] {
            assert_eq!(quantile_interval(&ranks(n), 0.5), Some(Interval { low, high }), "n = {n}");
        }
    }

    #[test]
    fn medians_and_boxes() {
        assert_eq!([median(&[]), median(&[3.0]), median(&[1.0, 2.0])], [None, Some(3.0), Some(1.5)]);
        let mut values = ranks(9);
        values.push(100.0);
        let boxed = quartiles(&values).unwrap();
        assert_eq!((boxed.q1, boxed.median, boxed.q3, boxed.low, boxed.high), (3.0, 5.5, 8.0, 1.0, 9.0));
        assert_eq!(quantile(&ranks(20), 0.95), Some(19.0));
    }
}
