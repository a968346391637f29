use std::collections::{HashMap, HashSet};

use cluster::fake::Solo;
use cluster::store::{CallError, Command};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Append, Bank, Counter, Generator, Next, Queue, Register, Set};

const S: u64 = 1_000_000_000;

fn pace(rate: f64, concurrency: u32, seconds: u64) -> Pace {
    Pace { rate, concurrency, time_limit_ns: seconds * S }
}

fn keyed<O: Object>(object: O, seed: u64, pace: Pace) -> Keyed<O> {
    Keyed::new(object, KeyedOptions::new(seed, pace)).unwrap()
}

fn register(seed: u64, pace: Pace) -> Keyed<Register> {
    keyed(Register::default(), seed, pace)
}

/// What `worker` issues when each call takes `latency_ns`, as `(due or issue time, input)`.
fn issued<O: Object>(
    workload: &Keyed<O>,
    worker: u32,
    latency_ns: impl Fn(usize) -> u64,
) -> Vec<(u64, Input)> {
    let (mut generator, mut now_ns, mut issued) = (workload.generator(worker), 0, Vec::new());
    loop {
        match generator.next(now_ns) {
            Next::Invoke(input) => {
                issued.push((now_ns, input));
                now_ns += latency_ns(issued.len());
            }
            Next::Wait { until_ns } => now_ns = until_ns,
            Next::Done => return issued,
        }
    }
}

fn text_of(stream: &[(u64, Input)]) -> String {
    format!("{stream:?}")
}

fn value_of(command: &Command) -> Option<&str> {
    match command {
        Command::Set(value) | Command::Cas { new: value, .. } => Some(value),
        Command::Append(value) | Command::Insert(value) | Command::Enqueue(value) => Some(value),
        _ => None,
    }
}

const KEY: Key = Key { generation: 3, place: 1 };

fn at(command: Command) -> Input {
    Input { key: KEY, command }
}

fn set(value: u64) -> Command {
    Command::Set(value.to_string())
}

fn cas(new: u64) -> Command {
    Command::Cas { expected: String::new(), new: new.to_string() }
}

async fn one<O: Object>(workload: &Keyed<O>, store: &mut Solo, command: Command) -> (Call, Completion) {
    let mut client = workload.client(0);
    let op = client.prepare(&at(command));
    let completion = client.call(store, &op).await;
    (op.call(), completion)
}

#[test]
fn the_same_seed_twice_gives_byte_equal_streams_and_another_seed_does_not() {
    let stream = |seed| text_of(&issued(&register(seed, pace(500.0, 4, 20)), 2, |_| 0));
    assert_eq!(stream(7), stream(7));
    assert_ne!(stream(7), stream(8));
    let workload = register(7, pace(500.0, 4, 20));
    let times = |worker| -> Vec<u64> { issued(&workload, worker, |_| 0).iter().map(|&(at, _)| at).collect() };
    assert_ne!(times(0), times(1), "workers do not move in step");
}

#[test]
fn slow_calls_change_when_inputs_are_issued_but_never_what_they_are() {
    let workload = register(1, pace(200.0, 2, 30));
    let on_time: HashSet<String> =
        issued(&workload, 1, |_| 0).iter().map(|(_, input)| format!("{input:?}")).collect();
    let late = issued(&workload, 1, |n| if n.is_multiple_of(50) { 3 * S } else { 1_000_000 });
    assert!(late.len() > 300, "{} issued", late.len());
    for (_, input) in &late {
        let known = on_time.contains(&format!("{input:?}"));
        assert!(known, "{input:?} is in no schedule");
    }
}

#[test]
fn a_run_without_a_rate_repeats_whatever_the_time() {
    let workload = register(1, pace(0.0, 3, 1));
    let inputs = |latency_ns| -> Vec<Input> {
        issued(&workload, 0, |_| latency_ns).into_iter().take(900).map(|(_, input)| input).collect()
    };
    assert_eq!(inputs(1000), inputs(1_000_000 + 7));
}

