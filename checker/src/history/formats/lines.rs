//! JSON lines, each on its own.

use super::{Item, Note};
use crate::Event;
use crate::history::parse::parse_bytes;

/// Every line that is not empty; a last one that breaks off becomes a note.
pub(super) fn items(bytes: &[u8], notes: &mut Vec<Note>) -> Vec<Item> {
    let mut items = Vec::new();
    let last = bytes.trim_ascii_end().iter().filter(|&&b| b == b'\n').count() as u64 + 1;
    for (line, text) in (1u64..).zip(bytes.split_inclusive(|&b| b == b'\n')) {
        if text.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Event>(text.trim_ascii()) {
            Ok(event) => items.push((line, Ok(event))),
            // What counts as breaking off is decided in one place.
            Err(_) => match parse_bytes(text) {
                Ok(parsed) if line == last && parsed.note.is_some() => {
                    notes.push(Note { line, what: "it was cut in the middle; left out".to_string() });
                }
                Ok(_) => items.push((line, Err("it was cut in the middle".to_string()))),
                Err(error) => items.push((line, Err(error.why))),
            },
        }
    }
    items
}
