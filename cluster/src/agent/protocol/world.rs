//! Three agents, three Redis servers and clients in a small model of the world, in virtual time: what the rules
//! do together.
//!
//! Data is a list of operations. A master appends one every few ticks; a replica that is linked copies what the
//! master has, late, and its acknowledgement arrives later still. An operation counts once an
//! acknowledgement has arrived and the epoch of the data still is that of the operation: the client's rules.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Action, Protocol, role_of};
use crate::{
    agent::{
        Timing,
        health::{HeartbeatSight, ProbeSight, RedisSight},
        observation::{Observation, Seen},
    },
    defence::Without,
    event::Step,
    redis_link::Replication,
    znodes::{Hello, LeaseRecord, Member, Position, RedisNode, ShardConfig, Vote},
};

pub const NODES: usize = 3;
pub const TICK_MS: u64 = 10;
/// After this long without ZooKeeper, what a session owns is gone.
const SESSION_MS: u64 = 1500;

/// An event: when, by whom, what, of which epoch.
pub type Note = (u64, usize, Step, u64);

/// One Redis.
#[derive(Default)]
pub struct Redis {
    pub runs: bool,
    pub paused: bool,
    /// Cut off from the other Redis servers.
    pub cut: bool,
    pub run: u32,
    pub data: Vec<u64>,
    pub epoch: u64,
    pub master: bool,
    /// Epoch whose clients and replicas may log in.
    pub open: Option<u64>,
    pub promise: u64,
    pub of: Option<usize>,
    pub linked: bool,
    pub link_ms: u64,
}

/// One agent.
pub struct Agent {
    pub protocol: Protocol,
    pub runs: bool,
    pub paused: bool,
    /// It cannot reach ZooKeeper.
    pub cut: bool,
    pub seen_ms: u64,
    pub connected_ms: Option<u64>,
    pub greeted: Option<String>,
    pub answered_ms: u64,
    pub acked_ms: Option<u64>,
    pub probe: (Option<usize>, u64),
    pub member: Option<Member>,
    pub mirror: Mirror,
    /// Ticks before the mirror is right again after a pause.
    pub stale_ticks: u64,
    /// Something decided long ago that is only now being done.
    pub late: Option<(u64, Action)>,
}

/// ZooKeeper as an agent sees it: late.
#[derive(Clone, Default)]
pub struct Mirror {
    pub config: (ShardConfig, i32, u64),
    pub lease: (LeaseRecord, i32, u64),
    pub votes: BTreeMap<usize, (Vote, i32, u64)>,
    pub hellos: BTreeMap<usize, Hello>,
    pub members: BTreeMap<usize, Member>,
}

/// An operation on its way.
struct Pending {
    op: u64,
    node: usize,
    run: u32,
    epoch: u64,
    /// Operations that had been acknowledged when it was invoked.
    before: usize,
    /// Operations in the data before it.
    place: usize,
}

/// A replica's acknowledgement on its way: when it arrives, at which node, for how much data.
struct Ack {
    at_ms: u64,
    node: usize,
    run: u32,
    len: usize,
}

pub struct World {
    base: Instant,
    pub now_ms: u64,
    pub config: ShardConfig,
    pub version: i32,
    pub lease: (LeaseRecord, i32),
    pub votes: BTreeMap<usize, (Vote, i32)>,
    pub hellos: BTreeMap<usize, Hello>,
    pub redis: Vec<Redis>,
    pub agents: Vec<Agent>,
    dice: u64,
    /// Actions fail, take effect although they seem to fail, come late, and agents are slow.
    pub rough: bool,
    pub notes: Vec<Note>,
    next_op: u64,
    pending: Vec<Pending>,
    acks: Vec<Ack>,
    pub acked: Vec<u64>,
    /// Broken promises: an acknowledged operation that did not see one acknowledged before it began.
    pub broken: Vec<String>,
}

fn name(i: usize) -> String {
    format!("r{i}")
}

