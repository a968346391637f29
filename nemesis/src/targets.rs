//! Symbolic targets: who is meant, resolved when the window opens.

use std::fmt;
use std::str::FromStr;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};

use crate::arena::{Arena, Part, Topology, Victim, View};
use crate::schedule::Window;

/// Whom a fault is meant for. Written as people say it: `master of shard 0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
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
    /// The ZooKeeper server that leads.
    ZooKeeperLeader,
    /// As many ZooKeeper servers as leave a majority.
    ZooKeeperMinority,
    /// One client node.
    Client,
    /// Whom another window of the schedule has struck before.
    SameAs {
        /// Id of that window.
        window: u64,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Master { shard } => write!(f, "master of shard {shard}"),
            Target::Replica { shard } => write!(f, "replica of shard {shard}"),
            Target::FirstReplica { shard } => write!(f, "first replica of shard {shard}"),
            Target::SecondReplica { shard } => write!(f, "second replica of shard {shard}"),
            Target::Agent { shard } => write!(f, "agent of shard {shard}"),
            Target::MasterNode { shard } => write!(f, "master node of shard {shard}"),
            Target::FirstReplicaNode { shard } => write!(f, "first replica node of shard {shard}"),
            Target::ZooKeeperLeader => f.write_str("zookeeper leader"),
            Target::ZooKeeperMinority => f.write_str("zookeeper minority"),
            Target::Client => f.write_str("client"),
            Target::SameAs { window } => write!(f, "same as window {window}"),
        }
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl TryFrom<String> for Target {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "unknown target `{text}`: use `master of shard N`, `replica of shard N`, `first replica of shard N`, \
                 `second replica of shard N`, `agent of shard N`, `master node of shard N`, \
                 `first replica node of shard N`, `zookeeper leader`, `zookeeper minority`, `client` or \
                 `same as window N`"
            )
        };
        match text {
            "zookeeper leader" => return Ok(Target::ZooKeeperLeader),
            "zookeeper minority" => return Ok(Target::ZooKeeperMinority),
            "client" => return Ok(Target::Client),
            _ => {}
        }
        if let Some(window) = text.strip_prefix("same as window ") {
            return window.parse().map(|window| Target::SameAs { window }).map_err(|_| unknown());
        }
        let (role, shard) = text.split_once(" of shard ").ok_or_else(unknown)?;
        let shard = shard.parse().map_err(|_| unknown())?;
        match role {
            "master" => Ok(Target::Master { shard }),
            "replica" => Ok(Target::Replica { shard }),
            "first replica" => Ok(Target::FirstReplica { shard }),
            "second replica" => Ok(Target::SecondReplica { shard }),
            "agent" => Ok(Target::Agent { shard }),
            "master node" => Ok(Target::MasterNode { shard }),
            "first replica node" => Ok(Target::FirstReplicaNode { shard }),
            _ => Err(unknown()),
        }
    }
}

impl Target {
    /// The shard it lies in, if it lies in one.
    pub fn shard(self) -> Option<usize> {
        match self {
            Target::Master { shard }
            | Target::Replica { shard }
            | Target::FirstReplica { shard }
            | Target::SecondReplica { shard }
            | Target::Agent { shard }
            | Target::MasterNode { shard }
            | Target::FirstReplicaNode { shard } => Some(shard),
            Target::ZooKeeperLeader | Target::ZooKeeperMinority | Target::Client | Target::SameAs { .. } => {
                None
            }
        }
    }

