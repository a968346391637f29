//! Faulty disks under a real Redis, and what they cost it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use lab::{
    DiskAction, DiskErrno, DiskOp, DiskOptions, Node, PowerCut, Process, ProcessState, Program, Survival,
};

use crate::disks::{Bed, NOTHING, bed, disk_rule};
use crate::net::*;

const PORT: u16 = 7000;

fn redis(bed: &Bed, options: &str) -> Process {
    let dir = bed.data.to_string_lossy().into_owned();
    let mut argv: Vec<String> =
        ["redis-server", "--port", "7000", "--protected-mode", "no", "--save", "", "--dir"]
            .map(String::from)
            .into();
    argv.push(dir);
    argv.extend("--appendonly yes".split(' ').chain(options.split(' ')).map(String::from));
    let program = Program {
        name: "redis".into(),
        argv: argv.into_iter().map(Into::into).collect(),
        env: vec![],
        cwd: bed.dir.path().to_owned(),
        log: bed.dir.path().join("redis.log"),
    };
    let process = bed.node.spawn(&program).unwrap();
    eventually("Redis answers", || ask(&bed.node, "PING").as_deref() == Some("+PONG"));
    process
}

/// A connection that asks one thing at a time.
struct Conn(BufReader<TcpStream>);

impl Conn {
    fn open(node: &Node) -> Option<Conn> {
        let addr = SocketAddr::from((node.addr(), PORT));
        let stream = inside(node, move || TcpStream::connect_timeout(&addr, Duration::from_secs(1))).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Some(Conn(BufReader::new(stream)))
    }

    /// The first line of the answer, and the second of a bulk string; `None` if the connection broke or
    /// the answer took too long.
    fn ask(&mut self, command: &str) -> Option<String> {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let line = self.line()?;
        if line.starts_with('$') && line != "$-1" { self.line() } else { Some(line) }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }
}

fn ask(node: &Node, command: &str) -> Option<String> {
    Conn::open(node)?.ask(command)
}

/// Sets `count` keys one by one; how many were acknowledged.
fn set_many(bed: &Bed, count: usize) -> usize {
    let mut conn = Conn::open(&bed.node).unwrap();
    (0..count).filter(|i| conn.ask(&format!("SET k{i} v{i}")).as_deref() == Some("+OK")).count()
}

fn is_aof(op: DiskOp, action: DiskAction) -> lab::DiskRule {
    disk_rule(&[op], "*.incr.aof", action)
}

pub fn an_error_at_fsync_ends_a_redis_that_syncs_always() {
    let bed = bed("eio", DiskOptions::default());
    let server = redis(&bed, "--appendfsync always");
    assert_eq!(set_many(&bed, 20), 20);
    let eio = DiskAction::Errno(DiskErrno::Eio);
    let guard = bed.disk.install(is_aof(DiskOp::Sync, eio)).unwrap();
    assert_eq!(ask(&bed.node, "SET doubtful 1"), None, "no answer may claim that it is safe");
    assert!(server.wait_exit(PATIENCE).is_some());
    let said = server.log_tail(1);
    assert!(said.contains("fsync error") && said.contains("Input/output error"), "{said}");
    assert_eq!(guard.heal().failed, 1);
    server.restart().unwrap();
    eventually("it is back", || ask(&bed.node, "GET k19").as_deref() == Some("v19"));
}

pub fn a_full_disk_makes_redis_refuse_writes_until_there_is_room() {
    let bed = bed("enospc", DiskOptions::default());
    let server = redis(&bed, "--appendfsync everysec");
    let guard = bed.disk.install(is_aof(DiskOp::Write, DiskAction::Full { free_bytes: 500 })).unwrap();
    let acknowledged = set_many(&bed, 100);
    let refusal = || ask(&bed.node, "SET more 1").unwrap_or_default();
    eventually("it refuses", || refusal().contains("No space left on device"));
    assert!(ask(&bed.node, "GET k1").as_deref() == Some("v1"), "reads go on");
    assert!(guard.counters().failed > 0 && guard.counters().refused_bytes > 0);
    drop(guard);
    eventually("it takes writes again", || refusal() == "+OK");
    server.kill().unwrap();
    server.restart().unwrap();
    let last = format!("GET k{}", acknowledged - 1);
    eventually("all is there", || ask(&bed.node, &last).is_some_and(|value| value.starts_with('v')));
}

pub fn a_slow_fsync_slows_a_redis_that_syncs_always() {
    let bed = bed("slow", DiskOptions::default());
    redis(&bed, "--appendfsync always");
    let base = Duration::from_millis(150);
    let slow = DiskAction::Slow { base, jitter: Duration::ZERO };
    let guard = bed.disk.install(is_aof(DiskOp::Sync, slow)).unwrap();
    let began = Instant::now();
    assert_eq!(set_many(&bed, 4), 4);
    assert!(began.elapsed() >= base * 4, "{:?}", began.elapsed());
    assert_eq!(guard.heal().delayed, 4);
}

