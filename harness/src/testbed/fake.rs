//! A run on the in-memory cluster.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::client::ReadFrom;
use cluster::event::AgentEvent;
use cluster::fake::{self, FakeClient, FakeCluster, FakeError, FakeOptions, ProcessState, RuleId};
use cluster::reshard::{Goal, Report};
use lab::{Action, RuleCounters};
use nemesis::{Arena, NetRule, Part, RuleInForce, Topology, Victim, View};
use results::spec::RunSpec;
use workloads::seed::derive;

use super::Testbed;
use crate::registry;
use crate::sites::{Life, Lives};

/// How long the first elections may take.
const READY_BOUND: Duration = Duration::from_secs(5);

/// The fake cluster, raised for one run.
pub struct FakeTestbed {
    cluster: FakeCluster,
    topology: Topology,
    lives: Lives,
    read_from: ReadFrom,
    events: Mutex<Vec<AgentEvent>>,
}

impl FakeTestbed {
    /// Starts it and waits until every shard takes writes.
    pub fn up(spec: &RunSpec) -> Result<Self> {
        let bug = spec.bug.as_deref().map(registry::bug).transpose()?;
        let (shards, replicas, zookeepers) = (spec.shards, spec.replicas, spec.zookeepers);
        let (seed, lease) = (derive(spec.seed, "fake", 0), Duration::from_millis(spec.lease_ms));
        let cluster = FakeCluster::start(&FakeOptions { shards, replicas, zookeepers, seed, bug, lease });
        let topology = super::topology(spec);
        for client in &topology.clients {
            cluster.client(client)?; // rules may name a client before it first calls
        }
        let began = Instant::now();
        while !cluster.status().iter().all(|shard| shard.writable) {
            if began.elapsed() > READY_BOUND {
                bail!("the fake cluster had no master for every shard after {} s", READY_BOUND.as_secs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let read_from = if spec.reads == "replica" { ReadFrom::Replica } else { ReadFrom::Master };
        let lives = Lives::on(&topology.clients);
        Ok(FakeTestbed { cluster, topology, lives, read_from, events: Mutex::default() })
    }

    fn process(
        &self,
        victim: &Victim,
        act: impl Fn(&FakeCluster, &str, fake::Part) -> Result<ProcessState, FakeError>,
        wanted: &[ProcessState],
    ) -> Result<String, String> {
        let part = match victim.part {
            Part::Agent => fake::Part::Agent,
            Part::Redis | Part::ZooKeeper => fake::Part::Server,
            Part::Client => return Err(format!("there is no client {}", victim.node)),
        };
        let state = act(&self.cluster, &victim.node, part).map_err(|e| e.to_string())?;
        let words = match state {
            ProcessState::Running => "running",
            ProcessState::Starting => "starting",
            ProcessState::Paused => "stopped",
            ProcessState::Dead => "killed by signal 9",
        };
        if wanted.contains(&state) { Ok(words.into()) } else { Err(format!("its state is `{words}`")) }
    }
}

/// A rule of the fake, removed when dropped.
struct Rule {
    cluster: FakeCluster,
    id: RuleId,
    delays: bool,
}

impl RuleInForce for Rule {
    fn counters(&self) -> RuleCounters {
        let messages = self.cluster.messages(self.id).unwrap_or(0);
        let (dropped, delayed) = if self.delays { (0, messages) } else { (messages, 0) };
        RuleCounters { matched: messages, dropped, delayed, ..RuleCounters::default() }
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        let _ = self.cluster.remove(self.id); // already gone is as good
    }
}

impl Arena for FakeTestbed {
    fn topology(&self) -> &Topology {
        &self.topology
    }

    fn view(&self) -> View {
        let masters = self.cluster.status().into_iter().map(|shard| Some((shard.master?, shard.epoch)));
        View { masters: masters.collect(), zookeeper_leader: self.cluster.zk_leader() }
    }

    fn kill(&self, victim: &Victim) -> Result<String, String> {
        match self.lives.of(victim) {
            Some(client) => client.kill(),
            None => self.process(victim, FakeCluster::kill, &[ProcessState::Dead]),
        }
    }

    fn restart(&self, victim: &Victim) -> Result<String, String> {
        match self.lives.of(victim) {
            Some(client) => client.restart(),
            None => {
                self.process(victim, FakeCluster::restart, &[ProcessState::Starting, ProcessState::Running])
            }
        }
    }

    fn pause(&self, victim: &Victim) -> Result<String, String> {
        match self.lives.of(victim) {
            Some(client) => client.halt(),
            None => self.process(victim, FakeCluster::pause, &[ProcessState::Paused]),
        }
    }

    fn resume(&self, victim: &Victim) -> Result<String, String> {
        match self.lives.of(victim) {
            Some(client) => client.resume(),
            None => {
                self.process(victim, FakeCluster::resume, &[ProcessState::Running, ProcessState::Starting])
            }
        }
    }

    fn install(&self, rule: &NetRule) -> Result<Box<dyn RuleInForce>, String> {
        let refused = |what: &str| Err(format!("the fake cluster passes whole messages and has no {what}"));
        if rule.service.is_some() {
            return refused("ports: leave `to` out, or use --target zk-redis");
        }
        if rule.flap.is_some() {
            return refused("links that flap: use --target zk-redis");
        }
        let links = rule.links.iter().map(|(from, to)| (from.as_str(), to.as_str()));
        let id = match rule.action {
            Action::Drop => self.cluster.block(links),
            Action::Delay { base, jitter } => self.cluster.delay(links, base, jitter),
            Action::Loss { probability } => self.cluster.lose(links, probability),
            _ => return refused("packets to do this to: use --target zk-redis"),
        };
        let id = id.map_err(|e| e.to_string())?;
        let delays = matches!(rule.action, Action::Delay { .. });
        Ok(Box::new(Rule { cluster: self.cluster.clone(), id, delays }))
    }
}

impl Testbed for FakeTestbed {
    type Site = String;
    type Store = FakeClient;

    fn sites(&self) -> usize {
        self.topology.clients.len()
    }

    fn enter(&self, site: usize, job: Box<dyn FnOnce() + Send>) -> Result<JoinHandle<()>> {
        let name = super::site_name(&self.topology, site);
        std::thread::Builder::new().name(name).spawn(job).context("failed to start a client thread")
    }

    async fn open(&self, site: usize) -> Result<String> {
        let name = super::site_name(&self.topology, site);
        self.cluster.client(&name)?;
        Ok(name)
    }

    fn life(&self, site: usize) -> Arc<Life> {
        self.lives.at(&super::site_name(&self.topology, site))
    }

    fn store(&self, site: &String) -> FakeClient {
        let client = self.cluster.client(site).expect("the site was opened under this name");
        client.reading_from(self.read_from)
    }

    fn reshard(&self, _: Goal, _: Box<dyn Fn() -> bool + Send>) -> Result<Report, String> {
        Err("the fake cluster's shards stay as they are".into())
    }

    fn probe_keys(&self) -> Vec<String> {
        super::probe_keys(self.topology.shards.len(), |key| Some(self.cluster.shard_of(key)))
    }

    fn agent_events(&self) -> Result<Vec<AgentEvent>> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.extend(self.cluster.events());
        Ok(events.clone())
    }

    fn diagnose(&self) -> Vec<String> {
        self.cluster.status().into_iter().flat_map(|shard| shard.trouble).collect()
    }

    fn versions(&self) -> Vec<(String, String)> {
        vec![("fake".into(), env!("CARGO_PKG_VERSION").into())]
    }
}
