//! The fabric's recording of packets, read back: the blocks of pcapng that `lab` writes, and the few fields of a TCP
//! segment that matter here.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use anyhow::{Result, bail};

/// The longest block believed: a packet of the largest size and a comment.
const BLOCK_MAX: u32 = 256 * 1024;

/// A recording, packet by packet.
pub struct Recording {
    file: BufReader<File>,
    block: Vec<u8>,
    /// Names of the interfaces in their order.
    nodes: Vec<String>,
    names: HashMap<Ipv4Addr, String>,
}

/// A packet as it came to the fabric.
pub struct Packet<'a> {
    /// Wall clock, nanoseconds since 1970.
    pub time_ns: i64,
    /// Node that sent it.
    pub node: &'a str,
    /// From its IP header on.
    pub bytes: &'a [u8],
    /// What the fabric did with it.
    pub fate: Fate,
    names: &'a HashMap<Ipv4Addr, String>,
}

/// What the fabric did with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Handed on at once.
    Passed,
    /// Not handed on.
    Dropped,
    /// Handed on after so many nanoseconds, unless [`Fate::Recalled`] follows.
    Held(i64),
    /// Held, and then not handed on after all.
    Recalled,
    /// Handed on with other bytes.
    Altered,
    /// Taken by a tap, which sends something in its place.
    Taken,
}

impl Packet<'_> {
    /// The name of a node by its address.
    pub fn name_of(&self, addr: Ipv4Addr) -> String {
        self.names.get(&addr).cloned().unwrap_or_else(|| addr.to_string())
    }
}

impl Recording {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Recording> {
        let file = BufReader::with_capacity(1 << 20, File::open(path)?);
        Ok(Recording { file, block: Vec::new(), nodes: Vec::new(), names: HashMap::new() })
    }

    /// The next packet; none at the end, where a last block may be cut off.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>> {
        loop {
            let Some(kind) = self.next_block()? else { return Ok(None) };
            match kind {
                1 => self.interface(),
                4 => self.resolution(),
                6 => break,
                _ => {}
            }
        }
        let block = &self.block;
        let Some(len) = word(block, 12).map(|len| len as usize).filter(|len| 20 + len <= block.len()) else {
            bail!("a packet is longer than its block");
        };
        let number = |at| word(block, at).unwrap_or_default();
        let time_ns = (i64::from(number(4)) << 32) | i64::from(number(8));
        let node = self.nodes.get(number(0) as usize).map_or("", String::as_str);
        let comment = option(&block[20 + len.next_multiple_of(4)..], 1).unwrap_or_default();
        let fate = fate(&String::from_utf8_lossy(comment));
        Ok(Some(Packet { time_ns, node, bytes: &block[20..20 + len], fate, names: &self.names }))
    }

    /// Reads the next block's body; its kind, or none at the end.
    fn next_block(&mut self) -> Result<Option<u32>> {
        let mut head = [0; 8];
        match self.file.read_exact(&mut head) {
            Err(end) if end.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let (kind, total) = (word(&head, 0).unwrap_or_default(), word(&head, 4).unwrap_or_default());
        if !(12..=BLOCK_MAX).contains(&total) || total % 4 != 0 {
            bail!("a block of {total} bytes: this is no recording of ours");
        }
        self.block.resize(total as usize - 8, 0);
        match self.file.read_exact(&mut self.block) {
            Err(end) if end.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        self.block.truncate(total as usize - 12);
        Ok(Some(kind))
    }

    fn interface(&mut self) {
        let name = option(self.block.get(8..).unwrap_or_default(), 2).unwrap_or_default();
        self.nodes.push(String::from_utf8_lossy(name).into_owned());
    }

    fn resolution(&mut self) {
        let Some(record) = option(&self.block, 1).filter(|record| record.len() > 4) else { return };
        let addr = Ipv4Addr::new(record[0], record[1], record[2], record[3]);
        let name = String::from_utf8_lossy(&record[4..]);
        self.names.insert(addr, name.trim_end_matches('\0').to_string());
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The first option of a code.
fn option(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let code = u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?);
        let len = usize::from(u16::from_le_bytes(bytes.get(2..4)?.try_into().ok()?));
        let value = bytes.get(4..4 + len)?;
        match code {
            0 => return None,
            code if code == wanted => return Some(value),
            _ => bytes = bytes.get(4 + len.next_multiple_of(4)..)?,
        }
    }
}

/// What a comment of the fabric says.
fn fate(comment: &str) -> Fate {
    let words: Vec<&str> = comment.split(' ').collect();
    match words.as_slice() {
        ["held", "for", ms, "ms"] => Fate::Held((ms.parse::<f64>().unwrap_or_default() * 1e6) as i64),
        ["dropped", ..] if comment.ends_with("after being held") => Fate::Recalled,
        ["dropped", ..] => Fate::Dropped,
        ["altered", ..] => Fate::Altered,
        ["taken", ..] => Fate::Taken,
        _ => Fate::Passed,
    }
}

/// A TCP segment.
pub struct Segment<'a> {
    /// Sender.
    pub from: SocketAddrV4,
    /// Receiver.
    pub to: SocketAddrV4,
    /// Number of its first byte.
    pub seq: u32,
    /// It opens its direction: SYN.
    pub opens: bool,
    /// What it carries.
    pub payload: &'a [u8],
}

/// The segment in an IPv4 packet; none in anything else.
pub fn segment(packet: &[u8]) -> Option<Segment<'_>> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    if packet[0] >> 4 != 4 || header < 20 || *packet.get(9)? != 6 {
        return None;
    }
    let tcp = packet.get(header..total.min(packet.len()))?;
    let number = |at: usize| Some(u32::from_be_bytes(tcp.get(at..at + 4)?.try_into().ok()?));
    let ports = number(0)?;
    let addr = |at: usize, port: u32| {
        let ip = Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
        SocketAddrV4::new(ip, port as u16)
    };
    Some(Segment {
        from: addr(12, ports >> 16),
        to: addr(16, ports & 0xffff),
        seq: number(4)?,
        opens: *tcp.get(13)? & 2 != 0,
        payload: tcp.get(usize::from(*tcp.get(12)? >> 4) * 4..)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_of_the_fabric_are_understood() {
        assert_eq!(fate(""), Fate::Passed);
        assert_eq!(fate("dropped by partition #3"), Fate::Dropped);
        assert_eq!(fate("dropped by x after being held"), Fate::Recalled);
        assert_eq!(fate("held for 12.500 ms"), Fate::Held(12_500_000));
        assert_eq!(fate("altered by corrupt"), Fate::Altered);
        assert_eq!(fate("taken by Redis"), Fate::Taken);
        assert_eq!(fate("made by reset"), Fate::Passed);
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_refused_and_a_cut_one_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.pcapng");
        std::fs::write(&path, b"GIF89a, or so").expect("written");
        assert!(Recording::open(&path).and_then(|mut file| Ok(file.next_packet()?.is_none())).is_err());
        std::fs::write(&path, [6, 0, 0, 0, 64, 0, 0, 0, 1, 2]).expect("written");
        assert!(Recording::open(&path).expect("it opens").next_packet().expect("it ends").is_none());
    }
}
