//! A connection to a Redis: a client's, until it says `REPLCONF` or `PSYNC` and turns out to be a replica's.
//!
//! A replica's handshake are requests and replies. After `+FULLRESYNC` comes a snapshot (RDB), counted or
//! ended by a delimiter that was announced, and then, as after `+CONTINUE`, the stream of commands. The
//! replica answers with the offset it has reached, unasked. Offsets count the stream's bytes.

use std::collections::VecDeque;

use super::resp::{self, Rest};
use super::{
    ASKED_MAX, Answer, Ask, Codec, FieldKind, HOLD, Kind, Link, Message, Step, Value, Way, decimal, find,
};

/// Kinds only a replica sends, and those of its handshake.
pub(super) const FROM_REPLICA: [&str; 7] =
    ["replconf", "psync", "sync", "replconf-ack", "ping", "auth", "newline"];
/// Kinds only a master sends; commands of the stream come besides.
pub(super) const FROM_MASTER: [&str; 6] =
    ["fullresync", "continue", "rdb", "rdb-chunk", "rdb-end", "replconf-getack"];

/// Bytes of a snapshot's piece.
const CHUNK: usize = 1024;
/// A snapshot's checksum, its last bytes.
const CHECKSUM: usize = 8;
/// The delimiter of a snapshot of unknown length.
const DELIMITER: usize = 40;

/// Something long that is cut into pieces at places that depend on its bytes alone.
#[derive(Debug)]
pub(super) struct Chunks {
    end: End,
    /// Bytes before the end that go with it.
    tail: usize,
    /// Bytes of the head in which the delimiter is known not to begin.
    searched: usize,
}

#[derive(Debug)]
enum End {
    Counted(u64),
    Delimited(Vec<u8>),
}

/// The next of [`Chunks`].
pub(super) enum Chunk {
    Need(usize),
    Piece(usize),
    End(usize),
}

impl Chunks {
    /// Up to and with a delimiter; the `tail` bytes before it go with it.
    pub fn until(delimiter: &[u8], tail: usize) -> Chunks {
        Chunks { end: End::Delimited(delimiter.to_vec()), tail, searched: 0 }
    }

    /// So many bytes, of which the `tail` last go together.
    pub fn counted(len: u64, tail: usize) -> Chunks {
        Chunks { end: End::Counted(len), tail, searched: 0 }
    }

    /// What the head of these bytes is.
    pub fn next(&mut self, bytes: &[u8]) -> Chunk {
        match &mut self.end {
            End::Counted(left) if *left <= self.tail as u64 => {
                let len = *left as usize;
                if bytes.len() < len { Chunk::Need(len) } else { Chunk::End(len) }
            }
            End::Counted(left) => {
                let len = (*left - self.tail as u64).min(CHUNK as u64) as usize;
                if bytes.len() < len {
                    return Chunk::Need(len);
                }
                *left -= len as u64;
                Chunk::Piece(len)
            }
            End::Delimited(delimiter) => {
                let window = &bytes[..bytes.len().min(CHUNK + self.tail + delimiter.len())];
                let from = self.searched.min(window.len());
                let (len, end) = match find(&window[from..], delimiter) {
                    Some(at) if from + at > self.tail => (from + at - self.tail, false),
                    Some(at) => (from + at + delimiter.len(), true),
                    None if window.len() == CHUNK + self.tail + delimiter.len() => (CHUNK, false),
                    None => {
                        self.searched = (window.len() + 1).saturating_sub(delimiter.len());
                        return Chunk::Need(bytes.len() + 1);
                    }
                };
                self.searched = 0;
                if end { Chunk::End(len) } else { Chunk::Piece(len) }
            }
        }
    }
}

/// What a server sends at the moment.
#[derive(Default)]
enum Sends {
    /// Replies.
    #[default]
    Replies,
    /// The announcement of a snapshot; after it the stream from this offset.
    Announcement(i64),
    /// A snapshot; after it the stream from this offset.
    Snapshot(Chunks, i64),
    /// Commands; the offset reached.
    Stream(i64),
}

/// One connection to a Redis.
#[derive(Default)]
pub(super) struct Redis {
    replica: bool,
    /// The offset asked for by a `PSYNC` that has not been answered.
    resuming: Option<i64>,
    synced: bool,
    sends: Sends,
    rest: [Rest; 2],
    asked: VecDeque<Ask>,
    answered: u64,
    /// Replies cannot be told from what is published.
    mingled: bool,
    resp3: bool,
}

impl Redis {
    fn link(&self) -> Link {
        if self.replica { Link::Replication } else { Link::RedisClient }
    }

