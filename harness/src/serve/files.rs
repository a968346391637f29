//! Files of the store as they are: confined to it, typed, whole or in part.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hyper::StatusCode;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use results::layout;
use serde::Serialize;

use super::reply::{Policy, Reply};

/// Files of a folder that are listed, and folders in folders that are looked into.
const LISTED_MAX: usize = 2000;
const DEPTH_MAX: usize = 5;

/// A file of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Path below the folder.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}

/// Opens a file below `root` for reading. None where there is none, where it is no plain file, or where links on the
/// way lead out of the store.
pub fn open(root: &Path, names: &[String]) -> Option<(File, Metadata)> {
    let path = names.iter().fold(root.to_owned(), |path, name| path.join(name));
    // Not to wait for the other end of a pipe.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    // Asked of what is open: nothing can be swapped any more.
    let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    let meta = file.metadata().ok()?;
    (real.starts_with(root) && meta.is_file()).then_some((file, meta))
}

/// A folder below `root`, links followed as long as they stay there.
pub fn folder(root: &Path, names: &[String]) -> Option<PathBuf> {
    let path = names.iter().fold(root.to_owned(), |path, name| path.join(name)).canonicalize().ok()?;
    (path.starts_with(root) && path.is_dir()).then_some(path)
}

/// A file as an answer: the part that was asked for, or that nothing has changed.
pub fn reply(root: &Path, names: &[String], headers: &HeaderMap) -> Option<Reply> {
    let (mut file, meta) = open(root, names)?;
    let name = names.last().map_or("", String::as_str);
    let (mime, policy) = kind(name, &mut file);
    let tag = format!("\"{:x}-{:x}-{:x}\"", meta.len(), meta.mtime(), meta.mtime_nsec());
    let tag = HeaderValue::from_str(&tag).ok()?;
    if headers.get(IF_NONE_MATCH) == Some(&tag) {
        let unchanged = Reply::new(StatusCode::NOT_MODIFIED, mime, policy, Vec::new().into());
        return Some(unchanged.with(ETAG, tag));
    }
    let is_same = headers.get(IF_RANGE).is_none_or(|wanted| *wanted == tag);
    let range = headers.get(RANGE).filter(|_| is_same).and_then(|range| range.to_str().ok());
    let reply = match range.map_or(Range::All, |range| Range::of(range, meta.len())) {
        Range::All => Reply::part(mime, policy, file, 0, meta.len()),
        Range::Part { start, length } => {
            let part = format!("bytes {start}-{}/{}", start + length - 1, meta.len());
            Reply::part(mime, policy, file, start, length)
                .status(StatusCode::PARTIAL_CONTENT)
                .with(CONTENT_RANGE, HeaderValue::from_str(&part).ok()?)
        }
        Range::Beyond => {
            let all = HeaderValue::from_str(&format!("bytes */{}", meta.len())).ok()?;
            Reply::error(StatusCode::RANGE_NOT_SATISFIABLE, "the file ends before that")
                .with(CONTENT_RANGE, all)
        }
    };
    Some(reply.with(ACCEPT_RANGES, HeaderValue::from_static("bytes")).with(ETAG, tag))
}

/// Which bytes are asked for.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// All, or several parts at once, which nobody needs here.
    All,
    Part {
        start: u64,
        length: u64,
    },
    Beyond,
}

impl Range {
    fn of(header: &str, total: u64) -> Range {
        let Some((first, last)) =
            header.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'))
        else {
            return Range::All;
        };
        match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
            (Some(start), last) if last.is_some() || header.ends_with('-') => {
                let end = last.map_or(total, |last| last.saturating_add(1).min(total));
                match (start < total, start < end) {
                    (true, true) => Range::Part { start, length: end - start },
                    (false, _) => Range::Beyond,
                    (true, false) => Range::All, // backwards: as if it were not there
                }
            }
            (None, Some(0)) if first.is_empty() => Range::Beyond,
            (None, Some(length)) if first.is_empty() && total > 0 => {
                let length = length.min(total);
                Range::Part { start: total - length, length }
            }
            _ => Range::All,
        }
    }
}

/// By its name, else by whether it begins like text. Only our reports may run scripts.
fn kind(name: &str, file: &mut File) -> (&'static str, Policy) {
    const TEXT: &str = "text/plain; charset=utf-8";
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let mime = match ending {
        "html" if name == layout::REPORT => return ("text/html; charset=utf-8", Policy::Report),
        "html" => "text/html; charset=utf-8",
        "json" => "application/json",
        "jsonl" | "txt" | "log" | "toml" | "md" | "edn" | "cfg" | "conf" | "out" | "properties" => TEXT,
        "csv" => "text/csv; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "xml" => "application/xml",
        "gz" => "application/gzip",
        "zst" => "application/zstd",
        "parquet" => "application/vnd.apache.parquet",
        "pcapng" => "application/x-pcapng",
        _ if begins_like_text(file) => TEXT,
        _ => "application/octet-stream",
    };
    (mime, Policy::Inert)
}

fn begins_like_text(file: &mut File) -> bool {
    let mut head = [0; 512];
    let read = file.read(&mut head).unwrap_or(0);
    let back = file.seek(SeekFrom::Start(0)).is_ok();
    let head = &head[..read];
    // A character may be cut where the piece ends.
    let is_text = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    back && is_text && !head.contains(&0)
}

/// Files below a folder of the store in order of their paths, without links and hidden ones; and whether that is all.
pub fn list(folder: &Path) -> (Vec<Listed>, bool) {
    let mut files = Vec::new();
    let is_all = collect(folder, "", 0, &mut files);
    files.sort_by(|a, b| {
        a.path.matches('/').count().cmp(&b.path.matches('/').count()).then(a.path.cmp(&b.path))
    });
    (files, is_all)
}

fn collect(folder: &Path, prefix: &str, depth: usize, into: &mut Vec<Listed>) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return true };
    let mut is_all = true;
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(meta) = entry.metadata() else { continue }; // of the link itself, where it is one
        if name.starts_with('.') {
            continue;
        }
        if into.len() >= LISTED_MAX {
            return false;
        }
        let path = format!("{prefix}{name}");
        if meta.is_dir() && depth < DEPTH_MAX {
            is_all &= collect(&entry.path(), &format!("{path}/"), depth + 1, into);
        } else if meta.is_file() {
            into.push(Listed { path, bytes: meta.len() });
        }
    }
    is_all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_protocol() {
        let part = |start, length| Range::Part { start, length };
        for (header, range) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-5", part(2, 4)),
            ("bytes=8-99", part(8, 2)),
            ("bytes=9-", part(9, 1)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-30", part(0, 10)),
            ("bytes=10-", Range::Beyond),
            ("bytes=-0", Range::Beyond),
            ("bytes=5-2", Range::All),
            ("bytes=0-1,4-5", Range::All),
            ("bytes=-", Range::All),
            ("bytes=a-b", Range::All),
            ("lines=0-1", Range::All),
            ("bytes=0-18446744073709551615", part(0, 10)),
        ] {
            assert_eq!(Range::of(header, 10), range, "{header}");
        }
        assert_eq!(Range::of("bytes=-5", 0), Range::All);
        assert_eq!(Range::of("bytes=0-", 0), Range::Beyond);
    }
}
