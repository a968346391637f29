//! What is worth listening to: around each anomaly what is said about its keys, around each failover what changes who
//! leads.

use std::collections::HashSet;

use checker::{Anomaly, History, Op, Verdict};
use nemesis::wire::{Kind, Link};
use results::messages::{self, MessageLine, SCENE_MAX};
use results::strikes::StrikeLine;
use results::summary::{Failover, NodeEvent, RunSummary};

use super::conversation::{Said, Sighting};
use super::{altered, line};

/// Most scenes of a kind.
const ANOMALIES_MAX: usize = 20;
const FAILOVERS_MAX: usize = 12;
/// Time before and after, nanoseconds.
const MARGIN_NS: i64 = 2_000_000;
const FAILOVER_MARGIN_NS: i64 = 100_000_000;

/// Requests that change who leads, or say so; and the answers of the same name.
const TELLING: [&str; 15] = [
    "replicaof",
    "slaveof",
    "config",
    "psync",
    "failover",
    "create",
    "create2",
    "createSession",
    "closeSession",
    "delete",
    "multi",
    "setData",
    "notification",
    "connect",
    "client",
];

/// A moment and what belongs to it.
struct Scene {
    name: String,
    from_ns: i64,
    to_ns: i64,
    about: About,
    /// What is nearest to these instants is kept where there is too much.
    near: Vec<i64>,
    lines: Vec<MessageLine>,
}

/// What a scene is about.
enum About {
    /// Messages on these keys.
    Keys(HashSet<Vec<u8>>),
    /// Requests on data, where keys have no names.
    Data,
    /// Changes of a master, by the nodes of its shard.
    Nodes(HashSet<String>),
}

/// All scenes of a run.
pub struct Scenes {
    all: Vec<Scene>,
}

impl Scenes {
    /// Those of a judged run.
    pub fn of(summary: &RunSummary, history: &History, node_events: &[NodeEvent]) -> Scenes {
        let anomalies = match &summary.verdict {
            Verdict::Invalid { anomalies } => anomalies.as_slice(),
            _ => &[],
        };
        let around_anomalies =
            anomalies.iter().take(ANOMALIES_MAX).filter_map(|one| of_anomaly(one, history));
        let around_failovers = summary.failovers.iter().take(FAILOVERS_MAX);
        let around_failovers = around_failovers.filter_map(|one| of_failover(one, node_events));
        Scenes { all: around_anomalies.chain(around_failovers).collect() }
    }

    /// Is there nothing to listen for?
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Does this belong to any of them?
    pub fn wants(&self, seen: &Sighting<'_>) -> bool {
        self.all.iter().any(|scene| scene.wants(seen))
    }

    /// Takes what a conversation was found to say.
    pub fn take(&mut self, said: Vec<Said>) {
        for said in said.into_iter().map(Said::settled) {
            for scene in self.all.iter_mut().filter(|scene| scene.keeps(&said)) {
                scene.lines.push(line(&said, &scene.name));
            }
        }
    }

    /// Takes a message that was altered by hand.
    pub fn struck(&mut self, strike: &StrikeLine) {
        for scene in self.all.iter_mut().filter(|scene| scene.covers(strike.time_ns)) {
            scene.lines.push(altered(strike, &scene.name));
        }
    }

    /// The nearest of each scene, in order of sending.
    pub fn finish(self) -> Vec<MessageLine> {
        let mut lines = Vec::new();
        for mut scene in self.all {
            let near = std::mem::take(&mut scene.near);
            let distance = |line: &MessageLine| {
                near.iter().map(|instant| instant.abs_diff(line.sent_ns)).min().unwrap_or_default()
            };
            scene.lines.sort_by_key(|line| (distance(line), line.sent_ns));
            scene.lines.truncate(SCENE_MAX);
            scene.lines.sort_by_key(|line| line.sent_ns);
            lines.extend(scene.lines);
        }
        lines
    }
}

impl Scene {
    fn covers(&self, time_ns: i64) -> bool {
        (self.from_ns..=self.to_ns).contains(&time_ns)
    }

    fn wants(&self, seen: &Sighting<'_>) -> bool {
        if !self.covers(seen.sent_ns) {
            return false;
        }
        let on_data = matches!(seen.link, Link::RedisClient | Link::Replication);
        match &self.about {
            About::Keys(keys) => on_data && keys.contains(seen.subject),
            About::Data => on_data && is_on_data(seen.kind),
            About::Nodes(nodes) => {
                TELLING.contains(&seen.kind.name) && (nodes.contains(seen.from) || nodes.contains(seen.to))
            }
        }
    }

    /// The same, of what was kept for the sake of any scene.
    fn keeps(&self, said: &Said) -> bool {
        self.covers(said.sent_ns)
            && match &self.about {
                About::Keys(keys) => keys.contains(&said.subject),
                About::Data => true,
                About::Nodes(nodes) => nodes.contains(&said.from) || nodes.contains(&said.to),
            }
    }
}

fn is_on_data(kind: Kind) -> bool {
    kind.write || matches!(kind.name, "get" | "lrange" | "smembers" | "mget" | "hgetall")
}

fn of_anomaly(anomaly: &Anomaly, history: &History) -> Option<Scene> {
    let ops: Vec<&Op> = history.ops.iter().filter(|op| anomaly.ops.contains(&op.index)).collect();
    // Where operations begin and end.
    let near: Vec<i64> =
        ops.iter().flat_map(|op| [op.call_ns, op.ret_ns.unwrap_or(op.call_ns)]).map(|ns| ns as i64).collect();
    let keys: HashSet<Vec<u8>> = ops.iter().filter_map(|op| key(&op.key)).collect();
    Some(Scene {
        name: messages::of_anomaly(anomaly),
        from_ns: near.iter().min()? - MARGIN_NS,
        to_ns: near.iter().max()? + MARGIN_NS,
        about: if keys.is_empty() { About::Data } else { About::Keys(keys) },
        near,
        lines: Vec::new(),
    })
}

fn key(key: &serde_json::Value) -> Option<Vec<u8>> {
    match key {
        serde_json::Value::Null => None,
        serde_json::Value::String(name) => Some(name.clone().into_bytes()),
        other => Some(other.to_string().into_bytes()),
    }
}

fn of_failover(failover: &Failover, node_events: &[NodeEvent]) -> Option<Scene> {
    let marks = [failover.suspected_ns, failover.lease_lost_ns, failover.elected_ns, failover.promoted_ns];
    let marks: Vec<i64> = marks.into_iter().flatten().map(|ns| ns as i64).collect();
    let of_shard = node_events.iter().filter(|event| event.shard == failover.shard);
    let nodes = of_shard.map(|event| event.node.clone()).chain([failover.to.clone()]);
    Some(Scene {
        name: messages::of_failover(failover),
        from_ns: marks.iter().min()? - FAILOVER_MARGIN_NS,
        to_ns: marks.iter().max()? + FAILOVER_MARGIN_NS,
        about: About::Nodes(nodes.chain(failover.from.clone()).collect()),
        near: marks,
        lines: Vec::new(),
    })
}
