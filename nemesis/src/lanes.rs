//! Running a schedule: a thread per lane, so that a slow fault delays no other lane.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::arena::{Arena, Victim};
use crate::family::Group;
use crate::harm::{Evidence, Healed, InForce, Strike};
use crate::schedule::{Schedule, Window};
use crate::targets::{Resolved, resolve};

/// Which end of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdgeKind {
    /// About to strike: what it resolved to is known, the harm not yet done.
    Start,
    /// Healed: all evidence is in.
    Stop,
}

/// What is known of a strike at one of its edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Nodes it resolved to; empty if nobody held the role.
    pub nodes: Vec<String>,
    /// The role each of them held, same order.
    pub roles: Vec<String>,
    /// Did it take effect? Known at the stop edge; true only with evidence.
    pub installed: bool,
    /// What shows it, or why it was not installed.
    pub evidence: Evidence,
}

/// An edge of a window, handed to the recorder as it happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge<'a> {
    /// The window.
    pub window: &'a Window,
    /// Which end of it.
    pub kind: EdgeKind,
    /// When it struck, or was about to.
    pub began: Instant,
    /// What is known of it.
    pub report: Report,
}

/// Ends every lane early: windows in force heal at once, later ones never open. Clones share the signal.
#[derive(Debug, Clone, Default)]
pub struct StopSignal(Arc<(Mutex<bool>, Condvar)>);

