//! EDN: a reader for its whole grammar, and maps as events.
//!
//! Grammar: the format's own document (edn-format). Keywords, symbols and characters become text, sets sorted
//! arrays, tags are dropped; numbers beyond 64 bits and ratios become text.

use serde_json::{Map, Value};

use super::{Found, Item, Names, Notes, event, function, kind};
use crate::{Event, Process};

/// Collections inside collections that are followed.
const DEPTH_MAX: usize = 100;

/// What a value is tagged with that is a key and the value under it.
const TUPLE_TAG: &str = "jepsen.independent/tuple";

/// Why a text is not a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slip {
    pub(super) what: String,
}

fn slip<T>(what: impl Into<String>) -> Result<T, Slip> {
    Err(Slip { what: what.into() })
}

/// Prefixes of one form that may end with a collection of their own, like `#_ {…} #_ {…}`.
const CARRIED_MAX: u32 = 8;

/// Events from the text of forms.
#[derive(Default)]
pub(super) struct Forms {
    names: Names,
    said_no_function: bool,
    /// A prefix that waits for what it is about, and where it began.
    carried: Option<(u64, String)>,
    carries: u32,
}

impl Forms {
    /// The text of one form or more that begins on this line.
    pub(super) fn take(&mut self, line: u64, text: &str, items: &mut Vec<Item>, notes: &mut Notes) {
        let joined = self.carried.take().map(|(line, before)| (line, before + "\n" + text));
        let (line, text) = joined.as_ref().map_or((line, text), |(line, text)| (*line, text.as_str()));
        let mut reader = Reader::new(text, line);
        loop {
            let begun = reader.skip_blank();
            let line = reader.line;
            reader.tuple_seen = false;
            match begun.and_then(|()| reader.form()) {
                Ok(Some(Value::Object(map))) => {
                    let is_tuple = reader.tuple_seen;
                    let item = self.event(line, map, is_tuple, notes);
                    items.push(item);
                }
                Ok(Some(other)) => items.push(Err((line, format!("expected a map, found {other}")))),
                Ok(None) => break,
                Err(_)
                    if reader.rest.is_empty()
                        && text.starts_with(['#', '^'])
                        && self.carries < CARRIED_MAX =>
                {
                    self.carries += 1;
                    self.carried = Some((line, text.to_string()));
                    return;
                }
                Err(slip) => {
                    items.push(Err((line, slip.what)));
                    break;
                }
            }
        }
        self.carries = 0;
    }

    /// There is no more text.
    pub(super) fn finish(&mut self, items: &mut Vec<Item>) {
        if let Some((line, _)) = self.carried.take() {
            items.push(Err((line, "it breaks off after a prefix".to_string())));
        }
    }

    fn event(&mut self, line: u64, mut map: Map<String, Value>, is_tuple: bool, notes: &mut Notes) -> Item {
        let wrong = |why: String| Err((line, why));
        let process = match map.remove("process") {
            Some(Value::Number(id)) if id.is_u64() => Some(Process::Client(id.as_u64().unwrap_or_default())),
            Some(Value::String(name)) => Some(self.names.process(&name)),
            Some(other) => return wrong(format!("its :process {other} is neither a number nor a name")),
            None => None,
        };
        let named = map.remove("type").unwrap_or_default();
        let Some(kind) = named.as_str().and_then(kind) else {
            return wrong(format!("its :type {named} is none of :invoke, :ok, :fail, :info"));
        };
        let value = map.remove("value").unwrap_or_default();
        let f = match map.remove("f") {
            Some(Value::String(f)) => function(&f),
            Some(other) => return wrong(format!("its :f {other} is not a name")),
            None if is_transaction(&value) => {
                if !std::mem::replace(&mut self.said_no_function, true) {
                    notes.push(
                        line,
                        "events without a function whose values are those of transactions: taken for such",
                    );
                }
                "txn".into()
            }
            None => return wrong("it has no :f".to_string()),
        };
        let is_nameless = process.is_none();
        let mut event = event(process.unwrap_or(Process::Client(0)), kind, f, value);
        event.key = map.remove("key").filter(|key| !key.is_null());
        event.error = map.remove("error").filter(|error| !error.is_null()).map(|error| plain(&error).into());
        event.time_ns = map.get("time").and_then(Value::as_u64).unwrap_or(0);
        if is_tuple {
            split_tuple(&mut event);
        }
        Ok(Found { line, event, is_nameless })
    }
}