#[test]
fn weights_are_kept() {
    let stream = issued(&register(4, pace(1000.0, 2, 20)), 0, |_| 0);
    let share = |f: fn(&Input) -> bool| {
        stream.iter().filter(|(_, input)| f(input)).count() as f64 / stream.len() as f64
    };
    assert!((share(|input| input.command == Command::Get) - 0.50).abs() < 0.03);
    assert!((share(|input| matches!(input.command, Command::Set(_))) - 0.35).abs() < 0.03);
    assert!((share(|input| matches!(input.command, Command::Cas { .. })) - 0.15).abs() < 0.03);
}

#[test]
fn keys_rotate_one_at_a_time_and_live_for_their_lifetime() {
    let stream = issued(&register(5, pace(4000.0, 1, 21)), 0, |_| 0);
    let mut spans: HashMap<Key, (u64, u64)> = HashMap::new();
    for (time_ns, input) in &stream {
        let span = spans.entry(input.key).or_insert((*time_ns, *time_ns));
        span.1 = *time_ns;
    }
    assert!(spans.keys().any(|key| key.generation == 4));
    for (key, (first_ns, last_ns)) in &spans {
        assert!(last_ns - first_ns <= 5 * S, "{key} lived too long");
        let starts = u64::from(key.place) * (5 * S / 8);
        let begins_ns = (key.generation * 5 * S).saturating_sub(starts);
        assert!(*first_ns >= begins_ns && *first_ns < begins_ns + S / 4, "{key} begins at {first_ns}");
    }
}

#[test]
fn without_a_rate_a_key_is_retired_after_a_bounded_number_of_operations() {
    let workload = register(5, pace(0.0, 2, 1));
    let mut ops: HashMap<Key, u64> = HashMap::new();
    for worker in 0..2 {
        let mut generator = workload.generator(worker);
        for _ in 0..20_000 {
            let Next::Invoke(input) = generator.next(0) else { panic!("always due") };
            *ops.entry(input.key).or_default() += 1;
        }
    }
    assert!(ops.len() > 50, "{} keys", ops.len());
    assert!(ops.values().all(|&n| n < OPS_PER_KEY_UNPACED * 3 / 2), "{:?}", ops.values().max());
}

#[tokio::test]
async fn completions_say_what_happened() {
    let (workload, mut store) = (register(1, pace(1.0, 1, 1)), Solo::default());
    let (call, done) = one(&workload, &mut store, Command::Get).await;
    assert_eq!(call, Call { f: "read", key: "k3-1".into(), value: Value::Null });
    assert_eq!((done.kind, done.value, done.error), (EventKind::Ok, Value::Null, None));
    assert_eq!(done.served_by.map(|by| by.node), Some("solo".into()));

    let (call, done) = one(&workload, &mut store, set(12)).await;
    assert_eq!((call.f, call.value), ("write", json!(12)));
    assert_eq!((done.kind, done.value), (EventKind::Ok, json!(12)));

    let (call, done) = one(&workload, &mut store, cas(13)).await;
    assert_eq!((call.f, call.value), ("cas", json!([12, 13])));
    assert_eq!((done.kind, done.value), (EventKind::Ok, json!([12, 13])));

    store.apply("k3-1", &Command::Set("07".into())).unwrap();
    let (_, done) = one(&workload, &mut store, cas(14)).await;
    assert_eq!((done.kind, done.error.as_deref()), (EventKind::Fail, Some("mismatch")));
    assert_eq!(done.value, json!([13, 14]));
    let expects = workload.client(0).prepare(&at(cas(15))).call().value;
    assert_eq!(expects, json!([13, 15]), "a mismatch shows nothing new");

    let (_, done) = one(&workload, &mut store, Command::Get).await;
    assert_eq!(done.value, json!("07"), "a text that is no number's usual form stays a text");
}

#[tokio::test]
async fn a_compare_and_set_expects_what_any_client_saw_last_and_reads_when_nobody_saw_anything() {
    let (workload, mut store) = (register(1, pace(1.0, 2, 1)), Solo::default());
    let cas = at(cas(9));
    assert_eq!(workload.client(1).prepare(&cas).call().f, "read");
    one(&workload, &mut store, set(5)).await;
    assert_eq!(workload.client(1).prepare(&cas).call().value, json!([5, 9]));
    // An update nobody knows the fate of is not what was last seen.
    let mut failing = store.failing(CallError::indefinite("connection reset"));
    let (_, done) = one(&workload, &mut failing, set(6)).await;
    assert_eq!((done.kind, done.value), (EventKind::Info, json!(6)));
    assert_eq!(workload.client(1).prepare(&cas).call().value, json!([5, 9]));
}

