//! What the cluster keeps in ZooKeeper: paths and the JSON records behind them.
//!
//! ```text
//! /shardstorm/ring                        RingRecord     persistent, changed by compare-and-set only
//! /shardstorm/shards/<s>/nodes            ShardNodes     persistent, written by bootstrap
//! /shardstorm/shards/<s>/config           ShardConfig    persistent, changed by compare-and-set only
//! /shardstorm/shards/<s>/lease            LeaseRecord    persistent, renewed by the master's agent
//! /shardstorm/shards/<s>/hello/<n>        Hello          persistent, the server run that an agent looks after
//! /shardstorm/shards/<s>/votes/<n>        Vote           persistent, where a fenced Redis stands
//! /shardstorm/shards/<s>/members/<n>      Member         ephemeral, what an agent says of its Redis
//! ```
//!
//! The version of `config` is the one thing that everybody agrees on: a decision of an agent is a `multi`
//! that checks it, and whatever else the decision was based on, so a decision made on an old view fails
//! instead of doing harm.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::ring::Ring;

/// Where everything lives unless told otherwise.
pub const ROOT: &str = "/shardstorm";

/// Paths below one root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    root: String,
}

impl Default for Paths {
    fn default() -> Self {
        Paths::new(ROOT)
    }
}

impl Paths {
    /// Paths below `root`, an absolute path without a trailing slash.
    pub fn new(root: impl Into<String>) -> Self {
        Paths { root: root.into() }
    }

    /// The root itself.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The ring: which shards there are.
    pub fn ring(&self) -> String {
        format!("{}/ring", self.root)
    }

    /// The parent of all shards.
    pub fn shards(&self) -> String {
        format!("{}/shards", self.root)
    }

    /// One shard.
    pub fn shard(&self, shard: u32) -> ShardPaths {
        ShardPaths { dir: format!("{}/shards/{shard}", self.root) }
    }

    /// Which shard and which part of it a path names: `/shardstorm/shards/3/members/a` is `(3, "members/a")`.
    pub fn split<'a>(&self, path: &'a str) -> Option<(u32, &'a str)> {
        let rest = path.strip_prefix(&self.root)?.strip_prefix("/shards/")?;
        let (shard, part) = rest.split_once('/')?;
        Some((shard.parse().ok()?, part))
    }
}

/// Paths of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardPaths {
    dir: String,
}

impl ShardPaths {
    /// The shard's own znode.
    pub fn dir(&self) -> &str {
        &self.dir
    }

    /// The Redis servers of the shard.
    pub fn nodes(&self) -> String {
        format!("{}/nodes", self.dir)
    }

    /// Epoch and master.
    pub fn config(&self) -> String {
        format!("{}/config", self.dir)
    }

    /// The master's lease.
    pub fn lease(&self) -> String {
        format!("{}/lease", self.dir)
    }

    /// Parent of the hellos.
    pub fn hellos(&self) -> String {
        format!("{}/hello", self.dir)
    }

    /// The server run that one agent looks after.
    pub fn hello(&self, node: &str) -> String {
        format!("{}/hello/{node}", self.dir)
    }

    /// Parent of the votes.
    pub fn votes(&self) -> String {
        format!("{}/votes", self.dir)
    }

    /// One node's vote.
    pub fn vote(&self, node: &str) -> String {
        format!("{}/votes/{node}", self.dir)
    }

    /// Parent of the members.
    pub fn members(&self) -> String {
        format!("{}/members", self.dir)
    }

    /// What one agent says of its Redis.
    pub fn member(&self, node: &str) -> String {
        format!("{}/members/{node}", self.dir)
    }
}

/// Which shards there are, and how keys are spread over them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingRecord {
    /// Grows with every change of the ring.
    pub epoch: u64,
    /// Virtual nodes of each shard on the ring.
    pub vnodes: u32,
    /// Shards that own keys; while the ring changes, those before.
    pub shards: Vec<u32>,
    /// Who owns each slot; none while that is what `shards` and `vnodes` give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<Ring>,
    /// The change under way, if any; see [`crate::reshard`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<RingChange>,
}

/// A change of the ring that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingChange {
    /// Shards that own keys when it has ended.
    pub to: Vec<u32>,
    /// Who works on it: drawn anew by every driver.
    pub driver: String,
    /// Slots on their way, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Move>,
}

/// Some slots on their way from one shard to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Number of the move: the epoch of the ring in which its present driver took it up. Both shards keep it
    /// in their data and refuse what a driver with a smaller one sends.
    pub id: u64,
    /// Who gives them.
    pub from: u32,
    /// Who gets them.
    pub to: u32,
    /// Which.
    pub slots: Vec<u16>,
    /// False while the first owns them, true when the second does and the first may forget them.
    pub switched: bool,
}

/// A Redis server of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RedisNode {
    /// Name of the node it runs on.
    pub node: String,
    /// Where clients and replicas reach it.
    pub addr: SocketAddr,
}

/// The Redis servers of one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardNodes {
    /// In no particular order.
    pub nodes: Vec<RedisNode>,
    /// Slots that the shard owns while it has never moved any, one character for each.
    #[serde(default)]
    pub slots: String,
}

/// Who is master of a shard: the truth of the shard, one version after the other.
///
/// An epoch begins as an election (`serving` is false) and ends with the next proposal. While it is an
/// election, `master` and `run_id` are those of the last epoch that was decided: whoever served last is never
/// forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardConfig {
    /// 0 before the first election; grows by one with every proposal.
    pub epoch: u64,
    /// The master of the last epoch that was decided, none before the first.
    pub master: Option<RedisNode>,
    /// False from proposal to decision: nobody should write.
    pub serving: bool,
    /// Server run of that master's Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The server run that votes for each node: one that is not named here holds no vote.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub voters: BTreeMap<String, String>,
    /// Agent that proposed the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposer: Option<String>,
    /// Node that should not be chosen if it can be avoided: it failed, or was not reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect: Option<String>,
}

