//! What the tables hold, row by row.

use std::collections::{BTreeMap, HashMap, VecDeque};

use checker::{Event, EventKind, FaultRecord, Process};
use serde::Deserialize;
use serde_json::{Value, json};

use super::What;
use super::lines;
use super::table::{Cell, Column, Kind, Rows};
use crate::error::Result;
use crate::layout::RunFolder;
use crate::strikes::StrikeLine;
use crate::summary::NodeEvent;

const fn must(name: &'static str, kind: Kind, about: &'static str) -> Column {
    Column { name, kind, nullable: false, about }
}

const fn may(name: &'static str, kind: Kind, about: &'static str) -> Column {
    Column { name, kind, nullable: true, about }
}

/// A call with its outcome a row, in order of the calls.
const OPERATIONS: &[Column] = &[
    must("index", Kind::Int, "position of the call among all events: the operation's name in anomalies"),
    must("process", Kind::Int, "who called"),
    must("f", Kind::Text, "what was called: read, write, cas, …"),
    may("key", Kind::Text, "on which object; a key that is no text as JSON"),
    may("value", Kind::Json, "the argument, as JSON"),
    may("value_int", Kind::Int, "the argument where it is an integer"),
    may("result", Kind::Json, "the result of a call that ended ok, as JSON"),
    may("result_int", Kind::Int, "the result where it is an integer"),
    must("end", Kind::Text, "ok: it took effect; fail: it never will; info: nobody knows"),
    may("error", Kind::Text, "why it failed, or why nobody knows"),
    must("call_ns", Kind::Int, "when it was called, nanoseconds of the run clock"),
    may(
        "ret_ns",
        Kind::Int,
        "when its client had an answer or gave up, nanoseconds of the run clock; none: never",
    ),
    may("ret_index", Kind::Int, "position of that among all events"),
    may("shard", Kind::Int, "the shard that owns the key"),
    may("epoch", Kind::Int, "epoch of the master that was called"),
    may("node", Kind::Text, "the node that was called"),
];

/// A fault a row, in order of their windows.
const FAULTS: &[Column] = &[
    must("id", Kind::Int, "number of the window in the schedule"),
    must("kind", Kind::Text, "family: kill, pause, partition, …"),
    must("detail", Kind::Text, "what exactly"),
    must("target", Kind::Text, "whom the schedule names"),
    must("nodes", Kind::Json, "the nodes that were struck, an array"),
    must("roles", Kind::Json, "the role each had at that moment, an array in the same order"),
    must("wide", Kind::Bool, "whether other nodes feel it too"),
    must("start_ns", Kind::Int, "when it struck, nanoseconds of the run clock"),
    may("stop_ns", Kind::Int, "when it was healed; none: it was not"),
    must("installed", Kind::Bool, "whether there is evidence that it took effect"),
    must("evidence", Kind::Json, "that evidence: an array of pairs of what and how much"),
];

/// A step of an agent a row, in order of time.
const EVENTS: &[Column] = &[
    must("time_ns", Kind::Int, "nanoseconds of the run clock; less than 0 before the load began"),
    must("shard", Kind::Int, "the agent's shard"),
    must("node", Kind::Text, "the agent's node"),
    must("step", Kind::Text, "suspected, lease_lost, proposed, elected, fenced, promoted, following, …"),
    must("epoch", Kind::Int, "the epoch it belongs to"),
    must("detail", Kind::Text, "why or how, for people"),
];

/// A message that was altered a row, in order.
const MESSAGES: &[Column] = &[
    must("time_ns", Kind::Int, "nanoseconds of the run clock"),
    must("fault", Kind::Int, "number of the window that did it"),
    must("sender", Kind::Text, "the node that sent it"),
    must("receiver", Kind::Text, "the node it was meant for"),
    must("told", Kind::Text, "what was done to it, in a sentence"),
    must("strike", Kind::Json, "all of it: link, way, kind, counts, offsets, bytes before and after"),
];

/// The columns of a table.
pub(super) fn columns(what: What) -> &'static [Column] {
    match what {
        What::Operations => OPERATIONS,
        What::Faults => FAULTS,
        What::Events => EVENTS,
        What::Messages => MESSAGES,
    }
}

/// Hands on all rows of a table; how many there were, and notes.
pub(super) fn each(folder: &RunFolder, what: What, sink: &mut dyn Rows) -> Result<(u64, Vec<String>)> {
    let mut sink = Counted { sink, rows: 0 };
    let notes = match what {
        What::Operations => operations(folder, &mut sink)?,
        What::Faults => faults(folder, &mut sink)?,
        What::Events => lines::each(&folder.events(), |event: NodeEvent| sink.push(&event_row(&event)))?,
        What::Messages => lines::each(&folder.strikes(), |line: StrikeLine| sink.push(&message_row(&line)))?,
    };
    Ok((sink.rows, notes.into_iter().collect()))
}

struct Counted<'s> {
    sink: &'s mut dyn Rows,
    rows: u64,
}

impl Rows for Counted<'_> {
    fn push(&mut self, row: &[Cell<'_>]) -> Result<()> {
        self.rows += 1;
        self.sink.push(row)
    }
}

/// A call that waits for its outcome, or for those before it to have theirs.
struct Waiting {
    call: Event,
    index: u64,
    /// The completion, and its position.
    end: Option<(Event, u64)>,
    is_over: bool,
}

/// Just enough of a line to see who is still at it when the file ends.
#[derive(Deserialize)]
struct Edge {
    process: Process,
    #[serde(rename = "type")]
    kind: EventKind,
}

