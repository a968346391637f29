//! Shards that come and go in the middle of a run: as much load as faults are, with any workload.
//!
//! The servers of one shard more than the ring has are raised from the start. After a third of the load the
//! shard is added, after two thirds removed, by the cluster's own driver on the harness's node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use checker::FaultRecord;
use cluster::reshard::{Goal, Report};
use results::spec::RunSpec;

use crate::plan::Plan;
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::testbed::Testbed;

/// How often a thread that waits looks whether it still should.
const TICK: Duration = Duration::from_millis(20);

/// A change of the ring, and when it begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// After the beginning of the load.
    pub at: Duration,
    /// What is to be done.
    pub goal: Goal,
}

/// The changes of the ring that a run makes, in order.
pub fn turns(spec: &RunSpec) -> Vec<Turn> {
    let at = |share: f64| Duration::from_secs_f64(spec.time_limit_s * share);
    let spare = spec.shards;
    let turns = [
        Turn { at: at(1.0 / 3.0), goal: Goal::Add(spare) },
        Turn { at: at(2.0 / 3.0), goal: Goal::Remove(spare) },
    ];
    if spec.reshard { turns.into() } else { Vec::new() }
}

/// Shards whose servers run: those of the ring, and one to be added to it.
pub fn shards_raised(spec: &RunSpec) -> u32 {
    spec.shards + u32::from(spec.reshard)
}

/// Makes the changes of a plan, one after the other, each as soon as it is due and the one before is complete.
/// Returns why some were not complete within the run's bound after the load, if so, each a sentence.
pub fn carry_out<T: Testbed>(
    plan: &Plan,
    testbed: &T,
    recorder: &Recorder,
    progress: &Progress,
    cut_short: &Arc<AtomicBool>,
) -> Vec<String> {
    let spec = &plan.spec;
    let began = recorder.clock().origin();
    let last_call = began + Duration::from_secs_f64(spec.time_limit_s + spec.converge_s);
    let mut unfinished = Vec::new();
    for (id, turn) in (plan.schedule.windows.len() as u64..).zip(turns(spec)) {
        while began.elapsed() < turn.at && !cut_short.load(Ordering::Relaxed) {
            sleep(TICK);
        }
        if cut_short.load(Ordering::Relaxed) {
            return unfinished; // the run says so itself
        }
        let start_ns = recorder.clock().now_ns();
        let begun = record(id, turn.goal, start_ns);
        let _ = recorder.reshard(begun.clone()); // a broken journal ends the load, which reports it
        let flag = cut_short.clone();
        let give_up = Box::new(move || flag.load(Ordering::Relaxed) || Instant::now() > last_call);
        let outcome = testbed.reshard(turn.goal, give_up);
        let evidence = match &outcome {
            Ok(report) => evidence(report),
            Err(why) => vec![("not complete".to_string(), why.clone())],
        };
        progress.say(&format!("shardstorm: {}: {}", turn.goal, told(&evidence)));
        let stop_ns = Some(recorder.clock().now_ns());
        let _ = recorder.reshard(FaultRecord { stop_ns, installed: outcome.is_ok(), evidence, ..begun });
        unfinished.extend(outcome.err().map(|why| format!("{}: {why}", turn.goal)));
    }
    unfinished
}

fn record(id: u64, goal: Goal, start_ns: u64) -> FaultRecord {
    FaultRecord {
        id,
        kind: "reshard".into(),
        detail: goal.to_string(),
        target: "ring".into(),
        nodes: Vec::new(),
        roles: Vec::new(),
        wide: false,
        start_ns,
        stop_ns: None,
        installed: false,
        evidence: Vec::new(),
    }
}

fn evidence(report: &Report) -> Vec<(String, String)> {
    let mut evidence = vec![
        ("slots moved".to_string(), report.slots().to_string()),
        ("keys moved".to_string(), report.keys().to_string()),
        ("seconds".to_string(), format!("{:.2}", report.duration.as_secs_f64())),
    ];
    if let Some((median, longest)) = report.unavailable() {
        evidence.push(("ms a slot was away, median".into(), median.as_millis().to_string()));
        evidence.push(("ms a slot was away, longest".into(), longest.as_millis().to_string()));
    }
    evidence
}

fn told(evidence: &[(String, String)]) -> String {
    evidence.iter().map(|(what, how)| format!("{what} {how}")).collect::<Vec<_>>().join(", ")
}
