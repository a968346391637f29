//! A contradiction as an [`Anomaly`]: its name, the operations that prove it, a sentence, a drawing.

mod fold;
mod provenance;
mod shrink;
mod speech;

pub(crate) use speech::spoken;

use crate::history::draw;
use crate::linear::Deepest;
use crate::model::Entry;
use crate::model::register::{RegisterCall, RegisterPart};
use crate::unique::{self, Hold, Proof, Unique};
use crate::{Anomaly, Budget, History, Op, Undecided};

/// Most operations an anomaly found by search lists; of a larger core the last of them are shown.
const OPS_MAX: usize = 24;

/// Most search states that are spent on making a proof small.
const SHRINK_STATES_MAX: u64 = 2_000_000;

/// One partition, with what is needed to speak about it.
pub(crate) struct Case<'c, 'h> {
    pub(crate) history: &'h History,
    pub(crate) part: &'c RegisterPart<'h>,
    pub(crate) key: String,
}

/// A name from the literature and a sentence.
type Told = (&'static str, String);

impl Case<'_, '_> {
    /// A proof from unique values.
    pub(crate) fn proven(&self, proof: &Proof) -> Anomaly {
        self.proven_by(proof, &[])
    }

    /// A proof from unique values, with those entries that show what indirectly followed from them.
    pub(crate) fn proven_by(&self, proof: &Proof, witnesses: &[usize]) -> Anomaly {
        let mut told = match proof {
            Proof::NoWriter { entry, support } => return self.no_writer(*entry, support),
            Proof::TwoCas { first, second, .. } => self.two_cas(*first, *second),
            Proof::CasCycle { entries, .. } => self.cas_cycle(entries),
            Proof::Order { early, late, .. } => self.order(*early, *late),
            Proof::Denied { entry, hold } => self.denied(*entry, hold),
            Proof::Torn { older, newer } => self.torn(older, newer),
        };
        if let Some(&witness) = witnesses.first() {
            told.1.push_str(&format!(", as the {} shows", self.subject(witness)));
        }
        let folded = self.fold(proof, witnesses);
        told.1.push_str(&folded.said);
        self.build(told, folded.shown.iter().map(|&i| self.part.entries[i].op).collect())
    }

    /// The outcome of an exhaustive search: shrunk to a small core, and told as a proof where its values are
    /// unique.
    pub(crate) fn searched(&self, deepest: Deepest, budget: &Budget) -> Anomaly {
        let core = shrink::core(&self.part.entries, self.part.values_len(), &deepest, budget);
        let (core, is_window) = (core.places(), core.is_window);
        let entries: Vec<Entry<RegisterCall>> = core.iter().map(|&i| self.part.entries[i]).collect();
        if !is_window && let Unique::Illegal(proof) = unique::check(&entries, self.part.values_len()) {
            return self.proven(&proof.renumbered(&core));
        }
        let stuck = deepest.stuck.filter(|stuck| core.contains(stuck));
        let (mut told, shown) = if core.len() <= OPS_MAX {
            (self.exhausted(&core, stuck), core)
        } else {
            self.at_the_end(&core, stuck)
        };
        if is_window {
            told.1.insert_str(0, "whatever the register held before, ");
        }
        self.build(told, shown.into_iter().map(|i| self.part.entries[i].op).collect())
    }

    /// What was found out otherwise, from places in `History::ops`.
    pub(crate) fn told(&self, name: &'static str, places: Vec<usize>, reason: String) -> Anomaly {
        self.build((name, reason), places)
    }

    /// Why there is no answer.
    pub(crate) fn undecided(&self, undecided: &Undecided) -> String {
        let place = if self.key.is_empty() { String::new() } else { format!("key {}: ", self.key) };
        format!("{place}{undecided}")
    }

    fn two_cas(&self, first: usize, second: usize) -> Told {
        let expected = self.call(first).needs().map(|value| self.value(value)).unwrap_or_default();
        let (first, second) = (self.subject(first), self.subject(second));
        let reason = format!(
            "the {first} and the {second} both took effect, although {expected} was there only once to be replaced"
        );
        ("split-cas", reason)
    }

    fn cas_cycle(&self, entries: &[usize]) -> Told {
        let values: Vec<String> =
            entries.iter().filter_map(|&i| self.call(i).needs()).map(|value| self.value(value)).collect();
        let reason = format!(
            "compare-and-sets replaced each of {} by the next, and nobody else wrote any of them: none can have \
             been the first",
            values.join(", ")
        );
        ("cas-cycle", reason)
    }

    fn order(&self, early: usize, late: usize) -> Told {
        if self.call(late).writes().is_some() {
            let reason = format!(
                "the {} had returned before the {} began, on which it depends",
                self.subject(early),
                self.subject(late)
            );
            return ("future-read", reason);
        }
        let reason = format!("{}, although {} before it began", self.claim(late), self.outcome(early));
        let held = self.call(late).needs().map(|value| self.value(value)).unwrap_or_default();
        ("stale-read", format!("{reason}, and that came after {held} by compare-and-set"))
    }

    fn torn(&self, older: &Hold, newer: &Hold) -> Told {
        // Zones that clash have a last call: a register's mere beginning clashes with nothing.
        let (Some(witness), Some(known), Some(began)) =
            (older.last_called, newer.first_back, newer.last_called)
        else {
            return ("non-linearizable", "the blocks of two values cannot be ordered".to_string());
        };
        let mut reason = format!("{}, although {} before it began", self.claim(witness), self.outcome(known));
        if let Some(before) = older.first_back {
            let began = if began == known {
                format!("that {} itself", self.noun(began))
            } else {
                format!("the {}", self.subject(began))
            };
            reason.push_str(&format!(
                ", and {began} began only after the {} had returned",
                self.subject(before)
            ));
        }
        let is_update = matches!(self.call(witness), RegisterCall::Cas(..));
        let name = match newer.is_unseen || is_update {
            true if self.is_append(known) => "lost-element",
            true => "lost-update",
            false => "stale-read",
        };
        (name, reason)
    }

    fn denied(&self, entry: usize, hold: &Hold) -> Told {
        let mut reason = format!("the {} failed on a mismatch", self.subject(entry));
        match (hold.first_back, hold.last_called) {
            (Some(before), Some(after)) => {
                let after = self.claim(after);
                reason.push_str(&format!(
                    ", although {} before it began, and after it {after}",
                    self.outcome(before)
                ));
            }
            (None, Some(after)) => {
                reason.push_str(&format!(
                    ", although that was there from the start, and after it {}",
                    self.claim(after)
                ));
            }
            _ => {}
        }
        ("false-mismatch", reason)
    }

    fn exhausted(&self, core: &[usize], stuck: Option<usize>) -> Told {
        let refused = core.iter().copied().find(|&i| matches!(self.call(i), RegisterCall::Differs(_)));
        if let Some(entry) = refused {
            let held = match self.call(entry) {
                RegisterCall::Differs(value) => self.value(value),
                _ => String::new(),
            };
            let reason = format!(
                "the {} failed on a mismatch, although by what the others saw the register held {held} all the \
                 while",
                self.subject(entry)
            );
            return ("false-mismatch", reason);
        }
        let stop = match stuck {
            Some(entry) => format!(", and the {} fits into none", self.subject(entry)),
            None => String::new(),
        };
        (
            "non-linearizable",
            format!("no order of these {} operations explains what they saw{stop}", core.len()),
        )
    }

    /// A core too large to show: the operations around the place where every order ends.
    fn at_the_end(&self, core: &[usize], stuck: Option<usize>) -> (Told, Vec<usize>) {
        let last_back =
            |&i: &usize| (!self.part.entries[i].is_optional()).then_some(self.part.entries[i].ret);
        let end = match stuck {
            Some(entry) => self.part.entries[entry].ret,
            None => core.iter().filter_map(last_back).max().unwrap_or(u64::MAX),
        };
        let mut shown: Vec<usize> =
            core.iter().copied().filter(|&i| self.part.entries[i].inv < end).collect();
        // Those that were back last before the end, or were still open then, decide what is possible there.
        shown.sort_by_key(|&i| (self.part.entries[i].ret.min(end), self.part.entries[i].inv));
        let shown = shown.split_off(shown.len().saturating_sub(OPS_MAX / 2));
        let stop =
            stuck.map_or(String::new(), |entry| format!(" before the {} returned", self.subject(entry)));
        let reason = format!(
            "no order of {} operations explains what they saw{stop}; these are the last {} of them",
            core.len(),
            shown.len()
        );
        (("non-linearizable", reason), shown)
    }

    /// An anomaly from places in `History::ops`.
    fn build(&self, told: Told, mut places: Vec<usize>) -> Anomaly {
        debug_assert!(
            crate::anomalies::meaning(told.0).is_some(),
            "{} is not in the table of anomalies",
            told.0
        );
        places.sort_unstable();
        places.dedup();
        let ops: Vec<&Op> = places.iter().map(|&i| &self.history.ops[i]).collect();
        Anomaly {
            name: told.0.to_string(),
            key: self.key.clone(),
            ops: ops.iter().map(|op| op.index).collect(),
            reason: told.1,
            drawing: draw(&ops),
        }
    }
}
