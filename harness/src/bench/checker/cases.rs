//! Every generated case with what it has to reach.

use super::case::{Case, Judge, Source, Target};
use super::generate::{Mix, Shape};

/// Operations from which on a case is measured only once.
const LONG: u64 = 5_000_000;

/// The cases to measure: a few that are over within a minute, or all.
pub fn cases(all: bool) -> Vec<Case> {
    let every = [unique(), keys(), repeated(), general(), transactions(), stream()].concat();
    every.into_iter().filter(|(is_quick, _)| all || *is_quick).map(|(_, case)| case).collect()
}

/// A case, and whether it is one of the few.
type Row = (bool, Case);

fn case(name: String, shape: Shape, judge: Judge, targets: Vec<Target>) -> Case {
    let group = name.split('/').next().unwrap_or_default().to_string();
    let porcupine = (judge != Judge::Stream).then(|| "register".to_string());
    let runs = if shape.ops >= LONG { 1 } else { 5 };
    Case {
        name,
        group,
        source: Source::Generated(shape),
        judge,
        porcupine,
        valid: Some(!shape.bad),
        targets,
        runs,
    }
}

/// `1e5` for 100000.
fn short(number: u64) -> String {
    match number.checked_ilog10() {
        Some(zeros) if number == 10u64.pow(zeros) => format!("1e{zeros}"),
        _ => number.to_string(),
    }
}

fn named(kind: &str, mix: &str, shape: &Shape) -> String {
    let Shape { ops, concurrency, unknown_percent, bad, .. } = shape;
    let end = if *bad { "bad" } else { "ok" };
    format!("{kind}/{mix}/n{}/c{concurrency}/u{unknown_percent}/{end}", short(*ops))
}

const BASE: Shape = Shape {
    ops: 100_000,
    concurrency: 50,
    unknown_percent: 0,
    mix: Mix::RW,
    values: None,
    keys: 1,
    bad: false,
    seed: 1,
};

/// One key, every value written once.
fn unique() -> Vec<Row> {
    let mut rows = Vec::new();
    for (ops, cpu_ms) in [(100_000, 20.0), (1_000_000, 300.0), (10_000_000, 4_000.0)] {
        for (mix_name, mix) in [("rw", Mix::RW), ("rwcas", Mix::RWCAS)] {
            for concurrency in [5, 50, 100] {
                for unknown_percent in [0, 1, 5] {
                    for bad in [false, true] {
                        let shape = Shape { ops, concurrency, unknown_percent, mix, bad, ..BASE };
                        let targets = vec![Target::CpuMs(cpu_ms), Target::BytesPerOp(80.0)];
                        let targets = [targets, explained(bad)].concat();
                        let is_quick = match ops {
                            100_000 => concurrency == 50 && unknown_percent != 1,
                            1_000_000 => concurrency == 50 && unknown_percent == 5 && mix == Mix::RW,
                            _ => false,
                        };
                        rows.push((
                            is_quick,
                            case(named("unique", mix_name, &shape), shape, Judge::Register, targets),
                        ));
                    }
                }
            }
        }
    }
    rows
}

fn explained(bad: bool) -> Vec<Target> {
    if bad { vec![Target::ExplanationOver(10.0)] } else { Vec::new() }
}

/// Fifty keys.
fn keys() -> Vec<Row> {
    let shapes = [false, true].map(|bad| Shape {
        ops: 50_000,
        concurrency: 10,
        unknown_percent: 1,
        mix: Mix::RWCAS,
        keys: 50,
        bad,
        ..BASE
    });
    shapes
        .map(|shape| (true, case(named("keys50", "rwcas", &shape), shape, Judge::Register, Vec::new())))
        .to_vec()
}

/// One key, five values.
fn repeated() -> Vec<Row> {
    let mut rows = Vec::new();
    for ops in [1_000, 10_000, 100_000] {
        for concurrency in [5, 10, 20, 50] {
            for unknown_percent in [0, 1, 5] {
                for bad in [false, true] {
                    let shape = Shape {
                        ops,
                        concurrency,
                        unknown_percent,
                        mix: Mix::THIRDS,
                        values: Some(5),
                        bad,
                        ..BASE
                    };
                    let targets = match (ops, concurrency, unknown_percent) {
                        (1_000, ..=50, ..=5) => vec![Target::CpuMs(1_000.0), Target::MemoryMib(32.0)],
                        (10_000, ..=20, ..=1) | (100_000, ..=10, 0) => vec![Target::CpuMs(1_000.0)],
                        _ => Vec::new(),
                    };
                    let is_quick = ops == 1_000 && concurrency == 20 || ops == 10_000 && concurrency == 10;
                    let is_quick = is_quick && unknown_percent <= 1;
                    let targets = [targets, explained(bad)].concat();
                    rows.push((
                        is_quick,
                        case(named("repeated", "5", &shape), shape, Judge::Register, targets),
                    ));
                }
            }
        }
    }
    rows
}

/// The general search on registers it is told nothing about.
fn general() -> Vec<Row> {
    let sizes = [(1_000, 10, true), (10_000, 5, true), (10_000, 10, false), (100_000, 10, false)];
    let row = |(ops, concurrency, is_quick): (u64, u32, bool)| {
        let shape = Shape { ops, concurrency, ..BASE };
        let targets = if ops == 100_000 { vec![Target::MemoryMib(100.0)] } else { Vec::new() };
        (is_quick, case(named("general", "rw", &shape), shape, Judge::GeneralRegister, targets))
    };
    sizes.map(row).to_vec()
}

/// List-append transactions.
fn transactions() -> Vec<Row> {
    let mut rows = Vec::new();
    for (count, cpu_ms) in [(100_000, 100.0), (1_000_000, 1_000.0)] {
        for bad in [false, true] {
            let end = if bad { "bad" } else { "ok" };
            let case = Case {
                name: format!("transactions/list-append/n{}/{end}", short(count as u64)),
                group: "transactions".to_string(),
                source: Source::Transactions { count, bad },
                judge: Judge::ListAppend,
                porcupine: None,
                valid: Some(!bad),
                targets: vec![Target::CpuMs(cpu_ms), Target::BytesPerOp(400.0)],
                runs: 5,
            };
            rows.push((count == 100_000, case));
        }
    }
    rows
}

/// The same registers event by event.
fn stream() -> Vec<Row> {
    let mut rows = Vec::new();
    for (ops, unknown_percent, bad) in [
        (1_000_000, 0, false),
        (1_000_000, 1, false),
        (1_000_000, 0, true),
        (1_000_000, 1, true),
        (10_000_000, 0, false),
        (10_000_000, 0, true),
        (100_000_000, 0, false),
    ] {
        let shape = Shape { ops, unknown_percent, mix: Mix::RWCAS, bad, ..BASE };
        let mut targets = vec![Target::OpsPerSecond(1e6)];
        if bad {
            targets.push(Target::LatencyS(2.0));
        }
        let is_quick = ops == 1_000_000 && unknown_percent == 1;
        rows.push((is_quick, case(named("stream", "rwcas", &shape), shape, Judge::Stream, targets)));
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_the_few_are_short() {
        let all = cases(true);
        let names: HashSet<&str> = all.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        for case in cases(false) {
            let size = match case.source {
                Source::Generated(shape) => shape.ops,
                Source::Transactions { count, .. } => count as u64,
                Source::File(_) => panic!("{}: a file", case.name),
            };
            assert!(size <= 1_000_000, "{}", case.name);
            assert!(names.contains(case.name.as_str()));
        }
    }
}
