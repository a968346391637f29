//! When a shard answers as often as before: full rate again.
//!
//! Counted are answered calls of the shard (acknowledged, or turned down by their own precondition), reads and writes,
//! by the time of the answer. The rate *before* is that of the [`BEFORE_NS`] that end with the start of the failover, or
//! of what there was of them since the load began or the shard's failover before this one was over. Full rate is reached at
//! the first answer, no earlier than the first acknowledged write, from which on a window holds at least [`SHARE`] of what it
//! would hold at the rate before. The window is the shortest of [`WINDOWS_NS`] that would hold [`LEAST`] answers then; a
//! shard that is asked more rarely has no rate to speak of. The search ends with the load and with the next trouble of
//! the shard.
//!
//! **Error.** A window `w` that would hold `n` answers at full rate is accepted too early by as much of the time before
//! as keeps its count above the share: `2 (1 - SHARE) w` at most, where the shard answered half as often until then. Chance
//! moves the count by its standard deviation `√n` (answers that come independently), and so the mark by `w/√n`. The
//! bar is `w (2 (1 - SHARE) + 2.5/√n)` to either side; on synthetic traces it holds the truth in 95 of 100 at least
//! (`results/tests/it/failover_bars.rs`).

use super::Bar;

/// Longest time before the failover from which the rate is taken: 5 s.
pub const BEFORE_NS: u64 = 5_000_000_000;
/// Shortest such time: 1 s.
pub const BEFORE_NS_MIN: u64 = 1_000_000_000;
/// Share of the rate before that counts as full.
pub const SHARE: f64 = 0.9;
/// Answers that a window must hold at the rate before.
pub const LEAST: f64 = 100.0;
/// Windows to choose from: 0.5, 1, 2 and 4 s.
pub const WINDOWS_NS: [u64; 4] = [500_000_000, 1_000_000_000, 2_000_000_000, 4_000_000_000];

/// Between what times to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Earliest time whose answers count for the rate before.
    pub since_ns: u64,
    /// Start of the failover.
    pub start_ns: u64,
    /// First acknowledged write.
    pub first_ack_ns: u64,
    /// End of the search.
    pub until_ns: u64,
}

/// When full rate was reached, and how well that is known; none when it was not, or when there is no rate to
/// compare with. `answers_ns` are the times of all answers of the shard, sorted.
pub fn full_rate(answers_ns: &[u64], span: Span) -> Option<(u64, Bar)> {
    let since_ns = span.since_ns.max(span.start_ns.saturating_sub(BEFORE_NS));
    let length_ns = span.start_ns.checked_sub(since_ns).filter(|&ns| ns >= BEFORE_NS_MIN)?;
    let at = |ns: u64| answers_ns.partition_point(|&answer| answer < ns);
    let before_per_ns = (at(span.start_ns) - at(since_ns)) as f64 / length_ns as f64;
    let window_ns = WINDOWS_NS.into_iter().find(|&ns| before_per_ns * ns as f64 >= LEAST)?;
    let full = before_per_ns * window_ns as f64;
    let from = at(span.first_ack_ns);
    let mark_ns = answers_ns[from..]
        .iter()
        .copied()
        .take_while(|&ns| ns.saturating_add(window_ns) <= span.until_ns)
        .find(|&ns| (at(ns + window_ns) - at(ns)) as f64 >= SHARE * full)?;
    let error_ns = (window_ns as f64 * (2.0 * (1.0 - SHARE) + 2.5 / full.sqrt())) as u64;
    // It is known that it was not before the first acknowledged write.
    let bar = Bar { before_ns: error_ns.min(mark_ns - span.first_ack_ns), after_ns: error_ns };
    Some((mark_ns, bar))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// An answer every 5 ms within each span of milliseconds.
    fn answers(spans: &[(u64, u64)]) -> Vec<u64> {
        spans.iter().flat_map(|&(from, to)| (from..to).step_by(5)).map(|ms| ms * MS).collect()
    }

    fn span(first_ack_ms: u64, until_ms: u64) -> Span {
        Span { since_ns: 0, start_ns: 6_000 * MS, first_ack_ns: first_ack_ms * MS, until_ns: until_ms * MS }
    }

    #[test]
    fn a_step_back_to_the_old_rate_is_found_within_its_bar() {
        let mut trace = answers(&[(0, 6_000), (8_000, 20_000)]);
        trace.extend((7_000..8_000).step_by(50).map(|ms| ms * MS));
        trace.sort_unstable();
        let (mark, bar) = full_rate(&trace, span(7_000, 20_000)).unwrap();
        assert!(mark < 8_000 * MS && bar.holds(mark, 8_000 * MS), "{mark} {bar:?}");
        assert!(bar.after_ns.abs_diff(225 * MS) < MS, "0.5 s × (0.2 + 2.5/√100): {bar:?}");
    }

    #[test]
    fn half_the_rate_is_not_the_rate() {
        let mut trace = answers(&[(0, 6_000)]);
        trace.extend((7_000..20_000).step_by(10).map(|ms| ms * MS));
        assert_eq!(full_rate(&trace, span(7_000, 20_000)), None);
    }

    #[test]
    fn what_cannot_be_compared_is_not_told() {
        let rare: Vec<u64> = (0..20_000).step_by(100).map(|ms| ms * MS).collect();
        assert_eq!(full_rate(&rare, span(6_100, 20_000)), None, "ten a second are no rate");
        let trace = answers(&[(0, 20_000)]);
        assert_eq!(full_rate(&trace, Span { since_ns: 5_500 * MS, ..span(6_100, 20_000) }), None);
        assert_eq!(full_rate(&trace, span(6_100, 6_500)), None, "the window must fit before the end");
        assert_eq!(full_rate(&trace, span(6_100, 20_000)).unwrap().0, 6_100 * MS);
    }
}
