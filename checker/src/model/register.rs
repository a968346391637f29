//! A register: read, write, compare-and-set; `null` until first written.

use rustc_hash::FxHashMap;
use serde_json::Value;
use thiserror::Error;

use super::{Entry, Model};
use crate::{History, Op, OpEnd};

/// A value by its number within one partition. [`NULL`] is the initial value.
pub type ValueId = u32;

/// The value nobody wrote: the register's first.
pub const NULL: ValueId = 0;

/// What an operation tells about the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegisterCall {
    /// It held the value.
    Read(ValueId),
    /// It holds the value from now on.
    Write(ValueId),
    /// It held the first and holds the second from now on.
    Cas(ValueId, ValueId),
    /// It did not hold the value: a compare-and-set that failed with `mismatch`.
    Differs(ValueId),
}

impl RegisterCall {
    /// The value it leaves behind, if it leaves any.
    pub fn writes(self) -> Option<ValueId> {
        match self {
            RegisterCall::Write(value) | RegisterCall::Cas(_, value) => Some(value),
            RegisterCall::Read(_) | RegisterCall::Differs(_) => None,
        }
    }

    /// The value the register must hold for it, if there is one.
    pub fn needs(self) -> Option<ValueId> {
        match self {
            RegisterCall::Read(value) | RegisterCall::Cas(value, _) => Some(value),
            RegisterCall::Write(_) | RegisterCall::Differs(_) => None,
        }
    }
}

/// The model over value numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Register;

impl Model for Register {
    type State = ValueId;
    type Call = RegisterCall;

    fn init(&self) -> ValueId {
        NULL
    }

    fn step(&self, state: &ValueId, call: &RegisterCall) -> Option<ValueId> {
        match *call {
            RegisterCall::Read(value) => (*state == value).then_some(*state),
            RegisterCall::Write(value) => Some(value),
            RegisterCall::Cas(expected, new) => (*state == expected).then_some(new),
            RegisterCall::Differs(value) => (*state != value).then_some(*state),
        }
    }

    fn is_pure(&self, call: &RegisterCall) -> bool {
        matches!(call, RegisterCall::Read(_) | RegisterCall::Differs(_))
    }
}

/// Why an operation is not one of a register.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotRegister {
    /// Another function.
    #[error("operation {index} is `{f}`, and a register knows only read, write and cas")]
    Function {
        /// Index of its invocation.
        index: u64,
        /// What was called.
        f: String,
    },
    /// A `cas` whose argument is not a pair.
    #[error("operation {index} is a cas of {value}, which is not a pair [expected, new]")]
    Pair {
        /// Index of its invocation.
        index: u64,
        /// Its argument.
        value: String,
    },
}

/// The operations of one partition, values as small numbers.
#[derive(Debug, Clone, Default)]
pub struct RegisterPart<'h> {
    /// What the engines judge, in order of invocation. Operations that certainly had no effect and told
    /// nothing, and reads without a result, are not among them.
    pub entries: Vec<Entry<RegisterCall>>,
    /// The value of each number.
    pub values: Vec<&'h Value>,
    /// Operations that failed without effect, but whose value was met all the same although nobody else
    /// wrote it; by place in `History::ops`, in order of invocation.
    pub failed: Vec<(usize, ValueId)>,
}

impl<'h> RegisterPart<'h> {
    /// Reads the operations at `places` of `history.ops`; all must touch the same key.
    pub fn new(history: &'h History, places: &[usize]) -> Result<Self, NotRegister> {
        let mut reader = Reader { part: RegisterPart::default(), numbers: Numbers::new(places.len()) };
        reader.part.entries.reserve(places.len());
        reader.number(&Value::Null);
        for &place in places {
            reader.read(place, &history.ops[place])?;
        }
        reader.failed(history, places);
        Ok(reader.part)
    }

    /// How many different values there are, the initial one among them.
    pub fn values_len(&self) -> usize {
        self.values.len()
    }
}

struct Reader<'h> {
    part: RegisterPart<'h>,
    numbers: Numbers<'h>,
}

/// The number of each value met so far. Small integers and text, which is what workloads write, have roads
/// of their own: hashing a [`Value`] costs more than all the rest of the reading.
struct Numbers<'h> {
    /// By the integer itself; 0 where it was not met.
    small: Vec<ValueId>,
    texts: FxHashMap<&'h str, ValueId>,
    others: FxHashMap<&'h Value, ValueId>,
}

impl<'h> Numbers<'h> {
    fn new(ops: usize) -> Self {
        let small = vec![0; ops * 2 + 64];
        Numbers { small, texts: FxHashMap::default(), others: FxHashMap::default() }
    }

    /// The value's number; `fresh` if it is new.
    fn of(&mut self, value: &'h Value, fresh: ValueId) -> ValueId {
        match value {
            Value::Null => NULL,
            Value::String(text) => *self.texts.entry(text).or_insert(fresh),
            Value::Number(number) => match number.as_u64().and_then(|n| self.small.get_mut(n as usize)) {
                Some(known) => {
                    if *known == 0 {
                        *known = fresh;
                    }
                    *known
                }
                None => *self.others.entry(value).or_insert(fresh),
            },
            _ => *self.others.entry(value).or_insert(fresh),
        }
    }
}

