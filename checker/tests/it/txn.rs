//! Transactions: stated verdicts, an exhaustive oracle, simulated databases with and without bugs.

use std::path::Path;

use checker::history::formats::{Format, Leniency, read};
use checker::txn::{self, Findings};
use checker::{Budget, History};

use crate::shared;

/// Some of Elle's examples leave out `:process` and `:f`; there each call is a client's own.
fn complete(text: &str) -> String {
    let mut client = 0;
    let mut lines = Vec::new();
    for line in text.lines() {
        let has = |name: &str| line.contains(name);
        if !line.trim_start().starts_with('{') || has(":process") {
            lines.push(line.to_string());
            continue;
        }
        client += u64::from(has(":invoke"));
        lines.push(line.replacen('{', &format!("{{:process {client} :f :txn "), 1));
    }
    lines.join("\n")
}

fn findings_of(path: &Path) -> Findings {
    let text = std::fs::read_to_string(path).expect("it is readable");
    let reading = read(complete(&text).as_bytes(), Some(Format::Edn), Leniency::Strict).expect("EDN");
    let history = History::from_events(reading.events).expect("a history");
    txn::list_append(&history, &Budget::default())
}

#[test]
fn the_examples_of_elle_are_judged_as_stated() {
    let Some(folder) = shared::folder() else { return };
    let verdict = |findings: &Findings, model: &str| findings.verdict(model.parse().expect("a model")).word();
    let names =
        |findings: &Findings| findings.counts.keys().map(|trouble| trouble.name()).collect::<Vec<_>>();

    let paper = findings_of(&folder.join("elle-list-append/paper-example.edn"));
    assert_eq!(verdict(&paper, "snapshot-isolation"), "invalid", "{:?}", names(&paper));

    let skew = findings_of(&folder.join("elle-list-append/si-without-g-single.edn"));
    assert_eq!(verdict(&skew, "repeatable-read"), "invalid", "{:?}", names(&skew));
    assert!(names(&skew).contains(&"G2-item"));
}
