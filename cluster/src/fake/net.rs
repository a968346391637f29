//! Nodes, and what stands between them: rules on directed links, each counting what it did.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::FakeError;

/// Position of a node among all.
pub(super) type NodeId = usize;

/// What a process of a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// It serves.
    Running,
    /// It was restarted and does not serve yet.
    Starting,
    /// It is stopped and can be continued.
    Paused,
    /// It is gone and can be restarted.
    Dead,
}

impl ProcessState {
    /// One word for people: `running`, `starting`, `stopped` or `dead`.
    pub fn word(self) -> &'static str {
        match self {
            ProcessState::Running => "running",
            ProcessState::Starting => "starting",
            ProcessState::Paused => "stopped",
            ProcessState::Dead => "dead",
        }
    }
}

/// Which process of a node is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The node's own server (or client).
    Server,
    /// The agent beside a shard's server; without it the node renews no lease and proposes nothing.
    Agent,
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Zookeeper,
    Replica { shard: usize, index: usize },
    Client,
}

#[derive(Debug)]
pub(super) struct Node {
    pub name: String,
    pub kind: Kind,
    pub server: ProcessState,
    /// Always dead for a node that has none.
    pub agent: ProcessState,
    /// Grows with every restart of the server: what was sent to an earlier one is gone.
    pub incarnation: u64,
    /// When a starting server will serve, on the world's clock.
    pub ready_ns: u64,
}

/// All nodes, by number and by name.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    list: Vec<Node>,
    by_name: HashMap<String, NodeId>,
}

impl Nodes {
    pub fn add(&mut self, name: String, kind: Kind) -> NodeId {
        let id = self.list.len();
        let agent = match kind {
            Kind::Replica { .. } => ProcessState::Running,
            Kind::Zookeeper | Kind::Client => ProcessState::Dead,
        };
        self.by_name.insert(name.clone(), id);
        self.list.push(Node {
            name,
            kind,
            server: ProcessState::Running,
            agent,
            incarnation: 0,
            ready_ns: 0,
        });
        id
    }

    pub fn find(&self, name: &str) -> Result<NodeId, FakeError> {
        self.by_name.get(name).copied().ok_or_else(|| FakeError::UnknownNode(name.to_owned()))
    }

    pub fn get(&self, id: NodeId) -> &Node {
        &self.list[id]
    }

    pub fn get_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.list[id]
    }

    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.list.iter().enumerate()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.list.iter_mut()
    }

    pub fn server_runs(&self, id: NodeId) -> bool {
        self.list[id].server == ProcessState::Running
    }

    pub fn agent_runs(&self, id: NodeId) -> bool {
        self.list[id].agent == ProcessState::Running
    }
}

/// What a rule does to the messages of its links.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Effect {
    Block,
    Delay { base: Duration, jitter: Duration },
    Loss { probability: f64 },
}

#[derive(Debug)]
struct Rule {
    links: HashSet<(NodeId, NodeId)>,
    effect: Effect,
    messages: u64,
}

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives { after: Duration },
    Dropped,
}

/// The rules in force. Links without a rule carry everything at once.
#[derive(Debug, Default)]
pub(super) struct Links {
    rules: BTreeMap<u64, Rule>,
    next_id: u64,
}

