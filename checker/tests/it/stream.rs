//! Registers judged as the history goes on, against the whole check.

use checker::history::sketch;
use checker::model::register::RegisterPart;
use checker::stream::{Live, Stop, Watch, WatchError, WatchOptions};
use checker::unique::{self, Unique};
use checker::{Anomaly, Event, History};
use serde_json::json;

use crate::oracle;
use crate::random::{Shape, events, for_each_event};

fn watch(events: &[Event], options: WatchOptions) -> Result<(), Stop> {
    let mut watch = Watch::new(options);
    events.iter().try_for_each(|event| watch.push(event.clone()))?;
    watch.finish()
}

fn violation(events: &[Event], options: WatchOptions) -> Option<Anomaly> {
    match watch(events, options) {
        Ok(()) => None,
        Err(Stop::Violation(anomaly)) => Some(*anomaly),
        Err(Stop::Undecidable(error)) => panic!("{error}"),
    }
}

fn shape(seed: u64) -> Shape {
    Shape {
        ops: 4 + (seed % 5) as usize + if seed.is_multiple_of(4) { 30 } else { 0 },
        concurrency: 2 + (seed / 7 % 4) as usize,
        unique: true,
        info: [0, 10, 25][(seed / 3 % 3) as usize],
        fail: [0, 8][(seed / 5 % 2) as usize],
        wrong: if seed.is_multiple_of(4) { 2 } else { [0, 40, 90][(seed / 11 % 3) as usize] },
        reads: 35,
        cas: [0, 20, 45, 80][(seed / 13 % 4) as usize],
    }
}

