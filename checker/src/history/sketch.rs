//! A drawn timeline read as a [`History`], for docs and tests.
//!
//! ```text
//! p0 |--w1--?
//! p1           |--r1--|  |--r0--|     invalid: the write was seen, then unseen
//! ```
//!
//! One line per process; columns are time. A bar opens with `|` and ends with
//! - `|`: it took effect ([`OpEnd::Ok`](super::OpEnd::Ok));
//! - `x`: it certainly failed;
//! - `#`: it failed because the register did not hold what it expected (a `cas` with error `mismatch`);
//! - `?`: nobody can say; the process is retired;
//! - nothing: it never came back.
//!
//! Its label is `w` value, `r` value or `c` expected `>` new, or for any other object the name of the function,
//! its argument in parentheses if it has one, and `=` result if there is one: `add(3)`, `acquire()=7`,
//! `read()=[1,2]`. Then comes `@` key if there are keys. A value is a
//! JSON number (below 0 with a minus sign, `−1`, since a dash is part of the bar), string, array or object (`{a:1}`),
//! `true` or `false`, a bare word, or `_` for the initial `null`. Bars of one process do not share
//! a column. At the same column calls come before returns. What follows `valid:`, `invalid:` or `unknown:`
//! is a remark.

use std::borrow::Cow;

use serde_json::{Value, json};
use thiserror::Error;

use super::{Event, EventKind, History, Process};

/// Why a drawing cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}, column {column} of the drawing: {why}")]
pub struct SketchError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What was expected there.
    pub why: String,
}

/// Reads a drawing as a history.
pub fn history(drawing: &str) -> Result<History, SketchError> {
    let events = events(drawing)?;
    History::from_events(events).map_err(|error| SketchError {
        line: 1,
        column: 1,
        why: format!("not a history: {error}"),
    })
}

/// Reads a drawing as events, one column a millisecond.
pub fn events(drawing: &str) -> Result<Vec<Event>, SketchError> {
    let mut edges: Vec<(usize, bool, Event)> = Vec::new();
    for (number, line) in (1..).zip(drawing.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let mut row = Row { line: number, chars: line.chars().collect(), at: 0 };
        let process = row.process()?;
        while let Some(bar) = row.bar()? {
            let event = |kind, column: usize, value: &Value, error: Option<&'static str>| Event {
                index: 0,
                time_ns: column as u64 * 1_000_000,
                process,
                kind,
                f: bar.label.f.clone(),
                key: bar.label.key.clone(),
                value: value.clone(),
                error: error.map(Cow::Borrowed),
                shard: None,
                epoch: None,
                node: None,
            };
            edges.push((bar.call, false, event(EventKind::Invoke, bar.call, &bar.label.input, None)));
            if let Some((column, kind, error)) = bar.end {
                let value = if kind == EventKind::Ok { &bar.label.output } else { &bar.label.input };
                edges.push((column, true, event(kind, column, value, error)));
            }
        }
    }
    edges.sort_by_key(|(column, returns, _)| (*column, *returns));
    let numbered = edges.into_iter().enumerate().map(|(i, (_, _, event))| Event { index: i as u64, ..event });
    Ok(numbered.collect())
}

struct Row {
    line: usize,
    chars: Vec<char>,
    at: usize,
}

