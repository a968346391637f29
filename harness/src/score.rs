//! What came of each fault on messages in a run: from the strikes, the verdict, the history.

use checker::{FaultRecord, History, OpEnd, Verdict};
use nemesis::byzantine::score::{Funnel, Observations};
use nemesis::{Harm, MessageHarm, Schedule};
use results::strikes::{StrikeLine, StrikeTally, between};
use results::summary::Liveness;

/// One row for each window that strikes messages. What is wrong with a run is held against every fault that altered
/// something in it: with several in one run the outcome is that of all of them together.
pub fn tallies(
    schedule: &Schedule,
    history: &History,
    strikes: &[StrikeLine],
    verdict: &Verdict,
    liveness: &Liveness,
) -> Vec<StrikeTally> {
    let of_messages = |window: &nemesis::Window| match &window.harm {
        Harm::Message(MessageHarm::Message(fault)) => Some((window.id, fault.clone())),
        _ => None,
    };
    schedule
        .windows
        .iter()
        .filter_map(of_messages)
        .map(|(id, fault)| {
            let record = history.faults.iter().find(|record| record.id == id);
            let applied = record.map_or(0, |record| count(record, "messages altered"));
            let (seen, because) = observe(applied, record, history, verdict, liveness);
            StrikeTally {
                fault: id,
                link: fault.pattern.link.name().into(),
                what: fault.to_string(),
                matched: record.map_or(0, |record| count(record, "messages meant")),
                applied,
                between: between(strikes, id),
                outcome: seen.outcome().name().into(),
                because,
            }
        })
        .collect()
}

/// A count out of a fault's evidence.
fn count(record: &FaultRecord, what: &str) -> u64 {
    let seen = record.evidence.iter().find(|(name, _)| name == what);
    seen.and_then(|(_, seen)| seen.parse().ok()).unwrap_or(0)
}

fn observe(
    applied: u64,
    record: Option<&FaultRecord>,
    history: &History,
    verdict: &Verdict,
    liveness: &Liveness,
) -> (Observations, String) {
    let anomaly = match verdict {
        Verdict::Invalid { anomalies } => anomalies.first().map(|anomaly| anomaly.name.clone()),
        _ => None,
    };
    let live_again = !matches!(liveness, Liveness::NotLive { .. });
    let failed = record.map_or(0, |record| errors_within(record, history));
    let matched = record.map_or(0, |record| count(record, "messages meant"));
    // Whether the receiver has acknowledged the bytes is not asked: what was struck counts as delivered.
    let funnel = Funnel { planned: applied.max(1), matched, applied, delivered: applied };
    let what = anomaly.clone();
    let seen =
        Observations { funnel, anomaly, live_again, refusals: failed as u64, ..Observations::default() };
    let because = match (applied, what, live_again, failed) {
        (0, ..) if matched == 0 => "no such message came by".into(),
        (0, ..) => format!("{matched} such messages came by, none of them altered"),
        (_, Some(anomaly), ..) => format!("the history shows {anomaly}"),
        (_, None, false, _) => "the cluster was not live again in time".into(),
        (_, None, true, 0) => "every call within the window was answered; no contradiction was found".into(),
        (_, None, true, failed) => {
            format!("{failed} calls within the window failed or were left open; no contradiction was found")
        }
    };
    (seen, because)
}

/// Calls that began while the fault lasted and did not end well; that a compare-and-set found another value is an
/// answer like any other.
fn errors_within(record: &FaultRecord, history: &History) -> usize {
    let until = record.stop_ns.unwrap_or(u64::MAX);
    let within = |op: &&checker::Op| (record.start_ns..=until).contains(&op.call_ns);
    let ended_badly = |op: &&checker::Op| match op.end {
        OpEnd::Ok => false,
        OpEnd::Fail => op.f != "cas",
        OpEnd::Info => true,
    };
    history.ops.iter().filter(within).filter(ended_badly).count()
}
