//! Limits that a schedule keeps to while it runs, whoever holds which role by then.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::arena::{Topology, Victim};

/// How much may be struck at once, by all windows together. Nothing is limited unless asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SafeLimits {
    /// How many ZooKeeper servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zookeeper: Option<Minority>,
    /// How many nodes of each shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<MajorityStays>,
    /// How many windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<u32>,
}

/// Never as many as make a majority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Minority {
    /// `"minority"`.
    #[serde(rename = "minority")]
    Minority,
}

/// A majority is never struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MajorityStays {
    /// `"majority stays"`.
    #[serde(rename = "majority stays")]
    MajorityStays,
}

impl SafeLimits {
    /// Nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == SafeLimits::default()
    }

    /// True when it counts nodes, so that a harm to links between all nodes cannot be counted.
    pub fn counts_nodes(&self) -> bool {
        self.zookeeper.is_some() || self.shard.is_some()
    }

    /// May `victims` be struck as well, while others are? Says which limit that would break.
    pub fn allow(
        &self,
        topology: &Topology,
        struck: &BTreeMap<u64, Vec<Victim>>,
        victims: &[Victim],
    ) -> Result<(), String> {
        if let Some(most) = self.windows
            && struck.len() >= most as usize
        {
            return Err(format!("{} windows are in force, and at most {most} may be", struck.len()));
        }
        let nodes: BTreeSet<&str> =
            struck.values().flatten().chain(victims).map(|victim| victim.node.as_str()).collect();
        let within = |of: &[String], name: &dyn Fn() -> String| {
            let hit = of.iter().filter(|node| nodes.contains(node.as_str())).count();
            let is_new = victims.iter().any(|victim| of.contains(&victim.node));
            if is_new && hit > of.len().saturating_sub(1) / 2 {
                return Err(format!(
                    "{hit} of {} nodes of {} would be struck, and a majority is to stay",
                    of.len(),
                    name()
                ));
            }
            Ok(())
        };
        if self.zookeeper.is_some() {
            within(&topology.zookeepers, &|| "the ensemble".into())?;
        }
        if self.shard.is_some() {
            for (shard, nodes) in topology.shards.iter().enumerate() {
                within(nodes, &|| format!("shard {shard}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Part;
    use proptest::prelude::*;

    fn topology() -> Topology {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Topology {
            zookeepers: names(&["zk1", "zk2", "zk3", "zk4", "zk5"]),
            shards: vec![names(&["s0r0", "s0r1", "s0r2"])],
            clients: names(&["c0"]),
        }
    }

    fn victims(nodes: &[&str]) -> Vec<Victim> {
        nodes.iter().map(|node| Victim { node: node.to_string(), part: Part::Redis }).collect()
    }

    const ALL: SafeLimits = SafeLimits {
        zookeeper: Some(Minority::Minority),
        shard: Some(MajorityStays::MajorityStays),
        windows: Some(3),
    };

    #[test]
    fn what_would_break_a_limit_is_refused_with_the_reason() {
        let struck = BTreeMap::from([(0, victims(&["zk1", "zk2"])), (1, victims(&["s0r0"]))]);
        let ask = |nodes: &[&str]| ALL.allow(&topology(), &struck, &victims(nodes));
        assert!(ask(&["zk3"]).unwrap_err().contains("3 of 5 nodes of the ensemble"));
        assert!(ask(&["s0r1"]).unwrap_err().contains("2 of 3 nodes of shard 0"));
        assert_eq!(ask(&["zk2", "s0r0", "c0"]), Ok(()), "who is struck already counts once");
        let full = BTreeMap::from([(0, vec![]), (1, vec![]), (2, vec![])]);
        assert!(ALL.allow(&topology(), &full, &victims(&["c0"])).unwrap_err().contains("at most 3"));
        assert_eq!(SafeLimits::default().allow(&topology(), &full, &victims(&["zk1", "zk2", "zk3"])), Ok(()));
    }

    proptest! {
        #[test]
        fn a_majority_always_stays(strikes in proptest::collection::vec(0usize..5, 0..12)) {
            let (topology, mut struck) = (topology(), BTreeMap::new());
            let limits = SafeLimits { windows: None, ..ALL };
            for (window, at) in (0..).zip(strikes) {
                let victim = victims(&[&topology.zookeepers[at]]);
                if limits.allow(&topology, &struck, &victim).is_ok() {
                    struck.insert(window, victim);
                }
                let hit: BTreeSet<_> = struck.values().flatten().collect();
                prop_assert!(hit.len() <= 2);
            }
        }
    }
}
