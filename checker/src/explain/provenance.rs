//! Values out of nowhere: fabricated, from a failed write, from another key.

use serde_json::Value;

use super::speech::spoken;
use super::{Case, Told};
use crate::{Anomaly, OpEnd};

impl Case<'_, '_> {
    /// A read or compare-and-set that met a value which nothing on this key can have written.
    pub(super) fn no_writer(&self, entry: usize, support: &[usize]) -> Anomaly {
        let mut places: Vec<usize> = support.iter().map(|&i| self.part.entries[i].op).collect();
        places.push(self.part.entries[entry].op);
        let Some(value) = self.call(entry).needs() else {
            return self.build(("fabricated-value", "a value came from nowhere".to_string()), places);
        };
        let claim = if self.part.entries[entry].is_optional() {
            let seen =
                support.first().map_or(String::new(), |&i| format!(", seen by the {},", self.subject(i)));
            format!("the indefinite {}{seen} took effect", self.subject(entry))
        } else {
            self.claim(entry)
        };
        let number = value;
        let value = self.part.values[value as usize];
        let said = spoken(value);
        let aborted = self.part.failed.iter().find(|(_, written)| *written == number);
        let told: Told = if let Some(&(failed, _)) = aborted {
            places.push(failed);
            let op = &self.history.ops[failed];
            let reason = format!(
                "{claim}, although the {} of {said} by process {} had failed and nobody else wrote it",
                op.f, op.process
            );
            ("aborted-read", reason)
        } else if let Some(place) = self.writer_elsewhere(value) {
            places.push(place);
            let op = &self.history.ops[place];
            let reason = format!(
                "{claim}, although {said} was only ever written to key {}, by process {}",
                spoken(&op.key),
                op.process
            );
            ("value-of-another-key", reason)
        } else {
            ("fabricated-value", format!("{claim}, although nobody ever wrote {said}"))
        };
        self.build(told, places)
    }

    /// The place of an operation that wrote the value to another key. The value must say more than a small number would
    /// for this to be more than chance; nothing checks that.
    fn writer_elsewhere(&self, value: &Value) -> Option<usize> {
        let own = self.part.entries.first().map(|entry| &self.history.ops[entry.op].key);
        self.history.ops.iter().position(|op| {
            let written = match &*op.f {
                "write" => Some(&op.input),
                "cas" => op.input.get(1),
                _ => None,
            };
            op.end != OpEnd::Fail && Some(&op.key) != own && written == Some(value)
        })
    }
}
