//! Runs on real servers, where this machine allows it. They assert on coverage (the fault took effect, the
//! failover was timed), not on speed, and not that the course's design keeps every promise: it does not.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use results::summary::{Liveness, RunSummary};

use crate::tool::{Store, eventually, network_namespaces, processes_touching, shardstorm, summary};

/// False, with the reason printed, where no real cluster can be raised.
fn able() -> bool {
    let doctor = shardstorm(&["doctor"]);
    if doctor.code != 0 {
        eprintln!("skipped: this machine cannot raise a real cluster\n{}", doctor.said());
    }
    doctor.code == 0
}

/// A short run with one family of faults; the summary it left.
fn run_with(faults: &str, seed: &str) -> Option<RunSummary> {
    if !able() {
        return None;
    }
    let store = Store::new();
    let done = store.run(&["--time-limit", "10", "--faults", faults, "--seed", seed]);
    assert!((0..=2).contains(&done.code), "{}", done.said());
    let left = processes_touching(store.path());
    assert!(left.is_empty(), "left behind: {left:?}");
    let summary = summary(&store.latest());
    assert!(summary.counts.ok > 500, "{}", done.said());
    assert!(matches!(summary.liveness, Liveness::Live { .. }), "{}", done.said());
    Some(summary)
}

fn installed<'a>(summary: &'a RunSummary, kind: &'a str) -> usize {
    summary.faults.iter().filter(|fault| fault.kind == kind && fault.installed).count()
}

/// Failovers of which every phase was seen.
fn timed_failovers(summary: &RunSummary) -> usize {
    let whole = |f: &&results::summary::Failover| {
        f.fault_ns.is_some()
            && f.suspected_ns.is_some()
            && f.lease_lost_ns.is_some()
            && f.elected_ns.is_some()
            && f.promoted_ns.is_some()
            && f.first_ack_ns.is_some()
    };
    summary.failovers.iter().filter(whole).count()
}

#[test]
fn a_killed_master_is_replaced_and_every_phase_is_timed() {
    let Some(summary) = run_with("kill", "1") else { return };
    assert!(installed(&summary, "kill") >= 1, "{:?}", summary.faults);
    assert!(timed_failovers(&summary) >= 1, "{:?}", summary.failovers);
    let kill = summary.faults.iter().find(|fault| fault.installed).unwrap();
    assert!(kill.evidence.iter().any(|(_, seen)| seen.contains("signal 9")), "{kill:?}");
}

#[test]
fn a_paused_master_is_replaced_and_the_pause_is_seen() {
    let Some(summary) = run_with("pause", "2") else { return };
    assert!(installed(&summary, "pause") >= 1, "{:?}", summary.faults);
    assert!(timed_failovers(&summary) >= 1, "{:?}", summary.failovers);
    let pause = summary.faults.iter().find(|fault| fault.installed).unwrap();
    assert!(pause.evidence.iter().any(|(_, seen)| seen.contains("stopped")), "{pause:?}");
}

#[test]
fn an_isolated_master_is_replaced_and_packets_were_dropped() {
    let Some(summary) = run_with("partition", "3") else { return };
    assert!(installed(&summary, "partition") >= 1, "{:?}", summary.faults);
    assert!(timed_failovers(&summary) >= 1, "{:?}", summary.failovers);
}

#[test]
fn delay_and_loss_show_what_they_did() {
    let Some(summary) = run_with("delay,loss", "4") else { return };
    assert!(installed(&summary, "delay") >= 1 && installed(&summary, "loss") >= 1, "{:?}", summary.faults);
}

#[test]
fn a_quiet_run_is_valid() {
    let Some(summary) = run_with("none", "5") else { return };
    assert_eq!(summary.exit_code, 0, "{:?}", summary.verdict);
    assert!(summary.failovers.is_empty(), "{:?}", summary.failovers);
}

#[test]
fn kill_9_in_mid_partition_leaves_no_process_and_no_namespace() {
    if !able() {
        return;
    }
    let before = network_namespaces();
    let store = Store::new();
    let mut child = store.start(&["--time-limit", "60", "--faults", "partition", "--seed", "6"]);
    store.wait_for_history(|text| text.contains("fault-start"));
    assert!(processes_touching(store.path()).len() > 9, "servers and agents are at work");
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("no process is left", || processes_touching(store.path()).is_empty());
    eventually("no namespace is left", || network_namespaces().is_subset(&before));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(store.path().to_str().unwrap()), "no mount is left:\n{mounts}");
    let done = shardstorm(&["check", store.path().join("latest").to_str().unwrap()]);
    assert!((1..=2).contains(&done.code), "judged as far as it went: {}", done.said());
}

#[test]
fn ctrl_c_in_mid_fault_heals_judges_and_cleans_up() {
    if !able() {
        return;
    }
    let store = Store::new();
    let mut child = store.start(&["--time-limit", "60", "--faults", "pause", "--seed", "7"]);
    store.wait_for_history(|text| text.contains("fault-start"));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let code = child.wait().unwrap().code();
    assert!(matches!(code, Some(1..=2)), "{code:?}");
    assert!(processes_touching(store.path()).is_empty());
    assert!(summary(&store.latest()).cut_short.is_some());
}

#[test]
fn two_runs_side_by_side_do_not_meet() {
    if !able() {
        return;
    }
    let stores = [Store::new(), Store::new()];
    let flags = ["--time-limit", "5", "--faults", "none", "--shards", "1", "--rate", "100"];
    let mut children: Vec<_> = stores.iter().map(|store| store.start(&flags)).collect();
    for (child, store) in children.iter_mut().zip(&stores) {
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let summary = summary(&store.latest());
        assert!(summary.failovers.is_empty() && summary.counts.ok > 100, "{:?}", summary.counts);
    }
}
