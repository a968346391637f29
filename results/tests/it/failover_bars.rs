//! The method's error, against traces whose truth is known: every mark's true time lies within its stated bar.

use checker::{History, Op, OpEnd};
use proptest::prelude::*;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use results::failover::{Bar, Phase, bars::LOOK_NS, failovers};
use results::summary::{Failover, NodeEvent};

use crate::synthetic::{MS, S, fault, step, write};

/// A failover of shard 0 as it truly was, nanoseconds of the run clock.
#[derive(Debug, Clone, Copy)]
struct Truth {
    struck: u64,
    promoted: u64,
    /// From here on every call that arrives is answered.
    serving: u64,
    /// From here on as often as before.
    full: u64,
}

/// What would be recorded of it: agents write up to a look late, calls come at random, `per_s` of them a second, and
/// know nothing of the truth.
fn recorded(truth: Truth, per_s: f64, rng: &mut ChaCha8Rng) -> Failover {
    let mut late = |true_ns: u64| (true_ns + rng.random_range(0..LOOK_NS)) as i64;
    let events: Vec<NodeEvent> = vec![
        step(-2_000_000_000, 0, "s0r1", "promoted", 1),
        step(late(truth.struck + 100 * MS), 0, "s0r2", "suspected", 1),
        step(late(truth.promoted - 100 * MS), 0, "s0r2", "elected", 2),
        step(late(truth.promoted), 0, "s0r2", "promoted", 2),
    ];
    let mut ops: Vec<Op> = Vec::new();
    let mut call_ns = 0;
    while call_ns < 20 * S {
        call_ns += (-(1.0 - rng.random::<f64>()).ln() / per_s * 1e9) as u64;
        let thinned = (truth.struck..truth.full).contains(&call_ns);
        if thinned && rng.random::<f64>() < 0.7 {
            continue;
        }
        let arrives_ns = call_ns + rng.random_range(MS / 5..2 * MS);
        let ret_ns = arrives_ns + rng.random_range(MS / 5..2 * MS);
        // Clients learn of the new epoch some time after it was published.
        let new = arrives_ns > truth.promoted + 20 * MS;
        let answered = arrives_ns < truth.struck || arrives_ns >= truth.serving && new;
        let end = if answered { OpEnd::Ok } else { OpEnd::Fail };
        let mut op = write(ops.len() as u64, 0, if new { 2 } else { 1 }, call_ns, Some(ret_ns), end);
        if rng.random::<f64>() < 0.5 {
            op.f = "read".into();
        }
        ops.push(op);
    }
    let history = History { ops, faults: Vec::new(), end_ns: 20 * S };
    let struck = fault(0, "kill", "master of shard 0", &[("s0r1", "master")], truth.struck, None);
    let found = failovers(&events, &history, &[struck]);
    assert_eq!(found.len(), 1);
    found.into_iter().next().unwrap()
}

fn mark(failover: &Failover, phase: Phase) -> (u64, Bar) {
    let seen = failover.mark_ns(phase).zip(failover.bar(phase));
    seen.unwrap_or_else(|| panic!("{phase:?} was not seen: {failover:?}"))
}

fn truth(rng: &mut ChaCha8Rng) -> Truth {
    let struck = 6 * S + rng.random_range(0..S);
    let promoted = struck + rng.random_range(200 * MS..2 * S);
    let serving = promoted + 20 * MS + rng.random_range(0..500 * MS);
    let full = serving + rng.random_range(0..3 * S);
    Truth { struck, promoted, serving, full }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn the_truth_is_within_the_bars_of_promotion_and_first_ack(seed in any::<u64>(), per_s in 8.0f64..400.0) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let truth = truth(&mut rng);
        let found = recorded(truth, per_s, &mut rng);
        let (promoted, bar) = mark(&found, Phase::Promote);
        prop_assert!(bar.holds(promoted, truth.promoted), "{truth:?} {found:?}");
        let (served, bar) = mark(&found, Phase::Serve);
        prop_assert!(bar.holds(served, truth.serving), "{truth:?} {found:?}");
    }
}

#[test]
fn the_bar_of_full_rate_holds_the_truth_in_95_of_100() {
    const TRACES: u64 = 300;
    let mut held = 0;
    let mut widest_ns = 0;
    for seed in 0..TRACES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let truth = truth(&mut rng);
        let found = recorded(truth, rng.random_range(60.0..400.0), &mut rng);
        let (full, bar) = mark(&found, Phase::Recover);
        widest_ns = widest_ns.max(bar.after_ns);
        held += u64::from(bar.holds(full, truth.full));
    }
    assert!(held * 100 >= TRACES * 95, "{held} of {TRACES}");
    assert!(widest_ns <= 900 * MS, "a bar that holds all tells nothing: {widest_ns}");
}

#[test]
fn the_bar_of_the_first_ack_is_as_wide_as_the_gap_between_attempts() {
    let width = |per_s: f64| {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let truth = Truth { struck: 6 * S, promoted: 7 * S, serving: 7_400 * MS, full: 7_400 * MS };
        let (_, bar) = mark(&recorded(truth, per_s, &mut rng), Phase::Serve);
        bar.width_ns()
    };
    assert!(width(800.0) < 40 * MS, "{}", width(800.0));
    assert!(width(5.0) > 100 * MS, "{}", width(5.0));
}