fn addr(i: usize) -> SocketAddr {
    format!("10.0.0.{}:6379", i + 1).parse().unwrap()
}

fn node(i: usize) -> RedisNode {
    RedisNode { node: name(i), addr: addr(i) }
}

fn index(name: &str) -> usize {
    name[1..].parse().unwrap()
}

impl World {
    pub fn new(seed: u64, without: Without) -> Self {
        let redis = |_| Redis { runs: true, run: 1, ..Redis::default() };
        let agent = |i: usize| Agent {
            protocol: Protocol::new(name(i), Timing::default(), without.clone(), seed * 31 + i as u64 + 1),
            runs: true,
            paused: false,
            cut: false,
            seen_ms: 0,
            connected_ms: None,
            greeted: None,
            answered_ms: 0,
            acked_ms: None,
            probe: (None, 0),
            member: None,
            mirror: Mirror::default(),
            stale_ticks: 0,
            late: None,
        };
        World {
            base: Instant::now(),
            now_ms: 0,
            config: ShardConfig::default(),
            version: 0,
            lease: (LeaseRecord::default(), 0),
            votes: BTreeMap::new(),
            hellos: BTreeMap::new(),
            redis: (0..NODES).map(redis).collect(),
            agents: (0..NODES).map(agent).collect(),
            dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            rough: false,
            notes: Vec::new(),
            next_op: 1,
            pending: Vec::new(),
            acks: Vec::new(),
            acked: Vec::new(),
            broken: Vec::new(),
        }
    }

    pub fn settled() -> World {
        let mut world = World::new(1, Without::nothing());
        world.run(2000);
        assert!(world.well(), "{:?} {:?}", world.config, world.notes);
        world
    }

    pub fn run(&mut self, ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.tick();
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.base + Duration::from_millis(ms)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % 100 < percent
    }

    fn tick(&mut self) {
        self.now_ms += TICK_MS;
        self.serve();
        self.replicate();
        self.hear();
        self.sessions();
        for i in 0..NODES {
            let idle = self.rough && self.chance(30);
            if self.agents[i].runs && !self.agents[i].paused && !idle {
                self.act(i);
            }
        }
    }

    /// Clients that know of any master, however old, give it work.
    fn serve(&mut self) {
        for i in 0..NODES {
            let (open, answers) = (self.redis[i].open, self.answers(i));
            let redis = &mut self.redis[i];
            if answers && redis.master && open == Some(redis.epoch) && self.now_ms.is_multiple_of(30) {
                let (op, place) = (self.next_op, redis.data.len());
                self.next_op += 1;
                redis.data.push(op);
                let (run, epoch, before) = (redis.run, redis.epoch, self.acked.len());
                self.pending.push(Pending { op, node: i, run, epoch, before, place });
            }
        }
    }

    fn replicate(&mut self) {
        for i in 0..NODES {
            let linked = self.redis[i].of.is_some_and(|j| {
                let let_in = self.redis[j].open == Some(self.redis[i].promise) && self.redis[j].master;
                let_in && self.answers(i) && self.answers(j) && self.reach(i, j)
            });
            // A replica lags by some ticks, one more than the other.
            if let (true, Some(j)) = (linked, self.redis[i].of)
                && self.chance(if i == 0 { 80 } else { 40 })
            {
                let late = if self.chance(50) { 0 } else { TICK_MS * (self.dice % 8) };
                let (run, len) = (self.redis[j].run, self.redis[j].data.len());
                self.acks.push(Ack { at_ms: self.now_ms + late, node: j, run, len });
                self.copy(j, i);
            }
            if linked != self.redis[i].linked {
                self.redis[i].linked = linked;
                self.redis[i].link_ms = self.now_ms;
            }
        }
    }

