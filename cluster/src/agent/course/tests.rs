//! What the rules do together: single stories, and whatever chance brings.

use proptest::prelude::*;

use super::world::{NODES, Note, TICK_MS, World};
use crate::event::Step;

/// `fenced` is written by the runner, between these.
const WINNING: [Step; 5] = [Step::Suspected, Step::LeaseLost, Step::Proposed, Step::Elected, Step::Promoted];

#[test]
fn the_first_master_is_elected_without_suspicion() {
    let world = World::settled();
    assert_eq!(world.config.epoch, 1);
    let steps: Vec<Step> = world.notes.iter().map(|(_, _, step, _)| *step).collect();
    assert!(!steps.contains(&Step::Suspected), "{steps:?}");
}

#[test]
fn a_quiet_cluster_keeps_its_master() {
    let mut world = World::settled();
    world.run(60_000);
    assert_eq!((world.config.epoch, world.well()), (1, true));
}

#[test]
fn a_killed_master_is_replaced_at_once_and_its_empty_successor_follows() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    world.kill(old);
    world.run(300);
    let new = world.master().unwrap();
    assert!(new != old && world.losses.is_empty(), "{:?}", world.notes);
    assert_eq!(world.steps_of(2), WINNING);
    world.revive(old);
    world.run(2000);
    assert!(world.well() && world.config.epoch == 2);
    for step in [Step::Demoted, Step::Following] {
        assert!(world.notes.iter().any(|(_, i, s, e)| *i == old && *s == step && *e == 2), "{step:?}");
    }
}

#[test]
fn a_master_that_restarts_within_a_blink_is_replaced_although_it_answers() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    world.kill(old);
    world.revive(old);
    world.run(1000);
    let new = world.master().unwrap();
    assert!(new != old && world.losses.is_empty(), "{:?} {:?}", world.losses, world.notes);
}

#[test]
fn a_paused_master_is_replaced_after_the_lease_time() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    world.nodes[old].redis_paused = true;
    world.run(390);
    assert_eq!(world.config.epoch, 1);
    world.run(400);
    assert!(world.master().is_some_and(|new| new != old), "{:?}", world.notes);
    world.nodes[old].redis_paused = false;
    world.run(2000);
    assert!(world.well());
}

#[test]
fn an_isolated_master_is_replaced_by_others_and_demoted_after_healing() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    (world.nodes[old].net_cut, world.nodes[old].zk_cut) = (true, true);
    world.run(900);
    let new = world.master().unwrap();
    assert!(new != old && world.nodes[old].master, "the old one cannot know");
    world.heal();
    world.run(3000);
    assert!(world.well() && world.master() == Some(new), "{:?}", world.notes);
}

#[test]
fn a_master_cut_off_from_its_replicas_only_gives_up_its_lease() {
    let mut world = World::settled();
    let old = world.master().unwrap();
    world.nodes[old].net_cut = true;
    world.run(900);
    assert!(world.master().is_some_and(|new| new != old), "{:?}", world.notes);
    let gave_up = |(_, i, step, e): &Note| *i == old && *step == Step::LeaseLost && *e == 1;
    assert!(world.notes.iter().any(gave_up));
}

#[test]
fn a_replica_cut_off_alone_changes_nothing() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    let replica = (0..NODES).find(|i| *i != master).unwrap();
    (world.nodes[replica].net_cut, world.nodes[replica].zk_cut) = (true, true);
    world.run(5000);
    assert_eq!(world.config.epoch, 1);
    world.nodes[replica].zk_cut = false;
    world.run(5000);
    assert_eq!((world.config.epoch, world.master()), (1, Some(master)));
}

#[test]
fn a_master_whose_replicas_are_all_dead_stays() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    for i in (0..NODES).filter(|i| *i != master) {
        world.kill(i);
    }
    world.run(10_000);
    assert_eq!((world.config.epoch, world.master()), (1, Some(master)));
    let suspected = world.notes.iter().any(|(_, _, step, _)| *step == Step::Suspected);
    assert!(!suspected, "giving up helps nobody: {:?}", world.notes);
    world.heal();
    world.run(2000);
    assert!(world.well() && world.config.epoch == 1);
}

#[test]
fn without_zookeeper_nothing_changes() {
    let mut world = World::settled();
    for node in &mut world.nodes {
        node.zk_cut = true;
    }
    world.run(1000);
    let master = world.master().unwrap();
    assert!(world.config.epoch == 1 && world.nodes[master].master);
    world.heal();
    world.run(3000);
    assert!(world.well() && world.config.epoch == 1, "{:?}", world.notes);
}

#[test]
fn an_agent_that_was_stopped_looks_before_it_judges() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    let other = (0..NODES).find(|i| *i != master).unwrap();
    world.pause_agent(other, true);
    world.run(1000);
    world.pause_agent(other, false);
    world.run(2000);
    assert_eq!((world.config.epoch, world.well()), (1, true), "{:?}", world.notes);
    let suspected = world.notes.iter().any(|(_, _, step, _)| *step == Step::Suspected);
    assert!(!suspected, "{:?}", world.notes);
}

#[test]
fn a_restarted_agent_of_a_healthy_master_carries_on() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    world.kill_agent(master);
    world.run(100);
    world.revive_agent(master);
    world.run(3000);
    assert_eq!((world.config.epoch, world.well()), (1, true), "{:?}", world.notes);
}

