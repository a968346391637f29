//! Sets element by element, against search over whole sets.

use std::collections::BTreeSet;

use checker::general::{General, Object};
use checker::history::sketch;
use checker::model::Model;
use checker::object::elements::{ElementSet, LinearizableSet, tally};
use checker::{Budget, Checker, History, Op, OpEnd, Verdict};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde_json::{Value, json};

use crate::objects::compare;
use crate::simulated::{Simulated, history, shape};

/// A set of few elements, so that they come and go.
#[derive(Default, Clone)]
struct Members {
    all: BTreeSet<i64>,
    /// Do `add` and `remove` say whether they changed anything?
    reports: bool,
    /// Are there whole reads?
    reads: bool,
}

impl Simulated for Members {
    fn call(&mut self, rng: &mut ChaCha8Rng, _: u64) -> (&'static str, Value) {
        let element = json!(rng.random_range(1..4));
        match rng.random_range(0..10) {
            0..3 => ("add", element),
            3..5 => ("remove", element),
            5..8 => ("contains", element),
            _ if self.reads => ("read", Value::Null),
            _ => ("contains", element),
        }
    }

    fn apply(&mut self, f: &str, input: &Value, _: u64) -> Result<Value, ()> {
        let element = input.as_i64().unwrap_or(0);
        let changed = match f {
            "add" => self.all.insert(element),
            "remove" => self.all.remove(&element),
            "contains" => return Ok(json!(self.all.contains(&element))),
            _ => return Ok(json!(self.all)),
        };
        Ok(if self.reports { json!(changed) } else { Value::Null })
    }

    fn falsify(
        &mut self,
        rng: &mut ChaCha8Rng,
        f: &str,
        _: &Value,
        result: Result<Value, ()>,
    ) -> Result<Value, ()> {
        match (f, result) {
            ("add", _) if rng.random_range(0..4) == 0 => Err(()),
            (_, Ok(Value::Bool(said))) => Ok(json!(!said)),
            (_, Ok(Value::Array(mut all))) if !all.is_empty() => {
                all.remove(rng.random_range(0..all.len()));
                Ok(json!(all))
            }
            (_, result) => result,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Called {
    f: String,
    element: i64,
    result: Value,
}

impl Model for Members {
    type State = BTreeSet<i64>;
    type Call = Called;

    fn init(&self) -> BTreeSet<i64> {
        BTreeSet::new()
    }

    fn step(&self, all: &BTreeSet<i64>, call: &Called) -> Option<BTreeSet<i64>> {
        let mut after = all.clone();
        let said = match &*call.f {
            "add" => json!(after.insert(call.element)),
            "remove" => json!(after.remove(&call.element)),
            "contains" => json!(all.contains(&call.element)),
            _ => json!(all),
        };
        (call.result.is_null() || call.result == said).then_some(after)
    }

    fn is_pure(&self, call: &Called) -> bool {
        call.f == "contains" || call.f == "read"
    }
}

impl Object for Members {
    fn call(&self, op: &Op) -> Result<Option<Called>, String> {
        if op.end == OpEnd::Fail || op.end == OpEnd::Info && (op.f == "contains" || op.f == "read") {
            return Ok(None);
        }
        let element = op.input.as_i64().unwrap_or(0);
        Ok(Some(Called { f: op.f.to_string(), element, result: op.output.clone() }))
    }
}

/// The operations of an anomaly are contradictory without the others, unless it says that it leaves out the beginning.
fn proves(members: &Members) -> impl FnMut(&History, &Verdict) {
    let model = General::new("members", members.clone());
    move |history, verdict| {
        let Verdict::Invalid { anomalies } = verdict else { return };
        for anomaly in anomalies.iter().filter(|anomaly| !anomaly.reason.starts_with("whatever")) {
            let ops = history.ops.iter().filter(|op| anomaly.ops.contains(&op.index)).cloned().collect();
            let core = History { ops, ..History::default() };
            assert_eq!(model.check(&core, &Budget::default()).word(), "invalid", "{anomaly:#?}");
        }
    }
}

#[test]
fn elements_are_judged_as_by_search() {
    for reports in [false, true] {
        let members = Members { reports, ..Members::default() };
        let make = |seed| history(members.clone(), &shape(seed), seed);
        compare(ElementSet, General::new("members", members.clone()), make, proves(&members));
    }
}

#[test]
fn whole_reads_are_judged_as_by_search() {
    let members = Members { reads: true, ..Members::default() };
    let make = |seed| history(members.clone(), &shape(seed), seed);
    compare(LinearizableSet, General::new("members", members.clone()), make, proves(&members));
}

#[test]
fn what_became_of_every_element_is_told() {
    let drawing = "
p0 |-add(1)-|  |-add(2)-|  |-add(3)-?
p1 |-add(4)-|  |-remove(4)-|                                                 |-add(6)-|
p2                             |-read()=[3,4,5]-|  |-read()=[2,3,4,5]-|
";
    let all = tally(&sketch::history(drawing).expect("well drawn"));
    let tally = &all[0];
    assert_eq!(tally.added, 4);
    assert_eq!(tally.lost, [json!(1)]);
    assert_eq!(tally.stale, [json!(2)]);
    assert_eq!(tally.recovered, [json!(3)]);
    assert_eq!(tally.resurrected, [json!(4)]);
    assert_eq!(tally.unexpected, [json!(5)]);
    assert_eq!(tally.never_read, [json!(6)]);
}
