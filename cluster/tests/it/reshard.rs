//! Shards come and go, with drivers that crash and masters that die.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cluster::{
    client::{Client, ClientOptions, ClusterView},
    redis_link::RedisLink,
    reshard::{self, Goal, Moved, Options, Progress, Report, ReshardError, Stage, steps::Steps},
    ring::{Ring, slot},
    security::Transport,
    status,
    store::{Answer, Command, Store},
    znodes::Move,
};
use redis::Value;

use crate::{
    failover::{SOON, on_a_runtime, write_until_acknowledged},
    rig::{Mode, Rig, client_options, secret},
};

fn options(rig: &Rig) -> Options {
    Options { batch_slots: 200, scan_count: 100, ..Options::new(&rig.connect, client_options()) }
}

fn go_on(_: Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A driver that crashes right after the `nth` time it has come to `stage`.
async fn crash_after(rig: &Rig, goal: Goal, stage: Stage, nth: usize) -> Result<Report, ReshardError> {
    let mut left = nth;
    let mut watch = |progress: Progress<'_>| {
        left -= usize::from(progress.stage == stage && left > 0);
        if progress.stage == stage && left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    reshard::run(&options(rig), goal, &mut watch).await
}

async fn ready(rig: &Rig) -> ClusterView {
    let view = rig.view();
    status::ready(&view, &client_options(), SOON).await.expect("the cluster takes writes");
    view
}

/// All keys of users that lie in the data of a shard's master, with what the shard says of its slots.
async fn data_of(view: &ClusterView, shard: u32) -> (BTreeSet<String>, String) {
    let route = view.master(shard).expect("a master");
    let mut link = RedisLink::connect_as(route.addr, &secret().agent(), SOON, &Transport::plain())
        .await
        .expect("it answers");
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("{other:?} is no text"),
    };
    let Ok(Value::Array(keys)) = link.command(redis::cmd("KEYS").arg("*"), SOON).await else {
        panic!("no keys")
    };
    let owned = link.command(redis::cmd("GET").arg(cluster::dataset::OWNED), SOON).await.expect("slots");
    let keys = keys.iter().map(text).filter(|key| !key.starts_with(cluster::dataset::RESERVED));
    (keys.collect(), text(&owned))
}

/// Every key lies where the ring says, and nowhere else; every slot has one owner, the one of the ring.
async fn each_key_is_at_its_owner_only(view: &ClusterView, shards: &[u32]) -> BTreeSet<String> {
    let state = view.state();
    let mut keys = BTreeSet::new();
    for &shard in shards {
        let (found, owned) = data_of(view, shard).await;
        assert_eq!(owned, state.ring.slots_of(shard), "slots of shard {shard}");
        let astray: Vec<&String> = found.iter().filter(|key| state.ring.owner(key) != Some(shard)).collect();
        assert!(astray.is_empty(), "shard {shard} has keys of others: {astray:?}");
        keys.extend(found);
    }
    keys
}

/// Clients that write and read their own keys all the time, and never lose what was acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<tokio::task::JoinHandle<Done>>,
}

/// What one of them has seen.
#[derive(Default)]
struct Done {
    acknowledged: u64,
    refused: BTreeMap<String, u64>,
    gap_max: Duration,
}

impl Load {
    fn start(view: &ClusterView, options: &ClientOptions, workers: u32, keys: u32) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let workers = (0..workers).map(|worker| {
            let client = Client::new(view.clone(), options.clone());
            tokio::spawn(keep_at_it(client, worker, keys, stop.clone()))
        });
        Load { workers: workers.collect(), stop }
    }

    async fn end(self) -> Done {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Done::default();
        for worker in self.workers {
            let done = worker.await.expect("no worker has lost anything");
            all.acknowledged += done.acknowledged;
            all.gap_max = all.gap_max.max(done.gap_max);
            for (reason, count) in done.refused {
                *all.refused.entry(reason).or_default() += count;
            }
        }
        all
    }
}

async fn keep_at_it(mut client: Client, worker: u32, keys: u32, stop: Arc<AtomicBool>) -> Done {
    let mut done = Done::default();
    // By key: the last value known to be written, and those that may be.
    let mut known: BTreeMap<u32, (Option<String>, BTreeSet<String>)> = BTreeMap::new();
    let mut last_ok = Instant::now();
    for n in 0u32.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (key, value) = (n % keys, n.to_string());
        let name = format!("load-{worker}-{key}");
        let (sure, maybe) = known.entry(key).or_default();
        let call = async {
            if n.is_multiple_of(2) {
                client.write(&name, &value).await.result.map(|()| None)
            } else {
                client.read(&name).await.result.map(Some)
            }
        };
        let error = match tokio::time::timeout(Duration::from_millis(500), call).await {
            Ok(Ok(seen)) => {
                let seen = seen.unwrap_or(Some(value));
                let explained =
                    seen == *sure || n.is_multiple_of(2) || seen.as_ref().is_some_and(|v| maybe.contains(v));
                assert!(explained, "{name} is {seen:?}, was {sure:?}, perhaps {maybe:?}");
                *sure = seen; // what may be written may be so later, too
                done.acknowledged += 1;
                done.gap_max = done.gap_max.max(last_ok.elapsed());
                last_ok = Instant::now();
                continue;
            }
            Ok(Err(error)) => error,
            Err(_) => cluster::store::CallError::indefinite("timeout"),
        };
        if !error.definite && n.is_multiple_of(2) {
            maybe.insert(value);
        }
        *done.refused.entry(error.reason).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    done
}

