//! A group: who is in it, as everybody lists it.
//!
//! - `join`, with a member's id as its argument, returns its incarnation: an integer that grows over all stays of
//!   all members. Of one that is a member already it returns the present incarnation, and the promise is that it
//!   has been in the group as that all the time since: *two equal answers are one unbroken stay*.
//! - `leave`, with the id, ends the stay.
//! - `members` returns `[[id, incarnation], …]`.
//!
//! ```text
//! p0 |-join(a)=7-|                                       |-join(a)=7-|
//! p1                |-members()=[[a,7]]-| |-members()=[]-|               invalid: a was in the group
//! ```
//!
//! A member whose session may have ended gets a new incarnation, so what it did not know about itself is
//! nowhere held against anybody. Whatever is indefinite tells nothing.
//!
//! ```
//! use checker::object::membership::Membership;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |-join(a)=7-|                     |-join(a)=7-|
//! p1                |-members()=[]-|
//! ",
//! )?;
//! let Verdict::Invalid { anomalies } = Membership.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!(anomalies[0].name, "member-missing");
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;

use super::{Broken, Trouble, by_key, foreign};
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Verdict};

/// Does every list show whom it must and nobody whom it must not, group by group? Necessary conditions;
/// O(lists × incarnations).
///
/// Anomalies: `member-missing` (in the middle of an unbroken stay), `ghost-member` (after its leave, or without
/// a join), `member-resurrected` (an incarnation that a later one has replaced, or that an earlier list no
/// longer showed), `member-twice` (one id twice in a list).
#[derive(Debug, Clone, Copy, Default)]
pub struct Membership;

impl Checker for Membership {
    fn name(&self) -> &'static str {
        "membership"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, _| judge(ops))
    }
}

/// When something happened, and where it stands.
#[derive(Clone, Copy)]
struct Span {
    call: u64,
    ret: u64,
    place: usize,
}

struct List<'h> {
    span: Span,
    shown: FxHashSet<(&'h str, i64)>,
}

#[derive(Default)]
struct Life {
    /// Joins that succeeded, with their incarnations.
    joins: Vec<(Span, i64)>,
    /// When any join was called.
    tries: Vec<u64>,
    /// Leaves that succeeded.
    leaves: Vec<Span>,
}

fn judge(ops: &[(usize, &Op)]) -> Result<(), Trouble> {
    let mut lives: BTreeMap<&str, Life> = BTreeMap::new();
    let mut lists: Vec<List> = Vec::new();
    for &(place, op) in ops {
        let span = Span { call: op.call, ret: op.ret, place };
        match (&*op.f, op.end) {
            ("join", OpEnd::Fail) => {}
            ("join", end) => {
                let life = lives.entry(id(op, &op.input)?).or_default();
                life.tries.push(op.call);
                if end == OpEnd::Ok {
                    life.joins.push((span, incarnation(op, &op.output)?));
                }
            }
            ("leave", OpEnd::Ok) => lives.entry(id(op, &op.input)?).or_default().leaves.push(span),
            ("members", OpEnd::Ok) => lists.push(list(op, span)?),
            ("leave" | "members", _) => {}
            _ => return Err(foreign(op, "a group")),
        }
    }
    lists.sort_by_key(|list| list.span.call);
    for (id, life) in &lives {
        nobody_missing(id, life, &lists)?;
    }
    for list in &lists {
        for &(id, incarnation) in &list.shown {
            no_ghost(id, incarnation, lives.get(id), list)?;
        }
    }
    Ok(nobody_resurrected(&lives, &lists)?)
}

fn unjudged(op: &Op, what: &str, value: &Value) -> Trouble {
    Trouble::Unjudged(format!("operation {}: {value} is not {what}", op.index))
}

fn id<'h>(op: &'h Op, value: &'h Value) -> Result<&'h str, Trouble> {
    value.as_str().ok_or_else(|| unjudged(op, "an id", value))
}

fn incarnation(op: &Op, value: &Value) -> Result<i64, Trouble> {
    value.as_i64().ok_or_else(|| unjudged(op, "an incarnation", value))
}

