//! One shard's data: what each server holds, and how the master's log reaches the others.
//!
//! A position is `(term, count)`: the epoch of the master whose log the data was last taken from, and the
//! number of entries in it. Whoever holds the greatest position of a majority holds every acknowledged write.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::net::{Links, NodeId, Nodes};

/// Entries of the current epoch kept for followers that lag; who lags more takes a whole copy.
const BACKLOG_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Believes to be master of this epoch.
    Master { epoch: u64 },
    /// Follows the master of this epoch; none while it waits for the next one.
    Replica { following: Option<u64> },
}

/// How far a server's data goes, comparable within a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub term: u64,
    pub count: u64,
}

#[derive(Debug)]
pub(super) struct Replica {
    pub node: NodeId,
    pub role: Role,
    pub position: Position,
    pub values: HashMap<String, String>,
    /// When it next takes what the master has, if it was not needed for an acknowledgement before.
    pub next_pull_ns: u64,
    /// Since when it has been a master that was deposed.
    pub deposed_ns: Option<u64>,
}

/// Where an election stands. Times are those of the world's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Stable,
    Suspected { by: usize },
    Vacant { at_ns: u64 },
    Proposed { at_ns: u64 },
    Elected { winner: usize, at_ns: u64 },
    Fenced { winner: usize, at_ns: u64 },
}

#[derive(Debug)]
pub(super) struct Shard {
    pub id: u32,
    pub replicas: Vec<Replica>,
    /// Last epoch that was won.
    pub epoch: u64,
    /// Master of that epoch, as published.
    pub master: Option<usize>,
    pub phase: Phase,
    /// When the master was last seen to hold its lease with all it needs.
    pub good_ns: u64,
    /// How long a lease outlives that.
    pub lease_ns: u64,
    /// Entries of `epoch`, the newest last.
    backlog: VecDeque<(String, String)>,
}

impl Shard {
    pub fn new(id: u32, nodes: &[NodeId]) -> Self {
        let replica = |&node| Replica {
            node,
            role: Role::Replica { following: None },
            position: Position { term: 0, count: 0 },
            values: HashMap::new(),
            next_pull_ns: 0,
            deposed_ns: None,
        };
        Shard {
            id,
            replicas: nodes.iter().map(replica).collect(),
            epoch: 0,
            master: None,
            phase: Phase::Vacant { at_ns: 0 },
            good_ns: 0,
            lease_ns: 0,
            backlog: VecDeque::new(),
        }
    }

    pub fn majority(&self) -> usize {
        self.replicas.len() / 2 + 1
    }

    /// The servers that follow master `master` and can be reached by it and answer, itself not counted.
    pub fn followers(&self, master: usize, nodes: &Nodes, links: &Links) -> Vec<usize> {
        let Role::Master { epoch } = self.replicas[master].role else { return Vec::new() };
        let node = self.replicas[master].node;
        (0..self.replicas.len())
            .filter(|&other| {
                let replica = &self.replicas[other];
                replica.role == Role::Replica { following: Some(epoch) }
                    && nodes.server_runs(replica.node)
                    && links.connected(node, replica.node)
            })
            .collect()
    }

    /// Sets a key on a master, and nowhere else yet.
    pub fn apply(&mut self, master: usize, key: &str, value: &str) {
        let replica = &mut self.replicas[master];
        replica.values.insert(key.to_owned(), value.to_owned());
        replica.position.count += 1;
        if replica.role == (Role::Master { epoch: self.epoch }) {
            self.backlog.push_back((key.to_owned(), value.to_owned()));
            if self.backlog.len() > BACKLOG_MAX {
                self.backlog.pop_front();
            }
        }
    }

    /// Gives `to` all that `from` has: the missing entries if the backlog reaches that far, else a copy.
    pub fn replicate(&mut self, from: usize, to: usize) {
        let (ahead, behind) = (self.replicas[from].position, self.replicas[to].position);
        let missing = ahead.count.checked_sub(behind.count).map(|missing| missing as usize);
        match missing {
            Some(missing) if ahead.term == behind.term && self.backlog_reaches(from, missing) => {
                let replica = &mut self.replicas[to];
                for (key, value) in self.backlog.range(self.backlog.len() - missing..) {
                    replica.values.insert(key.clone(), value.clone());
                }
            }
            _ => self.replicas[to].values = self.replicas[from].values.clone(),
        }
        self.replicas[to].position = ahead;
    }

    fn backlog_reaches(&self, from: usize, missing: usize) -> bool {
        self.replicas[from].role == (Role::Master { epoch: self.epoch }) && missing <= self.backlog.len()
    }

    /// Makes `winner` master of the epoch it won. Its log begins anew.
    pub fn promote(&mut self, winner: usize, now_ns: u64) {
        let replica = &mut self.replicas[winner];
        replica.role = Role::Master { epoch: self.epoch };
        replica.position.term = self.epoch;
        replica.deposed_ns = None;
        self.backlog.clear();
        self.master = Some(winner);
        self.phase = Phase::Stable;
        self.good_ns = now_ns;
    }

    /// Makes `follower` a replica of the present master, with all its data.
    pub fn attach(&mut self, follower: usize, master: usize) {
        self.replicate(master, follower);
        self.replicas[follower].role = Role::Replica { following: Some(self.epoch) };
    }
}

pub(super) const fn ms(milliseconds: u64) -> u64 {
    Duration::from_millis(milliseconds).as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard() -> Shard {
        let mut shard = Shard::new(0, &[0, 1, 2]);
        shard.epoch = 1;
        shard.promote(0, 0);
        shard.attach(1, 0);
        shard
    }

    #[test]
    fn a_follower_that_lags_gets_exactly_what_it_misses_and_one_too_far_behind_a_copy() {
        let mut shard = shard();
        for n in 0..10 {
            shard.apply(0, "a", &n.to_string());
        }
        shard.replicate(0, 1);
        assert_eq!(shard.replicas[1].position, Position { term: 1, count: 10 });
        assert_eq!(shard.replicas[1].values["a"], "9");
        for n in 0..2 * BACKLOG_MAX {
            shard.apply(0, &format!("b{n}"), "1");
        }
        shard.replicate(0, 1);
        assert_eq!(shard.replicas[1].values, shard.replicas[0].values);
    }

    #[test]
    fn a_server_with_a_tail_of_its_own_loses_it_when_it_follows() {
        let mut shard = shard();
        shard.apply(0, "a", "old");
        shard.replicate(0, 1);
        shard.epoch = 2;
        shard.promote(1, 0);
        for (tail, news) in [(2, 1), (1, 3)] {
            (0..tail).for_each(|_| shard.apply(0, "b", "tail"));
            (0..news).for_each(|_| shard.apply(1, "a", "new"));
            shard.attach(0, 1);
            assert_eq!(shard.replicas[0].values, HashMap::from([("a".into(), "new".into())]));
            assert_eq!(shard.replicas[0].position, shard.replicas[1].position);
            shard.replicas[0].role = Role::Master { epoch: 1 };
            shard.replicas[0].position = Position { term: 1, count: 1 };
        }
    }

    #[test]
    fn a_newer_term_beats_a_longer_log() {
        assert!(Position { term: 2, count: 1 } > Position { term: 1, count: 9 });
    }
}
