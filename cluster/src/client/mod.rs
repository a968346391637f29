//! The client library: one attempt per call, on the master of the shard that owns the key.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use redis::{Pipeline, Value, pipe};

pub mod command;
pub mod coordination;
pub mod outcome;
#[cfg(test)]
mod tests;
mod view;

pub use coordination::{Coordination, CoordinationOptions};
pub use view::{ClusterState, ClusterView, Route, ShardView};

use crate::{
    redis_link::RedisLink,
    store::{Answer, CallError, Command, Reply, ServedBy, Store},
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
    coordination: Coordination,
}

impl Client {
    /// A client that finds its way by `view`. Connects when it is first used.
    pub fn new(view: ClusterView, options: ClientOptions) -> Self {
        let coordination = Coordination::default();
        Client { view, options, links: HashMap::new(), turn: 0, coordination }
    }

    /// The same with locks and groups.
    pub fn with_coordination(self, options: CoordinationOptions) -> Self {
        Client { coordination: Coordination::new(options), ..self }
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
                link = RedisLink::connect(route.addr, self.options.connect_timeout) => {
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
}

impl Store for Client {
    async fn execute(&mut self, key: &str, command: &Command) -> Reply<Answer> {
        let command = &*self.coordination.as_sent(command);
        let mut pipeline = pipe();
        pipeline.add_command(command::bare(key, command));
        let needed = self.options.wait_replicas;
        let route = if command.is_read() {
            self.reader_of(key)
        } else {
            pipeline.cmd("WAIT").arg(needed).arg(self.options.wait_ms);
            self.master_of(key)
        };
        self.attempt(route, pipeline, |replies| outcome::answered(command, &replies, needed)).await
    }
    async fn acquire(&mut self, lock: &str, patience: Duration) -> Reply<i64> {
        self.coordination.acquire(lock, patience).await
    }

    async fn release(&mut self, lock: &str, token: i64) -> Reply<()> {
        self.coordination.release(lock, token).await
    }

    async fn join(&mut self, group: &str, member: &str) -> Reply<u64> {
        self.coordination.join(group, member).await
    }

    async fn leave(&mut self, group: &str) -> Reply<()> {
        self.coordination.leave(group).await
    }

    async fn members(&mut self, group: &str) -> Reply<Vec<(String, u64)>> {
        self.coordination.members(group).await
    }
}
