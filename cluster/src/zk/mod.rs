//! One ZooKeeper session that is replaced when it dies, and a mirror of a subtree that is kept up to date.
//!
//! Agents, clients and observers all see ZooKeeper through [`Link`]. It reconnects for ever; while it is
//! cut off its [`Snapshot`] keeps the last values and says `connected: false`. A snapshot may always be
//! older than the truth, so whoever decides something checks versions in the same transaction.
//!
//! Locks and group members, which live by what is ephemeral in a session, have a [`Session`] instead: no
//! mirror, but an answer to the question whether the session certainly still lives.

mod lease;
mod link;
mod session;
mod snapshot;
mod write;

pub use link::{Link, LinkOptions};
pub use session::{Live, Lives, Session, SessionOptions};
pub use snapshot::{Snapshot, Znode};
pub use write::{barrier, put, put_ephemeral, put_persistent};
pub(crate) use write::{existing, is_passing, make_dirs, nonce};

/// Stops a background task when its owner goes away.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(pub tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
