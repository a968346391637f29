//! Many runs of the hardened cluster, of every workload, under all faults, until one is not valid.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Workloads by turns; registers more often, since their checker is the sharpest.
const WORKLOADS: [&str; 8] = ["register", "append", "register", "bank", "register", "queue", "set", "lock"];
const FAULTS: &str = "kill,pause,partition,delay,loss";

/// What is run: `--runs N`, `--seed S`, `--rate R`, `--time-limit S`.
struct Options {
    runs: u64,
    seed: u64,
    rate: String,
    time_limit: String,
}

impl Options {
    fn of(args: &[String]) -> Result<Self> {
        let value = |flag: &str, default: &str| -> Result<String> {
            match args.iter().position(|arg| arg == flag) {
                None => Ok(default.to_string()),
                Some(at) => args.get(at + 1).cloned().with_context(|| format!("{flag} needs a value")),
            }
        };
        let number = |flag: &str, default: &str| -> Result<u64> {
            let text = value(flag, default)?;
            text.parse().with_context(|| format!("{flag} {text}: give a number"))
        };
        Ok(Options {
            runs: number("--runs", "20")?,
            seed: number("--seed", "1")?,
            rate: value("--rate", "1000")?,
            time_limit: value("--time-limit", "25")?,
        })
    }
}

/// Runs until all are done or one is not valid; says how many operations were judged.
pub fn soak(root: &Path, args: &[String]) -> Result<()> {
    let options = Options::of(args)?;
    let binary = root.join("target/release/shardstorm");
    let mut operations = 0;
    for seed in options.seed..options.seed + options.runs {
        let workload = WORKLOADS[(seed % WORKLOADS.len() as u64) as usize];
        let mut run = Command::new(&binary);
        run.current_dir(root).args(["run", "--workload", workload, "--faults", FAULTS]);
        run.args(["--seed", &seed.to_string(), "--rate", &options.rate, "--time-limit", &options.time_limit]);
        let output = run.output().context("failed to start shardstorm")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let judged = operations_of(&text).unwrap_or(0);
        operations += judged;
        println!("seed {seed}, {workload}: {judged} operations, {operations} so far, {}", output.status);
        match output.status.code() {
            Some(0) => {}
            // A fault that never took effect: no contradiction, but no test either.
            Some(2) => println!("  unknown: {}", text.lines().next().unwrap_or_default()),
            _ => bail!("seed {seed} is not valid:\n{text}{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
    println!("{operations} operations in {} runs, nothing wrong", options.runs);
    Ok(())
}

/// The count in `7,691 operations: 7,199 ok, …`.
fn operations_of(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(" operations: "))?;
    line.split(' ').next()?.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_operations_is_read_from_what_a_run_says() {
        let text = "Valid: all.\n\n7,691 operations: 7,199 ok, 477 fail, 15 info\nliveness: …";
        assert_eq!(operations_of(text), Some(7691));
        assert_eq!(operations_of("nothing"), None);
    }

    #[test]
    fn a_flag_without_a_value_is_refused() {
        let args = |words: &[&str]| Options::of(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(args(&["--runs", "3"]).unwrap().runs, 3);
        assert!(args(&["--runs"]).is_err() && args(&["--seed", "x"]).is_err());
    }
}
