//! Are values of one sample greater than those of another? By ranks alone, so that neither outliers nor the shape of the
//! distributions matter.

use super::normal;

/// Values up to which the distribution of U is counted out, ties and all.
pub const EXACT_MAX: usize = 50;

/// What the test says of two samples `a` and `b`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankTest {
    /// Pairs in which the value of `b` is the greater; ties count half.
    pub u: f64,
    /// Probability of a U at least as far from its mean if both came from one distribution (two-sided).
    pub p: f64,
    /// Probability that a value of `b` exceeds one of `a`, ties half: `U / (n m)`. One half where neither is greater (A.
    /// Vargha and H. Delaney, *Journal of Educational and Behavioral Statistics* 25, 2000).
    pub superiority: f64,
    /// Was the distribution counted out, or approximated by the normal one?
    pub exact: bool,
}

/// Mann and Whitney's test (*Annals of Mathematical Statistics* 18, 1947). Up to [`EXACT_MAX`] values in all, the
/// distribution of U over all ways to deal the values seen into two hands is counted out, ties included; beyond,
/// it is taken for normal, corrected for ties and continuity (E. L. Lehmann, *Nonparametrics*, 1975, 1.4). None where a
/// sample is empty.
pub fn mann_whitney(a: &[f64], b: &[f64]) -> Option<RankTest> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let ranked = Ranked::of(a, b);
    let (n, m) = (a.len() as f64, b.len() as f64);
    let u = (ranked.of_b - b.len() * (b.len() + 1)) as f64 / 2.0;
    let exact = a.len() + b.len() <= EXACT_MAX;
    let p = if exact { ranked.exact_p(b.len()) } else { ranked.normal_p(u, n, m) };
    Some(RankTest { u, p, superiority: u / (n * m), exact })
}

/// Ranks of both samples together, doubled: those of ties are halves.
struct Ranked {
    doubled: Vec<usize>,
    /// Sum of the doubled ranks of `b`.
    of_b: usize,
    /// How many values share a rank, for each rank.
    ties: Vec<usize>,
}

impl Ranked {
    fn of(a: &[f64], b: &[f64]) -> Ranked {
        let mut all: Vec<(f64, bool)> =
            a.iter().map(|&value| (value, false)).chain(b.iter().map(|&value| (value, true))).collect();
        all.sort_by(|x, y| x.0.total_cmp(&y.0));
        let (mut doubled, mut of_b, mut ties) = (Vec::new(), 0, Vec::new());
        while doubled.len() < all.len() {
            let from = doubled.len();
            let same = all[from..].iter().take_while(|(value, _)| *value == all[from].0).count();
            let rank = 2 * from + 1 + same; // twice the mean of from + 1 ..= from + same
            of_b += rank * all[from..from + same].iter().filter(|(_, is_b)| *is_b).count();
            doubled.extend(std::iter::repeat_n(rank, same));
            ties.push(same);
        }
        Ranked { doubled, of_b, ties }
    }

    /// Share of all hands of `m` whose sum of ranks is at least as far from the mean.
    fn exact_p(&self, m: usize) -> f64 {
        let total: usize = self.doubled.iter().sum();
        // Hands of each size, by sum of doubled ranks.
        let mut hands = vec![vec![0.0; total + 1]; m + 1];
        hands[0][0] = 1.0;
        for (dealt, &rank) in self.doubled.iter().enumerate() {
            for size in (1..=m.min(dealt + 1)).rev() {
                let (smaller, larger) = hands.split_at_mut(size);
                for sum in rank..=total {
                    larger[0][sum] += smaller[size - 1][sum - rank];
                }
            }
        }
        // The mean of the sum is m (N + 1), doubled; compared in whole numbers.
        let mean = m * (self.doubled.len() + 1);
        let far = self.of_b.abs_diff(mean);
        let all: f64 = hands[m].iter().sum();
        let as_far: f64 =
            hands[m].iter().enumerate().filter(|(sum, _)| sum.abs_diff(mean) >= far).map(|(_, n)| n).sum();
        (as_far / all).min(1.0)
    }

    fn normal_p(&self, u: f64, n: f64, m: f64) -> f64 {
        let all = n + m;
        let ties: f64 = self.ties.iter().map(|&t| (t * t * t - t) as f64).sum();
        let variance = n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
        if variance <= 0.0 {
            return 1.0; // all values are one and the same
        }
        let off = ((u - n * m / 2.0).abs() - 0.5).max(0.0);
        (2.0 * normal::cdf(-off / variance.sqrt())).min(1.0)
    }
}

