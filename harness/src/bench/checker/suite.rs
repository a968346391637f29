//! Cases from a folder of histories with a table of verdicts beside them.
//!
//! `expected.tsv` has a row for each file: its path in the folder, `linearizable` or `not`, and what else there
//! is to say. Files in the neutral form (`.jsonl`, `.jsonl.gz`) are measured; their first folder says what they
//! are histories of.

use std::path::Path;

use anyhow::{Context, Result};

use super::case::{Case, Judge, Source, Target};

/// The cases of a folder.
pub fn cases(folder: &Path) -> Result<Vec<Case>> {
    let table = folder.join("expected.tsv");
    let text =
        std::fs::read_to_string(&table).with_context(|| format!("failed to read {}", table.display()))?;
    let rows = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let stated = rows.filter_map(|row| match row[..] {
        [file, verdict @ ("linearizable" | "not"), ..] => Some((file, verdict == "linearizable")),
        _ => None,
    });
    Ok(stated.flat_map(|(file, valid)| of_file(folder, file, valid)).collect())
}

/// The measurements on one file; none on a file of a kind that is not known here.
fn of_file(folder: &Path, file: &str, valid: bool) -> Vec<Case> {
    let Some((kind, rest)) = file.split_once('/') else { return Vec::new() };
    let Some(stem) = rest.strip_suffix(".gz").unwrap_or(rest).strip_suffix(".jsonl") else {
        return Vec::new();
    };
    let case = |group: &str, judge, porcupine: &str, targets: Vec<Target>| Case {
        name: format!("{group}/{stem}"),
        group: group.to_string(),
        source: Source::File(folder.join(file)),
        judge,
        porcupine: Some(porcupine.to_string()),
        valid: Some(valid),
        targets,
        runs: 7,
    };
    match kind {
        "etcd-log" => vec![
            case("etcd", Judge::Register, "register", vec![Target::CpuMs(1.0)]),
            case("etcd-general", Judge::GeneralRegister, "register", Vec::new()),
        ],
        "knossos-cas" => vec![case("knossos", Judge::Register, "register", Vec::new())],
        "generated" => vec![case("generated", Judge::Register, "register", of_generated(stem))],
        "kv-append" => vec![
            case("kv", Judge::Text, "kv", if stem == "c50-ok" { over(50.0) } else { Vec::new() }),
            case(
                "kv-whole",
                Judge::Text,
                "kv-whole",
                if stem.starts_with("c10") { over(500.0) } else { Vec::new() },
            ),
            case("kv-general", Judge::GeneralText, "kv", Vec::new()),
            case("kv-whole-general", Judge::GeneralStore, "kv-whole", Vec::new()),
        ],
        _ => Vec::new(),
    }
}

fn over(times: f64) -> Vec<Target> {
    vec![Target::PorcupineOver(times)]
}

/// What a group of cases together has to reach.
pub fn group_target(group: &str) -> Option<Target> {
    match group {
        "etcd" => Some(Target::PorcupineOver(80.0)),
        "etcd-general" | "kv-general" | "kv-whole-general" => Some(Target::PorcupineOver(3.0)),
        _ => None,
    }
}

/// The goals for generated registers, by a name like `small-n1000-c20-i5-bad`.
fn of_generated(stem: &str) -> Vec<Target> {
    let number = |letter: &str| {
        let part = stem.split('-').find_map(|part| part.strip_prefix(letter)?.parse::<u64>().ok());
        part.unwrap_or(u64::MAX)
    };
    match (stem.starts_with("small-"), number("n"), number("c"), number("i")) {
        (false, 100_000, ..) => vec![Target::CpuMs(20.0)],
        (true, 1_000, ..=50, ..=5) => vec![Target::CpuMs(1_000.0), Target::MemoryMib(32.0)],
        (true, 10_000, ..=20, ..=1) | (true, 100_000, ..=10, 0) => vec![Target::CpuMs(1_000.0)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_is_measured_and_what_it_has_to_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let table = "file\tverdict\tmodel\netcd-log/a.jsonl\tnot\tcas\netcd-log/raw/a.log\tnot\tcas\n\
                     generated/small-n1000-c5-i0-ok.jsonl.gz\tlinearizable\tcas\nelsewhere/b.jsonl\tnot\tx\n\
                     elle/c.edn\tanomalous\ttxn\n";
        std::fs::write(folder.path().join("expected.tsv"), table).expect("writable");
        let cases = cases(folder.path()).expect("a table");
        let named: Vec<(&str, Option<bool>)> =
            cases.iter().map(|case| (case.name.as_str(), case.valid)).collect();
        assert_eq!(
            named,
            [
                ("etcd/a", Some(false)),
                ("etcd-general/a", Some(false)),
                ("generated/small-n1000-c5-i0-ok", Some(true))
            ]
        );
        assert_eq!(cases[2].targets, [Target::CpuMs(1_000.0), Target::MemoryMib(32.0)]);
    }
}
