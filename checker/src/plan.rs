//! Which engine judges a register, and in what order they are asked.

use crate::Budget;
use crate::forward::{self, Forward};
use crate::linear::{self, Deepest, Search};
use crate::model::Entry;
use crate::model::register::{Register, RegisterCall, RegisterPart};
use crate::reduce::reduce;
use crate::unique::{self, Proof, Unique};

/// Configurations kept while a yes is sought by a forward pass.
const BEAM_WIDTHS: [usize; 2] = [64, 1024];

/// States that depth-first search may visit before the forward pass is asked.
const FIRST_TRY_STATES: u64 = 200_000;

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
    Unknown(Deepest),
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

/// Search states within the budget; each costs about 100 bytes.
pub(crate) fn states_max(budget: &Budget) -> u64 {
    budget.states_max.min(budget.bytes_max / 100)
}

/// Judges one partition without the help of unique values.
pub fn by_search(part: &RegisterPart<'_>, budget: &Budget) -> Decision {
    let reduced = reduce(&part.entries, part.values_len());
    let settled = settle(&reduced.entries, states_max(budget));
    let deepest = settled.deepest;
    let deepest = Deepest { stuck: deepest.stuck.map(|i| reduced.places[i]), ..deepest };
    match settled.legal {
        Some(true) => Decision::Legal,
        Some(false) => Decision::Exhausted(deepest),
        None => Decision::Unknown(deepest),
    }
}

/// What the searches say about a partition.
pub(crate) struct Settled {
    /// None when the budget ended first.
    pub(crate) legal: Option<bool>,
    pub(crate) deepest: Deepest,
    /// How much of the budget was spent.
    pub(crate) spent: u64,
}

/// Asks the searches in turn: depth first finds most orders quickly; where it does not, there often is none,
/// and the relaxed pass knows that soonest; then beams, and depth first again with all that is left.
pub(crate) fn settle(entries: &[Entry<RegisterCall>], states_max: u64) -> Settled {
    let first_try = states_max.min(FIRST_TRY_STATES);
    let first = depth_first(entries, first_try);
    if first.legal.is_some() || first_try == states_max {
        return first;
    }
    let forward_max = (states_max - first_try) / 2;
    let (found, visited) = forward::relaxed(entries, forward_max);
    let mut spent = first_try + visited;
    match found {
        Forward::Impossible { at } => {
            let deepest = Deepest { stuck: Some(at), ..first.deepest };
            return Settled { legal: Some(false), deepest, spent };
        }
        Forward::Possible { exact: true } => return Settled { legal: Some(true), spent, ..first },
        Forward::Possible { exact: false } | Forward::TooLarge => {}
    }
    for width in BEAM_WIDTHS {
        let (legal, visited) = forward::beam(entries, width, (states_max - spent) / 2);
        spent += visited;
        if legal {
            return Settled { legal: Some(true), spent, ..first };
        }
    }
    let rest = depth_first(entries, states_max - spent);
    Settled { spent: rest.spent + spent, ..rest }
}

fn depth_first(entries: &[Entry<RegisterCall>], states_max: u64) -> Settled {
    match linear::search(&Register, entries, states_max) {
        Search::Linearizable { states, .. } => {
            Settled { legal: Some(true), deepest: Deepest::default(), spent: states }
        }
        Search::Impossible(deepest) => Settled { legal: Some(false), deepest, spent: deepest.states },
        Search::OutOfBudget(deepest) => Settled { legal: None, deepest, spent: states_max },
    }
}

/// A legal order, as places in the entries, that [`replay`](crate::replay) accepts; none where [`decide`] does
/// not say `Legal`, or where finding an order takes more than knowing that there is one.
pub fn witness(part: &RegisterPart<'_>, budget: &Budget) -> Option<Vec<usize>> {
    unique::witness(&part.entries, part.values_len()).or_else(|| witness_by_search(part, budget))
}

/// The same by depth-first search alone.
pub fn witness_by_search(part: &RegisterPart<'_>, budget: &Budget) -> Option<Vec<usize>> {
    let reduced = reduce(&part.entries, part.values_len());
    match linear::search(&Register, &reduced.entries, states_max(budget)) {
        Search::Linearizable { order, .. } => Some(order.into_iter().map(|i| reduced.places[i]).collect()),
        Search::Impossible(_) | Search::OutOfBudget(_) => None,
    }
}
