//! Numbers as people read them: the same in terminal, report and plots.

/// One second in nanoseconds.
pub const SECOND_NS: u64 = 1_000_000_000;

/// A duration in the unit that suits it, three telling digits at most: `850 ns`, `12 µs`, `3.4 ms`,
/// `310 ms`, `1.24 s`, `2 min 05 s`.
pub fn duration(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..999_500 => (ns as f64 / 1e3, "µs"),
        999_500..999_500_000 => (ns as f64 / 1e6, "ms"),
        999_500_000..99_950_000_000 => (ns as f64 / 1e9, "s"),
        _ => {
            let seconds = (ns as f64 / 1e9).round() as u64;
            return format!("{} min {:02} s", seconds / 60, seconds % 60);
        }
    };
    let decimals = match value {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    let digits = format!("{value:.decimals$}");
    let short =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{short} {unit}")
}

/// Seconds, as summaries keep them, in the unit that suits them. Less than nothing counts as nothing.
pub fn seconds(s: f64) -> String {
    duration((s * 1e9) as u64)
}

/// Milliseconds without their unit, for columns that name it: `0`, `0.42`, `3.1`, `1,240`.
pub fn ms(ns: u64) -> String {
    let value = ns as f64 / 1e6;
    match value {
        0.0 => "0".to_owned(),
        v if v >= 9.95 => count(v.round() as u64),
        v if v >= 0.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// Seconds on the run clock with milliseconds: `12.304`.
pub fn clock_s(ns: u64) -> String {
    format!("{}.{:03}", ns / SECOND_NS, ns % SECOND_NS / 1_000_000)
}

/// With thousands kept apart: `1,240,000`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 failover`, `3 failovers`.
pub fn plural(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A share of one as a percentage that never rounds up to 100: `99.97 %`.
pub fn percent(share: f64) -> String {
    let share = share.clamp(0.0, 1.0);
    if share == 1.0 {
        return "100 %".into();
    }
    format!("{:.2} %", (share * 10_000.0).floor() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_the_unit_that_suits_them() {
        let cases = [
            (0, "0 ns"),
            (850, "850 ns"),
            (1_000, "1 µs"),
            (12_340, "12.3 µs"),
            (999_600, "1 ms"),
            (3_400_000, "3.4 ms"),
            (310_000_000, "310 ms"),
            (999_600_000, "1 s"),
            (1_240_000_000, "1.24 s"),
            (30_000_000_000, "30 s"),
            (125_000_000_000, "2 min 05 s"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn columns_keep_their_unit() {
        let cases =
            [(0, "0"), (420_000, "0.42"), (3_100_000, "3.1"), (9_960_000, "10"), (1_240_400_000, "1,240")];
        for (ns, text) in cases {
            assert_eq!(ms(ns), text);
        }
        assert_eq!(clock_s(12_304_999_999), "12.304");
        assert_eq!([seconds(0.0341), seconds(-1.0), seconds(f64::NAN)], ["34.1 ms", "0 ns", "0 ns"]);
    }

    #[test]
    fn a_share_below_one_is_never_shown_as_all() {
        assert_eq!(percent(0.999_999), "99.99 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(plural(1, "failover"), "1 failover");
        assert_eq!(plural(12_000, "operation"), "12,000 operations");
    }
}
