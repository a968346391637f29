//! The fake ensemble: there is a leader while a majority of servers runs and is connected to one of them.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::net::{Links, NodeId, Nodes};

#[derive(Debug)]
pub(super) struct Zookeeper {
    pub servers: Vec<NodeId>,
    pub leader: Option<NodeId>,
    /// When the election that is under way ends.
    elected_ns: Option<u64>,
}

impl Zookeeper {
    /// The last server leads at first, as the highest number does in a fresh ensemble.
    pub fn new(servers: Vec<NodeId>) -> Self {
        Zookeeper { leader: servers.last().copied(), servers, elected_ns: None }
    }

    /// Lets time pass. True when a new leader has just taken over.
    pub fn tick(&mut self, now_ns: u64, nodes: &Nodes, links: &Links, rng: &mut ChaCha8Rng) -> bool {
        if self.leader.is_some_and(|leader| self.can_lead(leader, nodes, links)) {
            return false;
        }
        self.leader = None;
        let candidate =
            self.servers.iter().rev().copied().find(|&server| self.can_lead(server, nodes, links));
        let Some(candidate) = candidate else {
            self.elected_ns = None;
            return false;
        };
        let due_ns = *self.elected_ns.get_or_insert_with(|| now_ns + rng.random_range(ELECTION_NS));
        if now_ns < due_ns {
            return false;
        }
        self.leader = Some(candidate);
        self.elected_ns = None;
        true
    }

    /// Can `node` read and write through some server that the leader knows?
    pub fn serves(&self, node: NodeId, nodes: &Nodes, links: &Links) -> bool {
        self.leader.is_some_and(|leader| {
            self.servers.iter().any(|&server| {
                nodes.server_runs(server) && links.connected(server, leader) && links.connected(node, server)
            })
        })
    }

    fn can_lead(&self, server: NodeId, nodes: &Nodes, links: &Links) -> bool {
        let followers = self
            .servers
            .iter()
            .filter(|&&other| nodes.server_runs(other) && links.connected(server, other))
            .count();
        nodes.server_runs(server) && 2 * followers > self.servers.len()
    }
}

const ELECTION_NS: std::ops::Range<u64> =
    Duration::from_millis(150).as_nanos() as u64..Duration::from_millis(350).as_nanos() as u64;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::super::net::{Effect, Kind, ProcessState};
    use super::*;

    #[test]
    fn the_ensemble_serves_whoever_reaches_the_majority_and_replaces_a_lost_leader() {
        let (mut nodes, mut links, mut rng) =
            (Nodes::default(), Links::default(), ChaCha8Rng::seed_from_u64(1));
        let servers: Vec<NodeId> = (1..=3).map(|n| nodes.add(format!("zk{n}"), Kind::Zookeeper)).collect();
        let client = nodes.add("c0".into(), Kind::Client);
        let mut zookeeper = Zookeeper::new(servers);
        assert_eq!(zookeeper.leader, Some(2));
        assert!(zookeeper.serves(client, &nodes, &links));

        nodes.get_mut(2).server = ProcessState::Dead;
        assert!(!zookeeper.tick(0, &nodes, &links, &mut rng));
        assert!(!zookeeper.serves(client, &nodes, &links));
        assert!(zookeeper.tick(1_000_000_000, &nodes, &links, &mut rng));
        assert_eq!(zookeeper.leader, Some(1));

        // Connected to the minority only.
        nodes.get_mut(2).server = ProcessState::Running;
        links.install([(0, 2), (2, 0), (1, 2), (2, 1), (client, 0), (client, 1)].into(), Effect::Block);
        assert!(!zookeeper.tick(2_000_000_000, &nodes, &links, &mut rng));
        assert!(!zookeeper.serves(client, &nodes, &links));

        nodes.get_mut(0).server = ProcessState::Paused;
        assert!(!zookeeper.tick(3_000_000_000, &nodes, &links, &mut rng));
        assert!(!zookeeper.tick(9_000_000_000, &nodes, &links, &mut rng));
        assert_eq!(zookeeper.leader, None);
    }
}
