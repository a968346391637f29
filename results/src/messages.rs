//! `messages.jsonl`: what nodes said to each other around anomalies and failovers, as the network between them saw it.

use checker::Anomaly;
use serde::{Deserialize, Serialize};

use crate::summary::Failover;

/// Most messages of one scene.
pub const SCENE_MAX: usize = 32;

/// One message; a line of `messages.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageLine {
    /// What it belongs to: see [`of_anomaly`] and [`of_failover`].
    pub scene: String,
    /// When its first byte came to the network, nanoseconds of the run clock.
    pub sent_ns: i64,
    /// When the network had handed on its last byte; none if it never did.
    pub received_ns: Option<i64>,
    /// Node that sent it.
    pub from: String,
    /// Node that it was meant for.
    pub to: String,
    /// What it says, for people: `SET k 5`, `+OK`.
    pub label: String,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It arrived at once.
    Delivered,
    /// It was held back, and arrived later.
    Held,
    /// It was lost, sent again by its sender's kernel, and arrived then.
    Resent,
    /// It never arrived.
    Lost,
    /// Somebody changed it on its way.
    Altered,
}

/// The scene of an anomaly: by the operations that prove it, so that it is the same however many others are found.
pub fn of_anomaly(anomaly: &Anomaly) -> String {
    let ops: Vec<String> = anomaly.ops.iter().map(u64::to_string).collect();
    format!("anomaly {}", ops.join(","))
}

/// The scene of a failover.
pub fn of_failover(failover: &Failover) -> String {
    format!("failover of shard {} to epoch {}", failover.shard, failover.epoch)
}

/// The messages of one scene, in order of sending.
pub fn of_scene<'a>(messages: &'a [MessageLine], scene: &str) -> Vec<&'a MessageLine> {
    let mut of_it: Vec<&MessageLine> = messages.iter().filter(|message| message.scene == scene).collect();
    of_it.sort_by_key(|message| message.sent_ns);
    of_it
}
