//! Histories with verdicts stated by others, kept beside the project where there is a copy. Where there is
//! none, these tests say so and check nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use checker::history::{parse_bytes, parse_line};
use checker::model::partitions;
use checker::model::register::{Register, RegisterPart};
use checker::plan::{self, Decision};
use checker::{Budget, Event, EventKind, History, Process, replay};
use serde_json::Value;

const STATES_MAX: u64 = 20_000_000;
const WITNESS_STATES_MAX: u64 = 100_000;

/// The folder, if it is there.
pub fn folder() -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/histories")).to_path_buf();
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: no histories at {}", path.display());
    None
}

/// Gives a process that goes on after an indefinite outcome a new number, as some foreign logs do not.
fn renumbered(mut events: Vec<Event>) -> Vec<Event> {
    let mut fresh = 1 << 40;
    let mut names: HashMap<Process, Process> = HashMap::new();
    for event in &mut events {
        let process = event.process;
        event.process = *names.entry(process).or_insert(process);
        if event.kind == EventKind::Info {
            fresh += 1;
            names.insert(process, Process::Client(fresh));
        }
    }
    events
}

/// Verdict of a whole history, key by key; none when some key ran out of budget.
pub fn linearizable(history: &History, name: &str) -> Option<bool> {
    let mut all = Some(true);
    for partition in partitions(history) {
        let part = RegisterPart::new(history, &partition.ops).expect("a register");
        match plan::decide(&part, &Budget::of_states(STATES_MAX)) {
            Decision::Legal => {
                if let Some(order) = plan::witness(&part, &Budget::of_states(WITNESS_STATES_MAX)) {
                    replay(&Register, &part.entries, &order).unwrap_or_else(|why| panic!("{name}: {why}"));
                }
            }
            Decision::Illegal(_) | Decision::Exhausted(_) => return Some(false),
            Decision::Unknown(_) => all = None,
        }
    }
    all
}

fn read(path: &Path) -> Option<Vec<u8>> {
    if path.extension().is_none_or(|ext| ext != "gz") {
        return Some(std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    }
    match Command::new("gzip").arg("-dc").arg(path).output() {
        Ok(output) if output.status.success() => Some(output.stdout),
        other => {
            println!("skipped {}: gzip: {other:?}", path.display());
            None
        }
    }
}

/// Files of `expected.tsv` under `prefix`, with their verdicts.
pub fn stated(folder: &Path, prefix: &str) -> Vec<(String, bool)> {
    let table = std::fs::read_to_string(folder.join("expected.tsv")).expect("the table is readable");
    let rows = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    rows.filter(|row| row[0].starts_with(prefix) && row[0].contains(".jsonl"))
        .map(|row| (row[0].to_string(), row[1] == "linearizable"))
        .collect()
}

/// Judges every file; returns those that were left undecided.
fn judge_files(prefix: &str, skip: impl Fn(&str) -> bool) -> Vec<String> {
    let Some(folder) = folder() else { return Vec::new() };
    let files = stated(&folder, prefix);
    assert!(!files.is_empty(), "no files {prefix} in the table");
    let mut undecided = Vec::new();
    for (file, expected) in files.into_iter().filter(|(file, _)| !skip(file)) {
        let Some(bytes) = read(&folder.join(&file)) else { continue };
        let parsed = parse_bytes(&bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
        let events = renumbered(parsed.events);
        let history = History::from_events(events).unwrap_or_else(|error| panic!("{file}: {error}"));
        match linearizable(&history, &file) {
            Some(verdict) => assert_eq!(verdict, expected, "{file}"),
            None => undecided.push(file),
        }
    }
    undecided
}

fn judge_suite(file: &str) {
    let Some(folder) = folder() else { return };
    let text = std::fs::read_to_string(folder.join("suite").join(file)).expect("the suite is readable");
    for (number, line) in (1..).zip(text.lines()) {
        let case: Value = serde_json::from_str(line).expect("a case");
        let events: Vec<Event> = case["history"]
            .as_array()
            .expect("a list")
            .iter()
            .enumerate()
            .map(|(i, event)| {
                let event = parse_line(&event.to_string()).expect("an event");
                Event { index: i as u64, ..event }
            })
            .collect();
        let name = format!("{file}:{number} {}", case["name"]);
        let history = History::from_events(events).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(linearizable(&history, &name), case["linearizable"].as_bool(), "{name}");
    }
}

#[test]
fn the_named_rules_hold() {
    judge_suite("micro.jsonl");
}

#[test]
fn small_random_histories_are_judged_as_by_exhaustive_search() {
    judge_suite("fuzz-small.jsonl");
}

#[test]
fn the_etcd_logs_are_judged_as_stated() {
    assert_eq!(judge_files("etcd-log/", |_| false), Vec::<String>::new());
}

#[test]
fn the_knossos_histories_are_judged_as_stated() {
    assert_eq!(judge_files("knossos-cas/", |_| false), Vec::<String>::new());
}

#[test]
fn generated_histories_with_unique_values_are_judged_as_stated() {
    // Reading 200,000 lines takes an unoptimised parser a while.
    let skip = |file: &str| cfg!(debug_assertions) && file.contains("n100000");
    assert_eq!(judge_files("generated/rw", skip), Vec::<String>::new());
}

#[test]
fn generated_histories_with_few_values_are_judged_as_stated() {
    // The long ones of concurrency 50 take an optimised build some seconds each.
    let skip = |file: &str| cfg!(debug_assertions) && file.contains("n10000-c50");
    let undecided = judge_files("generated/small", skip);
    println!("undecided: {undecided:?}");
    assert!(undecided.is_empty(), "{undecided:?}");
}
