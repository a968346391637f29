//! `counter`: add one, and read how many there were.

use checker::Checker;
use checker::object::counter;
use cluster::store::Command;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::keyed::Object;

/// A counter; half of what is done adds one to it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counter;

impl Object for Counter {
    type Memory = ();

    fn name(&self) -> &'static str {
        "counter"
    }

    fn draw(&self, rng: &mut ChaCha8Rng, _unique: u64) -> Command {
        if rng.random_ratio(1, 2) { Command::Add(1) } else { Command::Count }
    }

    fn final_reads(&self, (): &()) -> Vec<Command> {
        vec![Command::Count]
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(counter::Counter)]
    }
}
