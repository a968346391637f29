//! Porcupine on the same histories: `harness/src/bench/porcupine` built against a copy of it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::case::Case;
use super::judge::events;
use super::measure::median;

/// Wall time of one run, past which Porcupine gives up.
const TIMEOUT: &str = "60s";
/// Memory past which it dies, in MiB.
const MEMORY_MIB: &str = "8192";
/// Operations past which it is not asked any more: quadratic memory.
const OPS_MAX: usize = 100_000;

/// What Porcupine said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Theirs {
    /// `ok`, `illegal` or `unknown`; `died` when its memory ran out.
    pub verdict: String,
    /// Processor time in milliseconds, the median of its runs; none when it died.
    pub cpu_ms: Option<f64>,
    /// Peak of resident memory beside the history, in bytes.
    pub memory_bytes: Option<u64>,
}

impl Theirs {
    /// True when it says that the history is linearizable, none when it says nothing.
    pub fn valid(&self) -> Option<bool> {
        match self.verdict.as_str() {
            "ok" => Some(true),
            "illegal" => Some(false),
            _ => None,
        }
    }
}

/// What the program prints.
#[derive(Deserialize)]
struct Report {
    verdict: String,
    cpu_ms: Vec<f64>,
    memory_bytes: i64,
}

/// Has it judge the case's history; none when it is not meant to, or the history is too long for it.
pub fn measure(program: &Path, case: &Case, scratch: &Path) -> Result<Option<Theirs>> {
    let Some(model) = &case.porcupine else { return Ok(None) };
    let events = events(&case.source)?;
    if events.len() > OPS_MAX * 2 {
        return Ok(None);
    }
    let path = scratch.join("history.jsonl");
    let mut file = BufWriter::new(File::create(&path).with_context(|| path.display().to_string())?);
    for event in &events {
        serde_json::to_writer(&mut file, event)?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    let runs = case.runs.to_string();
    let mut command = Command::new(program);
    command
        .args(["-model", model, "-runs", &runs, "-timeout", TIMEOUT, "-memory-mib", MEMORY_MIB])
        .arg(&path);
    let output = command.output().with_context(|| format!("failed to start {}", program.display()))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        let is_memory = told.contains("out of memory") || told.contains("cannot allocate");
        anyhow::ensure!(is_memory, "{} failed on {}: {}", program.display(), case.name, told.trim());
        return Ok(Some(Theirs { verdict: "died".to_string(), cpu_ms: None, memory_bytes: None }));
    }
    let mut report: Report = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{} printed no report", program.display()))?;
    Ok(Some(Theirs {
        verdict: report.verdict,
        cpu_ms: Some(median(&mut report.cpu_ms)),
        memory_bytes: u64::try_from(report.memory_bytes).ok(),
    }))
}
