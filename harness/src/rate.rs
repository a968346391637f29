//! Shares that were counted, and how much so few counts can show.

/// The interval in which a rate lies with 95 % confidence, having been seen `hits` times in `n` (Wilson 1927).
pub fn wilson(hits: u32, n: u32) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    const Z: f64 = 1.96;
    let (n, p) = (f64::from(n), f64::from(hits) / f64::from(n));
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0))
}

/// The same in words: `72 to 100 %`.
pub fn wilson_words(hits: u32, n: u32) -> String {
    let (low, high) = wilson(hits, n);
    format!("{:.0} to {:.0} %", low * 100.0, high * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_book() {
        let close = |(low, high): (f64, f64), wanted: (f64, f64)| {
            assert!((low - wanted.0).abs() < 0.001 && (high - wanted.1).abs() < 0.001, "{low} {high}");
        };
        close(wilson(10, 10), (0.722, 1.0));
        close(wilson(0, 10), (0.0, 0.278));
        close(wilson(95, 100), (0.888, 0.978));
        close(wilson(0, 0), (0.0, 1.0));
    }
}
