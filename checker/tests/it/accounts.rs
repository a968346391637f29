//! Queues that deliver at least once, leaders by lease and sessions, against their promises word by word.

use std::collections::BTreeMap;

use checker::history::sketch;
use checker::object::delivery::{AtLeastOnceQueue, tally};
use checker::object::lease::Leases;
use checker::object::session::ValueSessions;
use checker::{Budget, Checker, History, Op, OpEnd, Verdict};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde_json::{Value, json};

use crate::objects::{compare, cores_stand_alone};
use crate::simulated::{Shape, Simulated, history, shape};

fn invalid_if(is_broken: bool) -> Verdict {
    if is_broken { Verdict::Invalid { anomalies: Vec::new() } } else { Verdict::Valid }
}

/// A queue that may give a value out again.
#[derive(Default, Clone)]
struct Bag {
    waiting: Vec<i64>,
    gone: Vec<i64>,
    next: i64,
    repeats: bool,
}

impl Simulated for Bag {
    fn call(&mut self, rng: &mut ChaCha8Rng, _: u64) -> (&'static str, Value) {
        match rng.random_range(0..8) {
            0..4 => {
                self.next += 1;
                ("enqueue", json!(if self.repeats { self.next % 3 } else { self.next }))
            }
            4..7 => ("dequeue", Value::Null),
            _ => ("drain", Value::Null),
        }
    }

    fn apply(&mut self, f: &str, input: &Value, _: u64) -> Result<Value, ()> {
        match f {
            "enqueue" => self.waiting.extend(input.as_i64()),
            "dequeue" => {
                let taken = self.waiting.pop();
                self.gone.extend(taken);
                return Ok(json!(taken));
            }
            _ => {
                let all: Vec<i64> = self.waiting.drain(..).collect();
                self.gone.extend(&all);
                return Ok(json!(all));
            }
        }
        Ok(Value::Null)
    }

    fn falsify(
        &mut self,
        rng: &mut ChaCha8Rng,
        f: &str,
        _: &Value,
        result: Result<Value, ()>,
    ) -> Result<Value, ()> {
        match (f, rng.random_range(0..3)) {
            ("enqueue", 0) => Err(()),
            ("dequeue", 0) => Ok(json!(self.gone.first())),
            ("dequeue", 1) => Ok(json!(self.next + rng.random_range(-1..2))),
            ("dequeue", _) => Ok(Value::Null),
            ("drain", _) => Ok(json!([])),
            _ => result,
        }
    }
}

/// The promise, stated for every value alone.
struct EveryValue {
    once: bool,
}

impl Checker for EveryValue {
    fn name(&self) -> &'static str {
        "every-value"
    }

    fn check(&self, history: &History, _: &Budget) -> Verdict {
        let of = |f: &'static str| history.ops.iter().filter(move |op| op.f == f && op.end != OpEnd::Fail);
        let done = || of("dequeue").chain(of("drain")).filter(|op| op.end == OpEnd::Ok);
        let values = |op: &Op| match &op.output {
            Value::Array(all) => all.clone(),
            Value::Null => Vec::new(),
            value => vec![value.clone()],
        };
        let outs: Vec<(&Op, Value)> =
            done().flat_map(|op| values(op).into_iter().map(move |value| (op, value))).collect();
        let last = done().filter(|op| op.f == "drain" || op.output.is_null()).max_by_key(|op| op.call);
        let named = outs.iter().map(|(_, value)| value).chain(of("enqueue").map(|op| &op.input));
        let named: BTreeMap<String, &Value> = named.map(|value| (value.to_string(), value)).collect();
        let (mut is_broken, mut missing) = (false, 0);
        for &value in named.values() {
            let outs: Vec<&Op> = outs.iter().filter(|(_, out)| out == value).map(|(op, _)| *op).collect();
            let ins: Vec<&Op> = of("enqueue").filter(|op| op.input == *value).collect();
            is_broken |= outs.iter().any(|out| !ins.iter().any(|put| put.call < out.ret));
            is_broken |= self.once && outs.len() > ins.len();
            let acked = |op: &&&Op| last.is_some_and(|last| op.end == OpEnd::Ok && op.ret < last.call);
            missing += ins.iter().filter(acked).count().saturating_sub(outs.len());
        }
        let begun = |op: &&Op| op.end == OpEnd::Info && last.is_some_and(|last| op.call < last.ret);
        let drained = of("drain").any(|op| begun(&op));
        let excused = if drained { usize::MAX } else { of("dequeue").filter(begun).count() };
        invalid_if(is_broken || missing > excused)
    }
}

