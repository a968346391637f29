//! A campaign's folder: what is in it survives the end of every process that writes it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::line::RunLine;
use super::plan::CampaignPlan;
use super::summary::CampaignSummary;
use crate::error::{Error, Result};
use crate::layout::{self, CAMPAIGN, CAMPAIGN_FILE, FAULT_FILES, OUTPUT, PLAN, RUN_LINES, RUNS, UNFINISHED};
use crate::writer::{write_json, write_whole};

/// A folder that a campaign writes and goes on in later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CampaignFolder {
    path: PathBuf,
}

impl CampaignFolder {
    /// Makes `<store>/<UTC time>-campaign-<name>` with everything that is settled before the first run; files of faults
    /// come by name and text.
    pub fn create(
        store: &Path,
        plan: &CampaignPlan,
        file: &str,
        faults: &[(String, String)],
    ) -> Result<CampaignFolder> {
        let path = layout::create_other(store, &format!("campaign-{}", plan.name))?;
        CampaignFolder::create_at(path, plan, file, faults)
    }

    /// The same in a folder that is there and empty.
    pub fn create_at(
        path: PathBuf,
        plan: &CampaignPlan,
        file: &str,
        faults: &[(String, String)],
    ) -> Result<CampaignFolder> {
        let folder = CampaignFolder { path };
        folder.prepare()?;
        write_whole(&folder.file(), file.as_bytes())?;
        for (name, text) in faults {
            write_whole(&folder.faults(name), text.as_bytes())?;
        }
        // The plan last: a folder that has one has everything.
        write_json(&folder.path.join(PLAN), plan)?;
        Ok(folder)
    }

    /// Opens one, with its plan.
    pub fn open(path: &Path) -> Result<(CampaignFolder, CampaignPlan)> {
        let refuse = |why: &str| Error::NotACampaign { path: path.to_owned(), why: why.to_owned() };
        if !path.is_dir() {
            return Err(refuse(if path.exists() { "it is a file" } else { "it does not exist" }));
        }
        let folder = CampaignFolder { path: path.canonicalize().map_err(Error::doing("open", path))? };
        let file = folder.path.join(PLAN);
        if !file.is_file() {
            return Err(refuse("it has no plan.json"));
        }
        let text = fs::read(&file).map_err(Error::doing("read", &file))?;
        let probe: Probe = parsed(&file, &text)?;
        if probe.schema_version > super::SCHEMA_VERSION {
            return Err(Error::NewerFormat {
                path: path.to_owned(),
                found: probe.schema_version,
                newest: super::SCHEMA_VERSION,
            });
        }
        let plan = parsed(&file, &text)?;
        Ok((folder, plan))
    }

    /// Makes the folders that runs need: whoever has carried it from one machine to another may have lost empty ones.
    pub fn prepare(&self) -> Result<()> {
        for below in [RUNS, OUTPUT, FAULT_FILES] {
            let below = self.path.join(below);
            fs::create_dir_all(&below).map_err(Error::doing("create", &below))?;
        }
        Ok(())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `campaign.toml`.
    pub fn file(&self) -> PathBuf {
        self.path.join(CAMPAIGN_FILE)
    }

    /// `runs`: the store of its runs.
    pub fn runs(&self) -> PathBuf {
        self.path.join(RUNS)
    }

    /// `faults/<name>`.
    pub fn faults(&self, name: &str) -> PathBuf {
        self.path.join(FAULT_FILES).join(layout::plain(name))
    }

    /// `output/<name>`: what a run under way prints.
    pub fn output(&self, name: &str) -> PathBuf {
        self.path.join(OUTPUT).join(layout::plain(name))
    }

    /// `unfinished/<name>`.
    pub fn unfinished(&self, name: &str) -> PathBuf {
        self.path.join(UNFINISHED).join(layout::plain(name))
    }

    /// `runs.jsonl`.
    pub fn lines_file(&self) -> PathBuf {
        self.path.join(RUN_LINES)
    }

    /// Another file by its name in [`layout`](crate::layout).
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// `campaign.json`, if it is there.
    pub fn read_summary(&self) -> Result<Option<CampaignSummary>> {
        let file = self.path.join(CAMPAIGN);
        match fs::read(&file) {
            Ok(text) => parsed(&file, &text).map(Some),
            Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::io("read", &file, source)),
        }
    }

    /// `runs.jsonl`, to be added to. Whoever does takes a lock on it before reading it.
    pub fn open_lines(&self) -> Result<Lines> {
        let path = self.lines_file();
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        Ok(Lines { file: file.map_err(Error::doing("open", &path))?, path })
    }

    /// The lines of finished runs, read, to be added to.
    pub fn lines(&self) -> Result<(Lines, Vec<RunLine>)> {
        let mut lines = self.open_lines()?;
        let read = lines.read()?;
        Ok((lines, read))
    }
}

/// Lines of a campaign folder that nobody writes to.
pub fn read_lines(path: &Path) -> Result<Vec<RunLine>> {
    match fs::read(path) {
        Ok(text) => {
            let whole = text.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
            parse_lines(path, &text[..whole])
        }
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(Error::io("read", path, source)),
    }
}

/// Adds lines to `runs.jsonl`.
#[derive(Debug)]
pub struct Lines {
    file: File,
    path: PathBuf,
}

impl Lines {
    /// Reads them all. A last line that was cut off while it was written is taken away: its run has not been.
    pub fn read(&mut self) -> Result<Vec<RunLine>> {
        let mut text = Vec::new();
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.file.read_to_end(&mut text))
            .map_err(Error::doing("read", &self.path))?;
        let whole = text.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            self.file.set_len(whole as u64).map_err(Error::doing("write", &self.path))?;
        }
        self.file.seek(SeekFrom::End(0)).map_err(Error::doing("write", &self.path))?;
        parse_lines(&self.path, &text[..whole])
    }

    /// Adds one; it is on the disk once this returns.
    pub fn append(&mut self, line: &RunLine) -> Result<()> {
        let mut text = serde_json::to_vec(line)
            .map_err(|err| Error::Unwritable { path: self.path.clone(), why: err.to_string() })?;
        text.push(b'\n');
        self.file
            .write_all(&text)
            .and_then(|()| self.file.sync_data())
            .map_err(Error::doing("write", &self.path))
    }

    /// The file, for locking.
    pub fn file(&self) -> &File {
        &self.file
    }
}

#[derive(serde::Deserialize)]
struct Probe {
    schema_version: u32,
}

fn parsed<T: serde::de::DeserializeOwned>(file: &Path, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|err| Error::Malformed {
        path: file.to_owned(),
        line: Some(err.line()),
        why: err.to_string(),
    })
}

fn parse_lines(path: &Path, text: &[u8]) -> Result<Vec<RunLine>> {
    let lines = text.split(|&b| b == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    lines
        .map(|(at, line)| {
            serde_json::from_slice(line).map_err(|err| Error::Malformed {
                path: path.to_owned(),
                line: Some(at + 1),
                why: err.to_string(),
            })
        })
        .collect()
}
