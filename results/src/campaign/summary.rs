//! `campaign.json`: how a campaign stands. Its schema is documented in `docs/campaigns.md`.

use serde::{Deserialize, Serialize};

use super::line::{Ended, RunLine};
use super::plan::{Expectation, Shard};
use crate::units;

/// How a campaign stands, all in one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CampaignSummary {
    /// Version of this file.
    pub schema_version: u32,
    /// Name of the campaign.
    pub name: String,
    /// What it is for; may be empty.
    pub about: String,
    /// Equal for campaigns of equal plans.
    pub id: String,
    /// The campaign file, as it was given.
    pub file: String,
    /// When it was planned, RFC 3339, UTC.
    pub started_at: String,
    /// When its last run ended, or when it was planned if none has.
    pub ended_at: String,
    /// Version of shardstorm that wrote this.
    pub version: String,
    /// Which part of the plan this is; all of it if none.
    pub shard: Option<Shard>,
    /// Shards that were not there when the others were joined.
    pub missing_shards: Vec<u32>,
    /// Running, complete, or stopped.
    pub state: State,
    /// Why no more was started; empty unless stopped.
    pub stopped: String,
    /// The exit code that follows.
    pub exit_code: i32,
    /// One sentence.
    pub sentence: String,
    /// Cells, by how they stand.
    pub counts: Counts,
    /// A row for each target, variant, workload, mix of faults and expectation, in order of the plan.
    pub groups: Vec<Group>,
    /// Every cell, in order of the plan.
    pub cases: Vec<Case>,
}

/// Whether more is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Runs are under way, or were when the process that drove them died.
    Running,
    /// Every run has ended.
    Complete,
    /// Some were left out; `campaign resume` makes up for it.
    Stopped,
}

/// Cells, by how they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// In the plan, or in this shard's part of it.
    pub planned: u32,
    /// As expected.
    pub as_expected: u32,
    /// A violation was expected and did not show.
    pub missed: u32,
    /// Otherwise than expected.
    pub unexpected: u32,
    /// Not run.
    pub not_run: u32,
    /// Runs in all, those that were repeated included.
    pub runs: u32,
}

/// A share that was counted, with the interval in which it lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// So many …
    pub hits: u32,
    /// … of so many.
    pub of: u32,
    /// Lower end, 0 to 1 (Wilson 1927).
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Cells that differ in seed, duration and turn only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Target.
    pub target: String,
    /// Variant.
    pub variant: String,
    /// Workload.
    pub workload: String,
    /// Mix of faults.
    pub faults: String,
    /// What is expected of each.
    pub expectation: Expectation,
    /// Cells planned.
    pub planned: u32,
    /// First runs that ended as expected, of those that ended. Runs that were repeated count once.
    pub as_expected: Rate,
    /// First runs by verdict: valid, invalid, not live, unknown, error.
    pub verdicts: Vec<(Ended, u32)>,
    /// Whether it showed often enough; none while that is open, and where every run has to end so.
    pub often_enough: Option<bool>,
    /// Seconds of all its runs.
    pub wall_s: f64,
}

/// One cell with all its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Its place in the plan, from 0.
    pub index: u32,
    /// Name of its row: target, variant, workload and mix of faults.
    pub suite: String,
    /// The rest of its name.
    pub name: String,
    /// Seed.
    pub seed: u64,
    /// Seconds of load.
    pub duration_s: f64,
    /// How it stands.
    pub stands: Standing,
    /// The worst that is not as expected, or how its first run ended; none if it was not run.
    pub verdict: Option<Ended>,
    /// How often the same came back in further runs; none if there were none.
    pub again: Option<Rate>,
    /// Its runs; the first, then those that followed because it had ended otherwise than expected.
    pub runs: Vec<RunLine>,
}

/// How a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// As expected.
    AsExpected,
    /// A violation was expected and did not show.
    Missed,
    /// Otherwise than expected.
    Unexpected,
    /// Not run.
    NotRun,
}

impl Rate {
    /// `3 of 4 (30 to 95 %)`.
    pub fn words(&self) -> String {
        format!("{} of {} ({:.0} to {:.0} %)", self.hits, self.of, self.low * 100.0, self.high * 100.0)
    }
}

impl Case {
    /// The worst of its runs that did not end as expected: a violation before a crash, a crash before a doubt.
    pub fn worst(&self) -> Option<&RunLine> {
        let rank = |line: &RunLine| match line.verdict {
            Ended::Invalid => 4,
            Ended::Error => 3,
            Ended::NotLive => 2,
            Ended::Unknown => 1,
            Ended::Valid => 0,
        };
        let not_expected = |line: &&RunLine| line.outcome == super::Outcome::Unexpected;
        // The first of equals: later runs repeat it.
        self.runs.iter().filter(not_expected).rev().max_by_key(|line| rank(line))
    }

    /// What further runs said of it: a flake, or something that comes back. Empty where there were none.
    pub fn again_words(&self) -> String {
        let Some(rate) = &self.again else { return String::new() };
        let percent = format!("95 % interval {:.0} to {:.0} %", rate.low * 100.0, rate.high * 100.0);
        let further = units::plural(u64::from(rate.of), "further run");
        match rate.hits {
            0 => format!("did not come back in {further} ({percent})"),
            hits if hits == rate.of => format!("came back in all of {further} ({percent})"),
            hits => format!("came back in {hits} of {further} ({percent})"),
        }
    }

    /// Seconds of all its runs.
    pub fn wall_s(&self) -> f64 {
        self.runs.iter().map(|line| line.wall_s).sum()
    }
}

impl Group {
    /// Name of the row.
    pub fn suite(&self) -> String {
        format!("{} {} {} {}", self.target, self.variant, self.workload, self.faults)
    }

    /// Whether what is expected has only to come often enough, not every time.
    pub fn counts_share(&self) -> bool {
        self.expectation.verdict == super::Expected::Invalid
    }
}
