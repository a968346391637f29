//! How real servers take damage to their files: what the nemesis claims about each, on files they made themselves.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cluster::provision::{redis, zookeeper};
use cluster::zk::{Link, LinkOptions, put_persistent};
use nemesis::files::{Aim, Damage, damage, newest_by_zxid, values};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that dies with the test.
struct Server {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(mut command: Command, port: u16, log: PathBuf) -> Server {
        let file = fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Server { child: command.spawn().unwrap(), port, log }
    }

    /// `Ok` with the answer of `ask`, or what the server said when it ended.
    fn await_answer<T>(&mut self, ask: impl Fn(u16) -> Option<T>) -> Result<T, String> {
        let began = Instant::now();
        loop {
            if let Some(answer) = ask(self.port) {
                return Ok(answer);
            }
            if self.child.try_wait().unwrap().is_some() {
                return Err(self.said());
            }
            assert!(began.elapsed() < PATIENCE, "neither an answer nor an end: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A copy of a directory, for one experiment.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A seed under which the damage hits the value that `of` ends with.
fn seed_for(file: &Path, aim: Aim, of: &str) -> u64 {
    let bytes = fs::read(file).unwrap();
    let hits = |seed: &u64| {
        let mut bytes = bytes.clone();
        let what = nemesis::files::apply(&mut bytes, Damage::FlipBit(aim), *seed).unwrap();
        what.split(';').next().unwrap().ends_with(of)
    };
    (0..1_000).find(hits).expect("one of a thousand draws hits it")
}

fn start_redis(dir: &Path, options: &[&str]) -> Server {
    let port = free_port();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string(), "--dir"]);
    command.arg(dir).args(options);
    Server::start(command, port, dir.with_extension("log"))
}

/// The answer's first line, a bulk string's second; bytes as characters of the same number.
fn ask(port: u16, command: &str) -> Option<String> {
    let mut stream = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?);
    stream.get_ref().set_read_timeout(Some(PATIENCE)).ok()?;
    stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).ok()?;
    let mut line = || {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).ok()?;
        Some(characters(line.trim_ascii_end()))
    };
    let first = line()?;
    let answer = if first.starts_with('$') && first != "$-1" { line()? } else { first };
    (!answer.is_empty() && !answer.starts_with("-LOADING")).then_some(answer)
}

fn characters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// True if `served` is `written` with one bit flipped.
fn is_forged(served: &str, written: &str) -> bool {
    let flipped = served.chars().zip(written.chars()).map(|(a, b)| (a as u32 ^ b as u32).count_ones());
    served.chars().count() == written.len() && flipped.sum::<u32>() == 1
}

fn accepts(tool: &str, file: &Path) -> bool {
    let output = Command::new(tool).arg(file).stdin(Stdio::null()).output().unwrap();
    output.status.success()
}

/// What a Redis makes of its files after a damage: the value of `key`, or its last words.
fn redis_after(made: &Path, options: &[&str], damaging: impl Fn(&Path)) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    copy(made, &data);
    damaging(&data);
    start_redis(&data, options).await_answer(|port| ask(port, "GET key"))
}

#[test]
fn redis_serves_a_forged_dump_whose_checksum_is_right_and_no_other() {
    if redis::find().is_err() {
        return eprintln!("skipped: no redis-server");
    }
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("made");
    fs::create_dir(&made).unwrap();
    let mut server = start_redis(&made, &[]);
    server.await_answer(|port| ask(port, "SET key never-changed")).unwrap();
    for command in
        ["HSET hash f v", "RPUSH list a b c", "ZADD zset 1 m", "SADD ints 1 2 3", "SET n 12345", "SAVE"]
    {
        assert!(!ask(server.port, command).unwrap().starts_with('-'), "{command}");
    }
    for i in 0..50 {
        ask(server.port, &format!("SET other{i} {}", "x".repeat(i)));
    }
    assert_eq!(ask(server.port, "SAVE").as_deref(), Some("+OK"));
    drop(server);
    let dump = made.join("dump.rdb");
    let found = values(&fs::read(&dump).unwrap()).unwrap().len();
    assert_eq!(found, 1 + 1 + 20, "the key, the integer, and what is too short to be compressed");
    assert!(accepts("redis-check-rdb", &dump));
    let after = |aim: Aim| {
        let seed = seed_for(&dump, aim, " key");
        redis_after(&made, &[], |data| {
            let dump = data.join("dump.rdb");
            damage(&dump, Damage::FlipBit(aim), seed).unwrap();
            assert_eq!(accepts("redis-check-rdb", &dump), aim == Aim::Repaired);
        })
    };
    let served = after(Aim::Repaired).unwrap();
    assert!(is_forged(&served, "never-changed"), "{served}");
    let refusal = after(Aim::Value).unwrap_err();
    assert!(refusal.contains("Wrong RDB checksum"), "{refusal}");
    for seed in 0..3 {
        let cut =
            |data: &Path| drop(damage(&data.join("dump.rdb"), Damage::Truncate(Aim::Value), seed).unwrap());
        let refusal = redis_after(&made, &[], cut).unwrap_err();
        assert!(refusal.contains("Short read") || refusal.contains("Unexpected EOF"), "{refusal}");
    }
}

