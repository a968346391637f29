//! The cluster in memory, behind the same client API: no servers, no privileges, any machine.
//!
//! A small model of the real thing: shards of servers with a log each, an agent beside each server, a
//! ZooKeeper ensemble that is nothing but its majority, links that can be cut, delayed or made to lose, and
//! an election that goes through the same steps and says so in the same events. Time is real: an operation takes
//! a few milliseconds, a lease about 300 ms.
//!
//! Without a [`FakeBug`] it is linearizable under any of its faults, because a step counts only when a
//! majority of the shard has it: every read and every write is brought to a majority that follows the
//! master, a new epoch begins when a majority has left the old one, and its master takes over the newest data
//! of those. Servers keep on disk what they have acknowledged, so one that was killed comes back with it, but
//! has no say until it has started, and no part in any acknowledgement until it has caught up with its
//! master.
//!
//! What it leaves out: the packet level (loss shows as retransmission), delays on ZooKeeper's links, what a
//! disk may do.

mod bug;
mod client;
mod coordination;
mod datum;
mod election;
mod net;
mod serve;
mod shard;
mod solo;
mod world;
mod zookeeper;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use thiserror::Error;

pub use bug::FakeBug;
pub use client::FakeClient;
pub use net::{Part, ProcessState};
pub use solo::{Noop, Solo};

use crate::event::AgentEvent;
use net::{Effect, Kind, NodeId};
use shard::Role;
use world::World;

/// How often the fake's time moves on.
const TICK: Duration = Duration::from_millis(5);

/// What a fake cluster is made of. Numbers below 1 count as 1.
#[derive(Debug, Clone, PartialEq)]
pub struct FakeOptions {
    /// Number of shards, `s0`, `s1`, ….
    pub shards: u32,
    /// Servers per shard, master included: `s0r0`, `s0r1`, ….
    pub replicas: u32,
    /// ZooKeeper servers: `zk1`, `zk2`, ….
    pub zookeepers: u32,
    /// Fixes the small random delays. Interleavings are real and differ from run to run.
    pub seed: u64,
    /// What it does wrong, if anything.
    pub bug: Option<FakeBug>,
    /// How long a master's lease outlives its last renewal; up to a third is added at random.
    pub lease: Duration,
}

impl Default for FakeOptions {
    /// 2 shards of 3, 3 ZooKeeper servers, 300 ms of lease, no bug.
    fn default() -> Self {
        let lease = Duration::from_millis(300);
        FakeOptions { shards: 2, replicas: 3, zookeepers: 3, seed: 0, bug: None, lease }
    }
}

/// Why the fake could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FakeError {
    /// No node of that name.
    #[error("the fake cluster has no node {0}")]
    UnknownNode(String),
    /// The rule is not in force (any more).
    #[error("the fake cluster has no rule {0} in force")]
    UnknownRule(u64),
    /// Only servers of shards have agents.
    #[error("node {0} has no agent: only servers of shards have one")]
    NoAgent(String),
    /// What is dead cannot be paused.
    #[error("node {0} is not running, so it cannot be paused")]
    NotRunning(String),
    /// The name belongs to a server.
    #[error("node {0} is a server and cannot be a client")]
    NotAClient(String),
    /// No bug of that name.
    #[error("unknown bug {0:?}; the fake knows {names}", names = FakeBug::ALL.map(FakeBug::name).join(", "))]
    UnknownBug(String),
}

/// A rule on links that is in force until it is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(u64);

/// What a node is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// Its server, or the client itself.
    pub server: ProcessState,
    /// Its agent; none where there is none.
    pub agent: Option<ProcessState>,
    /// `master`, `replica`, `leader`, `follower` or `client`: what it believes to be.
    pub role: &'static str,
}

/// How a shard is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardStatus {
    /// Which.
    pub shard: u32,
    /// Node of the master that is published, if one is.
    pub master: Option<String>,
    /// Its epoch, or the last one.
    pub epoch: u64,
    /// Would a write be acknowledged now?
    pub writable: bool,
    /// What keeps it from being whole, a line each; empty when every server runs and follows.
    pub trouble: Vec<String>,
}

/// A running fake cluster. Clones are handles on the same one; it ends with the last of them.
#[derive(Debug, Clone)]
pub struct FakeCluster {
    world: Arc<Mutex<World>>,
}

impl FakeCluster {
    /// Starts one. Its shards have no master yet: that takes an election, about 50 ms.
    pub fn start(options: &FakeOptions) -> Self {
        let world = Arc::new(Mutex::new(World::new(options)));
        let weak = Arc::downgrade(&world);
        std::thread::spawn(move || keep_time(&weak));
        FakeCluster { world }
    }

    /// A client on the node of that name, which is made if there is none.
    pub fn client(&self, node: &str) -> Result<FakeClient, FakeError> {
        let id = {
            let nodes = &mut self.world().nodes;
            let id = nodes.find(node).unwrap_or_else(|_| nodes.add(node.to_owned(), Kind::Client));
            match nodes.get(id).kind {
                Kind::Client => id,
                Kind::Zookeeper | Kind::Replica { .. } => return Err(FakeError::NotAClient(node.to_owned())),
            }
        };
        Ok(FakeClient::new(self.clone(), id))
    }

    /// Names of all nodes: ZooKeeper servers, shards' servers, then clients as they came.
    pub fn nodes(&self) -> Vec<String> {
        self.world().nodes.iter().map(|(_, node)| node.name.clone()).collect()
    }

    /// Ends a process at once, with every request it has not served. The state it was left in.
    pub fn kill(&self, node: &str, part: Part) -> Result<ProcessState, FakeError> {
        self.world().set_state(node, part, ProcessState::Dead)
    }

