//! A client of the fake cluster: finds the master, sends, waits, and says honestly what it knows.

use std::time::Duration;

use rand::RngExt;

use super::FakeCluster;
use super::bug::FakeBug;
use super::net::{Fate, NodeId, ProcessState, retransmit_after};
use super::serve::{Request, Served};
use super::shard::Role;
use super::world::{Late, World};
use crate::client::ReadFrom;
use crate::store::{Answer, CallError, Command, Reply, ServedBy, Store};

/// How long one message is under way on a good day.
const HOP_US: std::ops::Range<u64> = 100..500;
/// How often a client looks again at a server or at itself while that stands still.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Where a shard's master is, as one client knows it.
#[derive(Debug, Clone, Copy)]
struct View {
    master: Option<NodeId>,
    epoch: u64,
}

/// One client of a [`FakeCluster`], bound to one of its client nodes.
#[derive(Debug)]
pub struct FakeClient {
    pub(super) cluster: FakeCluster,
    pub(super) node: NodeId,
    read_from: ReadFrom,
    views: Vec<Option<View>>,
    /// Its session at the ensemble, once it was needed.
    pub(super) session: Option<u64>,
}

impl FakeClient {
    pub(super) fn new(cluster: FakeCluster, node: NodeId) -> Self {
        let shards = cluster.world().shards.len();
        FakeClient { cluster, node, read_from: ReadFrom::Master, views: vec![None; shards], session: None }
    }

    /// The same client, but its reads go there. A replica answers as long as it follows the master and has it in
    /// reach, and may be some milliseconds behind.
    pub fn reading_from(mut self, read_from: ReadFrom) -> Self {
        self.read_from = read_from;
        self
    }

    /// The request's way there, its service, and the answer's way back.
    async fn exchange(&mut self, to: NodeId, request: Request) -> Result<Answer, CallError> {
        let delay = self.travel(self.node, to).await;
        let mut sent = Sent::new(&self.cluster, to, request, delay);
        self.hop(delay).await;
        let served = sent.wait_until_served().await;
        drop(sent);
        let incarnation = self.cluster.world().nodes.get(to).incarnation;
        tokio::time::sleep(served.after).await;
        let delay = self.travel(to, self.node).await;
        self.hop(delay).await;
        self.while_paused().await;
        let answer = served.answer?;
        let world = self.cluster.world();
        let node = world.nodes.get(to);
        if node.server == ProcessState::Dead || node.incarnation != incarnation {
            return Err(CallError::indefinite("connection reset"));
        }
        Ok(answer)
    }

    /// Where `request` goes: to the master, as far as this client knows.
    fn route(&mut self, request: &Request) -> Result<(NodeId, ServedBy), CallError> {
        let mut world = self.cluster.world();
        if world.nodes.get(self.node).server == ProcessState::Dead {
            return Err(CallError::definite("client down"));
        }
        let shard = world.shard_of(&request.key);
        let view = self.look_up(&world, shard);
        self.views[shard] = view;
        let view = view.ok_or_else(|| CallError::definite("no ZooKeeper in reach"))?;
        let mut to = view.master.ok_or_else(|| CallError::definite("no master"))?;
        if world.bug == Some(FakeBug::StaleRead) && request.command.is_read() {
            to = any_replica(&mut world, shard, to);
        } else if request.at_replica {
            to = linked_replica(&mut world, shard).unwrap_or(to);
        }
        let node = world.nodes.get(to).name.clone();
        Ok((to, ServedBy { shard: shard as u32, epoch: view.epoch, node }))
    }

    /// What ZooKeeper says if it can be asked, else what was known before.
    fn look_up(&self, world: &World, shard: usize) -> Option<View> {
        let known = self.views[shard];
        if !world.zookeeper.serves(self.node, &world.nodes, &world.links) {
            return known;
        }
        let state = &world.shards[shard];
        let master = state.master.map(|master| state.replicas[master].node);
        let view = View { master, epoch: state.epoch };
        Some(self.deposed_master(world, shard).unwrap_or(view))
    }

    /// The bug `split-brain`: half of the clients ask whoever says first that it is master.
    fn deposed_master(&self, world: &World, shard: usize) -> Option<View> {
        if world.bug != Some(FakeBug::SplitBrain) || self.node.is_multiple_of(2) {
            return None;
        }
        let state = &world.shards[shard];
        state.replicas.iter().find_map(|replica| match replica.role {
            Role::Master { epoch }
                if epoch < state.epoch
                    && world.nodes.server_runs(replica.node)
                    && world.links.connected(self.node, replica.node) =>
            {
                Some(View { master: Some(replica.node), epoch })
            }
            Role::Master { .. } | Role::Replica { .. } => None,
        })
    }