#[test]
fn redis_serves_a_forged_append_only_file_and_cuts_a_torn_one() {
    if redis::find().is_err() {
        return eprintln!("skipped: no redis-server");
    }
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("made");
    fs::create_dir(&made).unwrap();
    let persistent = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = start_redis(&made, &persistent);
    server.await_answer(|port| ask(port, "SET key first")).unwrap();
    assert_eq!(ask(server.port, "SET key second").as_deref(), Some("+OK"));
    drop(server);
    let name = "appendonlydir/appendonly.aof.1.incr.aof";
    let flipped = redis_after(&made, &persistent, |data| {
        let file = data.join(name);
        let seed = (0..100)
            .find(|seed| {
                let mut bytes = fs::read(&file).unwrap();
                nemesis::files::apply(&mut bytes, Damage::FlipBit(Aim::Value), *seed).unwrap();
                !String::from_utf8_lossy(&bytes).contains("second")
            })
            .unwrap();
        damage(&file, Damage::FlipBit(Aim::Value), seed).unwrap();
        assert!(accepts("redis-check-aof", &file), "it has nothing to check");
    });
    let flipped = flipped.unwrap();
    assert!(is_forged(&flipped, "second"), "{flipped}");
    let cut = |data: &Path| drop(damage(&data.join(name), Damage::Truncate(Aim::Value), 5).unwrap());
    assert_eq!(redis_after(&made, &persistent, cut).unwrap(), "first");
    let strict = [&persistent[..], &["--aof-load-truncated", "no"]].concat();
    let refusal = redis_after(&made, &strict, cut).unwrap_err();
    assert!(refusal.contains("Unexpected end of file"), "{refusal}");
}

fn start_zookeeper(dir: &Path) -> Server {
    let installed = zookeeper::find().unwrap();
    let port = free_port();
    let peers = vec![zookeeper::Peer::at(1, Ipv4Addr::LOCALHOST.into())];
    let server = zookeeper::Server { client_port: port, ..zookeeper::Server::new(1, peers, dir) };
    let launch = server.prepare(&installed).unwrap();
    let mut command = Command::new(&launch.argv[0]);
    command.args(&launch.argv[1..]).current_dir(&launch.cwd);
    Server::start(command, port, dir.with_extension("log"))
}

/// Runs with a session of its own once the server takes one; an error is what it said at its end.
fn with_session<T: 'static>(
    server: &mut Server,
    job: impl AsyncFn(&Link) -> T + 'static,
) -> Result<T, String> {
    server.await_answer(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let link = Link::open(LinkOptions::new(format!("127.0.0.1:{}", server.port), "/"));
        let began = Instant::now();
        while link.client().is_none() {
            if server.child.try_wait().unwrap().is_some() {
                return Err(server.said());
            }
            assert!(began.elapsed() < PATIENCE, "no session: {}", server.said());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(job(&link).await)
    })
}

/// The value of a node, `-` for none.
async fn value_of(link: &Link, path: &str) -> String {
    match link.client().unwrap().get_data(path).await {
        Ok((data, _)) => characters(&data),
        Err(_) => "-".into(),
    }
}