#[test]
fn a_shard_comes_and_goes_under_load_and_every_kind_of_data_goes_along() {
    on_a_runtime(async {
        let Some(rig) = Rig::of_shards(&[0], &[1], Mode::default()).await else { return };
        let view = ready(&rig).await;
        let mut client = Client::new(view.clone(), client_options());
        let kinds = [
            (Command::Set("v".into()), Command::Get, Answer::Value(Some("v".into()))),
            (Command::Add(-7), Command::Count, Answer::Number(-7)),
            (Command::Append("a".into()), Command::List, Answer::Items(vec!["a".into()])),
            (Command::Insert("m".into()), Command::Members, Answer::Items(vec!["m".into()])),
            (
                Command::Open { accounts: vec![("x".into(), 5)] },
                Command::Balances,
                Answer::Balances([("x".to_owned(), 5)].into()),
            ),
            (
                Command::Guarded { token: 3, value: "g".into() },
                Command::GuardedRead,
                Answer::Value(Some("g".into())),
            ),
        ];
        for (i, (write, _, _)) in kinds.iter().enumerate() {
            for n in 0..40 {
                client.execute(&format!("kind-{i}-{n}"), write).await.result.expect("written");
            }
        }
        let load = Load::start(&view, &client_options(), 3, 40);
        let mut stages = Vec::new();
        let mut watch = |progress: Progress<'_>| {
            stages.push(progress.stage);
            ControlFlow::Continue(())
        };
        let report = reshard::run(&options(&rig), Goal::Add(1), &mut watch).await.expect("added");
        let moving = Ring::new(&[0, 1], cluster::ring::VNODES).slots_of(1).matches('1').count();
        assert_eq!(report.slots(), moving);
        assert!(report.keys() > 60, "{report:?}");
        stages.dedup();
        assert_eq!(stages[..10], [&Stage::ALL[..9], &[Stage::Announced]].concat()[..]);
        assert!(view.wait_until(SOON, |state| state.ring == Ring::new(&[0, 1], cluster::ring::VNODES)).await);
        for (i, (_, read, expected)) in kinds.iter().enumerate() {
            for n in 0..40 {
                let reply = client.execute(&format!("kind-{i}-{n}"), read).await;
                assert_eq!(reply.result.as_ref(), Ok(expected), "{read:?}");
            }
        }
        let again = reshard::run(&options(&rig), Goal::Add(1), &mut go_on).await;
        assert_eq!(again, Err(ReshardError::Goal("shard 1 is on the ring already".into())));
        // Away with the shard that was there first.
        let report = reshard::run(&options(&rig), Goal::Remove(0), &mut go_on).await.expect("removed");
        assert_eq!(report.slots(), usize::from(cluster::ring::SLOTS) - moving);
        assert!(view.wait_until(SOON, |state| state.ring == Ring::new(&[1], 1)).await);
        let done = load.end().await;
        println!(
            "{} acknowledged, {:?} refused, longest gap {:?}",
            done.acknowledged, done.refused, done.gap_max
        );
        assert!(each_key_is_at_its_owner_only(&view, &[0, 1]).await.len() >= 6 * 40);
    });
}

