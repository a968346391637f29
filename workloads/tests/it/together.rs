//! The workloads on locks and groups on the fake cluster: valid under faults, and not with a client that makes a
//! known mistake.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use checker::{Budget, Event, EventKind, History, Process, Verdict};
use cluster::fake::{FakeClient, FakeCluster, FakeOptions};
use cluster::store::{Answer, Command, Reply, Store};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use tokio::task::LocalSet;
use workloads::generator::Pace;
use workloads::{Client, Generator, Lock, LockOptions, Members, MembersOptions, Next, Operation, Workload};

use crate::drive::{harm, until_whole};

const OP_TIMEOUT: Duration = Duration::from_millis(800);
const WORKERS: u32 = 6;

/// A mistake of the client.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mistake {
    /// The store is not told tokens.
    WithoutToken,
    /// Lists may be half a second old.
    FromCache,
}

/// A client of the fake, with or without a mistake.
struct Hands {
    store: FakeClient,
    mistake: Option<Mistake>,
    cached: Option<(Instant, Vec<(String, u64)>)>,
}

impl Store for Hands {
    async fn execute(&mut self, key: &str, command: &Command) -> Reply<Answer> {
        let untold = self.mistake == Some(Mistake::WithoutToken);
        match command {
            Command::Claim(_) if untold => self.store.execute(key, &Command::Claim(i64::MAX)).await,
            Command::Guarded { value, .. } if untold => {
                let command = Command::Guarded { token: i64::MAX, value: value.clone() };
                self.store.execute(key, &command).await
            }
            _ => self.store.execute(key, command).await,
        }
    }

    async fn acquire(&mut self, lock: &str, patience: Duration) -> Reply<i64> {
        self.store.acquire(lock, patience).await
    }

    async fn release(&mut self, lock: &str, token: i64) -> Reply<()> {
        self.store.release(lock, token).await
    }

    async fn join(&mut self, group: &str, member: &str) -> Reply<u64> {
        self.store.join(group, member).await
    }

    async fn leave(&mut self, group: &str) -> Reply<()> {
        self.store.leave(group).await
    }

    async fn members(&mut self, group: &str) -> Reply<Vec<(String, u64)>> {
        if self.mistake == Some(Mistake::FromCache)
            && let Some((at, cached)) = &self.cached
            && at.elapsed() < Duration::from_millis(500)
        {
            return Reply { result: Ok(cached.clone()), served_by: None };
        }
        let reply = self.store.members(group).await;
        if let Ok(members) = &reply.result {
            self.cached = Some((Instant::now(), members.clone()));
        }
        reply
    }
}

/// What was recorded so far.
#[derive(Default)]
struct Recorder {
    events: Vec<Event>,
}

impl Recorder {
    fn note(&mut self, process: u64, kind: EventKind, f: &'static str, key: &str, value: serde_json::Value) {
        let index = self.events.len() as u64;
        self.events.push(Event {
            index,
            time_ns: index,
            process: Process::Client(process),
            kind,
            f: f.into(),
            key: Some(key.into()),
            value,
            error: None,
            shard: None,
            epoch: None,
            node: None,
        });
    }
}

async fn attempt<C: Client>(
    process: &mut u64,
    client: &mut C,
    store: &mut impl Store,
    input: &C::Input,
    recorder: &RefCell<Recorder>,
) -> EventKind {
    let op = client.prepare(input);
    let call = op.call();
    recorder.borrow_mut().note(*process, EventKind::Invoke, call.f, &call.key, call.value);
    let done = match tokio::time::timeout(OP_TIMEOUT, client.call(store, &op)).await {
        Ok(done) => done,
        Err(_) => client.timed_out(&op),
    };
    recorder.borrow_mut().note(*process, done.kind, call.f, &call.key, done.value);
    if done.kind == EventKind::Info {
        *process += u64::from(WORKERS);
    }
    done.kind
}

async fn work<W: Workload>(workload: Rc<W>, worker: u32, mut store: Hands, recorder: Rc<RefCell<Recorder>>) {
    let (mut generator, mut client) = (workload.generator(worker), workload.client(worker));
    let (begin, mut process) = (Instant::now(), u64::from(worker));
    loop {
        let now_ns = begin.elapsed().as_nanos() as u64;
        match generator.next(now_ns) {
            Next::Invoke(input) => {
                attempt(&mut process, &mut client, &mut store, &input, &recorder).await;
            }
            Next::Wait { until_ns } => tokio::time::sleep(Duration::from_nanos(until_ns - now_ns)).await,
            Next::Done => return,
        }
    }
}

/// Cuts clients off from the ensemble, one after the other, for longer and for shorter than a session lasts.
async fn cut_clients_off(cluster: &FakeCluster, seed: u64, time: Duration) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let begin = Instant::now();
    while begin.elapsed() < time {
        let client = format!("c{}", rng.random_range(0..WORKERS));
        let links = ["zk1", "zk2", "zk3"].map(|zk| (client.as_str(), zk));
        let rule = cluster.block(links).unwrap();
        tokio::time::sleep(Duration::from_millis(rng.random_range(200..1200))).await;
        cluster.remove(rule).unwrap();
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..200))).await;
    }
}

