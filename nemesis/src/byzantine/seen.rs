//! What fields have said before.

use std::collections::{HashMap, VecDeque};

use crate::wire::{Kind, Link, Message, Subject, WHOLE, Way};

/// Values kept of a field over all keys, and how many of the latest a small change chooses from.
const KEPT: usize = 256;
const RING: usize = 8;
/// Bytes of a value beyond which it is not kept.
const VALUE_MAX: usize = 8 * 1024;
/// Bytes kept of all values together.
const TOTAL_MAX: usize = 4 * 1024 * 1024;

type Key = (Link, Way, Kind, &'static str);
/// What a field said, and about which key or path.
type Said = (Option<Subject>, Vec<u8>);

/// The values that fields had, the latest last.
#[derive(Debug, Default)]
pub(super) struct Seen {
    fields: HashMap<Key, VecDeque<Said>>,
    total: usize,
}

impl Seen {
    /// Remembers what this field of a message says; `None` is every field.
    pub fn note(&mut self, way: Way, message: &Message, bytes: &[u8], field: Option<&str>) {
        match field {
            Some(WHOLE) if !message.whole => {}
            Some(name) => {
                if let Some(field) = message.field(name) {
                    self.keep(way, message, field.name, &bytes[field.span]);
                }
            }
            None => {
                for field in &message.fields {
                    self.keep(way, message, field.name, &bytes[field.span.clone()]);
                }
            }
        }
    }

    fn keep(&mut self, way: Way, message: &Message, name: &'static str, value: &[u8]) {
        let values = self.fields.entry((message.link, way, message.kind, name)).or_default();
        let last = values.iter().rev().find(|(subject, _)| *subject == message.subject);
        let is_news = name == WHOLE || last.is_none_or(|(_, last)| last != value);
        if !is_news || value.len() > VALUE_MAX {
            return;
        }
        if values.len() == KEPT || self.total + value.len() > TOTAL_MAX {
            self.total -= values.pop_front().map_or(0, |(_, old)| old.len());
        }
        if self.total + value.len() <= TOTAL_MAX {
            self.total += value.len();
            values.push_back((message.subject.clone(), value.to_vec()));
        }
    }

    fn of(&self, way: Way, message: &Message, name: &'static str) -> impl Iterator<Item = &Said> {
        self.fields.get(&(message.link, way, message.kind, name)).into_iter().flat_map(|v| v.iter().rev())
    }

    /// The value so many different ones ago about the same subject, before `now`.
    pub fn back(
        &self,
        way: Way,
        message: &Message,
        name: &'static str,
        now: &[u8],
        back: usize,
    ) -> Option<Vec<u8>> {
        let mut same = self.of(way, message, name).filter(|(subject, _)| *subject == message.subject);
        let mut value = same.next();
        if value.is_some_and(|(_, value)| value == now) {
            value = same.next();
        }
        let mut left = back;
        while let Some((_, bytes)) = value {
            left -= 1;
            if left == 0 {
                return Some(bytes.clone());
            }
            value = same.next();
        }
        None
    }

    /// The latest value about another subject.
    pub fn other_key(&self, way: Way, message: &Message, name: &'static str, now: &[u8]) -> Option<Vec<u8>> {
        self.of(way, message, name)
            .find(|(subject, value)| *subject != message.subject && value != now)
            .map(|(_, value)| value.clone())
    }

    /// The latest values about anything, other than `now`.
    pub fn ring(&self, way: Way, message: &Message, name: &'static str, now: &[u8]) -> Vec<Vec<u8>> {
        self.of(way, message, name)
            .take(RING)
            .map(|(_, value)| value)
            .filter(|value| *value != now)
            .cloned()
            .collect()
    }

    /// The whole message of this kind that came so many before this one, which is not remembered yet.
    pub fn message(&self, way: Way, message: &Message, back: usize) -> Option<Vec<u8>> {
        self.of(way, message, WHOLE).nth(back.checked_sub(1)?).map(|(_, bytes)| bytes.clone())
    }
}
