//! The language of schedules on real servers: rhythms, limits, and a power cut that nothing survives.

use results::summary::Liveness;

use crate::tool::{Store, processes_touching, shardstorm, summary};

const FAULTS: &str = r#"
[limits]
zookeeper = "minority"

[[window]]
start_s = 1.0
stop_s = 6.0
fault = "kill"
target = "master of shard 0"
each = "election"
hold_ms = 300

[[window]]
start_s = 1.0
stop_s = 4.0
fault = "partition"
shape = "isolate-one"
target = "first replica of shard 1"
flip = { on_ms = 200, off_ms = 400 }
lane = 1

[[window]]
start_s = 1.0
stop_s = 3.0
fault = "pause"
target = "zookeeper minority"
lane = 2

[[window]]
start_s = 1.5
stop_s = 2.5
fault = "pause"
target = "zookeeper leader"
lane = 3

[[window]]
start_s = 6.5
stop_s = 7.0
fault = "power-cut"
target = "shard 1"
lane = 4
"#;

#[test]
fn windows_strike_at_each_election_by_turns_and_within_limits_and_a_shard_without_memory_stays_down() {
    let doctor = shardstorm(&["doctor"]);
    if doctor.code != 0 || !doctor.stdout.lines().any(|line| line.starts_with("yes") && line.contains("fuse"))
    {
        eprintln!("skipped: no cluster with faulty disks can be raised\n{}", doctor.said());
        return;
    }
    let store = Store::new();
    let file = store.path().join("faults.toml");
    std::fs::write(&file, FAULTS).unwrap();
    let flags = ["--time-limit", "8", "--converge", "3", "--seed", "3", "--faults", file.to_str().unwrap()];
    let done = store.run(&flags);
    assert_ne!(done.code, 254, "{}", done.said());
    assert!(processes_touching(store.path()).is_empty());
    let summary = summary(&store.latest());
    let seen = |at: usize, what: &str| {
        let found = summary.faults[at].evidence.iter().find(|(name, _)| name.contains(what));
        found.map(|(_, seen)| seen.clone()).unwrap_or_else(|| panic!("{what}: {:?}", summary.faults[at]))
    };
    let at = |start_s: f64, kind: &str| {
        let ns = (start_s * 1e9) as u64;
        let found =
            |fault: &checker::FaultRecord| fault.kind == kind && fault.start_ns.abs_diff(ns) < 400_000_000;
        summary.faults.iter().position(found).unwrap_or_else(|| panic!("{kind}: {:?}", summary.faults))
    };
    let kills = at(1.0, "kill");
    let strikes: u64 = seen(kills, "strikes").parse().unwrap();
    assert!(strikes >= 2, "the first master and at least one that was elected after it: {}", done.said());
    assert!(seen(kills, "strike 2").contains("master of shard 0 (epoch"), "{}", done.said());
    let flips = at(1.0, "partition");
    assert!(seen(flips, "strikes").parse::<u64>().unwrap() >= 4 && summary.faults[flips].installed);
    let refused = at(1.5, "pause");
    assert!(!summary.faults[refused].installed, "{:?}", summary.faults[refused]);
    assert!(
        seen(refused, "not installed").contains("a majority is to stay"),
        "{:?}",
        summary.faults[refused]
    );
    let cut = at(6.5, "disk");
    assert!(summary.faults[cut].installed && seen(cut, "lost to the power cut").contains("memory"));
    // What nobody has any more is not served: the shard stays down, and no promise is broken.
    assert_eq!(done.code, 3, "{}", done.said());
    let Liveness::NotLive { why, .. } = &summary.liveness else { panic!("{}", done.said()) };
    assert!(why.iter().any(|line| line.contains("shard 1")), "{why:?}");
    assert!(!matches!(summary.verdict, checker::Verdict::Invalid { .. }), "{}", done.said());
}
