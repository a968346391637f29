//! The few fields of an IPv4 packet that routing and rules look at; checksums and TCP have files of their own.

pub(crate) mod checksum;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod tcp;

use std::net::Ipv4Addr;

/// The destination address, or `None` if `packet` is not IPv4 (RFC 791, section 3.1).
pub(crate) fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    if packet.len() < 20 || packet[0] >> 4 != 4 {
        return None;
    }
    Some(Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19]))
}

/// Source and destination port of a TCP or UDP packet. `None` for other protocols and for every
/// fragment but the first, which carry no ports.
pub(crate) fn ports(packet: &[u8]) -> Option<(u16, u16)> {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    let header_len = usize::from(packet.first()? & 0x0f) * 4;
    let fragment_offset = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x1fff;
    if header_len < 20 || fragment_offset != 0 || !matches!(*packet.get(9)?, TCP | UDP) {
        return None;
    }
    let ports = packet.get(header_len..header_len + 4)?;
    Some((u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(source_port: u16, destination_port: u16, options: usize) -> Vec<u8> {
        let mut packet = vec![0; 20 + options];
        packet[0] = 0x40 | (5 + options / 4) as u8;
        packet[9] = 6;
        packet[16..20].copy_from_slice(&[10, 77, 0, 9]);
        packet.extend(source_port.to_be_bytes());
        packet.extend(destination_port.to_be_bytes());
        packet
    }

    #[test]
    fn ports_follow_the_header_whatever_its_length() {
        assert_eq!(ports(&tcp(6379, 40000, 0)), Some((6379, 40000)));
        assert_eq!(ports(&tcp(6379, 40000, 8)), Some((6379, 40000)));
        assert_eq!(destination(&tcp(1, 2, 0)), Some(Ipv4Addr::new(10, 77, 0, 9)));
    }

    #[test]
    fn a_later_fragment_and_other_protocols_have_no_ports() {
        let mut fragment = tcp(6379, 40000, 0);
        fragment[7] = 1;
        assert_eq!(ports(&fragment), None);
        let mut icmp = tcp(6379, 40000, 0);
        icmp[9] = 1;
        assert_eq!(ports(&icmp), None);
    }

    #[test]
    fn cut_and_foreign_packets_are_no_trouble() {
        let whole = tcp(1, 2, 4);
        for len in 0..whole.len() {
            let _ = (ports(&whole[..len]), destination(&whole[..len]));
        }
        assert_eq!(ports(&whole[..whole.len() - 1]), None);
        let mut v6 = whole;
        v6[0] = 0x60;
        assert_eq!(destination(&v6), None);
    }
}