/// Operations `[function key value]`, one or more.
fn is_transaction(value: &Value) -> bool {
    let is_part = |part: &Value| part.as_array().is_some_and(|part| part.len() == 3 && part[0].is_string());
    value.as_array().is_some_and(|parts| !parts.is_empty() && parts.iter().all(is_part))
}

/// Jepsen's independent keys: the value is `[key value]`.
pub(super) fn split_tuple(event: &mut Event) {
    if let Value::Array(pair) = &mut event.value
        && let [key, value] = pair.as_mut_slice()
    {
        let (key, value) = (key.take(), value.take());
        event.key = Some(key);
        event.value = value;
    }
}

/// Text as it is, anything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Reads form after form.
pub(super) struct Reader<'t> {
    rest: &'t str,
    /// Line, from 1.
    pub(super) line: u64,
    depth: usize,
    /// Was there a value tagged as Jepsen's independent key and value?
    pub(super) tuple_seen: bool,
}

impl<'t> Reader<'t> {
    /// A reader of a text that begins on this line.
    pub(super) fn new(text: &'t str, line: u64) -> Self {
        Reader { rest: text, line, depth: 0, tuple_seen: false }
    }

    /// The next form; none at the end, or where a collection closes.
    pub(super) fn form(&mut self) -> Result<Option<Value>, Slip> {
        self.skip_blank()?;
        match self.peek() {
            None | Some(']' | ')' | '}') => Ok(None),
            Some(_) if self.depth >= DEPTH_MAX => {
                slip(format!("more than {DEPTH_MAX} collections in each other"))
            }
            Some(_) => {
                self.depth += 1;
                let value = self.value();
                self.depth -= 1;
                value.map(Some)
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        self.line += u64::from(c == '\n');
        Some(c)
    }

    /// Past white space, commas, comments and what `#_` discards.
    fn skip_blank(&mut self) -> Result<(), Slip> {
        loop {
            match self.peek() {
                Some(c) if c.is_whitespace() || c == ',' => drop(self.bump()),
                Some(';') => {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                }
                Some('#') if self.rest.starts_with("#_") => {
                    self.rest = &self.rest[2..];
                    self.must_form("what `#_` discards")?;
                }
                _ => return Ok(()),
            }
        }
    }

    fn must_form(&mut self, what: &str) -> Result<Value, Slip> {
        match self.form()? {
            Some(value) => Ok(value),
            None if self.rest.is_empty() => slip(format!("it breaks off: {what} is missing")),
            None => slip(format!("{what} is missing")),
        }
    }

    fn value(&mut self) -> Result<Value, Slip> {
        match self.peek() {
            Some('[') => self.sequence(']').map(Value::Array),
            Some('(') => self.sequence(')').map(Value::Array),
            Some('{') => self.map(),
            Some('"') => self.text(),
            Some('\\') => self.character(),
            Some('^') => {
                self.bump();
                self.must_form("metadata")?;
                self.must_form("what the metadata is about")
            }
            Some('#') => self.dispatch(),
            _ => self.atom(),
        }
    }

    fn sequence(&mut self, close: char) -> Result<Vec<Value>, Slip> {
        self.bump();
        let mut all = Vec::new();
        while let Some(value) = self.form()? {
            all.push(value);
        }
        match self.bump() {
            Some(c) if c == close => Ok(all),
            Some(c) => slip(format!("`{c}` where `{close}` should close a collection")),
            None => slip(format!("it breaks off: a `{close}` is missing")),
        }
    }

    fn map(&mut self) -> Result<Value, Slip> {
        let all = self.sequence('}')?;
        if all.len() % 2 == 1 {
            return slip("a map with a key that has no value");
        }
        let pairs = all.chunks_exact(2).map(|pair| (plain(&pair[0]), pair[1].clone()));
        Ok(Value::Object(pairs.collect()))
    }

    fn dispatch(&mut self) -> Result<Value, Slip> {
        self.bump();
        match self.peek() {
            Some('{') => {
                let mut all = self.sequence('}')?;
                all.sort_by_cached_key(|value| (value.as_i64().is_none(), value.as_i64(), value.to_string()));
                Ok(Value::Array(all))
            }
            Some('#') => {
                self.bump();
                Ok(Value::String(self.word().to_string()))
            }
            Some(c) if c.is_alphabetic() => {
                self.tuple_seen |= self.word() == TUPLE_TAG;
                self.must_form("what a tag is about")
            }
            Some(c) => slip(format!("`#{c}` is not EDN")),
            None => slip("it breaks off after `#`"),
        }
    }

    fn text(&mut self) -> Result<Value, Slip> {
        self.bump();
        let mut text = String::new();
        loop {
            match self.bump() {
                None => return slip("it breaks off inside a string"),
                Some('"') => return Ok(Value::String(text)),
                Some('\\') => text.push(match self.bump() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some('b') => '\u{8}',
                    Some('f') => '\u{c}',
                    Some('u') => {
                        let digits = self.rest.get(..4).unwrap_or_default();
                        let Some(c) = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32) else {
                            return slip("`\\u` without four hexadecimal digits in a string");
                        };
                        self.rest = &self.rest[4..];
                        c
                    }
                    Some(c @ ('"' | '\\')) => c,
                    Some(c) => return slip(format!("`\\{c}` in a string")),
                    None => return slip("it breaks off inside a string"),
                }),
                Some(c) => text.push(c),
            }
        }
    }

