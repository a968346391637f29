use std::collections::HashMap;

use proptest::prelude::*;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};

use super::*;
use crate::event::Step;
use crate::store::{Answer, CallError, Command, Reply, Store};

const MS: Duration = Duration::from_millis(1);
/// Far above what anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn options(replicas: u32) -> FakeOptions {
    FakeOptions { shards: 1, replicas, ..FakeOptions::default() }
}

async fn until(cluster: &FakeCluster, what: &str, mut condition: impl FnMut(&ShardStatus) -> bool) {
    let begin = Instant::now();
    while !cluster.status().iter().all(&mut condition) {
        assert!(begin.elapsed() < PATIENCE, "not {what}: {:?}", cluster.status());
        sleep(5 * MS).await;
    }
}

fn whole(shard: &ShardStatus) -> bool {
    shard.writable && shard.trouble.is_empty()
}

async fn started(options: &FakeOptions) -> (FakeCluster, String) {
    let cluster = FakeCluster::start(options);
    until(&cluster, "whole", whole).await;
    let master = cluster.status()[0].master.clone().unwrap();
    (cluster, master)
}

/// Both directions between `node` and every other server.
fn around<'a>(nodes: &'a [String], node: &'a str) -> Vec<(&'a str, &'a str)> {
    let others = nodes.iter().map(String::as_str).filter(|other| *other != node && !other.starts_with('c'));
    others.flat_map(|other| [(node, other), (other, node)]).collect()
}

fn of_epoch(events: &[AgentEvent], epoch: u64) -> Vec<(Step, &str)> {
    events
        .iter()
        .filter(|event| event.epoch == epoch)
        .map(|event| (event.step, event.node.as_str()))
        .collect()
}

fn at(steps: &[(Step, &str)], step: Step) -> usize {
    steps.iter().position(|&(other, _)| other == step).unwrap_or_else(|| panic!("no {step:?} in {steps:?}"))
}

async fn acknowledged(client: &mut FakeClient, key: &str, value: &str) {
    let begin = Instant::now();
    while !matches!(timeout(500 * MS, client.write(key, value)).await, Ok(Reply { result: Ok(()), .. })) {
        assert!(begin.elapsed() < PATIENCE, "no write was acknowledged");
        sleep(5 * MS).await;
    }
}

#[tokio::test]
async fn a_fresh_cluster_elects_a_master_and_serves() {
    let (cluster, master) = started(&FakeOptions { shards: 3, ..FakeOptions::default() }).await;
    let mut client = cluster.client("c0").unwrap();
    assert_eq!(client.read("k").await.result, Ok(None));
    assert_eq!(client.write("k", "1").await.result, Ok(()));
    assert_eq!(client.cas("k", "2", "3").await.result, Ok(false));
    assert_eq!(client.cas("k", "1", "3").await.result, Ok(true));
    let read = client.read("k").await;
    assert_eq!(read.result, Ok(Some("3".into())));
    let served_by = read.served_by.unwrap();
    assert_eq!(served_by.shard, cluster.shard_of("k"));
    assert_eq!(Some(&served_by.node), cluster.status()[served_by.shard as usize].master.as_ref());
    assert_eq!(cluster.node_state(&master).unwrap().role, "master");
    assert_eq!(cluster.zk_leader().as_deref(), Some("zk3"));
    let shards: std::collections::HashSet<u32> =
        (0..50).map(|n| cluster.shard_of(&format!("k0-{n}"))).collect();
    assert_eq!(shards.len(), 3, "keys go to every shard");
}

