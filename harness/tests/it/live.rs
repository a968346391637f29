//! Runs on real servers, where this machine allows it. They assert on coverage (the fault took effect, the
//! failover was timed) and on verdicts, not on speed: the hardened cluster keeps its word, a weakened one is caught.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use results::summary::{Liveness, RunSummary};

use crate::tool::{
    Store, eventually, network_namespaces, processes_touching, shardstorm, shardstorm_in, summary,
};

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
    assert!(matches!(done.code, 0 | 2), "the hardened cluster keeps its word: {}", done.said());
    let left = processes_touching(store.path());
    assert!(left.is_empty(), "left behind: {left:?}");
    let data = store.latest().path().join("nodes/zk1/zookeeper/data");
    assert!(!data.exists(), "the testbed goes down before the run ends, and its data with it");
    assert!(!store.latest().packets().exists(), "packets are let go of once the messages in them are read");
    let heard = store.latest().read().unwrap().messages;
    let summary = summary(&store.latest());
    for failover in summary.failovers.iter().take(12) {
        let scene = results::messages::of_failover(failover);
        let told =
            |message: &&results::messages::MessageLine| message.scene == scene && message.from != message.to;
        assert!(heard.iter().filter(told).count() > 3, "{scene} without messages: {heard:?}");
    }
    assert!(summary.counts.ok > 500, "{}", done.said());
    assert!(matches!(summary.liveness, Liveness::Live { .. }), "{}", done.said());
    Some(summary)
}

/// A short run whose masters are killed, over protected links.
fn protected_run(flag: &str, seed: &str) {
    if !able() {
        return;
    }
    let store = Store::new();
    let done = store.run(&["--time-limit", "10", "--faults", "kill", "--seed", seed, flag]);
    assert_eq!(done.code, 0, "{}", done.said());
    let summary = summary(&store.latest());
    assert!(installed(&summary, "kill") >= 1, "{:?}", summary.faults);
    assert!(summary.counts.ok > 500, "{}", done.said());
    assert!(matches!(summary.liveness, Liveness::Live { .. }), "{}", done.said());
    let nodes = store.latest().path().join("nodes");
    for file in ["r0a/tls", "control/tls", "zk1/tls", "zk1/zookeeper/keystore.pem"] {
        assert!(!nodes.join(file).exists(), "{file} is gone with the data");
    }
    let text = std::fs::read_to_string(store.latest().path().join("run.toml")).unwrap();
    let key = flag.trim_start_matches("--");
    assert!(text.contains(&format!("{key} = true")), "{text}");
}

#[test]
fn a_weakness_is_caught_and_the_same_faults_alone_catch_nothing() {
    if !able() {
        return;
    }
    let store = Store::new();
    let weakness = |flags: &[&str]| {
        let path = store.path().to_str().expect("a plain path");
        let done = shardstorm(&[&["weakness", "promote-without-votes", "--store", path], flags].concat());
        assert_eq!(done.code, 0, "{}", done.said());
        done
    };
    assert!(weakness(&[]).stdout.contains(" 1/1 "));
    assert!(weakness(&["--control"]).stdout.contains(" 0/1 "));
}

#[test]
fn every_kind_of_promise_is_kept_on_real_servers() {
    if !able() {
        return;
    }
    for workload in ["bank", "lock", "members"] {
        let store = Store::new();
        let done =
            store.run(&["--time-limit", "8", "--workload", workload, "--faults", "kill", "--seed", "5"]);
        assert_eq!(done.code, 0, "{workload}: {}", done.said());
    }
}

#[test]
fn a_run_under_tls_is_valid() {
    protected_run("--tls", "11");
}

