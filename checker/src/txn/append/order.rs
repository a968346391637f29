//! The order of each list's elements, as the reads show it, and what is wrong with the reads themselves.

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::super::Trouble;
use super::super::findings::Findings;
use super::super::read_in::{Act, Codes, Txns};
use super::super::writes::{Write, Writes};
use crate::OpEnd;

/// Nobody appended the element in this place.
const NOBODY: u32 = u32::MAX;

/// What the reads of a list have shown so far.
#[derive(Debug, Default)]
struct Shown {
    /// The longest past that reads agree on, as codes.
    codes: Vec<u64>,
    /// Who read all of it first.
    by: u32,
}

/// The pasts of all lists, put together while the history is read in.
#[derive(Debug, Default)]
pub(super) struct Pasts {
    lists: Vec<Shown>,
    /// Reads that show something else: who, key, place.
    misfits: Vec<(u32, u32, u32)>,
}

impl Pasts {
    /// Holds a read against those before it; what is longer adds to what is known.
    pub(super) fn read<'h>(
        &mut self,
        codes: &mut Codes<'h>,
        txn: u32,
        key: u32,
        value: &'h Value,
    ) -> Result<&'h [Value], String> {
        let elements = match value {
            // What was never written is nil.
            Value::Null => &[][..],
            Value::Array(elements) => elements,
            other => return Err(format!("it read {other}, which is not a list")),
        };
        if self.lists.len() <= key as usize {
            self.lists.resize_with(key as usize + 1, Shown::default);
        }
        let past = &mut self.lists[key as usize];
        let known = past.codes.len().min(elements.len());
        for (place, (value, code)) in (0..).zip(elements.iter().zip(&past.codes)) {
            if codes.intern(value) != *code {
                self.misfits.push((txn, key, place));
                return Ok(elements);
            }
        }
        if elements.len() > known {
            past.codes.extend(elements[known..].iter().map(|value| codes.intern(value)));
            past.by = txn;
        }
        Ok(elements)
    }
}

/// All lists.
pub(super) struct Lists {
    writes: Writes,
    pasts: Pasts,
    /// The elements of each key's past, as places among the writes.
    order: Vec<u32>,
    order_starts: Vec<u32>,
    /// For lists of which two reads disagree: how long they agree.
    cut: FxHashMap<u32, u32>,
    /// Which of the writes the longest past shows.
    is_seen: Vec<bool>,
    /// Lists with appends that took effect and that no read shows.
    has_unseen: Vec<bool>,
    /// Which transactions took effect for certain: acknowledged, or seen by one that was.
    pub(super) committed: Vec<bool>,
}

impl Lists {
    pub(super) fn new(txns: &Txns<'_>, mut pasts: Pasts, findings: &mut Findings) -> Self {
        pasts.lists.resize_with(txns.keys.len(), Shown::default);
        let writes = Writes::new(txns, findings);
        let mut lists = Lists {
            is_seen: vec![false; writes.all.len()],
            writes,
            pasts,
            order: Vec::new(),
            order_starts: vec![0],
            cut: FxHashMap::default(),
            has_unseen: Vec::new(),
            committed: (0..txns.len() as u32).map(|txn| txns.end(txn) == OpEnd::Ok).collect(),
        };
        let odd = lists.put_in_order(txns);
        lists.misfits(txns, findings);
        lists.odd_reads(txns, &odd, findings);
        lists.has_unseen =
            (0..txns.keys.len() as u32).map(|key| lists.unseen(key).next().is_some()).collect();
        lists
    }

    /// Finds the appends behind what was read. Returns, by key, the first place with something odd.
    fn put_in_order(&mut self, txns: &Txns<'_>) -> FxHashMap<u32, u32> {
        let mut odd = FxHashMap::default();
        for key in 0..txns.keys.len() as u32 {
            for place in 0..self.pasts.lists[key as usize].codes.len() {
                let found = self.writes.find(key, self.pasts.lists[key as usize].codes[place]);
                let is_odd = |at: usize| self.is_seen[at] || txns.end(self.writes.all[at].txn) == OpEnd::Fail;
                if found.is_none_or(is_odd) {
                    odd.entry(key).or_insert(place as u32);
                }
                self.order.push(found.map_or(NOBODY, |at| at as u32));
                if let Some(at) = found {
                    self.is_seen[at] = true;
                    self.observe(txns, key, at);
                }
            }
            self.order_starts.push(self.order.len() as u32);
        }
        odd
    }