    /// What `from` has becomes what `to` has: the rest of the stream, or everything if the histories differ.
    fn copy(&mut self, from: usize, to: usize) {
        let source = std::mem::take(&mut self.redis[from].data);
        let epoch = self.redis[from].epoch;
        let target = &mut self.redis[to];
        let known = target.data.len();
        // Operations have unique numbers, so equal last ones mean equal histories.
        if known <= source.len() && known.checked_sub(1).is_none_or(|i| source[i] == target.data[i]) {
            target.data.extend_from_slice(&source[known..]);
        } else {
            target.data.clone_from(&source);
        }
        target.epoch = epoch;
        self.redis[from].data = source;
    }

    /// Acknowledgements arrive, and clients are told.
    fn hear(&mut self) {
        let now = self.now_ms;
        let (due, later): (Vec<Ack>, Vec<Ack>) =
            std::mem::take(&mut self.acks).into_iter().partition(|ack| ack.at_ms <= now);
        self.acks = later;
        for ack in due {
            let (node, run) = (ack.node, ack.run);
            if !self.answers(node) || self.redis[node].run != run {
                continue;
            }
            self.agents[node].acked_ms = Some(now);
            let redis = &self.redis[node];
            let (told, rest): (Vec<Pending>, Vec<Pending>) =
                std::mem::take(&mut self.pending).into_iter().partition(|p| {
                    p.node == node
                        && p.run == run
                        && p.place < ack.len
                        && redis.open == Some(p.epoch)
                        && redis.epoch == p.epoch
                });
            self.pending = rest;
            for p in told {
                self.acknowledge(&p);
            }
        }
    }

    fn acknowledge(&mut self, p: &Pending) {
        let data = &self.redis[p.node].data[..p.place];
        // Numbers are given out in order of time, so every history is sorted.
        let missed = self.acked[..p.before].iter().find(|op| data.binary_search(op).is_err());
        if let Some(missed) = missed {
            let (op, node, epoch) = (p.op, p.node, p.epoch);
            self.broken.push(format!("operation {op} at r{node} in epoch {epoch} did not see {missed}"));
        }
        self.acked.push(p.op);
    }

    fn sessions(&mut self) {
        let now = self.now_ms;
        for i in 0..NODES {
            let agent = &mut self.agents[i];
            if !agent.runs || agent.paused || agent.cut {
                if now - agent.seen_ms >= SESSION_MS {
                    agent.member = None;
                }
                continue;
            }
            agent.seen_ms = now;
            if !now.is_multiple_of(100) {
                continue;
            }
            let o = self.observe(i);
            let duty = self.agents[i].protocol.duty(&o);
            if let Some(duty) = duty.filter(|duty| duty.config_version == self.version) {
                let n = self.lease.0.n + 1;
                self.lease = (LeaseRecord { epoch: duty.epoch, node: name(i), n }, self.lease.1 + 1);
                let at = self.at(now);
                self.agents[i].protocol.renewed(at);
            }
        }
    }

    fn act(&mut self, i: usize) {
        self.look(i);
        if let Some((at_ms, action)) = self.agents[i].late.take() {
            if self.now_ms < at_ms {
                self.agents[i].late = Some((at_ms, action));
            } else {
                self.perform(i, &action);
            }
            return;
        }
        let o = self.observe(i);
        let actions = self.agents[i].protocol.step(&o);
        self.publish(i, &o);
        for action in actions {
            let note = matches!(action, Action::Note { .. });
            if self.rough && !note && self.chance(6) {
                let at_ms = self.now_ms + TICK_MS * (self.dice % 120);
                self.agents[i].late = Some((at_ms, action));
                return;
            }
            let fails = self.rough && !note && self.chance(10);
            if fails || !self.perform(i, &action) || self.rough && self.chance(5) {
                return;
            }
            let now = self.at(self.now_ms);
            self.agents[i].protocol.done(&action, now);
        }
    }

    pub fn answers(&self, i: usize) -> bool {
        self.redis[i].runs && !self.redis[i].paused
    }

    fn reach(&self, i: usize, j: usize) -> bool {
        i == j || !self.redis[i].cut && !self.redis[j].cut
    }

