use std::collections::HashMap;

use cluster::fake::Solo;
use proptest::prelude::*;

use super::*;
use crate::{Generator, Next};

/// Locks that are free or taken, beside data that is always there.
#[derive(Clone, Default)]
struct Table {
    data: Solo,
    holders: Arc<Mutex<(i64, HashMap<String, i64>)>>,
}

impl Store for Table {
    async fn execute(&mut self, key: &str, command: &Command) -> Reply<Answer> {
        self.data.execute(key, command).await
    }

    async fn acquire(&mut self, lock: &str, _patience: Duration) -> Reply<i64> {
        let (last, holders) = &mut *self.holders.lock().unwrap();
        if holders.contains_key(lock) {
            return Reply::refused("lock not granted in time");
        }
        *last += 1;
        holders.insert(lock.into(), *last);
        Reply { result: Ok(*last), served_by: None }
    }

    async fn release(&mut self, lock: &str, token: i64) -> Reply<()> {
        self.holders.lock().unwrap().1.retain(|held, by| held != lock || *by != token);
        Reply { result: Ok(()), served_by: None }
    }
}

fn workload(seed: u64) -> Lock {
    Lock::new(LockOptions::new(seed, Pace { rate: 100.0, concurrency: 4, time_limit_ns: 60_000_000_000 }))
}

async fn step(client: &mut LockClient, store: &mut Table, input: Input) -> (&'static str, Completion) {
    let op = client.prepare(&input);
    (op.call().f, client.call(store, &op).await)
}

fn input(linger: u32) -> Input {
    Input::Step { lock: 2, linger }
}

#[tokio::test]
async fn a_turn_counts_one_and_gives_the_lock_back() {
    let (workload, mut store) = (workload(1), Table::default());
    let (mut client, mut other) = (workload.client(0), workload.client(1));
    for (linger, count) in [(0, 1), (2, 2)] {
        let mut steps = vec!["acquire", "claim"];
        steps.extend(vec!["read"; linger as usize]);
        steps.extend(["guarded", "release"]);
        for (n, expected) in steps.into_iter().enumerate() {
            // Only where a turn begins it matters what was drawn.
            let (f, done) = step(&mut client, &mut store, input(if n == 0 { linger } else { 9 })).await;
            assert_eq!((f, done.kind), (expected, EventKind::Ok), "{done:?}");
            if f == "guarded" {
                assert_eq!(done.value[1], json!(count));
            }
            if f == "claim" {
                let (f, done) = step(&mut other, &mut store, input(0)).await;
                assert_eq!((f, done.kind), ("acquire", EventKind::Fail));
            }
        }
    }
    assert_eq!(workload.final_reads(), [Input::Read { lock: 2 }]);
    let (f, done) = step(&mut other, &mut store, Input::Read { lock: 2 }).await;
    assert_eq!((f, done.value), ("read", json!(2)));
}

#[tokio::test]
async fn whoever_is_refused_gives_the_lock_back_and_begins_anew() {
    let (workload, mut store) = (workload(1), Table::default());
    let mut client = workload.client(0);
    for expected in ["acquire", "claim"] {
        assert_eq!(step(&mut client, &mut store, input(0)).await.0, expected);
    }
    store.execute("count-2", &Command::Claim(7)).await.result.unwrap();
    let (f, done) = step(&mut client, &mut store, input(0)).await;
    assert_eq!((f, done.kind, done.error.as_deref()), ("guarded", EventKind::Fail, Some(STALE)));
    for expected in ["release", "acquire"] {
        assert_eq!(step(&mut client, &mut store, input(0)).await.0, expected);
    }
    // A claim of which nothing is known, then a release of which nothing is known.
    let claim = client.prepare(&input(0));
    assert_eq!((claim.call().f, client.timed_out(&claim).kind), ("claim", EventKind::Info));
    let (f, _) = step(&mut client, &mut store, input(0)).await;
    assert_eq!(f, "release");
    assert_eq!(client.prepare(&input(0)).call().f, "acquire");
}

#[test]
fn a_turn_that_lingers_takes_as_long_as_it_should() {
    // A slot of one of four workers at 100 a second: 40 ms.
    assert_eq!(workload(1).linger_ops(), 100);
    let unpaced = Pace { rate: 0.0, concurrency: 4, time_limit_ns: 1 };
    assert_eq!(Lock::new(LockOptions::new(1, unpaced)).linger_ops(), LINGER_OPS_UNPACED);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_seeds_draw_equal_inputs_whenever_they_are_asked_for(seed: u64, worker in 0u32..4, late_ns in 0u64..50_000_000) {
        let drawn = |late_ns: u64| {
            let (workload, mut now_ns, mut inputs) = (workload(seed), 0, Vec::new());
            let mut generator = workload.generator(worker);
            while inputs.len() < 50 {
                match generator.next(now_ns) {
                    Next::Invoke(input) => inputs.push(input),
                    Next::Wait { until_ns } => now_ns = until_ns + late_ns,
                    Next::Done => break,
                }
            }
            inputs
        };
        prop_assert_eq!(drawn(0), drawn(late_ns));
    }
}
