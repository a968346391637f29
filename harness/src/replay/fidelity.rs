//! How alike the strikes of two runs of one schedule were. Pure.

use checker::FaultRecord;
use nemesis::{Part, Schedule, Target};
use results::strikes::StrikeLine;
use serde::Serialize;

/// What counts as the same strike.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// By how much it may come earlier or later, milliseconds.
    pub tolerance_ms: u64,
    /// It must strike the same nodes, not only the same roles.
    pub by_node: bool,
}

/// How faithfully a schedule was issued again.
#[derive(Debug, PartialEq, Serialize)]
pub struct Fidelity {
    /// Faithful windows beside all that both runs should have come to; 1 where there are none.
    pub share: f64,
    /// Windows that both runs should have come to.
    pub compared: usize,
    /// Those that struck as they did then.
    pub faithful: usize,
    /// Those that struck the very same nodes.
    pub same_nodes: usize,
    /// By how much a strike may be off, milliseconds.
    pub tolerance_ms: u64,
    /// Each of them.
    pub windows: Vec<Compared>,
}

/// One window in both runs.
#[derive(Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Its id.
    pub window: u64,
    /// What it does, to whom.
    pub what: String,
    /// When it struck then and now, milliseconds of each run's clock.
    pub struck_ms: (Option<u64>, Option<u64>),
    /// Nodes struck then and now.
    pub nodes: (Vec<String>, Vec<String>),
    /// Why it does not count as the same, each a sentence; empty where it does.
    pub misses: Vec<String>,
}

/// Compares window by window. One that the earlier run never came to, since it was cut short, is left out.
pub fn compare(schedule: &Schedule, then: &[FaultRecord], now: &[FaultRecord], wanted: Wanted) -> Fidelity {
    let find = |faults: &[FaultRecord], id| faults.iter().find(|fault| fault.id == id).cloned();
    let mut windows = Vec::new();
    for window in &schedule.windows {
        let Some(before) = find(then, window.id) else { continue };
        let after = find(now, window.id);
        windows.push(Compared {
            window: window.id,
            what: format!("{} {}", before.kind, window.target),
            struck_ms: (
                Some(before.start_ns / 1_000_000),
                after.as_ref().map(|fault| fault.start_ns / 1_000_000),
            ),
            nodes: (
                before.nodes.clone(),
                after.as_ref().map(|fault| fault.nodes.clone()).unwrap_or_default(),
            ),
            misses: misses(&before, after.as_ref(), wanted),
        });
    }
    let faithful = windows.iter().filter(|window| window.misses.is_empty()).count();
    let same_nodes =
        windows.iter().filter(|window| window.struck_ms.1.is_some() && window.nodes.0 == window.nodes.1);
    let (compared, same_nodes) = (windows.len(), same_nodes.count());
    let share = if compared == 0 { 1.0 } else { faithful as f64 / compared as f64 };
    Fidelity { share, compared, faithful, same_nodes, tolerance_ms: wanted.tolerance_ms, windows }
}

/// How much of what was done to messages was done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Strikes {
    /// Messages altered then.
    pub then: usize,
    /// Messages altered now.
    pub now: usize,
    /// Those then that were altered again: the same fault struck a message of the same kind with the same number in
    /// the same way, whoever sent it.
    pub same: usize,
}

impl Strikes {
    /// Same of then, 0 to 1; 1 where nothing was altered then.
    pub fn share(self) -> f64 {
        if self.then == 0 { 1.0 } else { self.same as f64 / self.then as f64 }
    }
}

/// Compares the altered messages of two runs.
pub fn altered_again(then: &[StrikeLine], now: &[StrikeLine]) -> Strikes {
    let key = |line: &StrikeLine| {
        let of = |name: &str| line.strike.get(name).map(ToString::to_string).unwrap_or_default();
        let action = line.strike.get("action").and_then(|action| match action {
            serde_json::Value::Object(kinds) => kinds.keys().next().cloned(),
            other => Some(other.to_string()),
        });
        (line.fault, ["link", "way", "kind", "occurrence", "field"].map(of), action)
    };
    let mut left = std::collections::BTreeMap::new();
    now.iter().for_each(|line| *left.entry(key(line)).or_insert(0_u64) += 1);
    let again = |line: &&StrikeLine| match left.get_mut(&key(line)) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    Strikes { then: then.len(), now: now.len(), same: then.iter().filter(again).count() }
}

