//! The journal under threads, kill -9 and a full disk.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use checker::{EventKind, Process};
use results::{Journal, read_history};
use tempfile::TempDir;

use crate::synthetic;

const CHILD_DIR: &str = "SHARDSTORM_TEST_JOURNAL_DIR";

/// This test binary again, running one of the ignored tests below on a folder.
fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", test]).env(CHILD_DIR, dir);
    command
}

#[test]
fn lines_of_many_threads_are_whole_and_numbered_in_order() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("history.jsonl");
    let journal = Journal::create(&path).unwrap();
    thread::scope(|scope| {
        for process in 0..4 {
            let journal = &journal;
            scope.spawn(move || {
                let mut last = None;
                for time_ns in 0..2_000 {
                    let mut event = synthetic::event(time_ns, process, EventKind::Invoke);
                    let index = journal.append(&mut event).unwrap();
                    assert_eq!(event.index, index);
                    assert!(last < Some(index));
                    last = Some(index);
                }
            });
        }
    });
    assert_eq!(journal.finish().unwrap(), 8_000);

    let read = read_history(&path).unwrap();
    assert_eq!(read.note, None);
    let mut next: BTreeMap<Process, u64> = BTreeMap::new();
    for (index, event) in (0..).zip(&read.items) {
        assert_eq!(event.index, index);
        let time_ns = next.entry(event.process).or_default();
        assert_eq!(event.time_ns, *time_ns, "each thread's own events keep their order");
        *time_ns += 1;
    }
    assert_eq!(read.items.len(), 8_000);
}

#[test]
fn a_journal_is_never_overwritten() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("history.jsonl");
    fs::write(&path, "kept").unwrap();
    let err = Journal::create(&path).unwrap_err().to_string();
    assert!(err.contains("cannot create") && err.contains("history.jsonl"), "{err}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
}

#[test]
fn kill_9_loses_nothing_that_was_appended() {
    let dir = TempDir::new().unwrap();
    let mut writer =
        child("journal::appends_until_killed", dir.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut appended = None;
    for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
        if let Some(index) = line.unwrap().strip_prefix("appended ") {
            appended = Some(index.parse::<u64>().unwrap());
        }
        if appended >= Some(500) {
            writer.kill().unwrap();
            break;
        }
    }
    writer.wait().unwrap();
    let read = read_history(&dir.path().join("history.jsonl")).unwrap();
    assert!(read.items.len() as u64 > appended.expect("the child appended something"));
}

#[test]
#[ignore = "the child of kill_9_loses_nothing_that_was_appended"]
fn appends_until_killed() {
    let Some(dir) = env::var_os(CHILD_DIR) else { return };
    let journal = Journal::create(&Path::new(&dir).join("history.jsonl")).unwrap();
    loop {
        let index = journal.append(&mut synthetic::event(1, 0, EventKind::Invoke)).unwrap();
        println!("\nappended {index}");
    }
}

#[test]
fn a_disk_that_fills_up_keeps_every_whole_line() {
    let dir = TempDir::new().unwrap();
    // A small disk, in a mount namespace of its own: it is gone with the child, however that ends.
    let script = r#"mount -t tmpfs -o size=64k none "$1" || exit 77; shift; exec "$@""#;
    let inner = child("journal::fills_its_disk", dir.path());
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "--user", "sh", "-c", script, "sh"])
        .arg(dir.path())
        .arg(inner.get_program())
        .args(inner.get_args())
        .env(CHILD_DIR, dir.path())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("1 passed"), "{said}");
        }
        Ok(output) if output.status.code() == Some(101) => {
            panic!("{}", String::from_utf8_lossy(&output.stdout));
        }
        Ok(output) => eprintln!("skipped: no small disk: {}", String::from_utf8_lossy(&output.stderr)),
        Err(err) => eprintln!("skipped: no unshare: {err}"),
    }
}

#[test]
#[ignore = "the child of a_disk_that_fills_up_keeps_every_whole_line"]
fn fills_its_disk() {
    let Some(dir) = env::var_os(CHILD_DIR) else { return };
    let dir = Path::new(&dir);
    let ballast = dir.join("ballast");
    fs::write(&ballast, [0; 8192]).unwrap();
    let path = dir.join("history.jsonl");
    let journal = Journal::create(&path).unwrap();
    let append = || journal.append(&mut synthetic::event(1, 0, EventKind::Invoke));
    let err = loop {
        if let Err(err) = append() {
            break err.to_string();
        }
        assert!(journal.len() < 100_000, "the disk never fills up");
    };
    assert!(err.contains("is full: free some space or choose another --store"), "{err}");
    let kept = journal.len();
    assert!(kept > 100);
    assert_eq!(read_history(&path).unwrap().items.len() as u64, kept);

    fs::remove_file(&ballast).unwrap();
    let again = append().unwrap_err().to_string();
    assert_eq!(again, err, "a history with a hole in it would be worse than one that ends");
    let read = read_history(&path).unwrap();
    assert_eq!((read.items.len() as u64, read.note), (kept, None));
}

#[test]
fn events_appended_together_stay_together() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("history.jsonl");
    let journal = Journal::create(&path).unwrap();
    thread::scope(|scope| {
        for process in 0..4 {
            let journal = &journal;
            scope.spawn(move || {
                for time_ns in 0..500 {
                    let mut pair = [EventKind::Ok, EventKind::Invoke]
                        .map(|kind| synthetic::event(time_ns, process, kind));
                    journal.append_all(&mut pair).unwrap();
                    assert_eq!(pair[0].index + 1, pair[1].index);
                }
            });
        }
    });
    journal.append_all(&mut []).unwrap();
    let read = read_history(&path).unwrap().items;
    assert_eq!(read.len(), 4_000);
    for (index, pair) in (0..).step_by(2).zip(read.chunks(2)) {
        assert_eq!((pair[0].index, pair[0].kind), (index, EventKind::Ok));
        assert_eq!((pair[1].index, pair[1].process), (index + 1, pair[0].process));
    }
}
