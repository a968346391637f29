//! Tasks that keep two ephemeral znodes of an agent in ZooKeeper: the master's lease, and its member record.
//!
//! Each has a task of its own, so that neither a slow Redis nor a slow decision delays a renewal.

use std::time::{Duration, Instant};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use zookeeper_client::{Client, Error};

use super::journal::log;
use crate::{
    zk::put_ephemeral,
    znodes::{LeaseRecord, Member, ShardPaths, encode},
};

/// The lease that is to be renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseDuty {
    /// Epoch it is for.
    pub epoch: u64,
    /// Session that created it.
    pub session: i64,
    /// Transaction that created it, as far as known: tells two leases of one session apart.
    pub serial: u64,
}

/// The lease as its keeper sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseSight {
    /// The duty that is being fulfilled.
    pub held: Option<LeaseDuty>,
}

/// Renews the lease of the present duty every `period`, for ever, until it turns out to be lost.
pub async fn keep_lease(
    period: Duration,
    node: String,
    paths: ShardPaths,
    clients: watch::Receiver<Option<Client>>,
    mut duty: watch::Receiver<Option<LeaseDuty>>,
    out: watch::Sender<LeaseSight>,
) {
    let path = paths.lease();
    loop {
        let Some(lease) = duty.borrow_and_update().clone() else {
            out.send_replace(LeaseSight { held: None });
            if duty.changed().await.is_err() {
                return;
            }
            continue;
        };
        out.send_replace(LeaseSight { held: Some(lease.clone()) });
        let lost = tokio::select! {
            why = renew(period, &node, &path, &clients, &lease) => Some(why),
            changed = duty.changed() => if changed.is_err() { return } else { None },
        };
        if let Some(why) = lost {
            log(&format!("lease of epoch {} is lost: {why}", lease.epoch));
            out.send_replace(LeaseSight { held: None });
            if duty.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Renews until the lease is lost, and says why it was.
async fn renew(
    period: Duration,
    node: &str,
    path: &str,
    clients: &watch::Receiver<Option<Client>>,
    lease: &LeaseDuty,
) -> String {
    let mut version = 0;
    let mut n = 0;
    loop {
        let started = Instant::now();
        let client = clients.borrow().clone();
        match client {
            None => {}
            Some(client) if client.session_id().0 != lease.session => return "session replaced".into(),
            Some(client) => {
                n += 1;
                let record = LeaseRecord { epoch: lease.epoch, node: node.to_owned(), n };
                match client.set_data(path, &encode(&record), Some(version)).await {
                    Ok(stat) => version = stat.version,
                    Err(Error::NoNode) => return "deleted".into(),
                    // An earlier renewal of our own may have arrived although its reply did not.
                    Err(Error::BadVersion) => match client.get_data(path).await {
                        Ok((_, stat)) if stat.ephemeral_owner == lease.session => version = stat.version,
                        Ok(_) => return "taken over".into(),
                        Err(Error::NoNode) => return "deleted".into(),
                        Err(_) => {}
                    },
                    Err(Error::SessionExpired | Error::ClientClosed) => return "session expired".into(),
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
            }
        }
        sleep(period.saturating_sub(started.elapsed())).await;
    }
}

/// Publishes the member record whenever it changes, and again in every new session.
pub async fn publish_member(
    paths: ShardPaths,
    node: String,
    mut clients: watch::Receiver<Option<Client>>,
    mut member: watch::Receiver<Option<Member>>,
) {
    let path = paths.member(&node);
    let mut published: Option<(i64, Member)> = None;
    loop {
        let wanted = member.borrow_and_update().clone();
        let client = clients.borrow_and_update().clone();
        if let (Some(wanted), Some(client)) = (wanted, client) {
            let session = client.session_id().0;
            if published.as_ref() != Some(&(session, wanted.clone())) {
                let record = encode(&wanted);
                match timeout(Duration::from_secs(1), put_ephemeral(&client, &path, &record)).await {
                    Ok(Ok(())) => published = Some((session, wanted)),
                    // The records of a shard may not be there yet, or the session may just have gone.
                    _ => {
                        sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                }
            }
        }
        tokio::select! {
            changed = member.changed() => if changed.is_err() { return },
            changed = clients.changed() => if changed.is_err() { return },
        }
    }
}
