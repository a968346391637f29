//! A client behind a relay that changes bytes: what plain links let through, and what the authenticated mode does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use cluster::{
    client::{Client, ClientOptions, ClusterState, ClusterView, ShardView, authentic},
    dataset,
    defence::Without,
    ring::{Ring, SLOTS},
    seal::Server,
    store::Store,
    znodes::RedisNode,
};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::rig::{Alone, secret};

const EPOCH: u64 = 4;
const CALLS: usize = 600;
const PATIENCE: Duration = Duration::from_millis(100);

/// Passes on what it reads, one byte of every fourth piece changed.
async fn corrupt(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    rng: Arc<Mutex<ChaCha8Rng>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    // Behind the first piece: a login that fails is no news.
    let mut pieces = 0;
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let piece = &mut buffer[..n];
        pieces += 1;
        if pieces > 3 {
            let mut rng = rng.lock().expect("nobody panics with it");
            if rng.random_ratio(1, 4) {
                piece[rng.random_range(0..n)] ^= 1 << rng.random_range(0..7);
            }
        }
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
}

/// A relay to `target` on a port of its own.
async fn relay(target: SocketAddr, seed: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("bound");
    let rng = Arc::new(Mutex::new(ChaCha8Rng::seed_from_u64(seed)));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(target).await else { return };
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(corrupt(from_client, to_server, rng.clone()));
            tokio::spawn(corrupt(from_server, to_client, rng.clone()));
        }
    });
    addr
}

/// Makes a lone Redis the master of an epoch, as an agent would.
async fn promote(redis: &mut Alone, server: &Server) {
    for script in authentic::of_server(&secret(), server, &Without::nothing()).1.all() {
        redis.ask(&["SCRIPT", "LOAD", &script.text]).await;
    }
    redis.ask(&["SET", dataset::EPOCH, &EPOCH.to_string()]).await;
    redis.ask(&["SET", dataset::OWNED, &"1".repeat(SLOTS.into())]).await;
    let login = secret().client(server.shard, EPOCH);
    let password = format!(">{}", login.password);
    redis
        .ask(&[
            "ACL",
            "SETUSER",
            &login.user,
            "on",
            &password,
            "~*",
            "+@all",
            "-@admin",
            "-@dangerous",
            "+info",
        ])
        .await;
}

/// What a run has shown.
#[derive(Debug, Default)]
struct Seen {
    answered: usize,
    unknown: usize,
    /// Values that were read under a key where nobody ever wrote them.
    invented: usize,
}

/// Writes and reads two keys through a relay; writes carry values that were never used before.
async fn run(authenticated: bool) -> Option<Seen> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut redis = Alone::start(dir.path()).await?;
    let server = Server { shard: 0, node: "r0a".into() };
    promote(&mut redis, &server).await;
    let master = RedisNode { node: server.node, addr: relay(redis.addr, 11).await };
    let shard = ShardView { epoch: EPOCH, serving: true, master: Some(master), ..ShardView::default() };
    let state =
        ClusterState { connected: true, ring: Ring::new(&[0], 8), shards: BTreeMap::from([(0, shard)]) };
    let (_states, seen) = watch::channel(Arc::new(state));
    let options = ClientOptions { authenticated, wait_replicas: 0, ..ClientOptions::new(secret()) };
    let mut client = Client::new(ClusterView::of(seen), options);

    let mut seen = Seen::default();
    let mut written = [BTreeSet::new(), BTreeSet::new()];
    for n in 0..CALLS {
        let key = n % 2;
        let name = ["one", "two"][key];
        let read = if n % 4 < 2 {
            let value = format!("{name}-{n:06}");
            written[key].insert(value.clone());
            tokio::time::timeout(PATIENCE, client.write(name, &value))
                .await
                .ok()
                .map(|r| r.result.map(|()| None))
        } else {
            tokio::time::timeout(PATIENCE, client.read(name)).await.ok().map(|r| r.result)
        };
        match read {
            Some(Ok(value)) => {
                seen.answered += 1;
                seen.invented += usize::from(value.is_some_and(|value| !written[key].contains(&value)));
            }
            _ => seen.unknown += 1,
        }
    }
    Some(seen)
}

#[tokio::test]
async fn over_plain_links_a_changed_byte_becomes_a_value_that_nobody_wrote() {
    let Some(seen) = run(false).await else { return };
    println!("plain: {seen:?}");
    assert!(seen.answered > CALLS / 10 && seen.invented > 0, "{seen:?}");
}

#[tokio::test]
async fn in_the_authenticated_mode_no_answer_is_a_value_that_nobody_wrote() {
    let Some(seen) = run(true).await else { return };
    println!("authenticated: {seen:?}");
    assert!(seen.answered > CALLS / 10 && seen.unknown > CALLS / 20, "{seen:?}");
    assert_eq!(seen.invented, 0, "{seen:?}");
}
