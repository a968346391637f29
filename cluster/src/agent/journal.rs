//! What an agent leaves behind: event lines for machines, log lines for people.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Write},
    path::Path,
};

use crate::clock::{monotonic_ns, wall};
use crate::event::{AgentEvent, Step};

/// Appends event lines to a file, one `write(2)` per line, of the steps of an election each once.
#[derive(Debug)]
pub struct Journal {
    file: File,
    shard: u32,
    node: String,
    noted: BTreeSet<(u64, Step)>,
}

impl Journal {
    /// Opens `path` for appending and locks it for as long as the agent lives, so that no second agent
    /// leads the same Redis.
    pub fn open(path: &Path, shard: u32, node: &str) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::WouldBlock, "another agent holds it"));
            }
            Err(TryLockError::Error(e)) => return Err(e),
        }
        Ok(Journal { file, shard, node: node.to_owned(), noted: BTreeSet::new() })
    }

    /// Writes the event unless this agent has written it for the same epoch before: for steps that are
    /// tried again.
    pub fn note_once(&mut self, step: Step, epoch: u64, detail: &str) {
        if self.noted.insert((epoch, step)) {
            self.note(step, epoch, detail);
        }
    }

    /// Writes the event.
    pub fn note(&mut self, step: Step, epoch: u64, detail: &str) {
        let event = AgentEvent {
            mono_ns: monotonic_ns(),
            wall_ns: wall().as_nanos() as u64,
            shard: self.shard,
            node: self.node.clone(),
            step,
            epoch,
            detail: detail.to_owned(),
        };
        let mut line = serde_json::to_vec(&event).expect("an event is a plain struct");
        line.push(b'\n');
        if let Err(e) = self.file.write_all(&line) {
            log(&format!("cannot write an event line: {e}"));
        }
        log(&format!("{step:?} epoch {epoch} {detail}"));
    }
}

/// One line on standard error, with the time of day (UTC).
pub fn log(message: &str) {
    let now = wall();
    let s = now.as_secs() % 86_400;
    let line =
        format!("{:02}:{:02}:{:02}.{:03} {message}\n", s / 3600, s / 60 % 60, s % 60, now.subsec_millis());
    // Nobody to tell if standard error is gone.
    let _ = io::stderr().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_is_tried_again_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut journal = Journal::open(&path, 3, "r3a").unwrap();
        journal.note_once(Step::Suspected, 1, "lease gone");
        journal.note_once(Step::Suspected, 1, "again");
        journal.note(Step::Elected, 2, "");
        let text = std::fs::read_to_string(&path).unwrap();
        let events: Vec<AgentEvent> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.len(), 2);
        assert_eq!((events[0].step, events[0].detail.as_str()), (Step::Suspected, "lease gone"));
        assert!(events[1].mono_ns >= events[0].mono_ns && events[1].wall_ns > 0);
        assert_eq!(events[1].shard, 3);
    }

    #[test]
    fn a_second_agent_is_kept_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let first = Journal::open(&path, 0, "a").unwrap();
        assert!(Journal::open(&path, 0, "a").unwrap_err().to_string().contains("another agent"));
        drop(first);
        Journal::open(&path, 0, "a").unwrap();
    }
}
