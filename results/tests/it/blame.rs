//! Which failover is told of a lost write or a stale read.

use checker::{Anomaly, History, OpEnd, Verdict};
use results::failover::attribute;
use results::summary::Failover;

use crate::synthetic::{S, write};

fn failover(shard: u32, epoch: u64, start_s: u64) -> Failover {
    Failover {
        shard,
        epoch,
        to: "x".into(),
        fault_ns: Some(start_s * S),
        suspected_ns: Some(start_s * S),
        first_ack_ns: Some((start_s + 1) * S),
        ..Failover::default()
    }
}

/// Operations as shard, epoch and second; the anomaly rests on all of them.
fn counts(name: &str, ops: &[(u32, u64, u64)]) -> (Vec<[Option<u64>; 2]>, u64) {
    let mut failovers = vec![failover(0, 2, 10), failover(0, 3, 20), failover(1, 2, 12), failover(0, 4, 40)];
    let ops: Vec<_> = (0..)
        .zip(ops)
        .map(|(i, &(shard, epoch, s))| write(i, shard, epoch, s * S, Some(s * S + 1), OpEnd::Ok))
        .collect();
    let anomaly = Anomaly {
        name: name.into(),
        key: "k".into(),
        ops: ops.iter().map(|op| op.index).collect(),
        reason: String::new(),
        drawing: String::new(),
    };
    let history = History { ops, faults: Vec::new(), end_ns: 60 * S };
    let left = attribute(&mut failovers, &history, &Verdict::Invalid { anomalies: vec![anomaly] });
    (failovers.iter().map(|f| [f.lost_writes, f.stale_reads]).collect(), left)
}

const NONE: [Option<u64>; 2] = [Some(0), Some(0)];
const LOST: [Option<u64>; 2] = [Some(1), Some(0)];
const STALE: [Option<u64>; 2] = [Some(0), Some(1)];

#[test]
fn a_write_was_lost_by_the_first_change_of_master_after_it() {
    let (told, left) = counts("lost-update", &[(0, 2, 19), (0, 4, 50)]);
    assert_eq!((told, left), (vec![NONE, LOST, NONE, NONE], 0));
}

#[test]
fn a_stale_read_belongs_to_the_change_between_its_epochs_whatever_the_order_of_calls() {
    let (told, left) = counts("stale-read", &[(0, 3, 21), (0, 2, 22)]);
    assert_eq!((told, left), (vec![NONE, STALE, NONE, NONE], 0));
}

#[test]
fn within_one_epoch_it_is_the_failover_under_way() {
    let (told, left) = counts("stale-read", &[(1, 1, 12), (1, 1, 13)]);
    assert_eq!((told, left), (vec![NONE, NONE, STALE, NONE], 0));
    let (told, left) = counts("stale-read", &[(0, 3, 33), (0, 3, 34)]);
    assert_eq!((told, left), (vec![NONE; 4], 1), "long over: it fits none");
}

#[test]
fn other_anomalies_and_other_verdicts_blame_nobody() {
    assert_eq!(counts("wrong-total", &[(0, 2, 19), (0, 4, 50)]), (vec![NONE; 4], 0));
    let mut failovers = vec![failover(0, 2, 10)];
    assert_eq!(attribute(&mut failovers, &History::default(), &Verdict::Valid), 0);
    assert_eq!(failovers[0].lost_writes, Some(0));
}
