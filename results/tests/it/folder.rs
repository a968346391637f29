//! Folders: made, never overwritten, read back whole or in part.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use checker::EventKind;
use results::writer::write_whole;
use results::{Error, FORMAT_VERSION, Journal, RunFile, RunFolder, layout, read_history};
use serde_json::json;
use tempfile::TempDir;

use crate::synthetic;

fn run_file() -> RunFile {
    let versions = [("redis".to_owned(), "7.0.15".to_owned())];
    RunFile::new(
        synthetic::spec(),
        "2026-11-22T14:37:32Z".into(),
        "shardstorm run --seed 42".into(),
        &versions,
    )
}

fn folder(store: &TempDir) -> RunFolder {
    let folder = RunFolder::create(store.path(), "register-42").unwrap();
    folder.write_run(&run_file()).unwrap();
    folder
}

#[test]
fn everything_written_is_read_back() {
    let store = TempDir::new().unwrap();
    let folder = folder(&store);
    let run = synthetic::run(300);
    folder.write_schedule(&json!([{ "kind": "kill" }])).unwrap();
    let journal = Journal::create(&folder.history()).unwrap();
    let mut written = Vec::new();
    for (time_ns, kind) in [(1, EventKind::Invoke), (2, EventKind::Ok)] {
        let mut event = synthetic::event(time_ns, 3, kind);
        journal.append(&mut event).unwrap();
        written.push(event);
    }
    assert_eq!(journal.finish().unwrap(), 2);
    let mut agents = folder.node_events().unwrap();
    for event in &run.events {
        agents.append(event).unwrap();
    }
    folder.write_summary(&run.summary).unwrap();

    let record = RunFolder::open(folder.path()).unwrap().read().unwrap();
    assert_eq!(record.run, run_file());
    assert_eq!(record.schedule, Some(json!([{ "kind": "kill" }])));
    assert_eq!(record.events, written);
    assert_eq!(record.node_events, run.events);
    assert_eq!(record.summary, Some(run.summary));
    assert_eq!(record.notes, Vec::<String>::new());
    assert_eq!(fs::read_to_string(folder.command()).unwrap(), "shardstorm run --seed 42\n");
}

#[test]
fn any_seed_survives_the_round_trip() {
    let store = TempDir::new().unwrap();
    for seed in [0, 42, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        let folder = folder(&store);
        let mut run = run_file();
        run.spec.seed = seed;
        folder.write_run(&run).unwrap();
        assert_eq!(folder.read_run().unwrap(), run);
    }
}

#[test]
fn a_folder_is_never_overwritten_and_latest_leads_to_the_newest() {
    let store = TempDir::new().unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_795_358_252);
    let make = || RunFolder::create_at(store.path(), "a b/../c", now).unwrap();
    let (first, second) = (make(), make());
    assert_eq!(first.path().file_name().unwrap(), "20261122T143732Z-a-b-..-c");
    assert_eq!(second.path().file_name().unwrap(), "20261122T143732Z-a-b-..-c-2");
    let latest = fs::read_link(store.path().join("latest")).unwrap();
    assert_eq!(latest.as_os_str(), second.path().file_name().unwrap());
    second.write_run(&run_file()).unwrap();
    assert_eq!(
        RunFolder::open(&store.path().join("latest")).unwrap().path(),
        second.path().canonicalize().unwrap()
    );
    assert_eq!(layout::list(store.path()).unwrap(), [second.path()]);
}

#[test]
fn a_file_named_latest_is_left_alone() {
    let store = TempDir::new().unwrap();
    fs::write(store.path().join("latest"), "mine").unwrap();
    RunFolder::create(store.path(), "x").unwrap();
    assert_eq!(fs::read_to_string(store.path().join("latest")).unwrap(), "mine");
}