    fn run_id(&self, i: usize) -> String {
        format!("{i}-{}", self.redis[i].run)
    }

    fn position(&self, i: usize) -> Position {
        Position { epoch: self.redis[i].epoch, seq: self.redis[i].data.len() as u64 }
    }

    /// What node `i` sees by itself.
    fn look(&mut self, i: usize) {
        let now = self.now_ms;
        if self.answers(i) {
            self.agents[i].answered_ms = now;
        }
        let master = self.agents[i].mirror.config.0.master.as_ref().map(|master| index(&master.node));
        let reached = master.is_some_and(|j| self.answers(j) && self.reach(i, j));
        let agent = &mut self.agents[i];
        if agent.probe.0 != master || reached {
            agent.probe = (master, now);
        }
        agent.connected_ms = if agent.cut { None } else { agent.connected_ms.or(Some(now)) };
        if agent.stale_ticks > 0 {
            agent.stale_ticks -= 1;
        } else if !agent.cut && self.chance(60) {
            self.refresh(i);
        }
    }

    fn refresh(&mut self, i: usize) {
        let now = self.now_ms;
        let members = (0..NODES).filter_map(|j| Some((j, self.agents[j].member.clone()?))).collect();
        let mirror = &mut self.agents[i].mirror;
        if mirror.config.1 != self.version {
            mirror.config = (self.config.clone(), self.version, now);
        }
        if mirror.lease.1 != self.lease.1 {
            mirror.lease = (self.lease.0.clone(), self.lease.1, now);
        }
        for (j, (vote, version)) in &self.votes {
            if mirror.votes.get(j).is_none_or(|(_, known, _)| known != version) {
                mirror.votes.insert(*j, (vote.clone(), *version, now));
            }
        }
        (mirror.hellos, mirror.members) = (self.hellos.clone(), members);
    }

    fn observe(&self, i: usize) -> Observation {
        let (redis, agent, mirror) = (&self.redis[i], &self.agents[i], &self.agents[i].mirror);
        let own = if self.answers(i) {
            RedisSight::Up {
                run_id: self.run_id(i),
                replication: Replication {
                    master: redis.master,
                    of: redis.of.map(addr),
                    linked: redis.linked,
                    offset: redis.data.len() as u64,
                    ..Replication::default()
                },
                position: Some(self.position(i)),
                promise: redis.promise,
                link_since: self.at(redis.link_ms),
                seen_at: self.at(self.now_ms),
            }
        } else {
            let (since, refused) = (self.at(agent.answered_ms), !redis.runs);
            RedisSight::Down { since, refused, why: "down".into() }
        };
        let (config, version, at_ms) = &mirror.config;
        let (lease, lease_version, lease_ms) = &mirror.lease;
        let vote = |(j, (vote, version, at)): (&usize, &(Vote, i32, u64))| {
            (name(*j), Seen { value: vote.clone(), version: *version, seen_at: self.at(*at) })
        };
        Observation {
            now: self.at(self.now_ms),
            connected: agent.connected_ms.is_some(),
            connected_since: self.at(agent.connected_ms.unwrap_or(self.now_ms)),
            config: Some(Seen { value: config.clone(), version: *version, seen_at: self.at(*at_ms) }),
            lease: Some(Seen {
                value: Some(lease.clone()),
                version: *lease_version,
                seen_at: self.at(*lease_ms),
            }),
            own,
            greeted: agent.greeted.clone(),
            heartbeat: HeartbeatSight { acked_at: agent.acked_ms.map(|ms| self.at(ms)), replicas: 0 },
            probe: ProbeSight { target: agent.probe.0.map(addr), answered_at: self.at(agent.probe.1) },
            votes: mirror.votes.iter().map(vote).collect(),
            hellos: mirror.hellos.iter().map(|(j, hello)| (name(*j), hello.clone())).collect(),
            members: mirror.members.iter().map(|(j, member)| (name(*j), member.clone())).collect(),
            nodes: (0..NODES).map(node).collect(),
            slots: String::new(),
        }
    }

