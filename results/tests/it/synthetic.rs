//! A run that never was, with known times: what tests and the example draw and tell.

use checker::{Anomaly, Event, EventKind, FaultRecord, History, Op, OpEnd, Process, Verdict};
use results::failover::failovers;
use results::spec::RunSpec;
use results::summary::{Counts, Liveness, NodeEvent, RunSummary};
use serde_json::{Value, json};

pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000 * MS;

pub fn spec() -> RunSpec {
    RunSpec {
        target: "zk-redis".into(),
        variant: "course".into(),
        weaken: Vec::new(),
        bug: None,
        shards: 2,
        replicas: 3,
        zookeepers: 3,
        workload: "register".into(),
        reshard: false,
        faults: vec!["kill".into(), "pause".into(), "partition".into()],
        swarm: false,
        seed: 42,
        time_limit_s: 30.0,
        concurrency: 10,
        rate: 200.0,
        wait: 1,
        reads: "master".into(),
        staleness_s: 5.0,
        lease_ms: 400,
        op_timeout_ms: 1000,
        converge_s: 20.0,
        stop_at_first: false,
        capture: false,
        tls: false,
        authenticated: false,
    }
}

pub fn step(time_ns: i64, shard: u32, node: &str, step: &str, epoch: u64) -> NodeEvent {
    NodeEvent { time_ns, shard, node: node.into(), step: step.into(), epoch, detail: String::new() }
}

pub fn fault(
    id: u64,
    kind: &str,
    target: &str,
    nodes: &[(&str, &str)],
    start: u64,
    stop: Option<u64>,
) -> FaultRecord {
    FaultRecord {
        id,
        kind: kind.into(),
        detail: match kind {
            "kill" => "kill -9, restart after 4 s".into(),
            "pause" => "SIGSTOP, SIGCONT after 5 s".into(),
            _ => "isolate one".into(),
        },
        target: target.into(),
        nodes: nodes.iter().map(|(node, _)| (*node).into()).collect(),
        roles: nodes.iter().map(|(_, role)| (*role).into()).collect(),
        wide: false,
        start_ns: start,
        stop_ns: stop,
        installed: true,
        evidence: vec![match kind {
            "kill" => ("process state".into(), "gone after 3 ms".into()),
            "pause" => ("state seen".into(), "T (stopped)".into()),
            _ => ("packets dropped".into(), "1204".into()),
        }],
    }
}

/// A write to a shard; `ret_ns` none for a call that was never answered.
pub fn write(index: u64, shard: u32, epoch: u64, call_ns: u64, ret_ns: Option<u64>, end: OpEnd) -> Op {
    Op {
        index,
        process: Process::Client(index % 10),
        f: "write".into(),
        key: json!(index % 7),
        input: json!(index),
        output: Value::Null,
        end,
        error: match end {
            OpEnd::Ok => None,
            OpEnd::Fail => Some("connection refused".into()),
            OpEnd::Info => Some("timeout".into()),
        },
        call: 2 * index,
        ret: if end == OpEnd::Info { u64::MAX } else { 2 * index + 1 },
        call_ns,
        ret_ns,
        shard: Some(shard),
        epoch: Some(epoch),
        node: Some(format!("s{shard}r1").into()),
    }
}

pub fn event(time_ns: u64, process: u64, kind: EventKind) -> Event {
    Event {
        index: 0,
        time_ns,
        process: Process::Client(process),
        kind,
        f: "write".into(),
        key: Some(json!("k1")),
        value: json!(17),
        error: None,
        shard: Some(0),
        epoch: Some(1),
        node: Some("s0r1".into()),
    }
}

/// One synthetic failover: struck, suspected, lease gone, elected, promoted, first acknowledged write.
struct Trouble {
    fault: FaultRecord,
    shard: u32,
    epoch: u64,
    from: &'static str,
    to: &'static str,
    at_ms: [u64; 5],
}

/// 30 s, two shards, six faults (one of which had no effect), four failovers, `ops` operations.
pub struct Run {
    pub history: History,
    pub events: Vec<NodeEvent>,
    pub summary: RunSummary,
}

