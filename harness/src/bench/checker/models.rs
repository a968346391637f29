//! Models for the general search, as a user of the library would write them.

use std::collections::BTreeMap;

use checker::general::Object;
use checker::model::Model;
use checker::{Op, OpEnd};
use serde_json::Value;

/// A register that is no register to the planner: integers, nothing known of them.
#[derive(Debug, Clone, Copy)]
pub struct PlainRegister;

/// A call on it, with its result. `None` is the initial value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegisterCall {
    Read(Option<i64>),
    Write(Option<i64>),
    Cas(Option<i64>, Option<i64>),
    /// A compare-and-set that nobody knows the result of.
    MaybeCas(Option<i64>, Option<i64>),
    Mismatch(Option<i64>),
}

impl Model for PlainRegister {
    type State = Option<i64>;
    type Call = RegisterCall;

    fn init(&self) -> Option<i64> {
        None
    }

    fn step(&self, held: &Option<i64>, call: &RegisterCall) -> Option<Option<i64>> {
        match *call {
            RegisterCall::Read(value) => (*held == value).then_some(value),
            RegisterCall::Write(value) => Some(value),
            RegisterCall::Cas(expected, new) | RegisterCall::MaybeCas(expected, new) => {
                (*held == expected).then_some(new)
            }
            RegisterCall::Mismatch(expected) => (*held != expected).then_some(*held),
        }
    }

    fn is_pure(&self, call: &RegisterCall) -> bool {
        matches!(call, RegisterCall::Read(_) | RegisterCall::Mismatch(_))
    }
}

impl Object for PlainRegister {
    fn call(&self, op: &Op) -> Result<Option<RegisterCall>, String> {
        let integer = |value: &Value| match value {
            Value::Null => Ok(None),
            value => value.as_i64().map(Some).ok_or_else(|| format!("{value} is not an integer")),
        };
        let pair = || match op.input.as_array().map(Vec::as_slice) {
            Some([expected, new]) => Ok((integer(expected)?, integer(new)?)),
            _ => Err(format!("{} is not a pair", op.input)),
        };
        Ok(match (&*op.f, op.end) {
            ("read", OpEnd::Ok) => Some(RegisterCall::Read(integer(&op.output)?)),
            ("write", OpEnd::Ok | OpEnd::Info) => Some(RegisterCall::Write(integer(&op.input)?)),
            ("cas", OpEnd::Ok) => pair().map(|(expected, new)| Some(RegisterCall::Cas(expected, new)))?,
            ("cas", OpEnd::Info) => {
                pair().map(|(expected, new)| Some(RegisterCall::MaybeCas(expected, new)))?
            }
            ("cas", OpEnd::Fail) if op.error.as_deref() == Some("mismatch") => {
                Some(RegisterCall::Mismatch(pair()?.0))
            }
            ("read" | "write" | "cas", _) => None,
            (f, _) => return Err(format!("`{f}` is not read, write or cas")),
        })
    }
}

/// A call on text, with its result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TextCall {
    Get(String),
    Put(String),
    Append(String),
}

impl TextCall {
    /// Of an operation on one key, whose arguments are in `input` and whose result is `output`.
    fn read(op: &Op, input: &Value, output: &Value) -> Result<Option<TextCall>, String> {
        let text = |value: &Value| match value {
            Value::String(text) => Ok(text.clone()),
            other => Err(format!("{other} is not text")),
        };
        Ok(match (&*op.f, op.end) {
            ("get", OpEnd::Ok) => Some(TextCall::Get(text(output)?)),
            ("put", OpEnd::Ok | OpEnd::Info) => Some(TextCall::Put(text(input)?)),
            ("append", OpEnd::Ok | OpEnd::Info) => Some(TextCall::Append(text(input)?)),
            ("get" | "put" | "append", _) => None,
            (f, _) => return Err(format!("`{f}` is not get, put or append")),
        })
    }

    fn step(&self, held: &str) -> Option<String> {
        match self {
            TextCall::Get(text) => (text == held).then(|| held.to_string()),
            TextCall::Put(text) => Some(text.clone()),
            TextCall::Append(text) => Some([held, text].concat()),
        }
    }
}

/// Text under one key: get, put, append; empty at first.
#[derive(Debug, Clone, Copy)]
pub struct Text;

impl Model for Text {
    type State = String;
    type Call = TextCall;

    fn init(&self) -> String {
        String::new()
    }

    fn step(&self, held: &String, call: &TextCall) -> Option<String> {
        call.step(held)
    }

    fn is_pure(&self, call: &TextCall) -> bool {
        matches!(call, TextCall::Get(_))
    }
}

impl Object for Text {
    fn call(&self, op: &Op) -> Result<Option<TextCall>, String> {
        TextCall::read(op, &op.input, &op.output)
    }
}

/// All keys of such a store as one object, without partitioning: the key is the first of two values.
#[derive(Debug, Clone, Copy)]
pub struct Store;

impl Model for Store {
    type State = BTreeMap<String, String>;
    type Call = (String, TextCall);

    fn init(&self) -> Self::State {
        BTreeMap::new()
    }

    fn step(&self, held: &Self::State, (key, call): &Self::Call) -> Option<Self::State> {
        let text = held.get(key).map_or("", String::as_str);
        let next = call.step(text)?;
        if next == text {
            return Some(held.clone());
        }
        let mut held = held.clone();
        held.insert(key.clone(), next);
        Some(held)
    }

    fn is_pure(&self, (_, call): &Self::Call) -> bool {
        matches!(call, TextCall::Get(_))
    }
}

impl Object for Store {
    fn call(&self, op: &Op) -> Result<Option<Self::Call>, String> {
        let nothing = Value::Null;
        let key = op.input[0].as_str().ok_or_else(|| format!("{} has no key", op.input))?;
        let output = op.output.get(1).unwrap_or(&nothing);
        Ok(TextCall::read(op, &op.input[1], output)?.map(|call| (key.to_string(), call)))
    }
}
