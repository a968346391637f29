//! Chores: `cargo xtask demo`, `cargo xtask test`, `cargo xtask tidy`, `cargo xtask fuzz`,
//! `cargo xtask soak`.

mod setup;
mod soak;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use setup::Purpose;

const HELP: &str = "\
cargo xtask <chore>

  demo   set this machine up, build in release, do the default run, say where the report is
         (flags after it go to `shardstorm run`)
  test   set this machine up, check formatting, lints and house rules, run every test
  tidy   check the house rules alone
  fuzz   hold every engine of the checker against exhaustive search on random small histories, in release
         (--cases 1000000 of each kind)
  soak   build in release, run every workload under all faults again and again until something is wrong
         (--runs 20, --seed 1, --rate 1000, --time-limit 25)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some("demo") => demo(&args[1..]),
        Some("test") => test(),
        Some("tidy") => tidy::check(&root()),
        Some("fuzz") => fuzz(&args[1..]),
        Some("soak") => cargo(&["build", "--release", "--package", "harness"])
            .and_then(|()| soak::soak(&root(), &args[1..])),
        _ => {
            eprintln!("{HELP}");
            return ExitCode::from(254);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The default run on this machine; on a machine that cannot, the same on the fake cluster.
fn demo(run_args: &[String]) -> Result<()> {
    setup::install_missing(Purpose::Runs)?;
    cargo(&["build", "--release", "--package", "harness"])?;
    let binary = root().join("target/release/shardstorm");
    let able = Command::new(&binary).arg("doctor").status().context("failed to start shardstorm")?.success();
    let mut run = Command::new(&binary);
    run.current_dir(root()).arg("run").args(run_args);
    if !able {
        eprintln!(
            "xtask: this machine cannot raise the real cluster (the table above says why and how to mend it); \
             showing the same run on the in-memory cluster instead"
        );
        run.args(["--target", "fake"]);
    }
    let code = run.status().context("failed to start shardstorm")?.code();
    match code {
        // The harness did its work: what it says of the cluster is the demo's outcome, not its failure.
        Some(0..=3) => Ok(()),
        code => bail!("the run failed (exit code {code:?})"),
    }
}

/// What the tests do with 10,000 cases of each kind, with as many as a night has room for.
fn fuzz(args: &[String]) -> Result<()> {
    let cases = match args {
        [] => "1000000",
        [flag, cases] if flag == "--cases" && cases.parse::<u64>().is_ok() => cases,
        _ => bail!("fuzz: expected nothing, or --cases and a number"),
    };
    let test = ["test", "--release", "--package", "checker", "--", "--nocapture"];
    let status = Command::new("cargo").current_dir(root()).args(test).env("CHECKER_FUZZ", cases).status();
    match status.context("failed to start cargo")?.success() {
        true => Ok(()),
        false => bail!("an engine and the exhaustive search differ, or a law is broken: see above"),
    }
}

fn test() -> Result<()> {
    setup::install_missing(Purpose::Tests)?;
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    tidy::check(&root())?;
    let has_nextest = Command::new("cargo").args(["nextest", "--version"]).output();
    if has_nextest.is_ok_and(|output| output.status.success()) {
        cargo(&["nextest", "run", "--workspace", "--profile", "ci"])?;
    } else {
        // One at a time: live tests share the machine's two or four cores with eight servers each.
        cargo(&["test", "--workspace", "--all-targets", "--", "--test-threads=1"])?;
    }
    cargo(&["test", "--workspace", "--doc"])
}

fn cargo(args: &[&str]) -> Result<()> {
    eprintln!("xtask: cargo {}", args.join(" "));
    let status = Command::new(env!("CARGO")).args(args).current_dir(root()).status();
    if !status.context("failed to start cargo")?.success() {
        bail!("`cargo {}` failed", args.join(" "));
    }
    Ok(())
}

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}
