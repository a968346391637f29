//! What a server does with a request: one step under the world's lock.

use std::time::Duration;

use rand::RngExt;

use super::bug::FakeBug;
use super::datum::{self, Datum};
use super::net::{Kind, NodeId, ProcessState};
use super::shard::{Role, ms};
use super::world::{Late, World};
use crate::store::{Answer, CallError, Command};

/// What a client asks.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub key: String,
    pub command: Command,
    /// May a replica answer it?
    pub at_replica: bool,
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
        if self.bug == Some(FakeBug::StaleRead) && request.command.is_read() {
            let replica = &mut self.shards[shard].replicas[index];
            return Served::at_once(replica.apply(&request.key, &request.command));
        }
        if request.at_replica && self.is_linked(shard, index) {
            let answer = self.shards[shard].replicas[index].apply(&request.key, &request.command);
            return Served::at_once(answer.map(|answer| self.distort(shard, index, request, answer)));
        }
        let Role::Master { epoch } = self.shards[shard].replicas[index].role else {
            return Served::at_once(Err(CallError::definite("not the master")));
        };
        let alone = match self.bug {
            Some(FakeBug::LostWrite) => true,
            Some(FakeBug::SplitBrain) => epoch < self.shards[shard].epoch,
            _ => false,
        };
        let answer = match self.shards[shard].apply(index, &request.key, &request.command) {
            Ok(answer) => self.distort(shard, index, request, answer),
            Err(error) => return Served::at_once(Err(error)),
        };
        if alone {
            return Served::at_once(Ok(answer));
        }
        match self.replicate_to_majority(shard, index) {
            Ok(after) => Served { answer: Ok(answer), after },
            // What changed nothing had no effect, with or without a majority.
            Err(error) => {
                let definite = !request.command.may_have_changed(&answer);
                Served { answer: Err(CallError { definite, ..error }), after: WAIT_TIMEOUT }
            }
        }
    }

    /// Does it follow the master of the present epoch, with that in reach?
    fn is_linked(&self, shard: usize, index: usize) -> bool {
        let state = &self.shards[shard];
        state.master.is_some_and(|master| {
            self.nodes.server_runs(state.replicas[master].node)
                && state.followers(master, &self.nodes, &self.links).contains(&index)
        })
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
            || request.command.is_read()
            || !self.rng.random_ratio(1, 20)
        {
            return;
        }
        let due_ns = self.now_ns + self.rng.random_range(ms(20)..ms(200));
        let incarnation = self.nodes.get(node).incarnation;
        self.late.push(Late { due_ns, node, incarnation, request: request.clone() });
    }

    /// The bugs `fabricate` and `wrong-key`.
    fn distort(&mut self, shard: usize, index: usize, request: &Request, answer: Answer) -> Answer {
        match self.bug {
            Some(FakeBug::Fabricate) if self.rng.random_ratio(1, 100) => self.fabricate(answer),
            Some(FakeBug::WrongKey) if request.command.is_read() && self.rng.random_ratio(1, 100) => {
                let data = &self.shards[shard].replicas[index].data;
                let others = data.iter().filter(|(key, datum)| **key != request.key && datum.is_some());
                let theirs =
                    |(_, datum): (_, &Option<Datum>)| datum::apply(&mut datum.clone(), &request.command);
                others.filter_map(|other| theirs(other).ok()).find(|other| *other != answer).unwrap_or(answer)
            }
            _ => answer,
        }
    }

    /// The answer with one bit flipped, if there is any data in it.
    fn fabricate(&mut self, answer: Answer) -> Answer {
        match answer {
            Answer::Value(Some(value)) => Answer::Value(Some(self.flip(&value))),
            Answer::Items(mut items) if !items.is_empty() => {
                let at = self.rng.random_range(0..items.len());
                items[at] = self.flip(&items[at]);
                Answer::Items(items)
            }
            Answer::Number(number) => Answer::Number(number ^ 1 << self.rng.random_range(0..16)),
            Answer::Balances(mut balances) if !balances.is_empty() => {
                let at = self.rng.random_range(0..balances.len());
                if let Some(balance) = balances.values_mut().nth(at) {
                    *balance ^= 1 << self.rng.random_range(0..16);
                }
                Answer::Balances(balances)
            }
            other => other,
        }
    }

    fn flip(&mut self, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        let at = self.rng.random_range(0..text.len());
        // Bit 6 turns a digit into a letter: a value no workload writes.
        let flip = |(i, byte): (usize, u8)| char::from(if i == at { byte ^ 0x40 } else { byte & 0x7f });
        text.bytes().enumerate().map(flip).collect()
    }
}
