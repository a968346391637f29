//! One run, as plain data: everything that is needed to do it again. Stored as `run.toml`.

use serde::{Deserialize, Serialize};

/// What one run is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// `zk-redis` or `fake`.
    pub target: String,
    /// Protocol of agents and clients: `hardened`, `course`, `naive`.
    pub variant: String,
    /// Names of the mistakes that are made on purpose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weaken: Vec<String>,
    /// Named bug of the fake cluster, if one is switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bug: Option<String>,
    /// Number of shards.
    pub shards: u32,
    /// Redis servers per shard, the master included.
    pub replicas: u32,
    /// ZooKeeper servers.
    pub zookeepers: u32,
    /// Name of the workload.
    pub workload: String,
    /// Whether a shard is added to the ring and removed again while the clients are at work.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reshard: bool,
    /// Names of the fault families, in order; empty for none. Or the one TOML file they came from.
    pub faults: Vec<String>,
    /// Whether the seed drew which of the families are on, and how hard.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub swarm: bool,
    /// Fixes plan, targets, timing and inputs.
    pub seed: u64,
    /// Seconds of load.
    pub time_limit_s: f64,
    /// Client processes at work at once.
    pub concurrency: u32,
    /// Operations per second asked for, over all processes; 0 = as fast as it goes.
    pub rate: f64,
    /// Replicas that must acknowledge a write (`WAIT n`).
    pub wait: u32,
    /// `master` or `replica`: where reads go.
    pub reads: String,
    /// How far a replica's reads may be behind where they are judged at that, seconds.
    #[serde(default = "staleness_s_default")]
    pub staleness_s: f64,
    /// Milliseconds for which a master's lease lasts: how soon agents suspect silence.
    pub lease_ms: u64,
    /// Milliseconds after which a client gives a call up.
    pub op_timeout_ms: u64,
    /// Seconds after the last heal within which every shard must take writes again.
    pub converge_s: f64,
    /// End the load as soon as the history so far breaks the promise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop_at_first: bool,
    /// Capture all packets to `capture.pcapng`.
    #[serde(default)]
    pub capture: bool,
    /// TLS on every link of Redis and ZooKeeper.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// Clients and Redis prove their requests and replies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub authenticated: bool,
}

/// What a run without the key was judged at.
fn staleness_s_default() -> f64 {
    5.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_from_before_the_staleness_was_recorded_is_read() {
        let text = "target = 'fake'\nvariant = 'course'\nshards = 2\nreplicas = 3\nzookeepers = 3\nworkload = 'register'\n\
                    faults = ['kill']\nseed = 7\ntime_limit_s = 5.0\nconcurrency = 12\nrate = 400.0\nwait = 1\n\
                    reads = 'master'\nlease_ms = 400\nop_timeout_ms = 500\nconverge_s = 20.0\n";
        let spec: RunSpec = toml::from_str(text).unwrap();
        assert_eq!(spec.staleness_s, 5.0);
        assert_eq!(toml::from_str::<RunSpec>(&toml::to_string(&spec).unwrap()).unwrap(), spec);
    }
}
