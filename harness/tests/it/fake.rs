//! The whole flow on the in-memory cluster: no privileges, no servers.

use std::collections::BTreeSet;

use checker::Verdict;
use cluster::fake::FakeBug;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use results::summary::Liveness;

use crate::tool::{Store, anomalies, shardstorm, summary};

#[test]
fn a_clean_run_is_valid_and_leaves_a_folder_that_explains_itself() {
    let store = Store::new();
    let done = store.run(&["--target", "fake", "--time-limit", "6", "--seed", "11"]);
    assert_eq!(done.code, 0, "{}", done.said());
    let folder = store.latest();
    for file in [
        "run.toml",
        "schedule.json",
        "history.jsonl",
        "events.jsonl",
        "verdict.json",
        "report.html",
        "latency.svg",
    ] {
        let length = std::fs::metadata(folder.path().join(file)).map(|m| m.len()).unwrap_or(0);
        assert!(length > 0, "{file} is missing or empty");
    }
    let summary = summary(&folder);
    assert_eq!(summary.verdict, Verdict::Valid);
    assert!(matches!(summary.liveness, Liveness::Live { .. }));
    assert!(summary.faults.iter().filter(|fault| fault.installed).count() >= 2, "{:?}", summary.faults);
    assert!(!summary.failovers.is_empty());
    assert!(done.stdout.contains("Valid") && done.stdout.contains("report.html"), "{}", done.said());
}

#[test]
fn every_named_bug_is_found_and_the_same_seeds_without_it_are_clean() {
    // They mostly wait: all at once.
    std::thread::scope(|scope| {
        let hunts: Vec<_> = FakeBug::ALL.iter().map(|bug| scope.spawn(|| find(bug.name()))).collect();
        let failed = hunts.into_iter().filter_map(|hunt| hunt.join().err()).count();
        assert_eq!(failed, 0, "bugs not found, or found where there were none");
    });
}

/// Bugs need their moment: a few seeds each, the first usually does.
fn find(bug: &str) {
    let store = Store::new();
    let flags = ["--target", "fake", "--time-limit", "5", "--rate", "800"];
    for seed in ["1", "2", "3", "4", "5"] {
        let done = store.run(&[&flags[..], &["--seed", seed, "--bug", bug]].concat());
        if done.code == 1 {
            assert!(!anomalies(&summary(&store.latest()).verdict).is_empty(), "{}", done.said());
            let clean = store.run(&[&flags[..], &["--seed", seed]].concat());
            assert_eq!(clean.code, 0, "seed {seed} without {bug}: {}", clean.said());
            return;
        }
    }
    panic!("{bug} was not found with any seed");
}

/// `register` is judged event by event, `append` as a whole from time to time.
#[test]
fn a_run_that_is_to_stop_at_the_first_violation_does() {
    for workload in ["register", "append"] {
        let store = Store::new();
        let flags = ["--target", "fake", "--workload", workload, "--time-limit", "6", "--rate", "800"];
        let flags = [&flags[..], &["--seed", "3", "--stop-at-first"]].concat();
        let done = store.run(&[&flags[..], &["--bug", "stale-read"]].concat());
        assert_eq!(done.code, 1, "{workload}: {}", done.said());
        let stopped = summary(&store.latest());
        let why = stopped.cut_short.expect("it was cut short");
        assert!(why.starts_with("stopped at the first violation"), "{why}");
        assert!(stopped.counts.invoked < 2_400, "{workload}: {:?}", stopped.counts);
        assert!(stopped.command.contains("--stop-at-first"), "{}", stopped.command);
        let clean = store.run(&flags);
        assert_eq!(clean.code, 0, "{workload}: {}", clean.said());
        assert_eq!(summary(&store.latest()).cut_short, None);
    }
}

#[test]
fn the_same_seed_gives_the_same_plan_byte_for_byte() {
    let plan = |seed: &str| shardstorm(&["plan", "--target", "fake", "--seed", seed]).stdout;
    assert!(plan("7").len() > 1_000);
    assert_eq!(plan("7"), plan("7"));
    assert_ne!(plan("7"), plan("8"));
}

#[test]
fn the_inputs_of_two_runs_with_one_seed_are_the_planned_ones() {
    let inputs = |store: &Store| -> BTreeSet<String> {
        let done = store.run(&["--target", "fake", "--time-limit", "2", "--seed", "5", "--faults", "none"]);
        assert!(done.code == 0 || done.code == 2, "{}", done.said());
        let history = std::fs::read_to_string(store.latest().history()).unwrap();
        let events = history.lines().map(|line| serde_json::from_str::<checker::Event>(line).unwrap());
        events
            .filter(|event| event.kind == checker::EventKind::Invoke && event.f == "write")
            .map(|event| format!("{:?} {:?} {}", event.process, event.key, event.value))
            .collect()
    };
    let (first, second) = (inputs(&Store::new()), inputs(&Store::new()));
    let common = first.intersection(&second).count();
    // A loaded machine may skip overdue slots of one run; what was issued is the plan's.
    assert!(common * 10 >= first.len() * 9, "{common} of {} and {}", first.len(), second.len());
}

