//! The first records of a cluster in ZooKeeper. The agents do the rest: they elect the first masters.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::time::{sleep, timeout};
use zookeeper_client::{Client, Error};

use crate::{
    ring::{Ring, VNODES},
    security::Transport,
    zk::put_persistent,
    znodes::{LeaseRecord, Paths, RedisNode, RingRecord, ShardConfig, ShardNodes, encode},
};

/// Which Redis servers make up which shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardMap {
    /// Virtual nodes of each shard on the ring.
    pub vnodes: u32,
    /// Id and servers of each shard.
    pub shards: Vec<(u32, Vec<RedisNode>)>,
    /// Shards that own nothing until they are added to the ring.
    pub spares: Vec<(u32, Vec<RedisNode>)>,
}

impl ShardMap {
    /// A map with the usual number of virtual nodes.
    pub fn new(shards: Vec<(u32, Vec<RedisNode>)>) -> Self {
        ShardMap { vnodes: VNODES, shards, spares: Vec::new() }
    }
}

/// Why a cluster could not be set up.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// The map makes no sense.
    #[error("{0}")]
    Map(String),
    /// ZooKeeper was not there in time.
    #[error("zookeeper at {connect} did not accept the records within {waited_ms} ms: {why}")]
    ZooKeeper {
        /// Where it should be.
        connect: String,
        /// How long was waited.
        waited_ms: u128,
        /// The last error.
        why: String,
    },
}

/// Writes the records of `map` below `paths`, waiting up to `limit` for ZooKeeper to come up. What is there
/// already is left as it is, so calling it twice does no harm.
pub async fn bootstrap(
    connect: &str,
    transport: &Transport,
    paths: &Paths,
    map: &ShardMap,
    limit: Duration,
) -> Result<(), BootstrapError> {
    validate(map)?;
    let started = Instant::now();
    let mut why = "nobody answered".to_owned();
    while started.elapsed() < limit {
        let left = limit.saturating_sub(started.elapsed());
        match timeout(left.min(Duration::from_secs(3)), attempt(connect, transport, paths, map)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(e)) => why = e.to_string(),
            Err(_) => {}
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(BootstrapError::ZooKeeper {
        connect: connect.to_owned(),
        waited_ms: started.elapsed().as_millis(),
        why,
    })
}

fn validate(map: &ShardMap) -> Result<(), BootstrapError> {
    let mut ids = BTreeSet::new();
    for (id, nodes) in map.shards.iter().chain(&map.spares) {
        if !ids.insert(id) {
            return Err(BootstrapError::Map(format!("shard {id} is listed twice")));
        }
        let names: BTreeSet<&str> = nodes.iter().map(|node| node.node.as_str()).collect();
        if names.len() < nodes.len() || names.is_empty() {
            return Err(BootstrapError::Map(format!("shard {id} needs nodes, each with a name of its own")));
        }
    }
    if map.shards.is_empty() {
        return Err(BootstrapError::Map("a cluster needs at least one shard".into()));
    }
    Ok(())
}

async fn attempt(connect: &str, transport: &Transport, paths: &Paths, map: &ShardMap) -> Result<(), Error> {
    let connector = Client::connector().with_session_timeout(Duration::from_secs(4)).with_fail_eagerly();
    let client = transport.zookeeper(connector, connect).await?;
    let mut dirs = String::new();
    for part in paths.root().split('/').filter(|part| !part.is_empty()) {
        dirs = format!("{dirs}/{part}");
        put_persistent(&client, &dirs, b"").await?;
    }
    put_persistent(&client, &paths.shards(), b"").await?;
    let ids: Vec<u32> = map.shards.iter().map(|(id, _)| *id).collect();
    let ring = Ring::new(&ids, map.vnodes);
    for (id, nodes) in map.shards.iter().chain(&map.spares) {
        put_shard(&client, paths, *id, nodes, ring.slots_of(*id)).await?;
    }
    let ring = RingRecord { epoch: 1, vnodes: map.vnodes, shards: ids, owners: None, change: None };
    put_persistent(&client, &paths.ring(), &encode(&ring)).await?;
    Ok(())
}

/// Writes the first records of one shard, where they are missing.
pub(crate) async fn put_shard(
    client: &Client,
    paths: &Paths,
    id: u32,
    nodes: &[RedisNode],
    slots: String,
) -> Result<(), Error> {
    let shard = paths.shard(id);
    let record = ShardNodes { nodes: nodes.to_vec(), slots };
    put_persistent(client, shard.dir(), b"").await?;
    put_persistent(client, &shard.hellos(), b"").await?;
    put_persistent(client, &shard.votes(), b"").await?;
    put_persistent(client, &shard.lease(), &encode(&LeaseRecord::default())).await?;
    put_persistent(client, &shard.members(), b"").await?;
    put_persistent(client, &shard.nodes(), &encode(&record)).await?;
    // Last: agents stand for election once they see it.
    put_persistent(client, &shard.config(), &encode(&ShardConfig::default())).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> RedisNode {
        RedisNode { node: name.into(), addr: "127.0.0.1:1".parse().unwrap() }
    }

    #[test]
    fn a_map_that_makes_no_sense_is_refused() {
        let table = [
            (vec![], "a cluster needs at least one shard"),
            (vec![(0, vec![])], "shard 0 needs nodes, each with a name of its own"),
            (vec![(0, vec![node("a"), node("a")])], "shard 0 needs nodes, each with a name of its own"),
            (vec![(3, vec![node("a")]), (3, vec![node("b")])], "shard 3 is listed twice"),
        ];
        for (shards, expected) in table {
            assert_eq!(validate(&ShardMap::new(shards)).unwrap_err().to_string(), expected);
        }
        validate(&ShardMap::new(vec![(0, vec![node("a")])])).unwrap();
    }
}
