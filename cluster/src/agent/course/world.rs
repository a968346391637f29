//! Three agents in a small model of the world, in virtual time: what the rules do together.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use proptest::prelude::*;

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

const NODES: usize = 3;
const TICK_MS: u64 = 10;
/// After this long without ZooKeeper, what a session owns is gone.
const SESSION_MS: u64 = 1500;

/// One Redis with its agent.
struct Node {
    course: Course,
    agent_runs: bool,
    agent_paused: bool,
    /// The agent cannot reach ZooKeeper.
    zk_cut: bool,
    zk_seen_ms: u64,
    connected_ms: Option<u64>,
    redis_runs: bool,
    redis_paused: bool,
    /// The Redis is cut off from the other Redis servers.
    net_cut: bool,
    run: u32,
    master: bool,
    of: Option<usize>,
    offset: u64,
    linked: bool,
    link_ms: u64,
    answered_ms: u64,
    acked_ms: Option<u64>,
    probe: (Option<usize>, u64),
    lease_seen: Option<(i32, u64)>,
    config_seen: (i32, u64),
    holds: Option<u64>,
    member: Option<Member>,
}

struct World {
    base: Instant,
    now_ms: u64,
    config: ShardConfig,
    version: i32,
    /// Owner, record, version.
    lease: Option<(usize, LeaseRecord, i32)>,
    lease_serial: i32,
    bids: BTreeMap<usize, (Candidate, u64)>,
    nodes: Vec<Node>,
    notes: Vec<(u64, usize, Step, u64)>,
    /// Largest offset that a master and a linked replica had at once.
    acked: u64,
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
    fn new(seed: u64) -> Self {
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
            lease_seen: None,
            config_seen: (0, 0),
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
            nodes: (0..NODES).map(node).collect(),
            notes: Vec::new(),
            acked: 0,
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.base + Duration::from_millis(ms)
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.now_ms += TICK_MS;
        self.replicate();
        self.sessions();
        for i in 0..NODES {
            if self.nodes[i].agent_runs && !self.nodes[i].agent_paused {
                self.look(i);
                let o = self.observe(i);
                let actions = self.nodes[i].course.step(&o);
                self.publish(i, &o);
                for action in actions {
                    if !self.perform(i, action) {
                        break;
                    }
                }
            }
        }
    }

    fn answers(&self, i: usize) -> bool {
        self.nodes[i].redis_runs && !self.nodes[i].redis_paused
    }

    fn reach(&self, i: usize, j: usize) -> bool {
        i == j || !self.nodes[i].net_cut && !self.nodes[j].net_cut
    }