/// How much a probability of superiority is, in words: the thresholds are those of Vargha and Delaney.
pub fn effect(superiority: f64) -> &'static str {
    match (superiority - 0.5).abs() {
        d if d < 0.06 => "negligible",
        d if d < 0.14 => "small",
        d if d < 0.21 => "medium",
        _ => "large",
    }
}

/// Values of p corrected for being several, in the same order: with all of them below 5 %, the chance of even one false
/// alarm is below 5 % (S. Holm, *Scandinavian Journal of Statistics* 6, 1979).
pub fn holm(ps: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ps.len()).collect();
    order.sort_by(|&i, &j| ps[i].total_cmp(&ps[j]));
    let mut corrected = vec![0.0; ps.len()];
    let mut least: f64 = 0.0;
    for (done, &i) in order.iter().enumerate() {
        least = least.max(ps[i] * (ps.len() - done) as f64).min(1.0);
        corrected[i] = least;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// p by dealing out every hand.
    fn enumerated(a: &[f64], b: &[f64]) -> f64 {
        let all: Vec<f64> = a.iter().chain(b).copied().collect();
        let u = |hand: u32| {
            let of = |is_b: bool| (0..all.len()).filter(move |i| (hand >> i & 1 == 1) == is_b);
            let pairs = of(true).flat_map(|i| of(false).map(move |j| (i, j)));
            pairs.map(|(i, j)| f64::from(all[i] > all[j]) + f64::from(all[i] == all[j]) / 2.0).sum::<f64>()
        };
        let seen = u(((1 << b.len()) - 1) << a.len());
        let mean = (a.len() * b.len()) as f64 / 2.0;
        let hands: Vec<f64> =
            (0..1u32 << all.len()).filter(|hand| hand.count_ones() as usize == b.len()).map(u).collect();
        let far = hands.iter().filter(|&&u| (u - mean).abs() >= (seen - mean).abs() - 1e-9).count();
        far as f64 / hands.len() as f64
    }

    fn values(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec((0u8..8).prop_map(f64::from), len)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        #[test]
        fn the_exact_p_is_that_of_dealing_out_every_hand(a in values(1..6), b in values(1..6)) {
            let test = mann_whitney(&a, &b).unwrap();
            prop_assert!(test.exact);
            prop_assert!((test.p - enumerated(&a, &b)).abs() < 1e-9, "{test:?}");
        }

        #[test]
        fn swapping_the_samples_mirrors_the_test(a in values(1..40), b in values(1..40)) {
            let (one, other) = (mann_whitney(&a, &b).unwrap(), mann_whitney(&b, &a).unwrap());
            prop_assert!((one.p - other.p).abs() < 1e-9);
            prop_assert!((one.superiority + other.superiority - 1.0).abs() < 1e-9);
        }

        #[test]
        fn holm_keeps_order_and_is_never_below_the_plain_p(ps in prop::collection::vec(0.0f64..1.0, 1..8)) {
            let corrected = holm(&ps);
            for i in 0..ps.len() {
                prop_assert!(corrected[i] >= ps[i] && corrected[i] <= 1.0);
                for j in 0..ps.len() {
                    prop_assert!(ps[i] > ps[j] || corrected[i] <= corrected[j]);
                }
            }
        }
    }

    #[test]
    fn known_tests() {
        // Complete separation of 5 and 5: 2 of C(10, 5) hands.
        let test = mann_whitney(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0]).unwrap();
        assert_eq!((test.u, test.superiority), (25.0, 1.0));
        assert!((test.p - 2.0 / 252.0).abs() < 1e-12, "{}", test.p);
        assert_eq!(mann_whitney(&[1.0; 40], &[1.0; 40]).unwrap().p, 1.0);
        assert_eq!(mann_whitney(&[1.0; 4], &[1.0; 4]).unwrap().p, 1.0);
        assert_eq!(mann_whitney(&[], &[1.0]), None);
        assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
        assert_eq!([0.5, 0.6, 0.3, 0.9].map(effect), ["negligible", "small", "medium", "large"]);
    }

    #[test]
    fn the_approximation_meets_the_exact_test() {
        let a: Vec<f64> = (0..25).map(|i| f64::from(i * 37 % 101)).collect();
        let b: Vec<f64> = (0..25).map(|i| f64::from(i * 53 % 97) + 12.0).collect();
        let exact = mann_whitney(&a, &b).unwrap();
        let ranked = Ranked::of(&a, &b);
        let normal = ranked.normal_p(exact.u, 25.0, 25.0);
        assert!(exact.exact && (exact.p - normal).abs() < 0.01, "{} {normal}", exact.p);
    }
}
