//! What promises and protection cost: `SET` with `WAIT 1` and `GET` as plain Redis does them, the same calls through
//! the hardened client, under TLS, in the authenticated mode and with both, in one run. Asserts nothing about it: run with `--release`, `--ignored --nocapture`.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use cluster::{
    client::{Client, ClientOptions, ClusterView},
    redis_link::RedisLink,
    status,
    store::{Command, Store},
};
use tokio::task::LocalSet;

use crate::{
    failover::{SOON, on_a_runtime},
    rig::{Mode, Rig, client_options},
};

const PLAIN: Mode = Mode { tls: false, authenticated: false };

/// The first goes by the client, the second past it: `bare` Redis, on the same servers.
const MODES: [(&str, Mode); 5] = [
    ("plain", PLAIN),
    (BARE, PLAIN),
    ("tls", Mode { tls: true, authenticated: false }),
    ("authenticated", Mode { tls: false, authenticated: true }),
    ("both", Mode { tls: true, authenticated: true }),
];
const BARE: &str = "bare Redis";

/// Who calls.
enum Caller {
    Client(Box<Client>),
    Bare(RedisLink),
}

impl Caller {
    async fn new(view: &ClusterView, options: &ClientOptions, bare: bool) -> Caller {
        if !bare {
            return Caller::Client(Box::new(Client::new(view.clone(), options.clone())));
        }
        let master = view.master(0).expect("a master").addr;
        let agent = options.secret.agent();
        let link = RedisLink::connect_as(master, &agent, SOON, view.transport()).await;
        Caller::Bare(link.expect("the master lets agents in"))
    }

    async fn call(&mut self, key: &str, command: &Command) -> bool {
        match self {
            Caller::Client(client) => client.execute(key, command).await.result.is_ok(),
            Caller::Bare(link) => {
                let mut pipeline = redis::pipe();
                match command {
                    Command::Set(value) => {
                        pipeline.cmd("SET").arg(key).arg(value).cmd("WAIT").arg(1).arg(1000)
                    }
                    _ => pipeline.cmd("GET").arg(key),
                };
                link.pipeline(&pipeline).await.is_ok()
            }
        }
    }
}

/// Rounds over all modes: the median of them is told, since a machine is not equally busy all the time.
const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_secs(1);
const LENGTH: Duration = Duration::from_secs(3);

/// One series of calls.
#[derive(Debug, Clone, Copy)]
struct Series {
    per_second: f64,
    median_us: f64,
    p99_us: f64,
}

/// Calls by `clients` at once, each on 16 keys of its own, one after the other for the given time.
async fn series(
    view: &ClusterView,
    options: &ClientOptions,
    bare: bool,
    (clients, write): (usize, bool),
    length: Duration,
) -> Series {
    let (view, options) = (Rc::new(view.clone()), Rc::new(options.clone()));
    let local = LocalSet::new();
    let started = Instant::now();
    let workers: Vec<_> = (0..clients)
        .map(|worker| {
            let (view, options) = (view.clone(), options.clone());
            local.spawn_local(async move {
                let mut caller = Caller::new(&view, &options, bare).await;
                let mut latencies = Vec::new();
                for n in 0.. {
                    let asked = Instant::now();
                    if asked - started >= length {
                        break;
                    }
                    let command = if write { Command::Set(format!("{n:032}")) } else { Command::Get };
                    // On a busy machine a master may be deposed in between; that is another measurement.
                    if caller.call(&format!("cost-{worker}-{}", n % 16), &command).await {
                        latencies.push(asked.elapsed());
                    } else {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    local
        .run_until(async {
            for worker in workers {
                latencies.extend(worker.await.expect("a worker"));
            }
        })
        .await;
    let elapsed = started.elapsed().as_secs_f64();
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    Series { per_second: latencies.len() as f64 / elapsed, median_us: at(0.5), p99_us: at(0.99) }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

const WHAT: [(&str, usize, bool); 4] = [
    ("SET, 1 client", 1, true),
    ("GET, 1 client", 1, false),
    ("SET, 8 clients", 8, true),
    ("GET, 8 clients", 8, false),
];

#[test]
#[ignore = "measures, asserts nothing: by hand, with --run-ignored only --no-capture"]
fn what_protection_costs() {
    // By what was called, then by mode: one entry for each round.
    let mut all: Vec<Vec<Vec<Series>>> = vec![vec![Vec::new(); MODES.len()]; WHAT.len()];
    for round in 0..ROUNDS {
        for (m, (name, mode)) in MODES.into_iter().enumerate() {
            on_a_runtime(async {
                let Some(rig) = Rig::start_as(0, mode).await else { return };
                let view = rig.view();
                let options = ClientOptions { authenticated: mode.authenticated, ..client_options() };
                status::ready(&view, &options, SOON).await.expect("the cluster takes writes");
                assert!(view.wait_until(SOON, |s| s.shards[&0].replicas.len() == 2).await);
                series(&view, &options, false, (8, true), WARM_UP).await;
                for (w, (what, clients, write)) in WHAT.into_iter().enumerate() {
                    let seen = series(&view, &options, name == BARE, (clients, write), LENGTH).await;
                    println!("round {round}, {name}, {what}: {seen:?}");
                    all[w][m].push(seen);
                }
            });
        }
    }
    println!(
        "| calls | mode | per second | of plain | median µs | of plain | p99 µs |\n|---|---|---|---|---|---|---|"
    );
    for (w, (what, ..)) in WHAT.into_iter().enumerate() {
        let of = |m: usize, value: fn(&Series) -> f64| median(all[w][m].iter().map(value).collect());
        for (m, (name, _)) in MODES.into_iter().enumerate() {
            let (rate, latency) = (of(m, |s| s.per_second), of(m, |s| s.median_us));
            println!(
                "| {what} | {name} | {rate:.0} | {:.2} | {latency:.0} | {:.2} | {:.0} |",
                rate / of(0, |s| s.per_second),
                latency / of(0, |s| s.median_us),
                of(m, |s| s.p99_us)
            );
        }
    }
}
