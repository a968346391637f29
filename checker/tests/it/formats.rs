//! Other tools' files, read as they are. Skipped, and said so, where they are not there.

use std::path::Path;

use checker::history::formats::{Format, FormatError, Leniency, Reading, read};
use checker::{Event, History, OpEnd};
use serde_json::json;

use crate::shared::{folder, linearizable};

/// The files of `expected.tsv` under `prefix`, read, with their verdicts.
fn files(
    folder: &Path,
    prefix: &str,
    leniency: Leniency,
) -> Vec<(String, Result<Reading, FormatError>, bool)> {
    let table = std::fs::read_to_string(folder.join("expected.tsv")).expect("the table is readable");
    let rows = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let rows: Vec<_> = rows
        .filter(|row| row[0].starts_with(prefix))
        .map(|row| {
            let bytes = std::fs::read(folder.join(row[0])).expect("the file is readable");
            (row[0].to_string(), read(&bytes, None, leniency), row[1] == "linearizable")
        })
        .collect();
    assert!(!rows.is_empty(), "no files {prefix} in the table");
    rows
}

fn history(events: Vec<Event>, file: &str) -> History {
    History::from_events(events).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn etcd_logs_give_the_verdicts_stated_for_them() {
    let Some(folder) = folder() else { return };
    for (file, reading, expected) in files(&folder, "etcd-log/raw/", Leniency::Lenient) {
        let reading = reading.unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(reading.format == Format::JepsenLog || reading.events.is_empty(), "{file}");
        for note in &reading.notes {
            // Nothing else is wrong with them.
            assert!(note.what.contains("; it goes on as process "), "{file}: {note}");
        }
        assert_eq!(linearizable(&history(reading.events, &file), &file), Some(expected), "{file}");
    }
}

#[test]
fn knossos_histories_give_the_verdicts_of_their_folders() {
    let Some(folder) = folder() else { return };
    for (file, reading, expected) in files(&folder, "knossos-cas/raw/", Leniency::Lenient) {
        let reading = reading.unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(reading.format, Format::Edn, "{file}");
        let first_index = reading.events.len() as u64;
        let mut history = history(reading.events, &file);
        history.hold_at_first(&json!(0), first_index);
        assert_eq!(linearizable(&history, &file), Some(expected), "{file}");
    }
}

#[test]
fn maps_a_line_and_transactions_are_read_whole() {
    let Some(folder) = folder() else { return };
    for (file, operations) in
        [("kv-append/raw/c10-ok.txt", None), ("knossos-multi/raw/multi-register.edn", Some(123))]
    {
        let bytes = std::fs::read(folder.join(file)).expect("the file is readable");
        let reading = read(&bytes, None, Leniency::Strict).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(reading.notes.is_empty(), "{file}");
        let history = history(reading.events, file);
        let lines = bytes.iter().filter(|&&b| b == b'\n').count();
        assert_eq!(history.ops.len(), operations.unwrap_or(lines / 2), "{file}");
        assert!(history.ops.iter().any(|op| op.end == OpEnd::Ok && !op.output.is_null()), "{file}");
    }
}
