//! Clock faults on real servers: what they were told, and that they were told the truth again.

use results::summary::{Liveness, RunSummary};

use crate::tool::{Store, shardstorm, summary};

const FAULTS: &str = r#"
[[window]]
start_s = 1.0
stop_s = 3.0
fault = "clock-jump"
offset_ms = 4000
target = "master of shard 0"

[[window]]
start_s = 1.2
stop_s = 3.2
fault = "clock-jump"
offset_ms = -60000
target = "zookeeper leader"
lane = 1

[[window]]
start_s = 1.4
stop_s = 3.4
fault = "clock-drift"
rate = 1.5
clocks = "monotonic"
target = "agent of shard 1"
lane = 2

[[window]]
start_s = 4.0
stop_s = 6.0
fault = "clock-strobe"
delta_ms = 5000
period_ms = 50
target = "master node of shard 1"

[[window]]
start_s = 4.2
stop_s = 5.5
fault = "kill"
target = "master of shard 1"
lane = 1
"#;

/// What the evidence says of the first thing whose name ends so.
fn seen<'a>(summary: &'a RunSummary, window: usize, what: &str) -> &'a str {
    let fault = &summary.faults[window];
    let seen = fault.evidence.iter().find(|(name, _)| name.ends_with(what));
    &seen.unwrap_or_else(|| panic!("nothing {what} in {fault:?}")).1
}

#[test]
fn wrong_clocks_are_told_and_healed_and_the_cluster_keeps_its_word() {
    let doctor = shardstorm(&["doctor"]);
    if doctor.code != 0 || !doctor.stdout.contains("built in") {
        eprintln!("skipped: this machine cannot raise a real cluster\n{}", doctor.said());
        return;
    }
    let store = Store::new();
    let faults = store.path().join("clocks.toml");
    std::fs::write(&faults, FAULTS).unwrap();
    let done = store.run(&["--time-limit", "8", "--seed", "3", "--faults", faults.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{}", done.said());
    let summary = summary(&store.latest());
    assert!(matches!(summary.liveness, Liveness::Live { .. }), "{}", done.said());
    assert!(summary.faults.iter().all(|fault| fault.installed), "{:?}", summary.faults);

    for (window, told) in [(0, "wall clock +4.000 s ("), (1, "wall clock -60.000 s (")] {
        assert!(seen(&summary, window, "was told").starts_with(told), "{:?}", summary.faults[window]);
        let healed = seen(&summary, window, "once healed");
        assert!(healed.starts_with("wall clock +0.000 s ("), "{healed}");
    }
    let drift = seen(&summary, 2, "was told");
    assert!(drift.starts_with("monotonic clock +") && drift.ends_with("at rate 1.500"), "{drift}");
    let healed = seen(&summary, 2, "once healed");
    assert!(healed.contains("reading") && !healed.contains("1.5"), "{healed}");
    let strobe = summary.faults.iter().position(|fault| fault.detail.contains("and back")).expect("a strobe");
    assert!(seen(&summary, strobe, "was told").starts_with("wall clock +0.000 to +5.000 s ("));

    // The agents' own record does not drift: the one that is ahead by a second now, and the others, and we, agree on
    // what came before what.
    let killed = summary.failovers.iter().find(|failover| failover.fault_ns.is_some());
    let killed = killed.expect("the kill makes a failover");
    let steps =
        [killed.fault_ns, killed.suspected_ns, killed.elected_ns, killed.promoted_ns, killed.first_ack_ns];
    let steps: Vec<u64> = steps.into_iter().map(|at| at.unwrap_or_else(|| panic!("{killed:?}"))).collect();
    // Who counts the votes may write so a moment after the chosen one has acted.
    assert!(steps.is_sorted_by(|before, after| *before <= after + 300_000_000), "{killed:?}");
}

#[test]
fn the_fake_cluster_has_one_clock() {
    let done = shardstorm(&["run", "--target", "fake", "--faults", "clock", "--time-limit", "10"]);
    assert!(done.code == 254 && done.stderr.contains("--target zk-redis"), "{}", done.said());
}