#[test]
fn a_run_in_the_authenticated_mode_is_valid() {
    protected_run("--authenticated", "12");
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
fn a_quiet_run_is_valid_and_nobody_is_deposed() {
    if !able() {
        return;
    }
    let store = Store::new();
    // A long lease: on a machine that is busy with other things a short one expires by itself.
    let done = store.run(&["--time-limit", "6", "--faults", "none", "--lease-ms", "5000"]);
    assert_eq!(done.code, 0, "{}", done.said());
    let summary = summary(&store.latest());
    assert!(summary.failovers.is_empty(), "{:?}", summary.failovers);
    assert!(summary.counts.ok > 500, "{:?}", summary.counts);
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
    let flags =
        ["--time-limit", "5", "--faults", "none", "--shards", "1", "--rate", "100", "--lease-ms", "5000"];
    let mut children: Vec<_> = stores.iter().map(|store| store.start(&flags)).collect();
    for (child, store) in children.iter_mut().zip(&stores) {
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let summary = summary(&store.latest());
        assert!(summary.failovers.is_empty() && summary.counts.ok > 100, "{:?}", summary.counts);
    }
}

#[test]
fn the_default_store_lies_below_the_current_folder() {
    if !able() {
        return;
    }
    let store = Store::new();
    let flags = ["run", "--time-limit", "3", "--faults", "none", "--shards", "1", "--lease-ms", "5000"];
    let done = shardstorm_in(store.path(), &flags);
    assert_eq!(done.code, 0, "{}", done.said());
    assert!(store.path().join("results/runs/latest/report.html").exists(), "{}", done.said());
    assert!(done.stdout.contains(store.path().to_str().unwrap()), "{}", done.said());
}

#[test]
fn an_ordinary_user_can_run_it_where_user_namespaces_are_allowed() {
    if !able() {
        return;
    }
    let store = Store::new();
    // A TUN node that everyone may open, as udev makes it, seen only by this command.
    let script = "mknod $0/tun c 10 200 && chmod 666 $0/tun && mount --bind $0/tun /dev/net/tun && exec \
                  setpriv --reuid 65534 --regid 65534 --clear-groups $0/shardstorm run --store $0/runs \
                  --shards 1 --time-limit 5 --rate 100 --faults none --lease-ms 5000";
    let Some(done) = store.script_with_a_copy(script) else { return };
    assert_eq!(done.code, 0, "{}", done.said());
}

#[test]
fn a_user_without_the_right_to_a_tun_device_is_told_the_mend() {
    let store = Store::new();
    let script = "mknod $0/tun c 10 200 && chmod 600 $0/tun && mount --bind $0/tun /dev/net/tun && exec \
                  setpriv --reuid 65534 --regid 65534 --clear-groups $0/shardstorm run --store $0/runs";
    let Some(done) = store.script_with_a_copy(script) else { return };
    assert_eq!(done.code, 254, "{}", done.said());
    assert!(done.stderr.contains("chmod 0666 /dev/net/tun"), "{}", done.said());
}

#[test]
fn a_missing_redis_is_named_with_the_command_that_mends_it() {
    let store = Store::new();
    let script = "for f in /usr/bin/redis-server /usr/local/bin/redis-server; do \
                  if [ -e $f ]; then mount --bind /dev/null $f || exit 77; fi; done; \
                  exec $0/shardstorm run --store $0/runs";
    let Some(done) = store.script_with_a_copy(script) else { return };
    assert_eq!(done.code, 254, "{}", done.said());
    assert!(done.stderr.contains("apt-get install redis-server"), "{}", done.said());
}

#[test]
fn a_redis_that_dies_at_its_start_is_shown_with_its_last_words() {
    if !able() {
        return;
    }
    let store = Store::new();
    let script = "real=$(command -v redis-server); mkdir $0/bin && printf '#!/bin/sh\n\
                  if [ \"$1\" = --version ]; then exec %s --version; fi\n\
                  echo no room for my locale; exit 3\n' $real > $0/bin/redis-server && \
                  chmod 755 $0/bin/redis-server && PATH=$0/bin:$PATH exec $0/shardstorm run --store $0/runs";
    let Some(done) = store.script_with_a_copy(script) else { return };
    assert_eq!(done.code, 255, "{}", done.said());
    assert!(done.stderr.contains("no room for my locale"), "{}", done.said());
    assert!(done.stderr.contains("exited with code 3"), "{}", done.said());
}

/// Changes of the ring that were complete, with the slots that each has moved.
fn reshards(summary: &RunSummary) -> Vec<(&str, u64)> {
    let complete = summary.faults.iter().filter(|fault| fault.kind == "reshard" && fault.installed);
    let slots = |evidence: &[(String, String)]| {
        evidence.iter().find(|(what, _)| what == "slots moved").map_or(0, |(_, n)| n.parse().unwrap())
    };
    complete.map(|fault| (fault.detail.as_str(), slots(&fault.evidence))).collect()
}

#[test]
fn a_shard_comes_and_goes_in_mid_run_and_only_a_stale_ring_loses_anything() {
    if !able() {
        return;
    }
    let quiet = ["--workload", "resharding", "--faults", "none", "--time-limit", "9", "--lease-ms", "2000"];
    for (weaken, code) in [(None, 0), (Some("stale-ring"), 1)] {
        let store = Store::new();
        let weaken: Vec<&str> = weaken.into_iter().flat_map(|name| ["--weaken", name]).collect();
        let done = store.run(&[&quiet[..], &weaken, &["--seed", "3"]].concat());
        assert_eq!(done.code, code, "{weaken:?}: {}", done.said());
        let summary = summary(&store.latest());
        let moved = reshards(&summary);
        assert_eq!(moved, [("add shard 2", 340), ("remove shard 2", 340)], "{:?}", summary.faults);
        let on_the_new_shard = summary.checkers.iter().find(|(name, _)| name == "coverage").unwrap();
        if code == 0 {
            assert_eq!(on_the_new_shard.1, checker::Verdict::Valid);
        }
    }
}

#[test]
fn faults_in_the_middle_of_a_reshard_do_no_harm() {
    if !able() {
        return;
    }
    let store = Store::new();
    let faults = ["--faults", "kill,pause,partition", "--time-limit", "15", "--seed", "11"];
    let done = store.run(&[&["--workload", "append", "--reshard"][..], &faults].concat());
    let summary = summary(&store.latest());
    assert!(!matches!(summary.verdict, checker::Verdict::Invalid { .. }), "{}", done.said());
    assert!(matches!(summary.liveness, Liveness::Live { .. }), "{}", done.said());
    assert_eq!(reshards(&summary).len(), 2, "{:?}", summary.faults);
}
