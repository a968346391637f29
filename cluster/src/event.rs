//! Event lines: one JSON object a line for every step an agent takes.

use serde::{Deserialize, Serialize};

/// A step of the failover protocol.
///
/// The agent that wins epoch `e` writes, in this order: `suspected` and `lease_lost` of `e - 1` (not for the
/// first master of all), `proposed`, `elected`, `fenced` and `promoted` of `e`. The others write `following`,
/// that of the old master `demoted` before. Several agents suspect and propose. After a false alarm
/// `suspected`, `lease_lost` and `proposed` may come again for the same epoch: those that led to `elected` are
/// the last before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The agent is up, its ZooKeeper session made.
    Started,
    /// The agent has reason to believe that the master does not serve.
    Suspected,
    /// The master's lease is gone (deleted, expired, or no longer renewed).
    LeaseLost,
    /// The agent proposed itself for the next epoch.
    Proposed,
    /// Its proposal won: the next epoch is its own.
    Elected,
    /// The predecessor was told to stop, or could not be reached; see `detail`.
    Fenced,
    /// Its Redis is master and the epoch is published.
    Promoted,
    /// Its Redis follows the master of this epoch.
    Following,
    /// Its Redis was master and is no longer.
    Demoted,
}

impl Step {
    /// As it stands in an event line.
    pub fn name(self) -> &'static str {
        match self {
            Step::Started => "started",
            Step::Suspected => "suspected",
            Step::LeaseLost => "lease_lost",
            Step::Proposed => "proposed",
            Step::Elected => "elected",
            Step::Fenced => "fenced",
            Step::Promoted => "promoted",
            Step::Following => "following",
            Step::Demoted => "demoted",
        }
    }
}

/// One event line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentEvent {
    /// `CLOCK_MONOTONIC` of the machine, nanoseconds.
    pub mono_ns: u64,
    /// Wall clock, nanoseconds since 1970.
    pub wall_ns: u64,
    /// Shard the agent belongs to.
    pub shard: u32,
    /// Node the agent runs on.
    pub node: String,
    /// What it did.
    pub step: Step,
    /// Epoch the step belongs to: for `suspected` and `lease_lost` the epoch that ends, for the others the
    /// epoch that begins.
    pub epoch: u64,
    /// Why or how, for people: `redis refused the connection`, `wait 0 of 1`, `offset 1204`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}
