//! One run of a campaign: a process of this program. What becomes of it becomes a line.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use results::campaign::{CampaignFolder, Cell, Ended, Expectation, RunLine, line};
use results::summary::RunSummary;
use results::{RunFolder, layout, utc};

use super::plan;
use crate::exit::Exit;
use crate::replay::anomaly_names;

/// How long a run may take beyond its load and the bounds it sets itself before it counts as hung.
const HUNG_AFTER: Duration = Duration::from_secs(15 * 60);
/// How long a process that was told to end may take.
const END_BOUND: Duration = Duration::from_secs(30);
/// How much of the end of what it printed is looked at.
const TAIL: u64 = 4_096;

/// A run under way.
pub struct Running {
    /// What is run.
    pub cell: Cell,
    /// Which run of it, from 1.
    pub attempt: u32,
    /// When it began.
    pub began: Instant,
    child: Child,
    output: PathBuf,
    told: Option<Instant>,
    rescue: Option<Crash>,
}

/// How a run ended that left no verdict, while its history is judged.
struct Crash {
    exit_code: Option<i32>,
    words: String,
    folder: PathBuf,
}

/// What a look at a run has found.
pub enum Look {
    /// It goes on.
    UnderWay,
    /// It ended.
    Ended(RunLine),
    /// It refused to begin: bad flags, or a machine that cannot serve. What it said.
    Refused(String),
    /// It was told to end, and did: this was no run.
    Unfinished,
}

impl Running {
    /// Starts a run in the campaign's folder.
    pub fn start(folder: &CampaignFolder, cell: &Cell, attempt: u32) -> Result<Running> {
        let output = folder.output(&format!("{:05}-{attempt}.log", cell.index));
        let arguments = plan::arguments(cell, |name| folder.faults(name), &folder.runs());
        let child = spawn(&arguments, &output)?;
        Ok(Running {
            cell: cell.clone(),
            attempt,
            began: Instant::now(),
            child,
            output,
            told: None,
            rescue: None,
        })
    }

    /// Tells it to end in order. What it leaves is no run.
    pub fn interrupt(&mut self) {
        if self.told.is_none() {
            self.signal(Signal::SIGINT);
            self.told = Some(Instant::now());
        }
    }

    fn signal(&mut self, signal: Signal) {
        // It may have ended meanwhile, and waits for us: then this reaches nobody else.
        let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
    }

    /// Looks whether it has ended.
    pub fn look(&mut self, folder: &CampaignFolder, expectation: &Expectation) -> Result<Look> {
        let hung_after = Duration::from_secs_f64(self.cell.duration_s.max(0.0)) + HUNG_AFTER;
        if self.told.is_some_and(|since| since.elapsed() > END_BOUND) || self.began.elapsed() > hung_after {
            self.signal(Signal::SIGKILL);
        }
        let Some(status) = self.child.try_wait().context("failed to wait for a run")? else {
            return Ok(Look::UnderWay);
        };
        if self.told.is_some() {
            return Ok(Look::Unfinished);
        }
        let made = self.folder();
        let summary = made.as_deref().and_then(summary_of);
        if let Some(crash) = self.rescue.take() {
            return self.line(folder, made, crash.exit_code, summary, Some(crash.words), expectation);
        }
        if made.is_none() && status.code() == Some(Exit::Usage.code()) {
            return Ok(Look::Refused(self.said()));
        }
        match (&made, &summary) {
            (_, Some(_)) => self.line(folder, made, status.code(), summary, None, expectation),
            (Some(run), None) if run.join(layout::HISTORY).is_file() && run.join(layout::RUN).is_file() => {
                // It died before it was judged. A violation that is in its history is not to be lost with it.
                let words = died(status);
                let arguments: Vec<OsString> =
                    vec!["check".into(), "--budget-time".into(), "5m".into(), run.into()];
                self.child = spawn(&arguments, &self.output.with_extension("check"))?;
                self.rescue = Some(Crash { exit_code: status.code(), words, folder: run.clone() });
                Ok(Look::UnderWay)
            }
            _ => self.line(folder, made, status.code(), None, Some(died(status)), expectation),
        }
    }