impl StopSignal {
    /// Gives the signal.
    pub fn stop(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits until `deadline`; false when the signal came first.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        let mut stopped = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stopped {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return true;
            };
            stopped = self.0.1.wait_timeout(stopped, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}

/// Runs the schedule to its end, or until told to stop; returns when everything has healed.
///
/// `origin` is the instant from which the windows' times count. `record` is called at every edge, from the
/// lanes' threads: at a start before the harm is done, at a stop after it is undone.
pub fn run_lanes(
    schedule: &Schedule,
    arena: &dyn Arena,
    origin: Instant,
    stop: &StopSignal,
    record: &(dyn Fn(Edge<'_>) + Sync),
) {
    let claims = Claims::default();
    let struck = Struck::default();
    std::thread::scope(|scope| {
        for lane in schedule.lanes() {
            let windows = schedule.windows.iter().filter(move |window| window.lane == lane);
            let (claims, struck) = (&claims, &struck);
            scope.spawn(move || {
                for window in windows {
                    if !stop.wait_until(origin + Duration::from_millis(window.start_ms)) {
                        return;
                    }
                    run_window(window, arena, (origin, stop), (claims, struck), record);
                }
            });
        }
    });
}

fn run_window(
    window: &Window,
    arena: &dyn Arena,
    (origin, stop): (Instant, &StopSignal),
    (claims, struck): (&Claims, &Struck),
    record: &(dyn Fn(Edge<'_>) + Sync),
) {
    let began = Instant::now();
    let edge = |kind, resolved: &Resolved, installed, evidence| {
        let nodes = resolved.victims.iter().map(|victim| victim.node.clone()).collect();
        let report = Report { nodes, roles: resolved.roles.clone(), installed, evidence };
        record(Edge { window, kind, began, report });
    };
    let refuse = |resolved: &Resolved, why: String| {
        edge(EdgeKind::Start, resolved, false, Vec::new());
        edge(EdgeKind::Stop, resolved, false, vec![("not installed".into(), why)]);
    };
    let nobody = Resolved { victims: Vec::new(), roles: Vec::new() };
    let resolved = match resolve(window, arena, |id| struck.of(id)) {
        Ok(resolved) => resolved,
        Err(why) => return refuse(&nobody, why),
    };
    struck.note(window.id, &resolved.victims);
    let claim = match claims.claim(window, &resolved.victims) {
        Ok(claim) => claim,
        Err(why) => return refuse(&resolved, why),
    };
    edge(EdgeKind::Start, &resolved, false, Vec::new());
    let strike = Strike {
        window: window.id,
        name: format!("window {}: {}", window.id, window.harm.family().name()),
        victims: resolved.victims.clone(),
        seed: window.seed,
        lasts: Some(Duration::from_millis(window.stop_ms.saturating_sub(window.start_ms))),
    };
    let mut injected = window.harm.inject(&strike, arena);
    hold(&mut *injected, stop, origin + Duration::from_millis(window.stop_ms));
    let Healed { installed, evidence } = injected.undo();
    drop((injected, claim));
    edge(EdgeKind::Stop, &resolved, installed, evidence);
}

/// Keeps a harm in force until `end`, or until told to stop, and lets it do what is due meanwhile.
fn hold(injected: &mut dyn InForce, stop: &StopSignal, end: Instant) {
    loop {
        let next = injected.beat().map_or(end, |due| due.min(end));
        if !stop.wait_until(next) || next == end {
            return;
        }
    }
}

/// Whom each window so far has turned out to mean.
#[derive(Default)]
struct Struck(Mutex<HashMap<u64, Vec<Victim>>>);

impl Struck {
    fn of(&self, window: u64) -> Option<Vec<Victim>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&window).cloned()
    }

    fn note(&self, window: u64, victims: &[Victim]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(window, victims.to_vec());
    }
}

/// Who is being struck by which window: a process is killed or paused by one window at a time, or the first
/// to heal would undo the other's harm; so with its clock, which may be wrong while it is killed. Links may be struck
/// by many: their rules stand side by side.
#[derive(Default)]
struct Claims(Mutex<HashMap<(Held, Victim), u64>>);

/// What of a process a window holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Held {
    Process,
    Clock,
}

impl Held {
    /// None for what stands side by side.
    fn by(group: Group) -> Option<Held> {
        match group {
            // Disks too: their harms kill, and start again whom they made end.
            Group::Process | Group::Disk => Some(Held::Process),
            Group::Clock => Some(Held::Clock),
            Group::Net | Group::Message => None,
        }
    }

    /// As an error names it, before `Redis of s0r2`.
    fn word(self) -> &'static str {
        match self {
            Held::Process => "",
            Held::Clock => "clock of the ",
        }
    }
}

struct Claim<'a> {
    claims: &'a Claims,
    held: Vec<(Held, Victim)>,
}

impl Claims {
    fn claim(&self, window: &Window, victims: &[Victim]) -> Result<Claim<'_>, String> {
        let Some(what) = Held::by(window.harm.family().group()) else {
            return Ok(Claim { claims: self, held: Vec::new() });
        };
        let wanted: Vec<_> = victims.iter().map(|victim| (what, victim.clone())).collect();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(((_, victim), other)) = wanted.iter().find_map(|key| Some((key, held.get(key)?))) {
            let (what, part) = (what.word(), victim.part.word());
            return Err(format!("the {what}{part} of {} is held by window {other}", victim.node));
        }
        held.extend(wanted.iter().map(|key| (key.clone(), window.id)));
        Ok(Claim { claims: self, held: wanted })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut held = self.claims.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.held {
            held.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{NetRule, Part, RuleInForce, SkewInForce, Topology, View};
    use crate::harm::{ClockHarm, Harm, NetHarm, ProcessHarm};
    use crate::shape::Shape;
    use crate::targets::Target;
    use lab::{RuleCounters, Skew, Told, ToldBy};

    /// An arena that writes down what is done to it.
    #[derive(Default)]
    struct Diary {
        topology: Topology,
        lines: Arc<Mutex<Vec<String>>>,
        packets_dropped: u64,
        broken: bool,
    }

    struct DiaryRule(Arc<Mutex<Vec<String>>>, u64);

    impl RuleInForce for DiaryRule {
        fn counters(&self) -> RuleCounters {
            RuleCounters { matched: self.1, dropped: self.1, ..RuleCounters::default() }
        }
    }

    impl Drop for DiaryRule {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("heal rule".into());
        }
    }

    struct DiarySkew(Arc<Mutex<Vec<String>>>, i64);

    impl SkewInForce for DiarySkew {
        fn told(&self) -> Told {
            let by = ToldBy { reads: 7, last_ns: self.1, least_ns: self.1, most_ns: self.1, pace: None };
            Told { wall: by, monotonic: by }
        }
        fn straighten(&mut self) {
            self.1 = 0;
            self.0.lock().unwrap().push("straighten".into());
        }
    }

    impl Diary {
        fn new() -> Self {
            let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
            let topology = Topology {
                zookeepers: names(&["zk0", "zk1", "zk2"]),
                shards: vec![names(&["s0r0", "s0r1", "s0r2"])],
                clients: names(&["c0"]),
            };
            Diary { topology, packets_dropped: 5, ..Diary::default() }
        }

        fn write(&self, what: &str, victim: &Victim) -> Result<String, String> {
            self.lines.lock().unwrap().push(format!("{what} {:?} of {}", victim.part, victim.node));
            if self.broken { Err("no such process".into()) } else { Ok(format!("{what} seen")) }
        }
    }

