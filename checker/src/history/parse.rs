//! Reading history lines: one JSON object a line, in our form or the neutral one.
//!
//! The neutral form is ours without `index`; then a line's position among the events is its index.

use std::fmt;

use thiserror::Error;

use super::{Event, FormError, History};

/// A line that is not an event.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} is not a history event: {why}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: u64,
    /// What is wrong with it, and where in the line.
    pub why: String,
}

/// A last line that was being written when the writer died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutLine {
    /// Line, from 1.
    pub line: u64,
    /// How many bytes of it there are.
    pub bytes: usize,
}

impl fmt::Display for CutLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {} was cut after {} bytes and left out; all before it is judged",
            self.line, self.bytes
        )
    }
}

/// The events of a file, and what had to be left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ParsedHistory {
    /// Every whole line, in order.
    pub events: Vec<Event>,
    /// The cut last line, if there is one. Its event never completed, so nothing is lost but that edge.
    pub note: Option<CutLine>,
}

impl ParsedHistory {
    /// Pairs the events; the note is dropped.
    pub fn into_history(self) -> Result<History, FormError> {
        History::from_events(self.events)
    }
}

/// Reads one line (with or without its newline). The event's `index` stays 0 where the line has none.
pub fn parse_line(line: &str) -> Result<Event, ParseError> {
    serde_json::from_str(line).map_err(|error| ParseError { line: 1, why: column_only(&error) })
}

/// Reads a whole text; see [`parse_bytes`].
pub fn parse_lines(text: &str) -> Result<ParsedHistory, ParseError> {
    parse_bytes(text.as_bytes())
}

/// Reads a whole file.
///
/// Empty lines are skipped. A last line that breaks off in the middle (no newline, or its JSON ends too
/// early) becomes [`ParsedHistory::note`]; any other broken line is an error that names it.
pub fn parse_bytes(bytes: &[u8]) -> Result<ParsedHistory, ParseError> {
    let mut parsed = ParsedHistory::default();
    let end = bytes.iter().rposition(|b| !b.is_ascii_whitespace()).map_or(0, |last| last + 1);
    let ends_with_newline = bytes[end..].contains(&b'\n');
    let mut start = 0;
    for (line, text) in (1u64..).zip(bytes[..end].split(|&b| b == b'\n')) {
        start += text.len() + 1;
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<Event>(text) {
            Ok(mut event) => {
                // Only the first event can truly have index 0.
                if event.index == 0 {
                    event.index = parsed.events.len() as u64;
                }
                parsed.events.push(event);
            }
            Err(error) if start > end && (!ends_with_newline || error.is_eof()) => {
                parsed.note = Some(CutLine { line, bytes: text.len() });
            }
            Err(error) => return Err(ParseError { line, why: column_only(&error) }),
        }
    }
    Ok(parsed)
}

/// The parser's message with the column; its own "line 1" would mislead.
pub(super) fn column_only(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EventKind, Process};
    use super::*;
    use proptest::prelude::*;

    const INVOKE: &str = r#"{"process":4,"type":"invoke","f":"read","key":"k1","value":null,"time":10}"#;
    const OK: &str = r#"{"process":4,"type":"ok","f":"read","key":"k1","value":7,"time":20}"#;

    #[test]
    fn a_neutral_line_takes_its_position_as_index() {
        let parsed = parse_lines(&format!("{INVOKE}\n\n{OK}\n")).expect("two lines");
        assert_eq!(parsed.events.iter().map(|e| e.index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(parsed.note, None);
    }

    #[test]
    fn a_cut_last_line_is_a_note() {
        let parsed = parse_lines(&format!("{INVOKE}\n{}", &OK[..30])).expect("the rest is judged");
        assert_eq!(parsed.events.len(), 1);
        assert_eq!(parsed.note, Some(CutLine { line: 2, bytes: 30 }));
    }

    #[test]
    fn a_last_line_that_lacks_only_its_newline_is_whole() {
        let parsed = parse_lines(&format!("{INVOKE}\n{OK}")).expect("two lines");
        assert_eq!((parsed.events.len(), parsed.note), (2, None));
    }

    #[test]
    fn a_cut_inside_a_character_is_a_note_too() {
        let text = INVOKE.replace("k1", "é");
        let cut = text.find('é').expect("it is there") + 1;
        let parsed = parse_bytes(&text.as_bytes()[..cut]).expect("a note");
        assert_eq!(parsed.note, Some(CutLine { line: 1, bytes: cut }));
    }

    #[test]
    fn a_broken_line_elsewhere_is_an_error_with_its_number() {
        let error = parse_lines(&format!("{INVOKE}\n{}\n{OK}\n", &OK[..30])).expect_err("line 2");
        assert_eq!(error.line, 2);
        let error = parse_lines(&format!("{INVOKE}\nnonsense\n")).expect_err("whole, but no event");
        assert_eq!(error.to_string(), "line 2 is not a history event: expected ident at column 2");
    }

    #[test]
    fn an_event_survives_being_written_and_read() {
        let event = parse_line(OK).expect("an event");
        assert_eq!((event.kind, event.process), (EventKind::Ok, Process::Client(4)));
        let text = serde_json::to_string(&event).expect("serialises");
        assert_eq!(parse_line(&text), Ok(event));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_bytes(&bytes);
        }

        #[test]
        fn a_file_cut_anywhere_keeps_its_whole_lines(cut in 0usize..400) {
            let text = format!("{INVOKE}\n{OK}\n").repeat(3);
            let cut = cut.min(text.len());
            let parsed = parse_bytes(&text.as_bytes()[..cut]).expect("a cut is never an error");
            let whole = text[..cut].matches('\n').count();
            prop_assert!(parsed.events.len() >= whole);
        }
    }
}