struct Bar {
    call: usize,
    label: Label,
    /// Column, kind and error of the completion; none when it never came.
    end: Option<(usize, EventKind, Option<&'static str>)>,
}

struct Label {
    f: Cow<'static, str>,
    key: Option<Value>,
    input: Value,
    output: Value,
}

/// A function, its argument, its result.
type Call = (Cow<'static, str>, Value, Value);

impl Row {
    fn fail<T>(&self, why: impl Into<String>) -> Result<T, SketchError> {
        Err(SketchError { line: self.line, column: self.at + 1, why: why.into() })
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn skip(&mut self, c: char) {
        while self.peek() == Some(c) {
            self.at += 1;
        }
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&keep) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn process(&mut self) -> Result<Process, SketchError> {
        self.skip(' ');
        if self.peek() != Some('p') {
            return self.fail("a line begins with its process, like `p0`");
        }
        self.at += 1;
        match self.take_while(|c| c.is_ascii_digit()).parse() {
            Ok(id) => Ok(Process::Client(id)),
            Err(_) => self.fail("a process is `p` and a number"),
        }
    }

    fn bar(&mut self) -> Result<Option<Bar>, SketchError> {
        self.skip(' ');
        let rest: String = self.chars[self.at..].iter().collect();
        if rest.is_empty() || ["valid:", "invalid:", "unknown:"].iter().any(|word| rest.starts_with(word)) {
            return Ok(None);
        }
        if self.peek() != Some('|') {
            return self.fail("a bar begins with `|`");
        }
        let call = self.at;
        self.at += 1;
        self.skip('-');
        let label = self.label()?;
        self.skip('-');
        let (kind, error) = match self.peek() {
            None | Some(' ') => return Ok(Some(Bar { call, label, end: None })),
            Some('|') => (EventKind::Ok, None),
            Some('x') => (EventKind::Fail, Some("refused")),
            Some('#') => (EventKind::Fail, Some("mismatch")),
            Some('?') => (EventKind::Info, Some("timeout")),
            Some(other) => return self.fail(format!("a bar ends with `|`, `x`, `#` or `?`, not `{other}`")),
        };
        let end = Some((self.at, kind, error));
        self.at += 1;
        Ok(Some(Bar { call, label, end }))
    }

    fn label(&mut self) -> Result<Label, SketchError> {
        let (f, input, output) = match self.named_call()? {
            Some(call) => call,
            None => self.register_call()?,
        };
        let key = if self.peek() == Some('@') {
            self.at += 1;
            Some(self.value()?)
        } else {
            None
        };
        Ok(Label { f, key, input, output })
    }

    /// A function by its name: `add(3)`, `acquire()=7`; none where no name with a parenthesis follows.
    fn named_call(&mut self) -> Result<Option<Call>, SketchError> {
        let start = self.at;
        let f = self.take_while(|c| c.is_ascii_lowercase() || c == '_');
        if self.peek() != Some('(') {
            self.at = start;
            return Ok(None);
        }
        self.at += 1;
        let input = if self.peek() == Some(')') { Value::Null } else { self.value()? };
        if self.peek() != Some(')') {
            return self.fail("a `)` is missing");
        }
        self.at += 1;
        if self.peek() != Some('=') {
            return Ok(Some((f.into(), input.clone(), input)));
        }
        self.at += 1;
        Ok(Some((f.into(), input, self.value()?)))
    }

    fn register_call(&mut self) -> Result<Call, SketchError> {
        let f = self.peek();
        self.at += 1;
        Ok(match f {
            Some('r') => ("read".into(), Value::Null, self.value()?),
            Some('w') => {
                let value = self.value()?;
                ("write".into(), value.clone(), value)
            }
            Some('c') => {
                let expected = self.value()?;
                if self.peek() != Some('>') {
                    return self.fail("a cas is `c` expected `>` new");
                }
                self.at += 1;
                let pair = json!([expected, self.value()?]);
                ("cas".into(), pair.clone(), pair)
            }
            _ => {
                self.at -= 1;
                return self.fail("a label is `w1`, `r1`, `c1>2` or `add(1)`");
            }
        })
    }

    fn value(&mut self) -> Result<Value, SketchError> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        match self.peek() {
            Some('[') => return self.array(),
            Some('{') => return self.object(),
            _ => {}
        }
        let word = self.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '/' | '…' | '−'));
        match word.as_str() {
            "" => self.fail("a value is missing"),
            "_" => Ok(Value::Null),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            word if word.starts_with('−') => {
                Ok(word.replacen('−', "-", 1).parse::<i64>().map_or_else(|_| Value::from(word), Value::from))
            }
            word => Ok(word.parse::<i64>().map_or_else(|_| Value::from(word), Value::from)),
        }
    }

    fn array(&mut self) -> Result<Value, SketchError> {
        let mut all = Vec::new();
        self.elements(']', |row| {
            all.push(row.value()?);
            Ok(())
        })?;
        Ok(Value::Array(all))
    }

