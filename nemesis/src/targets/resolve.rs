//! Who a target is at one moment.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::Target;
use crate::arena::{Arena, Part, Topology, Victim, View};
use crate::schedule::Window;

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
    let view = arena.view();
    let victims = match window.target {
        Target::SameAs { window } => {
            earlier(window).ok_or_else(|| format!("window {window} has not struck anybody"))?
        }
        target => return resolve_at(target, window.seed, arena.topology(), &view),
    };
    Ok(Resolved::of(victims, arena.topology(), &view))
}

/// Who is meant by a target in a view; `seed` settles what the target leaves open.
pub fn resolve_at(target: Target, seed: u64, topology: &Topology, view: &View) -> Result<Resolved, String> {
    let victims = target.resolve(topology, view, &mut ChaCha8Rng::seed_from_u64(seed))?;
    Ok(Resolved::of(victims, topology, view))
}

impl Resolved {
    fn of(victims: Vec<Victim>, topology: &Topology, view: &View) -> Resolved {
        let roles = victims.iter().map(|victim| view.role_of(topology, &victim.node)).collect();
        Resolved { victims, roles }
    }
}

impl Target {
    /// Who that is now; an error in words when nobody holds the role.
    pub fn resolve(
        self,
        topology: &Topology,
        view: &View,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<Victim>, String> {
        let mut victims = Vec::new();
        for target in self.each() {
            for victim in target.resolve_one(topology, view, rng)? {
                if !victims.contains(&victim) {
                    victims.push(victim);
                }
            }
        }
        Ok(victims)
    }

    fn resolve_one(
        self,
        topology: &Topology,
        view: &View,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<Victim>, String> {
        let scene = Scene { topology, view };
        match self {
            Target::Master { shard } => Ok(one(scene.master(shard)?, Part::Redis)),
            Target::Agent { shard } => Ok(one(scene.master(shard)?, Part::Agent)),
            Target::MasterNode { shard } => Ok(both(scene.master(shard)?)),
            Target::FirstReplicaNode { shard } => Ok(both(scene.nth_replica(shard, 0)?)),
            Target::FirstReplica { shard } => Ok(one(scene.nth_replica(shard, 0)?, Part::Redis)),
            Target::SecondReplica { shard } => Ok(one(scene.nth_replica(shard, 1)?, Part::Redis)),
            Target::Replica { shard } => {
                let replicas = scene.replicas(shard)?;
                let replica = replicas.choose(rng).ok_or_else(|| format!("shard {shard} has no replica"))?;
                Ok(one(replica, Part::Redis))
            }
            Target::Replicas { shard } => match scene.replicas(shard)?.as_slice() {
                [] => Err(format!("shard {shard} has no replica")),
                replicas => Ok(replicas.iter().flat_map(|node| one(node, Part::Redis)).collect()),
            },
            Target::Shard { shard } => Ok(scene.shard(shard)?.iter().flat_map(|node| both(node)).collect()),
            Target::AllRedis => {
                Ok(topology.shards.iter().flatten().flat_map(|node| one(node, Part::Redis)).collect())
            }
            Target::AllAgents => {
                Ok(topology.shards.iter().flatten().flat_map(|node| one(node, Part::Agent)).collect())
            }
            Target::ZooKeeperLeader => Ok(one(scene.leader()?, Part::ZooKeeper)),
            Target::ZooKeeperFollower => {
                let leader = scene.leader()?;
                let followers: Vec<&String> =
                    topology.zookeepers.iter().filter(|node| *node != leader).collect();
                let follower = followers.choose(rng).ok_or("the ensemble has no follower")?;
                Ok(one(follower, Part::ZooKeeper))
            }
            Target::ZooKeeperMinority => {
                let mut nodes = topology.zookeepers.clone();
                nodes.shuffle(rng);
                nodes.truncate(nodes.len().saturating_sub(1) / 2);
                if nodes.is_empty() {
                    return Err("the ensemble is too small to have a minority".into());
                }
                Ok(nodes.iter().flat_map(|node| one(node, Part::ZooKeeper)).collect())
            }
            Target::ZooKeeperEnsemble => {
                Ok(topology.zookeepers.iter().flat_map(|node| one(node, Part::ZooKeeper)).collect())
            }
            Target::Client => {
                Ok(one(topology.clients.choose(rng).ok_or("there is no client node")?, Part::Client))
            }
            Target::Node { name } => scene.node(name),
            Target::Process { part, node } => {
                let found = scene.node(node)?.into_iter().find(|victim| victim.part == part);
                let found = found.ok_or_else(|| format!("node {node} has no {}", part.word()))?;
                Ok(vec![found])
            }
            Target::SameAs { window } => Err(format!("window {window} has not struck anybody")),
            Target::Together(_) => unreachable!("each is single"),
        }
    }
}

/// What there is, and who holds which role in it.
struct Scene<'a> {
    topology: &'a Topology,
    view: &'a View,
}

impl<'a> Scene<'a> {
    fn shard(&self, shard: usize) -> Result<&'a [String], String> {
        self.topology.shards.get(shard).map(Vec::as_slice).ok_or_else(|| format!("there is no shard {shard}"))
    }

