//! `set`: add elements, each once, and read all.

use checker::Checker;
use checker::object::set::GrowSet;
use cluster::store::Command;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::keyed::{Object, text};

/// A set that only grows; 60 % of what is done adds to it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Set;

impl Object for Set {
    type Memory = ();

    fn name(&self) -> &'static str {
        "set"
    }

    /// A read shows all there is: its length in the history is that of the set.
    fn ops_per_key_max(&self) -> Option<u64> {
        Some(300)
    }

    fn draw(&self, rng: &mut ChaCha8Rng, unique: u64) -> Command {
        if rng.random_ratio(3, 5) { Command::Insert(text(unique)) } else { Command::Members }
    }

    fn final_reads(&self, (): &()) -> Vec<Command> {
        vec![Command::Members]
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(GrowSet)]
    }
}
