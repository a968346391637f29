//! Text of a campaign file with places in it: every mistake is told with its line, column and mend.

use std::fmt::Display;
use std::ops::Range;

use anyhow::Result;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::check;
use crate::exit::UsageError;

/// Bytes of the text that something was said with.
pub type Span = Range<usize>;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// A file's name and text.
#[derive(Debug, Clone)]
pub struct Source {
    /// As the user gave it.
    pub name: String,
    /// All of it.
    pub text: String,
}

impl Source {
    /// What is wrong at a place, with the line it stands in; a [`UsageError`].
    pub fn refuse(&self, span: &Span, message: impl Display) -> anyhow::Error {
        let start = span.start.min(self.text.len());
        let before = &self.text[..self.text.floor_char_boundary(start)];
        let (line, begin) = (before.matches('\n').count() + 1, before.rfind('\n').map_or(0, |at| at + 1));
        let column = before[begin..].chars().count() + 1;
        let shown = self.text[begin..].lines().next().unwrap_or_default();
        let marked = self.text.get(span.clone()).unwrap_or_default().lines().next().unwrap_or_default();
        let (number, carets) = (line.to_string(), "^".repeat(marked.chars().count().max(1)));
        let margin = " ".repeat(number.len());
        let text = format!(
            "{}:{line}:{column}: {message}\n {number} | {shown}\n {margin} | {}{carets}",
            self.name,
            " ".repeat(column - 1)
        );
        UsageError(text).into()
    }
}

/// The one of `known` that was probably meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.into_iter().map(|known| (strsim::normalized_damerau_levenshtein(name, known), known));
    near.filter(|(likeness, _)| *likeness > 0.5).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

/// `unknown key `sed`; did you mean `seed`?`, or all that are known.
pub fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("unknown {what} `{name}`; did you mean `{meant}`?"),
        None => format!("unknown {what} `{name}`; use {}", known.join(", ")),
    }
}

/// A table whose keys are all known.
pub struct Table<'a> {
    source: &'a Source,
    table: &'a DeTable<'a>,
    /// Where it stands.
    pub span: Span,
}

impl<'a> Table<'a> {
    /// Refuses keys that are not in `known`.
    pub fn new(source: &'a Source, table: &'a DeTable<'a>, span: Span, known: &[&str]) -> Result<Self> {
        for (key, _) in table {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                return Err(source.refuse(&key.span(), unknown("key", name, known)));
            }
        }
        Ok(Table { source, table, span })
    }

    /// What stands under a key.
    pub fn get(&self, key: &str) -> Option<Field<'a>> {
        self.fields().find(|field| field.name == key)
    }

    /// Everything in it.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> {
        self.table.iter().map(|(key, value)| Field {
            source: self.source,
            name: key.get_ref().to_string(),
            value,
        })
    }

    /// A table that something is missing in.
    pub fn refuse(&self, message: impl Display) -> anyhow::Error {
        self.source.refuse(&self.span, message)
    }
}

