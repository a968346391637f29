//! What rules see of a TCP segment, and the one segment they write themselves: a reset.

use std::net::SocketAddrV4;
use std::ops::Range;

use super::checksum::{self, Layout, Transport};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// A segment's header, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    /// Where they stand in the packet.
    pub(crate) flags_at: usize,
    /// Where its payload lies in the packet.
    pub(crate) payload: Range<usize>,
}

impl Segment {
    /// `None` if `packet` is no whole TCP segment.
    pub(crate) fn read(packet: &[u8]) -> Option<Segment> {
        let Layout { transport, header_at, payload } = Layout::of(packet)?;
        if transport != Transport::Tcp {
            return None;
        }
        let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().expect("four bytes"));
        let ports = word(header_at);
        Some(Segment {
            from: SocketAddrV4::new(word(12).into(), (ports >> 16) as u16),
            to: SocketAddrV4::new(word(16).into(), ports as u16),
            seq: word(header_at + 4),
            ack: word(header_at + 8),
            flags: packet[header_at + 13],
            flags_at: header_at + 13,
            payload,
        })
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// True for the first segment of a connection.
    pub(crate) fn opens(&self) -> bool {
        self.has(SYN) && !self.has(ACK)
    }

    /// How far it moves its sender's sequence number: its bytes, and one for SYN and for FIN.
    pub(crate) fn room(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.has(SYN)) + u32::from(self.has(FIN))
    }

    /// The sequence number after it.
    pub(crate) fn next_seq(&self) -> u32 {
        self.seq.wrapping_add(self.room())
    }
}

/// True if `a` comes after `b` in sequence space.
pub(crate) fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// A reset from one end to the other. The receiver obeys if `seq` is the very byte it expects next (RFC 5961).
pub(crate) fn reset(from: SocketAddrV4, to: SocketAddrV4, seq: u32, ack: u32) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&40u16.to_be_bytes());
    packet[6] = 0x40; // do not fragment
    (packet[8], packet[9]) = (64, 6);
    packet[12..16].copy_from_slice(&from.ip().octets());
    packet[16..20].copy_from_slice(&to.ip().octets());
    packet[20..22].copy_from_slice(&from.port().to_be_bytes());
    packet[22..24].copy_from_slice(&to.port().to_be_bytes());
    packet[24..28].copy_from_slice(&seq.to_be_bytes());
    packet[28..32].copy_from_slice(&ack.to_be_bytes());
    (packet[32], packet[33]) = (5 << 4, RST | ACK);
    checksum::repair(&mut packet);
    packet
}
