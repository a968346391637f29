//! One client against a server that misbehaves on cue.

use std::{collections::BTreeMap, future::pending, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use super::{Client, ClientOptions, ClusterState, ClusterView, ReadFrom, ShardView};
use crate::{credentials::Secret, ring::Ring, store::Store, znodes::RedisNode};

type States = watch::Sender<Arc<ClusterState>>;

fn shard(epoch: u64, master: Option<SocketAddr>) -> ShardView {
    let master = master.map(|addr| RedisNode { node: "m".into(), addr });
    ShardView { epoch, serving: master.is_some(), master, ..ShardView::default() }
}

fn state(view: ShardView) -> Arc<ClusterState> {
    Arc::new(ClusterState { connected: true, ring: Ring::new(&[0], 8), shards: BTreeMap::from([(0, view)]) })
}

fn client_of(view: ShardView, options: ClientOptions) -> (Client, States) {
    let (states, seen) = watch::channel(state(view));
    (Client::new(ClusterView::of(seen), options), states)
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn options() -> ClientOptions {
    ClientOptions::new(Secret::new("hush"))
}

/// Takes a connection and answers its login and the loading of its script.
async fn accept(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let login = request(&mut stream).await;
    assert!(login.contains("AUTH"), "{login}");
    stream.write_all(b"+OK\r\n").await.unwrap();
    let mut load = request(&mut stream).await;
    while !load.contains("return apply") {
        load += &request(&mut stream).await;
    }
    stream.write_all(b"+sha\r\n").await.unwrap();
    stream
}

/// Reads until the request is there (it ends with its last argument).
async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    let n = stream.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..n]).into_owned()
}

/// A server that gives each connection's first request one answer, and then closes it if told so.
async fn answering(answer: &'static str, close: bool) -> SocketAddr {
    let (listener, addr) = listener().await;
    tokio::spawn(async move {
        loop {
            let mut stream = accept(&listener).await;
            request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            if !close {
                tokio::spawn(async move {
                    let _kept = stream;
                    pending::<()>().await;
                });
            }
        }
    });
    addr
}

/// Answer, whether the connection is closed after it, and the judgement.
type Case = (&'static str, bool, Result<(), (bool, &'static str)>);

#[test]
fn a_write_is_judged_by_what_came_back() {
    let table: [Case; 8] = [
        ("+OK\r\n:1\r\n$1\r\n3\r\n", false, Ok(())),
        ("+OK\r\n:0\r\n$1\r\n3\r\n", false, Err((false, "wait 0 of 1"))),
        ("+OK\r\n:1\r\n$1\r\n4\r\n", false, Err((false, "epoch changed"))),
        ("-READONLY no\r\n:0\r\n$1\r\n3\r\n", false, Err((true, "READONLY"))),
        ("-LOADING wait\r\n-LOADING wait\r\n-LOADING wait\r\n", false, Err((true, "LOADING"))),
        ("+OK\r\n-UNBLOCKED demoted\r\n$1\r\n3\r\n", true, Err((false, "wait: UNBLOCKED"))),
        ("", true, Err((false, "connection lost"))),
        ("+OK\r\n", true, Err((false, "connection lost"))),
    ];
    on_a_runtime(async {
        for (answer, close, expected) in table {
            let addr = answering(answer, close).await;
            let (mut client, _states) = client_of(shard(3, Some(addr)), options());
            let reply = client.write("k", "v").await;
            let got = reply.result.map_err(|e| (e.definite, e.reason));
            assert_eq!(got, expected.map_err(|(definite, why)| (definite, why.to_owned())), "{answer:?}");
            assert_eq!(reply.served_by.map(|by| by.epoch), Some(3));
        }
    });
}

#[test]
fn what_was_sent_nowhere_is_definite() {
    on_a_runtime(async {
        let (mut client, _states) = client_of(shard(0, None), options());
        let reply = client.write("k", "v").await;
        assert_eq!(reply.served_by, None);
        assert_eq!(reply.result.unwrap_err().to_string(), "no master");

        let (gone, addr) = listener().await;
        drop(gone);
        let (mut client, _states) = client_of(shard(1, Some(addr)), options());
        let e = client.cas("k", "a", "b").await.result.unwrap_err();
        assert_eq!((e.definite, e.reason.as_str()), (true, "connection refused"));
    });
}

#[test]
fn a_newer_epoch_ends_a_pending_call() {
    on_a_runtime(async {
        let (silent, addr) = listener().await;
        let (mut client, states) = client_of(shard(1, Some(addr)), options());
        let change = async {
            let mut stream = accept(&silent).await;
            request(&mut stream).await;
            states.send_replace(state(shard(2, None)));
            // The connection goes with the call.
            let mut rest = [0; 16];
            assert_eq!(timeout(Duration::from_secs(5), stream.read(&mut rest)).await.unwrap().unwrap(), 0);
        };
        let (reply, ()) = tokio::join!(client.write("k", "v"), change);
        let e = reply.result.unwrap_err();
        assert_eq!((e.definite, e.reason.as_str()), (false, "master changed"));
    });
}

#[test]
fn a_dropped_call_takes_its_connection_with_it() {
    on_a_runtime(async {
        let (server, addr) = listener().await;
        let (mut client, _states) = client_of(shard(1, Some(addr)), options());
        let serve = async {
            // The first answer comes too late, on a connection of its own.
            let mut first = accept(&server).await;
            request(&mut first).await;
            let mut second = accept(&server).await;
            let _ = first.write_all(b"$5\r\nvalue\r\n:1\r\n$1\r\n1\r\n").await;
            assert!(request(&mut second).await.contains("other"));
            second.write_all(b"$5\r\nright\r\n:1\r\n$1\r\n1\r\n").await.unwrap();
            (first, second)
        };
        let calls = async {
            assert!(timeout(Duration::from_millis(50), client.read("one")).await.is_err());
            client.read("other").await.result
        };
        let (read, _kept) = tokio::join!(calls, serve);
        assert_eq!(read, Ok(Some("right".into())));
    });
}

#[test]
fn reads_go_round_the_replicas_if_told_so() {
    on_a_runtime(async {
        let (a, b) = (answering("$1\r\na\r\n", true).await, answering("$1\r\nb\r\n", true).await);
        let replicas = vec![RedisNode { node: "a".into(), addr: a }, RedisNode { node: "b".into(), addr: b }];
        let view = ShardView { replicas, ..shard(1, Some(a)) };
        let options = ClientOptions { read_from: ReadFrom::Replica, ..options() };
        let (mut client, _states) = client_of(view, options);
        let mut seen = Vec::new();
        for _ in 0..2 {
            let reply = client.read("k").await;
            assert_eq!(reply.result.unwrap().unwrap(), reply.served_by.clone().unwrap().node);
            seen.push(reply.served_by.unwrap().node);
        }
        seen.sort();
        assert_eq!(seen, ["a", "b"]);
    });
}
