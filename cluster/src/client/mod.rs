//! The client library: one attempt per call, on the master of the shard that owns the key.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use redis::{Pipeline, Value};

pub mod authentic;
pub mod command;
pub mod coordination;
pub mod outcome;
mod request;
#[cfg(test)]
mod tests;
mod view;

pub use coordination::{Coordination, CoordinationOptions};
pub use view::{ClusterState, ClusterView, Route, ShardView};

use crate::{
    credentials::{Login, Secret},
    defence::{Defence, Without},
    redis_link::{LinkError, RedisLink},
    ring::Ring,
    store::{Answer, CallError, Command, Reply, ServedBy, Store},
};
use authentic::Authentic;
use request::Requests;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// What the passwords of the cluster are derived from.
    pub secret: Secret,
    /// Replicas that must acknowledge a call: half of the servers of a shard, rounded down, so that they and the
    /// master are a majority.
    pub wait_replicas: u32,
    /// How long `WAIT` waits at the server, milliseconds (0: for ever).
    pub wait_ms: u64,
    /// Where reads go.
    pub read_from: ReadFrom,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Defences that are left out.
    pub without: Without,
    /// Whether requests and replies prove themselves: as the agents of the cluster are set.
    pub authenticated: bool,
}

impl ClientOptions {
    /// For shards of three: one replica must acknowledge.
    pub fn new(secret: Secret) -> Self {
        ClientOptions {
            secret,
            wait_replicas: 1,
            wait_ms: 1000,
            read_from: ReadFrom::Master,
            connect_timeout: Duration::from_millis(500),
            without: Without::nothing(),
            authenticated: false,
        }
    }
}

/// Where [`Defence::SingleAttempt`] is left out: how often a call is tried, and how long each time.
const ATTEMPTS: u32 = 4;
const ATTEMPT_LIMIT: Duration = Duration::from_millis(110);

/// Clients of this process so far.
static CLIENTS: AtomicU32 = AtomicU32::new(0);

/// An open connection and whom it is logged in as.
type Session = (String, RedisLink);

/// A client of the cluster, with connections of its own.
///
/// `WAIT` speaks of what its own connection has written, so a call and its `WAIT` share one, and nobody
/// else writes on it. A connection is used again only after a complete answer: a call that fails or is
/// dropped takes its connection with it.
pub struct Client {
    view: ClusterView,
    options: ClientOptions,
    requests: Requests,
    /// None where nothing is proven.
    authentic: Option<Authentic>,
    sessions: HashMap<SocketAddr, Session>,
    turn: usize,
    /// Where [`Defence::RingRefresh`] is left out: the ring as first seen.
    first_ring: Option<Ring>,
    /// Where [`Defence::FollowMaster`] is left out, in every second client: masters that have given no trouble so
    /// far.
    trusted: BTreeMap<u32, Route>,
    sticky: bool,
    coordination: Coordination,
}

impl Client {
    /// A client that finds its way by `view`. Connects when it is first used.
    pub fn new(view: ClusterView, options: ClientOptions) -> Self {
        let requests = Requests::new(options.without.clone(), options.wait_replicas, options.wait_ms);
        let odd = CLIENTS.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        let sticky = odd && !options.without.defends(Defence::FollowMaster);
        let authentic =
            options.authenticated.then(|| Authentic::new(options.secret.clone(), options.without.clone()));
        Client {
            view,
            options,
            requests,
            authentic,
            sessions: HashMap::new(),
            turn: 0,
            first_ring: None,
            trusted: BTreeMap::new(),
            sticky,
            coordination: Coordination::default(),
        }
    }

    /// The same with locks and groups, reached and defended as everything else is.
    pub fn with_coordination(self, mut options: CoordinationOptions) -> Self {
        options.session.transport = self.view.transport().clone();
        options.without = self.options.without.clone();
        Client { coordination: Coordination::new(options), ..self }
    }

    /// The view it finds its way by.
    pub fn view(&self) -> &ClusterView {
        &self.view
    }

    fn defends(&self, defence: Defence) -> bool {
        self.options.without.defends(defence)
    }

    fn shard_of(&mut self, key: &str) -> Result<u32, CallError> {
        let shard = if self.defends(Defence::RingRefresh) {
            self.view.shard_of(key)
        } else {
            if self.first_ring.is_none() {
                let ring = self.view.state().ring.clone();
                self.first_ring = (ring != Ring::default()).then_some(ring);
            }
            self.first_ring.as_ref().and_then(|ring| ring.owner(key))
        };
        shard.ok_or_else(|| CallError::definite("no ring"))
    }

    fn master_of(&mut self, key: &str) -> Result<Route, CallError> {
        let shard = self.shard_of(key)?;
        let route = self.trusted.get(&shard).cloned().or_else(|| self.view.master(shard));
        route.ok_or_else(|| CallError::definite("no master"))
    }

    fn replica_of(&mut self, key: &str) -> Option<Route> {
        let shard = self.view.shard_of(key)?;
        let mut replicas = self.view.replicas(shard);
        (!replicas.is_empty()).then(|| {
            self.turn = self.turn.wrapping_add(1);
            replicas.swap_remove(self.turn % replicas.len())
        })
    }

