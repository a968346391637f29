//! The searches over a register with repeated values.
//!
//! First each for a moment: that settles nearly every history. Then two sides, and the first answer counts: one
//! widens its beam until it finds an order, the other lets the relaxed pass run to its end and then follows all
//! configurations.

use super::race::{Race, Settled};
use crate::Budget;
use crate::forward::{self, Mode, Report};
use crate::linear;
use crate::model::Entry;
use crate::model::register::{Register, RegisterCall};

/// Configurations kept at first while a yes is sought.
const BEAM_FIRST: usize = 16;

/// The same once depth-first search has found nothing.
const BEAM_NEXT: usize = 64;

/// Configurations that a search may visit in the first moment: some, and some for each operation.
const MOMENT_STATES: (u64, u64) = (8_192, 64);

/// The same for depth-first search before the next beam.
const DEPTH_STATES: (u64, u64) = (100_000, 64);

/// How many events before the end of what is proven indefinite operations begin to be counted.
const LATE_EVENTS: [u64; 3] = [128, 1_024, 8_192];

/// Settles a partition within a budget.
pub(crate) fn settle_within(entries: &[Entry<RegisterCall>], budget: &Budget) -> Settled {
    let mut race = Race::new(entries);
    let moment = at_most(MOMENT_STATES, entries, budget);
    if race.note(forward::pass(entries, Mode::Beam(BEAM_FIRST), &moment))
        || race.note(forward::pass(entries, Mode::Relaxed, &moment))
        || race.note(linear::search_report(&Register, entries, &moment))
    {
        return race.settled(budget);
    }
    let proven = race.proven();
    race.run(budget, |budget| widen(entries, budget), |budget| follow_all(entries, proven, budget));
    race.settled(budget)
}

/// A legal order, if one is found.
pub(crate) fn order(entries: &[Entry<RegisterCall>], budget: &Budget) -> Option<Vec<usize>> {
    let moment = at_most(DEPTH_STATES, entries, budget);
    let first = forward::pass_with_order(entries, Mode::Beam(BEAM_FIRST), &moment);
    if first.order.is_some() || first.complete && first.ended_by.is_none() {
        return first.order;
    }
    let depth = linear::search_report(&Register, entries, &moment);
    if depth.order.is_some() || depth.ended_by.is_none() {
        return depth.order;
    }
    forward::pass_with_order(entries, Mode::Beam(BEAM_NEXT), budget).order
}

fn at_most((some, each): (u64, u64), entries: &[Entry<RegisterCall>], budget: &Budget) -> Budget {
    let states = some + each * entries.len() as u64;
    Budget { states_max: budget.states_max.min(states), ..budget.clone() }
}

/// Depth-first search for some time, then a beam that widens as long as there is memory.
fn widen(entries: &[Entry<RegisterCall>], budget: Budget) -> impl Iterator<Item = Report> {
    let depth = at_most(DEPTH_STATES, entries, &budget);
    let depth = std::iter::once_with(move || linear::search_report(&Register, entries, &depth));
    depth.chain(std::iter::once_with(move || forward::pass(entries, Mode::Beam(BEAM_NEXT), &budget)))
}

/// More configurations than there are, closer and closer to what there is: a no that indefinite operations could
/// not help has mostly to do with the events just before the place to which an order is known. In the end exactly
/// those there are. Where more are open than a pass can follow, depth-first search.
fn follow_all(entries: &[Entry<RegisterCall>], proven: u64, budget: Budget) -> impl Iterator<Item = Report> {
    let depth = budget.clone();
    let too_wide = passes_are_too_wide(entries);
    let depth =
        too_wide.then(|| std::iter::once_with(move || linear::search_report(&Register, entries, &depth)));
    let late = LATE_EVENTS.into_iter().map(move |events| Mode::Late(proven.saturating_sub(events)));
    let modes = std::iter::once(Mode::Relaxed).chain(late).chain(std::iter::once(Mode::Exact));
    let passes = modes.map(move |mode| forward::pass(entries, mode, &of_mode(mode, entries, &budget)));
    depth.into_iter().flatten().chain(passes)
}

/// What lies between relaxed and exact is only tried for some time.
fn of_mode(mode: Mode, entries: &[Entry<RegisterCall>], budget: &Budget) -> Budget {
    match mode {
        Mode::Late(_) => at_most(DEPTH_STATES, entries, budget),
        _ => budget.clone(),
    }
}

/// Are more operations open at some time than a pass can follow?
fn passes_are_too_wide(entries: &[Entry<RegisterCall>]) -> bool {
    let mut open = 0usize;
    let mut widest = 0;
    for (position, i) in forward::edges(entries).filter(|&(_, i)| !entries[i].is_optional()) {
        open = if position == entries[i].inv { open + 1 } else { open.saturating_sub(1) };
        widest = open.max(widest);
    }
    widest > forward::OPEN_MAX
}
