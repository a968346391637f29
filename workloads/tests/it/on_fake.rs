use cluster::fake::{FakeBug, FakeOptions};
use tokio::task::LocalSet;

use crate::drive::{Outcome, run};

fn options(seed: u64, bug: Option<FakeBug>) -> FakeOptions {
    FakeOptions { seed, bug, ..FakeOptions::default() }
}

/// All at once on one thread: they mostly wait.
async fn run_all(runs: Vec<(FakeOptions, u64)>) -> Vec<Outcome> {
    let local = LocalSet::new();
    let runs: Vec<_> =
        runs.into_iter().map(|(options, seconds)| local.spawn_local(run(options, seconds, true))).collect();
    local
        .run_until(async {
            let mut outcomes = Vec::new();
            for run in runs {
                outcomes.push(run.await.unwrap());
            }
            outcomes
        })
        .await
}

#[tokio::test]
async fn without_a_bug_no_fault_makes_the_history_contradict_itself() {
    let runs = (0..4).map(|seed| (options(seed, None), 5)).collect();
    let outcomes = run_all(runs).await;
    for (seed, outcome) in outcomes.iter().enumerate() {
        println!("seed {seed}: {outcome:?}");
        assert_eq!(outcome.contradictions, Vec::<String>::new(), "seed {seed}");
        assert_eq!(outcome.unread, 0, "every key can be read once all is healed");
    }
    // Over all seeds: how much happens within one run depends on how busy the machine is.
    let total = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    assert!(total(|outcome| outcome.epochs) > 2 * 4, "some masters were replaced");
    assert!(
        total(|outcome| outcome.ok["cas"] as u64) > 80 && total(|outcome| outcome.ok["write"] as u64) > 800
    );
    assert!(total(|outcome| outcome.info.len() as u64) > 0, "some outcomes stay unknown");
}

#[tokio::test]
async fn without_faults_everything_succeeds_but_compare_and_sets_that_lose_a_race() {
    let local = LocalSet::new();
    let outcome = local.run_until(run(options(1, None), 2, false)).await;
    assert_eq!(outcome.contradictions, Vec::<String>::new());
    assert_eq!(outcome.info.len(), 0, "{:?}", outcome.info);
    assert!(outcome.fail.keys().all(|reason| reason == "mismatch"), "{:?}", outcome.fail);
    assert_eq!(outcome.epochs, 2, "one epoch a shard");
}

/// Rounds of a few seconds until it shows, so that a slow machine takes longer but does not fail.
#[tokio::test]
async fn every_bug_shows() {
    const ROUNDS_MAX: u64 = 8;
    let mut hidden: Vec<FakeBug> = FakeBug::ALL.to_vec();
    for round in 0..ROUNDS_MAX {
        let runs = hidden.iter().map(|&bug| (options(100 + round, Some(bug)), 4)).collect();
        let outcomes = run_all(runs).await;
        let mut outcomes = outcomes.iter();
        hidden.retain(|_| outcomes.next().is_some_and(|outcome| outcome.contradictions.is_empty()));
        if hidden.is_empty() {
            return;
        }
        println!("after round {round}: {hidden:?} have not shown");
    }
    panic!("{hidden:?} did not show in {ROUNDS_MAX} rounds");
}
