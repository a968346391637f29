//! JSON objects: each on a line of its own, or wherever a splitter found one.

use super::{Found, Item, Notes};
use crate::Event;
use crate::history::parse::column_only;

/// Objects on lines.
#[derive(Default)]
pub(super) struct Lines {
    /// A line that ends in the middle of its object: of no account if it is the last.
    cut: Option<u64>,
}

const CUT: &str = "it was cut in the middle";

impl Lines {
    /// A line that is not empty.
    pub(super) fn take(&mut self, line: u64, bytes: &[u8], items: &mut Vec<Item>) {
        if let Some(line) = self.cut.take() {
            items.push(Err((line, CUT.to_string())));
        }
        match serde_json::from_slice::<Event>(bytes.trim_ascii()) {
            Ok(event) => items.push(Ok(Found { line, event, is_nameless: false })),
            // A line without its end is the last; it was being written when its writer died.
            Err(error) if error.is_eof() || !bytes.ends_with(b"\n") => self.cut = Some(line),
            Err(error) => items.push(Err((line, why(bytes, &error)))),
        }
    }

    /// There are no more lines.
    pub(super) fn finish(&mut self, notes: &mut Notes) {
        if let Some(line) = self.cut.take() {
            notes.push(line, format!("{CUT}; left out"));
        }
    }
}

/// An object in an array.
pub(super) fn object(line: u64, bytes: &[u8]) -> Item {
    match serde_json::from_slice::<Event>(bytes) {
        Ok(event) => Ok(Found { line, event, is_nameless: false }),
        Err(error) => Err((line, why(bytes, &error))),
    }
}

fn why(bytes: &[u8], error: &serde_json::Error) -> String {
    if std::str::from_utf8(bytes).is_err() { "it is not UTF-8".to_string() } else { column_only(error) }
}
