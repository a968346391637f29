//! ZAB between a learner and the leader: packets of type, zxid, data and identities, with no length around
//! them. A snapshot follows its packet undelimited, up to a signature.

use super::jute::{ERRORS, Part, Reader, kind_of};
use super::replication::{Chunk, Chunks};
use super::{Answer, Codec, FieldKind, HOLD, Kind, LengthForm, Link, Message, Step, Way, be};

/// What ends a snapshot: a text, with its length.
const SIGNATURE: &[u8] = b"\x00\x00\x00\x0aBenWasHere";

/// The largest data of a packet believed.
const DATA_MAX: usize = 64 * 1024 * 1024;
/// The most identities of a request believed.
const IDS_MAX: i64 = 64;

/// Packet types.
const TYPES: &[(i64, &str)] = &[
    (1, "REQUEST"),
    (2, "PROPOSAL"),
    (3, "ACK"),
    (4, "COMMIT"),
    (5, "PING"),
    (6, "REVALIDATE"),
    (7, "SYNC"),
    (8, "INFORM"),
    (9, "COMMITANDACTIVATE"),
    (10, "NEWLEADER"),
    (11, "FOLLOWERINFO"),
    (12, "UPTODATE"),
    (13, "DIFF"),
    (14, "TRUNC"),
    (15, "SNAP"),
    (16, "OBSERVERINFO"),
    (17, "LEADERINFO"),
    (18, "ACKEPOCH"),
    (19, "INFORMANDACTIVATE"),
];

const SNAPSHOT: &str = "snapshot";
const SNAPSHOT_END: &str = "snapshot-end";

/// Names of the packets, and of a snapshot's pieces.
pub(super) fn kinds() -> impl Iterator<Item = &'static str> {
    TYPES.iter().map(|(_, name)| *name).chain([SNAPSHOT, SNAPSHOT_END])
}

const TXN_HEADER: &[Part] = &[
    Part::Long("clientId"),
    Part::Int("cxid"),
    Part::Long("txnZxid"),
    Part::Long("time"),
    Part::Int("txnType"),
];

/// What a transaction of this type holds.
fn txn(kind: i32) -> &'static [Part] {
    use Part::{Acl, Bool, Buffer, Enum, Int, Long, Path, Texts};
    match kind {
        1 | 15 => &[Path, Buffer("data"), Acl, Bool("ephemeral"), Int("parentCVersion")],
        19 => &[Path, Buffer("data"), Acl, Int("parentCVersion")],
        21 => &[Path, Buffer("data"), Acl, Int("parentCVersion"), Long("ttl")],
        2 | 20 => &[Path],
        5 => &[Path, Buffer("data"), Int("version")],
        7 => &[Path, Acl, Int("version")],
        13 => &[Path, Int("version")],
        -1 => &[Enum("err", ERRORS)],
        -10 => &[Int("timeOut")],
        -11 => &[Texts("path")],
        _ => &[],
    }
}

/// One learner's connection to the leader.
#[derive(Default)]
pub(super) struct Quorum {
    rest: [Rest; 2],
}

/// What of the last message is still to come.
#[derive(Default)]
enum Rest {
    #[default]
    Nothing,
    /// Data of so many bytes, then identities.
    Data(usize),
    /// Identities.
    Ids,
    /// A snapshot.
    Snapshot(Chunks),
}

/// Where the identities end that begin at `at`; `Err` is the step to answer with.
fn ids_end(bytes: &[u8], at: usize) -> Result<usize, Step> {
    let Some(count) = bytes.get(at..at + 4) else { return Err(Step::Need(at + 4)) };
    let count = be(count);
    if count > IDS_MAX {
        return Err(Step::Lost("too many identities in a packet"));
    }
    let mut end = at + 4;
    for _ in 0..2 * count.max(0) {
        let Some(len) = bytes.get(end..end + 4) else { return Err(Step::Need(end + 4)) };
        end += 4 + match usize::try_from(be(len)) {
            Ok(len) if len <= DATA_MAX => len,
            Err(_) if be(len) == -1 => 0,
            _ => return Err(Step::Lost("an identity's length makes no sense")),
        };
        if end > HOLD {
            return Err(Step::Lost("the identities of a packet are too long"));
        }
    }
    if bytes.len() < end { Err(Step::Need(end)) } else { Ok(end) }
}

impl Quorum {
    fn packet(&mut self, way: Way, bytes: &[u8]) -> Step {
        if bytes.first() == Some(&0x16) {
            return Step::Lost("encrypted");
        }
        let Some(head) = bytes.get(..16) else { return Step::Need(16) };
        let kind = be(&head[..4]);
        let Some((_, name)) = TYPES.iter().find(|(number, _)| *number == kind) else {
            return Step::Lost("not a packet of the quorum");
        };
        let data = match usize::try_from(be(&head[12..16])) {
            Ok(len) if len <= DATA_MAX => 16..16 + len,
            Err(_) if be(&head[12..16]) == -1 => 16..16,
            _ => return Step::Lost("the length of a packet's data makes no sense"),
        };
        let (len, whole) = if data.end + 4 > HOLD {
            if bytes.len() < HOLD {
                return Step::Need(HOLD);
            }
            (HOLD.min(data.end), false)
        } else {
            match ids_end(bytes, data.end) {
                Ok(end) => (end, true),
                Err(step) => return step,
            }
        };
        let mut message = Message::new(Link::Quorum, Kind::of(name), len);
        message.whole = whole;
        message.order = Some(be(&head[4..12])).filter(|zxid| *zxid >= 0);
        message.push("type", FieldKind::Enum(4, TYPES), 0..4);
        message.push("zxid", FieldKind::Int(8), 4..12);
        message.length(12..16, LengthForm::Be32, data.clone());
        let mut reader = Reader { bytes: &bytes[..len], at: 16, end: data.end, message: &mut message };
        contents(kind, way, &mut reader);
        if data.end <= len {
            message.push("body", FieldKind::Bytes, data.clone());
        }
        if whole {
            let mut reader = Reader { bytes: &bytes[..len], at: data.end, end: len, message: &mut message };
            reader.parts(&[Part::Texts("authinfo")]);
        }
        self.rest[way.index()] = match (whole, *name) {
            (false, _) if data.end > len => Rest::Data(data.end - len),
            (false, _) => Rest::Ids,
            (true, "SNAP") => Rest::Snapshot(Chunks::until(SIGNATURE, 0)),
            (true, _) => Rest::Nothing,
        };
        Step::Message(Box::new(message))
    }

