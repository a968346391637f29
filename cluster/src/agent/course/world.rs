//! Three agents in a small model of the world, in virtual time: what the rules do together.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Action, Course};
use crate::{
    agent::{
        Timing,
        health::{HeartbeatSight, ProbeSight, RedisSight},
        observation::{Observation, Seen},
    },
    event::Step,
    redis_link::Replication,
    znodes::{Candidate, LeaseRecord, Member, RedisNode, Role, ShardConfig},
};

pub const NODES: usize = 3;
pub const TICK_MS: u64 = 10;
/// After this long without ZooKeeper, what a session owns is gone.
const SESSION_MS: u64 = 1500;

/// An event: when, by whom, what, of which epoch.
pub type Note = (u64, usize, Step, u64);

/// One Redis with its agent.
pub struct Node {
    pub course: Course,
    pub agent_runs: bool,
    pub agent_paused: bool,
    /// The agent cannot reach ZooKeeper.
    pub zk_cut: bool,
    pub zk_seen_ms: u64,
    pub connected_ms: Option<u64>,
    pub redis_runs: bool,
    pub redis_paused: bool,
    /// The Redis is cut off from the other Redis servers.
    pub net_cut: bool,
    pub run: u32,
    pub master: bool,
    pub of: Option<usize>,
    pub offset: u64,
    pub linked: bool,
    pub link_ms: u64,
    pub answered_ms: u64,
    pub acked_ms: Option<u64>,
    pub probe: (Option<usize>, u64),
    pub mirror: Mirror,
    /// Ticks before the mirror is right again after a pause.
    pub stale_ticks: u64,
    pub holds: Option<u64>,
    pub member: Option<Member>,
}

/// ZooKeeper as an agent sees it: late.
#[derive(Clone, Default)]
pub struct Mirror {
    pub config: ShardConfig,
    pub version: i32,
    pub config_ms: u64,
    /// Record, version, first sight.
    pub lease: Option<(LeaseRecord, i32, u64)>,
    /// Bid, its serial, first sight.
    pub bids: BTreeMap<usize, (Candidate, u64, u64)>,
    pub members: BTreeMap<usize, Member>,
}

pub struct World {
    pub base: Instant,
    pub now_ms: u64,
    pub config: ShardConfig,
    pub version: i32,
    /// Owner, record, version.
    pub lease: Option<(usize, LeaseRecord, i32)>,
    pub lease_serial: i32,
    pub bids: BTreeMap<usize, (Candidate, u64)>,
    pub bid_serial: u64,
    pub nodes: Vec<Node>,
    pub dice: u64,
    /// Actions fail, take effect although they seem to fail, and agents are slow.
    pub rough: bool,
    pub notes: Vec<Note>,
    /// Largest offset that a master and a linked replica had at once.
    pub acked: u64,
    /// Promotions of a Redis that lacked some of it: epoch, its offset, what was acknowledged.
    pub losses: Vec<(u64, u64, u64)>,
}

fn name(i: usize) -> String {
    format!("r{i}")
}

fn addr(i: usize) -> SocketAddr {
    format!("10.0.0.{}:6379", i + 1).parse().unwrap()
}

