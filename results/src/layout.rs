//! Every file name of a run folder, and the folder itself.
//!
//! ```text
//! <store>/latest -> 20261122T143732Z-register-42
//! <store>/20261122T143732Z-register-42/
//!     run.toml        spec, seed, versions, command: written before anything happens
//!     schedule.json   the fault windows drawn from the seed
//!     faults.toml     the same as a file of faults, where they came from one or from another run
//!     replay.json     how faithfully another run's faults were issued again, where that was asked
//!     history.jsonl   one event a line, as it happens
//!     events.jsonl    one agent step a line
//!     strikes.jsonl   one altered message a line, where messages were altered
//!     messages.jsonl  one message between nodes a line, around anomalies and failovers
//!     packets.pcapng  what messages are read from; gone once they are
//!     nodes/<name>/   logs of that node's processes
//!     harness.log
//!     verdict.json    written last, in one piece: small, read first
//!     report.html, *.svg, *.png, command.txt, capture.pcapng
//! <store>/20261122T150001Z-shrink-register-42/
//!     smallest.toml   the smallest schedule that still fails: a file of faults
//!     shrink.json     every candidate with how often it failed
//!     candidates/     the schedules that were tried
//!     runs/           the run folders of those that failed
//! <store>/20261122T160000Z-campaign-smoke/
//!     campaign.toml   copy of the campaign file
//!     faults/         copies of the files of faults that it names
//!     plan.json       every run, in order: written before the first starts
//!     runs.jsonl      one finished run a line; a run without a line has not been
//!     runs/           their run folders
//!     unfinished/     what runs left that were cut short; kept aside, counted by nobody
//!     campaign.json   how it stands, for programs; written anew as runs end
//!     junit.xml, summary.md
//!     output/         what runs under way print; moved into their folders in the end
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::utc;

/// Format of the folders this crate writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// What was run: the first file of every run folder.
pub const RUN: &str = "run.toml";
/// Fault windows drawn before the run.
pub const SCHEDULE: &str = "schedule.json";
/// The faults as a file that `run --faults` takes.
pub const FAULTS: &str = "faults.toml";
/// How faithfully the faults of another run were issued again.
pub const REPLAY: &str = "replay.json";
/// Of a shrink: the smallest schedule that still fails.
pub const SMALLEST: &str = "smallest.toml";
/// Of a shrink: every candidate with how often it failed.
pub const SHRINK: &str = "shrink.json";
/// Of a shrink: the schedules that were tried.
pub const CANDIDATES: &str = "candidates";
/// Of a shrink: the run folders of those that failed. Of a campaign: all of them.
pub const RUNS: &str = "runs";
/// Of a campaign: the file it follows from.
pub const CAMPAIGN_FILE: &str = "campaign.toml";
/// Of a campaign: copies of the files of faults.
pub const FAULT_FILES: &str = "faults";
/// Of a campaign: every run, in order.
pub const PLAN: &str = "plan.json";
/// Of a campaign: one finished run a line.
pub const RUN_LINES: &str = "runs.jsonl";
/// Of a campaign: what runs left that were cut short.
pub const UNFINISHED: &str = "unfinished";
/// Of a campaign: what runs under way print.
pub const OUTPUT: &str = "output";
/// Of a campaign: how it stands, for programs.
pub const CAMPAIGN: &str = "campaign.json";
/// Of a campaign: its runs as test cases.
pub const JUNIT: &str = "junit.xml";
/// Of a campaign: how it stands, for people.
pub const SUMMARY: &str = "summary.md";
/// The journal of client operations and fault edges.
pub const HISTORY: &str = "history.jsonl";
/// The agents' steps on the run clock.
pub const EVENTS: &str = "events.jsonl";
/// Messages altered on their way, before and after.
pub const STRIKES: &str = "strikes.jsonl";
/// Messages between nodes around anomalies and failovers.
pub const MESSAGES: &str = "messages.jsonl";
/// The first packets of the run, for as long as nobody has read the messages in them.
pub const PACKETS: &str = "packets.pcapng";
/// The run's end; absent when the run was killed.
pub const VERDICT: &str = "verdict.json";
/// One folder of logs per node.
pub const NODES: &str = "nodes";
/// What the harness itself logged.
pub const HARNESS_LOG: &str = "harness.log";
/// The self-contained report.
pub const REPORT: &str = "report.html";
/// All packets of the run, where asked for.
pub const CAPTURE: &str = "capture.pcapng";
/// The command that repeats the run.
pub const COMMAND: &str = "command.txt";
/// Name of the link in a store that leads to its newest run.
pub const LATEST: &str = "latest";

