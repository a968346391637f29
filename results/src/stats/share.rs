//! Shares of a whole: how many of so many.

use super::{CONFIDENCE, Interval, normal};

/// Interval for a probability of which `hits` of `n` were seen: Wilson's score interval (E. B. Wilson, *Journal of the
/// American Statistical Association* 22, 1927), which neither leaves 0..1 nor shrinks to a point at its ends. None
/// of nothing.
pub fn wilson(hits: u64, n: u64) -> Option<Interval> {
    if n == 0 {
        return None;
    }
    let z = normal::quantile(0.5 + CONFIDENCE / 2.0);
    let (n, p) = (n as f64, hits.min(n) as f64 / n as f64);
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    // At the ends the formula gives 0 or 1 but for rounding.
    let low = if hits == 0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if p == 1.0 { 1.0 } else { (middle + half).min(1.0) };
    Some(Interval { low, high })
}

/// Half the height of a band around the cumulative curve of `n` values that holds the true curve everywhere: the
/// inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's constant (*Annals of Probability* 18, 1990). More
/// than 1 tells nothing.
pub fn dkw(n: usize) -> f64 {
    ((2.0 / (1.0 - CONFIDENCE)).ln() / (2.0 * n.max(1) as f64)).sqrt()
}

/// Probability of at most `k` hits in `n` tries that hit with probability `p`.
pub fn binomial_cdf(k: u64, n: u64, p: f64) -> f64 {
    if p <= 0.0 || k >= n {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    // From logarithms: the first term of many tries is below what a number can hold.
    let mut log_term = n as f64 * (1.0 - p).ln();
    let mut sum = log_term.exp();
    for i in 0..k {
        log_term += ((n - i) as f64 / (i + 1) as f64).ln() + (p / (1.0 - p)).ln();
        sum += log_term.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_agrees_with_published_values() {
        // Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        let cases = [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ];
        for (hits, n, low, high) in cases {
            let interval = wilson(hits, n).unwrap();
            assert!((interval.low - low).abs() < 1e-4 && (interval.high - high).abs() < 1e-4, "{interval:?}");
        }
        assert_eq!(wilson(0, 0), None);
        assert_eq!(wilson(7, 7).unwrap().high, 1.0);
    }

    #[test]
    fn wilson_covers_a_known_probability() {
        let (n, p) = (30, 0.1);
        let pmf = |k: u64| binomial_cdf(k, n, p) - if k == 0 { 0.0 } else { binomial_cdf(k - 1, n, p) };
        let covered: f64 = (0..=n).filter(|&k| wilson(k, n).unwrap().holds(p)).map(pmf).sum();
        assert!((0.93..0.995).contains(&covered), "{covered}");
    }

    #[test]
    fn the_binomial_sums_to_one_and_knows_coins() {
        assert!((binomial_cdf(2, 4, 0.5) - 11.0 / 16.0).abs() < 1e-12);
        assert!((binomial_cdf(4999, 10_000, 0.5) - 0.496_010_5).abs() < 1e-5);
        assert_eq!(
            (binomial_cdf(4, 4, 0.3), binomial_cdf(0, 5, 0.0), binomial_cdf(3, 5, 1.0)),
            (1.0, 1.0, 0.0)
        );
    }

    #[test]
    fn the_band_narrows_with_the_root_of_n() {
        assert!((dkw(100) - 0.1358).abs() < 1e-4);
        assert!((dkw(400) * 2.0 - dkw(100)).abs() < 1e-12);
    }
}
