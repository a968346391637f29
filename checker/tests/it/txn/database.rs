//! Simulated databases of lists, some with a known weakness. A register is a list of which the last element shows.

use checker::{Event, EventKind, History, Process};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// How transactions take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// At one instant between call and return.
    Serial,
    /// Step by step in the open; what fails is undone.
    Uncommitted,
    /// Reads from a snapshot taken after the call; of two that write one list the first to commit wins.
    Snapshot,
    /// The same, but nobody checks who was first.
    Overwriting,
    /// The same as serial, but read-only transactions see a snapshot of any time.
    Stale,
    /// Two sites, each with its own lists to write, that learn of each other late.
    Fork,
}

/// What a history looks like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub engine: Engine,
    pub txns: usize,
    pub clients: usize,
    pub keys: usize,
    pub steps_max: usize,
    /// Out of a hundred: transactions that fail, that end indefinitely, reads that are made up.
    pub fail: u32,
    pub info: u32,
    pub wrong: u32,
    /// Registers instead of lists?
    pub registers: bool,
    /// Read everything at the end?
    pub last_look: bool,
}

impl Shape {
    pub fn of(engine: Engine) -> Self {
        Shape {
            engine,
            txns: 200,
            clients: 6,
            keys: 4,
            steps_max: 4,
            fail: 5,
            info: 5,
            wrong: 0,
            registers: false,
            last_look: true,
        }
    }
}

type Lists = Vec<Vec<u64>>;

#[derive(Clone, Copy)]
enum Step {
    Write(usize, u64),
    Read(usize),
}

struct Open {
    steps: Vec<Step>,
    /// Place of its snapshot among the past states.
    snapshot: Option<usize>,
    /// What its reads saw so far, and how many steps are done.
    seen: Vec<Vec<u64>>,
    done: usize,
    outcome: Option<bool>,
}

struct World {
    shape: Shape,
    rng: ChaCha8Rng,
    /// One state, or that of each site.
    sites: Vec<Lists>,
    past: Vec<Lists>,
    /// What each site has not learnt yet of the other.
    late: Vec<Vec<Vec<(usize, u64)>>>,
    next_value: u64,
    next_process: u64,
    clients: Vec<(u64, Option<Open>)>,
    started: usize,
    events: Vec<Event>,
}

/// A history from a seed.
pub fn history(shape: Shape, seed: u64) -> History {
    let mut world = World {
        shape,
        rng: ChaCha8Rng::seed_from_u64(seed),
        sites: vec![vec![Vec::new(); shape.keys]; 2],
        past: vec![vec![Vec::new(); shape.keys]],
        late: vec![Vec::new(), Vec::new()],
        next_value: 0,
        next_process: shape.clients as u64,
        clients: (0..shape.clients as u64).map(|id| (id, None)).collect(),
        started: 0,
        events: Vec::new(),
    };
    while world.started < shape.txns || world.clients.iter().any(|(_, open)| open.is_some()) {
        world.turn();
    }
    if shape.last_look {
        world.last_look();
    }
    History::from_events(world.events).expect("a well-formed history")
}

impl World {
    fn percent(&mut self, share: u32) -> bool {
        self.rng.random_range(0..100) < share
    }

    fn turn(&mut self) {
        if self.percent(5) {
            let site = self.rng.random_range(0..2);
            self.learn(site);
        }
        let at = self.rng.random_range(0..self.clients.len());
        let Some(mut open) = self.clients[at].1.take() else {
            if self.started < self.shape.txns {
                self.call(at);
            }
            return;
        };
        match open.outcome {
            Some(took_effect) => return self.complete(at, open, took_effect),
            None if open.snapshot.is_none() => {
                open.snapshot = Some(self.past.len() - 1);
                if self.percent(self.shape.fail) && self.shape.engine != Engine::Uncommitted {
                    open.outcome = Some(false);
                }
            }
            None => self.advance(at % 2, &mut open),
        }
        self.clients[at].1 = Some(open);
    }

    fn call(&mut self, at: usize) {
        self.started += 1;
        let count = self.rng.random_range(1..=self.shape.steps_max);
        let steps: Vec<Step> = (0..count)
            .map(|_| {
                let key = self.rng.random_range(0..self.shape.keys);
                let own = self.shape.engine != Engine::Fork || key % 2 == at % 2;
                if own && self.percent(50) {
                    self.next_value += 1;
                    Step::Write(key, self.next_value)
                } else {
                    Step::Read(key)
                }
            })
            .collect();
        let value = self.told(&steps, None);
        self.event(self.clients[at].0, EventKind::Invoke, value);
        self.clients[at].1 = Some(Open { steps, snapshot: None, seen: Vec::new(), done: 0, outcome: None });
    }

