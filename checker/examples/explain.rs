//! What explanations cost: `cargo run --release -p checker --example explain [FILE…]`.
//!
//! For register histories (JSON lines): the decision alone, and the whole checker, whose rest is the explanation of
//! a "no". Then invalid histories of objects, generated: the checker beside the same history without its fault.

use std::time::Instant;

use checker::history::parse_bytes;
use checker::model::partitions;
use checker::model::register::RegisterPart;
use checker::object::{
    counter::Counter, elements::ElementSet, list::AppendList, queue::Queue, set::GrowSet, text::Text,
};
use checker::{Budget, Checker, Event, EventKind, History, Linearizable, Process, Verdict, plan};
use serde_json::{Value, json};

const OBJECT_OPS: usize = 100_000;

fn main() {
    println!("{:<44} {:>9} {:>11} {:>11} {:>6}  found", "history", "ops", "decide ms", "checker ms", "shown");
    for file in std::env::args().skip(1) {
        let bytes = std::fs::read(&file).expect("a readable file");
        let history = parse_bytes(&bytes).expect("JSON lines").into_history().expect("a history");
        let name = file.rsplit('/').next().unwrap_or(&file).to_string();
        if history.ops.iter().any(|op| op.f == "append") {
            report(&name, &history, f64::NAN, &Text);
            continue;
        }
        let decide = || {
            for partition in partitions(&history) {
                let part = RegisterPart::new(&history, &partition.ops).expect("a register");
                let _ = plan::decide(&part, &Budget::default());
            }
        };
        report(&name, &history, timed(decide).1, &Linearizable);
    }
    objects();
}

fn report(name: &str, history: &History, decide_ms: f64, checker: &dyn Checker) {
    let (verdict, whole) = timed(|| checker.check(history, &Budget::default()));
    let (shown, found) = match &verdict {
        Verdict::Invalid { anomalies } => (anomalies[0].ops.len(), anomalies[0].name.clone()),
        other => (0, other.word().to_string()),
    };
    println!("{name:<44} {:>9} {decide_ms:>11.3} {whole:>11.3} {shown:>6}  {found}", history.ops.len());
}

/// Each object with one wrong answer at nine tenths of the history, beside the same without.
fn objects() {
    let n = OBJECT_OPS;
    let wrong = n * 9 / 10;
    let some = |f: &'static str, all: Vec<usize>| (f, Value::Null, json!(all));
    let counter = |bad: bool| {
        calls(n, |i| match i % 2 {
            0 => ("increment", Value::Null, Value::Null),
            _ => ("read", Value::Null, json!(i / 2 + usize::from(!(bad && i > wrong)))),
        })
    };
    compare("counter", &counter, &Counter);
    let queue = |bad: bool| {
        calls(n, |i| match i % 2 {
            0 => ("enqueue", json!(i), Value::Null),
            _ if bad && i / 2 == wrong / 2 => ("dequeue", Value::Null, Value::Null),
            _ => ("dequeue", Value::Null, json!(i - 1)),
        })
    };
    compare("queue", &queue, &Queue);
    let list = |bad: bool| {
        calls(n, |i| match i % 1000 {
            999 => {
                let mut all: Vec<usize> = (0..=i).filter(|i| i % 1000 != 999).collect();
                if bad && i > wrong {
                    let last = all.len() - 1;
                    all.swap(last, last / 2);
                }
                some("read", all)
            }
            _ => ("append", json!(i), Value::Null),
        })
    };
    compare("list", &list, &AppendList);
    let set = |bad: bool| {
        calls(n, |i| match i % 1000 {
            999 => {
                some("read", (0..=i).filter(|j| j % 1000 != 999 && !(bad && i > wrong && *j == 7)).collect())
            }
            _ => ("add", json!(i), Value::Null),
        })
    };
    compare("set", &set, &GrowSet);
    let elements = |bad: bool| {
        calls(n, |i| match i % 4 {
            0 => ("add", json!(i / 64), Value::Null),
            1 => ("contains", json!(i / 64), json!(!(bad && i > wrong))),
            2 => ("remove", json!(i / 64), Value::Null),
            _ => ("contains", json!(i / 64), json!(false)),
        })
    };
    compare("elements", &elements, &ElementSet);
    let text = |bad: bool| {
        calls(n, |i| match i % 1000 {
            999 => {
                let pieces = (0..=i).filter(|i| i % 1000 != 999).map(|i| format!("<{i}>"));
                let all: Vec<String> = pieces.collect();
                let shown = if bad && i > wrong { all.len() - 3 } else { all.len() };
                ("get", Value::Null, json!(all[..shown].concat()))
            }
            _ => ("append", json!(format!("<{i}>")), Value::Null),
        })
    };
    compare("text", &text, &Text);
}

fn compare(name: &str, history: &dyn Fn(bool) -> History, checker: &dyn Checker) {
    let (good, bad) = (history(false), history(true));
    let (_, alone) = timed(|| checker.check(&good, &Budget::default()));
    report(name, &bad, alone, checker);
}

/// Operations of one process after another.
fn calls(n: usize, call: impl Fn(usize) -> (&'static str, Value, Value)) -> History {
    let mut events: Vec<Event> = Vec::with_capacity(2 * n);
    for i in 0..n {
        let (f, input, output) = call(i);
        for (kind, value) in [(EventKind::Invoke, input), (EventKind::Ok, output)] {
            let index = events.len() as u64;
            events.push(Event {
                index,
                time_ns: index,
                process: Process::Client(i as u64 % 5),
                kind,
                f: f.into(),
                key: None,
                value,
                error: None,
                shard: None,
                epoch: None,
                node: None,
            });
        }
    }
    History::from_events(events).expect("well formed")
}

/// The least of five runs, in milliseconds.
fn timed<T>(work: impl Fn() -> T) -> (T, f64) {
    let run = || {
        let start = Instant::now();
        let result = work();
        (result, start.elapsed().as_secs_f64() * 1e3)
    };
    let (mut result, mut least) = run();
    for _ in 0..4 {
        let (again, took) = run();
        (result, least) = (again, least.min(took));
    }
    (result, least)
}
