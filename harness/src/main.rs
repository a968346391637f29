//! The one binary: `shardstorm`. Parse, dispatch, exit.

mod bench;
mod campaign;
mod check;
mod cli;
mod compare;
mod doctor;
mod exit;
mod export;
mod judge;
mod lookout;
mod messages;
mod plan;
mod progress;
mod rate;
mod recorder;
mod registry;
mod replay;
mod reshard;
mod run;
mod scenario;
mod score;
mod serve;
mod settle;
mod shrink;
mod signals;
mod sites;
mod tell;
mod testbed;
mod weakness;
mod wiretap;
mod worker;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clap::error::ErrorKind;

use cli::{Bench, Cli, Command};
use exit::{Exit, UsageError};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    if let Command::ShardAgent { args } = cli.command {
        return cluster::agent::main(std::iter::once("shard-agent".into()).chain(args));
    }
    // These need no powers, and nobody's processes can be seen from a user namespace of one's own.
    if let Command::Serve(_) | Command::Export(_) = cli.command {
        return end(dispatch(&cli.command));
    }
    // Before any thread is started: the kernel asks for that.
    let privileges = lab::host::become_root_in_user_namespace();
    if let Err(error) = privileges {
        eprintln!("shardstorm: failed to enter a user namespace: {error}");
        return Exit::Harness.into();
    }
    end(dispatch(&cli.command))
}

fn end(done: Result<Exit>) -> ExitCode {
    match done {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("shardstorm: {error:#}");
            exit_of(&error).into()
        }
    }
}

fn dispatch(command: &Command) -> Result<Exit> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Plan(args) => {
            print!("{}", plan::describe(&plan::Plan::new(args)?)?);
            Ok(Exit::Valid)
        }
        Command::Check(args) => check::check(args),
        Command::Campaign(args) => campaign::campaign(args),
        Command::Merge(args) => campaign::merge(args),
        Command::Report(args) => check::redraw(args),
        Command::Compare(args) => compare::compare(args),
        Command::Export(args) => export::export(args),
        Command::Serve(args) => serve::serve(args),
        Command::Trend(args) => compare::trend(args),
        Command::List => {
            print!("{}", registry::describe());
            Ok(Exit::Valid)
        }
        Command::Weakness(args) => weakness::weakness(args),
        Command::Scenario(args) => scenario::scenario(args),
        Command::Replay(args) => replay::replay(args),
        Command::Shrink(args) => shrink::shrink(args),
        Command::Doctor => doctor::doctor(),
        Command::Bench(args) => match &args.what {
            Bench::Engine { seconds, concurrency, store } => bench::engine(*seconds, *concurrency, store),
            Bench::Checker(args) => bench::checker(args),
            Bench::Ring { store } => bench::ring(store),
            Bench::Fabric { rounds, requests } => bench::fabric(*rounds, *requests),
        },
        Command::ShardAgent { .. } => unreachable!("handled before"),
    }
}

/// clap's own exit code for misuse is 2, which here means "unknown".
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print(); // a closed terminal is no reason to fail differently
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => Exit::Usage.into(),
    }
}

/// Bad arguments, bad input files and machines that cannot serve are the user's to mend; all else is ours.
fn exit_of(error: &anyhow::Error) -> Exit {
    let is_usage = error.chain().any(|cause| {
        cause.is::<UsageError>() || cause.downcast_ref::<results::Error>().is_some_and(check::is_input_error)
    });
    if is_usage { Exit::Usage } else { Exit::Harness }
}