#[tokio::test]
async fn a_killed_master_is_replaced_step_by_step_and_nothing_acknowledged_is_lost() {
    let (cluster, old) = started(&options(3)).await;
    let mut client = cluster.client("c0").unwrap();
    acknowledged(&mut client, "k", "before").await;
    cluster.events();
    cluster.kill(&old, Part::Server).unwrap();
    let refused = client.write("k", "refused").await.result.unwrap_err();
    assert!(refused.definite, "{refused}");
    until(&cluster, "served by another", |shard| shard.writable && shard.epoch == 2).await;
    assert_eq!(client.read("k").await.result, Ok(Some("before".into())));
    cluster.restart(&old, Part::Server).unwrap();
    until(&cluster, "whole", whole).await;

    let events = cluster.events();
    assert!(events.is_sorted_by_key(|event| event.mono_ns) && events.iter().all(|event| event.wall_ns > 0));
    let (ends, begins) = (of_epoch(&events, 1), of_epoch(&events, 2));
    assert!(at(&ends, Step::Suspected) < at(&ends, Step::LeaseLost));
    let steps = [Step::Proposed, Step::Elected, Step::Fenced, Step::Promoted, Step::Following];
    assert!(steps.map(|step| at(&begins, step)).is_sorted(), "{begins:?}");
    let winner = begins[at(&begins, Step::Elected)].1;
    assert_ne!(winner, old);
    assert_eq!(cluster.status()[0].master.as_deref(), Some(winner));
    assert_eq!(
        begins.last(),
        Some(&(Step::Following, old.as_str())),
        "the old master comes back as a replica"
    );
}

#[tokio::test]
async fn an_agent_that_is_gone_costs_its_node_the_mastership() {
    for stop in [FakeCluster::kill, FakeCluster::pause] {
        let (cluster, old) = started(&options(3)).await;
        stop(&cluster, &old, Part::Agent).unwrap();
        until(&cluster, "served by another", |shard| shard.writable && shard.epoch == 2).await;
        assert_ne!(cluster.status()[0].master.as_ref(), Some(&old));
        assert_eq!(cluster.node_state(&old).unwrap().server, ProcessState::Running);
        assert_eq!(cluster.node_state(&old).unwrap().role, "replica", "it was told to step down");
        cluster.heal_all();
        until(&cluster, "whole", whole).await;
    }
}

#[tokio::test]
async fn a_master_cut_off_is_deposed_and_steps_down_when_it_is_back() {
    let (cluster, old) = started(&options(3)).await;
    let mut near = cluster.client("c0").unwrap();
    acknowledged(&mut near, "k", "1").await;
    let nodes = cluster.nodes();
    let mut links = around(&nodes, &old);
    links.extend(["zk1", "zk2", "zk3"].iter().flat_map(|zk| [("c0", *zk), (*zk, "c0")]));
    let rule = cluster.block(links).unwrap();
    cluster.events();
    let cut_off = near.write("k", "2").await;
    assert_eq!(cut_off.result, Err(CallError::indefinite("wait 0 of 1")));
    until(&cluster, "served by another", |shard| shard.writable && shard.epoch == 2).await;
    let mut far = cluster.client("c1").unwrap();
    assert_eq!(far.read("k").await.result, Ok(Some("1".into())), "what had no majority is not there");
    assert!(near.read("k").await.result.is_err(), "the old master, which knows nothing, must not answer");
    assert!(cluster.messages(rule).unwrap() > 20, "the cut is seen to drop packets");
    cluster.remove(rule).unwrap();
    until(&cluster, "whole", whole).await;
    let events = cluster.events();
    let demoted = events.iter().find(|event| event.step == Step::Demoted).unwrap();
    assert_eq!((&demoted.node, demoted.epoch), (&old, 2));
    assert_eq!(near.read("k").await.result, Ok(Some("1".into())), "its own tail is gone");
}

#[tokio::test]
async fn nobody_is_deposed_while_zookeeper_has_no_majority() {
    let (cluster, master) = started(&options(3)).await;
    cluster.kill("zk1", Part::Server).unwrap();
    cluster.pause("zk3", Part::Server).unwrap();
    sleep(1000 * MS).await;
    assert_eq!(cluster.zk_leader(), None);
    let mut client = cluster.client("c0").unwrap();
    assert_eq!(client.read("k").await.result, Err(CallError::definite("no ZooKeeper in reach")));
    assert_eq!((cluster.status()[0].master.as_ref(), cluster.status()[0].epoch), (Some(&master), 1));
    cluster.restart("zk1", Part::Server).unwrap();
    acknowledged(&mut client, "k", "1").await;
    assert_eq!(cluster.zk_leader().as_deref(), Some("zk2"));
    assert_eq!(cluster.status()[0].epoch, 1);
}