#[test]
fn what_is_no_run_folder_is_refused_with_the_reason() {
    let store = TempDir::new().unwrap();
    let file = store.path().join("file");
    fs::write(&file, "").unwrap();
    let cases = [
        (store.path().join("missing"), "it does not exist"),
        (file, "it is a file"),
        (store.path().to_owned(), "it has no run.toml"),
    ];
    for (path, why) in cases {
        let err = RunFolder::open(&path).unwrap_err();
        assert!(matches!(err, Error::NotARunFolder { .. }));
        assert!(err.to_string().contains(why), "{err}");
        assert!(err.to_string().contains("`shardstorm run`"), "{err}");
    }
}

#[test]
fn a_newer_format_asks_for_an_update_even_where_it_says_unknown_things() {
    let store = TempDir::new().unwrap();
    let folder = folder(&store);
    fs::write(folder.run(), "format_version = 3\n[weather]\nstorm = true\n").unwrap();
    let err = RunFolder::open(folder.path()).unwrap_err();
    let expected = format!(
        "{} was written in format 3, this shardstorm reads up to {FORMAT_VERSION}: update shardstorm",
        folder.path().display()
    );
    assert_eq!(err.to_string(), expected);
}

#[test]
fn a_broken_run_toml_is_named_with_its_line() {
    let store = TempDir::new().unwrap();
    let folder = folder(&store);
    fs::write(folder.run(), "format_version = 1\nstarted_at = \n").unwrap();
    let err = RunFolder::open(folder.path()).unwrap_err().to_string();
    assert!(err.contains("run.toml line 2 cannot be read"), "{err}");
    fs::write(folder.run(), "format_version = 1\nstarted_at = \"x\"\nsurprise = 1\n").unwrap();
    let err = RunFolder::open(folder.path()).unwrap().read().unwrap_err().to_string();
    assert!(err.contains("surprise"), "{err}");
}

#[test]
fn a_killed_run_is_read_with_notes() {
    let store = TempDir::new().unwrap();
    let folder = folder(&store);
    let journal = Journal::create(&folder.history()).unwrap();
    for time_ns in 0..3 {
        journal.append(&mut synthetic::event(time_ns, 0, EventKind::Invoke)).unwrap();
    }
    let bytes = fs::read(folder.history()).unwrap();
    fs::write(folder.history(), &bytes[..bytes.len() - 20]).unwrap();

    let record = folder.read().unwrap();
    assert_eq!(record.events.len(), 2);
    assert_eq!(record.summary, None);
    assert!(record.notes[0].starts_with("history.jsonl ends in mid-line 3: its last "), "{:?}", record.notes);
}

#[test]
fn a_run_that_recorded_nothing_is_read_too() {
    let store = TempDir::new().unwrap();
    let record = folder(&store).read().unwrap();
    assert!(record.events.is_empty() && record.node_events.is_empty());
    assert!(record.notes[0].contains("no history.jsonl"), "{:?}", record.notes);
}

#[test]
fn a_bad_line_within_a_history_is_an_error_that_names_it() {
    let store = TempDir::new().unwrap();
    let path = store.path().join("history.jsonl");
    let good = r#"{"time":1,"process":0,"type":"invoke","f":"read"}"#;
    fs::write(&path, format!("{good}\nnonsense\n{good}\n")).unwrap();
    let err = read_history(&path).unwrap_err().to_string();
    assert!(err.contains("history.jsonl line 2 cannot be read: expected"), "{err}");
    fs::write(&path, format!("{good}\n\n{good}")).unwrap();
    let read = read_history(&path).unwrap().items;
    let indices: Vec<u64> = read.iter().map(|event| event.index).collect();
    assert_eq!(indices, [0, 1], "a whole last line needs no end, and a line without index takes its place");
}

#[test]
fn a_file_is_replaced_in_one_step() {
    let store = TempDir::new().unwrap();
    let path = store.path().join("verdict.json");
    write_whole(&path, b"old").unwrap();
    write_whole(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::read_dir(store.path()).unwrap().count(), 1, "no part is left behind");
}
