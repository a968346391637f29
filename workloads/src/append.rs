//! `append`: append elements to a list, each once, and read it whole.

use checker::Checker;
use checker::object::list::AppendList;
use cluster::store::Command;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::keyed::{Object, text};

/// A list that is only appended to; 60 % of what is done appends.
#[derive(Debug, Clone, Copy, Default)]
pub struct Append;

impl Object for Append {
    type Memory = ();

    fn name(&self) -> &'static str {
        "append"
    }

    /// A read shows all there is: its length in the history is that of the list.
    fn ops_per_key_max(&self) -> Option<u64> {
        Some(300)
    }

    fn draw(&self, rng: &mut ChaCha8Rng, unique: u64) -> Command {
        if rng.random_ratio(3, 5) { Command::Append(text(unique)) } else { Command::List }
    }

    fn final_reads(&self, (): &()) -> Vec<Command> {
        vec![Command::List]
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(AppendList)]
    }
}