pub fn a_stuck_fsync_holds_redis_until_healed_or_killed() {
    let bed = bed("stuck", DiskOptions::default());
    let server = redis(&bed, "--appendfsync always");
    let stuck = || bed.disk.install(is_aof(DiskOp::Sync, DiskAction::Stuck)).unwrap();
    let guard = stuck();
    let mut conn = Conn::open(&bed.node).unwrap();
    let asked = std::thread::spawn(move || conn.ask("SET k v"));
    eventually("it waits", || guard.counters().waiting == 1);
    std::thread::sleep(SILENCE);
    assert!(!asked.is_finished());
    assert_eq!(guard.heal().delayed, 1);
    assert_eq!(asked.join().unwrap().as_deref(), Some("+OK"));
    let guard = stuck();
    let mut conn = Conn::open(&bed.node).unwrap();
    let asked = std::thread::spawn(move || conn.ask("SET k lost"));
    eventually("it waits again", || guard.counters().waiting == 1);
    server.kill().unwrap();
    assert!(matches!(server.state(), ProcessState::Exited(_)));
    assert_eq!(asked.join().unwrap(), None);
    assert_eq!(guard.heal().killed, 1);
    bed.disk.lose_unsynced(NOTHING).unwrap();
    server.restart().unwrap();
    eventually("what was synced is there", || ask(&bed.node, "GET k").as_deref() == Some("v"));
}

pub fn a_power_cut_takes_acknowledged_writes_from_who_does_not_sync() {
    for (policy, kept) in [("no", false), ("always", true)] {
        let bed = bed("cut", DiskOptions::default());
        let server = redis(&bed, &format!("--appendfsync {policy}"));
        assert_eq!(set_many(&bed, 50), 50);
        server.kill().unwrap();
        let lost = bed.disk.lose_unsynced(NOTHING).unwrap();
        assert_eq!(lost.bytes > 0, !kept, "{policy}: {lost:?}");
        server.restart().unwrap();
        eventually("it is back", || ask(&bed.node, "PING").as_deref() == Some("+PONG"));
        let size = ask(&bed.node, "DBSIZE").unwrap();
        assert_eq!(size, if kept { ":50" } else { ":0" }, "{policy}");
    }
}

pub fn a_torn_write_is_cut_off_or_refused_by_redis() {
    let bed = bed("torn", DiskOptions::default());
    let server = redis(&bed, "--appendfsync no --aof-load-truncated yes");
    assert_eq!(set_many(&bed, 10), 10);
    server.kill().unwrap();
    let torn = PowerCut { survival: Survival::Torn { keep_bytes: Some(7) }, seed: 1 };
    let lost = bed.disk.lose_unsynced(torn).unwrap();
    assert!(lost.bytes > 0 && lost.paths.iter().any(|path| path.ends_with(".aof")), "{lost:?}");
    server.restart().unwrap();
    eventually("it is back", || ask(&bed.node, "DBSIZE").as_deref() == Some(":9"));
    assert!(server.log_tail(50).contains("Truncating the AOF"), "{}", server.log_tail(50));
}

/// How many `SET`s a second one client gets through, in `dir`, over `time`.
fn rate(bed: &Bed, time: Duration) -> f64 {
    let mut conn = Conn::open(&bed.node).unwrap();
    let (began, mut done) = (Instant::now(), 0u32);
    while began.elapsed() < time {
        assert_eq!(conn.ask("SET key some-value").as_deref(), Some("+OK"));
        done += 1;
    }
    f64::from(done) / began.elapsed().as_secs_f64()
}

/// Prints what the layer costs a Redis with one client: the same server on the mount, and beside it. Not a
/// bound that a loaded machine could miss: only that both make headway.
pub fn the_cost_is_told() {
    for policy in ["everysec", "always"] {
        let measure = |beside: bool| {
            let mut bed = bed("cost", DiskOptions::default());
            if beside {
                bed.data = bed.dir.path().join("beside");
                fs::create_dir(&bed.data).unwrap();
            }
            let _server = redis(&bed, &format!("--appendfsync {policy}"));
            rate(&bed, Duration::from_millis(1_500))
        };
        let (bare, mounted) = (measure(true), measure(false));
        println!(
            "appendfsync {policy}: {bare:.0} SET/s beside, {mounted:.0} mounted, ratio {:.2}",
            mounted / bare
        );
        assert!(mounted > 10.0);
    }
}
