//! The authenticated mode against real servers: what Lua computes is what Rust computes, and nothing that was
//! changed, swapped or replayed on the way counts.

use std::time::Duration;

use cluster::{
    client::command,
    credentials::Login,
    dataset,
    redis_link::RedisLink,
    seal::{
        Keys, Scripts, Sealed, Server,
        channel::{Accepted, Exchange, Nonce, Rejected},
    },
    security::Transport,
    store::{Answer, Command},
};
use redis::Value;

use crate::rig::{Alone, secret};

const LIMIT: Duration = Duration::from_secs(5);
const EPOCH: u64 = 4;
/// What a plain script does with the operations, without the checks of a whole cluster.
const BODY: &str = "if redis.call('GET', KEYS[2]) ~= ARGV[1] then \
     return redis.error_reply('FENCED the data is of another epoch') end\n\
     redis.call('INCR', KEYS[3])\nreturn apply(KEYS[1], ARGV, 2)\n";

/// One client in front of one server, with everything it takes to prove itself.
struct Bench {
    redis: Alone,
    client: RedisLink,
    keys: Keys,
    server: Server,
    scripts: Scripts,
    nonce: Nonce,
    // Last: the processes are gone before their directory.
    _dir: tempfile::TempDir,
}

fn key_names(key: &str) -> [&str; 3] {
    [key, dataset::EPOCH, dataset::SEQ]
}

impl Bench {
    async fn start() -> Option<Bench> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut redis = Alone::start(dir.path()).await?;
        let (keys, server) = (Keys::of(&secret(), 0), Server { shard: 0, node: "r0a".into() });
        let scripts = Scripts::of(&server, &keys, command::OPERATIONS, BODY);
        for script in scripts.all() {
            let loaded = redis.ask(&["SCRIPT", "LOAD", &script.text]).await;
            assert_eq!(loaded, Value::BulkString(script.sha.clone().into_bytes()));
        }
        redis.ask(&["SET", dataset::EPOCH, &EPOCH.to_string()]).await;
        let rules = ["~*", "+@all", "-@admin", "-@dangerous", "+info"];
        redis.ask(&[&["ACL", "SETUSER", "cli-4", "on", ">door"], &rules[..]].concat()).await;
        let login = Login { user: "cli-4".into(), password: "door".into() };
        let client =
            RedisLink::connect_as(redis.addr, &login, Duration::from_secs(5), &Transport::plain()).await;
        let client = client.expect("clients get in");
        Some(Bench { redis, client, keys, server, scripts, nonce: Nonce::fresh(), _dir: dir })
    }

    fn exchange<'a>(&'a self, nonce: &'a Nonce) -> Exchange<'a> {
        Exchange { keys: &self.keys, server: &self.server, nonce }
    }

    fn request(&self, nonce: &Nonce, key: &str, command: &Command) -> redis::Cmd {
        let words = [vec![EPOCH.to_string()], command::words(command)].concat();
        self.exchange(nonce).operation(&self.scripts.operation, &key_names(key), &words)
    }

    async fn send(&mut self, request: &redis::Cmd) -> Value {
        let mut pipeline = redis::pipe();
        pipeline.add_command(request.clone());
        self.client.pipeline(&pipeline).await.expect("it answers").remove(0)
    }

    async fn call(&mut self, key: &str, command: &Command) -> Result<Accepted, Rejected> {
        let nonce = self.nonce.advance();
        let reply = self.send(&self.request(&nonce, key, command)).await;
        self.exchange(&nonce).accept(key, EPOCH, &reply)
    }

    async fn answer(&mut self, key: &str, command: &Command) -> Answer {
        let accepted = self.call(key, command).await.expect("an accepted reply");
        Answer::parse(command, &accepted.answer).expect("an answer")
    }

    /// The code of the error that an accepted reply tells.
    async fn error(&mut self, key: &str, command: &Command) -> String {
        match self.call(key, command).await.expect("an accepted reply").answer {
            Value::ServerError(e) => format!("{} {}", e.code(), e.details().unwrap_or_default()),
            other => panic!("{other:?} is no error"),
        }
    }
}

