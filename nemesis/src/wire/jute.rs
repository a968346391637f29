//! Jute, ZooKeeper's encoding: numbers in big-endian bytes, strings and buffers behind a length of four bytes
//! (`zookeeper.jute` in ZooKeeper's sources).

use std::ops::Range;

use super::{Field, Form, Length, Message};

/// Larger than any packet that ZooKeeper takes (`jute.maxbuffer` is 1 MB, and a little).
pub const PACKET_MAX: usize = 8 << 20;

/// Reads fields one after another into a message. Past the end of the bytes, reading stops without an error: what
/// was there is named, what was not is not.
pub struct Record<'a> {
    bytes: &'a [u8],
    at: usize,
    message: Message,
    short: bool,
}

impl<'a> Record<'a> {
    /// A record from `at` on.
    pub fn new(bytes: &'a [u8], at: usize) -> Record<'a> {
        Record { bytes, at, message: Message::bare("", bytes.len()), short: false }
    }

    /// A length that stands before the record and is over all of it.
    pub fn framed(mut self, span: Range<usize>) -> Record<'a> {
        let over = span.end..self.bytes.len();
        self.message.lengths.push(Length { span, form: Form::Int, over });
        self
    }

    /// A number of so many bytes.
    pub fn int(&mut self, name: &'static str, width: usize) -> Option<i64> {
        let span = self.take(width)?;
        let number = super::number(&self.bytes[span.clone()], Form::Int);
        self.message.fields.push(Field { name: name.into(), span, form: Form::Int });
        number
    }

    /// A string or buffer; none also when it is null.
    pub fn buffer(&mut self, name: &'static str) -> Option<Range<usize>> {
        let length = self.take(4)?;
        let len = super::number(&self.bytes[length.clone()], Form::Int)?;
        let Ok(len) = usize::try_from(len) else { return None };
        let span = self.take(len)?;
        self.message.lengths.push(Length { span: length, form: Form::Int, over: span.clone() });
        self.message.fields.push(Field { name: name.into(), span: span.clone(), form: Form::Bytes });
        Some(span)
    }

    /// What is left, as one field.
    pub fn rest(&mut self, name: &'static str) {
        let span = self.at..self.bytes.len();
        if !span.is_empty() && !self.short {
            self.message.fields.push(Field { name: name.into(), span, form: Form::Bytes });
        }
    }

    /// Whether anything was missing so far.
    pub fn is_short(&self) -> bool {
        self.short
    }

    /// Where it has come to.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Skips bytes that have no name.
    pub fn skip(&mut self, len: usize) -> Option<()> {
        self.take(len).map(drop)
    }

    /// The message of this kind, ending where the reader stands.
    pub fn ends(mut self, kind: &'static str) -> Message {
        self.message.len = self.at;
        self.message.kind = kind.into();
        self.message
    }

    /// The message of this kind, over all of the bytes.
    pub fn whole(mut self, kind: impl Into<std::borrow::Cow<'static, str>>) -> Message {
        self.message.kind = kind.into();
        self.message
    }

    fn take(&mut self, len: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        match end {
            Some(end) if !self.short => {
                let span = self.at..end;
                self.at = end;
                Some(span)
            }
            _ => {
                self.short = true;
                None
            }
        }
    }
}

/// The whole of a packet behind a length of four bytes: how long it is with the length, when it is there.
pub fn framed(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let Some(length) = bytes.get(..4) else { return Ok(None) };
    let len = super::number(length, Form::Int).and_then(|len| usize::try_from(len).ok());
    match len {
        Some(len) if len <= PACKET_MAX => Ok(Some(4 + len).filter(|whole| bytes.len() >= *whole)),
        _ => Err("a packet of a strange length"),
    }
}
