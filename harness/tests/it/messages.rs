//! Lies on the links of real servers: the named scenarios, and faults on messages under the whole cluster.

use results::summary::{Liveness, RunSummary};

use crate::tool::{Store, processes_touching, shardstorm, summary};

/// False, with the reason printed, where no real server can be raised.
fn able() -> bool {
    let doctor = shardstorm(&["doctor"]);
    if doctor.code != 0 {
        eprintln!("skipped: this machine cannot raise a real cluster\n{}", doctor.said());
    }
    doctor.code == 0
}

/// A run under faults written by hand; its summary, and what it said.
fn run(faults: &str, flags: &[&str]) -> (RunSummary, i32, String) {
    run_in(&Store::new(), faults, flags)
}

fn run_in(store: &Store, faults: &str, flags: &[&str]) -> (RunSummary, i32, String) {
    let file = store.path().join("faults.toml");
    std::fs::write(&file, faults).unwrap();
    let all = [&["--shards", "1", "--seed", "7", "--faults", file.to_str().unwrap()], flags].concat();
    let done = store.run(&all);
    let left = processes_touching(store.path());
    assert!(left.is_empty(), "left behind: {left:?}");
    (summary(&store.latest()), done.code, done.said())
}

#[test]
fn every_scenario_ends_as_the_catalogue_says_and_its_control_clean() {
    if !able() {
        return;
    }
    let store = Store::new();
    let path = store.path().to_str().unwrap().to_string();
    let played = shardstorm(&["scenario", "run", "--store", &path]);
    assert_eq!(played.code, 0, "{}", played.said());
    assert_eq!(played.stdout.matches(": as expected;").count(), 14, "{}", played.said());
    assert!(!played.stdout.contains("; 0 messages altered"), "{}", played.said());
    let names = ["R1", "R2", "R3", "R6", "R8", "R11", "Z5", "Z9", "Q4", "Q9", "T1"];
    let control = shardstorm(&[&["scenario", "run", "--control", "--store", &path], &names[..]].concat());
    assert_eq!(control.code, 0, "nothing is altered and nothing is wrong: {}", control.said());
    assert_eq!(control.stdout.matches("; 0 messages altered").count(), names.len(), "{}", control.said());
    assert!(processes_touching(store.path()).is_empty());
}

#[test]
fn a_scenario_that_is_not_there_is_named_with_those_that_are() {
    let done = shardstorm(&["scenario", "run", "R99"]);
    assert_eq!(done.code, 254);
    assert!(done.stderr.contains("scenario R99: unknown; use R1, R2"), "{}", done.said());
    let list = shardstorm(&["scenario", "list"]);
    assert!(list.stdout.lines().count() == 14 && list.stdout.contains("rejected-crash"), "{}", list.said());
}

#[test]
fn servers_are_killed_at_points_of_their_protocols() {
    if !able() {
        return;
    }
    let faults = r#"
[[window]]
start_s = 1.0
stop_s = 4.0
fault = "crash-at"
target = "master of shard 0"
at = { link = "replication", way = "to-client", message = "write" }
nth = 50
hold = { link = "replication", way = "to-server", message = "replconf-ack" }

[[window]]
start_s = 5.0
stop_s = 7.5
fault = "crash-at"
target = "zookeeper leader"
at = { link = "quorum", way = "to-client", message = "PROPOSAL" }
hold = { link = "quorum", way = "to-client", message = "COMMIT" }
"#;
    // On a starved machine the ensemble may have no leader at that moment: then nobody was struck.
    let meets = |(summary, ..): &(RunSummary, i32, String)| {
        summary.faults.iter().all(|fault| !fault.nodes.is_empty())
    };
    let mut runs = (0..3).map(|_| run(faults, &["--time-limit", "9"]));
    let (summary, code, said) = runs.find(meets).expect("a run in which both roles were held");
    assert_eq!(code, 0, "{said}");
    assert!(matches!(summary.liveness, Liveness::Live { .. }), "{said}");
    for fault in &summary.faults {
        let seen = |what: &str, seen: &str| {
            fault.evidence.iter().any(|(name, value)| name.contains(what) && value.contains(seen))
        };
        assert!(fault.installed && seen("after SIGKILL", "signal 9"), "{fault:?}");
        assert!(seen("reached", " from ") && seen("after restart", "running"), "{fault:?}");
    }
    let master = &summary.faults[0];
    let reached = &master.evidence[0].1;
    assert!(reached.contains(&format!("from {}", master.nodes[0])), "the master's own write: {master:?}");
    assert!(summary.failovers.iter().any(|failover| failover.fault == Some(0)), "{said}");
}

