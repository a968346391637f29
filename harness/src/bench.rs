//! `bench`: what our own machinery costs on this machine.

mod checker;
mod ring;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use cluster::event::AgentEvent;
use cluster::fake::Noop;
use cluster::provision;
use cluster::reshard::{Goal, Report};
use nemesis::byzantine::{Editor, Ends, Faults, Literal, MessageFault, Op, Pattern, Predicate, Tapped};
use nemesis::wire::{Link, Protocol, WHOLE, Way};
use nemesis::{Arena, Topology, View};
use results::Journal;
use workloads::generator::Pace;
use workloads::{Keyed, KeyedOptions, Register};

use crate::exit::Exit;
use crate::lookout::Halt;
use crate::recorder::{Recorder, RunClock};
use crate::signals::Interrupt;
use crate::sites::{Life, Sites};
use crate::testbed::Testbed;

pub use self::checker::{CheckerArgs, checker};
pub use ring::ring;

/// The op engine against a client that acknowledges at once: generator, journal on disk, worker loop.
pub fn engine(seconds: f64, concurrency: u32, store: &Path) -> Result<Exit> {
    std::fs::create_dir_all(store).with_context(|| format!("failed to make {}", store.display()))?;
    let path = store.join(format!("bench-engine-{}.jsonl", std::process::id()));
    let pace = Pace { rate: 0.0, concurrency, time_limit_ns: (seconds * 1e9) as u64 };
    let workload = Arc::new(Keyed::new(Register::default(), KeyedOptions::new(1, pace))?);
    let halt = Halt::new(Interrupt::install());
    let sites = Sites::open(&Arc::new(Nothing), &workload, concurrency, Duration::from_secs(1), halt)?;
    let recorder = Arc::new(Recorder::new(Journal::create(&path)?, RunClock::start()));
    let loaded = sites.load(&recorder, || {});
    let elapsed_s = recorder.clock().now_ns() as f64 / 1e9;
    let counts = recorder.counts();
    let bytes = std::fs::metadata(&path).map(|meta| meta.len()).unwrap_or(0);
    drop(std::fs::remove_file(&path));
    loaded?;
    let completed = counts.ok + counts.fail + counts.info;
    println!(
        "engine: {:.0} operations/s generated, recorded and completed ({completed} in {elapsed_s:.1} s, \
         {concurrency} processes on 2 threads, {:.0} bytes of journal per operation)",
        completed as f64 / elapsed_s,
        bytes as f64 / completed.max(1) as f64,
    );
    Ok(Exit::Valid)
}