    fn rest(&mut self, way: Way, bytes: &[u8]) -> Option<Step> {
        let rest = &mut self.rest[way.index()];
        if bytes.is_empty() {
            return Some(Step::Need(1));
        }
        match rest {
            Rest::Nothing => None,
            Rest::Data(left) => {
                let len = (*left).min(bytes.len());
                *rest = if len == *left { Rest::Ids } else { Rest::Data(*left - len) };
                Some(Step::Body { len, last: false })
            }
            Rest::Ids => match ids_end(bytes, 0) {
                Ok(len) => {
                    *rest = Rest::Nothing;
                    Some(Step::Body { len, last: true })
                }
                Err(step) => Some(step),
            },
            Rest::Snapshot(chunks) => Some(match chunks.next(bytes) {
                Chunk::Need(len) => Step::Need(len),
                Chunk::Piece(len) => {
                    let mut message = Message::new(Link::Quorum, Kind::of(SNAPSHOT), len);
                    message.push("body", FieldKind::Bytes, 0..len);
                    Step::Message(Box::new(message))
                }
                Chunk::End(len) => {
                    *rest = Rest::Nothing;
                    Step::Message(Box::new(Message::new(Link::Quorum, Kind::of(SNAPSHOT_END), len)))
                }
            }),
        }
    }
}

/// Reads what is in a packet's data.
fn contents(kind: i64, way: Way, reader: &mut Reader<'_>) {
    use Part::{Bool, Int, Long};
    match kind {
        1 => request(reader),
        2 | 8 => transaction(reader),
        5 => while reader.at + 12 <= reader.end && reader.parts(&[Long("sessionId"), Int("timeOut")]) {},
        6 if way == Way::ToServer => drop(reader.parts(&[Long("sessionId"), Int("timeOut")])),
        6 => drop(reader.parts(&[Long("sessionId"), Bool("valid")])),
        11 | 16 => {
            reader.parts(&[Long("serverid"), Int("protocolVersion"), Long("configVersion")]);
        }
        17 => drop(reader.parts(&[Int("protocolVersion")])),
        18 => drop(reader.parts(&[Int("currentEpoch")])),
        _ => {}
    }
}

/// Reads a client's request that a follower passes on.
fn request(reader: &mut Reader<'_>) {
    if reader.parts(&[Part::Long("sessionId"), Part::Int("cxid"), Part::Int("requestType")]) {
        let opcode = be(&reader.bytes[reader.at - 4..reader.at]) as i32;
        reader.message.kind.write = kind_of(opcode).is_some_and(|kind| kind.write);
        reader.request(opcode);
    }
}

/// Reads a transaction and the digest of the tree after it.
fn transaction(reader: &mut Reader<'_>) {
    if !reader.parts(TXN_HEADER) {
        return;
    }
    let kind = be(&reader.bytes[reader.at - 4..reader.at]) as i32;
    reader.message.kind.write = kind != -10 && kind != -11 && kind != -1;
    if kind == 14 {
        let Some(count) = reader.bytes.get(reader.at..reader.at + 4).map(be) else { return };
        reader.at += 4;
        for _ in 0..count.clamp(0, HOLD as i64) {
            let Some(head) = reader.bytes.get(reader.at..reader.at + 8) else { return };
            let (kind, Ok(len)) = (be(&head[..4]) as i32, usize::try_from(be(&head[4..8]))) else { return };
            let (at, outer) = (reader.at + 8, reader.end);
            if len > outer.saturating_sub(at) {
                return;
            }
            reader.message.length(at - 4..at, LengthForm::Be32, at..at + len);
            (reader.at, reader.end) = (at, at + len);
            reader.parts(txn(kind));
            (reader.at, reader.end) = (at + len, outer);
        }
    } else if !reader.parts(txn(kind)) {
        return;
    }
    if reader.end - reader.at.min(reader.end) == 12 {
        reader.parts(&[Part::Int("digestVersion"), Part::Long("treeDigest")]);
    }
}

impl Codec for Quorum {
    fn parse(&mut self, way: Way, bytes: &[u8]) -> Step {
        self.rest(way, bytes).unwrap_or_else(|| self.packet(way, bytes))
    }

    /// A proposal is answered with an acknowledgement of its zxid.
    fn forge(&self, message: &Message, _bytes: &[u8], answer: &Answer) -> Option<Vec<u8>> {
        match answer {
            Answer::Literal(bytes) => Some(bytes.clone()),
            Answer::Success => {
                let zxid = message.order.filter(|_| message.kind.name == "PROPOSAL")?;
                let mut out = 3i32.to_be_bytes().to_vec();
                out.extend_from_slice(&zxid.to_be_bytes());
                out.extend_from_slice(&[0xff; 8]);
                Some(out)
            }
            Answer::Error(_) => None,
        }
    }
}
