//! Counters of any amount, against search.

use checker::general::{General, Object};
use checker::model::Model;
use checker::object::counter::Counter;
use checker::{Op, OpEnd};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde_json::{Value, json};

use crate::objects::{compare, cores_stand_alone};
use crate::simulated::{Simulated, history, shape};

/// What a counter can do.
#[derive(Clone, Copy)]
enum Kind {
    /// Adds what is above 0, and says nothing.
    Up,
    UpAndDown,
    /// Says what there was before.
    Fetch,
    /// Sometimes.
    Mixed,
}

#[derive(Clone, Copy)]
struct Amount {
    count: i64,
    kind: Kind,
}

impl Simulated for Amount {
    fn call(&mut self, rng: &mut ChaCha8Rng, _: u64) -> (&'static str, Value) {
        if rng.random_range(0..5) < 2 {
            return ("read", Value::Null);
        }
        let amount = json!(rng.random_range(1..5));
        match self.kind {
            Kind::Up => ("add", amount),
            Kind::UpAndDown if rng.random_range(0..3) == 0 => ("decrement", amount),
            Kind::UpAndDown => ("add", amount),
            Kind::Fetch => ("fetch_add", json!(rng.random_range(-2..4))),
            Kind::Mixed if rng.random_range(0..2) == 0 => ("fetch_add", amount),
            Kind::Mixed => ("increment", Value::Null),
        }
    }

    fn apply(&mut self, f: &str, input: &Value, _: u64) -> Result<Value, ()> {
        let (before, amount) = (self.count, input.as_i64().unwrap_or(1));
        match f {
            "read" => return Ok(json!(before)),
            "decrement" => self.count -= amount,
            _ => self.count += amount,
        }
        Ok(if f == "fetch_add" { json!(before) } else { Value::Null })
    }

    fn falsify(
        &mut self,
        rng: &mut ChaCha8Rng,
        f: &str,
        _: &Value,
        result: Result<Value, ()>,
    ) -> Result<Value, ()> {
        match f {
            "read" | "fetch_add" => Ok(json!(self.count + rng.random_range(-3..4))),
            _ if rng.random_range(0..2) == 0 => Err(()),
            _ => result,
        }
    }
}

/// By how much, and from what, if anything was said; a read is by nothing.
type Step = (i64, Option<i64>);

impl Model for Amount {
    type State = i64;
    type Call = Step;

    fn init(&self) -> i64 {
        0
    }

    fn step(&self, count: &i64, (by, from): &Step) -> Option<i64> {
        from.is_none_or(|from| from == *count).then_some(count + by)
    }

    fn is_pure(&self, (by, _): &Step) -> bool {
        *by == 0
    }
}

impl Object for Amount {
    fn call(&self, op: &Op) -> Result<Option<Step>, String> {
        let amount = op.input.as_i64().unwrap_or(1);
        Ok(match (&*op.f, op.end) {
            (_, OpEnd::Fail) | ("read", OpEnd::Info) => None,
            ("read", _) => Some((0, op.output.as_i64())),
            ("decrement", _) => Some((-amount, None)),
            ("fetch_add", OpEnd::Ok) => Some((amount, op.output.as_i64())),
            _ => Some((amount, None)),
        })
    }
}

#[test]
fn a_counter_of_any_amount_is_judged_as_by_search() {
    for kind in [Kind::Up, Kind::UpAndDown, Kind::Mixed] {
        let amount = Amount { count: 0, kind };
        let make = |seed| history(amount, &shape(seed), seed);
        compare(Counter, General::new("amount", amount), make, |_, _| {});
    }
}

#[test]
fn a_counter_that_says_what_there_was_is_judged_as_by_search() {
    let amount = Amount { count: 0, kind: Kind::Fetch };
    let make = |seed| history(amount, &shape(seed), seed);
    compare(Counter, General::new("amount", amount), make, cores_stand_alone(Counter));
}
