//! Logs of threads that call and return, as Lowe's tester writes them for sets:
//! `2 invokes add 23`, `2 returns true`.

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::{Found, Item, event, function};
use crate::{EventKind, Process};

/// The function each thread is in: a return does not name it.
#[derive(Default)]
pub(super) struct Threads(FxHashMap<u64, String>);

/// Does the line say that a thread calls or returns?
pub(super) fn is_event(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    words.next().is_some_and(|id| id.parse::<u64>().is_ok())
        && matches!(words.next(), Some("invokes" | "returns"))
}

impl Threads {
    /// A line that is not empty.
    pub(super) fn item(&mut self, line: u64, text: &str) -> Item {
        let wrong = |why: String| Err((line, why));
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (id, rest) = words.split_first().map_or(("", &[][..]), |(id, rest)| (*id, rest));
        let Ok(id) = id.parse::<u64>() else { return wrong(format!("`{id}` is not the number of a thread")) };
        let (kind, f, value) = match rest {
            ["invokes", f] => (EventKind::Invoke, *f, Value::Null),
            ["invokes", f, value] => (EventKind::Invoke, *f, of_word(value)),
            ["returns", value] => {
                let Some(f) = self.0.get(&id) else {
                    return wrong(format!("thread {id} returns, but has not called anything"));
                };
                (EventKind::Ok, f.as_str(), of_word(value))
            }
            _ => {
                return wrong(
                    "expected `THREAD invokes FUNCTION VALUE` or `THREAD returns VALUE`".to_string(),
                );
            }
        };
        let event = event(Process::Client(id), kind, function(f), value);
        if kind == EventKind::Invoke {
            self.0.insert(id, f.to_string());
        }
        Ok(Found { line, event, is_nameless: false })
    }
}

fn of_word(word: &str) -> Value {
    match (word, word.parse::<i64>()) {
        ("true", _) => Value::Bool(true),
        ("false", _) => Value::Bool(false),
        (_, Ok(number)) => number.into(),
        (word, _) => word.into(),
    }
}
