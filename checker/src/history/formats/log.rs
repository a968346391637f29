//! What a Jepsen test says on its console, or writes to `history.txt`.

use serde_json::Value;

use super::edn::{Reader, plain, split_tuple};
use super::{Found, Item, Names, event, function, kind};
use crate::{EventKind, Process};

/// What the first loggers put before an event; the others are those of later versions.
const OLD_MARK: &str = "jepsen.util - ";
const MARKS: [&str; 3] = [OLD_MARK, "- jepsen.util ", "jepsen.util: "];

/// Does the line hold an event?
pub(super) fn is_event(line: &str) -> bool {
    fields(line).is_some()
}

/// The part of a line that describes an event, and whether the logger is the old one; none in lines of other
/// loggers.
fn fields(line: &str) -> Option<(&str, bool)> {
    let marked = MARKS.iter().find_map(|mark| Some((line.split_once(mark)?.1, *mark == OLD_MARK)));
    let (text, is_old) = marked.unwrap_or((line, false));
    // The old logger writes nothing but events; the new one does, and a `history.txt` has no logger at all.
    (is_old || text.split_ascii_whitespace().nth(1).is_some_and(is_type)).then_some((text, is_old))
}

fn is_type(word: &str) -> bool {
    word.strip_prefix(':').and_then(kind).is_some()
}

/// The event on a line, if there is one.
pub(super) fn item(line: u64, text: &str, names: &mut Names) -> Option<Item> {
    let (fields, is_old) = fields(text)?;
    Some(read(line, fields, is_old, names))
}

/// `process :type :f value [:error]`. A compare-and-set that failed and says nothing else did not find what it
/// expected: so Porcupine and ahorn read the logs of the etcd test.
fn read(line: u64, fields: &str, is_old: bool, names: &mut Names) -> Item {
    let wrong = |why: String| (line, why);
    let mut words = Reader::new(fields, 1);
    let mut next = |what: &str| match words.form() {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(wrong(format!("its {what} is missing"))),
        Err(why) => Err(wrong(format!("its {what}: {}", why.what))),
    };
    let process = match next("process")? {
        Value::Number(id) if id.is_u64() => Process::Client(id.as_u64().unwrap_or_default()),
        Value::String(name) => names.process(&name),
        other => return Err(wrong(format!("{other} is not a process"))),
    };
    let named = next("type")?;
    let Some(kind) = named.as_str().and_then(kind) else {
        return Err(wrong(format!("{named} is not a type: invoke, ok, fail or info")));
    };
    let f = match next("function")? {
        Value::String(f) => function(&f),
        other => return Err(wrong(format!("{other} is not a function"))),
    };
    let mut event = event(process, kind, f, next("value")?);
    let is_tuple = words.tuple_seen;
    let error = words.form().map_err(|why| wrong(format!("its error: {}", why.what)))?;
    // Porcupine's larger etcd logs have `:hint` and a revision there.
    event.error = error.filter(|error| error != "hint").map(|error| plain(&error).into());
    if matches!(kind, EventKind::Fail | EventKind::Info) && event.value.is_string() && event.error.is_none() {
        let reason = std::mem::take(&mut event.value);
        event.error = Some(plain(&reason).into());
    } else if is_old && kind == EventKind::Fail && event.f == "cas" && event.error.is_none() {
        event.error = Some("mismatch".into());
    }
    if is_tuple {
        split_tuple(&mut event);
    }
    Ok(Found { line, event, is_nameless: false })
}
