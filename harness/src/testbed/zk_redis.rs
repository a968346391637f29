//! A run on real servers: ZooKeeper, Redis and agents, each in the node it belongs to.

mod certificates;
mod observer;
mod servers;

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use cluster::bootstrap::{ShardMap, bootstrap};
use cluster::client::{Client, ClientOptions, ClusterView, CoordinationOptions, ReadFrom};
use cluster::credentials::Secret;
use cluster::defence::Defence;
use cluster::event::AgentEvent;
use cluster::reshard::{self, Goal, Report};
use cluster::ring::Ring;
use cluster::security::Transport;
use cluster::znodes::{Paths, RedisNode};
use lab::{DiskRuleGuard, Lab, LabOptions, Node, NodeId, ProcessState, RuleGuard};
use nemesis::byzantine::{MessageFault, Strike, Trigger};
use nemesis::files::{self, Damage, Damaged};
use nemesis::{
    Arena, DataFile, DiskRuleInForce, FaultOnMessages, Marks, NetRule, Part, PointOfMessages, RuleInForce,
    Signs, SkewInForce, Topology, Victim, View,
};
use results::RunFolder;
use results::spec::RunSpec;
use workloads::seed::derive;

use super::Testbed;
use crate::messages::RECORDED_MAX;
use crate::plan::Needs;
use crate::registry;
use crate::sites::{Life, Lives, runtime};
use crate::wiretap::Wiretap;
use observer::Observer;
use servers::{Installations, Servers};

pub use servers::PROTOCOLS;

/// How long servers may take to come up before the run is given up.
const READY_BOUND: Duration = Duration::from_secs(20);
/// How long a client may take to see a master of every shard.
const MASTERS_BOUND: Duration = Duration::from_secs(5);
/// How long a process may take to show the state a signal should have put it in.
const STATE_BOUND: Duration = Duration::from_secs(2);

/// The real cluster in a lab of its own, raised for one run. Fields go down in this order: who looks, who
/// serves, then the ground they stand on.
pub struct ZkRedis {
    observer: Observer,
    servers: Servers,
    nodes: HashMap<String, Node>,
    topology: Topology,
    lives: Lives,
    zookeeper: String,
    /// As it is in the beginning.
    ring: Ring,
    client_options: ClientOptions,
    /// None where the agents would let an empty Redis vote anyway.
    gate: Option<Gate>,
    installations: Installations,
    events: Vec<PathBuf>,
    /// None where no fault asks for it.
    wiretap: Option<Wiretap>,
    lab: Lab,
}

