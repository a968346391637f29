//! The way out for a shard that has lost more memories than its protocol covers: an operator declares that what
//! may be lost is lost.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use thiserror::Error;
use zookeeper_client::{Client, Error};

use crate::{
    security::Transport,
    znodes::{Hello, Paths, Position, RedisNode, ShardConfig, ShardNodes, ShardPaths, Vote, decode, encode},
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

/// Waits up to 10 s until every server that has kept its memory has said what it holds, and starts an election of `shard` that the server with the latest data among those that run now wins by itself;
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
    let (mut state, asked_at) = (State::read(&client, &shard_paths).await?, Instant::now());
    while state.is_still_to_vote() && asked_at.elapsed() < TO_VOTE {
        tokio::time::sleep(Duration::from_millis(50)).await;
        state = State::read(&client, &shard_paths).await?;
    }
    let State { config: before, version, running } = state;
    let best = running.into_iter().max_by(|a, b| a.rank().cmp(&b.rank()));
    let Running { server: chosen, run_id, .. } = best.ok_or(RescueError::Nobody(shard))?;
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

/// How long a server that has kept its memory may take to say what it holds.
const TO_VOTE: Duration = Duration::from_secs(10);

/// What the choice rests on.
struct State {
    config: ShardConfig,
    version: i32,
    running: Vec<Running>,
}

/// A server whose agent looks after it.
struct Running {
    server: RedisNode,
    run_id: String,
    vote: Option<Vote>,
}

impl State {
    async fn read(client: &Client, paths: &ShardPaths) -> Result<State, RescueError> {
        let (config, version) = record::<ShardConfig>(client, &paths.config()).await?;
        let (servers, _) = record::<ShardNodes>(client, &paths.nodes()).await?;
        let mut running = Vec::new();
        for server in servers.nodes {
            // A server whose agent never said hello has nothing to offer.
            let Ok((Hello { run_id }, _)) = record::<Hello>(client, &paths.hello(&server.node)).await else {
                continue;
            };
            let vote = record::<Vote>(client, &paths.vote(&server.node)).await.ok().map(|(vote, _)| vote);
            let vote = vote.filter(|vote| vote.run_id == run_id);
            running.push(Running { server, run_id, vote });
        }
        Ok(State { config, version, running })
    }

    /// Is there a server that has kept its memory and has not yet said, in the election that is on, what it holds?
    /// To choose without it would lose what it has.
    fn is_still_to_vote(&self) -> bool {
        self.running.iter().any(|one| {
            let has_voted = one.vote.as_ref().is_some_and(|vote| vote.epoch == self.config.epoch);
            !has_voted && self.config.is_voter(&one.server.node, &one.run_id)
        })
    }
}

impl Running {
    /// The latest position wins; among equals the smaller name.
    fn rank(&self) -> (Position, Reverse<&str>) {
        (self.vote.as_ref().map(|vote| vote.position).unwrap_or_default(), Reverse(&self.server.node))
    }
}

async fn record<T: DeserializeOwned>(client: &Client, path: &str) -> Result<(T, i32), RescueError> {
    let (bytes, stat) = client.get_data(path).await?;
    Ok((decode(path, &bytes).map_err(RescueError::Record)?, stat.version))
}
