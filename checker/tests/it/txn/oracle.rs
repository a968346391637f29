//! Every order of a few transactions, tried one after another.

use checker::{History, OpEnd};
use serde_json::{Value, json};

/// Is there an order of all acknowledged transactions and some of the indefinite ones in which every read is
/// right? With `strict`, one that keeps to real time.
pub fn serializable(history: &History, registers: bool, strict: bool) -> bool {
    let mut search = Search { history, registers, strict, placed: vec![false; history.ops.len()] };
    search.extend(&Vec::new())
}

struct Search<'h> {
    history: &'h History,
    registers: bool,
    strict: bool,
    placed: Vec<bool>,
}

/// What each key holds; keys that were never written are left out.
type State = Vec<(Value, Value)>;

impl Search<'_> {
    fn extend(&mut self, state: &State) -> bool {
        let ops = &self.history.ops;
        let open = |placed: &[bool], i: usize| !placed[i] && ops[i].end == OpEnd::Ok;
        if !(0..ops.len()).any(|i| open(&self.placed, i)) {
            return true;
        }
        for i in 0..ops.len() {
            if self.placed[i] || ops[i].end == OpEnd::Fail {
                continue;
            }
            let too_early = |j: usize| open(&self.placed, j) && ops[j].ret < ops[i].call;
            if self.strict && (0..ops.len()).any(too_early) {
                continue;
            }
            let Some(after) = self.execute(state, i) else { continue };
            self.placed[i] = true;
            let found = self.extend(&after);
            self.placed[i] = false;
            if found {
                return true;
            }
        }
        false
    }

    /// The state after a transaction; none when one of its reads would be wrong.
    fn execute(&self, state: &State, i: usize) -> Option<State> {
        let op = &self.history.ops[i];
        let committed = op.end == OpEnd::Ok;
        let steps = if committed { &op.output } else { &op.input };
        let mut state = state.clone();
        for step in steps.as_array().expect("steps") {
            let (name, key, value) = (&step[0], &step[1], &step[2]);
            let nothing = if self.registers { Value::Null } else { json!([]) };
            let at = state.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
                state.push((key.clone(), nothing));
                state.len() - 1
            });
            let held = &mut state[at].1;
            match name.as_str() {
                Some("r") if committed && held != value => return None,
                Some("r") => {}
                Some("append") => held.as_array_mut().expect("a list").push(value.clone()),
                _ => *held = value.clone(),
            }
        }
        Some(state)
    }
}