/// Load and faults for some seconds; then all heals, the final reads are done, and the workload judges.
async fn run<W: Workload + 'static>(
    workload: W,
    seed: u64,
    time: Duration,
    mistake: Option<Mistake>,
) -> (History, Vec<String>) {
    let cluster = FakeCluster::start(&FakeOptions { seed, ..FakeOptions::default() });
    until_whole(&cluster).await;
    let (workload, recorder) = (Rc::new(workload), Rc::new(RefCell::new(Recorder::default())));
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let store = cluster.client(&format!("c{worker}")).unwrap();
            let store = Hands { store, mistake, cached: None };
            tokio::task::spawn_local(work(workload.clone(), worker, store, recorder.clone()))
        })
        .collect();
    tokio::join!(harm(&cluster, seed, time), cut_clients_off(&cluster, seed, time));
    for worker in workers {
        worker.await.unwrap();
    }
    cluster.heal_all();
    until_whole(&cluster).await;
    let (mut client, mut process) = (workload.client(0), 1 << 40);
    let mut store = cluster.client("c0").unwrap();
    for input in workload.final_reads() {
        let mut tries = 0;
        while attempt(&mut process, &mut client, &mut store, &input, &recorder).await != EventKind::Ok {
            tries += 1;
            assert!(tries < 20, "a final read never succeeds");
        }
    }
    let history = History::from_events(std::mem::take(&mut recorder.borrow_mut().events)).unwrap();
    let mut found = Vec::new();
    for checker in workload.checkers() {
        match checker.check(&history, &Budget::default()) {
            Verdict::Valid => {}
            Verdict::Unknown { why } => panic!("{}: {why:?}", checker.name()),
            Verdict::Invalid { anomalies } => found.extend(anomalies.into_iter().map(|anomaly| anomaly.name)),
        }
    }
    found.sort();
    found.dedup();
    (history, found)
}

fn pace(rate: f64, time: Duration) -> Pace {
    Pace { rate, concurrency: WORKERS, time_limit_ns: time.as_nanos() as u64 }
}

fn lock(seed: u64, time: Duration) -> Lock {
    let patience = Duration::from_millis(300);
    Lock::new(LockOptions { patience, linger_s: 0.9, ..LockOptions::new(seed, pace(200.0, time)) })
}

fn members(seed: u64, time: Duration) -> Members {
    Members::new(MembersOptions::new(seed, pace(300.0, time))).unwrap()
}

fn ok(history: &History, f: &str) -> usize {
    history.ops.iter().filter(|op| op.f == f && op.end == checker::OpEnd::Ok).count()
}

const TIME: Duration = Duration::from_secs(5);

#[tokio::test]
async fn without_a_mistake_locks_and_groups_keep_their_word_under_faults() {
    let local = LocalSet::new();
    let locks = local.spawn_local(run(lock(1, TIME), 1, TIME, None));
    let groups = local.spawn_local(run(members(2, TIME), 2, TIME, None));
    local
        .run_until(async {
            let (history, found) = locks.await.unwrap();
            assert_eq!(found, [""; 0], "{}", checker::history::draw(&history.ops.iter().collect::<Vec<_>>()));
            let done = ["acquire", "claim", "guarded", "release"].map(|f| ok(&history, f));
            println!("turns: {done:?} of {}", history.ops.len());
            assert!(done.iter().all(|&done| done >= 10), "{done:?}");
            let (history, found) = groups.await.unwrap();
            assert_eq!(found, [""; 0], "{}", checker::history::draw(&history.ops.iter().collect::<Vec<_>>()));
            let done = ["join", "leave", "members"].map(|f| ok(&history, f));
            println!("memberships: {done:?} of {}", history.ops.len());
            assert!(done[0] > 100 && done[1] > 5 && done[2] > 100, "{done:?}");
        })
        .await;
}

/// Rounds of a few seconds until it shows, so that a slow machine takes longer but does not fail.
#[tokio::test]
async fn a_client_that_makes_a_mistake_is_found_out() {
    const ROUNDS_MAX: u64 = 6;
    let local = LocalSet::new();
    let untold = async {
        for seed in 0..ROUNDS_MAX {
            let (_, found) = run(lock(seed, TIME), seed, TIME, Some(Mistake::WithoutToken)).await;
            println!("without tokens, round {seed}: {found:?}");
            if found.iter().any(|name| name == "lost-update") {
                return;
            }
        }
        panic!("no update was lost");
    };
    let cached = async {
        for seed in 0..ROUNDS_MAX {
            let (_, found) = run(members(seed, TIME), seed, TIME, Some(Mistake::FromCache)).await;
            println!("from a cache, round {seed}: {found:?}");
            if !found.is_empty() {
                return;
            }
        }
        panic!("no list was stale");
    };
    local.run_until(async { tokio::join!(untold, cached) }).await;
}