/// What `/first` and `/last` are, after a damage to the files of a lone server that were made in `made`, and
/// what the server said.
fn zookeeper_after(made: &Path, damaging: impl Fn(&Path)) -> (Result<[String; 2], String>, String) {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("zk");
    copy(made, &home);
    damaging(&home.join("data/version-2"));
    let mut server = start_zookeeper(&home);
    let seen = with_session(&mut server, async |link| {
        [value_of(link, "/first").await, value_of(link, "/last").await]
    });
    let said = server.said();
    (seen, said)
}

fn log_of(data: &Path) -> PathBuf {
    newest_by_zxid(data, "log.").unwrap()
}

fn snapshot_of(data: &Path) -> PathBuf {
    newest_by_zxid(data, "snapshot.").unwrap()
}

#[test]
fn zookeeper_serves_a_forged_log_whose_checksum_is_right_and_no_other() {
    if zookeeper::find().is_err() {
        return eprintln!("skipped: no ZooKeeper");
    }
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("zk");
    let mut server = start_zookeeper(&made);
    with_session(&mut server, async |link| {
        let client = link.client().unwrap();
        for (path, value) in [("/first", "never-changed"), ("/middle", "m"), ("/last", "the-last")] {
            put_persistent(&client, path, value.as_bytes()).await.unwrap();
        }
    })
    .unwrap();
    drop(server);
    let data = made.join("data/version-2");
    let flip = |aim: Aim| {
        let seed = seed_for(&log_of(&data), aim, " /first");
        zookeeper_after(&made, |data| drop(damage(&log_of(data), Damage::FlipBit(aim), seed).unwrap()))
    };
    let same = |value: &str| Ok(["never-changed".to_owned(), value.to_owned()]);

    let (seen, said) = zookeeper_after(&made, |_| ());
    assert_eq!(seen, same("the-last"));
    assert!(!said.contains(DIGEST_MISMATCH), "{said}");
    let (seen, said) = flip(Aim::Repaired);
    let [first, last] = seen.unwrap();
    assert!(is_forged(&first, "never-changed") && last == "the-last", "{first} {last}");
    assert!(said.contains(DIGEST_MISMATCH), "it tells its log, and serves: {said}");
    let refusal = flip(Aim::Value).0.unwrap_err();
    assert!(refusal.contains("CRC check failed"), "{refusal}");
    let (seen, said) = zookeeper_after(&made, |data| cut(&log_of(data)));
    assert_eq!(seen, same("-"));
    assert!(!said.contains("ERROR"), "without a word: {said}");

    // A second life begins with a snapshot of all of it.
    let mut server = start_zookeeper(&made);
    with_session(&mut server, async |link| value_of(link, "/last").await).unwrap();
    drop(server);
    let flip = |aim: Aim| {
        let seed = seed_for(&snapshot_of(&data), aim, " /first");
        zookeeper_after(&made, |data| drop(damage(&snapshot_of(data), Damage::FlipBit(aim), seed).unwrap()))
    };
    let (seen, said) = flip(Aim::Repaired);
    let [first, last] = seen.unwrap();
    assert!(is_forged(&first, "never-changed") && last == "the-last", "{first} {last}");
    assert!(said.contains(DIGEST_MISMATCH), "{said}");
    // It falls back to the snapshot before, and to the log.
    let (seen, said) = flip(Aim::Value);
    assert_eq!(seen, same("the-last"));
    assert!(said.contains("CRC corruption"), "{said}");
    let (seen, _) = zookeeper_after(&made, |data| cut(&snapshot_of(data)));
    assert_eq!(seen, same("the-last"));
    let only_the_damaged_one = |data: &Path| {
        fs::remove_file(data.join("snapshot.0")).unwrap();
        cut(&snapshot_of(data));
    };
    let refusal = zookeeper_after(&made, only_the_damaged_one).0.unwrap_err();
    assert!(refusal.contains("No snapshot found, but there are log entries"), "{refusal}");
}

/// What ZooKeeper logs when its data are not what the digest in log or snapshot says; it goes on all the same.
const DIGEST_MISMATCH: &str = "Digests are not matching";

fn cut(file: &Path) {
    damage(file, Damage::Truncate(Aim::Value), 1).unwrap();
}