impl ZkRedis {
    /// Raises nodes, ensemble, Redis servers and agents; returns when every shard takes writes.
    pub fn up(spec: &RunSpec, folder: &RunFolder, needs: Needs) -> Result<Self> {
        let installations = Installations::find()?;
        let topology = super::topology(spec);
        // Where nobody asked for all packets, the first minutes of them are recorded for the messages around what is found.
        let (capture, capture_bytes_max) = match spec.capture {
            true => (folder.capture(), None),
            false => (folder.packets(), Some(RECORDED_MAX)),
        };
        let capture = Some(capture);
        let mut lab = Lab::up(LabOptions { capture, capture_bytes_max, ..LabOptions::named("shardstorm") })?;
        let mut nodes = HashMap::new();
        for name in
            topology.servers().iter().chain(&topology.clients).map(String::as_str).chain([super::CONTROL])
        {
            nodes.insert(name.to_string(), lab.add_node(name)?);
        }
        let wiretap = needs.messages.then(|| {
            let names = lab.nodes().iter().map(|node| node.name().to_string()).collect();
            Wiretap::lay(lab.fabric(), names, &servers::PROTOCOLS, derive(spec.seed, "messages", 0))
        });
        let wiretap = wiretap.transpose()?;
        let (secret, without) =
            (Secret::random().context("failed to draw a secret")?, registry::without(spec)?);
        let mut servers = Servers::new(&topology, &nodes, folder, spec, &secret, &without)?;
        if needs.clocks {
            servers.have_clocks();
        }
        servers.start_zookeeper_and_redis(&installations, needs.disks)?;
        let (zookeeper, transport) = (servers.zookeeper(), servers.transport().clone());
        let control = nodes[super::CONTROL].clone();
        in_node(&control, set_up(zookeeper.clone(), transport.clone(), shard_map(spec, &topology, &nodes)))
            .map_err(|e| servers.explain(e))?;
        servers.require_running()?;
        servers.start_agents()?;
        let ensemble =
            topology.zookeepers.iter().map(|name| (name.clone(), servers::zookeeper_addr(&nodes[name])));
        let observer = Observer::start(
            &control,
            (zookeeper.clone(), transport),
            ensemble.collect(),
            topology.shards.len(),
        )?;
        let shards: Vec<u32> = (0..spec.shards).collect();
        let read_from = if spec.reads == "replica" { ReadFrom::Replica } else { ReadFrom::Master };
        let client_options = ClientOptions {
            wait_replicas: spec.wait,
            // Shorter than the client's own patience, so that it hears what became of its call.
            wait_ms: spec.op_timeout_ms * 3 / 5,
            read_from,
            without: without.clone(),
            authenticated: spec.authenticated,
            ..ClientOptions::new(secret)
        };
        let gate = without.defends(Defence::RunIds).then(Gate::default);
        let events = servers.event_files();
        let ring = Ring::new(&shards, cluster::ring::VNODES);
        let lives = Lives::on(&topology.clients);
        let testbed = ZkRedis {
            observer,
            servers,
            nodes,
            topology,
            lives,
            zookeeper,
            ring,
            client_options,
            gate,
            installations,
            events,
            wiretap,
            lab,
        };
        testbed.await_writable().map_err(|e| testbed.servers.explain(e))?;
        testbed.servers.settle_disks();
        Ok(testbed)
    }

