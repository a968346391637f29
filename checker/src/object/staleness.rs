//! Registers whose reads may be behind, by so much and no more.
//!
//! `write` sets a unique value, `read` returns one that may have been overwritten, but not longer ago than a
//! bound: a read must not return a value if a write that is certainly newer was acknowledged more than the bound
//! before the read began. A write is certainly newer than a value if it was called after the value was known to
//! be in place: after its own write was acknowledged, or after some read had returned it.
//!
//! ```text
//! p0 |--w1--|  |--w2--|
//! p1                      |--r1--|            |--r1--|     invalid with a bound of 20 columns: by then 1 is too old
//! ```
//!
//! A column is a millisecond. Times are those of the history's events, so they must be of one clock.
//!
//! ```
//! use checker::object::staleness::BoundedStaleness;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |--w1--|  |--w2--|
//! p1                      |--r1--|            |--r1--|
//! ",
//! )?;
//! let stale = BoundedStaleness { bound_ns: 20_000_000 };
//! let Verdict::Invalid { anomalies } = stale.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!((anomalies[0].name.as_str(), &anomalies[0].ops[..]), ("stale-read", &[0, 2, 6][..]));
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::{Broken, Trouble, by_key, foreign};
use crate::model::partitions;
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Process, Verdict};

/// Is no read, key by key, further behind than the bound? Exact as to what is known to be overwritten, and in
/// O(n log n); it does not ask for one order of all operations.
///
/// Anomalies: `stale-read`; `fabricated-value`, `aborted-read` and `future-read`, which no bound allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundedStaleness {
    /// How long a value that was overwritten may still be read, nanoseconds.
    pub bound_ns: u64,
}

impl Checker for BoundedStaleness {
    fn name(&self) -> &'static str {
        "bounded-staleness"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, _| {
            let part = Part::new(ops)?;
            part.written()?;
            part.fresh(self.bound_ns)?;
            Ok(())
        })
    }
}

/// Does no client, key by key, read a value that is certainly older than one it had read before? Exact as to what
/// is known to be older, O(n log n). One of the session guarantees of Terry et al. 1994.
///
/// Anomaly: `monotonic-reads`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MonotonicReads;

impl Checker for MonotonicReads {
    fn name(&self) -> &'static str {
        "monotonic-reads"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, _| match Part::new(ops)?.went_back().first() {
            None => Ok(()),
            Some(&(newer, older)) => {
                let reason = "a client read an older value than it had read before".to_string();
                Err(Broken::new("monotonic-reads", vec![newer, older], reason).into())
            }
        })
    }
}

/// How many reads there were that came back with a value, and how many of them showed a client a value that was
/// certainly older than one it had read before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadsBack {
    /// All.
    pub reads: u64,
    /// Those that went back.
    pub back: u64,
}

/// Counts what [`MonotonicReads`] would object to; keys with foreign operations are left out.
pub fn monotonic_reads(history: &History) -> ReadsBack {
    let mut all = ReadsBack::default();
    for part in partitions(history) {
        let ops: Vec<(usize, &Op)> = part.ops.iter().map(|&place| (place, &history.ops[place])).collect();
        if let Ok(part) = Part::new(&ops) {
            all.reads += part.reads.len() as u64;
            all.back += part.went_back().len() as u64;
        }
    }
    all
}

pub(super) struct Part<'h> {
    /// Who wrote each value, if not certainly in vain.
    pub(super) writes: FxHashMap<&'h Value, (usize, &'h Op)>,
    /// Who certainly did so in vain.
    failed: FxHashMap<&'h Value, usize>,
    /// In order of invocation.
    pub(super) reads: Vec<(usize, &'h Op)>,
    /// Where in the history each value is first known to be in place: an acknowledgement or the return of a read.
    pub(super) known: FxHashMap<&'h Value, (u64, usize)>,
}

