//! A proof in few operations: long chains of compare-and-sets are told, not shown.

use super::{Case, Proof};
use crate::model::register::{RegisterCall, ValueId};
use crate::unique::Hold;

/// Most operations that a proof from unique values shows.
const SHOWN_MAX: usize = 8;

/// What is shown of a proof, and what is said instead of the rest.
pub(super) struct Folded {
    /// Entries, ascending.
    pub(super) shown: Vec<usize>,
    /// How the values hang together whose compare-and-sets are not shown; empty where all are.
    pub(super) said: String,
}

impl Case<'_, '_> {
    pub(super) fn fold(&self, proof: &Proof, witnesses: &[usize]) -> Folded {
        let mut shown: Vec<usize> = proof.bare_entries();
        let cut = shown.len().saturating_sub(SHOWN_MAX);
        shown.truncate(SHOWN_MAX);
        shown.extend(witnesses);
        let mut support = proof.entries();
        support.retain(|entry| !shown.contains(entry));
        // Who wrote or saw a value says more than who passed it on.
        support.sort_by_key(|&entry| (matches!(self.call(entry), RegisterCall::Cas(..)), entry));
        shown.extend(support.iter().copied().take(SHOWN_MAX.saturating_sub(shown.len())));
        shown.sort_unstable();
        shown.dedup();
        let mut said = Vec::new();
        if cut > 0 {
            said.push(format!("these are {SHOWN_MAX} of {} compare-and-sets", cut + SHOWN_MAX));
        }
        for (one, other) in ends(proof) {
            said.extend(self.chain(one, other, &shown));
        }
        said.dedup();
        Folded { shown, said: said.iter().map(|said| format!("; {said}")).collect() }
    }

    /// How many compare-and-sets lead from the value of one entry to that of the other, if some are not shown.
    fn chain(&self, one: usize, other: usize, shown: &[usize]) -> Option<String> {
        let (one, other) = (self.value_of(one)?, self.value_of(other)?);
        let mut writers = vec![None; self.part.values_len().max(self.values_named())];
        for (entry, call) in self.part.entries.iter().enumerate() {
            if let RegisterCall::Cas(expected, new) = call.call {
                writers[new as usize] = Some((entry, expected));
            }
        }
        let path = |from: ValueId, to: ValueId| {
            let mut path = Vec::new();
            let mut value = to;
            while value != from {
                let (entry, expected) = writers[value as usize]?;
                path.push(entry);
                value = expected;
                if path.len() > writers.len() {
                    return None;
                }
            }
            Some((from, to, path))
        };
        let (from, to, path) = path(one, other).or_else(|| path(other, one))?;
        if self.part.values.is_empty() || path.iter().all(|entry| shown.contains(entry)) {
            return None;
        }
        let many = path.len();
        Some(match many {
            1 => format!("a {} leads from {} to {}", self.noun(path[0]), self.value(from), self.value(to)),
            _ => {
                format!("{many} {}s lead from {} to {}", self.noun(path[0]), self.value(from), self.value(to))
            }
        })
    }

    fn value_of(&self, entry: usize) -> Option<ValueId> {
        let call = self.call(entry);
        call.writes().or(call.needs())
    }

    fn values_named(&self) -> usize {
        let named = self
            .part
            .entries
            .iter()
            .flat_map(|entry| entry.call.writes().into_iter().chain(entry.call.needs()));
        named.max().map_or(0, |value| value as usize + 1)
    }
}

/// Pairs of entries whose values hang together by compare-and-sets.
fn ends(proof: &Proof) -> Vec<(usize, usize)> {
    let of = |hold: &Hold| hold.first_back.zip(hold.last_called);
    match proof {
        Proof::Order { early, late, .. } => vec![(*early, *late)],
        Proof::Denied { hold, .. } => of(hold).into_iter().collect(),
        Proof::Torn { older, newer } => of(older).into_iter().chain(of(newer)).collect(),
        Proof::NoWriter { .. } | Proof::TwoCas { .. } | Proof::CasCycle { .. } => Vec::new(),
    }
}
