//! Pairing calls with returns, and the two edges of a fault.

use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::Value;

use super::{Event, EventKind, FaultRecord, FormError, History, Op, OpEnd, Process};

/// Builds a [`History`] event by event, in the order of the log. Each event costs O(1).
#[derive(Debug, Default)]
pub struct HistoryBuilder {
    history: History,
    /// Where each client stands.
    clients: FxHashMap<u64, Client>,
    /// Where each fault's record lies in `history.faults`.
    faults: FxHashMap<u64, usize>,
    /// Events seen so far, of whatever kind.
    position: u64,
}

/// A client's last call, by its place in `History::ops`, and where that call is.
#[derive(Debug, Clone, Copy)]
struct Client {
    op: usize,
    stands: Stands,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Open,
    Completed,
    Retired,
}

impl HistoryBuilder {
    /// A builder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next event of the log.
    ///
    /// Nemesis events other than `fault-start` and `fault-stop` only advance the position and the clock.
    pub fn push(&mut self, event: Event) -> Result<(), FormError> {
        let position = self.position;
        self.position += 1;
        self.history.end_ns = self.history.end_ns.max(event.time_ns);
        match event.process {
            Process::Nemesis => self.fault_edge(event),
            Process::Client(id) => match event.kind {
                EventKind::Invoke => self.call(id, event, position),
                _ => self.complete(id, event, position),
            },
        }
    }

    /// The history so far; calls still open are indefinite.
    pub fn so_far(&self) -> &History {
        &self.history
    }

    /// The history so far, for good.
    pub fn finish(self) -> History {
        self.history
    }

    fn call(&mut self, id: u64, event: Event, position: u64) -> Result<(), FormError> {
        if let Some(client) = self.clients.get(&id) {
            let last = self.history.ops[client.op].index;
            let (index, process) = (event.index, event.process);
            match client.stands {
                Stands::Open => return Err(FormError::CallWhileOpen { index, process, open: last }),
                Stands::Retired => return Err(FormError::AfterInfo { index, process, call: last }),
                Stands::Completed => {}
            }
        }
        self.clients.insert(id, Client { op: self.history.ops.len(), stands: Stands::Open });
        self.history.ops.push(Op {
            index: event.index,
            process: event.process,
            f: event.f,
            key: event.key.unwrap_or(Value::Null),
            input: event.value,
            output: Value::Null,
            end: OpEnd::Info,
            error: event.error,
            call: position,
            ret: u64::MAX,
            call_ns: event.time_ns,
            ret_ns: None,
            shard: event.shard,
            epoch: event.epoch,
            node: event.node,
        });
        Ok(())
    }

    fn complete(&mut self, id: u64, event: Event, position: u64) -> Result<(), FormError> {
        let (index, process) = (event.index, event.process);
        let Some(client) = self.clients.get_mut(&id) else {
            return Err(FormError::NoCall { index, process });
        };
        let op = &mut self.history.ops[client.op];
        match client.stands {
            Stands::Completed => return Err(FormError::TwoCompletions { index, process, call: op.index }),
            Stands::Retired => return Err(FormError::AfterInfo { index, process, call: op.index }),
            Stands::Open => {}
        }
        if event.f != op.f || event.key.as_ref().is_some_and(|key| *key != op.key) {
            return Err(other_call(op, &event));
        }
        client.stands = if event.kind == EventKind::Info { Stands::Retired } else { Stands::Completed };
        match event.kind {
            EventKind::Ok => {
                op.end = OpEnd::Ok;
                op.output = event.value;
                op.ret = position;
            }
            EventKind::Fail => {
                op.end = OpEnd::Fail;
                op.ret = position;
            }
            EventKind::Info | EventKind::Invoke => {}
        }
        op.ret_ns = Some(event.time_ns);
        op.error = event.error;
        // The client may learn only on the way which server it spoke to.
        op.shard = event.shard.or(op.shard);
        op.epoch = event.epoch.or(op.epoch);
        op.node = event.node.or(op.node.take());
        Ok(())
    }

    fn fault_edge(&mut self, event: Event) -> Result<(), FormError> {
        let Some(record) = fault(&event)? else { return Ok(()) };
        match self.faults.get(&record.id) {
            Some(&at) => self.history.faults[at] = record,
            None => {
                self.faults.insert(record.id, self.history.faults.len());
                self.history.faults.push(record);
            }
        }
        Ok(())
    }
}

/// The record at a fault's edge; none at other events.
pub(super) fn fault(event: &Event) -> Result<Option<FaultRecord>, FormError> {
    if event.f != "fault-start" && event.f != "fault-stop" {
        return Ok(None);
    }
    FaultRecord::deserialize(&event.value).map(Some).map_err(|error| FormError::BadFault {
        index: event.index,
        edge: event.f.to_string(),
        why: error.to_string(),
    })
}

