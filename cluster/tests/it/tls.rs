//! The whole cluster under TLS: it works, and lets nobody in without a certificate of its authority.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use cluster::{
    client::{Client, ClientOptions, ClusterView},
    provision::certificates::Authority,
    redis_link::RedisLink,
    security::{Security, TlsFiles, Transport},
    status,
    store::Store,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    failover::{SOON, master_after, on_a_runtime, write_until_acknowledged},
    rig::{Mode, Rig, client_options, secret},
};

const LIMIT: Duration = Duration::from_secs(5);

fn files(rig: &Rig) -> TlsFiles {
    match &rig.security {
        Security::Tls(files) => files.clone(),
        Security::Plain => panic!("the rig is plain"),
    }
}

/// Whether a Redis answers a PING over `transport`.
async fn redis_answers(addr: std::net::SocketAddr, transport: &Transport) -> Result<(), String> {
    let mut link =
        RedisLink::connect_as(addr, &secret().agent(), LIMIT, transport).await.map_err(|e| e.to_string())?;
    link.command(&redis::cmd("PING"), LIMIT).await.map(|_| ()).map_err(|e| e.to_string())
}

/// TLS that accepts the cluster's authority but shows no certificate of its own.
async fn anonymous_gets(addr: std::net::SocketAddr, ca: &std::path::Path, say: &[u8]) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    use tokio_rustls::{TlsConnector, rustls};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("a root");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let talk = async {
        let stream = tokio::net::TcpStream::connect(addr).await?;
        let name = rustls::pki_types::ServerName::IpAddress(addr.ip().into());
        let mut stream = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await?;
        stream.write_all(say).await?;
        let mut answer = vec![0; 1024];
        let n = stream.read(&mut answer).await?;
        answer.truncate(n);
        Ok::<_, std::io::Error>(answer)
    };
    let said = tokio::time::timeout(LIMIT, talk).await.expect("the server refuses in time");
    said.unwrap_or_default()
}

/// What a server says within a second to somebody who does not speak TLS.
async fn plain_gets(addr: std::net::SocketAddr, say: &[u8]) -> Vec<u8> {
    let mut stream = tokio::net::TcpStream::connect(addr).await.expect("somebody listens");
    stream.write_all(say).await.expect("the request is sent");
    let mut answer = Vec::new();
    // It may close, or wait for the rest of what it takes for a TLS record.
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut answer)).await;
    answer
}

#[test]
fn under_tls_a_killed_master_is_replaced_and_nothing_acknowledged_is_lost() {
    survives_a_killed_master(0, Mode { tls: true, authenticated: false });
}

#[test]
fn in_the_authenticated_mode_a_killed_master_is_replaced_and_nothing_acknowledged_is_lost() {
    survives_a_killed_master(4, Mode { tls: false, authenticated: true });
}

#[test]
fn both_protections_go_together() {
    survives_a_killed_master(5, Mode { tls: true, authenticated: true });
}

fn survives_a_killed_master(shard: u32, mode: Mode) {
    on_a_runtime(async {
        let started = Instant::now();
        let Some(mut rig) = Rig::start_as(shard, mode).await else { return };
        let options = || ClientOptions { authenticated: mode.authenticated, ..client_options() };
        println!("servers and records after {} ms", started.elapsed().as_millis());
        let view = rig.view();
        let (epoch, first) = master_after(&view, shard, 0).await;
        status::ready(&view, &options(), SOON).await.expect("the cluster takes writes");
        println!("ready after {} ms", started.elapsed().as_millis());
        let mut client = Client::new(view.clone(), options());
        for i in 0..50 {
            write_until_acknowledged(&mut client, &format!("key-{i}"), &format!("value-{i}")).await;
        }

        rig.node(&first).redis.take().expect("the master's redis").kill();
        let outage = write_until_acknowledged(&mut client, "key-50", "after").await;
        println!("killed: next acknowledged write after {} ms", outage.as_millis());
        let (_, second) = master_after(&view, shard, epoch).await;
        assert_ne!(first, second);
        assert_eq!(client.cas("key-50", "after", "changed").await.result, Ok(true));
        for i in 0..50 {
            assert_eq!(client.read(&format!("key-{i}")).await.result, Ok(Some(format!("value-{i}"))));
        }
        let redis = rig.redis.clone();
        rig.node(&first).start_redis(&redis);
        assert!(view.wait_until(SOON, |s| s.shards[&shard].replicas.len() == 2).await, "{:?}", view.state());
    });
}

