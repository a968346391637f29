//! `bench`: what our own machinery costs on this machine.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use cluster::event::AgentEvent;
use cluster::fake::Noop;
use nemesis::{Arena, NetRule, RuleInForce, Topology, Victim, View};
use results::Journal;
use workloads::generator::Pace;
use workloads::{Register, RegisterOptions};

use crate::exit::Exit;
use crate::recorder::{Recorder, RunClock};
use crate::signals::Interrupt;
use crate::sites::Sites;
use crate::testbed::Testbed;

/// The op engine against a client that acknowledges at once: generator, journal on disk, worker loop.
pub fn engine(seconds: f64, concurrency: u32, store: &Path) -> Result<Exit> {
    std::fs::create_dir_all(store).with_context(|| format!("failed to make {}", store.display()))?;
    let path = store.join(format!("bench-engine-{}.jsonl", std::process::id()));
    let pace = Pace { rate: 0.0, concurrency, time_limit_ns: (seconds * 1e9) as u64 };
    let workload = Arc::new(Register::new(RegisterOptions::new(1, pace))?);
    let interrupt = Interrupt::install();
    let sites = Sites::open(&Arc::new(Nothing), &workload, concurrency, Duration::from_secs(1), interrupt)?;
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
    fn kill(&self, _: &Victim) -> Result<String, String> {
        Err("there is nothing to kill".into())
    }
    fn restart(&self, _: &Victim) -> Result<String, String> {
        Err("there is nothing to restart".into())
    }
    fn pause(&self, _: &Victim) -> Result<String, String> {
        Err("there is nothing to pause".into())
    }
    fn resume(&self, _: &Victim) -> Result<String, String> {
        Err("there is nothing to resume".into())
    }
    fn install(&self, _: &NetRule) -> Result<Box<dyn RuleInForce>, String> {
        Err("there is no network".into())
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
    fn store(&self, (): &()) -> Noop {
        Noop
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
