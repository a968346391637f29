//! Fair locks with fencing tokens, kept in ZooKeeper.
//!
//! ```text
//! /shardstorm/locks/<name>/<nonce>-0000000007     ephemeral, sequential: one per holder or waiter
//! ```
//!
//! The child with the smallest sequence number holds the lock; every other waits for the one before it to go
//! (Hunt et al., ZooKeeper, USENIX ATC 2010, section 2.4), so the lock is granted in the order in which the
//! children were created, and a release wakes one waiter. A lock that nobody wants leaves no znode behind.
//!
//! **Tokens.** The token of a grant is the transaction id (`czxid`) that created the holder's child. It grows from
//! grant to grant, over the whole ensemble and for ever, whatever is deleted meanwhile. Two grants never hold
//! the lock at the same zxid; but no service can promise that two *clients* never believe to hold it at the
//! same time, since one of them may be stopped and not know that its session has ended. So whatever the lock
//! guards must be told the token and refuse one that is smaller than one it has seen.
//!
//! **Losing the session.** A holder asks [`LockService::state`]:
//! - *held*: by its own clock, the servers cannot have ended its session since the grant.
//! - *unknown*: the same, but ZooKeeper is out of reach at present.
//! - *lost*: the servers may have ended it, even if only for a moment. This is final for this token, also if the
//!   session turns out to have survived; the child is then deleted so that others get the lock.
//!
//! How the clock can know this is told in [`zk::Session`](crate::zk::Session). A waiter that loses its session
//! loses its place and goes to the end of the queue, within the same call.
//!
//! **Lost replies.** The name of a child carries 128 random bits of its call. After a reply that did not come the
//! child is looked for by them, after a write on the same connection, so that an earlier create can neither be
//! missed nor happen later; one that belongs to an earlier session is not counted as held, but deleted. What
//! a call that fails or is dropped has left behind is deleted in the background.
//!
//! ```no_run
//! # async fn example() -> Result<(), cluster::lock::LockError> {
//! use std::{sync::Arc, time::Duration};
//! use cluster::{lock::{LockOptions, LockService}, zk::{Session, SessionOptions}};
//!
//! let session = Arc::new(Session::open(SessionOptions::new("10.0.0.1:2181,10.0.0.2:2181,10.0.0.3:2181")));
//! let locks = LockService::new(session, LockOptions::default());
//! let token = locks.acquire("ledger", Duration::from_secs(5)).await?;
//! // write to the ledger, with token.fence()
//! locks.release(&token).await?;
//! # Ok(())
//! # }
//! ```

mod broom;
mod holds;
mod queue;

use std::{fmt, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use zookeeper_client::Error as ZkError;

use self::{
    broom::{Broom, Chore},
    holds::{Hold, Holds},
    queue::{Attempt, Place},
};
use crate::{
    store::CallError,
    zk::{Live, Session, is_passing},
    znodes::Paths,
};

/// How often a call that failed for a passing reason is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// Mistakes that real lock services make, to be switched on where it matters that they are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWeakness {
    /// `lock-sequence-token`: the token is the sequence number of the child. It starts again from 0 when the
    /// lock's znode was deleted and made again.
    SequenceToken,
    /// `lock-without-token`: what is written under a lock is not told for which grant. It acts in the
    /// [client](crate::client), not here.
    WithoutToken,
}

/// How a lock service behaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockOptions {
    /// Where locks live: `<root>/locks`.
    pub paths: Paths,
    /// None in earnest.
    pub weakness: Option<LockWeakness>,
}

/// One grant of one lock.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    lock: String,
    fence: i64,
}

impl Token {
    /// The token of a grant that is known by its number.
    pub fn new(lock: impl Into<String>, fence: i64) -> Self {
        Token { lock: lock.into(), fence }
    }

    /// Name of the lock.
    pub fn lock(&self) -> &str {
        &self.lock
    }

    /// The number for the guarded resource: larger than that of any earlier grant of this lock.
    pub fn fence(&self) -> i64 {
        self.fence
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.fence, self.lock)
    }
}

