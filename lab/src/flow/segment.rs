//! TCP segments in IPv4 packets, read and written (RFC 791, RFC 9293, RFC 7323).

use std::net::Ipv4Addr;

use crate::fabric::packet::checksum;
pub(crate) use crate::fabric::packet::tcp::{ACK, FIN, RST, SYN};

pub(crate) const PSH: u8 = 0x08;

const PROTOCOL_TCP: u8 = 6;
const IP_HEADER: usize = 20;
const TCP_HEADER: usize = 20;
/// Two bytes of padding, then the option.
const TIMESTAMPS: usize = 12;
const TIME_TO_LIVE: u8 = 64;
const DONT_FRAGMENT: u8 = 0x40;

/// What of a segment matters to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment<'a> {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// The largest payload its sender wants to receive; only in a SYN.
    pub(crate) mss: Option<u16>,
    /// By how many bits its sender's windows are shifted; only in a SYN.
    pub(crate) scale: Option<u8>,
    /// It tells of bytes that came after a gap.
    pub(crate) sacks: bool,
    /// Its sender's clock, and the last reading of the receiver's clock it has seen.
    pub(crate) timestamps: Option<(u32, u32)>,
    pub(crate) payload: &'a [u8],
}

/// The addresses and ports a segment travels between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) from: (Ipv4Addr, u16),
    pub(crate) to: (Ipv4Addr, u16),
}

