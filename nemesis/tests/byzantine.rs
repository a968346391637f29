//! Faults of the catalogue, each by example on the bytes of the protocol.

mod common;

use common::{Conn, FIXTURES, armed, fixture, pattern, resp, sent, set, text};
use nemesis::byzantine::{
    Counting, Faults, Forged, Literal, MessageFault, Op, Pattern, Pipe, Place, Predicate, Scope, To,
};
use nemesis::wire::{Link, Protocol, Step, Value, Way};
use proptest::prelude::*;

use Way::{ToClient, ToServer};

/// A replica's connection to its master, at the start of the stream; the offset there is 0.
fn streaming(faults: &Faults) -> Conn {
    let mut conn = Conn::between(faults, Protocol::Redis, "s0r1", "s0r0");
    conn.up(resp(&["PSYNC", "?", "-1"]));
    conn.down(b"+FULLRESYNC 183422a8272ce2892697c58217b22c22b8e33166 0\r\n$18\r\nREDIS0010\xff12345678");
    conn.take(ToServer);
    conn.take(ToClient);
    conn
}

fn stream(message: &str) -> Pattern {
    pattern(Link::Replication, ToClient, message)
}

/// A client's session with ZooKeeper, opened.
fn session(faults: &Faults) -> Conn {
    let mut conn = Conn::between(faults, Protocol::ZkClient, "c0", "zk1");
    for (way, bytes) in &fixture("zk-client")[..2] {
        conn.send(*way, bytes);
    }
    conn.take(ToServer);
    conn.take(ToClient);
    conn
}

/// A frame of ZooKeeper's client port.
fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as i32).to_be_bytes()[..], &body].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as i32).to_be_bytes()[..], text.as_bytes()].concat()
}

fn int(n: i32) -> [u8; 4] {
    n.to_be_bytes()
}

fn long(n: i64) -> [u8; 8] {
    n.to_be_bytes()
}

const ACL: &[u8] = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";

fn create(xid: i32, path: &str, data: &str) -> Vec<u8> {
    frame(&[&int(xid), &int(1), &string(path), &string(data), ACL, &int(1)])
}

fn set_data(xid: i32, path: &str, data: &str, version: i32) -> Vec<u8> {
    frame(&[&int(xid), &int(5), &string(path), &string(data), &int(version)])
}

fn reply(xid: i32, zxid: i64, err: i32, body: &[u8]) -> Vec<u8> {
    frame(&[&int(xid), &long(zxid), &int(err), body])
}

/// A packet of the quorum.
fn packet(kind: i32, zxid: i64, data: &[u8]) -> Vec<u8> {
    let len = if data.is_empty() { int(-1) } else { int(data.len() as i32) };
    [&int(kind)[..], &long(zxid), &len, data, &int(-1)].concat()
}

fn proposal(zxid: i64, path: &str, data: &str) -> Vec<u8> {
    let header = [&long(77)[..], &int(1), &long(zxid), &long(1_700_000_000_000), &int(5)].concat();
    let txn = [string(path), string(data), int(1).to_vec()].concat();
    packet(2, zxid, &[header, txn, int(2).to_vec(), long(0x51c6_d660).to_vec()].concat())
}

#[test]
fn r1_a_value_changes_in_the_stream_and_no_offset_does() {
    let faults = Faults::new(1);
    armed(&faults, 0, stream("set"), set("value", To::Literal(text("BBBB"))));
    let mut conn = streaming(&faults);
    assert_eq!(conn.down(resp(&["SET", "k", "AAAA"])), resp(&["SET", "k", "BBBB"]));
    assert_eq!(conn.down(resp(&["SET", "k", "CCCC"])), resp(&["SET", "k", "CCCC"]), "once");
    let strikes = faults.strikes();
    assert_eq!(strikes.len(), 1);
    assert_eq!((strikes[0].delta, strikes[0].kind.as_str(), strikes[0].occurrence), (0, "set", 1));
    assert_eq!(
        strikes[0].to_string(),
        "set 1 from s0r0 to s0r1 on replication: value was \"AAAA\", is \"BBBB\""
    );
    assert_eq!(strikes[0].offset_in, strikes[0].offset_out);
    assert_eq!(faults.tally(0).applied, 1);
}

