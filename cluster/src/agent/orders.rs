//! What an agent orders its own Redis to do, each order on a connection of its own.
//!
//! A server run is fixed per process and a connection ends in one process, so an order that has checked the
//! run at its start cannot reach another one.

use std::{net::SocketAddr, time::Duration};

use redis::{Cmd, Value, cmd, pipe};

use super::config::AgentConfig;
use crate::{
    client::authentic,
    credentials::{Login, Secret, epoch_of, is_of_an_epoch},
    dataset,
    defence::{Defence, Without},
    provision::redis::PARKED,
    redis_link::{LinkError, RedisLink, Replication},
    seal::{Scripts, Server},
    security::Transport,
    znodes::Position,
};

/// Longest wait for the own Redis in one order.
const LIMIT: Duration = Duration::from_millis(300);

/// What a Redis says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Role, link and offset.
    pub replication: Replication,
    /// Where its data stands; none while it is loading.
    pub position: Option<Position>,
    /// Epoch below which it follows nobody, 0 if it has promised nothing.
    pub promise: u64,
}

/// Orders to one Redis.
#[derive(Debug, Clone)]
pub struct Orders {
    addr: SocketAddr,
    shard: u32,
    secret: Secret,
    without: Without,
    transport: Transport,
    /// What clients call in the authenticated mode.
    scripts: Option<Scripts>,
}

impl Orders {
    /// Orders to the Redis of an agent.
    pub fn new(config: &AgentConfig, transport: Transport) -> Self {
        let server = Server { shard: config.shard, node: config.node.clone() };
        let scripts =
            config.authenticated.then(|| authentic::of_server(&config.secret, &server, &config.without).1);
        Orders {
            addr: config.redis,
            shard: config.shard,
            secret: config.secret.clone(),
            without: config.without.clone(),
            transport,
            scripts,
        }
    }

    /// A connection, and the server run at its other end.
    pub async fn open(&self, limit: Duration) -> Result<(RedisLink, String), LinkError> {
        let mut link = RedisLink::connect_as(self.addr, &self.secret.agent(), limit, &self.transport).await?;
        let run_id = link.info("server", limit).await?.get("run_id").unwrap_or_default().to_owned();
        Ok((link, run_id))
    }

    async fn open_run(&self, run_id: &str) -> Result<RedisLink, String> {
        let (link, found) = self.open(LIMIT).await.map_err(text)?;
        if found != run_id { Err("redis was restarted".into()) } else { Ok(link) }
    }

    /// Ends whatever connections this agent, or one before it on this node, still has open, commands that
    /// were not read yet included.
    pub async fn cut_predecessor(&self, run_id: &str) -> Result<(), String> {
        let mut link = self.open_run(run_id).await?;
        let mut kill = cmd("CLIENT");
        kill.arg("KILL").arg("USER").arg(crate::credentials::AGENT).arg("SKIPME").arg("yes");
        link.command(&kill, LIMIT).await.map(|_| ()).map_err(text)
    }

    /// Makes the Redis follow nobody, serve nobody and promise not to follow a master before `epoch`. Returns
    /// what it says afterwards, and whether it was a master before.
    pub async fn fence(&self, epoch: u64, run_id: &str) -> Result<(Look, bool), String> {
        let mut link = self.open_run(run_id).await?;
        let before = look(&mut link, LIMIT).await.map_err(text)?;
        if before.promise > epoch {
            return Err(format!("it has promised epoch {}", before.promise));
        }
        let master = before.replication.master;
        let stops = self.without.defends(if master { Defence::Fence } else { Defence::Park });
        let users = link.command(cmd("ACL").arg("USERS"), LIMIT).await.map_err(text)?;
        let old: Vec<String> = user_names(&users).filter(|user| is_of_an_epoch(user)).collect();
        let mut orders = vec![self.promise_command(epoch)];
        if stops {
            orders.push(replicaof(None));
            if !old.is_empty() {
                let mut delete = cmd("ACL");
                delete.arg("DELUSER").arg(old);
                orders.push(delete); // this also cuts off who is logged in as one of them
            }
        }
        transaction(&mut link, orders).await?;
        Ok((look(&mut link, LIMIT).await.map_err(text)?, master))
    }

    fn promise_command(&self, epoch: u64) -> Cmd {
        let login = self.secret.replica(self.shard, epoch);
        let mut promise = cmd("CONFIG");
        promise.arg("SET").arg("masteruser").arg(login.user).arg("masterauth").arg(login.password);
        promise
    }

    /// Makes the Redis master of an epoch: out of replication, stamped, and open for those who believe in this
    /// epoch, all at once. An empty dataset owns `slots`.
    pub async fn promote(&self, epoch: u64, run_id: &str, slots: &str) -> Result<(), String> {
        let mut link = self.open_run(run_id).await?;
        let promise = look(&mut link, LIMIT).await.map_err(text)?.promise;
        if promise != epoch && self.without.defends(Defence::Recheck) {
            return Err(format!("it has promised epoch {promise}"));
        }
        let mut rights = vec!["~*", "+@all", "-@admin", "-@dangerous", "+restore", "+info"];
        if let Some(scripts) = &self.scripts {
            // Before there is anybody to call them; the own Redis is reached without leaving the node.
            for script in scripts.all() {
                link.command(cmd("SCRIPT").arg("LOAD").arg(&script.text), LIMIT).await.map_err(text)?;
            }
            rights.push("-script");
        }
        let mut stamp = cmd("EVAL");
        stamp.arg(dataset::STAMP).arg(3).arg(dataset::EPOCH).arg(dataset::SEQ).arg(dataset::OWNED);
        stamp.arg(epoch).arg(slots);
        let (clients, replicas) =
            (self.secret.client(self.shard, epoch), self.secret.replica(self.shard, epoch));
        let orders = vec![
            cmd("REPLICAOF").arg("NO").arg("ONE").clone(),
            stamp,
            set_user(&replicas, &["+psync", "+replconf", "+ping"]),
            set_user(&clients, &rights),
        ];
        transaction(&mut link, orders).await
    }

