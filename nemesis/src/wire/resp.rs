//! RESP, the protocol of Redis: values of types told by their first byte, requests as arrays of strings or
//! as plain lines, replies in the order of requests.

use super::{FieldKind, HOLD, Kind, LengthForm, Link, Message, Step, decimal, subject};

/// The longest line (a status, an error, a length) that is waited for.
const LINE_MAX: usize = 4096;
/// The longest string and the largest array believed.
const BULK_MAX: i64 = 1 << 40;
const ARRAY_MAX: i64 = 1 << 31;
/// Elements of a message whose places are kept.
const ELEMENTS_MAX: usize = super::FIELDS_MAX;

/// Commands: name, whether it writes, names of the arguments. Further arguments are `arg`.
const COMMANDS: &[(&str, bool, &[&str])] = &[
    ("append", true, &["key", "value"]),
    ("asking", false, &[]),
    ("auth", false, &["arg", "arg"]),
    ("blpop", true, &["key"]),
    ("brpop", true, &["key"]),
    ("client", false, &["subcommand", "arg"]),
    ("cluster", false, &["subcommand", "arg"]),
    ("command", false, &["subcommand", "arg"]),
    ("config", false, &["subcommand", "parameter", "value"]),
    ("copy", true, &["key", "destination"]),
    ("dbsize", false, &[]),
    ("debug", false, &["subcommand", "arg"]),
    ("decr", true, &["key"]),
    ("decrby", true, &["key", "decrement"]),
    ("del", true, &["key"]),
    ("discard", false, &[]),
    ("dump", false, &["key"]),
    ("echo", false, &["value"]),
    ("eval", true, &["script", "numkeys", "key"]),
    ("evalsha", true, &["sha1", "numkeys", "key"]),
    ("exec", false, &[]),
    ("exists", false, &["key"]),
    ("expire", true, &["key", "seconds"]),
    ("failover", false, &["arg"]),
    ("fcall", true, &["function", "numkeys", "key"]),
    ("flushall", true, &["arg"]),
    ("flushdb", true, &["arg"]),
    ("function", true, &["subcommand", "arg"]),
    ("get", false, &["key"]),
    ("getdel", true, &["key"]),
    ("getrange", false, &["key", "start", "end"]),
    ("getset", true, &["key", "value"]),
    ("hdel", true, &["key", "field"]),
    ("hello", false, &["protover"]),
    ("hexists", false, &["key", "field"]),
    ("hget", false, &["key", "field"]),
    ("hgetall", false, &["key"]),
    ("hincrby", true, &["key", "field", "increment"]),
    ("hset", true, &["key", "field", "value"]),
    ("incr", true, &["key"]),
    ("incrby", true, &["key", "increment"]),
    ("info", false, &["section"]),
    ("keys", false, &["pattern"]),
    ("lindex", false, &["key", "index"]),
    ("linsert", true, &["key", "where", "pivot", "element"]),
    ("llen", false, &["key"]),
    ("lpop", true, &["key", "count"]),
    ("lpush", true, &["key", "element"]),
    ("lrange", false, &["key", "start", "stop"]),
    ("lrem", true, &["key", "count", "element"]),
    ("lset", true, &["key", "index", "element"]),
    ("ltrim", true, &["key", "start", "stop"]),
    ("mget", false, &["key"]),
    ("monitor", false, &[]),
    ("mset", true, &["key", "value"]),
    ("multi", false, &[]),
    ("object", false, &["subcommand", "key"]),
    ("persist", true, &["key"]),
    ("pexpire", true, &["key", "milliseconds"]),
    ("pexpireat", true, &["key", "milliseconds"]),
    ("ping", false, &["value"]),
    ("psetex", true, &["key", "milliseconds", "value"]),
    ("psubscribe", false, &["pattern"]),
    ("psync", false, &["replid", "offset"]),
    ("pttl", false, &["key"]),
    ("publish", false, &["channel", "value"]),
    ("punsubscribe", false, &["pattern"]),
    ("quit", false, &[]),
    ("readonly", false, &[]),
    ("rename", true, &["key", "newkey"]),
    ("replconf", false, &["option", "value"]),
    ("replicaof", false, &["host", "port"]),
    ("reset", false, &[]),
    ("restore", true, &["key", "milliseconds", "value"]),
    ("role", false, &[]),
    ("rpop", true, &["key", "count"]),
    ("rpush", true, &["key", "element"]),
    ("sadd", true, &["key", "member"]),
    ("save", false, &[]),
    ("scan", false, &["cursor"]),
    ("scard", false, &["key"]),
    ("script", false, &["subcommand", "script"]),
    ("select", false, &["index"]),
    ("set", true, &["key", "value"]),
    ("setex", true, &["key", "seconds", "value"]),
    ("setnx", true, &["key", "value"]),
    ("shutdown", false, &["arg"]),
    ("sismember", false, &["key", "member"]),
    ("slaveof", false, &["host", "port"]),
    ("smembers", false, &["key"]),
    ("spop", true, &["key"]),
    ("srem", true, &["key", "member"]),
    ("ssubscribe", false, &["channel"]),
    ("strlen", false, &["key"]),
    ("subscribe", false, &["channel"]),
    ("sync", false, &[]),
    ("time", false, &[]),
    ("ttl", false, &["key"]),
    ("type", false, &["key"]),
    ("unlink", true, &["key"]),
    ("unsubscribe", false, &["channel"]),
    ("unwatch", false, &[]),
    ("wait", false, &["numreplicas", "timeout"]),
    ("waitaof", false, &["numlocal", "numreplicas", "timeout"]),
    ("watch", false, &["key"]),
    ("xadd", true, &["key", "id", "field", "value"]),
    ("zadd", true, &["key", "score", "member"]),
    ("zrange", false, &["key", "start", "stop"]),
    ("zrem", true, &["key", "member"]),
    ("zscore", false, &["key", "member"]),
];

