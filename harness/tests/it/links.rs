//! Every fault of the network on a real cluster: shown, healed, and survived.

use checker::Verdict;
use results::summary::Liveness;

use crate::tool::{Store, shardstorm, summary};

/// A window a second, each with another fault; what shows it.
const FAULTS: [(&str, &str); 11] = [
    ("fault = 'duplicate'\nprobability = 0.3", "packets duplicated"),
    ("fault = 'reorder'\nprobability = 0.2\nby_ms = 5\nto = 'redis'", "packets overtaken"),
    ("fault = 'rate'\nbytes_per_s = 50000", "packets that waited"),
    ("fault = 'corrupt'\nprobability = 0.05", "packets corrupted"),
    ("fault = 'black-hole'\nmtu = 150", "packets dropped"),
    ("fault = 'reset'\nprobability = 0.02", "connections reset"),
    ("fault = 'half-open'\nloser = 'server'\nprobability = 0.1", "connections lost at one end"),
    ("fault = 'stall'\nafter_bytes = 2000", "packets dropped"),
    ("fault = 'partition'\nshape = 'redis-from-redis'\non_ms = 50\noff_ms = 100", "packets dropped"),
    ("fault = 'delay'\nbase_ms = 5\njitter_ms = 5\nspread = 'pareto'\nway = 'out'", "packets delayed"),
    ("fault = 'loss'\nprobability = 0.2\nburst = 5", "packets dropped"),
];

#[test]
fn every_fault_of_the_network_is_shown_and_healed_and_the_cluster_keeps_its_word() {
    let doctor = shardstorm(&["doctor"]);
    if doctor.code != 0 || !doctor.stdout.contains("built in") {
        eprintln!("skipped: this machine cannot raise a real cluster\n{}", doctor.said());
        return;
    }
    let store = Store::new();
    let faults = store.path().join("links.toml");
    let window = |(i, (fault, _)): (usize, &(&str, &str))| {
        let start_s = 1.0 + 1.5 * i as f64;
        format!(
            "[[window]]\nstart_s = {start_s}\nstop_s = {}\ntarget = 'master of shard 0'\n{fault}\n",
            start_s + 1.0
        )
    };
    // Connections close when somebody is killed; whether that is seen is what the last windows are about.
    let close = "[[window]]\nstart_s = 18\nstop_s = 21\ntarget = 'master of shard 0'\nfault = 'slow-close'\n\
                 [[window]]\nstart_s = 18.5\nstop_s = 20\ntarget = 'master of shard 0'\nfault = 'kill'\nlane = 1\n\
                 [[window]]\nstart_s = 22\nstop_s = 25\ntarget = 'master of shard 0'\nfault = 'hidden-close'\nway = 'out'\n\
                 [[window]]\nstart_s = 22.5\nstop_s = 24\ntarget = 'same as window 14'\nfault = 'kill'\nlane = 1\n";
    let text: String = FAULTS.iter().enumerate().map(window).chain([close.to_owned()]).collect();
    std::fs::write(&faults, text).unwrap();
    let done = store.run(&[
        "--time-limit",
        "28",
        "--shards",
        "1",
        "--seed",
        "3",
        "--faults",
        faults.to_str().unwrap(),
    ]);
    assert_eq!(done.code, 0, "{}", done.said());
    let summary = summary(&store.latest());
    assert_eq!(summary.verdict, Verdict::Valid);
    assert!(matches!(summary.liveness, Liveness::Live { .. }), "{}", done.said());
    let links = summary.faults.iter().filter(|fault| fault.kind != "kill");
    for (fault, shown_by) in links.zip(FAULTS.iter().map(|(_, by)| *by).chain(["closes held", "ends hidden"]))
    {
        let hits = fault.evidence.iter().find(|(what, _)| what == shown_by).map(|(_, hits)| hits.as_str());
        assert!(fault.installed && hits.is_some_and(|hits| hits != "0"), "{shown_by}: {fault:?}");
        assert!(fault.evidence.iter().all(|(what, _)| what != "healed"), "the harness healed it: {fault:?}");
    }
}