impl<'h> Part<'h> {
    pub(super) fn new(ops: &[(usize, &'h Op)]) -> Result<Self, Trouble> {
        let mut part = Part {
            writes: FxHashMap::default(),
            failed: FxHashMap::default(),
            reads: Vec::new(),
            known: FxHashMap::default(),
        };
        for &(place, op) in ops {
            match (&*op.f, op.end) {
                ("read", OpEnd::Fail | OpEnd::Info) => {}
                ("read", OpEnd::Ok) => {
                    part.reads.push((place, op));
                    part.see(&op.output, op.ret, place);
                }
                ("write", OpEnd::Fail) => drop(part.failed.insert(&op.input, place)),
                ("write", end) => {
                    if part.writes.insert(&op.input, (place, op)).is_some() || op.input.is_null() {
                        let why = format!("operation {} writes {}", op.index, op.input);
                        return Err(Trouble::Unjudged(format!("{why}; only unique values can be judged")));
                    }
                    if end == OpEnd::Ok {
                        part.see(&op.input, op.ret, place);
                    }
                }
                _ => return Err(foreign(op, "a register whose reads may be behind")),
            }
        }
        Ok(part)
    }

    fn see(&mut self, value: &'h Value, position: u64, place: usize) {
        let first = self.known.entry(value).or_insert((position, place));
        *first = (*first).min((position, place));
    }

    /// Was `value` certainly in place before `write` was called? The initial value always was.
    pub(super) fn is_older(&self, value: &Value, write: &Op) -> bool {
        value.is_null() || self.known.get(value).is_some_and(|&(position, _)| position < write.call)
    }

    /// Somebody had begun to write whatever was read.
    pub(super) fn written(&self) -> Result<(), Broken> {
        for &(place, read) in self.reads.iter().filter(|(_, read)| !read.output.is_null()) {
            let value = &read.output;
            match (self.writes.get(value), self.failed.get(value)) {
                (Some(&(writer, write)), _) if read.ret < write.call => {
                    let reason = format!("{value} was read before anybody had begun to write it");
                    return Err(Broken::new("future-read", vec![writer, place], reason));
                }
                (Some(_), _) => {}
                (None, failed) => {
                    let claim = format!("{value} was read by process {}", read.process);
                    return Err(Broken::nowhere(value, place, failed.copied(), &claim));
                }
            }
        }
        Ok(())
    }

    /// Nothing that was read had been overwritten longer than `bound_ns` ago.
    fn fresh(&self, bound_ns: u64) -> Result<(), Broken> {
        let mut acked: Vec<(u64, usize, &Op)> = self
            .writes
            .values()
            .filter(|(_, write)| write.end == OpEnd::Ok)
            .filter_map(|&(place, write)| Some((write.ret_ns?, place, write)))
            .collect();
        acked.sort_by_key(|&(ret_ns, place, _)| (ret_ns, place));
        let mut reads: Vec<_> = self.reads.iter().collect();
        reads.sort_by_key(|(place, read)| (read.call_ns, *place));
        let mut acked = acked.into_iter().peekable();
        // Of the writes acknowledged long enough ago, the one that was called last.
        let mut newest: Option<(usize, &Op)> = None;
        for &&(place, read) in &reads {
            let long_ago = |ret_ns: u64| ret_ns.saturating_add(bound_ns) < read.call_ns;
            while let Some((_, writer, write)) = acked.next_if(|&(ret_ns, ..)| long_ago(ret_ns)) {
                if newest.is_none_or(|(_, newest)| newest.call < write.call) {
                    newest = Some((writer, write));
                }
            }
            if let Some((writer, write)) = newest
                && self.is_older(&read.output, write)
            {
                return Err(self.too_old(place, read, writer, write));
            }
        }
        Ok(())
    }

    fn too_old(&self, place: usize, read: &Op, writer: usize, write: &Op) -> Broken {
        let old = self.writes.get(&read.output).map(|&(place, _)| place);
        let shown = self.known.get(&read.output).map(|&(_, place)| place);
        let since_s = read.call_ns.saturating_sub(write.ret_ns.unwrap_or(0)) as f64 / 1e9;
        let reason = format!(
            "{} was read, although it had been overwritten by {}, acknowledged {since_s:.3} s before",
            read.output, write.input
        );
        let older = old.into_iter().chain(shown.filter(|_| old.is_some()));
        Broken::new("stale-read", older.chain([writer, place]).collect(), reason)
    }

    /// Reads that went back: the read that had shown something newer, and the one that did not.
    fn went_back(&self) -> Vec<(usize, usize)> {
        let mut newest: FxHashMap<Process, (usize, &Op)> = FxHashMap::default();
        let mut back = Vec::new();
        for &(place, read) in &self.reads {
            if let Some(&(before, write)) = newest.get(&read.process)
                && self.is_older(&read.output, write)
            {
                back.push((before, place));
            }
            if let Some(&(_, write)) = self.writes.get(&read.output)
                && newest.get(&read.process).is_none_or(|(_, newest)| newest.call < write.call)
            {
                newest.insert(read.process, (place, write));
            }
        }
        back
    }
}
