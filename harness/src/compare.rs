//! `compare` and `trend`: is one set of runs slower than another, and how did it go from commit to commit?

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use results::across::{self, Comparison, trend};

use crate::exit::{Exit, UsageError};

/// Flags of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The baseline: a run folder, a campaign's folder, or a store
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// What is held against it
    #[arg(value_name = "B")]
    pub b: PathBuf,
    /// Fail when B takes longer than A by more than this after some fault, at the median, and chance does not explain
    /// it
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub fail_if_slower: Option<f64>,
    /// Say it as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Flags of `trend`.
#[derive(Debug, Args)]
pub struct TrendArgs {
    /// Run folders, campaigns' folders or stores
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Folder for trend.svg and trend.png
    #[arg(long, value_name = "FOLDER")]
    pub plot: Option<PathBuf>,
}

/// Compares, tells, and fails where that was asked for.
pub fn compare(args: &CompareArgs) -> Result<Exit> {
    let comparison = across::compare(&across::collect(&args.a)?, &across::collect(&args.b)?);
    let exit = args.fail_if_slower.map_or(Exit::Valid, |share| exit(&comparison, share));
    if args.json {
        let mut value = serde_json::to_value(&comparison)?;
        value["exit_code"] = exit.code().into();
        println!("{value:#}");
        return Ok(exit);
    }
    print!("{}", comparison.text());
    if let Some(share) = args.fail_if_slower {
        println!("{}", ending(&comparison, share, exit));
    }
    Ok(exit)
}

/// A slowdown is never masked by what nobody can say, and that is never green.
fn exit(comparison: &Comparison, share: f64) -> Exit {
    if !comparison.slower_by(share).is_empty() {
        Exit::Invalid
    } else if comparison.families.is_empty() || comparison.too_few().next().is_some() {
        Exit::Unknown
    } else {
        Exit::Valid
    }
}

fn ending(comparison: &Comparison, share: f64, exit: Exit) -> String {
    let names = |families: Vec<&across::compare::Family>| -> String {
        families.into_iter().map(|family| family.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let percent = share * 100.0;
    match exit {
        Exit::Invalid => format!("slower by more than {percent} %: {}", names(comparison.slower_by(share))),
        Exit::Unknown if comparison.families.is_empty() => {
            "nobody can say: there is nothing to compare".to_owned()
        }
        Exit::Unknown => {
            let few = names(comparison.too_few().collect());
            format!("nobody can say of {few}: there are too few failovers; make more runs")
        }
        _ => format!("no family of fault is shown to be slower by more than {percent} %"),
    }
}

/// Tells and draws the medians of every day and commit.
pub fn trend(args: &TrendArgs) -> Result<Exit> {
    let mut samples = Vec::new();
    for path in &args.paths {
        samples.extend(across::collect(path)?);
    }
    let points = trend::points(&samples);
    if trend::names(&points).is_empty() {
        println!("no failover that a fault caused was timed in these {} runs", samples.len());
    } else {
        print!("{}", trend::text(&points));
    }
    if let Some(folder) = &args.plot {
        if !folder.is_dir() {
            let why = format!("{} is no folder; make it, or give another for --plot", folder.display());
            return Err(UsageError(why).into());
        }
        for file in results::plot::across::trend(&points).write(folder, "trend")? {
            println!("{}", file.display());
        }
    }
    Ok(Exit::Valid)
}

/// `20%` or `20`, as a share.
fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text
        .trim_end_matches('%')
        .trim()
        .parse()
        .map_err(|_| format!("`{text}` is no percentage; give one like 20%"))?;
    if number.is_finite() && number >= 0.0 {
        Ok(number / 100.0)
    } else {
        Err(format!("`{text}` is no percentage from 0 up; give one like 20%"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read_with_and_without_their_sign() {
        assert_eq!((percent("20%"), percent("20"), percent(" 2.5 %")), (Ok(0.2), Ok(0.2), Ok(0.025)));
        for bad in ["-1", "x", "NaN", "%", "inf"] {
            assert!(percent(bad).unwrap_err().contains("20%"), "{bad}");
        }
    }
}
