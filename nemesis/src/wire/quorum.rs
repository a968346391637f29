//! The link between a ZooKeeper leader and its followers (ZAB; `QuorumPacket` in `zookeeper.jute`, types in `Leader`):
//! packets without a length of their own, one after another, and in between, after `SNAP`, a whole snapshot.
//!
//! Kinds: the types by their names. Fields: `type`, `zxid`, `data`; of `PROPOSAL` `txn` (the transaction's header is
//! its first 32 bytes), of `ACKEPOCH` `currentEpoch`, of `PING` `sessions`.

use lab::flow::Way;

use super::jute::Record;
use super::{Codec, Field, Form, Head, Message, WHOLE_MAX, number};

/// The string that ends a snapshot, behind its length.
const SNAPSHOT_END: &[u8] = b"\x00\x00\x00\x0aBenWasHere";
/// Larger than any transaction.
const DATA_MAX: i64 = 8 << 20;
/// Ids of an authentication; ZooKeeper sends none.
const IDS_MAX: i64 = 64;

/// Reads a connection to a ZooKeeper leader's quorum port.
#[derive(Debug, Default)]
pub struct Quorum {
    snapshot: bool,
    rest: [usize; 2],
}

impl Codec for Quorum {
    fn read(&mut self, way: Way, bytes: &[u8]) -> Head {
        let rest = &mut self.rest[way as usize];
        if *rest > 0 {
            let len = bytes.len().min(*rest);
            *rest -= len;
            return Head::Opaque(len);
        }
        if way == Way::ToClient && self.snapshot {
            return self.snapshot(bytes);
        }
        self.packet(way, bytes)
    }
}

impl Quorum {
    fn packet(&mut self, way: Way, bytes: &[u8]) -> Head {
        let mut record = Record::new(bytes, 0);
        let Some(kind) = record.int("type", 4).map(kind) else { return Head::Part };
        let Some(kind) = kind else { return Head::Foreign("a packet of an unknown type") };
        record.int("zxid", 8);
        let length = bytes.get(12..16).and_then(|length| number(length, Form::Int));
        let Some(length) = length else { return Head::Part };
        if !(-1..=DATA_MAX).contains(&length) {
            return Head::Foreign("a packet of a strange length");
        }
        if length >= 0 && record.buffer("data").is_none() {
            // A transaction too large to wait for; null ids of four bytes follow it.
            if bytes.len() >= WHOLE_MAX {
                self.rest[way as usize] = 16 + length as usize + 4 - bytes.len();
                return Head::Opaque(bytes.len());
            }
            return Head::Part;
        }
        if length < 0 {
            record.skip(4);
        }
        // The ids are a count, then scheme and id of each; a missing list counts -1.
        let at = record.at();
        let Some(ids) = bytes.get(at..at + 4).and_then(|count| number(count, Form::Int)) else {
            return Head::Part;
        };
        if !(-1..=IDS_MAX).contains(&ids) {
            return Head::Foreign("a packet with a strange number of ids");
        }
        record.skip(4);
        for _ in 0..ids.max(0) {
            record.buffer("scheme");
            record.buffer("id");
        }
        if record.is_short() {
            return if bytes.len() > WHOLE_MAX { Head::Foreign("ids too large") } else { Head::Part };
        }
        self.snapshot |= kind == "SNAP" && way == Way::ToClient;
        Head::Message(with_own_names(record.ends(kind)))
    }

    fn snapshot(&mut self, bytes: &[u8]) -> Head {
        match bytes.windows(SNAPSHOT_END.len()).position(|window| window == SNAPSHOT_END) {
            Some(at) => {
                self.snapshot = false;
                Head::Opaque(at + SNAPSHOT_END.len())
            }
            None if bytes.len() < SNAPSHOT_END.len() => Head::Part,
            None => Head::Opaque(bytes.len() - (SNAPSHOT_END.len() - 1)),
        }
    }
}

/// The name of a packet's type.
fn kind(number: i64) -> Option<&'static str> {
    Some(match number {
        1 => "REQUEST",
        2 => "PROPOSAL",
        3 => "ACK",
        4 => "COMMIT",
        5 => "PING",
        6 => "REVALIDATE",
        7 => "SYNC",
        8 => "INFORM",
        9 => "COMMITANDACTIVATE",
        10 => "NEWLEADER",
        11 => "FOLLOWERINFO",
        12 => "UPTODATE",
        13 => "DIFF",
        14 => "TRUNC",
        15 => "SNAP",
        16 => "OBSERVERINFO",
        17 => "LEADERINFO",
        18 => "ACKEPOCH",
        19 => "INFORMANDACTIVATE",
        _ => return None,
    })
}

/// What the data of a packet is called, where it has a name.
fn with_own_names(mut message: Message) -> Message {
    let (name, form) = match message.kind.as_ref() {
        "PROPOSAL" | "INFORM" => ("txn", Form::Bytes),
        "ACKEPOCH" => ("currentEpoch", Form::Int),
        "LEADERINFO" => ("protocolVersion", Form::Int),
        "PING" => ("sessions", Form::Bytes),
        _ => return message,
    };
    if let Some(data) = message.field("data").cloned() {
        message.fields.push(Field { name: name.into(), form, ..data });
    }
    message
}
