use cluster::fake::{FakeCluster, FakeOptions};

use super::*;
use crate::{Generator, Next};

fn workload(seed: u64) -> Members {
    let pace = Pace { rate: 100.0, concurrency: 4, time_limit_ns: 60_000_000_000 };
    Members::new(MembersOptions::new(seed, pace)).unwrap()
}

async fn step(client: &mut MembersClient, store: &mut impl Store, kind: Kind) -> (Call, Completion) {
    let op = client.prepare(&Input { group: 0, kind });
    (op.call(), client.call(store, &op).await)
}

#[tokio::test]
async fn a_worker_joins_asks_and_leaves_under_its_own_name() {
    let (workload, cluster) = (workload(1), FakeCluster::start(&FakeOptions::default()));
    let (mut store, mut other) = (cluster.client("c0").unwrap(), cluster.client("c1").unwrap());
    let (mut client, mut second) = (workload.client(0), workload.client(1));
    let (call, done) = step(&mut client, &mut store, Kind::Leave).await;
    assert_eq!((call.f, done.value), ("members", json!([])), "who is not in it cannot leave");
    let (call, first) = step(&mut client, &mut store, Kind::Join).await;
    assert_eq!(
        (call.f, call.key.as_str(), call.value, first.kind),
        ("join", "g0", json!("m0"), EventKind::Ok)
    );
    let (_, again) = step(&mut client, &mut store, Kind::Join).await;
    assert_eq!(again.value, first.value, "it has stayed");
    let (_, theirs) = step(&mut second, &mut other, Kind::Join).await;
    let (_, listed) = step(&mut second, &mut other, Kind::List).await;
    assert_eq!(listed.value, json!([["m0", first.value], ["m1", theirs.value]]));
    let (call, done) = step(&mut client, &mut store, Kind::Leave).await;
    assert_eq!((call.f, call.value, done.value), ("leave", json!("m0"), Value::Null));
    let (_, back) = step(&mut client, &mut store, Kind::Join).await;
    assert!(back.value.as_u64() > theirs.value.as_u64());
}

#[test]
fn what_timed_out_is_open_unless_it_only_looked() {
    let mut client = workload(1).client(3);
    for (kind, expected) in [(Kind::Join, EventKind::Info), (Kind::List, EventKind::Fail)] {
        let op = client.prepare(&Input { group: 0, kind });
        assert_eq!(client.timed_out(&op).kind, expected);
    }
}

#[test]
fn equal_seeds_draw_equal_inputs_and_all_kinds_come() {
    let drawn = |seed| {
        let (mut generator, mut now_ns, mut inputs) = (workload(seed).generator(2), 0, Vec::new());
        while inputs.len() < 200 {
            match generator.next(now_ns) {
                Next::Invoke(input) => inputs.push(input),
                Next::Wait { until_ns } => now_ns = until_ns,
                Next::Done => break,
            }
        }
        inputs
    };
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
    for kind in [Kind::Join, Kind::Leave, Kind::List] {
        assert!(drawn(7).iter().any(|input| input.kind == kind), "{kind:?}");
    }
    let nothing = MembersOptions { join_weight: 0, leave_weight: 0, list_weight: 0, ..workload(1).options };
    assert!(Members::new(nothing).is_none());
}
