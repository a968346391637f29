//! What protection costs: the same calls over plain links, under TLS, in the authenticated mode and with both, in
//! one run. Asserts nothing about it: run with `--release`, `--ignored --nocapture`.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use cluster::{
    client::{Client, ClientOptions, ClusterView},
    status,
    store::{Command, Store},
};
use tokio::task::LocalSet;

use crate::{
    failover::{SOON, on_a_runtime},
    rig::{Mode, Rig, client_options},
};

const MODES: [(&str, Mode); 4] = [
    ("plain", Mode { tls: false, authenticated: false }),
    ("tls", Mode { tls: true, authenticated: false }),
    ("authenticated", Mode { tls: false, authenticated: true }),
    ("both", Mode { tls: true, authenticated: true }),
];
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
    clients: usize,
    write: bool,
    length: Duration,
) -> Series {
    let (view, options) = (Rc::new(view.clone()), Rc::new(options.clone()));
    let local = LocalSet::new();
    let started = Instant::now();
    let workers: Vec<_> = (0..clients)
        .map(|worker| {
            let (view, options) = (view.clone(), options.clone());
            local.spawn_local(async move {
                let mut client = Client::new((*view).clone(), (*options).clone());
                let mut latencies = Vec::new();
                for n in 0.. {
                    let asked = Instant::now();
                    if asked - started >= length {
                        break;
                    }
                    let command = if write { Command::Set(format!("{n:032}")) } else { Command::Get };
                    let reply = client.execute(&format!("cost-{worker}-{}", n % 16), &command).await;
                    // On a busy machine a master may be deposed in between; that is another measurement.
                    match reply.result {
                        Ok(_) => latencies.push(asked.elapsed()),
                        Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
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
#[ignore = "measures"]
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
                series(&view, &options, 8, true, WARM_UP).await;
                for (w, (what, clients, write)) in WHAT.into_iter().enumerate() {
                    let seen = series(&view, &options, clients, write, LENGTH).await;
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