impl History {
    /// Pairs the events of a log, in its order, into operations and faults.
    ///
    /// A call without completion is [`OpEnd::Info`]. An event that cannot be paired is a [`FormError`] that
    /// names it.
    pub fn from_events(events: impl IntoIterator<Item = Event>) -> Result<History, FormError> {
        let mut builder = HistoryBuilder::new();
        for event in events {
            builder.push(event)?;
        }
        Ok(builder.finish())
    }
}

fn other_call(op: &Op, event: &Event) -> FormError {
    let named = |f: &str, key: &Value| if key.is_null() { f.to_string() } else { format!("{f} {key}") };
    FormError::OtherCall {
        index: event.index,
        process: event.process,
        call: op.index,
        called: named(&op.f, &op.key),
        found: named(&event.f, event.key.as_ref().unwrap_or(&op.key)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_lines;
    use super::*;

    fn history(lines: &str) -> Result<History, FormError> {
        History::from_events(parse_lines(lines).expect("the test's lines parse").events)
    }

    fn line(process: &str, kind: &str, f: &str) -> String {
        format!(
            "{{\"time\":1,\"process\":{process},\"type\":\"{kind}\",\"f\":\"{f}\",\"key\":1,\"value\":7}}\n"
        )
    }

    #[test]
    fn a_call_and_its_return_are_one_operation() {
        let lines = line("0", "invoke", "write") + &line("1", "invoke", "read") + &line("0", "ok", "write");
        let history = history(&lines).expect("well formed");
        assert_eq!(history.ops.len(), 2);
        assert_eq!((history.ops[0].call, history.ops[0].ret, history.ops[0].end), (0, 2, OpEnd::Ok));
        assert_eq!((history.ops[1].ret, history.ops[1].end), (u64::MAX, OpEnd::Info), "left open");
    }

    #[test]
    fn an_indefinite_return_leaves_the_interval_open_but_keeps_its_time() {
        let lines = line("0", "invoke", "write") + &line("0", "info", "write");
        let history = history(&lines).expect("well formed");
        assert_eq!((history.ops[0].ret, history.ops[0].ret_ns), (u64::MAX, Some(1)));
    }

    #[test]
    fn each_way_of_being_malformed_names_the_event() {
        let two_calls = line("0", "invoke", "write") + &line("0", "invoke", "write");
        assert!(matches!(history(&two_calls), Err(FormError::CallWhileOpen { index: 1, open: 0, .. })));
        let no_call = line("0", "ok", "write");
        assert!(matches!(history(&no_call), Err(FormError::NoCall { index: 0, .. })));
        let twice = line("0", "invoke", "write") + &line("0", "ok", "write") + &line("0", "fail", "write");
        assert!(matches!(history(&twice), Err(FormError::TwoCompletions { index: 2, call: 0, .. })));
        let retired =
            line("0", "invoke", "write") + &line("0", "info", "write") + &line("0", "invoke", "read");
        assert!(matches!(history(&retired), Err(FormError::AfterInfo { index: 2, call: 0, .. })));
        let late = line("0", "invoke", "write") + &line("0", "info", "write") + &line("0", "ok", "write");
        assert!(matches!(history(&late), Err(FormError::AfterInfo { index: 2, .. })));
        let other = line("0", "invoke", "write") + &line("0", "ok", "read");
        let error = history(&other).expect_err("another f");
        assert_eq!(
            error.to_string(),
            "event 1: completes `read 1`, but process 0 called `write 1` at event 0"
        );
    }

    #[test]
    fn the_stop_edge_of_a_fault_replaces_its_start() {
        let fault = |edge: &str, stop: &str| {
            format!(
                "{{\"time\":5,\"process\":\"nemesis\",\"type\":\"info\",\"f\":\"{edge}\",\"value\":{{\"id\":3,\
                 \"kind\":\"kill\",\"detail\":\"kill -9\",\"target\":\"master of shard 0\",\"nodes\":[\"r0\"],\
                 \"roles\":[\"master\"],\"start_ns\":5,\"stop_ns\":{stop},\"installed\":true,\"evidence\":[]}}}}\n"
            )
        };
        let lines =
            fault("fault-start", "null") + &line("\"nemesis\"", "info", "phase") + &fault("fault-stop", "9");
        let history = history(&lines).expect("well formed");
        assert_eq!(history.faults.len(), 1);
        assert_eq!(history.faults[0].stop_ns, Some(9));
        assert!(history.ops.is_empty());
    }

    #[test]
    fn a_fault_edge_without_a_record_is_refused() {
        let lines = line("\"nemesis\"", "info", "fault-start");
        assert!(matches!(history(&lines), Err(FormError::BadFault { index: 0, .. })));
    }
}
