//! Programs inside nodes.

use std::path::Path;
use std::time::Duration;

use lab::{Exit, LabError, Process, ProcessState, Program};

use crate::net::*;

pub fn shell(dir: &Path, name: &str, script: &str) -> Program {
    Program {
        name: name.to_owned(),
        argv: vec!["/bin/sh".into(), "-c".into(), script.into()],
        env: vec![("GREETING".to_owned(), "hello".to_owned())],
        cwd: dir.to_owned(),
        log: dir.join(format!("{name}.log")),
    }
}

fn lines(process: &Process) -> usize {
    std::fs::read_to_string(&process.program().log).unwrap_or_default().lines().count()
}

/// A shell, a child in the background and a grandchild in a session of its own, each ticking.
const FAMILY: &str = "tick() { while :; do echo tick; sleep 0.01; done; }
    tick & setsid sh -c 'while :; do echo tock; sleep 0.01; done' & tick";

pub fn a_stopped_tree_stands_still_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (_lab, nodes) = lab_of("stop", 1);
    let family = nodes[0].spawn(&shell(dir.path(), "family", FAMILY)).unwrap();
    eventually("all tick", || family.members().len() >= 3 && family.log_tail(50).contains("tock"));
    family.stop().unwrap();
    assert_eq!(family.state(), ProcessState::Stopped);
    let (standing, members) = (lines(&family), family.members());
    std::thread::sleep(SILENCE);
    assert_eq!(lines(&family), standing, "nobody ticks");
    family.stop().unwrap();
    family.cont().unwrap();
    assert_eq!(family.state(), ProcessState::Running);
    eventually("it ticks again", || lines(&family) > standing);
    assert!(members.contains(&family.pid()));
}

pub fn a_tree_that_forks_all_the_time_can_be_stopped_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let (_lab, nodes) = lab_of("forks", 1);
    let script = "tick() { while :; do echo tick; /bin/true; done; }; tick & tick";
    let forker = nodes[0].spawn(&shell(dir.path(), "forker", script)).unwrap();
    for _ in 0..40 {
        let before = lines(&forker);
        eventually("it ticks", || lines(&forker) > before);
        forker.stop().unwrap();
        assert_eq!(forker.state(), ProcessState::Stopped);
        let standing = lines(&forker);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(lines(&forker), standing);
        forker.cont().unwrap();
    }
    forker.stop().unwrap();
    forker.kill().unwrap();
}

pub fn killing_takes_the_children_too() {
    let dir = tempfile::tempdir().unwrap();
    let (_lab, nodes) = lab_of("kill", 1);
    let family = nodes[0].spawn(&shell(dir.path(), "family", FAMILY)).unwrap();
    let stranger = nodes[0].spawn(&shell(dir.path(), "stranger", "sleep 1000")).unwrap();
    eventually("all tick", || family.members().len() >= 3 && family.log_tail(50).contains("tock"));
    let members = family.members();
    family.stop().unwrap();
    family.kill().unwrap();
    assert_eq!(family.state(), ProcessState::Exited(Exit::Signal(9)));
    assert_eq!(family.members(), []);
    for pid in members {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} is left");
    }
    family.kill().expect("killing the dead is fine");
    assert!(matches!(family.stop(), Err(LabError::Signal { .. })), "stopping the dead is not");
    assert_eq!(stranger.state(), ProcessState::Running);
}

pub fn killing_takes_a_session_that_forks_all_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let (_lab, nodes) = lab_of("kill-forks", 1);
    let script = "setsid sh -c 'while :; do echo tick; /bin/true; done' & sleep 1000";
    let forker = nodes[0].spawn(&shell(dir.path(), "forker", script)).unwrap();
    for _ in 0..20 {
        let before = lines(&forker);
        eventually("it ticks", || lines(&forker) > before);
        forker.kill().unwrap();
        let left = lines(&forker);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(lines(&forker), left, "nobody is left to tick");
        forker.restart().unwrap();
    }
}

