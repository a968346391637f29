//! How a shard comes to a new master, step by step, each with its event.
//!
//! ```text
//! stable → suspected → (lease lost) vacant → proposed → elected → fenced → (promoted) stable
//!    ↑_________|                      ↑_________|_________|_________| the winner lost its majority
//! ```
//!
//! Safe without clocks: at `elected` a majority leaves the old epoch, and nothing is acknowledged or read
//! without a majority that follows; the winner takes over the newest data of those who left.

use rand::RngExt;

use super::bug::FakeBug;
use super::shard::{Phase, Role, ms};
use super::world::World;
use crate::event::Step;

/// How long a master may be missing before anyone suspects it.
const SUSPECT_NS: u64 = ms(100);
/// How long after a failed attempt the next one begins.
const RETRY_NS: u64 = ms(20);

impl World {
    /// Takes the shard's election as far as the time allows.
    pub(super) fn step_election(&mut self, shard: usize) {
        let now_ns = self.now_ns;
        match self.shards[shard].phase.clone() {
            Phase::Stable => self.watch(shard),
            Phase::Suspected { by } => self.suspect(shard, by),
            Phase::Vacant { at_ns } if now_ns >= at_ns => self.propose(shard),
            Phase::Proposed { at_ns } if now_ns >= at_ns => self.elect(shard),
            Phase::Elected { winner, at_ns } if now_ns >= at_ns => self.fence(shard, winner),
            Phase::Fenced { winner, at_ns } if now_ns >= at_ns => self.promote(shard, winner),
            Phase::Vacant { .. } | Phase::Proposed { .. } | Phase::Elected { .. } | Phase::Fenced { .. } => {}
        }
    }

