//! Any object a user can describe: a [`Model`] and how to read operations as its calls.
//!
//! ```
//! use checker::general::{General, Object};
//! use checker::history::sketch;
//! use checker::model::Model;
//! use checker::{Budget, Checker, Op, OpEnd};
//!
//! /// Hands out 1, 2, 3, …
//! struct Tickets;
//!
//! impl Model for Tickets {
//!     type State = i64;
//!     /// The ticket, or none when nobody knows which.
//!     type Call = Option<i64>;
//!
//!     fn init(&self) -> i64 {
//!         0
//!     }
//!
//!     fn step(&self, last: &i64, ticket: &Option<i64>) -> Option<i64> {
//!         ticket.is_none_or(|ticket| ticket == last + 1).then_some(last + 1)
//!     }
//!
//!     fn is_pure(&self, _: &Option<i64>) -> bool {
//!         false
//!     }
//! }
//!
//! impl Object for Tickets {
//!     fn call(&self, op: &Op) -> Result<Option<Option<i64>>, String> {
//!         match (&*op.f, op.end) {
//!             ("draw", OpEnd::Fail) => Ok(None),
//!             ("draw", OpEnd::Info) => Ok(Some(None)),
//!             ("draw", OpEnd::Ok) => Ok(Some(op.output.as_i64())),
//!             (f, _) => Err(format!("`{f}` is not draw")),
//!         }
//!     }
//! }
//!
//! let tickets = General::new("tickets", Tickets);
//! let verdict = |drawing| tickets.check(&sketch::history(drawing).expect("well drawn"), &Budget::default()).word();
//! assert_eq!(verdict("p0 |-draw()=1-|  |-draw()-?\np1 |-draw()=3-|"), "invalid");
//! assert_eq!(verdict("p0 |-draw()=1-|  |-draw()-?\np1                   |-draw()=3-|"), "valid");
//! ```

mod core;

use crate::forward::Report;
use crate::keys::judge_keys;
use crate::linear::{self, local};
use crate::model::{Entry, Model, Partition};
use crate::object::Case;
use crate::plan::race::{Race, Settled};
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Undecided, Verdict};
pub use core::{Core, core};

/// Operations shown of a contradiction found by search.
const SHOWN_MAX: usize = 12;

/// Configurations that depth-first search may visit before it has competition: some, and some for each
/// operation.
const MOMENT_STATES: (u64, u64) = (8_192, 32);

/// What is known about the calls of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A legal order exists.
    Legal,
    /// None exists.
    Illegal,
    /// The budget ended first.
    Unknown(Undecided),
}

/// Is there a legal order of `entries`? Depth-first search for a moment, which finds most orders; then, on
/// another thread, also the forward pass, which says no without going back through all the history.
pub fn judge<M>(model: &M, entries: &[Entry<M::Call>], budget: &Budget) -> Answer
where
    M: Model + Sync,
    M::Call: Sync,
{
    let mut race = Race::new(entries);
    let moment = MOMENT_STATES.0 + MOMENT_STATES.1 * entries.len() as u64;
    let moment = Budget { states_max: budget.states_max.min(moment), ..budget.clone() };
    if !race.note(linear::search_report(model, entries, &moment)) {
        let forward = |budget: Budget| -> std::iter::Once<Report> {
            std::iter::once(local::pass(model, entries, &[model.init()], &budget))
        };
        let depth = |budget: Budget| std::iter::once(linear::search_report(model, entries, &budget));
        race.run(budget, forward, depth);
    }
    match race.settled(budget) {
        Settled { legal: Some(true), .. } => Answer::Legal,
        Settled { undecided: Some(undecided), .. } => Answer::Unknown(undecided),
        Settled { .. } => Answer::Illegal,
    }
}

/// A model that can read a history's operations.
pub trait Object: Model {
    /// What an operation tells about the object; none when nothing, like a read that failed. The error says why
    /// the operation is not one of the object's.
    ///
    /// An indefinite operation has no result: its call must be possible with whatever result it may have had.
    fn call(&self, op: &Op) -> Result<Option<Self::Call>, String>;
}

/// Is the history, key by key, linearizable to a model? By search: exact within the budget, exponential in the
/// operations that overlap.
#[derive(Debug, Clone, Copy)]
pub struct General<O> {
    name: &'static str,
    object: O,
}

impl<O: Object> General<O> {
    /// A checker that files its verdicts under `name`.
    pub fn new(name: &'static str, object: O) -> Self {
        General { name, object }
    }
}

impl<O> General<O>
where
    O: Object + Sync,
    O::Call: Sync,
{
    fn check_key(&self, history: &History, partition: &Partition<'_>, budget: &Budget) -> Verdict {
        let case = Case::new(history, partition);
        let entries = match entries(&self.object, history, &partition.ops) {
            Ok(entries) => entries,
            Err(why) => return case.unknown(why),
        };
        match judge(&self.object, &entries, budget) {
            Answer::Legal => Verdict::Valid,
            Answer::Unknown(undecided) => case.unknown(undecided),
            Answer::Illegal => self.illegal(&case, &entries, budget),
        }
    }

    /// The contradiction with the operations that make it, or at least the last of them.
    fn illegal(&self, case: &Case<'_>, entries: &[Entry<O::Call>], budget: &Budget) -> Verdict {
        let whole = || Core {
            entries: entries.to_vec(),
            starts: vec![self.object.init()],
            from: None,
            prefix_len: entries.len(),
        };
        let Core { entries: core, from, starts, prefix_len } =
            core(&self.object, entries, budget).unwrap_or_else(whole);
        let len = core.len();
        let mut shown: Vec<&Entry<O::Call>> = core.iter().collect();
        shown.sort_by_key(|entry| (entry.ret, entry.inv));
        let shown = shown.split_off(shown.len().saturating_sub(SHOWN_MAX));
        let last = shown.iter().filter(|entry| !entry.is_optional()).max_by_key(|entry| entry.ret);
        let end = last.map_or(String::new(), |entry| {
            format!(" once operation {} had returned", case.history.ops[entry.op].index)
        });
        let begin = match (from, starts.len()) {
            (None, _) => String::new(),
            (Some(event), 1) => format!("by what was known after event {event}, "),
            (Some(event), states) => {
                format!("whichever of the {states} possible states it was in after event {event}, ")
            }
        };
        let what = match len == prefix_len {
            true => format!("the {len} operations so far explains what they saw{end}"),
            false => format!("these {len} operations explains what they saw{end}"),
        };
        let rest = match len - shown.len() {
            0 => String::new(),
            _ => format!("; these are the last {} of them", shown.len()),
        };
        let reason = format!("{begin}no order of {what}{rest}");
        case.invalid("non-linearizable", shown.iter().map(|entry| entry.op), reason)
    }
}

impl<O> Checker for General<O>
where
    O: Object + Send + Sync,
    O::Call: Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        judge_keys(history, budget, |part, share| ("search", self.check_key(history, &part, share)))
    }
}

/// The calls of the operations at `places`.
fn entries<O: Object>(
    object: &O,
    history: &History,
    places: &[usize],
) -> Result<Vec<Entry<O::Call>>, String> {
    let mut entries = Vec::with_capacity(places.len());
    for &place in places {
        let op = &history.ops[place];
        let call = object.call(op).map_err(|why| format!("operation {}: {why}", op.index))?;
        let ret = if op.end == OpEnd::Info { u64::MAX } else { op.ret };
        entries.extend(call.map(|call| Entry { call, inv: op.call, ret, op: place }));
    }
    Ok(entries)
}
