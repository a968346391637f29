//! Checksums of IPv4 (RFC 791), TCP (RFC 9293) and UDP (RFC 768): the ones' complement sum of RFC 1071.

use std::net::Ipv4Addr;
use std::ops::Range;

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// Where its checksum stands, from the start of its header.
    fn checksum_at(self) -> usize {
        match self {
            Transport::Tcp => 16,
            Transport::Udp => 6,
        }
    }
}

/// Where the parts of a whole TCP or UDP packet lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) transport: Transport,
    /// Where the TCP or UDP header starts; the IPv4 header ends there.
    pub(crate) header_at: usize,
    /// What the application sent.
    pub(crate) payload: Range<usize>,
}

impl Layout {
    /// `None` for other protocols, for fragments (their checksum is in the first, and over all of them), and for
    /// packets whose lengths contradict each other.
    pub(crate) fn of(packet: &[u8]) -> Option<Layout> {
        if packet.len() < 20 || packet[0] >> 4 != 4 {
            return None;
        }
        let header_at = usize::from(packet[0] & 0x0f) * 4;
        let end = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        let fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff;
        if header_at < 20 || end > packet.len() || fragment != 0 {
            return None;
        }
        let header = packet.get(header_at..end)?;
        let (transport, payload_at, end) = match packet[9] {
            6 => (Transport::Tcp, usize::from(*header.get(12)? >> 4) * 4, header.len()),
            17 => {
                let len = usize::from(u16::from_be_bytes([*header.get(4)?, *header.get(5)?]));
                (Transport::Udp, 8, len)
            }
            _ => return None,
        };
        let least = if transport == Transport::Tcp { 20 } else { 8 };
        let whole = payload_at >= least && payload_at <= end && end <= header.len();
        whole.then(|| Layout { transport, header_at, payload: header_at + payload_at..header_at + end })
    }
}

/// Makes the checksums of a packet right again. False, and nothing done, if it is none whose layout is known.
pub(crate) fn repair(packet: &mut [u8]) -> bool {
    let Some(layout) = Layout::of(packet) else { return false };
    packet[10..12].fill(0);
    let sum = finish(sum(&packet[..layout.header_at]));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let at = layout.header_at + layout.transport.checksum_at();
    packet[at..at + 2].fill(0);
    let mut sum = finish(transport_sum(packet, &layout));
    if sum == 0 && layout.transport == Transport::Udp {
        sum = 0xffff; // zero would say that there is none
    }
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    true
}

/// Puts another address at byte `at` (12: source, 16: destination) of an IPv4 packet. Right checksums stay right, wrong
/// ones wrong (RFC 1624, equation 3). Nothing is done to what is no IPv4 packet.
pub(crate) fn readdress(packet: &mut [u8], at: usize, addr: Ipv4Addr) {
    if packet.len() < 20 || packet[0] >> 4 != 4 {
        return;
    }
    let header_at = usize::from(packet[0] & 0x0f) * 4;
    let is_udp = packet[9] == 17;
    let is_first = u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff == 0;
    let transport_at = match packet[9] {
        6 if is_first => Some(header_at + Transport::Tcp.checksum_at()),
        17 if is_first => Some(header_at + Transport::Udp.checksum_at()),
        _ => None,
    };
    let change = sum(&addr.octets())
        + packet[at..at + 4].chunks(2).map(|w| u64::from(!u16::from_be_bytes([w[0], w[1]]))).sum::<u64>();
    packet[at..at + 4].copy_from_slice(&addr.octets());
    for checksum_at in [Some(10), transport_at].into_iter().flatten() {
        let Some(field) = packet.get_mut(checksum_at..checksum_at + 2) else { continue };
        let old = u16::from_be_bytes([field[0], field[1]]);
        if is_udp && checksum_at != 10 && old == 0 {
            continue; // there is none
        }
        field.copy_from_slice(&finish(u64::from(!old) + change).to_be_bytes());
    }
}

/// True if a receiver would accept the packet's checksums.
pub(crate) fn hold(packet: &[u8]) -> bool {
    let Some(layout) = Layout::of(packet) else { return false };
    finish(sum(&packet[..layout.header_at])) == 0 && finish(transport_sum(packet, &layout)) == 0
}

/// The sum over pseudo header, header and payload.
fn transport_sum(packet: &[u8], layout: &Layout) -> u64 {
    let len = (layout.payload.end - layout.header_at) as u64;
    sum(&packet[12..20]) + u64::from(packet[9]) + len + sum(&packet[layout.header_at..layout.payload.end])
}

/// Sums 16-bit words, two at a time; a packet has too few of them to overflow.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(4);
    let mut rest = [0; 4];
    rest[..words.remainder().len()].copy_from_slice(words.remainder());
    let word = |four: &[u8]| u64::from(u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
    words.map(word).sum::<u64>() + word(&rest)
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// What the field of a checksum says for this sum.
fn finish(sum: u64) -> u16 {
    !fold(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // The worked example of RFC 1071: 0001 f203 f4f5 f6f7 sums to ddf2.
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
        assert_eq!(fold(sum(&[0x12, 0x34, 0x56])), 0x1234 + 0x5600);
    }
}
