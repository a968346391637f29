//! A harness in small: workers, a few random faults, final reads, an oracle.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use checker::EventKind;
use cluster::fake::{FakeClient, FakeCluster, FakeOptions, Part, RuleId};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use workloads::generator::Pace;
use workloads::keyed::{Input, KeyedClient};
use workloads::{Client, Completion, Generator, Keyed, KeyedOptions, Next, Operation, Register, Workload};

use crate::zones::{Action, Op, contradiction};

const OP_TIMEOUT: Duration = Duration::from_millis(400);
const WORKERS: u32 = 8;

/// What one run showed.
#[derive(Debug, Default)]
pub struct Outcome {
    pub contradictions: Vec<String>,
    pub ok: BTreeMap<&'static str, usize>,
    pub fail: BTreeMap<String, usize>,
    pub info: BTreeMap<String, usize>,
    pub epochs: u64,
    pub unread: usize,
}

#[derive(Default)]
struct Recorder {
    position: u64,
    ops: BTreeMap<String, Vec<Op>>,
    outcome: Outcome,
}

impl Recorder {
    fn tick(&mut self) -> u64 {
        self.position += 1;
        self.position
    }

    fn record(&mut self, f: &'static str, key: String, call: u64, done: &Completion) {
        let ret = self.tick();
        let reason = || done.error.as_deref().unwrap_or_default().to_owned();
        match done.kind {
            EventKind::Ok => *self.outcome.ok.entry(f).or_default() += 1,
            EventKind::Fail => *self.outcome.fail.entry(reason()).or_default() += 1,
            EventKind::Info => *self.outcome.info.entry(reason()).or_default() += 1,
            EventKind::Invoke => panic!("a completion is no invocation"),
        }
        if done.kind == EventKind::Fail {
            return;
        }
        let action = match f {
            "read" => Action::Read((!done.value.is_null()).then(|| done.value.to_string())),
            "write" => Action::Write(done.value.to_string()),
            _ => Action::Cas(done.value[0].to_string(), done.value[1].to_string()),
        };
        let ret = (done.kind == EventKind::Ok).then_some(ret);
        self.ops.entry(key).or_default().push(Op { call, ret, action });
    }
}

/// Load for so many seconds, on a cluster with those options, under faults if wanted; then all heals, every
/// key is read, and the oracle judges.
pub async fn run(options: FakeOptions, seconds: u64, faults: bool) -> Outcome {
    let cluster = FakeCluster::start(&options);
    until_whole(&cluster).await;
    let pace = Pace { rate: 600.0, concurrency: WORKERS, time_limit_ns: seconds * 1_000_000_000 };
    let workload = Keyed::new(Register::default(), KeyedOptions::new(options.seed, pace)).unwrap();
    let recorder = Rc::new(RefCell::new(Recorder::default()));
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let client = cluster.client(&format!("c{worker}")).unwrap();
            tokio::task::spawn_local(work(workload.clone(), worker, client, recorder.clone()))
        })
        .collect();
    if faults {
        harm(&cluster, options.seed, Duration::from_secs(seconds)).await;
    }
    for worker in workers {
        worker.await.unwrap();
    }
    cluster.heal_all();
    until_whole(&cluster).await;
    let unread = read_all(&workload, &cluster, &recorder).await;
    let epochs = cluster.status().iter().map(|shard| shard.epoch).sum();
    let recorder = std::mem::take(&mut *recorder.borrow_mut());
    let contradictions = recorder
        .ops
        .iter()
        .filter_map(|(key, ops)| contradiction(ops).map(|why| format!("{key}: {why}")))
        .collect();
    Outcome { contradictions, epochs, unread, ..recorder.outcome }
}