#[test]
fn what_was_struck_has_arrived_when_its_receiver_says_so() {
    let faults = Faults::new(1);
    armed(&faults, 0, stream("set"), set("value", To::Literal(text("twelve bytes"))));
    armed(&faults, 1, stream("del"), Op::Omit);
    let mut conn = streaming(&faults);
    conn.down(resp(&["SET", "k", "AAAA"]));
    let end = conn.pipe.out_offset(ToClient);
    let arrived = |id| (faults.tally(id).applied, faults.tally(id).delivered);
    assert_eq!(arrived(0), (1, 0));
    conn.pipe.halves[ToClient as usize].receipt.note(end - 1);
    assert_eq!(arrived(0), (1, 0), "but for a byte");
    conn.pipe.halves[ToClient as usize].receipt.note(end);
    assert_eq!(arrived(0), (1, 1));
    assert_eq!(arrived(0), (1, 1), "counted once");
    conn.down(resp(&["DEL", "k"]));
    assert_eq!(arrived(1), (1, 1), "kept from arriving as soon as it is struck");
}

#[test]
fn r2_a_longer_value_makes_the_stream_longer() {
    let faults = Faults::new(1);
    armed(&faults, 0, stream("set"), set("value", To::Literal(text("twelve bytes"))));
    let mut conn = streaming(&faults);
    let two = [resp(&["SET", "k", "AAAA"]), resp(&["SET", "k", "BBBB"])].concat();
    let expected = [resp(&["SET", "k", "twelve bytes"]), resp(&["SET", "k", "BBBB"])].concat();
    assert_eq!(conn.down(&two), expected);
    assert_eq!(faults.strikes()[0].delta, 9, "eight bytes and a digit");
}

#[test]
fn r3_a_command_comes_twice_and_then_the_connection_goes() {
    let faults = Faults::new(1);
    armed(&faults, 0, stream("set"), Op::Dup);
    armed(&faults, 1, stream("ping"), Op::Truncate { keep: None });
    let mut conn = streaming(&faults);
    let command = resp(&["SET", "k", "v"]);
    assert_eq!(conn.down(&command), command.repeat(2));
    let after = [resp(&["PING"]), command].concat();
    assert_eq!(conn.down(after), resp(&["PING"]));
    assert!(conn.pipe.reset);
    assert_eq!(faults.strikes().iter().map(|s| s.delta).collect::<Vec<_>>(), [command_len(), 0]);
}

fn command_len() -> i64 {
    resp(&["SET", "k", "v"]).len() as i64
}

#[test]
fn r6_one_acknowledgement_is_inflated() {
    let faults = Faults::new(1);
    let acks = pattern(Link::Replication, ToServer, "replconf-ack");
    armed(&faults, 0, acks, set("offset", To::Add(1_000_000_000)));
    let mut conn = streaming(&faults);
    conn.take(ToServer);
    assert_eq!(conn.up(resp(&["REPLCONF", "ACK", "500"])), resp(&["REPLCONF", "ACK", "1000000500"]));
    assert_eq!(conn.up(resp(&["REPLCONF", "ACK", "530"])), resp(&["REPLCONF", "ACK", "530"]));
    let strike = &faults.strikes()[0];
    assert_eq!(
        (strike.field_before.as_deref(), strike.field_after.as_deref()),
        (Some("500"), Some("1000000500"))
    );
}

#[test]
fn r8_a_write_becomes_a_ping_of_the_same_length() {
    let faults = Faults::new(1);
    let fault = MessageFault { count: 0, ..MessageFault::first(stream("write"), Op::Blank) };
    faults.add(0, fault).unwrap();
    faults.arm(0);
    let mut conn = streaming(&faults);
    for value in ["v", "AAAA", &"x".repeat(80)] {
        let command = resp(&["SET", "some:key", value]);
        let blank = conn.down(&command);
        assert_eq!(blank.len(), command.len());
        let Step::Message(message) = Protocol::Redis.codec().parse(ToServer, &blank) else { panic!() };
        assert!(matches!(message.kind.name, "ping" | "exists"));
    }
    assert_eq!(conn.down(resp(&["PING"])), resp(&["PING"]), "not a write");
}

