//! What happens between a master and its replica when somebody on the wire lies.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::pair::{MASTER, Pair, REPLICA};
use super::rig::{eventually, ever};
use super::seen::Seen;
use super::stage::Stage;

/// How long a `WAIT` waits for its replica, milliseconds.
const WAIT_MS: &str = "1500";
/// How long anything that must happen may take.
const BOUND: Duration = Duration::from_secs(15);
/// How long the replica is watched for something that ought not to happen, or might.
const WATCH: Duration = Duration::from_secs(2);

/// `SET k AAAA` arrives as `SET k BBBB`.
pub fn value_edited(stage: &Stage) -> Result<Seen> {
    let mut pair = stage.pair()?;
    stage.arm()?;
    pair.ask::<()>(MASTER, &["SET", "k", "AAAA"])?;
    let acked = wait(&mut pair)?;
    after_write(stage, &mut pair, acked, "k", Some("AAAA"))
}

/// A longer value than was sent: the replica counts more bytes than the master has sent, and acknowledges them.
pub fn stream_grown(stage: &Stage) -> Result<Seen> {
    let mut pair = stage.pair()?;
    stage.arm()?;
    pair.ask::<()>(MASTER, &["SET", "k", "AAAA"])?;
    let _acked = wait(&mut pair)?;
    settle_offsets(&mut pair, stage.is_control())?;
    let cut = pair.rig.strike(&[(MASTER, REPLICA)], lab::Action::Drop)?;
    pair.ask::<()>(MASTER, &["SET", "k2", "lost"])?;
    let acked = wait(&mut pair)?;
    let seen = after_write(stage, &mut pair, acked, "k2", Some("lost"));
    drop(cut);
    seen
}

/// One command twice: after a reconnection the replica is taken to have the next one of that length already.
pub fn command_doubled(stage: &Stage) -> Result<Seen> {
    let mut pair = stage.pair()?;
    stage.arm()?;
    pair.ask::<()>(MASTER, &["SET", "k1", "1111"])?;
    wait(&mut pair)?;
    settle_offsets(&mut pair, stage.is_control())?;
    let (full, partial) = pair.syncs()?;
    // Cut hard, so that the replica has to ask for the rest of the stream by its own count.
    pair.ask::<i64>(MASTER, &["CLIENT", "KILL", "TYPE", "replica"])?;
    // Written before it is back: as long as the command that it counted twice.
    pair.ask::<()>(MASTER, &["SET", "k2", "2222"])?;
    eventually("the replica synchronises again", BOUND, || {
        Ok((pair.syncs()? != (full, partial)).then_some(()))
    })?;
    pair.await_link()?;
    let resumed = pair.syncs()? == (full, partial + 1);
    pair.ask::<()>(MASTER, &["SET", "k3", "3333"])?;
    let acked = wait(&mut pair)?;
    let mut seen = after_write(stage, &mut pair, acked, "k2", Some("2222"))?;
    seen.note("the link resumed without a full synchronisation", resumed);
    Ok(seen)
}

/// One acknowledgement too large by a thousand million, once: the master keeps the largest it has heard.
pub fn ack_inflated(stage: &Stage) -> Result<Seen> {
    let mut pair = stage.pair()?;
    stage.arm()?;
    // The replica acknowledges once a second.
    if !stage.is_control() {
        eventually("an acknowledgement is altered", BOUND, || Ok((stage.applied() > 0).then_some(())))?;
    }
    let cut = pair.rig.strike(&[(MASTER, REPLICA), (REPLICA, MASTER)], lab::Action::Drop)?;
    pair.ask::<()>(MASTER, &["SET", "k", "lost"])?;
    let acked = wait(&mut pair)?;
    let seen = after_write(stage, &mut pair, acked, "k", Some("lost"));
    drop(cut);
    seen
}

/// A command replaced by another of its length that does nothing.
pub fn command_omitted(stage: &Stage) -> Result<Seen> {
    let mut pair = stage.pair()?;
    stage.arm()?;
    pair.ask::<()>(MASTER, &["SET", "k", "AAAAAAAA"])?;
    let acked = wait(&mut pair)?;
    after_write(stage, &mut pair, acked, "k", Some("AAAAAAAA"))
}

/// One bit of a full synchronisation.
pub fn dump_flipped(stage: &Stage) -> Result<Seen> {
    let mut pair = stage.pair_apart()?;
    for n in 0..100 {
        pair.ask::<()>(MASTER, &["SET", &format!("key-{n}"), "some value of some length"])?;
    }
    stage.arm()?;
    pair.follow()?;
    let mut seen = Seen::default();
    let watch = if stage.is_control() { WATCH } else { BOUND };
    let ended = ever(watch, || pair.rig.ended(REPLICA))?;
    seen.exited(ended);
    seen.signal(pair.rig.log(REPLICA)?.contains("Wrong RDB checksum"), "Wrong RDB checksum");
    if ended.is_none() {
        pair.await_link()?;
        let (there, here) = pair.digests()?;
        seen.audit(there == here, "digests of all data");
    }
    Ok(seen)
}

/// How many replicas `WAIT 1` counts.
fn wait(pair: &mut Pair) -> Result<i64> {
    pair.ask(MASTER, &["WAIT", "1", WAIT_MS])
}

/// Waits until the replica has counted all that was sent, and, unless this is the control, more than that.
fn settle_offsets(pair: &mut Pair, control: bool) -> Result<()> {
    eventually("the replica counts what was sent", BOUND, || {
        let (master, replica) = (pair.offset(MASTER)?, pair.offset(REPLICA)?);
        Ok((if control { replica >= master } else { replica > master }).then_some(()))
    })
}

/// What both sides look like after a write that `acked` replicas are said to have.
fn after_write(stage: &Stage, pair: &mut Pair, acked: i64, key: &str, wanted: Option<&str>) -> Result<Seen> {
    let mut seen = Seen::default();
    if !stage.is_control() {
        ensure!(stage.applied() > 0, "nothing on the wire was altered");
    }
    let held: Option<String> = pair.ask(REPLICA, &["GET", key])?;
    let info = pair.info(REPLICA, "replication")?;
    let (there, here) = pair.digests()?;
    seen.note("replicas that WAIT counted", acked);
    seen.note(&format!("the replica's {key}"), held.clone().unwrap_or("(nil)".into()));
    seen.note(
        "offsets of master and replica",
        format!("{}, {}", pair.offset(MASTER)?, pair.offset(REPLICA)?),
    );
    seen.note("the replica's link", info.get("master_link_status").cloned().unwrap_or_default());
    if acked > 0 {
        seen.audit(there == here, "digests of all data");
    }
    seen.promise(acked == 0 || held.as_deref() == wanted, "a write that WAIT counted is on the replica");
    seen.exited(pair.rig.ended(REPLICA)?);
    for word in ["CRITICAL", "Desync", "Bad"] {
        seen.signal(pair.rig.log(REPLICA)?.contains(word), word);
    }
    Ok(seen)
}
