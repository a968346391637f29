//! The whole fake under one lock: nodes, links, shards, and what happens to them as time passes.

use std::ops::Range;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::bug::FakeBug;
use super::coordination::Coordination;
use super::net::{Fate, Kind, Links, NodeId, Nodes, Part, ProcessState};
use super::serve::Request;
use super::shard::{Replica, Role, Shard, ms};
use super::zookeeper::Zookeeper;
use super::{FakeError, FakeOptions};
use crate::clock;
use crate::event::{AgentEvent, Step};
use crate::ring::{Ring, VNODES};

/// How long a restarted server takes until it serves: it loads its data.
const START_NS: u64 = ms(150);
/// How often everyone tells everyone it needs that it is alive.
const HEARTBEAT_NS: u64 = ms(20);
/// Longest step of the world's clock: if the ticking thread was held up, the fake's time stood still.
const STEP_NS_MAX: u64 = ms(25);
/// With the bug `split-brain`, how long a deposed master serves on after it could have known.
const SPLIT_BRAIN_NS: u64 = ms(2000);

/// Bugs that live on lag get plenty of it.
fn pull_ns(bug: Option<FakeBug>) -> Range<u64> {
    match bug {
        Some(FakeBug::LostWrite | FakeBug::StaleRead | FakeBug::ForgetOnFailover) => ms(100)..ms(250),
        _ => ms(5)..ms(20),
    }
}

/// A request whose client no longer waits for it.
#[derive(Debug)]
pub(super) struct Late {
    pub due_ns: u64,
    pub node: NodeId,
    pub incarnation: u64,
    pub request: Request,
}

#[derive(Debug)]
pub(super) struct World {
    pub bug: Option<FakeBug>,
    pub lease_ns: u64,
    /// How long until a replica that no acknowledgement waits for takes what is new.
    pub pull_ns: Range<u64>,
    pub now_ns: u64,
    pub rng: ChaCha8Rng,
    pub nodes: Nodes,
    pub links: Links,
    pub zookeeper: Zookeeper,
    pub coordination: Coordination,
    pub shards: Vec<Shard>,
    pub ring: Ring,
    pub late: Vec<Late>,
    pub events: Vec<AgentEvent>,
    pub next_heartbeat_ns: u64,
}

impl World {
    pub fn new(options: &FakeOptions) -> Self {
        let mut nodes = Nodes::default();
        let servers =
            (1..=options.zookeepers.max(1)).map(|n| nodes.add(format!("zk{n}"), Kind::Zookeeper)).collect();
        let mut shards = Vec::new();
        for id in 0..options.shards.max(1) {
            let shard = id as usize;
            let members: Vec<NodeId> = (0..options.replicas.max(1) as usize)
                .map(|index| nodes.add(format!("s{id}r{index}"), Kind::Replica { shard, index }))
                .collect();
            shards.push(Shard::new(id, &members));
        }
        let mut world = World {
            bug: options.bug,
            lease_ns: options.lease.as_nanos() as u64,
            pull_ns: pull_ns(options.bug),
            now_ns: 0,
            rng: ChaCha8Rng::seed_from_u64(options.seed),
            nodes,
            links: Links::default(),
            zookeeper: Zookeeper::new(servers),
            coordination: Coordination::default(),
            ring: Ring::new(&(0..shards.len() as u32).collect::<Vec<_>>(), VNODES),
            shards,
            late: Vec::new(),
            events: Vec::new(),
            next_heartbeat_ns: 0,
        };
        for shard in 0..world.shards.len() {
            for index in 0..world.shards[shard].replicas.len() {
                world.emit(shard, index, Step::Started, 0, "");
            }
        }
        world
    }