fn redis_node(i: usize) -> RedisNode {
    RedisNode { node: name(i), addr: addr(i) }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let node = |i: usize| Node {
            course: Course::new(name(i), Timing::default(), seed.wrapping_mul(31).wrapping_add(i as u64 + 1)),
            agent_runs: true,
            agent_paused: false,
            zk_cut: false,
            zk_seen_ms: 0,
            connected_ms: None,
            redis_runs: true,
            redis_paused: false,
            net_cut: false,
            run: 1,
            master: false,
            of: None,
            offset: 0,
            linked: false,
            link_ms: 0,
            answered_ms: 0,
            acked_ms: None,
            probe: (None, 0),
            mirror: Mirror::default(),
            stale_ticks: 0,
            holds: None,
            member: None,
        };
        World {
            base: Instant::now(),
            now_ms: 0,
            config: ShardConfig::default(),
            version: 0,
            lease: None,
            lease_serial: 0,
            bids: BTreeMap::new(),
            bid_serial: 0,
            dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            rough: false,
            nodes: (0..NODES).map(node).collect(),
            notes: Vec::new(),
            acked: 0,
            losses: Vec::new(),
        }
    }

    pub fn at(&self, ms: u64) -> Instant {
        self.base + Duration::from_millis(ms)
    }

    pub fn run(&mut self, ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.tick();
        }
    }

    /// True in `percent` of a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % 100 < percent
    }

    pub fn tick(&mut self) {
        self.now_ms += TICK_MS;
        self.replicate();
        self.sessions();
        for i in 0..NODES {
            let idle = self.rough && self.chance(30);
            if self.nodes[i].agent_runs && !self.nodes[i].agent_paused && !idle {
                self.look(i);
                let o = self.observe(i);
                let actions = self.nodes[i].course.step(&o);
                self.publish(i, &o);
                for action in actions {
                    let fails = self.rough && !matches!(action, Action::Note { .. }) && self.chance(10);
                    if fails || !self.perform(i, action) || self.rough && self.chance(5) {
                        break;
                    }
                }
            }
        }
    }

    pub fn answers(&self, i: usize) -> bool {
        self.nodes[i].redis_runs && !self.nodes[i].redis_paused
    }

    pub fn reach(&self, i: usize, j: usize) -> bool {
        i == j || !self.nodes[i].net_cut && !self.nodes[j].net_cut
    }

    pub fn replicate(&mut self) {
        let now = self.now_ms;
        for i in 0..NODES {
            if self.answers(i) && self.nodes[i].master {
                self.nodes[i].offset += 7;
            }
        }
        for i in 0..NODES {
            let linked = match self.nodes[i].of {
                Some(j) => self.answers(i) && self.answers(j) && self.nodes[j].master && self.reach(i, j),
                None => false,
            };
            // A replica lags by some ticks, one more than the other.
            if linked && self.chance(if i == 0 { 80 } else { 40 }) {
                let j = self.nodes[i].of.unwrap();
                self.nodes[i].offset = self.nodes[j].offset;
                self.nodes[j].acked_ms = Some(now);
                if self.config.master.as_ref().is_some_and(|m| m.node == name(j)) {
                    self.acked = self.acked.max(self.nodes[j].offset);
                }
            }
            if linked != self.nodes[i].linked {
                self.nodes[i].linked = linked;
                self.nodes[i].link_ms = now;
            }
        }
    }

    pub fn sessions(&mut self) {
        let now = self.now_ms;
        for i in 0..NODES {
            let node = &mut self.nodes[i];
            if node.agent_runs && !node.agent_paused && !node.zk_cut {
                node.zk_seen_ms = now;
            }
            if now - node.zk_seen_ms >= SESSION_MS {
                node.member = None;
                node.holds = None;
                self.bids.remove(&i);
                if self.lease.as_ref().is_some_and(|(owner, _, _)| *owner == i) {
                    self.lease = None;
                }
            }
            let node = &mut self.nodes[i];
            let renews = node.agent_runs && !node.agent_paused && !node.zk_cut && now.is_multiple_of(100);
            if let (true, Some(epoch)) = (renews, node.holds) {
                match &mut self.lease {
                    Some((owner, record, version)) if *owner == i && record.epoch == epoch => *version += 1,
                    _ => node.holds = None,
                }
            }
        }
    }

    /// What node `i` sees by itself.
    pub fn look(&mut self, i: usize) {
        let now = self.now_ms;
        if self.answers(i) {
            self.nodes[i].answered_ms = now;
        }
        let master = self.config.master.as_ref().and_then(|m| (0..NODES).find(|j| name(*j) == m.node));
        let reached = master.is_some_and(|j| self.answers(j) && self.reach(i, j));
        let node = &mut self.nodes[i];
        if node.probe.0 != master || reached {
            node.probe = (master, now);
        }
        node.connected_ms = if node.zk_cut { None } else { node.connected_ms.or(Some(now)) };
        if node.stale_ticks > 0 {
            node.stale_ticks -= 1;
        } else if !node.zk_cut && self.chance(60) {
            self.refresh(i);
        }
    }

    pub fn refresh(&mut self, i: usize) {
        let now = self.now_ms;
        let members = (0..NODES).filter_map(|j| Some((j, self.nodes[j].member.clone()?))).collect();
        let mirror = &mut self.nodes[i].mirror;
        if mirror.version != self.version {
            (mirror.config, mirror.version, mirror.config_ms) = (self.config.clone(), self.version, now);
        }
        mirror.lease = self.lease.as_ref().map(|(_, record, version)| match &mirror.lease {
            Some((_, known, at)) if known == version => (record.clone(), *version, *at),
            _ => (record.clone(), *version, now),
        });
        let known = std::mem::take(&mut mirror.bids);
        for (j, (bid, serial)) in &self.bids {
            let at = known.get(j).filter(|(_, s, _)| s == serial).map_or(now, |(_, _, at)| *at);
            mirror.bids.insert(*j, (bid.clone(), *serial, at));
        }
        mirror.members = members;
    }

    pub fn observe(&self, i: usize) -> Observation {
        let node = &self.nodes[i];
        let own = if self.answers(i) {
            RedisSight::Up {
                run_id: format!("{i}-{}", node.run),
                replication: Replication {
                    master: node.master,
                    of: node.of.map(addr),
                    linked: node.linked,
                    offset: node.offset,
                    ..Replication::default()
                },
                link_since: self.at(node.link_ms),
                seen_at: self.at(self.now_ms),
            }
        } else {
            let (since, refused) = (self.at(node.answered_ms), !node.redis_runs);
            RedisSight::Down { since, refused, why: "down".into() }
        };
        let mirror = &node.mirror;
        let lease = mirror.lease.as_ref().map(|(record, version, at)| Seen {
            value: Some(record.clone()),
            version: *version,
            seen_at: self.at(*at),
        });
        let bids = mirror.bids.iter().map(|(j, (bid, _, at))| {
            (name(*j), Seen { value: bid.clone(), version: 0, seen_at: self.at(*at) })
        });
        Observation {
            now: self.at(self.now_ms),
            connected: node.connected_ms.is_some(),
            connected_since: self.at(node.connected_ms.unwrap_or(self.now_ms)),
            config: Some(Seen {
                value: mirror.config.clone(),
                version: mirror.version,
                seen_at: self.at(mirror.config_ms),
            }),
            lease,
            lease_held: node.holds == Some(mirror.config.epoch),
            own,
            heartbeat: HeartbeatSight { acked_at: node.acked_ms.map(|ms| self.at(ms)), replicas: 0 },
            probe: ProbeSight { target: node.probe.0.map(addr), answered_at: self.at(node.probe.1) },
            candidates: bids.collect(),
            members: mirror.members.iter().map(|(j, member)| (name(*j), member.clone())).collect(),
            nodes: (0..NODES).map(redis_node).collect(),
        }
    }

    pub fn publish(&mut self, i: usize, o: &Observation) {
        if self.nodes[i].zk_cut {
            return;
        }
        let sees_master = self.nodes[i].course.sees_master(o);
        let up = self.answers(i);
        let node = &mut self.nodes[i];
        let role = match (up, node.master) {
            (false, _) => Role::Down,
            (true, true) => Role::Master,
            (true, false) => Role::Replica,
        };
        let epoch = o.config.as_ref().map_or(0, |c| c.value.epoch);
        let fit = up && node.offset > 0;
        node.member = Some(Member { role, epoch, addr: addr(i), fit, linked: node.linked, sees_master });
    }

    /// Does what agent `i` has decided; false if it fails.
    pub fn perform(&mut self, i: usize, action: Action) -> bool {
        if self.nodes[i].zk_cut
            && !matches!(action, Action::Note { .. } | Action::Demote(_) | Action::Follow(_))
        {
            return false;
        }
        let current = |version: i32| version == self.version;
        match action {
            Action::Note { step, epoch, .. } => {
                self.notes.push((self.now_ms, i, step, epoch));
                self.nodes[i].course.noted(step, epoch);
            }
            Action::HoldLease { config_version, epoch, replace } => {
                let same = self.lease.as_ref().map(|(_, _, version)| *version) == replace;
                if !current(config_version) || !same {
                    return false;
                }
                self.grant(i, epoch);
            }
            Action::GiveUpLease { config_version } => {
                self.nodes[i].holds = None;
                if !current(config_version) {
                    return false;
                }
                self.lease = None;
            }
            Action::DropLease { config_version, lease_version } => {
                if !current(config_version)
                    || self.lease.as_ref().is_some_and(|(_, _, v)| *v != lease_version)
                {
                    return false;
                }
                self.lease = None;
            }
            Action::Bid(candidate) => {
                self.bid_serial += 1;
                self.bids.insert(i, (candidate, self.bid_serial));
            }
            Action::Claim { config_version, epoch, .. } => {
                if !current(config_version) || self.lease.is_some() {
                    return false;
                }
                assert_eq!(epoch, self.config.epoch + 1);
                self.set_config(i, ShardConfig { epoch, master: Some(redis_node(i)), serving: false });
                self.grant(i, epoch);
                self.notes.push((self.now_ms, i, Step::Elected, epoch));
            }
            Action::TakeOffice { config_version, epoch, predecessor, run_id } => {
                let before = predecessor.and_then(|p| (0..NODES).find(|j| name(*j) == p.node));
                if let Some(j) = before.filter(|j| *j != i && self.answers(*j) && self.reach(i, *j)) {
                    (self.nodes[j].master, self.nodes[j].of) = (false, None);
                }
                if !self.answers(i)
                    || run_id != format!("{i}-{}", self.nodes[i].run)
                    || !current(config_version)
                {
                    return false;
                }
                (self.nodes[i].master, self.nodes[i].of) = (true, None);
                if self.nodes[i].offset < self.acked {
                    self.losses.push((epoch, self.nodes[i].offset, self.acked));
                }
                // What is lost is lost once.
                self.acked = self.acked.min(self.nodes[i].offset);
                self.set_config(i, ShardConfig { epoch, master: Some(redis_node(i)), serving: true });
                self.notes.push((self.now_ms, i, Step::Promoted, epoch));
            }
            Action::Demote(to) => return self.replicaof(i, to),
            Action::Follow(master) | Action::Relink(master) => return self.replicaof(i, Some(master)),
        }
        true
    }

    pub fn grant(&mut self, i: usize, epoch: u64) {
        // Every lease znode starts with version 0; a serial keeps them apart as the transaction id does.
        self.lease_serial += 1_000_000;
        let record = LeaseRecord { epoch, node: name(i), n: 0 };
        self.lease = Some((i, record, self.lease_serial));
        self.nodes[i].holds = Some(epoch);
    }

    pub fn set_config(&mut self, i: usize, config: ShardConfig) {
        self.config = config;
        self.version += 1;
        // Who writes knows at once.
        let mirror = &mut self.nodes[i].mirror;
        (mirror.config, mirror.version, mirror.config_ms) = (self.config.clone(), self.version, self.now_ms);
    }

    pub fn replicaof(&mut self, i: usize, to: Option<RedisNode>) -> bool {
        if !self.answers(i) {
            return false;
        }
        self.nodes[i].master = false;
        self.nodes[i].of = to.and_then(|to| (0..NODES).find(|j| name(*j) == to.node));
        true
    }

    pub fn master(&self) -> Option<usize> {
        let serving = self.config.master.as_ref().filter(|_| self.config.serving)?;
        (0..NODES).find(|j| name(*j) == serving.node)
    }

    /// Kills a Redis; it comes back parked and empty with `revive`.
    pub fn kill(&mut self, i: usize) {
        self.nodes[i].redis_runs = false;
    }

    pub fn revive(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        if !node.redis_runs {
            node.redis_runs = true;
            node.run += 1;
            (node.master, node.of, node.offset, node.acked_ms) = (false, None, 0, None);
        }
    }

    pub fn kill_agent(&mut self, i: usize) {
        self.nodes[i].agent_runs = false;
        self.nodes[i].holds = None;
    }

    /// A resumed agent sees the world of before for a moment.
    pub fn pause_agent(&mut self, i: usize, paused: bool) {
        let node = &mut self.nodes[i];
        if node.agent_paused && !paused {
            node.stale_ticks = 5;
        }
        node.agent_paused = paused;
    }

    pub fn revive_agent(&mut self, i: usize) {
        if !self.nodes[i].agent_runs {
            self.nodes[i].agent_runs = true;
            self.nodes[i].connected_ms = None;
            self.nodes[i].mirror = Mirror::default();
            self.nodes[i].course = Course::new(name(i), Timing::default(), self.now_ms + i as u64);
        }
    }

    pub fn heal(&mut self) {
        for i in 0..NODES {
            self.revive(i);
            self.revive_agent(i);
            self.pause_agent(i, false);
            let node = &mut self.nodes[i];
            (node.agent_paused, node.zk_cut, node.redis_paused, node.net_cut) = (false, false, false, false);
        }
    }

    /// Whether the shard is as it should be: one serving master with its lease, all others linked to it.
    pub fn well(&self) -> bool {
        let Some(m) = self.master() else { return false };
        let followers = (0..NODES).filter(|i| *i != m);
        self.nodes[m].master
            && self.nodes[m].holds == Some(self.config.epoch)
            && self.lease.is_some()
            && followers.into_iter().all(|i| self.nodes[i].linked && self.nodes[i].of == Some(m))
    }

    pub fn settled() -> World {
        let mut world = World::new(1);
        world.run(2000);
        assert!(world.well(), "{:?} {:?}", world.config, world.notes);
        world
    }

    pub fn steps_of(&self, epoch: u64) -> Vec<Step> {
        let won = self
            .notes
            .iter()
            .find(|(_, _, step, e)| *step == Step::Elected && *e == epoch)
            .expect("a winner");
        let ends = |step: Step, e: u64| e + 1 == epoch && matches!(step, Step::Suspected | Step::LeaseLost);
        let of = |(_, i, step, e): &&Note| *i == won.1 && (*e == epoch || ends(*step, *e));
        self.notes.iter().filter(of).map(|(_, _, step, _)| *step).collect()
    }
}