impl<'a> Segment<'a> {
    /// Reads a whole packet. `None` for anything but an unfragmented TCP segment that is as long as it says.
    pub(crate) fn read(packet: &'a [u8]) -> Option<Segment<'a>> {
        let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
        let packet = packet.get(..total)?;
        let header = usize::from(packet.first()? & 0x0f) * 4;
        let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
        let is_tcp = packet[0] >> 4 == 4 && *packet.get(9)? == PROTOCOL_TCP;
        if !is_tcp || header < IP_HEADER || fragment != 0 {
            return None;
        }
        let tcp = packet.get(header..).filter(|tcp| tcp.len() >= TCP_HEADER)?;
        let data = usize::from(tcp[12] >> 4) * 4;
        let options = tcp.get(TCP_HEADER..data)?;
        let word = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        let mut segment = Segment {
            seq: word(4),
            ack: word(8),
            flags: tcp[13],
            window: u16::from_be_bytes([tcp[14], tcp[15]]),
            mss: None,
            scale: None,
            sacks: false,
            timestamps: None,
            payload: &tcp[data..],
        };
        segment.read_options(options);
        Some(segment)
    }

    /// Reads what it knows, up to the first option that is cut off.
    fn read_options(&mut self, mut options: &[u8]) {
        while let Some((&kind, rest)) = options.split_first() {
            match kind {
                0 => return,
                1 => options = rest,
                _ => {
                    let len = rest.first().map_or(0, |len| usize::from(*len));
                    let (Some(value), true) = (options.get(2..len), len >= 2) else { return };
                    let word =
                        |at: usize| u32::from_be_bytes(value[at..at + 4].try_into().unwrap_or_default());
                    match (kind, value.len()) {
                        (2, 2) => self.mss = Some(u16::from_be_bytes([value[0], value[1]])),
                        (3, 1) => self.scale = Some(value[0].min(14)),
                        (5, _) => self.sacks = true,
                        (8, 8) => self.timestamps = Some((word(0), word(4))),
                        _ => {}
                    }
                    options = &options[len..];
                }
            }
        }
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The whole packet, checksums included. Of the options only timestamps are written.
    pub(crate) fn write(&self, path: Path) -> Vec<u8> {
        let options = if self.timestamps.is_some() { TIMESTAMPS } else { 0 };
        let total = IP_HEADER + TCP_HEADER + options + self.payload.len();
        let mut out = Vec::with_capacity(total);
        out.extend([0x45, 0]);
        out.extend((total as u16).to_be_bytes());
        out.extend([0, 0, DONT_FRAGMENT, 0, TIME_TO_LIVE, PROTOCOL_TCP, 0, 0]);
        out.extend(path.from.0.octets());
        out.extend(path.to.0.octets());
        out.extend(path.from.1.to_be_bytes());
        out.extend(path.to.1.to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(self.ack.to_be_bytes());
        out.extend([(((TCP_HEADER + options) / 4) << 4) as u8, self.flags]);
        out.extend(self.window.to_be_bytes());
        out.extend([0; 4]); // checksum, urgent pointer
        if let Some((value, echo)) = self.timestamps {
            out.extend([1, 1, 8, 10]);
            out.extend(value.to_be_bytes());
            out.extend(echo.to_be_bytes());
        }
        out.extend(self.payload);
        checksum::repair(&mut out);
        out
    }
}

/// How many payload bytes fit beside what [`Segment::write`] adds to the header.
pub(crate) fn payload_max(mss: u16, timestamps: bool) -> usize {
    let options = if timestamps { TIMESTAMPS } else { 0 };
    usize::from(mss).saturating_sub(options).max(1)
}

/// The flags of a TCP packet that can be read no further, cheaply.
pub(crate) fn flags(packet: &[u8]) -> Option<u8> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    (*packet.get(9)? == PROTOCOL_TCP).then_some(*packet.get(header + 13)?)
}

/// Source and destination address of a packet that was read.
pub(crate) fn addresses(packet: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let at = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    (at(12), at(16))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATH: Path =
        Path { from: (Ipv4Addr::new(10, 77, 0, 1), 40_000), to: (Ipv4Addr::new(10, 77, 0, 2), 6379) };

    fn segment(payload: &[u8], timestamps: Option<(u32, u32)>) -> Segment<'_> {
        let (mss, scale, sacks) = (None, None, false);
        let (seq, ack, flags, window) = (0xffff_fff0, 7, ACK | PSH, 501);
        Segment { seq, ack, flags, window, mss, scale, sacks, timestamps, payload }
    }

    /// A SYN as Linux sends it: MSS 1460, SACK permitted, timestamps, scale 7. Checksums as its kernel made them.
    const LINUX_SYN: [u8; 60] = [
        0x45, 0x00, 0x00, 0x3c, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x06, 0x9c, 0xb3, 0x7f, 0x00, 0x00, 0x01, 0x7f,
        0x00, 0x00, 0x01, 0xc3, 0x50, 0x18, 0xeb, 0x00, 0x00, 0x00, 0x64, 0x00, 0x00, 0x00, 0x00, 0xa0, 0x02,
        0xfa, 0xf0, 0x00, 0x00, 0x00, 0x00, 0x02, 0x04, 0x05, 0xb4, 0x04, 0x02, 0x08, 0x0a, 0x00, 0x00, 0x03,
        0xe8, 0x00, 0x00, 0x00, 0x00, 0x01, 0x03, 0x03, 0x07,
    ];

    #[test]
    fn a_syn_tells_what_its_sender_can_do() {
        let syn = Segment::read(&LINUX_SYN).unwrap();
        assert_eq!((syn.seq, syn.flags, syn.window), (100, SYN, 64_240));
        assert_eq!((syn.mss, syn.scale, syn.timestamps), (Some(1460), Some(7), Some((1000, 0))));
        assert_eq!(syn.payload, b"");
        assert_eq!(flags(&LINUX_SYN), Some(SYN));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(payload: Vec<u8>, timestamps: Option<(u32, u32)>) {
            let packet = segment(&payload, timestamps).write(PATH);
            prop_assert!(checksum::hold(&packet));
            prop_assert_eq!(Segment::read(&packet), Some(segment(&payload, timestamps)));
            prop_assert_eq!(crate::fabric::packet::ports(&packet), Some((40_000, 6379)));
            let room = payload_max(1460, timestamps.is_some());
            prop_assert_eq!(segment(&vec![0; room], timestamps).write(PATH).len(), 1500);
        }

        #[test]
        fn hostile_bytes_are_no_trouble(mut bytes: Vec<u8>, at in 0usize..60, with: u8, cut in 0usize..60) {
            let _ = (Segment::read(&bytes), flags(&bytes));
            let mut syn = LINUX_SYN;
            syn[at] = with;
            let _ = (Segment::read(&syn[..cut]), Segment::read(&syn));
            bytes.splice(0..0, LINUX_SYN);
            bytes[at] = with;
            bytes[3] = bytes.len().min(255) as u8;
            let _ = Segment::read(&bytes);
        }
    }
}
