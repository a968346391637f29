//! Transactions: stated verdicts, an exhaustive oracle, simulated databases with and without bugs.

mod database;
mod oracle;

use std::collections::BTreeSet;
use std::path::Path;

use checker::history::formats::{Format, Leniency, read};
use checker::txn::{self, Findings, KeyOrder};
use checker::{Budget, History};

use crate::shared;
use database::{Engine, Shape};

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

/// Histories that are held against the oracle, each way.
fn rounds() -> u64 {
    std::env::var("CHECKER_TXN_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

fn verdict(findings: &Findings, model: &str) -> &'static str {
    findings.verdict(model.parse().expect("a model")).word()
}

fn told(history: &History, findings: &Findings) -> String {
    let ops: Vec<_> = history.ops.iter().collect();
    format!("{}\n{:#?}", checker::history::draw(&ops), findings)
}

const ENGINES: [Engine; 6] =
    [Engine::Serial, Engine::Uncommitted, Engine::Snapshot, Engine::Overwriting, Engine::Stale, Engine::Fork];

/// A small history of a random database, sometimes with made-up reads.
fn small(seed: u64, registers: bool) -> Shape {
    let engine = ENGINES[(seed % 6) as usize];
    let wrong = if seed / 6 % 2 == 0 { 0 } else { 15 };
    Shape {
        txns: 3 + (seed / 12 % 3) as usize,
        clients: 3,
        keys: 1 + (seed / 36 % 3) as usize,
        steps_max: 3,
        fail: 10,
        info: 15,
        wrong,
        registers,
        last_look: seed / 108 % 4 != 0,
        engine,
    }
}

#[test]
fn small_histories_of_lists_are_judged_as_by_trying_every_order() {
    let mut verdicts = [[0u64; 2]; 2];
    for seed in 0..rounds() {
        let history = database::history(small(seed, false), seed);
        let findings = txn::list_append(&history, &Budget::default());
        assert!(findings.undecided.is_empty() || small(seed, false).wrong > 0, "{seed}: {findings:?}");
        for (strict, model) in [(false, "serializable"), (true, "strict-serializable")] {
            let expected = oracle::serializable(&history, false, strict);
            verdicts[usize::from(strict)][usize::from(expected)] += 1;
            let word = if expected { "valid" } else { "invalid" };
            assert_eq!(verdict(&findings, model), word, "{seed} {model}\n{}", told(&history, &findings));
        }
    }
    assert!(verdicts.iter().flatten().all(|&count| count * 20 > rounds()), "{verdicts:?}");
}

/// All kinds found in some histories of a database.
fn kinds(shape: Shape, seeds: u64, judge: impl Fn(&History) -> Findings) -> BTreeSet<&'static str> {
    (0..seeds)
        .flat_map(|seed| judge(&database::history(shape, seed)).counts.into_keys())
        .map(|trouble| trouble.name())
        .collect()
}

fn lists(history: &History) -> Findings {
    txn::list_append(history, &Budget::default())
}

#[test]
fn a_serial_database_of_lists_is_strictly_serializable() {
    for seed in 0..60 {
        let clients = 1 + (seed % 20) as usize;
        let history = database::history(Shape { clients, ..Shape::of(Engine::Serial) }, seed);
        let findings = lists(&history);
        assert_eq!(findings, Findings::default(), "{seed}\n{}", told(&history, &findings));
    }
}

#[test]
fn snapshots_without_more_skew_writes_and_nothing_else() {
    let found = kinds(Shape::of(Engine::Snapshot), 40, lists);
    assert!(found.contains("G2-item"), "{found:?}");
    for seed in 0..40 {
        let findings = lists(&database::history(Shape::of(Engine::Snapshot), seed));
        assert_eq!(verdict(&findings, "strong-snapshot-isolation"), "valid", "{findings:#?}");
    }
}

#[test]
fn each_weakness_of_a_database_of_lists_has_its_name() {
    let found = |engine| kinds(Shape::of(engine), 20, lists);
    let overwriting = found(Engine::Overwriting);
    assert!(overwriting.contains("lost-update") && overwriting.contains("G-single"), "{overwriting:?}");
    let uncommitted = found(Engine::Uncommitted);
    for name in ["G0", "G1a", "G1b", "G1c"] {
        assert!(uncommitted.contains(name), "{name}: {uncommitted:?}");
    }
    let stale = found(Engine::Stale);
    assert!(stale.contains("G-single-realtime"), "{stale:?}");
    assert!(stale.iter().all(|name| name.ends_with("-realtime") || name.ends_with("-process")), "{stale:?}");
    let fork = found(Engine::Fork);
    assert!(fork.contains("G-nonadjacent"), "{fork:?}");
}

fn registers(history: &History) -> Findings {
    txn::rw_register(history, KeyOrder::Inferred, &Budget::default())
}

#[test]
fn what_is_found_in_small_histories_of_registers_has_no_order() {
    let (mut found, mut missed) = (0u64, 0u64);
    for seed in 0..rounds() {
        let history = database::history(small(seed, true), seed);
        let findings = registers(&history);
        assert_eq!(findings.undecided, Vec::<String>::new(), "{seed}");
        for (strict, model) in [(false, "serializable"), (true, "strict-serializable")] {
            let expected = oracle::serializable(&history, true, strict);
            let valid = verdict(&findings, model) == "valid";
            assert!(valid || !expected, "{seed} {model}\n{}", told(&history, &findings));
            found += u64::from(!valid);
            missed += u64::from(valid && !expected);
        }
    }
    // The order of blind writes is not seen, so that some stay hidden.
    assert!(found > 4 * missed, "{found} found, {missed} missed");
}

#[test]
fn a_serial_database_of_registers_is_strictly_serializable_whatever_is_known_of_its_keys() {
    for seed in 0..60 {
        let clients = 1 + (seed % 20) as usize;
        let shape = Shape { clients, registers: true, ..Shape::of(Engine::Serial) };
        let history = database::history(shape, seed);
        for keys in [KeyOrder::Inferred, KeyOrder::Sequential, KeyOrder::Linearizable] {
            let findings = txn::rw_register(&history, keys, &Budget::default());
            assert_eq!(findings, Findings::default(), "{seed} {keys:?}\n{}", told(&history, &findings));
        }
    }
}

#[test]
fn each_weakness_of_a_database_of_registers_has_its_name() {
    let shape = |engine| Shape { registers: true, ..Shape::of(engine) };
    let found = |engine| kinds(shape(engine), 40, registers);
    let overwriting = found(Engine::Overwriting);
    assert!(overwriting.contains("lost-update"), "{overwriting:?}");
    let uncommitted = found(Engine::Uncommitted);
    for name in ["G1a", "G1b", "G1c"] {
        assert!(uncommitted.contains(name), "{name}: {uncommitted:?}");
    }
    let snapshots = found(Engine::Snapshot);
    assert!(snapshots.contains("G2-item"), "{snapshots:?}");
    for seed in 0..40 {
        let findings = registers(&database::history(shape(Engine::Snapshot), seed));
        assert_eq!(verdict(&findings, "strong-snapshot-isolation"), "valid", "{findings:#?}");
    }
    let with_order =
        |history: &History| txn::rw_register(history, KeyOrder::Linearizable, &Budget::default());
    let dirty = kinds(shape(Engine::Uncommitted), 40, with_order);
    assert!(dirty.contains("G0"), "{dirty:?}");
    let fork = kinds(shape(Engine::Fork), 40, registers);
    assert!(fork.contains("G-nonadjacent"), "{fork:?}");
}
