//! A counter kept by hand in a register that fencing tokens guard.
//!
//! Whoever holds the lock reads the register *with its token*, so that nobody with an older one may write any
//! more, then writes one more than it has read. So the value is the number of writes that were accepted, and
//! each accepted write has a value of its own.
//!
//! - `claim`, with the token as its argument, returns the value, null for 0.
//! - `guarded`, with `[token, value]`, writes; an indefinite one may have been accepted or not.
//! - `read` returns the value, null for 0.
//!
//! ```text
//! p0 |-claim(1)=4-|                                      |-guarded([1,5])-|   invalid: 5 twice, one is lost
//! p1                 |-claim(2)=4-|  |-guarded([2,5])-|
//! ```
//!
//! ```
//! use checker::object::guarded::GuardedCounter;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |-claim(1)=_-|                                      |-guarded([1,1])-|
//! p1                 |-claim(2)=_-|  |-guarded([2,1])-|
//! ",
//! )?;
//! let Verdict::Invalid { anomalies } = GuardedCounter.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!(anomalies[0].name, "lost-update");
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::{Broken, Trouble, by_key, foreign};
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Verdict};

/// Is the value, key by key, the number of accepted writes? Necessary conditions, O(n log n): no two accepted
/// writes of one value, no value that goes back, no value that nobody wrote.
///
/// Anomalies: `lost-update`, `phantom-update` (a value that no write could have made by then).
#[derive(Debug, Clone, Copy, Default)]
pub struct GuardedCounter;

impl Checker for GuardedCounter {
    fn name(&self) -> &'static str {
        "guarded-counter"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, _| judge(ops))
    }
}

/// The register certainly held this value at some time within the operation.
#[derive(Clone, Copy)]
struct Sight {
    value: i64,
    call: u64,
    ret: u64,
    place: usize,
    is_write: bool,
}

fn judge(ops: &[(usize, &Op)]) -> Result<(), Trouble> {
    let (mut sights, mut tries) = (Vec::new(), FxHashMap::<i64, u64>::default());
    for &(place, op) in ops {
        let sight = |value: i64, is_write| Sight { value, call: op.call, ret: op.ret, place, is_write };
        match (&*op.f, op.end) {
            ("guarded", OpEnd::Ok | OpEnd::Info) => {
                let value = integer(op, op.input.get(1).unwrap_or(&Value::Null))?;
                tries.entry(value).and_modify(|call| *call = op.call.min(*call)).or_insert(op.call);
                if op.end == OpEnd::Ok {
                    sights.push(sight(value, true));
                }
            }
            ("claim" | "read", OpEnd::Ok) => {
                let value = if op.output.is_null() { 0 } else { integer(op, &op.output)? };
                sights.push(sight(value, false));
            }
            ("acquire" | "release" | "claim" | "guarded" | "read", _) => {}
            _ => return Err(foreign(op, "a guarded counter")),
        }
    }
    no_value_twice(&sights)?;
    never_back(&sights)?;
    for sight in sights.iter().filter(|sight| sight.value != 0) {
        if tries.get(&sight.value).is_none_or(|&call| call > sight.ret) {
            let reason = format!("{} was read, which nobody had written by then", sight.value);
            return Err(Broken::new("phantom-update", vec![sight.place], reason).into());
        }
    }
    Ok(())
}

fn integer(op: &Op, value: &Value) -> Result<i64, Trouble> {
    let why = || Trouble::Unjudged(format!("operation {}: the value {value} is not an integer", op.index));
    value.as_i64().ok_or_else(why)
}

fn no_value_twice(sights: &[Sight]) -> Result<(), Broken> {
    let mut written: FxHashMap<i64, Sight> = FxHashMap::default();
    for &write in sights.iter().filter(|sight| sight.is_write) {
        if let Some(other) = written.insert(write.value, write) {
            let reason = format!(
                "two accepted writes both made it {}: one of them did not count the other",
                write.value
            );
            return Err(Broken::new("lost-update", vec![other.place, write.place], reason));
        }
    }
    Ok(())
}

/// Nothing that began after a value was certainly there sees, or writes, a smaller one.
fn never_back(sights: &[Sight]) -> Result<(), Broken> {
    let mut by_return = sights.to_vec();
    by_return.sort_by_key(|sight| sight.ret);
    let mut by_call = sights.to_vec();
    by_call.sort_by_key(|sight| sight.call);
    let mut returned = by_return.into_iter().peekable();
    let mut highest: Option<Sight> = None;
    for new in by_call {
        while let Some(old) = returned.next_if(|old| old.ret < new.call) {
            if highest.is_none_or(|highest| highest.value < old.value) {
                highest = Some(old);
            }
        }
        if let Some(old) = highest
            && (new.value < old.value || new.is_write && new.value == old.value)
        {
            let verb = if new.is_write { "written" } else { "read" };
            let reason = format!("{} was {verb} after it had been {}", new.value, old.value);
            return Err(Broken::new("lost-update", vec![old.place, new.place], reason));
        }
    }
    Ok(())
}
