//! Locks and groups of the fake ensemble: sessions that expire, queues, members.
//!
//! Simpler than the real thing in one respect: what a call that was given up has left behind is gone at once,
//! even if its client reaches no server.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout_at};

use super::FakeCluster;
use super::client::{FakeClient, LOOK_AGAIN};
use super::net::NodeId;
use super::shard::ms;
use crate::store::Reply;

/// How long a session outlives its client's last sign of life.
const SESSION_NS: u64 = ms(600);

/// Everything that belongs to sessions, and goes with them.
#[derive(Debug, Default)]
pub(super) struct Coordination {
    /// Of the last transaction: what is created is numbered by it.
    zxid: u64,
    sessions: HashMap<u64, Session>,
    /// By lock, in order of arrival: the token and the session of each holder or waiter.
    queues: HashMap<String, VecDeque<(i64, u64)>>,
    /// By group and member: the incarnation and its session.
    groups: HashMap<String, BTreeMap<String, (u64, u64)>>,
}

#[derive(Debug)]
struct Session {
    node: NodeId,
    heard_ns: u64,
}

impl Coordination {
    /// Lets time pass for the sessions of clients that nobody hears; `heard` says of which nodes somebody does.
    pub fn tick(&mut self, now_ns: u64, heard: impl Fn(NodeId) -> bool) {
        for session in self.sessions.values_mut().filter(|session| heard(session.node)) {
            session.heard_ns = now_ns;
        }
        let ended = |(&id, session): (&u64, &Session)| (now_ns > session.heard_ns + SESSION_NS).then_some(id);
        for id in self.sessions.iter().filter_map(ended).collect::<Vec<_>>() {
            self.close(id);
        }
    }

    fn next(&mut self) -> u64 {
        self.zxid += 1;
        self.zxid
    }

    fn open(&mut self, node: NodeId, now_ns: u64) -> u64 {
        let id = self.next();
        self.sessions.insert(id, Session { node, heard_ns: now_ns });
        id
    }

    pub fn close(&mut self, id: u64) {
        self.sessions.remove(&id);
        self.queues.values_mut().for_each(|queue| queue.retain(|&(_, owner)| owner != id));
        self.groups.values_mut().for_each(|group| group.retain(|_, &mut (_, owner)| owner != id));
    }

    fn enter(&mut self, lock: &str, session: u64) -> i64 {
        let token = self.next() as i64;
        self.queues.entry(lock.to_owned()).or_default().push_back((token, session));
        token
    }

    /// How many are before `token`; none if it is not in the queue.
    fn ahead(&self, lock: &str, token: i64) -> Option<usize> {
        self.queues.get(lock)?.iter().position(|&(other, _)| other == token)
    }

    fn depart(&mut self, lock: &str, token: i64) {
        if let Some(queue) = self.queues.get_mut(lock) {
            queue.retain(|&(other, _)| other != token);
        }
    }

    /// The incarnation of `member`, old or new; none if it belongs to another session.
    fn join(&mut self, group: &str, member: &str, session: u64) -> Option<u64> {
        let fresh = self.next();
        let group = self.groups.entry(group.to_owned()).or_default();
        let (incarnation, owner) = group.entry(member.to_owned()).or_insert((fresh, session));
        (*owner == session).then_some(*incarnation)
    }

    fn leave(&mut self, group: &str, session: u64) {
        if let Some(group) = self.groups.get_mut(group) {
            group.retain(|_, &mut (_, owner)| owner != session);
        }
    }

    fn members(&self, group: &str) -> Vec<(String, u64)> {
        let members = self.groups.get(group).into_iter().flatten();
        members.map(|(member, &(incarnation, _))| (member.clone(), incarnation)).collect()
    }
}

/// A place in a queue that is given up with this.
struct Place {
    cluster: FakeCluster,
    lock: String,
    token: Option<i64>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            self.cluster.world().coordination.depart(&self.lock, token);
        }
    }
}

impl FakeClient {
    /// Waits until a server that the leader knows is in reach; the client's session, a new one if need be.
    async fn session(&mut self) -> u64 {
        loop {
            self.while_paused().await;
            self.hop(Duration::ZERO).await;
            if let Some(id) = self.open_session() {
                self.session = Some(id);
                return id;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    fn open_session(&self) -> Option<u64> {
        let world = &mut *self.cluster.world();
        let reached = world.nodes.server_runs(self.node)
            && world.zookeeper.serves(self.node, &world.nodes, &world.links);
        let known = self.session.filter(|id| world.coordination.sessions.contains_key(id));
        reached.then(|| known.unwrap_or_else(|| world.coordination.open(self.node, world.now_ns)))
    }

    pub(super) async fn take_lock(&mut self, lock: &str, patience: Duration) -> Reply<i64> {
        let deadline = (Instant::now() + patience).into();
        let mut place = Place { cluster: self.cluster.clone(), lock: lock.to_owned(), token: None };
        while let Ok(session) = timeout_at(deadline, self.session()).await {
            let ahead = {
                let coordination = &mut self.cluster.world().coordination;
                let ahead = place.token.and_then(|token| coordination.ahead(lock, token));
                if ahead.is_none() {
                    // Not there yet, or lost with a session.
                    place.token = Some(coordination.enter(lock, session));
                }
                ahead
            };
            if ahead == Some(0)
                && let Some(token) = place.token.take()
            {
                return Reply { result: Ok(token), served_by: None };
            }
            if timeout_at(deadline, sleep(LOOK_AGAIN)).await.is_err() {
                break;
            }
        }
        Reply::refused("lock not granted in time")
    }

    pub(super) async fn give_lock_back(&mut self, lock: &str, token: i64) -> Reply<()> {
        let place = Place { cluster: self.cluster.clone(), lock: lock.to_owned(), token: Some(token) };
        self.session().await;
        drop(place);
        Reply { result: Ok(()), served_by: None }
    }

    pub(super) async fn join_group(&mut self, group: &str, member: &str) -> Reply<u64> {
        let session = self.session().await;
        match self.cluster.world().coordination.join(group, member, session) {
            Some(incarnation) => Reply { result: Ok(incarnation), served_by: None },
            None => Reply::refused(format!("somebody else is {member} in the group")),
        }
    }

    pub(super) async fn leave_group(&mut self, group: &str) -> Reply<()> {
        let session = self.session().await;
        self.cluster.world().coordination.leave(group, session);
        Reply { result: Ok(()), served_by: None }
    }

    pub(super) async fn list_group(&mut self, group: &str) -> Reply<Vec<(String, u64)>> {
        self.session().await;
        let members = self.cluster.world().coordination.members(group);
        Reply { result: Ok(members), served_by: None }
    }
}

impl Drop for FakeClient {
    fn drop(&mut self) {
        if let Some(id) = self.session {
            self.cluster.world().coordination.close(id);
        }
    }
}
