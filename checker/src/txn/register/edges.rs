//! Who read whose version, and what follows.

use rustc_hash::FxHashSet;
use serde_json::Value;

use super::super::findings::Findings;
use super::super::graph::{Edges, Why};
use super::super::read_in::{Act, Txns};
use super::super::writes::Writes;
use super::super::{KeyOrder, Trouble};
use super::order::{self, Link};
use super::{View, view};
use crate::OpEnd;

/// The version before all others, as a place among the writes.
pub(super) const INITIAL: u32 = u32::MAX;

/// A version that an acknowledged transaction read before it wrote the key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Read {
    pub(super) key: u32,
    /// The version: the last write of its transaction to this key, or [`INITIAL`].
    pub(super) version: u32,
    pub(super) txn: u32,
    /// The version that the reader made of it, if it wrote.
    pub(super) made: Option<u32>,
}

/// All registers.
pub(super) struct Registers {
    pub(super) writes: Writes,
    /// By key and version.
    pub(super) reads: Vec<Read>,
    /// Which transactions took effect for certain: acknowledged, or seen by one that was.
    pub(super) committed: Vec<bool>,
}

impl Registers {
    pub(super) fn new(txns: &Txns<'_>, findings: &mut Findings) -> Self {
        let mut registers = Registers {
            writes: Writes::new(txns, findings),
            reads: Vec::new(),
            committed: (0..txns.len() as u32).map(|txn| txns.end(txn) == OpEnd::Ok).collect(),
        };
        registers.set_aside_nulls(txns, findings);
        let mut scratch = Vec::new();
        for txn in txns.acknowledged() {
            for steps in txns.by_key(txn, &mut scratch).chunk_by(|one, other| one.key == other.key) {
                let seen = view(txns, steps.iter().map(|step| step.act));
                if registers.writes.is_clear(steps[0].key) {
                    registers.look(txns, txn, steps[0].key, seen, findings);
                }
            }
        }
        registers.reads.sort_unstable();
        registers
    }

    /// Where `null` was written, it cannot be told from what was there at first.
    fn set_aside_nulls(&mut self, txns: &Txns<'_>, findings: &mut Findings) {
        let Some(null) = txns.codes.find(&Value::Null) else { return };
        for key in 0..txns.keys.len() as u32 {
            if self.writes.find(key, null).is_some() {
                self.writes.set_aside(key);
                let key = txns.key_text(key);
                findings.undecided.push(format!("null was written to {key}, which unwritten keys hold, too"));
            }
        }
    }

    /// What one transaction saw of one key.
    fn look(&mut self, txns: &Txns<'_>, txn: u32, key: u32, seen: View<'_>, findings: &mut Findings) {
        let index = |txn: u32| txns.history.ops[txn as usize].index;
        let name = || txns.key_text(key);
        if seen.contradicts {
            findings.note(txns, Trouble::Internal, key, &[txn], || {
                format!(
                    "operation {} read {} otherwise than its own steps before left it",
                    index(txn),
                    name()
                )
            });
        }
        let Some(value) = seen.external else { return };
        if seen.foresees {
            findings.note(txns, Trouble::FutureRead, key, &[txn], || {
                format!("operation {} read {value} in {}, which it was to write later", index(txn), name())
            });
            return;
        }
        let made = seen.written.and_then(|code| self.writes.find(key, code)).map(|at| at as u32);
        let Some(at) = self.writes.place(txns, key, value) else {
            if value.is_null() {
                self.reads.push(Read { key, version: INITIAL, txn, made });
            } else {
                findings.note(txns, Trouble::FabricatedValue, key, &[txn], || {
                    format!("operation {} read {value} in {}, which nobody wrote", index(txn), name())
                });
            }
            return;
        };
        let write = self.writes.all[at];
        if txns.end(write.txn) == OpEnd::Fail {
            findings.note(txns, Trouble::AbortedRead, key, &[write.txn, txn], || {
                let failed = index(write.txn);
                format!(
                    "operation {} read {value} in {}, which operation {failed} wrote, but that had failed",
                    index(txn),
                    name()
                )
            });
            return;
        }
        self.committed[write.txn as usize] = true;
        if !write.is_last {
            findings.note(txns, Trouble::IntermediateRead, key, &[write.txn, txn], || {
                format!(
                    "operation {} read {value} in {}, which operation {} replaced in the same transaction",
                    index(txn),
                    name(),
                    index(write.txn),
                )
            });
        }
        let last = txns.steps(write.txn).iter().rev().find_map(|step| match step.act {
            Act::Write(code) if step.key == key => self.writes.find(key, code),
            _ => None,
        });
        self.reads.push(Read { key, version: last.unwrap_or(at) as u32, txn, made });
    }