fn misses(before: &FaultRecord, after: Option<&FaultRecord>, wanted: Wanted) -> Vec<String> {
    let Some(after) = after else { return vec!["this time the run ended before it".into()] };
    let mut misses = Vec::new();
    if wanted.by_node && before.nodes != after.nodes {
        misses.push(format!("on {} now, on {} then", list(&after.nodes), list(&before.nodes)));
    }
    let roles =
        |fault: &FaultRecord| list(&fault.roles.iter().map(|role| without_epoch(role)).collect::<Vec<_>>());
    if roles(before) != roles(after) {
        misses.push(format!("{} now, {} then", roles(after), roles(before)));
    }
    let off_ms = after.start_ns.abs_diff(before.start_ns) / 1_000_000;
    if off_ms > wanted.tolerance_ms {
        let which = if after.start_ns > before.start_ns { "later" } else { "earlier" };
        misses.push(format!("{off_ms} ms {which} than then"));
    }
    match (before.installed, after.installed) {
        (true, false) => misses.push(format!("took effect then, not now ({})", evidence(after))),
        (false, true) => misses.push(format!("takes effect now, did not then ({})", evidence(before))),
        _ => {}
    }
    if strikes(before) != strikes(after) {
        let count = |fault| strikes(fault).unwrap_or(0);
        misses.push(format!("{} strikes now, {} then", count(after), count(before)));
    }
    misses
}

fn evidence(fault: &FaultRecord) -> String {
    let seen = fault.evidence.iter().map(|(what, seen)| format!("{what}: {seen}"));
    seen.collect::<Vec<_>>().join("; ")
}

/// How often a window struck, where it may strike more than once.
fn strikes(fault: &FaultRecord) -> Option<u64> {
    let count = fault.evidence.iter().find(|(what, _)| what == nemesis::STRIKES)?;
    count.1.parse().ok()
}

/// `master of shard 0 (epoch 3)` without the epoch, which counts what happened before.
fn without_epoch(role: &str) -> &str {
    role.split(" (epoch").next().unwrap_or(role)
}

fn list<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => "nobody".into(),
        names => names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", "),
    }
}

/// The schedule aimed at the very nodes that it struck before; what struck nobody keeps its role.
pub fn on_the_nodes_of(schedule: &Schedule, then: &[FaultRecord]) -> Schedule {
    let mut schedule = schedule.clone();
    let roles: Vec<Target> = schedule.windows.iter().map(|window| window.target).collect();
    for window in &mut schedule.windows {
        let Some(fault) = then.iter().find(|fault| fault.id == window.id && !fault.nodes.is_empty()) else {
            continue;
        };
        let meant =
            window.target.same_as().and_then(|other| roles.get(other as usize)).unwrap_or(&window.target);
        let processes: Vec<Target> = fault
            .nodes
            .iter()
            .enumerate()
            .map(|(at, node)| {
                let before = fault.nodes[..at].iter().filter(|other| *other == node).count();
                Target::process(part(*meant, &fault.roles[at], before, fault.nodes.len()), node)
            })
            .collect();
        window.target = Target::together(&processes);
    }
    schedule
}

