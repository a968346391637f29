//! Shapes of partitions: which directed links are cut. Pure.
//!
//! The shapes are those of Jepsen's nemesis (`split-one`, `bisect`, `majorities-ring`, `bridge`) with the one-way
//! and the client-side cuts beside them.

use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::arena::Topology;

/// How a network falls apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// The targets alone on one side, all other servers on the other; clients reach both.
    IsolateOne,
    /// The servers in two halves, at random; the targets in the smaller one.
    Halves,
    /// Every server sees a majority, no two see the same one.
    MajoritiesRing,
    /// Two halves joined by one server that sees both.
    Bridge,
    /// Only one direction between the targets and the other servers is cut.
    OneWay,
    /// The targets are cut from all clients (a client: from all servers), and from nobody else.
    ClientFromServer,
    /// The targets are cut from the other nodes of their shard, and from nobody else: replication stops.
    FromShard,
    /// The targets are cut from every ZooKeeper server, and from nobody else.
    FromZookeeper,
    /// The targets and one client, at random, on one side, everybody else on the other.
    WithAClient,
    /// The targets and all clients on one side, everybody else on the other.
    WithClients,
    /// Every node of the targets' shards is cut from every ZooKeeper server, and from nobody else: no agent there can
    /// hold its lease. Targets outside of shards mean all shards.
    AgentsFromZookeeper,
    /// The nodes of the targets' shards are cut from each other, and from nobody else: nobody replicates. Targets
    /// outside of shards mean all shards.
    RedisFromRedis,
}

impl Shape {
    /// Every shape, in the order in which they are drawn.
    pub const ALL: [Shape; 12] = [
        Shape::IsolateOne,
        Shape::Halves,
        Shape::MajoritiesRing,
        Shape::Bridge,
        Shape::OneWay,
        Shape::ClientFromServer,
        Shape::FromShard,
        Shape::FromZookeeper,
        Shape::WithAClient,
        Shape::WithClients,
        Shape::AgentsFromZookeeper,
        Shape::RedisFromRedis,
    ];

    /// As people say it.
    pub fn word(self) -> &'static str {
        match self {
            Shape::IsolateOne => "isolate one",
            Shape::Halves => "halves",
            Shape::MajoritiesRing => "majorities ring",
            Shape::Bridge => "bridge",
            Shape::OneWay => "one-way",
            Shape::ClientFromServer => "client from server",
            Shape::FromShard => "from its shard",
            Shape::FromZookeeper => "from ZooKeeper",
            Shape::WithAClient => "with a client",
            Shape::WithClients => "with all clients",
            Shape::AgentsFromZookeeper => "agents from ZooKeeper",
            Shape::RedisFromRedis => "Redis from Redis",
        }
    }

    /// True when links between nodes other than the targets are cut as well.
    pub fn is_wide(self) -> bool {
        matches!(
            self,
            Shape::Halves
                | Shape::MajoritiesRing
                | Shape::Bridge
                | Shape::AgentsFromZookeeper
                | Shape::RedisFromRedis
        )
    }
}

/// A directed link, from whom to whom.
pub type Link = (String, String);

/// The links `shape` cuts around `targets`, some of the nodes of `topology`. `seed` settles who lands on which
/// side. A shape that means nothing to the targets isolates them.
pub fn cut(shape: Shape, targets: &[String], topology: &Topology, seed: u64) -> Vec<Link> {
    let links = shaped(shape, targets, topology, seed);
    if links.is_empty() { around(targets, topology) } else { links }
}

