//! What holds for every history.

use checker::{Anomaly, Budget, Checker, Event, History, Linearizable, Verdict};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::oracle;
use crate::random::{Shape, events, history};

fn judge(history: &History) -> Verdict {
    Linearizable.check(history, &Budget::default())
}

fn shape(seed: u64) -> Shape {
    Shape {
        ops: 4 + (seed % 9) as usize,
        concurrency: 2 + (seed % 4) as usize,
        unique: !seed.is_multiple_of(3),
        info: [0, 15][(seed / 2 % 2) as usize],
        fail: 8,
        wrong: [0, 40, 90][(seed / 4 % 3) as usize],
        reads: 40,
        cas: 30,
    }
}

#[test]
fn the_operations_of_an_anomaly_prove_it_without_the_others() {
    let mut proofs = 0;
    for seed in 0..4_000 {
        let history = history(shape(seed), seed);
        let Verdict::Invalid { anomalies } = judge(&history) else { continue };
        for anomaly in anomalies {
            let core = only(&history, &anomaly);
            assert_eq!(core.ops.len(), anomaly.ops.len(), "seed {seed}: each operation once, by its call");
            assert!(!oracle::linearizable(&core), "seed {seed}: {anomaly:#?}");
            assert!(!anomaly.reason.is_empty() && !anomaly.drawing.is_empty(), "seed {seed}: {anomaly:#?}");
            let width = anomaly.drawing.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            assert!(width <= 130, "seed {seed}: {width} columns\n{}", anomaly.drawing);
            proofs += 1;
        }
    }
    assert!(proofs > 800, "{proofs} proofs looked at");
}

fn only(history: &History, anomaly: &Anomaly) -> History {
    let ops = history.ops.iter().filter(|op| anomaly.ops.contains(&op.index)).cloned().collect();
    History { ops, ..History::default() }
}

#[test]
fn a_failed_operation_changes_nothing() {
    for seed in 0..600 {
        let history = history(shape(seed), seed);
        let mut without = history.clone();
        without.ops.retain(|op| op.error.as_deref() != Some("refused"));
        assert_eq!(judge(&history).word(), judge(&without).word(), "seed {seed}");
    }
}

#[test]
fn renaming_values_changes_nothing() {
    for seed in 0..600 {
        let original = events(shape(seed), seed);
        let renamed = original.iter().cloned().map(|event| Event { value: rename(event.value), ..event });
        let renamed = History::from_events(renamed).expect("well formed");
        let original = History::from_events(original).expect("well formed");
        match (judge(&original), judge(&renamed)) {
            (Verdict::Invalid { anomalies }, Verdict::Invalid { anomalies: others }) => {
                let told = |anomalies: &[Anomaly]| {
                    anomalies.iter().map(|a| (a.name.clone(), a.ops.clone())).collect::<Vec<_>>()
                };
                assert_eq!(told(&anomalies), told(&others), "seed {seed}");
            }
            (one, other) => assert_eq!(one, other, "seed {seed}"),
        }
    }
}

fn rename(value: Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Array(pair) => pair.into_iter().map(rename).collect(),
        other => json!(format!("v{other}")),
    }
}

#[test]
fn keys_are_judged_alone_and_told_in_order() {
    for seed in 0..200 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let parts: Vec<Vec<Event>> =
            (0..3).map(|key| on_key(events(shape(seed + key), seed + key), key)).collect();
        let alone = parts.iter().map(|part| judge(&History::from_events(part.clone()).expect("well formed")));
        let alone: Vec<Verdict> = alone.collect();
        let mixed = History::from_events(shuffled(parts, &mut rng)).expect("well formed");
        let merged = judge(&mixed);
        let worst = alone.iter().cloned().fold(Verdict::Valid, Verdict::merge);
        assert_eq!(merged.word(), worst.word(), "seed {seed}");
        if let Verdict::Invalid { anomalies } = merged {
            assert!(anomalies.is_sorted_by_key(|anomaly| &anomaly.key), "seed {seed}");
            assert_eq!(anomalies.len(), alone.iter().filter(|verdict| verdict.word() == "invalid").count());
        }
    }
}

fn on_key(events: Vec<Event>, key: u64) -> Vec<Event> {
    let moved = events.into_iter().map(|mut event| {
        if let checker::Process::Client(id) = &mut event.process {
            *id = *id * 10 + key;
        }
        event.key = Some(json!(format!("k{key}")));
        // Values of their own, so that none comes from another key.
        event.value = match event.value {
            Value::Null => Value::Null,
            Value::Array(pair) => pair.into_iter().map(|value| of_key(value, key)).collect(),
            other => of_key(other, key),
        };
        event
    });
    moved.collect()
}