#[test]
fn a_run_without_its_faults_is_unknown_never_green() {
    let store = Store::new();
    let faults = store.path().join("faults.toml");
    // Nobody holds the role: shard 0's replica of a shard with one Redis.
    let window = "[[window]]\nstart_s = 0.5\nstop_s = 1\nfault = 'kill'\ntarget = 'replica of shard 0'\n";
    std::fs::write(&faults, window).unwrap();
    let done = store.run(&[
        "--target",
        "fake",
        "--time-limit",
        "2",
        "--replicas",
        "1",
        "--wait",
        "0",
        "--faults",
        faults.to_str().unwrap(),
    ]);
    assert_eq!(done.code, 2, "{}", done.said());
    assert!(done.stdout.contains("Unknown"), "{}", done.said());
}

#[test]
fn kill_9_loses_no_completed_operation_and_check_judges_what_is_there() {
    let store = Store::new();
    let mut child = store.start(&["--target", "fake", "--time-limit", "60", "--seed", "3"]);
    store.wait_for_history(|text| text.lines().count() > 500);
    child.kill().unwrap();
    child.wait().unwrap();
    let folder = store.path().join("latest");
    let done = shardstorm(&["check", folder.to_str().unwrap()]);
    assert_eq!(done.code, 2, "cut short, so nobody can say: {}", done.said());
    let summary = summary(&store.latest());
    let linearizable = summary.checkers.iter().find(|(name, _)| name == "linearizable").unwrap();
    assert_eq!(linearizable.1, Verdict::Valid);
    assert!(summary.counts.invoked >= 250 && summary.cut_short.is_some());
    assert!(folder.join("report.html").exists());
}

#[test]
fn ctrl_c_heals_and_still_judges() {
    let store = Store::new();
    let mut child = store.start(&["--target", "fake", "--time-limit", "60", "--seed", "3"]);
    store.wait_for_history(|text| text.contains("fault-start"));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(2), "a run cut short is unknown");
    let summary = summary(&store.latest());
    assert!(summary.cut_short.unwrap().contains("interrupted"));
    assert!(matches!(summary.liveness, Liveness::Live { .. }), "{:?}", summary.liveness);
    assert!(summary.faults.iter().all(|fault| fault.stop_ns.is_some()), "all faults healed");
}

#[test]
fn check_and_report_work_on_an_old_folder_and_on_a_bare_history() {
    let store = Store::new();
    let done = store.run(&["--target", "fake", "--time-limit", "3", "--seed", "2"]);
    assert!(done.code == 0 || done.code == 2, "{}", done.said());
    let folder = store.latest();
    let path = folder.path().to_str().unwrap();
    assert_eq!(shardstorm(&["check", path]).code, done.code);
    std::fs::remove_file(folder.report()).unwrap();
    assert_eq!(shardstorm(&["report", path]).code, 0);
    assert!(folder.report().exists());
    let history = folder.history();
    let bare = shardstorm(&["check", history.to_str().unwrap()]);
    assert_eq!(bare.code, 0, "{}", bare.said());
    // Cut in mid-line, as a full disk leaves it: a note, and the rest is judged.
    let text = std::fs::read_to_string(&history).unwrap();
    let cut = store.path().join("cut.jsonl");
    std::fs::write(&cut, &text[..text.len() - 20]).unwrap();
    let judged = shardstorm(&["check", cut.to_str().unwrap()]);
    assert_eq!(judged.code, 0, "{}", judged.said());
    assert!(judged.stderr.contains("note"), "{}", judged.said());
}

#[test]
fn check_reads_other_tools_histories_and_is_lenient_when_asked() {
    let store = Store::new();
    let edn = store.path().join("register.edn");
    let stale = "{:process 0, :type :invoke, :f :write, :value 1}\n{:process 0, :type :ok, :f :write, :value 1}\n\
                 {:process 1, :type :invoke, :f :read, :value nil}\n{:process 1, :type :ok, :f :read, :value nil}\n";
    std::fs::write(&edn, stale).unwrap();
    let done = shardstorm(&["check", edn.to_str().unwrap()]);
    assert!(done.code == 1 && done.stdout.contains("lost-update"), "{}", done.said());
    std::fs::write(&edn, format!("{stale}{{:process 1, :type :ok, :f :read, :value nil}}\n")).unwrap();
    let strict = shardstorm(&["check", edn.to_str().unwrap()]);
    assert!(strict.code == 254 && strict.stderr.contains("line 5"), "{}", strict.said());
    let lenient = shardstorm(&["check", "--lenient", "--format", "edn", edn.to_str().unwrap()]);
    assert!(lenient.code == 1 && lenient.stderr.contains("note"), "{}", lenient.said());
    let unknown = shardstorm(&["check", "--format", "xml", edn.to_str().unwrap()]);
    assert!(
        unknown.code == 254 && unknown.stderr.contains("use one of lines, json, edn"),
        "{}",
        unknown.said()
    );
}
