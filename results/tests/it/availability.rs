//! Outages as clients saw them.

use checker::{History, OpEnd};
use results::availability::{Ask, Gap, availability, availability_of, outages, write_span};

use crate::synthetic::{self, MS, S, write};

fn history(ops: Vec<checker::Op>) -> History {
    History { ops, faults: Vec::new(), end_ns: 10 * S }
}

/// A write acknowledged every 10 ms within each of the given spans of milliseconds.
fn steady(shard: u32, spans: &[(u64, u64)]) -> Vec<checker::Op> {
    let times = spans.iter().flat_map(|&(from, to)| (from..to).step_by(10));
    times.map(|ms| write(ms, shard, 1, ms * MS, Some((ms + 1) * MS), OpEnd::Ok)).collect()
}

#[test]
fn a_gap_in_which_a_write_was_refused_is_an_outage() {
    let mut ops = steady(0, &[(0, 1_000), (2_000, 3_000)]);
    ops.push(write(9_001, 0, 1, 1_500 * MS, Some(1_501 * MS), OpEnd::Fail));
    let shards = availability(&history(ops), 250 * MS);
    assert_eq!(shards.len(), 1);
    assert_eq!(shards[0].gaps, [Gap { from_ns: 991 * MS, to_ns: 2_001 * MS }]);
    assert_eq!(shards[0].acked, 200);
    let expected = 1.0 - 1_010.0 / 2_991.0;
    assert!((shards[0].share - expected).abs() < 1e-9, "{}", shards[0].share);
}

#[test]
fn a_shard_that_nobody_asks_is_idle_not_down() {
    let mut ops = steady(0, &[(0, 1_000), (2_000, 3_000)]);
    let mut mismatch = write(9_001, 0, 1, 1_500 * MS, Some(1_501 * MS), OpEnd::Fail);
    mismatch.f = "cas".into();
    mismatch.error = Some("mismatch".into());
    ops.push(mismatch);
    ops.push(write(9_002, 0, 1, 100 * MS, None, OpEnd::Info));
    let shards = availability(&history(ops), 250 * MS);
    assert_eq!((shards[0].gaps.len(), shards[0].share), (0, 1.0));
}

#[test]
fn a_gap_that_a_write_waited_out_is_an_outage() {
    let mut ops = steady(0, &[(0, 1_000), (2_000, 3_000)]);
    ops.push(write(9_001, 0, 2, 1_600 * MS, Some(2_000 * MS), OpEnd::Ok));
    let shards = availability(&history(ops.clone()), 250 * MS);
    assert_eq!(shards[0].gaps, [Gap { from_ns: 991 * MS, to_ns: 2_000 * MS }]);
    ops.last_mut().unwrap().call_ns = 1_900 * MS;
    assert_eq!(availability(&history(ops), 250 * MS)[0].gaps, [], "it waited no longer than a call may");
}

#[test]
fn an_outage_may_last_to_the_end_of_the_load() {
    let mut ops = steady(0, &[(0, 1_000)]);
    ops.extend(steady(1, &[(0, 3_000)]));
    ops.push(write(9_001, 0, 1, 1_400 * MS, Some(2_400 * MS), OpEnd::Info));
    let shards = availability(&history(ops), 250 * MS);
    assert_eq!(shards[0].gaps, [Gap { from_ns: 991 * MS, to_ns: 2_991 * MS }]);
    assert_eq!((shards[1].gaps.len(), shards[1].share), (0, 1.0));
}

#[test]
fn a_shard_that_never_answered_was_down_all_the_time() {
    let ops = vec![write(0, 0, 1, 0, Some(S), OpEnd::Info), write(1, 0, 1, 2 * S, Some(3 * S), OpEnd::Fail)];
    let shards = availability(&history(ops), 250 * MS);
    assert_eq!((shards[0].acked, shards[0].share), (0, 0.0));
}

#[test]
fn no_writes_no_answer() {
    assert_eq!(availability(&history(vec![]), 250 * MS), []);
    assert_eq!(write_span(&history(vec![])), None);
}

#[test]
fn outages_of_the_synthetic_run_follow_its_faults() {
    let run = synthetic::run(6_000);
    let shards = availability(&run.history, 250 * MS);
    let starts: Vec<Vec<u64>> =
        shards.iter().map(|shard| shard.gaps.iter().map(|gap| gap.from_ns / (100 * MS)).collect()).collect();
    assert_eq!(starts.len(), 2);
    for (starts, struck) in starts.iter().zip([[40, 140], [75, 210]]) {
        assert_eq!(starts.len(), 2, "{starts:?}");
        assert!(starts.iter().zip(struck).all(|(&seen, at)| seen.abs_diff(at) <= 1), "{starts:?}");
    }
}

#[test]
fn every_update_counts_whatever_it_is_called() {
    let names = ["add", "append", "increment", "enqueue", "dequeue", "transfer", "open", "guarded"];
    for f in names {
        let mut ops = steady(0, &[(0, 1_000), (2_000, 3_000)]);
        ops.push(write(9_001, 0, 1, 1_500 * MS, Some(1_501 * MS), OpEnd::Fail));
        ops.iter_mut().for_each(|op| op.f = f.into());
        let shards = availability(&history(ops), 250 * MS);
        assert_eq!((shards[0].acked, shards[0].gaps.len()), (200, 1), "{f}");
    }
    let mut reads = steady(0, &[(0, 1_000)]);
    reads.iter_mut().for_each(|op| op.f = "read".into());
    assert_eq!(availability(&history(reads), 250 * MS), []);
}

#[test]
fn reads_are_told_apart_from_writes_and_the_last_look_does_not_count() {
    let mut ops = steady(0, &[(0, 3_000)]);
    let mut reads = steady(0, &[(5, 1_005), (2_005, 2_995)]);
    reads.push(write(0, 0, 1, 1_500 * MS, Some(1_600 * MS), OpEnd::Fail));
    reads.push(write(0, 0, 1, 20 * S, Some(20 * S + MS), OpEnd::Ok)); // at the end of the run
    reads.iter_mut().for_each(|op| op.f = "read".into());
    ops.extend(reads);
    let history = history(ops);
    assert_eq!(availability(&history, 250 * MS)[0].gaps, []);
    let gap = Gap { from_ns: 996 * MS, to_ns: 2_006 * MS };
    assert_eq!(availability_of(&history, Ask::Reads, 250 * MS)[0].gaps, [gap]);
    let told = outages(&history);
    assert_eq!((told.len(), told[0].ask, told[0].shard, told[0].from_ns), (1, Ask::Reads, 0, gap.from_ns));
}
