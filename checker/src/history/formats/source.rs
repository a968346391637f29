//! From bytes to events, each where it begins: line by line, or form by form.

use std::borrow::Cow;

use super::split::{Dialect, Piece, Splitter};
use super::{EVENT_BYTES_MAX, Format, Item, Leniency, Names, Notes, edn, lines, log, threads};

/// The events of a file of known form.
pub(super) struct Source {
    format: Format,
    leniency: Leniency,
    parser: Parser,
    /// Said once: some bytes were not UTF-8.
    said_not_text: bool,
}

enum Parser {
    Lines { rest: Vec<u8>, line: u64, each: LineParser },
    Forms { splitter: Splitter, forms: FormParser },
}

enum LineParser {
    Json(lines::Lines),
    Log(Names),
    Threads(threads::Threads),
}

enum FormParser {
    Edn(edn::Forms),
    Json,
}

impl Source {
    pub(super) fn new(format: Format, leniency: Leniency) -> Self {
        let by_line = |each| Parser::Lines { rest: Vec::new(), line: 1, each };
        let offside = leniency == Leniency::Lenient;
        let by_form = |dialect, forms| Parser::Forms { splitter: Splitter::new(dialect, offside), forms };
        let parser = match format {
            Format::Lines => by_line(LineParser::Json(lines::Lines::default())),
            Format::JepsenLog => by_line(LineParser::Log(Names::default())),
            Format::ThreadLog => by_line(LineParser::Threads(threads::Threads::default())),
            Format::Edn => by_form(Dialect::Edn, FormParser::Edn(edn::Forms::default())),
            Format::Json => by_form(Dialect::Json, FormParser::Json),
        };
        Source { format, leniency, parser, said_not_text: false }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// The line that is being read.
    pub(super) fn line(&self) -> u64 {
        match &self.parser {
            Parser::Lines { line, .. } => *line,
            Parser::Forms { splitter, .. } => splitter.line(),
        }
    }

    /// The next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8], notes: &mut Notes) -> Vec<Item> {
        let mut items = Vec::new();
        let mut text = Text { leniency: self.leniency, said: &mut self.said_not_text };
        match &mut self.parser {
            Parser::Forms { splitter, forms } => {
                splitter.feed(bytes, &mut |piece| forms.take(piece, &mut text, notes, &mut items));
            }
            Parser::Lines { rest, line, each } => {
                for part in bytes.split_inclusive(|&b| b == b'\n') {
                    if !part.ends_with(b"\n") {
                        rest.extend_from_slice(part);
                        break;
                    }
                    if rest.is_empty() {
                        each.take(*line, part, &mut text, notes, &mut items);
                    } else {
                        rest.extend_from_slice(part);
                        each.take(*line, rest, &mut text, notes, &mut items);
                        rest.clear();
                    }
                    *line += 1;
                }
                if rest.len() > EVENT_BYTES_MAX {
                    let why = format!("it is longer than {} MiB", EVENT_BYTES_MAX >> 20);
                    items.push(Err((*line, why)));
                    rest.clear();
                }
            }
        }
        items
    }

    /// The end of the file.
    pub(super) fn finish(&mut self, notes: &mut Notes) -> Vec<Item> {
        let mut items = Vec::new();
        let mut text = Text { leniency: self.leniency, said: &mut self.said_not_text };
        match &mut self.parser {
            Parser::Forms { splitter, forms } => {
                splitter.finish(&mut |piece| forms.take(piece, &mut text, notes, &mut items));
                if let FormParser::Edn(forms) = forms {
                    forms.finish(&mut items);
                }
            }
            Parser::Lines { rest, line, each } => {
                each.take(*line, rest, &mut text, notes, &mut items);
                if let LineParser::Json(lines) = each {
                    lines.finish(notes);
                }
            }
        }
        items
    }
}

impl LineParser {
    /// A line, with its end or, if it is the last, without.
    fn take(
        &mut self,
        line: u64,
        bytes: &[u8],
        text: &mut Text<'_>,
        notes: &mut Notes,
        items: &mut Vec<Item>,
    ) {
        if bytes.trim_ascii().is_empty() {
            return;
        }
        match self {
            LineParser::Json(lines) => lines.take(line, bytes, items),
            LineParser::Log(names) => match text.of(line, bytes, notes) {
                Ok(text) => items.extend(log::item(line, &text, names)),
                Err(error) => items.push(Err(error)),
            },
            LineParser::Threads(threads) => {
                items.push(text.of(line, bytes, notes).and_then(|text| threads.item(line, &text)));
            }
        }
    }
}

impl FormParser {
    fn take(&mut self, piece: Piece<'_>, text: &mut Text<'_>, notes: &mut Notes, items: &mut Vec<Item>) {
        let (line, bytes) = match piece {
            Piece::Slip(line, what) => return items.push(Err((line, what))),
            Piece::Whole(line, bytes) => (line, bytes),
        };
        match self {
            FormParser::Json => items.push(lines::object(line, bytes)),
            FormParser::Edn(forms) => match text.of(line, bytes, notes) {
                Ok(text) => forms.take(line, &text, items, notes),
                Err(error) => items.push(Err(error)),
            },
        }
    }
}

/// Bytes that should be text.
struct Text<'s> {
    leniency: Leniency,
    said: &'s mut bool,
}

impl Text<'_> {
    fn of<'b>(
        &mut self,
        line: u64,
        bytes: &'b [u8],
        notes: &mut Notes,
    ) -> Result<Cow<'b, str>, (u64, String)> {
        let error = match std::str::from_utf8(bytes) {
            Ok(text) => return Ok(Cow::Borrowed(text)),
            Err(error) => error,
        };
        let line = line + bytes[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count() as u64;
        if self.leniency == Leniency::Strict {
            return Err((line, "it is not UTF-8".to_string()));
        }
        if !std::mem::replace(self.said, true) {
            notes.push(line, "not UTF-8 from here on; such characters were replaced");
        }
        Ok(String::from_utf8_lossy(bytes))
    }
}
