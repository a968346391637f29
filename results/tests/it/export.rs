//! What other tools are given says what was recorded.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use checker::history::formats::{Format as Form, Leniency, read};
use checker::{Budget, Checker, Event, EventKind, FaultRecord, History, Linearizable, Op, OpEnd, Process};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use proptest::prelude::*;
use results::export::{Exported, Format, What, export};
use results::writer::RunFile;
use results::{Error, Journal, RunFolder};
use serde_json::{Value, json};

use crate::synthetic;

/// Words, numbers and nothing, and all that is hard to write down.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (i64::MAX as u64..).prop_map(Value::from),
        // Fractions whose every digit survives being read.
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 4.0)),
        "[a-z:\"\\\\{}\\[\\]#;,\\n\\t\\x01é ]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::hash_map("[a-z0-9 \"]{0,4}", inner, 0..3)
                .prop_map(|map: HashMap<String, Value>| map.into_iter().collect::<Value>()),
        ]
    })
}

/// A well-formed history: what each of four clients does next, one after the other.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let step = (0..4u64, 0..3usize, 0..8u8, value(), "[k\"é]{1,3}");
    proptest::collection::vec(step, 0..40).prop_map(|steps| {
        let mut events: Vec<Event> = Vec::new();
        let mut lives = [0u64; 4];
        let mut open: HashMap<u64, Event> = HashMap::new();
        for (client, f, end, value, key) in steps {
            let process = Process::Client(client + 10 * lives[client as usize]);
            let blank = Event {
                index: events.len() as u64,
                time_ns: 1000 * (events.len() as u64 + 1),
                process,
                kind: EventKind::Invoke,
                f: ["read", "write", "cas"][f].into(),
                key: Some(key.into()),
                value: value.clone(),
                error: None,
                shard: None,
                epoch: None,
                node: None,
            };
            let event = match open.remove(&client) {
                None => {
                    open.insert(client, blank.clone());
                    blank
                }
                Some(call) => {
                    let kind = match end {
                        0 => EventKind::Info,
                        1 | 2 => EventKind::Fail,
                        _ => EventKind::Ok,
                    };
                    lives[client as usize] += u64::from(kind == EventKind::Info);
                    let error =
                        (kind != EventKind::Ok).then_some(if end == 1 { "mismatch" } else { "no: \"way\"" });
                    Event {
                        kind,
                        f: call.f,
                        key: call.key,
                        value: if kind == EventKind::Ok { value } else { Value::Null },
                        error: error.map(Into::into),
                        shard: Some(1),
                        epoch: Some(7),
                        node: Some("s1r0".into()),
                        ..blank
                    }
                }
            };
            events.push(event);
        }
        events
    })
}

fn folder(store: &Path, workload: &str, events: &mut [Event]) -> RunFolder {
    let folder = RunFolder::create(store, workload).unwrap();
    let spec = results::spec::RunSpec { workload: workload.into(), ..synthetic::spec() };
    let versions = [("redis".to_owned(), "7".to_owned())];
    folder
        .write_run(&RunFile::new(spec, "2026-11-22T14:37:32Z".into(), "shardstorm run".into(), &versions))
        .unwrap();
    let journal = Journal::create(&folder.history()).unwrap();
    journal.append_all(events).unwrap();
    journal.finish().unwrap();
    folder
}

fn exported(folder: &RunFolder, what: What, format: Format) -> Result<(Vec<u8>, Exported), Error> {
    let mut out = Vec::new();
    let done = export(folder, what, format, &mut out, Path::new("out"))?;
    Ok((out, done))
}

