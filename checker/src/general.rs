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

use crate::keys::judge_keys;
use crate::linear::{self, Search};
use crate::model::{Entry, Model, Partition};
use crate::object::Case;
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Verdict};

/// Operations shown of a contradiction found by search.
const SHOWN_MAX: usize = 12;

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

    fn check_key(&self, history: &History, partition: &Partition<'_>, budget: &Budget) -> Verdict {
        let case = Case::new(history, partition);
        let entries = match entries(&self.object, history, &partition.ops) {
            Ok(entries) => entries,
            Err(why) => return case.unknown(why),
        };
        let states_max = budget.states_max.min(budget.bytes_max / 100);
        match linear::search(&self.object, &entries, states_max) {
            Search::Linearizable { .. } => Verdict::Valid,
            Search::OutOfBudget(deepest) => case.unknown(format!(
                "no answer within the budget of {} search states; the longest order found has {} of {} definite \
                 operations",
                states_max, deepest.placed, deepest.definite
            )),
            Search::Impossible(_) => {
                let prefix = shortest_prefix(&self.object, &entries, states_max);
                let mut shown: Vec<&Entry<O::Call>> = prefix.iter().collect();
                shown.sort_by_key(|entry| (entry.ret, entry.inv));
                let shown = shown.split_off(shown.len().saturating_sub(SHOWN_MAX));
                let last = shown.iter().filter(|entry| !entry.is_optional()).max_by_key(|entry| entry.ret);
                let end = last.map_or(String::new(), |entry| {
                    format!(" once operation {} had returned", history.ops[entry.op].index)
                });
                let rest = match prefix.len() - shown.len() {
                    0 => String::new(),
                    _ => format!("; these are the last {} of them", shown.len()),
                };
                let reason =
                    format!("no order of the {} operations so far explains what they saw{end}{rest}", prefix.len());
                case.invalid("non-linearizable", shown.iter().map(|entry| entry.op), reason)
            }
        }
    }
}

impl<O: Object + Send + Sync> Checker for General<O> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        judge_keys(history, budget, |part, share| ("search", self.check_key(history, part, share)))
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

/// What had happened when an order first became impossible: every prefix of a linearizable history is
/// linearizable, with the operations still open then as indefinite ones.
fn shortest_prefix<M: Model>(model: &M, entries: &[Entry<M::Call>], states_max: u64) -> Vec<Entry<M::Call>> {
    let mut returns: Vec<u64> =
        entries.iter().map(|entry| entry.ret).filter(|&ret| ret != u64::MAX).collect();
    returns.sort_unstable();
    let prefix = |end: u64| -> Vec<Entry<M::Call>> {
        let begun = entries.iter().filter(|entry| entry.inv < end);
        let open = |entry: &Entry<M::Call>| if entry.ret > end { u64::MAX } else { entry.ret };
        begun.map(|entry| Entry { call: entry.call.clone(), ret: open(entry), ..*entry }).collect()
    };
    let is_legal =
        |&end: &u64| !matches!(linear::search(model, &prefix(end), states_max), Search::Impossible(_));
    let first = returns.partition_point(is_legal);
    prefix(returns.get(first).copied().unwrap_or(u64::MAX))
}