pub fn a_restart_appends_to_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (_lab, nodes) = lab_of("restart", 1);
    let greeter = nodes[0].spawn(&shell(dir.path(), "greeter", "echo $GREETING; sleep 1000")).unwrap();
    eventually("it greets", || lines(&greeter) == 1);
    let first = greeter.pid();
    greeter.restart().unwrap();
    eventually("it greets again", || lines(&greeter) == 2);
    assert_ne!(greeter.pid(), first);
    assert_eq!((greeter.starts(), greeter.state()), (2, ProcessState::Running));
    greeter.kill().unwrap();
    greeter.restart().unwrap();
    eventually("and again", || greeter.log_tail(10) == "hello\nhello\nhello");
    assert_eq!(greeter.log_tail(1), "hello");
}

pub fn a_process_that_dies_at_start_can_be_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (_lab, nodes) = lab_of("dies", 1);
    let program = shell(dir.path(), "dies", "echo loading; echo cannot open config >&2; exit 3");
    let process = nodes[0].spawn(&program).unwrap();
    assert_eq!(process.wait_exit(PATIENCE), Some(Exit::Code(3)));
    assert_eq!(process.state(), ProcessState::Exited(Exit::Code(3)));
    assert_eq!(process.log_tail(1), "cannot open config");
    assert_eq!(process.log_tail(10), "loading\ncannot open config");
}

pub fn terminate_lets_it_end_by_itself_and_kills_it_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let (_lab, nodes) = lab_of("terminate", 1);
    let polite = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done";
    let polite = nodes[0].spawn(&shell(dir.path(), "polite", polite)).unwrap();
    let deaf = "trap '' TERM; echo up; while :; do sleep 0.01; done";
    let deaf = nodes[0].spawn(&shell(dir.path(), "deaf", deaf)).unwrap();
    eventually("both are up", || lines(&polite) == 1 && lines(&deaf) == 1);
    polite.stop().unwrap();
    polite.terminate(PATIENCE).unwrap();
    assert_eq!(polite.state(), ProcessState::Exited(Exit::Code(0)));
    assert_eq!(polite.log_tail(1), "bye");
    assert_eq!(deaf.wait_exit(Duration::from_millis(20)), None);
    deaf.terminate(Duration::from_millis(50)).unwrap();
    assert_eq!(deaf.state(), ProcessState::Exited(Exit::Signal(9)));
}

pub fn a_missing_binary_is_told_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (_lab, nodes) = lab_of("missing", 1);
    let mut program = shell(dir.path(), "missing", "");
    program.argv = vec!["/no/such/redis-server".into()];
    let error = nodes[0].spawn(&program).unwrap_err().to_string();
    assert!(error.contains("/no/such/redis-server") && error.contains("install"), "{error}");
    program.cwd = dir.path().join("nowhere");
    let error = nodes[0].spawn(&program).unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
}

pub fn a_program_sees_its_own_node_only() {
    let dir = tempfile::tempdir().unwrap();
    let (_lab, nodes) = lab_of("inside", 2);
    let script = "cat /proc/net/dev | grep -c lab0; cat /proc/net/fib_trie | grep -c 10.77.0.1$; ls -d /proc/[0-9]* | wc -l";
    let process = nodes[0].spawn(&shell(dir.path(), "look", script)).unwrap();
    assert_eq!(process.wait_exit(PATIENCE), Some(Exit::Code(0)));
    let seen: Vec<u32> = process.log_tail(3).lines().map(|l| l.trim().parse().unwrap()).collect();
    assert_eq!(seen[0], 1, "its TUN device");
    assert!(seen[1] > 0, "its address");
    assert!(seen[2] <= 5, "a few processes, not the machine's: {}", seen[2]);
}

pub fn handles_outlive_their_lab_harmlessly() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, nodes) = lab_of("outlive", 2);
    let fabric = lab.fabric().clone();
    let sleeper = nodes[0].spawn(&shell(dir.path(), "sleeper", "sleep 1000")).unwrap();
    let guard = fabric.install(rule("cut", both_ways(&nodes[0], &nodes[1]), lab::Action::Drop)).unwrap();
    lab.down().unwrap();
    assert_eq!(sleeper.state(), ProcessState::Exited(Exit::Signal(9)));
    assert!(matches!(sleeper.restart(), Err(LabError::NodeDown { .. })));
    assert!(matches!(nodes[0].enter("late", || ()), Err(LabError::NodeDown { .. })));
    assert_eq!(guard.heal().dropped, 0);
    assert!(fabric.install(rule("late", both_ways(&nodes[0], &nodes[1]), lab::Action::Drop)).is_err());
}
