//! Event lines: one JSON object a line for every step an agent takes.

use serde::{Deserialize, Serialize};

/// A step of the failover protocol.
///
/// From epoch `e - 1` to epoch `e`: some agents write `suspected` of `e - 1`; the one whose proposal is accepted
/// writes `lease_lost` of `e - 1` and `proposed` of `e`; every agent that is reached writes `fenced` of `e`
/// (`demoted` too if its Redis was master) and `voted`; the one that counts the votes writes `elected`; the
/// chosen one `promoted`, the others `following`. A restarted Redis that counts again is `admitted`. An
/// epoch that is overtaken by the next proposal is never `elected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The agent is up, its ZooKeeper session made.
    Started,
    /// The agent has reason to believe that the master does not serve.
    Suspected,
    /// The master's lease is over: it was not renewed, or the master's agent gave up.
    LeaseLost,
    /// Its proposal of the next epoch was accepted.
    Proposed,
    /// The votes are counted and the next master is chosen.
    Elected,
    /// Its Redis serves nobody and follows nobody of an older epoch.
    Fenced,
    /// It has said where the data of its Redis stands.
    Voted,
    /// Its Redis is master and the epoch is published.
    Promoted,
    /// Its Redis follows the master of this epoch.
    Following,
    /// Its Redis was master and is no longer.
    Demoted,
    /// Its Redis, which had been restarted, holds all the data again and votes.
    Admitted,
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
            Step::Voted => "voted",
            Step::Admitted => "admitted",
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
