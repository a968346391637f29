//! What the rules do together: single stories, and whatever chance brings.

use proptest::{prelude::*, strategy::ValueTree};

use super::world::{NODES, Note, TICK_MS, World};
use crate::{
    defence::{Defence, Without},
    event::Step,
};

const WINNING: [Step; 6] =
    [Step::Suspected, Step::LeaseLost, Step::Proposed, Step::Fenced, Step::Elected, Step::Promoted];

fn kept(world: &World) {
    assert!(world.broken.is_empty(), "{:?} {:?}", world.broken, world.notes);
}

#[test]
fn the_first_master_is_elected_without_suspicion() {
    let world = World::settled();
    assert_eq!(world.config.epoch, 1);
    assert!(!world.notes.iter().any(|(_, _, step, _)| *step == Step::Suspected), "{:?}", world.notes);
    assert!(world.acked.len() > 20);
}

#[test]
fn a_quiet_shard_keeps_its_master() {
    let mut world = World::settled();
    world.run(60_000);
    assert_eq!((world.config.epoch, world.well()), (1, true));
    kept(&world);
}

#[test]
fn a_killed_master_is_replaced_at_once_and_its_empty_successor_is_admitted() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    world.kill(old);
    world.run(300);
    assert!(world.master().is_some_and(|new| new != old), "{:?}", world.notes);
    assert_eq!(world.steps_of(2), WINNING);
    assert!(!world.well(), "the dead server run still holds the vote");
    world.revive(old);
    world.run(2000);
    assert!(world.well() && world.config.epoch == 2, "{:?}", world.notes);
    for step in [Step::Following, Step::Admitted] {
        assert!(world.notes.iter().any(|(_, i, s, e)| *i == old && *s == step && *e == 2), "{step:?}");
    }
    kept(&world);
}

#[test]
fn a_master_that_restarts_within_a_blink_is_replaced_although_it_answers() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    world.kill(old);
    world.revive(old);
    world.run(1500);
    assert!(world.well() && world.master() != Some(old), "{:?}", world.notes);
    kept(&world);
}

#[test]
fn a_paused_master_is_replaced_after_the_lease_time() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    world.redis[old].paused = true;
    world.run(350);
    assert_eq!(world.config.epoch, 1);
    world.run(500);
    assert!(world.master().is_some_and(|new| new != old), "{:?}", world.notes);
    world.redis[old].paused = false;
    world.run(2000);
    assert!(world.well());
    kept(&world);
}

#[test]
fn an_isolated_master_acknowledges_nothing_and_is_fenced_after_healing() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    (world.redis[old].cut, world.agents[old].cut) = (true, true);
    world.run(900);
    let new = world.master().unwrap();
    assert!(new != old && world.redis[old].master, "the old one cannot know");
    world.run(3000);
    world.heal();
    world.run(3000);
    assert!(world.well() && world.master() == Some(new), "{:?}", world.notes);
    kept(&world);
}

#[test]
fn a_master_cut_off_from_its_replicas_gives_up_and_is_not_elected_again() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    world.redis[old].cut = true;
    world.run(1000);
    assert!(world.master().is_some_and(|new| new != old), "{:?}", world.notes);
    let gave_up = |(_, i, step, e): &Note| *i == old && *step == Step::LeaseLost && *e == 1;
    assert!(world.notes.iter().any(gave_up));
    kept(&world);
}

#[test]
fn a_replica_cut_off_alone_changes_nothing() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    let replica = (0..NODES).find(|i| *i != master).unwrap();
    (world.redis[replica].cut, world.agents[replica].cut) = (true, true);
    world.run(5000);
    assert_eq!(world.config.epoch, 1);
    world.heal();
    world.run(3000);
    assert_eq!((world.config.epoch, world.well()), (1, true));
}

#[test]
fn a_master_without_an_agent_serves_on_and_is_replaced_only_after_long() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    world.pause_agent(master, true);
    let before = world.acked.len();
    world.run(3500);
    assert_eq!(world.config.epoch, 1);
    assert!(world.acked.len() > before + 80, "it goes on serving");
    world.run(1500);
    assert!(world.master().is_some_and(|new| new != master), "{:?}", world.notes);
    kept(&world);
}