/// A command that is not in the table.
const UNKNOWN: &str = "command-unknown";

/// Names of all commands.
pub(super) fn commands() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|command| command.0).chain([UNKNOWN, "newline"])
}

/// First bytes of values.
const TYPES: &[(i64, &str)] = &[
    (b'+' as i64, "simple"),
    (b'-' as i64, "error"),
    (b':' as i64, "integer"),
    (b'$' as i64, "bulk"),
    (b'*' as i64, "array"),
    (b'_' as i64, "null"),
    (b'#' as i64, "boolean"),
    (b',' as i64, "double"),
    (b'(' as i64, "big-number"),
    (b'!' as i64, "bulk-error"),
    (b'=' as i64, "verbatim"),
    (b'%' as i64, "map"),
    (b'~' as i64, "set"),
    (b'>' as i64, "push"),
    (b'|' as i64, "attribute"),
];

/// One value, or the head of an array.
struct Element {
    tag: u8,
    /// What the line says after the type.
    line: std::ops::Range<usize>,
    /// A string's bytes; `None` if it has none, or they are not all at hand.
    bulk: Option<std::ops::Range<usize>>,
}

impl Element {
    /// Where its content is.
    fn content(&self) -> std::ops::Range<usize> {
        self.bulk.clone().unwrap_or(self.line.clone())
    }

    fn is_string(&self) -> bool {
        matches!(self.tag, b'$' | b'=' | b'!')
    }
}

/// What of a value is still to come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rest {
    bytes: u64,
    elements: u64,
}

/// A line from `at`, its type byte included: where it ends, line break included.
fn line_end(bytes: &[u8], at: usize) -> Result<usize, Step> {
    let window = &bytes[(at + 1).min(bytes.len())..bytes.len().min(at + 1 + LINE_MAX)];
    match window.windows(2).position(|two| two == b"\r\n") {
        Some(end) => Ok(at + 1 + end + 2),
        None if window.len() == LINE_MAX => Err(Step::Lost("a line is too long")),
        None => Err(Step::Need(bytes.len() + 1)),
    }
}