    fn character(&mut self) -> Result<Value, Slip> {
        self.bump();
        let Some(first) = self.bump() else { return slip("it breaks off after `\\`") };
        let rest = if first.is_alphanumeric() { self.word() } else { "" };
        let c = match (first, rest) {
            (c, "") => c,
            ('n', "ewline") => '\n',
            ('s', "pace") => ' ',
            ('t', "ab") => '\t',
            ('r', "eturn") => '\r',
            ('u', digits) if digits.len() == 4 => {
                match u32::from_str_radix(digits, 16).ok().and_then(char::from_u32) {
                    Some(c) => c,
                    None => return slip(format!("`\\u{digits}` is not a character")),
                }
            }
            _ => return slip(format!("`\\{first}{rest}` is not a character")),
        };
        Ok(Value::String(c.to_string()))
    }

    /// Up to the next delimiter.
    fn word(&mut self) -> &'t str {
        let is_end =
            |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '"' | '(' | ')' | '[' | ']' | '{' | '}');
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn atom(&mut self) -> Result<Value, Slip> {
        let word = self.word();
        Ok(match word {
            "nil" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "" | ":" => return slip("an empty name"),
            word => match word.strip_prefix(':') {
                Some(name) => Value::String(name.to_string()),
                None => number(word).unwrap_or_else(|| Value::String(word.to_string())),
            },
        })
    }
}

/// A number, with `N` or `M` behind it or not; none if the word is not one that JSON has.
fn number(word: &str) -> Option<Value> {
    let digits = word.strip_prefix('+').unwrap_or(word);
    if !digits.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let whole = digits.strip_suffix('N').unwrap_or(digits);
    if let Ok(number) = whole.parse::<i64>() {
        return Some(number.into());
    }
    if whole.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit()) {
        return Some(whole.parse::<u64>().map_or_else(|_| whole.into(), Value::from));
    }
    let number = digits.strip_suffix('M').unwrap_or(digits).parse::<f64>().ok()?;
    serde_json::Number::from_f64(number).map(Value::Number)
}
