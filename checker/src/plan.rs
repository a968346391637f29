//! Which engine judges a register, and in what order they are asked.

use crate::linear::{self, Deepest, Search};
use crate::model::register::{Register, RegisterPart};
use crate::reduce::reduce;
use crate::unique::{self, Proof, Unique};

/// What is known about one partition of a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// A legal order, as places in the entries; see [`replay`](crate::replay).
    Legal(Vec<usize>),
    /// None exists, and why.
    Illegal(Proof),
    /// None exists: every order was tried.
    Exhausted(Deepest),
    /// The budget ended first.
    Unknown(Deepest),
}

/// Judges one partition: by unique values where they are unique, by search otherwise.
pub fn decide(part: &RegisterPart<'_>, states_max: u64) -> Decision {
    match unique::check(&part.entries, part.values_len()) {
        Unique::Legal(order) => Decision::Legal(order),
        Unique::Illegal(proof) => Decision::Illegal(proof),
        Unique::Undecided => by_search(part, states_max),
        Unique::NotUnique => match unique::no_writer(&part.entries, part.values_len()) {
            Some(proof) => Decision::Illegal(proof),
            None => by_search(part, states_max),
        },
    }
}

/// Judges one partition by search alone.
pub fn by_search(part: &RegisterPart<'_>, states_max: u64) -> Decision {
    let reduced = reduce(&part.entries, part.values_len());
    let back = |deepest: Deepest| Deepest { stuck: deepest.stuck.map(|i| reduced.places[i]), ..deepest };
    match linear::search(&Register, &reduced.entries, states_max) {
        Search::Linearizable { order, .. } => {
            Decision::Legal(order.into_iter().map(|i| reduced.places[i]).collect())
        }
        Search::Impossible(deepest) => Decision::Exhausted(back(deepest)),
        Search::OutOfBudget(deepest) => Decision::Unknown(back(deepest)),
    }
}