    /// None while all is well with the master, else what is not. Renews the lease.
    fn trouble(&mut self, shard: usize) -> Option<&'static str> {
        let state = &self.shards[shard];
        let master = state.master?;
        let node = state.replicas[master].node;
        let trouble = if !self.nodes.server_runs(node) {
            Some("the server does not answer")
        } else if state.replicas[master].role != (Role::Master { epoch: state.epoch }) {
            Some("the server is no master")
        } else if !self.nodes.agent_runs(node) {
            Some("the agent does not renew the lease")
        } else if !self.zookeeper.serves(node, &self.nodes, &self.links) {
            Some("the lease is not renewed: no ZooKeeper in reach")
        } else if 1 + state.followers(master, &self.nodes, &self.links).len() < state.majority() {
            Some("no majority follows")
        } else {
            None
        };
        if trouble.is_none() {
            self.shards[shard].good_ns = self.now_ns;
        }
        trouble
    }

    fn watch(&mut self, shard: usize) {
        let Some(trouble) = self.trouble(shard) else { return };
        if self.now_ns < self.shards[shard].good_ns + SUSPECT_NS {
            return;
        }
        let Some(by) = self.observer(shard) else { return };
        let epoch = self.shards[shard].epoch;
        let jitter_ns = self.rng.random_range(0..=self.lease_ns / 3);
        self.shards[shard].lease_ns = self.lease_ns + jitter_ns;
        self.shards[shard].phase = Phase::Suspected { by };
        self.emit(shard, by, Step::Suspected, epoch, trouble);
    }

    fn suspect(&mut self, shard: usize, by: usize) {
        let Some(trouble) = self.trouble(shard) else {
            self.shards[shard].phase = Phase::Stable;
            return;
        };
        let state = &self.shards[shard];
        if self.now_ns < state.good_ns + state.lease_ns {
            return;
        }
        let by = if self.agent_serves(shard, by) { Some(by) } else { self.observer(shard) };
        let Some(by) = by else { return };
        let epoch = self.shards[shard].epoch;
        self.shards[shard].master = None;
        self.shards[shard].phase = Phase::Vacant { at_ns: self.soon() };
        self.emit(shard, by, Step::LeaseLost, epoch, trouble);
    }

    /// Whose agent sees what becomes of the master: another's if there is one.
    fn observer(&self, shard: usize) -> Option<usize> {
        let master = self.shards[shard].master;
        let members = self.members(shard);
        members.iter().copied().find(|&index| Some(index) != master).or(members.first().copied())
    }

    /// Servers that can take part in an election.
    fn members(&self, shard: usize) -> Vec<usize> {
        (0..self.shards[shard].replicas.len()).filter(|&index| self.agent_serves(shard, index)).collect()
    }

    /// The members that `candidate` reaches, itself included, if they are a majority.
    fn quorum(&self, shard: usize, candidate: usize) -> Option<Vec<usize>> {
        let state = &self.shards[shard];
        let members = self.members(shard);
        if !members.contains(&candidate) {
            return None;
        }
        let node = |index: usize| state.replicas[index].node;
        let quorum: Vec<usize> =
            members.into_iter().filter(|&other| self.links.connected(node(candidate), node(other))).collect();
        (quorum.len() >= state.majority()).then_some(quorum)
    }

    fn propose(&mut self, shard: usize) {
        let members = self.members(shard);
        if !members.iter().any(|&index| self.quorum(shard, index).is_some()) {
            self.retry(shard);
            return;
        }
        let epoch = self.shards[shard].epoch + 1;
        for index in members {
            let count = self.shards[shard].replicas[index].position.count;
            self.emit(shard, index, Step::Proposed, epoch, format!("offset {count}"));
        }
        self.shards[shard].phase = Phase::Proposed { at_ns: self.soon() };
    }

    /// The candidate with the greatest position wins; a majority leaves the old epoch in the same instant.
    fn elect(&mut self, shard: usize) {
        let candidates: Vec<(usize, Vec<usize>)> = self
            .members(shard)
            .into_iter()
            .filter_map(|candidate| Some((candidate, self.quorum(shard, candidate)?)))
            .collect();
        let position = |index: usize| self.shards[shard].replicas[index].position;
        let best = candidates.iter().max_by_key(|(candidate, _)| position(*candidate));
        let worst = candidates.iter().min_by_key(|(candidate, _)| position(*candidate));
        let forgets = self.bug == Some(FakeBug::ForgetOnFailover);
        let Some((winner, quorum)) = if forgets { worst } else { best }.cloned() else {
            self.retry(shard);
            return;
        };
        let newest = quorum.iter().copied().max_by_key(|&index| position(index)).unwrap_or(winner);
        if !forgets && position(newest) > position(winner) {
            self.shards[shard].replicate(newest, winner);
        }
        self.shards[shard].epoch += 1;
        let epoch = self.shards[shard].epoch;
        let voters = quorum.len();
        self.emit(shard, winner, Step::Elected, epoch, format!("{voters} of {} votes", self.size(shard)));
        for index in quorum {
            self.leave_epoch(shard, index, epoch);
        }
        self.shards[shard].phase = Phase::Elected { winner, at_ns: self.soon() };
    }

    fn leave_epoch(&mut self, shard: usize, index: usize, epoch: u64) {
        let was_master = matches!(self.shards[shard].replicas[index].role, Role::Master { .. });
        if was_master && self.bug == Some(FakeBug::SplitBrain) {
            return;
        }
        self.shards[shard].replicas[index].role = Role::Replica { following: None };
        if was_master {
            self.emit_if_agent(shard, index, Step::Demoted, epoch, "voted for the newer epoch");
        }
    }

    /// Tells whoever still believes to be master to step down. Safety does not depend on it.
    fn fence(&mut self, shard: usize, winner: usize) {
        if self.quorum(shard, winner).is_none() {
            self.retry(shard);
            return;
        }
        let epoch = self.shards[shard].epoch;
        let mut told = Vec::new();
        for index in 0..self.size(shard) {
            let replica = &self.shards[shard].replicas[index];
            if index == winner || !matches!(replica.role, Role::Master { .. }) {
                continue;
            }
            let (node, name) = (replica.node, self.nodes.get(replica.node).name.clone());
            let winner_node = self.shards[shard].replicas[winner].node;
            let reached = self.nodes.server_runs(node) && self.links.connected(winner_node, node);
            if self.bug == Some(FakeBug::SplitBrain) || !reached {
                told.push(format!("{name} could not be told"));
                continue;
            }
            self.shards[shard].replicas[index].role = Role::Replica { following: None };
            self.emit_if_agent(shard, index, Step::Demoted, epoch, "told to step down");
            told.push(format!("{name} stepped down"));
        }
        let detail = if told.is_empty() { "no other master left".to_owned() } else { told.join(", ") };
        self.emit(shard, winner, Step::Fenced, epoch, detail);
        self.shards[shard].phase = Phase::Fenced { winner, at_ns: self.soon() };
    }

    /// The winner serves once a majority, itself included, has all it has.
    fn promote(&mut self, shard: usize, winner: usize) {
        let Some(quorum) = self.quorum(shard, winner) else {
            self.retry(shard);
            return;
        };
        let now_ns = self.now_ns;
        self.shards[shard].promote(winner, now_ns);
        let epoch = self.shards[shard].epoch;
        let count = self.shards[shard].replicas[winner].position.count;
        self.emit(shard, winner, Step::Promoted, epoch, format!("offset {count}"));
        let master = self.nodes.get(self.shards[shard].replicas[winner].node).name.clone();
        for index in quorum.into_iter().filter(|&index| index != winner) {
            // With the bug `split-brain` the old master may be among them, and stays what it was.
            if matches!(self.shards[shard].replicas[index].role, Role::Replica { .. }) {
                self.shards[shard].attach(index, winner);
                self.emit(shard, index, Step::Following, epoch, format!("master {master}"));
            }
        }
    }

    fn retry(&mut self, shard: usize) {
        self.shards[shard].phase = Phase::Vacant { at_ns: self.now_ns + RETRY_NS };
    }

    /// A small while from now: what a step costs in round trips.
    fn soon(&mut self) -> u64 {
        self.now_ns + self.rng.random_range(ms(5)..ms(25))
    }

    fn size(&self, shard: usize) -> usize {
        self.shards[shard].replicas.len()
    }
}