    /// Gets one message from `from` to `to`, however often it must be sent again; how long it is under way.
    async fn travel(&self, from: NodeId, to: NodeId) -> Duration {
        for attempt in 0.. {
            let fate = {
                let world = &mut *self.cluster.world();
                world.links.send(from, to, &mut world.rng)
            };
            match fate {
                Fate::Arrives { after } => return after,
                Fate::Dropped => tokio::time::sleep(retransmit_after(attempt)).await,
            }
        }
        unreachable!("attempts do not run out")
    }

    pub(super) async fn hop(&self, delay: Duration) {
        let hop_us = self.cluster.world().rng.random_range(HOP_US);
        tokio::time::sleep(Duration::from_micros(hop_us) + delay).await;
    }

    pub(super) async fn while_paused(&self) {
        while self.cluster.world().nodes.get(self.node).server == ProcessState::Paused {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// A replica the request may as well be sent to.
fn any_replica(world: &mut World, shard: usize, master: NodeId) -> NodeId {
    let replicas = &world.shards[shard].replicas;
    let at = world.rng.random_range(0..replicas.len());
    let node = replicas[at].node;
    if world.nodes.server_runs(node) { node } else { master }
}

/// A replica that is linked to the master, if there is one.
fn linked_replica(world: &mut World, shard: usize) -> Option<NodeId> {
    let state = &world.shards[shard];
    let linked = state.followers(state.master?, &world.nodes, &world.links);
    let at = linked.get(world.rng.random_range(0..linked.len().max(1)))?;
    Some(state.replicas[*at].node)
}

/// A request that is on its way or waits at its server. If its client gives up, it may still be served.
struct Sent {
    cluster: FakeCluster,
    to: NodeId,
    incarnation: u64,
    due_ns: u64,
    request: Option<Request>,
}

impl Sent {
    fn new(cluster: &FakeCluster, to: NodeId, request: Request, delay: Duration) -> Self {
        let (incarnation, due_ns) = {
            let world = cluster.world();
            (world.nodes.get(to).incarnation, world.now_ns + delay.as_nanos() as u64)
        };
        Sent { cluster: cluster.clone(), to, incarnation, due_ns, request: Some(request) }
    }

    async fn wait_until_served(&mut self) -> Served {
        let mut first_look = true;
        while self.cluster.world().nodes.get(self.to).server == ProcessState::Paused {
            first_look = false;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let mut world = self.cluster.world();
        let node = world.nodes.get(self.to);
        // From here on nothing waits: the request is served in this poll or never.
        match self.request.take() {
            Some(request) if node.server == ProcessState::Running && node.incarnation == self.incarnation => {
                world.duplicate(self.to, &request);
                world.serve(self.to, &request)
            }
            _ if first_look => Served::at_once(Err(CallError::definite("connection refused"))),
            _ => Served::at_once(Err(CallError::indefinite("connection reset"))),
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let Some(request) = self.request.take() else { return };
        let late = Late { due_ns: self.due_ns, node: self.to, incarnation: self.incarnation, request };
        self.cluster.world().late.push(late);
    }
}

impl Store for FakeClient {
    async fn execute(&mut self, key: &str, command: &Command) -> Reply<Answer> {
        let at_replica = self.read_from == ReadFrom::Replica && command.is_read();
        let request = Request { key: key.to_owned(), command: command.clone(), at_replica };
        self.while_paused().await;
        match self.route(&request) {
            Ok((to, served_by)) => {
                Reply { result: self.exchange(to, request).await, served_by: Some(served_by) }
            }
            Err(error) => {
                self.hop(Duration::ZERO).await;
                Reply { result: Err(error), served_by: None }
            }
        }
    }
    async fn acquire(&mut self, lock: &str, patience: Duration) -> Reply<i64> {
        self.take_lock(lock, patience).await
    }

    async fn release(&mut self, lock: &str, token: i64) -> Reply<()> {
        self.give_lock_back(lock, token).await
    }

    async fn join(&mut self, group: &str, member: &str) -> Reply<u64> {
        self.join_group(group, member).await
    }

    async fn leave(&mut self, group: &str) -> Reply<()> {
        self.leave_group(group).await
    }

    async fn members(&mut self, group: &str) -> Reply<Vec<(String, u64)>> {
        self.list_group(group).await
    }
}