    /// An indefinite transaction whose append was read took effect.
    fn observe(&mut self, txns: &Txns<'_>, key: u32, at: usize) {
        let txn = self.writes.all[at].txn;
        if txns.end(txn) == OpEnd::Info && self.is_clear(key) {
            self.committed[txn as usize] = true;
        }
    }

    /// Reads that disagree with others before them.
    fn misfits(&mut self, txns: &Txns<'_>, findings: &mut Findings) {
        for (txn, key, place) in std::mem::take(&mut self.pasts.misfits) {
            let cut = self.cut.entry(key).or_insert(u32::MAX);
            *cut = (*cut).min(place);
            let past = &self.pasts.lists[key as usize];
            if !self.is_clear(key) {
                continue;
            }
            findings.note(txns, Trouble::IncompatibleOrder, key, &[txn, past.by], || {
                let index = |txn: u32| txns.history.ops[txn as usize].index;
                format!(
                    "operations {} and {} read {} differently from place {} on, where the second one read {}",
                    index(txn),
                    index(past.by),
                    txns.key_text(key),
                    place + 1,
                    txns.codes.text(past.codes[place as usize]),
                )
            });
        }
    }

    /// Looks closely at reads that show something odd, and at those of lists whose reads disagree.
    fn odd_reads(&mut self, txns: &Txns<'_>, odd: &FxHashMap<u32, u32>, findings: &mut Findings) {
        if odd.is_empty() && self.cut.is_empty() {
            return;
        }
        for txn in txns.acknowledged() {
            for step in txns.steps(txn) {
                let Act::Read(read) = step.act else { continue };
                let is_odd = odd.get(&step.key).is_some_and(|&place| (place as usize) < read.len());
                if is_odd || self.cut.contains_key(&step.key) {
                    self.look_closely(txns, txn, step.key, read, findings);
                }
            }
        }
    }

    /// Each element of a read that is not as it should be.
    fn look_closely(&mut self, txns: &Txns<'_>, txn: u32, key: u32, read: &[Value], findings: &mut Findings) {
        if !self.is_clear(key) {
            return;
        }
        let name = txns.key_text(key);
        let index = |txn: u32| txns.history.ops[txn as usize].index;
        let mut seen: FxHashMap<usize, ()> = FxHashMap::default();
        let mut aborted: Option<Write> = None;
        let (mut told_aborted, mut told_dirty) = (false, false);
        for value in read {
            let Some(at) = self.writes.place(txns, key, value) else {
                findings.note(txns, Trouble::FabricatedValue, key, &[txn], || {
                    format!("operation {} read {value} in {name}, which nobody appended", index(txn))
                });
                continue;
            };
            self.observe(txns, key, at);
            let append = self.writes.all[at];
            if seen.insert(at, ()).is_some() {
                findings.note(txns, Trouble::DuplicateElement, key, &[append.txn, txn], || {
                    format!("operation {} read {value} in {name} twice, which was appended once", index(txn))
                });
            }
            if txns.end(append.txn) == OpEnd::Fail {
                aborted = Some(append);
                if !std::mem::replace(&mut told_aborted, true) {
                    findings.note(txns, Trouble::AbortedRead, key, &[append.txn, txn], || {
                        let failed = index(append.txn);
                        format!("operation {} read {value} in {name}, which operation {failed} appended, but that had failed", index(txn))
                    });
                }
            } else if let Some(aborted) = aborted
                && !std::mem::replace(&mut told_dirty, true)
            {
                findings.note(txns, Trouble::DirtyUpdate, key, &[aborted.txn, append.txn, txn], || {
                    format!(
                        "operation {} appended {value} to {name} on top of {}, which operation {} had appended, but that had failed",
                        index(append.txn),
                        txns.codes.text(aborted.code),
                        index(aborted.txn),
                    )
                });
            }
        }
    }
}