#[test]
fn r11_a_bit_of_the_snapshot_flips() {
    for name in ["replication-disk", "replication-diskless"] {
        let faults = Faults::new(5);
        armed(&faults, 0, stream("rdb-chunk"), Op::FlipBit { field: None });
        let mut conn = Conn::new(&faults, Protocol::Redis);
        let recording = fixture(name);
        conn.play(&recording, 100);
        let (before, after) = (sent(&recording, ToClient), conn.take(ToClient));
        assert_eq!(before.len(), after.len());
        let differ: Vec<_> = (0..before.len()).filter(|i| before[*i] != after[*i]).collect();
        assert_eq!(differ.len(), 1);
        assert_eq!((before[differ[0]] ^ after[differ[0]]).count_ones(), 1);
        let strike = &faults.strikes()[0];
        let snapshot = strike.offset_in..strike.offset_in + strike.before.len() as u64;
        assert!(snapshot.contains(&(differ[0] as u64)));
    }
}

#[test]
fn r12_the_checksum_of_a_snapshot_is_zeroed() {
    let faults = Faults::new(5);
    armed(&faults, 0, stream("rdb-end"), set("checksum", To::Zero));
    let mut conn = Conn::new(&faults, Protocol::Redis);
    conn.play(&fixture("replication-diskless"), usize::MAX);
    let strike = &faults.strikes()[0];
    assert_eq!(strike.after[..8], [0; 8]);
    assert_eq!(strike.after[8..], strike.before[8..], "the delimiter after it stays");
    assert_eq!(strike.delta, 0);
}

#[test]
fn z1_the_session_is_promised_for_longer() {
    let faults = Faults::new(1);
    let connect = pattern(Link::ZkClient, ToClient, "connect.reply");
    armed(&faults, 0, connect, set("timeOut", To::Literal(Literal::Int(60_000))));
    let mut conn = Conn::new(&faults, Protocol::ZkClient);
    conn.play(&fixture("zk-client")[..2], 5);
    let out = conn.take(ToClient);
    assert_eq!(out[8..12], int(60_000));
    assert_eq!(out[12..], fixture("zk-client")[1].1[12..]);
}

#[test]
fn z3_the_session_is_closed_in_the_clients_name() {
    let faults = Faults::new(1);
    let op = Op::Insert { bytes: text("hex:0000000800000064fffffff5"), place: Place::After };
    armed(&faults, 0, pattern(Link::ZkClient, ToServer, "ping"), op);
    let mut conn = session(&faults);
    let ping = frame(&[&int(-2), &int(11)]);
    let expected = [ping.clone(), frame(&[&int(100), &int(-11)])].concat();
    assert_eq!(conn.up(&ping), expected);
    let answers = [reply(-2, 9, 0, b""), reply(100, 10, 0, b"")].concat();
    assert_eq!(conn.down(answers), reply(-2, 9, 0, b""), "the answer is not for the client's eyes");
}

#[test]
fn z5_who_came_second_is_told_that_it_came_first() {
    let faults = Faults::new(1);
    let mut lost = pattern(Link::ZkClient, ToClient, "create.reply");
    lost.conditions =
        vec![Predicate { field: "err".into(), is: Some(Literal::Int(-110)), ..Predicate::default() }];
    armed(&faults, 0, lost, Op::Forge { answer: Forged::Success });
    let mut conn = session(&faults);
    conn.up([create(1, "/other", "a"), create(2, "/master", "c0")].concat());
    let won = reply(1, 5, 0, &string("/other"));
    assert_eq!(conn.down(&won), won);
    let out = conn.down(reply(2, 6, -110, b""));
    assert_eq!(out, reply(2, 6, 0, &string("/master")), "the same request, the same zxid, another fate");
}

#[test]
fn z6_who_came_first_is_told_that_it_came_second() {
    let faults = Faults::new(1);
    let won = pattern(Link::ZkClient, ToClient, "create.reply");
    armed(&faults, 0, won, Op::Forge { answer: Forged::Error(text("NodeExists")) });
    let mut conn = session(&faults);
    conn.up(create(2, "/master", "c0"));
    assert_eq!(conn.down(reply(2, 6, 0, &string("/master"))), reply(2, 6, -110, b""));
}

#[test]
fn z9_a_stale_compare_and_set_becomes_unconditional() {
    let faults = Faults::new(1);
    let mut writes = pattern(Link::ZkClient, ToServer, "setData");
    let at = Predicate { field: "path".into(), is: Some(text("/shards/0")), ..Predicate::default() };
    writes.conditions = vec![at];
    let fault = MessageFault { nth: 2, ..MessageFault::first(writes, set("version", To::MinusOne)) };
    faults.add(0, fault).unwrap();
    faults.arm(0);
    let mut conn = session(&faults);
    for (xid, path, expected) in
        [(1, "/shards/0", 4), (2, "/ring", 4), (3, "/shards/0", -1), (4, "/shards/0", 4)]
    {
        let out = conn.up(set_data(xid, path, "host:1", 4));
        assert_eq!(out, set_data(xid, path, "host:1", expected), "{path} {xid}");
    }
}