impl Links {
    pub fn install(&mut self, links: HashSet<(NodeId, NodeId)>, effect: Effect) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.rules.insert(id, Rule { links, effect, messages: 0 });
        id
    }

    /// Takes a rule away; how many messages it touched.
    pub fn remove(&mut self, id: u64) -> Option<u64> {
        self.rules.remove(&id).map(|rule| rule.messages)
    }

    pub fn clear(&mut self) {
        self.rules.clear();
    }

    pub fn is_clear(&self) -> bool {
        self.rules.is_empty()
    }

    pub fn messages(&self, id: u64) -> Option<u64> {
        self.rules.get(&id).map(|rule| rule.messages)
    }

    /// Could a message pass from `from` to `to` at all? Counts nothing.
    pub fn open(&self, from: NodeId, to: NodeId) -> bool {
        self.rules.is_empty()
            || !self
                .rules
                .values()
                .any(|rule| rule.effect == Effect::Block && rule.links.contains(&(from, to)))
    }

    /// Open in both directions.
    pub fn connected(&self, a: NodeId, b: NodeId) -> bool {
        a == b || self.open(a, b) && self.open(b, a)
    }

    /// Sends one message, counted by every rule it meets up to the one that drops it.
    pub fn send(&mut self, from: NodeId, to: NodeId, rng: &mut ChaCha8Rng) -> Fate {
        let mut after = Duration::ZERO;
        for rule in self.rules.values_mut().filter(|rule| rule.links.contains(&(from, to))) {
            match rule.effect {
                Effect::Block => {
                    rule.messages += 1;
                    return Fate::Dropped;
                }
                Effect::Loss { probability } => {
                    if rng.random_bool(probability.clamp(0.0, 1.0)) {
                        rule.messages += 1;
                        return Fate::Dropped;
                    }
                }
                Effect::Delay { base, jitter } => {
                    rule.messages += 1;
                    after += base + jitter.mul_f64(rng.random_range(0.0..=1.0));
                }
            }
        }
        Fate::Arrives { after }
    }

    /// Sends a message and its answer over links that are open; how long that takes, sending again included.
    pub fn round_trip(&mut self, a: NodeId, b: NodeId, rng: &mut ChaCha8Rng) -> Duration {
        let mut total = Duration::ZERO;
        for (from, to) in [(a, b), (b, a)] {
            for attempt in 0..RETRANSMISSIONS_MAX {
                match self.send(from, to, rng) {
                    Fate::Arrives { after } => {
                        total += after;
                        break;
                    }
                    Fate::Dropped => total += retransmit_after(attempt),
                }
            }
        }
        total
    }
}

const RETRANSMISSIONS_MAX: u32 = 8;

/// How long a sender waits before it sends again: doubling from 50 ms up to 400 ms.
pub(super) fn retransmit_after(attempt: u32) -> Duration {
    Duration::from_millis(50 << attempt.min(3))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_block_is_one_way_and_counts_what_it_drops_until_it_is_removed() {
        let (mut links, mut rng) = (Links::default(), ChaCha8Rng::seed_from_u64(1));
        let id = links.install([(0, 1)].into(), Effect::Block);
        assert!(!links.open(0, 1) && links.open(1, 0) && !links.connected(0, 1));
        assert_eq!(links.send(0, 1, &mut rng), Fate::Dropped);
        assert_eq!(links.send(1, 0, &mut rng), Fate::Arrives { after: Duration::ZERO });
        assert_eq!(links.messages(id), Some(1));
        assert_eq!(links.remove(id), Some(1));
        assert!(links.connected(0, 1));
        assert_eq!(links.remove(id), None);
    }

    #[test]
    fn delays_add_up_and_losses_keep_their_share() {
        let (mut links, mut rng) = (Links::default(), ChaCha8Rng::seed_from_u64(1));
        let ms = Duration::from_millis;
        links.install([(0, 1)].into(), Effect::Delay { base: ms(10), jitter: ms(5) });
        links.install([(0, 1)].into(), Effect::Delay { base: ms(20), jitter: ms(0) });
        let Fate::Arrives { after } = links.send(0, 1, &mut rng) else { panic!("nothing drops it") };
        assert!((ms(30)..=ms(35)).contains(&after), "{after:?}");
        let loss = links.install([(2, 3)].into(), Effect::Loss { probability: 0.25 });
        let lost = (0..4000).filter(|_| links.send(2, 3, &mut rng) == Fate::Dropped).count();
        assert!((850..1150).contains(&lost), "{lost} of 4000 lost");
        assert_eq!(links.messages(loss), Some(lost as u64));
    }
}
