//! Leaders by lease: at most one in every epoch, and epochs that never go back.
//!
//! Everything that tells who leads says `{leader, epoch}`, or `[leader, epoch]`; with `until_ns` as a third part it
//! also says until when, on the clock of the history, the leader may act without asking.
//! - `elect`, with whoever stands as its argument, returns who leads after it: the one who stood, or another one.
//! - `renew`, with `{leader, epoch}` as its argument, succeeded: the leader still led. What it returns, or else its
//!   argument, is what it says.
//! - `resign`, with the same, gives the lease back.
//! - `leader` returns who leads, or null for nobody.
//!
//! ```text
//! p0 |-elect(a)=[a,1]-|                       |-renew([a,1])-|     invalid: 2 had begun
//! p1                     |-elect(b)=[b,2]-|
//! ```
//!
//! What is told must hold at some instant of the operation that tells it. So an epoch that was told certainly had
//! begun when that operation returned, and every earlier one was over: whoever is told of one of those in an
//! operation that began after that was told of a second leader.
//!
//! An indefinite `elect` may have begun any epoch, or none; whatever else is indefinite tells nothing.
//!
//! ```
//! use checker::object::lease::Leases;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |-elect(a)=[a,1]-|                       |-renew([a,1])-|
//! p1                     |-elect(b)=[b,2]-|
//! ",
//! )?;
//! let Verdict::Invalid { anomalies } = Leases.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!((anomalies[0].name.as_str(), &anomalies[0].ops[..]), ("epoch-went-back", &[2, 4][..]));
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::order::{Ordered, first_back};
use super::{Broken, Trouble, by_key, foreign};
use crate::explain::spoken;
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Verdict};

/// Is there, key by key, at most one leader at a time, as far as was told? Exact as to what was told; O(n log n).
///
/// Anomalies: `two-leaders` (in one epoch), `epoch-went-back` (told of after a later one was known),
/// `resigned-leader` (told of after it had resigned), `overlapping-leases` (another leader before a lease ran out
/// that nobody gave back), `fabricated-value` (an epoch that no election can have begun, where elections are in the
/// history).
#[derive(Debug, Clone, Copy, Default)]
pub struct Leases;

impl Checker for Leases {
    fn name(&self) -> &'static str {
        "leases"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, _| judge(ops))
    }
}

/// What one operation told.
#[derive(Clone, Copy)]
struct Told<'h> {
    place: usize,
    op: &'h Op,
    leader: &'h Value,
    epoch: i64,
    until_ns: Option<u64>,
}

impl<'h> Told<'h> {
    fn new(place: usize, op: &'h Op, value: &'h Value) -> Result<Self, Trouble> {
        let part = |name: &str, at: usize| value.get(name).or_else(|| value.get(at));
        match (part("leader", 0), part("epoch", 1).and_then(Value::as_i64)) {
            (Some(leader), Some(epoch)) if !leader.is_null() => {
                Ok(Told { place, op, leader, epoch, until_ns: part("until_ns", 2).and_then(Value::as_u64) })
            }
            _ => Err(Trouble::Unjudged(format!("operation {}: {value} is no leader and epoch", op.index))),
        }
    }

    fn spoken(&self) -> String {
        let (f, process) = (&self.op.f, self.op.process);
        format!(
            "the {f} by process {process} told of {} as leader in epoch {}",
            spoken(self.leader),
            self.epoch
        )
    }
}

#[derive(Default)]
struct Part<'h> {
    told: Vec<Told<'h>>,
    resigned: Vec<Told<'h>>,
    /// Calls of elections of which nobody knows the outcome.
    unknown: Vec<u64>,
}

fn judge(ops: &[(usize, &Op)]) -> Result<(), Trouble> {
    let mut part = Part::default();
    for &(place, op) in ops {
        match (&*op.f, op.end) {
            ("elect", OpEnd::Info) => part.unknown.push(op.call),
            ("resign", OpEnd::Ok | OpEnd::Info) => part.resigned.push(Told::new(place, op, &op.input)?),
            ("elect" | "leader", OpEnd::Ok) if op.output.is_null() => {}
            ("elect" | "leader", OpEnd::Ok) => part.told.push(Told::new(place, op, &op.output)?),
            ("renew", OpEnd::Ok) => {
                let says = Told::new(place, op, &op.output);
                part.told.push(says.or_else(|_| Told::new(place, op, &op.input))?);
            }
            ("elect" | "renew" | "leader" | "resign", _) => {}
            _ => return Err(foreign(op, "a leader's lease")),
        }
    }
    part.one_leader_an_epoch()?;
    part.never_back()?;
    part.elected()?;
    part.none_resigned()?;
    Ok(part.disjoint()?)
}