/// What a holder knows of its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldState {
    /// By this side's clock nobody else can have it.
    Held,
    /// The same, but ZooKeeper is out of reach at present: it will be lost soon if that stays so.
    Unknown,
    /// Somebody else may have it. Final.
    Lost,
}

/// Why a call on a lock did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LockError {
    /// Its turn did not come in time. Nothing is left behind.
    #[error("lock not granted in time")]
    NotInTime,
    /// The servers were not reached, or not for long enough.
    #[error("{}", if *definite { "zookeeper not reached" } else { "zookeeper lost" })]
    Unreachable {
        /// True when the call certainly changed nothing. If not, what it asked for may have happened, or may
        /// happen until this side's session ends; it is undone, or carried out, in the background.
        definite: bool,
    },
    /// The servers refuse this for good.
    #[error("zookeeper refused: {0}")]
    Refused(ZkError),
    /// A name that cannot be that of a lock.
    #[error("a lock's name must be one step of a path, not {0:?}")]
    Name(String),
}

impl LockError {
    /// True when the call certainly had, and will have, no effect.
    pub fn definite(&self) -> bool {
        !matches!(self, LockError::Unreachable { definite: false })
    }
}

impl From<LockError> for CallError {
    fn from(e: LockError) -> Self {
        CallError { definite: e.definite(), reason: e.to_string() }
    }
}

/// Locks for one process. Dropping it gives back what it holds.
#[derive(Debug)]
pub struct LockService {
    session: Arc<Session>,
    options: LockOptions,
    holds: Arc<Holds>,
    chores: mpsc::UnboundedSender<Chore>,
}

impl LockService {
    /// A service on `session`, which may serve others too. Call it on the Tokio runtime that is to do its
    /// background work.
    pub fn new(session: Arc<Session>, options: LockOptions) -> Self {
        let holds = Arc::new(Holds::default());
        let chores = Broom::start(session.lives(), holds.clone(), &options);
        LockService { session, options, holds, chores }
    }

    /// Takes `name` when its turn comes, but waits no longer than `patience`. The token's grant is confirmed by
    /// the ensemble after it was seen. A call that is dropped takes nothing.
    pub async fn acquire(&self, name: &str, patience: Duration) -> Result<Token, LockError> {
        let mut attempt = self.attempt(name)?;
        match timeout(patience, self.contend(&mut attempt, true)).await {
            Ok(Ok(Some(hold))) => Ok(self.keep(attempt, hold)),
            Ok(Ok(None)) | Err(_) => Err(self.give_up(attempt, None).await),
            Ok(Err(e)) => Err(self.give_up(attempt, Some(e)).await),
        }
    }

    /// Takes `name` if nobody has it or waits for it; none if somebody does. Waits for ZooKeeper, if it must,
    /// no longer than a session lasts.
    pub async fn try_acquire(&self, name: &str) -> Result<Option<Token>, LockError> {
        let mut attempt = self.attempt(name)?;
        let patience = self.session.options().session_timeout;
        match timeout(patience, self.contend(&mut attempt, false)).await {
            Ok(Ok(Some(hold))) => Ok(Some(self.keep(attempt, hold))),
            Ok(Ok(None)) => match self.give_up(attempt, None).await {
                LockError::NotInTime => Ok(None),
                e => Err(e),
            },
            Ok(Err(e)) => Err(self.give_up(attempt, Some(e)).await),
            Err(_) => Err(match self.give_up(attempt, None).await {
                LockError::NotInTime => LockError::Unreachable { definite: true },
                e => e,
            }),
        }
    }

    /// Gives back what `token` stands for. When it succeeds the grant is over, whether it was this call, an
    /// earlier one or the end of its session that ended it. Waits no longer than a session lasts; if it fails,
    /// or is dropped, the release goes on in the background.
    pub async fn release(&self, token: &Token) -> Result<(), LockError> {
        let (done, told) = oneshot::channel();
        let chore = match self.holds.take(token) {
            Some(hold) => Chore::Leave { place: hold.place, done: Some(done) },
            None => Chore::Forget { token: token.clone(), done },
        };
        self.hand_over(chore);
        match timeout(self.session.options().session_timeout, told).await {
            Ok(Ok(outcome)) => outcome.map_err(LockError::Refused),
            Ok(Err(_)) | Err(_) => Err(LockError::Unreachable { definite: false }),
        }
    }