fn set(value: &str) -> Command {
    Command::Set(value.into())
}

fn value(text: &str) -> Answer {
    Answer::Value(Some(text.into()))
}

fn unproven(reply: &Value) -> String {
    match reply {
        Value::ServerError(e) => e.code().to_owned(),
        other => panic!("{other:?} is no refusal"),
    }
}

#[tokio::test]
async fn every_kind_of_data_is_answered_sealed_and_counted() {
    let Some(mut bench) = Bench::start().await else { return };
    let text = |text: &str| text.to_owned();
    let transfer = Command::Transfer { from: text("a"), to: text("b"), amount: 2 };
    let cas = |expected: &str, new: &str| Command::Cas { expected: expected.into(), new: new.into() };
    let steps = [
        ("register", Command::Get, Answer::Value(None), 0),
        ("register", set("é\n\"'"), Answer::Done, 1),
        ("register", Command::Get, value("é\n\"'"), 1),
        ("register", cas("no", "2"), Answer::Applied(false), 1),
        ("register", cas("é\n\"'", "2"), Answer::Applied(true), 2),
        ("counter", Command::Add(i64::MAX), Answer::Number(i64::MAX), 1),
        ("counter", Command::Add(-1), Answer::Number(i64::MAX - 1), 2),
        ("list", Command::Append(text("1:a")), Answer::Done, 1),
        ("list", Command::Append(text("")), Answer::Done, 2),
        ("list", Command::List, Answer::Items(vec![text("1:a"), text("")]), 2),
        ("list", Command::Dequeue, value("1:a"), 3),
        ("list", Command::Dequeue, value(""), 4),
        ("list", Command::Dequeue, Answer::Value(None), 4),
        ("set", Command::Insert(text("x")), Answer::Done, 1),
        ("set", Command::Insert(text("x")), Answer::Done, 1),
        ("set", Command::Members, Answer::Items(vec![text("x")]), 1),
        ("bank", Command::Open { accounts: vec![(text("a"), 5), (text("b"), 0)] }, Answer::Done, 1),
        ("bank", transfer, Answer::Applied(true), 2),
        ("bank", Command::Balances, Answer::Balances([(text("a"), 3), (text("b"), 2)].into()), 2),
        ("guarded", Command::Guarded { token: 3, value: text("v") }, Answer::Applied(true), 1),
        ("guarded", Command::GuardedRead, value("v"), 1),
    ];
    for (n, (key, command, expected, version)) in steps.into_iter().enumerate() {
        let accepted = bench.call(key, &command).await.unwrap_or_else(|e| panic!("{command:?}: {e}"));
        assert_eq!(Answer::parse(&command, &accepted.answer).ok(), Some(expected), "{command:?}");
        assert_eq!(accepted.seq, n as u64 + 1);
        match accepted.sealed {
            None => assert_eq!(version, 0),
            Some(sealed) => {
                assert_eq!((sealed.version, sealed.epoch), (version, EPOCH), "{command:?}");
                assert_eq!(sealed.writer, bench.nonce.client);
            }
        }
    }
}

#[tokio::test]
async fn an_error_of_the_operation_is_proven_like_an_answer() {
    let Some(mut bench) = Bench::start().await else { return };
    bench.answer("list", &Command::Append("a".into())).await;
    assert!(bench.error("list", &Command::Get).await.starts_with("WRONGTYPE"));
    bench.redis.ask(&["SET", dataset::EPOCH, "5"]).await;
    assert!(bench.error("list", &Command::List).await.starts_with("FENCED"));
}