    fn publish(&mut self, i: usize, o: &Observation) {
        if self.agents[i].cut {
            return;
        }
        let up = self.answers(i);
        let member = Member {
            role: role_of(&o.own),
            epoch: o.config.as_ref().map_or(0, |c| c.value.epoch),
            addr: addr(i),
            run_id: if up { self.run_id(i) } else { String::new() },
            fit: up,
            linked: self.redis[i].linked,
            sees_master: self.agents[i].protocol.sees_master(o),
        };
        self.agents[i].member = Some(member);
    }

    /// Does what agent `i` has decided; false if it fails.
    fn perform(&mut self, i: usize, action: &Action) -> bool {
        let zookeeper = !self.agents[i].cut;
        let same_run = |run_id: &String| self.answers(i) && *run_id == self.run_id(i);
        match action {
            Action::Note { step, epoch, .. } => self.notes.push((self.now_ms, i, *step, *epoch)),
            Action::Greet { run_id } => {
                if !same_run(run_id) || !zookeeper {
                    return false;
                }
                self.hellos.insert(i, Hello { run_id: run_id.clone() });
                let known = &mut self.agents[i].mirror.config;
                if known.1 < self.version {
                    *known = (self.config.clone(), self.version, self.now_ms);
                }
                self.agents[i].greeted = Some(run_id.clone());
            }
            Action::Propose { config_version, lease_version, next, .. } => {
                if lease_version.is_some_and(|version| version != self.lease.1) {
                    return false;
                }
                return zookeeper && self.change(i, *config_version, next, Step::Proposed);
            }
            Action::Fence { epoch, run_id, vote } => {
                if !same_run(run_id) || self.redis[i].promise > *epoch {
                    return false;
                }
                let redis = &mut self.redis[i];
                let was_master = redis.master;
                (redis.promise, redis.master, redis.of, redis.open) = (*epoch, false, None, None);
                self.notes.push((self.now_ms, i, Step::Fenced, *epoch));
                if was_master {
                    self.notes.push((self.now_ms, i, Step::Demoted, *epoch));
                }
                if *vote {
                    if !zookeeper {
                        return false;
                    }
                    let version = self.votes.get(&i).map_or(0, |(_, version)| version + 1);
                    let (position, run_id) = (self.position(i), run_id.clone());
                    let vote = Vote { epoch: *epoch, run_id, position, offset: position.seq };
                    self.votes.insert(i, (vote, version));
                }
            }
            Action::Decide { config_version, votes, next, .. } => {
                let known = |(node, version): &(String, i32)| {
                    self.votes.get(&index(node)).is_some_and(|(_, now)| now == version)
                };
                return zookeeper
                    && votes.iter().all(known)
                    && self.change(i, *config_version, next, Step::Elected);
            }
            Action::Promote { epoch, run_id, .. } => {
                if !same_run(run_id) || self.redis[i].promise != *epoch {
                    return false;
                }
                let op = self.next_op;
                self.next_op += 1;
                let redis = &mut self.redis[i];
                (redis.master, redis.of, redis.epoch, redis.open) = (true, None, *epoch, Some(*epoch));
                redis.data.push(op);
                self.notes.push((self.now_ms, i, Step::Promoted, *epoch));
            }
            Action::Attach { master, epoch, run_id } | Action::Relink { master, epoch, run_id } => {
                if !same_run(run_id) || self.redis[i].promise != *epoch {
                    return false;
                }
                (self.redis[i].master, self.redis[i].of) = (false, Some(index(&master.node)));
            }
            Action::Admit { config_version, next, master, run_id } => {
                let m = index(&master.node);
                let asked = self.answers(m) && self.reach(i, m) && self.redis[m].master;
                let caught_up =
                    asked && self.position(m).epoch == next.epoch && self.position(i) >= self.position(m);
                return same_run(run_id)
                    && caught_up
                    && zookeeper
                    && self.change(i, *config_version, next, Step::Admitted);
            }
        }
        true
    }

