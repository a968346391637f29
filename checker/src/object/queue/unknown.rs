//! Dequeues that nobody knows the fate of: which values may they have taken?
//!
//! Such a dequeue may have taken one value at any instant after its call, or none; two of them differ by their
//! calls alone. A value that nobody is known to have taken, though it certainly was put in, is *left*. It must
//! have been taken
//! - before the first return of a dequeue that took a value put in after it (its deadline);
//! - before the instant at which a dequeue found nothing, if it had been put in by then.
//!
//! So every question is one of counting: are there as many unknown dequeues called before some instant as values
//! that must be gone by then (Hall 1935; earliest deadline first)? That is exact but for the choice of the instant
//! at which each dequeue found nothing. Without any possible instant the answer is no. If the earliest ones, or
//! the latest ones, work for all of them at once, it is yes, and the completed history is judged once more to
//! prove it. Between the two a search decides.

use rustc_hash::FxHashMap;

use super::{Life, Part};
use crate::object::Broken;

/// What counting can say.
pub(super) enum Counted {
    /// The unknown dequeues can have taken what is missing.
    Explained,
    /// They cannot.
    Broken(Broken),
    /// Not decided.
    Open,
}

/// A value that was put in for certain and taken by nobody who is known.
#[derive(Clone, Copy)]
struct Left {
    /// Its enqueue.
    enqueue: usize,
    /// When it was in for certain.
    put: u64,
    /// Before which position it must be gone, `u64::MAX` if it may stay.
    deadline: u64,
}

/// The instants between events, each named by the event before it.
struct Instants {
    /// From when known values are in for certain, and until when, each ascending.
    held_from: Vec<u64>,
    held_until: Vec<u64>,
    /// Returns of the enqueues of values that are left, ascending.
    left: Vec<u64>,
    /// Calls of the unknown dequeues, ascending.
    unknown: Vec<u64>,
}

fn up_to(sorted: &[u64], position: u64) -> usize {
    sorted.partition_point(|&event| event <= position)
}

impl Instants {
    /// May the queue have been empty just after `position`?
    fn may_be_empty(&self, position: u64) -> bool {
        up_to(&self.held_from, position) == up_to(&self.held_until, position)
            && up_to(&self.left, position) <= up_to(&self.unknown, position)
    }

    /// Events within a span, its first one included: only there anything changes.
    fn within(&self, call: u64, ret: u64) -> Vec<u64> {
        let mut events = vec![call];
        for sorted in [&self.held_from, &self.held_until, &self.left, &self.unknown] {
            events.extend(&sorted[up_to(sorted, call)..up_to(sorted, ret - 1)]);
        }
        events.sort_unstable();
        events
    }
}

/// Judges a part of which [`Part::orders_of_taken`] holds.
pub(super) fn count(part: &Part<'_>) -> Counted {
    let left = left(part);
    if let Some(broken) = overtaken(part, &left) {
        return Counted::Broken(broken);
    }
    let instants = instants(part, &left);
    let (mut earliest, mut latest) = (Vec::new(), Vec::new());
    for &(place, call, ret) in &part.empties {
        let mut possible = instants.within(call, ret).into_iter().filter(|&at| instants.may_be_empty(at));
        let Some(first) = possible.next() else {
            return Counted::Broken(never_empty(part, &left, (place, call, ret)));
        };
        earliest.push(first);
        latest.push(possible.next_back().unwrap_or(first));
    }
    let explained = [earliest, latest].iter().any(|empty_at| is_explained(part, &left, empty_at));
    if explained { Counted::Explained } else { Counted::Open }
}

/// The values that are left, in order of deadline.
fn left(part: &Part<'_>) -> Vec<Left> {
    let mut taken: Vec<(u64, u64)> =
        part.lives.values().filter_map(|life| life.taken.map(|(_, _, ret)| (life.put.0, ret))).collect();
    taken.sort_unstable();
    // The first return of a dequeue among those that took what was put in from here on.
    let mut first_ret = vec![u64::MAX; taken.len() + 1];
    for (i, &(_, ret)) in taken.iter().enumerate().rev() {
        first_ret[i] = first_ret[i + 1].min(ret);
    }
    let deadline = |put: u64| first_ret[taken.partition_point(|&(call, _)| call <= put)];
    let is_left = |life: &&Life| life.taken.is_none() && life.put.1 != u64::MAX;
    let mut left: Vec<Left> = part
        .lives
        .values()
        .filter(is_left)
        .map(|life| Left { enqueue: life.enqueue, put: life.put.1, deadline: deadline(life.put.1) })
        .collect();
    left.sort_by_key(|left| (left.deadline, left.put));
    left
}

