//! Nothing outlives a lab, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use lab::{Action, Lab, LabOptions, Node};

use crate::helper;
use crate::net::*;
use crate::processes::shell;

/// The inode numbers of a node's network, mount and PID namespaces.
fn namespaces(node: &Node) -> BTreeSet<u64> {
    let of = |kind: &str| fs::metadata(format!("/proc/{}/ns/{kind}", node.init_pid())).unwrap().ino();
    BTreeSet::from([of("net"), of("mnt"), of("pid")])
}

/// When a process or thread started, in clock ticks since boot: with its number, who it is for good.
fn started(task: &Path) -> String {
    let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').unwrap_or_default().1;
    after_name.split_ascii_whitespace().nth(19).unwrap_or("ended").to_owned()
}

/// The threads of this machine that live in one of `namespaces`.
fn inhabitants(namespaces: &BTreeSet<u64>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(tasks) = fs::read_dir(entry.path().join("task")) else { continue };
        for task in tasks.flatten() {
            let lives_there = ["net", "mnt", "pid"].iter().any(|kind| {
                let ns = fs::metadata(task.path().join("ns").join(kind));
                ns.is_ok_and(|ns| namespaces.contains(&ns.ino()))
            });
            if lives_there {
                found.insert(format!("{} of {}", task.path().display(), started(&task.path())));
            }
        }
    }
    found
}

/// The open descriptors of this machine's processes that hold one of `namespaces`.
fn holders(namespaces: &BTreeSet<u64>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(fds) = fs::read_dir(entry.path().join("fd")) else { continue };
        for fd in fds.flatten() {
            let target = fs::read_link(fd.path()).unwrap_or_default();
            let target = target.to_string_lossy().into_owned();
            let inode = target.split(['[', ']']).nth(1).and_then(|inode| inode.parse().ok());
            let is_namespace = ["net:", "mnt:", "pid:"].iter().any(|kind| target.starts_with(kind));
            if is_namespace && inode.is_some_and(|inode| namespaces.contains(&inode)) {
                found.insert(format!("{} -> {target} of {}", fd.path().display(), started(&entry.path())));
            }
        }
    }
    found
}

/// All that keeps `namespaces` in being.
fn keepers(namespaces: &BTreeSet<u64>) -> BTreeSet<String> {
    inhabitants(namespaces).into_iter().chain(holders(namespaces)).collect()
}

/// Waits until none of those who kept `namespaces` in being does so any more. Newcomers do not count:
/// the kernel soon gives the same numbers to namespaces of others.
fn expect_gone(namespaces: &BTreeSet<u64>, before: &BTreeSet<String>) {
    eventually("the namespaces are gone", || before.is_disjoint(&keepers(namespaces)));
}

pub fn a_lab_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, nodes) = lab_of("clean", 3);
    for node in &nodes {
        node.spawn(&shell(dir.path(), node.name(), "sleep 1000 & sleep 1000")).unwrap();
    }
    let namespaces: BTreeSet<u64> = nodes.iter().flat_map(namespaces).collect();
    assert_eq!(namespaces.len(), 9);
    let before = keepers(&namespaces);
    assert!(before.len() >= 12, "PID 1, a shell, a child and a thread of ours in each node: {before:?}");
    drop(lab);
    expect_gone(&namespaces, &before);
}

/// A harness with a partition in force, processes that ignore polite signals, and a mount in a node.
pub fn be_the_victim(dir: &Path) {
    let (lab, nodes) = lab_of("victim", 3);
    let links = both_ways(&nodes[0], &nodes[1]);
    let _cut = lab.fabric().install(rule("cut", links, Action::Drop)).unwrap();
    let echo = serve_echo(&nodes[0], 7000);
    assert!(reaches(&nodes[2], echo) && !reaches(&nodes[1], echo));
    let stubborn = format!(
        "trap '' TERM HUP INT; mount -t tmpfs {} /mnt; setsid sh -c 'sleep 1000' & (sleep 1000 &); \
         echo up; while :; do sleep 1; done",
        dir.display()
    );
    for node in &nodes {
        let process = node.spawn(&shell(dir, node.name(), &stubborn)).unwrap();
        eventually("it is up", || process.log_tail(1) == "up");
    }
    let (_fleeting, more) = lab_of("second", 1);
    for node in nodes.iter().chain(&more) {
        for inode in namespaces(node) {
            helper::say(&inode.to_string());
        }
    }
    helper::say("ready");
    loop {
        std::thread::park();
    }
}

/// The processes of this machine that see a mount made from `source`.
fn seeing_mounts_of(source: &Path) -> Vec<String> {
    let source = format!(" {} ", source.display());
    let entries = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("mountinfo"));
    let sees = |path: &Path| fs::read_to_string(path).is_ok_and(|mounts| mounts.contains(&source));
    entries.filter(|path| sees(path)).map(|path| path.display().to_string()).collect()
}

pub fn kill_9_of_the_harness_mid_partition_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut victim = helper::command("victim", dir.path()).spawn().unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said: Vec<String> = lines.take_while(|line| line != "ready").collect();
    let namespaces: BTreeSet<u64> = said.iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!(namespaces.len(), 12, "{said:?}");
    let before = keepers(&namespaces);
    assert!(before.len() >= 12, "{before:?}");
    assert!(!seeing_mounts_of(dir.path()).is_empty());
    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually("every process of the lab is gone", || marked(dir.path()).is_empty());
    expect_gone(&namespaces, &before);
    assert_eq!(seeing_mounts_of(dir.path()), Vec::<String>::new());
}

/// A harness that builds and takes down labs for ever.
pub fn be_the_builder(dir: &Path) {
    helper::say("ready");
    loop {
        let (_lab, nodes) = lab_of("builder", 3);
        for node in &nodes {
            node.spawn(&shell(dir, node.name(), "sleep 1000 & sleep 1000")).unwrap();
        }
    }
}

/// The processes whose environment holds `mark`: a helper we started, and all it forked or started.
fn marked(mark: &Path) -> Vec<String> {
    let mark = mark.to_str().unwrap().as_bytes();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let carries = |path: &Path| {
        let environ = fs::read(path.join("environ")).unwrap_or_default();
        environ.windows(mark.len()).any(|window| window == mark)
    };
    entries.filter(|entry| carries(&entry.path())).map(|entry| entry.path().display().to_string()).collect()
}

pub fn kill_9_at_any_moment_of_building_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..12u64 {
        let mut builder = helper::command("builder", dir.path()).spawn().unwrap();
        let stdout = builder.stdout.take().unwrap();
        assert_eq!(BufReader::new(stdout).lines().next().unwrap().unwrap(), "ready");
        std::thread::sleep(Duration::from_millis(3 + round * 11));
        builder.kill().unwrap();
        builder.wait().unwrap();
        eventually("nothing of it is left", || marked(dir.path()).is_empty());
    }
}

pub fn node_names_are_checked() {
    let mut lab = Lab::up(LabOptions::named("names")).unwrap();
    lab.add_node("s0r1").unwrap();
    for (name, why) in [("s0r1", "already"), ("", "1 to 64"), ("a b", "letters"), ("../x", "letters")] {
        let error = lab.add_node(name).unwrap_err().to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
    assert_eq!(lab.nodes().len(), 1);
    assert_eq!(lab.node("s0r1").unwrap().addr().to_string(), "10.77.0.1");
    assert!(lab.node("s0r2").is_none());
}
