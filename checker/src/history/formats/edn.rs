//! EDN: a reader for its whole grammar, and maps as events.
//!
//! Grammar: the format's own document (edn-format). Keywords, symbols and characters become text, sets sorted
//! arrays, tags are dropped; numbers beyond 64 bits and ratios become text.

use serde_json::{Map, Value};

use super::{Item, Names, event, function, kind};
use crate::{Event, Process};

/// Collections inside collections that are followed.
const DEPTH_MAX: usize = 100;

/// Where a form is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slip {
    pub(super) what: String,
}

fn slip<T>(what: impl Into<String>) -> Result<T, Slip> {
    Err(Slip { what: what.into() })
}

/// The events of a text: maps one after another, or in one vector or list.
pub(super) fn items(text: &str) -> Vec<Item> {
    let mut reader = Reader::new(text);
    let mut names = Names::default();
    let mut items = Vec::new();
    let mut inside: Option<char> = None;
    loop {
        if let Err(slip) = reader.skip_blank() {
            items.push((reader.line, Err(slip.what)));
            reader.skip_to_next_map();
            continue;
        }
        let line = reader.line;
        let Some(c) = reader.peek() else {
            if let Some(close) = inside {
                items.push((line, Err(format!("it breaks off: the history's `{close}` is missing"))));
            }
            return items;
        };
        match c {
            '[' | '(' if inside.is_none() => {
                inside = Some(if c == '[' { ']' } else { ')' });
                reader.bump();
            }
            ']' | ')' | '}' => {
                if inside != Some(c) {
                    items.push((line, Err(format!("`{c}` closes nothing"))));
                }
                inside = None;
                reader.bump();
            }
            _ => {
                let read = match reader.form() {
                    Ok(Some(Value::Object(map))) => of_map(map, &mut names),
                    Ok(Some(other)) => Err(format!("expected a map, found {other}")),
                    Ok(None) => continue,
                    Err(slip) => {
                        reader.skip_to_next_map();
                        Err(slip.what)
                    }
                };
                items.push((line, read));
            }
        }
    }
}

fn of_map(mut map: Map<String, Value>, names: &mut Names) -> Result<Event, String> {
    let process = match map.remove("process") {
        Some(Value::Number(id)) if id.is_u64() => Process::Client(id.as_u64().unwrap_or_default()),
        Some(Value::String(name)) => names.process(&name),
        Some(other) => return Err(format!("its :process {other} is neither a number nor a name")),
        None => return Err("it has no :process".to_string()),
    };
    let named = map.remove("type").unwrap_or_default();
    let Some(kind) = named.as_str().and_then(kind) else {
        return Err(format!("its :type {named} is none of :invoke, :ok, :fail, :info"));
    };
    let f = match map.remove("f") {
        Some(Value::String(f)) => function(&f),
        Some(other) => return Err(format!("its :f {other} is not a name")),
        None => return Err("it has no :f".to_string()),
    };
    let mut event = event(process, kind, f, map.remove("value").unwrap_or_default());
    event.key = map.remove("key").filter(|key| !key.is_null());
    event.error = map.remove("error").filter(|error| !error.is_null()).map(|error| plain(&error).into());
    event.time_ns = map.get("time").and_then(Value::as_u64).unwrap_or(0);
    Ok(event)
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
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Reader { rest: text, line: 1, depth: 0 }
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

    /// Past a slip, to where the next event seems to begin: a line that opens a map.
    fn skip_to_next_map(&mut self) {
        while let Some(at) = self.rest.find('\n') {
            self.rest = &self.rest[at + 1..];
            self.line += 1;
            if self.rest.trim_start_matches([' ', '\t', ',']).starts_with(['{', '#']) {
                return;
            }
        }
        self.rest = "";
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
                self.word();
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
