//! The console log of Jepsen's etcd test.

use serde_json::Value;

use super::edn::Reader;
use super::{Item, Names, event, function, kind};
use crate::{Event, EventKind, Process};

/// What an event's line has before its fields; lines of other loggers are none.
pub(super) const MARK: &str = "jepsen.util - ";

/// The events of a log, by line.
pub(super) fn items(text: &str) -> Vec<Item> {
    let mut names = Names::default();
    let lines = (1u64..).zip(text.lines());
    lines
        .filter_map(|(line, text)| {
            let fields = text.split_once(MARK)?.1;
            Some((line, read(fields, &mut names)))
        })
        .collect()
}

/// `process :type :f value [:error]`. A compare-and-set that failed and says nothing else did not find what it
/// expected: so Porcupine and ahorn read these logs.
fn read(fields: &str, names: &mut Names) -> Result<Event, String> {
    let mut words = Reader::new(fields);
    let mut next = |what: &str| match words.form() {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(format!("its {what} is missing")),
        Err(why) => Err(format!("its {what}: {}", why.what)),
    };
    let process = match next("process")? {
        Value::Number(id) if id.is_u64() => Process::Client(id.as_u64().unwrap_or_default()),
        Value::String(name) => names.process(&name),
        other => return Err(format!("{other} is not a process")),
    };
    let named = next("type")?;
    let Some(kind) = named.as_str().and_then(kind) else {
        return Err(format!("{named} is not a type: invoke, ok, fail or info"));
    };
    let f = match next("function")? {
        Value::String(f) => function(&f),
        other => return Err(format!("{other} is not a function")),
    };
    let mut event = event(process, kind, f, next("value")?);
    let error = words.form().map_err(|why| format!("its error: {}", why.what))?;
    event.error = error.map(|error| super::edn::plain(&error).into());
    if matches!(kind, EventKind::Fail | EventKind::Info) && event.value.is_string() {
        let reason = std::mem::take(&mut event.value);
        event.error = Some(super::edn::plain(&reason).into());
    } else if kind == EventKind::Fail && event.f == "cas" && event.error.is_none() {
        event.error = Some("mismatch".into());
    }
    Ok(event)
}
