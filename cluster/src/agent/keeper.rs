//! Tasks that keep two znodes of an agent up to date: the master's lease, and its member record.
//!
//! Each has a task of its own, so that neither a slow Redis nor a slow decision delays a renewal.

use std::time::{Duration, Instant};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use zookeeper_client::{Client, Error};

use super::{journal::log, protocol::Duty};
use crate::{
    zk::put_ephemeral,
    znodes::{LeaseRecord, Member, ShardPaths, encode},
};

/// Longest wait for one renewal.
const LIMIT: Duration = Duration::from_millis(1000);

/// Renews the lease of the present duty every `period`. `out` tells when the last renewal that succeeded was
/// sent.
pub async fn keep_lease(
    period: Duration,
    node: String,
    paths: ShardPaths,
    clients: watch::Receiver<Option<Client>>,
    mut duty: watch::Receiver<Option<Duty>>,
    out: watch::Sender<Option<Instant>>,
) {
    let mut n = 0;
    loop {
        let Some(lease) = duty.borrow_and_update().clone() else {
            if duty.changed().await.is_err() {
                return;
            }
            continue;
        };
        let started = Instant::now();
        let client = clients.borrow().clone();
        if let Some(client) = client {
            n += 1;
            let record = LeaseRecord { epoch: lease.epoch, node: node.clone(), n };
            match timeout(LIMIT, renew(&client, &paths, &lease, &record)).await {
                Ok(Ok(())) => _ = out.send_replace(Some(started)),
                // The config has changed: so will the duty, as soon as that is seen here.
                Ok(Err(Error::BadVersion)) => {}
                Ok(Err(e)) => log(&format!("lease of epoch {} is not renewed: {e}", lease.epoch)),
                Err(_) => log(&format!("lease of epoch {} is not renewed: no answer", lease.epoch)),
            }
        }
        tokio::select! {
            () = sleep(period.saturating_sub(started.elapsed())) => {}
            changed = duty.changed() => if changed.is_err() { return },
        }
    }
}

/// A renewal holds only under the config that made this agent's Redis master: no deposed one can feign life.
async fn renew(client: &Client, paths: &ShardPaths, duty: &Duty, record: &LeaseRecord) -> Result<(), Error> {
    let (config, lease) = (paths.config(), paths.lease());
    let mut multi = client.new_multi_writer();
    multi.add_check_version(&config, duty.config_version)?;
    let bytes = encode(record);
    multi.add_set_data(&lease, &bytes, None)?;
    multi.commit().await.map(|_| ()).map_err(Error::from)
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
