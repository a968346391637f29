//! What a server does with a request: one step under the world's lock.

use std::time::Duration;

use rand::RngExt;

use super::bug::FakeBug;
use super::net::{Kind, NodeId, ProcessState};
use super::shard::{Role, ms};
use super::world::{Late, World};
use crate::store::CallError;

/// What a client asks.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Read { key: String },
    Write { key: String, value: String },
    Cas { key: String, expected: String, new: String },
}

impl Request {
    pub fn key(&self) -> &str {
        match self {
            Request::Read { key } | Request::Write { key, .. } | Request::Cas { key, .. } => key,
        }
    }
}

/// What it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Value(Option<String>),
    Written,
    Swapped(bool),
}

/// What a server says, and how long it waits for acknowledgements before it does.
#[derive(Debug)]
pub(super) struct Served {
    pub answer: Result<Answer, CallError>,
    pub after: Duration,
}

impl Served {
    pub fn at_once(answer: Result<Answer, CallError>) -> Self {
        Served { answer, after: Duration::ZERO }
    }
}

/// How long a master waits for acknowledgements that do not come.
const WAIT_TIMEOUT: Duration = Duration::from_millis(100);

impl World {
    /// The shard that owns `key`.
    pub(super) fn shard_of(&self, key: &str) -> usize {
        self.ring.owner(key).expect("there is at least one shard") as usize
    }

    /// Carries out `request` on a running server. Whatever is an error here was either refused or has no
    /// acknowledgement.
    pub(super) fn serve(&mut self, node: NodeId, request: &Request) -> Served {
        let Kind::Replica { shard, index } = self.nodes.get(node).kind else {
            return Served::at_once(Err(CallError::definite("not a server of this shard")));
        };
        if let (Some(FakeBug::StaleRead), Request::Read { key }) = (self.bug, request) {
            let value = self.shards[shard].replicas[index].values.get(key).cloned();
            return Served::at_once(Ok(Answer::Value(value)));
        }
        let Role::Master { epoch } = self.shards[shard].replicas[index].role else {
            return Served::at_once(Err(CallError::definite("not the master")));
        };
        let alone = match self.bug {
            Some(FakeBug::LostWrite) => true,
            Some(FakeBug::SplitBrain) => epoch < self.shards[shard].epoch,
            _ => false,
        };
        let answer = self.execute(shard, index, request);
        if alone {
            return Served::at_once(Ok(answer));
        }
        match self.replicate_to_majority(shard, index) {
            Ok(after) => Served { answer: Ok(answer), after },
            Err(error) => Served { answer: Err(error), after: WAIT_TIMEOUT },
        }
    }

    /// The master's own part: looks, or sets.
    fn execute(&mut self, shard: usize, index: usize, request: &Request) -> Answer {
        let values = &self.shards[shard].replicas[index].values;
        match request {
            Request::Read { key } => {
                let value = values.get(key).cloned();
                Answer::Value(self.distort(shard, index, value))
            }
            Request::Write { key, value } => {
                self.shards[shard].apply(index, key, value);
                Answer::Written
            }
            Request::Cas { key, expected, new } => {
                let swaps = values.get(key) == Some(expected);
                if swaps {
                    self.shards[shard].apply(index, key, new);
                }
                Answer::Swapped(swaps)
            }
        }
    }

    /// Brings as many followers up to date as make a majority with the master, the nearest first; the others
    /// follow in their own time. Reads need it too: it proves that no newer epoch has begun.
    fn replicate_to_majority(&mut self, shard: usize, master: usize) -> Result<Duration, CallError> {
        let wanted = self.shards[shard].majority() - 1;
        let node = self.shards[shard].replicas[master].node;
        let followers = self.shards[shard].followers(master, &self.nodes, &self.links);
        if followers.len() < wanted {
            return Err(CallError::indefinite(format!("wait {} of {wanted}", followers.len())));
        }
        let mut by_time: Vec<(Duration, usize)> = followers
            .into_iter()
            .map(|index| {
                let other = self.shards[shard].replicas[index].node;
                (self.links.round_trip(node, other, &mut self.rng), index)
            })
            .collect();
        by_time.sort();
        let nearest = &by_time[..wanted];
        for &(_, index) in nearest {
            self.shards[shard].replicate(master, index);
        }
        Ok(nearest.last().map_or(Duration::ZERO, |&(after, _)| after))
    }

    /// Serves requests whose clients have gone, where their servers can.
    pub(super) fn serve_late(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let (now_ns, late) = (self.now_ns, std::mem::take(&mut self.late));
        for request in late {
            let node = self.nodes.get(request.node);
            if node.incarnation != request.incarnation || node.server == ProcessState::Dead {
                continue;
            }
            if now_ns < request.due_ns || node.server != ProcessState::Running {
                self.late.push(request);
                continue;
            }
            // Nobody waits for the answer.
            drop(self.serve(request.node, &request.request));
        }
    }

    /// The bug `duplicate-apply`: what was served comes again.
    pub(super) fn duplicate(&mut self, node: NodeId, request: &Request) {
        if self.bug != Some(FakeBug::DuplicateApply)
            || !matches!(request, Request::Write { .. })
            || !self.rng.random_ratio(1, 20)
        {
            return;
        }
        let due_ns = self.now_ns + self.rng.random_range(ms(20)..ms(200));
        let incarnation = self.nodes.get(node).incarnation;
        self.late.push(Late { due_ns, node, incarnation, request: request.clone() });
    }

    /// The bugs `fabricate` and `wrong-key`.
    fn distort(&mut self, shard: usize, index: usize, value: Option<String>) -> Option<String> {
        match (self.bug, value) {
            (Some(FakeBug::Fabricate), Some(value)) if !value.is_empty() && self.rng.random_ratio(1, 100) => {
                let at = self.rng.random_range(0..value.len());
                // Bit 6 turns a digit into a letter: a value no workload writes.
                let flip =
                    |(i, byte): (usize, u8)| char::from(if i == at { byte ^ 0x40 } else { byte & 0x7f });
                Some(value.bytes().enumerate().map(flip).collect())
            }
            (Some(FakeBug::WrongKey), value) if self.rng.random_ratio(1, 100) => {
                let values = &self.shards[shard].replicas[index].values;
                values.values().find(|&other| Some(other) != value.as_ref()).cloned().or(value)
            }
            (_, value) => value,
        }
    }
}
