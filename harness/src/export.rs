//! `export`: a run's data in a file or on standard output, for other tools.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use results::export::{Exported, Format, export as write};
use results::{Error, RunFolder, units};

use crate::cli::ExportArgs;
use crate::exit::{Exit, UsageError};

/// Writes what was asked for; says how much it was.
pub fn export(args: &ExportArgs) -> Result<Exit> {
    let folder = RunFolder::open(&args.path)?;
    let exported = match &args.output {
        Some(path) => to_file(args, &folder, path)?,
        None => match to_stdout(args, &folder) {
            Err(error) if is_closed(&error) => return Ok(Exit::Valid), // who reads it has seen enough
            done => done?,
        },
    };
    for note in &exported.notes {
        eprintln!("shardstorm: note: {note}");
    }
    if let Some(path) = &args.output {
        let bytes = fs::metadata(path).map_or(0, |meta| meta.len());
        // A history has a line for a call and one for its return.
        let what = if matches!(args.to, Format::Edn | Format::Elle) { "events" } else { args.what.name() };
        let rows = units::count(exported.rows);
        eprintln!("shardstorm: {rows} {what} in {} ({} bytes)", path.display(), units::count(bytes));
    }
    Ok(Exit::Valid)
}

fn is_closed(error: &anyhow::Error) -> bool {
    let of = |error: &Error| matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe);
    error.downcast_ref::<Error>().is_some_and(of)
}

fn to_stdout(args: &ExportArgs, folder: &RunFolder) -> Result<Exported> {
    let stdout = io::stdout();
    if !args.to.is_text() && stdout.is_terminal() {
        let why = format!("--to {} is not for terminals: name a file with -o, or a pipe", args.to.name());
        return Err(UsageError(why).into());
    }
    Ok(write(folder, args.what, args.to, stdout, Path::new("standard output"))?)
}

/// In one step: whoever looks at the file sees all of it or what was there before.
fn to_file(args: &ExportArgs, folder: &RunFolder, path: &Path) -> Result<Exported> {
    let mut name = path.file_name().context("failed to write: -o names no file")?.to_owned();
    name.push(".part");
    let part: PathBuf = path.with_file_name(name);
    let refused = |error: io::Error| UsageError(format!("-o {}: {error}", path.display()));
    let file = File::create(&part).map_err(refused)?;
    let done = write(folder, args.what, args.to, file, path);
    if done.is_err() {
        let _ = fs::remove_file(&part); // the first error is the one worth telling
    }
    let exported = done?;
    fs::rename(&part, path).map_err(refused)?;
    Ok(exported)
}
