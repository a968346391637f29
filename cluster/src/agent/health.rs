//! What an agent knows of two Redis servers: its own, and the master it follows.
//!
//! Three tasks that never wait for each other or for ZooKeeper: a watch over the agent's own Redis, a
//! heartbeat that writes and waits for replicas while it is master, and a probe of the shard's master.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use redis::{Value, cmd, pipe};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    config::{AgentConfig, Timing},
    journal::log,
    orders::{Orders, look},
};
use crate::{
    credentials::Login,
    dataset,
    redis_link::{LinkError, RedisLink, Replication},
    security::Transport,
    znodes::Position,
};

/// Own Redis as last seen.
#[derive(Debug, Clone, PartialEq)]
pub enum RedisSight {
    /// Not looked at yet.
    Unknown,
    /// It does not answer.
    Down {
        /// When it last answered, or when the agent began to ask.
        since: Instant,
        /// Nobody listens on its port: the process is gone, not slow.
        refused: bool,
        /// Why, for people.
        why: String,
    },
    /// It answers.
    Up {
        /// Incarnation: changes with every start of the process.
        run_id: String,
        /// Role and offset.
        replication: Replication,
        /// Where its data stands; none while it is loading.
        position: Option<Position>,
        /// Epoch below which it follows nobody, 0 if it has promised nothing.
        promise: u64,
        /// When `replication.linked` last changed, or the incarnation was first seen.
        link_since: Instant,
        /// When it said so.
        seen_at: Instant,
    },
}

/// Watches the agent's own Redis.
pub async fn watch_own(config: AgentConfig, transport: Transport, out: watch::Sender<RedisSight>) {
    let limit = config.timing.lease();
    let poll = Duration::from_millis(config.timing.poll_ms);
    let orders = Orders::new(&config, transport);
    let mut answered = Instant::now();
    let (mut refusals, mut told) = (0, None);
    loop {
        let mut link = match orders.open(limit).await {
            Ok(open) => open,
            Err(e) => {
                // One refusal may be a restart seen in the middle of it; two in a row are a dead process.
                let refused = matches!(&e, LinkError::Connect(io) if io.kind() == std::io::ErrorKind::ConnectionRefused);
                refusals = if refused { refusals + 1 } else { 0 };
                let why = e.to_string();
                if told.as_ref() != Some(&why) {
                    log(&format!("redis at {} does not let me in: {why}", config.redis));
                    told = Some(why);
                }
                out.send_replace(RedisSight::Down {
                    since: answered,
                    refused: refusals > 1,
                    why: e.to_string(),
                });
                sleep(poll / 2).await;
                continue;
            }
        };
        (refusals, told) = (0, None);
        let mut sight: Option<(Replication, Instant)> = None;
        loop {
            match look(&mut link.0, limit).await {
                Ok(seen) => {
                    answered = Instant::now();
                    let (replication, position, promise) = (seen.replication, seen.position, seen.promise);
                    let link_since = match &sight {
                        Some((before, since)) if before.linked == replication.linked => *since,
                        _ => answered,
                    };
                    sight = Some((replication.clone(), link_since));
                    let run_id = link.1.clone();
                    out.send_replace(RedisSight::Up {
                        run_id,
                        replication,
                        position,
                        promise,
                        link_since,
                        seen_at: answered,
                    });
                }
                Err(e) => {
                    out.send_replace(RedisSight::Down {
                        since: answered,
                        refused: false,
                        why: e.to_string(),
                    });
                    break;
                }
            }
            sleep(poll).await;
            if link.0.is_closed() {
                break;
            }
        }
    }
}

/// The heartbeat as last seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeartbeatSight {
    /// When the latest heartbeat that was acknowledged had been sent.
    pub acked_at: Option<Instant>,
    /// Replicas that acknowledged the latest one.
    pub replicas: u32,
}

/// Appends to the stream and waits for replicas for as long as the agent's Redis is master.
pub async fn beat(
    config: AgentConfig,
    transport: Transport,
    own: watch::Receiver<RedisSight>,
    out: watch::Sender<HeartbeatSight>,
) {
    let period = Duration::from_millis(config.timing.renew_ms);
    let login = config.secret.agent();
    let mut link: Option<RedisLink> = None;
    loop {
        sleep(period).await;
        let epoch = match &*own.borrow() {
            RedisSight::Up { replication, position: Some(position), .. } if replication.master => {
                position.epoch
            }
            _ => {
                link = None;
                continue;
            }
        };
        let mut open = match link.take() {
            Some(open) if !open.is_closed() => open,
            _ => match RedisLink::connect_as(config.redis, &login, config.timing.lease(), &transport).await {
                Ok(open) => open,
                Err(_) => continue,
            },
        };
        let sent = Instant::now();
        if let Some(replicas) = beat_once(&mut open, epoch, &config.timing).await {
            let acked = replicas >= config.timing.wait_replicas;
            out.send_modify(|sight| {
                sight.replicas = replicas;
                if acked {
                    sight.acked_at = Some(sent);
                }
            });
            link = Some(open);
        }
    }
}

/// Replicas that acknowledged one heartbeat; none if it failed and the connection is of no more use.
async fn beat_once(link: &mut RedisLink, epoch: u64, timing: &Timing) -> Option<u32> {
    let mut pipeline = pipe();
    pipeline.cmd("EVAL").arg(dataset::BEAT).arg(2).arg(dataset::EPOCH).arg(dataset::SEQ).arg(epoch);
    pipeline.cmd("WAIT").arg(timing.wait_replicas).arg(timing.beat_wait_ms());
    let values = timeout(timing.lease(), link.pipeline(&pipeline)).await.ok()?.ok()?;
    match values.as_slice() {
        [Value::Int(1), Value::Int(replicas)] => u32::try_from(*replicas).ok(),
        _ => None,
    }
}

/// The shard's master as seen from here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeSight {
    /// Whom these are about.
    pub target: Option<SocketAddr>,
    /// When it last answered, or when the probe turned to it.
    pub answered_at: Instant,
}

/// Pings the master that `target` names.
pub async fn probe(
    period: Duration,
    login: Login,
    transport: Transport,
    mut target: watch::Receiver<Option<SocketAddr>>,
    out: watch::Sender<ProbeSight>,
) {
    loop {
        let Some(addr) = *target.borrow_and_update() else {
            if target.changed().await.is_err() {
                return;
            }
            continue;
        };
        out.send_replace(ProbeSight { target: Some(addr), answered_at: Instant::now() });
        tokio::select! {
            _ = ping_for_ever(addr, &login, &transport, period, &out) => {}
            changed = target.changed() => if changed.is_err() { return },
        }
    }
}

async fn ping_for_ever(
    addr: SocketAddr,
    login: &Login,
    transport: &Transport,
    period: Duration,
    out: &watch::Sender<ProbeSight>,
) {
    let limit = period * 2;
    loop {
        if let Ok(mut link) = RedisLink::connect_as(addr, login, limit, transport).await {
            // An error reply is an answer too: it may be loading.
            while let Ok(_) | Err(LinkError::Refused(_)) = link.command(&cmd("PING"), limit).await {
                out.send_modify(|sight| sight.answered_at = Instant::now());
                sleep(period).await;
            }
        }
        sleep(period).await;
    }
}
