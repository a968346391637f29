//! Tables: columns with a type and a meaning, and rows that go somewhere.

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A 64-bit integer with its sign.
    Int,
    /// Text.
    Text,
    /// Text that is JSON.
    Json,
    /// Yes or no.
    Bool,
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// May it hold nothing?
    pub nullable: bool,
    /// What it means, for people.
    pub about: &'static str,
}

/// What stands in a row under a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// Under [`Kind::Int`].
    Int(i64),
    /// Under [`Kind::Text`] and [`Kind::Json`].
    Text(Cow<'a, str>),
    /// Under [`Kind::Bool`].
    Bool(bool),
}

impl<'a> Cell<'a> {
    /// An integer, if there is one. What needs the 64th bit is nothing: no clock and no count of ours comes there.
    pub fn int(number: Option<u64>) -> Self {
        number.and_then(|number| i64::try_from(number).ok()).map_or(Cell::Null, Cell::Int)
    }

    /// Text.
    pub fn text(text: &'a str) -> Self {
        Cell::Text(Cow::Borrowed(text))
    }

    /// Text, if there is some.
    pub fn maybe(text: Option<&'a str>) -> Self {
        text.map_or(Cell::Null, Cell::text)
    }

    /// A value as JSON; null is nothing.
    pub fn json(value: &Value) -> Self {
        if value.is_null() { Cell::Null } else { Cell::Text(Cow::Owned(value.to_string())) }
    }

    /// A value where it is an integer.
    pub fn int_of(value: &Value) -> Self {
        value.as_i64().map_or(Cell::Null, Cell::Int)
    }
}

/// Where rows go.
pub trait Rows {
    /// Takes a row: a cell for each column, in order.
    fn push(&mut self, row: &[Cell<'_>]) -> Result<()>;
}

/// Writes rows as JSON objects, one a line; cells of [`Kind::Json`] as what they are.
pub struct JsonLines<W> {
    out: W,
    name: PathBuf,
    columns: &'static [Column],
}

impl<W: Write> JsonLines<W> {
    /// Into `out`, which errors call `name`.
    pub fn new(out: W, name: &Path, columns: &'static [Column]) -> Self {
        JsonLines { out, name: name.to_owned(), columns }
    }
}

impl<W: Write> Rows for JsonLines<W> {
    fn push(&mut self, row: &[Cell<'_>]) -> Result<()> {
        let mut object = Map::new();
        for (column, cell) in self.columns.iter().zip(row) {
            let value = match cell {
                Cell::Null => Value::Null,
                Cell::Int(number) => Value::from(*number),
                Cell::Bool(is) => Value::from(*is),
                Cell::Text(text) if column.kind == Kind::Json => {
                    serde_json::from_str(text).unwrap_or_else(|_| Value::from(&**text))
                }
                Cell::Text(text) => Value::from(&**text),
            };
            object.insert(column.name.to_owned(), value);
        }
        let written = serde_json::to_writer(&mut self.out, &object).map_err(std::io::Error::from);
        written.and_then(|()| self.out.write_all(b"\n")).map_err(Error::doing("write", &self.name))
    }
}