    /// What is known of the grant `token`, here and now.
    pub fn state(&self, token: &Token) -> HoldState {
        self.holds.state(token, self.session.live())
    }

    /// Comes back when the grant `token` is lost, released, or was never made by this service.
    pub async fn lost(&self, token: &Token) {
        let mut changes = self.holds.changes();
        while let Some((serial, lapses)) = self.holds.certainty(token) {
            let Some(live) = self.session.live().filter(|live| live.serial() == serial) else { return };
            tokio::select! {
                () = live.lapsed(lapses) => return,
                _ = changes.changed() => {}
            }
        }
    }

    fn attempt(&self, name: &str) -> Result<Attempt, LockError> {
        if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
            return Err(LockError::Name(name.to_owned()));
        }
        Ok(Attempt::new(name, dir_of(&self.options.paths, name), self.chores.clone()))
    }

    /// Tries until the lock is held; none if it must not wait and somebody else has it.
    async fn contend(&self, attempt: &mut Attempt, wait: bool) -> Result<Option<Hold>, ZkError> {
        let mut lives = self.session.lives();
        loop {
            let Some(live) = lives.next().await else { return Err(ZkError::ClientClosed) };
            match self.contend_in(&live, attempt, wait).await {
                Err(e) if is_passing(&e) => sleep(AGAIN).await,
                other => return other,
            }
        }
    }

    /// Contends as long as the session lasts.
    async fn contend_in(
        &self,
        live: &Arc<Live>,
        attempt: &mut Attempt,
        wait: bool,
    ) -> Result<Option<Hold>, ZkError> {
        let place = attempt.stand(live).await?;
        if !attempt.until_first(live, &place, wait).await? {
            return Ok(None);
        }
        let Some(lapses) = live.until_certain().await else { return Err(ZkError::SessionExpired) };
        // What was read may have been old: the session may have ended meanwhile, and the child with it.
        attempt.confirm(live, &place).await?;
        let fence = fence_of(&place, self.options.weakness);
        let token = Token::new(attempt.name(), fence);
        Ok(Some(Hold { token, place, serial: live.serial(), lapses }))
    }

    fn keep(&self, attempt: Attempt, hold: Hold) -> Token {
        attempt.succeed();
        let token = hold.token.clone();
        self.holds.put(hold);
        token
    }

    /// Removes what a failed attempt has left behind, and says what is certain then.
    async fn give_up(&self, attempt: Attempt, why: Option<ZkError>) -> LockError {
        let error = match why {
            Some(e) if !is_passing(&e) => LockError::Refused(e),
            Some(_) => LockError::Unreachable { definite: true },
            None => LockError::NotInTime,
        };
        let Some((dir, nonce)) = attempt.remains() else { return error };
        let (done, told) = oneshot::channel();
        self.hand_over(Chore::Sweep { dir, nonce, done: Some(done) });
        match timeout(self.session.options().session_timeout / 2, told).await {
            Ok(Ok(Ok(()))) => error,
            _ => LockError::Unreachable { definite: false },
        }
    }

    fn hand_over(&self, chore: Chore) {
        // If its session is closed for good there is nobody to do it, and nothing left to be done.
        let _ = self.chores.send(chore);
    }
}

impl Drop for LockService {
    fn drop(&mut self) {
        for hold in self.holds.drain() {
            self.hand_over(Chore::Leave { place: hold.place, done: None });
        }
    }
}

/// The znode of a lock, parent of its queue.
fn dir_of(paths: &Paths, lock: &str) -> String {
    format!("{}/locks/{lock}", paths.root())
}

/// The number that tells grants apart and orders them.
fn fence_of(place: &Place, weakness: Option<LockWeakness>) -> i64 {
    match weakness {
        Some(LockWeakness::SequenceToken) => place.sequence,
        _ => place.czxid,
    }
}
