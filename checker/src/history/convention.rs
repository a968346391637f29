//! What other tools take for granted about a history, made explicit.

use rustc_hash::FxHashSet;
use serde_json::Value;

use super::{History, Op, OpEnd, Process};

impl History {
    /// Makes every key's register hold `initial` at first: before everything else, a process of its own writes
    /// it. Those writes are numbered from `first_index`. Where `initial` is something, a read that returned
    /// `null` tells nothing from now on (Knossos's `cas-register`), and becomes one that failed.
    ///
    /// `ops` call their operations `read` and `write`.
    pub fn hold_at_first(&mut self, initial: &Value, first_index: u64) {
        if initial.is_null() {
            return;
        }
        for op in &mut self.ops {
            if op.f == "read" && op.end == OpEnd::Ok && op.output.is_null() {
                op.end = OpEnd::Fail;
            }
        }
        let mut seen = FxHashSet::default();
        let keys: Vec<Value> =
            self.ops.iter().map(|op| &op.key).filter(|key| seen.insert(*key)).cloned().collect();
        let shift = 2 * keys.len() as u64;
        for op in &mut self.ops {
            op.call += shift;
            op.ret = op.ret.saturating_add(shift);
        }
        let beginner = 1 + self.ops.iter().map(|op| number(op.process)).max().unwrap_or(0);
        let start_ns = self.ops.first().map_or(0, |op| op.call_ns);
        let write = |(place, key): (u64, Value)| Op {
            index: first_index + place,
            process: Process::Client(beginner),
            f: "write".into(),
            key,
            input: initial.clone(),
            output: initial.clone(),
            end: OpEnd::Ok,
            error: None,
            call: 2 * place,
            ret: 2 * place + 1,
            call_ns: start_ns,
            ret_ns: Some(start_ns),
            shard: None,
            epoch: None,
            node: None,
        };
        self.ops.splice(0..0, (0..).zip(keys).map(write).collect::<Vec<_>>());
    }

    /// Do all values look like `[key, value]`? So Jepsen's `independent` prints them, and no other object's
    /// operations look like it: there is a call whose value is not given, and every call and every return is
    /// such a pair, the return's with the key of its call.
    pub fn looks_independent(&self) -> bool {
        let is_pair = |op: &Op| {
            op.key.is_null()
                && pair(&op.input)
                    .is_some_and(|(key, _)| op.end != OpEnd::Ok || of_key(&op.output, key).is_some())
        };
        let asks = |op: &Op| pair(&op.input).is_some_and(|(key, value)| !key.is_array() && value.is_null());
        self.ops.iter().any(asks) && self.ops.iter().all(is_pair)
    }

    /// Splits every value `[key, value]` into key and value; operations that have a key keep theirs. The error
    /// is the index of an operation whose value is no such pair.
    pub fn split_independent(&mut self) -> Result<(), u64> {
        for op in self.ops.iter_mut().filter(|op| op.key.is_null()) {
            let Some((key, input)) = pair(&op.input) else { return Err(op.index) };
            let output = match op.end {
                OpEnd::Ok => of_key(&op.output, key).ok_or(op.index)?.clone(),
                OpEnd::Fail | OpEnd::Info => Value::Null,
            };
            (op.key, op.input, op.output) = (key.clone(), input.clone(), output);
        }
        Ok(())
    }
}

fn number(process: Process) -> u64 {
    match process {
        Process::Client(id) => id,
        Process::Nemesis => 0,
    }
}

fn pair(value: &Value) -> Option<(&Value, &Value)> {
    match value.as_array().map(Vec::as_slice) {
        Some([key, value]) => Some((key, value)),
        _ => None,
    }
}

/// The value under `key` in a pair; [`Value::Null`] if there is no pair at all.
fn of_key<'v>(value: &'v Value, key: &Value) -> Option<&'v Value> {
    match pair(value) {
        Some((found, value)) => (found == key).then_some(value),
        None => value.is_null().then_some(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::history::formats::{Leniency, read};
    use crate::{Budget, Checker, Linearizable};

    fn history(text: &str) -> History {
        let events = read(text.as_bytes(), None, Leniency::Strict).expect("well formed").events;
        History::from_events(events).expect("a history")
    }

    fn op(process: u32, f: &str, call: &str, kind: &str, back: &str) -> String {
        format!(
            "{{:process {process} :type :invoke :f :{f} :value {call}}}\n\
             {{:process {process} :type :{kind} :f :{f} :value {back}}}\n"
        )
    }

    #[test]
    fn independent_keys_are_told_by_their_values() {
        let both = op(0, "write", "[7 1]", "ok", "[7 1]") + &op(1, "read", "[7 nil]", "ok", "[7 1]");
        let unsure = op(2, "cas", "[8 [1 2]]", "info", "nil");
        let mut split = history(&(both.clone() + &unsure));
        assert!(split.looks_independent());
        split.split_independent().expect("pairs");
        assert_eq!((&split.ops[1].key, &split.ops[1].output), (&json!(7), &json!(1)));
        assert_eq!((&split.ops[2].key, &split.ops[2].input), (&json!(8), &json!([1, 2])));
        let others = [
            op(0, "cas", "[1 2]", "ok", "[1 2]"),
            both.clone() + &op(2, "read", "nil", "ok", "3"),
            both.clone() + &op(2, "read", "[7 nil]", "ok", "[8 1]"),
            op(0, "txn", "[[:r 1 nil] [:append 1 2]]", "ok", "[[:r 1 nil] [:append 1 2]]"),
            op(0, "txn", "[[:r 1 nil] nil]", "ok", "nil"),
            String::new(),
        ];
        for text in others {
            assert!(!history(&text).looks_independent(), "{text}");
        }
        assert_eq!(history(&(both + &op(2, "read", "nil", "ok", "3"))).split_independent(), Err(4));
    }

    #[test]
    fn a_register_can_hold_something_at_first() {
        let text = op(0, "read", "nil", "ok", "0") + &op(0, "read", "nil", "ok", "nil");
        let word = |initial: Value| {
            let mut history = history(&text);
            history.hold_at_first(&initial, 4);
            (history.ops.len(), Linearizable.check(&history, &Budget::default()).word())
        };
        assert_eq!(word(json!(0)), (3, "valid"));
        assert_eq!(word(json!(1)), (3, "invalid"));
        assert_eq!(word(Value::Null), (2, "invalid"));
    }
}
