//! The folders of shards, joined: one campaign as if one machine had run it all.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use results::campaign::folder::read_lines;
use results::campaign::{CampaignFolder, CampaignPlan, RunLine};
use results::layout;

use super::conclude::{self, Circumstances};
use super::ends;
use super::runner::Stop;
use crate::cli::MergeArgs;
use crate::exit::{Exit, UsageError};

/// A shard's folder, read.
struct Part {
    folder: CampaignFolder,
    plan: CampaignPlan,
    lines: Vec<RunLine>,
}

/// Joins the folders of a campaign's shards into a new one.
pub fn merge(args: &MergeArgs) -> Result<Exit> {
    let mut parts: Vec<Part> = Vec::new();
    for path in expand(&args.folders)? {
        let (folder, plan) = CampaignFolder::open(&path)?;
        let lines = read_lines(&folder.lines_file())?;
        parts.push(Part { folder, plan, lines });
    }
    let missing = check(&parts)?;
    let first = &parts[0];
    let plan = CampaignPlan { shard: None, ..first.plan.clone() };
    if args.out.exists() && fs::read_dir(&args.out).map_or(true, |mut entries| entries.next().is_some()) {
        let why = "is there and not empty; give the path of a folder that is to be made";
        return Err(UsageError(format!("{} {why}", args.out.display())).into());
    }
    let read =
        |path: &Path| fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()));
    let names = plan.cells.iter().filter_map(|cell| cell.faults_file.clone());
    let mut faults: HashMap<String, String> = HashMap::new();
    for name in names {
        if !faults.contains_key(&name) {
            faults.insert(name.clone(), read(&first.folder.faults(&name))?);
        }
    }
    fs::create_dir_all(&args.out).with_context(|| format!("failed to make {}", args.out.display()))?;
    let out = args.out.canonicalize().context("failed to find the new folder")?;
    let faults: Vec<(String, String)> = faults.into_iter().collect();
    let out = CampaignFolder::create_at(out, &plan, &read(&first.folder.file())?, &faults)?;
    let (mut lines, _) = out.lines()?;
    let mut all: HashMap<u32, Vec<RunLine>> = HashMap::new();
    for part in &parts {
        for line in &part.lines {
            let line = bring(part, line, &out)?;
            lines.append(&line)?;
            all.entry(line.index).or_default().push(line);
        }
    }
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
        eprintln!(
            "shardstorm: shard {} of {} is missing",
            names.join(", "),
            first.plan.shard.map_or(1, |s| s.of)
        );
    }
    let circumstances = Circumstances { stop: Some(Stop::Done), missing_shards: missing };
    let summary = conclude::summary(&plan, &all, &circumstances);
    ends::finish(&out, &summary)?;
    Ok(Exit::from_code(summary.exit_code))
}

/// Campaign folders as they are, and those in folders that are none: artifacts are unpacked into folders of their own.
fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in paths {
        let is_campaign = |path: &Path| path.join(layout::PLAN).is_file();
        if is_campaign(path) || !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).with_context(|| format!("failed to list {}", path.display()))?;
        let mut below: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| is_campaign(path)).collect();
        below.sort();
        if below.is_empty() {
            below.push(path.clone()); // refused where it is opened, by its name
        }
        all.extend(below);
    }
    Ok(all)
}

/// Refuses folders that are not of one campaign; returns the shards that are not among them.
fn check(parts: &[Part]) -> Result<Vec<u32>> {
    let first = &parts[0];
    let name = |part: &Part| part.folder.path().display().to_string();
    let mut seen: HashMap<u32, String> = HashMap::new();
    for part in parts {
        if part.plan.id != first.plan.id {
            return Err(UsageError(format!(
                "{} is of another campaign than {} (plan {} of {}, plan {} of {}); merge shards of one plan",
                name(part),
                name(first),
                part.plan.id,
                part.plan.name,
                first.plan.id,
                first.plan.name
            ))
            .into());
        }
        let Some(shard) = part.plan.shard else {
            let why = "is no shard but a whole campaign; give folders that `campaign --shard k/n` wrote";
            return Err(UsageError(format!("{} {why}", name(part))).into());
        };
        if let Some(of) = first.plan.shard.map(|shard| shard.of).filter(|of| *of != shard.of) {
            let why =
                format!("is shard {shard}, and {} is one of {of}; merge shards of one split", name(first));
            return Err(UsageError(format!("{} {why}", name(part))).into());
        }
        if let Some(other) = seen.insert(shard.index, name(part)) {
            return Err(UsageError(format!(
                "{} and {other} are both shard {shard}; give one of them",
                name(part)
            ))
            .into());
        }
    }
    let of = first.plan.shard.map_or(1, |shard| shard.of);
    Ok((1..=of).filter(|index| !seen.contains_key(index)).collect())
}

/// Brings a run's folder over under a name that is free.
fn bring(part: &Part, line: &RunLine, out: &CampaignFolder) -> Result<RunLine> {
    let Some(old) = &line.folder else { return Ok(line.clone()) };
    let leaf = Path::new(old).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut new = leaf.clone();
    let mut n = 1;
    while out.runs().join(&new).exists() {
        n += 1;
        new = format!("{leaf}-{n}");
    }
    let from = part.folder.path().join(old);
    if from.is_dir() {
        copy(&from, &out.runs().join(&new)).with_context(|| format!("failed to copy {}", from.display()))?;
    }
    Ok(RunLine { folder: Some(format!("{}/{new}", layout::RUNS)), ..line.clone() })
}

/// A folder with all below it. Files of one disk are linked: run folders replace files, they do not change them.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&path, &to)?;
        } else if entry.file_type()?.is_file() && fs::hard_link(&path, &to).is_err() {
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}