    fn replicate(&mut self) {
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
            if linked {
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

    fn sessions(&mut self) {
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
            let renews = node.agent_runs && !node.agent_paused && !node.zk_cut && now % 100 == 0;
            if let (true, Some(epoch)) = (renews, node.holds) {
                match &mut self.lease {
                    Some((owner, record, version)) if *owner == i && record.epoch == epoch => *version += 1,
                    _ => node.holds = None,
                }
            }
        }
    }

    /// What node `i` sees by itself.
    fn look(&mut self, i: usize) {
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
        if !node.zk_cut {
            let version = self.lease.as_ref().map(|(_, _, version)| *version);
            if version != node.lease_seen.map(|(version, _)| version) {
                node.lease_seen = version.map(|version| (version, now));
            }
            if node.config_seen.0 != self.version {
                node.config_seen = (self.version, now);
            }
        }
    }

    fn observe(&self, i: usize) -> Observation {
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
        let lease = self.lease.as_ref().map(|(_, record, version)| Seen {
            value: Some(record.clone()),
            version: *version,
            seen_at: self.at(node.lease_seen.map_or(self.now_ms, |(_, at)| at)),
        });
        let bids = self
            .bids
            .iter()
            .map(|(j, (bid, at))| (name(*j), Seen { value: bid.clone(), version: 0, seen_at: self.at(*at) }));
        let members = self.nodes.iter().enumerate().filter_map(|(j, n)| Some((name(j), n.member.clone()?)));
        Observation {
            now: self.at(self.now_ms),
            connected: node.connected_ms.is_some(),
            connected_since: self.at(node.connected_ms.unwrap_or(self.now_ms)),
            config: Some(Seen {
                value: self.config.clone(),
                version: self.version,
                seen_at: self.at(node.config_seen.1),
            }),
            lease,
            lease_held: node.holds == Some(self.config.epoch),
            own,
            heartbeat: HeartbeatSight { acked_at: node.acked_ms.map(|ms| self.at(ms)), replicas: 0 },
            probe: ProbeSight { target: node.probe.0.map(addr), answered_at: self.at(node.probe.1) },
            candidates: bids.collect(),
            members: members.collect(),
            nodes: (0..NODES).map(redis_node).collect(),
        }
    }

    fn publish(&mut self, i: usize, o: &Observation) {
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
        let epoch = self.config.epoch;
        let fit = up && node.offset > 0;
        node.member = Some(Member { role, epoch, addr: addr(i), fit, linked: node.linked, sees_master });
    }

    /// Does what agent `i` has decided; false if it fails.
    fn perform(&mut self, i: usize, action: Action) -> bool {
        let current = |version: i32| version == self.version;
        match action {
            Action::Note { step, epoch, .. } => self.notes.push((self.now_ms, i, step, epoch)),
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
            Action::Bid(candidate) => _ = self.bids.insert(i, (candidate, self.now_ms)),
            Action::Claim { config_version, epoch, .. } => {
                if !current(config_version) || self.lease.is_some() {
                    return false;
                }
                assert_eq!(epoch, self.config.epoch + 1);
                self.set_config(ShardConfig { epoch, master: Some(redis_node(i)), serving: false });
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
                self.set_config(ShardConfig { epoch, master: Some(redis_node(i)), serving: true });
                self.notes.push((self.now_ms, i, Step::Promoted, epoch));
            }
            Action::Demote(to) => return self.replicaof(i, to),
            Action::Follow(master) | Action::Relink(master) => return self.replicaof(i, Some(master)),
        }
        true
    }

    fn grant(&mut self, i: usize, epoch: u64) {
        // Every lease znode starts with version 0; a serial keeps them apart as the transaction id does.
        self.lease_serial += 1_000_000;
        let record = LeaseRecord { epoch, node: name(i), n: 0 };
        self.lease = Some((i, record, self.lease_serial));
        self.nodes[i].holds = Some(epoch);
    }

    fn set_config(&mut self, config: ShardConfig) {
        self.config = config;
        self.version += 1;
    }

    fn replicaof(&mut self, i: usize, to: Option<RedisNode>) -> bool {
        if !self.answers(i) {
            return false;
        }
        self.nodes[i].master = false;
        self.nodes[i].of = to.and_then(|to| (0..NODES).find(|j| name(*j) == to.node));
        true
    }

    fn master(&self) -> Option<usize> {
        let serving = self.config.master.as_ref().filter(|_| self.config.serving)?;
        (0..NODES).find(|j| name(*j) == serving.node)
    }

    /// Kills a Redis; it comes back parked and empty with `revive`.
    fn kill(&mut self, i: usize) {
        self.nodes[i].redis_runs = false;
    }

    fn revive(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        if !node.redis_runs {
            node.redis_runs = true;
            node.run += 1;
            (node.master, node.of, node.offset, node.acked_ms) = (false, None, 0, None);
        }
    }

    fn kill_agent(&mut self, i: usize) {
        self.nodes[i].agent_runs = false;
        self.nodes[i].holds = None;
    }

    fn revive_agent(&mut self, i: usize) {
        if !self.nodes[i].agent_runs {
            self.nodes[i].agent_runs = true;
            self.nodes[i].connected_ms = None;
            self.nodes[i].lease_seen = None;
            self.nodes[i].course = Course::new(name(i), Timing::default(), self.now_ms + i as u64);
        }
    }

    fn heal(&mut self) {
        for i in 0..NODES {
            self.revive(i);
            self.revive_agent(i);
            let node = &mut self.nodes[i];
            (node.agent_paused, node.zk_cut, node.redis_paused, node.net_cut) = (false, false, false, false);
        }
    }

    /// Whether the shard is as it should be: one serving master with its lease, all others linked to it.
    fn well(&self) -> bool {
        let Some(m) = self.master() else { return false };
        let followers = (0..NODES).filter(|i| *i != m);
        self.nodes[m].master
            && self.nodes[m].holds == Some(self.config.epoch)
            && self.lease.is_some()
            && followers.into_iter().all(|i| self.nodes[i].linked && self.nodes[i].of == Some(m))
    }

    fn settled() -> World {
        let mut world = World::new(1);
        world.run(2000);
        assert!(world.well(), "{:?} {:?}", world.config, world.notes);
        world
    }

    fn steps_of(&self, epoch: u64) -> Vec<Step> {
        let won = self
            .notes
            .iter()
            .find(|(_, _, step, e)| *step == Step::Elected && *e == epoch)
            .expect("a winner");
        let ends = |step: Step, e: u64| e + 1 == epoch && matches!(step, Step::Suspected | Step::LeaseLost);
        let of = |(_, i, step, e): &&(u64, usize, Step, u64)| *i == won.1 && (*e == epoch || ends(*step, *e));
        self.notes.iter().filter(of).map(|(_, _, step, _)| *step).collect()
    }
}

/// `fenced` is written by the runner, between these.
const WINNING: [Step; 5] = [Step::Suspected, Step::LeaseLost, Step::Proposed, Step::Elected, Step::Promoted];

#[test]
fn the_first_master_is_elected_without_suspicion() {
    let world = World::settled();
    assert_eq!(world.config.epoch, 1);
    let steps: Vec<Step> = world.notes.iter().map(|(_, _, step, _)| *step).collect();
    assert!(!steps.contains(&Step::Suspected), "{steps:?}");
}

#[test]
fn a_quiet_cluster_keeps_its_master() {
    let mut world = World::settled();
    world.run(60_000);
    assert_eq!((world.config.epoch, world.well()), (1, true));
}

#[test]
fn a_killed_master_is_replaced_at_once_and_its_empty_successor_follows() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    let acked = world.acked;
    world.kill(old);
    world.run(300);
    let new = world.master().unwrap();
    assert!(new != old && world.nodes[new].offset >= acked, "{:?}", world.notes);
    assert_eq!(world.steps_of(2), WINNING);
    world.revive(old);
    world.run(2000);
    assert!(world.well() && world.config.epoch == 2);
    for step in [Step::Demoted, Step::Following] {
        assert!(world.notes.iter().any(|(_, i, s, e)| *i == old && *s == step && *e == 2), "{step:?}");
    }
}

