//! Clocks of real processes: a Redis server, a Java machine, a Rust program, a shell.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::{Clock, Clocks, Lab, Node, Process, Program, Skew};

use crate::helper;
use crate::net::*;
use crate::processes::shell;

const SECOND: i64 = 1_000_000_000;
/// What a loaded machine may put between asking and hearing.
const SLACK_MS: i64 = 400;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn with_clock(mut program: Program, clock: &Clock) -> Program {
    program.env.extend_from_slice(clock.env());
    program
}

/// A Redis server under a clock, and a connection to it.
struct Redis {
    _lab: Lab,
    process: Process,
    clock: Clock,
    node: Node,
    talk: BufReader<TcpStream>,
}

impl Redis {
    fn start(dir: &Path) -> Redis {
        let (lab, nodes) = lab_of("clock-redis", 1);
        let node = nodes[0].clone();
        let clock = Clock::create(&node, "redis").unwrap();
        let script = "exec redis-server --port 6379 --bind 0.0.0.0 --protected-mode no --save '' --dir .";
        let process = node.spawn(&with_clock(shell(dir, "redis", script), &clock)).unwrap();
        let talk = Redis::connect(&node);
        Redis { _lab: lab, process, clock, node, talk }
    }

    fn connect(node: &Node) -> BufReader<TcpStream> {
        let addr = SocketAddr::from((node.addr(), 6379));
        let mut stream = None;
        eventually("redis listens", || {
            stream = connect(node, addr, PATIENCE).ok();
            stream.is_some()
        });
        BufReader::new(stream.unwrap())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.talk.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, command: &str) -> String {
        self.talk.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
        self.line()
    }

    /// How far ahead of us its wall clock is, milliseconds.
    fn ahead_ms(&mut self) -> i64 {
        let before = now_ms();
        assert_eq!(self.ask("TIME"), "*2");
        let [_, seconds, _, micros] = [(); 4].map(|()| self.line());
        let told = seconds.parse::<i64>().unwrap() * 1000 + micros.parse::<i64>().unwrap() / 1000;
        told - (before + now_ms()) / 2
    }

    fn is_off_by(&mut self, wanted_ms: i64) {
        let ahead = self.ahead_ms();
        assert!((ahead - wanted_ms).abs() <= SLACK_MS, "off by {ahead} ms, not {wanted_ms}");
    }
}

pub fn a_redis_follows_its_clock_forth_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut redis = Redis::start(dir.path());
    redis.is_off_by(0);
    let neutral = redis.clock.told();
    assert!(neutral.wall.reads > 0 && neutral.monotonic.reads > 0, "{neutral:?}");
    assert_eq!((neutral.wall.least_ns, neutral.wall.most_ns), (0, 0));
    assert!(redis.clock.starts() >= 1);

    assert_eq!(redis.ask("SET soon 1 PX 3500"), "+OK");
    let ahead = redis.clock.skew(Skew::Jump { offset_ns: 4 * SECOND }).unwrap();
    redis.is_off_by(4000);
    assert_eq!(redis.ask("EXISTS soon"), ":0", "its time has passed, for Redis");
    eventually("its own timers ask, too", || ahead.told().wall.reads > 3);
    let told = ahead.told().wall;
    assert_eq!((told.least_ns, told.most_ns, told.last_ns), (4 * SECOND, 4 * SECOND, 4 * SECOND));
    drop(ahead);
    redis.is_off_by(0);

    let mut behind = redis.clock.skew(Skew::Jump { offset_ns: -4 * SECOND }).unwrap();
    redis.is_off_by(-4000);
    assert_eq!(redis.ask("SET late 1 PX 200"), "+OK");
    behind.straighten();
    redis.is_off_by(0);
    assert_eq!(redis.ask("EXISTS late"), ":0", "healed, the key is four seconds old");
    eventually("it is told the truth", || behind.told().wall.reads > 0);
    let told = behind.told().wall;
    assert_eq!(told.last_ns, 0, "{told}");
}

