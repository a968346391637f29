//! How much of one way of a connection has arrived.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of one way of a connection that its receiver has acknowledged, counted as they were delivered. Clones are the
/// same; it can be read when the connection is long gone.
#[derive(Clone, Debug, Default)]
pub struct Receipt(Arc<AtomicU64>);

impl Receipt {
    /// How many so far.
    pub fn acknowledged(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// So many are known to have arrived.
    pub fn note(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}
