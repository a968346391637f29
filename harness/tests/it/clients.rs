//! Clients that are killed and halted, beside a cluster that keeps its word all the same.

use checker::{FaultRecord, Verdict};
use results::summary::{Liveness, RunSummary};

use crate::tool::{Store, shardstorm, summary};

/// One client after another is killed, halted, killed again and again; all of them once more, together. Their links are
/// slow, so that some call is always open.
const FAULTS: &str = "\
[[window]]\nstart_s = 1\nstop_s = 3\nfault = 'kill'\ntarget = 'client c0'\n
[[window]]\nstart_s = 3.5\nstop_s = 6.5\nfault = 'pause'\ntarget = 'client c1'\n
[[window]]\nstart_s = 7\nstop_s = 8.5\nfault = 'crash-loop'\ndown_ms = 50\nup_ms = 150\ntarget = 'client'\n
[[window]]\nstart_s = 9\nstop_s = 10\nfault = 'kill'\ntarget = 'client c0 and node c1 and client c2'\n
[[window]]\nstart_s = 0.5\nstop_s = 10.5\nfault = 'delay'\nbase_ms = 20\nlane = 1\n\
target = 'client c0 and client c1 and client c2'\n";

/// A run under these faults, or none of them; the run's text, too.
fn run(flags: &[&str], faults: bool) -> (RunSummary, String) {
    let store = Store::new();
    let file = store.path().join("clients.toml");
    std::fs::write(&file, FAULTS).unwrap();
    let faults = if faults { file.to_str().unwrap() } else { "none" };
    // A long lease: on a machine that is busy with other things a short one expires by itself.
    let all = ["--time-limit", "12", "--seed", "4", "--lease-ms", "4000", "--faults", faults];
    let done = store.run(&[&all[..], flags].concat());
    assert_eq!(done.code, 0, "{}", done.said());
    let history = std::fs::read_to_string(store.latest().history()).unwrap();
    let summary = summary(&store.latest());
    assert_eq!(summary.verdict, Verdict::Valid);
    assert!(matches!(summary.liveness, Liveness::Live { .. }), "{}", done.said());
    (summary, history)
}

fn seen<'a>(fault: &'a FaultRecord, what: &str) -> Vec<&'a str> {
    let told = fault.evidence.iter().filter(|(name, _)| name.ends_with(what));
    told.map(|(_, seen)| seen.as_str()).collect()
}

/// What each window shows, and what it leaves in the history.
fn shown(summary: &RunSummary, history: &str) {
    let [_, kill, pause, crash_loop, all] = &summary.faults[..] else { panic!("{:?}", summary.faults) };
    for fault in &summary.faults {
        assert!(fault.installed, "{fault:?}");
    }
    assert_eq!(seen(kill, "when killed").len(), 1, "{kill:?}");
    assert!(seen(kill, "after restart")[0].starts_with("works again"), "{kill:?}");
    assert!(seen(pause, "when halted")[0].starts_with("stands still"), "{pause:?}");
    let stood: f64 = seen(pause, "then")[0].split(' ').nth(3).unwrap().parse().unwrap();
    assert!((2.0..4.0).contains(&stood), "{pause:?}");
    let kills: u32 = seen(crash_loop, "kills")[0].parse().unwrap();
    assert!(kills > 3, "{crash_loop:?}");
    assert_eq!(seen(all, "when killed").len(), 3, "{all:?}");
    assert!(history.contains("the client was killed"), "some call was open when its client was killed");
}

#[test]
fn clients_of_the_fake_die_and_stand_still_and_nothing_is_held_against_the_cluster() {
    for workload in ["register", "append"] {
        let (summary, history) = run(&["--target", "fake", "--workload", workload], true);
        shown(&summary, &history);
        assert!(summary.counts.ok > 500, "{:?}", summary.counts);
    }
    let (summary, history) = run(&["--target", "fake"], false);
    assert!(!history.contains("the client was killed") && summary.faults.is_empty());
}

#[test]
fn real_clients_close_their_connections_when_killed_and_their_sessions_run_out() {
    let doctor = shardstorm(&["doctor"]);
    if doctor.code != 0 {
        eprintln!("skipped: this machine cannot raise a real cluster\n{}", doctor.said());
        return;
    }
    for workload in ["register", "lock", "members"] {
        let (summary, history) = run(&["--workload", workload, "--shards", "1"], true);
        shown(&summary, &history);
        let dead = summary.faults.iter().flat_map(|fault| seen(fault, "when killed"));
        let cut: Vec<&str> = dead.collect();
        assert!(cut.iter().all(|dead| dead.ends_with(", 0 after")), "{cut:?}");
        assert!(cut.iter().any(|dead| !dead.contains(", 0 connections before")), "{cut:?}");
    }
}

#[test]
fn ctrl_c_does_not_wait_for_a_client_that_stands_still() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let store = Store::new();
    let file = store.path().join("clients.toml");
    std::fs::write(&file, "[[window]]\nstart_s = 1\nstop_s = 100\nfault = 'pause'\ntarget = 'client'\n")
        .unwrap();
    let mut child =
        store.start(&["--target", "fake", "--time-limit", "120", "--faults", file.to_str().unwrap()]);
    store.wait_for_history(|text| text.contains("fault-start"));
    let asked = std::time::Instant::now();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2), "cut short: unknown");
    assert!(asked.elapsed().as_secs() < 60, "long before the window's end");
    let cut = summary(&store.latest());
    assert!(cut.faults[0].installed && seen(&cut.faults[0], "then").len() == 1, "{:?}", cut.faults);
}