pub fn a_restarted_redis_finds_its_clock_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut redis = Redis::start(dir.path());
    let starts = redis.clock.starts();
    let guard = redis.clock.skew(Skew::Jump { offset_ns: -60 * SECOND }).unwrap();
    redis.process.restart().unwrap();
    redis.talk = Redis::connect(&redis.node);
    redis.is_off_by(-60_000);
    assert_eq!(redis.clock.starts(), starts * 2);
    drop(guard);
    redis.is_off_by(0);
}

pub fn a_redis_drifts_as_fast_as_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut redis = Redis::start(dir.path());
    for rate in [1.5, 0.5] {
        let guard = redis.clock.skew(Skew::Drift { rate, clocks: Clocks::Both }).unwrap();
        let (began, at_first) = (Instant::now(), redis.ahead_ms());
        std::thread::sleep(ms(1000));
        let gained = (redis.ahead_ms() - at_first) as f64 / began.elapsed().as_millis() as f64;
        assert!((gained - (rate - 1.0)).abs() < 0.2, "gained {gained} a second at rate {rate}");
        let told = guard.told();
        for clocks in [told.wall, told.monotonic] {
            assert!((clocks.pace.unwrap() - rate).abs() < 0.01, "{told:?}");
        }
        drop(guard);
        redis.is_off_by(0);
        assert_eq!(redis.ask("PING"), "+PONG");
    }
}

pub fn a_strobe_is_seen_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let mut redis = Redis::start(dir.path());
    let guard = redis.clock.skew(Skew::Strobe { delta_ns: 30 * SECOND, period_ns: 20_000_000 }).unwrap();
    let mut seen: Vec<bool> = Vec::new();
    eventually("it went forth and back and forth", || {
        let off = redis.ahead_ms();
        assert!(off.abs() <= SLACK_MS || (off - 30_000).abs() <= SLACK_MS, "off by {off} ms");
        seen.push(off > 15_000);
        std::thread::sleep(ms(7));
        seen.windows(2).filter(|pair| pair[0] != pair[1]).count() >= 4
    });
    let told = guard.told().wall;
    assert_eq!((told.least_ns, told.most_ns), (0, 30 * SECOND));
    drop(guard);
    redis.is_off_by(0);
}

/// A line every few milliseconds: wall clock, monotonic clock and the real monotonic clock, in milliseconds, and how
/// long in real time three waits for 20 ms took.
pub fn be_a_reader() {
    let began = Instant::now();
    let real_began = real_monotonic();
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    loop {
        let (_, at) = (std::thread::park_timeout(ms(1)), real_monotonic());
        std::thread::park_timeout(ms(20));
        let parked = real_monotonic() - at;
        let at = real_monotonic();
        drop(condvar.wait_timeout(mutex.lock().unwrap(), ms(20)).unwrap());
        let waited = real_monotonic() - at;
        let at = real_monotonic();
        std::thread::sleep(ms(20));
        let slept = real_monotonic() - at;
        let (mono, real) = (began.elapsed(), real_monotonic() - real_began);
        let [mono, real, parked, waited, slept] =
            [mono, real, parked, waited, slept].map(|time| time.as_millis());
        helper::say(&format!("{} {mono} {real} {parked} {waited} {slept}", now_ms()));
    }
}

fn real_monotonic() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a timespec of ours to write to.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The last whole line of numbers a program has said, and how many there are.
fn numbers(process: &Process) -> Option<(usize, Vec<i64>)> {
    let text = std::fs::read_to_string(&process.program().log).ok()?;
    let whole: Vec<&str> = text.lines().take(text.matches('\n').count()).collect();
    let last = whole.last()?.split(' ').map(|word| word.parse().ok()).collect::<Option<Vec<i64>>>()?;
    Some((whole.len(), last))
}