    async fn attempt(&mut self, key: &str, command: &Command) -> Reply<Answer> {
        if self.options.read_from == ReadFrom::Replica
            && command.is_read()
            && let Some(route) = self.replica_of(key)
        {
            if self.options.authenticated {
                let why = "replicas prove nothing: read at the master";
                return self.conclude(route, Err(CallError::definite(why)));
            }
            let pipeline = self.requests.at_replica(key, command);
            let login = self.options.secret.reader();
            let replies = self.exchange(&route, login, &pipeline).await;
            return self.conclude(route, replies.and_then(|replies| outcome::read(command, &replies)));
        }
        let route = match self.master_of(key) {
            Ok(route) => route,
            Err(e) => return Reply { result: Err(e), served_by: None },
        };
        let result = self.ask_master(&route, key, command).await;
        if self.sticky {
            match &result {
                Ok(_) => _ = self.trusted.insert(route.shard, route.clone()),
                Err(_) => _ = self.trusted.remove(&route.shard),
            }
        }
        self.conclude(route, result)
    }

    async fn ask_master(&mut self, route: &Route, key: &str, command: &Command) -> Result<Answer, CallError> {
        let login = self.options.secret.client(route.shard, route.epoch);
        let Some(authentic) = &mut self.authentic else {
            let pipeline = self.requests.request(key, command, route.epoch);
            let replies = self.exchange(route, login, &pipeline).await?;
            return self.requests.judge(command, route.epoch, &replies);
        };
        let (pipeline, asked) = authentic.request(&self.requests, route, key, command);
        let replies = self.exchange(route, login, &pipeline).await?;
        match &mut self.authentic {
            Some(authentic) => authentic.judge(&self.requests, &asked, command, &replies),
            None => Err(CallError::unexpected()),
        }
    }

    /// Runs a script at the master of a shard under the rules for operations: `KEYS` are epoch, sequence number,
    /// slots and move of the dataset, `ARGV[1]` is the epoch, which the script is to check. With `sure` it
    /// counts only once enough replicas have all that the master had when it was over; else for what it read.
    pub(crate) async fn run_script(
        &mut self,
        shard: u32,
        script: &str,
        args: &[Vec<u8>],
        sure: bool,
    ) -> Result<Value, CallError> {
        let route = self.view.master(shard).ok_or_else(|| CallError::definite("no master"))?;
        let pipeline = self.requests.script(script, route.epoch, args, sure);
        let login = self.options.secret.client(shard, route.epoch);
        let replies = self.exchange(&route, login, &pipeline).await;
        let result = replies.and_then(|replies| self.requests.judge_script(route.epoch, &replies, sure));
        self.conclude(route, result).result
    }

    fn conclude<T>(&mut self, route: Route, result: Result<T, CallError>) -> Reply<T> {
        // Whoever may still be owed an answer must not find it on a connection in use.
        if matches!(&result, Err(e) if !e.definite) {
            self.sessions.remove(&route.addr);
        }
        let served_by = ServedBy { shard: route.shard, epoch: route.epoch, node: route.node };
        Reply { result, served_by: Some(served_by) }
    }

    /// Sends `pipeline` where `route` says, and returns a value for each of its commands.
    async fn exchange(
        &mut self,
        route: &Route,
        login: Login,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, CallError> {
        // Out of the map while in use: if this future is dropped, so is the connection.
        let mut link = match self.sessions.remove(&route.addr) {
            Some((user, link)) if user == login.user && !link.is_closed() => link,
            _ => tokio::select! {
                biased;
                link = self.connect(route.addr, &login) => link.map_err(|e| outcome::not_connected(&e))?,
                () = self.left_behind(route) => return Err(CallError::definite("master changed")),
            },
        };
        let replies = tokio::select! {
            // Replies that are there count, also in the moment the master changes.
            biased;
            replies = link.pipeline(pipeline) => replies.map_err(|e| outcome::lost(&e))?,
            () = self.left_behind(route) => return Err(CallError::indefinite("master changed")),
        };
        self.sessions.insert(route.addr, (login.user, link));
        Ok(replies)
    }

    async fn connect(&self, addr: SocketAddr, login: &Login) -> Result<RedisLink, LinkError> {
        let limit = self.options.connect_timeout;
        let mut link = RedisLink::connect_as(addr, login, limit, self.view.transport()).await?;
        // In the authenticated mode the agent has loaded the scripts: their text must not travel.
        if !self.options.authenticated {
            let at_replica = login.user == crate::credentials::READER;
            link.command(&self.requests.load_script(at_replica), limit).await?;
        }
        Ok(link)
    }

    /// Comes back when the shard has moved on to a later epoch.
    async fn left_behind(&self, route: &Route) {
        if self.sticky {
            std::future::pending::<()>().await;
        }
        self.view.epoch_after(route.shard, route.epoch).await;
    }

    /// What a client library does that wants to be helpful.
    async fn attempt_again_and_again(&mut self, key: &str, command: &Command) -> Reply<Answer> {
        for _ in 1..ATTEMPTS {
            match tokio::time::timeout(ATTEMPT_LIMIT, self.attempt(key, command)).await {
                Ok(reply) if reply.result.is_ok() => return reply,
                Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(_) => {}
            }
        }
        self.attempt(key, command).await
    }
}

impl Store for Client {
    async fn execute(&mut self, key: &str, command: &Command) -> Reply<Answer> {
        let command = &*self.coordination.as_sent(command);
        if self.defends(Defence::SingleAttempt) {
            self.attempt(key, command).await
        } else {
            self.attempt_again_and_again(key, command).await
        }
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
