//! Which engine judges a register, and in what order they are asked.

mod compete;
pub(crate) mod race;

use crate::linear::Deepest;
use crate::model::Entry;
use crate::model::register::{RegisterCall, RegisterPart};
use crate::reduce::{Reduced, reduce};
use crate::unique::{self, Proof, Unique};
use crate::{Budget, Undecided};
pub(crate) use compete::settle_within;
pub(crate) use race::Settled;

/// What is known about one partition of a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// A legal order exists; [`witness`] gives one.
    Legal,
    /// None exists, and why.
    Illegal(Proof),
    /// None exists: the searches exhausted all.
    Exhausted(Deepest),
    /// The budget ended first.
    Unknown(Undecided),
}

/// Judges one partition: by unique values where they are unique, by search otherwise.
pub fn decide(part: &RegisterPart<'_>, budget: &Budget) -> Decision {
    decide_by(part, budget).1
}

/// The same, after the engine that decided: `unique` or `search`.
pub fn decide_by(part: &RegisterPart<'_>, budget: &Budget) -> (&'static str, Decision) {
    match unique::check(&part.entries, part.values_len()) {
        Unique::Legal => ("unique", Decision::Legal),
        Unique::Illegal(proof) => ("unique", Decision::Illegal(proof)),
        Unique::Undecided => ("search", by_search(part, budget)),
        Unique::NotUnique => match unique::no_writer(&part.entries, part.values_len()) {
            Some(proof) => ("search", Decision::Illegal(proof)),
            None => ("search", by_search(part, budget)),
        },
    }
}

/// Judges one partition without the help of unique values.
pub fn by_search(part: &RegisterPart<'_>, budget: &Budget) -> Decision {
    let reduced = reduce(&part.entries, part.values_len());
    let settled = settle_within(&reduced.entries, budget);
    let deepest = settled.deepest;
    let deepest = Deepest { stuck: deepest.stuck.map(|i| reduced.places[i]), ..deepest };
    match (settled.legal, settled.undecided) {
        (Some(true), _) => Decision::Legal,
        (Some(false), _) | (None, None) => Decision::Exhausted(deepest),
        (None, Some(undecided)) => Decision::Unknown(undecided),
    }
}

/// What the searches say about a partition, within so many states.
pub(crate) fn settle(entries: &[Entry<RegisterCall>], budget: &Budget) -> Settled {
    settle_within(entries, budget)
}

/// A legal order, as places in the entries, that [`replay`](crate::replay) accepts; none where [`decide`] does
/// not say `Legal`.
pub fn witness(part: &RegisterPart<'_>, budget: &Budget) -> Option<Vec<usize>> {
    unique::witness(&part.entries, part.values_len()).or_else(|| witness_by_search(part, budget))
}

/// The same by search alone.
pub fn witness_by_search(part: &RegisterPart<'_>, budget: &Budget) -> Option<Vec<usize>> {
    let Reduced { entries, places } = reduce(&part.entries, part.values_len());
    let order = compete::order(&entries, budget)?;
    Some(order.into_iter().map(|i| places[i]).collect())
}
