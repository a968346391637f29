//! `verdict.json`: what people, CI and the index want first; readable without loading the history.

use std::collections::BTreeMap;

use checker::{FaultRecord, Verdict};
use serde::{Deserialize, Serialize};

use crate::availability::Outage;
use crate::failover::{Bar, Phase};
use crate::spec::RunSpec;
use crate::strikes::StrikeTally;

/// The end of a run in one small file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Format of the run folder this was written in.
    pub format_version: u32,
    /// What was run.
    pub spec: RunSpec,
    /// When the run began, RFC 3339, UTC.
    pub started_at: String,
    /// Versions of what took part, name to version: `shardstorm`, `commit`, `redis`, `zookeeper`, `java`, `kernel`.
    pub versions: Vec<(String, String)>,
    /// All checkers merged.
    pub verdict: Verdict,
    /// Each checker's own verdict, by name.
    pub checkers: Vec<(String, Verdict)>,
    /// Did every shard take writes again after the last heal?
    pub liveness: Liveness,
    /// What was seen although nothing was promised about it, each a sentence.
    #[serde(default)]
    pub observations: Vec<String>,
    /// Counts of operations.
    pub counts: Counts,
    /// Every fault with its evidence.
    pub faults: Vec<FaultRecord>,
    /// What was done to messages on their way, and what came of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strikes: Vec<StrikeTally>,
    /// Every failover, timed.
    pub failovers: Vec<Failover>,
    /// When clients were without service, per shard, reads and writes apart.
    #[serde(default)]
    pub outages: Vec<Outage>,
    /// Seconds spent in each phase of the run, in order: `raise`, `load`, `settle`, `judge`, ….
    pub phases_s: Vec<(String, f64)>,
    /// Was the run cut short (Ctrl-C, harness died)? The reason, or none.
    pub cut_short: Option<String>,
    /// The harness's own failure, if it failed: such a run has no verdict of its own.
    pub error: Option<String>,
    /// The command that repeats the run.
    pub command: String,
    /// The exit code the run ended with.
    pub exit_code: i32,
}

/// Safety first, then liveness within a stated bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "liveness", rename_all = "kebab-case")]
pub enum Liveness {
    /// Every shard took a write again so many seconds after the last heal.
    Live {
        /// Seconds from the last heal to the last shard's first acknowledged write.
        after_s: f64,
    },
    /// The bound passed first.
    NotLive {
        /// The bound, seconds.
        bound_s: f64,
        /// What was still wrong, one line per shard or node.
        why: Vec<String>,
    },
    /// Not judged: the run ended before.
    NotJudged,
}

impl Liveness {
    /// The same, unless something else is not done: that counts as much, within the same bound.
    pub fn and_unless(self, bound: std::time::Duration, undone: Vec<String>) -> Liveness {
        match self {
            _ if undone.is_empty() => self,
            Liveness::NotLive { bound_s, why } => Liveness::NotLive { bound_s, why: [undone, why].concat() },
            Liveness::Live { .. } | Liveness::NotJudged => {
                Liveness::NotLive { bound_s: bound.as_secs_f64(), why: undone }
            }
        }
    }
}

/// How many operations, by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Invocations.
    pub invoked: u64,
    /// Took effect.
    pub ok: u64,
    /// Certainly did not.
    pub fail: u64,
    /// Nobody can say (calls without a completion line included).
    pub info: u64,
}

/// One change of master, timed on the run clock (nanoseconds). A phase that was not seen is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Failover {
    /// Shard.
    pub shard: u32,
    /// The epoch that began.
    pub epoch: u64,
    /// Node that was master before.
    pub from: Option<String>,
    /// Node that is master now.
    pub to: String,
    /// The fault that is held to be its cause: the latest installed one on that shard's master, agent or
    /// on ZooKeeper that began before the first suspicion.
    pub fault: Option<u64>,
    /// When that fault struck.
    pub fault_ns: Option<u64>,
    /// First agent that suspected the old master.
    pub suspected_ns: Option<u64>,
    /// The lease seen gone.
    pub lease_lost_ns: Option<u64>,
    /// The servers that take part serve nobody of the old epoch.
    #[serde(default)]
    pub fenced_ns: Option<u64>,
    /// The new epoch was won.
    pub elected_ns: Option<u64>,
    /// The new master serves.
    pub promoted_ns: Option<u64>,
    /// Every replica that could follows it.
    #[serde(default)]
    pub following_ns: Option<u64>,
    /// First write of the new epoch acknowledged to a client (completion time).
    pub first_ack_ns: Option<u64>,
    /// The shard answers as often as before the fault.
    #[serde(default)]
    pub full_rate_ns: Option<u64>,
    /// How well each of these marks is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bars: BTreeMap<Phase, Bar>,
    /// How long clients were without service of the shard, within this failover; none in old folders.
    #[serde(default)]
    pub down: Option<Down>,
    /// Acknowledged writes that it lost, at least; none where that was not told.
    #[serde(default)]
    pub lost_writes: Option<u64>,
    /// Stale reads around it, at least; none where that was not told.
    #[serde(default)]
    pub stale_reads: Option<u64>,
}

/// Time without service as clients saw it, reads and writes apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Down {
    /// Nanoseconds in which no write was acknowledged although some were asked for.
    pub writes_ns: u64,
    /// The same of reads.
    pub reads_ns: u64,
}

/// One agent event on the run clock; a line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeEvent {
    /// Nanoseconds of the run clock; may be negative for what happened while the cluster was raised.
    pub time_ns: i64,
    /// Shard.
    pub shard: u32,
    /// Node.
    pub node: String,
    /// `suspected`, `lease_lost`, `proposed`, `elected`, `fenced`, `promoted`, `following`, `demoted`, `started`.
    pub step: String,
    /// Epoch.
    pub epoch: u64,
    /// For people.
    #[serde(default)]
    pub detail: String,
}
