//! Operations as columns, and the tables of names that the columns point into.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::{self, Write};

use checker::{Op, OpEnd, Process};
use serde::Serialize;
use serde_json::Value;

/// Longest value or error shown, in characters.
const TEXT_CHARS_MAX: usize = 96;

/// Different errors that are told apart; later ones are told by the last place.
const ERRORS_MAX: usize = 4_096;

/// Every different thing once, in order of first sight.
#[derive(Debug)]
pub(super) struct Table<T> {
    places: HashMap<T, usize>,
    pub all: Vec<T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { places: HashMap::new(), all: Vec::new() }
    }
}

impl<T: Hash + Eq + Clone> Table<T> {
    fn note(&mut self, item: T) -> usize {
        let next = self.all.len();
        let place = *self.places.entry(item.clone()).or_insert(next);
        if place == next {
            self.all.push(item);
        }
        place
    }

    fn place(&self, item: &T) -> u64 {
        self.places.get(item).copied().unwrap_or(0) as u64
    }
}

/// Where a call was sent, as far as its client knew.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Sent(pub Option<String>, pub Option<u32>, pub Option<u64>);

impl Sent {
    fn of(op: &Op) -> Sent {
        Sent(op.node.as_deref().map(str::to_owned), op.shard, op.epoch)
    }
}

/// The tables, filled by a first look at every operation.
#[derive(Debug)]
pub(super) struct Columns {
    /// Number of operations noted.
    pub len: usize,
    /// Processes at a time.
    pub workers: u64,
    pub processes: Table<u64>,
    pub functions: Table<String>,
    pub keys: Table<String>,
    pub sent: Table<Sent>,
    pub errors: Table<String>,
}

impl Columns {
    pub fn new(workers: u64) -> Columns {
        Columns {
            len: 0,
            workers,
            processes: Table::default(),
            functions: Table::default(),
            keys: Table::default(),
            sent: Table::default(),
            errors: Table::default(),
        }
    }

    pub fn note(&mut self, op: &Op) {
        self.len += 1;
        self.processes.note(number(op.process));
        self.functions.note(op.f.to_string());
        self.keys.note(key(&op.key));
        self.sent.note(Sent::of(op));
        if let Some(error) = &op.error
            && self.errors.all.len() < ERRORS_MAX
        {
            self.errors.note(cut(error.to_string()));
        }
    }

    /// Writes every column; `ops` are those that were noted, in order of their calls.
    pub fn write(&self, ops: &[&Op], out: &mut impl Write) -> io::Result<()> {
        let mut before = 0;
        column(ops, out, |op| {
            let now = op.call_ns / 1_000;
            now - std::mem::replace(&mut before, now)
        })?;
        column(ops, out, |op| op.ret_ns.map_or(0, |ret| 1 + ret.saturating_sub(op.call_ns) / 1_000))?;
        column(ops, out, |op| self.processes.place(&number(op.process)))?;
        column(ops, out, |op| 3 * self.functions.place(&op.f.to_string()) + end(op.end))?;
        column(ops, out, |op| self.keys.place(&key(&op.key)))?;
        column(ops, out, |op| self.sent.place(&Sent::of(op)))?;
        let last_error = self.errors.all.len() as u64;
        column(ops, out, |op| match &op.error {
            Some(error) => {
                self.errors.places.get(&cut(error.to_string())).map_or(last_error, |&place| 1 + place as u64)
            }
            None => 0,
        })?;
        let mut before = 0;
        column(ops, out, |op| {
            let grown = op.index.wrapping_sub(std::mem::replace(&mut before, op.index)) as i64;
            ((grown << 1) ^ (grown >> 63)) as u64
        })?;
        text(ops, out, |op| &op.input)?;
        text(ops, out, |op| &op.output)
    }
}

fn number(process: Process) -> u64 {
    match process {
        Process::Client(number) => number,
        Process::Nemesis => u64::MAX,
    }
}

/// A key as anomalies name it.
pub(super) fn key(key: &Value) -> String {
    match key {
        Value::Null => String::new(),
        Value::String(name) => name.clone(),
        other => other.to_string(),
    }
}

fn end(end: OpEnd) -> u64 {
    match end {
        OpEnd::Ok => 0,
        OpEnd::Fail => 1,
        OpEnd::Info => 2,
    }
}

fn column(ops: &[&Op], out: &mut impl Write, mut number: impl FnMut(&Op) -> u64) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(64 * 1024);
    for op in ops {
        leb128(number(op), &mut bytes);
        if bytes.len() >= 63 * 1024 {
            out.write_all(&bytes)?;
            bytes.clear();
        }
    }
    out.write_all(&bytes)
}

fn leb128(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// One line per operation: JSON has no line breaks of its own.
fn text<'a>(ops: &[&'a Op], out: &mut impl Write, value: impl Fn(&'a Op) -> &'a Value) -> io::Result<()> {
    let mut lines = String::with_capacity(64 * 1024);
    for op in ops {
        match value(op) {
            Value::Null => {}
            value => lines.push_str(&cut(value.to_string())),
        }
        lines.push('\n');
        if lines.len() >= 63 * 1024 {
            out.write_all(lines.as_bytes())?;
            lines.clear();
        }
    }
    out.write_all(lines.as_bytes())
}

/// The beginning and the end: lists differ at the end, texts at the beginning.
fn cut(text: String) -> String {
    if text.len() <= TEXT_CHARS_MAX || text.chars().count() <= TEXT_CHARS_MAX {
        return text;
    }
    let half = TEXT_CHARS_MAX / 2;
    let tail = text.char_indices().rev().nth(half - 1).map_or(0, |(at, _)| at);
    let head = text.char_indices().nth(half - 1).map_or(text.len(), |(at, _)| at);
    format!("{}…{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_page_reads_them() {
        let written = |number| {
            let mut out = Vec::new();
            leb128(number, &mut out);
            out
        };
        assert_eq!(written(0), [0]);
        assert_eq!(written(127), [0x7f]);
        assert_eq!(written(128), [0x80, 1]);
        assert_eq!(written(624_485), [0xe5, 0x8e, 0x26]);
    }

    #[test]
    fn long_texts_keep_both_ends() {
        let long: String = ('a'..='z').cycle().take(500).collect();
        let short = cut(long.clone());
        assert_eq!(short.chars().count(), TEXT_CHARS_MAX);
        assert!(long.starts_with(&short[..40]) && long.ends_with(&short[short.len() - 40..]));
        assert_eq!(cut("é".repeat(96)), "é".repeat(96));
        assert_eq!(cut("é".repeat(97)).chars().count(), TEXT_CHARS_MAX);
    }
}