#[test]
fn under_tls_nobody_gets_in_without_a_certificate_of_the_authority() {
    on_a_runtime(async {
        let Some(rig) = Rig::start_with(1, true).await else { return };
        let files = files(&rig);
        let (redis, zookeeper) = (rig.nodes[0].addr, rig.zk_addrs[0]);
        // An agent that starts ends whatever connections stand in its name, this one's as well.
        let began = std::time::Instant::now();
        while let Err(why) = redis_answers(redis, &rig.transport).await {
            assert!(began.elapsed() < SOON, "a member of the cluster gets an answer: {why}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }

        // Nothing but TLS.
        assert!(!plain_gets(redis, b"PING\r\n").await.starts_with(b"+PONG"));
        let refusal = redis_answers(redis, &Transport::plain()).await.unwrap_err();
        println!("plain redis: {refusal}");
        assert!(!String::from_utf8_lossy(&plain_gets(zookeeper, b"srvr").await).contains("Mode:"));
        let told = status::zk_server(zookeeper, LIMIT, &Transport::plain()).await;
        assert!(!told.is_ok_and(|server| server.mode.is_some()));

        // TLS without a certificate.
        let answer = anonymous_gets(redis, &files.ca, b"PING\r\n").await;
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
        let answer = anonymous_gets(zookeeper, &files.ca, b"srvr").await;
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));

        // TLS with the certificate of another authority, in both directions.
        let dir = tempfile::tempdir().expect("a directory");
        let foreign = Authority::new("elsewhere").and_then(|a| a.issue(dir.path(), "client", &[]));
        let foreign = foreign.expect("a certificate");
        let intruder = TlsFiles { ca: files.ca.clone(), ..foreign.clone() };
        let intruder = Security::Tls(intruder).load().expect("the files are read");
        let refusal = redis_answers(redis, &intruder).await.unwrap_err();
        println!("foreign certificate: {refusal}");
        let view = ClusterView::open(&rig.connect, &intruder);
        assert!(!view.wait_until(Duration::from_secs(3), |s| s.connected).await, "zookeeper lets it in");
        let mistrustful =
            Security::Tls(TlsFiles { ca: foreign.ca, ..files }).load().expect("the files are read");
        let refusal = redis_answers(redis, &mistrustful).await.unwrap_err();
        assert_eq!(refusal, "tls handshake refused");
        let why = status::zk_server(zookeeper, LIMIT, &mistrustful).await.unwrap_err();
        assert!(why.contains("certificate"), "{why}");
    });
}

#[test]
fn a_server_that_shows_the_certificate_of_another_address_is_not_trusted() {
    on_a_runtime(async {
        let Some(rig) = Rig::start_with(2, true).await else { return };
        // The same server, reached at an address that its certificate does not name.
        let elsewhere = std::net::SocketAddr::from(([127, 0, 0, 2], rig.zk_addrs[0].port()));
        let relay = tokio::net::TcpListener::bind(elsewhere).await.expect("another loopback address");
        let target = rig.zk_addrs[0];
        tokio::spawn(async move {
            while let Ok((mut from, _)) = relay.accept().await {
                let mut to = tokio::net::TcpStream::connect(target).await.expect("the server is there");
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            }
        });
        status::zk_server(target, LIMIT, &rig.transport).await.expect("at its own address it is");
        let why = status::zk_server(elsewhere, LIMIT, &rig.transport).await.unwrap_err();
        assert!(why.contains("certificate"), "{why}");
    });
}

#[test]
fn shardctl_works_under_tls_and_says_what_is_wrong_with_its_flags() {
    on_a_runtime(async {
        let Some(rig) = Rig::start_with(3, true).await else { return };
        status::ready(&rig.view(), &client_options(), SOON).await.expect("the cluster takes writes");
        let files = files(&rig);
        let dir = tempfile::tempdir().expect("a directory");
        let secret_file = dir.path().join("secret");
        std::fs::write(&secret_file, secret().text()).expect("the secret is written");
        let shardctl = |flags: &[(&str, &std::path::Path)], args: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_shardctl"));
            command.args(["--zookeeper", &rig.connect]).arg("--secret-file").arg(&secret_file);
            for (flag, path) in flags {
                command.arg(flag).arg(path);
            }
            let output = command.args(args).output().expect("shardctl runs");
            let text = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8(text).expect("text"))
        };
        let all = [
            ("--tls-ca", files.ca.as_path()),
            ("--tls-cert", files.cert.as_path()),
            ("--tls-key", files.key.as_path()),
        ];
        let (ok, text) = shardctl(&all, &["set", "greeting", "hello"]);
        assert!(ok && text.starts_with("written"), "{text}");
        let (ok, text) = shardctl(&all, &["get", "greeting"]);
        assert!(ok && text.starts_with("hello"), "{text}");
        let (ok, text) = shardctl(&all, &["status"]);
        assert!(ok && text.contains(": leader") && text.contains("serving"), "{text}");
        let (ok, text) = shardctl(&all[..2], &["status"]);
        assert!(!ok && text.contains("--tls-key is missing"), "{text}");
    });
}
