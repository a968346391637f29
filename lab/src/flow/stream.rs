//! One direction of a connection: bytes are put in order, decided on once, and kept until the receiver has them.
//!
//! Offsets count from the first byte after the SYN: *original* ones what the sender sent, *sent* ones what goes on to
//! the receiver. No packet, no clock.

use std::collections::BTreeMap;

use super::buffer::Buffer;
use super::map::Map;
use super::receipt::Receipt;

/// How far beyond the next expected byte a segment may lie to be kept.
const AHEAD_MAX: u64 = 4 << 20;

/// What a segment brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Nothing to put in order: an acknowledgement, or the first sight of a FIN.
    Nothing,
    /// Bytes, or a FIN, that had been seen before; also a probe of whether anybody is there.
    Old,
    /// The next bytes.
    Grew,
    /// Bytes after a gap.
    Early,
}

#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// In order, not decided.
    pending: Buffer,
    /// The original offset after `pending`.
    next: u64,
    /// What came after a gap, by offset.
    early: BTreeMap<u64, Box<[u8]>>,
    /// The original offset of the FIN, once seen.
    fin: Option<u64>,
    map: Map,
    /// Decided, not acknowledged: `acknowledged..end`.
    cache: Buffer,
    acknowledged: u64,
    end: u64,
    /// The sent offset after the last byte that is not the sender's own.
    foreign_end: u64,
    closed: bool,
    fin_acknowledged: bool,
    /// Who wants to know what was acknowledged.
    receipt: Option<Receipt>,
}

impl Stream {
    /// Takes in a segment whose first byte has original offset `at`; `fin` follows its last.
    pub(crate) fn receive(&mut self, at: i64, bytes: &[u8], fin: bool) -> Arrival {
        let end = at.saturating_add(bytes.len() as i64);
        let known = self.next as i64;
        if fin && self.fin.is_none() && end >= known {
            self.fin = Some(end as u64);
            if bytes.is_empty() {
                return Arrival::Nothing;
            }
        } else if end <= known && (at < known || fin) {
            return Arrival::Old;
        }
        if bytes.is_empty() || self.fin.is_some_and(|fin| at >= fin as i64) {
            return Arrival::Nothing;
        }
        let bytes = match self.fin {
            Some(fin) => &bytes[..bytes.len().min((fin as i64 - at) as usize)],
            None => bytes,
        };
        if at > known {
            self.keep(at as u64, bytes);
            return Arrival::Early;
        }
        self.append(&bytes[(known - at) as usize..]);
        while let Some(first) = self.early.first_entry().filter(|first| *first.key() <= self.next) {
            let (start, bytes) = first.remove_entry();
            let known = ((self.next - start) as usize).min(bytes.len());
            self.append(&bytes[known..]);
        }
        Arrival::Grew
    }

    fn append(&mut self, bytes: &[u8]) {
        self.pending.extend(bytes);
        self.next += bytes.len() as u64;
    }

    fn keep(&mut self, at: u64, bytes: &[u8]) {
        if at - self.next <= AHEAD_MAX && self.early.get(&at).is_none_or(|kept| kept.len() < bytes.len()) {
            self.early.insert(at, bytes.into());
        }
    }

    /// The bytes to decide on.
    pub(crate) fn pending(&self) -> &[u8] {
        self.pending.as_slice()
    }

    /// The original offset of the first byte to decide on.
    pub(crate) fn decided(&self) -> u64 {
        self.next - self.pending.len() as u64
    }

    /// Sends the first `len` pending bytes on as they are.
    pub(crate) fn pass(&mut self, len: usize) {
        let len = len.min(self.pending.len());
        self.cache.extend(&self.pending.as_slice()[..len]);
        self.pending.consume(len);
        self.end += len as u64;
        self.map.same(len as u64);
    }

    /// Sends `with` on instead of the first `len` pending bytes. After the end of the stream nothing is added.
    pub(crate) fn replace(&mut self, len: usize, with: &[u8]) {
        let len = len.min(self.pending.len());
        if self.closed || (len == 0 && with.is_empty()) {
            return;
        }
        self.pending.consume(len);
        self.cache.extend(with);
        self.end += with.len() as u64;
        if len == with.len() {
            self.map.same(len as u64);
        } else {
            self.map.edit(len as u64, with.len() as u64);
        }
        self.foreign_end = self.end;
    }

    /// True if the sender's FIN has been reached and not been sent on.
    pub(crate) fn is_ending(&self) -> bool {
        self.fin == Some(self.next) && !self.closed
    }

    /// Passes the rest and the FIN.
    pub(crate) fn close(&mut self) {
        self.pass(usize::MAX);
        self.closed = true;
    }

    /// Where the bytes to send end.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// True if a FIN follows the last byte.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Where all that can be sent ends; the FIN counts as a byte.
    pub(crate) fn send_limit(&self) -> u64 {
        self.end + u64::from(self.closed)
    }