/// What an operation's own function makes of it, with values as they are.
enum Shape<'h> {
    Read,
    Write(&'h Value),
    Cas(&'h Value, &'h Value),
}

impl<'h> Shape<'h> {
    fn of(op: &'h Op) -> Result<Self, NotRegister> {
        match &*op.f {
            "read" => Ok(Shape::Read),
            "write" => Ok(Shape::Write(&op.input)),
            "cas" => {
                let Value::Array(pair) = &op.input else { return Err(not_a_pair(op)) };
                let [expected, new] = pair.as_slice() else { return Err(not_a_pair(op)) };
                Ok(Shape::Cas(expected, new))
            }
            f => Err(NotRegister::Function { index: op.index, f: f.to_string() }),
        }
    }
}

impl<'h> Reader<'h> {
    fn number(&mut self, value: &'h Value) -> ValueId {
        let fresh = self.part.values.len() as ValueId;
        let number = self.numbers.of(value, fresh);
        if number == fresh {
            self.part.values.push(value);
        }
        number
    }

    fn read(&mut self, place: usize, op: &'h Op) -> Result<(), NotRegister> {
        // Values that only failed operations would have written get no number: there may be many of them.
        let call = match (Shape::of(op)?, op.end) {
            (Shape::Read, OpEnd::Ok) => RegisterCall::Read(self.number(&op.output)),
            (Shape::Cas(expected, _), OpEnd::Fail) if op.error.as_deref() == Some("mismatch") => {
                RegisterCall::Differs(self.number(expected))
            }
            (Shape::Read, _) | (_, OpEnd::Fail) => return Ok(()),
            (Shape::Write(value), _) => RegisterCall::Write(self.number(value)),
            (Shape::Cas(expected, new), _) => RegisterCall::Cas(self.number(expected), self.number(new)),
        };
        let ret = if op.end == OpEnd::Info { u64::MAX } else { op.ret };
        self.part.entries.push(Entry { call, inv: op.call, ret, op: place });
        Ok(())
    }

    /// Looks for the failed writers of values that were met, but written by nobody: rarely are there any.
    fn failed(&mut self, history: &'h History, places: &[usize]) {
        let mut nobodys = vec![true; self.part.values.len()];
        nobodys[NULL as usize] = false;
        for value in self.part.entries.iter().filter_map(|entry| entry.call.writes()) {
            nobodys[value as usize] = false;
        }
        let mut needed = self.part.entries.iter().filter_map(|entry| entry.call.needs());
        if !needed.any(|value| nobodys[value as usize]) {
            return;
        }
        for &place in places {
            let op = &history.ops[place];
            let (OpEnd::Fail, Ok(Shape::Write(value) | Shape::Cas(_, value))) = (op.end, Shape::of(op))
            else {
                continue;
            };
            // Values that were never met pass for the initial one here.
            let number = self.numbers.of(value, NULL);
            if nobodys[number as usize] {
                self.part.failed.push((place, number));
            }
        }
    }
}

fn not_a_pair(op: &Op) -> NotRegister {
    NotRegister::Pair { index: op.index, value: op.input.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sketch;

    fn calls(drawing: &str) -> Vec<RegisterCall> {
        let history = sketch::history(drawing).expect("well drawn");
        let places: Vec<usize> = (0..history.ops.len()).collect();
        let part = RegisterPart::new(&history, &places).expect("a register");
        part.entries.iter().map(|entry| entry.call).collect()
    }

    #[test]
    fn only_what_tells_something_is_kept() {
        use RegisterCall::{Cas, Differs, Read, Write};
        assert_eq!(calls("p0 |-w5-| |-r5-| |-c5>6-| |-r_-|"), [Write(1), Read(1), Cas(1, 2), Read(0)]);
        assert_eq!(calls("p0 |-w5-x |-r5-x |-c5>6-x |-c5>6-# |-w7-?"), [Differs(1), Write(2)]);
    }

    #[test]
    fn failed_writers_are_kept_where_their_value_was_met_and_nobody_else_wrote_it() {
        let failed = |drawing: &str| {
            let history = sketch::history(drawing).expect("well drawn");
            let places: Vec<usize> = (0..history.ops.len()).collect();
            RegisterPart::new(&history, &places).expect("a register").failed
        };
        assert_eq!(failed("p0 |-w5-x |-c1>6-x |-r6-| |-w5-| |-r5-|"), [(1, 1)]);
        assert_eq!(failed("p0 |-w5-x |-c1>6-x |-w5-| |-r5-|"), []);
    }

    #[test]
    fn a_foreign_operation_is_named() {
        let mut history = sketch::history("p0 |-w1-| |-c1>2-|").expect("well drawn");
        history.ops[1].input = Value::from(3);
        let error = RegisterPart::new(&history, &[0, 1]).expect_err("not a pair");
        assert_eq!(error.to_string(), "operation 2 is a cas of 3, which is not a pair [expected, new]");
        history.ops[0].f = "enqueue".into();
        let error = RegisterPart::new(&history, &[0, 1]).expect_err("not a register");
        assert_eq!(
            error.to_string(),
            "operation 0 is `enqueue`, and a register knows only read, write and cas"
        );
    }
}