/// Numbers said after this moment, `lines` lines later.
fn fresh_numbers(process: &Process, lines: usize) -> Vec<i64> {
    let before = numbers(process).map_or(0, |(count, _)| count);
    let mut fresh = Vec::new();
    eventually("it says something new", || match numbers(process) {
        Some((count, last)) if count >= before + lines => {
            fresh = last;
            true
        }
        _ => process.log_tail(3).contains("error"),
    });
    assert!(!fresh.is_empty(), "{}", process.log_tail(20));
    fresh
}

fn program(dir: &Path, name: &str, argv: Vec<OsString>) -> Program {
    let (cwd, log) = (dir.to_owned(), dir.join(format!("{name}.log")));
    Program { name: name.to_owned(), argv, env: Vec::new(), cwd, log }
}

pub fn a_rust_program_drifts_and_its_waits_stay_short() {
    let dir = tempfile::tempdir().unwrap();
    let (_lab, nodes) = lab_of("clock-rust", 1);
    let clock = Clock::create(&nodes[0], "reader").unwrap();
    let reader = program(dir.path(), "reader", helper::command_line("clock-reader", ""));
    let reader = nodes[0].spawn(&with_clock(reader, &clock)).unwrap();
    let [wall, mono, real, ..] = fresh_numbers(&reader, 3)[..] else { panic!("six numbers") };
    assert!((wall - now_ms()).abs() < SLACK_MS && (mono - real).abs() < 20);
    for rate in [5.0, 0.25] {
        let [_, mono_0, real_0, ..] = fresh_numbers(&reader, 1)[..] else { panic!("six numbers") };
        let guard = clock.skew(Skew::Drift { rate, clocks: Clocks::Monotonic }).unwrap();
        std::thread::sleep(ms(600));
        let [wall, mono, real, parked, waited, slept] = fresh_numbers(&reader, 1)[..] else {
            panic!("six numbers")
        };
        assert!((wall - now_ms()).abs() < SLACK_MS, "the wall clock is right");
        let pace = (mono - mono_0) as f64 / (real - real_0) as f64;
        assert!((pace - rate).abs() < rate / 4.0, "pace {pace} at rate {rate}");
        let waits = (20.0 / rate) as i64;
        for wait in [parked, waited] {
            assert!((waits - 2..waits + SLACK_MS).contains(&wait), "waited {wait} ms, not {waits}");
        }
        assert!((20..20 + SLACK_MS).contains(&slept), "relative sleeps keep the real pace: {slept} ms");
        drop(guard);
        // Seconds ahead by now, and still no wait is longer than it should be.
        let [_, mono_1, real_1, parked, waited, _] = fresh_numbers(&reader, 2)[..] else {
            panic!("six numbers")
        };
        let [_, mono_2, real_2, ..] = fresh_numbers(&reader, 5)[..] else { panic!("six numbers") };
        assert!((mono_2 - mono_1 - (real_2 - real_1)).abs() <= 5, "healed, the pace is real");
        assert!((19..20 + SLACK_MS).contains(&parked) && (19..20 + SLACK_MS).contains(&waited));
    }
    assert!(clock.told().monotonic.reads > 0);
}

const PROBE: &str = r#"
import java.util.concurrent.locks.LockSupport;
public class Probe {
    interface Wait { void run() throws Exception; }
    static long ms(Wait wait) throws Exception {
        long began = System.nanoTime();
        wait.run();
        return (System.nanoTime() - began) / 1000000;
    }
    public static void main(String[] args) throws Exception {
        Object lock = new Object();
        while (true) {
            long until = ms(() -> LockSupport.parkUntil(System.currentTimeMillis() + 50));
            long parked = ms(() -> LockSupport.parkNanos(50000000));
            long waited = ms(() -> { synchronized (lock) { lock.wait(50); } });
            long slept = ms(() -> Thread.sleep(50));
            System.out.println(System.currentTimeMillis() + " " + System.nanoTime() / 1000000
                + " " + until + " " + parked + " " + waited + " " + slept);
        }
    }
}
"#;