/// What an operation is, but for where it was sent, which EDN readers pass over.
fn plain(op: &Op) -> Op {
    Op { shard: None, epoch: None, node: None, ..op.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn edn_says_the_same_as_the_journal(mut events in events()) {
        let store = tempfile::tempdir().unwrap();
        let folder = folder(store.path(), "register", &mut events);
        let (out, done) = exported(&folder, What::Operations, Format::Edn).unwrap();
        prop_assert_eq!(done.rows, events.len() as u64);
        let text = String::from_utf8(out).unwrap();
        prop_assert_eq!(text.lines().count(), events.len());
        let reading = read(text.as_bytes(), Some(Form::named("edn").unwrap()), Leniency::Strict);
        let mut back = History::from_events(reading.unwrap().events).unwrap();
        prop_assert_eq!(back.split_independent(), Ok(()));
        let original = History::from_events(events.clone()).unwrap();
        prop_assert_eq!(
            back.ops.iter().map(plain).collect::<Vec<_>>(),
            original.ops.iter().map(plain).collect::<Vec<_>>()
        );
        let word = |history: &History| Linearizable.check(history, &Budget::default()).word();
        prop_assert_eq!(word(&back), word(&original));
    }

    #[test]
    fn parquet_has_every_operation_with_its_types(mut events in events()) {
        let store = tempfile::tempdir().unwrap();
        let folder = folder(store.path(), "register", &mut events);
        let (out, done) = exported(&folder, What::Operations, Format::Parquet).unwrap();
        let original = History::from_events(events.clone()).unwrap();
        prop_assert_eq!(done.rows, original.ops.len() as u64);
        let reader = SerializedFileReader::new(Bytes::from(out)).unwrap();
        for (row, op) in reader.get_row_iter(None).unwrap().zip(&original.ops) {
            let row = row.unwrap();
            let cells: HashMap<&str, &Field> =
                row.get_column_iter().map(|(name, field)| (name.as_str(), field)).collect();
            let int = |name: &str| match cells[name] { Field::Long(n) => Some(*n), _ => None };
            let text = |name: &str| match cells[name] { Field::Str(text) => Some(text.clone()), _ => None };
            let json = |name: &str| text(name).map(|text| serde_json::from_str::<Value>(&text).unwrap());
            prop_assert_eq!(int("index"), Some(op.index as i64));
            prop_assert_eq!(Process::Client(int("process").unwrap() as u64), op.process);
            prop_assert_eq!(text("f"), Some(op.f.to_string()));
            prop_assert_eq!(text("key").map(Value::from), Some(op.key.clone()));
            prop_assert_eq!(json("value").unwrap_or_default(), op.input.clone());
            prop_assert_eq!(int("value_int"), op.input.as_i64());
            prop_assert_eq!(json("result"), (op.end == OpEnd::Ok).then(|| op.output.clone()));
            prop_assert_eq!(int("result_int"), op.output.as_i64());
            let end = match op.end { OpEnd::Ok => "ok", OpEnd::Fail => "fail", OpEnd::Info => "info" };
            prop_assert_eq!(text("end"), Some(end.to_owned()));
            prop_assert_eq!(text("error"), op.error.as_ref().map(ToString::to_string));
            prop_assert_eq!(int("call_ns"), Some(op.call_ns as i64));
            prop_assert_eq!(int("ret_ns"), op.ret_ns.map(|ns| ns as i64));
            prop_assert_eq!(int("epoch"), op.epoch.map(|epoch| epoch as i64));
            prop_assert_eq!(text("node"), op.node.as_ref().map(ToString::to_string));
        }
    }
}

fn call(process: u64, f: &'static str, value: Value) -> Event {
    Event {
        index: 0,
        time_ns: 5,
        process: Process::Client(process),
        kind: EventKind::Invoke,
        f: f.into(),
        key: Some("x".into()),
        value,
        error: None,
        shard: None,
        epoch: None,
        node: None,
    }
}

fn back(event: &Event, kind: EventKind, value: Value) -> Event {
    Event { kind, value, ..event.clone() }
}

#[test]
fn elle_is_given_transactions() {
    let store = tempfile::tempdir().unwrap();
    let (write, cas, read) =
        (call(0, "write", json!(1)), call(1, "cas", json!([1, 2])), call(2, "read", Value::Null));
    let lost = call(3, "cas", json!([2, 3]));
    let mut events = vec![
        write.clone(),
        back(&write, EventKind::Ok, json!(1)),
        cas.clone(),
        back(&cas, EventKind::Ok, json!([1, 2])),
        lost.clone(),
        back(&lost, EventKind::Info, Value::Null),
        read.clone(),
        back(&read, EventKind::Ok, json!(2)),
    ];
    let register = folder(store.path(), "register", &mut events);
    let (out, _) = exported(&register, What::Operations, Format::Elle).unwrap();
    let text = String::from_utf8(out).unwrap();
    let values: Vec<&str> = text
        .lines()
        .map(|line| line.split_once(":f :txn, :value ").unwrap().1.trim_end_matches('}'))
        .collect();
    assert_eq!(
        values,
        [
            "[[:w \"x\" 1]]",
            "[[:w \"x\" 1]]",
            "[[:r \"x\" nil] [:w \"x\" 2]]",
            "[[:r \"x\" 1] [:w \"x\" 2]]",
            "[[:r \"x\" nil] [:w \"x\" 3]]",
            "[[:r \"x\" nil] [:w \"x\" 3]]",
            "[[:r \"x\" nil]]",
            "[[:r \"x\" 2]]",
        ]
    );
    // Elle tells writes by their values.
    let mut twice = vec![write.clone(), back(&write, EventKind::Ok, json!(1)), call(0, "write", json!(1))];
    let refused = exported(&folder(store.path(), "register", &mut twice), What::Operations, Format::Elle);
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("event 2 writes 1 to key \"x\" a second time") && why.contains("--to edn"), "{why}");
    let queue = folder(store.path(), "queue", &mut events);
    let why = exported(&queue, What::Operations, Format::Elle).unwrap_err().to_string();
    assert!(why.contains("workload queue") && why.contains("--to edn"), "{why}");
    let why = exported(&queue, What::Faults, Format::Edn).unwrap_err().to_string();
    assert!(why.contains("faults are no history") && why.contains("--to parquet"), "{why}");
}

