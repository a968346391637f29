//! Codecs on real traffic of Redis 7.0.15 and ZooKeeper 3.8.0, on every segmentation, and on rubbish.

mod common;

use common::{Conn, FIXTURES, fixture, sent};
use nemesis::byzantine::{Faults, MessageFault, Op};
use nemesis::wire::{Codec, HOLD, Link, Message, Protocol, Splice, Step, Value, Way};
use proptest::prelude::*;

const WAYS: [Way; 2] = [Way::ToServer, Way::ToClient];

/// Messages with their bytes, and why there are no more.
type Read = (Vec<(Way, Message, Vec<u8>)>, Option<&'static str>);

/// Every message of a recording, in the order they complete.
fn messages(recording: &[(Way, Vec<u8>)], protocol: Protocol) -> Read {
    let mut codec: Box<dyn Codec> = protocol.codec();
    let mut buffers = [Vec::new(), Vec::new()];
    let mut out = Vec::new();
    for (way, bytes) in recording {
        let buffer: &mut Vec<u8> = &mut buffers[*way as usize];
        buffer.extend(bytes);
        loop {
            match codec.parse(*way, buffer) {
                Step::Need(n) => {
                    assert!(n > buffer.len(), "a need of {n} with {} at hand", buffer.len());
                    break;
                }
                Step::Lost(note) => return (out, Some(note)),
                Step::Body { len, .. } => drop(buffer.drain(..len)),
                Step::Message(message) => {
                    let bytes: Vec<u8> = buffer.drain(..message.len).collect();
                    if let Some(ask) = &message.ask {
                        codec.asked(ask.clone());
                    }
                    out.push((*way, *message, bytes));
                }
            }
        }
    }
    (out, None)
}

fn kinds(name: &str, protocol: Protocol, way: Way) -> Vec<String> {
    let (messages, lost) = messages(&fixture(name), protocol);
    assert_eq!(lost, None, "{name}");
    let mut kinds: Vec<String> =
        messages.iter().filter(|(w, ..)| *w == way).map(|(_, m, _)| m.kind.to_string()).collect();
    kinds.dedup();
    kinds
}

fn value(message: &Message, bytes: &[u8], field: &str) -> Value {
    message
        .field(field)
        .unwrap_or_else(|| panic!("{} has no {field}: {message:?}", message.kind))
        .value(bytes)
}

/// The first message of this kind.
fn first(name: &str, protocol: Protocol, way: Way, kind: &str) -> (Message, Vec<u8>) {
    let (messages, _) = messages(&fixture(name), protocol);
    let found = messages.into_iter().find(|(w, m, _)| *w == way && m.kind.to_string() == kind);
    let (_, message, bytes) = found.unwrap_or_else(|| panic!("no {kind} in {name}"));
    (message, bytes)
}

#[test]
fn identity_on_real_traffic_in_any_pieces() {
    for (name, protocol) in FIXTURES {
        let recording = fixture(name);
        for piece in [1, 2, 3, 7, 64, 1000, usize::MAX] {
            let mut conn = Conn::new(&Faults::new(1), protocol);
            for (way, bytes) in &recording {
                for chunk in bytes.chunks(piece) {
                    conn.send(*way, chunk);
                    assert!(conn.pipe.halves[*way as usize].pending.is_empty(), "nothing waits for nothing");
                }
            }
            let mut strict = watchful(protocol, true);
            strict.play(&recording, piece);
            for way in WAYS {
                assert_eq!(
                    strict.editor.counts(way),
                    conn.editor.counts(way),
                    "listening or looking, the same is read"
                );
                assert_eq!(strict.take(way), sent(&recording, way), "{name} in pieces of {piece}");
            }
            for way in WAYS {
                assert_eq!(conn.take(way), sent(&recording, way), "{name} in pieces of {piece}");
            }
        }
    }
}

const RESP2: (&str, Protocol) = ("redis-client-resp2", Protocol::Redis);

#[test]
fn a_client_of_redis_is_understood() {
    let to_server = kinds(RESP2.0, RESP2.1, Way::ToServer);
    assert_eq!(to_server[..5], ["set", "get", "incr", "lpush", "lrange"]);
    assert_eq!(to_server[to_server.len() - 4..], ["set", "get", "set", "get"], "pipelined");
    let to_client = kinds(RESP2.0, RESP2.1, Way::ToClient);
    let expected: Vec<String> = to_server.iter().map(|kind| format!("{kind}.reply")).collect();
    assert_eq!(to_client, expected, "replies are named after their requests");

    let (set, bytes) = first(RESP2.0, RESP2.1, Way::ToServer, "set");
    assert_eq!(value(&set, &bytes, "key"), Value::Bytes(b"k1".into()));
    assert_eq!(value(&set, &bytes, "value"), Value::Bytes(b"AAAA".into()));
    assert_eq!(value(&set, &bytes, "len#3"), Value::Int(4));
    let (reply, bytes) = first(RESP2.0, RESP2.1, Way::ToClient, "get.reply");
    assert_eq!(value(&reply, &bytes, "value"), Value::Bytes(b"AAAA".into()));
    assert_eq!(reply.subject.as_deref(), Some(&b"k1"[..]), "a reply is about its request's key");
}

#[test]
fn resp3_and_what_is_pushed_do_not_confuse_replies() {
    let kinds = kinds("redis-client-resp3", Protocol::Redis, Way::ToClient);
    assert_eq!(kinds.iter().filter(|kind| *kind == "push").count(), 3, "{kinds:?}");
    assert_eq!(kinds.last().unwrap(), "get.reply");
    let (reply, bytes) = first("redis-client-resp3", Protocol::Redis, Way::ToClient, "hello.reply");
    assert_eq!(value(&reply, &bytes, "type"), Value::Int(i64::from(b'%')));
}

#[test]
fn replication_is_understood_from_handshake_to_stream() {
    let from_replica = kinds("replication-diskless", Protocol::Redis, Way::ToServer);
    assert_eq!(from_replica[..4], ["ping", "replconf", "psync", "newline"]);
    let from_master = kinds("replication-diskless", Protocol::Redis, Way::ToClient);
    let start =
        ["ping.reply", "replconf.reply", "fullresync", "rdb", "rdb-chunk", "rdb-end", "select", "set"];
    assert_eq!(from_master[..8], start);
    let start =
        ["ping.reply", "replconf.reply", "fullresync", "rdb", "rdb-chunk", "rdb-end", "ping", "select"];
    assert_eq!(kinds("replication-disk", Protocol::Redis, Way::ToClient)[..8], start);
    let start = ["ping.reply", "replconf.reply", "continue", "ping", "set"];
    assert_eq!(kinds("replication-continue", Protocol::Redis, Way::ToClient)[..5], start);
}

#[test]
fn offsets_of_the_stream_are_those_the_replica_acknowledges() {
    for name in ["replication-disk", "replication-diskless", "replication-continue"] {
        let (messages, _) = messages(&fixture(name), Protocol::Redis);
        let mut reached = 0;
        let mut acknowledged = 0;
        for (way, message, bytes) in messages {
            match (way, message.kind.name, message.order) {
                (Way::ToClient, _, Some(order)) => reached = order,
                (Way::ToServer, "replconf-ack", order) => {
                    acknowledged = order.unwrap();
                    assert_eq!(value(&message, &bytes, "offset"), Value::Int(acknowledged));
                }
                _ => {}
            }
        }
        assert_eq!(acknowledged, reached, "{name}: the last acknowledgement is of the last byte");
    }
}

#[test]
fn a_client_of_zookeeper_is_understood() {
    let asked = kinds("zk-client", Protocol::ZkClient, Way::ToServer);
    for kind in [
        "connect",
        "create2",
        "getData",
        "setData",
        "getChildren",
        "exists",
        "sync",
        "multi",
        "multiRead",
        "getACL",
        "auth",
        "addWatch",
        "getEphemerals",
        "createContainer",
        "delete",
        "ping",
        "closeSession",
    ] {
        assert!(asked.iter().any(|k| k == kind), "{kind} among {asked:?}");
        let reply = format!("{kind}.reply");
        first("zk-client", Protocol::ZkClient, Way::ToClient, &reply);
    }
    let zk = |way, kind| first("zk-client", Protocol::ZkClient, way, kind);
    let (reply, bytes) = zk(Way::ToClient, "connect.reply");
    assert_eq!(value(&reply, &bytes, "timeOut"), Value::Int(4000));
    let (set, bytes) = zk(Way::ToServer, "setData");
    assert_eq!(value(&set, &bytes, "path"), Value::Bytes(b"/t".into()));
    assert_eq!(value(&set, &bytes, "version"), Value::Int(0));
    let (reply, bytes) = zk(Way::ToClient, "getData.reply");
    assert_eq!(value(&reply, &bytes, "data"), Value::Bytes(b"one".into()));
    assert_eq!(value(&reply, &bytes, "dataLength"), Value::Int(3), "the last but two of a znode's numbers");
    let (event, bytes) = zk(Way::ToClient, "notification");
    assert_eq!(value(&event, &bytes, "type"), Value::Int(3), "NodeDataChanged");
    let (multi, bytes) = zk(Way::ToServer, "multi");
    assert_eq!(value(&multi, &bytes, "data#2"), Value::Bytes(b"three".into()), "operations in a transaction");
    let (multi, bytes) = zk(Way::ToClient, "multi.reply");
    assert_eq!(value(&multi, &bytes, "path"), Value::Bytes(b"/t/a".into()));
}

#[test]
fn an_administrators_four_letters_pass_unread() {
    let (messages, lost) = messages(&fixture("zk-four-letter-word"), Protocol::ZkClient);
    assert_eq!((messages.len(), lost), (0, Some("a four letter word")));
}

#[test]
fn an_election_is_understood() {
    let (hello, bytes) = first("election", Protocol::Election, Way::ToServer, "hello");
    assert_eq!(value(&hello, &bytes, "sid"), Value::Int(3));
    assert_eq!(value(&hello, &bytes, "addresses"), Value::Bytes(b"127.0.0.1:18203".into()));
    let (vote, bytes) = first("election", Protocol::Election, Way::ToClient, "notification");
    for (field, expected) in [("state", 0), ("leader", 1), ("zxid", 0), ("electionEpoch", 1), ("version", 2)]
    {
        assert_eq!(value(&vote, &bytes, field), Value::Int(expected), "{field}");
    }
    assert_eq!(kinds("election-refused", Protocol::Election, Way::ToServer), ["hello"]);
}

#[test]
fn zab_is_understood() {
    let zab = |way, kind| first("quorum-diff", Protocol::Quorum, way, kind);
    let start = ["LEADERINFO", "DIFF", "NEWLEADER", "UPTODATE", "PING", "PROPOSAL", "COMMIT"];
    assert_eq!(kinds("quorum-diff", Protocol::Quorum, Way::ToClient)[..7], start);
    let start = ["FOLLOWERINFO", "ACKEPOCH", "ACK", "PING", "REQUEST", "ACK"];
    assert_eq!(kinds("quorum-diff", Protocol::Quorum, Way::ToServer)[..6], start);
    let (epoch, bytes) = zab(Way::ToServer, "ACKEPOCH");
    assert_eq!(value(&epoch, &bytes, "currentEpoch"), Value::Int(0));
    let (messages, _) = messages(&fixture("quorum-diff"), Protocol::Quorum);
    let proposals: Vec<_> = messages.iter().filter(|(_, m, _)| m.kind.name == "PROPOSAL").collect();
    for (_, proposal, bytes) in &proposals {
        assert_eq!(value(proposal, bytes, "zxid"), value(proposal, bytes, "txnZxid"));
        let is_error = value(proposal, bytes, "txnType") == Value::Int(-1);
        assert_eq!(proposal.field("treeDigest").is_some(), !is_error, "read to the end: {proposal:?}");
    }
    let says = |field: &str, data: &[u8]| {
        proposals
            .iter()
            .any(|(_, m, b)| m.field(field).is_some_and(|f| f.value(b) == Value::Bytes(data.into())))
    };
    assert!(says("data", b"two") && says("data#2", b"three"), "the second in a transaction of its own");
    let touched = messages
        .iter()
        .any(|(way, m, _)| *way == Way::ToServer && m.kind.name == "PING" && m.field("timeOut").is_some());
    assert!(touched, "a ping carries the sessions that were active");
}

#[test]
fn after_a_snapshot_packets_are_found_again() {
    let kinds = kinds("quorum-snap", Protocol::Quorum, Way::ToClient);
    assert_eq!(kinds, ["LEADERINFO", "SNAP", "snapshot", "snapshot-end", "NEWLEADER", "UPTODATE", "PING"]);
}

/// A connection of this protocol that has got so far that the bytes of a big message can follow.
fn big(protocol: Protocol) -> Vec<(Way, Vec<u8>)> {
    let long = vec![b'x'; 100_000];
    match protocol {
        Protocol::Redis => {
            let set = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n", &long[..], b"\r\n"].concat();
            let many = [&b"*20000\r\n"[..], &b"$1\r\na\r\n".repeat(20_000)].concat();
            vec![
                (Way::ToServer, [set, common::resp(&["LRANGE", "l", "0", "-1"])].concat()),
                (Way::ToClient, [&b"+OK\r\n"[..], &many, b"$-1\r\n"].concat()),
            ]
        }
        Protocol::ZkClient => {
            let mut recording = fixture("zk-client");
            recording.truncate(2);
            let body = [
                &[0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0, 2],
                &b"/t"[..],
                &100_000i32.to_be_bytes(),
                &long,
                &[0; 4],
            ];
            let body = body.concat();
            recording.push((Way::ToServer, [&(body.len() as i32).to_be_bytes()[..], &body].concat()));
            recording
        }
        Protocol::Quorum => {
            let head = [&[0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1][..], &100_000i32.to_be_bytes()].concat();
            let mut bytes = Vec::new();
            // Around the bound, where the identities come to lie on either side of it.
            for data in [HOLD - 24, HOLD - 20, HOLD - 18, HOLD - 16, HOLD - 15, HOLD] {
                bytes
                    .extend([&head[..12], &(data as i32).to_be_bytes(), &vec![7; data], &[0xff; 4]].concat());
            }
            bytes.extend([&head[..], &long, &[0, 0, 0, 1, 0, 0, 0, 2], b"ip", &[0xff; 4]].concat());
            bytes.extend([&[0, 0, 0, 4][..], &[0; 8], &[0xff; 8]].concat());
            vec![(Way::ToClient, bytes)]
        }
        Protocol::Election => {
            let mut recording = fixture("election");
            recording.push((Way::ToClient, [&100_000i32.to_be_bytes()[..], &long].concat()));
            recording
        }
    }
}

const PROTOCOLS: [Protocol; 4] = [Protocol::Redis, Protocol::ZkClient, Protocol::Election, Protocol::Quorum];

#[test]
fn a_long_message_is_a_head_and_a_body_that_streams() {
    for protocol in PROTOCOLS {
        let recording = big(protocol);
        let (messages, lost) = messages(&recording, protocol);
        assert_eq!(lost, None, "{protocol:?}");
        assert!(messages.iter().any(|(_, m, _)| !m.whole), "{protocol:?}");
        for (piece, armed) in [(1, true), (1000, true), (4096, false), (5000, true), (usize::MAX, true)] {
            let mut conn = watchful(protocol, armed);
            for (way, bytes) in &recording {
                for chunk in bytes.chunks(piece) {
                    conn.send(*way, chunk);
                    let held = conn.pipe.halves[*way as usize].pending.len();
                    assert!(held <= HOLD + 4096, "{protocol:?} holds {held}");
                }
            }
            for way in WAYS {
                assert_eq!(conn.take(way), sent(&recording, way), "{protocol:?} in pieces of {piece}");
            }
        }
    }
    let (messages, _) = messages(&big(Protocol::Redis), Protocol::Redis);
    let kinds: Vec<_> = messages.iter().map(|(_, m, _)| m.kind.to_string()).collect();
    assert_eq!(kinds, ["set", "lrange", "set.reply", "lrange.reply", "reply"], "the next message is found");
    let (messages, _) = self::messages(&big(Protocol::Quorum), Protocol::Quorum);
    let kinds: Vec<_> = messages.iter().map(|(_, m, _)| m.kind.name).collect();
    assert_eq!(kinds[..7], ["PROPOSAL"; 7]);
    assert_eq!(kinds[7..], ["COMMIT"]);
}

#[test]
fn a_change_of_length_mends_the_lengths_around_it() {
    let zk = |kind| first("zk-client", Protocol::ZkClient, Way::ToServer, kind);
    let (set, bytes) = zk("setData");
    let data = set.field("data").unwrap();
    let longer = set.edit(&bytes, &[Splice { span: data.span.clone(), with: b"longer".into() }], true);
    assert_eq!(longer.len(), bytes.len() + 3);
    assert_eq!(i32::from_be_bytes(longer[..4].try_into().unwrap()) as usize, longer.len() - 4, "the frame's");
    let mut codec = Protocol::ZkClient.codec();
    let connect = sent(&fixture("zk-client")[..1], Way::ToServer);
    assert!(matches!(codec.parse(Way::ToServer, &connect), Step::Message(_)));
    let Step::Message(again) = codec.parse(Way::ToServer, &longer) else { panic!("read again") };
    assert_eq!(value(&again, &longer, "data"), Value::Bytes(b"longer".into()), "the buffer's");
    assert_eq!(value(&again, &longer, "version"), Value::Int(0), "what comes after is where it was");

    let lying = set.edit(&bytes, &[Splice { span: data.span, with: b"longer".into() }], false);
    assert_eq!(lying[..4], bytes[..4], "unless they are to lie");

    let (set, bytes) = first(RESP2.0, RESP2.1, Way::ToServer, "set");
    let span = set.field("value").unwrap().span;
    let edited = set.edit(&bytes, &[Splice { span, with: b"twelve bytes".into() }], true);
    assert_eq!(edited, b"*3\r\n$3\r\nSET\r\n$2\r\nk1\r\n$12\r\ntwelve bytes\r\n", "4 becomes 12");

    let (proposal, bytes) = {
        let (all, _) = messages(&fixture("quorum-diff"), Protocol::Quorum);
        let (_, m, b) = all
            .into_iter()
            .find(|(_, m, _)| m.kind.name == "PROPOSAL" && m.field("data#2").is_some())
            .unwrap();
        (m, b)
    };
    let span = proposal.field("data#2").unwrap().span;
    let edited = proposal.edit(&bytes, &[Splice { span, with: b"thirteen bytes".into() }], true);
    let Step::Message(again) = Protocol::Quorum.codec().parse(Way::ToClient, &edited) else {
        panic!("again")
    };
    assert_eq!(again.len, edited.len());
    assert_eq!(value(&again, &edited, "data#2"), Value::Bytes(b"thirteen bytes".into()));
    assert_eq!(value(&again, &edited, "treeDigest"), value(&proposal, &bytes, "treeDigest"));
}

#[test]
fn a_filler_has_every_length_it_can_have() {
    let codec = Protocol::Redis.codec();
    for len in (14..HOLD).filter(|len| !(15..24).contains(len)) {
        let filler = codec.filler(Way::ToClient, len).unwrap_or_else(|| panic!("none of {len}"));
        assert_eq!(filler.len(), len);
        let Step::Message(message) = Protocol::Redis.codec().parse(Way::ToServer, &filler) else {
            panic!("{}", filler.escape_ascii())
        };
        assert!(message.whole && message.len == len && matches!(message.kind.name, "ping" | "exists"));
    }
}

/// Real bytes, damaged.
fn damaged() -> impl Strategy<Value = (usize, Vec<(Way, Vec<u8>)>)> {
    let damage =
        prop_oneof![Just(0u8), Just(0xff), Just(0x7f), Just(b'\r'), Just(b'*'), Just(b'$'), any::<u8>()];
    let places = prop::collection::vec((any::<prop::sample::Index>(), damage, 0..3u8), 1..6);
    (0..FIXTURES.len(), places).prop_map(|(at, places)| {
        let mut recording = fixture(FIXTURES[at].0);
        for (place, byte, how) in places {
            let entry = place.index(recording.len());
            let bytes = &mut recording[entry].1;
            let at = place.index(bytes.len().max(1));
            match how {
                0 if at < bytes.len() => bytes[at] = byte,
                1 => bytes.insert(at.min(bytes.len()), byte),
                _ if at < bytes.len() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        (at, recording)
    })
}

fn rubbish() -> impl Strategy<Value = Vec<(Way, Vec<u8>)>> {
    let word = prop_oneof![
        Just(b"*3\r\n$3\r\n".to_vec()),
        Just(b"*2147483647\r\n".to_vec()),
        Just(b"$-1\r\n|1\r\n%9\r\n".to_vec()),
        Just(b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n".to_vec()),
        Just(b"+FULLRESYNC x 9223372036854775807\r\n$EOF:".to_vec()),
        Just(b"$9223372036854775807\r\n".to_vec()),
        Just(vec![0, 0, 0, 14, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]),
        Just(vec![0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
        Just(vec![0, 0, 0, 40, 0, 0, 0, 14, 0x7f, 0xff, 0xff, 0xff]),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let way = prop_oneof![Just(Way::ToServer), Just(Way::ToClient)];
    prop::collection::vec((way, word), 1..30)
}

/// An editor that looks at every message, to do nothing to any; or one that only listens.
fn watchful(protocol: Protocol, armed: bool) -> Conn {
    let faults = Faults::new(1);
    for (id, (link, way)) in Link::ALL.into_iter().flat_map(|link| WAYS.map(|way| (link, way))).enumerate() {
        let fault = MessageFault::first(common::pattern(link, way, "any"), Op::Omit);
        faults.add(id as u64, MessageFault { nth: u64::MAX, ..fault }).unwrap();
        if armed {
            faults.arm(id as u64);
        }
    }
    Conn::new(&faults, protocol)
}

/// What goes in comes out, whatever it is, and not much is held.
fn survives(protocol: Protocol, recording: &[(Way, Vec<u8>)], piece: usize, armed: bool) {
    let mut conn = watchful(protocol, armed);
    for (way, bytes) in recording {
        for chunk in bytes.chunks(piece) {
            conn.send(*way, chunk);
            assert!(conn.pipe.halves[*way as usize].pending.len() <= 2 * HOLD + chunk.len());
        }
    }
    for way in WAYS {
        let left = conn.pipe.halves[way as usize].pending.clone();
        assert_eq!([conn.take(way), left].concat(), sent(recording, way));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_traffic_passes_as_it_is((at, recording) in damaged(), piece in 1..300usize, armed: bool) {
        survives(FIXTURES[at].1, &recording, piece, armed);
    }

    #[test]
    fn rubbish_passes_as_it_is(recording in rubbish(), at in 0..4usize, piece in 1..50usize, armed: bool) {
        survives(PROTOCOLS[at], &recording, piece, armed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Where messages begin and end, and what they say, does not depend on how they arrive.
    #[test]
    fn messages_do_not_depend_on_segments(at in 0..FIXTURES.len(), cuts in prop::collection::vec(1..40usize, 1..20)) {
        let (name, protocol) = FIXTURES[at];
        let recording = fixture(name);
        let mut sizes = cuts.iter().cycle();
        let mut pieces = Vec::new();
        for (way, bytes) in &recording {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                pieces.push((*way, piece.to_vec()));
                rest = more;
            }
        }
        prop_assert_eq!(messages(&pieces, protocol), messages(&recording, protocol));
    }
}