#[test]
fn q2_a_commit_names_another_transaction() {
    let faults = Faults::new(1);
    let mut commits = pattern(Link::Quorum, ToClient, "COMMIT");
    commits.receivers = vec!["zk2".into()];
    armed(&faults, 0, commits, set("zxid", To::Add(1)));
    let mut spared = Conn::between(&faults, Protocol::Quorum, "zk1", "zk3");
    let mut struck = Conn::between(&faults, Protocol::Quorum, "zk2", "zk3");
    assert_eq!(spared.down(packet(4, 8, b"")), packet(4, 8, b""));
    assert_eq!(struck.down(packet(4, 8, b"")), packet(4, 9, b""));
}

#[test]
fn q4_a_proposal_never_arrives_and_is_acknowledged() {
    let faults = Faults::new(1);
    let of = |message| pattern(Link::Quorum, ToClient, message);
    let mut forged = of("PROPOSAL");
    forged.conditions =
        vec![Predicate { field: "data".into(), is: Some(text("lost")), ..Predicate::default() }];
    armed(&faults, 0, forged, Op::Forge { answer: Forged::Success });
    let mut commit = of("COMMIT");
    commit.conditions =
        vec![Predicate { field: "zxid".into(), is: Some(Literal::Int(8)), ..Predicate::default() }];
    armed(&faults, 1, commit, Op::Omit);
    let mut conn = Conn::between(&faults, Protocol::Quorum, "zk1", "zk3");
    assert_eq!(conn.down(proposal(7, "/a", "kept")), proposal(7, "/a", "kept"));
    assert_eq!(conn.down(proposal(8, "/a", "lost")), b"");
    assert_eq!(conn.take(ToServer), packet(3, 8, b""), "the leader hears that it was logged");
    assert_eq!(conn.down([packet(4, 7, b""), packet(4, 8, b"")].concat()), packet(4, 7, b""));
}

#[test]
fn q9_a_lagging_server_looks_ahead_and_of_an_old_epoch() {
    let faults = Faults::new(1);
    let mut votes = pattern(Link::Election, ToServer, "notification");
    votes.senders = vec!["zk3".into()];
    let ahead = MessageFault {
        count: 0,
        ..MessageFault::first(votes, set("zxid", To::Literal(Literal::Int(0x5_0000_0000))))
    };
    faults.add(0, ahead).unwrap();
    faults.arm(0);
    armed(&faults, 1, pattern(Link::Quorum, ToServer, "ACKEPOCH"), set("currentEpoch", To::Zero));
    let mut election = Conn::between(&faults, Protocol::Election, "zk3", "zk1");
    let recording = fixture("election");
    election.play(&recording, 11);
    let out = election.take(ToServer);
    let before = sent(&recording, ToServer);
    let hello = 20 + "127.0.0.1:18203".len();
    assert_eq!(out[..hello + 16], before[..hello + 16]);
    assert_eq!(out[hello + 16..hello + 24], long(0x5_0000_0000));
    assert_eq!(election.take(ToClient), sent(&recording, ToClient));
    let mut quorum = Conn::between(&faults, Protocol::Quorum, "zk1", "zk3");
    assert_eq!(quorum.up(packet(18, 0x2_0000_0007, &int(2))), packet(18, 0x2_0000_0007, &int(0)));
}

#[test]
fn q6_the_table_of_active_sessions_is_emptied() {
    let faults = Faults::new(1);
    let mut pings = pattern(Link::Quorum, ToServer, "PING");
    pings.conditions =
        vec![Predicate { field: "sessionId".into(), at_least: Some(1), ..Predicate::default() }];
    armed(&faults, 0, pings, set("body", To::Literal(text(""))));
    let mut conn = Conn::between(&faults, Protocol::Quorum, "zk1", "zk3");
    let touched = [&long(77)[..], &int(4000), &long(78), &int(4000)].concat();
    let mut empty = packet(5, 9, b"");
    empty[12..16].copy_from_slice(&int(0));
    assert_eq!(conn.up(packet(5, 9, &touched)), empty);
}

