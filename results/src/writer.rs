//! The small files of a run folder; what is written once is whole or absent.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout::{FORMAT_VERSION, RunFolder};
use crate::messages::MessageLine;
use crate::spec::RunSpec;
use crate::strikes::StrikeLine;
use crate::summary::{NodeEvent, RunSummary};

/// `run.toml`: what was run, known before anything happens.
///
/// A run that was killed leaves this and a history, which is enough to judge and to repeat it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunFile {
    /// Format of the folder.
    pub format_version: u32,
    /// When the run began, RFC 3339, UTC.
    pub started_at: String,
    /// The command that repeats the run.
    pub command: String,
    /// The run folder whose faults this run issues again, where it is a replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replays: Option<String>,
    /// Name to version of what takes part.
    pub versions: BTreeMap<String, String>,
    /// Everything needed to do it again.
    pub spec: RunSpec,
}

impl RunFile {
    /// In the format of this program.
    pub fn new(spec: RunSpec, started_at: String, command: String, versions: &[(String, String)]) -> Self {
        let versions = versions.iter().cloned().collect();
        RunFile { format_version: FORMAT_VERSION, started_at, command, replays: None, versions, spec }
    }

    /// The same, of a run that issues the faults of another again.
    pub fn replaying(self, replays: Option<String>) -> Self {
        RunFile { replays, ..self }
    }
}

impl RunFolder {
    /// Writes `run.toml` and `command.txt`.
    pub fn write_run(&self, run: &RunFile) -> Result<()> {
        let path = self.run();
        let text = toml::to_string(run)
            .map_err(|err| Error::Unwritable { path: path.clone(), why: err.to_string() })?;
        write_whole(&path, text.as_bytes())?;
        write_whole(&self.command(), format!("{}\n", run.command).as_bytes())
    }

    /// Writes `schedule.json`, whatever the nemesis calls a schedule.
    pub fn write_schedule<S: Serialize>(&self, schedule: &S) -> Result<()> {
        write_json(&self.schedule(), schedule)
    }

    /// Writes `faults.toml`: the faults as people read them and as `run --faults` takes them.
    pub fn write_faults(&self, text: &str) -> Result<()> {
        write_whole(&self.faults(), text.as_bytes())
    }

    /// Writes `replay.json`, whatever a comparison is made of.
    pub fn write_replay<S: Serialize>(&self, comparison: &S) -> Result<()> {
        write_json(&self.replay(), comparison)
    }

    /// Writes `verdict.json`.
    pub fn write_summary(&self, summary: &RunSummary) -> Result<()> {
        write_json(&self.verdict(), summary)
    }

    /// Opens `events.jsonl` to be appended to.
    pub fn node_events(&self) -> Result<LineWriter<NodeEvent>> {
        LineWriter::open(self.events())
    }

    /// Opens `strikes.jsonl` to be appended to.
    pub fn strike_lines(&self) -> Result<LineWriter<StrikeLine>> {
        LineWriter::open(self.strikes())
    }

    /// Writes `messages.jsonl` anew.
    pub fn write_messages(&self, messages: &[MessageLine]) -> Result<()> {
        let path = self.messages();
        let mut lines = Vec::new();
        for message in messages {
            serde_json::to_writer(&mut lines, message)
                .map_err(|err| Error::Unwritable { path: path.clone(), why: err.to_string() })?;
            lines.push(b'\n');
        }
        write_whole(&path, &lines)
    }
}

/// Appends values to a file of JSON lines, one `write(2)` a line.
#[derive(Debug)]
pub struct LineWriter<T> {
    file: File,
    path: PathBuf,
    of: PhantomData<fn(T)>,
}

impl<T: Serialize> LineWriter<T> {
    fn open(path: PathBuf) -> Result<LineWriter<T>> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(Error::doing("create", &path))?;
        Ok(LineWriter { file, path, of: PhantomData })
    }

    /// Appends one; it outlives the process once this returns.
    pub fn append(&mut self, value: &T) -> Result<()> {
        let mut line = serde_json::to_vec(value)
            .map_err(|err| Error::Unwritable { path: self.path.clone(), why: err.to_string() })?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(Error::doing("write", &self.path))
    }
}

/// Puts a file in place in one step: a reader sees the old content, the new, or none, never half.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_data()
    });
    if let Err(source) = written.and_then(|()| fs::rename(&part, path)) {
        let _ = fs::remove_file(&part); // the first error is the one worth telling
        return Err(Error::io("write", path, source));
    }
    Ok(())
}

/// Writes a value as JSON for people and programs, in one step.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|err| Error::Unwritable { path: path.to_owned(), why: err.to_string() })?;
    text.push(b'\n');
    write_whole(path, &text)
}
