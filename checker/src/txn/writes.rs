//! All writes, found by key and value.

use std::ops::Range;

use rustc_hash::FxHashSet;
use serde_json::Value;

use super::findings::Findings;
use super::read_in::{Act, Txns};
use crate::OpEnd;

/// One write or append.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write {
    pub(super) code: u64,
    pub(super) txn: u32,
    /// How many its transaction made to this key before; no more than that type holds.
    pub(super) nth: u16,
    /// Is it its transaction's last to this key?
    pub(super) is_last: bool,
}

/// Writes by key, within a key by code.
pub(super) struct Writes {
    pub(super) all: Vec<Write>,
    /// Where each key's begin; one more at the end.
    starts: Vec<u32>,
    /// Keys to which a value was written twice, and others that are left out.
    ambiguous: FxHashSet<u32>,
}

impl Writes {
    pub(super) fn new(txns: &Txns<'_>, findings: &mut Findings) -> Self {
        let (all, starts) = gather(txns);
        let mut writes = Writes { all, starts, ambiguous: FxHashSet::default() };
        writes.sort(txns, findings);
        writes
    }

    /// Sorts each key's writes by code; of equal ones those that failed give way.
    fn sort(&mut self, txns: &Txns<'_>, findings: &mut Findings) {
        for key in 0..txns.keys.len() {
            let range = self.starts[key] as usize..self.starts[key + 1] as usize;
            let own = &mut self.all[range];
            if own.is_sorted_by(|one, other| one.code < other.code) {
                continue;
            }
            let failed = |write: &Write| txns.end(write.txn) == OpEnd::Fail;
            own.sort_by_key(|write| (write.code, failed(write), write.txn));
            let twice = own.windows(2).find(|pair| pair[0].code == pair[1].code && !failed(&pair[1]));
            if let Some(pair) = twice {
                let (key, code) = (key as u32, pair[0].code);
                self.ambiguous.insert(key);
                let [one, other] = [pair[0].txn, pair[1].txn].map(|txn| txns.history.ops[txn as usize].index);
                findings.undecided.push(format!(
                    "{} was written to {} twice, by operations {one} and {other}: nobody can tell which of the two is read",
                    txns.codes.text(code),
                    txns.key_text(key),
                ));
            }
        }
    }

    /// The place among all of what was read.
    pub(super) fn place(&self, txns: &Txns<'_>, key: u32, value: &Value) -> Option<usize> {
        self.find(key, txns.codes.find(value)?)
    }

    /// The place among all of what has this code.
    pub(super) fn find(&self, key: u32, code: u64) -> Option<usize> {
        let start = self.starts[key as usize] as usize;
        let own = self.of(key);
        // Where elements are counted up, each lies where the first one says.
        let step = own.get(1).map_or(1, |second| second.code - own[0].code).max(1);
        let guess = (code.wrapping_sub(own.first()?.code) / step) as usize;
        let is_there = |at: usize| own.get(at).is_some_and(|write| write.code == code);
        if is_there(guess) && !is_there(guess.wrapping_sub(1)) {
            return Some(start + guess);
        }
        let at = own.partition_point(|write| write.code < code);
        (own.get(at)?.code == code).then_some(start + at)
    }

    fn of(&self, key: u32) -> &[Write] {
        &self.all[self.range(key)]
    }

    /// Where a key's writes are.
    pub(super) fn range(&self, key: u32) -> Range<usize> {
        self.starts[key as usize] as usize..self.starts[key as usize + 1] as usize
    }

    /// Leaves a key out: nothing follows from its reads.
    pub(super) fn set_aside(&mut self, key: u32) {
        self.ambiguous.insert(key);
    }

    /// Was no value written twice? Otherwise nothing follows from the reads of this key.
    pub(super) fn is_clear(&self, key: u32) -> bool {
        self.ambiguous.is_empty() || !self.ambiguous.contains(&key)
    }
}

/// All writes, by key, with where each key's begin.
fn gather(txns: &Txns<'_>) -> (Vec<Write>, Vec<u32>) {
    let mut starts = vec![0u32; txns.keys.len() + 2];
    let txn_range = 0..txns.len() as u32;
    for txn in txn_range.clone() {
        for step in txns.steps(txn) {
            starts[step.key as usize + 2] += u32::from(matches!(step.act, Act::Write(_)));
        }
    }
    for i in 2..starts.len() {
        starts[i] += starts[i - 1];
    }
    let total = starts[starts.len() - 1] as usize;
    let mut all = vec![Write { code: 0, txn: 0, nth: 0, is_last: false }; total];
    let mut scratch = Vec::new();
    for txn in txn_range {
        for steps in txns.by_key(txn, &mut scratch).chunk_by(|one, other| one.key == other.key) {
            let at = &mut starts[steps[0].key as usize + 1];
            let first = *at as usize;
            for step in steps {
                let Act::Write(code) = step.act else { continue };
                let nth = (*at as usize - first).min(usize::from(u16::MAX)) as u16;
                all[*at as usize] = Write { code, txn, nth, is_last: false };
                *at += 1;
            }
            if let Some(last) = all[first..*at as usize].last_mut() {
                last.is_last = true;
            }
        }
    }
    starts.pop();
    (all, starts)
}
