//! Text by key, with pieces put at its end: `put`, `append`, `get`. Empty at first.
//!
//! A `get` returns the whole text, so it tells what was appended to what, and in which order: a text that begins
//! with what some `put` wrote is that put and the pieces behind it, one after another. The longest text of each put
//! gives the order of its pieces; every other one must be cut from it between two of them. With that, each piece
//! is a compare-and-set from the text before it to the text behind it, and a piece that nobody saw is a write that
//! nobody saw: the history is one of a register with unique values, which [`unique`] judges exactly.
//!
//! ```text
//! p0 |-append(a)-|  |-append(b)-|
//! p1                               |-get()=ab-|  |-get()=a-|     invalid: the second get misses b
//! ```
//!
//! Pieces that were appended several times are told apart by when they were appended, where that is enough.
//! Where it is not, and where a text can be cut in more than one way, a search decides within the budget.
//!
//! ```
//! use checker::object::text::Text;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |-append(a)-|  |-append(b)-|
//! p1                               |-get()=ab-|  |-get()=a-|
//! ",
//! )?;
//! let Verdict::Invalid { anomalies } = Text.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!((anomalies[0].name.as_str(), &anomalies[0].ops[..]), ("stale-read", &[0, 2, 4, 6][..]));
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

mod decode;
mod owner;
mod tell;

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::{Trouble, by_key, foreign, searched};
use crate::general::Object;
use crate::model::Model;
use crate::unique::{self, Unique};
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Verdict};

/// Is the history, key by key, one of linearizable texts? Exact; takes time in proportion to all that was read,
/// O(n log n) beyond that, but for repeated pieces of which nobody can tell who appended which.
///
/// Anomalies: `fabricated-value`, `aborted-read`, `value-of-another-key` (text that nobody put there),
/// `duplicated-element` (a piece more often than it was appended), `reordered-elements` (two gets disagree on the
/// order of pieces, or one shows a piece behind one that was only appended after it), `stale-read`,
/// `lost-element` and `lost-update` (an append or a put that nobody ever saw, where somebody had to),
/// `future-read`; `non-linearizable` from the search.
#[derive(Debug, Clone, Copy, Default)]
pub struct Text;

impl Checker for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key("text", history, budget, |ops, share| judge(history, ops, share))
    }
}

/// A put or an append that may have happened; `ret` is `u64::MAX` for an indefinite one.
#[derive(Debug, Clone, Copy)]
struct Update<'h> {
    place: usize,
    text: &'h str,
    call: u64,
    ret: u64,
    is_put: bool,
}

#[derive(Debug, Clone, Copy)]
struct Get<'h> {
    place: usize,
    text: &'h str,
    call: u64,
    ret: u64,
}

/// The operations on one key.
#[derive(Default)]
struct Calls<'h> {
    updates: Vec<Update<'h>>,
    gets: Vec<Get<'h>>,
    /// What certainly was not put there, and whose try that was.
    failed: FxHashMap<&'h str, usize>,
}

impl<'h> Calls<'h> {
    fn new(ops: &[(usize, &'h Op)]) -> Result<Self, Trouble> {
        let mut calls = Calls::default();
        for &(place, op) in ops {
            match (&*op.f, op.end) {
                ("put" | "append", OpEnd::Fail) => drop(calls.failed.insert(text(op, &op.input)?, place)),
                ("put" | "append", end) => {
                    let (text, is_put) = (text(op, &op.input)?, op.f == "put");
                    let ret = if end == OpEnd::Info { u64::MAX } else { op.ret };
                    // Appending nothing changes nothing, whenever it is done.
                    if is_put || !text.is_empty() {
                        calls.updates.push(Update { place, text, call: op.call, ret, is_put });
                    }
                }
                ("get", OpEnd::Ok) => {
                    calls.gets.push(Get { place, text: text(op, &op.output)?, call: op.call, ret: op.ret });
                }
                ("get", _) => {}
                _ => return Err(foreign(op, "a text")),
            }
        }
        Ok(calls)
    }
}

fn text<'h>(op: &Op, value: &'h Value) -> Result<&'h str, Trouble> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(""),
        other => Err(Trouble::Unjudged(format!("operation {}: {other} is no text", op.index))),
    }
}

fn judge(history: &History, ops: &[(usize, &Op)], budget: &Budget) -> Result<(), Trouble> {
    let calls = Calls::new(ops)?;
    let key = ops.first().map_or(&Value::Null, |(_, op)| &op.key);
    let (blocks, is_guess) = match decode::blocks(&calls) {
        Ok(Some(cut)) => cut,
        Ok(None) => return searched(history, ops, "text", Strings, budget),
        Err(odd) => return Err(odd.told(history, key, &calls).into()),
    };
    let owners = match owner::owners(&calls, &blocks) {
        Ok(Some(owners)) => owners,
        Err(broken) if !is_guess => return Err(broken.into()),
        _ => return searched(history, ops, "text", Strings, budget),
    };
    let part = owner::as_register(&calls, &blocks, &owners);
    match unique::check(&part.entries, part.values_len) {
        Unique::Legal => Ok(()),
        Unique::Illegal(proof) if owners.is_forced && !is_guess => {
            Err(tell::tell(history, key, part, &proof, &calls, &blocks))
        }
        _ => searched(history, ops, "text", Strings, budget),
    }
}

/// A text as a model.
struct Strings;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Call {
    Get(String),
    Put(String),
    Append(String),
}

impl Model for Strings {
    type State = String;
    type Call = Call;

    fn init(&self) -> String {
        String::new()
    }

    fn step(&self, state: &String, call: &Call) -> Option<String> {
        match call {
            Call::Get(seen) => (seen == state).then(|| state.clone()),
            Call::Put(text) => Some(text.clone()),
            Call::Append(piece) => Some(format!("{state}{piece}")),
        }
    }

    fn is_pure(&self, call: &Call) -> bool {
        matches!(call, Call::Get(_))
    }
}

impl Object for Strings {
    fn call(&self, op: &Op) -> Result<Option<Call>, String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        Ok(match (&*op.f, op.end) {
            (_, OpEnd::Fail) | ("get", OpEnd::Info) => None,
            ("get", _) => Some(Call::Get(text(&op.output))),
            ("put", _) => Some(Call::Put(text(&op.input))),
            _ => Some(Call::Append(text(&op.input))),
        })
    }
}
