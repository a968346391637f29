//! Targets as people write them.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Target, intern};
use crate::arena::Part;

/// Every form of a target, with what it means.
pub const FORMS: &[(&str, &str)] = &[
    ("master of shard N", "whoever is master of that shard when the fault strikes"),
    ("replica of shard N", "one of its replicas"),
    ("first replica of shard N", "its first replica by name; second replica of shard N: another one"),
    ("replicas of shard N", "every replica"),
    ("agent of shard N", "the agent beside its master"),
    ("master node of shard N", "the Redis and the agent of its master, together"),
    ("first replica node of shard N", "those of its first replica"),
    ("shard N", "every Redis and every agent of the shard, together"),
    ("all redis", "every Redis of every shard"),
    ("all agents", "every agent of every shard"),
    ("zookeeper leader", "the ZooKeeper server that leads"),
    ("zookeeper follower", "one that does not"),
    ("zookeeper minority", "as many ZooKeeper servers as leave a majority"),
    ("zookeeper ensemble", "every ZooKeeper server"),
    ("client", "one client node (links only)"),
    ("node NAME", "all that runs on the node of that name: zk1, s0r0, c0"),
    ("redis of NAME", "one process of a node; also: agent of NAME, zookeeper of NAME, client NAME"),
    ("same as window N", "whom that window has struck, from 1 as they stand in the file"),
    ("A and B", "several of these at once"),
];

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Master { shard } => write!(f, "master of shard {shard}"),
            Target::Replica { shard } => write!(f, "replica of shard {shard}"),
            Target::FirstReplica { shard } => write!(f, "first replica of shard {shard}"),
            Target::SecondReplica { shard } => write!(f, "second replica of shard {shard}"),
            Target::Replicas { shard } => write!(f, "replicas of shard {shard}"),
            Target::Agent { shard } => write!(f, "agent of shard {shard}"),
            Target::MasterNode { shard } => write!(f, "master node of shard {shard}"),
            Target::FirstReplicaNode { shard } => write!(f, "first replica node of shard {shard}"),
            Target::Shard { shard } => write!(f, "shard {shard}"),
            Target::AllRedis => f.write_str("all redis"),
            Target::AllAgents => f.write_str("all agents"),
            Target::ZooKeeperLeader => f.write_str("zookeeper leader"),
            Target::ZooKeeperFollower => f.write_str("zookeeper follower"),
            Target::ZooKeeperMinority => f.write_str("zookeeper minority"),
            Target::ZooKeeperEnsemble => f.write_str("zookeeper ensemble"),
            Target::Client => f.write_str("client"),
            Target::Node { name } => write!(f, "node {name}"),
            Target::Process { part: Part::Client, node } => write!(f, "client {node}"),
            Target::Process { part, node } => write!(f, "{} of {node}", part.word().to_lowercase()),
            Target::SameAs { window } => write!(f, "same as window {window}"),
            Target::Together(targets) => {
                let words: Vec<String> = targets.iter().map(Target::to_string).collect();
                f.write_str(&words.join(" and "))
            }
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let targets: Vec<Target> = text.split(" and ").map(one).collect::<Result<_, _>>()?;
        if targets.len() > 1 && targets.iter().any(|target| target.same_as().is_some()) {
            return Err(format!(
                "`{text}`: `same as window N` stands alone; name the others in a window of their own"
            ));
        }
        Ok(Target::together(&targets))
    }
}

fn one(text: &str) -> Result<Target, String> {
    let unknown = || {
        let forms: Vec<String> = FORMS.iter().map(|(form, _)| format!("`{form}`")).collect();
        format!("unknown target `{text}`: use one of {}", forms.join(", "))
    };
    let number = |text: &str| text.parse::<usize>().map_err(|_| unknown());
    match text {
        "all redis" => return Ok(Target::AllRedis),
        "all agents" => return Ok(Target::AllAgents),
        "zookeeper leader" => return Ok(Target::ZooKeeperLeader),
        "zookeeper follower" => return Ok(Target::ZooKeeperFollower),
        "zookeeper minority" => return Ok(Target::ZooKeeperMinority),
        "zookeeper ensemble" => return Ok(Target::ZooKeeperEnsemble),
        "client" => return Ok(Target::Client),
        _ => {}
    }
    if let Some(window) = text.strip_prefix("same as window ") {
        return window.parse().map(|window| Target::SameAs { window }).map_err(|_| unknown());
    }
    if let Some(shard) = text.strip_prefix("shard ") {
        return Ok(Target::Shard { shard: number(shard)? });
    }
    if let Some(name) = text.strip_prefix("node ") {
        return node_name(name).map(|name| Target::Node { name }).ok_or_else(unknown);
    }
    if let Some(name) = text.strip_prefix("client ") {
        return node_name(name).map(|node| Target::Process { part: Part::Client, node }).ok_or_else(unknown);
    }
    let (role, whose) = text.split_once(" of ").ok_or_else(unknown)?;
    if let Some(shard) = whose.strip_prefix("shard ") {
        let shard = number(shard)?;
        return match role {
            "master" => Ok(Target::Master { shard }),
            "replica" => Ok(Target::Replica { shard }),
            "first replica" => Ok(Target::FirstReplica { shard }),
            "second replica" => Ok(Target::SecondReplica { shard }),
            "replicas" => Ok(Target::Replicas { shard }),
            "agent" => Ok(Target::Agent { shard }),
            "master node" => Ok(Target::MasterNode { shard }),
            "first replica node" => Ok(Target::FirstReplicaNode { shard }),
            _ => Err(unknown()),
        };
    }
    let part = match role {
        "redis" => Part::Redis,
        "agent" => Part::Agent,
        "zookeeper" => Part::ZooKeeper,
        _ => return Err(unknown()),
    };
    node_name(whose).map(|node| Target::Process { part, node }).ok_or_else(unknown)
}

/// A word that can be a node's name.
fn node_name(text: &str) -> Option<&'static str> {
    let is_word = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    is_word.then(|| intern::name(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_reads_back_as_it_was_written() {
        for text in [
            "master of shard 0",
            "replica of shard 7",
            "second replica of shard 1",
            "replicas of shard 1",
            "agent of shard 1",
            "master node of shard 0",
            "shard 3",
            "all redis",
            "zookeeper leader",
            "zookeeper ensemble",
            "client",
            "client c1",
            "node s0r1",
            "redis of s0r1 and agent of s0r1",
            "master of shard 0 and zookeeper leader and client",
            "same as window 3",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert!("master of shards 0".parse::<Target>().unwrap_err().contains("master of shard N"));
        assert!("client and same as window 1".parse::<Target>().unwrap_err().contains("stands alone"));
    }

    #[test]
    fn every_form_that_is_listed_can_be_written() {
        for (form, _) in FORMS.iter().filter(|(form, _)| *form != "A and B") {
            let text = form.replace("NAME", "s0r0").replace('N', "1");
            assert!(text.parse::<Target>().is_ok(), "{text}");
        }
    }
}