    /// All dependencies between transactions that took effect.
    pub(super) fn edges(&mut self, txns: &Txns<'_>, keys: KeyOrder, findings: &mut Findings) -> Edges {
        let mut edges = Edges::default();
        for read in self.reads.iter().filter(|read| read.version != INITIAL) {
            edges.push(self.writes.all[read.version as usize].txn, Why::Wr, read.txn, read.key);
        }
        self.lost_updates(txns, findings);
        let mut links = order::links(txns, self, keys);
        order::drop_circles(txns, self, &mut links, findings);
        // A read version's follower depends on its writer by the read already.
        for link in links.iter().filter(|link| !link.by_read) {
            edges.push(self.txn(link.from), Why::Ww, self.txn(link.to), link.key);
        }
        let mut links = &links[..];
        for readers in self.reads.chunk_by(|one, other| (one.key, one.version) == (other.key, other.version))
        {
            let (key, version) = (readers[0].key, readers[0].version);
            let skipped = links.partition_point(|link| (link.key, link.from) < (key, version));
            links = &links[skipped..];
            let own = links.partition_point(|link| (link.key, link.from) == (key, version));
            let mut next: Vec<u32> = links[..own].iter().map(|link| self.txn(link.to)).collect();
            if version == INITIAL {
                next.extend(self.rootless(key));
            }
            next.sort_unstable();
            next.dedup();
            let sources: Vec<(u32, Why)> = readers.iter().map(|read| (read.txn, Why::Rw)).collect();
            edges.fan(txns.len(), &sources, &next, key);
        }
        edges
    }

    pub(super) fn txn(&self, version: u32) -> u32 {
        self.writes.all[version as usize].txn
    }

    /// Who wrote the key without having read another version than the initial one.
    fn rootless(&self, key: u32) -> Vec<u32> {
        let start = self.reads.partition_point(|read| read.key < key);
        let end = self.reads.partition_point(|read| read.key <= key);
        let later =
            self.reads[start..end].iter().filter(|read| read.version != INITIAL && read.made.is_some());
        let later: FxHashSet<u32> = later.map(|read| read.txn).collect();
        let writers = self.writes.all[self.writes.range(key)].iter().map(|write| write.txn);
        writers.filter(|txn| self.committed[*txn as usize] && !later.contains(txn)).collect()
    }

    /// Several transactions that read one version and replaced it.
    fn lost_updates(&self, txns: &Txns<'_>, findings: &mut Findings) {
        for readers in self.reads.chunk_by(|one, other| (one.key, one.version) == (other.key, other.version))
        {
            let mut made = readers.iter().filter(|read| read.made.is_some());
            let (Some(one), Some(other)) = (made.next(), made.next()) else { continue };
            findings.note(txns, Trouble::LostUpdate, one.key, &[one.txn, other.txn], || {
                let value = match one.version {
                    INITIAL => "null".to_string(),
                    version => txns.codes.text(self.writes.all[version as usize].code),
                };
                let [first, second] = [one.txn, other.txn].map(|txn| txns.history.ops[txn as usize].index);
                format!(
                    "operations {first} and {second} both read {} as {value} and replaced it, as if the other one were not",
                    txns.key_text(one.key),
                )
            });
        }
    }
}

/// The links that follow from reads alone: a version and what its reader made of it.
pub(super) fn links_by_read(registers: &Registers) -> Vec<Link> {
    let link = |read: &Read| Some(Link { key: read.key, from: read.version, to: read.made?, by_read: true });
    registers.reads.iter().filter_map(link).collect()
}
