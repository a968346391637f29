//! Stores of no cluster at all: one that keeps its data in one place, and one that keeps nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::datum::{self, Datum};
use crate::store::{Answer, CallError, Command, Reply, ServedBy, Store};

/// One server without a network: every command is done at once, as the cluster would do it. Clones share their
/// data. The yardstick for clients and scripts.
#[derive(Debug, Clone, Default)]
pub struct Solo {
    data: Arc<Mutex<HashMap<String, Option<Datum>>>>,
    failing: Option<CallError>,
}

impl Solo {
    /// The same data, but every call ends with `error` and does nothing.
    pub fn failing(&self, error: CallError) -> Self {
        Solo { data: self.data.clone(), failing: Some(error) }
    }

    /// Carries out `command` on `key`.
    pub fn apply(&self, key: &str, command: &Command) -> Result<Answer, CallError> {
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        datum::apply(data.entry(key.to_owned()).or_default(), command)
    }
}

impl Store for Solo {
    async fn execute(&mut self, key: &str, command: &Command) -> Reply<Answer> {
        let result = self.failing.clone().map_or_else(|| self.apply(key, command), Err);
        Reply { result, served_by: Some(ServedBy { shard: 0, epoch: 1, node: "solo".into() }) }
    }
}

/// A store that acknowledges everything at once and keeps nothing: what the harness itself costs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Noop;

impl Store for Noop {
    async fn execute(&mut self, _key: &str, command: &Command) -> Reply<Answer> {
        let result = datum::apply(&mut None, command).map(|answer| match answer {
            Answer::Applied(_) => Answer::Applied(true),
            other => other,
        });
        Reply { result, served_by: None }
    }
}
