//! What clients know of the cluster: ring, masters and replicas, kept up to date by one ZooKeeper session.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    ring::Ring,
    security::Transport,
    zk::{AbortOnDrop, Link, LinkOptions, Snapshot},
    znodes::{LeaseRecord, Member, Paths, RedisNode, RingRecord, Role, ShardConfig},
};

/// One shard as last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardView {
    /// Present epoch, 0 before the first master.
    pub epoch: u64,
    /// Its master, if one was elected.
    pub master: Option<RedisNode>,
    /// Whether the master has been promoted.
    pub serving: bool,
    /// Replicas with a live link to the master.
    pub replicas: Vec<RedisNode>,
    /// Nodes whose agent is alive, with what it says of its Redis.
    pub members: BTreeMap<String, Member>,
    /// Whether the lease of this epoch was renewed; always false in a view that does not follow leases.
    pub leased: bool,
    /// The server runs that hold votes, by node.
    pub voters: BTreeMap<String, String>,
}

impl ShardView {
    /// The master, once it may be written to.
    pub fn serving_master(&self) -> Option<&RedisNode> {
        self.master.as_ref().filter(|_| self.serving)
    }
}

/// The cluster as last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterState {
    /// Whether ZooKeeper is connected; if not, the rest is as old as that.
    pub connected: bool,
    /// Owners of keys.
    pub ring: Ring,
    /// Shards that there are, by id: those of the ring, and those that own nothing yet or any more.
    pub shards: BTreeMap<u32, ShardView>,
}

impl ClusterState {
    /// Reads the state out of a snapshot. Where a record is malformed, what was known `before` still holds: no
    /// typing error in ZooKeeper takes the cluster away from its clients.
    pub fn read(snapshot: &Snapshot, paths: &Paths, before: &ClusterState) -> Self {
        let ring = match snapshot.record::<RingRecord>(&paths.ring()) {
            Some((record, _)) => Ring::from(&record),
            None if snapshot.nodes.contains_key(&paths.ring()) => before.ring.clone(),
            None => Ring::default(),
        };
        let parts = snapshot.nodes.keys().filter_map(|path| paths.split(path));
        let ids = parts.filter(|(_, part)| *part == "config").map(|(id, _)| id);
        let shards = ids.map(|id| (id, read_shard(snapshot, paths, id, before.shards.get(&id)))).collect();
        ClusterState { connected: snapshot.connected, ring, shards }
    }
}

fn read_shard(snapshot: &Snapshot, paths: &Paths, id: u32, before: Option<&ShardView>) -> ShardView {
    let paths = paths.shard(id);
    let known = |before: &ShardView| ShardConfig {
        epoch: before.epoch,
        master: before.master.clone(),
        serving: before.serving,
        voters: before.voters.clone(),
        ..ShardConfig::default()
    };
    let read = snapshot.record::<ShardConfig>(&paths.config()).map(|(config, _)| config);
    let config = read.or_else(|| before.map(known)).unwrap_or_default();
    let dir = paths.members();
    let members: BTreeMap<String, Member> =
        snapshot.children::<Member>(&dir).map(|(node, member, _)| (node.to_owned(), member)).collect();
    let replicas = members
        .iter()
        .filter(|(_, member)| member.role == Role::Replica && member.linked && member.epoch == config.epoch)
        .map(|(node, member)| RedisNode { node: node.clone(), addr: member.addr })
        .collect();
    ShardView {
        epoch: config.epoch,
        master: config.master,
        serving: config.serving,
        replicas,
        members,
        leased: snapshot
            .record::<LeaseRecord>(&paths.lease())
            .is_some_and(|(lease, _)| lease.epoch == config.epoch && config.epoch > 0),
        voters: config.voters,
    }
}

/// Where a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Shard that owns the key.
    pub shard: u32,
    /// Epoch of the master that is believed in.
    pub epoch: u64,
    /// Node to send to.
    pub node: String,
    /// Its address.
    pub addr: SocketAddr,
}