/// Too few unknown dequeues were called in time for the values that were overtaken.
fn overtaken(part: &Part<'_>, left: &[Left]) -> Option<Broken> {
    let must_go = left.iter().take_while(|left| left.deadline != u64::MAX);
    let (number, last) = must_go
        .enumerate()
        .find(|(i, left)| part.unknown_takes.get(*i).is_none_or(|&(_, call)| call >= left.deadline))?;
    let overtaking = part
        .lives
        .values()
        .filter(|life| life.put.0 > last.put)
        .find(|life| life.taken.is_some_and(|(_, _, ret)| ret == last.deadline))?;
    let reason = if number == 0 {
        "a value was never dequeued, although one that was enqueued after it was".to_string()
    } else {
        format!(
            "{} values were never dequeued, although one that was enqueued after them was, and only {number} dequeues \
             that nobody knows the fate of can have taken them",
            number + 1
        )
    };
    let take = overtaking.taken.map(|(place, ..)| place);
    let unknown = part.unknown_takes.iter().take(number).map(|&(place, _)| place);
    let gone = left[..number].iter().rev().map(|left| left.enqueue);
    let places = [last.enqueue, overtaking.enqueue].into_iter().chain(take).chain(gone).chain(unknown);
    Some(Broken::new("lost-value", places.collect(), reason))
}

fn never_empty(part: &Part<'_>, left: &[Left], (place, _, ret): (usize, u64, u64)) -> Broken {
    let mut there: Vec<&Left> = left.iter().filter(|left| left.put < ret).collect();
    there.sort_by_key(|left| left.put);
    let unknown = part.unknown_takes.iter().filter(|&&(_, call)| call < ret).map(|&(place, _)| place);
    let places = std::iter::once(place).chain(there.iter().map(|left| left.enqueue)).chain(unknown);
    let reason = "a dequeue found nothing, although at every instant of it some value was there that no dequeue, known \
                  or unknown, can have taken";
    Broken::new("false-empty", places.collect(), reason.to_string())
}

fn instants(part: &Part<'_>, left: &[Left]) -> Instants {
    let held = |life: &Life| {
        let (_, until, _) = life.taken?;
        (life.put.1 < until).then_some((life.put.1, until))
    };
    let (mut held_from, mut held_until): (Vec<u64>, Vec<u64>) = part.lives.values().filter_map(held).unzip();
    let mut put: Vec<u64> = left.iter().map(|left| left.put).collect();
    held_from.sort_unstable();
    held_until.sort_unstable();
    put.sort_unstable();
    let unknown = part.unknown_takes.iter().map(|&(_, call)| call).collect();
    Instants { held_from, held_until, left: put, unknown }
}

/// Is there nothing against the history if the queue was empty just after these positions?
fn is_explained(part: &Part<'_>, left: &[Left], empty_at: &[u64]) -> bool {
    let mut empty_at = empty_at.to_vec();
    empty_at.sort_unstable();
    let deadline = |left: &Left| {
        let empty = empty_at.get(empty_at.partition_point(|&at| at < left.put));
        left.deadline.min(empty.map_or(u64::MAX, |&at| at + 1))
    };
    let mut due: Vec<(u64, usize)> = left.iter().map(|left| (deadline(left), left.enqueue)).collect();
    due.retain(|&(deadline, _)| deadline != u64::MAX);
    due.sort_unstable();
    if due.len() > part.unknown_takes.len() {
        return false;
    }
    let takes: FxHashMap<usize, (usize, u64)> =
        due.iter().zip(&part.unknown_takes).map(|(&(_, enqueue), &take)| (enqueue, take)).collect();
    let mut whole = part.clone();
    for life in whole.lives.values_mut() {
        if let Some(&(place, call)) = takes.get(&life.enqueue) {
            life.taken = Some((place, call, u64::MAX));
        }
    }
    whole.orders_of_taken().is_ok() && whole.what_was_left().is_ok() && whole.empties().is_ok()
}