fn shaped(shape: Shape, targets: &[String], topology: &Topology, seed: u64) -> Vec<Link> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (servers, clients) = (topology.servers(), &topology.clients);
    let without = |nodes: &[String]| -> Vec<String> {
        nodes.iter().filter(|node| !targets.contains(node)).cloned().collect()
    };
    let others = without(&servers);
    let target_is_client = targets.iter().any(|node| clients.contains(node));
    if shape == Shape::FromZookeeper && !targets.iter().any(|node| topology.zookeepers.contains(node)) {
        return both_ways(targets, &topology.zookeepers);
    }
    if target_is_client || shape == Shape::ClientFromServer {
        let far = if target_is_client { &servers } else { clients };
        return both_ways(targets, far);
    }
    match shape {
        Shape::IsolateOne | Shape::ClientFromServer | Shape::FromZookeeper => both_ways(targets, &others),
        Shape::FromShard => {
            let shards: Vec<usize> = targets.iter().filter_map(|node| topology.shard_of(node)).collect();
            let peers: Vec<String> =
                shards.iter().flat_map(|&shard| without(&topology.shards[shard])).collect();
            both_ways(targets, if peers.is_empty() { &others } else { &peers })
        }
        Shape::WithAClient => {
            let mut far_clients = clients.clone();
            far_clients.shuffle(&mut rng);
            let mut near = targets.to_vec();
            near.extend(far_clients.pop());
            let far: Vec<String> = others.into_iter().chain(far_clients).collect();
            both_ways(&near, &far)
        }
        Shape::WithClients => {
            let near: Vec<String> = targets.iter().chain(clients).cloned().collect();
            both_ways(&near, &others)
        }
        Shape::OneWay => {
            if rng.random_bool(0.5) {
                one_way(targets, &others)
            } else {
                one_way(&others, targets)
            }
        }
        Shape::Halves => {
            let (small, large) = halves(targets, others, servers.len() / 2, &mut rng);
            both_ways(&small, &large)
        }
        Shape::Bridge => {
            // The bridge is never a target, so that the targets lose someone.
            let mut others = others;
            others.shuffle(&mut rng);
            others.pop();
            let (small, large) = halves(targets, others, (servers.len() - 1) / 2, &mut rng);
            both_ways(&small, &large)
        }
        Shape::MajoritiesRing => majorities_ring(&servers, &mut rng),
        Shape::AgentsFromZookeeper => {
            let agents: Vec<String> = shards_of(targets, topology).concat();
            both_ways(&agents, &topology.zookeepers)
        }
        Shape::RedisFromRedis => {
            let apart = |shard: &Vec<String>| one_way(shard, shard);
            shards_of(targets, topology).iter().flat_map(apart).filter(|(a, b)| a != b).collect()
        }
    }
}

/// The shards that targets lie in; all, if none does.
fn shards_of(targets: &[String], topology: &Topology) -> Vec<Vec<String>> {
    let has_target = |shard: &&Vec<String>| shard.iter().any(|node| targets.contains(node));
    let own: Vec<Vec<String>> = topology.shards.iter().filter(has_target).cloned().collect();
    if own.is_empty() { topology.shards.clone() } else { own }
}

/// All links to and from `targets`, clients' included.
pub fn around(targets: &[String], topology: &Topology) -> Vec<Link> {
    let everyone = topology.servers().into_iter().chain(topology.clients.iter().cloned());
    let others: Vec<String> = everyone.filter(|node| !targets.contains(node)).collect();
    both_ways(targets, &others)
}

fn one_way(from: &[String], to: &[String]) -> Vec<Link> {
    from.iter().flat_map(|a| to.iter().map(move |b| (a.clone(), b.clone()))).collect()
}

fn both_ways(a: &[String], b: &[String]) -> Vec<Link> {
    let mut links = one_way(a, b);
    links.extend(one_way(b, a));
    links
}

/// `targets` and enough of the `others` to make `size`, and the rest.
fn halves(
    targets: &[String],
    mut others: Vec<String>,
    size: usize,
    rng: &mut ChaCha8Rng,
) -> (Vec<String>, Vec<String>) {
    others.shuffle(rng);
    let mut small = targets.to_vec();
    let more = size.saturating_sub(small.len()).min(others.len());
    small.extend(others.drain(..more));
    (small, others)
}

