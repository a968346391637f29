//! What lies in the store: runs, shrinks and campaigns, each in a line. Of a run only `verdict.json` and `run.toml`
//! are read, and again only when they have changed.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use checker::Verdict;
use results::explain::{self, Mood};
use results::failover::Distribution;
use results::layout;
use results::spec::RunSpec;
use results::summary::{Counts, Failover, RunSummary};
use results::{FORMAT_VERSION, RunFolder, units};
use serde::Serialize;

use super::live;

/// The campaign's file in its folder.
const CAMPAIGN_FILE: &str = "campaign.toml";

/// Folders in folders that are looked into: a campaign's `runs/`, a folder of campaigns.
const DEPTH_MAX: usize = 4;

/// What a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One run.
    Run,
    /// A search for the smallest run that still fails.
    Shrink,
    /// Many runs by a plan.
    Campaign,
}

impl Kind {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Run => "run",
            Kind::Shrink => "shrink",
            Kind::Campaign => "campaign",
        }
    }
}

/// What can be said of a folder in a line. Times of a run that has not ended are missing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Path below the store, names joined by `/`.
    pub path: String,
    /// Last name of the path.
    pub name: String,
    /// The shrink or campaign it lies in; empty: none.
    pub group: String,
    /// What it is.
    pub kind: Kind,
    /// When it began, RFC 3339, UTC; empty where nobody knows.
    pub started_at: String,
    /// `valid`, `invalid`, `unknown`, `not-live`, `failed`: how it ended; `running`, `judging`: it has not; `ended`:
    /// without a verdict; `unreadable`; empty for what is no run.
    pub state: String,
    /// How that should be felt: `good`, `bad`, `doubt`, `live`, or empty.
    pub mood: &'static str,
    /// The same in a sentence.
    pub sentence: String,
    /// What was run; none where it cannot be read or is no run.
    pub spec: Option<RunSpec>,
    /// Families of faults that took effect; of a run that has not ended, those that are planned.
    pub faults: Vec<String>,
    /// Names of the anomalies that were found.
    pub anomalies: Vec<String>,
    /// Operations.
    pub counts: Counts,
    /// Failovers.
    pub failovers: usize,
    /// Median of their totals, nanoseconds.
    pub failover_median_ns: Option<u64>,
    /// Seconds of all its phases.
    pub wall_s: Option<f64>,
    /// Runs that lie in it.
    pub runs: usize,
    /// Whether there is a report.
    pub has_report: bool,
}

impl Entry {
    fn of_folder(path: &str, kind: Kind) -> Entry {
        let name = path.rsplit('/').next().unwrap_or_default();
        Entry {
            path: path.to_owned(),
            name: name.to_owned(),
            group: String::new(),
            kind,
            started_at: time_in(name).unwrap_or_default(),
            state: String::new(),
            mood: "",
            sentence: String::new(),
            spec: None,
            faults: Vec::new(),
            anomalies: Vec::new(),
            counts: Counts::default(),
            failovers: 0,
            failover_median_ns: None,
            wall_s: None,
            runs: 0,
            has_report: false,
        }
    }

    /// Variant and what is left out of it or wrong with it: `hardened`, `hardened − local-reads`, `hardened + stale-read`.
    pub fn variant(&self) -> String {
        let Some(spec) = &self.spec else { return String::new() };
        let weaken = spec.weaken.iter().map(|name| format!(" − {name}")).collect::<String>();
        let bug = spec.bug.iter().map(|name| format!(" + {name}")).collect::<String>();
        format!("{}{weaken}{bug}", spec.variant)
    }

    /// All that a search may hit, in lower case.
    pub fn words(&self) -> String {
        let spec = self.spec.as_ref();
        let target = spec.map_or("", |spec| &spec.target);
        let workload = spec.map_or("", |spec| &spec.workload);
        let parts = [&self.path, &self.state, &self.variant(), target, workload, &self.sentence]
            .map(|s| s.to_owned());
        (parts.join(" ") + " " + &self.faults.join(" ") + " " + &self.anomalies.join(" ")).to_lowercase()
    }

