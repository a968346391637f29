//! Counters that go up and down by any amount.

use serde_json::Value;

use crate::explain;
use crate::general::Object;
use crate::model::register::{NULL, RegisterCall, RegisterPart, ValueId};
use crate::model::{Entry, Model, key_text};
use crate::object::order::{Ordered, first_back};
use crate::object::{Broken, Trouble, foreign, searched};
use crate::plan::{self, Decision};
use crate::{Budget, History, Op, OpEnd, Verdict};

/// A change that may have happened.
#[derive(Clone, Copy)]
struct Change<'h> {
    place: usize,
    op: &'h Op,
    delta: i64,
    /// The count that it returned from before it.
    before: Option<i64>,
}

impl Change<'_> {
    fn ret(&self) -> u64 {
        if self.op.end == OpEnd::Info { u64::MAX } else { self.op.ret }
    }
}

/// The counter certainly held this value at some time within the operation.
#[derive(Clone, Copy)]
struct Sight<'h> {
    place: usize,
    op: &'h Op,
    value: i64,
}

#[derive(Default)]
struct Part<'h> {
    changes: Vec<Change<'h>>,
    sights: Vec<Sight<'h>>,
}

impl<'h> Part<'h> {
    fn new(ops: &[(usize, &'h Op)]) -> Result<Self, Trouble> {
        let mut part = Part::default();
        for &(place, op) in ops {
            match (&*op.f, op.end) {
                ("increment" | "add" | "decrement" | "fetch_add" | "read", OpEnd::Fail)
                | ("read", OpEnd::Info) => {}
                ("increment" | "add" | "decrement" | "fetch_add", _) => {
                    let change = Change { place, op, delta: delta(op)?, before: before(op)? };
                    part.sights.extend(change.before.map(|value| Sight { place, op, value }));
                    part.changes.push(change);
                }
                ("read", OpEnd::Ok) => {
                    part.sights.push(Sight { place, op, value: integer(op, &op.output)? });
                }
                _ => return Err(foreign(op, "a counter")),
            }
        }
        Ok(part)
    }
}

fn integer(op: &Op, value: &Value) -> Result<i64, Trouble> {
    let why = || Trouble::Unjudged(format!("operation {}: {value} is no integer", op.index));
    value.as_i64().ok_or_else(why)
}

fn delta(op: &Op) -> Result<i64, Trouble> {
    let amount = if op.input.is_null() { 1 } else { integer(op, &op.input)? };
    Ok(if op.f == "decrement" { amount.saturating_neg() } else { amount })
}

/// What an increment by one returns is the count after it, if it returns any; a `fetch_add` returns that before.
fn before(op: &Op) -> Result<Option<i64>, Trouble> {
    match (&*op.f, op.end) {
        ("fetch_add", OpEnd::Ok) => integer(op, &op.output).map(Some),
        ("increment", OpEnd::Ok) if op.input.is_null() && !op.output.is_null() => {
            Ok(integer(op, &op.output)?.checked_sub(1))
        }
        _ => Ok(None),
    }
}

pub(super) fn judge(history: &History, ops: &[(usize, &Op)], budget: &Budget) -> Result<(), Trouble> {
    let part = Part::new(ops)?;
    if part.changes.iter().all(|change| change.before.is_some()) {
        return in_given_order(history, &part, budget);
    }
    if part.changes.iter().all(|change| change.delta >= 0) {
        never_back(&part.sights)?;
    }
    within_bounds(&part)?;
    searched(history, ops, "counter", Amounts, budget)
}

/// Every change says what it changed: a register of compare-and-sets.
fn in_given_order(history: &History, part: &Part<'_>, budget: &Budget) -> Result<(), Trouble> {
    let mut values: Vec<i64> = part.sights.iter().map(|sight| sight.value).collect();
    values.extend(part.changes.iter().filter_map(|change| change.before?.checked_add(change.delta)));
    values.retain(|&value| value != 0);
    values.sort_unstable();
    values.dedup();
    // The count begins at 0, whose number is that of a register's beginning.
    let number = |value: i64| match value {
        0 => NULL,
        value => values.partition_point(|&smaller| smaller < value) as ValueId + 1,
    };
    let said: Vec<Value> = std::iter::once(0).chain(values.iter().copied()).map(Value::from).collect();
    let mut entries: Vec<Entry<RegisterCall>> = Vec::with_capacity(part.changes.len() + part.sights.len());
    for &Sight { place, op, value } in part.sights.iter().filter(|sight| sight.op.f == "read") {
        entries.push(Entry { call: RegisterCall::Read(number(value)), inv: op.call, ret: op.ret, op: place });
    }
    for &Change { place, op, delta, before } in &part.changes {
        let Some(before) = before else { continue };
        let Some(after) = before.checked_add(delta) else {
            let reason = format!("the {} by process {} goes beyond 64 bits", op.f, op.process);
            return Err(Trouble::Unjudged(reason));
        };
        let call = match delta {
            0 => RegisterCall::Read(number(before)),
            _ => RegisterCall::Cas(number(before), number(after)),
        };
        entries.push(Entry { call, inv: op.call, ret: op.ret, op: place });
    }
    entries.sort_by_key(|entry| entry.inv);
    let register = RegisterPart { entries, values: said.iter().collect(), failed: Vec::new() };
    let key = part.sights.first().map_or(String::new(), |sight| key_text(&sight.op.key));
    let case = explain::Case { history, part: &register, key };
    let mut anomaly = match plan::decide(&register, budget) {
        Decision::Legal => return Ok(()),
        Decision::Unknown(undecided) => {
            return Err(Trouble::Searched(Verdict::unknown(case.undecided(&undecided))));
        }
        Decision::Illegal(proof) => case.proven(&proof),
        Decision::Exhausted(deepest) => case.searched(deepest, budget),
    };
    if anomaly.name == "split-cas" {
        anomaly.name = "duplicated-count".to_string();
    }
    Err(Trouble::Searched(Verdict::Invalid { anomalies: vec![anomaly] }))
}

/// A counter that only goes up.
fn never_back(sights: &[Sight<'_>]) -> Result<(), Broken> {
    let sight = |sight: &Sight<'_>| Ordered { rank: sight.value, call: sight.op.call, ret: sight.op.ret };
    let Some((old, new)) = first_back(sights, sight) else { return Ok(()) };
    let reason = format!(
        "process {} saw {}, although process {} had seen {} before that began",
        new.op.process, new.value, old.op.process, old.value
    );
    Err(Broken::new("went-back", vec![old.place, new.place], reason))
}

/// Sums of deltas up to a position.
struct Sums {
    positions: Vec<u64>,
    sums: Vec<i128>,
}

impl Sums {
    fn new(mut deltas: Vec<(u64, i64)>) -> Self {
        deltas.sort_unstable();
        let mut sums = vec![0];
        sums.extend(deltas.iter().scan(0i128, |sum, &(_, delta)| {
            *sum += i128::from(delta);
            Some(*sum)
        }));
        Sums { positions: deltas.into_iter().map(|(position, _)| position).collect(), sums }
    }

    fn before(&self, position: u64) -> i128 {
        self.sums[self.positions.partition_point(|&other| other < position)]
    }
}

/// No sight is below the least or above the most that it can have seen: all that had returned before it counts,
/// and of the rest that had been called by its end whatever makes it least or most (necessary).
fn within_bounds(part: &Part<'_>) -> Result<(), Broken> {
    let sums = |is_counted: fn(i64) -> bool, position: fn(&Change<'_>) -> u64| {
        let counted = part.changes.iter().filter(|change| is_counted(change.delta));
        Sums::new(counted.map(|change| (position(change), change.delta)).collect())
    };
    let up: fn(i64) -> bool = |delta| delta > 0;
    let down: fn(i64) -> bool = |delta| delta < 0;
    let (up_done, up_called) = (sums(up, |change| change.ret()), sums(up, |change| change.op.call));
    let (down_done, down_called) = (sums(down, |change| change.ret()), sums(down, |change| change.op.call));
    for sight in &part.sights {
        let (call, ret) = (sight.op.call, sight.op.ret);
        // A change that returns its own sight of the count does not come before it.
        let own = part.changes.binary_search_by_key(&sight.place, |change| change.place);
        let own = own.map_or(0, |at| part.changes[at].delta);
        let least = up_done.before(call) + down_called.before(ret) - i128::from(own.min(0));
        let most = up_called.before(ret) + down_done.before(call) - i128::from(own.max(0));
        let (name, bound) = match i128::from(sight.value) {
            value if value < least => ("lost-update", format!("no less than {least}")),
            value if value > most => ("fabricated-value", format!("no more than {most}")),
            _ => continue,
        };
        let reason = format!(
            "process {} saw {}, but by what had been acknowledged before that began, and called before it ended, it was {bound}",
            sight.op.process, sight.value
        );
        let counted = part.changes.iter().filter(|change| match name {
            "lost-update" => up(change.delta) && change.ret() < call,
            _ => down(change.delta) && change.ret() < call,
        });
        let places = std::iter::once(sight.place).chain(counted.map(|change| change.place));
        return Err(Broken::new(name, places.collect(), reason));
    }
    Ok(())
}

/// The counter as a model.
struct Amounts;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Call {
    Read(i64),
    /// By how much, and from what, if that is known.
    Add(i64, Option<i64>),
}

impl Model for Amounts {
    type State = i64;
    type Call = Call;

    fn init(&self) -> i64 {
        0
    }

    fn step(&self, count: &i64, call: &Call) -> Option<i64> {
        match call {
            Call::Read(seen) => (seen == count).then_some(*count),
            Call::Add(delta, before) => {
                before.is_none_or(|before| before == *count).then(|| count.checked_add(*delta)).flatten()
            }
        }
    }

    fn is_pure(&self, call: &Call) -> bool {
        matches!(call, Call::Read(_) | Call::Add(0, _))
    }
}

impl Object for Amounts {
    fn call(&self, op: &Op) -> Result<Option<Call>, String> {
        let said = |_| format!("`{}` of {} is no change of a counter", op.f, op.input);
        Ok(match (&*op.f, op.end) {
            (_, OpEnd::Fail) | ("read", OpEnd::Info) => None,
            ("read", _) => op.output.as_i64().map(Call::Read),
            _ => Some(Call::Add(delta(op).map_err(said)?, before(op).map_err(said)?)),
        })
    }
}