/// Nodes in a random circle; each keeps its nearest neighbours on both sides, as many as make a majority. Of three
/// nodes, which are all neighbours, two lose sight of each other.
fn majorities_ring(servers: &[String], rng: &mut ChaCha8Rng) -> Vec<Link> {
    let mut ring = servers.to_vec();
    ring.shuffle(rng);
    let n = ring.len();
    if n == 3 {
        return both_ways(&ring[..1], &ring[1..2]);
    }
    // A majority of n is n/2 + 1 with oneself; half of the neighbours on each side, rounded up.
    let reach = (n / 2).div_ceil(2);
    let mut links = Vec::new();
    for i in 0..n {
        for j in 0..n {
            let around = (n + j - i) % n;
            let distance = around.min(n - around);
            if distance > reach {
                links.push((ring[i].clone(), ring[j].clone()));
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn nodes(prefix: &str, n: usize) -> Vec<String> {
        (0..n).map(|i| format!("{prefix}{i}")).collect()
    }

    fn plain(servers: &[String], clients: &[String]) -> Topology {
        Topology { zookeepers: servers.to_vec(), shards: Vec::new(), clients: clients.to_vec() }
    }

    /// Nodes that `node` can still talk with, both ways, itself included.
    fn seen_by(node: &str, servers: &[String], links: &[Link]) -> BTreeSet<String> {
        let cut = |a: &str, b: &str| links.iter().any(|(x, y)| x == a && y == b);
        servers.iter().filter(|other| !cut(node, other) && !cut(other, node)).cloned().collect()
    }

    proptest! {
        #[test]
        fn isolate_one_leaves_the_target_alone_and_the_rest_whole(n in 3usize..10, seed: u64) {
            let servers = nodes("n", n);
            let links = cut(Shape::IsolateOne, &servers[..1], &plain(&servers, &[]), seed);
            prop_assert_eq!(seen_by("n0", &servers, &links).len(), 1);
            prop_assert_eq!(seen_by("n1", &servers, &links).len(), n - 1);
        }

        #[test]
        fn halves_split_in_two_with_the_target_in_the_smaller(n in 3usize..10, seed: u64) {
            let servers = nodes("n", n);
            let links = cut(Shape::Halves, &servers[..1], &plain(&servers, &[]), seed);
            let mine = seen_by("n0", &servers, &links);
            prop_assert_eq!(mine.len(), n / 2);
            for other in servers.iter().filter(|s| !mine.contains(*s)) {
                prop_assert_eq!(seen_by(other, &servers, &links).len(), n - n / 2);
            }
        }

        #[test]
        fn in_a_majorities_ring_everyone_sees_a_majority_and_not_everyone_sees_all(n in 3usize..10, seed: u64) {
            let servers = nodes("n", n);
            let links = cut(Shape::MajoritiesRing, &servers[..1], &plain(&servers, &[]), seed);
            let views: Vec<_> = servers.iter().map(|s| seen_by(s, &servers, &links)).collect();
            prop_assert!(views.iter().all(|v| v.len() > n / 2) && views.iter().any(|v| v.len() < n));
            if n >= 5 {
                let distinct: BTreeSet<_> = views.iter().collect();
                prop_assert_eq!(distinct.len(), n, "no two see the same majority");
            }
        }

        #[test]
        fn a_bridge_joins_two_halves_that_do_not_see_each_other(n in 3usize..10, seed: u64) {
            let servers = nodes("n", n);
            let links = cut(Shape::Bridge, &servers[..1], &plain(&servers, &[]), seed);
            let views: Vec<_> = servers.iter().map(|s| seen_by(s, &servers, &links).len()).collect();
            prop_assert_eq!(views.iter().filter(|v| **v == n).count(), 1, "one bridge");
            prop_assert!(seen_by("n0", &servers, &links).len() < n);
        }

        #[test]
        fn every_shape_makes_sense_in_every_cluster_of_three_to_nine(
            zookeepers in 1usize..6, shards in 1usize..4, replicas in 1usize..4, clients in 0usize..4,
            victim: prop::sample::Index, seed: u64,
        ) {
            let topology = Topology {
                zookeepers: nodes("zk", zookeepers),
                shards: (0..shards).map(|shard| nodes(&format!("s{shard}r"), replicas)).collect(),
                clients: nodes("c", clients),
            };
            let servers = topology.servers();
            prop_assume!((3..=9).contains(&servers.len()));
            let target = victim.get(&servers).clone();
            let everyone: BTreeSet<String> = servers.iter().chain(&topology.clients).cloned().collect();
            for shape in Shape::ALL {
                let links = cut(shape, std::slice::from_ref(&target), &topology, seed);
                let distinct: BTreeSet<_> = links.iter().collect();
                prop_assert!(!links.is_empty() && distinct.len() == links.len(), "{:?} {:?}", shape, links);
                prop_assert!(links.iter().all(|(a, b)| a != b && everyone.contains(a) && everyone.contains(b)));
                prop_assert!(links.len() < everyone.len() * (everyone.len() - 1), "{:?} cuts all", shape);
                let back = links.iter().all(|(a, b)| distinct.contains(&(b.clone(), a.clone())));
                prop_assert_eq!(back, shape != Shape::OneWay, "{:?}", shape);
                if !shape.is_wide() && !matches!(shape, Shape::WithAClient | Shape::WithClients) {
                    prop_assert!(links.iter().all(|(a, b)| *a == target || *b == target), "{:?}", shape);
                }
                prop_assert_eq!(&links, &cut(shape, std::slice::from_ref(&target), &topology, seed));
            }
        }

        #[test]
        fn one_way_cuts_one_direction_only(n in 2usize..10, seed: u64) {
            let servers = nodes("n", n);
            let links = cut(Shape::OneWay, &servers[..1], &plain(&servers, &[]), seed);
            prop_assert_eq!(links.len(), n - 1);
            prop_assert!(links.iter().all(|(a, b)| !links.contains(&(b.clone(), a.clone()))));
        }

        #[test]
        fn client_from_server_leaves_the_servers_to_themselves(n in 2usize..10, seed: u64) {
            let (servers, clients) = (nodes("n", n), nodes("c", 3));
            let links = cut(Shape::ClientFromServer, &servers[..1], &plain(&servers, &clients), seed);
            prop_assert_eq!(links.len(), 6);
            prop_assert!(links.iter().all(|(a, b)| clients.contains(a) != clients.contains(b)));
            let links = cut(Shape::Halves, &clients[..1], &plain(&servers, &clients), seed);
            prop_assert_eq!(links.len(), 2 * n, "a client can only be cut from the servers");
        }
    }

    #[test]
    fn shapes_of_roles_cut_just_those_links() {
        let topology = Topology {
            zookeepers: nodes("zk", 3),
            shards: vec![nodes("s0r", 3), nodes("s1r", 3)],
            clients: nodes("c", 3),
        };
        let target = ["s0r1".to_string()];
        let far = |shape| -> BTreeSet<String> {
            let links = cut(shape, &target, &topology, 7);
            assert!(links.iter().all(|(a, b)| links.contains(&(b.clone(), a.clone()))));
            links.into_iter().filter(|(a, _)| *a == target[0]).map(|(_, b)| b).collect()
        };
        assert_eq!(far(Shape::FromShard), BTreeSet::from(["s0r0".into(), "s0r2".into()]));
        assert_eq!(far(Shape::FromZookeeper), topology.zookeepers.iter().cloned().collect());
        let with_a_client = far(Shape::WithAClient);
        assert_eq!(with_a_client.len(), 3 + 5 + 2, "one client stays: {with_a_client:?}");
        assert_eq!(far(Shape::WithClients).len(), 3 + 5);
        let wide = |shape, target: &str| cut(shape, &[target.to_string()], &topology, 7);
        let agents = wide(Shape::AgentsFromZookeeper, "s0r1");
        assert_eq!(agents.len(), 2 * 3 * 3);
        assert!(agents.iter().all(|(a, b)| a.starts_with("s0") != b.starts_with("s0")));
        assert!(agents.iter().all(|(a, b)| a.starts_with("zk") != b.starts_with("zk")));
        assert_eq!(wide(Shape::AgentsFromZookeeper, "zk1").len(), 2 * 6 * 3, "all shards");
        let replication = wide(Shape::RedisFromRedis, "s0r1");
        assert_eq!(replication.len(), 3 * 2);
        assert!(replication.iter().all(|(a, b)| a.starts_with("s0") && b.starts_with("s0")));
        let client = ["c0".to_string()];
        assert_eq!(cut(Shape::FromZookeeper, &client, &topology, 7).len(), 6);
        let zookeeper = ["zk0".to_string()];
        assert_eq!(cut(Shape::FromShard, &zookeeper, &topology, 7).len(), 16, "it has no shard: isolated");
    }
}
