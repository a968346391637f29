//! Messages on the wire: codecs that follow a TCP connection and say what its bytes mean.
//!
//! A [`Codec`] is fed the bytes at the head of each direction, in any segmentation, and answers with a
//! [`Step`]: a [`Message`] with the places of its fields, more of the last message's body, or that it needs
//! more. It holds nothing itself, so memory is what the caller keeps pending, and that is at most [`HOLD`]
//! and a little. A message longer than that is a head, of which the fields are known, and a body that
//! streams through. What a codec cannot follow it gives up with a note; the connection goes on unread.
//!
//! Numbers of ZooKeeper's records are big-endian and of fixed width, those of Redis are decimal text.
//! [`Message::edit`] puts new bytes in the place of fields and mends the lengths around them.

mod election;
mod jute;
mod replication;
mod resp;
mod zab;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Bytes of an incomplete message that may stay pending, undelivered. A sender without acknowledgement
/// stalls after ten segments, about 14 kB at Ethernet's size, so a codec never waits for more than this.
pub const HOLD: usize = 8 * 1024;

/// Fields recorded of one message; the rest of it is opaque.
const FIELDS_MAX: usize = 96;

/// Requests whose answers are awaited, per connection; beyond that, answers have no known request.
const ASKED_MAX: usize = 4096;

/// Bytes of a key or path that are remembered to tell subjects apart.
const SUBJECT_MAX: usize = 256;

/// Which way a message goes in a connection. The server is the side that was dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// From the side that dialled: a client, a replica, a learner.
    ToServer,
    /// From the side that was dialled: a Redis master, a ZooKeeper server, the leader.
    ToClient,
}

impl Way {
    /// The other way.
    pub fn back(self) -> Way {
        match self {
            Way::ToServer => Way::ToClient,
            Way::ToClient => Way::ToServer,
        }
    }

    /// Position in an array of two.
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::ToServer => "to-server",
            Way::ToClient => "to-client",
        })
    }
}

/// What kind of conversation a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// Client (or agent) and Redis: RESP.
    RedisClient,
    /// Replica (dials) and its master: the handshake, the snapshot, the command stream, the acknowledgements.
    Replication,
    /// Client (or agent) and ZooKeeper server.
    ZkClient,
    /// Two ZooKeeper servers electing a leader.
    Election,
    /// Learner (dials) and ZooKeeper's leader: ZAB.
    Quorum,
}

impl Link {
    /// Every kind.
    pub const ALL: [Link; 5] =
        [Link::RedisClient, Link::Replication, Link::ZkClient, Link::Election, Link::Quorum];

    /// Its name in schedules and logs.
    pub fn name(self) -> &'static str {
        match self {
            Link::RedisClient => "redis-client",
            Link::Replication => "replication",
            Link::ZkClient => "zk-client",
            Link::Election => "election",
            Link::Quorum => "quorum",
        }
    }

    /// What is spoken at the port such links are dialled at.
    pub fn protocol(self) -> Protocol {
        match self {
            Link::RedisClient | Link::Replication => Protocol::Redis,
            Link::ZkClient => Protocol::ZkClient,
            Link::Election => Protocol::Election,
            Link::Quorum => Protocol::Quorum,
        }
    }

    /// Kinds of message that go this way on such a link, replies excepted.
    pub fn kinds(self, way: Way) -> Vec<&'static str> {
        match (self, way) {
            (Link::RedisClient, Way::ToServer) => resp::commands().collect(),
            (Link::RedisClient, Way::ToClient) => vec!["push"],
            (Link::Replication, Way::ToServer) => replication::FROM_REPLICA.to_vec(),
            (Link::Replication, Way::ToClient) => {
                replication::FROM_MASTER.iter().copied().chain(resp::commands()).collect()
            }
            (Link::ZkClient, Way::ToServer) => jute::requests().collect(),
            (Link::ZkClient, Way::ToClient) => jute::FROM_SERVER.to_vec(),
            (Link::Election, Way::ToServer) => election::KINDS.to_vec(),
            (Link::Election, Way::ToClient) => election::KINDS[1..].to_vec(),
            (Link::Quorum, _) => zab::kinds().collect(),
        }
    }

    /// True if messages of this way are answers to those of the other, named `get.reply`.
    pub fn has_replies(self, way: Way) -> bool {
        way == Way::ToClient && matches!(self, Link::RedisClient | Link::Replication | Link::ZkClient)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is spoken at a port. Clients and replicas dial the same port of a Redis: what it is shows later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RESP, and the replication that begins as RESP.
    Redis,
    /// ZooKeeper's client port.
    ZkClient,
    /// ZooKeeper's election port.
    Election,
    /// ZooKeeper's quorum port.
    Quorum,
}

