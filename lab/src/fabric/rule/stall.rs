//! Links and connections on which nothing more comes after so many bytes.

use std::net::SocketAddrV4;

use rustc_hash::FxHashMap;

use super::Link;
use super::connections::Remembered;
use super::effect::{Effect, Fate, Seen};
use crate::fabric::packet::tcp::{FIN, SYN, Segment};

/// Each directed link for itself.
#[derive(Debug)]
pub(super) struct Links {
    after_bytes: u64,
    passed: FxHashMap<Link, u64>,
}

impl Links {
    pub(super) fn new(after_bytes: u64) -> Links {
        Links { after_bytes, passed: FxHashMap::default() }
    }
}

impl Effect for Links {
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate {
        let passed = self.passed.entry(seen.link).or_default();
        // Once full, it stays full: a short packet does not slip through after a long one.
        *passed = passed.saturating_add(seen.packet.len() as u64);
        if *passed > self.after_bytes { Fate::Drop } else { Fate::Pass }
    }
}

/// Each direction of each connection for itself.
#[derive(Debug)]
pub(super) struct Connections {
    after_bytes: u64,
    streams: Remembered<(SocketAddrV4, SocketAddrV4), Option<Stream>>,
}

/// How far a direction has come: `offset` bytes of it lie before `seq`.
#[derive(Clone, Copy, Debug)]
struct Stream {
    seq: u32,
    offset: i64,
}

impl Connections {
    pub(super) fn new(after_bytes: u64) -> Connections {
        Connections { after_bytes, streams: Remembered::new() }
    }
}

impl Effect for Connections {
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate {
        let Some(segment) = Segment::read(seen.packet) else { return Fate::Pass };
        let stream = self.streams.of((segment.from, segment.to));
        if segment.has(SYN) {
            *stream = Some(Stream { seq: segment.seq.wrapping_add(1), offset: 0 });
            return Fate::Pass;
        }
        let stream = stream.get_or_insert(Stream { seq: segment.seq, offset: 0 });
        let carries = segment.payload.len() as i64 + i64::from(segment.has(FIN));
        let start = stream.offset + i64::from(segment.seq.wrapping_sub(stream.seq) as i32);
        if start > stream.offset {
            *stream = Stream { seq: segment.seq, offset: start };
        }
        let limit = i64::try_from(self.after_bytes).unwrap_or(i64::MAX);
        if carries > 0 && start.saturating_add(carries) > limit { Fate::Drop } else { Fate::Pass }
    }
}
