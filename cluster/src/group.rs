//! Group membership: who is there, never from a cache and never stale.
//!
//! ```text
//! /shardstorm/groups/<group>/<id>     ephemeral: {"incarnation": …, "payload": …}
//! ```
//!
//! [`GroupMember::start`] comes back when the member is in the group: when its znode exists, owned by the
//! *present* session and holding the *present* incarnation. That a znode of its name exists means nothing: one
//! that an earlier session has left behind will vanish with that.
//!
//! **An incarnation is one unbroken stay.** Whenever the member's own clock says that the servers may have ended
//! its session, it puts itself into the group again under a new incarnation, in one transaction if the old
//! znode still exists. So whoever gets the same answer from [`GroupMember::present`] twice knows that everybody
//! has seen it all the time between. What happened when is in [`GroupMember::history`].
//!
//! **Lists are never stale.** [`Group::members`] first has the whole ensemble commit something, then reads on
//! the same session: what it shows is not older than its call. A server alone may be behind, and `sync` does
//! not help: it is answered by a leader that may have been deposed without knowing it yet. A list is not one
//! instant: each member in it was there at some time during the call, and so was each that is missing not.
//!
//! **Leaving.** [`GroupMember::close`] keeps the task that re-creates the znode from doing so, waits for a create
//! that is under way, deletes what is there by version, and sees that it is gone. A create of an *earlier*
//! session whose reply was lost cannot be waited for; what it makes late goes with that session.

mod member;
mod stay;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::{sleep, timeout};
use zookeeper_client::Error as ZkError;

pub use self::{
    member::GroupMember,
    stay::{Stay, StayEvent},
};
use crate::{
    store::CallError,
    zk::{Link, LinkOptions, Live, Session, Snapshot, barrier, existing, is_passing},
    znodes::Paths,
};

/// How often a call that failed for a passing reason is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// Mistakes that real membership services make, to be switched on where it matters that they are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupWeakness {
    /// `members-from-cache`: lists come from a copy that watches keep up to date.
    FromCache,
    /// `members-sync-read`: `sync`, then read. Hidden wherever the leader also has writes to commit, which it
    /// then cannot: so it goes with sessions that [trust the
    /// library](crate::zk::SessionOptions::trusts_library) and write nothing of their own.
    SyncRead,
    /// `member-exists-ok`: a create that finds a znode of its name counts as joined.
    ExistsOk,
    /// `member-close-race`: close does not wait for the task that re-creates the znode.
    CloseRace,
}

/// How a group behaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupOptions {
    /// Where groups live: `<root>/groups`.
    pub paths: Paths,
    /// None in earnest.
    pub weakness: Option<GroupWeakness>,
}

/// A member as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, unique in the group.
    pub id: String,
    /// Which of its stays it is.
    pub incarnation: String,
    /// Transaction that began the stay: grows from stay to stay.
    pub czxid: i64,
    /// What it says of itself.
    pub payload: String,
}

/// Why a call on a group did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GroupError {
    /// Somebody else has this id.
    #[error("somebody else is {0} in the group")]
    Taken(String),
    /// The servers were not reached, or not for long enough.
    #[error("{}", if *definite { "zookeeper not reached" } else { "zookeeper lost" })]
    Unreachable {
        /// True when the call certainly changed nothing. If not, what it asked for may have happened or may yet
        /// happen; a failed start is undone, a close goes on in the background.
        definite: bool,
    },
    /// The servers refuse this for good.
    #[error("zookeeper refused: {0}")]
    Refused(ZkError),
    /// A name that cannot be that of a group or a member.
    #[error("the name of a group or member must be one step of a path, not {0:?}")]
    Name(String),
}

impl GroupError {
    /// True when the call certainly had, and will have, no effect.
    pub fn definite(&self) -> bool {
        !matches!(self, GroupError::Unreachable { definite: false })
    }
}

impl From<GroupError> for CallError {
    fn from(e: GroupError) -> Self {
        CallError { definite: e.definite(), reason: e.to_string() }
    }
}

