//! Bad input: one clear sentence each with the mend, the right exit code, nothing lost.

use std::fs;

use crate::tool::{Store, shardstorm};

#[test]
fn every_bad_flag_is_named_with_its_mend() {
    let table: &[(&[&str], &str)] = &[
        (&["--target", "etcd"], "use zk-redis or fake"),
        (&["--variant", "raft"], "use hardened or course"),
        (&["--workload", "song"], "use register"),
        (&["--reads", "nowhere"], "use master or replica"),
        (&["--faults", "kill,burn"], "unknown fault `burn`"),
        (&["--faults", "no/such/file.toml"], "check the path"),
        (&["--faults", "burn", "--swarm"], "unknown fault `burn`"),
        (&["--bug", "stale-read", "--target", "zk-redis"], "--bug goes with --target fake"),
        (&["--target", "fake", "--bug", "gremlin"], "the fake knows"),
        (&["--time-limit", "0"], "--time-limit 0"),
        (&["--time-limit", "soon"], "--time-limit"),
        (&["--rate", "-1"], "--rate"),
        (&["--shards", "0"], "--shards"),
        (&["--wait", "3"], "lower --wait or raise --replicas"),
        (&["--tls", "--target", "fake"], "--tls goes with --target zk-redis"),
        (&["--faults", "half-open", "--target", "fake"], "half-open (the "),
        (
            &["--faults", "rate", "--target", "fake"],
            "goes with --target zk-redis: the fake cluster passes whole messages",
        ),
        (&["--authenticated", "--reads", "replica"], "use --reads master or another workload"),
        (&["--op-timeout-ms", "0"], "at least 1"),
        (&["--frobnicate"], "--frobnicate"),
    ];
    for (flags, expected) in table {
        let store = Store::new();
        let done = store.run(flags);
        assert_eq!(done.code, 254, "{flags:?}: {}", done.said());
        assert!(done.stderr.contains(expected), "{flags:?} should say {expected:?}: {}", done.said());
        assert!(!done.stderr.contains("panicked"), "{}", done.said());
        assert_eq!(fs::read_dir(store.path()).unwrap().count(), 0, "{flags:?} left a folder behind");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    assert_eq!(shardstorm(&["--help"]).code, 0);
    assert_eq!(shardstorm(&["run", "--help"]).code, 0);
    assert_eq!(shardstorm(&["--version"]).code, 0);
    assert_eq!(shardstorm(&[]).code, 254);
    let list = shardstorm(&["list"]);
    assert!(list.code == 0 && list.stdout.contains("register") && list.stdout.contains("partition"));
}

#[test]
fn what_is_not_a_run_folder_or_a_history_is_said_so() {
    let store = Store::new();
    let at = |name: &str| store.path().join(name).to_str().unwrap().to_string();
    fs::create_dir(at("empty")).unwrap();
    fs::write(at("broken.jsonl"), "{\"process\":0}\nnonsense\n{\"process\":0}\n").unwrap();
    let double = "{\"time\":1,\"process\":0,\"type\":\"invoke\",\"f\":\"read\",\"key\":0}\n";
    fs::write(at("double.jsonl"), double.repeat(2)).unwrap();
    fs::write(at("binary.jsonl"), [0xff, 0xfe, 0x0a, 0x0a]).unwrap();
    let table = [
        (at("missing"), "no such file or folder"),
        (at("empty"), "run.toml"),
        (at("broken.jsonl"), "line 1"),
        (at("double.jsonl"), "double.jsonl"),
        (at("binary.jsonl"), "binary.jsonl"),
    ];
    for (path, expected) in table {
        let done = shardstorm(&["check", &path]);
        assert_eq!(done.code, 254, "{path}: {}", done.said());
        assert!(done.stderr.contains(expected), "{path} should say {expected:?}: {}", done.said());
    }
}

#[test]
fn a_folder_of_a_newer_format_is_refused_and_left_alone() {
    let store = Store::new();
    let done = store.run(&["--target", "fake", "--time-limit", "2", "--seed", "1"]);
    assert!(done.code != 254, "{}", done.said());
    let folder = store.latest();
    let run = fs::read_to_string(folder.run()).unwrap();
    let newer = run.replace("format_version = 1", "format_version = 99");
    assert_ne!(run, newer);
    fs::write(folder.run(), newer).unwrap();
    let verdict = fs::read(folder.verdict()).unwrap();
    let done = shardstorm(&["check", folder.path().to_str().unwrap()]);
    assert_eq!(done.code, 254, "{}", done.said());
    assert!(done.stderr.contains("99") && done.stderr.contains("update shardstorm"), "{}", done.said());
    assert_eq!(fs::read(folder.verdict()).unwrap(), verdict);
}

#[test]
fn a_store_that_cannot_be_written_is_said_so() {
    let store = Store::new();
    let file = store.path().join("a-file");
    fs::write(&file, "").unwrap();
    let done = shardstorm(&["run", "--target", "fake", "--store", file.join("runs").to_str().unwrap()]);
    assert!(done.code >= 254, "{}", done.said());
    assert!(done.stderr.contains("a-file"), "{}", done.said());
}

#[test]
fn a_full_disk_ends_the_run_with_one_sentence_and_leaves_what_was_recorded() {
    let mount = tempfile::tempdir().unwrap();
    let tmpfs = Tmpfs::mount(mount.path(), "size=256k");
    let Some(_tmpfs) = tmpfs else {
        eprintln!("skipped: no right to mount a small file system");
        return;
    };
    let store = mount.path().to_str().unwrap();
    let done =
        shardstorm(&["run", "--target", "fake", "--time-limit", "20", "--rate", "2000", "--store", store]);
    assert_eq!(done.code, 255, "{}", done.said());
    assert!(done.stderr.contains("is full"), "{}", done.said());
    let folder = mount.path().join("latest");
    let text = fs::read_to_string(folder.join("history.jsonl")).unwrap();
    assert!(text.lines().count() > 100, "{} lines", text.lines().count());
    // On a disk with room again, what was recorded is judged.
    let rescued = tempfile::tempdir().unwrap();
    let history = rescued.path().join("history.jsonl");
    fs::write(&history, text).unwrap();
    let judged = shardstorm(&["check", history.to_str().unwrap()]);
    assert_eq!(judged.code, 0, "{}", judged.said());
}

/// A small file system, unmounted when dropped.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(path: &std::path::Path, options: &str) -> Option<Self> {
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(path)
            .stderr(std::process::Stdio::null())
            .status()
            .ok()?;
        status.success().then(|| Tmpfs(path.to_path_buf()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}
