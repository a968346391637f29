//! What a run asks of the system it tests, be it real or in memory.

pub mod fake;
pub mod zk_redis;

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Result;
use cluster::event::AgentEvent;
use cluster::reshard::{Goal, Report};
use cluster::store::Store;
use nemesis::byzantine::Strike;
use nemesis::{Arena, Topology};
use results::spec::RunSpec;

use crate::sites::Life;

/// A system raised for one run; goes down when dropped.
///
/// Clients live at *sites*, one thread each. Sites `0..sites()` belong to the workload's clients; the site
/// after them is the harness's own, which no fault ever reaches: it asks whether the cluster is live again.
pub trait Testbed: Arena + Send + Sync + 'static {
    /// What the clients of one site share, e.g. a ZooKeeper session.
    type Site;
    /// One client's connection.
    type Store: Store;

    /// Number of sites for the workload's clients.
    fn sites(&self) -> usize;

    /// Runs `job` on a thread whose sockets are the site's.
    fn enter(&self, site: usize, job: Box<dyn FnOnce() + Send>) -> Result<JoinHandle<()>>;

    /// Prepares a site; called in its thread, within its runtime.
    async fn open(&self, site: usize) -> Result<Self::Site>;

    /// Waits until a site knows a master of every shard; an error if that takes too long.
    async fn await_masters(&self, _site: usize, _at: &Self::Site) -> Result<()> {
        Ok(())
    }

    /// The life of the client at a site.
    fn life(&self, site: usize) -> Arc<Life>;

    /// A new client at a site.
    fn store(&self, site: &Self::Site) -> Self::Store;

    /// A key that no workload uses on every shard that owns keys from the start, in order of shards.
    fn probe_keys(&self) -> Vec<String>;

    /// Changes which shards own keys, and comes back when all keys are where they belong; or with the reason why
    /// not, as soon as `give_up` says so.
    fn reshard(&self, goal: Goal, give_up: Box<dyn Fn() -> bool + Send>) -> Result<Report, String>;

    /// The steps agents have taken since the cluster was raised.
    fn agent_events(&self) -> Result<Vec<AgentEvent>>;

    /// Messages altered since the cluster was raised.
    fn strikes(&self) -> Vec<Strike> {
        Vec::new()
    }

    /// From now on alters messages as a log says, instead of choosing anew.
    fn repeat(&self, _log: Vec<Strike>) {}

    /// What every node looks like now, a line each; for a report on a cluster that did not come back.
    fn diagnose(&self) -> Vec<String>;

    /// Versions of what takes part.
    fn versions(&self) -> Vec<(String, String)>;
}

/// Client nodes of a run: few, so that a cut between client and server strikes several processes at once.
const CLIENT_NODES: u32 = 3;
/// The harness's own node.
const CONTROL: &str = "control";

/// Names of all nodes of a run: `zk1`, `s0r0`, `c0`.
fn topology(spec: &RunSpec) -> Topology {
    let shard = |shard| (0..spec.replicas).map(|replica| format!("s{shard}r{replica}")).collect();
    Topology {
        zookeepers: (1..=spec.zookeepers).map(|n| format!("zk{n}")).collect(),
        shards: (0..crate::reshard::shards_raised(spec)).map(shard).collect(),
        clients: (0..spec.concurrency.clamp(1, CLIENT_NODES)).map(|n| format!("c{n}")).collect(),
    }
}

/// Node of a site; the last one is the harness's own.
fn site_name(topology: &Topology, site: usize) -> String {
    topology.clients.get(site).cloned().unwrap_or_else(|| CONTROL.into())
}

/// For each shard a key it owns that no workload uses.
fn probe_keys(shards: usize, owner: impl Fn(&str) -> Option<u32>) -> Vec<String> {
    let key_of = |shard: u32| (0..).map(|n| format!("probe-{n}")).find(|key| owner(key) == Some(shard));
    (0..shards as u32).map(|shard| key_of(shard).expect("every shard owns some key")).collect()
}
