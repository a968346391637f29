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

/// The processes of this machine that live in one of `namespaces`, or whose threads do.
fn inhabitants(namespaces: &BTreeSet<u64>) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(tasks) = fs::read_dir(entry.path().join("task")) else { continue };
        for task in tasks.flatten() {
            let lives_there = ["net", "mnt", "pid"].iter().any(|kind| {
                let ns = fs::metadata(task.path().join("ns").join(kind));
                ns.is_ok_and(|ns| namespaces.contains(&ns.ino()))
            });
            if lives_there {
                found.push(task.path().display().to_string());
            }
        }
    }
    found
}

/// The open descriptors of this machine's processes that hold one of `namespaces` or its mounts.
fn holders(namespaces: &BTreeSet<u64>) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(fds) = fs::read_dir(entry.path().join("fd")) else { continue };
        for fd in fds.flatten() {
            let target = fs::read_link(fd.path()).unwrap_or_default();
            let target = target.to_string_lossy().into_owned();
            let inode = target.split(['[', ']']).nth(1).and_then(|inode| inode.parse().ok());
            let is_namespace = ["net:", "mnt:", "pid:"].iter().any(|kind| target.starts_with(kind));
            if is_namespace && inode.is_some_and(|inode| namespaces.contains(&inode)) {
                found.push(format!("{} -> {target}", fd.path().display()));
            }
        }
    }
    found
}

pub fn a_lab_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, nodes) = lab_of("clean", 3);
    for node in &nodes {
        node.spawn(&shell(dir.path(), node.name(), "sleep 1000 & sleep 1000")).unwrap();
    }
    let namespaces: BTreeSet<u64> = nodes.iter().flat_map(namespaces).collect();
    assert_eq!(namespaces.len(), 9);
    assert!(inhabitants(&namespaces).len() >= 9);
    assert!(!holders(&namespaces).is_empty());
    drop(lab);
    assert_eq!(inhabitants(&namespaces), Vec::<String>::new());
    assert_eq!(holders(&namespaces), Vec::<String>::new());
}

/// A harness with a partition in force, processes that ignore polite signals, and a mount in a node.
pub fn be_the_victim(dir: &Path) {
    let (lab, nodes) = lab_of("victim", 3);
    let links = both_ways(&nodes[0], &nodes[1]);
    let _cut = lab.fabric().install(rule("cut", links, Action::Drop)).unwrap();
    let echo = serve_echo(&nodes[0], 7000);
    assert!(reaches(&nodes[2], echo) && !reaches(&nodes[1], echo));
    let stubborn = "trap '' TERM HUP INT; mount -t tmpfs none /mnt; \
                    setsid sh -c 'sleep 1000' & (sleep 1000 &) ; echo up; while :; do sleep 1; done";
    for node in &nodes {
        let process = node.spawn(&shell(dir, node.name(), stubborn)).unwrap();
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

pub fn kill_9_of_the_harness_mid_partition_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mounts_before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut victim = helper::command("victim", dir.path()).spawn().unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said: Vec<String> = lines.take_while(|line| line != "ready").collect();
    let namespaces: BTreeSet<u64> = said.iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!(namespaces.len(), 12, "{said:?}");
    assert!(inhabitants(&namespaces).len() >= 12);
    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually("every process of the lab is gone", || inhabitants(&namespaces).is_empty());
    assert_eq!(holders(&namespaces), Vec::<String>::new());
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts_before);
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