#[test]
fn c2_c3_stale_values_and_those_of_another_key() {
    let faults = Faults::new(1);
    let replies = pattern(Link::RedisClient, ToClient, "get.reply");
    let stale = MessageFault { nth: 4, ..MessageFault::first(replies.clone(), set("value", To::Seen(1))) };
    faults.add(0, stale).unwrap();
    let other = MessageFault { nth: 5, ..MessageFault::first(replies, set("value", To::OtherKey)) };
    faults.add(1, other).unwrap();
    faults.arm(0);
    faults.arm(1);
    let mut conn = Conn::new(&faults, Protocol::Redis);
    let mut get = |key: &str, value: &str| {
        conn.up(resp(&["GET", key]));
        conn.down(format!("${}\r\n{value}\r\n", value.len()))
    };
    assert_eq!(get("a", "old"), b"$3\r\nold\r\n");
    assert_eq!(get("b", "elsewhere"), b"$9\r\nelsewhere\r\n");
    assert_eq!(get("a", "newer"), b"$5\r\nnewer\r\n");
    assert_eq!(get("a", "newer"), b"$3\r\nold\r\n", "the value before, of the same key");
    assert_eq!(get("a", "newer"), b"$9\r\nelsewhere\r\n", "the value of another");
    assert_eq!(get("a", "newer"), b"$5\r\nnewer\r\n");
}

#[test]
fn c4_c5_c6_answers_are_swapped() {
    let faults = Faults::new(1);
    let of = |message| pattern(Link::RedisClient, ToClient, message);
    armed(&faults, 0, of("set.reply"), Op::Forge { answer: Forged::Error(text("READONLY no")) });
    armed(&faults, 1, of("wait.reply"), set("value", To::Add(1)));
    armed(&faults, 2, of("get.reply"), set("message", To::Literal(text("$-1\r\n"))));
    let mut conn = Conn::new(&faults, Protocol::Redis);
    let ask = [resp(&["SET", "k", "v"]), resp(&["WAIT", "1", "0"]), resp(&["GET", "k"])].concat();
    assert_eq!(conn.up(&ask), ask);
    assert_eq!(conn.down("+OK\r\n:9\r\n$1\r\nv\r\n"), b"-READONLY no\r\n:10\r\n$-1\r\n");
}

#[test]
fn c8_c9_requests_are_repeated_or_never_sent_and_the_client_sees_one_answer_each() {
    let faults = Faults::new(1);
    let of = |message| pattern(Link::RedisClient, ToServer, message);
    armed(&faults, 0, of("incr"), Op::Dup);
    armed(&faults, 1, of("set"), Op::Forge { answer: Forged::Success });
    let mut conn = Conn::new(&faults, Protocol::Redis);
    let incr = resp(&["INCR", "n"]);
    let (get, set) = (resp(&["GET", "k"]), resp(&["SET", "k", "v"]));
    let out = conn.up([incr.clone(), get.clone(), set, get.clone()].concat());
    assert_eq!(out, [incr.clone(), incr, get.clone(), get].concat());
    assert_eq!(conn.take(ToClient), b"", "the forged answer waits for its turn");
    assert_eq!(conn.down(":1\r\n"), b":1\r\n");
    assert_eq!(conn.down(":2\r\n$1"), b"$1", "the second answer is for nobody");
    assert_eq!(conn.down("\r\na\r\n"), b"\r\na\r\n+OK\r\n", "now it is its turn");
    assert_eq!(conn.down("$1\r\nb\r\n"), b"$1\r\nb\r\n");
}

#[test]
fn a_forged_answer_never_lands_inside_another() {
    let faults = Faults::new(1);
    armed(&faults, 0, pattern(Link::RedisClient, ToServer, "set"), Op::Forge { answer: Forged::Success });
    let mut conn = Conn::new(&faults, Protocol::Redis);
    conn.up(resp(&["GET", "big"]));
    let big = [&b"$50000\r\n"[..], &[b'x'; 50_000], b"\r\n"].concat();
    let mut out = conn.down(&big[..20_000]);
    conn.up(resp(&["SET", "k", "v"]));
    out.extend(conn.down(&big[20_000..]));
    assert_eq!(out, [&big[..], b"+OK\r\n"].concat());
}

