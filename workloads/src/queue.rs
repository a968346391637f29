//! `queue`: put values in, each once, and take the oldest out; in the end take out all that is left.

use checker::Checker;
use checker::object::queue;
use cluster::store::{Answer, CallError, Command};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::keyed::{Object, text};

/// A first-in-first-out queue; half of what is done puts a value in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Queue;

/// How many values may be in a queue.
#[derive(Debug, Clone, Copy, Default)]
pub struct Left(u64);

impl Object for Queue {
    type Memory = Left;

    fn name(&self) -> &'static str {
        "queue"
    }

    /// Dequeues that nobody knows the fate of are judged by search.
    fn ops_per_key_max(&self) -> Option<u64> {
        Some(300)
    }

    fn draw(&self, rng: &mut ChaCha8Rng, unique: u64) -> Command {
        if rng.random_ratio(1, 2) { Command::Enqueue(text(unique)) } else { Command::Dequeue }
    }

    fn learn(&self, left: &mut Left, command: &Command, result: &Result<Answer, CallError>) {
        match (command, result) {
            (Command::Enqueue(_), Err(error)) if error.definite => {}
            (Command::Enqueue(_), _) => left.0 += 1,
            // What was taken out may have been put in by a call that is still under way.
            (Command::Dequeue, Ok(Answer::Value(Some(_)))) => left.0 = left.0.saturating_sub(1),
            _ => {}
        }
    }

    /// As many dequeues as empty it, and one more to see it empty.
    fn final_reads(&self, left: &Left) -> Vec<Command> {
        vec![Command::Dequeue; left.0 as usize + 1]
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(queue::Queue)]
    }
}