/// A folder that one run writes and that can be read back later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes a new folder `<store>/<UTC time>-<name>` and points `<store>/latest` at it.
    ///
    /// `name` is the rest of the folder's name, e.g. `register-42` for workload and seed; characters other
    /// than letters, digits, `.`, `_` and `-` become `-`. Never reuses a folder: where the name is taken,
    /// `-2`, `-3`, … is appended. Makes the store where it is missing.
    pub fn create(store: &Path, name: &str) -> Result<RunFolder> {
        RunFolder::create_at(store, name, SystemTime::now())
    }

    /// Like [`RunFolder::create`], told the time.
    pub fn create_at(store: &Path, name: &str, now: SystemTime) -> Result<RunFolder> {
        let (path, leaf) = new_folder(store, name, now)?;
        let nodes = path.join(NODES);
        fs::create_dir(&nodes).map_err(Error::doing("create", &nodes))?;
        point_latest(store, &leaf)?;
        Ok(RunFolder { path })
    }

    /// Says to everybody that somebody is at work in this folder, until what is returned is dropped, or its process ends
    /// however it ends.
    pub fn hold(&self) -> io::Result<fs::File> {
        let folder = fs::File::open(&self.path)?;
        folder.lock()?;
        Ok(folder)
    }

    /// Opens a folder that a run wrote; follows links such as `latest`.
    ///
    /// Fails with [`Error::NotARunFolder`] when there is no `run.toml` in it and with
    /// [`Error::NewerFormat`] when a later version of this program wrote it.
    pub fn open(path: &Path) -> Result<RunFolder> {
        let refuse = |why: &str| Error::NotARunFolder { path: path.to_owned(), why: why.to_owned() };
        if !path.exists() {
            return Err(refuse("it does not exist"));
        }
        if !path.is_dir() {
            return Err(refuse("it is a file"));
        }
        let folder = RunFolder { path: path.canonicalize().map_err(Error::doing("open", path))? };
        let run = folder.run();
        let text = match fs::read_to_string(&run) {
            Ok(text) => text,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                return Err(refuse("it has no run.toml"));
            }
            Err(source) => return Err(Error::io("read", &run, source)),
        };
        // The version is read on its own first: a newer file may say things this program cannot parse.
        let probe: FormatProbe = toml::from_str(&text).map_err(|err| Error::Malformed {
            path: run.clone(),
            line: err.span().map(|span| line_of(&text, span.start)),
            why: err.message().to_owned(),
        })?;
        if probe.format_version > FORMAT_VERSION {
            return Err(Error::NewerFormat {
                path: path.to_owned(),
                found: probe.format_version,
                newest: FORMAT_VERSION,
            });
        }
        Ok(folder)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `run.toml`.
    pub fn run(&self) -> PathBuf {
        self.path.join(RUN)
    }

    /// `schedule.json`.
    pub fn schedule(&self) -> PathBuf {
        self.path.join(SCHEDULE)
    }

    /// `faults.toml`.
    pub fn faults(&self) -> PathBuf {
        self.path.join(FAULTS)
    }

    /// `replay.json`.
    pub fn replay(&self) -> PathBuf {
        self.path.join(REPLAY)
    }

    /// `history.jsonl`.
    pub fn history(&self) -> PathBuf {
        self.path.join(HISTORY)
    }

    /// `events.jsonl`.
    pub fn events(&self) -> PathBuf {
        self.path.join(EVENTS)
    }

    /// `strikes.jsonl`.
    pub fn strikes(&self) -> PathBuf {
        self.path.join(STRIKES)
    }

    /// `messages.jsonl`.
    pub fn messages(&self) -> PathBuf {
        self.path.join(MESSAGES)
    }

    /// `packets.pcapng`.
    pub fn packets(&self) -> PathBuf {
        self.path.join(PACKETS)
    }

    /// `verdict.json`.
    pub fn verdict(&self) -> PathBuf {
        self.path.join(VERDICT)
    }

    /// `nodes/<name>`: where that node's processes log to. Does not make it.
    pub fn node(&self, name: &str) -> PathBuf {
        self.path.join(NODES).join(plain(name))
    }

    /// `harness.log`.
    pub fn harness_log(&self) -> PathBuf {
        self.path.join(HARNESS_LOG)
    }

    /// `report.html`.
    pub fn report(&self) -> PathBuf {
        self.path.join(REPORT)
    }

    /// `capture.pcapng`.
    pub fn capture(&self) -> PathBuf {
        self.path.join(CAPTURE)
    }

    /// `command.txt`.
    pub fn command(&self) -> PathBuf {
        self.path.join(COMMAND)
    }

    /// A picture by its stem and ending: `latency`, `svg`.
    pub fn plot(&self, stem: &str, ending: &str) -> PathBuf {
        self.path.join(format!("{stem}.{ending}"))
    }

    /// Every log in the folder (`harness.log`, `nodes/<name>/*`), as paths relative to it, sorted.
    pub fn logs(&self) -> Vec<PathBuf> {
        let mut logs = Vec::new();
        if self.harness_log().is_file() {
            logs.push(PathBuf::from(HARNESS_LOG));
        }
        let mut below = Vec::new();
        collect_files(&self.path.join(NODES), 4, &mut below);
        below.sort();
        logs.extend(below.iter().filter_map(|file| file.strip_prefix(&self.path).ok().map(Path::to_owned)));
        logs
    }
}

