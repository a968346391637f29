//! RESP, as Redis speaks it with its clients and its replicas (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! A connection begins as a client's: requests one way, replies the other, in order. When a replica has sent `PSYNC`
//! and is answered `+FULLRESYNC` or `+CONTINUE`, what follows is the replication stream: a data set in the one case,
//! then commands, which nobody answers but by `REPLCONF ACK`.
//!
//! Kinds: a command by its name in capitals, `REPLCONF` and `CLIENT` with their second word; replies `reply GET` by
//! the command they answer; `FULLRESYNC`, `CONTINUE`, `RDB`. Fields of a command: `name`, `arg1`, `arg2`, …, and by
//! their own names `key` and `value` of `SET`, `offset` of `REPLCONF ACK`. Fields of a reply: `value` where it is one.

use std::borrow::Cow;
use std::collections::VecDeque;

use lab::flow::Way;

use super::{Codec, Field, Form, Head, Length, Message, WHOLE_MAX};

/// Requests whose replies are waited for; a client that has more outstanding is only passed on.
const OUTSTANDING_MAX: usize = 100_000;
/// Levels of arrays within arrays.
const DEPTH_MAX: usize = 16;
/// Elements that are looked at in one message.
const ELEMENTS_MAX: i64 = 4_096;
/// The longest line: of an error, a number, an inline command.
const LINE_MAX: usize = 4 * 1024;
/// Bytes of the mark that ends a data set of unknown length.
const MARK: usize = 40;

/// Reads a connection to a Redis server.
#[derive(Debug, Default)]
pub struct Resp {
    outstanding: VecDeque<String>,
    stream: Stream,
    /// A large value is going through: bytes of it still to come, each way.
    rest: [usize; 2],
}

/// What flows from a master to its replica.
#[derive(Debug, Default, PartialEq)]
enum Stream {
    /// It is a client's connection so far.
    #[default]
    Replies,
    /// A full synchronisation was promised: the data set comes next.
    DataSet,
    /// It is coming, until this mark.
    Until(Vec<u8>),
    /// Commands.
    Commands,
}

impl Codec for Resp {
    fn read(&mut self, way: Way, bytes: &[u8]) -> Head {
        let rest = &mut self.rest[way as usize];
        if *rest > 0 {
            let len = bytes.len().min(*rest);
            *rest -= len;
            return Head::Opaque(len);
        }
        match (way, &self.stream) {
            (Way::ToServer, _) => self.request(bytes),
            (Way::ToClient, Stream::Replies) => self.reply(bytes),
            (Way::ToClient, Stream::DataSet) => self.data_set(bytes),
            (Way::ToClient, Stream::Until(mark)) => until(&mark.clone(), bytes, &mut self.stream),
            (Way::ToClient, Stream::Commands) => self.command(Way::ToClient, bytes),
        }
    }
}

impl Resp {
    fn request(&mut self, bytes: &[u8]) -> Head {
        let head = self.command(Way::ToServer, bytes);
        if let Head::Message(message) = &head
            && self.stream == Stream::Replies
        {
            self.outstanding.push_back(message.kind.to_string());
            if self.outstanding.len() > OUTSTANDING_MAX {
                return Head::Foreign("more requests than replies");
            }
        }
        head
    }

