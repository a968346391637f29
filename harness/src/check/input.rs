//! A history file as it comes: from disk or standard input, compressed or not, piece by piece.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Result;
use checker::history::HistoryBuilder;
use checker::history::formats::{Ending, Format, Leniency, Note, Reader};
use checker::{Event, History};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::FrameDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};

use crate::exit::UsageError;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 1 << 18;

/// Window that a zstd frame may ask for: what `zstd --long=27` needs, which is as far as its own tool goes unasked.
const ZSTD_WINDOW_BYTES_MAX: u64 = 1 << 27;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Members of gzip, one after another.
    Gzip,
    /// Frames of zstd, one after another.
    Zstd,
}

impl Compression {
    /// Its name; none for none.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Compression::None => None,
            Compression::Gzip => Some("gzip"),
            Compression::Zstd => Some("zstd"),
        }
    }

    /// By the first bytes of a file.
    fn of(magic: &[u8]) -> Compression {
        match magic {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            // A frame, or one of the sixteen that are to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

/// What a file was.
pub struct Reading {
    /// In which form it was.
    pub format: Format,
    /// How it was packed.
    pub compression: Compression,
    /// How many events there were.
    pub events: u64,
    /// What was left out or mended.
    pub notes: Vec<Note>,
}

/// What to do after an event.
pub type Next = ControlFlow<()>;

/// Reads the history in `path`, or standard input for `-`. No more of it is held than its operations and one
/// piece.
pub fn read(path: &Path, format: Option<Format>, leniency: Leniency) -> Result<(History, Reading)> {
    let mut builder = HistoryBuilder::new();
    let mut refused = None;
    let reading = read_each(path, format, leniency, &mut |event| match builder.push(event) {
        Ok(()) => Next::Continue(()),
        Err(error) => {
            refused = Some(error);
            Next::Break(())
        }
    })?;
    match refused {
        Some(error) => Err(UsageError(format!("{}: {error}", path.display())).into()),
        None => Ok((builder.finish(), reading)),
    }
}

/// All events in `path`, what does not belong there left out.
pub fn events(path: &Path) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    read_each(path, None, Leniency::Lenient, &mut |event| {
        events.push(event);
        Next::Continue(())
    })?;
    Ok(events)
}

/// Hands every event in `path`, or in standard input for `-`, to `each`, until that breaks.
pub fn read_each(
    path: &Path,
    format: Option<Format>,
    leniency: Leniency,
    each: &mut dyn FnMut(Event) -> Next,
) -> Result<Reading> {
    let said = |why: String| UsageError(format!("{}: {why}", path.display()));
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(|error| said(error.to_string()))?)
    };
    read_from(source, format, leniency, each).map_err(|why| said(why).into())
}

fn read_from(
    source: Box<dyn Read>,
    format: Option<Format>,
    leniency: Leniency,
    each: &mut dyn FnMut(Event) -> Next,
) -> Result<Reading, String> {
    let mut unpacked = Unpacked::new(source).map_err(|error| error.to_string())?;
    let mut reader = Reader::new(format, leniency);
    // A reader hands on what a piece holds in one go, wanted or not.
    let wanted = Cell::new(true);
    let mut take = |event| {
        if wanted.get() && each(event).is_break() {
            wanted.set(false);
        }
    };
    let mut piece = vec![0; PIECE_BYTES];
    let mut broken = None;
    while wanted.get() {
        match unpacked.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => reader
                .feed(&piece[..length], &mut take)
                .map_err(|error| mend(&error.to_string(), leniency))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if leniency == Leniency::Lenient => {
                broken = Some(format!("{}; the rest is left out", unpacked.describe(&error)));
                break;
            }
            Err(error) => return Err(mend(&unpacked.describe(&error), leniency)),
        }
    }
    let ending = match (wanted.get(), reader.format()) {
        // Half an event in the last piece is nobody's mistake.
        (false, Some(format)) => Ending { format, events: 0, notes: Vec::new() },
        _ => reader.finish(&mut take).map_err(|error| mend(&error.to_string(), leniency))?,
    };
    let Ending { format, events, mut notes } = ending;
    notes.extend(broken.map(|what| Note { line: unpacked.lines, what }));
    Ok(Reading { format, compression: unpacked.compression, events, notes })
}

fn mend(why: &str, leniency: Leniency) -> String {
    match leniency {
        Leniency::Strict => format!("{why} (--lenient turns this into a note and judges the rest)"),
        Leniency::Lenient => why.to_string(),
    }
}

/// Bytes as they were before they were packed.
struct Unpacked {
    compression: Compression,
    bytes: Packed,
    /// Line that was reached, from 1.
    lines: u64,
}

enum Packed {
    Plain(BufReader<Watched>),
    Gzip(Box<MultiGzDecoder<BufReader<Watched>>>),
    Zstd(Box<Frames>),
}

