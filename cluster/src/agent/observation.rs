//! What a variant is told before it decides: everything an agent knows at one moment.

use std::{collections::BTreeMap, time::Instant};

use super::health::{HeartbeatSight, ProbeSight, RedisSight};
use crate::{
    zk::Snapshot,
    znodes::{Candidate, LeaseRecord, Member, RedisNode, ShardConfig, ShardNodes, ShardPaths},
};

/// A record with its version and the moment this version was first seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen<T> {
    /// The record.
    pub value: T,
    /// Version of the znode.
    pub version: i32,
    /// First sight of this version, by the agent's own monotonic clock.
    pub seen_at: Instant,
}

/// Everything an agent knows at one moment.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The moment.
    pub now: Instant,
    /// Whether ZooKeeper is connected; if not, the rest of what comes from it may be old.
    pub connected: bool,
    /// When `connected` last changed.
    pub connected_since: Instant,
    /// Epoch and master; none while unread or malformed.
    pub config: Option<Seen<ShardConfig>>,
    /// The lease, if there is one; its record is none if malformed.
    pub lease: Option<Seen<Option<LeaseRecord>>>,
    /// Whether this agent holds the lease of the present epoch.
    pub lease_held: bool,
    /// Own Redis.
    pub own: RedisSight,
    /// Own heartbeat.
    pub heartbeat: HeartbeatSight,
    /// The shard's master, as pinged from here.
    pub probe: ProbeSight,
    /// Bids in elections by node.
    pub candidates: BTreeMap<String, Seen<Candidate>>,
    /// What agents say of their Redis, by node.
    pub members: BTreeMap<String, Member>,
    /// The Redis servers of the shard.
    pub nodes: Vec<RedisNode>,
}

impl Observation {
    /// What a snapshot of the shard's znodes holds, with the rest unknown.
    pub fn from_snapshot(snapshot: &Snapshot, paths: &ShardPaths, now: Instant) -> Self {
        let config_path = paths.config();
        let config = snapshot.record::<ShardConfig>(&config_path).map(|(value, version)| Seen {
            value,
            version,
            seen_at: snapshot.nodes[&config_path].seen_at,
        });
        let lease = snapshot.nodes.get(&paths.lease()).map(|node| Seen {
            value: serde_json::from_slice(&node.data).ok(),
            version: node.version,
            seen_at: node.seen_at,
        });
        let candidates = snapshot
            .children::<Candidate>(&paths.candidates())
            .map(|(name, value, node)| {
                (name.to_owned(), Seen { value, version: node.version, seen_at: node.seen_at })
            })
            .collect();
        let members = snapshot
            .children::<Member>(&paths.members())
            .map(|(name, value, _)| (name.to_owned(), value))
            .collect();
        let nodes = snapshot.record::<ShardNodes>(&paths.nodes()).map(|(n, _)| n.nodes).unwrap_or_default();
        Observation {
            now,
            connected: snapshot.connected,
            connected_since: snapshot.since,
            config,
            lease,
            lease_held: false,
            own: RedisSight::Unknown,
            heartbeat: HeartbeatSight { acked_at: None, replicas: 0 },
            probe: ProbeSight { target: None, answered_at: now },
            candidates,
            members,
            nodes,
        }
    }
}
