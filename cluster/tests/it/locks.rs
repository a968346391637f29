//! Locks: order, tokens, and what becomes of them when sessions end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cluster::{
    lock::{HoldState, LockError, LockOptions, LockService, LockWeakness, Token},
    zk::{Session, SessionOptions},
};
use tokio::time::{sleep, timeout};
use zookeeper_client::{Client, Error};

use crate::{
    ensemble::{Ensemble, and_die, patient},
    failover::{SOON, on_a_runtime},
    proxy::{Proxy, Trap},
};

const DIR: &str = "/shardstorm/locks/ledger";

fn service(session: Arc<Session>) -> LockService {
    LockService::new(session, LockOptions::default())
}

async fn queue(client: &Client) -> Vec<String> {
    match client.list_children(DIR).await {
        Ok(children) => children,
        Err(Error::NoNode) => Vec::new(),
        Err(e) => panic!("{e}"),
    }
}

async fn until_queue_is(client: &Client, length: usize) {
    let started = Instant::now();
    while queue(client).await.len() != length {
        assert!(started.elapsed() < SOON, "{} instead of {length}", queue(client).await.len());
        sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn locks_are_granted_in_the_order_of_asking_with_growing_tokens() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        let client = zk.client().await;
        let services: Vec<Arc<LockService>> = (0..5).map(|_| Arc::new(service(zk.session()))).collect();
        let (out, mut granted) = tokio::sync::mpsc::unbounded_channel();
        for (i, locks) in services.iter().enumerate() {
            let (locks, out) = (locks.clone(), out.clone());
            tokio::spawn(async move {
                out.send((i, locks.acquire("ledger", SOON).await.expect("its turn comes"))).expect("awaited");
            });
            until_queue_is(&client, i + 1).await;
        }
        let mut last = None;
        for (i, locks) in services.iter().enumerate() {
            let (who, token) = granted.recv().await.expect("somebody has it");
            assert_eq!(who, i);
            assert_eq!(locks.state(&token), HoldState::Held);
            assert!(last < Some(token.fence()), "{token} after {last:?}");
            last = Some(token.fence());
            assert!(granted.try_recv().is_err(), "nobody else has it");
            locks.release(&token).await.expect("it is given back");
            assert_eq!(locks.state(&token), HoldState::Lost);
        }
        assert_eq!(client.check_stat(DIR).await, Ok(None), "a lock that nobody wants leaves nothing behind");
    });
}

#[test]
fn who_does_not_get_the_lock_leaves_nothing_in_its_queue() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        let client = zk.client().await;
        let (holder, other) = (service(zk.session()), service(zk.session()));
        let token = holder.try_acquire("ledger").await.expect("zookeeper answers").expect("it is free");

        assert_eq!(other.try_acquire("ledger").await, Ok(None));
        assert_eq!(queue(&client).await.len(), 1);
        let refused = other.acquire("ledger", Duration::from_millis(200)).await.unwrap_err();
        assert_eq!((refused.clone(), refused.definite()), (LockError::NotInTime, true));
        assert_eq!(queue(&client).await.len(), 1);
        let dropped = timeout(Duration::from_millis(200), other.acquire("ledger", SOON)).await;
        assert!(dropped.is_err());
        until_queue_is(&client, 1).await;

        assert!(matches!(other.acquire("a/b", SOON).await, Err(LockError::Name(_))));
        holder.release(&token).await.expect("it is given back");
        until_queue_is(&client, 0).await;
        assert!(other.try_acquire("ledger").await.expect("zookeeper answers").is_some());
        drop(other);
        until_queue_is(&client, 0).await;
    });
}

#[test]
fn a_holder_that_dies_passes_the_lock_on_with_a_larger_token() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        let connect = zk.connect.clone();
        let first = and_die(async move {
            let session = Arc::new(Session::open(SessionOptions::new(connect)));
            service(session).acquire("ledger", SOON).await.expect("it is free")
        });
        let started = Instant::now();
        let second = service(zk.session()).acquire("ledger", SOON).await.expect("the session expires");
        println!("passed on after {} ms", started.elapsed().as_millis());
        assert!(second.fence() > first.fence());
    });
}