impl Unpacked {
    fn new(mut source: Box<dyn Read>) -> io::Result<Self> {
        let mut magic = Vec::new();
        (&mut source).take(4).read_to_end(&mut magic)?;
        let compression = Compression::of(&magic);
        let again: Box<dyn Read> = Box::new(io::Cursor::new(magic).chain(source));
        let source = BufReader::with_capacity(PIECE_BYTES, Watched { source: again, ended: false });
        let bytes = match compression {
            Compression::None => Packed::Plain(source),
            Compression::Gzip => Packed::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Zstd => Packed::Zstd(Box::new(Frames::new(source))),
        };
        Ok(Unpacked { compression, bytes, lines: 1 })
    }

    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let length = match &mut self.bytes {
            Packed::Plain(bytes) => bytes.read(piece),
            Packed::Gzip(bytes) => bytes.read(piece),
            Packed::Zstd(bytes) => bytes.read(piece),
        }?;
        self.lines += piece[..length].iter().filter(|&&b| b == b'\n').count() as u64;
        Ok(length)
    }

    /// An error in words: what breaks off is told from what is damaged.
    fn describe(&self, error: &io::Error) -> String {
        let (name, source) = match &self.bytes {
            Packed::Plain(_) => return error.to_string(),
            Packed::Gzip(bytes) => ("gzip", bytes.get_ref().get_ref()),
            Packed::Zstd(bytes) => ("zstd", bytes.source.get_ref()),
        };
        if source.ended {
            return format!("the {name} stream breaks off, in line {} of what it holds", self.lines);
        }
        format!("the {name} stream is damaged, in line {} of what it holds: {error}", self.lines)
    }
}

/// A source that remembers whether it ended.
struct Watched {
    source: Box<dyn Read>,
    ended: bool,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.ended |= length == 0 && !buffer.is_empty();
        Ok(length)
    }
}

/// Frames of zstd, one after another; those that are to be skipped are skipped.
struct Frames {
    source: BufReader<Watched>,
    decoder: FrameDecoder,
    /// Between frames?
    idle: bool,
}

impl Frames {
    fn new(source: BufReader<Watched>) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW_BYTES_MAX);
        Frames { source, decoder, idle: true }
    }

    /// Begins the next frame; false at the end.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => {
                    self.idle = false;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }

    /// The frame is whole: is it what was packed?
    fn end(&mut self) -> io::Result<()> {
        self.idle = true;
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(stated), Some(found)) if stated != found => {
                Err(io::Error::other("a frame's checksum does not fit its content"))
            }
            _ => Ok(()),
        }
    }
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use ruzstd::decoding::BlockDecodingStrategy::UptoBlocks;
        loop {
            if self.idle && !self.begin()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder.decode_blocks(&mut self.source, UptoBlocks(1)).map_err(io::Error::other)?;
            }
            let length = self.decoder.read(buffer)?;
            if length > 0 {
                return Ok(length);
            }
            self.end()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &str =
        "{:process 0 :type :invoke :f :read :value nil}\n{:process 0 :type :ok :f :read :value nil}\n";

    fn gzip(text: &str) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(text.as_bytes()).expect("into memory");
        packer.finish().expect("into memory")
    }

    fn zstd(text: &str) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn from(bytes: Vec<u8>, leniency: Leniency) -> Result<(usize, Reading), String> {
        let mut events = 0;
        let reading = read_from(Box::new(io::Cursor::new(bytes)), None, leniency, &mut |_| {
            events += 1;
            Next::Continue(())
        })?;
        Ok((events, reading))
    }

    #[test]
    fn every_packing_of_a_text_is_the_text() {
        let (first, second) = TEXT.split_at(60);
        let skipped = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3].to_vec();
        let cases = [
            (Compression::None, TEXT.as_bytes().to_vec()),
            (Compression::Gzip, gzip(TEXT)),
            (Compression::Gzip, [gzip(first), gzip(second)].concat()),
            (Compression::Zstd, zstd(TEXT)),
            (Compression::Zstd, [skipped.clone(), zstd(first), skipped, zstd(second)].concat()),
        ];
        for (compression, bytes) in cases {
            let (events, reading) = from(bytes, Leniency::Strict).expect("whole");
            assert_eq!((reading.compression, reading.events, events), (compression, 2, 2));
        }
    }

    #[test]
    fn a_stream_that_breaks_off_is_said_so_or_judged_up_to_there() {
        let long: String = (0..8000).map(|i| TEXT.replace("nil", &(i * i % 7919).to_string())).collect();
        for packed in [gzip(&long), zstd(&long), [zstd(TEXT), zstd(&long)].concat()] {
            for cut in [packed.len() - 1, packed.len() * 2 / 3, packed.len() - 5] {
                let cut = packed[..cut].to_vec();
                let why = from(cut.clone(), Leniency::Strict).map(|(events, _)| events).expect_err("cut");
                assert!(why.contains("breaks off") && why.contains("--lenient"), "{why}");
                let (events, reading) = from(cut, Leniency::Lenient).expect("the rest");
                assert!(
                    reading.notes.iter().any(|note| note.what.contains("breaks off")),
                    "{:?}",
                    reading.notes
                );
                assert!(events > 0);
            }
        }
    }

    #[test]
    fn what_is_damaged_or_follows_the_stream_is_an_error() {
        let mut packed = gzip(&TEXT.repeat(50));
        let middle = packed.len() - 6;
        packed[middle] ^= 1;
        assert!(from(packed, Leniency::Strict).is_err_and(|why| why.contains("damaged")));
        let followed = [zstd(TEXT), b"and more of it".to_vec()].concat();
        assert!(from(followed, Leniency::Strict).is_err_and(|why| why.contains("zstd stream")));
    }
}
