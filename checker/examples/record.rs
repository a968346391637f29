//! Records a history of a small simulated store with a fault in the middle: how the corpus was made.
//!
//! `cargo run -p checker --example record -- stale-read 7 > checker/corpus/stale-read.invalid.jsonl`
//!
//! Bugs: `none`, `lost-write` (the new master lacks the last acknowledged writes), `stale-read` (some reads
//! are served by a lagging replica), `split-brain` (the old master goes on serving for a while),
//! `late-abort` (a refused write is applied all the same), `double-cas` (compare and set are two steps),
//! `bit-flip` (a reply is corrupted).

use std::collections::BTreeMap;

use checker::{Event, EventKind, FaultRecord, Process};
use serde_json::{Value, json};

const KEYS: u64 = 2;
const CLIENTS: u64 = 4;
const OPS: u64 = 80;
/// The master is paused during these milliseconds; the replica has taken over at the end.
const PAUSE_MS: (u64, u64) = (60, 100);

fn main() {
    let bug = std::env::args().nth(1).unwrap_or_else(|| "none".into());
    let seed = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut run = Run::new(bug, seed);
    run.run();
    for (index, event) in (0..).zip(run.events) {
        println!("{}", serde_json::to_string(&Event { index, ..event }).expect("an event is JSON"));
    }
}

struct Dice(u64);

impl Dice {
    /// splitmix64: the corpus can be made again whatever becomes of any library.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// A call under way.
struct Call {
    f: &'static str,
    key: String,
    input: Value,
    /// What a two-step compare-and-set saw in its first step.
    peeked: Option<Value>,
    /// Kind, value and error of the reply, once the server has acted.
    reply: Option<(EventKind, Value, Option<&'static str>)>,
    /// Milliseconds until the next step.
    wait_ms: u64,
}

#[derive(Default)]
struct Server {
    data: BTreeMap<String, Value>,
}

struct Run {
    bug: String,
    dice: Dice,
    now_ms: u64,
    /// Master of epoch 1 and of epoch 2.
    servers: [Server; 2],
    /// Writes on their way to the replica.
    lag: Vec<(u64, String, Value)>,
    clients: Vec<(u64, Option<Call>)>,
    started: u64,
    fresh: u64,
    events: Vec<Event>,
}

impl Run {
    fn new(bug: String, seed: u64) -> Self {
        Run {
            bug,
            dice: Dice(seed),
            now_ms: 0,
            servers: Default::default(),
            lag: Vec::new(),
            clients: (0..CLIENTS).map(|id| (id, None)).collect(),
            started: 0,
            fresh: CLIENTS,
            events: Vec::new(),
        }
    }

    fn run(&mut self) {
        while self.started < OPS || self.clients.iter().any(|(_, call)| call.is_some()) {
            self.now_ms += 1;
            if self.now_ms == PAUSE_MS.0 {
                self.fault("fault-start", None);
            }
            if self.now_ms == PAUSE_MS.1 {
                self.take_over();
                self.fault("fault-stop", Some(PAUSE_MS.1 * 1_000_000));
            }
            self.replicate();
            for at in 0..self.clients.len() {
                self.turn(at);
            }
        }
    }

    fn paused(&self) -> bool {
        (PAUSE_MS.0..PAUSE_MS.1).contains(&self.now_ms)
    }

    fn epoch(&self) -> usize {
        usize::from(self.now_ms >= PAUSE_MS.1)
    }

    fn replicate(&mut self) {
        let now_ms = self.now_ms;
        let (due, later) =
            std::mem::take(&mut self.lag).into_iter().partition(|(at_ms, ..)| *at_ms <= now_ms);
        self.lag = later;
        let due: Vec<(u64, String, Value)> = due;
        for (_, key, value) in due {
            self.servers[1].data.insert(key, value);
        }
    }

    fn take_over(&mut self) {
        let lost = std::mem::take(&mut self.lag);
        if self.bug != "lost-write" {
            lost.into_iter().for_each(|(_, key, value)| drop(self.servers[1].data.insert(key, value)));
        }
    }

    fn turn(&mut self, at: usize) {
        let (id, call) = (self.clients[at].0, self.clients[at].1.take());
        self.clients[at].1 = match call {
            None if self.started < OPS && self.dice.below(3) == 0 => Some(self.call(id)),
            None => None,
            Some(mut call) if call.wait_ms > 0 => {
                call.wait_ms -= 1;
                Some(call)
            }
            Some(call) if self.paused() && call.reply.is_none() => return self.no_answer(at, call),
            Some(mut call) => match call.reply.take() {
                Some((kind, value, error)) => {
                    self.event(id, kind, &call, value, error);
                    None
                }
                None => {
                    self.serve(&mut call);
                    call.wait_ms = self.dice.below(4);
                    Some(call)
                }
            },
        };
    }