    fn object(&mut self) -> Result<Value, SketchError> {
        let mut all = serde_json::Map::new();
        self.elements('}', |row| {
            let name = match row.peek() {
                Some('"') => row.quoted()?.as_str().unwrap_or_default().to_string(),
                _ => row.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '…')),
            };
            if row.peek() != Some(':') {
                return row.fail("a field is a name, `:` and a value");
            }
            row.at += 1;
            all.insert(name, row.value()?);
            Ok(())
        })?;
        Ok(Value::Object(all))
    }

    /// Elements with commas between, from the opening bracket to `end`.
    fn elements(
        &mut self,
        end: char,
        mut element: impl FnMut(&mut Self) -> Result<(), SketchError>,
    ) -> Result<(), SketchError> {
        self.at += 1;
        while self.peek() != Some(end) {
            element(self)?;
            match self.peek() {
                Some(',') => self.at += 1,
                Some(c) if c == end => {}
                _ => return self.fail(format!("elements go on with `,` or end with `{end}`")),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn quoted(&mut self) -> Result<Value, SketchError> {
        let start = self.at;
        self.at += 1;
        while let Some(c) = self.peek() {
            self.at += if c == '\\' { 2 } else { 1 };
            if c == '"' {
                let text: String = self.chars[start..self.at].iter().collect();
                return match serde_json::from_str(&text) {
                    Ok(value) => Ok(value),
                    Err(error) => self.fail(format!("not a JSON string: {error}")),
                };
            }
        }
        self.at = self.at.min(self.chars.len());
        self.fail("a quoted value never ends")
    }
}

#[cfg(test)]
mod tests {
    use super::super::OpEnd;
    use super::*;

    #[test]
    fn the_picture_of_the_house_is_a_history() {
        let drawing = "p0 |--w1--?\n\
                       p1           |--r1--|  |--r0--|     invalid: the write was seen, then unseen\n";
        let history = history(drawing).expect("it is well drawn");
        let seen: Vec<_> = history.ops.iter().map(|op| (&*op.f, op.end, op.output.clone())).collect();
        assert_eq!(
            seen,
            [
                ("write", OpEnd::Info, Value::Null),
                ("read", OpEnd::Ok, json!(1)),
                ("read", OpEnd::Ok, json!(0))
            ]
        );
    }

    #[test]
    fn every_ending_and_every_value_has_its_sign() {
        let history = history("p0 |-c_>1@7-# |-w\"a-b\"@x-x |-rab@1-| |-w2-").expect("it is well drawn");
        let ops = &history.ops;
        assert_eq!((&ops[0].input, &ops[0].key), (&json!([null, 1]), &json!(7)));
        assert_eq!((ops[0].end, ops[0].error.as_deref()), (OpEnd::Fail, Some("mismatch")));
        assert_eq!((&ops[1].input, &ops[1].key, ops[1].end), (&json!("a-b"), &json!("x"), OpEnd::Fail));
        assert_eq!((&ops[2].output, &ops[2].key), (&json!("ab"), &json!(1)));
        assert_eq!((ops[3].ret_ns, ops[3].end), (None, OpEnd::Info));
    }

    #[test]
    fn any_function_can_be_called_by_its_name() {
        let history =
            history("p0 |-add(3)@k-| |-acquire()=7-| |-read()=[1,[x]]-| |-draw()-?").expect("well drawn");
        let told =
            |i: usize| (&*history.ops[i].f, history.ops[i].input.clone(), history.ops[i].output.clone());
        assert_eq!(told(0), ("add", json!(3), json!(3)));
        assert_eq!(history.ops[0].key, json!("k"));
        assert_eq!(told(1), ("acquire", json!(null), json!(7)));
        assert_eq!(told(2), ("read", json!(null), json!([1, ["x"]])));
        assert_eq!(told(3), ("draw", json!(null), json!(null)));
    }

    #[test]
    fn at_the_same_column_calls_come_first() {
        let history = history("p0 |-w1-|\np1      |-r1-|").expect("it is well drawn");
        assert!(history.ops[1].call < history.ops[0].ret);
    }

    #[test]
    fn a_slip_of_the_pen_is_named_by_line_and_column() {
        let error = history("p0 |--w1--|\np1 |--z1--|").expect_err("z is nothing");
        assert_eq!((error.line, error.column), (2, 7));
        for bad in [
            "q0",
            "p |-w1-|",
            "p0 w1",
            "p0 |-w-|",
            "p0 |-c1-|",
            "p0 |-w1-!",
            "p0 |-w\"a",
            "p0 |-w\"\\",
            "p0 |-add(1-|",
            "p0 |-read()=[1-|",
            "p0 |-read()={a-|",
            "p0 |-read()={a:1-|",
            "p0 |",
        ] {
            assert!(history(bad).is_err(), "{bad}");
        }
    }
}
