//! Objects with checks of their own: exact or necessary conditions that take a sort or a sweep where a search
//! would take forever. What each promises, and what an indefinite operation means there, stands with it.
//!
//! | object | its operations | the answer is |
//! |---|---|---|
//! | [`mutex`] | `acquire`, `release` | exact |
//! | [`fence`] | `acquire` → token, `claim` and `guarded` with it | exact as to tokens |
//! | [`guarded`] | `claim` → value, `guarded` value, `read` → value | necessary |
//! | [`lease`] | `elect`, `renew`, `resign`, `leader` → `{leader, epoch}` | exact as to what was told |
//! | [`membership`] | `join` → incarnation, `leave`, `members` → all | necessary |
//! | [`set`] | `add`, `read` → all | exact for unique elements |
//! | [`elements`] | `add`, `remove`, `contains`, `read` → all | exact for each element; for whole reads by search |
//! | [`list`] | `append`, `read` → all | exact for unique elements |
//! | [`text`] | `put`, `append`, `get` → all | exact; by search where repeated pieces cannot be told apart |
//! | [`counter`] | `increment`, `add`, `decrement`, `fetch_add` → before, `read` → count | exact; by search for other amounts than one |
//! | [`queue`] | `enqueue`, `dequeue` → value or null | exact for unique values, by search where indefinite dequeues matter |
//! | [`delivery`] | `enqueue`, `dequeue`, `drain` → all | exact for a queue that may repeat and reorder |
//! | [`bank`] | `open`, `transfer`, `read` → balances | necessary; by search exact |
//! | [`staleness`] | `write`, `read` that may be behind | exact as to what is known to be overwritten |
//! | [`session`] | `write`, `read` → version | exact for given versions |

pub mod bank;
pub mod counter;
pub mod delivery;
pub mod elements;
pub mod fence;
mod grow;
pub mod guarded;
pub mod lease;
pub mod list;
pub mod membership;
pub mod mutex;
mod order;
mod provenance;
pub mod queue;
pub mod session;
pub mod set;
pub mod staleness;
pub mod text;

use serde_json::Value;

use crate::general::{General, Object};
use crate::history::draw;
use crate::keys::judge_keys;
use crate::model::{Partition, key_text};
use crate::{Anomaly, Budget, Checker, History, KeyVerdict, Op, OpEnd, Verdict};

/// Operations an anomaly shows at most.
const SHOWN_MAX: usize = 12;

/// One partition, with what is needed to speak about it.
pub(crate) struct Case<'h> {
    pub(crate) history: &'h History,
    key: String,
}

impl<'h> Case<'h> {
    pub(crate) fn new(history: &'h History, partition: &Partition<'_>) -> Self {
        Case { history, key: partition.key_text() }
    }

    /// No answer, and why.
    pub(crate) fn unknown(&self, why: impl std::fmt::Display) -> Verdict {
        let place = if self.key.is_empty() { String::new() } else { format!("key {}: ", self.key) };
        Verdict::unknown(format!("{place}{why}"))
    }

    /// One broken promise; `places` are those of its operations in `History::ops`.
    pub(crate) fn invalid(
        &self,
        name: &str,
        places: impl IntoIterator<Item = usize>,
        reason: impl Into<String>,
    ) -> Verdict {
        debug_assert!(crate::anomalies::meaning(name).is_some(), "{name} is not in the table of anomalies");
        let mut places: Vec<usize> = places.into_iter().take(SHOWN_MAX).collect();
        places.sort_unstable();
        places.dedup();
        let ops: Vec<&Op> = places.iter().map(|&i| &self.history.ops[i]).collect();
        Verdict::Invalid {
            anomalies: vec![Anomaly {
                name: name.to_string(),
                key: self.key.clone(),
                ops: ops.iter().map(|op| op.index).collect(),
                reason: reason.into(),
                drawing: draw(&ops),
            }],
        }
    }
}

/// Most operations of an anomaly where those are among them that put in what its reads show.
const SUPPORTED_MAX: usize = 8;

/// Longest list, or text, of which it is asked who put it there.
const SHOWN_SIZE_MAX: usize = 64;