#[test]
fn a_timeout_leaves_an_update_open_and_a_read_without_effect() {
    let workload = register(1, pace(1.0, 1, 1));
    let mut client = workload.client(0);
    let read = client.prepare(&at(Command::Get));
    assert_eq!(client.timed_out(&read).kind, EventKind::Fail);
    let write = client.prepare(&at(set(3)));
    let timed_out = client.timed_out(&write);
    assert_eq!((timed_out.kind, timed_out.error.as_deref()), (EventKind::Info, Some("timeout")));
}

#[test]
fn the_final_reads_are_every_key_that_was_called_in_order_of_age() {
    let mut options = KeyedOptions::new(1, pace(1.0, 1, 1));
    options.final_keys_max = Some(2);
    let newest = Keyed::new(Register::default(), options).unwrap();
    let all = register(1, pace(1.0, 1, 1));
    let key = |generation, place| Key { generation, place };
    for workload in [&newest, &all] {
        assert_eq!(workload.final_reads(), []);
        for key in [key(10, 0), key(2, 7), key(9, 1)] {
            workload.client(0).prepare(&Input { key, command: set(1) });
        }
    }
    let reads = |keys: &[Key]| -> Vec<Input> {
        keys.iter().map(|&key| Input { key, command: Command::Get }).collect()
    };
    assert_eq!(all.final_reads(), reads(&[key(2, 7), key(9, 1), key(10, 0)]));
    assert_eq!(newest.final_reads(), reads(&[key(9, 1), key(10, 0)]));
}

#[test]
fn impossible_options_are_refused_with_a_reason() {
    let with = |change: fn(&mut KeyedOptions)| {
        let mut options = KeyedOptions::new(1, pace(1.0, 1, 1));
        change(&mut options);
        Keyed::new(Counter, options).err()
    };
    assert_eq!(with(|options| options.keys = 0), Some(KeyedError::NoKeys));
    assert_eq!(with(|options| options.key_lifetime_s = 0.0), Some(KeyedError::Lifetime(0.0)));
    assert_eq!(with(|options| options.key_lifetime_s = -1.0), Some(KeyedError::Lifetime(-1.0)));
    assert!(Register::new(0, 0, 0).is_none());
}

#[test]
fn a_key_is_retired_before_it_has_more_operations_than_its_object_takes() {
    for rate in [0.0, 50.0, 5_000.0] {
        let workload = keyed(Bank, 1, pace(rate, 2, 10));
        let mut ops: HashMap<Key, u64> = HashMap::new();
        for worker in 0..2 {
            for (_, input) in issued(&workload, worker, |_| 1_000_000).into_iter().take(20_000) {
                *ops.entry(input.key).or_default() += 1;
            }
        }
        assert!(ops.values().all(|&n| n < 150 * 3 / 2), "rate {rate}: {:?}", ops.values().max());
    }
}

#[tokio::test]
async fn a_bank_is_opened_by_whoever_comes_first_and_then_used() {
    let (workload, mut store) = (keyed(Bank, 1, pace(1.0, 2, 1)), Solo::default());
    assert_eq!(workload.final_reads(), []);
    let transfer = || Command::Transfer { from: "a0".into(), to: "a1".into(), amount: 400_000 };
    let mut failing = store.failing(CallError::indefinite("timeout"));
    let (call, done) = one(&workload, &mut failing, transfer()).await;
    assert_eq!((call.f, done.kind), ("open", EventKind::Info));
    assert_eq!(workload.final_reads(), [], "nobody knows whether it is open");
    assert_eq!(one(&workload, &mut store, Command::Balances).await.0.f, "open");
    for kind in [EventKind::Ok, EventKind::Ok, EventKind::Fail] {
        let (call, done) = one(&workload, &mut store, transfer()).await;
        assert_eq!((call.f, done.kind), ("transfer", kind));
    }
    let (_, done) = one(&workload, &mut store, Command::Balances).await;
    assert_eq!((&done.value["a0"], &done.value["a1"]), (&json!(200_000), &json!(1_800_000)));
    assert_eq!(workload.final_reads(), [at(Command::Balances)]);
}

