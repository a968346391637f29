//! Random histories of registers, from a seed.

use checker::{Event, EventKind, History, Process};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// What a random history looks like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub ops: usize,
    pub concurrency: usize,
    /// Never write a value twice?
    pub unique: bool,
    /// Out of a hundred: operations that become indefinite, that fail, and results that are made up.
    pub info: u32,
    pub fail: u32,
    pub wrong: u32,
    /// Out of a hundred: reads, compare-and-sets; the rest writes.
    pub reads: u32,
    pub cas: u32,
}

/// A call under way in the simulated register.
struct Open {
    f: &'static str,
    input: Value,
    /// Took effect, with this result; none while it has not.
    effect: Option<Effect>,
}

#[derive(Clone)]
enum Effect {
    Done(Value),
    Mismatch,
}

/// A random history of one register. Every operation takes effect at a random instant of its interval, or,
/// if it ends indefinitely, perhaps never or later; then `wrong` percent of the results are made up. Without
/// those it is linearizable by construction.
pub fn history(shape: Shape, seed: u64) -> History {
    History::from_events(events(shape, seed)).expect("a well-formed history")
}

pub fn events(shape: Shape, seed: u64) -> Vec<Event> {
    let mut events = Vec::new();
    for_each_event(shape, seed, |event| events.push(event));
    events
}

/// The same one at a time, for histories that need not be held.
pub fn for_each_event(shape: Shape, seed: u64, mut each: impl FnMut(Event)) {
    let mut world = World::new(shape, seed);
    while world.started < shape.ops || world.processes.iter().any(|(_, open)| open.is_some()) {
        world.turn();
        world.fresh.drain(..).for_each(&mut each);
    }
}

struct World {
    shape: Shape,
    rng: ChaCha8Rng,
    state: Value,
    next_value: i64,
    written: Vec<Value>,
    next_process: u64,
    processes: Vec<(u64, Option<Open>)>,
    /// Indefinite calls that have not taken effect yet.
    ghosts: Vec<Open>,
    started: usize,
    told: u64,
    fresh: Vec<Event>,
}

impl World {
    fn new(shape: Shape, seed: u64) -> Self {
        World {
            shape,
            rng: ChaCha8Rng::seed_from_u64(seed),
            state: Value::Null,
            next_value: 0,
            written: vec![Value::Null],
            next_process: shape.concurrency as u64,
            processes: (0..shape.concurrency as u64).map(|id| (id, None)).collect(),
            ghosts: Vec::new(),
            started: 0,
            told: 0,
            fresh: Vec::new(),
        }
    }

    fn percent(&mut self, share: u32) -> bool {
        self.rng.random_range(0..100) < share
    }

    fn turn(&mut self) {
        if !self.ghosts.is_empty() && self.percent(20) {
            let at = self.rng.random_range(0..self.ghosts.len());
            let mut ghost = self.ghosts.swap_remove(at);
            self.take_effect(&mut ghost);
        }
        let at = self.rng.random_range(0..self.processes.len());
        let (id, open) = &mut self.processes[at];
        let id = *id;
        match open.take() {
            None if self.started < self.shape.ops => {
                let call = self.call();
                self.event(id, EventKind::Invoke, call.f, call.input.clone(), None);
                self.started += 1;
                self.processes[at].1 = Some(call);
            }
            None => {}
            Some(mut call) if call.effect.is_none() => {
                if self.percent(self.shape.info) {
                    self.indefinite(at, call);
                } else if self.percent(self.shape.fail) {
                    self.event(id, EventKind::Fail, call.f, call.input, Some("refused"));
                } else {
                    self.take_effect(&mut call);
                    self.processes[at].1 = Some(call);
                }
            }
            Some(call) if self.percent(self.shape.info) => self.indefinite(at, call),
            Some(call) => self.complete(id, call),
        }
    }

    fn call(&mut self) -> Open {
        let kind = self.rng.random_range(0..100);
        let (f, input) = if kind < self.shape.reads {
            ("read", Value::Null)
        } else if kind < self.shape.reads + self.shape.cas {
            let expected = if self.percent(70) { self.state.clone() } else { self.some_written() };
            ("cas", json!([expected, self.value_to_write()]))
        } else {
            ("write", self.value_to_write())
        };
        Open { f, input, effect: None }
    }

    fn value_to_write(&mut self) -> Value {
        let value = if self.shape.unique {
            self.next_value += 1;
            self.next_value
        } else {
            self.rng.random_range(0..3)
        };
        self.written.push(json!(value));
        json!(value)
    }

    fn some_written(&mut self) -> Value {
        let at = self.rng.random_range(0..self.written.len());
        self.written[at].clone()
    }

    fn take_effect(&mut self, call: &mut Open) {
        call.effect = Some(match call.f {
            "read" => Effect::Done(self.state.clone()),
            "write" => {
                self.state = call.input.clone();
                Effect::Done(call.input.clone())
            }
            _ if call.input[0] == self.state => {
                self.state = call.input[1].clone();
                Effect::Done(call.input.clone())
            }
            _ => Effect::Mismatch,
        });
    }

    fn indefinite(&mut self, at: usize, call: Open) {
        let id = self.processes[at].0;
        if self.percent(50) {
            self.event(id, EventKind::Info, call.f, call.input.clone(), Some("timeout"));
        }
        if call.effect.is_none() && self.percent(60) {
            self.ghosts.push(call);
        }
        self.processes[at] = (self.next_process, None);
        self.next_process += 1;
    }

    fn complete(&mut self, id: u64, call: Open) {
        let wrong = self.percent(self.shape.wrong);
        match call.effect {
            Some(Effect::Done(_)) if wrong && call.f == "read" => {
                let value = self.some_written();
                self.event(id, EventKind::Ok, call.f, value, None);
            }
            Some(Effect::Done(_)) if wrong && call.f == "cas" => {
                self.event(id, EventKind::Fail, call.f, call.input, Some("mismatch"));
            }
            Some(Effect::Done(value)) => self.event(id, EventKind::Ok, call.f, value, None),
            Some(Effect::Mismatch) if wrong => self.event(id, EventKind::Ok, call.f, call.input, None),
            _ => self.event(id, EventKind::Fail, call.f, call.input, Some("mismatch")),
        }
    }

    fn event(
        &mut self,
        id: u64,
        kind: EventKind,
        f: &'static str,
        value: Value,
        error: Option<&'static str>,
    ) {
        let index = self.told;
        self.told += 1;
        self.fresh.push(Event {
            index,
            time_ns: index * 1_000,
            process: Process::Client(id),
            kind,
            f: f.into(),
            key: Some(json!("k")),
            value,
            error: error.map(Into::into),
            shard: None,
            epoch: None,
            node: None,
        });
    }
}

/// One of many small shapes, for comparison with exhaustive search.
pub fn small(seed: u64, unique: bool) -> Shape {
    Shape {
        ops: 4 + (seed % 5) as usize,
        concurrency: 2 + (seed / 7 % 3) as usize,
        unique,
        info: [0, 10, 25][(seed / 3 % 3) as usize],
        fail: [0, 8][(seed / 5 % 2) as usize],
        wrong: [0, 40, 90][(seed / 11 % 3) as usize],
        reads: 35,
        cas: [0, 20, 45][(seed / 13 % 3) as usize],
    }
}

/// Histories compared per kind; the nightly campaign sets a larger number.
pub fn count() -> u64 {
    std::env::var("CHECKER_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000)
}