    fn request(&mut self, bytes: &[u8]) -> Result<(Message, Rest), Step> {
        let (mut message, rest) = resp::request(self.link(), bytes)?;
        if matches!(message.kind.name, "replconf" | "psync" | "sync") {
            self.replica = true;
            message.link = Link::Replication;
        }
        let number =
            |message: &Message, name: &str| message.field(name).and_then(|field| decimal(&bytes[field.span]));
        match message.kind.name {
            "replconf" if is_option(&message, bytes, b"ack") => {
                rename(&mut message, "replconf-ack", &["offset", "option", "fack"]);
                message.order = number(&message, "offset");
            }
            "psync" => {
                self.resuming = number(&message, "offset");
                self.synced = true;
            }
            "sync" => {
                self.sends = Sends::Announcement(0);
                self.synced = true;
            }
            "subscribe" | "psubscribe" | "ssubscribe" if !self.resp3 => self.mingled = true,
            "monitor" => self.mingled = true,
            "client" if is_reply_off(&message, bytes) => self.mingled = true,
            _ => {}
        }
        message.ask = self.ask(&message);
        Ok((message, rest))
    }

    /// What the answer to this request needs, if there will be one.
    fn ask(&self, message: &Message) -> Option<Ask> {
        let silent = match message.kind.name {
            "newline" | "sync" | "replconf-ack" => true,
            "psync" => false,
            name if self.resp3 && name.ends_with("subscribe") => true,
            _ => self.replica && self.synced,
        };
        let subject = message.subject.clone();
        (!silent).then_some(Ask { kind: message.kind, subject, xid: 0, opcode: 0, ghost: false })
    }

    fn replies(&mut self, bytes: &[u8]) -> Result<(Message, Rest), Step> {
        if self.replica && bytes.first() == Some(&b'\n') {
            return Ok((Message::new(self.link(), Kind::of("newline"), 1), Rest::default()));
        }
        let (mut message, rest) = resp::reply(self.link(), bytes)?;
        if self.mingled || message.kind.name == "push" {
            return Ok((message, rest));
        }
        let Some(ask) = self.asked.pop_front() else { return Ok((message, rest)) };
        self.answered += 1;
        if ask.kind.name == "hello" && matches!(bytes.first(), Some(b'%')) {
            self.resp3 = true;
        }
        message.kind = ask.kind.answered();
        message.subject = ask.subject.clone();
        message.ghost = ask.ghost;
        if ask.kind.name == "psync" {
            self.synchronised(&mut message, bytes);
        }
        message.answers = Some(ask);
        Ok((message, rest))
    }

    /// The answer to `PSYNC`: a snapshot will come, or the stream, or neither.
    fn synchronised(&mut self, message: &mut Message, bytes: &[u8]) {
        let asked = self.resuming.take();
        let mut words = Vec::new();
        let mut at = 1;
        for word in bytes[1..message.len - 2].split(|byte| *byte == b' ') {
            words.push(at..at + word.len());
            at += word.len() + 1;
        }
        let first = words.first().map(|word| &bytes[word.clone()]).unwrap_or_default();
        match (bytes[0], first) {
            (b'+', b"FULLRESYNC") => {
                message.kind = Kind::of("fullresync");
                let offset = words.get(2).and_then(|word| decimal(&bytes[word.clone()])).unwrap_or(0);
                self.sends = Sends::Announcement(offset);
            }
            (b'+', b"CONTINUE") => {
                message.kind = Kind::of("continue");
                self.sends = Sends::Stream(asked.unwrap_or(1).saturating_sub(1));
            }
            _ => {
                self.synced = false;
                return;
            }
        }
        for (name, word) in ["command", "replid", "offset"].into_iter().zip(words) {
            let kind = if name == "replid" { FieldKind::Id } else { FieldKind::Str };
            message.push(name, kind, word);
        }
    }

    fn announcement(&mut self, offset: i64, bytes: &[u8]) -> Result<(Message, Rest), Step> {
        match bytes.first() {
            None => return Err(Step::Need(1)),
            Some(b'\n') => {
                return Ok((Message::new(Link::Replication, Kind::of("newline"), 1), Rest::default()));
            }
            Some(b'$') => {}
            Some(_) => return Err(Step::Lost("no snapshot where one is due")),
        }
        let window = &bytes[..bytes.len().min(64)];
        let Some(end) = find(window, b"\r\n") else {
            let long = window.len() == 64;
            return Err(if long { Step::Lost("a line is too long") } else { Step::Need(bytes.len() + 1) });
        };
        let mut message = Message::new(Link::Replication, Kind::of("rdb"), end + 2);
        let line = &bytes[1..end];
        let chunks = match (line.strip_prefix(b"EOF:"), decimal(line)) {
            (Some(delimiter), _) if delimiter.len() == DELIMITER => {
                message.push("delimiter", FieldKind::Id, 5..end);
                Chunks::until(delimiter, CHECKSUM)
            }
            (None, Some(len)) if len >= 0 => {
                message.push("length", FieldKind::AsciiInt, 1..end);
                Chunks::counted(len as u64, CHECKSUM)
            }
            _ => return Err(Step::Lost("a snapshot of unknown length")),
        };
        self.sends = Sends::Snapshot(chunks, offset);
        Ok((message, Rest::default()))
    }

