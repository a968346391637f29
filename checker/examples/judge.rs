//! Judges history files: `cargo run --release -p checker --example judge FILE…`.

use std::process::ExitCode;

use checker::history::parse_bytes;
use checker::{Budget, Checker, History, Linearizable, Verdict};

fn main() -> ExitCode {
    let mut worst = Verdict::Valid;
    for file in std::env::args().skip(1) {
        match read(&file) {
            Ok(history) => {
                let verdict = Linearizable.check(&history, &Budget::default());
                println!("{file}: {} ({} operations)", verdict.word(), history.ops.len());
                show(&verdict);
                worst = worst.merge(verdict);
            }
            Err(error) => {
                eprintln!("{file}: {error}");
                return ExitCode::from(254);
            }
        }
    }
    ExitCode::from(match worst {
        Verdict::Valid => 0,
        Verdict::Invalid { .. } => 1,
        Verdict::Unknown { .. } => 2,
    })
}

fn read(file: &str) -> Result<History, Box<dyn std::error::Error>> {
    let parsed = parse_bytes(&std::fs::read(file)?)?;
    if let Some(note) = parsed.note {
        println!("{file}: {note}");
    }
    Ok(parsed.into_history()?)
}

fn show(verdict: &Verdict) {
    match verdict {
        Verdict::Valid => {}
        Verdict::Unknown { why } => why.iter().for_each(|why| println!("  {why}")),
        Verdict::Invalid { anomalies } => {
            for anomaly in anomalies {
                println!("  {} on key {}: {}", anomaly.name, anomaly.key, anomaly.reason);
                println!("{}", anomaly.drawing);
            }
        }
    }
}
