//! Bytes of a link to messages with named fields, and back after an edit.
//!
//! A [`Codec`] reads one connection, both ways, from its first byte. It is given what has arrived and not yet been
//! decided, and says what stands at its head: a whole [`Message`], the beginning of one, or bytes that are not looked
//! into. Bytes that are of no protocol it knows make it give up on the connection with a note: they then pass as
//! they are, for a fault must never be of our making.

pub mod election;
pub mod jute;
pub mod quorum;
pub mod resp;
pub mod zk_client;

use std::borrow::Cow;
use std::ops::Range;

use lab::flow::Way;

/// The largest message that is waited for whole. A sender stops after its first window, some 14 kB, when nothing is
/// acknowledged; what is larger is passed on in parts.
pub const WHOLE_MAX: usize = 8 * 1024;

/// Reads the messages of one connection.
pub trait Codec: Send {
    /// What stands at the head of the bytes of one direction. The caller takes what is said to be there before it
    /// asks again, and never asks with nothing.
    fn read(&mut self, way: Way, bytes: &[u8]) -> Head;
}

/// What stands at the head of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// A message, whole.
    Message(Message),
    /// The beginning of one: ask again when there is more.
    Part,
    /// Bytes that are not looked into, so many of them.
    Opaque(usize),
    /// Nothing that this protocol knows. Everything passes from here on.
    Foreign(&'static str),
}

/// One message: its kind, and where its fields stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// As the protocol's own documents name it: `SET`, `PROPOSAL`, `reply create`.
    pub kind: Cow<'static, str>,
    /// In the order in which they stand.
    pub fields: Vec<Field>,
    /// Lengths that must follow when something within grows or shrinks, outermost first.
    pub lengths: Vec<Length>,
    /// Bytes of the whole.
    pub len: usize,
}

/// A named part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// As the protocol's own documents name it.
    pub name: Cow<'static, str>,
    /// Where it stands in the message.
    pub span: Range<usize>,
    /// What it is made of.
    pub form: Form,
}

/// What a field is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A signed number in big-endian bytes, as many as the field is long (1, 4 or 8).
    Int,
    /// A number in decimal digits.
    Digits,
    /// Anything.
    Bytes,
}

/// A length somewhere in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Length {
    /// Where it stands.
    pub span: Range<usize>,
    /// How it is written: [`Form::Int`] or [`Form::Digits`].
    pub form: Form,
    /// What it is the length of.
    pub over: Range<usize>,
}

impl Message {
    /// A message without fields.
    pub fn bare(kind: impl Into<Cow<'static, str>>, len: usize) -> Message {
        Message { kind: kind.into(), fields: Vec::new(), lengths: Vec::new(), len }
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The message with one of its fields replaced, and every length around it put right. `bytes` are the message's.
    pub fn with(&self, bytes: &[u8], field: &Field, value: &[u8]) -> Vec<u8> {
        let grown = value.len() as i64 - field.span.len() as i64;
        let mut edits: Vec<(Range<usize>, Vec<u8>)> = vec![(field.span.clone(), value.to_vec())];
        if grown != 0 {
            let around =
                |length: &&Length| length.over.start <= field.span.start && field.span.end <= length.over.end;
            for length in self.lengths.iter().filter(around) {
                if let Some(old) = number(&bytes[length.span.clone()], length.form) {
                    let new = written(old + grown, length.form, length.span.len());
                    edits.push((length.span.clone(), new));
                }
            }
        }
        edits.sort_by_key(|(span, _)| span.start);
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        for (span, with) in edits {
            out.extend_from_slice(&bytes[at..span.start]);
            out.extend_from_slice(&with);
            at = span.end;
        }
        out.extend_from_slice(&bytes[at..]);
        out
    }
}

/// A number as a field holds it; none when it holds none.
pub fn number(bytes: &[u8], form: Form) -> Option<i64> {
    match form {
        Form::Int => match bytes.len() {
            1 => Some(i64::from(bytes[0] as i8)),
            4 => Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
            8 => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
            _ => None,
        },
        Form::Digits | Form::Bytes => std::str::from_utf8(bytes).ok()?.parse().ok(),
    }
}

/// A number as a field of this form and width holds it; cut to the width where it does not fit.
pub fn written(number: i64, form: Form, width: usize) -> Vec<u8> {
    match form {
        Form::Int => {
            let bytes = number.to_be_bytes();
            bytes[bytes.len() - width.min(bytes.len())..].to_vec()
        }
        Form::Digits | Form::Bytes => number.to_string().into_bytes(),
    }
}