    /// Who that is now; an error in words when nobody holds the role.
    pub fn resolve(
        self,
        topology: &Topology,
        view: &View,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<Victim>, String> {
        let victim = |node: &String, part| vec![Victim { node: node.clone(), part }];
        let master = |shard: usize| {
            view.masters
                .get(shard)
                .ok_or_else(|| format!("there is no shard {shard}"))?
                .as_ref()
                .map(|(node, _)| node)
                .ok_or_else(|| format!("shard {shard} had no master at that moment"))
        };
        let replicas = |shard: usize| {
            let nodes = topology.shards.get(shard).ok_or_else(|| format!("there is no shard {shard}"))?;
            let master = master(shard).ok();
            Ok::<Vec<&String>, String>(nodes.iter().filter(|node| Some(*node) != master).collect())
        };
        let nth_replica = |shard: usize, n: usize| {
            let found = replicas(shard)?.get(n).copied();
            found.ok_or_else(|| format!("shard {shard} has no replica number {}", n + 1))
        };
        let both = |node: &String| [Part::Redis, Part::Agent].map(|part| Victim { node: node.clone(), part });
        match self {
            Target::Master { shard } => Ok(victim(master(shard)?, Part::Redis)),
            Target::Agent { shard } => Ok(victim(master(shard)?, Part::Agent)),
            Target::MasterNode { shard } => Ok(both(master(shard)?).to_vec()),
            Target::FirstReplicaNode { shard } => Ok(both(nth_replica(shard, 0)?).to_vec()),
            Target::FirstReplica { shard } => Ok(victim(nth_replica(shard, 0)?, Part::Redis)),
            Target::SecondReplica { shard } => Ok(victim(nth_replica(shard, 1)?, Part::Redis)),
            Target::SameAs { window } => Err(format!("window {window} has not struck anybody")),
            Target::Replica { shard } => {
                let replicas = replicas(shard)?;
                let replica = replicas.choose(rng).ok_or_else(|| format!("shard {shard} has no replica"))?;
                Ok(victim(replica, Part::Redis))
            }
            Target::ZooKeeperLeader => {
                let leader = view.zookeeper_leader.as_ref();
                Ok(victim(leader.ok_or("ZooKeeper had no leader at that moment")?, Part::ZooKeeper))
            }
            Target::ZooKeeperMinority => {
                let mut nodes = topology.zookeepers.clone();
                nodes.shuffle(rng);
                nodes.truncate(nodes.len().saturating_sub(1) / 2);
                if nodes.is_empty() {
                    return Err("the ensemble is too small to have a minority".into());
                }
                Ok(nodes.into_iter().map(|node| Victim { node, part: Part::ZooKeeper }).collect())
            }
            Target::Client => {
                Ok(victim(topology.clients.choose(rng).ok_or("there is no client node")?, Part::Client))
            }
        }
    }
}

/// Whom a window's target turned out to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The processes meant.
    pub victims: Vec<Victim>,
    /// The role each one's node held at that moment, same order.
    pub roles: Vec<String>,
}

/// Who is meant by the window's target at this moment; `earlier` tells whom earlier windows have struck.
pub fn resolve(
    window: &Window,
    arena: &dyn Arena,
    earlier: impl Fn(u64) -> Option<Vec<Victim>>,
) -> Result<Resolved, String> {
    let mut rng = ChaCha8Rng::seed_from_u64(window.seed);
    let view = arena.view();
    let victims = match window.target {
        Target::SameAs { window } => {
            earlier(window).ok_or_else(|| format!("window {window} has not struck anybody"))?
        }
        target => target.resolve(arena.topology(), &view, &mut rng)?,
    };
    let roles = victims.iter().map(|victim| view.role_of(arena.topology(), &victim.node)).collect();
    Ok(Resolved { victims, roles })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Topology {
            zookeepers: names(&["zk0", "zk1", "zk2"]),
            shards: vec![names(&["s0r0", "s0r1", "s0r2"]), names(&["s1r0", "s1r1", "s1r2"])],
            clients: names(&["c0", "c1"]),
        }
    }

    fn view() -> View {
        View { masters: vec![Some(("s0r1".into(), 3)), None], zookeeper_leader: Some("zk2".into()) }
    }

    fn resolve(target: &str, seed: u64) -> Result<Vec<Victim>, String> {
        let target: Target = target.parse()?;
        target.resolve(&topology(), &view(), &mut ChaCha8Rng::seed_from_u64(seed))
    }

    #[test]
    fn a_target_reads_back_as_it_was_written() {
        for text in [
            "master of shard 0",
            "replica of shard 7",
            "second replica of shard 1",
            "agent of shard 1",
            "master node of shard 0",
            "zookeeper leader",
            "client",
            "same as window 3",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert!("master of shards 0".parse::<Target>().unwrap_err().contains("master of shard N"));
    }

    #[test]
    fn roles_resolve_to_whoever_holds_them_now() {
        assert_eq!(
            resolve("master of shard 0", 1).unwrap(),
            vec![Victim { node: "s0r1".into(), part: Part::Redis }]
        );
        assert_eq!(resolve("agent of shard 0", 1).unwrap()[0].part, Part::Agent);
        assert_eq!(resolve("first replica of shard 0", 1).unwrap()[0].node, "s0r0");
        assert_eq!(resolve("second replica of shard 0", 1).unwrap()[0].node, "s0r2");
        let node = resolve("master node of shard 0", 1).unwrap();
        assert!(node.len() == 2 && node.iter().all(|victim| victim.node == "s0r1"));
        assert_eq!(resolve("zookeeper leader", 1).unwrap()[0].node, "zk2");
        assert!(resolve("master of shard 1", 1).unwrap_err().contains("no master"));
        assert!(resolve("master of shard 9", 1).unwrap_err().contains("no shard 9"));
    }

    #[test]
    fn a_replica_is_never_the_master_and_a_minority_leaves_a_majority() {
        for seed in 0..50 {
            assert_ne!(resolve("replica of shard 0", seed).unwrap()[0].node, "s0r1");
            assert_eq!(resolve("zookeeper minority", seed).unwrap().len(), 1);
        }
    }
}