/// redis-benchmark against redis-server over the fabric, and by turns over a kernel veth pair, over the fabric with a tap
/// that reads every message and has an eye on one that never comes, and over one that records every packet.
pub fn fabric(turns: u32, requests: u64) -> Result<Exit> {
    crate::doctor::require_for_run()?;
    let server = provision::redis::find()?.program;
    let scratch = std::env::temp_dir().join(format!("shardstorm-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).with_context(|| format!("failed to make {}", scratch.display()))?;
    let words = |text: String| text.split(' ').map(OsString::from).collect::<Vec<_>>();
    let serve = "--bind 0.0.0.0 --protected-mode no --appendonly no --port 6379 --save";
    let mut server = [vec![server.into_os_string()], words(serve.into())].concat();
    server.push("".into()); // save nothing
    let client = |addr: Ipv4Addr, connections: u32| {
        // One connection takes one request at a time: fewer of them say as much.
        let requests = if connections == 1 { requests / 5 } else { requests };
        words(format!("redis-benchmark -h {addr} -p 6379 -t set,get -c {connections} -n {requests} --csv"))
    };
    let contest = lab::bench::Contest {
        server,
        port: 6379,
        client: &client,
        read_rates: &read_rates,
        connections: vec![1, 50],
        turns,
        tap: Some(&read_all),
        recorded: true,
        dir: &scratch,
    };
    let figures = lab::bench::fabric(&contest);
    let beside = lab::bench::rules_elsewhere(&contest);
    drop(std::fs::remove_dir_all(&scratch));
    let raced = "failed to race (is redis-benchmark installed? apt-get install redis-tools)";
    let (figures, beside) = (figures.context(raced)?, beside.context(raced)?);
    print!("{figures}");
    println!("added median latency: {:.1} us", figures.added_latency_us_p50());
    if let Some(ratio) = figures.worst_tapped_ratio() {
        println!("rate with every message read: at least {ratio:.2} of the bare fabric's");
    }
    if let Some(ratio) = figures.worst_recorded_ratio() {
        println!("rate with every packet recorded: at least {ratio:.2} of the bare fabric's");
    }
    print!("{beside}");
    Ok(Exit::Valid)
}

/// A tap that reads every message of every connection to Redis, requests and answers, and alters none: two faults are armed
/// whose messages would have to say what no message says.
fn read_all(fabric: &lab::Fabric) -> lab::Result<lab::flow::TapGuard> {
    let faults = Faults::new(1);
    for (id, way, message) in [(0, Way::ToServer, "any"), (1, Way::ToClient, "any.reply")] {
        let mut pattern = Pattern::of(Link::RedisClient, way, message);
        pattern.conditions = vec![Predicate {
            field: WHOLE.into(),
            contains: Some(Literal::Text("never said".into())),
            ..Predicate::default()
        }];
        faults.add(id, MessageFault::first(pattern, Op::Omit)).expect("it is written as it must be");
        faults.arm(id);
    }
    let tap = lab::flow::Tap { name: "read".to_owned(), server_ports: vec![6379], nodes: None };
    fabric.tap(tap, move |flow| {
        let ends = Ends {
            flow: flow.id,
            client: flow.client.node.to_string(),
            server: flow.server.node.to_string(),
            server_port: flow.server.port,
        };
        Some(Box::new(Tapped(Editor::new(&faults, ends, Protocol::Redis))))
    })
}

/// Lines of `redis-benchmark --csv`: `"SET","71428.57",…`.
fn read_rates(output: &str) -> Vec<(String, f64)> {
    let read = |line: &str| {
        let mut cells = line.split(',').map(|cell| cell.trim_matches('"'));
        Some((cells.next()?.to_string(), cells.next()?.parse().ok()?))
    };
    output.lines().filter_map(read).collect()
}

/// A testbed in which every call succeeds at once and nothing can be harmed.
struct Nothing;

impl Arena for Nothing {
    fn topology(&self) -> &Topology {
        static EMPTY: Topology = Topology { zookeepers: Vec::new(), shards: Vec::new(), clients: Vec::new() };
        &EMPTY
    }
    fn view(&self) -> View {
        View::default()
    }
}

impl Testbed for Nothing {
    type Site = ();
    type Store = Noop;

    fn sites(&self) -> usize {
        2
    }
    fn enter(&self, site: usize, job: Box<dyn FnOnce() + Send>) -> Result<JoinHandle<()>> {
        std::thread::Builder::new().name(format!("site {site}")).spawn(job).map_err(|e| anyhow!(e))
    }
    async fn open(&self, _: usize) -> Result<()> {
        Ok(())
    }
    fn life(&self, _: usize) -> Arc<Life> {
        Arc::default()
    }
    fn store(&self, (): &()) -> Noop {
        Noop
    }
    fn reshard(&self, _: Goal, _: Box<dyn Fn() -> bool + Send>) -> Result<Report, String> {
        Err("there are no shards".into())
    }
    fn probe_keys(&self) -> Vec<String> {
        Vec::new()
    }
    fn agent_events(&self) -> Result<Vec<AgentEvent>> {
        Ok(Vec::new())
    }
    fn diagnose(&self) -> Vec<String> {
        Vec::new()
    }
    fn versions(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}