impl Part<'_> {
    fn one_leader_an_epoch(&self) -> Result<(), Broken> {
        let mut leaders: FxHashMap<i64, Told<'_>> = FxHashMap::default();
        for &told in &self.told {
            let first = leaders.entry(told.epoch).or_insert(told);
            if first.leader != told.leader {
                let reason = format!("{}, and {}", first.spoken(), told.spoken());
                return Err(Broken::new("two-leaders", vec![first.place, told.place], reason));
            }
        }
        Ok(())
    }

    fn never_back(&self) -> Result<(), Broken> {
        let told = |told: &Told<'_>| Ordered { rank: told.epoch, call: told.op.call, ret: told.op.ret };
        let Some((old, new)) = first_back(&self.told, told) else { return Ok(()) };
        let reason =
            format!("{}, although epoch {} had been told of before it began", new.spoken(), old.epoch);
        Err(Broken::new("epoch-went-back", vec![old.place, new.place], reason))
    }

    /// Every epoch was begun by an election that had been called by then, where there are any.
    fn elected(&self) -> Result<(), Broken> {
        let mut begun: FxHashMap<i64, Told<'_>> = FxHashMap::default();
        for &told in self.told.iter().filter(|told| told.op.f == "elect") {
            let first = begun.entry(told.epoch).or_insert(told);
            if told.op.call < first.op.call {
                *first = told;
            }
        }
        if begun.is_empty() {
            return Ok(());
        }
        let unknown = self.unknown.iter().min().copied().unwrap_or(u64::MAX);
        let odd = |told: &&Told<'_>| {
            unknown > told.op.ret && begun.get(&told.epoch).is_none_or(|elect| elect.op.call > told.op.ret)
        };
        let Some(told) = self.told.iter().find(odd) else { return Ok(()) };
        let elect = begun.get(&told.epoch);
        let when = if elect.is_some() { " by then" } else { "" };
        let reason = format!("{}, which no election had begun{when}", told.spoken());
        let places = elect.map(|elect| elect.place).into_iter().chain([told.place]).collect();
        Err(Broken::new("fabricated-value", places, reason))
    }

    fn none_resigned(&self) -> Result<(), Broken> {
        let mut over: FxHashMap<i64, Told<'_>> = FxHashMap::default();
        for &resign in self.resigned.iter().filter(|resign| resign.op.end == OpEnd::Ok) {
            let first = over.entry(resign.epoch).or_insert(resign);
            if resign.op.ret < first.op.ret {
                *first = resign;
            }
        }
        let after =
            |told: &&Told<'_>| over.get(&told.epoch).is_some_and(|resign| resign.op.ret < told.op.call);
        let Some(told) = self.told.iter().find(after) else { return Ok(()) };
        let resign = over[&told.epoch].place;
        let reason = format!("{}, although that leader had resigned before it began", told.spoken());
        Err(Broken::new("resigned-leader", vec![resign, told.place], reason))
    }

    /// Nobody leads before the leases of earlier epochs have run out, or were given back.
    fn disjoint(&self) -> Result<(), Broken> {
        let mut given_back: FxHashMap<i64, u64> = FxHashMap::default();
        for resign in &self.resigned {
            let first = given_back.entry(resign.epoch).or_insert(u64::MAX);
            *first = resign.op.call_ns.min(*first);
        }
        let end = |told: &Told<'_>| {
            let until = told.until_ns?;
            Some(until.min(given_back.get(&told.epoch).copied().unwrap_or(u64::MAX)))
        };
        let mut by_epoch: BTreeMap<i64, Vec<&Told<'_>>> = BTreeMap::new();
        self.told.iter().for_each(|told| by_epoch.entry(told.epoch).or_default().push(told));
        // Of the leases of earlier epochs the one that ends last, and the last one of any other leader.
        let mut longest: [Option<(u64, &Told<'_>)>; 2] = [None; 2];
        for all in by_epoch.values() {
            for &told in all {
                let other = longest.iter().flatten().find(|(_, lease)| lease.leader != told.leader);
                if let Some(&(end_ns, lease)) = other
                    && let Some(at_ns) = told.op.ret_ns.filter(|&at_ns| at_ns < end_ns)
                {
                    let reason = format!(
                        "{}, {:.3} s before the lease ended that {} had in epoch {}",
                        told.spoken(),
                        (end_ns - at_ns) as f64 / 1e9,
                        spoken(lease.leader),
                        lease.epoch
                    );
                    return Err(Broken::new("overlapping-leases", vec![lease.place, told.place], reason));
                }
            }
            for lease in all.iter().filter_map(|told| Some((end(told)?, *told))) {
                longest = two_longest(longest, lease);
            }
        }
        Ok(())
    }
}

/// The longest lease, and the longest one of another leader, once `lease` is among them.
fn two_longest<'t, 'h>(
    [first, second]: [Option<(u64, &'t Told<'h>)>; 2],
    lease: (u64, &'t Told<'h>),
) -> [Option<(u64, &'t Told<'h>)>; 2] {
    let longer = |other: Option<(u64, &Told<'_>)>| other.is_none_or(|(end_ns, _)| end_ns < lease.0);
    let same = first.is_some_and(|(_, told)| told.leader == lease.1.leader);
    match (longer(first), same) {
        (true, true) => [Some(lease), second],
        (true, false) => [Some(lease), first],
        (false, false) if longer(second) => [first, Some(lease)],
        _ => [first, second],
    }
}
