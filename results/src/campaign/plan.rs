//! `plan.json`: every run of a campaign, in order, before any of them starts.

use serde::{Deserialize, Serialize};

/// All that is settled before the first run, and does not change after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CampaignPlan {
    /// Version of this file.
    pub schema_version: u32,
    /// Name of the campaign.
    pub name: String,
    /// What it is for, in a line; may be empty.
    #[serde(default)]
    pub about: String,
    /// A hash of all that the runs follow from: plans with equal ids are of the same campaign.
    pub id: String,
    /// The campaign file, as it was given.
    pub file: String,
    /// When it was planned, RFC 3339, UTC.
    pub planned_at: String,
    /// Which part of the plan this folder is for; all of it if none.
    pub shard: Option<Shard>,
    /// When no more is started.
    #[serde(default)]
    pub limits: Limits,
    /// What is expected of cells, which name one by its place.
    pub expectations: Vec<Expectation>,
    /// Every run in order, those of other shards included.
    pub cells: Vec<Cell>,
}

/// One part of a plan that is split over machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Its number, from 1.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

/// When a campaign starts no more runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Seconds after which nothing is started that would not end in time.
    pub total_s: Option<f64>,
    /// Cells that ended otherwise than expected.
    pub failures: Option<u32>,
}

/// One run of the plan; it may be repeated when it ends otherwise than expected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Its place in the plan, from 0.
    pub index: u32,
    /// Target.
    pub target: String,
    /// Variant, as the campaign file names it.
    pub variant: String,
    /// Workload.
    pub workload: String,
    /// Mix of faults, as the campaign file names it.
    pub faults: String,
    /// Seconds of load.
    pub duration_s: f64,
    /// Seed.
    pub seed: u64,
    /// Which of several runs with all this equal, from 1.
    pub turn: u32,
    /// What sets it apart from its like beside the axes: `rate=100`; mostly empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// Flags of `shardstorm run`, but for `--store` and a file of faults.
    pub flags: Vec<String>,
    /// The file of faults, by its name in the campaign folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults_file: Option<String>,
    /// What is expected, by its place in the plan.
    pub expectation: usize,
    /// Further runs if it ends otherwise.
    pub rerun: u32,
    /// Seconds it will take, as far as the plan alone can tell: what shards are balanced by.
    pub estimate_s: f64,
    /// The shard it belongs to, from 1.
    pub shard: u32,
}

/// How cells have to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// The verdict.
    pub verdict: Expected,
    /// Of an invalid one: a run counts when it shows one of these; any will do if there are none.
    #[serde(default)]
    pub anomalies: Vec<String>,
    /// The share of the runs that have to end so, 0 to 1.
    pub at_least: f64,
}

/// A verdict that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// Nothing wrong, and live again in time.
    Valid,
    /// A violation: of a variant known to be weak.
    Invalid,
    /// Any verdict at all; only a run without one is a failure.
    Any,
}

impl CampaignPlan {
    /// The cells this folder is for, in order.
    pub fn own(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| self.shard.is_none_or(|shard| cell.shard == shard.index))
    }

    /// What is expected of a cell.
    pub fn expectation(&self, cell: &Cell) -> Option<&Expectation> {
        self.expectations.get(cell.expectation)
    }
}

impl Cell {
    /// What cells of one table row and one test suite have in common.
    pub fn suite(&self) -> String {
        format!("{} {} {} {}", self.target, self.variant, self.workload, self.faults)
    }

    /// The rest of its name: `seed 3, 10 s`, and what else sets it apart.
    pub fn case(&self) -> String {
        let turn = if self.turn > 1 { format!(", turn {}", self.turn) } else { String::new() };
        let label = if self.label.is_empty() { String::new() } else { format!(", {}", self.label) };
        format!("seed {}, {} s{turn}{label}", self.seed, self.duration_s)
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.suite(), self.case())
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl std::fmt::Display for Expectation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.verdict {
            Expected::Valid => f.write_str("valid"),
            Expected::Any => f.write_str("any verdict"),
            Expected::Invalid => {
                f.write_str("invalid")?;
                if !self.anomalies.is_empty() {
                    write!(f, " ({})", self.anomalies.join(" or "))?;
                }
                match self.at_least {
                    1.0 => Ok(()),
                    share => write!(f, " in at least {:.0} % of the runs", share * 100.0),
                }
            }
        }
    }
}
