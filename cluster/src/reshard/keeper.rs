//! The ring's record in ZooKeeper, changed by compare-and-set.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use zookeeper_client::{Client, Error};

use super::{Options, ReshardError};
use crate::{
    bootstrap::put_shard,
    ring::Ring,
    zk::{Link, LinkOptions},
    znodes::{Paths, RedisNode, RingRecord, ShardNodes, decode, encode},
};

/// Longest wait for one answer of ZooKeeper.
const LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// The record as read or written, with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The record.
    pub record: RingRecord,
    version: i32,
}

/// Reads and swaps the record.
pub struct Keeper {
    link: Link,
    paths: Paths,
    patience: Duration,
}

impl Keeper {
    /// Opens a session of its own; ZooKeeper may be away in one call for as long as the patience says.
    pub fn open(options: &Options) -> Self {
        let mut link = LinkOptions::new(&options.zookeeper, options.paths.ring());
        link.transport = options.transport.clone();
        Keeper { link: Link::open(link), paths: options.paths.clone(), patience: options.patience }
    }

    /// A session, once there is one; whatever cannot be asked is asked again until the patience ends.
    async fn insist<T>(
        &self,
        mut ask: impl AsyncFnMut(Client) -> Result<T, Error>,
    ) -> Result<T, ReshardError> {
        let started = Instant::now();
        let mut why = "no session".to_owned();
        while started.elapsed() < self.patience {
            if let Some(client) = self.link.client() {
                match timeout(LIMIT, ask(client)).await {
                    Ok(Ok(value)) => return Ok(value),
                    Ok(Err(Error::NoNode)) => return Err(ReshardError::NoCluster),
                    Ok(Err(e)) => why = e.to_string(),
                    Err(_) => why = "no answer".to_owned(),
                }
            }
            sleep(PAUSE).await;
        }
        Err(ReshardError::Stuck { what: "zookeeper".into(), waited_ms: self.patience.as_millis(), why })
    }

    /// The record; it may be older than the truth, which a swap notices.
    pub async fn read(&self) -> Result<Seen, ReshardError> {
        let path = self.paths.ring();
        let (bytes, stat) = self.insist(async |client| client.get_data(&path).await).await?;
        let record = decode(&path, &bytes).map_err(ReshardError::Malformed)?;
        Ok(Seen { record, version: stat.version })
    }

    /// Replaces what was seen. An answer that was lost is no trouble: no two drivers write the same record. If
    /// somebody else was quicker, the caller has nothing more to say here.
    pub async fn swap(&self, seen: &Seen, record: RingRecord) -> Result<Seen, ReshardError> {
        let path = self.paths.ring();
        let bytes = encode(&record);
        let swapped = self
            .insist(async |client| match client.set_data(&path, &bytes, Some(seen.version)).await {
                Ok(stat) => Ok(Some(stat.version)),
                Err(Error::BadVersion) => Ok(None),
                Err(e) => Err(e),
            })
            .await?;
        if let Some(version) = swapped {
            return Ok(Seen { record, version });
        }
        loop {
            let now = self.read().await?;
            if now.record == record {
                return Ok(now);
            }
            if now.version > seen.version {
                return Err(ReshardError::Superseded);
            }
            sleep(PAUSE).await; // a server that lags behind
        }
    }

    /// Writes the first records of a shard that owns nothing.
    pub async fn introduce(&self, shard: u32, nodes: &[RedisNode]) -> Result<(), ReshardError> {
        let slots = Ring::default().slots_of(shard);
        self.insist(async |client| put_shard(&client, &self.paths, shard, nodes, slots.clone()).await).await
    }

    /// From here on the shard owns what its data says and nothing else: should all its servers lose their memory,
    /// it must not take up what it owned in the beginning.
    pub async fn forget_first_slots(&self, shard: u32) -> Result<(), ReshardError> {
        let path = self.paths.shard(shard).nodes();
        self.insist(async |client| {
            let (bytes, stat) = client.get_data(&path).await?;
            match decode::<ShardNodes>(&path, &bytes) {
                Ok(nodes) if !nodes.slots.is_empty() => {
                    let nodes = ShardNodes { slots: String::new(), ..nodes };
                    client.set_data(&path, &encode(&nodes), Some(stat.version)).await.map(drop)
                }
                _ => Ok(()), // done before, or nothing that an agent could use
            }
        })
        .await
    }
}