    /// A command: an array of strings, or words on a line.
    fn command(&mut self, way: Way, bytes: &[u8]) -> Head {
        if bytes[0] == b'\n' || bytes.starts_with(b"\r\n") {
            return Head::Opaque(if bytes[0] == b'\n' { 1 } else { 2 });
        }
        if bytes[0] != b'*' {
            return inline(bytes);
        }
        let Some((count, mut at)) = line_number(bytes) else {
            return unfinished(bytes, "a count that is no number");
        };
        if !(0..=ELEMENTS_MAX).contains(&count) {
            return Head::Foreign("a command of a strange number of words");
        }
        let mut message = Message::bare("", 0);
        let mut words: Vec<String> = Vec::new();
        for n in 0..count as usize {
            let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return Head::Part };
            if rest[0] != b'$' {
                return Head::Foreign("a command with a word that is no string");
            }
            let Some((len, begins)) = line_number(rest) else {
                return unfinished(rest, "a length that is no number");
            };
            if !(0..=i64::from(i32::MAX)).contains(&len) {
                return Head::Foreign("a word of a strange length");
            }
            let (begins, len) = (at + begins, len as usize);
            let end = begins + len;
            if bytes.len() < end + 2 {
                if end > WHOLE_MAX {
                    // The head of a large command says enough to know it by; it goes through in parts.
                    return self.large(way, bytes, begins, len, count as usize - n, &words);
                }
                return Head::Part;
            }
            if &bytes[end..end + 2] != b"\r\n" {
                return Head::Foreign("a word that does not end where it says");
            }
            let span = begins..end;
            message.lengths.push(Length { span: at + 1..begins - 2, form: Form::Digits, over: span.clone() });
            let name = if n == 0 { Cow::Borrowed("name") } else { format!("arg{n}").into() };
            message.fields.push(Field { name, span: span.clone(), form: Form::Bytes });
            if n < 2 {
                words.push(String::from_utf8_lossy(&bytes[span]).to_uppercase());
            }
            at = end + 2;
        }
        message.len = at;
        message.kind = kind(&words).into();
        for (own, n) in own_names(&message.kind) {
            if let Some(field) = message.fields.get(*n).cloned() {
                let form = if *own == "offset" { Form::Digits } else { Form::Bytes };
                message.fields.push(Field { name: (*own).into(), form, ..field });
            }
        }
        Head::Message(message)
    }

    /// A command with a value too large to wait for: what has come of it passes, and so does the rest when it comes.
    fn large(
        &mut self,
        way: Way,
        bytes: &[u8],
        begins: usize,
        len: usize,
        words_left: usize,
        words: &[String],
    ) -> Head {
        if words_left > 1 {
            return Head::Foreign("a large word in the middle of a command");
        }
        if way == Way::ToServer && self.stream == Stream::Replies {
            self.outstanding.push_back(kind(words));
        }
        self.rest[way as usize] = begins + len + 2 - bytes.len();
        Head::Opaque(bytes.len())
    }

    fn reply(&mut self, bytes: &[u8]) -> Head {
        if bytes[0] == b'\n' {
            return Head::Opaque(1); // a master that is busy saving keeps its replica company
        }
        let (len, fields, lengths) = match value(bytes, 0, DEPTH_MAX) {
            Value::Whole { end, field, length } => (end, Vec::from_iter(field), Vec::from_iter(length)),
            Value::Part => return Head::Part,
            Value::Large { end } => {
                self.rest[Way::ToClient as usize] = end - bytes.len();
                self.answered(bytes[0]);
                return Head::Opaque(bytes.len());
            }
            Value::Foreign(why) => return Head::Foreign(why),
        };
        let line = bytes[..len].split(|byte| *byte == b'\r').next().unwrap_or_default();
        if self.outstanding.front().is_some_and(|kind| kind == "PSYNC") {
            let (kind, next) = match line {
                _ if line.starts_with(b"+FULLRESYNC") => ("FULLRESYNC", Stream::DataSet),
                _ if line.starts_with(b"+CONTINUE") => ("CONTINUE", Stream::Commands),
                _ => ("", Stream::Replies),
            };
            if next != Stream::Replies {
                self.outstanding.clear();
                self.stream = next;
                return Head::Message(Message { fields, lengths, ..Message::bare(kind, len) });
            }
        }
        let kind = self.answered(bytes[0]);
        Head::Message(Message { fields, lengths, ..Message::bare(kind, len) })
    }

    /// The kind of a reply that begins so.
    fn answered(&mut self, first: u8) -> String {
        if first == b'>' {
            return "push".into();
        }
        match self.outstanding.pop_front() {
            Some(command) => format!("reply {command}"),
            None => "reply".into(),
        }
    }

    /// `$<length>` and as many bytes, or `$EOF:<mark>` and bytes until the mark.
    fn data_set(&mut self, bytes: &[u8]) -> Head {
        if bytes[0] == b'\n' {
            return Head::Opaque(1);
        }
        let Some(end) = bytes.iter().take(LINE_MAX).position(|byte| *byte == b'\n') else {
            return unfinished(bytes, "a data set without a length");
        };
        let (line, begins) = (&bytes[..end.saturating_sub(1)], end + 1);
        let payload = &bytes[begins..];
        let field =
            |len: usize| Field { name: "payload".into(), span: begins..begins + len, form: Form::Bytes };
        if let Some(mark) = line.strip_prefix(b"$EOF:".as_slice()) {
            if mark.len() != MARK {
                return Head::Foreign("a data set with a mark of a strange length");
            }
            // What has come so far is the message; the rest follows unseen until the mark.
            let found = payload.windows(MARK).position(|window| window == mark);
            let seen = match found {
                Some(len) => len,
                None if payload.len() < WHOLE_MAX => return Head::Part,
                None => payload.len() - (MARK - 1),
            };
            let mark = mark.to_vec();
            let len = begins + seen + if found.is_some() { MARK } else { 0 };
            self.stream = if found.is_some() { Stream::Commands } else { Stream::Until(mark) };
            return Head::Message(Message { fields: vec![field(seen)], ..Message::bare("RDB", len) });
        }
        let Some(len) = line.strip_prefix(b"$").and_then(|digits| super::number(digits, Form::Digits)) else {
            return Head::Foreign("a data set without a length");
        };
        let Ok(len) = usize::try_from(len) else { return Head::Foreign("a data set of a strange length") };
        if payload.len() < len && payload.len() < WHOLE_MAX {
            return Head::Part;
        }
        let seen = payload.len().min(len);
        self.rest[Way::ToClient as usize] = len - seen;
        self.stream = Stream::Commands;
        Head::Message(Message { fields: vec![field(seen)], ..Message::bare("RDB", begins + seen) })
    }
}