pub fn run(ops: u64) -> Run {
    let troubles = troubles();
    let mut faults: Vec<FaultRecord> = troubles.iter().map(|trouble| trouble.fault.clone()).collect();
    faults.push(fault(4, "partition", "a client", &[("client", "client")], 17 * S, Some(18 * S)));
    let mut vain =
        fault(5, "pause", "a ZooKeeper minority", &[("zk3", "zookeeper follower")], 24 * S, Some(26 * S));
    vain.installed = false;
    vain.evidence = vec![("state seen".into(), "S (sleeping): the signal did not arrive".into())];
    faults.push(vain);
    faults.sort_by_key(|fault| fault.start_ns);

    let mut events = Vec::new();
    for shard in 0..2 {
        events.push(step(-2_000_000_000, shard, &format!("s{shard}r1"), "elected", 1));
        events.push(step(-1_900_000_000, shard, &format!("s{shard}r1"), "promoted", 1));
    }
    for trouble in &troubles {
        let at = |i: usize| trouble.at_ms[i] as i64 * MS as i64;
        events.push(step(at(0), trouble.shard, trouble.to, "suspected", trouble.epoch - 1));
        events.push(step(at(1), trouble.shard, trouble.to, "lease_lost", trouble.epoch - 1));
        let other = ["r1", "r2", "r3"].map(|r| format!("s{}{r}", trouble.shard));
        let other = other.into_iter().find(|node| node != trouble.from && node != trouble.to).unwrap();
        let fenced = at(2) - 15 * MS as i64;
        events.push(step(fenced, trouble.shard, trouble.to, "fenced", trouble.epoch));
        events.push(step(fenced + 4 * MS as i64, trouble.shard, &other, "fenced", trouble.epoch));
        events.push(step(at(2), trouble.shard, trouble.to, "elected", trouble.epoch));
        events.push(step(at(3), trouble.shard, trouble.to, "promoted", trouble.epoch));
        events.push(step(at(3) + 60 * MS as i64, trouble.shard, &other, "following", trouble.epoch));
        events.push(step(at(3) + 150 * MS as i64, trouble.shard, trouble.from, "demoted", trouble.epoch));
    }
    let ops: Vec<Op> = (0..ops).map(|i| operation(i, ops, &troubles)).collect();
    let history = History { ops, faults: faults.clone(), end_ns: 31 * S };
    let summary = summary(&history, &events, faults);
    Run { history, events, summary }
}

/// Twenty clients that never rest, on fifty keys: reads, writes and compare-and-sets for as long as `count` operations
/// take, about a minute per 40,000.
pub fn long(count: u64) -> Run {
    let mut run = run(10);
    let (mut last, mut ops) = ([0u64; 50], Vec::with_capacity(count as usize));
    let mut free_ns = [0u64; 20];
    for i in 0..count {
        let client = (0..20).min_by_key(|&client| free_ns[client]).unwrap_or_default();
        let key = (scatter(i, 11) * 50.0) as usize;
        let call_ns = free_ns[client] + (scatter(i, 12) * 30e6) as u64;
        let took = (0.4e6 * (1.0 + 40.0 * scatter(i, 13).powi(9)) * (1.0 + scatter(i, 14))) as u64;
        free_ns[client] = call_ns + took + 14 * MS;
        let end = if scatter(i, 15) < 0.01 { OpEnd::Fail } else { OpEnd::Ok };
        let (shard, epoch) = ((key % 2) as u32, 1 + call_ns / (60 * S));
        let mut op = write(2 * i, shard, epoch, call_ns, Some(call_ns + took), end);
        op.process = Process::Client(client as u64);
        op.key = json!(format!("k{key}"));
        match (scatter(i, 16) * 3.0) as u32 {
            0 => (op.f, op.input, op.output) = ("read".into(), Value::Null, json!(last[key])),
            1 => (op.f, op.input) = ("cas".into(), json!([last[key], i])),
            _ => op.input = json!(i),
        }
        if op.f != "read" && end == OpEnd::Ok {
            last[key] = i;
        }
        if end == OpEnd::Fail {
            op.output = Value::Null;
        }
        ops.push(op);
    }
    ops.sort_by_key(|op| op.call_ns);
    run.history.end_ns = ops.last().and_then(|op| op.ret_ns).unwrap_or_default();
    run.history.ops = ops;
    run.summary.counts.invoked = count;
    run
}

/// A run that ended before its first operation.
pub fn empty() -> Run {
    let mut run = run(0);
    run.history = History::default();
    run.events.clear();
    run.summary.faults.clear();
    run.summary.failovers.clear();
    run
}

/// Faults and failovers by the dozen, with long names.
pub fn crowded() -> Run {
    let mut run = run(2_000);
    run.summary.faults.clear();
    run.events.clear();
    for i in 0..60u64 {
        let (shard, start) = ((i % 2) as u32, 400 * MS * i + S);
        let target = "majorities ring around the master of a shard with a very long name indeed";
        let nodes = [(format!("s{shard}r{}", i % 3 + 1), "master")];
        let nodes: Vec<(&str, &str)> = nodes.iter().map(|(node, role)| (node.as_str(), *role)).collect();
        let stop = (i % 7 != 0).then_some(start + 3 * S);
        run.summary.faults.push(fault(i, "partition", target, &nodes, start, stop));
        let at = start as i64;
        for (name, after_ms) in [("suspected", 3), ("lease_lost", 40), ("elected", 55), ("promoted", 300)] {
            let epoch = if name.starts_with(['s', 'l']) { i / 2 + 1 } else { i / 2 + 2 };
            let time = at + after_ms * MS as i64;
            run.events.push(step(
                time,
                shard,
                &format!("redis-node-of-shard-{shard}-number-{i}"),
                name,
                epoch,
            ));
        }
    }
    run.summary.failovers = failovers(&run.events, &run.history, &run.summary.faults);
    assert!(run.summary.failovers.len() > 50);
    run
}

