//! Which messages are meant.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::language::FaultError;
use crate::wire::{Field, Link, Message, Value, WHOLE, Way, hex};

/// A value written down: a number, text, or bytes as `hex:00ff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Literal {
    /// A number, written in the way of the field it goes to.
    Int(i64),
    /// Text as it is, unless it begins with `hex:`.
    Text(String),
}

impl Literal {
    /// Its bytes in the place of this field.
    pub fn bytes(&self, field: &Field) -> Vec<u8> {
        match self {
            Literal::Int(n) => field.encode(*n),
            Literal::Text(_) => self.raw(),
        }
    }

    /// Its bytes where there is no field to say how a number is written: decimal.
    pub fn raw(&self) -> Vec<u8> {
        match self {
            Literal::Int(n) => n.to_string().into_bytes(),
            Literal::Text(text) => match text.strip_prefix("hex:") {
                Some(hex_digits) => hex::read(hex_digits).unwrap_or_default(),
                None => text.clone().into_bytes(),
            },
        }
    }

    pub(super) fn check(&self) -> Result<(), FaultError> {
        match self {
            Literal::Text(text) => match text.strip_prefix("hex:") {
                Some(hex_digits) if hex::read(hex_digits).is_none() => {
                    Err(FaultError(format!("`{text}` is no bytes: write two hex digits for each")))
                }
                _ => Ok(()),
            },
            Literal::Int(_) => Ok(()),
        }
    }

    fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Literal::Int(n), Value::Int(m)) => n == m,
            (_, Value::Int(m)) => self.raw() == m.to_string().into_bytes(),
            (_, Value::Bytes(bytes)) => self.raw() == *bytes,
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Int(n) => write!(f, "{n}"),
            Literal::Text(text) => write!(f, "\"{}\"", text.escape_debug()),
        }
    }
}

/// What a field must say; all that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Predicate {
    /// The field, in the standard's terms; `name#2` is the second of that name.
    pub field: String,
    /// Exactly this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<Literal>,
    /// Anything but this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not: Option<Literal>,
    /// Something that contains this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<Literal>,
    /// A number not below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<i64>,
    /// A number not above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<i64>,
}

impl Predicate {
    fn holds(&self, message: &Message, bytes: &[u8]) -> bool {
        let Some(field) = message.field(&self.field) else { return false };
        let value = field.value(bytes);
        let number = match value {
            Value::Int(n) => Some(n),
            Value::Bytes(_) => None,
        };
        let contains = |literal: &Literal| {
            let raw = literal.raw();
            raw.is_empty() || crate::wire::find(&bytes[field.span.clone()], &raw).is_some()
        };
        self.is.as_ref().is_none_or(|literal| literal.is(&value))
            && self.not.as_ref().is_none_or(|literal| !literal.is(&value))
            && self.contains.as_ref().is_none_or(contains)
            && self.at_least.is_none_or(|least| number.is_some_and(|n| n >= least))
            && self.at_most.is_none_or(|most| number.is_some_and(|n| n <= most))
    }

    fn check(&self) -> Result<(), FaultError> {
        let literals = [&self.is, &self.not, &self.contains];
        if literals.iter().all(|literal| literal.is_none())
            && self.at_least.is_none()
            && self.at_most.is_none()
        {
            return Err(FaultError(format!(
                "the condition on `{}` asks nothing: give `is`, `not`, `contains`, `at-least` or `at-most`",
                self.field
            )));
        }
        literals.into_iter().flatten().try_for_each(Literal::check)
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (word, literal) in [("is", &self.is), ("is not", &self.not), ("contains", &self.contains)] {
            parts.extend(literal.as_ref().map(|literal| format!("{word} {literal}")));
        }
        parts.extend(self.at_least.map(|n| format!("is at least {n}")));
        parts.extend(self.at_most.map(|n| format!("is at most {n}")));
        write!(f, "{} {}", self.field, parts.join(" and "))
    }
}

