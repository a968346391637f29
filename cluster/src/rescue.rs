//! The way out for a shard that has lost more memories than its protocol covers: an operator declares that what
//! may be lost is lost.

use std::{cmp::Reverse, time::Duration};

use serde::de::DeserializeOwned;
use thiserror::Error;
use zookeeper_client::{Client, Error};

use crate::{
    security::Transport,
    znodes::{Hello, Paths, ShardConfig, ShardNodes, Vote, decode, encode},
};

/// Why a shard was not reset.
#[derive(Debug, Error)]
pub enum RescueError {
    /// ZooKeeper refused, or was not there.
    #[error("zookeeper: {0}")]
    ZooKeeper(#[from] Error),
    /// What it holds cannot be used.
    #[error("{0}")]
    Record(String),
    /// The agents changed the config at the same moment.
    #[error(
        "the agents of shard {0} have just changed its config: it may be alive; look at its status first"
    )]
    Alive(u32),
    /// There is nobody to choose.
    #[error("no agent of shard {0} has ever looked after a running redis: start them first")]
    Nobody(u32),
}

/// Starts an election of `shard` that the server with the latest data among those that run now wins by itself;
/// what only lost servers held is lost. The others are admitted when they have copied it. Returns its node and
/// the epoch.
///
/// The chosen one is declared to be the server that served last, whose vote is enough. The seats of the others
/// keep their dead server runs: were they taken away, two of three copies would count as a majority of fewer.
pub async fn force_reset(
    connect: &str,
    transport: &Transport,
    paths: &Paths,
    shard: u32,
) -> Result<(String, u64), RescueError> {
    let connector = Client::connector().with_session_timeout(Duration::from_secs(4)).with_fail_eagerly();
    let client = transport.zookeeper(connector, connect).await?;
    let shard_paths = paths.shard(shard);
    let (before, version) = record::<ShardConfig>(&client, &shard_paths.config()).await?;
    let (servers, _) = record::<ShardNodes>(&client, &shard_paths.nodes()).await?;
    let mut running = Vec::new();
    for server in servers.nodes {
        // A server whose agent never said hello has nothing to offer.
        let Ok((hello, _)) = record::<Hello>(&client, &shard_paths.hello(&server.node)).await else {
            continue;
        };
        let vote = record::<Vote>(&client, &shard_paths.vote(&server.node)).await.ok().map(|(vote, _)| vote);
        let position = vote.filter(|vote| vote.run_id == hello.run_id).map(|vote| vote.position);
        running.push((position.unwrap_or_default(), Reverse(server.node.clone()), server, hello.run_id));
    }
    let best = running.into_iter().max_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let (_, _, chosen, run_id) = best.ok_or(RescueError::Nobody(shard))?;
    let mut next = ShardConfig {
        epoch: before.epoch + 1,
        serving: false,
        master: Some(chosen.clone()),
        run_id: Some(run_id.clone()),
        proposer: None,
        suspect: None,
        ..before
    };
    next.voters.insert(chosen.node.clone(), run_id);
    match client.set_data(&shard_paths.config(), &encode(&next), Some(version)).await {
        Ok(_) => Ok((chosen.node, next.epoch)),
        Err(Error::BadVersion) => Err(RescueError::Alive(shard)),
        Err(e) => Err(e.into()),
    }
}

async fn record<T: DeserializeOwned>(client: &Client, path: &str) -> Result<(T, i32), RescueError> {
    let (bytes, stat) = client.get_data(path).await?;
    Ok((decode(path, &bytes).map_err(RescueError::Record)?, stat.version))
}