    impl Arena for Diary {
        fn topology(&self) -> &Topology {
            &self.topology
        }
        fn view(&self) -> View {
            View { masters: vec![Some(("s0r2".into(), 4))], zookeeper_leader: None }
        }
        fn kill(&self, victim: &Victim) -> Result<String, String> {
            self.write("kill", victim)
        }
        fn restart(&self, victim: &Victim) -> Result<String, String> {
            self.write("restart", victim)
        }
        fn pause(&self, victim: &Victim) -> Result<String, String> {
            self.write("pause", victim)
        }
        fn resume(&self, victim: &Victim) -> Result<String, String> {
            self.write("resume", victim)
        }
        fn install(&self, rule: &NetRule) -> Result<Box<dyn RuleInForce>, String> {
            self.lines.lock().unwrap().push(format!("install {} on {} links", rule.name, rule.links.len()));
            Ok(Box::new(DiaryRule(self.lines.clone(), self.packets_dropped)))
        }
        fn skew(&self, victim: &Victim, skew: &Skew) -> Result<Box<dyn SkewInForce>, String> {
            let Skew::Jump { offset_ns } = *skew else { return Err("no".into()) };
            self.write("skew", victim)?;
            Ok(Box::new(DiarySkew(self.lines.clone(), offset_ns)))
        }
    }

    fn window(id: u64, lane: u32, (start_ms, stop_ms): (u64, u64), harm: Harm, target: Target) -> Window {
        Window { id, lane, start_ms, stop_ms, harm, target, seed: 1 }
    }

    /// Runs the windows; returns what was done and the edges as `id start|stop installed evidence`.
    fn run(arena: &Diary, windows: Vec<Window>) -> (Vec<String>, Vec<String>) {
        let edges = Mutex::new(Vec::new());
        run_lanes(&Schedule { windows }, arena, Instant::now(), &StopSignal::default(), &|edge| {
            let Edge { window, kind, report, .. } = edge;
            edges.lock().unwrap().push(format!(
                "{} {kind:?} {} {:?} {:?}",
                window.id, report.installed, report.roles, report.evidence
            ));
        });
        (arena.lines.lock().unwrap().clone(), edges.into_inner().unwrap())
    }

    const KILL: Harm = Harm::Process(ProcessHarm::Kill);
    const PAUSE: Harm = Harm::Process(ProcessHarm::Pause);
    const MASTER: Target = Target::Master { shard: 0 };

    #[test]
    fn a_kill_strikes_the_master_of_the_moment_and_restarts_it() {
        let (done, edges) = run(&Diary::new(), vec![window(0, 0, (0, 5), KILL, MASTER)]);
        assert_eq!(done, ["kill Redis of s0r2", "restart Redis of s0r2"]);
        assert!(edges[0].starts_with("0 Start false [\"master of shard 0 (epoch 4)\"]"), "{edges:?}");
        assert!(edges[1].contains("Stop true") && edges[1].contains("kill seen"), "{edges:?}");
    }

    #[test]
    fn a_partition_that_dropped_nothing_was_not_installed() {
        let harm = Harm::Net(NetHarm::partition(Shape::IsolateOne));
        let idle = Diary { packets_dropped: 0, ..Diary::new() };
        let (done, edges) = run(&idle, vec![window(0, 0, (0, 5), harm.clone(), MASTER)]);
        assert_eq!(done, ["install window 0: partition on 10 links", "heal rule"]);
        assert!(edges[1].contains("Stop false"), "{edges:?}");
        let (_, edges) = run(&Diary::new(), vec![window(0, 0, (0, 5), harm.clone(), MASTER)]);
        assert!(edges[1].contains("Stop true") && edges[1].contains("(\"packets dropped\", \"5\")"));
    }

    #[test]
    fn a_window_can_strike_again_whom_another_has_struck() {
        let again = Target::SameAs { window: 0 };
        let windows = vec![window(0, 0, (0, 20), PAUSE, MASTER), window(1, 0, (40, 60), KILL, again)];
        let (done, _) = run(&Diary::new(), windows);
        assert_eq!(done[2..], ["kill Redis of s0r2", "restart Redis of s0r2"]);
        let (_, edges) = run(&Diary::new(), vec![window(1, 0, (0, 5), KILL, again)]);
        assert!(edges[1].contains("window 0 has not struck anybody"), "{edges:?}");
    }

