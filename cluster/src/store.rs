//! What a client may ask of the cluster, real or fake: one attempt per call, a definite or an indefinite
//! answer, never a hidden retry.
//!
//! All operations on data are one [`Command`] on one key, with one [`Answer`]; what an operation is called, where
//! it is sent, whether it may be repeated and how its answer reads follows from that enum and from nothing
//! else. Every command is atomic.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

/// Why a call did not come back with a result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct CallError {
    /// True when the call certainly had, and will have, no effect.
    pub definite: bool,
    /// Short and stable, made for grouping: `timeout`, `connection refused`, `no master`, `wait 0 of 1`.
    pub reason: String,
}

impl CallError {
    /// It certainly did not happen.
    pub fn definite(reason: impl Into<String>) -> Self {
        CallError { definite: true, reason: reason.into() }
    }

    /// Nobody can say whether it happened or will.
    pub fn indefinite(reason: impl Into<String>) -> Self {
        CallError { definite: false, reason: reason.into() }
    }

    /// An answer that is none of those the question has.
    pub fn unexpected() -> Self {
        CallError::indefinite("unexpected reply")
    }
}

/// Which server a call was sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedBy {
    /// Shard that owns the key.
    pub shard: u32,
    /// Epoch of the master the client believed in.
    pub epoch: u64,
    /// Name of the node.
    pub node: String,
}

/// How one call ended, and where it was sent (none when it was sent nowhere).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<T> {
    /// The result, or why there is none.
    pub result: Result<T, CallError>,
    /// The server it went to.
    pub served_by: Option<ServedBy>,
}

impl<T> Reply<T> {
    /// Refused on the spot: nothing was sent.
    pub fn refused(reason: impl Into<String>) -> Self {
        Reply { result: Err(CallError::definite(reason)), served_by: None }
    }

    /// The same with what `f` makes of the result.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Result<U, CallError>) -> Reply<U> {
        Reply { result: self.result.and_then(f), served_by: self.served_by }
    }
}

/// One operation on the data under one key. A key holds one kind of data at a time; an operation of another
/// kind on it is refused, which is definite. Where nothing was stored yet, updates begin with nothing: 0, an
/// empty list.
///
/// Amounts and tokens are compared exactly up to 2^53.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Register: its value. → [`Answer::Value`]
    Get,
    /// Register: set it. → [`Answer::Done`]
    Set(String),
    /// Register: set it to `new` if it holds `expected`. → [`Answer::Applied`]
    Cas {
        /// What it must hold.
        expected: String,
        /// What it then gets.
        new: String,
    },
    /// Counter: add so much. → [`Answer::Number`], the count after it
    Add(i64),
    /// Counter: how much it is. → [`Answer::Number`]
    Count,
    /// List: put at its end. → [`Answer::Done`]
    Append(String),
    /// List: all of it, in order. → [`Answer::Items`]
    List,
    /// Set: put in, if it is not there yet. → [`Answer::Done`]
    Insert(String),
    /// Set: all of it, in any order. → [`Answer::Items`]
    Members,
    /// Queue: put at its end. → [`Answer::Done`]
    Enqueue(String),
    /// Queue: take the first out. → [`Answer::Value`], none when there is none
    Dequeue,
    /// Bank: create it with these accounts and balances; nothing happens to one that is there. →
    /// [`Answer::Done`]
    Open {
        /// Name and balance of each.
        accounts: Vec<(String, i64)>,
    },
    /// Bank: move money, if both accounts are there and none is overdrawn by it. → [`Answer::Applied`]
    Transfer {
        /// Who pays.
        from: String,
        /// Who is paid.
        to: String,
        /// How much, above 0.
        amount: i64,
    },
    /// Bank: all accounts at one instant. → [`Answer::Balances`]
    Balances,
    /// Guarded register: set it if no greater token has been seen under this key. → [`Answer::Applied`]
    Guarded {
        /// The fencing token that its writer was given, not negative.
        token: i64,
        /// What it then gets.
        value: String,
    },
    /// Guarded register: from now on refuse what comes with a smaller token; its value. What is to be written
    /// next depends on that value, so nobody with an older token may write between: a plain read would let
    /// that happen. → [`Answer::Value`], or a definite error `STALETOKEN` if a greater token has been seen
    Claim(i64),
    /// Guarded register: its value. → [`Answer::Value`]
    GuardedRead,
}