impl Protocol {
    /// A codec for a new connection, from its first byte.
    pub fn codec(self) -> Box<dyn Codec> {
        match self {
            Protocol::Redis => Box::new(replication::Redis::default()),
            Protocol::ZkClient => Box::new(jute::ZkClient::default()),
            Protocol::Election => Box::new(election::Election::default()),
            Protocol::Quorum => Box::new(zab::Quorum::default()),
        }
    }
}

/// The kind of a message: a word of its protocol, and whether it is the answer to a message of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// The command, opcode or packet type.
    pub name: &'static str,
    /// True for the answer to it.
    pub reply: bool,
    /// True for a command that writes.
    pub write: bool,
}

impl Kind {
    /// A message that answers nothing.
    pub const fn of(name: &'static str) -> Kind {
        Kind { name, reply: false, write: false }
    }

    /// The answer to it.
    pub const fn answered(self) -> Kind {
        Kind { reply: true, ..self }
    }

    /// Does a pattern mean this kind? A kind by name, `any`, `write` (a command that writes), and each of
    /// them with `.reply`.
    pub fn matches(&self, pattern: &str) -> bool {
        let (word, reply) = match pattern.strip_suffix(".reply") {
            Some(word) => (word, true),
            None => (pattern, false),
        };
        match word {
            "any" if !reply => true,
            "any" => self.reply,
            "write" => self.write && self.reply == reply,
            _ => self.reply == reply && self.name == word,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.reply { ".reply" } else { "" })
    }
}

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A big-endian signed number of so many bytes (1, 4 or 8).
    Int(u8),
    /// A decimal number in text.
    AsciiInt,
    /// A number that stands for a word: width and the known values.
    Enum(u8, &'static [(i64, &'static str)]),
    /// Any bytes.
    Bytes,
    /// Text.
    Str,
    /// An identifier that only its maker understands: a replication id, a session's password.
    Id,
}

/// Where a field of a message is, and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name in the standard's terms.
    pub name: &'static str,
    /// How it is written.
    pub kind: FieldKind,
    /// Its bytes within the message.
    pub span: Range<usize>,
}

/// What a field says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Int(i64),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(n) => write!(f, "{n}"),
            Value::Bytes(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
        }
    }
}

impl Field {
    /// What it says in these bytes of the message. Text that is a number is one.
    pub fn value(&self, message: &[u8]) -> Value {
        let bytes = message.get(self.span.clone()).unwrap_or_default();
        match self.kind {
            FieldKind::Int(_) | FieldKind::Enum(..) => Value::Int(be(bytes)),
            FieldKind::AsciiInt | FieldKind::Bytes | FieldKind::Str => match decimal(bytes) {
                Some(n) => Value::Int(n),
                None => Value::Bytes(bytes.to_vec()),
            },
            FieldKind::Id => Value::Bytes(bytes.to_vec()),
        }
    }

    /// The bytes that say this number in the field's way: truncated to its width, or decimal.
    pub fn encode(&self, n: i64) -> Vec<u8> {
        match self.kind {
            FieldKind::Int(width) | FieldKind::Enum(width, _) => {
                n.to_be_bytes()[8 - usize::from(width.min(8))..].to_vec()
            }
            _ => n.to_string().into_bytes(),
        }
    }
}

/// How a length is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LengthForm {
    /// Four bytes, big-endian.
    Be32,
    /// Decimal text.
    Ascii,
}