#[test]
fn a_driver_may_crash_after_any_step_and_another_goes_on() {
    on_a_runtime(async {
        let Some(rig) = Rig::of_shards(&[0], &[1], Mode::default()).await else { return };
        let view = ready(&rig).await;
        let load = Load::start(&view, &client_options(), 3, 200);
        let mut goal = Goal::Add(1);
        for (i, stage) in Stage::ALL.into_iter().enumerate() {
            // In the first move, and in a later one.
            let nth = if stage == Stage::Finished || stage == Stage::Taken { 1 } else { 1 + i % 2 };
            let crashed = crash_after(&rig, goal, stage, nth).await;
            assert_eq!(crashed, Err(ReshardError::Stopped), "{stage:?}");
            if stage != Stage::Finished {
                let other = match goal {
                    Goal::Add(_) => Goal::Remove(0),
                    _ => Goal::Add(7),
                };
                let busy = reshard::run(&options(&rig), other, &mut go_on).await.unwrap_err();
                assert!(busy.to_string().contains("resume that first"), "{busy}");
                reshard::run(&options(&rig), Goal::Resume, &mut go_on).await.expect("resumed");
            }
            let shards: &[u32] = if goal == Goal::Add(1) { &[0, 1] } else { &[0] };
            let ring = Ring::new(shards, cluster::ring::VNODES);
            assert!(view.wait_until(SOON, |state| state.ring == ring).await, "{stage:?}");
            each_key_is_at_its_owner_only(&view, &[0, 1]).await;
            goal = if goal == Goal::Add(1) { Goal::Remove(1) } else { Goal::Add(1) };
        }
        let done = load.end().await;
        println!(
            "{} acknowledged, {:?} refused, longest gap {:?}",
            done.acknowledged, done.refused, done.gap_max
        );
        assert!(done.refused.keys().any(|reason| reason == "FROZEN"), "{:?}", done.refused);
    });
}

#[test]
fn drivers_that_are_cut_off_in_mid_step_and_masters_that_die_lose_nothing() {
    on_a_runtime(async {
        let Some(mut rig) = Rig::of_shards(&[0], &[1], Mode::default()).await else { return };
        let view = ready(&rig).await;
        let mut client = Client::new(view.clone(), client_options());
        for n in 0..2000 {
            write_until_acknowledged(&mut client, &format!("key-{n}"), &n.to_string()).await;
        }
        let load = Load::start(&view, &client_options(), 2, 100);
        let mut goal = Goal::Add(1);
        for round in 0..6u64 {
            // Cut off at any moment: what is under way stays under way.
            let mut cuts = 0;
            let limit = |n: u64| Duration::from_millis(40 + (round * 37 + n * 61) % 150);
            let small = Options { batch_slots: 60, ..options(&rig) };
            let mut ended =
                tokio::time::timeout(limit(0), reshard::run(&small, goal, &mut go_on)).await.is_ok();
            if round % 2 == 1 && !ended {
                let victim = view.master((round / 2 % 2) as u32).expect("a master").node;
                rig.node(&victim).redis.take().expect("a redis").kill();
                // It is filled again before the next one goes.
                let redis = rig.redis.clone();
                rig.node(&victim).start_redis(&redis);
            }
            while !ended && cuts < 4 {
                cuts += 1;
                ended =
                    tokio::time::timeout(limit(cuts), reshard::run(&small, goal, &mut go_on)).await.is_ok();
            }
            match reshard::run(&small, goal, &mut go_on).await {
                Ok(_) => {}
                Err(ReshardError::Goal(why)) if why.contains("on the ring") => {}
                Err(e) => panic!("{e}"),
            }
            let ids: &[u32] = if goal == Goal::Add(1) { &[0, 1] } else { &[0] };
            let ring = Ring::new(ids, cluster::ring::VNODES);
            assert!(view.wait_until(SOON, |state| state.ring == ring).await);
            let whole = |state: &cluster::client::ClusterState| {
                state.shards.values().all(|shard| {
                    shard.replicas.len() == 2
                        && shard
                            .members
                            .iter()
                            .all(|(node, member)| shard.voters.get(node) == Some(&member.run_id))
                })
            };
            assert!(view.wait_until(SOON, whole).await, "{:?}", view.state());
            each_key_is_at_its_owner_only(&view, &[0, 1]).await;
            goal = if goal == Goal::Add(1) { Goal::Remove(1) } else { Goal::Add(1) };
        }
        let done = load.end().await;
        println!(
            "{} acknowledged, {:?} refused, longest gap {:?}",
            done.acknowledged, done.refused, done.gap_max
        );
        for n in 0..2000 {
            assert_eq!(client.read(&format!("key-{n}")).await.result, Ok(Some(n.to_string())), "key-{n}");
        }
    });
}