    fn snapshot(&mut self, bytes: &[u8]) -> Result<(Message, Rest), Step> {
        let Sends::Snapshot(chunks, offset) = &mut self.sends else { return Err(Step::Need(1)) };
        let (name, len) = match chunks.next(bytes) {
            Chunk::Need(len) => return Err(Step::Need(len)),
            Chunk::Piece(len) => ("rdb-chunk", len),
            Chunk::End(len) => {
                self.sends = Sends::Stream(*offset);
                ("rdb-end", len)
            }
        };
        let mut message = Message::new(Link::Replication, Kind::of(name), len);
        match name {
            "rdb-chunk" => message.push("body", FieldKind::Bytes, 0..len),
            _ if len >= CHECKSUM => message.push("checksum", FieldKind::Int(8), 0..CHECKSUM),
            _ => {}
        }
        Ok((message, Rest::default()))
    }

    fn stream(&mut self, bytes: &[u8]) -> Result<(Message, Rest), Step> {
        let (mut message, rest) = resp::request(Link::Replication, bytes)?;
        if message.kind.name == "replconf" && is_option(&message, bytes, b"getack") {
            rename(&mut message, "replconf-getack", &["arg"]);
        }
        if let Sends::Stream(offset) = &mut self.sends {
            *offset = offset.saturating_add(message.len as i64);
            message.order = Some(*offset).filter(|_| rest.is_done());
        }
        Ok((message, rest))
    }
}

fn is_option(message: &Message, bytes: &[u8], option: &[u8]) -> bool {
    message.field("option").is_some_and(|field| bytes[field.span].eq_ignore_ascii_case(option))
}

fn is_reply_off(message: &Message, bytes: &[u8]) -> bool {
    let word = |name: &str| message.field(name).map(|field| bytes[field.span].to_ascii_lowercase());
    word("subcommand").as_deref() == Some(b"reply") && word("arg").as_deref() != Some(b"on")
}

/// Names the fields after `REPLCONF` and its option.
fn rename(message: &mut Message, kind: &'static str, names: &[&'static str]) {
    message.kind = Kind::of(kind);
    let fields = message.fields.iter_mut().filter(|field| !matches!(field.name, "count" | "len"));
    for (field, name) in fields.skip(2).zip(names) {
        field.name = name;
    }
}

impl Codec for Redis {
    fn parse(&mut self, way: Way, bytes: &[u8]) -> Step {
        if bytes.is_empty() {
            return Step::Need(1);
        }
        let side = way.index();
        if !self.rest[side].is_done() {
            let step = self.rest[side].step(bytes);
            if let (Way::ToClient, Step::Body { len, .. }, Sends::Stream(offset)) =
                (way, &step, &mut self.sends)
            {
                *offset = offset.saturating_add(*len as i64);
            }
            return step;
        }
        let read = match (way, &self.sends) {
            (Way::ToServer, _) => self.request(bytes),
            (Way::ToClient, Sends::Replies) => self.replies(bytes),
            (Way::ToClient, Sends::Announcement(offset)) => self.announcement(*offset, bytes),
            (Way::ToClient, Sends::Snapshot(..)) => self.snapshot(bytes),
            (Way::ToClient, Sends::Stream(_)) => self.stream(bytes),
        };
        match read {
            Ok((message, rest)) => {
                self.rest[side] = rest;
                Step::Message(Box::new(message))
            }
            Err(step) => step,
        }
    }

    fn asked(&mut self, ask: Ask) {
        if self.asked.len() == ASKED_MAX {
            self.mingled = true;
            self.asked.clear();
        }
        if !self.mingled {
            self.asked.push_back(ask);
        }
    }

    fn turn(&self) -> (u64, u64) {
        (self.answered, self.asked.len() as u64)
    }

    fn ask_of(&self, bytes: &[u8]) -> Option<Ask> {
        let (message, rest) = resp::request(self.link(), bytes).ok()?;
        if message.len != bytes.len() || !rest.is_done() {
            return None;
        }
        self.ask(&message)
    }

    fn forge(&self, _message: &Message, _bytes: &[u8], answer: &Answer) -> Option<Vec<u8>> {
        Some(match answer {
            Answer::Literal(bytes) => bytes.clone(),
            Answer::Success => b"+OK\r\n".to_vec(),
            Answer::Error(Value::Int(n)) => format!("-ERR {n}\r\n").into_bytes(),
            Answer::Error(Value::Bytes(text)) => [b"-", text.as_slice(), b"\r\n"].concat(),
        })
    }

    fn filler(&self, _way: Way, len: usize) -> Option<Vec<u8>> {
        resp::filler(len).filter(|_| len <= HOLD)
    }
}