#[tokio::test]
async fn a_request_that_was_changed_or_comes_twice_is_refused() {
    let Some(mut bench) = Bench::start().await else { return };
    let nonce = bench.nonce.advance();
    let good = bench.request(&nonce, "k", &set("one"));
    let words: Vec<Vec<u8>> = good
        .args_iter()
        .map(|word| match word {
            redis::Arg::Simple(bytes) => bytes.to_vec(),
            _ => panic!("an argument without bytes"),
        })
        .collect();
    // Every argument but the command, the script and the number of keys, each changed in its last byte.
    for at in 3..words.len() {
        let mut changed = redis::cmd("EVALSHA");
        for (i, word) in words.iter().enumerate().skip(1) {
            let mut word = word.clone();
            if i == at {
                *word.last_mut().expect("no argument is empty") ^= 1;
            }
            changed.arg(word);
        }
        assert_eq!(unproven(&bench.send(&changed).await), "BADMAC", "argument {at}");
    }
    assert_eq!(bench.redis.ask(&["EXISTS", "k"]).await, Value::Int(0));

    let first = bench.send(&good).await;
    bench.exchange(&nonce).accept("k", EPOCH, &first).expect("unchanged it is carried out");
    assert_eq!(unproven(&bench.send(&good).await), "REPLAYED");
    bench.answer("k", &set("two")).await;
    assert_eq!(unproven(&bench.send(&good).await), "REPLAYED");
    assert_eq!(bench.answer("k", &Command::Get).await, value("two"));

    // Nor does it count at another node, or in another shard.
    for server in
        [Server { node: "r0b".into(), ..bench.server.clone() }, Server { shard: 1, node: "r0a".into() }]
    {
        let nonce = bench.nonce.advance();
        let exchange = Exchange { keys: &bench.keys, server: &server, nonce: &nonce };
        let words = [vec![EPOCH.to_string()], command::words(&Command::Get)].concat();
        let request = exchange.operation(&bench.scripts.operation, &key_names("k"), &words);
        assert_eq!(unproven(&bench.send(&request).await), "BADMAC");
    }
}

#[tokio::test]
async fn a_reply_that_was_changed_swapped_or_replayed_is_rejected() {
    let Some(mut bench) = Bench::start().await else { return };
    bench.answer("k", &set("value of k")).await;
    bench.answer("l", &set("value of l")).await;
    let (first, second) = (bench.nonce.advance(), bench.nonce.advance());
    let of_k = bench.send(&bench.request(&first, "k", &Command::Get)).await;
    let of_l = bench.send(&bench.request(&second, "l", &Command::Get)).await;
    let accept = |nonce: &Nonce, key: &str, reply: &Value| bench.exchange(nonce).accept(key, EPOCH, reply);
    accept(&first, "k", &of_k).expect("as it came");
    accept(&second, "l", &of_l).expect("as it came");
    assert_eq!(accept(&first, "k", &of_l), Err(Rejected::Forged), "swapped");
    assert_eq!(accept(&second, "l", &of_k), Err(Rejected::Forged), "swapped");
    let later = Nonce { counter: 99, ..first.clone() };
    assert_eq!(accept(&later, "k", &of_k), Err(Rejected::Forged), "replayed");

    let Value::Array(parts) = &of_k else { panic!("{of_k:?}") };
    for (i, part) in parts.iter().enumerate() {
        let Value::BulkString(bytes) = part else { panic!("{part:?}") };
        for at in 0..bytes.len() {
            let mut changed = parts.clone();
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            changed[i] = Value::BulkString(bytes);
            assert_eq!(
                accept(&first, "k", &Value::Array(changed)),
                Err(Rejected::Forged),
                "part {i} byte {at}"
            );
        }
    }
}