    #[test]
    fn a_fault_that_fails_or_has_no_target_is_reported_as_not_installed() {
        let broken = Diary { broken: true, ..Diary::new() };
        let (done, edges) = run(&broken, vec![window(0, 0, (0, 5), PAUSE, MASTER)]);
        assert_eq!(done, ["pause Redis of s0r2"], "what was not stopped is not resumed");
        assert!(edges[1].contains("Stop false") && edges[1].contains("no such process"), "{edges:?}");
        let leader = Target::ZooKeeperLeader;
        let (done, edges) = run(&Diary::new(), vec![window(0, 0, (0, 5), KILL, leader)]);
        assert!(done.is_empty());
        assert!(edges[1].contains("no leader at that moment"), "{edges:?}");
    }

    #[test]
    fn lanes_overlap_but_no_process_is_held_twice() {
        let windows = vec![window(0, 0, (0, 80), KILL, MASTER), window(1, 1, (20, 40), PAUSE, MASTER)];
        let (done, edges) = run(&Diary::new(), windows);
        assert_eq!(done, ["kill Redis of s0r2", "restart Redis of s0r2"]);
        assert!(edges.iter().any(|e| e.contains("held by window 0")), "{edges:?}");
    }

    #[test]
    fn a_clock_is_wrong_while_its_process_is_killed_but_never_twice() {
        let jump = |ms| Harm::Clock(ClockHarm::ClockJump { offset_ms: ms });
        let windows = vec![
            window(0, 0, (0, 80), jump(4_000), MASTER),
            window(1, 1, (20, 40), KILL, MASTER),
            window(2, 1, (50, 60), jump(-1), MASTER),
        ];
        let (done, edges) = run(&Diary::new(), windows);
        let wanted = ["skew Redis of s0r2", "kill Redis of s0r2", "restart Redis of s0r2", "straighten"];
        assert_eq!(done, wanted);
        assert!(edges.iter().any(|e| e.contains("the clock of the Redis of s0r2 is held by window 0")));
        let stop = edges.iter().find(|edge| edge.starts_with("0 Stop")).unwrap();
        for seen in ["true", "wall clock +4.000 s (7 readings)", "once healed", "wall clock +0.000 s"] {
            assert!(stop.contains(seen), "{stop}");
        }
    }

    #[test]
    fn a_clock_that_cannot_be_changed_is_reported_as_not_installed() {
        let harm = Harm::Clock(ClockHarm::ClockDrift { rate: 2.0, clocks: lab::Clocks::Both });
        let (done, edges) = run(&Diary::new(), vec![window(0, 0, (0, 5), harm, MASTER)]);
        assert!(done.is_empty());
        assert!(edges[1].contains("Stop false") && edges[1].contains("failed: no"), "{edges:?}");
    }

    #[test]
    fn a_stop_signal_heals_what_is_in_force_and_opens_nothing_more() {
        let arena = Diary::new();
        let stop = StopSignal::default();
        let windows =
            vec![window(0, 0, (0, 60_000), PAUSE, MASTER), window(1, 0, (61_000, 62_000), KILL, MASTER)];
        let early = stop.clone();
        let struck = |edge: Edge<'_>| {
            if edge.kind == EdgeKind::Start {
                early.stop();
            }
        };
        run_lanes(&Schedule { windows }, &arena, Instant::now(), &stop, &struck);
        assert_eq!(*arena.lines.lock().unwrap(), ["pause Redis of s0r2", "resume Redis of s0r2"]);
    }

    #[test]
    fn a_crash_loop_kills_again_and_leaves_the_process_running() {
        let harm = Harm::Process(ProcessHarm::CrashLoop { down_ms: 5, up_ms: 10 });
        let (done, edges) = run(&Diary::new(), vec![window(0, 0, (0, 60), harm, MASTER)]);
        let kills = done.iter().filter(|line| line.starts_with("kill")).count();
        assert!(kills >= 3, "{done:?}");
        assert!(done.iter().skip(1).step_by(2).all(|line| line.starts_with("restart")), "{done:?}");
        assert_eq!(done.len(), 2 * kills, "whatever was killed runs in the end");
        assert!(edges[1].contains(&format!("(\"kills\", \"{kills}\")")), "{edges:?}");
    }

    #[test]
    fn a_guard_that_is_dropped_heals() {
        let arena = Diary::new();
        let window = window(0, 0, (0, 5), PAUSE, MASTER);
        let resolved = resolve(&window, &arena, |_| None).unwrap();
        assert_eq!(resolved.victims[0].part, Part::Redis);
        let (name, victims) = ("test".into(), resolved.victims);
        let strike = Strike { window: 0, name, victims, seed: 1, lasts: None };
        drop(window.harm.inject(&strike, &arena));
        assert_eq!(*arena.lines.lock().unwrap(), ["pause Redis of s0r2", "resume Redis of s0r2"]);
    }
}
