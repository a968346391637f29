//! Masters die, freeze and come back.

use std::time::{Duration, Instant};

use cluster::{
    client::{Client, ClusterView},
    event::{AgentEvent, Step},
    rescue,
    security::Transport,
    status,
    store::Store,
    znodes::Paths,
};

use crate::rig::{Rig, client_options, secret};

pub const SOON: Duration = Duration::from_secs(30);

pub fn on_a_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
}

pub async fn master_after(view: &ClusterView, shard: u32, epoch: u64) -> (u64, String) {
    let found =
        view.wait_until(SOON, |s| s.shards.get(&shard).is_some_and(|v| v.epoch > epoch && v.serving)).await;
    assert!(found, "no master after epoch {epoch}: {:?}", view.state());
    let route = view.master(shard).expect("a serving master");
    (route.epoch, route.node)
}

/// Writes until a write is acknowledged; returns how long that took.
pub async fn write_until_acknowledged(client: &mut Client, key: &str, value: &str) -> Duration {
    let started = Instant::now();
    loop {
        let attempt = tokio::time::timeout(Duration::from_millis(500), client.write(key, value)).await;
        if matches!(attempt, Ok(reply) if reply.result.is_ok()) {
            return started.elapsed();
        }
        assert!(started.elapsed() < SOON, "no write was acknowledged for {SOON:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The steps of all agents from suspicion to promotion, in the order of their first sight after the epoch
/// before was won.
fn winning_steps(events: &[AgentEvent], epoch: u64) -> Vec<Step> {
    let won = |epoch: u64| events.iter().position(|e| e.step == Step::Promoted && e.epoch == epoch);
    let from = won(epoch - 1).expect("the epoch before was won");
    let mut seen = Vec::new();
    for event in &events[from..] {
        let ends = event.epoch == epoch - 1 && matches!(event.step, Step::Suspected | Step::LeaseLost);
        let begins = event.epoch == epoch && ALL_STEPS.contains(&event.step);
        if (ends || begins) && !seen.contains(&event.step) {
            seen.push(event.step);
        }
    }
    seen
}

const ALL_STEPS: [Step; 7] = [
    Step::Suspected,
    Step::LeaseLost,
    Step::Proposed,
    Step::Fenced,
    Step::Voted,
    Step::Elected,
    Step::Promoted,
];

async fn steps_of_others(rig: &Rig, epoch: u64, wanted: &[(Step, &str)]) {
    let started = Instant::now();
    loop {
        let events = rig.events();
        let missing: Vec<_> = wanted
            .iter()
            .filter(|(step, node)| {
                !events.iter().any(|e| e.epoch == epoch && e.step == *step && e.node == *node)
            })
            .collect();
        if missing.is_empty() {
            return;
        }
        assert!(started.elapsed() < SOON, "epoch {epoch}: missing {missing:?} in {events:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_killed_master_is_replaced_and_comes_back_as_a_replica() {
    on_a_runtime(async {
        let started = Instant::now();
        let Some(mut rig) = Rig::start(0).await else { return };
        println!("servers and records after {} ms", started.elapsed().as_millis());
        let view = rig.view();
        let (epoch, first) = master_after(&view, 0, 0).await;
        status::ready(&view, &client_options(), SOON).await.expect("the cluster takes writes");
        println!("ready after {} ms", started.elapsed().as_millis());

        let mut client = Client::new(view.clone(), client_options());
        for i in 0..50 {
            write_until_acknowledged(&mut client, &format!("key-{i}"), &format!("value-{i}")).await;
        }
        assert_eq!(client.cas("key-0", "value-0", "changed").await.result, Ok(true));
        assert_eq!(client.cas("key-0", "value-0", "again").await.result, Ok(false));

        rig.node(&first).redis.take().expect("the master's redis").kill();
        let outage = write_until_acknowledged(&mut client, "key-50", "after").await;
        println!("killed: next acknowledged write after {} ms", outage.as_millis());
        let (next_epoch, second) = master_after(&view, 0, epoch).await;
        assert_ne!(first, second);
        for i in 1..50 {
            assert_eq!(client.read(&format!("key-{i}")).await.result, Ok(Some(format!("value-{i}"))));
        }
        assert_eq!(client.read("key-0").await.result, Ok(Some("changed".into())));
        assert_eq!(winning_steps(&rig.events(), next_epoch), ALL_STEPS);

        let redis = rig.redis.clone();
        rig.node(&first).start_redis(&redis);
        let third =
            rig.nodes.iter().map(|n| n.name.clone()).find(|n| *n != first && *n != second).expect("three");
        let wanted = [
            (Step::Following, third.as_str()),
            (Step::Following, first.as_str()),
            (Step::Admitted, first.as_str()),
        ];
        steps_of_others(&rig, next_epoch, &wanted).await;
        assert!(view.wait_until(SOON, |s| s.shards[&0].replicas.len() == 2).await, "{:?}", view.state());
        let back =
            status::redis_role(rig.node(&first).addr, &secret(), Duration::from_secs(1), &Transport::plain())
                .await
                .expect("it answers");
        assert!(!back.master && back.linked, "{back:?}");
    });
}

#[test]
fn a_frozen_master_is_replaced_and_demoted_when_it_wakes() {
    on_a_runtime(async {
        let Some(mut rig) = Rig::start(1).await else { return };
        let view = rig.view();
        let (epoch, first) = master_after(&view, 1, 0).await;
        status::ready(&view, &client_options(), SOON).await.expect("the cluster takes writes");
        let mut client = Client::new(view.clone(), client_options());
        write_until_acknowledged(&mut client, "k", "before").await;

        // Redis and agent together: the lease runs out, and nobody gives it up.
        rig.node(&first).agent.as_ref().expect("an agent").signal(libc::SIGSTOP);
        rig.node(&first).redis.as_ref().expect("a redis").signal(libc::SIGSTOP);
        let outage = write_until_acknowledged(&mut client, "k", "after").await;
        println!("frozen: next acknowledged write after {} ms", outage.as_millis());
        let (next_epoch, second) = master_after(&view, 1, epoch).await;
        assert_ne!(first, second);
        assert_eq!(winning_steps(&rig.events(), next_epoch), ALL_STEPS);

        rig.node(&first).redis.as_ref().expect("a redis").signal(libc::SIGCONT);
        rig.node(&first).agent.as_ref().expect("an agent").signal(libc::SIGCONT);
        steps_of_others(&rig, next_epoch, &[(Step::Demoted, &first), (Step::Following, &first)]).await;
        assert!(view.wait_until(SOON, |s| s.shards[&1].replicas.len() == 2).await, "{:?}", view.state());
        assert_eq!(client.read("k").await.result, Ok(Some("after".into())));
    });
}

#[test]
fn a_master_without_an_agent_serves_on_and_is_replaced_only_if_the_agent_stays_away() {
    on_a_runtime(async {
        let Some(mut rig) = Rig::start(2).await else { return };
        let view = rig.view();
        let (epoch, first) = master_after(&view, 2, 0).await;
        status::ready(&view, &client_options(), SOON).await.expect("the cluster takes writes");
        let mut client = Client::new(view.clone(), client_options());
        rig.node(&first).agent.as_ref().expect("an agent").signal(libc::SIGSTOP);
        // Several times what a lease lasts.
        let frozen = Instant::now();
        while frozen.elapsed() < Duration::from_secs(2) {
            write_until_acknowledged(&mut client, "k", "before").await;
        }
        let (next_epoch, second) = master_after(&view, 2, epoch).await;
        assert!(
            next_epoch == epoch + 1 && frozen.elapsed() > Duration::from_secs(3),
            "{:?}",
            frozen.elapsed()
        );
        assert_ne!(first, second);
        rig.node(&first).agent.as_ref().expect("an agent").signal(libc::SIGCONT);
        steps_of_others(&rig, next_epoch, &[(Step::Demoted, &first), (Step::Following, &first)]).await;
        let old =
            status::redis_role(rig.node(&first).addr, &secret(), Duration::from_secs(1), &Transport::plain())
                .await;
        assert!(!old.expect("it answers").master);
    });
}

#[test]
fn the_shard_outlives_the_zookeeper_leader_and_then_its_own_master() {
    on_a_runtime(async {
        let Some(mut rig) = Rig::start(3).await else { return };
        let view = rig.view();
        master_after(&view, 3, 0).await;
        status::ready(&view, &client_options(), SOON).await.expect("the cluster takes writes");
        let mut client = Client::new(view.clone(), client_options());

        let mut leader = None;
        for (i, addr) in rig.zk_addrs.iter().enumerate() {
            let server =
                status::zk_server(*addr, Duration::from_secs(2), &rig.transport).await.expect("it answers");
            if server.mode == Some(status::ZkMode::Leader) {
                leader = Some(i);
            }
        }
        let leader = leader.expect("a leader");
        rig.zookeepers.remove(leader).kill();
        rig.zk_addrs.remove(leader);
        // A healthy master needs no ZooKeeper to serve.
        for i in 0..20 {
            write_until_acknowledged(&mut client, "k", &format!("{i}")).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        status::zk_ready(&rig.zk_addrs, SOON, &rig.transport).await.expect("the other two elect a leader");

        let route = view.master(3).expect("a master");
        rig.node(&route.node).redis.take().expect("its redis").kill();
        let (_, second) = master_after(&view, 3, route.epoch).await;
        assert_ne!(second, route.node);
        write_until_acknowledged(&mut client, "k", "last").await;
        assert_eq!(client.read("k").await.result, Ok(Some("last".into())));
    });
}

#[test]
fn a_shard_that_lost_two_memories_takes_no_writes_until_it_is_reset() {
    on_a_runtime(async {
        let Some(mut rig) = Rig::start(4).await else { return };
        let view = rig.view();
        status::ready(&view, &client_options(), SOON).await.expect("the cluster takes writes");
        assert!(view.wait_until(SOON, |s| s.shards[&4].replicas.len() == 2).await, "{:?}", view.state());
        // A replica that has just been copied to is sent nothing more before it says so, once a second.
        let by_all = cluster::client::ClientOptions { wait_replicas: 2, ..client_options() };
        write_until_acknowledged(&mut Client::new(view.clone(), by_all), "k", "kept").await;
        let mut client = Client::new(view.clone(), client_options());

        let master = view.master(4).expect("a master").node;
        let survivor = rig.nodes.iter().map(|n| n.name.clone()).find(|name| *name != master).expect("three");
        let lost: Vec<String> = rig.nodes.iter().map(|n| n.name.clone()).filter(|n| *n != survivor).collect();
        let redis = rig.redis.clone();
        for name in &lost {
            rig.node(name).redis.take().expect("its redis").kill();
        }
        for name in &lost {
            rig.node(name).start_redis(&redis);
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(4) {
            let tried = tokio::time::timeout(Duration::from_millis(300), client.write("k", "lost")).await;
            assert!(!matches!(tried, Ok(reply) if reply.result.is_ok()), "one of three is no majority");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let paths = Paths::default();
        rescue::force_reset(&rig.connect, &Transport::plain(), &paths, 4).await.expect("it is reset");
        write_until_acknowledged(&mut client, "other", "after").await;
        assert_eq!(client.read("k").await.result, Ok(Some("kept".into())), "the survivor had it");
    });
}
