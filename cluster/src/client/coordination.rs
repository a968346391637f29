//! A client's locks and memberships: one ZooKeeper session of its own for all of them, opened when first used.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use crate::{
    group::{Group, GroupError, GroupMember, GroupOptions, GroupWeakness},
    lock::{LockOptions, LockService, LockWeakness, Token},
    store::{CallError, Command, Reply},
    zk::{Session, SessionOptions},
    znodes::Paths,
};

/// No grant has a greater token: up to here tokens are compared exactly.
const TOKEN_MAX: i64 = 1 << 53;

/// How a client takes part.
#[derive(Debug, Clone)]
pub struct CoordinationOptions {
    /// ZooKeeper, and how long a session outlives its last sign of life: what a dead holder or member costs.
    pub session: SessionOptions,
    /// Where the cluster lives.
    pub paths: Paths,
    /// None in earnest.
    pub lock_weakness: Option<LockWeakness>,
    /// None in earnest.
    pub group_weakness: Option<GroupWeakness>,
}

impl CoordinationOptions {
    /// Sessions of 1.5 s, no weakness; `zookeeper` is `host:port,host:port,…`.
    pub fn new(zookeeper: &str) -> Self {
        CoordinationOptions {
            session: SessionOptions::new(zookeeper),
            paths: Paths::default(),
            lock_weakness: None,
            group_weakness: None,
        }
    }
}

/// The part of a client that knows locks and groups. The default one offers none.
#[derive(Default)]
pub struct Coordination {
    options: Option<CoordinationOptions>,
    open: Option<Open>,
}

/// What there is once it was used.
struct Open {
    session: Arc<Session>,
    options: CoordinationOptions,
    locks: LockService,
    groups: HashMap<String, Arc<Group>>,
    members: HashMap<String, GroupMember>,
}

impl Coordination {
    /// Locks and groups, with a session that opens when it is first needed.
    pub fn new(options: CoordinationOptions) -> Self {
        Coordination { options: Some(options), open: None }
    }

    /// What is sent for `command`: itself, unless the weakness is on that tells no tokens.
    pub fn as_sent<'a>(&self, command: &'a Command) -> Cow<'a, Command> {
        let tokens_told =
            self.options.as_ref().is_none_or(|o| o.lock_weakness != Some(LockWeakness::WithoutToken));
        match command {
            _ if tokens_told => Cow::Borrowed(command),
            Command::Guarded { value, .. } => {
                Cow::Owned(Command::Guarded { token: TOKEN_MAX, value: value.clone() })
            }
            Command::Claim(_) => Cow::Owned(Command::Claim(TOKEN_MAX)),
            _ => Cow::Borrowed(command),
        }
    }

    /// See [`Store::acquire`](crate::store::Store::acquire).
    pub async fn acquire(&mut self, lock: &str, patience: Duration) -> Reply<i64> {
        let Some(open) = self.open() else { return not_offered() };
        reply(open.locks.acquire(lock, patience).await.map(|token| token.fence()))
    }

    /// See [`Store::release`](crate::store::Store::release).
    pub async fn release(&mut self, lock: &str, token: i64) -> Reply<()> {
        let Some(open) = self.open() else { return not_offered() };
        reply(open.locks.release(&Token::new(lock, token)).await)
    }

    /// See [`Store::join`](crate::store::Store::join). Of a client that is a member already it is the question
    /// whether it certainly still is: two equal answers mean that it was all the time between.
    pub async fn join(&mut self, group: &str, member: &str) -> Reply<u64> {
        let Some(open) = self.open() else { return not_offered() };
        reply(open.join(group, member).await)
    }

    /// See [`Store::leave`](crate::store::Store::leave).
    pub async fn leave(&mut self, group: &str) -> Reply<()> {
        let Some(open) = self.open() else { return not_offered() };
        match open.members.remove(group) {
            Some(member) => reply(member.close().await),
            None => Reply::refused("not a member"),
        }
    }

    /// See [`Store::members`](crate::store::Store::members).
    pub async fn members(&mut self, group: &str) -> Reply<Vec<(String, u64)>> {
        let Some(open) = self.open() else { return not_offered() };
        reply(open.list(group).await)
    }

    fn open(&mut self) -> Option<&mut Open> {
        let options = self.options.as_ref()?;
        Some(self.open.get_or_insert_with(|| Open::new(options.clone())))
    }
}

impl Open {
    fn new(options: CoordinationOptions) -> Self {
        let session = Arc::new(Session::open(options.session.clone()));
        let lock_options = LockOptions { paths: options.paths.clone(), weakness: options.lock_weakness };
        let locks = LockService::new(session.clone(), lock_options);
        Open { session, options, locks, groups: HashMap::new(), members: HashMap::new() }
    }

    fn group(&mut self, name: &str) -> Result<Arc<Group>, GroupError> {
        if let Some(group) = self.groups.get(name) {
            return Ok(group.clone());
        }
        let options =
            GroupOptions { paths: self.options.paths.clone(), weakness: self.options.group_weakness };
        let group = Arc::new(Group::new(self.session.clone(), name, options)?);
        self.groups.insert(name.to_owned(), group.clone());
        Ok(group)
    }

    async fn join(&mut self, group: &str, id: &str) -> Result<u64, CallError> {
        if !self.members.contains_key(group) {
            // Long enough for what an earlier process of this name has left behind to expire.
            let patience = self.options.session.session_timeout * 3;
            let member = GroupMember::start(self.group(group)?, id, "", patience).await?;
            self.members.insert(group.to_owned(), member);
        }
        let member = &self.members[group];
        if member.id() != id {
            return Err(CallError::definite("a member under another name"));
        }
        let (_, czxid) = member.until_present().await;
        Ok(czxid as u64)
    }

    async fn list(&mut self, group: &str) -> Result<Vec<(String, u64)>, CallError> {
        let listed = self.group(group)?.members().await?;
        Ok(listed.into_iter().map(|member| (member.id, member.czxid as u64)).collect())
    }
}

fn reply<T>(result: Result<T, impl Into<CallError>>) -> Reply<T> {
    Reply { result: result.map_err(Into::into), served_by: None }
}

fn not_offered<T>() -> Reply<T> {
    Reply::refused("this client was not told where the locks and groups are")
}