pub fn a_java_machine_is_told_and_never_sleeps_for_the_offset() {
    let modules = std::process::Command::new("java").arg("--list-modules").output();
    if !modules.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("jdk.compiler")) {
        eprintln!("skipped: no Java that can run a source file; harness tests a ZooKeeper server");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Probe.java"), PROBE).unwrap();
    let (_lab, nodes) = lab_of("clock-java", 1);
    let clock = Clock::create(&nodes[0], "java").unwrap();
    let argv = ["java", "-XX:TieredStopAtLevel=1", "Probe.java"].map(OsString::from);
    let java = nodes[0].spawn(&with_clock(program(dir.path(), "java", argv.into()), &clock)).unwrap();
    let short = |waits: &[i64]| {
        for wait in waits {
            assert!((45..50 + SLACK_MS).contains(wait), "waits took {waits:?} ms");
        }
    };
    let off_by = |offset_ms: i64| {
        let said = fresh_numbers(&java, 2);
        let off = said[0] - now_ms();
        assert!((off - offset_ms).abs() <= SLACK_MS, "off by {off} ms, not {offset_ms}");
        said
    };
    short(&off_by(0)[2..]);
    for offset_ms in [3_600_000, -3_600_000, 4_000] {
        let guard = clock.skew(Skew::Jump { offset_ns: offset_ms * 1_000_000 }).unwrap();
        short(&off_by(offset_ms)[2..]);
        assert_eq!(guard.told().wall.last_ns, offset_ms * 1_000_000);
        drop(guard);
        short(&off_by(0)[2..]);
    }
    let guard = clock.skew(Skew::Drift { rate: 2.0, clocks: Clocks::Both }).unwrap();
    let (first, began) = (fresh_numbers(&java, 1), Instant::now());
    std::thread::sleep(ms(800));
    let last = fresh_numbers(&java, 1);
    let elapsed = began.elapsed().as_millis() as f64;
    for clock in [0, 1] {
        let pace = (last[clock] - first[clock]) as f64 / elapsed;
        assert!((pace - 2.0).abs() < 0.5, "clock {clock} ran {pace} times as fast");
    }
    assert!((guard.told().monotonic.pace.unwrap() - 2.0).abs() < 0.01);
    drop(guard);
    short(&off_by(0)[2..]);
}

pub fn a_shell_and_its_children_are_told_and_a_program_without_the_clock_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (_lab, nodes) = lab_of("clock-shell", 1);
    let clock = Clock::create(&nodes[0], "shell").unwrap();
    assert!(Clock::create(&nodes[0], "shell").is_err(), "one process, one page");
    assert!(Clock::create(&nodes[0], "../shell").is_err());
    let other = Clock::create(&nodes[0], "other").unwrap();
    let _guard = clock.skew(Skew::Jump { offset_ns: 1_000_000 * SECOND }).unwrap();
    let date = |name: &str, clock: Option<&Clock>| {
        let program = shell(dir.path(), name, "date +%s; date +%s");
        let program = clock.map_or(program.clone(), |clock| with_clock(program, clock));
        let process = nodes[0].spawn(&program).unwrap();
        process.wait_exit(PATIENCE).expect("it ends");
        let seconds: i64 = process.log_tail(1).trim().parse().expect("a number of seconds");
        (seconds - now_ms() / 1000 + 5) / 10 * 10
    };
    assert_eq!(date("skewed", Some(&clock)), 1_000_000);
    assert_eq!(date("right", Some(&other)), 0);
    assert_eq!(date("free", None), 0);
    assert!(clock.told().wall.reads >= 2 && clock.starts() >= 2);
    assert!(!Path::new("/dev/shm/lab-clock-shell").exists(), "the page is the node's");
}