impl Broken {
    /// With those operations that put in what its own ones show, where they are few: without them its reads would
    /// prove nothing but that they show something.
    fn supported(mut self, ops: &[(usize, &Op)]) -> Self {
        self.places.truncate(SHOWN_MAX);
        let reads = ops.iter().filter(|(place, op)| self.places.contains(place) && op.end == OpEnd::Ok);
        let shown: Vec<&Value> =
            reads.filter(|(_, op)| op.f == "read" || op.f == "get").map(|(_, op)| &op.output).collect();
        let size =
            |value: &Value| value.as_array().map_or(0, Vec::len).max(value.as_str().map_or(0, str::len));
        if shown.iter().any(|shown| size(shown) > SHOWN_SIZE_MAX) {
            return self;
        }
        let is_shown = |put: &Value| {
            shown.iter().any(|shown| match (shown, put) {
                (Value::Array(all), put) => all.contains(put),
                (Value::String(text), Value::String(piece)) => text.contains(&**piece),
                _ => false,
            })
        };
        let is_put = |op: &Op| matches!(&*op.f, "add" | "append" | "put") && op.end != OpEnd::Fail;
        let support = ops
            .iter()
            .filter(|(place, op)| is_put(op) && !self.places.contains(place) && is_shown(&op.input));
        let room = SUPPORTED_MAX.saturating_sub(self.places.len());
        let support: Vec<usize> = support.map(|&(place, _)| place).take(room + 1).collect();
        if support.len() <= room {
            self.places.extend(support);
        }
        self
    }
}

impl Case<'_> {
    fn broken(&self, broken: Broken) -> Verdict {
        let Broken { name, mut places, mut reason, nowhere } = broken;
        let Some(value) = nowhere else { return self.invalid(name, places, reason) };
        let Some(place) = provenance::elsewhere(self.history, &self.key, &value) else {
            reason.push_str(", but nobody ever put it there");
            return self.invalid(name, places, reason);
        };
        let op = &self.history.ops[place];
        reason.push_str(&format!(
            ", but it was only ever put to key {}, by process {}",
            key_text(&op.key),
            op.process
        ));
        places.push(place);
        self.invalid("value-of-another-key", places, reason)
    }
}

/// A contradiction inside one partition.
pub(crate) struct Broken {
    name: &'static str,
    /// Of its operations.
    places: Vec<usize>,
    /// A sentence.
    reason: String,
    /// The value that came from nowhere, if that is what is wrong: it may be known elsewhere.
    nowhere: Option<Value>,
}

impl Broken {
    pub(crate) fn new(name: &'static str, places: Vec<usize>, reason: String) -> Self {
        Broken { name, places, reason, nowhere: None }
    }

    /// The operation at `place` met `value`, as `claim` says, and nobody on this key can have put it there.
    /// `failed` is who tried to, and certainly failed.
    pub(crate) fn nowhere(value: &Value, place: usize, failed: Option<usize>, claim: &str) -> Self {
        match failed {
            Some(failed) => {
                let reason = format!("{claim}, although putting it there had failed and nobody else did");
                Broken::new("aborted-read", vec![failed, place], reason)
            }
            None => Broken {
                nowhere: Some(value.clone()),
                ..Broken::new("fabricated-value", vec![place], claim.to_string())
            },
        }
    }
}

/// Why a partition has no clean answer.
pub(crate) enum Trouble {
    Broken(Broken),
    /// Not this object's operations, or not a case for its algorithm.
    Unjudged(String),
    /// The answer of a search.
    Searched(Verdict),
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Self {
        Trouble::Broken(broken)
    }
}

/// An operation that is none of the object's.
pub(crate) fn foreign(op: &Op, object: &str) -> Trouble {
    Trouble::Unjudged(format!("operation {} is `{}`, which {object} does not know", op.index, op.f))
}

/// Judges the operations of one key by search.
pub(crate) fn searched<O>(
    history: &History,
    ops: &[(usize, &Op)],
    name: &'static str,
    object: O,
    budget: &Budget,
) -> Result<(), Trouble>
where
    O: Object + Sync + Send,
    O::Call: Sync,
{
    let ops = ops.iter().map(|&(_, op)| op.clone()).collect();
    let part = History { ops, end_ns: history.end_ns, ..History::default() };
    match General::new(name, object).check(&part, budget) {
        Verdict::Valid => Ok(()),
        verdict => Err(Trouble::Searched(verdict)),
    }
}

/// Judges every key alone, keys side by side; `engine` names the algorithm.
pub(crate) fn by_key<J>(engine: &'static str, history: &History, budget: &Budget, judge: J) -> Vec<KeyVerdict>
where
    J: Fn(&[(usize, &Op)], &Budget) -> Result<(), Trouble> + Sync,
{
    judge_keys(history, budget, |part, share| {
        let ops: Vec<(usize, &Op)> = part.ops.iter().map(|&place| (place, &history.ops[place])).collect();
        let case = Case::new(history, &part);
        match judge(&ops, share) {
            Ok(()) => (engine, Verdict::Valid),
            Err(Trouble::Broken(broken)) => (engine, case.broken(broken.supported(&ops))),
            Err(Trouble::Unjudged(why)) => (engine, case.unknown(why)),
            Err(Trouble::Searched(verdict)) => ("search", verdict),
        }
    })
}
