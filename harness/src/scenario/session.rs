//! What happens between ZooKeeper and a client of it when somebody on the wire lies.

use std::time::Duration;

use anyhow::Result;
use zookeeper_client::{CreateMode, Error, SessionState};

use super::ensemble::Guest;
use super::rig::ever;
use super::seen::Seen;
use super::stage::Stage;

/// What the clients ask for.
const SESSION: Duration = Duration::from_secs(4);
/// Much longer than that.
const LONG: Duration = Duration::from_secs(60);
/// How long a client is watched after the server has ended its session.
const WATCH: Duration = Duration::from_secs(6);
const BOUND: Duration = Duration::from_secs(15);

/// The client is told that its session lasts a minute; the server ends it after four seconds, and nobody tells.
pub fn timeout_raised(stage: &Stage) -> Result<Seen> {
    let ensemble = stage.ensemble(1)?;
    stage.arm()?;
    let (client, witness) = (ensemble.client("c1", "zk1", SESSION)?, ensemble.client("zk1", "zk1", LONG)?);
    client.create("/lease", "c1", CreateMode::Ephemeral)??;
    let mut seen = Seen::default();
    seen.note("session timeout the client believes in", format!("{:?}", client.session_timeout()));
    // The client does not hear that the server hangs up. Its pings are due too late.
    let hidden = ensemble.rig.strike(&[("zk1", "c1")], lab::Action::HideClose)?;
    let gone = ever(3 * SESSION, || Ok(witness.read("/lease")?.is_none().then_some(())))?;
    let state = if gone.is_some() { watched_state(&client, WATCH) } else { client.state() };
    seen.note("the lease ended at the server", gone.is_some());
    seen.note("what the client believed then", format!("{state:?}"));
    seen.audit(
        gone.is_none() || state != SessionState::SyncConnected,
        "the client's belief and the server's",
    );
    seen.promise(
        gone.is_none() || state != SessionState::SyncConnected,
        "a client that counts as connected holds its lease",
    );
    seen.signal(state != SessionState::SyncConnected, "the client was told");
    seen.note("ends of its connection that were hidden from it", hidden.counters().hidden);
    drop(hidden);
    Ok(seen)
}

/// A `closeSession` that the client never sent.
pub fn session_closed(stage: &Stage) -> Result<Seen> {
    let ensemble = stage.ensemble(1)?;
    let (client, witness) = (ensemble.client("c1", "zk1", SESSION)?, ensemble.client("zk1", "zk1", LONG)?);
    client.create("/lease", "c1", CreateMode::Ephemeral)??;
    stage.arm()?;
    let _ = client.read("/lease")?;
    let gone = ever(SESSION / 2, || Ok(witness.read("/lease")?.is_none().then_some(())))?;
    let mut seen = Seen::default();
    seen.note("the lease ended at the server", gone.is_some());
    let told =
        ever(BOUND.min(2 * SESSION), || Ok((client.state() != SessionState::SyncConnected).then_some(())))?;
    seen.note("what the client believed", format!("{:?}", client.state()));
    seen.signal(told.is_some(), "the client was told");
    seen.refusal(told.is_some() && gone.is_some());
    seen.promise(gone.is_none() || told.is_some(), "a client that counts as connected holds its lease");
    Ok(seen)
}

/// "The node exists" turned into "created".
pub fn create_forged(stage: &Stage) -> Result<Seen> {
    let ensemble = stage.ensemble(1)?;
    let (owner, client) = (ensemble.client("c2", "zk1", LONG)?, ensemble.client("c1", "zk1", LONG)?);
    owner.create("/lease", "c2", CreateMode::Ephemeral)??;
    stage.arm()?;
    let answer = client.create("/lease", "c1", CreateMode::Ephemeral)?;
    let mut seen = Seen::default();
    seen.note("what the client was told", format!("{answer:?}"));
    let owned_by = client.look("/lease")?.map_or(0, |(_, stat)| stat.ephemeral_owner);
    seen.note(
        "the owner it read back",
        if owned_by == client.session_id() { "itself" } else { "another session" },
    );
    let believes = answer.is_ok();
    seen.audit(!believes || owned_by == client.session_id(), "the client's belief and the server's");
    seen.promise(
        !believes || owned_by == client.session_id(),
        "who was told that it created the lease owns it",
    );
    seen.signal(
        matches!(answer, Err(ref error) if !matches!(error, Error::NodeExists)),
        "the client got an error",
    );
    Ok(seen)
}

/// The version of a conditional write turned into "any".
pub fn version_ignored(stage: &Stage) -> Result<Seen> {
    let ensemble = stage.ensemble(1)?;
    let (client, other) = (ensemble.client("c1", "zk1", LONG)?, ensemble.client("c2", "zk1", LONG)?);
    client.create("/config", "first", CreateMode::Persistent)??;
    other.write("/config", "second", Some(0))??;
    stage.arm()?;
    let answer = client.write("/config", "stale", Some(0))?;
    let held = other.read("/config")?.unwrap_or_default();
    let mut seen = Seen::default();
    seen.note("what the client was told", format!("{answer:?}"));
    seen.note("what the znode holds", &held);
    seen.audit(held == "second", "the znode and the last write that its version allowed");
    seen.promise(held == "second", "a write at an old version is refused");
    Ok(seen)
}

/// What a client believes of its session after having been watched for so long.
fn watched_state(client: &Guest, bound: Duration) -> SessionState {
    let told = ever(bound, || Ok(Some(client.state()).filter(|state| *state != SessionState::SyncConnected)));
    told.ok().flatten().unwrap_or(SessionState::SyncConnected)
}