#[test]
fn c7_r9_messages_are_swapped_and_delayed() {
    let faults = Faults::new(1);
    armed(&faults, 0, stream("set"), Op::Swap);
    armed(&faults, 1, stream("del"), Op::Delay { messages: 2 });
    let mut conn = streaming(&faults);
    let (a, b, ping) = (resp(&["SET", "k", "1"]), resp(&["SET", "k", "2"]), resp(&["PING"]));
    assert_eq!(conn.down([a.clone(), ping.clone()].concat()), ping, "something else in between");
    assert_eq!(conn.down(&b), [b.clone(), a].concat());
    let del = resp(&["DEL", "k"]);
    assert_eq!(conn.down([del.clone(), ping.clone()].concat()), ping);
    assert_eq!(conn.down(&ping), [ping.clone(), del.clone()].concat());
    assert_eq!(conn.down(&del), del);
}

#[test]
fn what_is_delayed_comes_when_the_fault_is_over_or_the_sender_is() {
    let faults = Faults::new(1);
    armed(&faults, 0, stream("set"), Op::Delay { messages: 50 });
    let (command, ping) = (resp(&["SET", "k", "1"]), resp(&["PING"]));
    let mut conn = streaming(&faults);
    assert_eq!(conn.down(&command), b"");
    faults.disarm(0);
    assert_eq!(conn.down(&ping), [command.clone(), ping].concat());
    faults.arm(0);
    assert_eq!(conn.down(&command), b"");
    conn.editor.closed(ToClient, &mut conn.pipe);
    assert_eq!(conn.take(ToClient), command);
}

#[test]
fn replay_and_insert() {
    let faults = Faults::new(1);
    let replay = MessageFault { nth: 3, ..MessageFault::first(stream("set"), Op::Replay { back: 2 }) };
    faults.add(0, replay).unwrap();
    faults.arm(0);
    let flush = String::from_utf8(resp(&["DEL", "x"])).unwrap();
    armed(&faults, 1, stream("ping"), Op::Insert { bytes: text(&flush), place: Place::Before });
    let mut conn = streaming(&faults);
    let commands = ["1", "2", "3"].map(|value| resp(&["SET", "k", value]));
    assert_eq!(conn.down(commands.concat()), [commands.concat(), commands[0].clone()].concat());
    assert_eq!(conn.down(resp(&["PING"])), [flush.into_bytes(), resp(&["PING"])].concat());
}

#[test]
fn to_leave_out_a_long_message_is_to_leave_out_its_body() {
    let faults = Faults::new(1);
    armed(&faults, 0, stream("set"), Op::Omit);
    armed(&faults, 1, stream("del"), Op::Dup);
    let mut conn = streaming(&faults);
    let long = resp(&["SET", "k", &"v".repeat(100_000)]);
    let mut out = Vec::new();
    for chunk in [long, resp(&["PING"])].concat().chunks(1400) {
        out.extend(conn.down(chunk));
    }
    assert_eq!(out, resp(&["PING"]));
    let long = resp(&["DEL", &"k".repeat(100_000)]);
    assert_eq!(conn.down(&long), long, "what cannot be held cannot come twice");
    assert_eq!(faults.tally(1).why.as_deref(), Some("the message is too long to be held"));
}

#[test]
fn one_lie_to_all_is_the_same_lie_and_two_lies_are_two() {
    let faults = Faults::new(9);
    let any = MessageFault { count: 0, ..MessageFault::first(stream("set"), set("value", To::Random)) };
    faults.add(0, any.clone()).unwrap();
    faults.arm(0);
    let command = resp(&["SET", "k", "AAAAAAAA"]);
    let told = |replica: &str, faults: &Faults| {
        let mut conn = Conn::between(faults, Protocol::Redis, replica, "s0r0");
        conn.up(resp(&["PSYNC", "?", "-1"]));
        conn.down("+FULLRESYNC x 0\r\n$0\r\n");
        [conn.down(&command), conn.down(&command)]
    };
    let (one, two) = (told("s0r1", &faults), told("s0r2", &faults));
    assert_ne!(one[0], command);
    assert_eq!(one, two, "the n-th message is the same lie to every receiver");
    assert_ne!(one[0], one[1], "the next one is another");
    let again = Faults::new(9);
    again.add(0, any).unwrap();
    again.arm(0);
    assert_eq!(told("s0r1", &again), one, "and the same in every run of this seed");

    let faults = Faults::new(9);
    for (id, receiver, value) in [(0, "s0r1", "ATTACK"), (1, "s0r2", "RETREAT")] {
        let mut part = stream("set");
        part.receivers = vec![receiver.into()];
        armed(&faults, id, part, set("value", To::Literal(text(value))));
    }
    assert_eq!(told("s0r1", &faults)[0], resp(&["SET", "k", "ATTACK"]));
    assert_eq!(told("s0r2", &faults)[0], resp(&["SET", "k", "RETREAT"]));
    assert_eq!(told("s0r3", &faults)[0], command);
}

