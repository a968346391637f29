//! A file that grows, read on from where it was left.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// Bytes that one look reads at most: the first look at a long run is spread over several.
const LOOK_BYTES_MAX: u64 = 48 << 20;

/// Where a reader stands in a file of lines.
#[derive(Debug)]
pub(super) struct Follow {
    path: PathBuf,
    offset: u64,
    /// A line whose end has not been written yet.
    begun: Vec<u8>,
}

impl Follow {
    pub(super) fn new(path: PathBuf) -> Follow {
        Follow { path, offset: 0, begun: Vec::new() }
    }

    /// Hands on every whole line that is new; true when there is more to read. A file that is not there yet has no
    /// lines; one that became shorter is read from the start.
    pub(super) fn catch_up(&mut self, mut each: impl FnMut(&[u8])) -> bool {
        let Ok(mut file) = File::open(&self.path) else { return false };
        let length = file.metadata().map_or(0, |meta| meta.len());
        if length < self.offset {
            self.offset = 0;
            self.begun.clear();
        }
        let mut left = (length - self.offset).min(LOOK_BYTES_MAX);
        if left == 0 || file.seek(SeekFrom::Start(self.offset)).is_err() {
            return false;
        }
        let mut piece = vec![0; 1 << 18];
        while left > 0 {
            let wanted = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let Ok(read @ 1..) = file.read(&mut piece[..wanted]) else { break };
            left -= read as u64;
            self.offset += read as u64;
            for part in piece[..read].split_inclusive(|&b| b == b'\n') {
                self.begun.extend_from_slice(part);
                if part.ends_with(b"\n") {
                    each(&self.begun);
                    self.begun.clear();
                }
            }
        }
        self.offset < length
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_come_once_and_whole_whenever_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut follow = Follow::new(path.clone());
        let mut seen: Vec<String> = Vec::new();
        let mut look = |seen: &mut Vec<String>| {
            follow.catch_up(|line| seen.push(String::from_utf8_lossy(line).trim().to_owned()))
        };
        look(&mut seen);
        let mut file = File::create(&path).unwrap();
        for (piece, lines) in [("a\nb", 1), ("", 1), ("c\n", 2), ("d\ne\n", 4)] {
            file.write_all(piece.as_bytes()).unwrap();
            assert!(!look(&mut seen));
            assert_eq!(seen.len(), lines, "{seen:?}");
        }
        assert_eq!(seen, ["a", "bc", "d", "e"]);
        std::fs::write(&path, "z\n").unwrap();
        look(&mut seen);
        assert_eq!(seen.last().map(String::as_str), Some("z"));
    }
}
