//! Did enough happen for a "valid" to mean anything?

use std::collections::{BTreeMap, BTreeSet};

use crate::stats::Stats;
use crate::{Budget, Checker, FaultRecord, History, Verdict};

/// A checker that never says `Invalid`: `Valid` when the run was a test, `Unknown` with its reasons when it
/// was not.
///
/// What it asks for:
/// - each kind of operation in [`functions`](Self::functions), and each other kind that was called but those in
///   [`exempt`](Self::exempt), succeeded at least [`ok_per_function_min`](Self::ok_per_function_min) times;
/// - each shard in [`shards`](Self::shards), and each other one that was met, acknowledged at least
///   [`ok_per_shard_min`](Self::ok_per_shard_min) operations;
/// - if faults were planned: at least [`faults_installed_min`](Self::faults_installed_min) of them took
///   effect, and of each family that struck at least one took effect while an operation was under way;
/// - clients saw at least [`failovers_min`](Self::failovers_min) changes of master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Kinds of operation the workload promises, like `read`.
    pub functions: Vec<String>,
    /// Kinds that only prepare for the others and may be rare.
    pub exempt: Vec<String>,
    /// Least successes of each kind.
    pub ok_per_function_min: u64,
    /// Shards of the cluster, by number.
    pub shards: Vec<u32>,
    /// Least successes on each shard.
    pub ok_per_shard_min: u64,
    /// Fault windows that were planned.
    pub faults_planned: usize,
    /// Least of them that must have taken effect.
    pub faults_installed_min: usize,
    /// Least changes of master seen by clients, over all shards.
    pub failovers_min: u64,
}

impl Default for Coverage {
    /// Ten successes of each kind that was called and on each shard that was met, no faults planned.
    fn default() -> Self {
        Coverage {
            functions: Vec::new(),
            exempt: Vec::new(),
            ok_per_function_min: 10,
            shards: Vec::new(),
            ok_per_shard_min: 10,
            faults_planned: 0,
            faults_installed_min: 0,
            failovers_min: 0,
        }
    }
}

impl Coverage {
    /// The default, for a run with so many planned fault windows: at least half of them, rounded up, must
    /// take effect.
    pub fn of_faults(faults_planned: usize) -> Self {
        Coverage { faults_planned, faults_installed_min: faults_planned.div_ceil(2), ..Coverage::default() }
    }

    fn ask_functions(&self, stats: &Stats, why: &mut Vec<String>) {
        let called = stats.by_f.keys().cloned();
        let expected: BTreeSet<String> = self.functions.iter().cloned().chain(called).collect();
        for f in expected.into_iter().filter(|f| !self.exempt.contains(f)) {
            let counts = stats.by_f.get(&f).copied().unwrap_or_default();
            if counts.ok < self.ok_per_function_min {
                let tail = if counts.mismatch > 0 {
                    format!(" ({} more were answered with a mismatch)", counts.mismatch)
                } else {
                    String::new()
                };
                why.push(format!(
                    "only {} of {} `{f}` operations succeeded{tail}; at least {} must for a verdict",
                    counts.ok,
                    counts.total(),
                    self.ok_per_function_min
                ));
            }
        }
    }

    fn ask_shards(&self, stats: &Stats, why: &mut Vec<String>) {
        let met = stats.by_shard.keys().copied();
        let expected: BTreeSet<u32> = self.shards.iter().copied().chain(met).collect();
        for shard in expected {
            let counts = stats.by_shard.get(&shard).copied().unwrap_or_default();
            if counts.ok < self.ok_per_shard_min {
                why.push(format!(
                    "only {} of {} operations on shard {shard} succeeded; at least {} must for a verdict",
                    counts.ok,
                    counts.total(),
                    self.ok_per_shard_min
                ));
            }
        }
    }

    fn ask_faults(&self, history: &History, stats: &Stats, why: &mut Vec<String>) {
        if self.faults_planned == 0 && history.faults.is_empty() {
            return;
        }
        if history.faults.is_empty() {
            why.push(format!("{} faults were planned and none struck", self.faults_planned));
            return;
        }
        let installed = history.faults.iter().filter(|fault| fault.installed).count();
        if installed < self.faults_installed_min {
            why.push(format!(
                "only {installed} of {} planned faults took effect, at least {} must; {} struck",
                self.faults_planned,
                self.faults_installed_min,
                history.faults.len()
            ));
        }
        let mut families: BTreeMap<&str, Vec<&FaultRecord>> = BTreeMap::new();
        for fault in &history.faults {
            families.entry(&fault.kind).or_default().push(fault);
        }
        for (kind, faults) in families {
            why.extend(family(kind, &faults, stats));
        }
    }

    fn ask_failovers(&self, stats: &Stats, why: &mut Vec<String>) {
        let failovers = stats.failovers();
        if failovers < self.failovers_min {
            why.push(format!(
                "clients saw {failovers} changes of master; at least {} must happen for a verdict",
                self.failovers_min
            ));
        }
    }
}