#[test]
fn a_master_that_restarts_within_a_blink_is_replaced_although_it_answers() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    world.kill(old);
    world.revive(old);
    world.run(1000);
    let new = world.master().unwrap();
    assert!(new != old && world.nodes[new].offset > world.acked / 2, "{:?}", world.notes);
}

#[test]
fn a_paused_master_is_replaced_after_the_lease_time() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    world.nodes[old].redis_paused = true;
    world.run(390);
    assert_eq!(world.config.epoch, 1);
    world.run(400);
    assert!(world.master().is_some_and(|new| new != old), "{:?}", world.notes);
    world.nodes[old].redis_paused = false;
    world.run(2000);
    assert!(world.well());
}

#[test]
fn an_isolated_master_is_replaced_by_others_and_demoted_after_healing() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    (world.nodes[old].net_cut, world.nodes[old].zk_cut) = (true, true);
    world.run(900);
    let new = world.master().unwrap();
    assert!(new != old && world.nodes[old].master, "the old one cannot know");
    world.heal();
    world.run(3000);
    assert!(world.well() && world.master() == Some(new), "{:?}", world.notes);
}

#[test]
fn a_master_cut_off_from_its_replicas_only_gives_up_its_lease() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    world.nodes[old].net_cut = true;
    world.run(900);
    assert!(world.master().is_some_and(|new| new != old), "{:?}", world.notes);
    let gave_up =
        |(_, i, step, e): &(u64, usize, Step, u64)| *i == old && *step == Step::LeaseLost && *e == 1;
    assert!(world.notes.iter().any(gave_up));
}

#[test]
fn a_replica_cut_off_alone_changes_nothing() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    let replica = (0..NODES).find(|i| *i != master).unwrap();
    (world.nodes[replica].net_cut, world.nodes[replica].zk_cut) = (true, true);
    world.run(5000);
    assert_eq!(world.config.epoch, 1);
    world.nodes[replica].zk_cut = false;
    world.run(5000);
    assert_eq!((world.config.epoch, world.master()), (1, Some(master)));
}

#[test]
fn a_master_whose_replicas_are_all_dead_stays() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    for i in (0..NODES).filter(|i| *i != master) {
        world.kill(i);
    }
    world.run(10_000);
    assert_eq!((world.config.epoch, world.master()), (1, Some(master)));
    world.heal();
    world.run(2000);
    assert!(world.well() && world.config.epoch == 1);
}

#[test]
fn without_zookeeper_nothing_changes() {
    let mut world = World::settled();
    for node in &mut world.nodes {
        node.zk_cut = true;
    }
    world.run(1000);
    let master = world.master().unwrap();
    assert!(world.config.epoch == 1 && world.nodes[master].master);
    world.heal();
    world.run(3000);
    assert!(world.well() && world.config.epoch == 1, "{:?}", world.notes);
}