#[tokio::test]
async fn data_that_is_not_what_was_sealed_is_never_an_answer() {
    let Some(mut bench) = Bench::start().await else { return };
    bench.answer("k", &set("authentic")).await;
    bench.answer("l", &set("authentic")).await;
    bench.answer("list", &Command::Append("a".into())).await;
    let seal_of = |key: &str| format!("__shardstorm:seal:{key}");
    let Value::BulkString(old) = bench.redis.ask(&["GET", &seal_of("k")]).await else { panic!("no seal") };
    let opened = Sealed::open("k", &old, &bench.keys.seal).expect("the script's seal opens here");
    assert_eq!((opened.version, opened.writer), (1, bench.nonce.client.clone()));

    // As if the replication stream had been changed on its way.
    bench.redis.ask(&["SET", "k", "fabricated"]).await;
    assert_eq!(bench.error("k", &Command::Get).await, "BADSEAL it is not what was sealed");
    assert_eq!(bench.error("k", &set("over it")).await, "BADSEAL it is not what was sealed");
    bench.redis.ask(&["DEL", "k"]).await;
    assert_eq!(bench.error("k", &Command::Get).await, "BADSEAL it is not what was sealed");
    bench.redis.ask(&["SET", "k", "authentic"]).await;
    assert_eq!(bench.answer("k", &Command::Get).await, value("authentic"));
    bench.redis.ask(&["RPUSH", "list", "b"]).await;
    assert_eq!(bench.error("list", &Command::List).await, "BADSEAL it is not what was sealed");
    bench.redis.ask(&["SET", "new", "from nowhere"]).await;
    assert_eq!(bench.error("new", &Command::Get).await, "BADSEAL it has no seal");

    let moved = bench.redis.ask(&["COPY", &seal_of("k"), &seal_of("l"), "REPLACE"]).await;
    assert_eq!(moved, Value::Int(1));
    assert_eq!(bench.error("l", &Command::Get).await, "BADSEAL its seal is that of another key");
    bench.redis.ask(&["SETRANGE", &seal_of("k"), "0", "9"]).await;
    assert_eq!(bench.error("k", &Command::Get).await, "BADSEAL its seal is fabricated");

    // What no seal can tell: all of it, set back to what it once was. The version does tell.
    bench.answer("m", &set("old")).await;
    let Value::BulkString(old) = bench.redis.ask(&["GET", &seal_of("m")]).await else { panic!("no seal") };
    bench.answer("m", &set("new")).await;
    bench.redis.ask(&["SET", "m", "old"]).await;
    bench.redis.ask(&["SET", &seal_of("m"), std::str::from_utf8(&old).expect("text")]).await;
    let accepted = bench.call("m", &Command::Get).await.expect("authentic, if old");
    assert_eq!(accepted.sealed.expect("a seal").version, 1, "a client that has seen version 2 knows");
}