    fn call(&mut self, id: u64) -> Call {
        self.started += 1;
        let key = format!("k{}", self.dice.below(KEYS));
        let held = self.servers[self.epoch()].data.get(&key).cloned().unwrap_or(Value::Null);
        let (f, input) = match self.dice.below(10) {
            0..5 => ("read", Value::Null),
            5..8 => ("write", json!(self.started)),
            _ => ("cas", json!([held, self.started])),
        };
        let call = Call { f, key, input, peeked: None, reply: None, wait_ms: self.dice.below(4) };
        self.event(id, EventKind::Invoke, &call, call.input.clone(), None);
        call
    }

    /// While the master is paused: some calls are refused before they are sent, the others time out.
    fn no_answer(&mut self, at: usize, call: Call) {
        let id = self.clients[at].0;
        if self.dice.below(2) == 0 {
            if self.bug == "late-abort" && call.f == "write" {
                self.store(call.key.clone(), call.input.clone());
            }
            self.event(id, EventKind::Fail, &call, call.input.clone(), Some("no master"));
            self.clients[at] = (id, None);
        } else {
            self.event(id, EventKind::Info, &call, call.input.clone(), Some("timeout"));
            self.clients[at] = (self.fresh, None);
            self.fresh += 1;
        }
    }

    fn serve(&mut self, call: &mut Call) {
        let mut server = self.epoch();
        if self.bug == "split-brain" && server == 1 && self.now_ms < PAUSE_MS.1 + 40 {
            server = self.dice.below(2) as usize;
        }
        if self.bug == "stale-read" && call.f == "read" && self.dice.below(3) == 0 {
            server = 1;
        }
        let held = self.servers[server].data.get(&call.key).cloned().unwrap_or(Value::Null);
        if self.bug == "double-cas" && call.f == "cas" && call.peeked.is_none() {
            call.peeked = Some(held);
            return;
        }
        let held = call.peeked.take().unwrap_or(held);
        call.reply = Some(match call.f {
            "read" if self.bug == "bit-flip" && self.dice.below(20) == 0 => {
                (EventKind::Ok, json!(held.as_u64().unwrap_or(0) ^ 0x1000), None)
            }
            "read" => (EventKind::Ok, held, None),
            "cas" if call.input[0] != held => (EventKind::Fail, call.input.clone(), Some("mismatch")),
            f => {
                let value = if f == "cas" { call.input[1].clone() } else { call.input.clone() };
                self.servers[server].data.insert(call.key.clone(), value.clone());
                if server == 0 {
                    self.store(call.key.clone(), value);
                }
                (EventKind::Ok, call.input.clone(), None)
            }
        });
    }

    /// Sends a write of the first master on to the replica.
    fn store(&mut self, key: String, value: Value) {
        let at_ms = self.now_ms + if self.bug == "lost-write" { 60 } else { 5 };
        self.lag.push((at_ms, key, value));
    }

    fn event(&mut self, id: u64, kind: EventKind, call: &Call, value: Value, error: Option<&'static str>) {
        let sent = kind != EventKind::Invoke;
        let epoch = self.epoch() as u64 + 1;
        self.events.push(Event {
            index: 0,
            time_ns: self.now_ms * 1_000_000,
            process: Process::Client(id),
            kind,
            f: call.f.into(),
            key: Some(json!(call.key)),
            value,
            error: error.map(Into::into),
            shard: Some(0),
            epoch: sent.then_some(epoch),
            node: sent.then(|| format!("r{}", epoch - 1).into()),
        });
    }

    fn fault(&mut self, edge: &'static str, stop_ns: Option<u64>) {
        let record = FaultRecord {
            id: 0,
            kind: "pause".into(),
            detail: "pause for 40 ms".into(),
            target: "master of shard 0".into(),
            nodes: vec!["r0".into()],
            roles: vec!["master".into()],
            wide: false,
            start_ns: PAUSE_MS.0 * 1_000_000,
            stop_ns,
            installed: true,
            evidence: vec![("simulated".into(), "no replies".into())],
        };
        self.events.push(Event {
            index: 0,
            time_ns: self.now_ms * 1_000_000,
            process: Process::Nemesis,
            kind: EventKind::Info,
            f: edge.into(),
            key: None,
            value: serde_json::to_value(record).expect("a record is JSON"),
            error: None,
            shard: None,
            epoch: None,
            node: None,
        });
    }
}
