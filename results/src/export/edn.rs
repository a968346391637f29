//! A history as Jepsen writes it to `history.edn`: a map for each event, on a line.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use checker::{Event, EventKind, Process};
use serde_json::Value;

use super::Exported;
use super::lines;
use crate::error::{Error, Result};
use crate::layout::RunFolder;

/// Writes the history of a run: values of keyed objects as pairs of key and value, as Jepsen's `independent` does.
pub(super) fn write(folder: &RunFolder, out: &mut impl Write, name: &Path) -> Result<Exported> {
    let mut asks = false;
    let mut is_keyed = false;
    let exported = write_events(folder, out, name, |call, event, text| {
        is_keyed |= event.key.is_some();
        asks |= event.kind == EventKind::Invoke && event.value.is_null();
        let of_call = call.map_or(&Value::Null, |call| &call.value);
        // As in Jepsen, what failed, or may have, repeats what was asked for.
        let repeats = matches!(event.kind, EventKind::Fail | EventKind::Info) && event.value.is_null();
        let value = if repeats { of_call.clone() } else { event.value.clone() };
        let key = event.key.clone().or_else(|| call.and_then(|call| call.key.clone()));
        match key {
            Some(key) => form(&Value::Array(vec![key, value]), text),
            None => form(&value, text),
        }
        Ok(event.f.to_string())
    })?;
    let mut notes = exported.notes;
    if is_keyed && !asks {
        notes.push(
            "no call in it asks for a value: `shardstorm check` needs --independent to tell its keys".into(),
        );
    }
    Ok(Exported { notes, ..exported })
}

/// Writes every event, with the function that `say` gives back and the value that it appends, told the event and, at
/// its end, its call.
pub(super) fn write_events(
    folder: &RunFolder,
    out: &mut impl Write,
    name: &Path,
    mut say: impl FnMut(Option<&Event>, &Event, &mut String) -> Result<String>,
) -> Result<Exported> {
    let mut open: HashMap<Process, Event> = HashMap::new();
    let mut rows = 0u64;
    let (mut line, mut value) = (String::new(), String::new());
    let note = lines::each(&folder.history(), |event: Event| {
        let is_client = matches!(event.process, Process::Client(_));
        let call = if event.kind == EventKind::Invoke { None } else { open.remove(&event.process) };
        value.clear();
        let f = if is_client {
            say(call.as_ref(), &event, &mut value)?
        } else {
            form(&event.value, &mut value);
            event.f.to_string()
        };
        line.clear();
        map_of(&event, rows, &f, &value, &mut line);
        line.push('\n');
        rows += 1;
        if is_client && event.kind == EventKind::Invoke {
            open.insert(event.process, event);
        }
        out.write_all(line.as_bytes()).map_err(Error::doing("write", name))
    })?;
    out.flush().map_err(Error::doing("write", name))?;
    Ok(Exported { rows, notes: note.into_iter().collect() })
}

fn map_of(event: &Event, position: u64, f: &str, value: &str, out: &mut String) {
    let kind = match event.kind {
        EventKind::Invoke => "invoke",
        EventKind::Ok => "ok",
        EventKind::Fail => "fail",
        EventKind::Info => "info",
    };
    let process = match event.process {
        Process::Client(number) => number.to_string(),
        Process::Nemesis => ":nemesis".to_owned(),
    };
    let index = if event.index == 0 { position } else { event.index };
    let time = event.time_ns;
    let _ = write!(out, "{{:index {index}, :time {time}, :type :{kind}, :process {process}, :f ");
    name_or_text(f, out);
    out.push_str(", :value ");
    out.push_str(value);
    if let Some(error) = &event.error {
        out.push_str(", :error ");
        name_or_text(error, out);
    }
    if let Some(shard) = event.shard {
        let _ = write!(out, ", :shard {shard}");
    }
    if let Some(epoch) = event.epoch {
        let _ = write!(out, ", :epoch {epoch}");
    }
    if let Some(node) = &event.node {
        out.push_str(", :node ");
        text(node, out);
    }
    out.push('}');
}

/// Appends a value as EDN.
pub fn form(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("nil"),
        Value::Bool(is) => out.push_str(if *is { "true" } else { "false" }),
        Value::Number(number) => {
            let _ = write!(out, "{number}");
            // Beyond a long of the JVM it has to say that it is one of the big ones.
            if number.as_i64().is_none() && number.as_u64().is_some() {
                out.push('N');
            }
        }
        Value::String(words) => text(words, out),
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(' ');
                }
                form(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (place, (key, item)) in map.iter().enumerate() {
                if place > 0 {
                    out.push_str(", ");
                }
                name_or_text(key, out);
                out.push(' ');
                form(item, out);
            }
            out.push('}');
        }
    }
}

/// A word as a keyword, anything else as text.
pub(super) fn name_or_text(words: &str, out: &mut String) {
    let is_name = words.starts_with(|c: char| c.is_ascii_alphabetic())
        && words.bytes().all(|b| b.is_ascii_alphanumeric() || b"*+!_?<>=-".contains(&b));
    if is_name {
        out.push(':');
        out.push_str(words);
    } else {
        text(words, out);
    }
}

fn text(words: &str, out: &mut String) {
    out.push('"');
    for c in words.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
