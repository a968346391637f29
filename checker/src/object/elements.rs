//! A set, element by element: `add`, `remove`, `contains`, besides whole reads.
//!
//! What happens to one element has nothing to do with the others, so each is judged alone (Herlihy and Wing 1990;
//! Horn and Kroening 2015), as a register that holds *absent* or *present*:
//! - `add` and `remove` write, whatever was there before; where they return `true` or `false`, that says whether
//!   they changed anything, and they are a compare-and-set, or a read;
//! - `contains` returns `true` or `false`;
//! - `read` returns all elements: a sight of each of them.
//!
//! ```text
//! p0 |-add(3)-|  |-remove(3)-|
//! p1                            |-contains(3)=false-|  |-contains(3)=true-|     invalid: 3 is back
//! ```
//!
//! [`ElementSet`] is exact for what touches one element. A whole read is one instant for all of them, of which it
//! takes no notice; [`LinearizableSet`] does, by search.
//!
//! ```
//! use checker::object::elements::ElementSet;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |-add(3)-|  |-remove(3)-|
//! p1                            |-contains(3)=false-|  |-contains(3)=true-|
//! ",
//! )?;
//! let Verdict::Invalid { anomalies } = ElementSet.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!(anomalies[0].name, "resurrected-element");
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

mod fate;

use std::collections::BTreeSet;

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;

use super::{Broken, Trouble, by_key, foreign, searched};
use crate::explain;
use crate::general::Object;
use crate::model::register::{NULL, RegisterCall, RegisterPart, ValueId};
use crate::model::{Entry, Model, key_text};
use crate::plan::{self, Decision};
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Verdict};
pub use fate::{SetTally, tally};

/// Is every element, key by key, one of a linearizable set that starts empty? Exact for `add`, `remove` and
/// `contains`, necessary for whole reads. O(n log n) where elements come and go once, by the register's engines
/// within the budget elsewhere; every whole read counts once for every element.
///
/// Anomalies: `fabricated-value`, `aborted-read`, `value-of-another-key`, `duplicated-element` (twice in one read),
/// `lost-element` (acknowledged, not removed, and gone for good), `resurrected-element` (removed, not added again,
/// and back), `stale-read`; `future-read`, `split-cas` and others of the register.
#[derive(Debug, Clone, Copy, Default)]
pub struct ElementSet;

impl Checker for ElementSet {
    fn name(&self) -> &'static str {
        "element-set"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, budget| judge(history, ops, budget))
    }
}

/// What an operation tells about one element.
#[derive(Debug, Clone, Copy)]
struct Mention<'h> {
    place: usize,
    op: &'h Op,
    call: RegisterCall,
}

const PRESENT: ValueId = 1;

/// The operations of one set.
#[derive(Default)]
struct Part<'h> {
    /// In order of their first mention.
    elements: Vec<&'h Value>,
    numbers: FxHashMap<&'h Value, usize>,
    /// By element, in order of invocation; whole reads only where they show it.
    mentions: Vec<Vec<Mention<'h>>>,
    failed: FxHashMap<&'h Value, usize>,
    /// Whole reads.
    reads: Vec<(usize, &'h Op)>,
}