impl Command {
    /// Its name on the wire and in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Get => "get",
            Command::Set(_) => "set",
            Command::Cas { .. } => "cas",
            Command::Add(_) => "add",
            Command::Count => "count",
            Command::Append(_) => "append",
            Command::List => "list",
            Command::Insert(_) => "insert",
            Command::Members => "members",
            Command::Enqueue(_) => "enqueue",
            Command::Dequeue => "dequeue",
            Command::Open { .. } => "open",
            Command::Transfer { .. } => "transfer",
            Command::Balances => "balances",
            Command::Guarded { .. } => "guarded",
            Command::Claim(_) => "claim",
            Command::GuardedRead => "guarded-read",
        }
    }

    /// Does it only look? Then it may be asked anywhere and again; everything else may change something.
    pub fn is_read(&self) -> bool {
        match self {
            Command::Get
            | Command::Count
            | Command::List
            | Command::Members
            | Command::Balances
            | Command::GuardedRead => true,
            Command::Set(_)
            | Command::Cas { .. }
            | Command::Add(_)
            | Command::Append(_)
            | Command::Insert(_)
            | Command::Enqueue(_)
            | Command::Dequeue
            | Command::Open { .. }
            | Command::Transfer { .. }
            | Command::Guarded { .. }
            | Command::Claim(_) => false,
        }
    }

    /// May `answer` mean that something was changed? False for reads, for conditions that did not hold, and
    /// for a dequeue that found nothing.
    pub fn may_have_changed(&self, answer: &Answer) -> bool {
        let found_nothing = *self == Command::Dequeue && *answer == Answer::Value(None);
        !self.is_read() && *answer != Answer::Applied(false) && !found_nothing
    }
}

/// What a [`Command`] is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// Did its condition hold? Only then was it done.
    Applied(bool),
    /// A value, none where there is none.
    Value(Option<String>),
    /// A count.
    Number(i64),
    /// All elements.
    Items(Vec<String>),
    /// Balances by account; empty where no bank was opened.
    Balances(BTreeMap<String, i64>),
}

/// Why a store refuses what it does not offer.
const NOT_OFFERED: &str = "not offered by this store";

/// A sharded store as one client sees it: data under keys, locks, groups. Calls take `&mut self`: a client is
/// single-threaded.
///
/// A call has no deadline of its own: the caller drops the future when it has waited long enough, after
/// which the client must not reuse the connection that call was on (its reply may still come).
#[expect(async_fn_in_trait, reason = "clients live on current-thread runtimes, so futures need not be Send")]
pub trait Store {
    /// Tries `command` on `key`, once. An update is acknowledged only after as many replicas as configured have
    /// it. The answer is of the kind that the command names.
    async fn execute(&mut self, key: &str, command: &Command) -> Reply<Answer>;

    /// The value of register `key`, none if it was never written.
    async fn read(&mut self, key: &str) -> Reply<Option<String>> {
        self.execute(key, &Command::Get).await.and_then(|answer| match answer {
            Answer::Value(value) => Ok(value),
            _ => Err(CallError::unexpected()),
        })
    }

    /// Sets register `key`.
    async fn write(&mut self, key: &str, value: &str) -> Reply<()> {
        self.execute(key, &Command::Set(value.to_owned())).await.and_then(|answer| match answer {
            Answer::Done => Ok(()),
            _ => Err(CallError::unexpected()),
        })
    }

    /// Sets register `key` to `new` if it holds `expected`; `Ok(false)` is a mismatch: nothing was changed.
    async fn cas(&mut self, key: &str, expected: &str, new: &str) -> Reply<bool> {
        let command = Command::Cas { expected: expected.to_owned(), new: new.to_owned() };
        self.execute(key, &command).await.and_then(|answer| match answer {
            Answer::Applied(applied) => Ok(applied),
            _ => Err(CallError::unexpected()),
        })
    }

    /// Takes `lock`, waiting no longer than `patience`; returns its fencing token, greater than every token that
    /// lock has given before. Only a store with a lock service offers it.
    async fn acquire(&mut self, _lock: &str, _patience: Duration) -> Reply<i64> {
        Reply::refused(NOT_OFFERED)
    }

    /// Gives back `lock`, which was taken with `token`. Only a store with a lock service offers it.
    async fn release(&mut self, _lock: &str, _token: i64) -> Reply<()> {
        Reply::refused(NOT_OFFERED)
    }

    /// Makes this client a member of `group` under the name `member`; returns the incarnation of that membership,
    /// greater than those before. Of one that is a member already it is the question under which incarnation it
    /// certainly is: two equal answers mean that it was in the group all the time between. Only a store with group membership offers it.
    async fn join(&mut self, _group: &str, _member: &str) -> Reply<u64> {
        Reply::refused(NOT_OFFERED)
    }

    /// Ends this client's membership of `group`. Only a store with group membership offers it.
    async fn leave(&mut self, _group: &str) -> Reply<()> {
        Reply::refused(NOT_OFFERED)
    }

    /// Members of `group` with their incarnations, as of an instant within the call. Only a store with group
    /// membership offers it.
    async fn members(&mut self, _group: &str) -> Reply<Vec<(String, u64)>> {
        Reply::refused(NOT_OFFERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_or_only_looked_at_changed_nothing() {
        let cas = Command::Cas { expected: "a".into(), new: "b".into() };
        assert!(
            cas.may_have_changed(&Answer::Applied(true)) && !cas.may_have_changed(&Answer::Applied(false))
        );
        assert!(Command::Dequeue.may_have_changed(&Answer::Value(Some("a".into()))));
        assert!(!Command::Dequeue.may_have_changed(&Answer::Value(None)));
        assert!(Command::Claim(7).may_have_changed(&Answer::Value(None)));
        assert!(Command::Add(1).may_have_changed(&Answer::Number(1)));
        assert!(!Command::Count.may_have_changed(&Answer::Number(1)));
    }
}