/// Which messages are meant: where, which way, of what kind, saying what, from whom to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pattern {
    /// The kind of conversation.
    pub link: Link,
    /// Which way the message goes.
    pub way: Way,
    /// Its kind: `set`, `getData.reply`, `COMMIT`; `any`, or `write` for whatever writes.
    pub message: String,
    /// What its fields say.
    #[serde(default, rename = "where", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Predicate>,
    /// Nodes it is sent by; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub senders: Vec<String>,
    /// Nodes it is sent to; empty for all. Two faults on the same message, each to some, tell them different
    /// things.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receivers: Vec<String>,
    /// Nodes of which one is at either end; empty for all. Settled when a fault strikes, never written down.
    #[serde(skip)]
    pub among: Vec<String>,
}

impl Pattern {
    const FIELDS: [&str; 6] = ["link", "way", "message", "where", "senders", "receivers"];

    /// A pattern that stands by itself, with nothing else beside it.
    pub(super) fn alone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
        let values = serde_json::Map::deserialize(deserializer)?;
        if let Some(stranger) = values.keys().find(|name| !Pattern::FIELDS.contains(&name.as_str())) {
            return Err(D::Error::unknown_field(stranger, &Pattern::FIELDS));
        }
        serde_json::from_value(values.into()).map_err(D::Error::custom)
    }

    /// The same, where it may be left out.
    pub(super) fn alone_or_none<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Pattern>, D::Error> {
        Pattern::alone(deserializer).map(Some)
    }

    /// Every message of this kind.
    pub fn of(link: Link, way: Way, message: &str) -> Pattern {
        Pattern {
            link,
            way,
            message: message.into(),
            conditions: Vec::new(),
            senders: Vec::new(),
            receivers: Vec::new(),
            among: Vec::new(),
        }
    }

    /// Does it mean messages of this kind between these nodes, whatever they say?
    pub(super) fn means(&self, message: &Message, way: Way, from: &str, to: &str) -> bool {
        let among = |list: &[String], name: &str| list.is_empty() || list.iter().any(|node| node == name);
        self.link == message.link
            && self.way == way
            && message.kind.matches(&self.message)
            && among(&self.senders, from)
            && among(&self.receivers, to)
            && (among(&self.among, from) || among(&self.among, to))
    }

    /// Does it mean this message?
    pub(super) fn holds(&self, message: &Message, bytes: &[u8]) -> bool {
        self.conditions.iter().all(|condition| condition.holds(message, bytes))
    }

    /// Says what is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), FaultError> {
        let (word, reply) = match self.message.strip_suffix(".reply") {
            Some(word) => (word, true),
            None => (self.message.as_str(), false),
        };
        let kinds = self.link.kinds(if reply { Way::ToServer } else { self.way });
        let known = matches!(word, "any" | "write")
            || kinds.contains(&word)
            || (word == "reply" && self.link.has_replies(self.way));
        if reply && !self.link.has_replies(self.way) {
            return Err(FaultError(format!(
                "no replies go {} on a {} link: name a message that does",
                self.way, self.link
            )));
        }
        if !known {
            let near = kinds.iter().find(|kind| kind.eq_ignore_ascii_case(word));
            return Err(FaultError(match near {
                Some(kind) => format!("unknown message `{}`: did you mean `{kind}`", self.message),
                None => format!(
                    "unknown message `{}` {} on a {} link: use one of {}, `any` or `write`",
                    self.message,
                    self.way,
                    self.link,
                    kinds.join(", ")
                ),
            }));
        }
        self.conditions.iter().try_for_each(Predicate::check)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} on {}", self.message, self.way, self.link)?;
        for (i, condition) in self.conditions.iter().enumerate() {
            write!(f, "{} {condition}", if i == 0 { " where" } else { " and" })?;
        }
        if !self.senders.is_empty() {
            write!(f, " from {}", self.senders.join(", "))?;
        }
        if !self.receivers.is_empty() {
            write!(f, " to {}", self.receivers.join(", "))?;
        }
        Ok(())
    }
}

/// What a field is called in sentences.
pub(super) fn called(field: &str) -> &str {
    if field == WHOLE { "all of it" } else { field }
}