impl ShardConfig {
    /// Nodes that hold a copy of every acknowledged write, the master among them: a majority.
    pub fn copies(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// Votes of which at least one is of a node that holds every acknowledged write.
    pub fn quorum(&self) -> usize {
        self.voters.len() + 1 - self.copies()
    }

    /// Whether this run of this node's Redis holds the node's vote.
    pub fn is_voter(&self, node: &str, run_id: &str) -> bool {
        self.voters.get(node).is_some_and(|registered| registered == run_id)
    }

    /// Whether this is the server that served last.
    pub fn served_last(&self, node: &str, run_id: &str) -> bool {
        self.master.as_ref().is_some_and(|master| master.node == node)
            && self.run_id.as_deref() == Some(run_id)
    }
}

/// The master's lease: a sign of life, and after a promotion the sign that it may be followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Epoch of the master.
    pub epoch: u64,
    /// The master's node.
    pub node: String,
    /// Count of renewals.
    pub n: u64,
}

/// The server run that an agent looks after. Written before the agent trusts any config it has read for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Incarnation of its Redis.
    pub run_id: String,
}

/// Where the data of a node stands: later positions contain earlier ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Epoch of the last operation, 0 for an empty dataset.
    pub epoch: u64,
    /// Number of operations so far.
    pub seq: u64,
}

/// What a node has, said once it follows nobody any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Epoch that is being elected.
    pub epoch: u64,
    /// Incarnation of its Redis.
    pub run_id: String,
    /// Position of its data.
    pub position: Position,
    /// Replication offset, bytes: for people, and for who compares it by mistake.
    pub offset: u64,
}

/// What a Redis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It accepts writes.
    Master,
    /// It follows, or tries to follow, another.
    Replica,
    /// It does not answer its agent.
    Down,
}

/// What an agent says of its Redis, for clients, observers and the other agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Role of its Redis.
    pub role: Role,
    /// Last epoch in which it was promoted or followed.
    pub epoch: u64,
    /// Where its Redis is reached.
    pub addr: SocketAddr,
    /// Incarnation of its Redis, empty while it is down.
    #[serde(default)]
    pub run_id: String,
    /// Whether it holds data and could be elected.
    pub fit: bool,
    /// Replica with a live link to the master of `epoch`.
    pub linked: bool,
    /// False when it has not reached the master for as long as a lease lasts.
    pub sees_master: bool,
}

/// A record as the bytes of a znode.
pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("records are plain structs with string keys")
}

/// A record from the bytes of a znode; malformed bytes are an error in one sentence.
pub fn decode<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes)
        .map_err(|e| format!("znode {path} holds something else than it should: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_splits_into_shard_and_part() {
        let paths = Paths::default();
        assert_eq!(paths.split("/shardstorm/shards/3/members/a"), Some((3, "members/a")));
        assert_eq!(paths.split(&paths.shard(12).lease()), Some((12, "lease")));
        assert_eq!(paths.split("/shardstorm/ring"), None);
        assert_eq!(paths.split("/elsewhere/shards/3/lease"), None);
        assert_eq!(paths.split("/shardstorm/shards/x/lease"), None);
    }

    #[test]
    fn a_config_reads_back() {
        let config = ShardConfig {
            epoch: 7,
            master: Some(RedisNode { node: "r0a".into(), addr: "10.0.0.1:6379".parse().unwrap() }),
            serving: true,
            ..ShardConfig::default()
        };
        let bytes = encode(&config);
        assert_eq!(
            std::str::from_utf8(&bytes).unwrap(),
            r#"{"epoch":7,"master":{"node":"r0a","addr":"10.0.0.1:6379"},"serving":true}"#
        );
        assert_eq!(decode::<ShardConfig>("/c", &bytes).unwrap(), config);
    }

    #[test]
    fn a_ring_as_bootstrap_wrote_it_reads_back_and_so_does_one_that_changes() {
        let first = r#"{"epoch":1,"vnodes":128,"shards":[0,1]}"#;
        let record = decode::<RingRecord>("/ring", first.as_bytes()).unwrap();
        assert_eq!((record.owners.as_ref(), record.change.as_ref()), (None, None));
        assert_eq!(encode(&record), first.as_bytes());
        let moving = Move { id: 9, from: 0, to: 2, slots: vec![3, 4], switched: false };
        let change = RingChange { to: vec![0, 1, 2], driver: "d".into(), moving: Some(moving) };
        let record = RingRecord { owners: Some(Ring::from(&record)), change: Some(change), ..record };
        assert_eq!(decode::<RingRecord>("/ring", &encode(&record)).unwrap(), record);
    }

    #[test]
    fn every_quorum_meets_the_copies_of_every_acknowledged_write() {
        for n in 1..=9usize {
            let voters = (0..n).map(|i| (format!("r{i}"), String::new())).collect();
            let config = ShardConfig { voters, ..ShardConfig::default() };
            assert!(config.quorum() >= 1 && config.copies() <= n);
            assert_eq!(config.quorum() + config.copies(), n + 1, "{n} voters");
        }
    }

    #[test]
    fn malformed_bytes_name_the_znode() {
        let err = decode::<ShardConfig>("/shardstorm/shards/0/config", b"{\"epoch\":").unwrap_err();
        assert!(err.contains("/shardstorm/shards/0/config"), "{err}");
    }
}