fn list<'h>(op: &'h Op, span: Span) -> Result<List<'h>, Trouble> {
    let all = op.output.as_array().ok_or_else(|| unjudged(op, "a list of members", &op.output))?;
    let (mut ids, mut shown) = (FxHashSet::default(), FxHashSet::default());
    for member in all {
        let part = |n: usize| member.get(n).unwrap_or(&Value::Null);
        let (id, incarnation) = (id(op, part(0))?, incarnation(op, part(1))?);
        if !ids.insert(id) {
            return Err(Broken::new("member-twice", vec![span.place], format!("{id} is shown twice")).into());
        }
        shown.insert((id, incarnation));
    }
    Ok(List { span, shown })
}

/// Between two joins that gave the same incarnation every list shows it.
fn nobody_missing(id: &str, life: &Life, lists: &[List]) -> Result<(), Broken> {
    let mut stays: FxHashMap<i64, (Span, Span)> = FxHashMap::default();
    for &(join, incarnation) in &life.joins {
        let (first, last) = stays.entry(incarnation).or_insert((join, join));
        if join.ret < first.ret {
            *first = join;
        }
        if join.call > last.call {
            *last = join;
        }
    }
    for (incarnation, (first, last)) in stays {
        let from = lists.partition_point(|list| list.span.call < first.ret);
        let within = lists[from..].iter().take_while(|list| list.span.call < last.call);
        let missing = |list: &&List| list.span.ret < last.call && !list.shown.contains(&(id, incarnation));
        if let Some(list) = within.into_iter().find(missing) {
            let reason = format!(
                "{id} was in the group as {incarnation} all the time between two answers to its join, but a list \
                 that was asked for and given in that time does not show it"
            );
            return Err(Broken::new(
                "member-missing",
                vec![first.place, last.place, list.span.place],
                reason,
            ));
        }
    }
    Ok(())
}

/// Whoever is shown had called join by then, has not left since, and was not replaced by a later incarnation.
fn no_ghost(id: &str, incarnation: i64, life: Option<&Life>, list: &List) -> Result<(), Broken> {
    let called_after = |time: u64| {
        life.is_some_and(|life| life.tries.iter().any(|&call| time <= call && call < list.span.ret))
    };
    if !called_after(0) {
        let reason = format!("{id} is shown, which has not called join by then");
        return Err(Broken::new("ghost-member", vec![list.span.place], reason));
    }
    let Some(life) = life else { return Ok(()) };
    let left = life.leaves.iter().filter(|leave| leave.ret < list.span.call).max_by_key(|leave| leave.ret);
    if let Some(leave) = left
        && !called_after(leave.call)
    {
        let reason = format!("{id} is shown as {incarnation} after it has left");
        return Err(Broken::new("ghost-member", vec![leave.place, list.span.place], reason));
    }
    let replaced = life.joins.iter().find(|(join, later)| join.ret < list.span.call && *later > incarnation);
    if let Some((join, later)) = replaced {
        let reason = format!("{id} is shown as {incarnation} after it was in the group as {later}");
        return Err(Broken::new("member-resurrected", vec![join.place, list.span.place], reason));
    }
    Ok(())
}

/// What was there, then was not, never comes back: a new stay has a new incarnation.
fn nobody_resurrected(lives: &BTreeMap<&str, Life>, lists: &[List]) -> Result<(), Broken> {
    let mut first_sight: BTreeMap<(&str, i64), Span> = BTreeMap::new();
    let joins =
        lives.iter().flat_map(|(id, life)| life.joins.iter().map(move |(span, inc)| ((*id, *inc), *span)));
    let shown = lists.iter().flat_map(|list| list.shown.iter().map(move |member| (*member, list.span)));
    for (member, span) in joins.chain(shown) {
        let first = first_sight.entry(member).or_insert(span);
        if span.ret < first.ret {
            *first = span;
        }
    }
    for (member, first) in first_sight {
        let absent = lists
            .iter()
            .filter(|list| list.span.call > first.ret && !list.shown.contains(&member))
            .min_by_key(|list| list.span.ret);
        let Some(absent) = absent else { continue };
        let from = lists.partition_point(|list| list.span.call <= absent.span.ret);
        if let Some(back) = lists[from..].iter().find(|list| list.shown.contains(&member)) {
            let (id, incarnation) = member;
            let reason = format!("{id} is shown as {incarnation} after a list no longer showed it");
            let places = vec![first.place, absent.span.place, back.span.place];
            return Err(Broken::new("member-resurrected", places, reason));
        }
    }
    Ok(())
}
