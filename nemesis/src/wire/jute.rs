//! ZooKeeper's records ("jute"), and the link between a client and a server.
//!
//! Every frame is a length of four bytes and so many bytes. The first frame each way opens the session;
//! then requests carry an xid and an opcode, replies the xid only, so opcodes are remembered in order.
//! A connection that opens with four letters is an administrator's, and passes unread.

use std::collections::VecDeque;
use std::ops::Range;

use super::{
    ASKED_MAX, Answer, Ask, Codec, FieldKind, HOLD, Kind, LengthForm, Link, Message, SUBJECT_MAX, Step,
    Value, Way, be, subject,
};

/// The largest frame believed; servers refuse more than 1 MB unless told otherwise.
const FRAME_MAX: usize = 64 * 1024 * 1024;

/// Kinds a server sends that answer no request by number.
pub(super) const FROM_SERVER: [&str; 3] = ["connect", "notification", "reply"];

/// A piece of a record, in the order of the wire.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Int(&'static str),
    Long(&'static str),
    Bool(&'static str),
    Enum(&'static str, &'static [(i64, &'static str)]),
    /// Length and text.
    Text(&'static str),
    /// Length and text that is what the message is about.
    Path,
    /// Length and bytes; length -1 is null.
    Buffer(&'static str),
    /// Length and bytes that only their maker understands.
    Secret(&'static str),
    /// Count, and so many texts.
    Texts(&'static str),
    /// Count, and so many of permissions, scheme, id.
    Acl,
    /// The eleven numbers about a znode.
    Stat,
}

use Part::{Acl, Bool, Buffer, Enum, Int, Long, Path, Secret, Stat, Text, Texts};

const STAT: [Part; 11] = [
    Long("czxid"),
    Long("mzxid"),
    Long("ctime"),
    Long("mtime"),
    Int("version"),
    Int("cversion"),
    Int("aversion"),
    Long("ephemeralOwner"),
    Int("dataLength"),
    Int("numChildren"),
    Long("pzxid"),
];

/// Errors a reply may carry.
pub(super) const ERRORS: &[(i64, &str)] = &[
    (0, "Ok"),
    (-2, "RuntimeInconsistency"),
    (-4, "ConnectionLoss"),
    (-5, "MarshallingError"),
    (-6, "Unimplemented"),
    (-7, "OperationTimeout"),
    (-8, "BadArguments"),
    (-101, "NoNode"),
    (-102, "NoAuth"),
    (-103, "BadVersion"),
    (-108, "NoChildrenForEphemerals"),
    (-110, "NodeExists"),
    (-111, "NotEmpty"),
    (-112, "SessionExpired"),
    (-115, "AuthFailed"),
    (-118, "SessionMoved"),
];

const CREATE_FLAGS: &[(i64, &str)] = &[
    (0, "Persistent"),
    (1, "Ephemeral"),
    (2, "PersistentSequential"),
    (3, "EphemeralSequential"),
    (4, "Container"),
    (5, "PersistentWithTtl"),
    (6, "PersistentSequentialWithTtl"),
];

const EVENTS: &[(i64, &str)] = &[
    (-1, "None"),
    (1, "NodeCreated"),
    (2, "NodeDeleted"),
    (3, "NodeDataChanged"),
    (4, "NodeChildrenChanged"),
];

const STATES: &[(i64, &str)] = &[
    (0, "Disconnected"),
    (3, "SyncConnected"),
    (4, "AuthFailed"),
    (5, "ConnectedReadOnly"),
    (6, "SaslAuthenticated"),
    (-112, "Expired"),
];

/// An operation: number, name, whether it writes, what a request and what a successful reply holds.
struct Op(i32, &'static str, bool, &'static [Part], &'static [Part]);

const OPS: &[Op] = &[
    Op(1, "create", true, &[Path, Buffer("data"), Acl, Enum("flags", CREATE_FLAGS)], &[Text("path")]),
    Op(2, "delete", true, &[Path, Int("version")], &[]),
    Op(3, "exists", false, &[Path, Bool("watch")], &[Stat]),
    Op(4, "getData", false, &[Path, Bool("watch")], &[Buffer("data"), Stat]),
    Op(5, "setData", true, &[Path, Buffer("data"), Int("version")], &[Stat]),
    Op(6, "getACL", false, &[Path], &[Acl, Stat]),
    Op(7, "setACL", true, &[Path, Acl, Int("version")], &[Stat]),
    Op(8, "getChildren", false, &[Path, Bool("watch")], &[Texts("child")]),
    Op(9, "sync", false, &[Path], &[Text("path")]),
    Op(11, "ping", false, &[], &[]),
    Op(12, "getChildren2", false, &[Path, Bool("watch")], &[Texts("child"), Stat]),
    Op(13, "check", false, &[Path, Int("version")], &[]),
    Op(14, "multi", true, &[], &[]),
    Op(15, "create2", true, &[Path, Buffer("data"), Acl, Enum("flags", CREATE_FLAGS)], &[Text("path"), Stat]),
    Op(16, "reconfig", true, &[Text("joining"), Text("leaving"), Text("members"), Long("config")], &[]),
    Op(17, "checkWatches", false, &[Path, Int("watcher")], &[]),
    Op(18, "removeWatches", false, &[Path, Int("watcher")], &[]),
    Op(
        19,
        "createContainer",
        true,
        &[Path, Buffer("data"), Acl, Enum("flags", CREATE_FLAGS)],
        &[Text("path"), Stat],
    ),
    Op(20, "deleteContainer", true, &[Path], &[]),
    Op(
        21,
        "createTTL",
        true,
        &[Path, Buffer("data"), Acl, Enum("flags", CREATE_FLAGS), Long("ttl")],
        &[Text("path"), Stat],
    ),
    Op(22, "multiRead", false, &[], &[]),
    Op(100, "auth", false, &[Int("type"), Text("scheme"), Secret("auth")], &[]),
    Op(101, "setWatches", false, &[Long("relativeZxid"), Texts("dataWatch")], &[]),
    Op(102, "sasl", false, &[Secret("token")], &[Secret("token")]),
    Op(103, "getEphemerals", false, &[Path], &[Texts("child")]),
    Op(104, "getAllChildrenNumber", false, &[Path], &[Int("totalNumber")]),
    Op(105, "setWatches2", false, &[Long("relativeZxid"), Texts("dataWatch")], &[]),
    Op(106, "addWatch", false, &[Path, Int("mode")], &[]),
    Op(107, "whoAmI", false, &[], &[]),
    Op(-10, "createSession", true, &[Int("timeOut")], &[]),
    Op(-11, "closeSession", true, &[], &[]),
];

const CONNECT_REQUEST: &[Part] = &[
    Int("protocolVersion"),
    Long("lastZxidSeen"),
    Int("timeOut"),
    Long("sessionId"),
    Secret("passwd"),
    Bool("readOnly"),
];

const CONNECT_RESPONSE: &[Part] =
    &[Int("protocolVersion"), Int("timeOut"), Long("sessionId"), Secret("passwd"), Bool("readOnly")];

const REPLY_HEADER: &[Part] = &[Int("xid"), Long("zxid"), Enum("err", ERRORS)];

const EVENT: &[Part] = &[Enum("type", EVENTS), Enum("state", STATES), Path];

/// Names of the requests.
pub(super) fn requests() -> impl Iterator<Item = &'static str> {
    std::iter::once("connect").chain(OPS.iter().map(|op| op.1)).chain(["request"])
}

/// The parts a request of this opcode has, its name, and whether it writes.
fn op(opcode: i32) -> Option<&'static Op> {
    OPS.iter().find(|op| op.0 == opcode)
}

/// Kind of the operation of this number.
pub(super) fn kind_of(opcode: i32) -> Option<Kind> {
    op(opcode).map(|op| Kind { name: op.1, reply: false, write: op.2 })
}

/// Reads a record part by part into a message. Parts that are not all there, or make no sense, end the
/// reading; what was read stays.
pub(super) struct Reader<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
    /// Where the enclosing frame or buffer ends; may be beyond the bytes at hand.
    pub end: usize,
    pub message: &'a mut Message,
}

impl Reader<'_> {
    /// So many bytes from here, if they are within the frame and at hand.
    fn take(&mut self, len: usize) -> Option<Range<usize>> {
        let span = self.at..self.at.checked_add(len)?;
        if span.end > self.end || span.end > self.bytes.len() {
            return None;
        }
        self.at = span.end;
        Some(span)
    }

    fn number(&mut self, width: usize) -> Option<i64> {
        self.take(width).map(|span| be(&self.bytes[span]))
    }

    fn fixed(&mut self, name: &'static str, kind: FieldKind, width: usize) -> Option<i64> {
        let span = self.take(width)?;
        let value = be(&self.bytes[span.clone()]);
        self.message.push(name, kind, span);
        Some(value)
    }

    fn sized(&mut self, name: &'static str, kind: FieldKind) -> Option<Range<usize>> {
        let at = self.take(4)?;
        let len = be(&self.bytes[at.clone()]);
        let span = match usize::try_from(len) {
            Ok(len) => self.take(len)?,
            Err(_) if len == -1 => self.at..self.at,
            Err(_) => return None,
        };
        self.message.length(at, LengthForm::Be32, span.clone());
        self.message.push(name, kind, span.clone());
        Some(span)
    }

    fn count(&mut self) -> Option<i64> {
        self.number(4).filter(|n| *n <= HOLD as i64)
    }

    /// Reads one part; `None` ends the reading.
    fn part(&mut self, part: Part) -> Option<()> {
        match part {
            Int(name) => self.fixed(name, FieldKind::Int(4), 4).map(drop),
            Long(name) => self.fixed(name, FieldKind::Int(8), 8).map(drop),
            Bool(name) => self.fixed(name, FieldKind::Int(1), 1).map(drop),
            Enum(name, words) => self.fixed(name, FieldKind::Enum(4, words), 4).map(drop),
            Text(name) => self.sized(name, FieldKind::Str).map(drop),
            Buffer(name) => self.sized(name, FieldKind::Bytes).map(drop),
            Secret(name) => self.sized(name, FieldKind::Id).map(drop),
            Path => {
                let span = self.sized("path", FieldKind::Str)?;
                if self.message.subject.is_none() {
                    self.message.subject = Some(subject(&self.bytes[span]));
                }
                Some(())
            }
            Texts(name) => {
                for _ in 0..self.count()? {
                    self.sized(name, FieldKind::Str)?;
                }
                Some(())
            }
            Acl => {
                for _ in 0..self.count()? {
                    self.fixed("perms", FieldKind::Int(4), 4)?;
                    self.sized("scheme", FieldKind::Str)?;
                    self.sized("id", FieldKind::Str)?;
                }
                Some(())
            }
            Stat => STAT.iter().try_for_each(|part| self.part(*part)),
        }
    }

    /// Reads these parts; true if all were there.
    pub fn parts(&mut self, parts: &[Part]) -> bool {
        parts.iter().try_for_each(|part| self.part(*part)).is_some()
    }

    /// Reads the body of a request of this opcode.
    pub fn request(&mut self, opcode: i32) -> bool {
        match opcode {
            14 | 22 => self.multi(|reader, opcode| reader.request(opcode)),
            _ => op(opcode).is_some_and(|op| self.parts(op.3)),
        }
    }

    /// Reads the body of a successful reply to a request of this opcode.
    fn reply(&mut self, opcode: i32) -> bool {
        match opcode {
            14 | 22 => self.multi(|reader, opcode| match opcode {
                -1 => reader.parts(&[Enum("err", ERRORS)]),
                14 | 22 => false,
                _ => reader.reply(opcode),
            }),
            _ => op(opcode).is_some_and(|op| self.parts(op.4)),
        }
    }

    /// Operations in a row, each with a header of type, "done" and error, until one is done.
    fn multi(&mut self, one: impl Fn(&mut Self, i32) -> bool) -> bool {
        loop {
            let Some(opcode) = self.number(4) else { return false };
            let Some(done) = self.number(1) else { return false };
            if self.number(4).is_none() {
                return false;
            }
            if done != 0 {
                return true;
            }
            let opcode = opcode as i32;
            if matches!(opcode, 14 | 22) || !one(self, opcode) {
                return false;
            }
        }
    }
}

/// One client's connection to a ZooKeeper server.
#[derive(Default)]
pub(super) struct ZkClient {
    /// Ways whose first frame has been seen.
    opened: [bool; 2],
    /// Bytes of a long frame still to come.
    rest: [usize; 2],
    asked: VecDeque<Ask>,
    answered: u64,
    last_zxid: i64,
}

/// Where a frame ends: `Err` is the step to answer with.
pub(super) fn frame(bytes: &[u8], max: usize) -> Result<usize, Step> {
    let Some(head) = bytes.get(..4) else { return Err(Step::Need(4)) };
    let total = match usize::try_from(be(head)) {
        Ok(len) if len <= max => len + 4,
        _ => return Err(Step::Lost("a frame's length makes no sense")),
    };
    let wanted = total.min(HOLD);
    if bytes.len() < wanted { Err(Step::Need(wanted)) } else { Ok(total) }
}

impl ZkClient {
    fn request(&self, bytes: &[u8], total: usize) -> Message {
        let len = total.min(HOLD);
        let mut message = Message::new(Link::ZkClient, Kind::of("request"), len);
        message.length(0..4, LengthForm::Be32, 4..total);
        let mut reader = Reader { bytes: &bytes[..len], at: 4, end: total, message: &mut message };
        let (Some(xid), Some(opcode)) =
            (reader.fixed("xid", FieldKind::Int(4), 4), reader.fixed("type", FieldKind::Int(4), 4))
        else {
            return message;
        };
        let (xid, opcode) = (xid as i32, opcode as i32);
        reader.request(opcode);
        message.kind = kind_of(opcode).unwrap_or(message.kind);
        message.order = Some(i64::from(xid));
        message.ask =
            Some(Ask { kind: message.kind, subject: message.subject.clone(), xid, opcode, ghost: false });
        message
    }

    fn connect(&self, way: Way, bytes: &[u8], total: usize) -> Message {
        let len = total.min(HOLD);
        let kind = Kind::of("connect");
        let mut message =
            Message::new(Link::ZkClient, if way == Way::ToClient { kind.answered() } else { kind }, len);
        message.length(0..4, LengthForm::Be32, 4..total);
        let parts = if way == Way::ToClient { CONNECT_RESPONSE } else { CONNECT_REQUEST };
        Reader { bytes: &bytes[..len], at: 4, end: total, message: &mut message }.parts(parts);
        message
    }

    /// What was asked under this number. Answers come in the order of requests, so what is before it will
    /// not be answered any more; a number nobody used is told apart by leaving the list alone.
    fn take(&mut self, xid: i32) -> Option<Ask> {
        let at = self.asked.iter().position(|ask| ask.xid == xid)?;
        // Pings and authentication overtake: only the one is taken out.
        if at > 0 && xid < 0 {
            self.answered += 1;
            return self.asked.remove(at);
        }
        self.answered += at as u64 + 1;
        self.asked.drain(..at);
        self.asked.pop_front()
    }

    fn reply(&mut self, bytes: &[u8], total: usize) -> Message {
        let len = total.min(HOLD);
        let mut message = Message::new(Link::ZkClient, Kind::of("reply"), len);
        message.length(0..4, LengthForm::Be32, 4..total);
        let mut reader = Reader { bytes: &bytes[..len], at: 4, end: total, message: &mut message };
        if !reader.parts(REPLY_HEADER) {
            return message;
        }
        let (xid, zxid, err) = (be(&bytes[4..8]) as i32, be(&bytes[8..16]), be(&bytes[16..20]));
        if xid == -1 {
            reader.parts(EVENT);
            message.kind = Kind::of("notification");
            return message;
        }
        self.last_zxid = self.last_zxid.max(zxid);
        let Some(ask) = self.take(xid) else { return message };
        if err == 0 || matches!(ask.opcode, 14 | 22) {
            let mut reader = Reader { bytes: &bytes[..len], at: 20, end: total, message: &mut message };
            reader.reply(ask.opcode);
        }
        message.kind = ask.kind.answered();
        message.subject = ask.subject.clone();
        message.ghost = ask.ghost;
        message.answers = Some(ask);
        message.order = Some(i64::from(xid));
        message
    }
}

impl Codec for ZkClient {
    fn parse(&mut self, way: Way, bytes: &[u8]) -> Step {
        let side = way.index();
        if self.rest[side] > 0 {
            let len = self.rest[side].min(bytes.len());
            self.rest[side] -= len;
            return if len == 0 { Step::Need(1) } else { Step::Body { len, last: self.rest[side] == 0 } };
        }
        if way == Way::ToServer
            && !self.opened[side]
            && bytes.len() >= 4
            && bytes[..4].iter().all(u8::is_ascii_lowercase)
        {
            return Step::Lost("a four letter word");
        }
        if way == Way::ToServer && !self.opened[side] && bytes.first() == Some(&0x16) {
            return Step::Lost("encrypted");
        }
        let total = match frame(bytes, FRAME_MAX) {
            Ok(total) => total,
            Err(step) => return step,
        };
        let mut message = match (self.opened[side], way) {
            (false, _) => self.connect(way, bytes, total),
            (true, Way::ToServer) => self.request(bytes, total),
            (true, Way::ToClient) => self.reply(bytes, total),
        };
        self.opened[side] = true;
        message.whole = message.len == total;
        self.rest[side] = total - message.len;
        Step::Message(Box::new(message))
    }

    fn asked(&mut self, ask: Ask) {
        if self.asked.len() == ASKED_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back(ask);
    }

    fn turn(&self) -> (u64, u64) {
        (self.answered, self.asked.len() as u64)
    }

    fn ask_of(&self, bytes: &[u8]) -> Option<Ask> {
        let total = frame(bytes, FRAME_MAX).ok()?;
        self.request(bytes, total).ask.filter(|_| bytes.len() == total.min(HOLD))
    }

    fn forge(&self, message: &Message, bytes: &[u8], answer: &Answer) -> Option<Vec<u8>> {
        let ask = message.ask.as_ref().or(message.answers.as_ref())?;
        let (err, body) = match answer {
            Answer::Literal(bytes) => return Some(bytes.clone()),
            Answer::Error(Value::Int(err)) => (*err as i32, Vec::new()),
            Answer::Error(Value::Bytes(word)) => {
                let known = ERRORS.iter().find(|(_, name)| name.as_bytes() == word.as_slice())?;
                (known.0 as i32, Vec::new())
            }
            Answer::Success => (0, success(ask, message, bytes)?),
        };
        let mut out = Vec::with_capacity(24 + body.len());
        out.extend_from_slice(&(16 + body.len() as i32).to_be_bytes());
        out.extend_from_slice(&ask.xid.to_be_bytes());
        out.extend_from_slice(&self.last_zxid.to_be_bytes());
        out.extend_from_slice(&err.to_be_bytes());
        out.extend_from_slice(&body);
        Some(out)
    }
}

/// The body of an answer that says this request succeeded: the path where one is due, and a znode's numbers
/// that are all zero but for the length of the data. `None` where the path is not known in full.
fn success(ask: &Ask, message: &Message, bytes: &[u8]) -> Option<Vec<u8>> {
    let field = |name: &str| message.field(name).map(|field| &bytes[field.span]);
    let mut body = Vec::new();
    for part in op(ask.opcode).map_or(&[][..], |op| op.4) {
        match part {
            Text(_) => {
                let known = ask.subject.as_deref().filter(|path| path.len() < SUBJECT_MAX);
                let path = field("path").or(known)?;
                body.extend_from_slice(&(path.len() as i32).to_be_bytes());
                body.extend_from_slice(path);
            }
            Buffer(_) | Secret(_) | Texts(_) | Acl | Int(_) => body.extend_from_slice(&[0; 4]),
            Stat => {
                let data = field("data").unwrap_or_default();
                body.extend_from_slice(&[0; 52]);
                body.extend_from_slice(&(data.len() as i32).to_be_bytes());
                body.extend_from_slice(&[0; 12]);
            }
            _ => {}
        }
    }
    Some(body)
}