    /// Waits until a write to every shard is acknowledged.
    fn await_writable(&self) -> Result<()> {
        let (zookeeper, options) = (self.zookeeper.clone(), self.client_options.clone());
        let (keys, transport) = (self.probe_keys(), self.servers.transport().clone());
        in_node(&self.nodes[super::CONTROL], async move {
            use cluster::store::Store;
            let mut client = Client::new(ClusterView::open(&zookeeper, &transport), options);
            let began = Instant::now();
            for (shard, key) in keys.iter().enumerate() {
                while let Err(error) = client.write(key, "ready").await.result {
                    if began.elapsed() > READY_BOUND {
                        bail!("shard {shard} took no write within {} s: {error}", READY_BOUND.as_secs());
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            Ok(())
        })
    }

    fn site_node(&self, site: usize) -> &Node {
        &self.nodes[&super::site_name(&self.topology, site)]
    }

    fn links(&self, links: &[(String, String)]) -> Result<Vec<(NodeId, NodeId)>, String> {
        let id = |name: &String| self.nodes.get(name).map(Node::id).ok_or_else(|| format!("no node {name}"));
        links.iter().map(|(from, to)| Ok((id(from)?, id(to)?))).collect()
    }

    fn signal(
        &self,
        victim: &Victim,
        send: impl Fn(&lab::Process) -> lab::Result<()>,
        wanted: impl Fn(ProcessState) -> bool,
    ) -> Result<String, String> {
        let process = self.servers.process(victim)?;
        let pid = process.pid();
        send(process).map_err(|e| e.to_string())?;
        let deadline = Instant::now() + STATE_BOUND;
        loop {
            let state = process.state();
            if wanted(state) {
                return Ok(format!("{state} (pid {pid})"));
            }
            if Instant::now() > deadline {
                return Err(format!("pid {pid} is {state}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Runs a future on a thread inside a node, with a runtime of its own, to its end.
fn in_node<T: Send + 'static>(
    node: &Node,
    future: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let thread = node.enter("set-up", move || runtime()?.block_on(future))?;
    thread.join().map_err(|_| anyhow!("the set-up thread has panicked"))?
}

async fn set_up(zookeeper: String, transport: Transport, map: ShardMap) -> Result<()> {
    bootstrap(&zookeeper, &transport, &Paths::default(), &map, READY_BOUND)
        .await
        .context("failed to set ZooKeeper up")
}

fn shard_map(spec: &RunSpec, topology: &Topology, nodes: &HashMap<String, Node>) -> ShardMap {
    let redis = |name: &String| RedisNode { node: name.clone(), addr: servers::redis_addr(&nodes[name]) };
    let shards = (0..).zip(&topology.shards).map(|(id, names)| (id, names.iter().map(redis).collect()));
    let (shards, spares) = shards.partition(|(id, _)| *id < spec.shards);
    ShardMap { spares, ..ShardMap::new(shards) }
}

/// Comes back when somebody does not want to wait any longer.
async fn given_up(asked: impl Fn() -> bool) {
    while !asked() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Keeps a shard from losing its memory: a killed Redis is empty, so the next one may be killed only after
/// the agents have filled and registered the last one again.
#[derive(Default)]
struct Gate(Mutex<HashMap<String, Option<String>>>);

impl Gate {
    /// Lets `victim` be killed, unless another node of its shard still waits for its vote. `voters` are the
    /// server runs that hold votes now.
    fn pass(&self, shard: &[String], victim: &str, voters: &BTreeMap<String, String>) -> Result<(), String> {
        let mut lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lost.retain(|node, run_before| voters.get(node) == run_before.as_ref());
        if let Some(other) = shard.iter().find(|node| *node != victim && lost.contains_key(*node)) {
            return Err(format!("{other} was killed before and does not hold its data again yet"));
        }
        lost.insert(victim.to_string(), voters.get(victim).cloned());
        Ok(())
    }
}

/// A rule of the fabric, removed when dropped.
struct Rule(RuleGuard);

impl RuleInForce for Rule {
    fn counters(&self) -> lab::RuleCounters {
        self.0.counters()
    }
}

/// A rule of a faulty disk, removed when dropped.
struct DiskRule(DiskRuleGuard);

impl DiskRuleInForce for DiskRule {
    fn counters(&self) -> lab::DiskCounters {
        self.0.counters()
    }
}

impl Arena for ZkRedis {
    fn topology(&self) -> &Topology {
        &self.topology
    }

    fn view(&self) -> View {
        self.observer.view()
    }

    fn kill(&self, victim: &Victim) -> Result<String, String> {
        if let (Some(gate), Part::Redis, Some(shard)) =
            (&self.gate, victim.part, self.topology.shard_of(&victim.node))
        {
            gate.pass(&self.topology.shards[shard], &victim.node, &self.observer.voters(shard))?;
        }
        self.lose(victim)
    }

    fn lose(&self, victim: &Victim) -> Result<String, String> {
        if let Some(client) = self.lives.of(victim) {
            return client.kill();
        }
        self.signal(victim, lab::Process::kill, |state| matches!(state, ProcessState::Exited(_)))
    }

    fn restart(&self, victim: &Victim) -> Result<String, String> {
        if let Some(client) = self.lives.of(victim) {
            return client.restart();
        }
        self.servers.prepare_restart(victim, &self.installations).map_err(|e| e.to_string())?;
        self.signal(victim, lab::Process::restart, |state| state == ProcessState::Running)?;
        let process = self.servers.process(victim)?;
        Ok(format!("{} (pid {})", process.state(), process.pid()))
    }

    fn pause(&self, victim: &Victim) -> Result<String, String> {
        if let Some(client) = self.lives.of(victim) {
            return client.halt();
        }
        self.signal(victim, lab::Process::stop, |state| state == ProcessState::Stopped)
    }

    fn resume(&self, victim: &Victim) -> Result<String, String> {
        if let Some(client) = self.lives.of(victim) {
            return client.resume();
        }
        self.signal(victim, lab::Process::cont, |state| state == ProcessState::Running)
    }

    fn install(&self, rule: &NetRule) -> Result<Box<dyn RuleInForce>, String> {
        let rule = lab::Rule {
            name: rule.name.clone(),
            links: self.links(&rule.links)?,
            ports: rule.service.map(servers::ports).unwrap_or_default(),
            action: rule.action,
            seed: rule.seed,
            flap: rule.flap,
            expires: rule.expires,
        };
        let guard = self.lab.fabric().install(rule).map_err(|e| e.to_string())?;
        Ok(Box::new(Rule(guard)))
    }

    fn skew(&self, victim: &Victim, skew: &lab::Skew) -> Result<Box<dyn SkewInForce>, String> {
        let guard = self.servers.clock(victim)?.skew(*skew).map_err(|e| e.to_string())?;
        Ok(Box::new(guard))
    }

    fn interfere(&self, window: u64, fault: &MessageFault) -> Result<Box<dyn FaultOnMessages>, String> {
        let wiretap = self.wiretap.as_ref().ok_or("nobody reads the messages of this run")?;
        Ok(Box::new(wiretap.arm(window, fault.clone())?))
    }

    fn watch(&self, trigger: &Trigger) -> Result<Box<dyn PointOfMessages>, String> {
        let wiretap = self.wiretap.as_ref().ok_or("nobody reads the messages of this run")?;
        Ok(Box::new(wiretap.watch(trigger.clone())?))
    }

    fn marks(&self) -> Marks {
        self.servers.marks()
    }

    fn signs(&self, since: &Marks) -> Signs {
        self.servers.signs(since)
    }

    fn is_ended(&self, victim: &Victim) -> Result<bool, String> {
        if let Some(client) = self.lives.of(victim) {
            return Ok(client.is_dead());
        }
        Ok(matches!(self.servers.process(victim)?.state(), ProcessState::Exited(_)))
    }

    fn revive(&self, victim: &Victim) -> Result<Option<String>, String> {
        if let Some(client) = self.lives.of(victim) {
            return if client.is_dead() { client.restart().map(Some) } else { Ok(None) };
        }
        let state = self.servers.process(victim)?.state();
        if !matches!(state, ProcessState::Exited(_)) {
            return Ok(None);
        }
        Ok(Some(format!("{state}; now {}", self.restart(victim)?)))
    }

    fn install_on_disk(
        &self,
        victim: &Victim,
        rule: &lab::DiskRule,
    ) -> Result<Box<dyn DiskRuleInForce>, String> {
        let guard = self.servers.disk(victim)?.install(rule.clone()).map_err(|e| e.to_string())?;
        Ok(Box::new(DiskRule(guard)))
    }

    fn cut_power(&self, victim: &Victim, cut: &lab::PowerCut) -> Result<lab::Lost, String> {
        self.servers.disk(victim)?.lose_unsynced(*cut).map_err(|e| e.to_string())
    }

    fn damage(&self, victim: &Victim, file: DataFile, damage: Damage, seed: u64) -> Result<Damaged, String> {
        files::damage(&self.servers.data_file(victim, file)?, damage, seed)
    }
}

impl Testbed for ZkRedis {
    type Site = ClusterView;
    type Store = Client;

    fn sites(&self) -> usize {
        self.topology.clients.len()
    }

    fn enter(&self, site: usize, job: Box<dyn FnOnce() + Send>) -> Result<JoinHandle<()>> {
        let name = super::site_name(&self.topology, site);
        Ok(self.site_node(site).enter(&name, job)?)
    }

    async fn open(&self, _: usize) -> Result<ClusterView> {
        Ok(ClusterView::open(&self.zookeeper, self.servers.transport()))
    }

    async fn await_masters(&self, site: usize, view: &ClusterView) -> Result<()> {
        let shards = self.topology.shards.len();
        let complete = |state: &cluster::client::ClusterState| {
            state.shards.len() == shards
                && state.shards.values().all(|shard| shard.serving_master().is_some())
        };
        if !view.wait_until(MASTERS_BOUND, complete).await {
            bail!(
                "the client on node {} saw no master for every shard",
                super::site_name(&self.topology, site)
            );
        }
        Ok(())
    }

    fn life(&self, site: usize) -> Arc<Life> {
        self.lives.at(&super::site_name(&self.topology, site))
    }

    fn store(&self, view: &ClusterView) -> Client {
        Client::new(view.clone(), self.client_options.clone())
            .with_coordination(CoordinationOptions::new(&self.zookeeper))
    }

    fn probe_keys(&self) -> Vec<String> {
        let shards = (0..self.topology.shards.len()).filter(|shard| self.ring.has(*shard as u32)).count();
        super::probe_keys(shards, |key| self.ring.owner(key))
    }

    fn reshard(&self, goal: Goal, give_up: Box<dyn Fn() -> bool + Send>) -> Result<Report, String> {
        let options = reshard::Options {
            transport: self.servers.transport().clone(),
            ..reshard::Options::new(&self.zookeeper, self.client_options.clone())
        };
        let change = move || -> Result<Report> {
            runtime()?.block_on(async {
                let mut done = (0, 0);
                let mut watch = |progress: reshard::Progress<'_>| {
                    done = (progress.report.slots(), progress.slots_left);
                    ControlFlow::Continue(())
                };
                tokio::select! {
                    report = reshard::run(&options, goal, &mut watch) => return Ok(report?),
                    () = given_up(give_up) => {}
                }
                bail!("not complete in time: {} slots moved, {} left", done.0, done.1)
            })
        };
        let thread = self.nodes[super::CONTROL].enter("reshard", change).map_err(|e| e.to_string())?;
        thread.join().map_err(|_| "the driver's thread has panicked")?.map_err(|e| format!("{e:#}"))
    }

    fn agent_events(&self) -> Result<Vec<AgentEvent>> {
        let mut events = Vec::new();
        for file in &self.events {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("failed to read {}", file.display()))?;
            // An agent that was killed in mid-write leaves half a line: it is skipped, the next begins a new one.
            events.extend(text.lines().filter_map(|line| serde_json::from_str::<AgentEvent>(line).ok()));
        }
        Ok(events)
    }

    fn strikes(&self) -> Vec<Strike> {
        self.wiretap.as_ref().map(Wiretap::strikes).unwrap_or_default()
    }

    fn repeat(&self, log: Vec<Strike>) {
        if let Some(wiretap) = &self.wiretap {
            wiretap.repeat(log);
        }
    }

    fn diagnose(&self) -> Vec<String> {
        self.servers.diagnose(&self.view(), &self.topology)
    }

    fn versions(&self) -> Vec<(String, String)> {
        self.installations.versions()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_redis_is_not_killed_before_the_first_votes_again() {
        let (gate, shard) = (Gate::default(), ["a", "b", "c"].map(String::from));
        let mut voters: BTreeMap<String, String> =
            shard.iter().map(|node| (node.clone(), format!("{node}-1"))).collect();
        assert_eq!(gate.pass(&shard, "a", &voters), Ok(()));
        assert!(gate.pass(&shard, "b", &voters).unwrap_err().starts_with("a was killed before"));
        assert_eq!(gate.pass(&shard, "a", &voters), Ok(()), "it has nothing more to lose");
        voters.insert("a".into(), "a-2".into());
        assert_eq!(gate.pass(&shard, "b", &voters), Ok(()));
    }
}