    /// Makes the Redis a replica, if it has promised just this epoch. With `anew` the link is broken first.
    pub async fn attach(
        &self,
        master: SocketAddr,
        epoch: u64,
        run_id: &str,
        anew: bool,
    ) -> Result<(), String> {
        let mut link = self.open_run(run_id).await?;
        let promise = look(&mut link, LIMIT).await.map_err(text)?.promise;
        if promise != epoch {
            return Err(format!("it has promised epoch {promise}"));
        }
        let mut orders = Vec::new();
        if anew {
            orders.push(replicaof(None));
        }
        orders.push(replicaof(Some(master)));
        transaction(&mut link, orders).await
    }

    /// Where the data of another server stands, if it is master.
    pub async fn position_of_master(&self, addr: SocketAddr) -> Result<Position, String> {
        let mut link =
            RedisLink::connect_as(addr, &self.secret.agent(), LIMIT, &self.transport).await.map_err(text)?;
        let look = look(&mut link, LIMIT).await.map_err(text)?;
        if !look.replication.master {
            return Err("it is no longer master".into());
        }
        look.position.ok_or_else(|| "it does not say where it stands".into())
    }

    /// Where the data of the own server stands.
    pub async fn own_position(&self, run_id: &str) -> Result<Position, String> {
        let mut link = self.open_run(run_id).await?;
        let look = look(&mut link, LIMIT).await.map_err(text)?;
        look.position.ok_or_else(|| "it is loading".into())
    }
}

/// Asks a Redis for everything an agent wants to know, in one flight.
pub async fn look(link: &mut RedisLink, limit: Duration) -> Result<Look, LinkError> {
    let mut questions = pipe();
    questions.cmd("INFO").arg("replication");
    questions.add_command(dataset::position_command());
    questions.cmd("CONFIG").arg("GET").arg("masteruser");
    let answers = tokio::time::timeout(limit, link.pipeline(&questions)).await;
    let answers = answers.map_err(|_| LinkError::Silent(limit.as_millis()))?;
    let answers = answers.map_err(|e| LinkError::Lost(e.to_string()))?;
    let [info, position, promise] = answers.as_slice() else {
        return Err(LinkError::Odd(format!("{} answers to 3 questions", answers.len())));
    };
    Ok(Look {
        replication: crate::redis_link::Info::of(info)?.replication(),
        position: dataset::position(position),
        promise: promised(promise),
    })
}

/// The epoch in `masteruser`.
fn promised(config_get: &Value) -> u64 {
    let user = match config_get {
        Value::Array(items) => items.last(),
        Value::Map(items) => items.last().map(|(_, value)| value),
        _ => None,
    };
    match user {
        Some(Value::BulkString(user)) => std::str::from_utf8(user).ok().and_then(epoch_of).unwrap_or(0),
        _ => 0,
    }
}

fn user_names(reply: &Value) -> impl Iterator<Item = String> {
    let items = match reply {
        Value::Array(items) => items.as_slice(),
        _ => &[],
    };
    items.iter().filter_map(|item| match item {
        Value::BulkString(name) => Some(String::from_utf8_lossy(name).into_owned()),
        _ => None,
    })
}

fn set_user(login: &Login, rules: &[&str]) -> Cmd {
    let mut command = cmd("ACL");
    command
        .arg("SETUSER")
        .arg(&login.user)
        .arg("reset")
        .arg("on")
        .arg(format!(">{}", login.password))
        .arg(rules);
    command
}

/// `REPLICAOF` a master, or of nowhere.
fn replicaof(of: Option<SocketAddr>) -> Cmd {
    let (host, port) =
        of.map_or((PARKED.0.to_owned(), PARKED.1), |addr| (addr.ip().to_string(), addr.port()));
    let mut command = cmd("REPLICAOF");
    command.arg(host).arg(port);
    command
}

/// All of it or nothing, with nobody in between.
async fn transaction(link: &mut RedisLink, orders: Vec<Cmd>) -> Result<(), String> {
    let mut pipeline = pipe();
    pipeline.cmd("MULTI");
    for order in &orders {
        pipeline.add_command(order.clone());
    }
    pipeline.cmd("EXEC");
    let replies = tokio::time::timeout(LIMIT, link.pipeline(&pipeline)).await;
    let replies = replies.map_err(|_| "redis did not answer".to_owned())?.map_err(text)?;
    match replies.last() {
        Some(Value::Array(results)) => match results.iter().find_map(refusal) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        },
        Some(other) => Err(refusal(other).unwrap_or_else(|| format!("EXEC gave {other:?}"))),
        None => Err("no answer to EXEC".into()),
    }
}

fn refusal(value: &Value) -> Option<String> {
    match value {
        Value::ServerError(e) => Some(crate::redis_link::server_reason(e)),
        _ => None,
    }
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}
