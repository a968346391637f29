//! What a run asks of the system it tests, be it real or in memory.

pub mod fake;
pub mod zk_redis;

use std::thread::JoinHandle;

use anyhow::Result;
use cluster::event::AgentEvent;
use cluster::store::Store;
use nemesis::Arena;

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
    #[expect(async_fn_in_trait, reason = "sites live on current-thread runtimes")]
    async fn open(&self, site: usize) -> Result<Self::Site>;

    /// A new client at a site.
    fn store(&self, site: &Self::Site) -> Self::Store;

    /// A key on every shard that no workload uses, in order of shards.
    fn probe_keys(&self) -> Vec<String>;

    /// The steps agents have taken since the cluster was raised.
    fn agent_events(&self) -> Result<Vec<AgentEvent>>;

    /// What every node looks like now, a line each; for a report on a cluster that did not come back.
    fn diagnose(&self) -> Vec<String>;

    /// Versions of what takes part.
    fn versions(&self) -> Vec<(String, String)>;
}