/// Is somebody at work in this folder? See [`RunFolder::hold`]. An error where the file system knows no locks.
pub fn is_held(folder: &Path) -> io::Result<bool> {
    match fs::File::open(folder)?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(fs::TryLockError::WouldBlock) => Ok(true),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Makes a new folder `<store>/<UTC time>-<name>` that is no run's, e.g. a shrink's; never reuses one.
pub fn create_other(store: &Path, name: &str) -> Result<PathBuf> {
    new_folder(store, name, SystemTime::now()).map(|(path, _)| path)
}

/// A new folder and its name in the store.
fn new_folder(store: &Path, name: &str, now: SystemTime) -> Result<(PathBuf, String)> {
    fs::create_dir_all(store).map_err(Error::doing("create the store", store))?;
    let base = format!("{}-{}", utc::compact(now), plain(name));
    let mut leaf = base.clone();
    let mut attempt = 1;
    loop {
        let path = store.join(&leaf);
        match fs::create_dir(&path) {
            Ok(()) => return Ok((path, leaf)),
            Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => {
                attempt += 1;
                leaf = format!("{base}-{attempt}");
            }
            Err(source) => return Err(Error::io("create the run folder", &path, source)),
        }
    }
}

/// Run folders of a store, newest first; folders that are no runs are left out.
pub fn list(store: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(store).map_err(Error::doing("list", store))?;
    let mut runs: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| !path.is_symlink() && path.join(RUN).is_file())
        .collect();
    runs.sort();
    runs.reverse();
    Ok(runs)
}

/// Line, from 1, of a byte offset in a text.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&b| b == b'\n').count()
}

#[derive(Deserialize)]
struct FormatProbe {
    format_version: u32,
}

/// A name that is legal in every file name and leads out of no folder.
pub fn plain(name: &str) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let plain: String = name.chars().map(|c| if kept(c) { c } else { '-' }).collect();
    // `.` and `..` would leave the folder.
    if plain.chars().all(|c| c == '.') { "-".repeat(plain.len().max(1)) } else { plain }
}

/// Swaps the link in one step, so that two runs that start together leave a whole one.
fn point_latest(store: &Path, leaf: &str) -> Result<()> {
    let link = store.join(LATEST);
    if link.exists() && !link.is_symlink() {
        return Ok(()); // somebody's own file: not ours to replace
    }
    let fresh = store.join(format!(".{LATEST}-{leaf}"));
    symlink(leaf, &fresh).map_err(Error::doing("create the link", &fresh))?;
    fs::rename(&fresh, &link).map_err(Error::doing("create the link", &link))
}

fn collect_files(dir: &Path, depth: usize, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        if path.is_dir() && !path.is_symlink() {
            if depth > 0 {
                collect_files(&path, depth - 1, into);
            }
        } else if path.is_file() {
            into.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_folder() {
        assert_eq!(plain(".."), "--");
        assert_eq!(plain(""), "-");
        assert_eq!(plain("../../x y"), "..-..-x-y");
        assert_eq!(plain("s0r1"), "s0r1");
    }
}