#[test]
fn a_server_that_ends_over_a_message_is_told_scored_and_started_again() {
    if !able() {
        return;
    }
    // A replica that comes back empty is filled with a dump, one bit of which is another.
    let faults = r#"
[[window]]
start_s = 1.0
stop_s = 6.0
fault = "message"
target = "master of shard 0"
link = "replication"
way = "to-client"
message = "rdb-chunk"
op.flip-bit = {}

[[window]]
start_s = 1.5
stop_s = 2.5
fault = "kill"
target = "first replica of shard 0"
lane = 1
"#;
    let (summary, code, said) = run(faults, &["--time-limit", "9", "--lease-ms", "4000"]);
    assert_eq!(code, 0, "{said}");
    let [lie, kill] = &summary.faults[..] else { panic!("{:?}", summary.faults) };
    let victim = &kill.nodes[0];
    let seen = |what: &str| {
        let name = format!("Redis of {victim} {what}");
        lie.evidence.iter().find(|(told, _)| *told == name).map(|(_, seen)| seen.as_str())
    };
    assert_eq!(seen("ended by itself"), Some("exited with code 1"), "{lie:?}");
    assert!(seen("said").is_some_and(|said| said.contains("Wrong RDB checksum")), "{lie:?}");
    assert!(seen("started again").is_some_and(|state| state.contains("running")), "{lie:?}");
    let [tally] = &summary.strikes[..] else { panic!("{:?}", summary.strikes) };
    assert_eq!(
        (tally.outcome.as_str(), tally.applied, tally.delivered),
        ("rejected-crash", 1, 1),
        "{tally:?}"
    );
    assert!(tally.because.starts_with(&format!("Redis of {victim} ended by itself")), "{tally:?}");
    assert!(matches!(summary.liveness, Liveness::Live { .. }), "{said}");
}

#[test]
fn messages_are_altered_under_load_written_down_and_scored() {
    if !able() {
        return;
    }
    let faults = r#"
[[window]]
start_s = 1.0
stop_s = 4.0
fault = "message"
target = "master of shard 0"
link = "replication"
way = "to-server"
message = "replconf-ack"
count = 3
op.set = { field = "offset", to.add = 1_000_000 }

[[window]]
start_s = 1.0
stop_s = 4.0
fault = "message"
target = "client"
lane = 1
link = "redis-client"
way = "to-client"
message = "any.reply"
nth = 5
op.flip-bit = {}

[[window]]
start_s = 1.0
stop_s = 4.0
fault = "message"
target = "zookeeper leader"
lane = 2
link = "quorum"
way = "to-client"
message = "PROPOSAL"
nth = 1_000_000
op = "omit"
"#;
    let store = Store::new();
    let (summary, code, said) = run_in(&store, faults, &["--time-limit", "6"]);
    assert_eq!(code, 0, "{said}");
    let outcomes: Vec<_> =
        summary.strikes.iter().map(|tally| (tally.applied, tally.outcome.as_str())).collect();
    assert_eq!(summary.strikes.len(), 3, "{said}");
    assert!(outcomes.iter().filter(|(applied, _)| *applied > 0).count() == 2, "{outcomes:?}");
    assert!(outcomes.contains(&(0, "not-triggered")), "{outcomes:?}");
    let silent = outcomes.iter().any(|(_, outcome)| *outcome == "silent");
    assert!(!silent, "three acknowledgements and a bit are not enough to break a promise: {outcomes:?}");
    let acks = summary.strikes.iter().find(|tally| tally.link == "replication").unwrap();
    assert!(acks.delivered > 0 && acks.delivered <= acks.applied, "{acks:?}");
    assert!(acks.between.iter().all(|pair| pair.starts_with("s0r") && pair.contains(" → s0r")), "{acks:?}");

    // Done again as the log says: nothing is chosen anew, so nothing more than the log has can come.
    let (first, path) = (store.latest(), store.path().to_str().unwrap().to_string());
    let then = first.read().unwrap().strikes.len();
    let folder = first.path().to_str().unwrap();
    // On a starved machine connections are made anew, and count otherwise.
    for _ in 0..3 {
        let replayed = shardstorm(&["replay", folder, "--messages", "log", "--store", &path]);
        let now = store.latest().read().unwrap().strikes.len();
        assert!(now <= then, "{}", replayed.said());
        let told = format!("messages altered: {then} then, {now} now; {now} of those then");
        assert!(replayed.stdout.contains(&told), "{told}: {}", replayed.said());
        if now > 0 {
            return;
        }
    }
    panic!("no message of the log came again in three runs");
}

#[test]
fn a_tap_with_nothing_to_alter_changes_nothing_and_proves_nothing() {
    if !able() {
        return;
    }
    let faults = r#"
[[window]]
start_s = 1.0
stop_s = 4.0
fault = "message"
target = "zookeeper leader"
link = "quorum"
way = "to-client"
message = "PROPOSAL"
nth = 1_000_000
op = "omit"
"#;
    let (summary, code, said) = run(faults, &["--time-limit", "5"]);
    assert_eq!(code, 2, "a fault that never met its message is no test: {said}");
    let [tally] = summary.strikes.as_slice() else { panic!("{:?}", summary.strikes) };
    assert_eq!((tally.applied, tally.outcome.as_str()), (0, "not-triggered"));
    assert!(tally.matched > 0, "the messages were read: {tally:?}");
    assert!(tally.because.ends_with("such messages came by, none of them altered"), "{tally:?}");
    let promises = summary.checkers.iter().filter(|(name, _)| name != "coverage");
    assert!(
        promises.clone().count() > 0
            && promises.clone().all(|(_, verdict)| *verdict == checker::Verdict::Valid),
        "{said}"
    );
    assert!(summary.failovers.is_empty(), "nobody noticed: {said}");
}