#[test]
fn an_agent_that_was_stopped_looks_before_it_judges() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    let other = (0..NODES).find(|i| *i != master).unwrap();
    world.nodes[other].agent_paused = true;
    world.run(5000);
    world.nodes[other].agent_paused = false;
    world.run(2000);
    assert_eq!((world.config.epoch, world.well()), (1, true), "{:?}", world.notes);
}

#[test]
fn a_restarted_agent_of_a_healthy_master_carries_on() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    world.kill_agent(master);
    world.run(100);
    world.revive_agent(master);
    world.run(3000);
    assert_eq!((world.config.epoch, world.well()), (1, true), "{:?}", world.notes);
}

#[test]
fn an_empty_redis_does_not_win_against_one_with_data() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    let [first, second] = [0, 1, 2].into_iter().filter(|i| *i != master).collect::<Vec<_>>()[..] else {
        panic!()
    };
    // One replica is empty and cannot copy, the other has data but its agent is slow to come back.
    world.kill(first);
    world.nodes[first].net_cut = true;
    world.revive(first);
    world.nodes[second].agent_paused = true;
    world.kill(master);
    world.run(800);
    world.nodes[second].agent_paused = false;
    world.run(3000);
    assert_eq!(world.master(), Some(second), "{:?}", world.notes);
}

#[test]
fn when_all_have_lost_everything_the_shard_starts_over() {
    let mut world = World::settled();
    for i in 0..NODES {
        world.kill(i);
    }
    world.run(500);
    world.heal();
    world.run(6000);
    assert!(world.well(), "{:?}", world.notes);
}

#[derive(Debug, Clone, Copy)]
enum Harm {
    KillRedis,
    PauseRedis,
    CutNetwork,
    CutZooKeeper,
    Isolate,
    PauseAgent,
    KillAgent,
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        Just(Harm::KillRedis),
        Just(Harm::PauseRedis),
        Just(Harm::CutNetwork),
        Just(Harm::CutZooKeeper),
        Just(Harm::Isolate),
        Just(Harm::PauseAgent),
        Just(Harm::KillAgent),
    ]
}

impl World {
    fn set(&mut self, harm: Harm, i: usize, on: bool) {
        match harm {
            Harm::KillRedis if on => self.kill(i),
            Harm::KillRedis => self.revive(i),
            Harm::PauseRedis => self.nodes[i].redis_paused = on,
            Harm::CutNetwork => self.nodes[i].net_cut = on,
            Harm::CutZooKeeper => self.nodes[i].zk_cut = on,
            Harm::Isolate => (self.nodes[i].net_cut, self.nodes[i].zk_cut) = (on, on),
            Harm::PauseAgent => self.nodes[i].agent_paused = on,
            Harm::KillAgent if on => self.kill_agent(i),
            Harm::KillAgent => self.revive_agent(i),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever happened, once all is healed the shard serves again with every Redis in place.
    #[test]
    fn a_healed_shard_always_recovers(
        seed in 1u64..1000,
        faults in prop::collection::vec((harm(), 0..NODES, 0u64..4000, 50u64..3000), 1..10),
    ) {
        let mut world = World::new(seed);
        world.run(2000);
        let mut edges: Vec<(u64, Harm, usize, bool)> = Vec::new();
        for &(harm, node, from, length) in &faults {
            edges.push((from, harm, node, true));
            edges.push((from + length, harm, node, false));
        }
        edges.sort_by_key(|(at, ..)| *at);
        let mut passed = 0;
        for (at, harm, node, on) in edges {
            world.run(at - passed);
            passed = at - (at - passed) % TICK_MS;
            world.set(harm, node, on);
        }
        world.heal();
        world.run(10_000);
        prop_assert!(world.well(), "{:?} {:?} {:?}", world.config, world.lease, world.notes);
        let epoch = world.config.epoch;
        world.run(5000);
        prop_assert_eq!(world.config.epoch, epoch, "it does not settle: {:?}", world.notes);
    }

    /// One fault at a time, healed before the next: what was acknowledged is never lost.
    #[test]
    fn single_faults_lose_nothing_that_was_acknowledged(
        seed in 1u64..1000,
        faults in prop::collection::vec((harm(), 0..NODES, 50u64..3000), 1..5),
    ) {
        let mut world = World::new(seed);
        world.run(2000);
        for (harm, node, length) in faults {
            world.set(harm, node, true);
            world.run(length);
            world.set(harm, node, false);
            world.run(6000);
            prop_assert!(world.well(), "{:?} {:?}", world.config, world.notes);
            let master = world.master().unwrap();
            prop_assert!(world.nodes[master].offset >= world.acked, "{:?}", world.notes);
        }
    }
}