#[tokio::test]
async fn a_request_to_a_stopped_server_may_take_effect_after_its_client_has_gone() {
    let (cluster, master) = started(&options(1)).await;
    let mut client = cluster.client("c0").unwrap();
    cluster.pause(&master, Part::Server).unwrap();
    assert!(timeout(50 * MS, client.write("k", "late")).await.is_err());
    cluster.resume(&master, Part::Server).unwrap();
    let begin = Instant::now();
    while client.read("k").await.result != Ok(Some("late".into())) {
        assert!(begin.elapsed() < PATIENCE, "the request was forgotten");
        sleep(5 * MS).await;
    }
    // What waits at a server that is killed is gone.
    cluster.pause(&master, Part::Server).unwrap();
    assert!(timeout(50 * MS, client.write("k", "gone")).await.is_err());
    cluster.kill(&master, Part::Server).unwrap();
    cluster.restart(&master, Part::Server).unwrap();
    acknowledged(&mut client, "other", "1").await;
    assert_eq!(client.read("k").await.result, Ok(Some("late".into())));
}

#[tokio::test]
async fn a_server_killed_with_a_request_in_hand_leaves_its_client_in_doubt() {
    let (cluster, master) = started(&options(3)).await;
    let mut client = cluster.client("c0").unwrap();
    cluster.pause(&master, Part::Server).unwrap();
    let kill = async {
        sleep(30 * MS).await;
        cluster.kill(&master, Part::Server).unwrap();
    };
    let (reply, ()) = tokio::join!(client.write("k", "1"), kill);
    assert_eq!(reply.result, Err(CallError::indefinite("connection reset")));
}

#[tokio::test]
async fn a_blocked_link_holds_a_call_up_until_it_opens_one_way_or_the_other() {
    for towards_server in [true, false] {
        let (cluster, master) = started(&options(3)).await;
        let mut client = cluster.client("c0").unwrap();
        let link = if towards_server { ("c0", master.as_str()) } else { (master.as_str(), "c0") };
        let rule = cluster.block([link]).unwrap();
        assert!(timeout(150 * MS, client.write("k", "1")).await.is_err(), "nobody answers");
        assert!(cluster.messages(rule).unwrap() > 0);
        let arrived = cluster.client("c1").unwrap().read("k").await.result.unwrap();
        assert_eq!(arrived.is_none(), towards_server, "only the way back was cut, or only the way there");
        let open = async {
            sleep(60 * MS).await;
            cluster.remove(rule).unwrap()
        };
        let (reply, dropped) = tokio::join!(client.write("k", "2"), open);
        assert_eq!(reply.result, Ok(()));
        assert!(dropped > 0);
    }
}

#[tokio::test]
async fn delays_and_losses_slow_calls_down_and_are_counted() {
    let (cluster, master) = started(&options(3)).await;
    let mut client = cluster.client("c0").unwrap();
    let rule = cluster.delay([("c0", master.as_str())], 80 * MS, 20 * MS).unwrap();
    let begin = Instant::now();
    assert_eq!(client.write("k", "1").await.result, Ok(()));
    assert!(begin.elapsed() >= 80 * MS);
    assert!(cluster.remove(rule).unwrap() > 0);
    assert_eq!(cluster.remove(rule), Err(FakeError::UnknownRule(0)));

    let nodes = cluster.nodes();
    let rule = cluster.delay(around(&nodes, &master), 60 * MS, Duration::ZERO).unwrap();
    let begin = Instant::now();
    assert_eq!(client.write("k", "2").await.result, Ok(()));
    assert!(begin.elapsed() >= 120 * MS, "an acknowledgement takes a round trip to a replica");
    cluster.remove(rule).unwrap();

    let rule = cluster.lose([("c0", master.as_str()), (master.as_str(), "c0")], 0.5).unwrap();
    for n in 0..10 {
        assert_eq!(client.write("k", &n.to_string()).await.result, Ok(()));
    }
    assert!(cluster.messages(rule).unwrap() > 0);
}