#[test]
fn faults_are_told_as_they_ended_and_survive_edn() {
    let store = tempfile::tempdir().unwrap();
    let fault = |stop_ns| FaultRecord {
        id: 3,
        kind: "kill".into(),
        detail: "kill -9".into(),
        target: "master of shard 0".into(),
        nodes: vec!["s0r0".into()],
        roles: vec!["master".into()],
        wide: false,
        start_ns: 10,
        stop_ns,
        installed: true,
        evidence: vec![("state seen".into(), "killed by signal 9".into())],
    };
    let edge = |f: &'static str, stop_ns| Event {
        process: Process::Nemesis,
        kind: EventKind::Info,
        key: None,
        ..call(0, f, serde_json::to_value(fault(stop_ns)).unwrap())
    };
    let mut events = vec![edge("fault-start", None), edge("fault-stop", Some(20))];
    let folder = folder(store.path(), "register", &mut events);
    let (out, done) = exported(&folder, What::Faults, Format::Jsonl).unwrap();
    let row: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((done.rows, &row["stop_ns"], &row["nodes"]), (1, &json!(20), &json!(["s0r0"])));
    assert_eq!(row["evidence"], json!([["state seen", "killed by signal 9"]]));
    let (out, _) = exported(&folder, What::Operations, Format::Edn).unwrap();
    let reading = read(&out, Some(Form::named("edn").unwrap()), Leniency::Strict).unwrap();
    assert_eq!(History::from_events(reading.events).unwrap().faults, [fault(Some(20))]);
    // Nothing of that kind was recorded: an empty table, and a word about it.
    let (out, done) = exported(&folder, What::Messages, Format::Parquet).unwrap();
    let reader = SerializedFileReader::new(Bytes::from(out)).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    assert!(done.notes[0].contains("no strikes.jsonl"), "{:?}", done.notes);
}

#[test]
fn a_call_that_never_comes_back_holds_nobody_up_and_a_cut_line_is_a_note() {
    let store = tempfile::tempdir().unwrap();
    let forever = call(9, "read", Value::Null);
    let mut events = vec![forever];
    for n in 0..50 {
        let write = call(0, "write", json!(n));
        events.extend([write.clone(), back(&write, EventKind::Ok, json!(n))]);
    }
    let folder = folder(store.path(), "register", &mut events);
    let mut text = std::fs::read_to_string(folder.history()).unwrap();
    text.push_str("{\"index\":101,\"ti");
    std::fs::write(folder.history(), text).unwrap();
    let (out, done) = exported(&folder, What::Operations, Format::Jsonl).unwrap();
    let rows: Vec<Value> =
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), done.rows), (51, 51));
    assert_eq!((&rows[0]["end"], &rows[0]["ret_ns"]), (&json!("info"), &Value::Null));
    assert!(rows.iter().map(|row| row["index"].as_u64()).is_sorted());
    assert!(done.notes[0].contains("mid-line 102"), "{:?}", done.notes);
}