#[test]
fn a_queue_that_delivers_at_least_once_is_judged_by_its_accounts() {
    for (once, repeats) in [(false, false), (true, false), (false, true), (true, true)] {
        let queue = AtLeastOnceQueue { once };
        let make = |seed| history(Bag { repeats, ..Bag::default() }, &shape(seed), seed);
        compare(queue, EveryValue { once }, make, cores_stand_alone(queue));
    }
}

#[test]
fn what_became_of_every_value_is_told() {
    let drawing = "
p0 |-enqueue(1)-|  |-enqueue(2)-|  |-enqueue(3)-?
p1 |-dequeue()=2-|  |-dequeue()=2-|  |-dequeue()=3-|  |-dequeue()=9-|  |-drain()=[]-|
";
    let all = tally(&sketch::history(drawing).expect("well drawn"));
    let tally = &all[0];
    assert_eq!((tally.acknowledged, tally.delivered), (2, 4));
    assert_eq!(tally.lost, [json!(1)]);
    assert_eq!(tally.duplicated, [json!(2)]);
    assert_eq!(tally.recovered, [json!(3)]);
    assert_eq!(tally.unexpected, [json!(9)]);
}

/// Elections, each of which begins an epoch while nobody leads.
#[derive(Default)]
struct Throne {
    leader: Option<u64>,
    epoch: i64,
}

impl Throne {
    fn told(&self) -> Value {
        match self.leader {
            Some(leader) => json!([format!("n{leader}"), self.epoch]),
            None => Value::Null,
        }
    }
}

impl Simulated for Throne {
    fn call(&mut self, rng: &mut ChaCha8Rng, process: u64) -> (&'static str, Value) {
        match rng.random_range(0..6) {
            0..2 => ("elect", json!(format!("n{process}"))),
            2 if self.leader == Some(process) => ("resign", self.told()),
            3 if self.leader == Some(process) => ("renew", self.told()),
            _ => ("leader", Value::Null),
        }
    }

    fn apply(&mut self, f: &str, input: &Value, process: u64) -> Result<Value, ()> {
        let is_own = self.leader == Some(process) && input[1] == self.epoch;
        match f {
            "elect" if self.leader.is_none() => {
                self.epoch += 1;
                self.leader = Some(process);
            }
            "resign" | "renew" if !is_own => return Err(()),
            "resign" => self.leader = None,
            _ => {}
        }
        Ok(if f == "resign" { Value::Null } else { self.told() })
    }

    fn falsify(
        &mut self,
        rng: &mut ChaCha8Rng,
        f: &str,
        _: &Value,
        result: Result<Value, ()>,
    ) -> Result<Value, ()> {
        match f {
            "resign" => result,
            _ => Ok(json!([format!("n{}", rng.random_range(0..3)), self.epoch + rng.random_range(-1..2)])),
        }
    }
}

/// The promises of leases, for every two operations.
struct EveryLease;

impl Checker for EveryLease {
    fn name(&self) -> &'static str {
        "every-lease"
    }

    fn check(&self, history: &History, _: &Budget) -> Verdict {
        let epoch = |value: &Value| value[1].as_i64().expect("an epoch");
        let ended = |op: &&Op| op.end == OpEnd::Ok && op.f != "resign" && !op.output.is_null();
        let told: Vec<(&Op, &Value, i64)> =
            history.ops.iter().filter(ended).map(|op| (op, &op.output[0], epoch(&op.output))).collect();
        let two = told.iter().any(|(old, leader, first)| {
            told.iter().any(|(new, other, second)| {
                first == second && leader != other || old.ret < new.call && second < first
            })
        });
        let begins = |op: &Op, epoch: i64, by: u64| {
            let may = op.end == OpEnd::Info || op.end == OpEnd::Ok && op.output[1] == epoch;
            op.f == "elect" && op.call < by && may
        };
        let from_nowhere = told.iter().any(|(op, ..)| op.f == "elect")
            && told
                .iter()
                .any(|(op, _, epoch)| !history.ops.iter().any(|elect| begins(elect, *epoch, op.ret)));
        let mut resigned = history.ops.iter().filter(|op| op.f == "resign" && op.end == OpEnd::Ok);
        let after = resigned.any(|resign| {
            told.iter().any(|(op, _, told)| *told == epoch(&resign.input) && resign.ret < op.call)
        });
        invalid_if(two || from_nowhere || after)
    }
}