/// A length in a message and the bytes it counts, which may go beyond the head that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Length {
    pub at: Range<usize>,
    pub form: LengthForm,
    pub covers: Range<usize>,
}

/// New bytes in the place of old ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splice {
    /// The bytes of the message that go.
    pub span: Range<usize>,
    /// What comes instead.
    #[serde(with = "hex")]
    pub with: Vec<u8>,
}

/// Bytes written as hex digits.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        read(&String::deserialize(from)?).ok_or_else(|| D::Error::custom("bytes are two hex digits each"))
    }

    /// The bytes these digits say.
    pub fn read(digits: &str) -> Option<Vec<u8>> {
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) || digits.len() % 2 == 1 {
            return None;
        }
        (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).ok()).collect()
    }
}

/// A key or a path: what a message is about.
pub type Subject = Arc<[u8]>;

/// What a request leaves behind so that its answer is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The kind of the request.
    pub kind: Kind,
    /// What it is about.
    pub subject: Option<Subject>,
    /// ZooKeeper's number of the request; 0 where there is none.
    pub xid: i32,
    /// ZooKeeper's operation; 0 where there is none.
    pub(crate) opcode: i32,
    /// Its answer is for nobody: the request was not the client's.
    pub(crate) ghost: bool,
}

/// A message, or the head of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The kind of conversation it belongs to.
    pub link: Link,
    /// Its kind.
    pub kind: Kind,
    /// Bytes of it at hand.
    pub len: usize,
    /// False if a body follows, in [`Step::Body`].
    pub whole: bool,
    /// The fields that are known, in order.
    pub fields: Vec<Field>,
    /// The key or path it is about; of an answer, that of its request.
    pub subject: Option<Subject>,
    /// Its place in the conversation's own order: replication offset after it, zxid, or xid.
    pub order: Option<i64>,
    /// What its answer needs to be understood; tell [`Codec::asked`] when it is sent on.
    pub ask: Option<Ask>,
    /// The request it answers.
    pub answers: Option<Ask>,
    /// The answer to a request the client never made: not for its eyes.
    pub ghost: bool,
    pub(crate) lengths: Vec<Length>,
}

/// The name by which any message's bytes as a whole are meant where a field is asked for.
pub const WHOLE: &str = "message";

impl Message {
    pub(crate) fn new(link: Link, kind: Kind, len: usize) -> Message {
        Message {
            link,
            kind,
            len,
            whole: true,
            fields: Vec::new(),
            subject: None,
            order: None,
            ask: None,
            answers: None,
            ghost: false,
            lengths: Vec::new(),
        }
    }

    /// The first field of this name; [`WHOLE`] is all of it, `name#2` the second of that name.
    pub fn field(&self, name: &str) -> Option<Field> {
        if name == WHOLE {
            return Some(Field { name: WHOLE, kind: FieldKind::Bytes, span: 0..self.len });
        }
        let (name, nth) = match name.split_once('#') {
            Some((name, nth)) => (name, nth.parse::<usize>().ok()?.checked_sub(1)?),
            None => (name, 0),
        };
        self.fields.iter().filter(|field| field.name == name).nth(nth).cloned()
    }

    /// The message with new bytes in place of some; `splices` are in order and do not overlap. With `mend`,
    /// every length around a change says what is there afterwards.
    pub fn edit(&self, bytes: &[u8], splices: &[Splice], mend: bool) -> Vec<u8> {
        let bytes = &bytes[..self.len.min(bytes.len())];
        let mut all: Vec<Splice> = splices.iter().filter(|s| s.span.end <= bytes.len()).cloned().collect();
        if mend {
            all.extend(self.lengths.iter().filter_map(|length| length.mended(splices)));
            all.sort_by_key(|splice| splice.span.start);
        }
        let mut out = Vec::with_capacity(bytes.len() + 16);
        let mut at = 0;
        for splice in all {
            if splice.span.start < at {
                continue;
            }
            out.extend_from_slice(&bytes[at..splice.span.start]);
            out.extend_from_slice(&splice.with);
            at = splice.span.end;
        }
        out.extend_from_slice(&bytes[at..]);
        out
    }

