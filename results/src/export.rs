//! A run's data for other tools: tables (Parquet, JSON lines) and histories (Jepsen's and Elle's EDN).
//!
//! Files are read line by line and rows leave in groups, so that memory does not grow with the run. What the columns
//! mean stands with them in [`table`], and in `docs/histories.md`.

mod edn;
mod elle;
mod lines;
mod parquet;
mod rows;
pub mod table;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::str::FromStr;

use checker::Verdict;

use crate::error::{Error, Result};
use crate::layout::RunFolder;

pub use edn::form as edn_form;

/// Version of the tables and of what their files say about themselves; grows when a column changes or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// How data are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table, by columns, compressed with snappy.
    Parquet,
    /// A table, a JSON object a row.
    Jsonl,
    /// Jepsen's `history.edn`: an event a line.
    Edn,
    /// The same, as transactions that Elle judges.
    Elle,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 4] = [Format::Parquet, Format::Edn, Format::Elle, Format::Jsonl];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Jsonl => "jsonl",
            Format::Edn => "edn",
            Format::Elle => "elle",
        }
    }

    /// Whether it can be read as text.
    pub fn is_text(self) -> bool {
        self != Format::Parquet
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        named(name, &Format::ALL, Format::name)
    }
}

/// Which data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Calls with their outcomes, a row each.
    Operations,
    /// Faults with their evidence.
    Faults,
    /// The agents' steps.
    Events,
    /// Messages that were altered on their way.
    Messages,
}

impl What {
    /// All of them.
    pub const ALL: [What; 4] = [What::Operations, What::Faults, What::Events, What::Messages];

    /// Its name on the command line, and of the table.
    pub fn name(self) -> &'static str {
        match self {
            What::Operations => "operations",
            What::Faults => "faults",
            What::Events => "events",
            What::Messages => "messages",
        }
    }
}

impl FromStr for What {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        named(name, &What::ALL, What::name)
    }
}

fn named<T: Copy>(name: &str, all: &[T], name_of: fn(T) -> &'static str) -> Result<T, String> {
    let found = all.iter().find(|one| name_of(**one) == name).copied();
    let names = || all.iter().map(|one| name_of(*one)).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| format!("use one of {}", names()))
}

/// What came of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Rows, or events, that were written.
    pub rows: u64,
    /// What is worth telling, each a sentence.
    pub notes: Vec<String>,
}

/// Writes data of a run to `out`, which errors call `name`.
///
/// Fails with [`Error::Unfit`] where the run has no such form: faults as EDN, or a queue as Elle's transactions.
pub fn export(
    folder: &RunFolder,
    what: What,
    format: Format,
    out: impl Write + Send,
    name: &Path,
) -> Result<Exported> {
    let unfit = |why: String| Error::Unfit { path: folder.path().to_owned(), form: format.name(), why };
    if matches!(format, Format::Edn | Format::Elle) && what != What::Operations {
        return Err(unfit(format!("{} are no history; use --to parquet or --to jsonl", what.name())));
    }
    match format {
        Format::Parquet => {
            let about = about(folder)?;
            let mut sink = parquet::Sink::new(out, name, what.name(), rows::columns(what), &about)?;
            let (rows, notes) = rows::each(folder, what, &mut sink)?;
            sink.finish()?;
            Ok(Exported { rows, notes })
        }
        Format::Jsonl => {
            let mut out = BufWriter::new(out);
            let mut sink = table::JsonLines::new(&mut out, name, rows::columns(what));
            let (rows, notes) = rows::each(folder, what, &mut sink)?;
            out.flush().map_err(Error::doing("write", name))?;
            Ok(Exported { rows, notes })
        }
        Format::Edn => edn::write(folder, &mut BufWriter::new(out), name),
        Format::Elle => {
            let workload = folder.read_run()?.spec.workload;
            let form = elle::Form::of(&workload).map_err(unfit)?;
            elle::write(folder, form, &mut BufWriter::new(out), name)
        }
    }
}

/// What a file says about the run it is of: name to text, all names beginning with `shardstorm.`.
fn about(folder: &RunFolder) -> Result<Vec<(String, String)>> {
    let run = folder.read_run()?;
    let summary = folder.read_summary()?;
    let leaf = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let json = |value: Result<String, serde_json::Error>| {
        value.map_err(|err| Error::Unwritable { path: folder.path().to_owned(), why: err.to_string() })
    };
    let verdict = summary.as_ref().map_or("not judged", |summary| match summary.verdict {
        Verdict::Valid => "valid",
        Verdict::Unknown { .. } => "unknown",
        Verdict::Invalid { .. } => "invalid",
    });
    let facts = [
        ("schema_version", SCHEMA_VERSION.to_string()),
        ("run", leaf),
        ("started_at", run.started_at.clone()),
        ("seed", run.spec.seed.to_string()),
        ("workload", run.spec.workload.clone()),
        ("verdict", verdict.to_string()),
        ("command", run.command.clone()),
        ("versions", json(serde_json::to_string(&run.versions))?),
        ("spec", json(serde_json::to_string(&run.spec))?),
    ];
    Ok(facts.into_iter().map(|(name, text)| (format!("shardstorm.{name}"), text)).collect())
}
