//! A history as transactions of one or two operations, in the forms that Elle judges.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::Write;
use std::path::Path;

use checker::{Event, EventKind};
use serde_json::Value;

use super::Exported;
use super::edn;
use crate::error::{Error, Result};
use crate::layout::RunFolder;

/// Whose transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Elements appended to lists.
    ListAppend,
    /// Registers with values that are written once.
    RwRegister,
}

impl Form {
    /// That of a workload; or why there is none.
    pub(super) fn of(workload: &str) -> Result<Form, String> {
        match workload {
            "append" => Ok(Form::ListAppend),
            "register" | "resharding" => Ok(Form::RwRegister),
            "replica-reads" => {
                Err("its reads may be behind, which Elle would call wrong; use --to edn".into())
            }
            other => {
                Err(format!("the workload {other} is none of append, register and resharding; use --to edn"))
            }
        }
    }
}

/// Writes the history of a run as transactions.
pub(super) fn write(folder: &RunFolder, form: Form, out: &mut impl Write, name: &Path) -> Result<Exported> {
    let mut written = Written::default();
    edn::write_events(folder, out, name, |call, event, text| {
        if event.kind == EventKind::Invoke && form == Form::RwRegister {
            written.once(folder, event)?;
        }
        let parts = parts(call.unwrap_or(event), event, form).map_err(|why| {
            let form = "elle";
            Error::Unfit { path: folder.path().to_owned(), form, why }
        })?;
        text.push('[');
        for (place, (f, key, value)) in parts.iter().enumerate() {
            text.push_str(if place > 0 { " [:" } else { "[:" });
            text.push_str(f);
            for value in [key, value] {
                text.push(' ');
                edn::form(value, text);
            }
            text.push(']');
        }
        text.push(']');
        Ok("txn".to_owned())
    })
}

/// The operations of a transaction, as they are known at `event`: what, on which key, and the value.
fn parts(call: &Event, event: &Event, form: Form) -> Result<Vec<(&'static str, Value, Value)>, String> {
    let key = call.key.clone().unwrap_or(Value::Null);
    let is_ok = event.kind == EventKind::Ok;
    let seen = if is_ok { event.value.clone() } else { Value::Null };
    let unknown = || Err(format!("event {}: Elle has no `{}`; use --to edn", event.index, event.f));
    Ok(match (form, &*call.f) {
        (_, "read") => vec![("r", key, seen)],
        (Form::ListAppend, "append") => vec![("append", key, call.value.clone())],
        (Form::RwRegister, "write") => vec![("w", key, call.value.clone())],
        // What it expected, it has read, where it took effect.
        (Form::RwRegister, "cas") => match call.value.as_array().map(Vec::as_slice) {
            Some([expected, new]) => {
                let seen = if is_ok { expected.clone() } else { Value::Null };
                vec![("r", key.clone(), seen), ("w", key, new.clone())]
            }
            _ => return unknown(),
        },
        _ => return unknown(),
    })
}

/// Which values were written to which key, as 64 bits each.
#[derive(Default)]
struct Written {
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Written {
    /// Refuses the second write of a value: Elle tells by it which write a read has seen.
    fn once(&mut self, folder: &RunFolder, call: &Event) -> Result<()> {
        let value = match &*call.f {
            "write" => &call.value,
            "cas" => call.value.get(1).unwrap_or(&Value::Null),
            _ => return Ok(()),
        };
        if self.seen.insert(self.hasher.hash_one((call.key.as_ref(), value))) {
            return Ok(());
        }
        let key = call.key.as_ref().map_or_else(String::new, |key| format!(" to key {key}"));
        let why = format!(
            "event {} writes {value}{key} a second time, and rw-register needs values that are written once; use --to edn",
            call.index
        );
        Err(Error::Unfit { path: folder.path().to_owned(), form: "elle", why })
    }
}