/// Bytes of a data set that goes on until its mark.
fn until(mark: &[u8], bytes: &[u8], stream: &mut Stream) -> Head {
    match bytes.windows(MARK).position(|window| window == mark) {
        Some(at) => {
            *stream = Stream::Commands;
            Head::Opaque(at + MARK)
        }
        None if bytes.len() < MARK => Head::Part,
        None => Head::Opaque(bytes.len() - (MARK - 1)),
    }
}

/// A command by its name; those that are families of commands with their second word.
fn kind(words: &[String]) -> String {
    match words {
        [] => "empty".into(),
        [name, second, ..] if matches!(name.as_str(), "REPLCONF" | "CLIENT" | "CONFIG" | "SCRIPT") => {
            format!("{name} {second}")
        }
        [name, ..] => name.clone(),
    }
}

/// Words of a command that have names of their own, and which they are.
fn own_names(kind: &str) -> &'static [(&'static str, usize)] {
    match kind {
        "SET" => &[("key", 1), ("value", 2)],
        "GET" | "DEL" | "INCR" => &[("key", 1)],
        "REPLCONF ACK" => &[("offset", 2)],
        "PSYNC" => &[("replid", 1), ("offset", 2)],
        _ => &[],
    }
}

fn inline(bytes: &[u8]) -> Head {
    if !bytes[0].is_ascii_alphabetic() {
        return Head::Foreign("neither a command nor a line of words");
    }
    match bytes.iter().take(LINE_MAX).position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = String::from_utf8_lossy(&bytes[..end]).to_uppercase();
            let words: Vec<String> = line.split_ascii_whitespace().take(2).map(str::to_string).collect();
            Head::Message(Message::bare(kind(&words), end + 1))
        }
        None => unfinished(bytes, "a line without an end"),
    }
}

/// More is needed, unless too much is there already.
fn unfinished(bytes: &[u8], why: &'static str) -> Head {
    let has_line = bytes.iter().take(LINE_MAX).any(|byte| *byte == b'\n');
    if has_line || bytes.len() >= LINE_MAX { Head::Foreign(why) } else { Head::Part }
}

/// The number on the first line, after its first byte, and where the next line begins.
fn line_number(bytes: &[u8]) -> Option<(i64, usize)> {
    let end = bytes.iter().take(32).position(|byte| *byte == b'\n')?;
    let digits = bytes.get(1..end.checked_sub(1)?)?;
    (bytes[end - 1] == b'\r').then_some(())?;
    Some((super::number(digits, Form::Digits)?, end + 1))
}

enum Value {
    Whole { end: usize, field: Option<Field>, length: Option<Length> },
    Part,
    Large { end: usize },
    Foreign(&'static str),
}

/// One value of a reply, from `at` on.
fn value(bytes: &[u8], at: usize, depth: usize) -> Value {
    let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return Value::Part };
    let Some(line_end) = rest.iter().take(LINE_MAX).position(|byte| *byte == b'\n') else {
        return if rest.len() >= LINE_MAX {
            Value::Foreign("a reply line without an end")
        } else {
            Value::Part
        };
    };
    let body = at + 1..at + line_end.max(2) - 1;
    let named = |span: std::ops::Range<usize>, form| Some(Field { name: "value".into(), span, form });
    let begins = at + line_end + 1;
    match rest[0] {
        b'+' | b'-' | b',' | b'(' | b'#' | b'_' => {
            Value::Whole { end: begins, field: named(body, Form::Bytes), length: None }
        }
        b':' => Value::Whole { end: begins, field: named(body, Form::Digits), length: None },
        b'$' | b'=' | b'!' => {
            let Some(len) = super::number(&bytes[body.clone()], Form::Digits) else {
                return Value::Foreign("a reply of no length");
            };
            let Ok(len) = usize::try_from(len) else {
                return Value::Whole { end: begins, field: named(body, Form::Digits), length: None };
            };
            if len > i32::MAX as usize {
                return Value::Foreign("a reply of a strange length");
            }
            let (span, end) = (begins..begins + len, begins + len + 2);
            if bytes.len() < end {
                return if end > WHOLE_MAX && depth == DEPTH_MAX {
                    Value::Large { end }
                } else {
                    Value::Part
                };
            }
            let length = Some(Length { span: body, form: Form::Digits, over: span.clone() });
            Value::Whole { end, field: named(span, Form::Bytes), length }
        }
        b'*' | b'~' | b'>' | b'%' => {
            let Some(count) = super::number(&bytes[body], Form::Digits) else {
                return Value::Foreign("an array of no length");
            };
            if depth == 0 || count > ELEMENTS_MAX {
                return Value::Foreign("an array too deep or too long to look into");
            }
            let count = if rest[0] == b'%' { 2 * count } else { count };
            let mut end = begins;
            for _ in 0..count.max(0) {
                match value(bytes, end, depth - 1) {
                    Value::Whole { end: next, .. } => end = next,
                    other => return other,
                }
            }
            Value::Whole { end, field: None, length: None }
        }
        _ => Value::Foreign("a reply of no known type"),
    }
}