#[test]
fn an_empty_redis_does_not_win_against_one_with_data() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    let [first, second] = [0, 1, 2].into_iter().filter(|i| *i != master).collect::<Vec<_>>()[..] else {
        panic!()
    };
    // One replica is empty and cannot copy, the other has data but its agent is slow to come back.
    world.kill(first);
    world.nodes[first].net_cut = true;
    world.revive(first);
    world.pause_agent(second, true);
    world.kill(master);
    world.run(800);
    world.pause_agent(second, false);
    world.run(3000);
    assert_eq!(world.master(), Some(second), "{:?}", world.notes);
    let stood = world.notes.iter().any(|(_, i, step, e)| *i == first && *step == Step::Proposed && *e == 2);
    assert!(!stood, "{:?}", world.notes);
}

#[test]
fn when_all_have_lost_everything_the_shard_starts_over() {
    let mut world = World::settled();
    for i in 0..NODES {
        world.kill(i);
    }
    world.run(500);
    world.heal();
    world.run(6000);
    assert!(world.well(), "{:?}", world.notes);
}

#[test]
fn a_lone_survivor_that_lost_everything_stands_again() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    for i in (0..NODES).filter(|i| *i != master) {
        world.kill(i);
        world.kill_agent(i);
    }
    world.run(2000);
    world.kill(master);
    world.revive(master);
    world.run(5000);
    assert!(world.config.epoch > 1 && world.nodes[master].master, "{:?}", world.notes);
}

#[test]
fn the_biggest_offset_wins_and_a_dead_bidder_is_passed_over() {
    let mut world = World::settled();
    let master = world.master().unwrap();
    let best = (0..NODES).filter(|i| *i != master).max_by_key(|i| world.nodes[*i].offset).unwrap();
    world.kill(master);
    while !world.bids.contains_key(&best) {
        world.tick();
    }
    world.nodes[best].agent_paused = true;
    world.nodes[best].redis_paused = true;
    world.run(2500);
    let new = world.master().unwrap();
    assert!(new != master && world.nodes[new].master, "{:?}", world.notes);
}

#[derive(Debug, Clone, Copy)]
enum Harm {
    KillRedis,
    PauseRedis,
    CutNetwork,
    CutZooKeeper,
    Isolate,
    PauseAgent,
    KillAgent,
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        Just(Harm::KillRedis),
        Just(Harm::PauseRedis),
        Just(Harm::CutNetwork),
        Just(Harm::CutZooKeeper),
        Just(Harm::Isolate),
        Just(Harm::PauseAgent),
        Just(Harm::KillAgent),
    ]
}

fn stopping_harm() -> impl Strategy<Value = Harm> {
    prop_oneof![Just(Harm::KillRedis), Just(Harm::PauseRedis), Just(Harm::CutNetwork), Just(Harm::Isolate)]
}

impl World {
    fn set(&mut self, harm: Harm, i: usize, on: bool) {
        match harm {
            Harm::KillRedis if on => self.kill(i),
            Harm::KillRedis => self.revive(i),
            Harm::PauseRedis => self.nodes[i].redis_paused = on,
            Harm::CutNetwork => self.nodes[i].net_cut = on,
            Harm::CutZooKeeper => self.nodes[i].zk_cut = on,
            Harm::Isolate => (self.nodes[i].net_cut, self.nodes[i].zk_cut) = (on, on),
            Harm::PauseAgent => self.pause_agent(i, on),
            Harm::KillAgent if on => self.kill_agent(i),
            Harm::KillAgent => self.revive_agent(i),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened, once all is healed the shard serves again with every Redis in place.
    #[test]
    fn a_healed_shard_always_recovers(
        seed in 1u64..1000,
        faults in prop::collection::vec((harm(), 0..NODES, 0u64..4000, 50u64..3000), 1..10),
    ) {
        let mut world = World::new(seed);
        world.rough = true;
        world.run(3000);
        let mut edges: Vec<(u64, Harm, usize, bool)> = Vec::new();
        for &(harm, node, from, length) in &faults {
            edges.push((from, harm, node, true));
            edges.push((from + length, harm, node, false));
        }
        edges.sort_by_key(|(at, ..)| *at);
        let mut passed = 0;
        for (at, harm, node, on) in edges {
            world.run(at - passed);
            passed = at - (at - passed) % TICK_MS;
            world.set(harm, node, on);
        }
        world.heal();
        world.run(10_000);
        world.rough = false;
        world.run(500);
        prop_assert!(world.well(), "{:?} {:?} {:?}", world.config, world.lease, world.notes);
        let epoch = world.config.epoch;
        world.run(5000);
        prop_assert_eq!(world.config.epoch, epoch, "it does not settle: {:?}", world.notes);
    }

    /// One fault at a time, healed before the next: what was acknowledged is not lost, provided that the
    /// fault stops the master. (One that goes on acknowledging while the others bid does lose writes.)
    #[test]
    fn single_faults_that_stop_the_master_lose_nothing_acknowledged(
        seed in 1u64..1000,
        faults in prop::collection::vec((stopping_harm(), 0..NODES, 50u64..3000), 1..5),
    ) {
        let mut world = World::new(seed);
        world.run(2000);
        for (harm, node, length) in faults {
            world.set(harm, node, true);
            world.run(length);
            world.set(harm, node, false);
            world.run(6000);
            prop_assert!(world.well(), "{:?} {:?}", world.config, world.notes);
            prop_assert!(world.losses.is_empty(), "{:?} {:?}", world.losses, world.notes);
        }
    }
}
