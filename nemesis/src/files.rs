//! Damage to files at rest: a bit flipped, an end cut off; anywhere, or where the format hurts most.
//!
//! A blind flip is what ageing media do; formats with checksums notice most of them. A flip that is *aimed*
//! hits a stored value and nothing of the structure around it. With its checksum repaired it is what software
//! below may do (a wrong block, an old block, a lying cache): nothing in the file tells that the value was
//! never written. How real servers take it, as the harness's tests see it:
//!
//! | file                       | blind, or aimed and left                         | aimed and repaired          |
//! |----------------------------|--------------------------------------------------|-----------------------------|
//! | Redis 7 `.rdb`             | refuses to start: wrong checksum                 | serves the forgery          |
//! | Redis 7 `.aof`             | has no checksum: serves the forgery              | the same                    |
//! | ZooKeeper 3.8 `log.*`      | refuses to start: checksum                       | serves it, logs a mismatch  |
//! | ZooKeeper 3.8 `snapshot.*` | takes the snapshot before it and the log         | serves it, logs a mismatch  |
//!
//! A log or an append-only file that is cut within its last record is taken for one that a crash tore: the
//! record is dropped without a word (Redis says so), or refused where Redis is told to be strict. A cut dump
//! is refused. A damaged snapshot without an older one is refused as well.
//!
//! The formats are pure functions on bytes, one file each; the little I/O there is, is here.

pub mod aof;
pub mod blind;
mod bytes;
pub mod rdb;
pub mod zk_log;
pub mod zk_snapshot;

use std::fmt;
use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

/// A file format that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A dump of Redis.
    Rdb,
    /// An append-only file of Redis, without a preamble.
    Aof,
    /// A transaction log of ZooKeeper.
    ZkLog,
    /// A snapshot of ZooKeeper.
    ZkSnapshot,
}

impl Format {
    /// By the first bytes of a file.
    pub fn of(bytes: &[u8]) -> Option<Format> {
        match bytes {
            [b'R', b'E', b'D', b'I', b'S', ..] => Some(Format::Rdb),
            [b'Z', b'K', b'L', b'G', ..] => Some(Format::ZkLog),
            [b'Z', b'K', b'S', b'N', ..] => Some(Format::ZkSnapshot),
            [b'*' | b'#', ..] => Some(Format::Aof),
            _ => None,
        }
    }
}

/// Where a damage is aimed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aim {
    /// Anywhere in the file.
    #[default]
    Blind,
    /// At a stored value (a cut: into the last record); checksums are left as they are.
    Value,
    /// At a stored value, and checksums are made right again.
    Repaired,
}

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One bit is flipped.
    FlipBit(Aim),
    /// The end is cut off; a cut cannot be repaired, so [`Aim::Repaired`] aims like [`Aim::Value`].
    Truncate(Aim),
}

/// A stored value: what it belongs to, for people, and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The key, the path, the command.
    pub of: String,
    /// Its bytes in the file, at least one.
    pub at: Range<usize>,
}

/// What was done to a file, as evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// The file.
    pub path: PathBuf,
    /// What happened, in words, with offsets.
    pub what: String,
    /// What was there before, where it was changed or cut off.
    before: Vec<(u64, Vec<u8>)>,
}

