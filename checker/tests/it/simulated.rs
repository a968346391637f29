//! Random histories of any atomic object, with indefinite operations and results that are made up.

use checker::{Event, EventKind, History, Process};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

/// An object: what is called, what happens, and how its results may be falsified. `Err` is a refusal.
pub trait Simulated {
    fn call(&mut self, rng: &mut ChaCha8Rng, process: u64) -> (&'static str, Value);
    fn apply(&mut self, f: &str, input: &Value, process: u64) -> Result<Value, ()>;
    fn falsify(
        &mut self,
        rng: &mut ChaCha8Rng,
        f: &str,
        input: &Value,
        result: Result<Value, ()>,
    ) -> Result<Value, ()>;
}

pub struct Shape {
    pub ops: usize,
    pub concurrency: usize,
    /// Out of a hundred.
    pub info: u32,
    pub wrong: u32,
}

pub fn shape(seed: u64) -> Shape {
    Shape {
        ops: 4 + (seed % 7) as usize,
        concurrency: 2 + (seed / 7 % 3) as usize,
        info: [0, 12, 30][(seed / 3 % 3) as usize],
        wrong: [0, 15, 40][(seed / 11 % 3) as usize],
    }
}

struct Open {
    f: &'static str,
    input: Value,
    result: Option<Result<Value, ()>>,
}

/// A history of `object`; without falsified results it is linearizable by construction.
pub fn history(mut object: impl Simulated, shape: &Shape, seed: u64) -> History {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut events: Vec<Event> = Vec::new();
    let mut processes: Vec<(u64, Option<Open>)> =
        (0..shape.concurrency as u64).map(|id| (id, None)).collect();
    let (mut fresh, mut started) = (shape.concurrency as u64, 0);
    let mut ghosts: Vec<(u64, Open)> = Vec::new();
    while started < shape.ops || processes.iter().any(|(_, open)| open.is_some()) {
        if !ghosts.is_empty() && rng.random_range(0..100) < 25 {
            let (process, ghost) = ghosts.swap_remove(rng.random_range(0..ghosts.len()));
            let _ = object.apply(ghost.f, &ghost.input, process);
        }
        let at = rng.random_range(0..processes.len());
        let id = processes[at].0;
        let mut event = |kind, f: &'static str, value: Value| {
            let index = events.len() as u64;
            events.push(Event {
                index,
                time_ns: index,
                process: Process::Client(id),
                kind,
                f: f.into(),
                key: None,
                value,
                error: None,
                shard: None,
                epoch: None,
                node: None,
            });
        };
        match processes[at].1.take() {
            None if started < shape.ops => {
                started += 1;
                let (f, input) = object.call(&mut rng, id);
                event(EventKind::Invoke, f, input.clone());
                processes[at].1 = Some(Open { f, input, result: None });
            }
            None => {}
            Some(open) if rng.random_range(0..100) < shape.info => {
                event(EventKind::Info, open.f, Value::Null);
                processes[at].0 = fresh;
                fresh += 1;
                if open.result.is_none() && rng.random_range(0..2) == 0 {
                    ghosts.push((id, open));
                }
            }
            Some(Open { f, input, result: None }) => {
                let result = Some(object.apply(f, &input, id));
                processes[at].1 = Some(Open { f, input, result });
            }
            Some(Open { f, input, result: Some(result) }) => {
                let falsified = rng.random_range(0..100) < shape.wrong;
                let result = if falsified { object.falsify(&mut rng, f, &input, result) } else { result };
                match result {
                    Ok(value) => event(EventKind::Ok, f, value),
                    Err(()) => event(EventKind::Fail, f, Value::Null),
                }
            }
        }
    }
    History::from_events(events).expect("well formed")
}