#[test]
fn a_driver_that_wakes_up_too_late_is_refused_at_every_step() {
    on_a_runtime(async {
        let Some(rig) = Rig::of_shards(&[0], &[1], Mode::default()).await else { return };
        let view = ready(&rig).await;
        let mut client = Client::new(view.clone(), client_options());
        write_until_acknowledged(&mut client, "k", "old").await;
        let at = slot("k");
        // It falls asleep with the old value in its hands.
        assert_eq!(crash_after(&rig, Goal::Add(1), Stage::Announced, 1).await, Err(ReshardError::Stopped));
        let moving = Move { id: 3, from: 0, to: 1, slots: vec![at], switched: false };
        let (mut one, mut two) =
            (Client::new(view.clone(), client_options()), Client::new(view.clone(), client_options()));
        let mut from = Steps::new(&mut one, 0, &moving, SOON);
        let mut to = Steps::new(&mut two, 1, &moving, SOON);
        assert_eq!(to.prepare().await, Ok(false));
        from.freeze().await.expect("frozen");
        assert_eq!(client.write("k", "meanwhile").await.result.unwrap_err().reason, "FROZEN");
        let mut items = Vec::new();
        let mut cursor = Some(b"0".to_vec());
        while let Some(at) = cursor {
            let page = from.export(&at, 100, true).await.expect("a page");
            items.extend(page.items);
            cursor = page.next;
        }
        assert_eq!(items.iter().map(|item| item.key.as_slice()).collect::<Vec<_>>(), [b"k"]);

        // Its own repetition, long after it went on.
        to.import(&items).await.expect("imported");
        to.own().await.expect("owned");
        let late = to.import(&items).await.unwrap_err();
        assert!(matches!(&late, ReshardError::Refused { why, .. } if why == "WRONGSTATE"), "{late}");

        // Another driver with the same portion takes the slot from here.
        let other = Move { id: 1_000_000, ..moving.clone() };
        let (mut three, mut four) =
            (Client::new(view.clone(), client_options()), Client::new(view.clone(), client_options()));
        assert_eq!(Steps::new(&mut four, 1, &other, SOON).prepare().await, Ok(true));
        Steps::new(&mut three, 0, &other, SOON).freeze().await.expect("frozen again");
        for late in [
            to.prepare().await.map(drop),
            to.import(&items).await,
            to.own().await,
            from.freeze().await,
            from.claim().await,
            from.drop(&[b"k".to_vec()]).await,
            from.release().await,
        ] {
            assert_eq!(late, Err(ReshardError::Superseded));
        }
        assert_eq!(from.export(b"0", 10, true).await.unwrap_err().reason, "SUPERSEDED");
    });
}

/// Asserts nothing about speed: run with `--ignored --nocapture`.
#[test]
#[ignore = "measures, asserts nothing: by hand, with --run-ignored only --no-capture"]
fn a_hundred_thousand_keys_under_load() {
    on_a_runtime(async {
        let Some(rig) = Rig::of_shards(&[0, 1], &[2], Mode::default()).await else { return };
        let view = ready(&rig).await;
        const KEYS: usize = 100_000;
        let mut fill = tokio::task::JoinSet::new();
        for part in 0..16usize {
            let mut client = Client::new(view.clone(), client_options());
            fill.spawn(async move {
                for n in (part..KEYS).step_by(16) {
                    write_until_acknowledged(&mut client, &format!("key-{n}"), &format!("value-{n}")).await;
                }
            });
        }
        while fill.join_next().await.is_some() {}
        println!("{KEYS} keys written");
        for goal in [Goal::Add(2), Goal::Remove(2)] {
            let before = view.state().ring.clone();
            let load = Load::start(&view, &client_options(), 8, 500);
            tokio::time::sleep(Duration::from_secs(2)).await;
            let options = Options::new(&rig.connect, client_options());
            let report = reshard::run(&options, goal, &mut go_on).await.expect("done");
            let ids: &[u32] = if goal == Goal::Add(2) { &[0, 1, 2] } else { &[0, 1] };
            let ring = Ring::new(ids, cluster::ring::VNODES);
            assert!(view.wait_until(SOON, |state| state.ring == ring).await);
            let done = load.end().await;
            let (p50, max) = report.unavailable().expect("slots moved");
            println!(
                "{goal}: {} slots and {} keys in {:.2} s; a slot was away for {p50:.0?} (median), {max:.0?} (longest); \
                 meanwhile {} operations acknowledged, refused {:?}, longest gap of a client {:.0?}",
                report.slots(),
                report.keys(),
                report.duration.as_secs_f64(),
                done.acknowledged,
                done.refused,
                done.gap_max
            );
            let moves: BTreeMap<(u32, u32), usize> =
                report.moves.iter().fold(BTreeMap::new(), |mut all, moved: &Moved| {
                    *all.entry((moved.from, moved.to)).or_default() += moved.slots;
                    all
                });
            println!("slots by way: {moves:?}");
            let all = each_key_is_at_its_owner_only(&view, &[0, 1, 2]).await;
            let must = all.iter().filter(|key| before.owner(key) != ring.owner(key)).count();
            println!("{} keys in all, each at its owner only; {must} had to move", all.len());
            // The clients had written all of theirs before.
            assert_eq!(report.keys(), must as u64, "keys that moved, and those that had to");
        }
        let mut client = Client::new(view.clone(), client_options());
        for n in (0..KEYS).step_by(7) {
            assert_eq!(client.read(&format!("key-{n}")).await.result, Ok(Some(format!("value-{n}"))));
        }
    });
}