    /// What the receiver has, the FIN counted as a byte, in sent offsets.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged + u64::from(self.fin_acknowledged)
    }

    /// What the receiver has, the FIN counted as a byte, in original offsets: what the sender may forget.
    pub(crate) fn received(&self) -> u64 {
        self.map.received() + u64::from(self.fin_acknowledged)
    }

    /// Notes that the receiver has everything before `at`.
    pub(crate) fn acknowledge(&mut self, at: u64) {
        let reached = at.min(self.end).max(self.acknowledged);
        self.cache.consume((reached - self.acknowledged) as usize);
        self.acknowledged = reached;
        if let Some(receipt) = &self.receipt {
            receipt.note(reached);
        }
        self.map.acknowledge(reached);
        self.fin_acknowledged |= self.closed && at > self.end;
    }

    /// Tells of what is acknowledged from here on.
    pub(crate) fn receipt(&mut self) -> Receipt {
        let receipt = self.receipt.get_or_insert_default();
        receipt.note(self.acknowledged);
        receipt.clone()
    }

    /// Bytes to send from `at` on, at most `len`, the same ones each time; fewer at the end, none where they are gone.
    pub(crate) fn sendable(&self, at: u64, len: usize) -> &[u8] {
        let from = at.checked_sub(self.acknowledged).map_or(self.cache.len(), |from| from as usize);
        let rest = self.cache.as_slice().get(from..).unwrap_or_default();
        &rest[..rest.len().min(len)]
    }

    /// True if what the sender sends next has the same offset on both sides, and nothing waits for a decision.
    pub(crate) fn is_aligned(&self) -> bool {
        self.next == self.end
            && self.pending.is_empty()
            && self.early.is_empty()
            && (self.fin.is_none() || self.closed)
    }

    /// How many more bytes were sent than were decided on.
    pub(crate) fn growth(&self) -> i64 {
        self.end as i64 - self.decided() as i64
    }

    /// True if all that may have to be sent again are the sender's own bytes.
    pub(crate) fn is_its_own(&self) -> bool {
        self.foreign_end <= self.acknowledged
    }

    /// True once the receiver has everything up to the end.
    pub(crate) fn is_over(&self) -> bool {
        self.fin_acknowledged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_filled_and_repetitions_add_nothing() {
        let mut stream = Stream::default();
        assert_eq!(stream.receive(3, b"defg", false), Arrival::Early);
        assert_eq!(stream.receive(3, b"de", false), Arrival::Early);
        assert_eq!(stream.receive(0, b"ab", false), Arrival::Grew);
        assert_eq!(stream.pending(), b"ab");
        assert_eq!(stream.receive(1, b"bcd", false), Arrival::Grew);
        assert_eq!(stream.pending(), b"abcdefg");
        assert_eq!(stream.receive(0, b"abc", false), Arrival::Old);
        assert_eq!(stream.receive(-1, b"", false), Arrival::Old, "a probe");
        assert_eq!(stream.receive(6, b"", false), Arrival::Old, "another");
        assert_eq!(stream.receive(7, b"", false), Arrival::Nothing, "an acknowledgement");
        assert_eq!(stream.pending(), b"abcdefg");
    }

    #[test]
    fn a_fin_counts_when_all_before_it_is_there() {
        let mut stream = Stream::default();
        assert_eq!(stream.receive(2, b"c", true), Arrival::Early);
        assert!(!stream.is_ending());
        assert_eq!(stream.receive(0, b"ab", false), Arrival::Grew);
        assert!(stream.is_ending());
        stream.close();
        assert_eq!(stream.sendable(0, 9), b"abc");
        assert_eq!((stream.send_limit(), stream.receive(3, b"", true)), (4, Arrival::Old));
        assert_eq!(stream.receive(3, b"beyond", false), Arrival::Nothing);
        stream.acknowledge(3);
        assert!(!stream.is_over());
        stream.acknowledge(4);
        assert!(stream.is_over());
        assert_eq!(stream.received(), 4);
    }

    #[test]
    fn replaced_bytes_are_sent_again_as_they_were_and_acknowledged_as_a_whole() {
        let mut stream = Stream::default();
        stream.receive(0, b"set a 1;get a;", false);
        stream.pass(6);
        stream.replace(1, b"1000");
        stream.pass(1);
        stream.replace(6, b"");
        assert_eq!(stream.sendable(0, 99), b"set a 1000;");
        assert_eq!((stream.growth(), stream.decided()), (-3, 14));
        stream.acknowledge(8);
        assert_eq!(stream.received(), 6);
        assert_eq!(stream.sendable(8, 2), b"00");
        assert_eq!(stream.sendable(3, 2), b"", "the receiver has those");
        stream.acknowledge(11);
        assert_eq!(stream.received(), 14);
        assert!(!stream.is_aligned());
        stream.replace(0, b"...");
        assert!(stream.is_aligned() && !stream.is_its_own());
        stream.acknowledge(14);
        assert!(stream.is_its_own());
    }
}