#[test]
fn a_holder_that_is_cut_off_knows_before_anybody_else_gets_the_lock() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        let proxy = Proxy::start(zk.addrs[0]).await;
        let session = Arc::new(Session::open(SessionOptions::new(proxy.addr.to_string())));
        let (holder, other) = (service(session), service(zk.session()));
        let token = holder.acquire("ledger", SOON).await.expect("it is free");
        sleep(Duration::from_millis(700)).await;
        assert_eq!(holder.state(&token), HoldState::Held);
        proxy.hold();
        let started = Instant::now();
        let lost = async {
            holder.lost(&token).await;
            started.elapsed()
        };
        let granted = async {
            let token = other.acquire("ledger", SOON).await.expect("the session expires");
            (started.elapsed(), token)
        };
        let (lost, (granted, next)) = tokio::join!(lost, granted);
        println!("known to be lost after {} ms, granted after {} ms", lost.as_millis(), granted.as_millis());
        assert!(lost < granted);
        assert!(next.fence() > token.fence());
        assert_eq!(holder.state(&token), HoldState::Lost);
        // Final, and given back all the same, once and again.
        proxy.cut();
        proxy.flow();
        holder.release(&token).await.expect("the session comes back");
        holder.release(&token).await.expect("and again");
        assert_eq!(other.state(&next), HoldState::Held);
    });
}

#[test]
fn a_release_ends_its_own_grant_and_no_other() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        let client = zk.client().await;
        let (locks, other) = (service(zk.session()), service(zk.session()));
        let first = locks.acquire("ledger", SOON).await.expect("it is free");
        locks.release(&first).await.expect("it is given back");
        let second = locks.acquire("ledger", SOON).await.expect("it is free");
        locks.release(&first).await.expect("an old token releases nothing");
        assert_eq!(locks.state(&second), HoldState::Held);
        assert_eq!(queue(&client).await.len(), 1);
        // By number alone, from elsewhere.
        other.release(&Token::new("ledger", second.fence())).await.expect("a token is all it takes");
        until_queue_is(&client, 0).await;
    });
}

#[test]
fn a_child_whose_creation_was_not_acknowledged_is_found_again() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        let client = zk.client().await;
        let proxy = Proxy::start(zk.addrs[0]).await;
        let locks = service(Arc::new(Session::open(patient(proxy.addr.to_string()))));
        let warm = locks.acquire("ledger", SOON).await.expect("it is free");
        let after_that = service(zk.session());
        let waiting =
            tokio::spawn(async move { after_that.acquire("ledger", SOON).await.map(|t| (after_that, t)) });
        until_queue_is(&client, 2).await;

        // The queue exists, so the next request that names it is the create.
        proxy.trap(DIR, Trap::HoldReply).await;
        let acquired = async { locks.acquire("ledger", SOON).await.expect("found, and granted in its turn") };
        let disturb = async {
            proxy.caught().await;
            until_queue_is(&client, 3).await;
            proxy.cut();
            proxy.flow();
            sleep(Duration::from_millis(500)).await;
            assert_eq!(queue(&client).await.len(), 3, "the child is there once");
            client
                .delete(&format!("{DIR}/{}", first(&queue(&client).await)), None)
                .await
                .expect("an admin's");
            let (between, token) = waiting.await.expect("no panic").expect("granted");
            between.release(&token).await.expect("it is given back");
        };
        let (token, ()) = tokio::join!(acquired, disturb);
        assert!(token.fence() > warm.fence());
        assert_eq!(queue(&client).await.len(), 1);
    });
}

fn first(children: &[String]) -> String {
    children.iter().min_by_key(|child| child.rsplit('-').next().map(str::to_owned)).expect("one").clone()
}

#[test]
fn a_token_made_of_the_sequence_number_goes_back_and_ours_does_not() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        for (weakness, grows) in [(None, true), (Some(LockWeakness::SequenceToken), false)] {
            let options = LockOptions { weakness, ..LockOptions::default() };
            let locks = LockService::new(zk.session(), options);
            let first = locks.acquire("ledger", SOON).await.expect("it is free");
            locks.release(&first).await.expect("it is given back");
            let second = locks.acquire("ledger", SOON).await.expect("it is free");
            assert_eq!(second.fence() > first.fence(), grows, "{weakness:?}: {first}, then {second}");
        }
    });
}