/// A view of the cluster, shared by the clients of one thread: clones are cheap and see the same.
#[derive(Debug, Clone)]
pub struct ClusterView {
    state: watch::Receiver<Arc<ClusterState>>,
    transport: Transport,
    _link: Option<Arc<(Link, AbortOnDrop)>>,
}

impl ClusterView {
    /// Opens a view on the current Tokio runtime; its sockets are opened on this thread. Returns at once.
    pub fn open(zookeeper: &str, transport: &Transport) -> Self {
        ClusterView::with_paths(zookeeper, transport, Paths::default(), false)
    }

    /// Opens a view of another root, or one that follows leases (which change ten times a second).
    pub fn with_paths(zookeeper: &str, transport: &Transport, paths: Paths, leases: bool) -> Self {
        let mut options = LinkOptions::new(zookeeper, paths.root());
        options.leases = leases;
        options.transport = transport.clone();
        let link = Link::open(options);
        let mut snapshots = link.snapshots();
        let (out, state) = watch::channel(Arc::new(ClusterState::default()));
        let task = tokio::spawn(async move {
            loop {
                let before = out.borrow().clone();
                let now = ClusterState::read(&snapshots.borrow_and_update(), &paths, &before);
                out.send_if_modified(|state| {
                    let changed = **state != now;
                    if changed {
                        *state = Arc::new(now);
                    }
                    changed
                });
                if snapshots.changed().await.is_err() {
                    return;
                }
            }
        });
        ClusterView { state, transport: transport.clone(), _link: Some(Arc::new((link, AbortOnDrop(task)))) }
    }

    /// A view that shows what its owner puts into `state`: for clients that do not ask ZooKeeper.
    pub fn of(state: watch::Receiver<Arc<ClusterState>>) -> Self {
        ClusterView { state, transport: Transport::plain(), _link: None }
    }

    /// How connections to the cluster's servers are opened.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The cluster as last seen. Cheap.
    pub fn state(&self) -> Arc<ClusterState> {
        self.state.borrow().clone()
    }

    /// The feed of states: `changed().await` on it, then `borrow_and_update()`.
    pub fn states(&self) -> watch::Receiver<Arc<ClusterState>> {
        self.state.clone()
    }

    /// Waits until `wanted` holds, but no longer than `limit`; false if it never did.
    pub async fn wait_until(&self, limit: Duration, mut wanted: impl FnMut(&ClusterState) -> bool) -> bool {
        let mut states = self.states();
        let met = states.wait_for(|state| wanted(state));
        matches!(tokio::time::timeout(limit, met).await, Ok(Ok(_)))
    }

    /// The serving master of a shard.
    pub fn master(&self, shard: u32) -> Option<Route> {
        let state = self.state.borrow();
        let view = state.shards.get(&shard)?;
        let master = view.serving_master()?;
        Some(Route { shard, epoch: view.epoch, node: master.node.clone(), addr: master.addr })
    }

    /// The replicas of a shard that are linked to its master.
    pub fn replicas(&self, shard: u32) -> Vec<Route> {
        let state = self.state.borrow();
        let Some(view) = state.shards.get(&shard) else { return Vec::new() };
        let route = |r: &RedisNode| Route { shard, epoch: view.epoch, node: r.node.clone(), addr: r.addr };
        view.replicas.iter().map(route).collect()
    }

    /// The shard that owns `key`; none before the ring was read.
    pub fn shard_of(&self, key: &str) -> Option<u32> {
        self.state.borrow().ring.owner(key)
    }

    /// Comes back when `shard` has moved on to an epoch after `epoch`.
    pub async fn epoch_after(&self, shard: u32, epoch: u64) {
        let mut states = self.states();
        let moved =
            |state: &Arc<ClusterState>| state.shards.get(&shard).is_some_and(|view| view.epoch > epoch);
        if states.wait_for(moved).await.is_err() {
            // The view is closing; the call's own deadline decides.
            std::future::pending::<()>().await;
        }
    }
}
