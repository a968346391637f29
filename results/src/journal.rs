//! `history.jsonl` as it happens: each event is in the kernel's hands before `append` returns.
//!
//! Lines reach the file by `write(2)` with `O_APPEND`, one call per line, or one for all lines that threads
//! brought while the call before was under way. kill -9 of this process at any moment loses nothing that was
//! appended, and cuts at most the line being written. (Losing the machine is another matter: only
//! [`Journal::finish`] waits for the disk.)

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};

use checker::Event;

use crate::error::{Error, Result};

/// An append-only file of events, shared by all who record.
///
/// Numbers the events: line n (from 0) holds the event with index n.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    queue: Mutex<Queue>,
    tail: Mutex<Tail>,
}

/// Numbered lines on their way to the file. Held for the copying of a line only.
#[derive(Debug, Default)]
struct Queue {
    lines: Vec<u8>,
    next_index: u64,
}

/// The file's end. Held while it is written.
#[derive(Debug)]
struct Tail {
    file: File,
    /// Bytes of whole lines in it.
    bytes: u64,
    /// Events in it.
    written: u64,
    /// The lines being written; swapped with the queue's.
    batch: Vec<u8>,
    /// The error that ended it.
    broken: Option<(io::ErrorKind, String)>,
}

/// What serde writes first for an event whose index is 0; the number is put in place of the 0.
const STEM: &[u8] = b"{\"index\":0";

thread_local! {
    /// Lines without their stems, and where each one ends.
    static FORMATTED: RefCell<(Vec<u8>, Vec<usize>)> = const { RefCell::new((Vec::new(), Vec::new())) };
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
        let tail = Tail { file, bytes: 0, written: 0, batch: Vec::new(), broken: None };
        Journal { path: path.to_owned(), queue: Mutex::default(), tail: Mutex::new(tail) }
    }

    /// Stamps `event.index` and appends the event as one line; returns the index.
    ///
    /// When this returns `Ok`, the event outlives the process. When it fails, the event is not in the
    /// journal, and the journal has ended: every later call fails with the same error, and what was appended
    /// before stays readable.
    pub fn append(&self, event: &mut Event) -> Result<u64> {
        self.append_all(slice::from_mut(event))?;
        Ok(event.index)
    }

    /// Appends several events, one after the other with no other between, in one go: all of them or none.
    pub fn append_all(&self, events: &mut [Event]) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let count = FORMATTED.with_borrow_mut(|(rests, ends)| -> Result<u64> {
            self.format(events, rests, ends)?;
            Ok(self.enqueue(events, rests, ends))
        })?;
        let mut tail = lock(&self.tail);
        if tail.written >= count {
            return Ok(()); // whoever held the tail before took these lines along
        }
        self.write(&mut tail)
    }

    /// How many events are in the file.
    pub fn len(&self) -> u64 {
        lock(&self.tail).written
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the disk has everything; returns how many events that is.
    pub fn finish(self) -> Result<u64> {
        let tail = lock(&self.tail);
        tail.file.sync_data().map_err(Error::doing("write", &self.path))?;
        Ok(tail.written)
    }

    fn format(&self, events: &mut [Event], rests: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        rests.clear();
        ends.clear();
        for event in events {
            event.index = 0;
            let start = rests.len();
            serde_json::to_writer(&mut *rests, event)
                .map_err(|err| Error::Unwritable { path: self.path.clone(), why: err.to_string() })?;
            assert!(rests[start..].starts_with(STEM), "an event's line opens with its index");
            rests.push(b'\n');
            ends.push(rests.len());
        }
        Ok(())
    }

    /// Numbers the lines and puts them in the queue; returns how many events there are with the last of them.
    fn enqueue(&self, events: &mut [Event], rests: &[u8], ends: &[usize]) -> u64 {
        let mut queue = lock(&self.queue);
        let mut start = 0;
        for (event, &end) in events.iter_mut().zip(ends) {
            event.index = queue.next_index;
            queue.next_index += 1;
            push_line(&mut queue.lines, event.index, &rests[start + STEM.len()..end]);
            start = end;
        }
        queue.next_index
    }

    /// Writes all that is queued.
    fn write(&self, tail: &mut Tail) -> Result<()> {
        let count = {
            let mut queue = lock(&self.queue);
            mem::swap(&mut queue.lines, &mut tail.batch);
            queue.next_index
        };
        let batch = mem::take(&mut tail.batch);
        let done = match &tail.broken {
            None => tail.file.write_all(&batch),
            Some((kind, why)) => Err(io::Error::new(*kind, why.clone())),
        };
        match done {
            Ok(()) => {
                tail.bytes += batch.len() as u64;
                tail.written = count;
            }
            Err(ref source) => {
                // Take back what got through: none of these events may count. Should that fail as well, the
                // file ends in mid-line, which readers know how to leave out.
                let _ = tail.file.set_len(tail.bytes);
                tail.broken.get_or_insert_with(|| (source.kind(), source.to_string()));
            }
        }
        tail.batch = batch;
        tail.batch.clear();
        done.map_err(Error::doing("write", &self.path))
    }
}

/// A thread that panicked while it held a lock left everything whole: every step above does.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Appends `{"index":<index>` and the rest of the line.
fn push_line(lines: &mut Vec<u8>, index: u64, rest: &[u8]) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = index;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    lines.extend_from_slice(&STEM[..STEM.len() - 1]);
    lines.extend_from_slice(&digits[at..]);
    lines.extend_from_slice(rest);
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
            let plain = serde_json::to_vec(&Event { index: 0, ..event() }).unwrap();
            let mut line = Vec::new();
            push_line(&mut line, index, &plain[STEM.len()..]);
            let read: Event = serde_json::from_slice(&line).unwrap();
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