/// The process that a target means on a node which held `role` and was struck `before` times already.
fn part(meant: Target, role: &str, before: usize, of: usize) -> Part {
    let is_agent = |target: &Target| {
        matches!(target, Target::Agent { .. } | Target::AllAgents | Target::Process { part: Part::Agent, .. })
    };
    match role {
        "client" => Part::Client,
        _ if role.starts_with("ZooKeeper") => Part::ZooKeeper,
        _ if before > 0 => Part::Agent, // a node's Redis is named first
        _ if meant.each().iter().all(is_agent) || (of == 1 && is_agent(&meant)) => Part::Agent,
        _ => Part::Redis,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nemesis::Limits;

    fn schedule() -> Schedule {
        let limits = Limits { time_limit_ms: 30_000, shards: 1, replicas: 3, zookeepers: 3 };
        let text = "[[window]]\nstart_s = 1\nstop_s = 2\nfault = 'kill'\ntarget = 'master of shard 0'\n\
                    [[window]]\nstart_s = 3\nstop_s = 4\nfault = 'pause'\ntarget = 'master node of shard 0'\n\
                    [[window]]\nstart_s = 5\nstop_s = 6\nfault = 'pause'\ntarget = 'same as window 1'\n\
                    [[window]]\nstart_s = 7\nstop_s = 8\nfault = 'kill'\ntarget = 'zookeeper leader'";
        Schedule::from_toml(text, &limits, 1).unwrap()
    }

    fn fault(id: u64, node: &str, role: &str, at_ms: u64) -> FaultRecord {
        let nodes: Vec<String> = node.split(' ').map(str::to_string).collect();
        FaultRecord {
            id,
            kind: "kill".into(),
            detail: String::new(),
            target: String::new(),
            roles: nodes.iter().map(|_| role.to_string()).collect(),
            nodes,
            wide: false,
            start_ns: at_ms * 1_000_000,
            stop_ns: None,
            installed: true,
            evidence: Vec::new(),
        }
    }

    #[test]
    fn a_message_altered_again_is_known_by_its_number_not_by_its_sender() {
        let line = |fault, from: &str, occurrence, action: serde_json::Value| StrikeLine {
            time_ns: 1,
            fault,
            from: from.into(),
            to: "c0".into(),
            told: String::new(),
            strike: serde_json::json!({
                "link": "replication", "way": "to-server", "kind": "replconf-ack", "occurrence": occurrence, "action": action
            }),
        };
        let swallow = || serde_json::json!("swallow");
        let edit = serde_json::json!({ "edit": { "splices": [], "mend": true } });
        let then =
            [line(0, "s0r0", 1, swallow()), line(0, "s0r0", 2, swallow()), line(0, "s0r0", 2, swallow())];
        let now = [line(0, "s0r1", 2, swallow()), line(0, "s0r0", 1, edit), line(1, "s0r0", 1, swallow())];
        assert_eq!(altered_again(&then, &now), Strikes { then: 3, now: 3, same: 1 });
        assert_eq!(altered_again(&[], &now).share(), 1.0);
    }

    const ROLES: Wanted = Wanted { tolerance_ms: 250, by_node: false };
    const NODES: Wanted = Wanted { tolerance_ms: 250, by_node: true };

    #[test]
    fn the_same_strikes_are_faithful_whatever_the_epoch() {
        let then = [fault(0, "s0r0", "master of shard 0 (epoch 1)", 1_000)];
        let now = [fault(0, "s0r0", "master of shard 0 (epoch 4)", 1_200)];
        for wanted in [ROLES, NODES] {
            let fidelity = compare(&schedule(), &then, &now, wanted);
            assert_eq!((fidelity.share, fidelity.compared, fidelity.same_nodes), (1.0, 1, 1), "{fidelity:?}");
        }
    }

    #[test]
    fn every_difference_is_a_miss_with_its_reason() {
        let then = [
            fault(0, "s0r0", "master of shard 0 (epoch 1)", 1_000),
            fault(1, "s0r1", "replica of shard 0", 3_000),
            fault(2, "s0r1", "replica of shard 0", 5_000),
            fault(3, "zk1", "ZooKeeper leader", 7_000),
        ];
        let mut refused = fault(2, "s0r1", "replica of shard 0", 5_000);
        refused.installed = false;
        refused.evidence = vec![("not installed".into(), "held by window 1".into())];
        let now = [
            fault(0, "s0r2", "master of shard 0 (epoch 1)", 1_000),
            fault(1, "s0r1", "master of shard 0 (epoch 2)", 3_400),
            refused,
        ];
        let fidelity = compare(&schedule(), &then, &now, NODES);
        assert_eq!((fidelity.faithful, fidelity.compared), (0, 4));
        let misses: Vec<String> = fidelity.windows.iter().map(|window| window.misses.join(" / ")).collect();
        assert!(misses[0].contains("on s0r2 now, on s0r0 then"), "{misses:?}");
        assert!(
            misses[1].contains("master of shard 0 now, replica") && misses[1].contains("400 ms later"),
            "{misses:?}"
        );
        assert!(misses[2].contains("then, not now (not installed: held by window 1)"), "{misses:?}");
        assert!(misses[3].contains("ended before it"), "{misses:?}");
        assert_eq!(compare(&schedule(), &then, &now, ROLES).faithful, 1, "another node in the same role");
    }

    #[test]
    fn what_the_earlier_run_never_came_to_is_not_asked_for() {
        let both = [fault(0, "s0r0", "master of shard 0 (epoch 1)", 1_000)];
        let more = [both[0].clone(), fault(1, "s0r0", "master of shard 0 (epoch 1)", 3_000)];
        assert_eq!(compare(&schedule(), &both, &more, ROLES).compared, 1);
    }

    #[test]
    fn a_schedule_is_aimed_at_the_processes_that_were_struck() {
        let then = [
            fault(0, "s0r2", "master of shard 0 (epoch 1)", 1_000),
            fault(1, "s0r1 s0r1", "master of shard 0 (epoch 2)", 3_000),
            fault(2, "s0r2", "replica of shard 0", 5_000),
        ];
        let aimed = on_the_nodes_of(&schedule(), &then);
        let targets: Vec<String> = aimed.windows.iter().map(|window| window.target.to_string()).collect();
        assert_eq!(
            targets,
            ["redis of s0r2", "redis of s0r1 and agent of s0r1", "redis of s0r2", "zookeeper leader"]
        );
    }
}