    fn is_over(&self) -> bool {
        !matches!(self.state.as_str(), "running" | "judging" | "ended")
    }
}

/// When the files that were read had changed last, and how long they were.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// The store, and what is known of it.
pub struct Store {
    root: PathBuf,
    cache: Mutex<HashMap<String, (Stamp, Arc<Entry>)>>,
}

impl Store {
    /// Over a folder whose path is canonical.
    pub fn new(root: PathBuf) -> Store {
        Store { root, cache: Mutex::default() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All there is, newest first.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        let mut found = Vec::new();
        self.walk(&self.root, "", "", 0, &mut found);
        let mut runs: HashMap<&str, usize> = HashMap::new();
        for entry in found.iter().filter(|entry| entry.kind == Kind::Run) {
            *runs.entry(entry.group.as_str()).or_default() += 1;
        }
        let counted: HashMap<String, usize> =
            runs.into_iter().map(|(group, n)| (group.to_owned(), n)).collect();
        for entry in &mut found {
            if entry.kind != Kind::Run
                && let Some(&runs) = counted.get(&entry.path)
            {
                Arc::make_mut(entry).runs = runs;
            }
        }
        // Names begin with the time.
        found.sort_by(|a, b| b.started_at.cmp(&a.started_at).then_with(|| b.path.cmp(&a.path)));
        let known: BTreeSet<&str> = found.iter().map(|entry| entry.path.as_str()).collect();
        self.cache().retain(|path, _| known.contains(path.as_str()));
        found
    }

    /// What lies at a path; none where that is nothing of ours.
    pub fn entry(&self, path: &str) -> Option<Arc<Entry>> {
        let folder = self.root.join(path);
        if folder.join(layout::RUN).is_file() {
            let group = path.rsplit_once("/runs/").map_or("", |(group, _)| group);
            return Some(self.run(&folder, path, group));
        }
        group_kind(&folder)
            .map(|kind| Arc::new(Entry { has_report: has_report(&folder), ..Entry::of_folder(path, kind) }))
    }

    fn walk(&self, folder: &Path, path: &str, group: &str, depth: usize, found: &mut Vec<Arc<Entry>>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            // A link leads to what is found anyway, or out of the store.
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            let folder = entry.path();
            if folder.join(layout::RUN).is_file() {
                found.push(self.run(&folder, &path, group));
            } else if depth < DEPTH_MAX {
                match group_kind(&folder) {
                    Some(kind) => {
                        let has_report = has_report(&folder);
                        let entry = Entry { has_report, ..Entry::of_folder(&path, kind) };
                        found.push(Arc::new(Entry { group: group.to_owned(), ..entry }));
                        self.walk(&folder, &path, &path, depth + 1, found);
                    }
                    None => self.walk(&folder, &path, group, depth + 1, found),
                }
            }
        }
    }

    fn run(&self, folder: &Path, path: &str, group: &str) -> Arc<Entry> {
        let stamp = [layout::VERDICT, layout::RUN].map(|name| stamp_of(&folder.join(name)));
        let cached =
            self.cache().get(path).filter(|(then, entry)| *then == stamp && entry.is_over()).cloned();
        if let Some((_, entry)) = cached {
            return entry;
        }
        let mut entry = read(folder, path);
        entry.group = group.to_owned();
        let entry = Arc::new(entry);
        self.cache().insert(path.to_owned(), (stamp, entry.clone()));
        entry
    }

    /// A thread that panicked while it held the lock left a whole cache.
    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Stamp, Arc<Entry>)>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_report(folder: &Path) -> bool {
    folder.join(layout::REPORT).is_file()
}

fn group_kind(folder: &Path) -> Option<Kind> {
    let has = |name| folder.join(name).exists();
    if has(CAMPAIGN_FILE) {
        Some(Kind::Campaign)
    } else if has(layout::SHRINK) || has(layout::CANDIDATES) {
        Some(Kind::Shrink)
    } else {
        None
    }
}

