//! A client's locks and data together: what tokens are for.

use std::time::{Duration, Instant};

use cluster::{
    client::{Client, CoordinationOptions},
    lock::LockWeakness,
    status,
    store::{Answer, Command, Store},
};

use crate::{
    failover::{SOON, on_a_runtime},
    proxy::Proxy,
    rig::{Rig, client_options},
};

const KEY: &str = "ledger";

/// Carries out `command` until it gets an answer.
async fn answered(client: &mut Client, command: Command) -> Answer {
    let started = Instant::now();
    loop {
        match client.execute(KEY, &command).await.result {
            Ok(answer) => return answer,
            Err(e) => assert!(started.elapsed() < SOON, "{command:?}: {e}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn claim(client: &mut Client, token: i64) -> i64 {
    match answered(client, Command::Claim(token)).await {
        Answer::Value(value) => value.map_or(0, |value| value.parse().expect("a count")),
        other => panic!("{other:?}"),
    }
}

async fn write(client: &mut Client, token: i64, count: i64) -> bool {
    answered(client, Command::Guarded { token, value: count.to_string() }).await == Answer::Applied(true)
}

/// Two clients count under a lock. The first is cut off from ZooKeeper, but not from Redis, between its read and its
/// write; the second gets the lock and counts. How many writes were accepted, and what the count is then.
async fn count_while_cut_off(rig: &Rig, weakness: Option<LockWeakness>) -> (i64, i64) {
    let client = |zookeeper: &str| {
        let options = CoordinationOptions { lock_weakness: weakness, ..CoordinationOptions::new(zookeeper) };
        Client::new(rig.view(), client_options()).with_coordination(options)
    };
    let proxy = Proxy::start(rig.zk_addrs[0]).await;
    let (mut first, mut second) = (client(&proxy.addr.to_string()), client(&rig.connect));
    status::ready(first.view(), &client_options(), SOON).await.expect("the cluster takes writes");
    status::ready(second.view(), &client_options(), SOON).await.expect("the cluster takes writes");

    let old = first.acquire("ledger", SOON).await.result.expect("it is free");
    let before = claim(&mut first, old).await;
    proxy.cut();
    let new = second.acquire("ledger", SOON).await.result.expect("the session expires");
    assert!(new > old);
    let mut accepted = 0;
    let count = claim(&mut second, new).await;
    accepted += i64::from(write(&mut second, new, count + 1).await);
    accepted += i64::from(write(&mut first, old, before + 1).await);
    let count = match answered(&mut second, Command::GuardedRead).await {
        Answer::Value(Some(value)) => value.parse::<i64>().expect("a count") - before,
        other => panic!("{other:?}"),
    };
    second.release("ledger", new).await.result.expect("it is given back");
    (accepted, count)
}

#[test]
fn a_token_keeps_out_a_holder_that_was_cut_off_and_without_it_an_update_is_lost() {
    on_a_runtime(async {
        let Some(rig) = Rig::start(4).await else { return };
        assert_eq!(count_while_cut_off(&rig, None).await, (1, 1));
        assert_eq!(count_while_cut_off(&rig, Some(LockWeakness::WithoutToken)).await, (2, 1));
    });
}

#[test]
fn a_client_joins_lists_and_leaves_and_one_that_was_not_told_where_refuses() {
    on_a_runtime(async {
        let Some(rig) = Rig::start(5).await else { return };
        let client = || Client::new(rig.view(), client_options());
        let mut first = client().with_coordination(CoordinationOptions::new(&rig.connect));
        let mut second = client().with_coordination(CoordinationOptions::new(&rig.connect));
        let joined = first.join("crew", "a").await.result.expect("it joins");
        assert_eq!(first.join("crew", "a").await.result, Ok(joined), "it still is");
        assert!(first.join("crew", "b").await.result.unwrap_err().definite);
        assert_eq!(second.members("crew").await.result, Ok(vec![("a".into(), joined)]));
        assert!(second.join("crew", "b").await.result.expect("it joins") > joined);
        assert_eq!(first.leave("crew").await.result, Ok(()));
        assert!(first.leave("crew").await.result.unwrap_err().definite);
        assert_eq!(first.members("crew").await.result.expect("a list").len(), 1);
        assert!(client().acquire("ledger", SOON).await.result.unwrap_err().definite);
    });
}