/// What follows a value's line: so many bytes, so many elements.
fn follows(tag: u8, line: &[u8]) -> Result<Rest, Step> {
    let number = |max: i64| match decimal(line) {
        Some(-1) => Ok(None),
        Some(n) if (0..=max).contains(&n) => Ok(Some(n as u64)),
        _ => Err(Step::Lost("a length that is not one")),
    };
    let elements = |n: u64| Rest { bytes: 0, elements: n };
    Ok(match tag {
        b'$' | b'=' | b'!' => match number(BULK_MAX)? {
            Some(len) => Rest { bytes: len + 2, elements: 0 },
            None => Rest::default(),
        },
        b'*' | b'~' | b'>' => elements(number(ARRAY_MAX)?.unwrap_or(0)),
        b'%' => elements(2 * number(ARRAY_MAX)?.unwrap_or(0)),
        b'|' => elements(2 * number(ARRAY_MAX)?.unwrap_or(0) + 1),
        b'+' | b'-' | b':' | b'(' | b',' | b'#' | b'_' => Rest::default(),
        _ => return Err(Step::Lost("not RESP")),
    })
}

/// A value's extent: bytes at hand that belong to it, what is still to come, its first elements.
fn scan(bytes: &[u8]) -> Result<(usize, Rest, Vec<Element>), Step> {
    let mut elements = Vec::new();
    let (mut at, mut left) = (0, 1u64);
    while left > 0 {
        if at >= HOLD {
            return Ok((at, Rest { bytes: 0, elements: left }, elements));
        }
        let Some(tag) = bytes.get(at).copied() else { return Err(Step::Need(at + 3)) };
        let end = line_end(bytes, at)?;
        let line = at + 1..end - 2;
        let then = follows(tag, &bytes[line.clone()])?;
        left = (left - 1).saturating_add(then.elements);
        let after = end as u64 + then.bytes;
        let in_head = after <= HOLD as u64;
        if in_head && (bytes.len() as u64) < after {
            return Err(Step::Need(after as usize));
        }
        if elements.len() < ELEMENTS_MAX {
            let bulk = (then.bytes > 0 && in_head).then(|| end..after as usize - 2);
            elements.push(Element { tag, line, bulk });
        }
        if !in_head {
            return Ok((end, Rest { bytes: then.bytes, elements: left }, elements));
        }
        at = after as usize;
    }
    Ok((at, Rest::default(), elements))
}

impl Rest {
    /// True if nothing is to come.
    pub fn is_done(&self) -> bool {
        *self == Rest::default()
    }

    /// More of the value whose head has been read.
    pub fn step(&mut self, bytes: &[u8]) -> Step {
        let mut at = 0;
        while !self.is_done() {
            if self.bytes > 0 {
                let len = self.bytes.min((bytes.len() - at) as u64);
                self.bytes -= len;
                at += len as usize;
                if self.bytes > 0 {
                    break;
                }
                continue;
            }
            let Some(tag) = bytes.get(at).copied() else { break };
            let then = line_end(bytes, at)
                .and_then(|end| follows(tag, &bytes[at + 1..end - 2]).map(|then| (end, then)));
            match then {
                Ok((end, then)) => {
                    self.elements = (self.elements - 1).saturating_add(then.elements);
                    self.bytes = then.bytes;
                    at = end;
                }
                Err(Step::Need(_)) if at > 0 => break,
                Err(step) => return step,
            }
        }
        match at {
            0 => Step::Need(bytes.len() + 1),
            len => Step::Body { len, last: self.is_done() },
        }
    }
}

/// The command of this name, in any case.
fn command(name: &[u8]) -> Option<&'static (&'static str, bool, &'static [&'static str])> {
    COMMANDS.iter().find(|command| command.0.as_bytes().eq_ignore_ascii_case(name))
}

fn named(message: &mut Message, bytes: &[u8], words: &[std::ops::Range<usize>]) {
    let known = words.first().and_then(|word| command(&bytes[word.clone()]));
    let args = known.map_or(&[][..], |command| command.2);
    message.kind = match known {
        Some((name, write, _)) => Kind { name, reply: false, write: *write },
        None => Kind::of(UNKNOWN),
    };
    for (i, word) in words.iter().enumerate() {
        let name = match i {
            0 => "command",
            _ => args.get(i - 1).copied().unwrap_or("arg"),
        };
        let kind = if name == "replid" { FieldKind::Id } else { FieldKind::Bytes };
        message.push(name, kind, word.clone());
        if name == "key" && message.subject.is_none() {
            message.subject = Some(subject(&bytes[word.clone()]));
        }
    }
}

