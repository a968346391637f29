//! What happens inside a ZooKeeper ensemble when somebody on the wire between the servers lies.

use std::time::Duration;

use anyhow::Result;
use zookeeper_client::CreateMode;

use super::ensemble::Ensemble;
use super::rig::{eventually, ever};
use super::seen::Seen;
use super::stage::Stage;

const SESSION: Duration = Duration::from_secs(10);
const BOUND: Duration = Duration::from_secs(30);

/// A COMMIT of the transaction after the one that is due, to one follower.
pub fn commit_shifted(stage: &Stage) -> Result<Seen> {
    let ensemble = stage.ensemble(3)?;
    let leader = ensemble.await_leader(&[])?;
    let [victim, _] = both_followers(&ensemble)?;
    let client = ensemble.client(&leader, &leader, SESSION)?;
    client.create("/before", "1", CreateMode::Persistent)??;
    stage.arm_at(&[("follower", &victim)])?;
    client.create("/after", "2", CreateMode::Persistent)??;
    let watch = if stage.is_control() { Duration::from_secs(2) } else { BOUND };
    let ended = ever(watch, || ensemble.rig.ended(&victim))?;
    let mut seen = Seen::default();
    seen.exited(ended);
    seen.signal(
        ensemble.rig.log(&victim)?.contains("but next pending txn"),
        "Committing … but next pending txn",
    );
    let held = ensemble.holds(&leader, "/after")?;
    seen.note("what the leader holds", held.as_deref().unwrap_or("nothing"));
    seen.promise(held.is_some(), "an acknowledged write is there");
    Ok(seen)
}

/// Both followers never hear of a write, but the leader hears that they have it.
pub fn proposals_swallowed(stage: &Stage) -> Result<Seen> {
    let mut ensemble = stage.ensemble(3)?;
    let leader = ensemble.await_leader(&[])?;
    both_followers(&ensemble)?;
    let client = ensemble.client(&leader, &leader, SESSION)?;
    client.create("/before", "1", CreateMode::Persistent)??;
    stage.arm()?;
    let answer = client.create("/lost", "2", CreateMode::Persistent)?;
    stage.disarm();
    drop(client);
    let mut seen = Seen::default();
    seen.note("what the client was told", format!("{answer:?}"));
    ensemble.rig.process(&leader)?.kill()?;
    let heir = ensemble.await_leader(&[&leader])?;
    let held = ensemble.holds(&heir, "/lost")?;
    seen.note("what the next leader holds", held.as_deref().unwrap_or("nothing"));
    ensemble.start(&leader)?;
    let back = ever(BOUND, || Ok(ensemble.role(&leader)))?;
    seen.note("the old leader came back as", back.as_deref().unwrap_or("nothing"));
    let rejoined = if back.is_some() { ensemble.holds(&leader, "/lost")? } else { None };
    seen.note("what it holds then", rejoined.as_deref().unwrap_or("nothing"));
    seen.audit(answer.is_err() || held.is_some(), "the client's answer and the ensemble");
    seen.promise(answer.is_err() || held.is_some(), "an acknowledged write survives the leader");
    Ok(seen)
}

/// A server that lags behind wins an election by a forged `zxid`, and has the others cut their logs.
pub fn laggard_elected(stage: &Stage) -> Result<Seen> {
    let mut ensemble = stage.ensemble(3)?;
    let leader = ensemble.await_leader(&[])?;
    // Where all else is equal the higher number wins.
    let [peer, laggard] = both_followers(&ensemble)?;
    let client = ensemble.client(&leader, &leader, SESSION)?;
    client.create("/before", "1", CreateMode::Persistent)??;
    // The laggard misses a write that the other two commit.
    eventually("the laggard has what came before", BOUND, || {
        Ok((ensemble.zxid(&laggard)? == ensemble.zxid(&leader)?).then_some(()))
    })?;
    let last_seen = ensemble.zxid(&laggard)?.to_string();
    ensemble.rig.process(&laggard)?.kill()?;
    client.create("/committed", "2", CreateMode::Persistent)??;
    drop(client);
    eventually("the write is on the peer", BOUND, || ensemble.holds(&peer, "/committed"))?;
    stage.arm_at(&[("laggard", &laggard), ("peer", &peer), ("last seen", &last_seen)])?;
    // Now only laggard and peer are left to elect a leader.
    ensemble.rig.process(&leader)?.kill()?;
    ensemble.start(&laggard)?;
    let heir = ensemble.await_leader(&[&leader])?;
    let mut seen = Seen::default();
    seen.note("elected", if heir == laggard { "the laggard" } else { "the peer" });
    stage.disarm();
    ensemble.start(&leader)?;
    eventually("the old leader follows", BOUND, || Ok(ensemble.role(&leader)))?;
    let holders: Vec<String> = ensemble
        .servers()
        .to_vec()
        .into_iter()
        .filter(|server| matches!(ensemble.holds(server, "/committed"), Ok(Some(_))))
        .collect();
    seen.note("servers that hold the committed write", holders.len());
    let truncated = ensemble.rig.log(&peer)?.contains("Truncating log");
    seen.note("the peer was told to cut its log", truncated);
    seen.audit(holders.len() == 3, "the ensemble and what it had committed");
    seen.promise(!holders.is_empty(), "a committed write survives");
    Ok(seen)
}

/// Waits until two servers follow.
fn both_followers(ensemble: &Ensemble) -> Result<[String; 2]> {
    eventually("two servers follow", BOUND, || Ok(ensemble.followers().try_into().ok()))
}