impl Checker for Coverage {
    fn name(&self) -> &'static str {
        "coverage"
    }

    fn check(&self, history: &History, _budget: &Budget) -> Verdict {
        let stats = history.stats();
        let mut why = Vec::new();
        if history.ops.is_empty() {
            why.push("nothing was called".to_string());
        } else {
            self.ask_functions(&stats, &mut why);
        }
        self.ask_shards(&stats, &mut why);
        self.ask_faults(history, &stats, &mut why);
        self.ask_failovers(&stats, &mut why);
        if why.is_empty() { Verdict::Valid } else { Verdict::Unknown { why } }
    }
}

/// What is wrong with the faults of one family, if anything is.
fn family(kind: &str, faults: &[&FaultRecord], stats: &Stats) -> Option<String> {
    let installed: BTreeSet<u64> =
        faults.iter().filter(|fault| fault.installed).map(|fault| fault.id).collect();
    if installed.is_empty() {
        let reason = faults.iter().find_map(|fault| fault.evidence.first());
        let reason = reason.map_or(String::new(), |(what, shown)| format!(" ({what}: {shown})"));
        return Some(format!("of {} `{kind}` faults none took effect{reason}", faults.len()));
    }
    let met = |id: &u64| {
        stats
            .by_fault
            .iter()
            .any(|counts| counts.id == *id && counts.kind == kind && counts.in_flight.total() > 0)
    };
    if installed.iter().any(met) {
        return None;
    }
    Some(format!("no operation was under way during any of the {} `{kind}` faults", installed.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sketch;

    fn reasons(coverage: &Coverage, history: &History) -> Vec<String> {
        match coverage.check(history, &Budget::default()) {
            Verdict::Valid => Vec::new(),
            Verdict::Unknown { why } => why,
            Verdict::Invalid { .. } => panic!("coverage never accuses the system"),
        }
    }

    fn fault(id: u64, kind: &str, installed: bool, at_ms: u64) -> FaultRecord {
        FaultRecord {
            id,
            kind: kind.into(),
            detail: String::new(),
            target: String::new(),
            nodes: vec![],
            roles: vec![],
            wide: false,
            start_ns: at_ms * 1_000_000,
            stop_ns: Some((at_ms + 2) * 1_000_000),
            installed,
            evidence: vec![("state seen".into(), "still running".into())],
        }
    }

    /// Twelve successful writes, from millisecond 3 to 99.
    fn busy() -> History {
        let drawing = format!("p0 {}", (0..12).map(|i| format!("|-w{i}-|")).collect::<Vec<_>>().join("  "));
        sketch::history(&drawing).expect("well drawn")
    }

    #[test]
    fn a_busy_run_without_planned_faults_is_a_test() {
        assert_eq!(reasons(&Coverage::default(), &busy()), Vec::<String>::new());
    }

    #[test]
    fn an_empty_run_is_never_green() {
        assert_eq!(reasons(&Coverage::default(), &History::default()), ["nothing was called"]);
    }

    #[test]
    fn a_kind_of_operation_that_hardly_succeeded_is_named() {
        let mut coverage = Coverage::default();
        coverage.functions.push("read".into());
        assert_eq!(
            reasons(&coverage, &busy()),
            ["only 0 of 0 `read` operations succeeded; at least 10 must for a verdict"]
        );
    }

    #[test]
    fn a_kind_that_only_prepares_may_be_rare() {
        let mut history = busy();
        history.ops[0].f = "open".into();
        let coverage = Coverage { exempt: vec!["open".into()], ..Coverage::default() };
        assert_eq!(reasons(&coverage, &history), Vec::<String>::new());
        assert_eq!(reasons(&Coverage::default(), &history).len(), 1);
    }

    #[test]
    fn a_shard_that_was_never_reached_is_named() {
        let mut history = busy();
        history.ops.iter_mut().for_each(|op| op.shard = Some(0));
        let coverage = Coverage { shards: vec![0, 1], ..Coverage::default() };
        assert_eq!(
            reasons(&coverage, &history),
            ["only 0 of 0 operations on shard 1 succeeded; at least 10 must for a verdict"]
        );
    }

    #[test]
    fn planned_faults_must_strike() {
        assert_eq!(reasons(&Coverage::of_faults(4), &busy()), ["4 faults were planned and none struck"]);
    }

    #[test]
    fn faults_must_take_effect() {
        let mut history = busy();
        history.faults =
            vec![fault(0, "kill", true, 20), fault(1, "pause", false, 30), fault(2, "pause", false, 40)];
        assert_eq!(
            reasons(&Coverage::of_faults(3), &history),
            [
                "only 1 of 3 planned faults took effect, at least 2 must; 3 struck",
                "of 2 `pause` faults none took effect (state seen: still running)"
            ]
        );
    }

    #[test]
    fn something_must_be_under_way_while_a_fault_lasts() {
        let mut history = busy();
        history.faults = vec![fault(0, "kill", true, 20), fault(1, "pause", true, 500)];
        assert_eq!(
            reasons(&Coverage::of_faults(2), &history),
            ["no operation was under way during any of the 1 `pause` faults"]
        );
    }

    #[test]
    fn failovers_can_be_asked_for() {
        let coverage = Coverage { failovers_min: 1, ..Coverage::default() };
        assert_eq!(
            reasons(&coverage, &busy()),
            ["clients saw 0 changes of master; at least 1 must happen for a verdict"]
        );
    }
}