fn of_key(value: Value, key: u64) -> Value {
    if value.is_null() { value } else { json!(format!("{key}:{value}")) }
}

fn shuffled(parts: Vec<Vec<Event>>, rng: &mut ChaCha8Rng) -> Vec<Event> {
    let mut queues: Vec<_> = parts.into_iter().map(|part| part.into_iter().peekable()).collect();
    let mut all = Vec::new();
    loop {
        queues.retain_mut(|queue| queue.peek().is_some());
        if queues.is_empty() {
            return all;
        }
        let at = rng.random_range(0..queues.len());
        if let Some(event) = queues[at].next() {
            all.push(Event { index: all.len() as u64, ..event });
        }
    }
}

#[test]
fn dropping_an_unknown_write_nobody_saw_changes_nothing() {
    let mut dropped = 0;
    for seed in 0..600 {
        let mut history = history(Shape { unique: true, ..shape(seed) }, seed);
        if history.ops.iter().any(|op| op.error.as_deref() == Some("mismatch")) {
            continue;
        }
        let before = judge(&history).word();
        let named = |value: &Value, ops: &[checker::Op]| {
            ops.iter()
                .any(|op| op.output == *value && op.f == "read" || op.f == "cas" && op.input[0] == *value)
        };
        let ops = history.ops.clone();
        history.ops.retain(|op| op.f != "write" || op.end != checker::OpEnd::Info || named(&op.input, &ops));
        dropped += ops.len() - history.ops.len();
        assert_eq!(judge(&history).word(), before, "seed {seed}");
    }
    assert!(dropped > 20, "{dropped} dropped");
}

#[test]
fn merging_is_free_of_order_as_to_kind() {
    let kinds = || {
        let anomaly = Anomaly {
            name: "stale-read".into(),
            key: String::new(),
            ops: vec![1],
            reason: "a".into(),
            drawing: String::new(),
        };
        [Verdict::Valid, Verdict::unknown("why"), Verdict::Invalid { anomalies: vec![anomaly] }]
    };
    for a in kinds() {
        for b in kinds() {
            assert_eq!(a.clone().merge(b.clone()).word(), b.clone().merge(a.clone()).word());
            for c in kinds() {
                let left = a.clone().merge(b.clone()).merge(c.clone());
                assert_eq!(left, a.clone().merge(b.clone().merge(c)));
            }
        }
    }
}

#[test]
fn a_verdict_is_the_same_every_time() {
    for seed in 0..300 {
        let history = history(shape(seed), seed);
        assert_eq!(judge(&history), judge(&history), "seed {seed}");
    }
}

#[test]
fn a_proof_without_its_beginning_holds_from_every_beginning() {
    let mut windows = 0;
    for seed in 0..400 {
        let shape =
            Shape { ops: 50, concurrency: 3, unique: false, info: 2, fail: 5, wrong: 6, reads: 45, cas: 10 };
        let history = history(shape, seed);
        let Verdict::Invalid { anomalies } = judge(&history) else { continue };
        for anomaly in anomalies.iter().filter(|anomaly| anomaly.reason.starts_with("whatever")) {
            let core = only(&history, anomaly);
            if core.ops.len() > 12 || anomaly.reason.contains("these are the last") {
                continue;
            }
            windows += 1;
            for start in [json!(0), json!(1), json!(2), json!("something else")] {
                let begun = beginning_with(&core, start.clone());
                assert!(!oracle::linearizable(&begun), "seed {seed}, from {start}: {anomaly:#?}");
            }
        }
    }
    assert!(windows > 20, "{windows} proofs looked at");
}

/// The same operations after a write of `value`.
fn beginning_with(history: &History, value: Value) -> History {
    let mut ops = history.ops.clone();
    for op in &mut ops {
        op.call += 2;
        op.ret = op.ret.saturating_add(2);
    }
    let Some(mut first) = ops.first().cloned() else { return history.clone() };
    first.f = "write".into();
    (first.input, first.end, first.error) = (value, checker::OpEnd::Ok, None);
    (first.call, first.ret) = (0, 1);
    ops.insert(0, first);
    History { ops, ..History::default() }
}
