//! What the checkers cost, beside what they have to reach and beside Porcupine.
//!
//! Every case is measured in a process of its own: this binary, started again. The history is read or generated
//! first; what is measured begins with it in memory and ends with the verdict and its explanation.

mod case;
mod cases;
mod generate;
mod judge;
mod measure;
mod models;
mod porcupine;
mod report;
mod soak;
mod suite;
mod transactions;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use clap::Args;

use crate::exit::{Exit, UsageError};
use case::Case;
use judge::Measured;
use report::{Report, Row};

/// Flags of `bench checker`.
#[derive(Debug, Args)]
pub struct CheckerArgs {
    /// Only cases whose names contain this
    pub filter: Option<String>,
    /// Every generated case, up to 1e8 operations, not only the few that are over within a minute
    #[arg(long)]
    pub all: bool,
    /// A folder of histories with a table of verdicts, `expected.tsv`, to measure instead
    #[arg(long, value_name = "DIR")]
    pub histories: Option<PathBuf>,
    /// The program of harness/src/bench/porcupine, to be measured on the same histories
    #[arg(long, value_name = "PROGRAM")]
    pub porcupine: Option<PathBuf>,
    /// Print JSON, not tables
    #[arg(long)]
    pub json: bool,
    /// List the cases
    #[arg(long)]
    pub list: bool,
    /// Measure this one case (JSON) here, and print what it cost (JSON)
    #[arg(long, hide = true, value_name = "CASE")]
    pub measure: Option<String>,
}

/// Measures; ends with 1 when a verdict is wrong. A target that is missed is told, and no more.
pub fn checker(args: &CheckerArgs) -> Result<Exit> {
    if let Some(case) = &args.measure {
        let case: Case =
            serde_json::from_str(case).map_err(|error| UsageError(format!("--measure: {error}")))?;
        println!("{}", serde_json::to_string(&judge::measure(&case)?)?);
        return Ok(Exit::Valid);
    }
    let cases = match &args.histories {
        Some(folder) => {
            suite::cases(folder).map_err(|error| UsageError(format!("--histories: {error:#}")))?
        }
        None => cases::cases(args.all),
    };
    let filter = args.filter.as_deref().unwrap_or_default();
    let cases: Vec<Case> = cases.into_iter().filter(|case| case.name.contains(filter)).collect();
    if cases.is_empty() {
        return Err(
            UsageError(format!("no case has {filter:?} in its name; --list shows their names")).into()
        );
    }
    if args.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return Ok(Exit::Valid);
    }
    let report = Report::new(rows(cases, args.porcupine.as_deref())?);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.text());
    }
    Ok(if report.wrong() > 0 { Exit::Invalid } else { Exit::Valid })
}

fn rows(cases: Vec<Case>, porcupine: Option<&Path>) -> Result<Vec<Row>> {
    let scratch = std::env::temp_dir().join(format!("shardstorm-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).with_context(|| format!("failed to make {}", scratch.display()))?;
    let row = |case: Case| {
        eprintln!("shardstorm: {}", case.name);
        let theirs = match porcupine {
            Some(program) => porcupine::measure(program, &case, &scratch)?,
            None => None,
        };
        let ours = in_child(&case).map_err(|error| format!("{error:#}"));
        Ok(Row::new(case, ours, theirs))
    };
    let rows = cases.into_iter().map(row).collect();
    drop(std::fs::remove_dir_all(&scratch));
    rows
}

/// Measures one case in a process of its own.
fn in_child(case: &Case) -> Result<Measured> {
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let mut command = Command::new(program);
    command.args(["bench", "checker", "--measure"]).arg(serde_json::to_string(case)?);
    let output = command.output().context("failed to start this program again")?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(anyhow!("{}: {}", output.status, told.trim()));
    }
    serde_json::from_slice(&output.stdout).context("the measurement printed something else")
}