    /// Lets `elapsed` pass.
    pub fn tick(&mut self, elapsed: Duration) {
        self.now_ns += (elapsed.as_nanos() as u64).min(STEP_NS_MAX);
        self.start_restarted();
        let led_anew = self.zookeeper.tick(self.now_ns, &self.nodes, &self.links, &mut self.rng);
        if led_anew {
            // A new leader gives every session, and so every lease, a full term again.
            self.shards.iter_mut().for_each(|shard| shard.good_ns = self.now_ns);
        }
        let (zookeeper, nodes, links) = (&self.zookeeper, &self.nodes, &self.links);
        // Without a leader nobody ends a session.
        let heard = |node| {
            let reached = nodes.server_runs(node) && zookeeper.serves(node, nodes, links);
            led_anew || zookeeper.leader.is_none() || reached
        };
        self.coordination.tick(self.now_ns, heard);
        if self.now_ns >= self.next_heartbeat_ns {
            self.next_heartbeat_ns = self.now_ns + HEARTBEAT_NS;
            self.heartbeat();
        }
        for shard in 0..self.shards.len() {
            self.step_election(shard);
            self.depose(shard);
            self.follow(shard);
        }
        self.serve_late();
    }

    pub fn emit(&mut self, shard: usize, index: usize, step: Step, epoch: u64, detail: impl Into<String>) {
        let shard = &self.shards[shard];
        self.events.push(AgentEvent {
            mono_ns: clock::monotonic_ns(),
            wall_ns: clock::wall().as_nanos() as u64,
            shard: shard.id,
            node: self.nodes.get(shard.replicas[index].node).name.clone(),
            step,
            epoch,
            detail: detail.into(),
        });
    }

    /// Like [`World::emit`], unless the node's agent is not there to say it.
    pub fn emit_if_agent(&mut self, shard: usize, index: usize, step: Step, epoch: u64, detail: &str) {
        if self.nodes.agent_runs(self.shards[shard].replicas[index].node) {
            self.emit(shard, index, step, epoch, detail);
        }
    }

    fn start_restarted(&mut self) {
        let now_ns = self.now_ns;
        for node in self.nodes.iter_mut() {
            if node.server == ProcessState::Starting && node.ready_ns <= now_ns {
                node.server = ProcessState::Running;
            }
        }
    }

    /// Everyone who would talk even when idle does so once, so that a rule without any client's traffic on
    /// its links still shows that it is in force.
    fn heartbeat(&mut self) {
        if self.links.is_clear() {
            return;
        }
        let mut talks: Vec<(NodeId, NodeId)> = Vec::new();
        for (a, node) in self.nodes.iter().filter(|&(id, _)| self.nodes.server_runs(id)) {
            for (b, other) in self.nodes.iter() {
                let talk = match (node.kind, other.kind) {
                    (Kind::Replica { shard, .. }, Kind::Replica { shard: other, .. }) => {
                        a != b && shard == other
                    }
                    (_, Kind::Zookeeper) => a != b,
                    (Kind::Client, Kind::Replica { .. }) => true,
                    (Kind::Zookeeper | Kind::Replica { .. }, _) | (Kind::Client, Kind::Client) => false,
                };
                if talk {
                    talks.push((a, b));
                }
            }
        }
        for (a, b) in talks {
            if matches!(self.links.send(a, b, &mut self.rng), Fate::Arrives { .. })
                && self.nodes.server_runs(b)
            {
                self.links.send(b, a, &mut self.rng);
            }
        }
    }

    /// Masters of an older epoch that hear of the newer one step down.
    fn depose(&mut self, shard: usize) {
        for index in 0..self.shards[shard].replicas.len() {
            let Role::Master { epoch } = self.shards[shard].replicas[index].role else { continue };
            let newest = self.shards[shard].epoch;
            if epoch == newest || !self.agent_serves(shard, index) {
                continue;
            }
            let replica = &mut self.shards[shard].replicas[index];
            let since_ns = *replica.deposed_ns.get_or_insert(self.now_ns);
            if self.bug == Some(FakeBug::SplitBrain) && self.now_ns < since_ns + SPLIT_BRAIN_NS {
                continue;
            }
            replica.role = Role::Replica { following: None };
            replica.deposed_ns = None;
            self.emit(shard, index, Step::Demoted, newest, "learnt of the newer epoch");
        }
    }

