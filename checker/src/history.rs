//! What was seen from outside: events, and the operations they pair up to.
//!
//! One [`Event`] is one line of `history.jsonl`. The order of the lines is the order of the events; times
//! are for people. Keys follow Jepsen's: `index`, `time`, `process`, `type`, `f`, `value`.

mod convention;
mod draw;
mod form;
pub mod formats;
mod pair;
mod parse;
pub mod sketch;

pub use draw::draw;
pub use form::FormError;
pub use pair::HistoryBuilder;
pub use parse::{CutLine, ParseError, ParsedHistory, parse_bytes, parse_line, parse_lines};

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who did it: a client process, or the nemesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "ProcessForm", into = "ProcessForm")]
pub enum Process {
    /// A logical client: single-threaded, retired after an indefinite outcome.
    Client(u64),
    /// The fault injector.
    Nemesis,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum ProcessForm {
    Number(u64),
    Name(Cow<'static, str>),
}

impl TryFrom<ProcessForm> for Process {
    type Error = String;

    fn try_from(form: ProcessForm) -> Result<Self, String> {
        match form {
            ProcessForm::Number(n) => Ok(Process::Client(n)),
            ProcessForm::Name(name) if name == "nemesis" => Ok(Process::Nemesis),
            ProcessForm::Name(name) => Err(format!("process `{name}` is neither a number nor nemesis")),
        }
    }
}

impl From<Process> for ProcessForm {
    fn from(process: Process) -> Self {
        match process {
            Process::Client(n) => ProcessForm::Number(n),
            Process::Nemesis => ProcessForm::Name(Cow::Borrowed("nemesis")),
        }
    }
}

/// Where in its life an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The call begins; recorded before anything is sent.
    Invoke,
    /// It took effect.
    Ok,
    /// It certainly did not take effect.
    Fail,
    /// Nobody can say; also used for every nemesis event.
    Info,
}

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the history, from 0.
    #[serde(default)]
    pub index: u64,
    /// Nanoseconds since the run began, on the run's monotonic clock; 0 where nobody looked.
    #[serde(rename = "time", default)]
    pub time_ns: u64,
    /// Who.
    pub process: Process,
    /// Which edge.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// What: `read`, `write`, `cas`, …; for the nemesis `fault-start`, `fault-stop`, `phase`.
    pub f: Cow<'static, str>,
    /// The partition it touches, if the workload has partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// Argument at the invocation, result at the completion (`cas`: `[expected, new]`); a [`FaultRecord`]
    /// at a fault's edges.
    #[serde(default)]
    pub value: Value,
    /// Why it failed, or why nobody can say. `mismatch` on a failed `cas` is also an observation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'static, str>>,
    /// Shard that owns the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u32>,
    /// Epoch of the master the call was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Node the call was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Cow<'static, str>>,
}

/// One injected harm, as recorded at its edges. A fault without evidence counts as not installed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// Number of the window in the schedule, from 0.
    pub id: u64,
    /// Family: `kill`, `pause`, `partition`, `delay`, `loss`, ….
    pub kind: String,
    /// What exactly, for people: `isolate one`, `kill -9, restart after 2 s`.
    pub detail: String,
    /// The symbolic target drawn from the seed: `master of shard 0`.
    pub target: String,
    /// Nodes it resolved to when it struck.
    pub nodes: Vec<String>,
    /// Role each of those nodes held at that moment, same order.
    pub roles: Vec<String>,
    /// True when it strikes links between nodes beyond those, so that any server may feel it: a ring, halves.
    #[serde(default)]
    pub wide: bool,
    /// When it struck, nanoseconds of the run clock.
    pub start_ns: u64,
    /// When it was healed; none while it lasts.
    pub stop_ns: Option<u64>,
    /// Did it take effect? True only with evidence.
    pub installed: bool,
    /// What shows it: `packets dropped` → `1204`, `state seen` → `T (stopped)`; or why it was not installed.
    pub evidence: Vec<(String, String)>,
}

/// How an operation ended, as far as its client could tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpEnd {
    /// Took effect at one instant of its interval.
    Ok,
    /// Certainly had no effect.
    Fail,
    /// May take effect at any later time, or never.
    Info,
}

/// A call paired with its outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Op {
    /// Index of its invocation event; its name in anomalies.
    pub index: u64,
    /// Who called.
    pub process: Process,
    /// What was called.
    pub f: Cow<'static, str>,
    /// The partition it touches; [`Value::Null`] when there is none.
    pub key: Value,
    /// The argument.
    pub input: Value,
    /// The result; [`Value::Null`] unless [`OpEnd::Ok`].
    pub output: Value,
    /// How it ended.
    pub end: OpEnd,
    /// The error's text at its completion, if any.
    pub error: Option<Cow<'static, str>>,
    /// Position of the invocation among all events.
    pub call: u64,
    /// Position of the completion; `u64::MAX` when it never came or was [`OpEnd::Info`].
    pub ret: u64,
    /// Time of the invocation, nanoseconds of the run clock.
    pub call_ns: u64,
    /// Time of the completion line, if there was one (an `info` has one too).
    pub ret_ns: Option<u64>,
    /// Shard, epoch and node the call was sent to, where the client knew.
    pub shard: Option<u32>,
    /// Epoch of that master.
    pub epoch: Option<u64>,
    /// That node.
    pub node: Option<Cow<'static, str>>,
}

/// A whole history: operations in order of invocation, and faults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Client operations, in order of invocation.
    pub ops: Vec<Op>,
    /// Faults, in order of start, with what is known at their last edge.
    pub faults: Vec<FaultRecord>,
    /// Time of the last event, nanoseconds of the run clock.
    pub end_ns: u64,
}
