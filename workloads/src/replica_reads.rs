//! `replica-reads`: writes at the masters, reads at the replicas, judged by what such reads promise: no value that
//! was overwritten longer ago than a bound.

use std::time::Duration;

use checker::object::staleness::{BoundedStaleness, monotonic_reads};
use checker::{Checker, History};
use cluster::store::Command;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::keyed::{Object, text};

/// Registers whose reads may be behind; 60 % of what is done reads.
#[derive(Debug, Clone, Copy)]
pub struct ReplicaReads {
    /// How far behind.
    pub staleness_max: Duration,
}

impl Object for ReplicaReads {
    type Memory = ();

    fn name(&self) -> &'static str {
        "replica-reads"
    }

    fn draw(&self, rng: &mut ChaCha8Rng, unique: u64) -> Command {
        if rng.random_ratio(2, 5) { Command::Set(text(unique)) } else { Command::Get }
    }

    fn final_reads(&self, (): &()) -> Vec<Command> {
        vec![Command::Get]
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(BoundedStaleness { bound_ns: self.staleness_max.as_nanos() as u64 })]
    }

    fn observations(&self, history: &History) -> Vec<String> {
        let seen = monotonic_reads(history);
        vec![format!(
            "{} of {} reads showed a client an older value than it had read before (not promised, not judged)",
            seen.back, seen.reads
        )]
    }
}
