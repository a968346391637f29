//! Symbolic targets: who is meant, resolved when the window opens.

mod intern;
mod resolve;
mod words;

use crate::arena::Part;

pub use resolve::{Resolved, resolve, resolve_at};
pub use words::FORMS;

/// Whom a fault is meant for. Written as people say it: `master of shard 0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// The node that is master of a shard when the fault strikes.
    Master {
        /// Shard, from 0.
        shard: usize,
    },
    /// One of a shard's replicas.
    Replica {
        /// Shard, from 0.
        shard: usize,
    },
    /// One replica, always the same while the master is: the first by name.
    FirstReplica {
        /// Shard, from 0.
        shard: usize,
    },
    /// Another one than the first.
    SecondReplica {
        /// Shard, from 0.
        shard: usize,
    },
    /// Every replica of a shard.
    Replicas {
        /// Shard, from 0.
        shard: usize,
    },
    /// The agent beside a shard's master.
    Agent {
        /// Shard, from 0.
        shard: usize,
    },
    /// The Redis and the agent of a shard's master, together.
    MasterNode {
        /// Shard, from 0.
        shard: usize,
    },
    /// The Redis and the agent of the first replica, together.
    FirstReplicaNode {
        /// Shard, from 0.
        shard: usize,
    },
    /// Every Redis and every agent of a shard: what a power cut takes.
    Shard {
        /// Shard, from 0.
        shard: usize,
    },
    /// Every Redis of every shard.
    AllRedis,
    /// Every agent of every shard.
    AllAgents,
    /// The ZooKeeper server that leads.
    ZooKeeperLeader,
    /// A ZooKeeper server that does not lead.
    ZooKeeperFollower,
    /// As many ZooKeeper servers as leave a majority.
    ZooKeeperMinority,
    /// Every ZooKeeper server.
    ZooKeeperEnsemble,
    /// One client node.
    Client,
    /// All that runs on the node of this name.
    Node {
        /// Its name.
        name: &'static str,
    },
    /// One process of the node of this name.
    Process {
        /// Which.
        part: Part,
        /// The node's name.
        node: &'static str,
    },
    /// Whom another window of the schedule has struck before.
    SameAs {
        /// Id of that window.
        window: u64,
    },
    /// Several at once.
    Together(&'static [Target]),
}

impl Target {
    /// One process of a node.
    pub fn process(part: Part, node: &str) -> Target {
        Target::Process { part, node: intern::name(node) }
    }

    /// Several at once; of one it is that one.
    pub fn together(targets: &[Target]) -> Target {
        match targets {
            [one] => *one,
            several => Target::Together(intern::list(several)),
        }
    }

    /// Each single target it is made of.
    pub fn each(&self) -> Vec<Target> {
        match self {
            Target::Together(targets) => targets.iter().flat_map(Target::each).collect(),
            one => vec![*one],
        }
    }

    /// The shards it names.
    pub fn shards(&self) -> Vec<usize> {
        let shard = |target: Target| match target {
            Target::Master { shard }
            | Target::Replica { shard }
            | Target::FirstReplica { shard }
            | Target::SecondReplica { shard }
            | Target::Replicas { shard }
            | Target::Agent { shard }
            | Target::MasterNode { shard }
            | Target::FirstReplicaNode { shard }
            | Target::Shard { shard } => Some(shard),
            _ => None,
        };
        self.each().into_iter().filter_map(shard).collect()
    }

    /// The nodes it names.
    pub fn nodes(&self) -> Vec<&'static str> {
        let node = |target: Target| match target {
            Target::Node { name } => Some(name),
            Target::Process { node, .. } => Some(node),
            _ => None,
        };
        self.each().into_iter().filter_map(node).collect()
    }

    /// The window whose victims it means, if it means another window's.
    pub fn same_as(&self) -> Option<u64> {
        match self {
            Target::SameAs { window } => Some(*window),
            _ => None,
        }
    }

    /// True when somebody new may come to hold its role by an election.
    pub fn is_elected(&self) -> bool {
        let of_zookeeper =
            |target: &Target| matches!(target, Target::ZooKeeperLeader | Target::ZooKeeperFollower);
        !self.shards().is_empty() || self.each().iter().any(of_zookeeper)
    }

    /// A target that a harm takes or refuses for the same reasons as this one.
    pub(crate) fn stand_in(self) -> Target {
        match self {
            Target::Process { part: Part::Client, .. } => Target::Client,
            Target::Process { part: Part::ZooKeeper, .. }
            | Target::ZooKeeperFollower
            | Target::ZooKeeperEnsemble => Target::ZooKeeperLeader,
            other => other,
        }
    }
}