impl<'h> Part<'h> {
    fn new(ops: &[(usize, &'h Op)]) -> Result<Self, Trouble> {
        let mut part = Part::default();
        for &(place, op) in ops {
            let call = match (&*op.f, op.end) {
                ("add", OpEnd::Fail) => {
                    part.failed.insert(&op.input, place);
                    continue;
                }
                ("remove" | "contains" | "read", OpEnd::Fail) | ("contains" | "read", OpEnd::Info) => {
                    continue;
                }
                ("read", OpEnd::Ok) => {
                    part.whole_read(place, op)?;
                    continue;
                }
                ("add", _) => update(op, PRESENT, NULL),
                ("remove", _) => update(op, NULL, PRESENT),
                ("contains", OpEnd::Ok) => match op.output {
                    Value::Bool(found) => RegisterCall::Read(ValueId::from(found)),
                    ref other => {
                        let why = format!("operation {} returned {other}, not true or false", op.index);
                        return Err(Trouble::Unjudged(why));
                    }
                },
                _ => return Err(foreign(op, "a set")),
            };
            part.mention(&op.input, Mention { place, op, call });
        }
        Ok(part)
    }

    fn mention(&mut self, element: &'h Value, mention: Mention<'h>) {
        let fresh = self.elements.len();
        let number = *self.numbers.entry(element).or_insert(fresh);
        if number == fresh {
            self.elements.push(element);
            self.mentions.push(Vec::new());
        }
        self.mentions[number].push(mention);
    }

    fn whole_read(&mut self, place: usize, op: &'h Op) -> Result<(), Trouble> {
        let shown: &[Value] = match &op.output {
            Value::Array(all) => all,
            Value::Null => &[],
            other => return Err(Trouble::Unjudged(format!("operation {} read {other}, no array", op.index))),
        };
        let mut met = FxHashSet::default();
        for element in shown {
            if !met.insert(element) {
                let reason = format!("the read by process {} showed {element} twice", op.process);
                return Err(Broken::new("duplicated-element", vec![place], reason).into());
            }
            self.mention(element, Mention { place, op, call: RegisterCall::Read(PRESENT) });
        }
        self.reads.push((place, op));
        Ok(())
    }

    /// All that tells something about an element, in order of invocation: whole reads that miss it among them.
    fn told(&self, number: usize) -> Vec<Mention<'h>> {
        let mentions = &self.mentions[number];
        if self.reads.is_empty() {
            return mentions.clone();
        }
        let shown: FxHashSet<usize> = mentions.iter().map(|mention| mention.place).collect();
        let missed = self.reads.iter().filter(|(place, _)| !shown.contains(place));
        let missed = missed.map(|&(place, op)| Mention { place, op, call: RegisterCall::Read(NULL) });
        let mut told: Vec<Mention<'h>> = mentions.iter().copied().chain(missed).collect();
        told.sort_unstable_by_key(|mention| mention.place);
        told
    }
}

/// An `add` or `remove`: `true` and `false` say whether it changed anything; its own argument says nothing.
fn update(op: &Op, after: ValueId, before: ValueId) -> RegisterCall {
    match op.output {
        Value::Bool(true) if op.end == OpEnd::Ok && op.input != op.output => RegisterCall::Cas(before, after),
        Value::Bool(false) if op.end == OpEnd::Ok && op.input != op.output => RegisterCall::Read(after),
        _ => RegisterCall::Write(after),
    }
}

fn judge(history: &History, ops: &[(usize, &Op)], budget: &Budget) -> Result<(), Trouble> {
    let part = Part::new(ops)?;
    let mut verdict = Verdict::Valid;
    for (number, element) in part.elements.iter().enumerate() {
        if verdict.word() == "invalid" {
            break;
        }
        let told = part.told(number);
        from_somewhere(element, &told, &part)?;
        verdict = verdict.merge(judge_element(history, element, &told, budget));
    }
    match verdict {
        Verdict::Valid => Ok(()),
        verdict => Err(Trouble::Searched(verdict)),
    }
}

/// Whoever met the element met one that somebody may have added.
fn from_somewhere(element: &Value, told: &[Mention<'_>], part: &Part<'_>) -> Result<(), Broken> {
    if told.iter().any(|mention| mention.op.f == "add") {
        return Ok(());
    }
    let meets = |mention: &&Mention<'_>| mention.call.needs() == Some(PRESENT);
    let Some(mention) = told.iter().find(meets) else { return Ok(()) };
    let claim = format!("the {} by process {} found {element}", mention.op.f, mention.op.process);
    Err(Broken::nowhere(element, mention.place, part.failed.get(element).copied(), &claim))
}

fn judge_element(history: &History, element: &Value, told: &[Mention<'_>], budget: &Budget) -> Verdict {
    let ret = |op: &Op| if op.end == OpEnd::Info { u64::MAX } else { op.ret };
    let entries = told.iter().map(|mention| {
        let Mention { place, op, call } = *mention;
        Entry { call, inv: op.call, ret: ret(op), op: place }
    });
    let register =
        RegisterPart { entries: entries.collect(), values: vec![&Value::Null, element], failed: Vec::new() };
    let key = told.first().map_or(String::new(), |mention| key_text(&mention.op.key));
    let case = explain::Case { history, part: &register, key };
    let mut anomaly = match plan::decide(&register, budget) {
        Decision::Legal => return Verdict::Valid,
        Decision::Unknown(undecided) => {
            return Verdict::unknown(format!("element {element}: {}", case.undecided(&undecided)));
        }
        Decision::Illegal(proof) => case.proven(&proof),
        Decision::Exhausted(deepest) => case.searched(deepest, budget),
    };
    let core: Vec<Mention<'_>> =
        told.iter().filter(|mention| anomaly.ops.contains(&mention.op.index)).copied().collect();
    if let Some(broken) = fate::of_core(element, &core, told) {
        anomaly = case.told(broken.name, broken.places, broken.reason);
    }
    Verdict::Invalid { anomalies: vec![anomaly] }
}

/// Is the history, key by key, one of a linearizable set, whole reads and all? Each element alone first, then by
/// search: exact within the budget.
///
/// Anomalies: those of [`ElementSet`], and `non-linearizable` from the search.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinearizableSet;

impl Checker for LinearizableSet {
    fn name(&self) -> &'static str {
        "linearizable-set"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, budget| {
            judge(history, ops, budget)?;
            match ops.iter().any(|(_, op)| op.f == "read" && op.end == OpEnd::Ok) {
                true => searched(history, ops, self.name(), Whole, budget),
                false => Ok(()),
            }
        })
    }
}

/// All elements, as JSON.
struct Whole;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Call {
    /// The element, what it is afterwards, and whether that was a change, where that is known.
    Set(String, bool, Option<bool>),
    Contains(String, bool),
    Read(BTreeSet<String>),
}

impl Model for Whole {
    type State = BTreeSet<String>;
    type Call = Call;

