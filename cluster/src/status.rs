//! What somebody outside sees of a cluster: masters and epochs from ZooKeeper, roles from the servers
//! themselves, and whether it takes writes.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use crate::{
    client::{Client, ClientOptions, ClusterView},
    credentials::Secret,
    dataset,
    redis_link::{RedisLink, Replication},
    ring::Ring,
    security::Transport,
    store::{Reply, Store},
    znodes::Paths,
};

/// An observer's view: like that of clients, with leases.
pub fn observe(zookeeper: &str, transport: &Transport, paths: Paths) -> ClusterView {
    ClusterView::with_paths(zookeeper, transport, paths, true)
}

/// Role of a ZooKeeper server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZkMode {
    /// It orders writes.
    Leader,
    /// It follows the leader.
    Follower,
    /// It is alone by configuration.
    Standalone,
}

/// What a ZooKeeper server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZkServer {
    /// Its role; none while it is looking for a leader, and serves nobody.
    pub mode: Option<ZkMode>,
    /// Last transaction it has seen.
    pub zxid: Option<u64>,
    /// Connections open to it.
    pub connections: Option<u64>,
}

/// Asks a ZooKeeper server for its role with the four-letter command `srvr`; an error says in a few words why
/// it did not answer within `limit`.
pub async fn zk_server(addr: SocketAddr, limit: Duration, transport: &Transport) -> Result<ZkServer, String> {
    let ask = async {
        let mut stream = transport.connect(addr, limit).await?;
        stream.write_all(b"srvr").await?;
        stream.flush().await?;
        let mut text = Vec::new();
        match stream.read_to_end(&mut text).await {
            // ZooKeeper ends a TLS connection without saying so.
            Err(e) if e.kind() != ErrorKind::UnexpectedEof => Err(e),
            _ => Ok(String::from_utf8_lossy(&text).into_owned()),
        }
    };
    match timeout(limit, ask).await {
        Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
        Ok(Err(e)) => Err(e.to_string()),
        Ok(Ok(text)) if text.is_empty() => Err("it closed the connection".into()),
        Ok(Ok(text)) => Ok(parse_srvr(&text)),
    }
}

fn parse_srvr(text: &str) -> ZkServer {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let mode = match field("Mode:") {
        Some("leader") => Some(ZkMode::Leader),
        Some("follower") => Some(ZkMode::Follower),
        Some("standalone") => Some(ZkMode::Standalone),
        _ => None,
    };
    let zxid = field("Zxid:").and_then(|hex| u64::from_str_radix(hex.trim_start_matches("0x"), 16).ok());
    let connections = field("Connections:").and_then(|n| n.parse().ok());
    ZkServer { mode, zxid, connections }
}

/// Asks a Redis for its role and offset; an error says in a few words why it did not answer within `limit`.
pub async fn redis_role(
    addr: SocketAddr,
    secret: &Secret,
    limit: Duration,
    transport: &Transport,
) -> Result<Replication, String> {
    let ask = async {
        let mut link = RedisLink::connect_as(addr, &secret.agent(), limit, transport).await?;
        link.info("replication", limit).await
    };
    match timeout(limit, ask).await {
        Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
        Ok(Err(e)) => Err(e.to_string()),
        Ok(Ok(info)) => Ok(info.replication()),
    }
}

/// Waits until a majority of ZooKeeper servers serve under one leader; the error names those that do not.
pub async fn zk_ready(servers: &[SocketAddr], limit: Duration, transport: &Transport) -> Result<(), String> {
    let started = Instant::now();
    loop {
        let mut reasons = Vec::new();
        let (mut serving, mut led) = (0, false);
        for addr in servers {
            match zk_server(*addr, Duration::from_millis(500), transport).await {
                Ok(ZkServer { mode: Some(mode), .. }) => {
                    serving += 1;
                    led |= mode != ZkMode::Follower;
                }
                Ok(_) => reasons.push(format!("{addr}: looking for a leader")),
                Err(why) => reasons.push(format!("{addr}: {why}")),
            }
        }
        if led && serving * 2 > servers.len() {
            return Ok(());
        }
        if started.elapsed() >= limit {
            return Err(reasons.join("; "));
        }
        sleep(Duration::from_millis(30)).await;
    }
}

/// Why a cluster does not take writes yet.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", self.sentence())]
pub struct NotReady {
    /// Reason by shard; empty if not even the ring is known.
    pub shards: BTreeMap<u32, String>,
}

impl NotReady {
    fn sentence(&self) -> String {
        if self.shards.is_empty() {
            return "zookeeper shows no cluster yet".into();
        }
        let reasons: Vec<String> =
            self.shards.iter().map(|(shard, why)| format!("shard {shard}: {why}")).collect();
        reasons.join("; ")
    }
}

/// Waits until every shard of the ring takes a write. Comes back with the epoch of each shard, or, after
/// `limit`, with the reason for each shard that is not ready.
pub async fn ready(
    view: &ClusterView,
    options: &ClientOptions,
    limit: Duration,
) -> Result<BTreeMap<u32, u64>, NotReady> {
    let started = Instant::now();
    let mut client = Client::new(view.clone(), options.clone());
    loop {
        let state = view.state();
        let mut epochs = BTreeMap::new();
        let mut reasons = BTreeMap::new();
        for &shard in state.shards.keys().filter(|&&shard| state.ring.has(shard)) {
            match shard_ready(&mut client, &state.ring, shard).await {
                Ok(epoch) => _ = epochs.insert(shard, epoch),
                Err(why) => _ = reasons.insert(shard, why),
            }
        }
        if reasons.is_empty() && !epochs.is_empty() {
            return Ok(epochs);
        }
        if started.elapsed() >= limit {
            return Err(NotReady { shards: reasons });
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn shard_ready(client: &mut Client, ring: &Ring, shard: u32) -> Result<u64, String> {
    let key = ring.key_of(shard, &format!("{}ready", dataset::RESERVED)).ok_or("it owns no slot")?;
    match timeout(Duration::from_millis(500), client.write(&key, "ready")).await {
        Err(_) => Err("no answer".into()),
        Ok(Reply { result: Ok(()), served_by: Some(by) }) => Ok(by.epoch),
        Ok(reply) => Err(reply.result.err().map_or_else(|| "nobody served it".into(), |e| e.reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ready_is_one_sentence() {
        let none = NotReady { shards: BTreeMap::new() };
        assert_eq!(none.to_string(), "zookeeper shows no cluster yet");
        let shards = [(0, "no serving master".to_owned()), (2, "r2a: wait 0 of 1".to_owned())].into();
        assert_eq!(NotReady { shards }.to_string(), "shard 0: no serving master; shard 2: r2a: wait 0 of 1");
    }

    #[test]
    fn srvr_tells_the_role() {
        let text = "Zookeeper version: 3.8.0\nLatency min/avg/max: 0/0.0/0\nReceived: 1\nSent: 0\nConnections: 3\n\
                    Outstanding: 0\nZxid: 0x1000000a2\nMode: follower\nNode count: 5\n";
        let server = parse_srvr(text);
        assert_eq!(server.mode, Some(ZkMode::Follower));
        assert_eq!((server.zxid, server.connections), (Some(0x1_0000_00a2), Some(3)));
        let looking = parse_srvr("This ZooKeeper instance is not currently serving requests\n");
        assert_eq!(looking, ZkServer { mode: None, zxid: None, connections: None });
    }
}
