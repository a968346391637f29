//! How long failovers take here and now. Asserts nothing about it: run with `--ignored --nocapture`.

use std::time::{Duration, Instant};

use cluster::{client::Client, event::Step, status};

use crate::{
    failover::{SOON, master_after, on_a_runtime, write_until_acknowledged},
    rig::{Rig, client_options},
};

#[derive(Debug, Clone, Copy)]
enum Harm {
    KillRedis,
    PauseRedis,
    PauseRedisAndAgent,
    KillAgent,
}

#[test]
#[ignore = "measures, asserts nothing: by hand, with --run-ignored only --no-capture"]
fn failover_times() {
    measure_failovers(false);
}

#[test]
#[ignore = "measures, asserts nothing: by hand, with --run-ignored only --no-capture"]
fn failover_times_under_tls() {
    measure_failovers(true);
}

fn measure_failovers(secure: bool) {
    on_a_runtime(async {
        let started = Instant::now();
        let Some(mut rig) = Rig::start_with(0, secure).await else { return };
        println!("servers up and records written: {} ms", started.elapsed().as_millis());
        let view = rig.view();
        status::ready(&view, &client_options(), SOON).await.expect("the cluster takes writes");
        println!("ready: {} ms", started.elapsed().as_millis());
        let mut client = Client::new(view.clone(), client_options());
        for harm in [Harm::KillRedis, Harm::PauseRedis, Harm::PauseRedisAndAgent, Harm::KillAgent] {
            let mut gaps = Vec::new();
            for round in 0..8 {
                tokio::time::sleep(Duration::from_millis(1500 + 37 * round)).await;
                let both = |s: &cluster::client::ClusterState| s.shards[&0].replicas.len() == 2;
                assert!(view.wait_until(SOON, both).await, "{:?}", view.state());
                write_until_acknowledged(&mut client, "k", "before").await;
                let before = view.master(0).expect("a master");
                let at = cluster::clock::monotonic_ns();
                inflict(&mut rig, &before.node, harm);
                let (epoch, _) = master_after(&view, 0, before.epoch).await;
                write_until_acknowledged(&mut client, "k", "after").await;
                let gap = (cluster::clock::monotonic_ns() - at) / 1_000_000;
                gaps.push(gap);
                println!("{harm:?}: {gap} ms: {}", phases(&rig, epoch, at));
                heal(&mut rig, &before.node, harm);
            }
            gaps.sort();
            println!("{harm:?}: p50 {} ms, max {} ms", gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
        }
    });
}

fn inflict(rig: &mut Rig, node: &str, harm: Harm) {
    let node = rig.node(node);
    match harm {
        Harm::KillRedis => node.redis.take().expect("a redis").kill(),
        Harm::KillAgent => node.agent.take().expect("an agent").kill(),
        Harm::PauseRedis => node.redis.as_ref().expect("a redis").signal(libc::SIGSTOP),
        Harm::PauseRedisAndAgent => {
            node.redis.as_ref().expect("a redis").signal(libc::SIGSTOP);
            node.agent.as_ref().expect("an agent").signal(libc::SIGSTOP);
        }
    }
}

fn heal(rig: &mut Rig, node: &str, harm: Harm) {
    let redis = rig.redis.clone();
    let node = rig.node(node);
    match harm {
        Harm::KillRedis => node.start_redis(&redis),
        Harm::KillAgent => node.start_agent(),
        Harm::PauseRedis => node.redis.as_ref().expect("a redis").signal(libc::SIGCONT),
        Harm::PauseRedisAndAgent => {
            node.redis.as_ref().expect("a redis").signal(libc::SIGCONT);
            node.agent.as_ref().expect("an agent").signal(libc::SIGCONT);
        }
    }
}

/// Milliseconds from the fault to the first sight of each step of the failover to `epoch`.
fn phases(rig: &Rig, epoch: u64, at: u64) -> String {
    let events = rig.events();
    let steps = [
        (Step::Suspected, epoch - 1),
        (Step::LeaseLost, epoch - 1),
        (Step::Proposed, epoch),
        (Step::Elected, epoch),
        (Step::Fenced, epoch),
        (Step::Promoted, epoch),
        (Step::Following, epoch),
    ];
    let found = steps.map(|(step, of)| {
        let event = events.iter().find(|e| e.step == step && e.epoch == of && e.mono_ns > at);
        event.map_or(format!("{step:?} -"), |e| format!("{step:?} {}", (e.mono_ns - at) / 1_000_000))
    });
    found.join(", ")
}
