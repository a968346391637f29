//! What holds for every object: an atomic one is judged valid, what nobody saw may be left out, names do not matter.

use checker::object::bank::{Bank, LinearizableBank};
use checker::object::counter::Counter;
use checker::object::delivery::AtLeastOnceQueue;
use checker::object::elements::{ElementSet, LinearizableSet};
use checker::object::fence::FencedLock;
use checker::object::lease::Leases;
use checker::object::list::AppendList;
use checker::object::mutex::Mutex;
use checker::object::queue::Queue;
use checker::object::session::{Sessions, ValueSessions};
use checker::object::set::GrowSet;
use checker::object::text::Text;
use checker::{Anomaly, Budget, Checker, History, Op, OpEnd, Verdict};
use serde_json::{Value, json};

use crate::accounts::{Bag, Lagging, Throne};
use crate::amounts::{Amount, Kind};
use crate::objects::{Accounts, Count, Elements, Line, Owned, Tokens, Versions};
use crate::sets::Members;
use crate::simulated::{Shape, Simulated, history, shape};
use crate::text::Words;

/// A history by its shape and seed.
type Make = Box<dyn Fn(&Shape, u64) -> History>;

/// An object and its checker.
struct Case {
    checker: Box<dyn Checker>,
    make: Make,
    /// Are its values mere names, so that any others will do?
    has_names: bool,
}

fn case<S: Simulated + 'static>(checker: impl Checker + 'static, object: impl Fn() -> S + 'static) -> Case {
    Case {
        checker: Box::new(checker),
        make: Box::new(move |shape, seed| history(object(), shape, seed)),
        has_names: false,
    }
}

fn named<S: Simulated + 'static>(checker: impl Checker + 'static, object: impl Fn() -> S + 'static) -> Case {
    Case { has_names: true, ..case(checker, object) }
}

fn cases() -> Vec<Case> {
    let list = || Elements { is_list: true, ..Elements::default() };
    let reports = || Members { reports: true, ..Members::default() };
    let reads = || Members { reads: true, ..Members::default() };
    let amount = |kind| move || Amount { count: 0, kind };
    let accounts = || Accounts { balances: [10; 4] };
    vec![
        named(GrowSet, Elements::default),
        named(AppendList, list),
        named(ElementSet, Members::default),
        named(ElementSet, reports),
        named(LinearizableSet, reads),
        named(Queue, Line::default),
        named(AtLeastOnceQueue { once: false }, Bag::default),
        named(AtLeastOnceQueue { once: true }, Bag::default),
        named(ValueSessions, Lagging::default),
        named(Text, Words::default),
        named(Text, || Words { kinds: Some(3), ..Words::default() }),
        case(Counter, Count::default),
        case(Counter, || Count { counts: true, ..Count::default() }),
        case(Counter, amount(Kind::Up)),
        case(Counter, amount(Kind::UpAndDown)),
        case(Counter, amount(Kind::Fetch)),
        case(Counter, amount(Kind::Mixed)),
        case(Mutex, Owned::default),
        case(FencedLock, Tokens::default),
        case(Leases, Throne::default),
        case(Sessions, Versions::default),
        case(Bank { total: Some(40), overdraft: false }, accounts),
    ]
}

fn judge(case: &Case, history: &History) -> Verdict {
    case.checker.check(history, &Budget::default())
}

fn picture(history: &History) -> String {
    checker::history::draw(&history.ops.iter().collect::<Vec<_>>())
}

#[test]
fn an_atomic_object_is_judged_valid() {
    for case in cases() {
        for seed in 0..400 {
            let shape = Shape { ops: 20, wrong: 0, ..shape(seed) };
            let history = (case.make)(&shape, seed);
            let verdict = judge(&case, &history);
            assert_eq!(
                verdict,
                Verdict::Valid,
                "{}, seed {seed}\n{}",
                case.checker.name(),
                picture(&history)
            );
        }
    }
}

/// May the operation have happened, and did nobody see it?
fn is_unseen(op: &Op, history: &History) -> bool {
    let shows = |other: &Op| match &other.output {
        Value::Array(all) => all.contains(&op.input),
        Value::String(text) => op.input.as_str().is_some_and(|piece| text.contains(piece)),
        value => *value == op.input || other.f == "contains" && other.input == op.input,
    };
    let updates = ["add", "append", "put", "enqueue", "write"].contains(&&*op.f);
    op.end == OpEnd::Info
        && updates
        && !history.ops.iter().any(|other| other.end == OpEnd::Ok && shows(other))
}

#[test]
fn dropping_an_unknown_update_that_nobody_saw_changes_nothing() {
    let mut all = 0;
    for case in cases().into_iter().filter(|case| case.has_names) {
        let mut dropped = 0;
        for seed in 0..600 {
            let history = (case.make)(&Shape { info: 25, ..shape(seed) }, seed);
            let kept = history.ops.iter().filter(|op| !is_unseen(op, &history)).cloned().collect();
            let without = History { ops: kept, ..history.clone() };
            // What says whether it changed anything shows what was there.
            if history.ops.iter().any(|op| (op.f == "add" || op.f == "remove") && op.output.is_boolean()) {
                continue;
            }
            dropped += history.ops.len() - without.ops.len();
            let (one, other) = (judge(&case, &history), judge(&case, &without));
            assert_eq!(
                one.word(),
                other.word(),
                "{}, seed {seed}\n{}",
                case.checker.name(),
                picture(&history)
            );
        }
        println!("{}: {dropped} dropped", case.checker.name());
        all += dropped;
    }
    assert!(all > 1_000, "{all} dropped");
}

/// Another name for a value; what says true or false, or nothing, stays.
fn renamed(value: &Value) -> Value {
    match value {
        Value::Array(all) => all.iter().map(renamed).collect(),
        Value::String(text) => json!(text.replace('<', "«new ").replace('>', "»")),
        Value::Number(number) => json!(format!("v{number}")),
        other => other.clone(),
    }
}

#[test]
fn renaming_values_changes_nothing() {
    let told = |verdict: Verdict| match verdict {
        Verdict::Invalid { anomalies } => {
            let told = |anomaly: &Anomaly| format!("{} {:?}", anomaly.name, anomaly.ops);
            anomalies.iter().map(told).collect()
        }
        other => vec![other.word().to_string()],
    };
    for case in cases().into_iter().filter(|case| case.has_names) {
        for seed in 0..300 {
            let history = (case.make)(&shape(seed), seed);
            let mut other = history.clone();
            for op in &mut other.ops {
                (op.input, op.output) = (renamed(&op.input), renamed(&op.output));
            }
            let (one, other) = (told(judge(&case, &history)), told(judge(&case, &other)));
            assert_eq!(one, other, "{}, seed {seed}\n{}", case.checker.name(), picture(&history));
        }
    }
}

#[test]
fn a_linearizable_bank_that_is_atomic_is_valid() {
    let opened = |history: &mut History| {
        let mut open = history.ops[0].clone();
        history.ops.iter_mut().for_each(|op| (op.call, op.ret) = (op.call + 2, op.ret.saturating_add(2)));
        (open.f, open.input, open.output) = ("open".into(), json!([10, 10, 10, 10]), Value::Null);
        (open.end, open.call, open.ret, open.index) = (OpEnd::Ok, 0, 1, 1 << 40);
        history.ops.insert(0, open);
    };
    for seed in 0..300 {
        let mut history = history(Accounts { balances: [10; 4] }, &Shape { wrong: 0, ..shape(seed) }, seed);
        opened(&mut history);
        assert_eq!(LinearizableBank.check(&history, &Budget::default()), Verdict::Valid, "seed {seed}");
    }
}