/// Histories compared; the nightly campaign sets a larger number.
fn count() -> u64 {
    std::env::var("CHECKER_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000)
}

#[test]
fn the_verdict_is_that_of_the_whole_check_at_every_epoch() {
    let mut illegal = 0;
    for seed in 0..count() {
        let events = events(shape(seed), seed);
        let history = History::from_events(events.iter().cloned()).expect("well formed");
        let places: Vec<usize> = (0..history.ops.len()).collect();
        let part = RegisterPart::new(&history, &places).expect("a register");
        let expected = matches!(unique::check(&part.entries, part.values_len()), Unique::Illegal(_));
        for epoch_events in [1, 2, 5, 256] {
            let found = violation(&events, WatchOptions { epoch_events, ..WatchOptions::default() });
            let picture = checker::history::draw(&history.ops.iter().collect::<Vec<_>>());
            assert_eq!(found.is_some(), expected, "seed {seed}, epoch {epoch_events}: {found:#?}\n{picture}");
        }
        illegal += u64::from(expected);
    }
    assert!(illegal > count() / 5 && illegal < count() * 4 / 5, "{illegal} illegal of {}", count());
}

#[test]
fn the_operations_of_a_violation_prove_it_without_the_others() {
    let mut proofs = 0;
    for seed in 0..3_000 {
        let events = events(Shape { cas: 0, ..shape(seed) }, seed);
        let options = WatchOptions { epoch_events: [1, 256][(seed % 2) as usize], ..WatchOptions::default() };
        let Some(anomaly) = violation(&events, options) else { continue };
        let mut history = History::from_events(events).expect("well formed");
        history.ops.retain(|op| anomaly.ops.contains(&op.index));
        assert_eq!(history.ops.len(), anomaly.ops.len(), "seed {seed}: {anomaly:#?}");
        assert!(!oracle::linearizable(&history), "seed {seed}: {anomaly:#?}");
        proofs += 1;
    }
    assert!(proofs > 200, "{proofs} proofs looked at");
}

#[test]
fn keys_are_judged_alone() {
    for seed in 0..300 {
        let parts: Vec<Vec<Event>> = (0..2).map(|key| events(shape(seed + key), seed + key)).collect();
        let options = WatchOptions { epoch_events: 3, ..WatchOptions::default() };
        let alone = parts.iter().filter(|part| violation(part, options).is_some()).count();
        let mut mixed = Vec::new();
        for (key, part) in parts.into_iter().enumerate() {
            mixed.extend(part.into_iter().map(|mut event| {
                if let checker::Process::Client(id) = &mut event.process {
                    *id = *id * 2 + key as u64;
                }
                event.key = Some(json!(key));
                event
            }));
        }
        mixed.sort_by_key(|event| event.time_ns);
        for (index, event) in (0..).zip(&mut mixed) {
            event.index = index;
        }
        assert_eq!(violation(&mixed, options).is_some(), alone > 0, "seed {seed}");
    }
}

/// The first anomaly of a drawing: its name and its operations.
fn drawn(drawing: &str) -> (String, Vec<u64>) {
    let events = sketch::events(drawing).expect("well drawn");
    let anomaly = violation(&events, WatchOptions::default()).expect("a violation");
    assert!(!anomaly.reason.is_empty());
    (anomaly.name, anomaly.ops)
}

#[test]
fn every_anomaly_is_called_by_its_name() {
    let cases = [
        ("stale-read", "p0 |-w1-| |-w2-| |-r2-|\np1                        |-r1-|"),
        ("fabricated-value", "p0 |-w1-| |-r7-|"),
        ("aborted-read", "p0 |-w1-x |-r1-|"),
        ("value-of-another-key", "p0 |-w5@a-| |-w1@b-| |-r5@b-|"),
        ("lost-update", "p0 |-w1-| |-w2-| |-r1-|"),
        ("split-cas", "p0 |-w1-| |-c1>2-|\np1        |-c1>3-|"),
        ("cas-cycle", "p0 |-c1>2-|\np1 |-c2>1-|"),
        ("future-read", "p0 |-c1>2----------------|\np1  |-r2-|\np2             |-w1-|"),
        ("false-mismatch", "p0 |-w1-|            |-r1-|\np1         |-c1>2-#"),
    ];
    for (name, drawing) in cases {
        let found = drawn(drawing).0;
        assert_eq!(found, name, "\n{drawing}");
    }
}

#[test]
fn an_outcome_after_the_lag_is_no_guess() {
    let mut events = sketch::events("p0 |-w1-------------|\np1     |-r1-|").expect("well drawn");
    for event in &mut events {
        event.time_ns *= 1_000;
    }
    let options = WatchOptions { lag_ns: 5_000_000_000, ..WatchOptions::default() };
    let Err(Stop::Undecidable(error)) = watch(&events, options) else { panic!("the write came back late") };
    assert!(matches!(error, WatchError::TooLate { call: 0, lag_ms: 5_000, .. }), "{error}");
}

#[test]
fn a_value_written_again_is_refused() {
    let events = sketch::events("p0 |-w1-|\np1  |-w1-|").expect("well drawn");
    let Err(Stop::Undecidable(error)) = watch(&events, WatchOptions::default()) else { panic!("twice") };
    assert!(matches!(error, WatchError::Repeated { index: 1, .. }), "{error}");
}

#[test]
fn a_malformed_log_is_refused_by_event() {
    let good = events(Shape { ops: 3, concurrency: 1, info: 0, fail: 0, wrong: 0, ..shape(0) }, 1);
    let twice = [&good[..2], &good[1..2]].concat();
    assert!(matches!(watch(&twice, WatchOptions::default()), Err(Stop::Undecidable(WatchError::Form(_)))));
    assert!(matches!(
        watch(&good[1..], WatchOptions::default()),
        Err(Stop::Undecidable(WatchError::Form(_)))
    ));
}

#[test]
fn what_is_held_does_not_grow_with_the_history() {
    let shape = Shape {
        ops: 1_000_000,
        concurrency: 50,
        unique: true,
        info: 0,
        fail: 1,
        wrong: 0,
        reads: 50,
        cas: 20,
    };
    let mut watch = Watch::new(WatchOptions { lag_ns: 1_000_000_000, ..WatchOptions::default() });
    let (mut peak, mut seen) = (Live::default(), 0u64);
    for_each_event(shape, 3, |event| {
        watch.push(event).expect("an atomic register");
        seen += 1;
        if seen.is_multiple_of(100) {
            let live = watch.live();
            peak.groups = peak.groups.max(live.groups);
            peak.zones = peak.zones.max(live.zones);
            peak.unseen = peak.unseen.max(live.unseen);
        }
    });
    println!("{} operations, at most {peak:?}", watch.ops());
    watch.finish().expect("an atomic register");
    assert!(peak.groups < 1_000 && peak.zones < 2_000 && peak.unseen == 0, "{peak:?}");
}
