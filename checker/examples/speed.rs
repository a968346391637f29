//! How fast registers are judged: `cargo run --release -p checker --example speed [operations…]`.
//!
//! Generates histories of one key with unique values, half reads, a fifth compare-and-sets, one in a hundred
//! indefinite, at concurrency 50, and times reading the operations in, the engine alone, and the whole
//! checker. The same with one stale read near the end. The last column is the same history judged event by
//! event, in operations per second.

use std::time::Instant;

use checker::model::register::RegisterPart;
use checker::stream::{Watch, WatchOptions};
use checker::{Budget, Checker, Event, EventKind, History, Linearizable, Process, unique};
use serde_json::{Value, json};

const CONCURRENCY: u64 = 50;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100_000, 1_000_000] } else { sizes };
    println!(
        "{:>10} {:>6} {:>12} {:>12} {:>12} {:>12} {:>8}  verdict",
        "operations", "bad", "read in ms", "engine ms", "checker ms", "stream op/s", "groups"
    );
    for size in sizes {
        for bad in [false, true] {
            let events = generate(size, bad);
            let (per_second, groups) = stream(events.clone());
            let history = History::from_events(events).expect("well formed");
            let places: Vec<usize> = (0..history.ops.len()).collect();
            let (part, read_in) = timed(|| RegisterPart::new(&history, &places).expect("a register"));
            let (_, engine) = timed(|| unique::check(&part.entries, part.values_len()));
            let (verdict, whole) = timed(|| Linearizable.check(&history, &Budget::default()));
            println!(
                "{size:>10} {bad:>6} {read_in:>12.1} {engine:>12.1} {whole:>12.1} {per_second:>12.0} {groups:>8}  {}",
                verdict.word()
            );
        }
    }
}

/// Operations judged per second of one pass, and the most values that were held.
fn stream(events: Vec<Event>) -> (f64, usize) {
    let mut watch = Watch::new(WatchOptions { lag_ns: 1_000_000, ..WatchOptions::default() });
    let (mut groups, mut ops) = (0, 0);
    let start = Instant::now();
    for chunk in events.chunks(4096) {
        if chunk.iter().try_for_each(|event| watch.push(event.clone())).is_err() {
            break;
        }
        (groups, ops) = (groups.max(watch.live().groups), watch.ops());
    }
    let _ = watch.finish();
    (ops as f64 / start.elapsed().as_secs_f64(), groups)
}

/// The least of three runs, in milliseconds.
fn timed<T>(work: impl Fn() -> T) -> (T, f64) {
    let run = || {
        let start = Instant::now();
        let result = work();
        (result, start.elapsed().as_secs_f64() * 1e3)
    };
    let (result, first) = run();
    (result, first.min(run().1).min(run().1))
}

/// A small generator of its own (splitmix64), so that the figures do not depend on a library's stream.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

#[derive(Clone)]
struct Open {
    f: &'static str,
    input: Value,
    /// Result once it took effect; none before.
    effect: Option<Result<Value, ()>>,
}

fn generate(size: usize, bad: bool) -> Vec<Event> {
    let mut dice = Dice(7);
    let mut events = Vec::with_capacity(size * 2);
    let mut processes: Vec<(u64, Option<Open>)> = (0..CONCURRENCY).map(|id| (id, None)).collect();
    let (mut state, mut written, mut started, mut fresh, mut stale) = (Value::Null, 0, 0, CONCURRENCY, bad);
    while started < size || processes.iter().any(|(_, open)| open.is_some()) {
        let at = dice.below(CONCURRENCY) as usize;
        let id = processes[at].0;
        let mut push = |kind, f: &'static str, value: Value, error: Option<&'static str>| {
            let index = events.len() as u64;
            events.push(Event {
                index,
                time_ns: index * 1_000,
                process: Process::Client(id),
                kind,
                f: f.into(),
                key: None,
                value,
                error: error.map(Into::into),
                shard: None,
                epoch: None,
                node: None,
            });
        };
        processes[at].1 = match processes[at].1.take() {
            None if started < size => {
                started += 1;
                written += 1;
                let (f, input) = match dice.below(10) {
                    0..5 => ("read", Value::Null),
                    5..8 => ("write", json!(written)),
                    _ => ("cas", json!([state, written])),
                };
                push(EventKind::Invoke, f, input.clone(), None);
                Some(Open { f, input, effect: None })
            }
            None => None,
            Some(Open { f, input, effect: None }) => {
                let effect = match f {
                    "read" => Ok(state.clone()),
                    "cas" if input[0] != state => Err(()),
                    "cas" => Ok(std::mem::replace(&mut state, input[1].clone())),
                    _ => Ok(std::mem::replace(&mut state, input.clone())),
                };
                Some(Open { f, input, effect: Some(effect) })
            }
            Some(Open { f, .. }) if f != "read" && dice.below(100) == 0 => {
                processes[at].0 = fresh;
                fresh += 1;
                push(EventKind::Info, f, Value::Null, Some("timeout"));
                None
            }
            Some(Open { f, effect: Some(Ok(_)), .. })
                if stale && f == "read" && started > size * 95 / 100 =>
            {
                stale = false;
                push(EventKind::Ok, f, Value::Null, None);
                None
            }
            Some(Open { f, effect: Some(Ok(value)), .. }) => {
                push(EventKind::Ok, f, value, None);
                None
            }
            // Refused rather than mismatched: the mismatches' own cost is another question.
            Some(Open { f, .. }) => {
                push(EventKind::Fail, f, Value::Null, Some("refused"));
                None
            }
        };
    }
    events
}