/// A request, and what of it is still to come.
pub(super) fn request(link: Link, bytes: &[u8]) -> Result<(Message, Rest), Step> {
    let Some(first) = bytes.first() else { return Err(Step::Need(1)) };
    if *first != b'*' {
        return inline(link, bytes).map(|message| (message, Rest::default()));
    }
    let (len, rest, elements) = scan(bytes)?;
    let mut message = Message::new(link, Kind::of(UNKNOWN), len);
    message.whole = rest.is_done();
    if elements[1..].iter().any(|element| element.tag != b'$') {
        return Err(Step::Lost("a request that is not an array of strings"));
    }
    message.push("count", FieldKind::AsciiInt, elements[0].line.clone());
    let words: Vec<_> = elements[1..].iter().filter_map(|element| element.bulk.clone()).collect();
    if words.is_empty() && rest.is_done() {
        message.kind = Kind::of("newline");
        return Ok((message, rest));
    }
    for element in &elements[1..] {
        lengths(&mut message, element);
    }
    named(&mut message, bytes, &words);
    Ok((message, rest))
}

fn lengths(message: &mut Message, element: &Element) {
    if element.is_string() {
        message.push("len", FieldKind::AsciiInt, element.line.clone());
    }
    if let Some(bulk) = &element.bulk {
        message.length(element.line.clone(), LengthForm::Ascii, bulk.clone());
    }
}

/// A request as a line of words.
fn inline(link: Link, bytes: &[u8]) -> Result<Message, Step> {
    if bytes.first() == Some(&0x16) {
        return Err(Step::Lost("encrypted"));
    }
    let window = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        let long = window.len() == LINE_MAX;
        return Err(if long { Step::Lost("a line is too long") } else { Step::Need(bytes.len() + 1) });
    };
    let mut message = Message::new(link, Kind::of("newline"), end + 1);
    let mut words = Vec::new();
    let mut start = None;
    for (i, byte) in bytes[..=end].iter().enumerate() {
        match (byte.is_ascii_whitespace(), start) {
            (false, None) => start = Some(i),
            (true, Some(from)) => {
                words.push(from..i);
                start = None;
            }
            _ => {}
        }
    }
    if !words.is_empty() {
        named(&mut message, bytes, &words);
    }
    Ok(message)
}

/// A reply, or whatever the server says of its own accord, and what of it is still to come.
pub(super) fn reply(link: Link, bytes: &[u8]) -> Result<(Message, Rest), Step> {
    let (len, rest, elements) = scan(bytes)?;
    let top = &elements[0];
    let push = top.tag == b'>';
    let mut message = Message::new(link, Kind::of(if push { "push" } else { "reply" }), len);
    message.whole = rest.is_done();
    message.push("type", FieldKind::Enum(1, TYPES), 0..1);
    lengths(&mut message, top);
    match top.tag {
        b'*' | b'~' | b'>' | b'%' | b'|' => {
            message.push("count", FieldKind::AsciiInt, top.line.clone());
            for element in &elements[1..] {
                lengths(&mut message, element);
                if !element.is_string() || element.bulk.is_some() {
                    message.push("item", FieldKind::Bytes, element.content());
                }
            }
        }
        _ if top.is_string() && top.bulk.is_none() => {}
        b':' => message.push("value", FieldKind::AsciiInt, top.line.clone()),
        b'+' | b'-' => message.push("value", FieldKind::Str, top.line.clone()),
        _ => message.push("value", FieldKind::Bytes, top.content()),
    }
    Ok((message, rest))
}

/// A request of exactly so many bytes that does nothing; `None` if there is none so short.
pub(super) fn filler(len: usize) -> Option<Vec<u8>> {
    let bare = b"*1\r\n$4\r\nPING\r\n";
    if len == bare.len() {
        return Some(bare.to_vec());
    }
    // Two words, because one more digit of a length skips a size.
    for word in ["PING", "EXISTS"] {
        let head = format!("*2\r\n${}\r\n{word}\r\n$", word.len());
        for digits in 1..=7 {
            let Some(pad) = len.checked_sub(head.len() + digits + 4) else { break };
            if pad.to_string().len() == digits {
                let mut out = format!("{head}{pad}\r\n").into_bytes();
                out.resize(out.len() + pad, b'.');
                out.extend_from_slice(b"\r\n");
                return Some(out);
            }
        }
    }
    None
}