#[test]
fn small_changes_are_one_off_or_something_seen() {
    let faults = Faults::new(3);
    let op = Op::Mutate { scope: Scope::Small, field: Some("zxid".into()) };
    let all = MessageFault { count: 0, ..MessageFault::first(pattern(Link::Quorum, ToClient, "COMMIT"), op) };
    faults.add(0, all).unwrap();
    let mut conn = Conn::new(&faults, Protocol::Quorum);
    for zxid in [100, 200, 300] {
        conn.down(packet(4, zxid, b""));
    }
    faults.arm(0);
    let mut said = std::collections::BTreeSet::new();
    for _ in 0..64 {
        let out = conn.down(packet(4, 1000, b""));
        said.insert(i64::from_be_bytes(out[4..12].try_into().unwrap()));
    }
    assert_eq!(said.into_iter().collect::<Vec<_>>(), [100, 200, 300, 999, 1001]);
}

#[test]
fn occurrences_are_counted_as_told() {
    let strikes = |counting, every, count| {
        let faults = Faults::new(1);
        let op = set("value", To::Literal(text("X")));
        let fault = MessageFault { nth: 2, every, count, counting, ..MessageFault::first(stream("set"), op) };
        faults.add(0, fault).unwrap();
        faults.arm(0);
        for _ in 0..2 {
            let mut conn = streaming(&faults);
            for _ in 0..6 {
                conn.down(resp(&["SET", "k", "v"]));
            }
        }
        faults.strikes().iter().map(|strike| (strike.connection, strike.nth)).collect::<Vec<_>>()
    };
    assert_eq!(strikes(Counting::Pair, 1, 1), [(0, 2)], "reconnecting does not start again");
    assert_eq!(strikes(Counting::Connection, 1, 1), [(0, 2)], "both have the same number here");
    assert_eq!(strikes(Counting::Pair, 3, 0), [(0, 2), (0, 5), (1, 2), (1, 5)]);
    assert_eq!(strikes(Counting::All, 2, 4), [(0, 2), (0, 4), (0, 6), (1, 2)]);
}

#[test]
fn an_eavesdropper_changes_nothing_and_listens_besides() {
    let faults = Faults::new(1);
    let mut auth = pattern(Link::RedisClient, ToServer, "any");
    auth.conditions =
        vec![Predicate { field: "message".into(), contains: Some(text("canary")), ..Predicate::default() }];
    let all = MessageFault { count: 0, ..MessageFault::first(auth, Op::Eavesdrop) };
    faults.add(0, all).unwrap();
    faults.arm(0);
    armed(&faults, 1, pattern(Link::RedisClient, ToServer, "set"), set("value", To::Literal(text("other"))));
    let mut conn = Conn::new(&faults, Protocol::Redis);
    let auth = resp(&["AUTH", "canary-1"]);
    assert_eq!(conn.up(&auth), auth);
    assert_eq!(conn.up(resp(&["SET", "k", "canary-2"])), resp(&["SET", "k", "other"]));
    let told: Vec<_> = faults.strikes().iter().map(|strike| (strike.fault, strike.delta)).collect();
    assert_eq!(told, [(0, 0), (0, 0), (1, -3)]);
}

#[test]
fn a_fault_that_is_not_armed_leaves_every_byte_and_counts_nothing() {
    for (name, protocol) in FIXTURES {
        let faults = Faults::new(1);
        for (id, link) in Link::ALL.into_iter().enumerate() {
            for (more, way) in [(0, ToServer), (10, ToClient)] {
                let op = Op::Mutate { scope: Scope::Small, field: None };
                let fault = MessageFault { count: 0, ..MessageFault::first(pattern(link, way, "any"), op) };
                faults.add(id as u64 + more, fault).unwrap();
            }
        }
        let recording = fixture(name);
        let mut conn = Conn::new(&faults, protocol);
        conn.play(&recording, 50);
        for way in [ToServer, ToClient] {
            assert_eq!(conn.take(way), sent(&recording, way), "{name}");
        }
        assert!(faults.strikes().is_empty());
        assert_eq!(faults.tally(0).matched, 0);
    }
}

