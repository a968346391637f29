//! How operations are spoken of.

use serde_json::{Value, json};

use super::Case;
use crate::Op;
use crate::model::register::{RegisterCall, ValueId};

/// Longest text that a sentence shows in full, in characters.
const TEXT_CHARS_MAX: usize = 60;

impl Case<'_, '_> {
    pub(super) fn op(&self, entry: usize) -> &Op {
        &self.history.ops[self.part.entries[entry].op]
    }

    pub(super) fn call(&self, entry: usize) -> RegisterCall {
        self.part.entries[entry].call
    }

    pub(super) fn value(&self, value: ValueId) -> String {
        self.part.values.get(value as usize).map(|value| spoken(value)).unwrap_or_default()
    }

    pub(super) fn is_append(&self, entry: usize) -> bool {
        self.op(entry).f == "append"
    }

    /// The operation as a noun.
    pub(super) fn subject(&self, entry: usize) -> String {
        let op = self.op(entry);
        let process = op.process;
        match &*op.f {
            "get" => return format!("get of {} by process {process}", text(&op.output)),
            "put" | "append" => return format!("{} of {} by process {process}", op.f, text(&op.input)),
            "fetch_add" => {
                let (delta, before) = (spoken(&op.input), spoken(&op.output));
                return format!("fetch-and-add of {delta} to {before} by process {process}");
            }
            "add" | "remove" | "contains" => {
                return format!("{} of {} by process {process}", op.f, spoken(&op.input));
            }
            "read" if op.output.is_array() && self.is_element() => {
                return format!("read by process {process}");
            }
            _ => {}
        }
        match self.call(entry) {
            RegisterCall::Read(value) => format!("read of {} by process {process}", self.value(value)),
            RegisterCall::Write(value) => format!("write of {} by process {process}", self.value(value)),
            RegisterCall::Cas(expected, new) => {
                let (expected, new) = (self.value(expected), self.value(new));
                format!("compare-and-set from {expected} to {new} by process {process}")
            }
            RegisterCall::Differs(expected) => {
                format!("compare-and-set from {} by process {process}", self.value(expected))
            }
        }
    }

    pub(super) fn noun(&self, entry: usize) -> &str {
        match &*self.op(entry).f {
            "cas" => "compare-and-set",
            "fetch_add" => "fetch-and-add",
            f => f,
        }
    }

    /// What it says, in the past.
    pub(super) fn claim(&self, entry: usize) -> String {
        let op = self.op(entry);
        match (&*op.f, self.call(entry)) {
            ("get", _) => format!("get by process {} returned {}", op.process, text(&op.output)),
            (_, RegisterCall::Read(value)) if self.is_element() => self.sight(entry, value),
            (_, RegisterCall::Read(value)) => {
                format!("read by process {} returned {}", op.process, self.value(value))
            }
            ("append", _) => {
                format!("process {} appended {} to what was there before", op.process, text(&op.input))
            }
            _ => format!("the {} took effect", self.subject(entry)),
        }
    }

    /// What was known once it had returned.
    pub(super) fn outcome(&self, entry: usize) -> String {
        let op = self.op(entry);
        match (&*op.f, self.call(entry)) {
            ("get", _) => format!("{} had already been returned to process {}", text(&op.output), op.process),
            (_, RegisterCall::Read(value)) if !self.is_element() => {
                format!("{} had already been returned to process {}", self.value(value), op.process)
            }
            _ => format!("the {} had returned", self.subject(entry)),
        }
    }

    /// Is this one element of a set, whose values are absent and present?
    fn is_element(&self) -> bool {
        self.part.entries.first().is_some_and(|entry| {
            let op = &self.history.ops[entry.op];
            matches!(&*op.f, "add" | "remove" | "contains")
                || op.f == "read" && self.part.values.len() == 2 && op.output.is_array()
        })
    }

    fn sight(&self, entry: usize, value: ValueId) -> String {
        let op = self.op(entry);
        let verb = match (&*op.f, value) {
            ("read", 0) => "missed",
            ("read", _) => "showed",
            (_, 0) => "did not find",
            _ => "found",
        };
        format!("{} by process {} {verb} {}", op.f, op.process, self.value(1))
    }
}

/// A value as people say it: text without quotes.
pub(crate) fn spoken(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text in quotes, its end where it is long.
fn text(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    let cut = text.chars().count().saturating_sub(TEXT_CHARS_MAX);
    let end: String = text.chars().skip(cut).collect();
    json!(if cut > 0 { format!("…{end}") } else { end }).to_string()
}
