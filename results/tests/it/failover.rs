//! Failovers against traces with known times.

use checker::{FaultRecord, History, OpEnd};
use proptest::prelude::*;
use results::failover::{Distribution, Phase, by_kind, failovers};
use results::summary::{Failover, NodeEvent};

use crate::synthetic::{self, MS, S, fault, step, write};

fn history(ops: Vec<checker::Op>) -> History {
    History { ops, faults: Vec::new(), end_ns: 60 * S }
}

/// Master `s0r1` of epoch 1, then `s0r2` elected at 12 s in epoch 2; more steps as given.
fn change(more: &[NodeEvent]) -> Vec<NodeEvent> {
    let mut events = vec![
        step(-3_000_000_000, 0, "s0r1", "elected", 1),
        step(-2_900_000_000, 0, "s0r1", "promoted", 1),
        step(12 * S as i64, 0, "s0r2", "elected", 2),
        step(12_300 * MS as i64, 0, "s0r2", "promoted", 2),
    ];
    events.extend_from_slice(more);
    events
}

fn only(events: &[NodeEvent], history: &History, faults: &[FaultRecord]) -> Failover {
    let found = failovers(events, history, faults);
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

fn cause_of(faults: &[FaultRecord]) -> Option<u64> {
    let events = change(&[
        step(11 * S as i64, 0, "s0r2", "suspected", 1),
        step(11 * S as i64, 0, "s0r3", "suspected", 1),
        step(11 * S as i64, 1, "s1r1", "started", 1),
    ]);
    only(&events, &history(vec![]), faults).fault
}

#[test]
fn every_phase_of_the_synthetic_run_is_told() {
    let run = synthetic::run(3_000);
    let first = &run.summary.failovers[0];
    assert_eq!((first.shard, first.epoch, first.fault), (0, 2, Some(0)));
    assert_eq!((first.from.as_deref(), first.to.as_str()), (Some("s0r1"), "s0r2"));
    let times =
        [first.fault_ns, first.suspected_ns, first.lease_lost_ns, first.elected_ns, first.promoted_ns];
    assert_eq!(times, [4_000, 4_120, 4_930, 4_968, 5_204].map(|ms| Some(ms * MS)));
    let lengths: Vec<u64> = first.segments().iter().map(|segment| segment.length_ns()).collect();
    assert_eq!(lengths[..5], [120 * MS, 810 * MS, 27 * MS, 11 * MS, 236 * MS]);
    assert_eq!((first.fenced_ns, first.following_ns), (Some(4_957 * MS), Some(5_264 * MS)));
    assert_eq!(first.phase_ns(Phase::Follow), Some(60 * MS));
    let down = first.down.unwrap();
    assert!(
        down.writes_ns.abs_diff(1_241 * MS) < 60 * MS && down.reads_ns.abs_diff(1_241 * MS) < 60 * MS,
        "{down:?}"
    );
    assert_eq!(Some(lengths.iter().sum()), first.total_ns());
    let causes: Vec<_> = run.summary.failovers.iter().map(|failover| failover.fault).collect();
    assert_eq!(causes, [Some(0), Some(1), Some(2), Some(3)]);
}

#[test]
fn the_first_election_is_no_failover() {
    let events = [step(S as i64, 0, "s0r1", "elected", 1), step(2 * S as i64, 0, "s0r1", "promoted", 1)];
    assert_eq!(failovers(&events, &history(vec![]), &[]), []);
}

#[test]
fn what_happened_while_the_cluster_was_raised_is_no_failover() {
    let events = change(&[step(-1_000_000_000, 0, "s0r3", "elected", 2)]);
    let events: Vec<_> = events.into_iter().filter(|event| event.time_ns < 0).collect();
    assert_eq!(failovers(&events, &history(vec![]), &[]), []);
}

#[test]
fn order_of_the_lines_does_not_matter() {
    let mut run = synthetic::run(500);
    let faults = run.summary.faults.clone();
    run.events.reverse();
    assert_eq!(failovers(&run.events, &run.history, &faults), run.summary.failovers);
}

#[test]
fn the_first_ack_is_the_earliest_completion_in_the_new_epoch_of_that_shard() {
    let mut read = write(4, 0, 2, 12_310 * MS, Some(12_311 * MS), OpEnd::Ok);
    read.f = "read".into();
    let mut cas = write(5, 0, 2, 12_300 * MS, Some(12_340 * MS), OpEnd::Ok);
    cas.f = "cas".into();
    let history = history(vec![
        write(0, 0, 1, 12_305 * MS, Some(12_306 * MS), OpEnd::Ok),
        write(1, 1, 2, 12_305 * MS, Some(12_306 * MS), OpEnd::Ok),
        write(2, 0, 2, 12_301 * MS, Some(12_390 * MS), OpEnd::Ok),
        write(3, 0, 2, 12_301 * MS, Some(12_302 * MS), OpEnd::Info),
        read,
        cas,
    ]);
    assert_eq!(only(&change(&[]), &history, &[]).first_ack_ns, Some(12_340 * MS));
}

#[test]
fn a_phase_that_was_not_seen_is_none_and_lengths_still_add_up() {
    let struck = fault(9, "kill", "master of shard 0", &[("s0r1", "master")], 10 * S, None);
    let history = history(vec![write(0, 0, 2, 12_300 * MS, Some(12_400 * MS), OpEnd::Ok)]);
    let events = change(&[step(11_500 * MS as i64, 0, "s0r2", "lease_lost", 1)]);
    let found = only(&events, &history, &[struck]);
    assert_eq!((found.suspected_ns, found.lease_lost_ns), (None, Some(11_500 * MS)));
    assert_eq!(found.phase_ns(Phase::Detect), None);
    assert_eq!(found.phase_ns(Phase::Lease), Some(1_500 * MS));
    assert_eq!(found.total_ns(), Some(2_400 * MS));
}

#[test]
fn fenced_are_those_the_new_master_rests_on_and_replicas_those_that_could_follow() {
    let ms = |ms: u64| (ms * MS) as i64;
    let steps = [
        step(ms(11_950), 0, "s0r2", "fenced", 2),
        step(ms(11_970), 0, "s0r3", "fenced", 2),
        step(ms(15_000), 0, "s0r1", "fenced", 2),
        step(ms(12_400), 0, "s0r3", "following", 2),
        step(ms(15_100), 0, "s0r1", "following", 2),
    ];
    let found = only(&change(&steps), &history(vec![]), &[]);
    assert_eq!(found.fenced_ns, Some(11_970 * MS), "the old master's fence came too late to matter");
    assert_eq!(found.following_ns, Some(12_400 * MS), "the old master is not waited for");
    let fourth = [steps.as_slice(), &[step(ms(1), 0, "s0r4", "started", 1)]].concat();
    assert_eq!(only(&change(&fourth), &history(vec![]), &[]).following_ns, None, "one never followed");
    let held = fault(0, "pause", "a replica", &[("s0r4", "replica")], 10 * S, None);
    assert_eq!(only(&change(&fourth), &history(vec![]), &[held]).following_ns, Some(12_400 * MS));
}

#[test]
fn a_suspicion_that_was_allayed_does_not_count() {
    let doubts = [
        step(3 * S as i64, 0, "s0r2", "suspected", 1),
        step(11 * S as i64, 0, "s0r3", "suspected", 1),
        step(11_100 * MS as i64, 0, "s0r2", "suspected", 1),
    ];
    let served = history(vec![write(0, 0, 1, 6 * S, Some(6 * S + MS), OpEnd::Ok)]);
    assert_eq!(only(&change(&doubts), &served, &[]).suspected_ns, Some(11 * S));
    let silent = history(vec![]);
    assert_eq!(only(&change(&doubts), &silent, &[]).suspected_ns, Some(3 * S));
}

#[test]
fn an_epoch_that_was_won_but_never_served_is_told_as_such() {
    let mut events = change(&[]);
    events.push(step(20 * S as i64, 0, "s0r3", "elected", 3));
    let found = failovers(&events, &history(vec![]), &[]);
    assert_eq!(found.len(), 2);
    assert_eq!((found[1].promoted_ns, found[1].first_ack_ns), (None, None));
    assert_eq!((found[1].from.as_deref(), found[1].to.as_str()), (Some("s0r2"), "s0r3"));
}

#[test]
fn the_cause_is_the_latest_fault_on_the_master_or_zookeeper() {
    let kill = fault(0, "kill", "master of shard 0", &[("s0r1", "master")], 10 * S, None);
    let elsewhere = fault(1, "kill", "master of shard 1", &[("s1r1", "master")], 10_900 * MS, None);
    let client = fault(2, "partition", "a client", &[("client", "client")], 10_900 * MS, None);
    let replica = fault(3, "pause", "a replica of shard 0", &[("s0r3", "replica")], 10_900 * MS, None);
    let zk = fault(4, "pause", "the ZooKeeper leader", &[("zk2", "zookeeper leader")], 10_500 * MS, None);
    let late = fault(5, "kill", "master of shard 0", &[("s0r1", "master")], 11_001 * MS, None);
    let healed = fault(6, "kill", "master of shard 0", &[("s0r1", "master")], S, Some(5 * S));
    let mut vain = fault(7, "kill", "master of shard 0", &[("s0r1", "master")], 10_990 * MS, None);
    vain.installed = false;

    assert_eq!(cause_of(&[kill.clone(), elsewhere.clone(), client.clone(), replica.clone()]), Some(0));
    assert_eq!(cause_of(&[kill.clone(), zk.clone(), late.clone(), vain.clone()]), Some(4));
    assert_eq!(cause_of(&[elsewhere.clone(), replica]), Some(3), "a replica, where nothing else was struck");
    assert_eq!(cause_of(&[elsewhere, client, late, vain, healed]), None);
}

#[test]
fn a_fault_that_was_healed_just_before_can_still_be_the_cause() {
    let blip = fault(0, "partition", "master of shard 0", &[("s0r1", "master")], 5 * S, Some(7 * S));
    assert_eq!(cause_of(&[blip]), Some(0));
}

#[test]
fn lengths_are_told_per_family_of_fault() {
    let run = synthetic::run(3_000);
    let kinds = by_kind(&run.summary.failovers, &run.summary.faults, Failover::total_ns);
    let names: Vec<(&str, usize)> =
        kinds.iter().map(|(kind, d)| (kind.as_str(), d.sorted_ns().len())).collect();
    assert_eq!(names, [("kill", 2), ("partition", 1), ("pause", 1)]);
}

#[test]
fn quantiles_are_nearest_rank() {
    let d: Distribution = [40, 10, 20, 30].into_iter().collect();
    assert_eq!([0.0, 0.25, 0.5, 0.51, 0.9, 1.0].map(|q| d.quantile_ns(q).unwrap()), [10, 10, 20, 30, 40, 40]);
    assert_eq!(d.cdf(), [(10, 0.25), (20, 0.5), (30, 0.75), (40, 1.0)]);
    assert_eq!(Distribution::default().quantile_ns(0.5), None);
}

proptest! {
    #[test]
    fn a_distribution_rises_to_one_and_agrees_with_its_quantiles(lengths in prop::collection::vec(0u64..50, 1..40)) {
        let d: Distribution = lengths.iter().copied().collect();
        let cdf = d.cdf();
        prop_assert!(cdf.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
        prop_assert_eq!(cdf.last().copied(), Some((d.max_ns().unwrap(), 1.0)));
        for &(length, share) in &cdf {
            prop_assert_eq!(d.quantile_ns(share), Some(length));
        }
    }

    #[test]
    fn whatever_the_agents_say_lengths_add_up(
        steps in prop::collection::vec((0i64..60_000, 0u32..2, 0usize..3, 0usize..8, 0u64..5), 0..60),
        strikes in prop::collection::vec((0u64..60_000, 0usize..3), 0..4),
    ) {
        let names = ["suspected", "lease_lost", "proposed", "elected", "fenced", "promoted", "following", "demoted"];
        let events: Vec<NodeEvent> = steps
            .iter()
            .map(|&(ms, shard, node, name, epoch)| {
                step(ms * MS as i64, shard, &format!("s{shard}r{node}"), names[name], epoch)
            })
            .collect();
        let faults: Vec<FaultRecord> = (0..)
            .zip(&strikes)
            .map(|(id, &(ms, node))| fault(id, "kill", "x", &[(&format!("s0r{node}"), "master")], ms * MS, None))
            .collect();
        for found in failovers(&events, &history(vec![]), &faults) {
            let segments = found.segments();
            prop_assert!(segments.windows(2).all(|w| w[0].to_ns == w[1].from_ns));
            let total: u64 = segments.iter().map(|segment| segment.length_ns()).sum();
            prop_assert_eq!(Some(total), segments.last().map(|last| last.to_ns - found.start_ns().unwrap()));
            if let Some(cause) = found.fault {
                let cause = faults.iter().find(|fault| fault.id == cause).unwrap();
                prop_assert!(Phase::CHAIN.iter().filter_map(|&p| found.mark_ns(p)).all(|t| t >= cause.start_ns));
            }
        }
    }
}