    /// Compare-and-set of the config; who writes knows at once.
    fn change(&mut self, i: usize, version: i32, next: &ShardConfig, step: Step) -> bool {
        if version != self.version {
            return false;
        }
        assert!(next.epoch >= self.config.epoch && next.epoch <= self.config.epoch + 1);
        self.config = next.clone();
        self.version += 1;
        self.agents[i].mirror.config = (next.clone(), self.version, self.now_ms);
        if step == Step::Proposed && next.epoch > 1 {
            self.notes.push((self.now_ms, i, Step::LeaseLost, next.epoch - 1));
        }
        self.notes.push((self.now_ms, i, step, next.epoch));
        true
    }

    pub fn master(&self) -> Option<usize> {
        self.config.master.as_ref().filter(|_| self.config.serving).map(|master| index(&master.node))
    }

    /// Kills a Redis; it comes back parked and empty with `revive`.
    pub fn kill(&mut self, i: usize) {
        self.redis[i].runs = false;
    }

    /// Whether a Redis may lose its memory: all others hold votes, so no second memory is missing.
    pub fn may_kill(&self, i: usize) -> bool {
        let whole = |j: usize| self.redis[j].runs && self.config.is_voter(&name(j), &self.run_id(j));
        (0..NODES).all(|j| j == i || whole(j))
    }

    pub fn revive(&mut self, i: usize) {
        if !self.redis[i].runs {
            let (run, cut, now) = (self.redis[i].run + 1, self.redis[i].cut, self.now_ms);
            self.redis[i] = Redis { runs: true, run, cut, link_ms: now, ..Redis::default() };
            self.agents[i].acked_ms = None;
        }
    }

    pub fn kill_agent(&mut self, i: usize) {
        self.agents[i].runs = false;
    }

    /// A resumed agent sees the world of before for a moment.
    pub fn pause_agent(&mut self, i: usize, paused: bool) {
        let agent = &mut self.agents[i];
        if agent.paused && !paused {
            agent.stale_ticks = 5;
        }
        agent.paused = paused;
    }

    pub fn revive_agent(&mut self, i: usize) {
        if !self.agents[i].runs {
            let agent = &mut self.agents[i];
            let seed = self.now_ms + i as u64;
            agent.protocol = Protocol::new(name(i), Timing::default(), Without::nothing(), seed);
            (agent.runs, agent.connected_ms, agent.greeted, agent.late) = (true, None, None, None);
            agent.mirror = Mirror::default();
        }
    }

    pub fn heal(&mut self) {
        for i in 0..NODES {
            self.revive(i);
            self.revive_agent(i);
            self.pause_agent(i, false);
            self.agents[i].cut = false;
            (self.redis[i].paused, self.redis[i].cut) = (false, false);
        }
    }

    /// Whether the shard is as it should be: one serving master with its lease, all others linked to it, and
    /// all with their votes.
    pub fn well(&self) -> bool {
        let Some(m) = self.master() else { return false };
        self.redis[m].master
            && self.redis[m].open == Some(self.config.epoch)
            && self.lease.0.epoch == self.config.epoch
            && (0..NODES).all(|i| self.config.is_voter(&name(i), &self.run_id(i)))
            && (0..NODES).filter(|i| *i != m).all(|i| self.redis[i].linked && self.redis[i].of == Some(m))
    }

    /// Steps that led to an epoch, in order of their first sight.
    pub fn steps_of(&self, epoch: u64) -> Vec<Step> {
        let mut steps = Vec::new();
        for (_, _, step, of) in &self.notes {
            let ends = of + 1 == epoch && matches!(step, Step::Suspected | Step::LeaseLost);
            let begins = *of == epoch
                && matches!(step, Step::Proposed | Step::Fenced | Step::Elected | Step::Promoted);
            if (ends || begins) && !steps.contains(step) {
                steps.push(*step);
            }
        }
        steps
    }
}
