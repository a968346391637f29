//! A run folder read back, whole or in part: a run that was killed has no verdict and may end in mid-line.

use std::fs;
use std::io;
use std::path::Path;

use checker::Event;
use checker::history::parse_bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::layout::{RunFolder, line_of};
use crate::messages::MessageLine;
use crate::strikes::StrikeLine;
use crate::summary::{NodeEvent, RunSummary};
use crate::writer::RunFile;

/// What a run left.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// What was run.
    pub run: RunFile,
    /// The fault windows, as the nemesis wrote them; none when the run ended before it drew them.
    pub schedule: Option<Value>,
    /// Client operations and fault edges, in order.
    pub events: Vec<Event>,
    /// The agents' steps.
    pub node_events: Vec<NodeEvent>,
    /// Messages altered on their way.
    pub strikes: Vec<StrikeLine>,
    /// Messages between nodes around anomalies and failovers.
    pub messages: Vec<MessageLine>,
    /// How it ended; none when it was killed.
    pub summary: Option<RunSummary>,
    /// What is worth telling a reader about the folder's state, each a sentence.
    pub notes: Vec<String>,
}

/// Lines of a file, and what was left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Lines<T> {
    /// Every whole line.
    pub items: Vec<T>,
    /// Said when the file ends in mid-line.
    pub note: Option<String>,
}

impl RunFolder {
    /// Reads everything but logs and pictures. Missing files are notes; files that cannot be parsed are errors.
    pub fn read(&self) -> Result<RunRecord> {
        let run = self.read_run()?;
        let mut notes = Vec::new();
        let mut noted = |note: Option<String>| notes.extend(note);

        let history = or_absent(read_history(&self.history()))?;
        if history.is_none() {
            noted(Some("there is no history.jsonl: the run ended before its first operation".into()));
        }
        let history = history.unwrap_or(Lines { items: Vec::new(), note: None });
        noted(history.note);

        let agents = or_absent(read_lines::<NodeEvent>(&self.events()))?;
        let agents = agents.unwrap_or(Lines { items: Vec::new(), note: None });
        noted(agents.note);

        let strikes = or_absent(read_lines::<StrikeLine>(&self.strikes()))?;
        let strikes = strikes.unwrap_or(Lines { items: Vec::new(), note: None });
        noted(strikes.note);

        let messages = or_absent(read_lines::<MessageLine>(&self.messages()))?;
        let messages = messages.unwrap_or(Lines { items: Vec::new(), note: None });
        noted(messages.note);

        let summary = self.read_summary()?;
        let schedule = or_absent(read_json(&self.schedule()))?;
        let (events, node_events, strikes, messages) =
            (history.items, agents.items, strikes.items, messages.items);
        Ok(RunRecord { run, schedule, events, node_events, strikes, messages, summary, notes })
    }

    /// `run.toml`.
    pub fn read_run(&self) -> Result<RunFile> {
        let path = self.run();
        let text = fs::read_to_string(&path).map_err(Error::doing("read", &path))?;
        toml::from_str(&text).map_err(|err| Error::Malformed {
            line: err.span().map(|span| line_of(&text, span.start)),
            path,
            why: err.message().to_owned(),
        })
    }

    /// `verdict.json`; none when the run was killed before it was judged.
    pub fn read_summary(&self) -> Result<Option<RunSummary>> {
        or_absent(read_json(&self.verdict()))
    }
}

/// Reads a history file, of a run folder or on its own; lines are what [`checker::history::parse_bytes`] takes.
///
/// A last line that breaks off is left out with a note; any other bad line is an error that names it.
pub fn read_history(path: &Path) -> Result<Lines<Event>> {
    let bytes = fs::read(path).map_err(Error::doing("read", path))?;
    let parsed = parse_bytes(&bytes).map_err(|err| Error::Malformed {
        path: path.to_owned(),
        line: usize::try_from(err.line).ok(),
        why: err.why,
    })?;
    let note = parsed.note.map(|cut| mid_line(path, cut.line, cut.bytes));
    Ok(Lines { items: parsed.events, note })
}

pub(crate) fn mid_line(path: &Path, line: u64, bytes: usize) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{name} ends in mid-line {line}: its last {bytes} bytes are left out")
}

/// serde counts lines within the line it was given: that number would mislead.
pub(crate) fn without_place(err: &serde_json::Error) -> String {
    let text = err.to_string();
    match text.rfind(" at line ") {
        Some(end) => format!("{} at column {}", &text[..end], err.column()),
        None => text,
    }
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Lines<T>> {
    let bytes = fs::read(path).map_err(Error::doing("read", path))?;
    let mut items = Vec::new();
    let mut note = None;
    for (number, raw) in (1..).zip(bytes.split_inclusive(|&b| b == b'\n')) {
        let whole = raw.ends_with(b"\n");
        if raw.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice(raw) {
            Ok(item) => items.push(item),
            Err(_) if !whole => note = Some(mid_line(path, number as u64, raw.len())),
            Err(err) => {
                let why = without_place(&err);
                return Err(Error::Malformed { path: path.to_owned(), line: Some(number), why });
            }
        }
    }
    Ok(Lines { items, note })
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(Error::doing("read", path))?;
    serde_json::from_slice(&bytes).map_err(|err| Error::Malformed {
        path: path.to_owned(),
        line: Some(err.line()),
        why: without_place(&err),
    })
}

fn or_absent<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}