    /// The line of a run that is over; what it printed goes into its folder.
    fn line(
        &self,
        folder: &CampaignFolder,
        made: Option<PathBuf>,
        exit_code: Option<i32>,
        summary: Option<RunSummary>,
        died: Option<String>,
        expectation: &Expectation,
    ) -> Result<Look> {
        let anomalies = summary.as_ref().map(|summary| anomaly_names(&summary.verdict)).unwrap_or_default();
        let (verdict, reason) = match (&summary, &died) {
            (Some(summary), died) => match (Ended::of(summary), died) {
                (Ended::Invalid, _) | (_, None) => (Ended::of(summary), line::reason(summary)),
                (_, Some(died)) => (Ended::Error, died.clone()),
            },
            (None, died) => {
                let how = died.clone().unwrap_or_else(|| "it left no verdict".into());
                (Ended::Error, format!("{how}; it said last: {}", self.last_line()))
            }
        };
        let (outcome, why) = expectation.judge(verdict, &anomalies);
        if let Some(run) = &made {
            let _ = fs::rename(&self.output, run.join(layout::HARNESS_LOG));
            let _ = fs::remove_file(self.output.with_extension("check"));
        }
        let below = |run: &Path| run.strip_prefix(folder.path()).unwrap_or(run).display().to_string();
        Ok(Look::Ended(RunLine {
            index: self.cell.index,
            attempt: self.attempt,
            folder: made.as_deref().map(below),
            exit_code,
            verdict,
            anomalies,
            reason,
            wall_s: (self.began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            ended_at: utc::rfc3339(SystemTime::now()),
            outcome,
            why,
        }))
    }

    /// The folder it has made: the first thing it says.
    fn folder(&self) -> Option<PathBuf> {
        if let Some(crash) = &self.rescue {
            return Some(crash.folder.clone());
        }
        let text = fs::read(&self.output).ok()?;
        let text = String::from_utf8_lossy(&text);
        let path =
            text.lines().find_map(|line| line.strip_prefix("shardstorm: run ")?.rsplit_once(" (seed "))?.0;
        Some(PathBuf::from(path)).filter(|path| path.is_dir())
    }

    /// Everything it printed, or the end of it.
    fn said(&self) -> String {
        tail(&self.output).trim().to_string()
    }

    fn last_line(&self) -> String {
        self.said().lines().last().unwrap_or("nothing").to_string()
    }

    /// Seconds of load so far, and the faults in force, as it told last; none before its load has begun.
    pub fn progress(&self) -> Option<(f64, String)> {
        let text = tail(&self.output);
        let line = text.lines().rev().find(|line| line.contains(" s  ok "))?;
        let seconds = line.trim().split_once(" s ")?.0.trim().parse().ok()?;
        let faults = line.rsplit_once(" | ").map(|(_, faults)| faults.to_string())?;
        Some((seconds, faults))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(arguments: &[OsString], output: &Path) -> Result<Child> {
    let file = File::create(output).with_context(|| format!("failed to write {}", output.display()))?;
    let mut run = Command::new("/proc/self/exe");
    run.args(arguments);
    run.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    // Ours to end, and to end in order: not the terminal's.
    run.process_group(0);
    // SAFETY: one system call, nothing allocated between fork and exec.
    unsafe {
        run.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from));
    }
    run.spawn().context("failed to start a run")
}

fn summary_of(run: &Path) -> Option<RunSummary> {
    RunFolder::open(run).and_then(|folder| folder.read_summary()).ok().flatten()
}

fn died(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (_, Some(signal)) => {
            let name = Signal::try_from(signal).map_or("unknown", Signal::as_str);
            format!("its process was ended by signal {signal} ({name})")
        }
        (Some(code), _) => format!("its process ended with exit code {code} and no verdict"),
        _ => status.to_string(),
    }
}

fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut text = Vec::new();
        file.take(TAIL).read_to_end(&mut text)?;
        Ok(text)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
