//! One shard's data: what each server holds, and how the master's log reaches the others.
//!
//! A position is `(term, count)`: the epoch of the master whose log the data was last taken from, and the
//! number of entries in it. Whoever holds the greatest position of a majority holds every acknowledged write.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::datum::{self, Datum};
use super::net::{Links, NodeId, Nodes};
use crate::store::{Answer, CallError, Command};

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
    pub data: HashMap<String, Option<Datum>>,
    /// When it next takes what the master has, if it was not needed for an acknowledgement before.
    pub next_pull_ns: u64,
    /// Since when it has been a master that was deposed.
    pub deposed_ns: Option<u64>,
}

impl Replica {
    /// Carries out `command` on this server's own data.
    pub fn apply(&mut self, key: &str, command: &Command) -> Result<Answer, CallError> {
        match self.data.get_mut(key) {
            Some(datum) => datum::apply(datum, command),
            None if command.is_read() => datum::apply(&mut None, command),
            None => datum::apply(self.data.entry(key.to_owned()).or_default(), command),
        }
    }
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
    /// Changes of `epoch`, key and command, the newest last.
    backlog: VecDeque<(String, Command)>,
}

impl Shard {
    pub fn new(id: u32, nodes: &[NodeId]) -> Self {
        let replica = |&node| Replica {
            node,
            role: Role::Replica { following: None },
            position: Position { term: 0, count: 0 },
            data: HashMap::new(),
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

    /// Carries out `command` on a master, and nowhere else yet. What changes something goes into the log.
    pub fn apply(&mut self, master: usize, key: &str, command: &Command) -> Result<Answer, CallError> {
        let replica = &mut self.replicas[master];
        let answer = replica.apply(key, command)?;
        if command.may_have_changed(&answer) {
            replica.position.count += 1;
            if replica.role == (Role::Master { epoch: self.epoch }) {
                self.backlog.push_back((key.to_owned(), command.clone()));
                if self.backlog.len() > BACKLOG_MAX {
                    self.backlog.pop_front();
                }
            }
        }
        Ok(answer)
    }

    /// Gives `to` all that `from` has: the missing entries if the backlog reaches that far, else a copy.
    pub fn replicate(&mut self, from: usize, to: usize) {
        let (ahead, behind) = (self.replicas[from].position, self.replicas[to].position);
        let missing = ahead.count.checked_sub(behind.count).map(|missing| missing as usize);
        match missing {
            Some(missing) if ahead.term == behind.term && self.backlog_reaches(from, missing) => {
                let replica = &mut self.replicas[to];
                for (key, command) in self.backlog.range(self.backlog.len() - missing..) {
                    // What the master could do, a copy of its data at that point can: it was not refused.
                    let _ = replica.apply(key, command);
                }
            }
            _ => self.replicas[to].data = self.replicas[from].data.clone(),
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

    fn set(shard: &mut Shard, master: usize, key: &str, value: &str) {
        shard.apply(master, key, &Command::Set(value.into())).unwrap();
    }

    #[test]
    fn a_follower_that_lags_gets_exactly_what_it_misses_and_one_too_far_behind_a_copy() {
        let mut shard = shard();
        for n in 0..10 {
            set(&mut shard, 0, "a", &n.to_string());
            shard.apply(0, "list", &Command::Append(n.to_string())).unwrap();
            shard.apply(0, "count", &Command::Add(n)).unwrap();
        }
        shard.replicate(0, 1);
        assert_eq!(shard.replicas[1].position, Position { term: 1, count: 30 });
        assert_eq!(shard.replicas[1].data, shard.replicas[0].data);
        assert_eq!(shard.replicas[1].apply("count", &Command::Count), Ok(Answer::Number(45)));
        for n in 0..2 * BACKLOG_MAX {
            set(&mut shard, 0, &format!("b{n}"), "1");
        }
        shard.replicate(0, 1);
        assert_eq!(shard.replicas[1].data, shard.replicas[0].data);
    }

    #[test]
    fn what_changed_nothing_is_not_replicated() {
        let mut shard = shard();
        let cas = Command::Cas { expected: "a".into(), new: "b".into() };
        for command in [Command::Get, Command::Dequeue, cas] {
            shard.apply(0, command.name(), &command).unwrap();
        }
        set(&mut shard, 0, "k", "text");
        assert!(shard.apply(0, "k", &Command::Add(1)).is_err());
        assert_eq!(shard.replicas[0].position.count, 1);
    }

    #[test]
    fn a_server_with_a_tail_of_its_own_loses_it_when_it_follows() {
        let mut shard = shard();
        set(&mut shard, 0, "a", "old");
        shard.replicate(0, 1);
        shard.epoch = 2;
        shard.promote(1, 0);
        for (tail, news) in [(2, 1), (1, 3)] {
            (0..tail).for_each(|_| set(&mut shard, 0, "b", "tail"));
            (0..news).for_each(|_| set(&mut shard, 1, "a", "new"));
            shard.attach(0, 1);
            let new = Some(Datum::Register("new".into()));
            assert_eq!(shard.replicas[0].data, HashMap::from([("a".into(), new)]));
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