    pub(crate) fn push(&mut self, name: &'static str, kind: FieldKind, span: Range<usize>) {
        if self.fields.len() < FIELDS_MAX {
            self.fields.push(Field { name, kind, span });
        }
    }

    pub(crate) fn length(&mut self, at: Range<usize>, form: LengthForm, covers: Range<usize>) {
        if self.lengths.len() < 2 * FIELDS_MAX {
            self.lengths.push(Length { at, form, covers });
        }
    }
}

impl Length {
    /// The splice that makes this length true again after `splices`, if they change it.
    fn mended(&self, splices: &[Splice]) -> Option<Splice> {
        let inside = |splice: &&Splice| {
            splice.span.start >= self.covers.start
                && splice.span.end <= self.covers.end
                && splice.span.start >= self.at.end
        };
        let mut delta = 0i64;
        for splice in splices.iter().filter(inside) {
            delta += splice.with.len() as i64 - splice.span.len() as i64;
        }
        if delta == 0 || splices.iter().any(|splice| overlap(&splice.span, &self.at)) {
            return None;
        }
        let now = self.covers.len() as i64 + delta;
        let with = match self.form {
            LengthForm::Be32 => i32::try_from(now).unwrap_or(i32::MAX).to_be_bytes().to_vec(),
            LengthForm::Ascii => now.to_string().into_bytes(),
        };
        Some(Splice { span: self.at.clone(), with })
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// What a codec makes of the bytes at the head of a direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing can be said before there are so many bytes in all.
    Need(usize),
    /// The first `len` bytes are this.
    Message(Box<Message>),
    /// The first so many bytes belong to the message before.
    Body {
        /// Bytes.
        len: usize,
        /// True if with them that message ends.
        last: bool,
    },
    /// This connection cannot be followed from here on; the note says why.
    Lost(&'static str),
}

/// What a forged answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// That it was done.
    Success,
    /// That it failed: an error's text, or ZooKeeper's number of it.
    Error(Value),
    /// These bytes.
    Literal(Vec<u8>),
}

/// Follows one connection. Total on any bytes: never panics, holds no more than a bounded list of requests.
pub trait Codec: Send {
    /// Reads the head of what goes this way. What a [`Step`] covers is not offered again.
    fn parse(&mut self, way: Way, bytes: &[u8]) -> Step;

    /// A request has been sent on to the server; its answer will come in turn.
    fn asked(&mut self, _ask: Ask) {}

    /// Requests whose turn has been, and those whose answers have not been read yet.
    fn turn(&self) -> (u64, u64) {
        (0, 0)
    }

    /// The request these bytes are, if they are one: for those that the client did not make.
    fn ask_of(&self, _bytes: &[u8]) -> Option<Ask> {
        None
    }

    /// An answer to this message, as if the other side had given it, or another answer in the place of this
    /// one; `None` if there is none.
    fn forge(&self, _message: &Message, _bytes: &[u8], _answer: &Answer) -> Option<Vec<u8>> {
        None
    }

    /// A message of exactly so many bytes that its receiver takes and that does nothing.
    fn filler(&self, _way: Way, _len: usize) -> Option<Vec<u8>> {
        None
    }
}

/// A big-endian signed number of up to eight bytes.
pub(crate) fn be(bytes: &[u8]) -> i64 {
    let start = match bytes.first() {
        Some(first) if bytes.len() < 8 && bytes.len() > 1 && first & 0x80 != 0 => -1i64,
        _ => 0,
    };
    bytes.iter().take(8).fold(start, |n, byte| (n << 8) | i64::from(*byte))
}

/// A decimal number, as Redis reads them: no plus sign, no leading zero but zero itself.
pub(crate) fn decimal(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if digits[0] == b'0' && bytes.len() > 1 {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// A subject of these bytes, cut to what is remembered.
pub(crate) fn subject(bytes: &[u8]) -> Subject {
    Arc::from(&bytes[..bytes.len().min(SUBJECT_MAX)])
}

/// Finds a byte string.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