fn stamp_of(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// `20261122T143732Z-…` as RFC 3339.
fn time_in(name: &str) -> Option<String> {
    let (stamp, _) = name.split_once('-')?;
    let digits = |range: std::ops::Range<usize>| {
        stamp.get(range).filter(|part| part.bytes().all(|b| b.is_ascii_digit()))
    };
    let is_stamp = stamp.len() == 16 && stamp.get(8..9) == Some("T") && stamp.ends_with('Z');
    let parts = [0..4, 4..6, 6..8, 9..11, 11..13, 13..15].map(digits);
    let [Some(y), Some(mo), Some(d), Some(h), Some(mi), Some(s)] = parts else { return None };
    is_stamp.then(|| format!("{y}-{mo}-{d}T{h}:{mi}:{s}Z"))
}

fn read(folder: &Path, path: &str) -> Entry {
    let mut entry = Entry { has_report: has_report(folder), ..Entry::of_folder(path, Kind::Run) };
    // The verdict alone has all of it, and there may be thousands; only without one, or a whole one, run.toml is read.
    let verdict = fs::read(folder.join(layout::VERDICT)).ok();
    if let Some(summary) = verdict.and_then(|text| serde_json::from_slice::<RunSummary>(&text).ok())
        && summary.format_version <= FORMAT_VERSION
    {
        ended(&mut entry, summary);
        return entry;
    }
    let summary = RunFolder::open(folder).and_then(|folder| Ok((folder.read_summary()?, folder.read_run()?)));
    match summary {
        Ok((Some(summary), _)) => ended(&mut entry, summary),
        Ok((None, run)) => {
            entry.started_at = run.started_at;
            entry.faults.clone_from(&run.spec.faults);
            entry.spec = Some(run.spec);
            let (state, sentence) = live::state(folder);
            entry.state = state.word().to_owned();
            entry.mood = if state.is_live() { "live" } else { "doubt" };
            entry.sentence = sentence.to_owned();
        }
        Err(error) => {
            entry.state = "unreadable".into();
            entry.mood = "doubt";
            entry.sentence = error.to_string();
        }
    }
    entry
}

fn ended(entry: &mut Entry, summary: RunSummary) {
    let headline = explain::headline(&summary);
    entry.state = match headline.title.as_str() {
        "Harness failed" => "failed".to_owned(),
        title => title.to_lowercase().replace(' ', "-"),
    };
    entry.mood = match headline.mood {
        Mood::Good => "good",
        Mood::Bad => "bad",
        Mood::Doubt => "doubt",
    };
    entry.sentence = headline.sentence;
    let installed = summary.faults.iter().filter(|fault| fault.installed);
    entry.faults = installed.map(|fault| fault.kind.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    if let Verdict::Invalid { anomalies } = &summary.verdict {
        let names = anomalies.iter().map(|anomaly| anomaly.name.clone());
        entry.anomalies = names.collect::<BTreeSet<_>>().into_iter().collect();
    }
    let totals: Distribution = summary.failovers.iter().filter_map(Failover::total_ns).collect();
    entry.failovers = summary.failovers.len();
    entry.failover_median_ns = totals.quantile_ns(0.5);
    entry.counts = summary.counts;
    entry.wall_s = Some(summary.phases_s.iter().map(|(_, s)| s).sum());
    entry.started_at = summary.started_at;
    entry.spec = Some(summary.spec);
}

/// `12 · 482 ms`: how many failovers, and their median.
pub fn failovers_in_words(entry: &Entry) -> String {
    match (entry.failovers, entry.failover_median_ns) {
        (0, _) => String::new(),
        (n, None) => n.to_string(),
        (n, Some(median)) => format!("{n} · {}", units::duration(median)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_in_a_folders_name_is_read() {
        assert_eq!(time_in("20261122T143732Z-shrink-register-42").as_deref(), Some("2026-11-22T14:37:32Z"));
        for bad in ["runs", "x-y", "20261122T1437é2Z-a", "2026112aT143732Z-a", "20261122T143732-a"] {
            assert_eq!(time_in(bad), None, "{bad}");
        }
    }
}