    /// Replicas take what the master has, when it is time and it can be reached; those that follow nobody
    /// attach themselves.
    fn follow(&mut self, shard: usize) {
        let Some(master) = self.shards[shard].master else { return };
        let epoch = self.shards[shard].epoch;
        let node = self.shards[shard].replicas[master].node;
        if !self.nodes.server_runs(node)
            || self.shards[shard].replicas[master].role != (Role::Master { epoch })
        {
            return;
        }
        for index in 0..self.shards[shard].replicas.len() {
            let Replica { node: other, role, next_pull_ns, .. } = self.shards[shard].replicas[index];
            let Role::Replica { following } = role else { continue };
            if self.now_ns < next_pull_ns
                || !self.nodes.server_runs(other)
                || !self.links.connected(node, other)
            {
                continue;
            }
            if following == Some(epoch) {
                self.shards[shard].replicate(master, index);
            } else if self.agent_serves(shard, index) {
                self.shards[shard].attach(index, master);
                let master = self.nodes.get(node).name.clone();
                self.emit(shard, index, Step::Following, epoch, format!("master {master}"));
            }
            let next_pull_ns = self.now_ns + self.rng.random_range(self.pull_ns.clone());
            self.shards[shard].replicas[index].next_pull_ns = next_pull_ns;
        }
    }

    /// Does the node's agent run beside a running server, with ZooKeeper in reach?
    pub fn agent_serves(&self, shard: usize, index: usize) -> bool {
        let node = self.shards[shard].replicas[index].node;
        self.nodes.server_runs(node)
            && self.nodes.agent_runs(node)
            && self.zookeeper.serves(node, &self.nodes, &self.links)
    }

    /// Changes what a process does. Killing the server of a node makes all it had not stored and every
    /// request it had not served go away.
    pub fn set_state(
        &mut self,
        name: &str,
        part: Part,
        state: ProcessState,
    ) -> Result<ProcessState, FakeError> {
        let id = self.nodes.find(name)?;
        let now_ns = self.now_ns;
        let node = self.nodes.get_mut(id);
        let replica = matches!(node.kind, Kind::Replica { .. });
        let process = match part {
            Part::Server => &mut node.server,
            Part::Agent if replica => &mut node.agent,
            Part::Agent => return Err(FakeError::NoAgent(name.to_owned())),
        };
        let before = *process;
        use ProcessState::{Dead, Paused, Running, Starting};
        let after = match (before, state) {
            (Dead, Paused) => return Err(FakeError::NotRunning(name.to_owned())),
            (Dead, Starting) if part == Part::Server => Starting,
            (Dead, Starting) => Running,
            (Dead, Running) => Dead,
            (_, Starting) => before,
            (Starting, Running) => Starting,
            (_, state) => state,
        };
        *process = after;
        if before == Dead && after == Starting {
            node.ready_ns = now_ns + START_NS;
            node.incarnation += 1;
        }
        self.restarted(id, part, before, after);
        Ok(after)
    }

    /// Continues what is paused and restarts what is dead.
    pub fn heal_processes(&mut self) {
        let names: Vec<(String, Kind)> =
            self.nodes.iter().map(|(_, node)| (node.name.clone(), node.kind)).collect();
        for (name, kind) in names {
            let parts: &[Part] = match kind {
                Kind::Replica { .. } => &[Part::Server, Part::Agent],
                Kind::Zookeeper | Kind::Client => &[Part::Server],
            };
            for &part in parts {
                for state in [ProcessState::Running, ProcessState::Starting] {
                    self.set_state(&name, part, state).expect("a known node with that part");
                }
            }
        }
    }

    fn restarted(&mut self, id: NodeId, part: Part, before: ProcessState, after: ProcessState) {
        let Kind::Replica { shard, index } = self.nodes.get(id).kind else { return };
        if before != ProcessState::Dead || after == ProcessState::Dead {
            return;
        }
        let epoch = self.shards[shard].epoch;
        match part {
            Part::Agent => self.emit(shard, index, Step::Started, epoch, "agent restarted"),
            Part::Server if self.bug == Some(FakeBug::SplitBrain) => {}
            Part::Server => {
                // It must be told whom to follow: what it was before it died counts for nothing.
                self.shards[shard].replicas[index].role = Role::Replica { following: None };
                self.shards[shard].replicas[index].deposed_ns = None;
            }
        }
    }
}
