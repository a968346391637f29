//! How much happened: operations by kind, shard and outcome, and what was under way while each fault lasted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{FaultRecord, History, Op, OpEnd};

/// Operations by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Took effect.
    pub ok: u64,
    /// Certainly did not, mismatches among them.
    pub fail: u64,
    /// Of those that failed: compare-and-sets that were answered, but did not match.
    pub mismatch: u64,
    /// Nobody can say.
    pub info: u64,
}

impl Counts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.ok + self.fail + self.info
    }

    /// Those that the system answered, with success or with a mismatch.
    pub fn answered(&self) -> u64 {
        self.ok + self.mismatch
    }

    /// Share of the answered among all, 0 to 1; 1 when there were none.
    pub fn answered_share(&self) -> f64 {
        if self.total() == 0 { 1.0 } else { self.answered() as f64 / self.total() as f64 }
    }

    fn add(&mut self, op: &Op) {
        match op.end {
            OpEnd::Ok => self.ok += 1,
            OpEnd::Info => self.info += 1,
            OpEnd::Fail => {
                self.fail += 1;
                self.mismatch += u64::from(op.error.as_deref() == Some("mismatch"));
            }
        }
    }
}

/// What was under way while a fault lasted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultCounts {
    /// Number of the fault's window.
    pub id: u64,
    /// Its family.
    pub kind: String,
    /// Did it take effect?
    pub installed: bool,
    /// Operations with at least one instant in common with it.
    pub in_flight: Counts,
}

/// The counts of a history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// All operations.
    pub all: Counts,
    /// By what was called.
    pub by_f: BTreeMap<String, Counts>,
    /// By the shard they were sent to, where that is known.
    pub by_shard: BTreeMap<u32, Counts>,
    /// By fault, in order of start.
    pub by_fault: Vec<FaultCounts>,
    /// Epochs of masters that acknowledged something, by shard.
    pub epochs: BTreeMap<u32, BTreeSet<u64>>,
}

impl Stats {
    /// Changes of master after which the new one acknowledged something, over all shards.
    pub fn failovers(&self) -> u64 {
        self.epochs.values().map(|epochs| epochs.len().saturating_sub(1) as u64).sum()
    }
}

impl History {
    /// Counts operations by kind, shard, fault and outcome. Costs O(operations × faults).
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for op in &self.ops {
            stats.all.add(op);
            match stats.by_f.get_mut(&*op.f) {
                Some(counts) => counts.add(op),
                None => stats.by_f.entry(op.f.to_string()).or_default().add(op),
            }
            let Some(shard) = op.shard else { continue };
            stats.by_shard.entry(shard).or_default().add(op);
            if let (Some(epoch), OpEnd::Ok) = (op.epoch, op.end) {
                stats.epochs.entry(shard).or_default().insert(epoch);
            }
        }
        stats.by_fault = self.faults.iter().map(|fault| self.during(fault)).collect();
        stats
    }

    fn during(&self, fault: &FaultRecord) -> FaultCounts {
        let stop_ns = fault.stop_ns.unwrap_or(u64::MAX);
        let mut in_flight = Counts::default();
        for op in &self.ops {
            if op.call_ns <= stop_ns && op.ret_ns.unwrap_or(u64::MAX) >= fault.start_ns {
                in_flight.add(op);
            }
        }
        FaultCounts { id: fault.id, kind: fault.kind.clone(), installed: fault.installed, in_flight }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sketch;

    #[test]
    fn every_outcome_is_counted_once() {
        let history = sketch::history("p0 |-w1-| |-c1>2-| |-c1>3-# |-w4-x |-w5-?").expect("well drawn");
        let stats = history.stats();
        assert_eq!(stats.all, Counts { ok: 2, fail: 2, mismatch: 1, info: 1 });
        assert_eq!((stats.all.total(), stats.all.answered()), (5, 3));
        assert_eq!(stats.by_f["cas"], Counts { ok: 1, fail: 1, mismatch: 1, info: 0 });
    }

    #[test]
    fn an_operation_is_in_flight_from_its_call_to_its_return() {
        let mut history = sketch::history("p0 |-w1-|  |-w2-|  |-w3-|\np1 |-w4-").expect("well drawn");
        history.faults.push(FaultRecord {
            id: 0,
            kind: "kill".into(),
            detail: String::new(),
            target: String::new(),
            nodes: vec![],
            roles: vec![],
            wide: false,
            start_ns: 10_000_000,
            stop_ns: Some(12_000_000),
            installed: true,
            evidence: vec![],
        });
        // Only w2 (columns 11 to 16) and w4, which never came back.
        assert_eq!(history.stats().by_fault[0].in_flight, Counts { ok: 1, info: 1, ..Counts::default() });
    }

    #[test]
    fn a_failover_counts_once_the_new_master_has_acknowledged_something() {
        let mut history = sketch::history("p0 |-w1-| |-w2-| |-w3-x |-w4-|").expect("well drawn");
        for (op, epoch) in history.ops.iter_mut().zip([1, 1, 2, 3]) {
            (op.shard, op.epoch) = (Some(0), Some(epoch));
        }
        assert_eq!(history.stats().failovers(), 1);
    }
}