fn troubles() -> Vec<Trouble> {
    let trouble =
        |id: u64, kind: &str, shard: u32, epoch, from, to, start_ms: u64, long_ms: u64, at_ms| Trouble {
            fault: fault(
                id,
                kind,
                &format!("master of shard {shard}"),
                &[(from, "master")],
                start_ms * MS,
                Some((start_ms + long_ms) * MS),
            ),
            shard,
            epoch,
            from,
            to,
            at_ms,
        };
    vec![
        trouble(0, "kill", 0, 2, "s0r1", "s0r2", 4_000, 4_000, [4_120, 4_930, 4_968, 5_204, 5_241]),
        trouble(1, "pause", 1, 2, "s1r1", "s1r3", 7_500, 5_000, [8_010, 9_820, 9_861, 10_130, 10_204]),
        trouble(
            2,
            "partition",
            0,
            3,
            "s0r2",
            "s0r3",
            14_000,
            5_000,
            [14_480, 16_120, 16_190, 16_510, 16_903],
        ),
        trouble(3, "kill", 1, 3, "s1r3", "s1r2", 21_000, 3_000, [21_090, 21_910, 21_948, 22_101, 22_130]),
    ]
}

/// Deterministic scatter from a number: a small multiplicative hash, 0 to 1.
fn scatter(i: u64, salt: u64) -> f64 {
    let mixed = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ salt.wrapping_mul(0xD6E8_FEB8_6659_FD93));
    ((mixed ^ (mixed >> 31)) % 100_000) as f64 / 100_000.0
}

fn operation(i: u64, of: u64, troubles: &[Trouble]) -> Op {
    let call_ns = (i as f64 / of as f64 * 30e9) as u64;
    let shard = (scatter(i, 1) * 2.0) as u32;
    let hit = troubles
        .iter()
        .find(|t| t.shard == shard && call_ns >= t.fault.start_ns && call_ns < t.at_ms[4] * MS);
    let epoch = 1 + troubles.iter().filter(|t| t.shard == shard && call_ns >= t.at_ms[4] * MS).count() as u64;
    let quick = (0.6e6 * (1.0 + 6.0 * scatter(i, 2).powi(6)) * (1.0 + scatter(i, 3))) as u64;
    let (took, end) = match hit {
        None if scatter(i, 4) < 0.004 => (quick, OpEnd::Fail),
        None => (quick, OpEnd::Ok),
        Some(t) if t.fault.kind == "kill" && scatter(i, 5) < 0.8 => (quick / 3, OpEnd::Fail),
        Some(_) => (1_000 * MS, OpEnd::Info),
    };
    let lost = end == OpEnd::Info && scatter(i, 6) < 0.1;
    let mut op = write(i, shard, epoch, call_ns, (!lost).then_some(call_ns + took), end);
    if scatter(i, 7) < 0.5 {
        op.f = "read".into();
    }
    op
}

fn summary(history: &History, events: &[NodeEvent], faults: Vec<FaultRecord>) -> RunSummary {
    let ended = |end| history.ops.iter().filter(|op| op.end == end).count() as u64;
    RunSummary {
        format_version: results::FORMAT_VERSION,
        spec: spec(),
        started_at: "2026-11-22T14:37:32Z".into(),
        versions: [
            ("shardstorm", "0.1.0"),
            ("commit", "0751e61"),
            ("redis", "7.0.15"),
            ("zookeeper", "3.8.0"),
        ]
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .to_vec(),
        verdict: Verdict::Invalid { anomalies: vec![anomaly()] },
        checkers: vec![
            ("linearizable".into(), Verdict::Invalid { anomalies: vec![anomaly()] }),
            ("coverage".into(), Verdict::Valid),
        ],
        liveness: Liveness::Live { after_s: 1.4 },
        observations: Vec::new(),
        strikes: Vec::new(),
        counts: Counts {
            invoked: history.ops.len() as u64,
            ok: ended(OpEnd::Ok),
            fail: ended(OpEnd::Fail),
            info: ended(OpEnd::Info),
        },
        failovers: failovers(events, history, &faults),
        outages: results::availability::outages(history),
        faults,
        phases_s: [("raise", 3.9), ("load", 30.0), ("settle", 2.2), ("judge", 0.4)]
            .map(|(name, s)| (name.to_owned(), s))
            .to_vec(),
        cut_short: None,
        error: None,
        command: "shardstorm run --seed 42 --time-limit 30 --faults kill,pause,partition".into(),
        exit_code: 1,
    }
}

pub fn anomaly() -> Anomaly {
    Anomaly {
        name: "lost-update".into(),
        key: "k17".into(),
        ops: vec![1204, 1290, 1377],
        reason:
            "process 4 was told that its write of 93 had taken effect, yet no later read saw it: the new \
                 master of epoch 3 never had it"
                .into(),
        drawing: "p4 |--w 93--|\np7               |--w 95--?\np2                     |--r 88--|".into(),
    }
}

#[test]
fn the_synthetic_run_has_what_it_says() {
    let run = run(3_000);
    assert_eq!(run.summary.failovers.len(), 4);
    assert!(run.summary.counts.fail > 0 && run.summary.counts.info > 0);
    for failover in &run.summary.failovers {
        assert!(failover.fault.is_some() && failover.first_ack_ns.is_some(), "{failover:?}");
    }
}