/// What follows from the order.
impl Lists {
    /// Does anything follow from the reads of this list?
    pub(super) fn is_clear(&self, key: u32) -> bool {
        self.writes.is_clear(key)
    }

    /// How many elements have a known order.
    pub(super) fn known(&self, key: u32) -> u32 {
        let all = self.order_starts[key as usize + 1] - self.order_starts[key as usize];
        if self.cut.is_empty() { all } else { self.cut.get(&key).map_or(all, |&cut| cut.min(all)) }
    }

    /// Do all reads of this list agree?
    pub(super) fn agrees(&self, key: u32) -> bool {
        self.cut.is_empty() || !self.cut.contains_key(&key)
    }

    /// The append behind a place in the order, if there is one, of a transaction that did not fail.
    pub(super) fn element(&self, key: u32, place: u32) -> Option<&Write> {
        let at = *self.order[self.order_starts[key as usize] as usize..].get(place as usize)?;
        let append = (place < self.known(key)).then(|| self.writes.all.get(at as usize))??;
        self.committed[append.txn as usize].then_some(append)
    }

    /// Where each element with a known writer stands, by its code.
    pub(super) fn places(&self, key: u32) -> FxHashMap<u64, u32> {
        let places = (0..self.known(key)).rev();
        places.filter_map(|place| Some((self.element(key, place)?.code, place))).collect()
    }

    /// The first element with a known writer from `place` on.
    pub(super) fn next(&self, key: u32, place: u32) -> Option<&Write> {
        (place..self.known(key)).find_map(|place| self.element(key, place))
    }

    /// The writer of a value that was read, wherever it stands.
    pub(super) fn writer(&self, txns: &Txns<'_>, key: u32, value: &Value) -> Option<&Write> {
        let append = &self.writes.all[self.writes.place(txns, key, value)?];
        self.committed[append.txn as usize].then_some(append)
    }

    /// Are there any of [`Lists::unseen`]?
    pub(super) fn has_unseen(&self, key: u32) -> bool {
        self.has_unseen[key as usize]
    }

    /// Appends that took effect, but that no read shows: they came after all that reads show.
    pub(super) fn unseen(&self, key: u32) -> impl Iterator<Item = &Write> {
        let range = self.writes.range(key);
        let own = self.writes.all[range.clone()].iter().zip(&self.is_seen[range]);
        own.filter(|(append, is_seen)| !**is_seen && self.committed[append.txn as usize])
            .map(|(append, _)| append)
    }

    /// The value of the first append of `txn` from place `length` on, or else an unseen one of its.
    pub(super) fn first_of(&self, key: u32, length: u32, txn: u32) -> u64 {
        let seen = (length..self.known(key)).filter_map(|place| self.element(key, place));
        let mut all = seen.chain(self.unseen(key)).filter(|append| append.txn == txn);
        all.next().map_or(0, |append| append.code)
    }

    /// Values that two transactions appended one right after the other.
    pub(super) fn successive(&self, key: u32, one: u32, other: u32) -> (u64, u64) {
        let mut before: Option<&Write> = None;
        for append in (0..self.known(key)).filter_map(|place| self.element(key, place)) {
            if let Some(before) = before
                && (before.txn, append.txn) == (one, other)
            {
                return (before.code, append.code);
            }
            before = Some(append);
        }
        (before.map_or(0, |append| append.code), self.first_of(key, self.known(key), other))
    }

    /// The first `length` elements, as people read them; the last few of many.
    pub(super) fn shown(&self, txns: &Txns<'_>, key: u32, length: u32) -> String {
        const SHOWN_MAX: usize = 8;
        let codes = &self.pasts.lists[key as usize].codes;
        let read = &codes[..codes.len().min(length as usize)];
        let cut = if read.len() > SHOWN_MAX { "…, " } else { "" };
        let last = &read[read.len().saturating_sub(SHOWN_MAX)..];
        let last: Vec<String> = last.iter().map(|&code| txns.codes.text(code)).collect();
        format!("[{cut}{}]", last.join(", "))
    }
}