/// A value under a key, or one of a list.
#[derive(Clone)]
pub struct Field<'a> {
    source: &'a Source,
    /// Its key, or that of its list.
    pub name: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Field<'a> {
    /// Where the value stands.
    pub fn span(&self) -> Span {
        self.value.span()
    }

    /// Something is wrong with it.
    pub fn refuse(&self, message: impl Display) -> anyhow::Error {
        self.source.refuse(&self.value.span(), message)
    }

    fn wanted(&self, what: &str) -> anyhow::Error {
        self.refuse(format!("`{}`: expected {what}, found {}", self.name, article(self.value.get_ref())))
    }

    /// With its place.
    pub fn placed<T>(&self, value: T) -> Placed<T> {
        Placed { value, span: self.span() }
    }

    /// A text.
    pub fn string(&self) -> Result<Placed<String>> {
        let text = self.value.get_ref().as_str().ok_or_else(|| self.wanted("a text in quotes"))?;
        Ok(self.placed(text.to_string()))
    }

    /// A whole number within a range.
    pub fn whole(&self, range: std::ops::RangeInclusive<u64>) -> Result<Placed<u64>> {
        let number = match self.value.get_ref() {
            DeValue::Integer(integer) => integer_of(integer),
            _ => None,
        };
        match number {
            Some(number) if range.contains(&number) => Ok(self.placed(number)),
            Some(_) => {
                Err(self.refuse(format!("`{}`: give {} to {}", self.name, range.start(), range.end())))
            }
            None => Err(self.wanted(&format!("a whole number from {} to {}", range.start(), range.end()))),
        }
    }

    /// A number.
    pub fn number(&self) -> Result<Placed<f64>> {
        let number = match self.value.get_ref() {
            DeValue::Integer(integer) => integer_of(integer).map(|n| n as f64),
            DeValue::Float(float) => float.as_str().replace('_', "").parse().ok(),
            _ => None,
        };
        number.map(|number| self.placed(number)).ok_or_else(|| self.wanted("a number"))
    }

    /// A time: a number of seconds, or a text like `90s`, `5m`, `2h`.
    pub fn seconds(&self) -> Result<Placed<f64>> {
        let seconds = match self.value.get_ref() {
            DeValue::String(text) => check::duration(text)
                .map_err(|why| self.refuse(format!("`{}`: {why}", self.name)))?
                .as_secs_f64(),
            _ => self.number().map_err(|_| self.wanted("seconds, or a time like \"5m\""))?.value,
        };
        if !(seconds > 0.0 && seconds.is_finite()) {
            return Err(self.refuse(format!("`{}`: give a time above 0", self.name)));
        }
        Ok(self.placed(seconds))
    }

    /// Everything in a list that is not empty.
    pub fn items(&self) -> Result<Vec<Field<'a>>> {
        let array = self.value.get_ref().as_array().ok_or_else(|| self.wanted("a list in brackets"))?;
        if array.is_empty() {
            return Err(
                self.refuse(format!("`{}`: the list is empty; leave the key out or fill it", self.name))
            );
        }
        Ok(array.iter().map(|value| Field { value, ..self.clone() }).collect())
    }

    /// A list, or one value that stands for a list of one.
    pub fn one_or_more(&self) -> Result<Vec<Field<'a>>> {
        if self.is_list() { self.items() } else { Ok(vec![self.clone()]) }
    }

    /// True for a list.
    pub fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }

    /// True for a table.
    pub fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// True for a text.
    pub fn is_string(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// A table with keys of `known`.
    pub fn table(&self, known: &[&str]) -> Result<Table<'a>> {
        let table = self.value.get_ref().as_table().ok_or_else(|| self.wanted("a table"))?;
        Table::new(self.source, table, self.span(), known)
    }

    /// A table whose keys somebody else checks.
    pub fn any_table(&self) -> Result<Table<'a>> {
        let table = self.value.get_ref().as_table().ok_or_else(|| self.wanted("a table"))?;
        Ok(Table { source: self.source, table, span: self.span() })
    }

    /// A value as a flag takes it; none for a switch that is off.
    pub fn flag_value(&self) -> Result<Option<String>> {
        Ok(match self.value.get_ref() {
            DeValue::Boolean(on) => on.then(String::new),
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(integer) => Some(integer.as_str().replace('_', "")),
            DeValue::Float(float) => Some(float.as_str().replace('_', "")),
            DeValue::Array(_) => {
                let texts =
                    self.items()?.iter().map(|item| Ok(item.string()?.value)).collect::<Result<Vec<_>>>()?;
                Some(texts.join(","))
            }
            _ => return Err(self.wanted("a text, a number, true or false")),
        })
    }

    /// True for `true` and `false`.
    pub fn is_switch(&self) -> bool {
        self.value.get_ref().is_bool()
    }
}

fn integer_of(integer: &toml::de::DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(&integer.as_str().replace(['_', '+'], ""), integer.radix()).ok()
}

fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_where_it_stands() {
        let source = Source { name: "c.toml".into(), text: "a = 1\nä = 'x'\n".into() };
        let at = source.text.find('\'').unwrap();
        let told = source.refuse(&(at..at + 3), "no").to_string();
        assert_eq!(told, "c.toml:2:5: no\n 2 | ä = 'x'\n   |     ^^^");
        assert!(source.refuse(&(99..120), "past the end").to_string().starts_with("c.toml:3:1: past"));
    }

    #[test]
    fn a_slip_of_the_pen_is_understood_and_a_strange_word_is_not() {
        let known = ["workloads", "faults", "seeds"];
        assert_eq!(unknown("key", "workload", &known), "unknown key `workload`; did you mean `workloads`?");
        assert_eq!(unknown("key", "color", &known), "unknown key `color`; use workloads, faults, seeds");
    }
}
