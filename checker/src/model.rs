//! What a correct object does, one call at a time, and how a history is split between independent objects.

pub mod multi_register;
pub mod register;

use std::hash::Hash;

use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::History;

/// A sequential object: pure, total, deterministic.
///
/// `step` says whether a call (its argument *and* its result) is possible in a state, and what comes after.
/// Kin: Porcupine's `Model`, Knossos's `step`.
pub trait Model {
    /// What the object remembers.
    type State: Clone + Eq + Hash;
    /// A call with its result; equal calls must behave equally in every state.
    type Call: Clone + Eq + Hash;

    /// The state before anything happened.
    fn init(&self) -> Self::State;

    /// The state after `call` in `state`; none when the call cannot have had its result there.
    fn step(&self, state: &Self::State, call: &Self::Call) -> Option<Self::State>;

    /// True when `call` leaves *every* state in which it is possible as it was, like a read. The search
    /// takes such calls as soon as it can, without looking back; a call that changes some states is not pure
    /// even where it happens to change nothing.
    fn is_pure(&self, call: &Self::Call) -> bool;

    /// About how many bytes `state` takes, with all it owns. For the budget: a state with a heap of its own
    /// should say so.
    fn state_bytes(&self, state: &Self::State) -> usize {
        size_of_val(state)
    }
}

/// One operation as the engines see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<C> {
    /// What was called, with its result.
    pub call: C,
    /// Position of the call.
    pub inv: u64,
    /// Position of the return; `u64::MAX` for an operation that may take effect at any later time, or never.
    pub ret: u64,
    /// Its place in `History::ops`.
    pub op: usize,
}

impl<C> Entry<C> {
    /// May it be left out?
    pub fn is_optional(&self) -> bool {
        self.ret == u64::MAX
    }
}

/// The operations on one key, by their places in `History::ops`, in order of invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition<'h> {
    /// The key; [`Value::Null`] when there are no keys.
    pub key: &'h Value,
    /// Places in `History::ops`, ascending.
    pub ops: Vec<usize>,
}

impl Partition<'_> {
    /// The key as anomalies write it: a string without its quotes, nothing for `null`.
    pub fn key_text(&self) -> String {
        key_text(self.key)
    }
}

/// A key as anomalies write it.
pub(crate) fn key_text(key: &Value) -> String {
    match key {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Splits a history by key, keys in order: none, then numbers by size, then everything else by its text.
/// Sound because linearizability is local (Herlihy and Wing 1990, theorem 1).
pub fn partitions(history: &History) -> Vec<Partition<'_>> {
    let mut places: FxHashMap<&Value, usize> = FxHashMap::default();
    let mut parts: Vec<Partition<'_>> = Vec::new();
    let mut last = 0;
    for (i, op) in history.ops.iter().enumerate() {
        // Often the same key as before, and comparing is cheaper than hashing.
        if parts.get(last).is_none_or(|part| *part.key != op.key) {
            last = *places.entry(&op.key).or_insert_with(|| {
                parts.push(Partition { key: &op.key, ops: Vec::new() });
                parts.len() - 1
            });
        }
        parts[last].ops.push(i);
    }
    parts.sort_by_cached_key(|part| (rank(part.key), part.key.as_i64().unwrap_or(0), part.key_text()));
    parts
}

fn rank(key: &Value) -> u8 {
    match key {
        Value::Null => 0,
        Value::Number(_) => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sketch;

    #[test]
    fn keys_come_in_order_whatever_the_order_of_calls() {
        let history =
            sketch::history("p0 |-w1@b-| |-w1@10-| |-w2@b-| |-w1@9-| |-w1@a-|").expect("well drawn");
        let parts = partitions(&history);
        assert_eq!(parts.iter().map(Partition::key_text).collect::<Vec<_>>(), ["9", "10", "a", "b"]);
        assert_eq!(parts[3].ops, [0, 2]);
    }
}
