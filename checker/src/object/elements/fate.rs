//! What became of elements: lost, back from the dead, stale, never read.

use serde_json::Value;

use super::{Mention, NULL, PRESENT, Part};
use crate::History;
use crate::model::register::RegisterCall;
use crate::model::{key_text, partitions};
use crate::object::Broken;
use crate::{Op, OpEnd};

/// The elements of one set that something happened to, each list in order of first mention.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SetTally {
    /// The key; empty when there is none.
    pub key: String,
    /// Elements whose adding was acknowledged.
    pub added: usize,
    /// Acknowledged, never removed, looked for after that, and not found by the last who looked.
    pub lost: Vec<Value>,
    /// Removed, acknowledged and not added again, and found after that.
    pub resurrected: Vec<Value>,
    /// Acknowledged, never removed, and not found by somebody who looked, but found later.
    pub stale: Vec<Value>,
    /// Acknowledged, and nobody ever looked for them after that.
    pub never_read: Vec<Value>,
    /// Found, although nobody knew whether they had been added.
    pub recovered: Vec<Value>,
    /// Found, although nobody can have added them.
    pub unexpected: Vec<Value>,
}

/// What became of every element, set by set; sets with foreign operations are left out. O(n log n), but every whole
/// read counts once for every element.
pub fn tally(history: &History) -> Vec<SetTally> {
    let tally = |part: crate::model::Partition<'_>| {
        let ops: Vec<(usize, &Op)> = part.ops.iter().map(|&place| (place, &history.ops[place])).collect();
        let mut tally = SetTally { key: key_text(part.key), ..SetTally::default() };
        let part = Part::new(&ops).ok()?;
        for (number, &element) in part.elements.iter().enumerate() {
            tally.count(element, &part.told(number));
        }
        Some(tally)
    };
    partitions(history).into_iter().filter_map(tally).collect()
}

impl SetTally {
    fn count(&mut self, element: &Value, told: &[Mention<'_>]) {
        let sights = |present| told.iter().filter(move |mention| is_sight(mention, present));
        let acked = told.iter().filter(|mention| is_done(mention, "add")).map(|mention| mention.op.ret).min();
        self.added += usize::from(acked.is_some());
        if !told.iter().any(|mention| mention.op.f == "add") {
            self.unexpected.extend(sights(true).next().map(|_| element.clone()));
            return;
        }
        let Some(acked) = acked else {
            self.recovered.extend(sights(true).next().map(|_| element.clone()));
            return;
        };
        let after =
            |present| sights(present).filter(move |mention| mention.op.call > acked).map(|m| m.op.call).max();
        let is_kept = !told.iter().any(|mention| mention.op.f == "remove");
        match (after(false), after(true)) {
            (None, None) => self.never_read.push(element.clone()),
            (Some(_), None) if is_kept => self.lost.push(element.clone()),
            (Some(missed), Some(found)) if is_kept && missed > found => self.lost.push(element.clone()),
            (Some(_), Some(_)) if is_kept => self.stale.push(element.clone()),
            _ if sights(true).any(|sight| removed_before(sight, told).is_some()) => {
                self.resurrected.push(element.clone());
            }
            _ => {}
        }
    }
}

/// Did somebody look and find it present, or absent?
fn is_sight(mention: &Mention<'_>, present: bool) -> bool {
    mention.call == RegisterCall::Read(if present { PRESENT } else { NULL })
}

fn is_done(mention: &Mention<'_>, f: &str) -> bool {
    mention.op.f == f && mention.op.end == OpEnd::Ok && mention.call.writes().is_some()
}

/// An acknowledged add that `sight` ought to have found: nothing removes the element in between.
fn added_before<'m, 'h>(sight: &Mention<'_>, told: &'m [Mention<'h>]) -> Option<&'m Mention<'h>> {
    undone_by(sight, told, "add", NULL)
}

/// An acknowledged removal that `sight` ought to have found done.
fn removed_before<'m, 'h>(sight: &Mention<'_>, told: &'m [Mention<'h>]) -> Option<&'m Mention<'h>> {
    undone_by(sight, told, "remove", PRESENT)
}

/// The last acknowledged `f` before `sight`, if nothing that writes `back` may have come after it.
fn undone_by<'m, 'h>(
    sight: &Mention<'_>,
    told: &'m [Mention<'h>],
    f: &str,
    back: u32,
) -> Option<&'m Mention<'h>> {
    let done = told.iter().filter(|mention| is_done(mention, f) && mention.op.ret < sight.op.call);
    let last = done.max_by_key(|mention| mention.op.call)?;
    let ret = |op: &Op| if op.end == OpEnd::Info { u64::MAX } else { op.ret };
    let between = |mention: &Mention<'_>| {
        mention.call.writes() == Some(back)
            && mention.op.call < sight.op.ret
            && ret(mention.op) > last.op.call
    };
    (!told.iter().any(between)).then_some(last)
}

/// A name and a sentence for operations on one element that contradict each other, where two of them are enough.
pub(super) fn of_core(element: &Value, core: &[Mention<'_>], told: &[Mention<'_>]) -> Option<Broken> {
    let spoken = |mention: &Mention<'_>| format!("the {} by process {}", mention.op.f, mention.op.process);
    let again = |sight: &Mention<'_>, present| {
        told.iter().any(|mention| is_sight(mention, present) && mention.op.ret > sight.op.call)
    };
    for sight in core {
        if sight.call.needs() == Some(NULL)
            && let Some(add) = added_before(sight, told)
        {
            let name = if again(sight, true) { "stale-read" } else { "lost-element" };
            let reason = format!(
                "{} did not find {element}, although process {} had added it before that began, and nobody removed it",
                spoken(sight),
                add.op.process
            );
            return Some(Broken::new(name, vec![add.place, sight.place], reason));
        }
        if sight.call.needs() == Some(PRESENT)
            && let Some(remove) = removed_before(sight, told)
        {
            let later = |m: &Mention<'_>| is_sight(m, false) && m.op.call > sight.op.ret;
            let name = if told.iter().any(later) { "stale-read" } else { "resurrected-element" };
            let reason = format!(
                "{} found {element}, although process {} had removed it before that began, and nobody added it again",
                spoken(sight),
                remove.op.process
            );
            let add = told.iter().find(|m| is_done(m, "add") && m.op.ret < remove.op.call).map(|m| m.place);
            return Some(Broken::new(
                name,
                [remove.place, sight.place].into_iter().chain(add).collect(),
                reason,
            ));
        }
    }
    None
}
