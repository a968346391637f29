//! An exhaustive judge of small register histories that shares no code with the engines.
//!
//! It works on the operations themselves: tries every order of everything that may have taken effect, at
//! every step keeping to real time. Exponential, for at most about ten operations.

use checker::{History, Op, OpEnd};
use serde_json::Value;

/// Can the operations (of one key) be put in a legal order?
pub fn linearizable(history: &History) -> bool {
    let ops: Vec<&Op> = history.ops.iter().filter(|op| tells_something(op)).collect();
    assert!(ops.len() <= 16, "too many operations for exhaustive search: {}", ops.len());
    place_rest(&ops, 0, &Value::Null)
}

fn is_mismatch(op: &Op) -> bool {
    op.f == "cas" && op.end == OpEnd::Fail && op.error.as_deref() == Some("mismatch")
}

fn tells_something(op: &Op) -> bool {
    match op.end {
        OpEnd::Ok => true,
        OpEnd::Fail => is_mismatch(op),
        OpEnd::Info => op.f != "read",
    }
}

fn place_rest(ops: &[&Op], placed: u32, state: &Value) -> bool {
    let left = |i: usize| placed & (1 << i) == 0;
    if (0..ops.len()).all(|i| !left(i) || ops[i].end == OpEnd::Info) {
        return true;
    }
    (0..ops.len()).filter(|&i| left(i)).any(|i| {
        // Nobody who is still to come may have returned before this call.
        let in_time =
            (0..ops.len()).all(|j| !left(j) || ops[j].end == OpEnd::Info || ops[j].ret > ops[i].call);
        in_time && after(ops[i], state).is_some_and(|next| place_rest(ops, placed | 1 << i, &next))
    })
}

fn after(op: &Op, state: &Value) -> Option<Value> {
    match &*op.f {
        "read" => (op.output == *state).then(|| state.clone()),
        "write" => Some(op.input.clone()),
        "cas" if is_mismatch(op) => (op.input[0] != *state).then(|| state.clone()),
        "cas" => (op.input[0] == *state).then(|| op.input[1].clone()),
        other => panic!("the oracle does not know `{other}`"),
    }
}
