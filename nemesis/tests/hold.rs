//! Points of a protocol at which messages are held, logs that are done again, and how faults are written.

mod common;

use std::sync::mpsc::TryRecvError;

use common::{Conn, fixture, pattern, resp, sent, set, text};
use nemesis::byzantine::{
    Counting, Faults, FireAt, Forged, Literal, MessageFault, Op, Place, Predicate, Scope, Strike, To, Trigger,
};
use nemesis::wire::{Link, Protocol, Way};
use serde::{Deserialize, Serialize};

use Way::{ToClient, ToServer};

fn replica(faults: &Faults, name: &str) -> Conn {
    let mut conn = Conn::between(faults, Protocol::Redis, name, "s0r0");
    conn.up(resp(&["PSYNC", "?", "-1"]));
    conn.down("+FULLRESYNC x 1000\r\n$0\r\n");
    conn
}

fn learner(faults: &Faults, name: &str) -> Conn {
    Conn::between(faults, Protocol::Quorum, name, "zk3")
}

fn packet(kind: i32, zxid: i64) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &zxid.to_be_bytes(), &[0xff; 8]].concat()
}

/// "Kill the master after its n-th write has left it and before the acknowledgement of it arrives."
#[test]
fn a_write_has_left_and_its_acknowledgement_is_held() {
    let faults = Faults::new(1);
    let trigger = Trigger {
        at: pattern(Link::Replication, ToClient, "write"),
        nth: 2,
        hold: Some(pattern(Link::Replication, ToServer, "replconf-ack")),
        fire: FireAt::Match,
        max_hold_ms: 1_000,
    };
    let held = faults.watch(trigger).unwrap();
    let mut conn = replica(&faults, "s0r1");
    let write = resp(&["SET", "k", "v"]);
    let len = write.len() as i64;
    let ack = |offset: i64| resp(&["REPLCONF", "ACK", &offset.to_string()]);
    assert_eq!(conn.down(&write), write);
    assert_eq!(held.fired.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(conn.up(ack(1000 + len)), ack(1000 + len));
    assert_eq!(conn.down(&write), write, "it goes on");
    let fired = held.fired.try_recv().unwrap();
    assert_eq!((fired.from.as_str(), fired.to.as_str(), fired.kind.as_str()), ("s0r0", "s0r1", "set"));
    assert_eq!(fired.order, Some(1000 + 2 * len));
    assert_eq!(conn.up(ack(1000 + len)), ack(1000 + len), "of what was before it");
    assert_eq!(conn.up(ack(1000 + 2 * len)), b"", "held");
    assert_eq!(conn.up(resp(&["REPLCONF", "ACK", "5000"])), b"", "and what is behind it waits too");
    assert_eq!(conn.down(&write), write, "the other way is free");
    assert_eq!(held.messages(), 1);
    held.release();
    conn.editor.woken(&mut conn.pipe);
    assert_eq!(conn.take(ToServer), [ack(1000 + 2 * len), ack(5000)].concat());
}

/// "Kill the leader between PROPOSAL and COMMIT."
#[test]
fn a_proposal_is_logged_everywhere_and_no_commit_has_arrived() {
    let faults = Faults::new(1);
    let trigger = Trigger {
        at: pattern(Link::Quorum, ToClient, "PROPOSAL"),
        nth: 1,
        hold: Some(pattern(Link::Quorum, ToClient, "COMMIT")),
        fire: FireAt::Hold,
        max_hold_ms: 1_000,
    };
    let held = faults.watch(trigger).unwrap();
    let (mut one, mut two) = (learner(&faults, "zk1"), learner(&faults, "zk2"));
    one.down(packet(2, 8));
    two.down(packet(2, 8));
    assert_eq!(held.fired.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(one.down(packet(4, 7)), packet(4, 7), "the commit of an earlier one");
    assert_eq!(one.down(packet(4, 8)), b"");
    assert_eq!(held.fired.try_recv().unwrap().kind, "COMMIT");
    assert_eq!(two.down(packet(4, 8)), b"", "on every connection");
    assert_eq!(held.messages(), 2);
    // The leader is killed now: what it had not got out it never sent.
    one.editor.closed(ToClient, &mut one.pipe);
    assert_eq!(one.take(ToClient), b"");
    assert!(one.pipe.halves[ToClient as usize].pending.is_empty());
    drop(held);
    two.editor.woken(&mut two.pipe);
    assert_eq!(two.take(ToClient), packet(4, 8));
}

#[test]
fn a_message_is_held_itself_and_not_for_ever() {
    let faults = Faults::new(1);
    let at = pattern(Link::Quorum, ToClient, "COMMIT");
    let trigger = Trigger { at, nth: 2, hold: None, fire: FireAt::Match, max_hold_ms: 1_000 };
    let held = faults.watch(trigger).unwrap();
    let mut conn = learner(&faults, "zk1");
    assert_eq!(conn.down([packet(4, 7), packet(4, 8), packet(4, 9)].concat()), packet(4, 7));
    assert_eq!(held.fired.try_recv().unwrap().order, Some(8));
    assert!(conn.pipe.wake.unwrap() <= conn.pipe.now + 1_000_000_000);
    conn.pipe.now += 999_000_000;
    conn.editor.woken(&mut conn.pipe);
    assert_eq!(conn.take(ToClient), b"");
    conn.pipe.now += 2_000_000;
    conn.editor.woken(&mut conn.pipe);
    assert_eq!(conn.take(ToClient), [packet(4, 8), packet(4, 9)].concat());
}

/// The same recording, once with faults and once from the log of that.
fn replayed(op: Op, message: &str, change: impl Fn(&mut Vec<Strike>)) -> (Vec<u8>, Vec<u8>, f64) {
    let recording = fixture("zk-client");
    let faults = Faults::new(4);
    let all =
        MessageFault { count: 0, ..MessageFault::first(pattern(Link::ZkClient, ToServer, message), op) };
    faults.add(0, all).unwrap();
    faults.arm(0);
    let mut conn = Conn::new(&faults, Protocol::ZkClient);
    conn.play(&recording, 30);
    let first = conn.take(ToServer);
    let text = serde_json::to_string(&faults.take_strikes()).unwrap();
    let mut log: Vec<Strike> = serde_json::from_str(&text).unwrap();
    assert!(!log.is_empty());
    change(&mut log);
    let again = Faults::new(5);
    again.replay(log);
    let mut conn = Conn::new(&again, Protocol::ZkClient);
    conn.play(&recording, 999);
    (first, conn.take(ToServer), again.fidelity().unwrap().share())
}

#[test]
fn a_log_is_done_again() {
    let ops =
        [set("data", To::Random), Op::Omit, Op::Dup, Op::Swap, Op::FlipBit { field: Some("path".into()) }];
    for op in ops {
        let (first, again, share) = replayed(op.clone(), "setData", |_| {});
        assert_ne!(first, sent(&fixture("zk-client"), ToServer), "{op}");
        assert_eq!(first, again, "{op}");
        assert_eq!(share, 1.0);
    }
}

#[test]
fn what_has_another_shape_is_not_done_again_and_that_is_told() {
    let flip = || Op::FlipBit { field: Some("path".into()) };
    let (_, again, share) = replayed(flip(), "setData", |log| {
        log[0].before.push(0);
        log[1].nth = 99;
    });
    assert_eq!(share, 0.0);
    assert_eq!(again, sent(&fixture("zk-client"), ToServer));
    let (_, again, share) = replayed(Op::FlipBit { field: None }, "setData", |log| {
        log.iter_mut().for_each(|strike| strike.before.push(0));
    });
    assert_eq!((again, share), (sent(&fixture("zk-client"), ToServer), 0.0), "no field says where it was");
    let (_, _, share) = replayed(flip(), "any", |log| log[0].connection = 3);
    assert!((0.9..1.0).contains(&share), "{share}");
}

/// A schedule's window as it will be: a tagged table with the fault's fields in it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Window {
    id: u64,
    start_ms: u64,
    #[serde(flatten)]
    harm: Harm,
    seed: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
enum Harm {
    Kill,
    Message(Box<MessageFault>),
}

#[test]
fn a_fault_is_written_as_people_would() {
    let text = r#"
        id = 3
        start_ms = 1500
        seed = 77
        fault = "message"
        link = "zk-client"
        way = "to-server"
        message = "setData"
        where = [{ field = "path", is = "/shards/0" }, { field = "version", at-least = 1 }]
        receivers = ["zk1"]
        nth = 2
        op = { set = { field = "version", to = "minus-one" } }
    "#;
    let window: Window = toml::from_str(text).unwrap();
    let Harm::Message(fault) = &window.harm else { panic!() };
    fault.check().unwrap();
    assert_eq!((fault.nth, fault.every, fault.count, fault.counting), (2, 1, 1, Counting::Pair));
    assert_eq!(
        fault.to_string(),
        "set version to -1: 2nd setData to-server on zk-client where path is \"/shards/0\" and version is at \
         least 1 to zk1"
    );
    let again: Window = toml::from_str(&toml::to_string(&window).unwrap()).unwrap();
    assert_eq!(again, window);
}

fn every_op() -> Vec<Op> {
    let tos = [
        To::Add(-1),
        To::Zero,
        To::MinusOne,
        To::Neighbour,
        To::Literal(Literal::Int(5)),
        To::Literal(text("hex:00ff")),
        To::Seen(2),
        To::OtherKey,
        To::Random,
    ];
    let mut ops: Vec<Op> = tos.into_iter().map(|to| set("value", to)).collect();
    ops.extend([
        Op::Set { field: "value".into(), to: To::Zero, keep_lengths: true },
        Op::Mutate { scope: Scope::Small, field: None },
        Op::Mutate { scope: Scope::Any, field: Some("key".into()) },
        Op::Mutate { scope: Scope::Bits, field: None },
        Op::FlipBit { field: None },
        Op::Omit,
        Op::Blank,
        Op::Dup,
        Op::Replay { back: 1 },
        Op::Swap,
        Op::Delay { messages: 3 },
        Op::Insert { bytes: text("PING\r\n"), place: Place::Before },
        Op::Forge { answer: Forged::Success },
        Op::Forge { answer: Forged::Error(text("READONLY")) },
        Op::Forge { answer: Forged::Literal(text(":1\r\n")) },
        Op::Truncate { keep: None },
        Op::Truncate { keep: Some(2) },
        Op::Eavesdrop,
    ]);
    ops
}

#[test]
fn every_operation_survives_being_written_and_read() {
    for op in every_op() {
        let harm =
            Harm::Message(Box::new(MessageFault::first(pattern(Link::RedisClient, ToServer, "set"), op)));
        let window = Window { id: 1, start_ms: 2, harm, seed: 3 };
        let text = toml::to_string(&window).unwrap();
        assert_eq!(toml::from_str::<Window>(&text).unwrap(), window, "{text}");
        let json = serde_json::to_string(&window).unwrap();
        assert_eq!(serde_json::from_str::<Window>(&json).unwrap(), window, "{json}");
        let Harm::Message(fault) = window.harm else { panic!() };
        fault.check().unwrap();
        assert!(fault.to_string().ends_with("1st set to-server on redis-client"), "{fault}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_a_sentence() {
    let set_op = || set("value", To::Zero);
    let of = |link, way, message, op| MessageFault::first(pattern(link, way, message), op);
    let redis = |op| of(Link::RedisClient, ToServer, "set", op);
    let empty = Predicate { field: "key".into(), ..Predicate::default() };
    let mut asks_nothing = redis(set_op());
    asks_nothing.pattern.conditions.push(empty);
    let cases = [
        (MessageFault { nth: 0, ..redis(set_op()) }, "`nth` counts from 1"),
        (MessageFault { every: 0, ..redis(set_op()) }, "`every` is at least 1"),
        (of(Link::Quorum, ToClient, "commit", Op::Omit), "did you mean `COMMIT`"),
        (of(Link::ZkClient, ToServer, "multi.reply", Op::Omit), "no replies go to-server"),
        (of(Link::Election, ToClient, "hello", Op::Omit), "unknown message `hello` to-client"),
        (redis(set("", To::Zero)), "needs a field"),
        (redis(set("value", To::Seen(0))), "`seen` counts from 1"),
        (redis(set("value", To::Add(0))), "changes nothing"),
        (redis(set("value", To::Literal(text("hex:0g")))), "two hex digits"),
        (redis(Op::Replay { back: 0 }), "`back` counts from 1"),
        (redis(Op::Delay { messages: 0 }), "at least 1"),
        (redis(Op::Insert { bytes: text(""), place: Place::After }), "no bytes to insert"),
        (of(Link::Quorum, ToClient, "COMMIT", Op::Forge { answer: Forged::Success }), "no answer to forge"),
        (asks_nothing, "asks nothing"),
    ];
    for (fault, why) in cases {
        let error = fault.check().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(!error.ends_with('.') && !error.contains('\n'), "one sentence, no full stop: {error}");
        assert!(Faults::new(0).add(0, fault).is_err());
    }
}

#[test]
fn a_message_that_is_struck_is_one_of_those_named() {
    // What a codec calls a message can be asked for in a schedule.
    let all = [
        ("redis-client-resp2", Protocol::Redis),
        ("redis-client-resp3", Protocol::Redis),
        ("replication-diskless", Protocol::Redis),
        ("replication-continue", Protocol::Redis),
        ("zk-client", Protocol::ZkClient),
        ("election", Protocol::Election),
        ("quorum-diff", Protocol::Quorum),
        ("quorum-snap", Protocol::Quorum),
    ];
    for (name, protocol) in all {
        let faults = Faults::new(1);
        let links = Link::ALL.into_iter().filter(|link| link.protocol() == protocol);
        for (id, (link, way)) in links.flat_map(|link| [(link, ToServer), (link, ToClient)]).enumerate() {
            let hear = MessageFault::first(pattern(link, way, "any"), Op::Eavesdrop);
            faults.add(id as u64, MessageFault { count: 0, ..hear }).unwrap();
            faults.arm(id as u64);
        }
        let mut conn = Conn::new(&faults, protocol);
        conn.play(&fixture(name), 77);
        let heard = faults.take_strikes();
        assert!(!heard.is_empty());
        for strike in heard {
            let named = pattern(strike.link, strike.way, &strike.kind);
            named.check().unwrap_or_else(|why| panic!("{name}: {why}"));
        }
    }
}