/// What a member's znode holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    incarnation: String,
    payload: String,
}

/// One group, as seen through one session.
#[derive(Debug)]
pub struct Group {
    session: Arc<Session>,
    options: GroupOptions,
    dir: String,
    /// Only for the weakness that answers from it.
    cache: Option<Link>,
}

impl Group {
    /// The group `name`, through a session that may serve others too. It need not exist yet.
    pub fn new(session: Arc<Session>, name: &str, options: GroupOptions) -> Result<Self, GroupError> {
        check_name(name)?;
        let dir = format!("{}/groups/{name}", options.paths.root());
        let cache = (options.weakness == Some(GroupWeakness::FromCache))
            .then(|| Link::open(LinkOptions::new(&session.options().connect, &dir)));
        Ok(Group { session, options, dir, cache })
    }

    /// Who is in the group, in order of ids. Waits for ZooKeeper, if it must, no longer than a session lasts.
    pub async fn members(&self) -> Result<Vec<Member>, GroupError> {
        let mut lives = self.session.lives();
        let listed = async {
            loop {
                let Some(live) = lives.next().await else { return Err(ZkError::ClientClosed) };
                match self.list(&live).await {
                    Err(e) if is_passing(&e) => sleep(AGAIN).await,
                    other => return other,
                }
            }
        };
        match timeout(self.session.options().session_timeout, listed).await {
            Ok(Ok(members)) => Ok(members),
            Ok(Err(e)) if !is_passing(&e) => Err(GroupError::Refused(e)),
            Ok(Err(_)) | Err(_) => Err(GroupError::Unreachable { definite: true }),
        }
    }

    async fn list(&self, live: &Live) -> Result<Vec<Member>, ZkError> {
        match (self.options.weakness, &self.cache) {
            (Some(GroupWeakness::FromCache), Some(cache)) => return self.cached(cache).await,
            (Some(GroupWeakness::SyncRead), _) => live.client().sync(&self.dir).await?,
            _ => {
                let exists = existing(barrier(live.client(), &self.dir)).await?;
                if exists.is_none() {
                    return Ok(Vec::new());
                }
            }
        }
        self.read(live).await
    }

    async fn read(&self, live: &Live) -> Result<Vec<Member>, ZkError> {
        let client = live.client();
        let mut ids = existing(client.list_children(&self.dir)).await?.unwrap_or_default();
        ids.sort();
        // All requests are on their way before the first reply is awaited.
        let flights: Vec<_> =
            ids.into_iter().map(|id| (client.get_data(&format!("{}/{id}", self.dir)), id)).collect();
        let mut members = Vec::new();
        for (flight, id) in flights {
            // Whoever has left since is not there; what is not a record is no member.
            if let Some((data, stat)) = existing(flight).await? {
                members.extend(member(&id, &data, stat.czxid));
            }
        }
        Ok(members)
    }

    async fn cached(&self, cache: &Link) -> Result<Vec<Member>, ZkError> {
        let mut snapshots = cache.snapshots();
        let filled = |snapshot: &Snapshot| snapshot.session != 0;
        let snapshot = snapshots.wait_for(filled).await.map_err(|_| ZkError::ClientClosed)?;
        let prefix = format!("{}/", self.dir);
        let children = snapshot.nodes.range(prefix.clone()..).map_while(|(path, znode)| {
            let id = path.strip_prefix(&prefix)?;
            Some(member(id, &znode.data, znode.czxid))
        });
        Ok(children.flatten().collect())
    }
}

fn member(id: &str, data: &[u8], czxid: i64) -> Option<Member> {
    let Record { incarnation, payload } = serde_json::from_slice(data).ok()?;
    Some(Member { id: id.to_owned(), incarnation, czxid, payload })
}

fn check_name(name: &str) -> Result<(), GroupError> {
    if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err(GroupError::Name(name.to_owned()));
    }
    Ok(())
}
