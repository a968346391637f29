//! What came of each fault on messages in a run: from its evidence, the verdict, the history.

use checker::{FaultRecord, History, OpEnd, Verdict};
use nemesis::byzantine::score::{Funnel, Observations};
use nemesis::byzantine::signs::{ALTERED, ARRIVED, ENDED, MEANT, SAID};
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
            let seen = observe(record, history, verdict, liveness);
            StrikeTally {
                fault: id,
                link: fault.pattern.link.name().into(),
                what: fault.to_string(),
                matched: seen.funnel.matched,
                applied: seen.funnel.applied,
                delivered: seen.funnel.delivered,
                between: between(strikes, id),
                outcome: seen.outcome().name().into(),
                because: because(&seen),
            }
        })
        .collect()
}

/// A count out of a fault's evidence.
fn count(record: Option<&FaultRecord>, what: &str) -> Option<u64> {
    let seen = record?.evidence.iter().find(|(name, _)| name == what);
    seen.and_then(|(_, seen)| seen.parse().ok())
}

/// What is said of processes in a fault's evidence: `Redis of s0r1 ended by itself: exited with code 1`.
fn told(record: Option<&FaultRecord>, what: &str) -> Vec<String> {
    let evidence = record.map(|record| record.evidence.as_slice()).unwrap_or_default();
    let meant = evidence.iter().filter(|(name, _)| name.ends_with(what));
    meant.map(|(name, seen)| format!("{name}: {seen}")).collect()
}

fn observe(
    record: Option<&FaultRecord>,
    history: &History,
    verdict: &Verdict,
    liveness: &Liveness,
) -> Observations {
    let anomaly = match verdict {
        Verdict::Invalid { anomalies } => anomalies.first().map(|anomaly| anomaly.name.clone()),
        _ => None,
    };
    let (matched, applied) =
        (count(record, MEANT).unwrap_or_default(), count(record, ALTERED).unwrap_or_default());
    // Runs of earlier versions did not ask whether what was struck has arrived.
    let delivered = count(record, ARRIVED).unwrap_or(applied);
    Observations {
        funnel: Funnel { planned: applied.max(1), matched, applied, delivered },
        exits: told(record, ENDED),
        signals: told(record, SAID),
        refusals: record.map_or(0, |record| errors_within(record, history)) as u64,
        anomaly,
        live_again: !matches!(liveness, Liveness::NotLive { .. }),
        ..Observations::default()
    }
}

/// What an outcome rests on, in a sentence.
fn because(seen: &Observations) -> String {
    let Funnel { matched, applied, delivered, .. } = seen.funnel;
    let of_calls = match seen.refusals {
        0 => "every call within the window was answered".to_owned(),
        failed => format!("{failed} calls within the window failed or were left open"),
    };
    let found = match (applied, &seen.anomaly) {
        (0, _) if matched == 0 => return "no such message came by".into(),
        (0, _) => return format!("{matched} such messages came by, none of them altered"),
        _ if delivered == 0 => return format!("{applied} messages were altered, none of them arrived"),
        (_, Some(anomaly)) => format!("the history shows {anomaly}"),
        _ if !seen.live_again => "the cluster was not live again in time".into(),
        _ => format!("{of_calls}; no contradiction was found"),
    };
    match seen.exits.iter().chain(&seen.signals).next() {
        Some(noticed) => format!("{noticed}; {found}"),
        None => found,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use nemesis::byzantine::score::Outcome;

    /// The outcome of a run in which nothing is wrong but what a fault's evidence says, and what it rests on.
    fn score(evidence: &[(&str, &str)]) -> (Outcome, String) {
        let record = FaultRecord {
            id: 0,
            kind: "message".into(),
            detail: String::new(),
            target: String::new(),
            nodes: vec![],
            roles: vec![],
            wide: false,
            start_ns: 0,
            stop_ns: Some(1),
            installed: true,
            evidence: evidence.iter().map(|(what, seen)| (what.to_string(), seen.to_string())).collect(),
        };
        let live = Liveness::Live { after_s: 0.1 };
        let seen = observe(Some(&record), &History::default(), &Verdict::Valid, &live);
        (seen.outcome(), because(&seen))
    }

    #[test]
    fn what_processes_gave_away_counts() {
        let struck = [(MEANT, "9"), (ALTERED, "1"), (ARRIVED, "1")];
        assert_eq!(score(&struck).0, Outcome::Masked);
        let ended = [&struck[..], &[("Redis of s0r1 ended by itself", "exited with code 1")]].concat();
        let (outcome, why) = score(&ended);
        assert_eq!(outcome, Outcome::RejectedCrash);
        assert!(why.starts_with("Redis of s0r1 ended by itself: exited with code 1; every call"), "{why}");
        let said = [&struck[..], &[("Redis of s0r1 said", "Protocol error")]].concat();
        assert_eq!(score(&said).0, Outcome::RejectedClean);
    }

    #[test]
    fn what_never_arrived_shows_nothing() {
        let (outcome, why) = score(&[(MEANT, "9"), (ALTERED, "2"), (ARRIVED, "0")]);
        assert_eq!(
            (outcome, why.as_str()),
            (Outcome::NotTriggered, "2 messages were altered, none of them arrived")
        );
        assert_eq!(score(&[(MEANT, "9"), (ALTERED, "2")]).0, Outcome::Masked, "an earlier version's run");
        assert_eq!(score(&[]).1, "no such message came by");
    }
}
