//! `history.jsonl` as it happens: each event is in the kernel's hands before `append` returns.
//!
//! One `write(2)` per line on a file opened with `O_APPEND`: kill -9 of this process at any moment loses
//! nothing that was appended, and at most the line being written is cut. (Losing the machine is another
//! matter: only [`Journal::finish`] waits for the disk.)

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use checker::Event;

use crate::error::{Error, Result};

/// An append-only file of events, shared by all who record.
///
/// Numbers the events: line n (from 0) holds the event with index n. Lines are formatted outside the lock;
/// within it only the number is filled in and the line written, so order in the file is order of index.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    tail: Mutex<Tail>,
}

/// The file's end.
#[derive(Debug)]
struct Tail {
    file: File,
    /// Bytes of whole lines.
    bytes: u64,
    next_index: u64,
    /// Why nothing more can be appended, if so.
    broken: Option<String>,
}

/// What serde writes first for an event whose index is 0; the number is put in its place.
const STEM: &[u8] = b"{\"index\":0";
/// Room before the line for the longest number there is (20 digits, the stem has one).
const ROOM: usize = 19;

thread_local! {
    static LINE: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(512));
}

impl Journal {
    /// A new journal; fails where the file exists.
    pub fn create(path: &Path) -> Result<Journal> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(Error::doing("create", path))?;
        Ok(Journal::over(file, path))
    }

    fn over(file: File, path: &Path) -> Journal {
        let tail = Tail { file, bytes: 0, next_index: 0, broken: None };
        Journal { path: path.to_owned(), tail: Mutex::new(tail) }
    }

    /// Stamps `event.index` and appends the event as one line.
    ///
    /// When this returns `Ok`, the event outlives the process. When it fails, the event is not in the
    /// journal, its index is given to the next one, and the whole lines before it stay readable.
    pub fn append(&self, event: &mut Event) -> Result<u64> {
        LINE.with_borrow_mut(|line| {
            line.clear();
            line.resize(ROOM, b' ');
            event.index = 0;
            serde_json::to_writer(&mut *line, event)
                .map_err(|err| Error::Unwritable { path: self.path.clone(), why: err.to_string() })?;
            line.push(b'\n');
            debug_assert!(line[ROOM..].starts_with(STEM), "an event's line opens with its index");

            let mut tail = self.lock();
            event.index = tail.next_index;
            let start = number(line, event.index);
            self.write(&mut tail, &line[start..])?;
            tail.next_index += 1;
            Ok(event.index)
        })
    }

    /// How many events were appended.
    pub fn len(&self) -> u64 {
        self.lock().next_index
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the disk has everything; the end of the journal.
    pub fn finish(self) -> Result<u64> {
        let tail = self.lock();
        tail.file.sync_data().map_err(Error::doing("write", &self.path))?;
        Ok(tail.next_index)
    }

    fn write(&self, tail: &mut Tail, line: &[u8]) -> Result<()> {
        if let Some(why) = &tail.broken {
            return Err(Error::JournalBroken { path: self.path.clone(), why: why.clone() });
        }
        match write_line(&mut tail.file, line) {
            Ok(()) => {
                tail.bytes += line.len() as u64;
                Ok(())
            }
            Err((source, written)) => {
                // Half a line would run into the next one: take it back, or take no more.
                if written > 0
                    && let Err(stuck) = tail.file.set_len(tail.bytes)
                {
                    tail.broken = Some(format!("{source}, and its half-written line stays: {stuck}"));
                }
                Err(Error::io("write", &self.path, source))
            }
        }
    }

    /// A thread that panicked while it held the lock left the tail whole: every step above is.
    fn lock(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Normally one system call; on an error, how many bytes had got through.
fn write_line(file: &mut File, line: &[u8]) -> std::result::Result<(), (io::Error, usize)> {
    let mut written = 0;
    while written < line.len() {
        match file.write(&line[written..]) {
            Ok(0) => return Err((io::ErrorKind::WriteZero.into(), written)),
            Ok(n) => written += n,
            Err(again) if again.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err((source, written)),
        }
    }
    Ok(())
}

/// Writes `{"index":<index>` so that it ends where the stem ended; returns where the line now starts.
fn number(line: &mut [u8], mut index: u64) -> usize {
    let mut at = ROOM + STEM.len();
    loop {
        at -= 1;
        line[at] = b'0' + (index % 10) as u8;
        index /= 10;
        if index == 0 {
            break;
        }
    }
    let head = &STEM[..STEM.len() - 1];
    at -= head.len();
    line[at..at + head.len()].copy_from_slice(head);
    at
}

#[cfg(test)]
mod tests {
    use checker::{EventKind, Process};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn event() -> Event {
        Event {
            index: 7,
            time_ns: 1,
            process: Process::Client(0),
            kind: EventKind::Invoke,
            f: "write".into(),
            key: None,
            value: Value::from(1),
            error: None,
            shard: None,
            epoch: None,
            node: None,
        }
    }

    proptest! {
        #[test]
        fn any_index_is_filled_in(index: u64) {
            let mut line = vec![b' '; ROOM];
            let plain = Event { index: 0, ..event() };
            serde_json::to_writer(&mut line, &plain).unwrap();
            let start = number(&mut line, index);
            let read: Event = serde_json::from_slice(&line[start..]).unwrap();
            prop_assert_eq!(read, Event { index, ..event() });
        }
    }

    #[test]
    fn a_full_disk_is_named_with_its_mend() {
        let file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let journal = Journal::over(file, Path::new("store/run/history.jsonl"));
        for _ in 0..2 {
            let err = journal.append(&mut event()).unwrap_err();
            assert_eq!(
                err.to_string(),
                "the disk that holds store/run/history.jsonl is full: free some space or choose another --store"
            );
        }
        assert!(journal.is_empty());
    }
}