#[test]
fn a_fault_that_is_armed_within_a_message_strikes_the_next() {
    let faults = Faults::new(1);
    faults.add(0, MessageFault::first(stream("set"), Op::Omit)).unwrap();
    let mut conn = streaming(&faults);
    let (command, ping) = (resp(&["SET", "k", "v"]), resp(&["PING"]));
    assert_eq!(conn.down(&command[..9]), command[..9], "nothing waits while nothing is armed");
    faults.arm(0);
    let rest = [&command[9..], &ping, &command, &ping].concat();
    assert_eq!(conn.down(&rest), [&command[9..], &ping, &ping].concat());
    assert_eq!(conn.down(&command[..9]), b"", "and now it does");
    faults.disarm(0);
    assert_eq!(conn.down(&command[9..]), command);
}

#[test]
fn an_answer_is_put_in_between_messages_that_go_on_as_they_come() {
    let faults = Faults::new(1);
    armed(&faults, 0, pattern(Link::RedisClient, ToServer, "set"), Op::Forge { answer: Forged::Success });
    let mut conn = Conn::new(&faults, Protocol::Redis);
    conn.up(resp(&["GET", "a"]));
    assert_eq!(conn.down("$5\r\nhe"), b"$5\r\nhe");
    conn.up([resp(&["SET", "k", "v"]), resp(&["GET", "b"])].concat());
    assert_eq!(conn.down("llo\r\n$1\r\n"), b"llo\r\n+OK\r\n$1\r\n");
    assert_eq!(conn.down("b\r\n"), b"b\r\n");
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        Just(Op::Mutate { scope: Scope::Any, field: None }),
        Just(Op::Mutate { scope: Scope::Small, field: None }),
        Just(Op::FlipBit { field: None }),
        Just(Op::Omit),
        Just(Op::Blank),
        Just(Op::Dup),
        Just(Op::Replay { back: 1 }),
        Just(Op::Swap),
        Just(Op::Delay { messages: 2 }),
        Just(Op::Insert { bytes: text("*1\r\n$4\r\nPING\r\n"), place: Place::Before }),
        Just(Op::Truncate { keep: Some(3) }),
        Just(set("message", To::Zero)),
        Just(set("zxid", To::Random)),
        Just(set("data", To::Literal(text("longer than it was")))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any operation on any message of any conversation: nothing breaks here, and what was not struck arrives.
    #[test]
    fn every_operation_holds_on_real_traffic(
        at in 0..FIXTURES.len(), op in ops(), every in 1..5u64, piece in 1..200usize, seed: u64,
    ) {
        let (name, protocol) = FIXTURES[at];
        let recording = fixture(name);
        let faults = Faults::new(seed);
        for (id, link) in Link::ALL.into_iter().enumerate() {
            for (more, way) in [(0, ToServer), (10, ToClient)] {
                let first = MessageFault::first(pattern(link, way, "any"), op.clone());
                faults.add(id as u64 + more, MessageFault { count: 0, every, ..first }).unwrap();
                faults.arm(id as u64 + more);
            }
        }
        let mut conn = Conn::new(&faults, protocol);
        conn.play(&recording, piece);
        conn.editor.closed(ToServer, &mut conn.pipe);
        conn.editor.closed(ToClient, &mut conn.pipe);
        let strikes = faults.strikes();
        let lengths_told = strikes.iter().all(|strike| {
            strike.delta == strike.after.len() as i64 - strike.before.len() as i64
        });
        prop_assert!(lengths_told);
        if conn.pipe.reset || matches!(op, Op::Swap | Op::Delay { .. }) || conn.editor.lost().is_some() {
            return Ok(());
        }
        // Answers to requests that the client did not make are kept from it, and here nobody answers them.
        let adds = matches!(op, Op::Dup | Op::Replay { .. } | Op::Insert { .. });
        for way in [ToServer, ToClient] {
            if way == ToClient && adds && matches!(protocol, Protocol::Redis | Protocol::ZkClient) {
                continue;
            }
            let out = conn.pipe.halves[way as usize].out.len() + conn.pipe.halves[way as usize].pending.len();
            let delta: i64 = strikes.iter().filter(|strike| strike.way == way).map(|strike| strike.delta).sum();
            prop_assert_eq!(out as i64, sent(&recording, way).len() as i64 + delta, "{} {}", name, way);
        }
    }
}

#[test]
fn a_value_reads_as_text_and_as_a_number() {
    assert_eq!(Value::Int(-1).to_string(), "-1");
    assert_eq!(Value::Bytes(b"a\r\n".into()).to_string(), "\"a\\r\\n\"");
}