impl Damaged {
    /// Puts back what was there before. Only for a file that nobody has written to since.
    pub fn mend(&self) -> Result<(), String> {
        let named = |e: std::io::Error| format!("{}: {e}", self.path.display());
        let file = OpenOptions::new().write(true).open(&self.path).map_err(named)?;
        self.before.iter().try_for_each(|(at, bytes)| file.write_all_at(bytes, *at)).map_err(named)
    }
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

/// Damages a file in place (the file stays the same one); an error says why it could not.
pub fn damage(path: &Path, damage: Damage, seed: u64) -> Result<Damaged, String> {
    let named = |e: std::io::Error| format!("{}: {e}", path.display());
    let before = fs::read(path).map_err(named)?;
    let mut after = before.clone();
    let what = apply(&mut after, damage, seed).map_err(|why| format!("{}: {why}", path.display()))?;
    let file = OpenOptions::new().write(true).open(path).map_err(named)?;
    if after.len() < before.len() {
        file.set_len(after.len() as u64).map_err(named)?;
    }
    let changed = differences(&before, &after);
    for at in &changed {
        file.write_all_at(&after[at.clone()], at.start as u64).map_err(named)?;
    }
    let cut_off = (after.len() < before.len()).then_some(after.len()..before.len());
    let lost = changed.into_iter().chain(cut_off).map(|at| (at.start as u64, before[at].to_vec()));
    Ok(Damaged { path: path.to_owned(), what, before: lost.collect() })
}

/// Damages the content of a file; says what it did, or why it could not.
pub fn apply(bytes: &mut Vec<u8>, damage: Damage, seed: u64) -> Result<String, String> {
    match damage {
        Damage::FlipBit(Aim::Blind) => blind::flip_bit(bytes, seed),
        Damage::Truncate(Aim::Blind) => blind::truncate(bytes, seed),
        Damage::FlipBit(aim) => {
            let values = values(bytes)?;
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let value = &values[rng.random_range(0..values.len())];
            let mut what = flip_in(bytes, value, rng.random());
            if aim == Aim::Repaired {
                what += &format!("; {}", repair(bytes, value.at.start)?);
            }
            Ok(what)
        }
        Damage::Truncate(_) => {
            let last = last_record(bytes)?;
            if last.len() < 2 {
                return Err("its last record is too short to be cut".into());
            }
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let len = rng.random_range(last.start + 1..last.end);
            let what = format!("cut within its last record, from {} to {len} bytes", bytes.len());
            bytes.truncate(len);
            Ok(what)
        }
    }
}

/// Flips a bit of a value, given as a number of any size.
pub fn flip_in(bytes: &mut [u8], value: &Value, bit: u64) -> String {
    let bit = bit % (value.at.len() as u64 * 8);
    let at = value.at.start + (bit / 8) as usize;
    bytes[at] ^= 1 << (bit % 8);
    format!("bit {} of byte {at} flipped, in the value of {}", bit % 8, value.of)
}

/// The values stored in a file of any known format, in order; an error if there are none.
pub fn values(bytes: &[u8]) -> Result<Vec<Value>, String> {
    let values = match known(bytes)? {
        Format::Rdb => rdb::values(bytes)?,
        Format::Aof => aof::values(bytes),
        Format::ZkLog => zk_log::values(bytes),
        Format::ZkSnapshot => zk_snapshot::values(bytes)?,
    };
    if values.is_empty() { Err("it holds no value to flip a bit in".into()) } else { Ok(values) }
}

/// Makes the checksums right that cover the byte at `offset`; says what it did.
pub fn repair(bytes: &mut [u8], offset: usize) -> Result<String, String> {
    match known(bytes)? {
        Format::Rdb => rdb::repair(bytes),
        Format::Aof => Ok("there is no checksum to repair".into()),
        Format::ZkLog => zk_log::repair(bytes, offset),
        Format::ZkSnapshot => zk_snapshot::repair(bytes),
    }
}

fn last_record(bytes: &[u8]) -> Result<Range<usize>, String> {
    let last = match known(bytes)? {
        // All of it is one record, sealed at the end.
        Format::Rdb | Format::ZkSnapshot => values(bytes)?.pop().map(|value| value.at.start..bytes.len()),
        Format::Aof => aof::records(bytes).pop(),
        Format::ZkLog => zk_log::records(bytes).pop().map(|record| record.whole),
    };
    last.ok_or_else(|| "it holds no record to cut".into())
}

fn known(bytes: &[u8]) -> Result<Format, String> {
    Format::of(bytes).ok_or_else(|| "its format is not known: use a blind damage".into())
}

/// Where two contents differ, as far as both reach, in ranges.
fn differences(before: &[u8], after: &[u8]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (at, _) in before.iter().zip(after).enumerate().filter(|(_, (b, a))| b != a) {
        match ranges.last_mut() {
            Some(last) if last.end == at => last.end += 1,
            _ => ranges.push(at..at + 1),
        }
    }
    ranges
}

/// The newest file of a directory whose name is `prefix` and a hexadecimal number, as ZooKeeper names its logs
/// and snapshots by transaction: the one with the highest number.
pub fn newest_by_zxid(dir: &Path, prefix: &str) -> Option<PathBuf> {
    let numbered = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let zxid = u64::from_str_radix(name.to_str()?.strip_prefix(prefix)?, 16).ok()?;
        Some((zxid, entry.path()))
    };
    fs::read_dir(dir).ok()?.flatten().filter_map(numbered).max().map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        assert_eq!(Format::of(b"REDIS0010"), Some(Format::Rdb));
        assert_eq!(Format::of(b"*2\r\n"), Some(Format::Aof));
        assert_eq!(Format::of(b"ZKLG\0\0\0\x02"), Some(Format::ZkLog));
        assert_eq!(Format::of(b"\0\0"), None);
        let error = apply(&mut b"what".to_vec(), Damage::FlipBit(Aim::Value), 1).unwrap_err();
        assert!(error.contains("use a blind damage"), "{error}");
    }

    #[test]
    fn a_file_is_damaged_in_place_and_only_where_it_must() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("aof");
        let content = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n";
        fs::write(&path, content).unwrap();
        let done = damage(&path, Damage::FlipBit(Aim::Repaired), 3).unwrap();
        let after = fs::read(&path).unwrap();
        assert_eq!(differences(content, &after).len(), 1, "{done}");
        assert!(done.what.contains("value of SET k") && done.what.contains("no checksum"), "{done}");
        done.mend().unwrap();
        assert_eq!(fs::read(&path).unwrap(), content);
        let cut = damage(&path, Damage::Truncate(Aim::Value), 3).unwrap();
        assert!(fs::metadata(&path).unwrap().len() < content.len() as u64);
        cut.mend().unwrap();
        assert_eq!(fs::read(&path).unwrap(), content);
        fs::remove_file(&path).unwrap();
        assert!(damage(&path, Damage::Truncate(Aim::Blind), 3).unwrap_err().contains("No such file"));
    }

    #[test]
    fn the_newest_log_is_the_one_of_the_highest_transaction() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for name in ["log.9", "log.10", "log.f", "snapshot.ff", "log.tmp"] {
            fs::write(dir.join(name), "").unwrap();
        }
        assert_eq!(newest_by_zxid(dir, "log."), Some(dir.join("log.10")));
    }
}
