use super::*;
use crate::arena::{NetRule, Part, RuleInForce, SkewInForce, Topology, Victim, View};
use crate::harm::{ClockHarm, Harm, NetHarm, ProcessHarm};
use crate::schedule::{Event, Rhythm, SafeLimits};
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
    Window { id, lane, start_ms, stop_ms, harm, target, rhythm: Rhythm::Steady, seed: 1 }
}

fn schedule(windows: Vec<Window>) -> Schedule {
    Schedule { windows, limits: SafeLimits::default() }
}

/// Runs the windows; returns what was done and the edges as `id start|stop installed evidence`.
fn run(arena: &Diary, windows: Vec<Window>) -> (Vec<String>, Vec<String>) {
    let edges = Mutex::new(Vec::new());
    run_lanes(&schedule(windows), arena, Instant::now(), &StopSignal::default(), &|edge| {
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
    run_lanes(&schedule(windows), &arena, Instant::now(), &stop, &struck);
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

/// Masters one after the other, each for so long.
struct Elections {
    diary: Diary,
    began: Instant,
    each: Duration,
}

impl Elections {
    fn every(ms: u64) -> Self {
        Elections { diary: Diary::new(), began: Instant::now(), each: Duration::from_millis(ms) }
    }
}

impl Arena for Elections {
    fn topology(&self) -> &Topology {
        self.diary.topology()
    }
    fn view(&self) -> View {
        let epoch = (self.began.elapsed().as_nanos() / self.each.as_nanos()) as u64;
        let master = format!("s0r{}", epoch % 3);
        View { masters: vec![Some((master, epoch))], zookeeper_leader: Some("zk1".into()) }
    }
    fn kill(&self, victim: &Victim) -> Result<String, String> {
        self.diary.kill(victim)
    }
    fn restart(&self, victim: &Victim) -> Result<String, String> {
        self.diary.restart(victim)
    }
    fn pause(&self, victim: &Victim) -> Result<String, String> {
        self.diary.pause(victim)
    }
    fn resume(&self, victim: &Victim) -> Result<String, String> {
        self.diary.resume(victim)
    }
    fn install(&self, rule: &NetRule) -> Result<Box<dyn RuleInForce>, String> {
        self.diary.install(rule)
    }
}

/// What was told of the ends of windows, in order.
fn ends(arena: &dyn Arena, schedule: &Schedule) -> Vec<Report> {
    let ends = Mutex::new(Vec::new());
    let trouble = run_lanes(schedule, arena, Instant::now(), &StopSignal::default(), &|edge| {
        if edge.kind == EdgeKind::Stop {
            ends.lock().unwrap().push(edge.report);
        }
    });
    assert_eq!(trouble, [""; 0]);
    ends.into_inner().unwrap()
}

fn at_each_election(hold_ms: u64) -> Rhythm {
    Rhythm::Each { event: Event::Election, hold_ms }
}

#[test]
fn whoever_is_elected_is_struck_once_each_time() {
    let arena = Elections::every(100);
    let each = Window { rhythm: at_each_election(30), ..window(0, 0, (0, 350), KILL, MASTER) };
    let ends = ends(&arena, &schedule(vec![each]));
    let done = arena.diary.lines.lock().unwrap().clone();
    assert!(done.len() >= 6 && done.len().is_multiple_of(2), "{done:?}");
    for (n, pair) in done.chunks(2).enumerate() {
        let node = format!("s0r{}", n % 3);
        assert_eq!(pair, [format!("kill Redis of {node}"), format!("restart Redis of {node}")]);
    }
    let strikes = done.len() / 2;
    assert_eq!(ends[0].nodes.len(), strikes, "everybody struck is named");
    assert!(ends[0].installed);
    assert!(ends[0].evidence.contains(&(crate::STRIKES.into(), strikes.to_string())), "{:?}", ends[0]);
    let first = &ends[0].evidence.iter().find(|(what, _)| what == "strike 1").unwrap().1;
    assert!(first.contains("s0r0 (master of shard 0 (epoch 0))") && first.contains("kill seen"), "{first}");
}

#[test]
fn an_election_in_the_middle_of_a_strike_is_answered_after_it() {
    let arena = Elections::every(60);
    let each = Window { rhythm: at_each_election(100), ..window(0, 0, (0, 300), PAUSE, MASTER) };
    ends(&arena, &schedule(vec![each]));
    let done = arena.diary.lines.lock().unwrap().clone();
    assert!(
        done.chunks(2).all(|pair| pair[0].starts_with("pause") && pair[1].starts_with("resume")),
        "{done:?}"
    );
}

#[test]
fn what_another_window_holds_is_not_struck_at_an_election() {
    let arena = Elections::every(100);
    let each = Window { rhythm: at_each_election(20), ..window(0, 0, (20, 90), KILL, MASTER) };
    let ends = ends(&arena, &schedule(vec![each, window(1, 1, (0, 95), PAUSE, MASTER)]));
    assert!(!ends[0].installed);
    assert!(ends[0].evidence.iter().any(|(_, seen)| seen.contains("held by window 1")), "{ends:?}");
}

#[test]
fn a_flip_is_on_and_off_by_turns_and_off_in_the_end() {
    let arena = Diary::new();
    let flip =
        Window { rhythm: Rhythm::Flip { on_ms: 10, off_ms: 10 }, ..window(0, 0, (0, 105), PAUSE, MASTER) };
    let ends = ends(&arena, &schedule(vec![flip]));
    let done = arena.lines.lock().unwrap().clone();
    assert!(done.len() >= 6, "{done:?}");
    assert!(done.chunks(2).all(|pair| pair == ["pause Redis of s0r2", "resume Redis of s0r2"]), "{done:?}");
    assert!(ends[0].evidence.contains(&(crate::STRIKES.into(), (done.len() / 2).to_string())), "{ends:?}");
}

#[test]
fn limits_are_kept_at_the_moment_of_the_strike() {
    let limits = SafeLimits { windows: Some(1), ..SafeLimits::default() };
    let windows = vec![
        window(0, 0, (0, 60), PAUSE, MASTER),
        window(1, 1, (20, 40), KILL, Target::FirstReplica { shard: 0 }),
    ];
    let ends = ends(&Diary::new(), &Schedule { windows, limits });
    assert!(!ends[0].installed && ends[0].evidence[0].1.contains("1 windows are in force"), "{ends:?}");
    assert!(ends[1].installed);
}

/// An arena in which restarting takes until somebody lets it.
struct Stuck {
    diary: Diary,
    let_go: (Mutex<bool>, Condvar),
}

impl Stuck {
    fn new() -> Self {
        Stuck { diary: Diary::new(), let_go: (Mutex::new(false), Condvar::new()) }
    }

    fn let_go(&self) {
        *self.let_go.0.lock().unwrap() = true;
        self.let_go.1.notify_all();
    }
}

impl Arena for Stuck {
    fn topology(&self) -> &Topology {
        self.diary.topology()
    }
    fn view(&self) -> View {
        self.diary.view()
    }
    fn kill(&self, victim: &Victim) -> Result<String, String> {
        assert!(victim.node != "s0r1", "the nemesis has a bug");
        self.diary.kill(victim)
    }
    fn restart(&self, victim: &Victim) -> Result<String, String> {
        let free = self.let_go.0.lock().unwrap();
        drop(self.let_go.1.wait_while(free, |free| !*free).unwrap());
        self.diary.restart(victim)
    }
    fn pause(&self, victim: &Victim) -> Result<String, String> {
        self.diary.pause(victim)
    }
    fn resume(&self, victim: &Victim) -> Result<String, String> {
        self.diary.resume(victim)
    }
    fn install(&self, rule: &NetRule) -> Result<Box<dyn RuleInForce>, String> {
        self.diary.install(rule)
    }
}

#[test]
fn a_lane_that_is_stuck_keeps_no_other_from_healing_and_is_told() {
    let arena = Stuck::new();
    let windows = vec![
        window(0, 0, (0, 20), KILL, MASTER),
        window(1, 1, (0, 60), PAUSE, Target::FirstReplica { shard: 0 }),
    ];
    let (schedule, ends) = (schedule(windows), Mutex::new(Vec::new()));
    let (stop, grace) = (StopSignal::default(), Duration::from_millis(100));
    let record = |edge: Edge<'_>| {
        if edge.kind == EdgeKind::Stop {
            ends.lock().unwrap().push((edge.window.id, edge.report));
            // The lane gets on only after its end was told in its place.
            if ends.lock().unwrap().len() == 2 {
                arena.let_go();
            }
        }
    };
    let trouble = run_watched(&schedule, &arena, Instant::now(), (&stop, grace), &record);
    assert_eq!(trouble, [""; 0]);
    let ends = ends.into_inner().unwrap();
    assert_eq!(ends.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 0], "each once: {ends:?}");
    assert!(ends[0].1.installed);
    let (what, seen) = &ends[1].1.evidence[0];
    assert!(what == "overdue" && seen.contains("still at work"), "{ends:?}");
    assert!(arena.diary.lines.lock().unwrap().contains(&"restart Redis of s0r2".to_string()));
}

#[test]
fn a_lane_whose_beat_is_late_is_healed_by_the_watchdog() {
    let arena = Stuck::new();
    // The restart within the loop is let go only once the window's end was told, long after it.
    let harm = Harm::Process(ProcessHarm::CrashLoop { down_ms: 5, up_ms: 5 });
    let schedule = schedule(vec![window(0, 0, (0, 20), harm, MASTER)]);
    let (stop, grace) = (StopSignal::default(), Duration::from_millis(50));
    let ends = Mutex::new(0);
    let record = |edge: Edge<'_>| {
        if edge.kind == EdgeKind::Stop {
            *ends.lock().unwrap() += 1;
            arena.let_go();
        }
    };
    run_watched(&schedule, &arena, Instant::now(), (&stop, grace), &record);
    assert_eq!(*ends.lock().unwrap(), 1);
    let lines = arena.diary.lines.lock().unwrap();
    // The watchdog lets go whom it may have halted while the lane is stuck; the lane leaves what it killed running.
    let process: Vec<_> = lines.iter().filter(|line| !line.starts_with("resume")).collect();
    assert_eq!(process.last().unwrap(), &"restart Redis of s0r2", "{lines:?}");
}

#[test]
fn a_panic_heals_everything_and_is_told() {
    let arena = Stuck::new();
    let windows = vec![
        window(0, 0, (0, 60_000), PAUSE, MASTER),
        // The first replica is s0r0, the second s0r1.
        window(1, 1, (20, 60_000), KILL, Target::SecondReplica { shard: 0 }),
    ];
    let ends = Mutex::new(Vec::new());
    let trouble = run_lanes(&schedule(windows), &arena, Instant::now(), &StopSignal::default(), &|edge| {
        if edge.kind == EdgeKind::Stop {
            ends.lock().unwrap().push((edge.window.id, edge.report.evidence));
        }
    });
    assert_eq!(trouble, ["the nemesis panicked in window 1: the nemesis has a bug"]);
    assert_eq!(*arena.diary.lines.lock().unwrap(), ["pause Redis of s0r2", "resume Redis of s0r2"]);
    let ends = ends.into_inner().unwrap();
    assert!(ends[0].0 == 1 && ends[0].1[0].0 == "panicked", "{ends:?}");
    assert_eq!(ends[1].0, 0);
}