/// Asks until as many copies are proven.
async fn proven_copies(bench: &mut Bench, nonce: &Nonce, evidence: &redis::Cmd, copies: u32) -> Value {
    let started = std::time::Instant::now();
    loop {
        let reply = bench.send(evidence).await;
        let seen = bench.exchange(nonce).accept_evidence(&reply).expect("a code");
        assert_eq!(seen.epoch, Some(EPOCH));
        if seen.copies == copies {
            return reply;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{} copies, not {copies}", seen.copies);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn copies_are_counted_under_a_code() {
    let Some(mut bench) = Bench::start().await else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let Some(mut replica) = Alone::start(dir.path()).await else { return };
    let nonce = bench.nonce.advance();
    let (mark, evidence) = {
        let exchange = bench.exchange(&nonce);
        (exchange.mark(&bench.scripts.mark), exchange.evidence(&bench.scripts.evidence, dataset::EPOCH))
    };
    assert_eq!(bench.send(&mark).await, Value::Int(0), "there is no operation yet");
    proven_copies(&mut bench, &nonce, &evidence, 0).await;

    let operation = bench.request(&nonce, "k", &set("v"));
    let reply = bench.send(&operation).await;
    bench.exchange(&nonce).accept("k", EPOCH, &reply).expect("carried out");
    assert_eq!(bench.send(&mark).await, Value::Int(1));
    let alone = proven_copies(&mut bench, &nonce, &evidence, 0).await;
    follow(&mut replica, &bench.redis).await;
    let with_copy = proven_copies(&mut bench, &nonce, &evidence, 1).await;

    // The number is under the code, and counts for this request only.
    let Value::Array(parts) = &alone else { panic!("{alone:?}") };
    let forged = Value::Array([&[Value::BulkString(b"1".to_vec())], &parts[1..]].concat());
    assert_eq!(bench.exchange(&nonce).accept_evidence(&forged), Err(Rejected::Forged));
    let of_wait = bench.exchange(&nonce).accept_evidence(&Value::Int(1));
    assert_eq!(of_wait, Err(Rejected::Unproven("unexpected reply".into())));
    let later = bench.nonce.advance();
    assert_eq!(bench.exchange(&later).accept_evidence(&with_copy), Err(Rejected::Forged));

    // Data and seal are replicated, what only the server itself needs is not.
    bench.answer("k", &set("w")).await;
    let offset = bench.redis.link.info("replication", LIMIT).await.expect("it answers").replication().offset;
    while replica.link.info("replication", LIMIT).await.expect("it answers").replication().offset < offset {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(replica.ask(&["GET", "k"]).await, Value::BulkString(b"w".to_vec()));
    let Value::BulkString(seal) = replica.ask(&["GET", "__shardstorm:seal:k"]).await else {
        panic!("no seal")
    };
    assert_eq!(Sealed::open("k", &seal, &bench.keys.seal).expect("it opens").version, 2);
    let field = format!("of {}", nonce.client);
    let counter = |n: &str| Value::BulkString(n.as_bytes().to_vec());
    assert_eq!(bench.redis.ask(&["HGET", "__shardstorm:nonces", &field]).await, counter("3"));
    assert_eq!(replica.ask(&["HGET", "__shardstorm:nonces", &field]).await, counter("1"), "of the full copy");
}

async fn follow(replica: &mut Alone, master: &Alone) {
    let agent = secret().agent();
    replica.ask(&["CONFIG", "SET", "masteruser", &agent.user, "masterauth", &agent.password]).await;
    replica.ask(&["REPLICAOF", &master.addr.ip().to_string(), &master.addr.port().to_string()]).await;
}

#[tokio::test]
async fn the_user_of_clients_cannot_read_the_pads() {
    let Some(mut bench) = Bench::start().await else { return };
    bench.answer("k", &set("v")).await;
    let sha = bench.scripts.operation.sha.clone();
    for attempt in [
        format!("return f_{sha}"),
        format!("return string.dump(_G['f_{sha}'])"),
        "return SEAL".to_owned(),
        "return debug.getinfo(1).source".to_owned(),
        "return getfenv(1).SEAL[1]".to_owned(),
    ] {
        let reply = bench.send(redis::cmd("EVAL").arg(&attempt).arg(0)).await;
        assert!(matches!(reply, Value::ServerError(_)), "{attempt}: {reply:?}");
    }
    let names = "local names = '' for name in pairs(_G) do names = names .. name .. ' ' end return names";
    let Value::BulkString(names) = bench.send(redis::cmd("EVAL").arg(names).arg(0)).await else {
        panic!("text")
    };
    let names = String::from_utf8(names).expect("text");
    assert!(names.contains("redis ") && !names.contains("f_"), "{names}");
    for command in [&["SLOWLOG", "GET"][..], &["MONITOR"], &["CONFIG", "GET", "*"], &["ACL", "LIST"]] {
        let mut request = redis::cmd(command[0]);
        request.arg(&command[1..]);
        assert_eq!(unproven(&bench.send(&request).await), "NOPERM", "{command:?}");
    }
    // Nor are they in the dataset.
    let Value::Array(mut keys) = bench.redis.ask(&["KEYS", "*"]).await else { panic!("no keys") };
    keys.sort_by_key(|key| format!("{key:?}"));
    let expected = [dataset::EPOCH, "__shardstorm:nonces", "__shardstorm:seal:k", dataset::SEQ, "k"];
    assert_eq!(keys, expected.map(|key| Value::BulkString(key.as_bytes().to_vec())));
}
