//! Several registers that are read and written together: every operation is a list of reads and writes that take
//! effect at one instant. Kin: Knossos's `multi-register`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Model;
use crate::general::Object;
use crate::{Op, OpEnd};

/// The registers, under whatever names operations use.
///
/// Understands `txn` of `["read", name, value]` and `["write", name, value]` (`r` and `w` for short).
#[derive(Debug, Clone, Default)]
pub struct MultiRegister {
    /// What each register holds at first. Where that is something, a read of `null` tells nothing, as in
    /// Knossos.
    pub initial: Value,
}

/// One read or write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Access {
    /// The register held the value.
    Read(String, Value),
    /// It holds the value from now on.
    Write(String, Value),
}

impl Model for MultiRegister {
    /// What was written to each register that differs from the initial value.
    type State = BTreeMap<String, Value>;
    type Call = Vec<Access>;

    fn init(&self) -> Self::State {
        BTreeMap::new()
    }

    fn step(&self, state: &Self::State, call: &Vec<Access>) -> Option<Self::State> {
        let mut state = state.clone();
        for access in call {
            match access {
                Access::Read(name, value) if state.get(name).unwrap_or(&self.initial) != value => {
                    return None;
                }
                Access::Read(..) => {}
                Access::Write(name, value) if *value == self.initial => {
                    state.remove(name);
                }
                Access::Write(name, value) => {
                    state.insert(name.clone(), value.clone());
                }
            }
        }
        Some(state)
    }

    fn is_pure(&self, call: &Vec<Access>) -> bool {
        call.iter().all(|access| matches!(access, Access::Read(..)))
    }
}

impl Object for MultiRegister {
    fn call(&self, op: &Op) -> Result<Option<Vec<Access>>, String> {
        if op.f != "txn" {
            return Err(format!("`{}` is not txn", op.f));
        }
        let parts = match op.end {
            OpEnd::Fail => return Ok(None),
            OpEnd::Ok => &op.output,
            OpEnd::Info => &op.input,
        };
        let accesses =
            parts.as_array().ok_or_else(|| format!("{parts} is not a list of reads and writes"))?;
        let mut call = Vec::with_capacity(accesses.len());
        for access in accesses {
            call.extend(self.access(access, op.end)?);
        }
        Ok((!call.is_empty()).then_some(call))
    }
}

impl MultiRegister {
    /// None for a read that tells nothing.
    fn access(&self, access: &Value, end: OpEnd) -> Result<Option<Access>, String> {
        let wrong = || format!("{access} is neither a read nor a write of a register");
        let [f, name, value] = access.as_array().map(Vec::as_slice).ok_or_else(wrong)? else {
            return Err(wrong());
        };
        let name = match name {
            Value::String(name) => name.clone(),
            other => other.to_string(),
        };
        match f.as_str() {
            Some("read" | "r") => {
                let tells = end == OpEnd::Ok && (self.initial.is_null() || !value.is_null());
                Ok(tells.then(|| Access::Read(name, value.clone())))
            }
            Some("write" | "w") => Ok(Some(Access::Write(name, value.clone()))),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::general::General;
    use crate::history::formats::{Leniency, read};
    use crate::{Budget, Checker, History};

    fn word(initial: Value, text: &str) -> &'static str {
        let events = read(text.as_bytes(), None, Leniency::Strict).expect("well formed").events;
        let history = History::from_events(events).expect("a history");
        General::new("multi-register", MultiRegister { initial }).check(&history, &Budget::default()).word()
    }

    fn op(process: u32, call: &str, kind: &str, back: &str) -> String {
        format!(
            "{{:process {process} :type :invoke :f :txn :value {call}}}\n\
             {{:process {process} :type {kind} :f :txn :value {back}}}\n"
        )
    }

    #[test]
    fn registers_are_written_together() {
        let write = op(0, "[[:write :x 1] [:write :y 2]]", ":ok", "[[:write :x 1] [:write :y 2]]");
        let read = |x: &str, y: &str| {
            op(1, "[[:read :x nil] [:read :y nil]]", ":ok", &format!("[[:read :x {x}] [:read :y {y}]]"))
        };
        assert_eq!(word(json!(0), &(write.clone() + &read("1", "2"))), "valid");
        assert_eq!(word(json!(0), &(write.clone() + &read("1", "0"))), "invalid");
        assert_eq!(word(json!(0), &(write.clone() + &read("nil", "2"))), "valid", "nil tells nothing");
        assert_eq!(word(Value::Null, &(write.clone() + &read("nil", "2"))), "invalid");
        let unsure = write.replace(":ok", ":info");
        assert_eq!(word(json!(0), &(unsure.clone() + &read("0", "0") + &read("1", "2"))), "valid");
        assert_eq!(word(json!(0), &(unsure + &read("0", "2"))), "invalid");
        assert_eq!(word(json!(0), &op(0, "[[:append :x 1]]", ":ok", "[[:append :x 1]]")), "unknown");
    }
}
