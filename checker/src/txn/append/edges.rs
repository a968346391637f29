//! Dependencies, transaction by transaction, and what a transaction does not see of itself.

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::super::Trouble;
use super::super::findings::Findings;
use super::super::graph::{Edges, Why};
use super::super::read_in::{Act, Step, Txns};
use super::super::writes::Write;
use super::order::Lists;

/// What the steps of one transaction on one list say.
#[derive(Debug, Clone, Copy, Default)]
struct View<'h> {
    /// The version that it saw: the first read without what it had appended itself before.
    external: Option<&'h [Value]>,
    /// A read did not fit to what came before it in the same transaction.
    contradicts: bool,
    /// A read showed something that the transaction appended later.
    foresees: bool,
    writes: bool,
}

fn code_is(txns: &Txns<'_>, value: &Value, code: u64) -> bool {
    txns.codes.find(value) == Some(code)
}

/// Looks through the steps on one key, in their order.
fn view<'h>(txns: &Txns<'h>, steps: &[Step<'h>]) -> View<'h> {
    let mut view = View::default();
    // What it read last, and the steps since.
    let mut base: Option<(&[Value], usize)> = None;
    for (i, step) in steps.iter().enumerate() {
        let read = match step.act {
            Act::Write(_) => {
                view.writes = true;
                continue;
            }
            Act::Read(read) => read,
        };
        let since = base.map_or(0, |(_, at)| at);
        let own = steps[since..i].iter().filter_map(|step| match step.act {
            Act::Write(code) => Some(code),
            Act::Read(_) => None,
        });
        let count = own.clone().count();
        let rest = read.len().checked_sub(count);
        let fits =
            rest.is_some_and(|rest| own.zip(&read[rest..]).all(|(code, value)| code_is(txns, value, code)));
        let outer = &read[..rest.unwrap_or(0)];
        match base {
            _ if !fits => view.contradicts = true,
            Some((before, _)) => view.contradicts |= before != outer,
            None => {
                view.external = Some(outer);
                view.foresees = steps[i..].iter().any(|step| match (step.act, outer.last()) {
                    (Act::Write(code), Some(last)) => code_is(txns, last, code),
                    _ => false,
                });
            }
        }
        base = Some((read, i));
    }
    view
}

impl Lists {
    /// The length of the list that a transaction saw, without its own appends.
    pub(super) fn view(&self, txns: &Txns<'_>, txn: u32, key: u32) -> Option<u32> {
        let mut scratch = Vec::new();
        let own = txns.by_key(txn, &mut scratch);
        let of_key = own.chunk_by(|one, other| one.key == other.key).find(|steps| steps[0].key == key)?;
        view(txns, of_key).external.map(|read| read.len() as u32)
    }
}

/// All dependencies between transactions that took effect.
pub(super) fn edges(txns: &Txns<'_>, lists: &Lists, findings: &mut Findings) -> Edges {
    let mut sweep = Sweep { txns, lists, edges: Edges::default(), late: Vec::new(), blind: Vec::new() };
    for key in (0..txns.keys.len() as u32).filter(|&key| lists.is_clear(key)) {
        sweep.writes(key, findings);
    }
    let mut scratch = Vec::new();
    for txn in txns.acknowledged() {
        for steps in txns.by_key(txn, &mut scratch).chunk_by(|one, other| one.key == other.key) {
            if steps.iter().any(|step| matches!(step.act, Act::Read(_))) && lists.is_clear(steps[0].key) {
                sweep.reads(txn, steps, findings);
            }
        }
    }
    sweep.lost_updates(findings);
    sweep.last_readers();
    sweep.edges
}

struct Sweep<'s, 'h> {
    txns: &'s Txns<'h>,
    lists: &'s Lists,
    edges: Edges,
    /// Who saw all of a list though there are appends that nobody saw: key, transaction.
    late: Vec<(u32, u32)>,
    /// Who appended to a version that is not the one before its append: key, length, transaction.
    blind: Vec<(u32, u32, u32)>,
}

impl Sweep<'_, '_> {
    /// Along a list, from each writer to the next.
    fn writes(&mut self, key: u32, findings: &mut Findings) {
        let lists = self.lists;
        let elements = (0..lists.known(key)).filter_map(|place| Some((place, lists.element(key, place)?)));
        let mut before: Option<&Write> = None;
        let mut places: Option<FxHashMap<u64, u32>> = None;
        for (place, append) in elements {
            let follows = before
                .is_some_and(|before| before.txn == append.txn && before.nth.saturating_add(1) == append.nth);
            if append.nth > 0 && !follows {
                let places = places.get_or_insert_with(|| lists.places(key));
                self.own_order(key, place, append, places, findings);
            }
            if let Some(before) = before {
                self.edges.push(before.txn, Why::Ww, append.txn, key);
            }
            before = Some(append);
        }
    }

    /// A transaction's appends to one list stand in its order, each after all that it appended before.
    fn own_order(
        &self,
        key: u32,
        place: u32,
        append: &Write,
        places: &FxHashMap<u64, u32>,
        findings: &mut Findings,
    ) {
        let txns = self.txns;
        let steps = txns.steps(append.txn).iter().filter(|step| step.key == key);
        let earlier = steps.filter_map(|step| match step.act {
            Act::Write(code) => Some(code),
            Act::Read(_) => None,
        });
        let stands_before = |code: &u64| places.get(code).is_some_and(|&before| before < place);
        let mut earlier = earlier.take_while(|&code| code != append.code);
        let Some(missing) = earlier.find(|code| !stands_before(code)) else { return };
        findings.note(txns, Trouble::IncompatibleOrder, key, &[append.txn], || {
            let [first, then] = [missing, append.code].map(|code| txns.codes.text(code));
            format!(
                "operation {} appended {first} and then {then} to {}, where {then} was read without {first} before it",
                txns.history.ops[append.txn as usize].index,
                txns.key_text(key),
            )
        });
    }

    /// What one transaction's reads of one list say.
    fn reads(&mut self, txn: u32, steps: &[Step<'_>], findings: &mut Findings) {
        let key = steps[0].key;
        let (txns, lists) = (self.txns, self.lists);
        let seen = view(txns, steps);
        if seen.contradicts {
            findings.note(txns, Trouble::Internal, key, &[txn], || {
                let index = txns.history.ops[txn as usize].index;
                format!(
                    "operation {index} read {} otherwise than its own steps before left it",
                    txns.key_text(key)
                )
            });
        }
        if seen.foresees {
            findings.note(txns, Trouble::FutureRead, key, &[txn], || {
                let index = txns.history.ops[txn as usize].index;
                format!("operation {index} read in {} what it was to append later", txns.key_text(key))
            });
            return;
        }
        let Some(external) = seen.external else { return };
        let length = external.len() as u32;
        if let Some(place) = length.checked_sub(1) {
            // Where all reads agree, the order says who it was, and the values need not be looked at again.
            let writer = match lists.agrees(key) {
                true => lists.element(key, place),
                false => external.last().and_then(|last| lists.writer(txns, key, last)),
            };
            if let Some(&writer) = writer {
                self.source(txn, key, writer, findings);
            }
        }
        // A read that disagrees with another one says nothing on what comes next.
        if length > lists.known(key) {
            return;
        }
        let next = lists.next(key, length);
        if let Some(next) = next {
            self.edges.push(txn, Why::Rw, next.txn, key);
        } else if lists.agrees(key) && lists.has_unseen(key) {
            self.late.push((key, txn));
        }
        if seen.writes && next.is_none_or(|next| next.txn != txn) {
            self.blind.push((key, length, txn));
        }
    }

    /// Whoever appended the last element that was read.
    fn source(&mut self, txn: u32, key: u32, append: Write, findings: &mut Findings) {
        let txns = self.txns;
        self.edges.push(append.txn, Why::Wr, txn, key);
        if append.txn != txn && !append.is_last {
            findings.note(txns, Trouble::IntermediateRead, key, &[append.txn, txn], || {
                let index = |txn: u32| txns.history.ops[txn as usize].index;
                format!(
                    "operation {} read {} up to {}, after which operation {} appended more in the same transaction",
                    index(txn),
                    txns.key_text(key),
                    txns.codes.text(append.code),
                    index(append.txn),
                )
            });
        }
    }

    /// Several transactions that saw one version and appended to it.
    fn lost_updates(&mut self, findings: &mut Findings) {
        self.blind.sort_unstable();
        let (txns, lists) = (self.txns, self.lists);
        for group in self.blind.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)) {
            let (key, length, first) = group[0];
            // Whoever made the next version may have seen this one, too.
            let rightful = lists.next(key, length).map(|next| next.txn).filter(|&txn| {
                txns.end(txn) == crate::OpEnd::Ok && lists.view(txns, txn, key) == Some(length)
            });
            let Some(other) = rightful.or_else(|| group.get(1).map(|(.., txn)| *txn)) else { continue };
            let who = [first.min(other), first.max(other)];
            findings.note(txns, Trouble::LostUpdate, key, &who, || {
                let [one, other] = who.map(|txn| txns.history.ops[txn as usize].index);
                format!(
                    "operations {one} and {other} both read {} as {} and appended to it, as if the other one were not",
                    txns.key_text(key),
                    lists.shown(txns, key, length),
                )
            });
        }
    }

    /// Whoever saw all of a list comes before those whose appends nobody saw, and so does the last writer seen.
    fn last_readers(&mut self) {
        self.late.sort_unstable();
        let (txns, lists) = (self.txns, self.lists);
        let mut late = &self.late[..];
        for key in (0..txns.keys.len() as u32).filter(|&key| lists.is_clear(key) && lists.agrees(key)) {
            let readers = late.partition_point(|(of, _)| *of <= key);
            let (own, rest) = late.split_at(readers);
            late = rest;
            let last = (0..lists.known(key)).rev().find_map(|place| lists.element(key, place));
            let mut unseen: Vec<u32> = lists.unseen(key).map(|append| append.txn).collect();
            unseen.sort_unstable();
            unseen.dedup();
            let sources = own.iter().map(|(_, txn)| (*txn, Why::Rw));
            let sources = sources.chain(last.map(|append| (append.txn, Why::Ww)));
            self.edges.fan(txns.len(), &sources.collect::<Vec<_>>(), &unseen, key);
        }
    }
}
