//! Objects' own algorithms against search over their models.

use std::collections::{BTreeSet, VecDeque};

use checker::general::{General, Object};
use checker::model::Model;
use checker::object::bank::Bank;
use checker::object::counter::Counter;
use checker::object::fence::FencedLock;
use checker::object::list::AppendList;
use checker::object::mutex::Mutex;
use checker::object::queue::Queue;
use checker::object::session::Sessions;
use checker::object::set::GrowSet;
use checker::{Budget, Checker, History, Op, OpEnd, Process, Verdict};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use crate::simulated::{Simulated, history, shape};

fn count() -> u64 {
    std::env::var("CHECKER_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000)
}

fn picture(history: &History) -> String {
    checker::history::draw(&history.ops.iter().collect::<Vec<_>>())
}

/// Compares two checkers on random histories; returns how many of them were invalid.
pub fn compare(
    checker: impl Checker,
    model: impl Checker,
    make: impl Fn(u64) -> History,
    mut look: impl FnMut(&History, &Verdict),
) {
    let mut invalid = 0;
    for seed in 0..count() {
        let history = make(seed);
        let (found, expected) =
            (checker.check(&history, &Budget::default()), model.check(&history, &Budget::default()));
        assert_eq!(found.word(), expected.word(), "seed {seed}: {found:#?}\n{}", picture(&history));
        invalid += u64::from(found.word() == "invalid");
        look(&history, &found);
    }
    assert!(invalid > count() / 20 && invalid < count() * 3 / 4, "{invalid} invalid of {}", count());
}

/// The operations of each anomaly are contradictory without the others.
pub fn cores_stand_alone(checker: impl Checker) -> impl FnMut(&History, &Verdict) {
    move |history, verdict| {
        let Verdict::Invalid { anomalies } = verdict else { return };
        for anomaly in anomalies {
            let ops = history.ops.iter().filter(|op| anomaly.ops.contains(&op.index)).cloned().collect();
            let core = History { ops, ..History::default() };
            let alone = checker.check(&core, &Budget::default());
            assert_eq!(alone.word(), "invalid", "{anomaly:#?}\n{}", picture(history));
            assert!(!anomaly.reason.is_empty() && !anomaly.drawing.is_empty());
        }
    }
}

#[derive(Default, Clone, Copy)]
pub struct Owned {
    pub holder: Option<u64>,
}

impl Simulated for Owned {
    fn call(&mut self, rng: &mut ChaCha8Rng, _: u64) -> (&'static str, Value) {
        (if rng.random_range(0..2) == 0 { "acquire" } else { "release" }, Value::Null)
    }

    fn apply(&mut self, f: &str, _: &Value, process: u64) -> Result<Value, ()> {
        self.holder = match (f, self.holder) {
            ("acquire", None) => Some(process),
            ("release", Some(holder)) if holder == process => None,
            _ => return Err(()),
        };
        Ok(Value::Null)
    }

    fn falsify(
        &mut self,
        _: &mut ChaCha8Rng,
        _: &str,
        _: &Value,
        result: Result<Value, ()>,
    ) -> Result<Value, ()> {
        match result {
            Ok(_) => Err(()),
            Err(()) => Ok(Value::Null),
        }
    }
}

impl Model for Owned {
    type State = Option<u64>;
    type Call = (bool, u64);

    fn init(&self) -> Option<u64> {
        None
    }

    fn step(&self, holder: &Option<u64>, &(acquires, process): &(bool, u64)) -> Option<Option<u64>> {
        match (acquires, holder) {
            (true, None) => Some(Some(process)),
            (false, Some(holder)) if *holder == process => Some(None),
            _ => None,
        }
    }

    fn is_pure(&self, _: &(bool, u64)) -> bool {
        false
    }
}

impl Object for Owned {
    fn call(&self, op: &Op) -> Result<Option<(bool, u64)>, String> {
        let Process::Client(id) = op.process else { return Err("not a client".into()) };
        Ok((op.end != OpEnd::Fail).then_some((op.f == "acquire", id)))
    }
}

#[test]
fn a_mutex_is_judged_as_by_search() {
    let make = |seed| history(Owned::default(), &shape(seed), seed);
    compare(Mutex, General::new("owned", Owned::default()), make, cores_stand_alone(Mutex));
}

/// A set or a list: elements in the order in which they came.
#[derive(Default, Clone)]
pub struct Elements {
    pub all: Vec<i64>,
    pub next: i64,
    pub is_list: bool,
}

impl Simulated for Elements {
    fn call(&mut self, rng: &mut ChaCha8Rng, _: u64) -> (&'static str, Value) {
        if rng.random_range(0..2) == 0 {
            return ("read", Value::Null);
        }
        self.next += 1;
        (if self.is_list { "append" } else { "add" }, json!(self.next))
    }

    fn apply(&mut self, f: &str, input: &Value, _: u64) -> Result<Value, ()> {
        if f != "read" {
            self.all.extend(input.as_i64());
            return Ok(Value::Null);
        }
        Ok(json!(self.all))
    }

    fn falsify(
        &mut self,
        rng: &mut ChaCha8Rng,
        f: &str,
        _: &Value,
        result: Result<Value, ()>,
    ) -> Result<Value, ()> {
        let Ok(Value::Array(mut all)) = result else { return Err(()) };
        match rng.random_range(0..5) {
            0 => all.push(json!(rng.random_range(1..self.next + 2))),
            1 => all.shuffle(rng),
            2 => drop(all.pop()),
            _ if !all.is_empty() => drop(all.remove(rng.random_range(0..all.len()))),
            _ => {}
        }
        assert_eq!(f, "read");
        Ok(Value::Array(all))
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Grown {
    Put(i64),
    Read(Vec<i64>),
}

impl Model for Elements {
    type State = Vec<i64>;
    type Call = Grown;

    fn init(&self) -> Vec<i64> {
        Vec::new()
    }

    fn step(&self, all: &Vec<i64>, call: &Grown) -> Option<Vec<i64>> {
        match call {
            Grown::Put(element) if self.is_list => Some([&all[..], &[*element]].concat()),
            Grown::Put(element) => {
                Some(all.iter().copied().chain([*element]).collect::<BTreeSet<_>>().into_iter().collect())
            }
            Grown::Read(seen) => (seen == all).then(|| all.clone()),
        }
    }

    fn is_pure(&self, call: &Grown) -> bool {
        matches!(call, Grown::Read(_))
    }
}

impl Object for Elements {
    fn call(&self, op: &Op) -> Result<Option<Grown>, String> {
        Ok(match (&*op.f, op.end) {
            (_, OpEnd::Fail) | ("read", OpEnd::Info) => None,
            ("read", OpEnd::Ok) => {
                let all = op.output.as_array().ok_or("no array")?;
                let mut all: Vec<i64> = all.iter().filter_map(Value::as_i64).collect();
                if !self.is_list {
                    all.sort_unstable();
                }
                Some(Grown::Read(all))
            }
            _ => op.input.as_i64().map(Grown::Put),
        })
    }
}

#[test]
fn a_set_is_judged_as_by_search() {
    let make = |seed| history(Elements::default(), &shape(seed), seed);
    compare(GrowSet, General::new("set", Elements::default()), make, |_, _| {});
}

#[test]
fn a_list_is_judged_as_by_search() {
    let object = || Elements { is_list: true, ..Elements::default() };
    let make = |seed| history(object(), &shape(seed), seed);
    compare(AppendList, General::new("list", object()), make, |_, _| {});
}

/// A lock that hands out tokens, and its store.
#[derive(Default)]
pub struct Tokens {
    pub last: i64,
    pub accepted: i64,
}

impl Simulated for Tokens {
    fn call(&mut self, rng: &mut ChaCha8Rng, _: u64) -> (&'static str, Value) {
        match rng.random_range(0..2) {
            0 => ("acquire", Value::Null),
            _ => ("guarded", json!(rng.random_range(self.accepted..self.last + 1).max(1))),
        }
    }

    fn apply(&mut self, f: &str, input: &Value, _: u64) -> Result<Value, ()> {
        if f == "acquire" {
            self.last += 1;
            return Ok(json!(self.last));
        }
        let token = input.as_i64().unwrap_or(0);
        if token < self.accepted || token > self.last {
            return Err(());
        }
        self.accepted = token;
        Ok(Value::Null)
    }

    fn falsify(
        &mut self,
        rng: &mut ChaCha8Rng,
        f: &str,
        _: &Value,
        _: Result<Value, ()>,
    ) -> Result<Value, ()> {
        Ok(if f == "acquire" { json!(rng.random_range(1..self.last + 3)) } else { Value::Null })
    }
}

/// The promises of a lock with tokens, word by word.
struct EveryPair;

impl Checker for EveryPair {
    fn name(&self) -> &'static str {
        "every-pair"
    }

    fn check(&self, history: &History, _: &Budget) -> Verdict {
        let ended = |f: &'static str, end| history.ops.iter().filter(move |op| op.f == f && op.end == end);
        let grants: Vec<(&Op, i64)> =
            ended("acquire", OpEnd::Ok).map(|op| (op, op.output.as_i64().expect("a token"))).collect();
        let writes: Vec<(&Op, i64)> =
            ended("guarded", OpEnd::Ok).map(|op| (op, op.input.as_i64().expect("a token"))).collect();
        let goes_back = |uses: &[(&Op, i64)]| {
            uses.iter().any(|(old, high)| uses.iter().any(|(new, low)| low < high && old.ret < new.call))
        };
        let twice = grants
            .iter()
            .any(|(one, token)| grants.iter().any(|(other, same)| token == same && one.index != other.index));
        let begun = |op: &Op, write: &Op| op.call < write.ret;
        let ungranted = writes.iter().any(|(write, token)| {
            !grants.iter().any(|(op, granted)| granted == token && begun(op, write))
                && !ended("acquire", OpEnd::Info).any(|op| begun(op, write))
        });
        if goes_back(&grants) || goes_back(&writes) || twice || ungranted {
            return Verdict::Invalid { anomalies: Vec::new() };
        }
        Verdict::Valid
    }
}

#[test]
fn tokens_are_judged_as_by_looking_at_every_pair() {
    let make = |seed| history(Tokens::default(), &shape(seed), seed);
    compare(FencedLock, EveryPair, make, cores_stand_alone(FencedLock));
}

#[derive(Default, Clone, Copy)]
pub struct Count {
    pub count: i64,
    /// Do increments return the count?
    pub counts: bool,
}

impl Simulated for Count {
    fn call(&mut self, rng: &mut ChaCha8Rng, _: u64) -> (&'static str, Value) {
        (if rng.random_range(0..2) == 0 { "read" } else { "increment" }, Value::Null)
    }

    fn apply(&mut self, f: &str, _: &Value, _: u64) -> Result<Value, ()> {
        self.count += i64::from(f == "increment");
        Ok(if f == "increment" && !self.counts { Value::Null } else { json!(self.count) })
    }

    fn falsify(
        &mut self,
        rng: &mut ChaCha8Rng,
        f: &str,
        _: &Value,
        result: Result<Value, ()>,
    ) -> Result<Value, ()> {
        // An increment that failed had no effect: the real one had, so that is a lie too.
        if f == "increment" && rng.random_range(0..2) == 0 {
            return Err(());
        }
        if f == "increment" && !self.counts {
            return result;
        }
        Ok(json!((self.count + rng.random_range(-2..3)).max(0)))
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Counting {
    Read(i64),
    /// The count it returned, if it did.
    Increment(Option<i64>),
}

impl Model for Count {
    type State = i64;
    type Call = Counting;

    fn init(&self) -> i64 {
        0
    }

    fn step(&self, count: &i64, call: &Counting) -> Option<i64> {
        match call {
            Counting::Increment(made) => made.is_none_or(|made| made == count + 1).then_some(count + 1),
            Counting::Read(read) => (read == count).then_some(*count),
        }
    }

    fn is_pure(&self, call: &Counting) -> bool {
        matches!(call, Counting::Read(_))
    }
}

impl Object for Count {
    fn call(&self, op: &Op) -> Result<Option<Counting>, String> {
        Ok(match (&*op.f, op.end) {
            (_, OpEnd::Fail) | ("read", OpEnd::Info) => None,
            ("read", OpEnd::Ok) => op.output.as_i64().map(Counting::Read),
            _ => Some(Counting::Increment(op.output.as_i64())),
        })
    }
}

#[test]
fn a_counter_is_judged_as_by_search() {
    for counts in [false, true] {
        let count = Count { count: 0, counts };
        let make = |seed| history(count, &shape(seed), seed);
        compare(Counter, General::new("count", count), make, |_, _| {});
    }
}

#[derive(Default, Clone)]
pub struct Line {
    pub waiting: VecDeque<i64>,
    pub next: i64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub enum InLine {
    Enqueue(i64),
    Dequeue(Option<i64>),
    Unknown,
}

impl Simulated for Line {
    fn call(&mut self, rng: &mut ChaCha8Rng, _: u64) -> (&'static str, Value) {
        if rng.random_range(0..2) == 0 {
            return ("dequeue", Value::Null);
        }
        self.next += 1;
        ("enqueue", json!(self.next))
    }

    fn apply(&mut self, f: &str, input: &Value, _: u64) -> Result<Value, ()> {
        if f == "dequeue" {
            return Ok(json!(self.waiting.pop_front()));
        }
        self.waiting.extend(input.as_i64());
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
            ("dequeue", 0) => Ok(Value::Null),
            ("dequeue", 1) => Ok(json!(rng.random_range(1..self.next + 2))),
            ("enqueue", 0) => Err(()),
            _ => result,
        }
    }
}

impl Model for Line {
    type State = VecDeque<i64>;
    type Call = InLine;

    fn init(&self) -> VecDeque<i64> {
        VecDeque::new()
    }

    fn step(&self, line: &VecDeque<i64>, call: &InLine) -> Option<VecDeque<i64>> {
        let mut line = line.clone();
        match call {
            InLine::Enqueue(value) => line.push_back(*value),
            InLine::Dequeue(value) if line.front().copied() != *value => return None,
            InLine::Dequeue(_) | InLine::Unknown => drop(line.pop_front()),
        }
        Some(line)
    }

    fn is_pure(&self, _: &InLine) -> bool {
        false
    }
}

impl Object for Line {
    fn call(&self, op: &Op) -> Result<Option<InLine>, String> {
        Ok(match (&*op.f, op.end) {
            (_, OpEnd::Fail) => None,
            ("enqueue", _) => op.input.as_i64().map(InLine::Enqueue),
            (_, OpEnd::Ok) => Some(InLine::Dequeue(op.output.as_i64())),
            _ => Some(InLine::Unknown),
        })
    }
}

#[test]
fn a_queue_is_judged_as_by_search() {
    let make = |seed| history(Line::default(), &shape(seed), seed);
    compare(Queue, General::new("line", Line::default()), make, |_, _| {});
}

/// Four accounts that begin with 10 each.
pub struct Accounts {
    pub balances: [i64; 4],
}

impl Simulated for Accounts {
    fn call(&mut self, rng: &mut ChaCha8Rng, _: u64) -> (&'static str, Value) {
        match rng.random_range(0..2) {
            0 => ("read", Value::Null),
            _ => {
                let (from, to) = (rng.random_range(0..4), rng.random_range(0..4));
                ("transfer", json!([from, to, rng.random_range(1..8)]))
            }
        }
    }

    fn apply(&mut self, f: &str, input: &Value, _: u64) -> Result<Value, ()> {
        if f == "read" {
            return Ok(json!(self.balances));
        }
        let part = |i: usize| input[i].as_i64().unwrap_or(0);
        let (from, to, amount) = (part(0) as usize, part(1) as usize, part(2));
        if self.balances[from] < amount {
            return Err(());
        }
        self.balances[from] -= amount;
        self.balances[to] += amount;
        Ok(Value::Null)
    }

    fn falsify(
        &mut self,
        rng: &mut ChaCha8Rng,
        f: &str,
        _: &Value,
        result: Result<Value, ()>,
    ) -> Result<Value, ()> {
        let Ok(Value::Array(mut all)) = result else { return result };
        assert_eq!(f, "read");
        match rng.random_range(0..3) {
            0 => drop(all.pop()),
            1 => all[rng.random_range(0..4)] = json!(rng.random_range(-5..30)),
            _ => all.shuffle(rng),
        }
        Ok(Value::Array(all))
    }
}

/// The same promise, stated for every read alone.
struct EveryRead;

impl Checker for EveryRead {
    fn name(&self) -> &'static str {
        "every-read"
    }

    fn check(&self, history: &History, _: &Budget) -> Verdict {
        let reads = history.ops.iter().filter(|op| op.f == "read" && op.end == OpEnd::Ok);
        let balances: Vec<Vec<i64>> = reads
            .map(|op| op.output.as_array().expect("balances").iter().filter_map(Value::as_i64).collect())
            .collect();
        let sound = balances.iter().all(|all| {
            all.len() == balances[0].len() && all.iter().sum::<i64>() == 40 && all.iter().all(|&b| b >= 0)
        });
        if sound { Verdict::Valid } else { Verdict::Invalid { anomalies: Vec::new() } }
    }
}

#[test]
fn a_bank_keeps_its_total_in_every_read() {
    let make = |seed| history(Accounts { balances: [10; 4] }, &shape(seed), seed);
    let bank = Bank { total: Some(40), overdraft: false };
    compare(bank, EveryRead, make, cores_stand_alone(bank));
}

#[test]
fn a_bank_without_a_stated_total_takes_the_first_reads_word() {
    let word = |drawing: &str| {
        let history = checker::history::sketch::history(drawing).expect("well drawn");
        Bank::default().check(&history, &Budget::default()).word()
    };
    assert_eq!(word("p0 |-read()=[1,2]-| |-read()=[0,3]-|"), "valid");
    assert_eq!(word("p0 |-read()=[1,2]-| |-read()=[1,3]-|"), "invalid");
    assert_eq!(word("p0 |-read()=[1,2]-| |-read()=[3]-|"), "invalid");
}

/// A store with a version; a replica may lag behind.
#[derive(Default)]
pub struct Versions {
    pub version: i64,
}

impl Simulated for Versions {
    fn call(&mut self, rng: &mut ChaCha8Rng, _: u64) -> (&'static str, Value) {
        (if rng.random_range(0..3) == 0 { "write" } else { "read" }, Value::Null)
    }

    fn apply(&mut self, f: &str, _: &Value, _: u64) -> Result<Value, ()> {
        self.version += i64::from(f == "write");
        Ok(json!(self.version))
    }

    fn falsify(
        &mut self,
        rng: &mut ChaCha8Rng,
        _: &str,
        _: &Value,
        _: Result<Value, ()>,
    ) -> Result<Value, ()> {
        Ok(json!((self.version - rng.random_range(0..3)).max(0)))
    }
}

/// The four guarantees, for every two operations of a session.
struct EveryTwo;

impl Checker for EveryTwo {
    fn name(&self) -> &'static str {
        "every-two"
    }

    fn check(&self, history: &History, _: &Budget) -> Verdict {
        let broken = history.ops.iter().any(|new| {
            history.ops.iter().any(|old| {
                let both = old.end == OpEnd::Ok && new.end == OpEnd::Ok;
                let (low, high) = (new.output.as_i64(), old.output.as_i64());
                let back = if new.f == "write" { low <= high } else { low < high };
                both && old.process == new.process && old.index < new.index && back
            })
        });
        if broken { Verdict::Invalid { anomalies: Vec::new() } } else { Verdict::Valid }
    }
}

#[test]
fn sessions_are_judged_as_by_looking_at_every_two_operations() {
    let make = |seed| history(Versions::default(), &shape(seed), seed);
    compare(Sessions, EveryTwo, make, cores_stand_alone(Sessions));
}

#[test]
fn each_session_guarantee_has_its_name() {
    let name = |drawing: &str| {
        let history = checker::history::sketch::history(drawing).expect("well drawn");
        match Sessions.check(&history, &Budget::default()) {
            Verdict::Invalid { anomalies } => anomalies[0].name.clone(),
            other => other.word().to_string(),
        }
    };
    assert_eq!(name("p0 |-write()=2-| |-read()=1-|"), "read-your-writes");
    assert_eq!(name("p0 |-read()=2-| |-read()=1-|"), "monotonic-reads");
    assert_eq!(name("p0 |-write()=2-| |-write()=1-|"), "monotonic-writes");
    assert_eq!(name("p0 |-read()=2-| |-write()=2-|"), "writes-follow-reads");
    assert_eq!(name("p0 |-read()=2-| |-write()=3-| |-read()=3-|\np1 |-read()=1-|"), "valid");
}

#[test]
fn foreign_operations_and_repeated_elements_are_not_judged() {
    let unknown = |checker: &dyn Checker, drawing: &str| {
        let history = checker::history::sketch::history(drawing).expect("well drawn");
        assert_eq!(checker.check(&history, &Budget::default()).word(), "unknown", "{drawing}");
    };
    for checker in [
        &Mutex as &dyn Checker,
        &FencedLock,
        &GrowSet,
        &AppendList,
        &Counter,
        &Queue,
        &Bank::default(),
        &Sessions,
    ] {
        unknown(checker, "p0 |-sing()=x-|");
    }
    unknown(&GrowSet, "p0 |-add(1)-| |-add(1)-|");
    unknown(&AppendList, "p0 |-append(1)-| |-read()=3-|");
    unknown(&Counter, "p0 |-read()=x-|");
    unknown(&Queue, "p0 |-enqueue(1)-| |-enqueue(1)-|");
    unknown(&FencedLock, "p0 |-acquire()=x-|");
}