#[tokio::test]
async fn a_majority_that_is_gone_comes_back_with_all_that_was_acknowledged() {
    let (cluster, _) = started(&options(3)).await;
    let mut client = cluster.client("c0").unwrap();
    acknowledged(&mut client, "k", "kept").await;
    for node in ["s0r0", "s0r1", "s0r2"] {
        cluster.kill(node, Part::Server).unwrap();
    }
    sleep(50 * MS).await;
    for node in ["s0r0", "s0r1", "s0r2"] {
        assert_eq!(cluster.restart(node, Part::Server), Ok(ProcessState::Starting));
    }
    until(&cluster, "whole", whole).await;
    assert_eq!(client.read("k").await.result, Ok(Some("kept".into())));
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_a_reason() {
    let cluster = FakeCluster::start(&options(3));
    assert_eq!(cluster.kill("s9r9", Part::Server), Err(FakeError::UnknownNode("s9r9".into())));
    assert_eq!(cluster.kill("zk1", Part::Agent), Err(FakeError::NoAgent("zk1".into())));
    assert_eq!(cluster.client("s0r0").err(), Some(FakeError::NotAClient("s0r0".into())));
    assert_eq!(cluster.block([("s0r0", "nobody")]), Err(FakeError::UnknownNode("nobody".into())));
    cluster.kill("s0r0", Part::Server).unwrap();
    assert_eq!(cluster.pause("s0r0", Part::Server), Err(FakeError::NotRunning("s0r0".into())));
    assert_eq!(cluster.resume("s0r0", Part::Server), Ok(ProcessState::Dead));
    let error = "lost-writes".parse::<FakeBug>().unwrap_err().to_string();
    assert!(error.contains("\"lost-writes\"") && error.contains("lost-write, stale-read"), "{error}");
    for bug in FakeBug::ALL {
        assert_eq!(bug.name().parse(), Ok(bug));
    }
}

#[tokio::test]
async fn a_stopped_or_dead_client_does_not_get_through() {
    let (cluster, _) = started(&options(1)).await;
    let mut client = cluster.client("c0").unwrap();
    cluster.pause("c0", Part::Server).unwrap();
    assert!(timeout(50 * MS, client.write("k", "1")).await.is_err());
    cluster.kill("c0", Part::Server).unwrap();
    assert_eq!(client.write("k", "1").await.result, Err(CallError::definite("client down")));
    cluster.restart("c0", Part::Server).unwrap();
    assert_eq!(client.read("k").await.result, Ok(None));
}

#[test]
fn a_cluster_nobody_holds_ends() {
    let cluster = FakeCluster::start(&options(3));
    let world = Arc::downgrade(&cluster.world);
    let client = cluster.client("c0").unwrap();
    drop(cluster);
    assert!(world.upgrade().is_some(), "a client keeps it");
    drop(client);
    let begin = Instant::now();
    while world.strong_count() > 0 {
        assert!(begin.elapsed() < PATIENCE, "its clock still runs");
        std::thread::sleep(MS);
    }
}

/// The world on its own clock, asked by nobody but the test: a case takes no real time.
struct Ordeal {
    world: World,
    rng: ChaCha8Rng,
    /// Per shard: what a read may return. The last value acknowledged or read, then those without an answer.
    possible: HashMap<usize, Vec<Option<String>>>,
}

impl Ordeal {
    /// Replicas lag far behind in half of the cases, as servers do that are busy.
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let replicas = if rng.random_bool(0.5) { 3 } else { 5 };
        let mut world = World::new(&FakeOptions { seed, replicas, ..FakeOptions::default() });
        // Heartbeats only serve counters, which nobody reads here.
        world.next_heartbeat_ns = u64::MAX;
        if rng.random_bool(0.5) {
            world.pull_ns = 500_000_000..2_000_000_000;
        }
        Ordeal { world, rng, possible: HashMap::new() }
    }

    /// One random harm, mostly to a master, or the undoing of some.
    fn disturb(&mut self) {
        let masters = self.masters();
        let (world, rng) = (&mut self.world, &mut self.rng);
        let count = world.nodes.iter().count();
        let victim = match masters.is_empty() || rng.random_bool(0.4) {
            true => rng.random_range(0..count),
            false => masters[rng.random_range(0..masters.len())].0,
        };
        let kind = world.nodes.get(victim).kind;
        let name = world.nodes.get(victim).name.clone();
        let replica = matches!(kind, Kind::Replica { .. });
        let part = if replica && rng.random_bool(0.5) { Part::Agent } else { Part::Server };
        let harm = rng.random_range(0..12);
        match harm {
            0 | 1 => drop(world.set_state(&name, part, ProcessState::Dead)),
            2 => drop(world.set_state(&name, part, ProcessState::Paused)),
            3..=5 => world.heal_processes(),
            6 | 7 => world.links.clear(),
            8 => {
                let mut pick = || rng.random_range(0..count);
                world.links.install((0..12).map(|_| (pick(), pick())).collect(), Effect::Block);
            }
            _ => {
                // From everyone, from its own kind, or from ZooKeeper.
                let zookeepers = harm == 9;
                let cut_from = |other: &NodeId| match world.nodes.get(*other).kind {
                    Kind::Zookeeper => harm == 10 || zookeepers,
                    _ => !zookeepers,
                };
                let others = (0..count).filter(cut_from);
                let links = others.flat_map(|other| [(victim, other), (other, victim)]).collect();
                world.links.install(links, Effect::Block);
            }
        }
    }

    /// Asks every server that believes to be master, which is harsher than any client.
    fn ask(&mut self, value: &str) -> Result<(), TestCaseError> {
        for (node, shard) in self.masters() {
            let reads = self.rng.random_bool(0.3);
            let key = "k".to_owned();
            let command = if reads { Command::Get } else { Command::Set(value.to_owned()) };
            let request = serve::Request { key, command, at_replica: false };
            let possible = self.possible.entry(shard).or_insert_with(|| vec![None]);
            match self.world.serve(node, &request).answer {
                Ok(Answer::Value(read)) => {
                    prop_assert!(possible.contains(&read), "{read:?} read at {node}, not {possible:?}");
                    *possible = vec![read];
                }
                Ok(_) => *possible = vec![Some(value.to_owned())],
                Err(_) if !reads => possible.push(Some(value.to_owned())),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn masters(&self) -> Vec<(NodeId, usize)> {
        let world = &self.world;
        let of = |(id, node): (NodeId, &net::Node)| match node.kind {
            Kind::Replica { shard, index } if world.nodes.server_runs(id) => {
                matches!(world.shards[shard].replicas[index].role, Role::Master { .. }).then_some((id, shard))
            }
            _ => None,
        };
        world.nodes.iter().filter_map(of).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_reads_agree_with_the_last_acknowledged_write_and_healing_heals(seed: u64) {
        let mut ordeal = Ordeal::new(seed);
        for step in 0..1500 {
            ordeal.world.tick(10 * MS);
            if step % 25 == 0 {
                ordeal.disturb();
            }
            if ordeal.rng.random_bool(0.3) {
                ordeal.ask(&step.to_string())?;
            }
        }
        let cluster = FakeCluster { world: Arc::new(Mutex::new(ordeal.world)) };
        cluster.heal_all();
        for _ in 0..600 {
            cluster.world().tick(10 * MS);
        }
        prop_assert!(cluster.status().iter().all(whole), "{:?}", cluster.status());
    }
}

#[tokio::test]
async fn a_holder_that_is_cut_off_loses_its_lock_and_a_member_its_place() {
    let (cluster, _) = started(&options(3)).await;
    let (mut first, mut second) = (cluster.client("c0").unwrap(), cluster.client("c1").unwrap());
    let token = first.acquire("l", PATIENCE).await.result.unwrap();
    let joined = first.join("g", "a").await.result.unwrap();
    assert_eq!(first.join("g", "a").await.result, Ok(joined), "it still is");
    assert!(second.acquire("l", 50 * MS).await.result.unwrap_err().definite);
    assert_eq!(second.members("g").await.result, Ok(vec![("a".into(), joined)]));

    let zookeepers: Vec<String> = (1..=3).map(|n| format!("zk{n}")).collect();
    let cut: Vec<_> = zookeepers.iter().map(|zk| ("c0", zk.as_str())).collect();
    let rule = cluster.block(cut).unwrap();
    let next = second.acquire("l", PATIENCE).await.result.unwrap();
    assert!(next > token);
    assert_eq!(second.members("g").await.result, Ok(vec![]));
    assert!(timeout(50 * MS, first.join("g", "a")).await.is_err(), "nobody can tell it");
    cluster.remove(rule).unwrap();
    assert!(first.join("g", "a").await.result.unwrap() > joined);
    assert_eq!(first.release("l", token).await.result, Ok(()), "it is over already");
    assert!(second.acquire("l", 50 * MS).await.result.is_err(), "the present holder was not touched");
    drop(second);
    assert!(first.acquire("l", PATIENCE).await.result.unwrap() > next);
}
