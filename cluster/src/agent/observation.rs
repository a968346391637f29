//! What the protocol is told before it decides: everything an agent knows at one moment.

use std::{collections::BTreeMap, time::Instant};

use serde::de::DeserializeOwned;

use super::health::{HeartbeatSight, ProbeSight, RedisSight};
use crate::{
    zk::Snapshot,
    znodes::{Hello, LeaseRecord, Member, RedisNode, ShardConfig, ShardNodes, ShardPaths, Vote},
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
    /// The lease; its record is none if malformed.
    pub lease: Option<Seen<Option<LeaseRecord>>>,
    /// Own Redis.
    pub own: RedisSight,
    /// Server run of the own Redis for which a hello was written and the config read after it.
    pub greeted: Option<String>,
    /// Own heartbeat.
    pub heartbeat: HeartbeatSight,
    /// The shard's master, as pinged from here.
    pub probe: ProbeSight,
    /// Votes by node.
    pub votes: BTreeMap<String, Seen<Vote>>,
    /// Server runs by node, as their agents said last.
    pub hellos: BTreeMap<String, Hello>,
    /// What agents say of their Redis, by node.
    pub members: BTreeMap<String, Member>,
    /// The Redis servers of the shard.
    pub nodes: Vec<RedisNode>,
    /// Slots that the shard owns from the start.
    pub slots: String,
}

impl Observation {
    /// What a snapshot of the shard's znodes holds, with the rest unknown. Malformed records count as missing.
    pub fn from_snapshot(snapshot: &Snapshot, paths: &ShardPaths, now: Instant) -> Self {
        let lease = snapshot.nodes.get(&paths.lease()).map(|node| Seen {
            value: serde_json::from_slice(&node.data).ok(),
            version: node.version,
            seen_at: node.seen_at,
        });
        let seen = |(name, value, node): (&str, Vote, &crate::zk::Znode)| {
            (name.to_owned(), Seen { value, version: node.version, seen_at: node.seen_at })
        };
        let of_shard = snapshot.record::<ShardNodes>(&paths.nodes()).map(|(n, _)| n).unwrap_or_default();
        Observation {
            now,
            connected: snapshot.connected,
            connected_since: snapshot.since,
            config: record(snapshot, &paths.config()),
            lease,
            own: RedisSight::Unknown,
            greeted: None,
            heartbeat: HeartbeatSight { acked_at: None, replicas: 0 },
            probe: ProbeSight { target: None, answered_at: now },
            votes: snapshot.children::<Vote>(&paths.votes()).map(seen).collect(),
            hellos: by_name(snapshot, &paths.hellos()),
            members: by_name(snapshot, &paths.members()),
            nodes: of_shard.nodes,
            slots: of_shard.slots,
        }
    }
}

fn record<T: DeserializeOwned>(snapshot: &Snapshot, path: &str) -> Option<Seen<T>> {
    let (value, version) = snapshot.record::<T>(path)?;
    Some(Seen { value, version, seen_at: snapshot.nodes[path].seen_at })
}

fn by_name<T: DeserializeOwned>(snapshot: &Snapshot, dir: &str) -> BTreeMap<String, T> {
    snapshot.children::<T>(dir).map(|(name, value, _)| (name.to_owned(), value)).collect()
}
