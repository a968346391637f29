//! `strikes.jsonl`: every message that was altered on its way, before and after; and what came of each fault.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One message altered; a line of `strikes.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StrikeLine {
    /// Nanoseconds of the run clock; negative for what happened while the cluster was raised.
    pub time_ns: i64,
    /// Window of the schedule that did it.
    pub fault: u64,
    /// Node that sent the message.
    pub from: String,
    /// Node that it was meant for.
    pub to: String,
    /// What was done to it, in a sentence.
    pub told: String,
    /// All of it, as the nemesis needs it to do the same again: link, way, kind, counts, offsets, bytes before and
    /// after.
    pub strike: serde_json::Value,
}

/// What one fault did on one link, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrikeTally {
    /// Window of the schedule.
    pub fault: u64,
    /// Kind of link.
    pub link: String,
    /// What was done to which messages, in words.
    pub what: String,
    /// Messages that were meant.
    pub matched: u64,
    /// Messages that were altered.
    pub applied: u64,
    /// Those of them that arrived in their new form, or were kept from arriving. Runs of earlier versions did not ask.
    #[serde(default)]
    pub delivered: u64,
    /// Connections in which that happened, as `s0r0 → s0r1`, each once.
    pub between: Vec<String>,
    /// What came of it: `masked`, `rejected-clean`, `rejected-crash`, `detected-stopped`, `detected-served`, `silent`,
    /// `liveness`, `not-triggered`.
    pub outcome: String,
    /// What that rests on, in a sentence.
    pub because: String,
}

/// Directed pairs of nodes whose messages were altered by `fault`, each once, in order of names.
pub fn between(strikes: &[StrikeLine], fault: u64) -> Vec<String> {
    let pairs = strikes.iter().filter(|strike| strike.fault == fault);
    let pairs: BTreeMap<String, ()> =
        pairs.map(|strike| (format!("{} → {}", strike.from, strike.to), ())).collect();
    pairs.into_keys().collect()
}

/// What an outcome means, for readers of a report.
pub fn meaning(outcome: &str) -> &'static str {
    match outcome {
        "masked" => "nobody could tell that anything had been altered, and nothing was wrong afterwards",
        "rejected-clean" => "somebody refused it: an error, a reset, a retry",
        "rejected-crash" => "a process ended because of it",
        "detected-stopped" => "somebody said that something was wrong, and stopped serving",
        "detected-served" => "somebody said that something was wrong, and went on serving it",
        "silent" => "something wrong was served or stored, and nobody said so",
        "liveness" => "nothing wrong was served, but the system did not come back in time",
        "not-triggered" => "no message met the description: nothing was tested",
        _ => "an outcome of a later version",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_of_nodes_is_named_once_and_only_for_its_fault() {
        let strike = |fault, from: &str, to: &str| StrikeLine {
            time_ns: 1,
            fault,
            from: from.into(),
            to: to.into(),
            told: String::new(),
            strike: serde_json::json!({}),
        };
        let strikes = [strike(0, "b", "a"), strike(0, "a", "b"), strike(0, "a", "b"), strike(1, "c", "d")];
        assert_eq!(between(&strikes, 0), ["a → b", "b → a"]);
        assert_eq!(between(&strikes, 2), Vec::<String>::new());
    }
}
