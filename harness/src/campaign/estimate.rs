//! How long runs will take: by rule of thumb, or as earlier ones of the store did.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use results::campaign::Cell;
use results::layout::{RUNS, VERDICT};
use serde::Deserialize;

/// Earlier runs that are looked at, the newest first.
const LOOKED_AT_MAX: usize = 200;

/// Seconds that a run takes besides its load: raise, settle, take down, judge and draw. What shards are balanced by.
pub fn rule_of_thumb(target: &str, duration_s: f64) -> f64 {
    let fixed = if target == "fake" { 0.5 } else { 5.0 };
    fixed + 0.02 * duration_s
}

/// Seconds besides the load, by target.
#[derive(Debug, Clone, Default)]
pub struct Estimates {
    /// Target, median, and how many runs it is of.
    seen: HashMap<String, (f64, usize)>,
}

/// As much of a run's summary as tells how long it took.
#[derive(Deserialize)]
struct Glance {
    spec: Spec,
    phases_s: Vec<(String, f64)>,
    cut_short: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Spec {
    target: String,
    time_limit_s: f64,
}

impl Estimates {
    /// Looks at the newest runs of a store and of the campaigns in it.
    pub fn of_store(store: &Path) -> Estimates {
        let folders = |store: &Path| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(store).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).filter(|path| !path.is_symlink()).collect()
        };
        let mut runs = folders(store);
        let campaigns: Vec<PathBuf> =
            runs.iter().map(|path| path.join(RUNS)).filter(|path| path.is_dir()).collect();
        runs.extend(campaigns.iter().flat_map(|store| folders(store)));
        let mut runs: Vec<PathBuf> =
            runs.into_iter().map(|run| run.join(VERDICT)).filter(|file| file.is_file()).collect();
        // Names begin with the time.
        let name = |path: &PathBuf| path.parent().and_then(Path::file_name).map(ToOwned::to_owned);
        runs.sort_by_key(|path| std::cmp::Reverse(name(path)));
        let mut besides: HashMap<String, Vec<f64>> = HashMap::new();
        for file in runs.iter().take(LOOKED_AT_MAX) {
            let Some(glance) =
                std::fs::read(file).ok().and_then(|text| serde_json::from_slice::<Glance>(&text).ok())
            else {
                continue;
            };
            if glance.cut_short.is_none() && glance.error.is_none() {
                let all: f64 = glance.phases_s.iter().map(|(_, seconds)| seconds).sum();
                besides
                    .entry(glance.spec.target)
                    .or_default()
                    .push((all - glance.spec.time_limit_s).max(0.0));
            }
        }
        let seen = besides.into_iter().map(|(target, mut all)| {
            all.sort_by(f64::total_cmp);
            // What is not in a phase: the process, its plan, its drawings.
            (target, (all[all.len() / 2] + 0.3, all.len()))
        });
        Estimates { seen: seen.collect() }
    }

    /// Seconds that a run of the cell will take.
    pub fn seconds(&self, cell: &Cell) -> f64 {
        match self.seen.get(&cell.target) {
            Some((besides, _)) => cell.duration_s + besides,
            None => cell.estimate_s,
        }
    }
}

impl fmt::Display for Estimates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seen: Vec<_> = self.seen.iter().collect();
        seen.sort_by_key(|(target, _)| *target);
        let mut words: Vec<String> = seen
            .iter()
            .map(|(target, (besides, n))| {
                format!(
                    "{besides:.1} s for {target} (median of {})",
                    results::units::plural(*n as u64, "earlier run")
                )
            })
            .collect();
        for target in ["zk-redis", "fake"].iter().filter(|target| !self.seen.contains_key(**target)) {
            words.push(format!("{:.1} s for {target} (by rule of thumb)", rule_of_thumb(target, 10.0)));
        }
        f.write_str(&words.join(", "))
    }
}
