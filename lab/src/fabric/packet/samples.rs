//! Packets for tests.

use std::net::SocketAddrV4;

use super::checksum;

/// An end of a connection in the lab: node and port.
pub(crate) fn end(node: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new([10, 77, 0, node + 1].into(), port)
}

/// A TCP segment with valid checksums.
pub(crate) fn tcp(
    from: SocketAddrV4,
    to: SocketAddrV4,
    seq: u32,
    ack: u32,
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut header = [0; 20];
    header[4..8].copy_from_slice(&seq.to_be_bytes());
    header[8..12].copy_from_slice(&ack.to_be_bytes());
    (header[12], header[13]) = (5 << 4, flags);
    whole(from, to, 6, header.to_vec(), payload)
}

/// A datagram with valid checksums.
pub(crate) fn udp(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    let header = [[0; 4], [len.to_be_bytes(), [0; 2]].concat().try_into().expect("four bytes")].concat();
    whole(from, to, 17, header, payload)
}

fn whole(from: SocketAddrV4, to: SocketAddrV4, protocol: u8, mut header: Vec<u8>, payload: &[u8]) -> Vec<u8> {
    header[..2].copy_from_slice(&from.port().to_be_bytes());
    header[2..4].copy_from_slice(&to.port().to_be_bytes());
    let len = (20 + header.len() + payload.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    packet.extend(header);
    packet.extend(payload);
    assert!(checksum::repair(&mut packet), "a packet of our own making");
    packet
}