pub async fn until_whole(cluster: &FakeCluster) {
    let begin = Instant::now();
    while !cluster.status().iter().all(|shard| shard.writable && shard.trouble.is_empty()) {
        assert!(begin.elapsed() < Duration::from_secs(30), "not whole again: {:?}", cluster.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn work(
    workload: Keyed<Register>,
    worker: u32,
    mut store: FakeClient,
    recorder: Rc<RefCell<Recorder>>,
) {
    let (mut generator, begin) = (workload.generator(worker), Instant::now());
    let mut client = workload.client(worker);
    loop {
        let now_ns = begin.elapsed().as_nanos() as u64;
        match generator.next(now_ns) {
            Next::Invoke(input) => drop(attempt(&mut client, &mut store, &input, &recorder).await),
            Next::Wait { until_ns } => tokio::time::sleep(Duration::from_nanos(until_ns - now_ns)).await,
            Next::Done => return,
        }
    }
}

async fn attempt(
    client: &mut KeyedClient<Register>,
    store: &mut FakeClient,
    input: &Input,
    recorder: &RefCell<Recorder>,
) -> Completion {
    let op = client.prepare(input);
    let call = op.call();
    let position = recorder.borrow_mut().tick();
    let done = match tokio::time::timeout(OP_TIMEOUT, client.call(store, &op)).await {
        Ok(done) => done,
        Err(_) => client.timed_out(&op),
    };
    recorder.borrow_mut().record(call.f, call.key, position, &done);
    done
}

async fn read_all(workload: &Keyed<Register>, cluster: &FakeCluster, recorder: &RefCell<Recorder>) -> usize {
    let mut store = cluster.client("c0").unwrap();
    let mut client = workload.client(0);
    let mut unread = 0;
    for input in workload.final_reads() {
        let mut tries = 0;
        while attempt(&mut client, &mut store, &input, recorder).await.kind != EventKind::Ok {
            tries += 1;
            if tries == 20 {
                unread += 1;
                break;
            }
        }
    }
    unread
}

/// Kills, pauses, agents lost and partitions around masters, one or two at a time, each healed after a while.
pub async fn harm(cluster: &FakeCluster, seed: u64, time: Duration) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let begin = Instant::now();
    while begin.elapsed() < time {
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..500))).await;
        let mut healings: Vec<Box<dyn Fn()>> = Vec::new();
        for _ in 0..rng.random_range(1..=2) {
            healings.push(strike(cluster, &mut rng));
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(300..1200))).await;
        healings.iter().for_each(|heal| heal());
    }
}

fn strike(cluster: &FakeCluster, rng: &mut ChaCha8Rng) -> Box<dyn Fn()> {
    let cluster = cluster.clone();
    let shard = rng.random_range(0..2);
    let master = cluster.status()[shard].master.clone().unwrap_or(format!("s{shard}r0"));
    let victim = match rng.random_range(0..10) {
        0 => format!("zk{}", rng.random_range(1..=3)),
        1 => format!("s{shard}r{}", rng.random_range(0..3)),
        _ => master,
    };
    let part = if victim.starts_with('s') && rng.random_bool(0.2) { Part::Agent } else { Part::Server };
    match rng.random_range(0..4) {
        0 => {
            cluster.kill(&victim, part).unwrap();
            Box::new(move || drop(cluster.restart(&victim, part)))
        }
        1 => {
            let _ = cluster.pause(&victim, part);
            Box::new(move || drop(cluster.resume(&victim, part)))
        }
        shape => {
            let rule = cut(&cluster, &victim, shape == 2, rng);
            Box::new(move || drop(cluster.remove(rule)))
        }
    }
}

/// Cuts the victim off from the other servers, and half the time from half of the clients too.
fn cut(cluster: &FakeCluster, victim: &str, both_ways: bool, rng: &mut ChaCha8Rng) -> RuleId {
    let clients_too = rng.random_bool(0.5);
    let nodes = cluster.nodes();
    let others = nodes.iter().filter(|node| match node.strip_prefix('c') {
        Some(number) => clients_too && number.parse::<u32>().unwrap() % 2 == 0,
        None => node.as_str() != victim,
    });
    let links: Vec<(&str, &str)> = others
        .flat_map(|node| [(victim, node.as_str()), (node.as_str(), victim)])
        .filter(|(from, _)| both_ways || *from == victim)
        .collect();
    cluster.block(links).unwrap()
}
