//! A reader that is fed pieces of a file.

use super::repair::Repair;
use super::source::Source;
use super::{Format, FormatError, HEAD_BYTES_MAX, Item, Leniency, Note, Notes, detect, without_mark};
use crate::Event;

/// Reads a history piece by piece: in what pieces makes no difference.
///
/// ```
/// use checker::history::HistoryBuilder;
/// use checker::history::formats::{Leniency, Reader};
///
/// let mut builder = HistoryBuilder::new();
/// let mut take = |event| builder.push(event).expect("a reader's events are a history");
/// let mut reader = Reader::new(None, Leniency::Strict);
/// for piece in ["[{:process 0 :type :inv", "oke :f :read :value nil}", "\n]"] {
///     reader.feed(piece.as_bytes(), &mut take)?;
/// }
/// let ending = reader.finish(&mut take)?;
/// assert_eq!((ending.events, ending.format.name()), (1, "edn"));
/// # Ok::<(), checker::history::formats::FormatError>(())
/// ```
pub struct Reader {
    leniency: Leniency,
    stage: Stage,
    repair: Repair,
    notes: Notes,
}

enum Stage {
    /// The beginning of the file, until its form is known; and the form, if it was named.
    Head(Vec<u8>, Option<Format>),
    Body(Source),
}

/// What a reader knows at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// In which form the file was.
    pub format: Format,
    /// How many events were handed out.
    pub events: u64,
    /// What was left out or mended, in the order of the lines; at most a thousand.
    pub notes: Vec<Note>,
}

impl Reader {
    /// A reader of the form `format`, or of the one that is detected.
    pub fn new(format: Option<Format>, leniency: Leniency) -> Self {
        let stage = Stage::Head(Vec::new(), format);
        Reader { leniency, stage, repair: Repair::new(leniency), notes: Notes::default() }
    }

    /// Takes the next bytes of the file and hands every event that is whole to `each`. The events, numbered from
    /// 0, are a history: none of them is refused by [`HistoryBuilder`](crate::history::HistoryBuilder).
    ///
    /// After an error the reader is of no more use.
    pub fn feed(&mut self, bytes: &[u8], each: &mut dyn FnMut(Event)) -> Result<(), FormatError> {
        match &mut self.stage {
            Stage::Body(source) => {
                let items = source.feed(bytes, &mut self.notes);
                self.pass_on(items, each)
            }
            Stage::Head(head, named) => {
                head.extend_from_slice(bytes);
                let line_is_whole = without_mark(head).trim_ascii_start().contains(&b'\n');
                let format = match named {
                    // The mark of byte order must be whole before it can be told from content.
                    Some(format) if head.len() >= 3 => Some(*format),
                    Some(_) => None,
                    None if line_is_whole || head.len() >= HEAD_BYTES_MAX => detect(whole_lines(head)),
                    None => None,
                };
                match format {
                    Some(format) => self.begin(format, each),
                    None if named.is_none() && head.len() >= HEAD_BYTES_MAX => Err(unrecognised(head)),
                    None => Ok(()),
                }
            }
        }
    }

    /// In which form the file is, once that is known.
    pub fn format(&self) -> Option<Format> {
        match &self.stage {
            Stage::Head(_, named) => *named,
            Stage::Body(source) => Some(source.format()),
        }
    }

    /// The file ends here.
    pub fn finish(mut self, each: &mut dyn FnMut(Event)) -> Result<Ending, FormatError> {
        if let Stage::Head(head, named) = &self.stage {
            let format = match named.or_else(|| detect(head)) {
                Some(format) => format,
                None if without_mark(head).trim_ascii().is_empty() => Format::Lines,
                None => return Err(unrecognised(head)),
            };
            self.begin(format, each)?;
        }
        let Stage::Body(source) = &mut self.stage else { unreachable!("begun above") };
        let (format, last_line) = (source.format(), source.line());
        let items = source.finish(&mut self.notes);
        self.pass_on(items, each)?;
        Ok(Ending { format, events: self.repair.events(), notes: self.notes.finish(last_line) })
    }

    fn begin(&mut self, format: Format, each: &mut dyn FnMut(Event)) -> Result<(), FormatError> {
        let mut source = Source::new(format, self.leniency);
        let head = match &mut self.stage {
            Stage::Head(head, _) => std::mem::take(head),
            Stage::Body(_) => Vec::new(),
        };
        let items = source.feed(without_mark(&head), &mut self.notes);
        self.stage = Stage::Body(source);
        self.pass_on(items, each)
    }

    fn pass_on(&mut self, items: Vec<Item>, each: &mut dyn FnMut(Event)) -> Result<(), FormatError> {
        for item in items {
            match item {
                Ok(found) => {
                    if let Some(event) = self.repair.mended(found, &mut self.notes)? {
                        each(event);
                    }
                }
                Err((line, why)) if self.leniency == Leniency::Strict => {
                    return Err(FormatError::Malformed { line, why });
                }
                Err((line, why)) => self.notes.push(line, format!("{why}; left out")),
            }
        }
        Ok(())
    }
}

/// The head without what may go on in the next piece: half a line can look like another form's.
fn whole_lines(head: &[u8]) -> &[u8] {
    let head = &head[..head.len().min(HEAD_BYTES_MAX)];
    head.iter().rposition(|&b| b == b'\n').map_or(head, |end| &head[..=end])
}

fn unrecognised(head: &[u8]) -> FormatError {
    let blank = head.len() - head.trim_ascii_start().len();
    let line = 1 + head[..blank].iter().filter(|&&b| b == b'\n').count() as u64;
    FormatError::Unrecognised { line }
}