fn operations(folder: &RunFolder, sink: &mut dyn Rows) -> Result<Option<String>> {
    let path = folder.history();
    // Calls that never come back: nobody behind them may wait for that, or all of the history would be held.
    let mut open = HashMap::new();
    let mut position = 0u64;
    lines::each(&path, |edge: Edge| {
        match edge.kind {
            EventKind::Invoke => drop(open.insert(edge.process, position)),
            _ => drop(open.remove(&edge.process)),
        }
        position += 1;
        Ok(())
    })?;
    let mut waiting: VecDeque<Waiting> = VecDeque::new();
    let mut first = 0u64; // number of the call at the front
    let mut calls: HashMap<Process, u64> = HashMap::new();
    let mut position = 0u64;
    let note = lines::each(&path, |event: Event| {
        let at = position;
        position += 1;
        if event.process == Process::Nemesis {
            return Ok(());
        }
        match event.kind {
            EventKind::Invoke => {
                calls.insert(event.process, first + waiting.len() as u64);
                let index = if event.index == 0 { at } else { event.index };
                let is_over = open.get(&event.process) == Some(&at);
                waiting.push_back(Waiting { call: event, index, end: None, is_over });
            }
            _ => {
                // A completion of nothing is no operation.
                let Some(number) = calls.remove(&event.process) else { return Ok(()) };
                if let Some(call) = waiting.get_mut((number - first) as usize) {
                    call.end = Some((event, at));
                    call.is_over = true;
                }
            }
        }
        while waiting.front().is_some_and(|call| call.is_over) {
            let call = waiting.pop_front();
            first += 1;
            call.iter().try_for_each(|call| sink.push(&operation_row(call)))?;
        }
        Ok(())
    })?;
    waiting.iter().try_for_each(|call| sink.push(&operation_row(call)))?;
    Ok(note)
}

fn operation_row(waiting: &Waiting) -> [Cell<'_>; 16] {
    let call = &waiting.call;
    let end = waiting.end.as_ref().map(|(event, _)| event);
    let kind = end.map_or(EventKind::Info, |event| event.kind);
    let is_ok = kind == EventKind::Ok;
    let result = end.filter(|_| is_ok).map_or(&Value::Null, |event| &event.value);
    // What was sent is the call's; where it went, the answer knows.
    let last = end.unwrap_or(call);
    let process = match call.process {
        Process::Client(number) => Some(number),
        Process::Nemesis => None,
    };
    [
        Cell::int(Some(waiting.index)),
        Cell::int(process),
        Cell::text(&call.f),
        match &call.key {
            None | Some(Value::Null) => Cell::Null,
            Some(Value::String(key)) => Cell::text(key),
            Some(other) => Cell::json(other),
        },
        Cell::json(&call.value),
        Cell::int_of(&call.value),
        // A read of nothing is something else than no answer.
        if is_ok { Cell::Text(result.to_string().into()) } else { Cell::Null },
        Cell::int_of(result),
        Cell::text(match kind {
            EventKind::Ok => "ok",
            EventKind::Fail => "fail",
            EventKind::Info | EventKind::Invoke => "info",
        }),
        Cell::maybe(last.error.as_deref()),
        Cell::int(Some(call.time_ns)),
        Cell::int(end.map(|event| event.time_ns)),
        Cell::int(waiting.end.as_ref().map(|(_, at)| *at)),
        Cell::int(last.shard.or(call.shard).map(u64::from)),
        Cell::int(last.epoch.or(call.epoch)),
        Cell::maybe(last.node.as_deref().or(call.node.as_deref())),
    ]
}

fn faults(folder: &RunFolder, sink: &mut dyn Rows) -> Result<Option<String>> {
    let mut last: BTreeMap<u64, FaultRecord> = BTreeMap::new();
    let note = lines::each(&folder.history(), |event: Event| {
        if event.process == Process::Nemesis
            && event.f.starts_with("fault-")
            && let Ok(fault) = serde_json::from_value::<FaultRecord>(event.value)
        {
            last.insert(fault.id, fault);
        }
        Ok(())
    })?;
    last.values().try_for_each(|fault| sink.push(&fault_row(fault)))?;
    Ok(note)
}

fn fault_row(fault: &FaultRecord) -> [Cell<'_>; 11] {
    [
        Cell::int(Some(fault.id)),
        Cell::text(&fault.kind),
        Cell::text(&fault.detail),
        Cell::text(&fault.target),
        Cell::json(&json!(fault.nodes)),
        Cell::json(&json!(fault.roles)),
        Cell::Bool(fault.wide),
        Cell::int(Some(fault.start_ns)),
        Cell::int(fault.stop_ns),
        Cell::Bool(fault.installed),
        Cell::json(&json!(fault.evidence)),
    ]
}

fn event_row(event: &NodeEvent) -> [Cell<'_>; 6] {
    [
        Cell::Int(event.time_ns),
        Cell::Int(event.shard.into()),
        Cell::text(&event.node),
        Cell::text(&event.step),
        Cell::int(Some(event.epoch)),
        Cell::text(&event.detail),
    ]
}

fn message_row(line: &StrikeLine) -> [Cell<'_>; 6] {
    [
        Cell::Int(line.time_ns),
        Cell::int(Some(line.fault)),
        Cell::text(&line.from),
        Cell::text(&line.to),
        Cell::text(&line.told),
        Cell::Text(line.strike.to_string().into()),
    ]
}