    /// The next part of a transaction.
    fn advance(&mut self, site: usize, open: &mut Open) {
        let site = if self.shape.engine == Engine::Fork { site } else { 0 };
        let fails = self.percent(self.shape.fail);
        match self.shape.engine {
            Engine::Uncommitted if open.done < open.steps.len() => {
                let step = open.steps[open.done];
                open.done += 1;
                run(&mut self.sites[0], &[step], &mut open.seen);
            }
            Engine::Uncommitted => {
                open.outcome = Some(!fails);
                if fails {
                    undo(&mut self.sites[0], &open.steps);
                }
            }
            Engine::Snapshot | Engine::Overwriting => {
                let snapshot = &self.past[open.snapshot.unwrap_or(0)];
                let lost = open
                    .steps
                    .iter()
                    .any(|step| matches!(step, Step::Write(key, _) if snapshot[*key] != self.sites[0][*key]));
                if lost && self.shape.engine == Engine::Snapshot {
                    open.outcome = Some(false);
                    return;
                }
                run(&mut snapshot.clone(), &open.steps, &mut open.seen);
                run(&mut self.sites[0], &open.steps, &mut Vec::new());
                self.committed(open);
            }
            Engine::Stale if open.steps.iter().all(|step| matches!(step, Step::Read(_))) => {
                let back = self.rng.random_range(0..self.past.len().min(6));
                let mut snapshot = self.past[self.past.len() - 1 - back].clone();
                run(&mut snapshot, &open.steps, &mut open.seen);
                open.outcome = Some(true);
            }
            Engine::Serial | Engine::Stale | Engine::Fork => {
                run(&mut self.sites[site], &open.steps, &mut open.seen);
                let writes = open.steps.iter().filter_map(|step| match step {
                    Step::Write(key, value) => Some((*key, *value)),
                    Step::Read(_) => None,
                });
                self.late[1 - site].push(writes.collect());
                self.committed(open);
            }
        }
    }

    fn committed(&mut self, open: &mut Open) {
        open.outcome = Some(true);
        self.past.push(self.sites[0].clone());
    }

    fn learn(&mut self, site: usize) {
        if self.shape.engine == Engine::Fork && !self.late[site].is_empty() {
            for (key, value) in self.late[site].remove(0) {
                self.sites[site][key].push(value);
            }
        }
    }

    fn complete(&mut self, at: usize, open: Open, took_effect: bool) {
        let id = self.clients[at].0;
        if self.percent(self.shape.info) {
            if self.percent(50) {
                let value = self.told(&open.steps, None);
                self.event(id, EventKind::Info, value);
            }
            self.clients[at] = (self.next_process, None);
            self.next_process += 1;
        } else if took_effect {
            let value = self.told(&open.steps, Some(open.seen));
            self.event(id, EventKind::Ok, value);
        } else {
            let value = self.told(&open.steps, None);
            self.event(id, EventKind::Fail, value);
        }
    }

    fn last_look(&mut self) {
        while self.late.iter().any(|late| !late.is_empty()) && self.shape.engine == Engine::Fork {
            self.learn(0);
            self.learn(1);
        }
        let steps: Vec<Step> = (0..self.shape.keys).map(Step::Read).collect();
        let mut seen = Vec::new();
        run(&mut self.sites[0], &steps, &mut seen);
        let id = self.next_process;
        let (called, returned) = (self.told(&steps, None), self.told(&steps, Some(seen)));
        self.event(id, EventKind::Invoke, called);
        self.event(id, EventKind::Ok, returned);
    }

    /// A transaction as the history says it; reads without result when there is none.
    fn told(&mut self, steps: &[Step], seen: Option<Vec<Vec<u64>>>) -> Value {
        let mut seen = seen.map(Vec::into_iter);
        let write = if self.shape.registers { "w" } else { "append" };
        let told = |step: &Step| match step {
            Step::Write(key, value) => json!([write, format!("k{key}"), value]),
            Step::Read(key) => {
                let mut read = seen.as_mut().and_then(Iterator::next);
                if let Some(read) = read.as_mut()
                    && self.rng.random_range(0..100) < self.shape.wrong
                {
                    match self.rng.random_range(0..4) {
                        0 => read.reverse(),
                        1 => read.push(self.rng.random_range(1..=self.next_value.max(1))),
                        _ => drop(read.pop()),
                    }
                }
                let value = match read {
                    Some(read) if self.shape.registers => json!(read.last()),
                    read => json!(read),
                };
                json!(["r", format!("k{key}"), value])
            }
        };
        Value::Array(steps.iter().map(told).collect())
    }

    fn event(&mut self, id: u64, kind: EventKind, value: Value) {
        let index = self.events.len() as u64;
        self.events.push(Event {
            index,
            time_ns: index * 1_000,
            process: Process::Client(id),
            kind,
            f: "txn".into(),
            key: None,
            value,
            error: None,
            shard: None,
            epoch: None,
            node: None,
        });
    }
}

fn run(lists: &mut Lists, steps: &[Step], seen: &mut Vec<Vec<u64>>) {
    for step in steps {
        match step {
            Step::Write(key, value) => lists[*key].push(*value),
            Step::Read(key) => seen.push(lists[*key].clone()),
        }
    }
}

fn undo(lists: &mut Lists, steps: &[Step]) {
    for step in steps {
        if let Step::Write(key, value) = step {
            lists[*key].retain(|element| element != value);
        }
    }
}