#[test]
fn a_master_whose_replicas_are_all_dead_waits_for_them() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    for i in (0..NODES).filter(|i| *i != master) {
        world.kill(i);
    }
    world.run(10_000);
    assert_eq!((world.config.epoch, world.master()), (1, Some(master)));
    world.heal();
    world.run(3000);
    assert!(world.well() && world.config.epoch == 1, "{:?}", world.notes);
    kept(&world);
}

#[test]
fn two_memories_lost_at_once_make_the_shard_unavailable_but_never_wrong() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    let survivor = (0..NODES).find(|i| *i != master).unwrap();
    for i in (0..NODES).filter(|i| *i != survivor) {
        world.kill(i);
    }
    world.run(200);
    let acked = world.acked.len();
    world.heal();
    world.run(20_000);
    assert!(!world.well() && world.acked.len() == acked, "nothing may be acknowledged any more");
    kept(&world);
}

/// One fault: when it begins, how long it lasts, what it is, whom it strikes.
#[derive(Debug, Clone, Copy)]
struct Fault {
    at_ms: u64,
    for_ms: u64,
    kind: u8,
    node: usize,
}

fn faults(most: usize) -> impl Strategy<Value = Vec<Fault>> {
    let fault = (0u64..12_000, 50u64..6_000, 0u8..7, 0..NODES)
        .prop_map(|(at_ms, for_ms, kind, node)| Fault { at_ms, for_ms, kind, node });
    prop::collection::vec(fault, 1..most)
}

fn strike(world: &mut World, fault: Fault, on: bool) {
    let i = fault.node;
    match (fault.kind, on) {
        (0, true) if world.may_kill(i) => world.kill(i),
        (0, true) => {}
        (0, false) => world.revive(i),
        (1, true) => world.kill_agent(i),
        (1, false) => world.revive_agent(i),
        (2, on) => world.redis[i].paused = on,
        (3, on) => world.pause_agent(i, on),
        (4, on) => world.redis[i].cut = on,
        (5, on) => world.agents[i].cut = on,
        (_, on) => {
            (world.redis[i].cut, world.agents[i].cut) = (on, on);
        }
    }
}

fn ordeal(seed: u64, faults: &[Fault], rough: bool, without: Without) -> World {
    let mut world = World::new(seed % 1_000_003, without);
    world.run(2000);
    world.rough = rough;
    let start = world.now_ms;
    let end = faults.iter().map(|fault| fault.at_ms + fault.for_ms).max().unwrap_or(0);
    for ms in (0..=end).step_by(TICK_MS as usize) {
        for fault in faults {
            let edge = |edge_ms: u64| edge_ms / TICK_MS * TICK_MS == ms;
            if edge(fault.at_ms) {
                strike(&mut world, *fault, true);
            } else if edge(fault.at_ms + fault.for_ms) {
                strike(&mut world, *fault, false);
            }
        }
        world.run(TICK_MS);
    }
    assert!(world.now_ms > start);
    world.rough = false;
    world.heal();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_promise_is_broken_and_the_shard_recovers(
        seed: u64, faults in faults(9), rough: bool,
    ) {
        let mut world = ordeal(seed, &faults, rough, Without::nothing());
        let acked = world.acked.len();
        world.run(12_000);
        prop_assert!(world.broken.is_empty(), "{:?}\n{:?}", world.broken, world.notes);
        prop_assert!(world.well(), "{:?}\n{:?}", world.config, world.notes);
        prop_assert!(world.acked.len() > acked, "nothing was acknowledged after the last heal");
    }
}

/// How many of some ordeals break a promise without a defence.
fn ordeals_that_break(without: &[Defence]) -> usize {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = (any::<u64>(), faults(9));
    (0..150)
        .filter(|_| {
            let (seed, faults) = strategy.new_tree(&mut runner).unwrap().current();
            let mut world = ordeal(seed, &faults, true, without.iter().copied().collect());
            world.run(4000);
            !world.broken.is_empty()
        })
        .count()
}

#[test]
fn the_model_notices_when_votes_or_runs_are_not_minded() {
    for missing in [Defence::Votes, Defence::RunIds] {
        let broken = ordeals_that_break(&[missing]);
        assert!(broken > 0, "{missing} is missing, and no ordeal of 150 shows it");
    }
}
