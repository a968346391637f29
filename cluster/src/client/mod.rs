//! The client library: one attempt per call, on the master of the shard that owns the key.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use redis::{Pipeline, Value, pipe};

pub mod outcome;
#[cfg(test)]
mod tests;
mod view;

pub use view::{ClusterState, ClusterView, Route, ShardView};

use crate::{
    redis_link::RedisLink,
    store::{CallError, Reply, ServedBy, Store},
};

/// Where reads go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// The master: fresh as long as it is the only one.
    #[default]
    Master,
    /// Any replica with a live link, one after the other: may be behind. The master if there is none.
    Replica,
}

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientOptions {
    /// Replicas that must acknowledge a write.
    pub wait_replicas: u32,
    /// How long `WAIT` waits at the server, milliseconds (0: for ever).
    pub wait_ms: u64,
    /// Where reads go.
    pub read_from: ReadFrom,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            wait_replicas: 1,
            wait_ms: 1000,
            read_from: ReadFrom::Master,
            connect_timeout: Duration::from_millis(500),
        }
    }
}

/// Sets a key if it holds the expected value.
const CAS: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) return 1 end \
                   return 0";

/// A client of the cluster, with connections of its own.
///
/// `WAIT` speaks of what its own connection has written, so a write and its `WAIT` share one, and nobody
/// else writes on it. A connection is used again only after a complete answer: a call that fails or is
/// dropped takes its connection with it.
pub struct Client {
    view: ClusterView,
    options: ClientOptions,
    links: HashMap<SocketAddr, (u64, RedisLink)>,
    turn: usize,
}

impl Client {
    /// A client that finds its way by `view`. Connects when it is first used.
    pub fn new(view: ClusterView, options: ClientOptions) -> Self {
        Client { view, options, links: HashMap::new(), turn: 0 }
    }

    /// The view it finds its way by.
    pub fn view(&self) -> &ClusterView {
        &self.view
    }

    fn master_of(&self, key: &str) -> Result<Route, CallError> {
        let shard = self.view.shard_of(key).ok_or_else(|| CallError::definite("no ring"))?;
        self.view.master(shard).ok_or_else(|| CallError::definite("no master"))
    }

    fn reader_of(&mut self, key: &str) -> Result<Route, CallError> {
        if self.options.read_from == ReadFrom::Replica
            && let Some(shard) = self.view.shard_of(key)
        {
            let mut replicas = self.view.replicas(shard);
            if !replicas.is_empty() {
                self.turn = self.turn.wrapping_add(1);
                return Ok(replicas.swap_remove(self.turn % replicas.len()));
            }
        }
        self.master_of(key)
    }

    /// One attempt: sends `pipeline` where `route` says and reads its replies with `read`.
    async fn attempt<T>(
        &mut self,
        route: Result<Route, CallError>,
        pipeline: Pipeline,
        read: impl FnOnce(Vec<Value>) -> Result<T, CallError>,
    ) -> Reply<T> {
        let route = match route {
            Ok(route) => route,
            Err(e) => return Reply { result: Err(e), served_by: None },
        };
        let result = self.exchange(&route, &pipeline).await.and_then(read);
        // Whoever may still be owed an answer must not find it on a connection in use.
        if matches!(&result, Err(e) if !e.definite) {
            self.links.remove(&route.addr);
        }
        let served_by = ServedBy { shard: route.shard, epoch: route.epoch, node: route.node };
        Reply { result, served_by: Some(served_by) }
    }

    async fn exchange(&mut self, route: &Route, pipeline: &Pipeline) -> Result<Vec<Value>, CallError> {
        // Out of the map while in use: if this future is dropped, so is the connection.
        let mut link = match self.links.remove(&route.addr) {
            Some((epoch, link)) if epoch == route.epoch && !link.is_closed() => link,
            _ => tokio::select! {
                biased;
                link = RedisLink::connect(route.addr, self.options.connect_timeout, self.view.transport()) => {
                    link.map_err(|e| outcome::not_connected(&e))?
                }
                () = self.view.epoch_after(route.shard, route.epoch) => {
                    return Err(CallError::definite("master changed"));
                }
            },
        };
        let replies = tokio::select! {
            // Replies that are there count, also in the moment the master changes.
            biased;
            replies = link.pipeline(pipeline) => replies.map_err(|e| outcome::lost(&e))?,
            () = self.view.epoch_after(route.shard, route.epoch) => {
                return Err(CallError::indefinite("master changed"));
            }
        };
        self.links.insert(route.addr, (route.epoch, link));
        Ok(replies)
    }

    fn with_wait(&self, mut pipeline: Pipeline) -> Pipeline {
        pipeline.cmd("WAIT").arg(self.options.wait_replicas).arg(self.options.wait_ms);
        pipeline
    }
}

impl Store for Client {
    async fn read(&mut self, key: &str) -> Reply<Option<String>> {
        let mut pipeline = pipe();
        pipeline.cmd("GET").arg(key);
        let route = self.reader_of(key);
        self.attempt(route, pipeline, outcome::found).await
    }

    async fn write(&mut self, key: &str, value: &str) -> Reply<()> {
        let mut pipeline = pipe();
        pipeline.cmd("SET").arg(key).arg(value);
        let (pipeline, route) = (self.with_wait(pipeline), self.master_of(key));
        let needed = self.options.wait_replicas;
        self.attempt(route, pipeline, |replies| outcome::written(&replies, needed)).await
    }

    async fn cas(&mut self, key: &str, expected: &str, new: &str) -> Reply<bool> {
        let mut pipeline = pipe();
        pipeline.cmd("EVAL").arg(CAS).arg(1).arg(key).arg(expected).arg(new);
        let (pipeline, route) = (self.with_wait(pipeline), self.master_of(key));
        let needed = self.options.wait_replicas;
        self.attempt(route, pipeline, |replies| outcome::swapped(&replies, needed)).await
    }
}