#[tokio::test]
async fn in_the_end_a_queue_is_emptied() {
    let (workload, mut store) = (keyed(Queue, 1, pace(1.0, 2, 1)), Solo::default());
    let enqueue = |value: u64| Command::Enqueue(value.to_string());
    for value in 1..=3 {
        one(&workload, &mut store, enqueue(value)).await;
    }
    one(&workload, &mut store, Command::Dequeue).await;
    let mut refusing = store.failing(CallError::definite("no master"));
    one(&workload, &mut refusing, enqueue(4)).await;
    let mut failing = store.failing(CallError::indefinite("timeout"));
    one(&workload, &mut failing, enqueue(5)).await;
    let reads = workload.final_reads();
    assert_eq!(reads.len(), 4, "two that are there, one that may be, and one more");
    let mut taken = Vec::new();
    for input in reads {
        taken.push(one(&workload, &mut store, input.command).await.1.value);
    }
    assert_eq!(taken, [json!(2), json!(3), Value::Null, Value::Null]);
}

/// A history in which everything is done at once, by one client after the other; valid, and it must stay so.
async fn is_valid_on_one_server<O: Object>(object: O) {
    let (workload, mut store) = (keyed(object, 3, pace(500.0, 2, 4)), Solo::default());
    let mut events = Vec::new();
    let mut record = |kind, f: &'static str, key: &str, value: Value, error| {
        let index = events.len() as u64;
        let (key, process) = (Some(json!(key)), checker::Process::Client(0));
        let (shard, epoch, node) = (None, None, None);
        let f = f.into();
        events.push(checker::Event {
            index,
            time_ns: index,
            process,
            kind,
            f,
            key,
            value,
            error,
            shard,
            epoch,
            node,
        });
    };
    let inputs: Vec<Input> =
        (0..2).flat_map(|worker| issued(&workload, worker, |_| 0)).map(|(_, input)| input).collect();
    let mut client = workload.client(0);
    let mut asked = 0;
    for round in [inputs, Vec::new()] {
        let reads = if round.is_empty() { workload.final_reads() } else { Vec::new() };
        for input in round.into_iter().chain(reads) {
            let op = client.prepare(&input);
            let call = op.call();
            record(EventKind::Invoke, call.f, &call.key, call.value, None);
            let done = client.call(&mut store, &op).await;
            assert!(done.kind == EventKind::Ok || done.error.as_deref() == Some("mismatch"), "{done:?}");
            record(done.kind, call.f, &call.key, done.value, done.error);
            asked += 1;
        }
    }
    assert!(asked > 1_000, "{asked} operations");
    let history = History::from_events(events).unwrap();
    for checker in workload.checkers() {
        let verdict = checker.check(&history, &checker::Budget::default());
        assert_eq!(verdict, checker::Verdict::Valid, "{}", checker.name());
    }
}

#[tokio::test]
async fn every_workload_is_understood_by_its_checkers() {
    is_valid_on_one_server(Register::default()).await;
    is_valid_on_one_server(Set).await;
    is_valid_on_one_server(Append).await;
    is_valid_on_one_server(Counter).await;
    is_valid_on_one_server(Queue).await;
    is_valid_on_one_server(Bank).await;
    let staleness_max = std::time::Duration::from_secs(1);
    is_valid_on_one_server(crate::ReplicaReads { staleness_max }).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_value_is_written_twice_whatever_the_options(
        seed: u64, workers in 1u32..7, keys in 1u32..20, rate in prop_oneof![Just(0.0), 20.0..2000.0],
    ) {
        let mut options = KeyedOptions::new(seed, pace(rate, workers, 3));
        options.keys = keys;
        let workload = Keyed::new(Register::default(), options).unwrap();
        let mut written = HashSet::new();
        for worker in 0..workers {
            for (_, input) in issued(&workload, worker, |_| 2_000_000) {
                prop_assert!(input.key.place < keys);
                if let Some(value) = value_of(&input.command) {
                    prop_assert!(value != "0" && written.insert(value.to_owned()), "{} written twice", value);
                }
            }
        }
    }
}