#[test]
fn leases_are_judged_as_by_looking_at_every_two_operations() {
    let make = |seed| history(Throne::default(), &shape(seed), seed);
    compare(Leases, EveryLease, make, |_, _| {});
}

#[test]
fn a_lease_runs_until_its_end_or_until_it_is_given_back() {
    let name = |drawing: &str| {
        let history = sketch::history(drawing).expect("well drawn");
        match Leases.check(&history, &Budget::default()) {
            Verdict::Invalid { anomalies } => anomalies[0].name.clone(),
            other => other.word().to_string(),
        }
    };
    let early = "
p0 |-elect(a)=[a,1,90000000]-|
p1                               |-elect(b)=[b,2]-|
";
    assert_eq!(name(early), "overlapping-leases");
    assert_eq!(name(&early.replace("90000000", "30000000")), "valid");
    assert_eq!(name(&early.replace("=[b,2]", "=[a,2]")), "valid", "a leader may follow itself");
    let given_back = "
p0 |-elect(a)=[a,1,90000000]-| |-resign([a,1])-|
p1                                                |-elect(b)=[b,2]-|
";
    assert_eq!(name(given_back), "valid");
}

/// Replicas of a register that lag.
#[derive(Default)]
struct Lagging {
    written: Vec<Value>,
}

impl Simulated for Lagging {
    fn call(&mut self, rng: &mut ChaCha8Rng, _: u64) -> (&'static str, Value) {
        match rng.random_range(0..3) {
            0 => ("write", json!(rng.random_range(0..1_000_000_000))),
            _ => ("read", Value::Null),
        }
    }

    fn apply(&mut self, f: &str, input: &Value, _: u64) -> Result<Value, ()> {
        if f == "write" {
            self.written.push(input.clone());
        }
        Ok(self.written.last().cloned().unwrap_or_default())
    }

    fn falsify(
        &mut self,
        rng: &mut ChaCha8Rng,
        f: &str,
        _: &Value,
        result: Result<Value, ()>,
    ) -> Result<Value, ()> {
        if f == "write" || self.written.is_empty() {
            return result;
        }
        Ok(self.written[rng.random_range(0..self.written.len())].clone())
    }
}

/// No process meets anything older than what it has met, for every two operations.
struct EverySession;

impl Checker for EverySession {
    fn name(&self) -> &'static str {
        "every-session"
    }

    fn check(&self, history: &History, _: &Budget) -> Verdict {
        let done = |f: &'static str| history.ops.iter().filter(move |op| op.f == f && op.end == OpEnd::Ok);
        let write = |value: &Value| history.ops.iter().find(|op| op.f == "write" && op.input == *value);
        let in_place = |value: &Value, by: u64| {
            value.is_null()
                || done("write").any(|op| op.input == *value && op.ret < by)
                || done("read").any(|op| op.output == *value && op.ret < by)
        };
        let is_broken = done("read").any(|new| {
            let nowhere =
                !new.output.is_null() && write(&new.output).is_none_or(|write| new.ret < write.call);
            let is_before = |old: &&Op| old.process == new.process && old.index < new.index;
            let before = done("read").chain(done("write")).filter(is_before);
            let mut known =
                before.filter_map(|old| if old.f == "write" { Some(old) } else { write(&old.output) });
            nowhere || known.any(|known| in_place(&new.output, known.call))
        });
        invalid_if(is_broken)
    }
}

#[test]
fn sessions_without_versions_are_judged_as_by_looking_at_every_two_operations() {
    let make = |seed| history(Lagging::default(), &Shape { ops: 14, wrong: 30, ..shape(seed) }, seed);
    compare(ValueSessions, EverySession, make, cores_stand_alone(ValueSessions));
}
