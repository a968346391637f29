//! What a client may ask of the cluster, real or fake: one attempt per call, a definite or an indefinite
//! answer, never a hidden retry.

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

/// A sharded key-value store as one client sees it. Calls take `&mut self`: a client is single-threaded.
///
/// A call has no deadline of its own: the caller drops the future when it has waited long enough, after
/// which the client must not reuse the connection that call was on (its reply may still come).
#[expect(async_fn_in_trait, reason = "clients live on current-thread runtimes, so futures need not be Send")]
pub trait Store {
    /// The value of `key`, none if it was never written.
    async fn read(&mut self, key: &str) -> Reply<Option<String>>;

    /// Sets `key`; acknowledged only after as many replicas as configured have it.
    async fn write(&mut self, key: &str, value: &str) -> Reply<()>;

    /// Sets `key` to `new` if it holds `expected`; `Ok(false)` is a mismatch: nothing was changed.
    async fn cas(&mut self, key: &str, expected: &str, new: &str) -> Reply<bool>;
}