    /// Starts a dead process again; no change if it is not dead. A server takes 150 ms until it serves.
    pub fn restart(&self, node: &str, part: Part) -> Result<ProcessState, FakeError> {
        self.world().set_state(node, part, ProcessState::Starting)
    }

    /// Stops a process where it is; an error if it is dead.
    pub fn pause(&self, node: &str, part: Part) -> Result<ProcessState, FakeError> {
        self.world().set_state(node, part, ProcessState::Paused)
    }

    /// Continues a paused process; no change if it is not paused.
    pub fn resume(&self, node: &str, part: Part) -> Result<ProcessState, FakeError> {
        self.world().set_state(node, part, ProcessState::Running)
    }

    /// Drops every message from the first to the second node of each pair.
    pub fn block<'a>(
        &self,
        links: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<RuleId, FakeError> {
        self.install(links, Effect::Block)
    }

    /// Delays every message from the first to the second node of each pair by `base` and up to `jitter`.
    pub fn delay<'a>(
        &self,
        links: impl IntoIterator<Item = (&'a str, &'a str)>,
        base: Duration,
        jitter: Duration,
    ) -> Result<RuleId, FakeError> {
        self.install(links, Effect::Delay { base, jitter })
    }

    /// Loses messages from the first to the second node of each pair with that probability (0 to 1); senders
    /// send again after 50 ms and more.
    pub fn lose<'a>(
        &self,
        links: impl IntoIterator<Item = (&'a str, &'a str)>,
        probability: f64,
    ) -> Result<RuleId, FakeError> {
        self.install(links, Effect::Loss { probability })
    }

    /// How many messages the rule has dropped (or delayed) so far.
    pub fn messages(&self, rule: RuleId) -> Result<u64, FakeError> {
        self.world().links.messages(rule.0).ok_or(FakeError::UnknownRule(rule.0))
    }

    /// Takes the rule away; how many messages it dropped (or delayed).
    pub fn remove(&self, rule: RuleId) -> Result<u64, FakeError> {
        self.world().links.remove(rule.0).ok_or(FakeError::UnknownRule(rule.0))
    }

    /// Undoes every fault: all rules removed, all processes continued or restarted. May be repeated.
    pub fn heal_all(&self) {
        let mut world = self.world();
        world.links.clear();
        world.heal_processes();
    }

    /// How every shard is doing, in order.
    pub fn status(&self) -> Vec<ShardStatus> {
        let world = self.world();
        (0..world.shards.len()).map(|shard| world.status(shard)).collect()
    }

    /// The ZooKeeper server that leads, if one does.
    pub fn zk_leader(&self) -> Option<String> {
        let world = self.world();
        world.zookeeper.leader.map(|leader| world.nodes.get(leader).name.clone())
    }

    /// What a node is doing now.
    pub fn node_state(&self, node: &str) -> Result<NodeState, FakeError> {
        let world = self.world();
        let id = world.nodes.find(node)?;
        let node = world.nodes.get(id);
        let agent = matches!(node.kind, Kind::Replica { .. }).then_some(node.agent);
        Ok(NodeState { server: node.server, agent, role: world.role(id) })
    }

    /// The shard that owns `key`.
    pub fn shard_of(&self, key: &str) -> u32 {
        self.world().shard_of(key) as u32
    }

    /// What agents said since this was last asked, in order.
    pub fn events(&self) -> Vec<AgentEvent> {
        std::mem::take(&mut self.world().events)
    }

    fn install<'a>(
        &self,
        links: impl IntoIterator<Item = (&'a str, &'a str)>,
        effect: Effect,
    ) -> Result<RuleId, FakeError> {
        let mut world = self.world();
        let links: Result<HashSet<(NodeId, NodeId)>, FakeError> = links
            .into_iter()
            .map(|(from, to)| Ok((world.nodes.find(from)?, world.nodes.find(to)?)))
            .collect();
        Ok(RuleId(world.links.install(links?, effect)))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves the fake's time on until nobody holds the cluster any more.
fn keep_time(world: &Weak<Mutex<World>>) {
    let mut last = Instant::now();
    while let Some(world) = world.upgrade() {
        let now = Instant::now();
        world.lock().unwrap_or_else(PoisonError::into_inner).tick(now - last);
        last = now;
        drop(world);
        std::thread::sleep(TICK);
    }
}

impl World {
    fn status(&self, shard: usize) -> ShardStatus {
        let state = &self.shards[shard];
        let name = |index: usize| self.nodes.get(state.replicas[index].node).name.as_str();
        let serving = state.master.filter(|&master| {
            state.replicas[master].role == (Role::Master { epoch: state.epoch })
                && self.nodes.server_runs(state.replicas[master].node)
        });
        let followers =
            serving.map_or_else(Vec::new, |master| state.followers(master, &self.nodes, &self.links));
        let mut trouble = Vec::new();
        if serving.is_none() {
            trouble.push(format!("shard {shard} has no master"));
        }
        for index in (0..state.replicas.len()).filter(|&index| Some(index) != serving) {
            if !followers.contains(&index) {
                trouble.push(format!("{} follows no master", name(index)));
            }
        }
        let writable = serving.is_some() && 1 + followers.len() >= state.majority();
        let master = state.master.map(|master| name(master).to_owned());
        ShardStatus { shard: state.id, master, epoch: state.epoch, writable, trouble }
    }

    fn role(&self, id: NodeId) -> &'static str {
        match self.nodes.get(id).kind {
            Kind::Client => "client",
            Kind::Zookeeper if self.zookeeper.leader == Some(id) => "leader",
            Kind::Zookeeper => "follower",
            Kind::Replica { shard, index } => match self.shards[shard].replicas[index].role {
                Role::Master { .. } => "master",
                Role::Replica { .. } => "replica",
            },
        }
    }
}

#[cfg(test)]
mod tests;