    fn init(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn step(&self, all: &BTreeSet<String>, call: &Call) -> Option<BTreeSet<String>> {
        let mut after = all.clone();
        match call {
            Call::Set(element, present, changed) => {
                let is_change = match present {
                    true => after.insert(element.clone()),
                    false => after.remove(element),
                };
                changed.is_none_or(|changed| changed == is_change).then_some(after)
            }
            Call::Contains(element, found) => (all.contains(element) == *found).then_some(after),
            Call::Read(shown) => (shown == all).then_some(after),
        }
    }

    fn is_pure(&self, call: &Call) -> bool {
        matches!(call, Call::Contains(..) | Call::Read(_) | Call::Set(_, _, Some(false)))
    }
}

impl Object for Whole {
    fn call(&self, op: &Op) -> Result<Option<Call>, String> {
        let element = op.input.to_string();
        let changed = match update(op, PRESENT, NULL) {
            RegisterCall::Cas(..) => Some(true),
            RegisterCall::Read(_) => Some(false),
            _ => None,
        };
        Ok(match (&*op.f, op.end) {
            (_, OpEnd::Fail) | ("contains" | "read", OpEnd::Info) => None,
            ("add", _) => Some(Call::Set(element, true, changed)),
            ("remove", _) => Some(Call::Set(element, false, changed)),
            ("contains", _) => Some(Call::Contains(element, op.output == true)),
            _ => {
                let shown = op.output.as_array().map_or(&[][..], Vec::as_slice);
                Some(Call::Read(shown.iter().map(Value::to_string).collect()))
            }
        })
    }
}
