//! Tables of a file, each value with its place, so that every mistake can be pointed at.

use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A mistake in a file and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Byte of the text at which it begins.
    pub at: usize,
    /// Whose it is: `window 3 (`client`)`; empty for the file's own.
    pub whose: String,
    /// What is wrong, and the mend.
    pub problem: String,
}

/// The values of one table that have not been taken yet.
#[derive(Debug)]
pub struct Fields<'a> {
    /// How people find it: `window 3`.
    pub whose: String,
    /// Where it begins.
    pub at: usize,
    values: Vec<(&'a str, usize, &'a Spanned<DeValue<'a>>)>,
}

impl<'a> Fields<'a> {
    /// Of a table that begins at `at`.
    pub fn of(whose: String, at: usize, table: &'a DeTable<'a>) -> Fields<'a> {
        let mut values: Vec<_> =
            table.iter().map(|(name, value)| (name.get_ref().as_ref(), name.span().start, value)).collect();
        values.sort_by_key(|(_, at, _)| *at);
        Fields { whose, at, values }
    }

    /// A mistake of the whole table.
    pub fn mistake(&self, problem: impl Into<String>) -> Mistake {
        self.mistake_at(self.at, problem)
    }

    /// A mistake at one of its values.
    pub fn mistake_at(&self, at: usize, problem: impl Into<String>) -> Mistake {
        Mistake { at, whose: self.whose.clone(), problem: problem.into() }
    }

    /// Takes a value of a kind, with its place; none where it is not given.
    pub fn take<T: for<'de> Deserialize<'de>>(&mut self, name: &str) -> Result<Option<(T, usize)>, Mistake> {
        let Some((_, at, value)) = self.remove(name) else { return Ok(None) };
        let read = serde_json::from_value(json(value).map_err(|why| self.mistake_at(at, why))?);
        read.map(|value| Some((value, at))).map_err(|why| self.mistake_at(at, format!("`{name}`: {why}")))
    }

    /// Takes a number.
    pub fn number(&mut self, name: &str) -> Result<Option<(f64, usize)>, Mistake> {
        let Some((value, at)) = self.take::<Value>(name)? else { return Ok(None) };
        let number =
            value.as_f64().ok_or_else(|| self.mistake_at(at, format!("`{name}` is a number, not {value}")));
        number.map(|number| Some((number, at)))
    }

    /// Takes a name in quotes.
    pub fn text(&mut self, name: &str) -> Result<Option<(String, usize)>, Mistake> {
        let Some((value, at)) = self.take::<Value>(name)? else { return Ok(None) };
        match value {
            Value::String(text) => Ok(Some((text, at))),
            other => Err(self.mistake_at(at, format!("`{name}` is a text in quotes, not {other}"))),
        }
    }

    /// Takes tables: those of `[[name]]`, or the one of `[name]`; each is called by its name and number.
    pub fn tables(&mut self, name: &str) -> Result<Vec<Fields<'a>>, Mistake> {
        let Some((_, at, value)) = self.remove(name) else { return Ok(Vec::new()) };
        let prefix = if self.whose.is_empty() { String::new() } else { format!("{}, ", self.whose) };
        let no_table = |at: usize| Mistake {
            at,
            whose: self.whose.clone(),
            problem: format!("`{name}` is a table: begin it with [[{name}]]"),
        };
        match value.get_ref() {
            DeValue::Table(table) => Ok(vec![Fields::of(format!("{prefix}{name}"), at, table)]),
            DeValue::Array(list) => {
                let each = list.iter().enumerate().map(|(i, one)| match one.get_ref() {
                    DeValue::Table(table) => {
                        Ok(Fields::of(format!("{prefix}{name} {}", i + 1), one.span().start, table))
                    }
                    _ => Err(no_table(one.span().start)),
                });
                each.collect()
            }
            _ => Err(no_table(at)),
        }
    }

    /// True while a value of this name is there.
    pub fn has(&self, name: &str) -> bool {
        self.values.iter().any(|(given, ..)| *given == name)
    }

    /// Where a value stands, by its name; the table's own place where it is not given.
    pub fn place(&self, name: &str) -> usize {
        self.values.iter().find(|(given, ..)| *given == name).map_or(self.at, |(_, at, _)| *at)
    }

    /// All that has not been taken, as plain values.
    pub fn rest(&self) -> Result<Map<String, Value>, Mistake> {
        let each = self.values.iter().map(|(name, at, value)| {
            let value = json(value).map_err(|why| self.mistake_at(*at, why))?;
            Ok((name.to_string(), value))
        });
        each.collect()
    }

    /// Nothing may be left; `takes` says what there may be.
    pub fn done(&self, takes: &str) -> Result<(), Mistake> {
        match self.values.first() {
            None => Ok(()),
            Some((name, at, _)) => {
                Err(self.mistake_at(*at, format!("unknown field `{name}`: it takes {takes}")))
            }
        }
    }

    fn remove(&mut self, name: &str) -> Option<(&'a str, usize, &'a Spanned<DeValue<'a>>)> {
        let position = self.values.iter().position(|(given, ..)| *given == name)?;
        Some(self.values.remove(position))
    }
}

/// The same value without places.
fn json(value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    let deserializer = toml::de::ValueDeserializer::from(value.clone());
    let value = toml::Value::deserialize(deserializer).map_err(|why| why.message().to_string())?;
    serde_json::to_value(value).map_err(|why| why.to_string())
}

/// Line and column of a byte, both from 1, as editors count.
pub fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}
