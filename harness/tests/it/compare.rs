//! `compare` and `trend` on run folders, as their users run them.

use std::path::Path;

use checker::Verdict;
use results::spec::RunSpec;
use results::summary::{Counts, Failover, Liveness, RunSummary};
use results::{RunFile, RunFolder};
use tempfile::TempDir;

use crate::tool::shardstorm;

const MS: u64 = 1_000_000;

/// A judged run with a failover after a kill for each of these times.
fn write(store: &Path, day: &str, times_ms: &[u64]) {
    let spec: RunSpec = toml::from_str(
        "target = 'fake'\nvariant = 'hardened'\nshards = 2\nreplicas = 3\nzookeepers = 3\nworkload = 'register'\n\
         faults = ['kill']\nseed = 7\ntime_limit_s = 5.0\nconcurrency = 12\nrate = 400.0\nwait = 1\nreads = 'master'\n\
         lease_ms = 400\nop_timeout_ms = 500\nconverge_s = 20.0\n",
    )
    .unwrap();
    let failover = |(epoch, &ms): (u64, &u64)| Failover {
        epoch,
        to: "s0r1".into(),
        fault: Some(0),
        fault_ns: Some(1_000 * MS),
        first_ack_ns: Some((1_000 + ms) * MS),
        ..Failover::default()
    };
    let kill = serde_json::json!({
        "id": 0, "kind": "kill", "detail": "", "target": "master of shard 0", "nodes": ["s0r0"], "roles": ["master"],
        "start_ns": 1_000 * MS, "stop_ns": null, "installed": true, "evidence": []
    });
    let started_at = format!("{day}T10:00:00Z");
    let summary = RunSummary {
        format_version: results::FORMAT_VERSION,
        spec: spec.clone(),
        started_at: started_at.clone(),
        versions: vec![("commit".into(), format!("c{}", &day[8..]))],
        verdict: Verdict::Valid,
        checkers: Vec::new(),
        liveness: Liveness::NotJudged,
        observations: Vec::new(),
        counts: Counts::default(),
        faults: vec![serde_json::from_value(kill).unwrap()],
        strikes: Vec::new(),
        failovers: (2..).zip(times_ms).map(failover).collect(),
        outages: Vec::new(),
        phases_s: Vec::new(),
        cut_short: None,
        error: None,
        command: String::new(),
        exit_code: 0,
    };
    let folder = RunFolder::create(store, "register-7").unwrap();
    folder.write_run(&RunFile::new(spec, started_at, String::new(), &[])).unwrap();
    folder.write_summary(&summary).unwrap();
}

fn store(day: &str, times_ms: impl IntoIterator<Item = u64>) -> TempDir {
    let store = TempDir::new().unwrap();
    write(store.path(), day, &times_ms.into_iter().collect::<Vec<_>>());
    store
}

fn path(store: &TempDir) -> &str {
    store.path().to_str().unwrap()
}

#[test]
fn a_slower_set_of_runs_fails_where_that_was_asked_for() {
    let (a, b) =
        (store("2026-11-22", (0..10).map(|i| 500 + i)), store("2026-11-23", (0..10).map(|i| 700 + i)));
    let told = shardstorm(&["compare", path(&a), path(&b)]);
    assert_eq!(told.code, 0, "{}", told.said());
    assert!(told.stdout.contains("kill · fake hardened: B is slower"), "{}", told.said());
    for (limit, code) in [("20%", 1), ("50", 0)] {
        let told = shardstorm(&["compare", path(&a), path(&b), "--fail-if-slower", limit]);
        assert_eq!(told.code, code, "{limit}: {}", told.said());
    }
    let told = shardstorm(&["compare", path(&b), path(&a), "--fail-if-slower", "0", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((told.code, &value["families"][0]["finding"]), (0, &"faster".into()), "{}", told.said());
}

#[test]
fn what_nobody_can_say_is_not_green() {
    let (a, b) = (store("2026-11-22", [500, 501]), store("2026-11-23", [5_000, 5_001]));
    let told = shardstorm(&["compare", path(&a), path(&b), "--fail-if-slower", "20%"]);
    assert_eq!(told.code, 2, "{}", told.said());
    assert!(told.stdout.contains("make more runs"), "{}", told.said());
}

#[test]
fn a_trend_is_told_and_drawn() {
    let (a, b) =
        (store("2026-11-22", (0..10).map(|i| 500 + i)), store("2026-11-23", (0..10).map(|i| 700 + i)));
    let told = shardstorm(&["trend", path(&b), path(&a), "--plot", path(&a)]);
    assert_eq!(told.code, 0, "{}", told.said());
    let at = |text: &str| told.stdout.find(text).unwrap_or_else(|| panic!("no {text}: {}", told.said()));
    assert!(at("c22") < at("c23"));
    assert!(a.path().join("trend.png").is_file() && a.path().join("trend.svg").is_file());
}

#[test]
fn bad_arguments_get_one_sentence_with_the_mend() {
    let a = store("2026-11-22", [500]);
    let empty = TempDir::new().unwrap();
    let cases: [(&[&str], &str); 3] = [
        (&["compare", path(&a), path(&empty)], "no run that was judged"),
        (&["compare", path(&a), path(&a), "--fail-if-slower", "fast"], "give one like 20%"),
        (&["trend", path(&a), "--plot", "/nowhere/at/all"], "is no folder; make it"),
    ];
    for (args, words) in cases {
        let told = shardstorm(args);
        assert_eq!(told.code, 254, "{args:?}: {}", told.said());
        assert!(told.stderr.contains(words), "{args:?}: {}", told.said());
    }
}
