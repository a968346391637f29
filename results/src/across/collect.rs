//! Runs gathered from disk: a run folder, a campaign's folder, or a store of both.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Sample, variant_of};
use crate::error::{Error, Result};
use crate::layout::{self, RunFolder};

/// The judged runs at a path, oldest first: of a run folder itself, of the `runs` of a campaign, or of every run and
/// campaign in a store. Runs without a verdict are left out.
///
/// Fails where there is not one, and where a folder cannot be read.
pub fn collect(path: &Path) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for folder in folders(path)? {
        let run = RunFolder::open(&folder)?;
        let Some(summary) = run.read_summary()? else { continue };
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let cell = format!("{} · {}", summary.spec.workload, told(&summary.spec.faults));
        samples.push(Sample { group: variant_of(&summary.spec), cell, summary, folder: name });
    }
    if samples.is_empty() {
        let why =
            "it holds no run that was judged; give a run folder, a campaign's folder or a store".to_owned();
        return Err(Error::NotARunFolder { path: path.to_owned(), why });
    }
    samples.sort_by(|a, b| (&a.summary.started_at, &a.folder).cmp(&(&b.summary.started_at, &b.folder)));
    Ok(samples)
}

fn told(faults: &[String]) -> String {
    if faults.is_empty() { "no faults".to_owned() } else { faults.join(", ") }
}

fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() || path.join(layout::RUN).is_file() {
        return RunFolder::open(path).map(|_| vec![path.to_owned()]); // with its own words for what is wrong
    }
    let mut found = layout::list(path)?;
    let of_campaign = path.join(layout::RUNS);
    if of_campaign.is_dir() {
        found.extend(layout::list(&of_campaign)?);
        return Ok(found);
    }
    let entries = fs::read_dir(path).map_err(Error::doing("list", path))?;
    for campaign in entries.filter_map(|entry| entry.ok().map(|entry| entry.path().join(layout::RUNS))) {
        // A shrink has `runs` as well, of what was made to fail; they are no measure of anything.
        let shrink = campaign.with_file_name(layout::SHRINK).is_file();
        if campaign.is_dir() && !shrink && !campaign.parent().is_some_and(Path::is_symlink) {
            found.extend(layout::list(&campaign)?);
        }
    }
    Ok(found)
}