    fn master(&self, shard: usize) -> Result<&'a String, String> {
        let master = self.view.masters.get(shard).ok_or_else(|| format!("there is no shard {shard}"))?;
        let (node, _) =
            master.as_ref().ok_or_else(|| format!("shard {shard} had no master at that moment"))?;
        Ok(node)
    }

    fn replicas(&self, shard: usize) -> Result<Vec<&'a String>, String> {
        let master = self.master(shard).ok();
        Ok(self.shard(shard)?.iter().filter(|node| Some(*node) != master).collect())
    }

    fn nth_replica(&self, shard: usize, n: usize) -> Result<&'a String, String> {
        let found = self.replicas(shard)?.get(n).copied();
        found.ok_or_else(|| format!("shard {shard} has no replica number {}", n + 1))
    }

    fn leader(&self) -> Result<&'a String, String> {
        Ok(self.view.zookeeper_leader.as_ref().ok_or("ZooKeeper had no leader at that moment")?)
    }

    fn node(&self, name: &str) -> Result<Vec<Victim>, String> {
        let has = |nodes: &[String]| nodes.iter().any(|node| node == name);
        let node = name.to_string();
        if has(&self.topology.zookeepers) {
            Ok(one(&node, Part::ZooKeeper))
        } else if self.topology.shard_of(name).is_some() {
            Ok(both(&node))
        } else if has(&self.topology.clients) {
            Ok(one(&node, Part::Client))
        } else {
            Err(format!("there is no node {name}"))
        }
    }
}

fn one(node: &str, part: Part) -> Vec<Victim> {
    vec![Victim { node: node.to_string(), part }]
}

fn both(node: &str) -> Vec<Victim> {
    [Part::Redis, Part::Agent].map(|part| Victim { node: node.to_string(), part }).to_vec()
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
        resolve_at(target.parse()?, seed, &topology(), &view()).map(|resolved| resolved.victims)
    }

    fn nodes(target: &str) -> Vec<String> {
        resolve(target, 1).unwrap().into_iter().map(|victim| victim.node).collect()
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
        assert_eq!(nodes("master node of shard 0"), ["s0r1", "s0r1"]);
        assert_eq!(resolve("zookeeper leader", 1).unwrap()[0].node, "zk2");
        assert!(resolve("master of shard 1", 1).unwrap_err().contains("no master"));
        assert!(resolve("master of shard 9", 1).unwrap_err().contains("no shard 9"));
    }

    #[test]
    fn many_are_struck_together() {
        assert_eq!(nodes("replicas of shard 0"), ["s0r0", "s0r2"]);
        assert_eq!(nodes("shard 1"), ["s1r0", "s1r0", "s1r1", "s1r1", "s1r2", "s1r2"]);
        assert_eq!(nodes("zookeeper ensemble"), ["zk0", "zk1", "zk2"]);
        assert_eq!(nodes("all redis").len(), 6);
        assert!(resolve("all agents", 1).unwrap().iter().all(|victim| victim.part == Part::Agent));
        assert_eq!(nodes("master of shard 0 and zookeeper leader"), ["s0r1", "zk2"]);
        assert_eq!(nodes("node s0r1 and master of shard 0"), ["s0r1", "s0r1"], "nobody twice");
        assert!(resolve("master of shard 0 and master of shard 1", 1).is_err());
    }

    #[test]
    fn nodes_are_found_by_name() {
        assert_eq!(resolve("node zk0", 1).unwrap()[0].part, Part::ZooKeeper);
        assert_eq!(resolve("node c1", 1).unwrap()[0].part, Part::Client);
        assert_eq!(resolve("agent of s1r2", 1).unwrap(), [Victim { node: "s1r2".into(), part: Part::Agent }]);
        assert!(resolve("node s7r0", 1).unwrap_err().contains("no node s7r0"));
        assert!(resolve("agent of zk0", 1).unwrap_err().contains("zk0 has no agent"));
    }

    #[test]
    fn a_replica_is_never_the_master_and_a_minority_leaves_a_majority() {
        for seed in 0..50 {
            assert_ne!(resolve("replica of shard 0", seed).unwrap()[0].node, "s0r1");
            assert_ne!(resolve("zookeeper follower", seed).unwrap()[0].node, "zk2");
            assert_eq!(resolve("zookeeper minority", seed).unwrap().len(), 1);
        }
    }
}
