//! `register`: read, write and compare-and-set, every written value unique.

use checker::stream::{Watch, WatchOptions};
use checker::{Checker, Linearizable};
use cluster::store::{Answer, CallError, Command};
use rand::rngs::ChaCha8Rng;

use crate::generator::Mix;
use crate::keyed::{Object, text};

/// A register, with the relative frequency of what is done to it.
#[derive(Debug, Clone)]
pub struct Register {
    mix: Mix<Kind>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Read,
    Write,
    Cas,
}

impl Register {
    /// With these weights; none when all are 0.
    pub fn new(reads: u32, writes: u32, cas: u32) -> Option<Self> {
        let mix = Mix::new([(Kind::Read, reads), (Kind::Write, writes), (Kind::Cas, cas)])?;
        Some(Register { mix })
    }
}

impl Default for Register {
    /// Half reads, 35 % writes, 15 % compare-and-sets.
    fn default() -> Self {
        Register::new(50, 35, 15).expect("weights above 0")
    }
}

impl Object for Register {
    /// The value last seen by any client.
    type Memory = Option<String>;

    fn name(&self) -> &'static str {
        "register"
    }

    fn draw(&self, rng: &mut ChaCha8Rng, unique: u64) -> Command {
        match self.mix.draw(rng) {
            Kind::Read => Command::Get,
            Kind::Write => Command::Set(text(unique)),
            Kind::Cas => Command::Cas { expected: String::new(), new: text(unique) },
        }
    }

    /// A compare-and-set expects what any client last saw under its key; where nothing was seen yet there is
    /// nothing to expect, and it becomes a read.
    fn prepare(&self, drawn: &Command, last_seen: &Option<String>) -> Command {
        match (drawn, last_seen) {
            (Command::Cas { .. }, None) => Command::Get,
            (Command::Cas { new, .. }, Some(seen)) => {
                Command::Cas { expected: seen.clone(), new: new.clone() }
            }
            _ => drawn.clone(),
        }
    }

    fn learn(&self, last_seen: &mut Option<String>, command: &Command, result: &Result<Answer, CallError>) {
        match (command, result) {
            (Command::Get, Ok(Answer::Value(value))) => last_seen.clone_from(value),
            (Command::Set(value), Ok(Answer::Done))
            | (Command::Cas { new: value, .. }, Ok(Answer::Applied(true))) => {
                *last_seen = Some(value.clone());
            }
            _ => {}
        }
    }

    fn final_reads(&self, _: &Option<String>) -> Vec<Command> {
        vec![Command::Get]
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Linearizable)]
    }

    fn watch(&self, lag_ns: u64) -> Option<Watch> {
        Some(Watch::new(WatchOptions { lag_ns, ..WatchOptions::default() }))
    }
}
