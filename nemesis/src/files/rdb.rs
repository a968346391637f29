//! Redis' dump: opcodes, keys and values, sealed with a CRC-64 in its last eight bytes.
//!
//! Values whose encoding has no structure of its own are found: plain strings, alone or as members of lists,
//! sets, hashes and sorted sets, and small integers. Compact encodings (listpacks, integer sets) and compressed
//! strings are passed over, streams and modules end the search.

use std::ops::Range;

use super::Value;
use super::bytes::{Cursor, crc64_jones};

/// Bytes of the seal.
const SEAL: usize = 8;

/// The values in it, with their keys.
pub fn values(bytes: &[u8]) -> Result<Vec<Value>, String> {
    if !bytes.starts_with(b"REDIS") || bytes.len() < 9 + 1 + SEAL {
        return Err("it is no dump of Redis".into());
    }
    let mut cursor = Cursor::at(bytes, 9);
    let mut values = Vec::new();
    while entry(&mut cursor, &mut values).is_some() {}
    Ok(values)
}

/// Makes the seal right; a seal of zero means that none is wanted, and stays.
pub fn repair(bytes: &mut [u8]) -> Result<String, String> {
    let body = bytes.len().checked_sub(SEAL).ok_or("it is too short to have a checksum")?;
    if bytes[body..] == [0; SEAL] {
        return Ok("it is written without a checksum".into());
    }
    let seal = crc64_jones(&bytes[..body]).to_le_bytes();
    bytes[body..].copy_from_slice(&seal);
    Ok("its CRC-64 repaired".into())
}

/// Reads one opcode or key with its value; `None` at the end, or where it knows no further.
fn entry(cursor: &mut Cursor<'_>, values: &mut Vec<Value>) -> Option<()> {
    match cursor.u8()? {
        0xfa => {
            string(cursor)?; // an auxiliary field: name and value
            string(cursor)?;
        }
        // The database that follows; how long a key was idle.
        0xfe | 0xf8 => {
            length(cursor)?;
        }
        0xfb => {
            length(cursor)?; // the database's sizes
            length(cursor)?;
        }
        // How often a key is used; when it expires, in milliseconds or in seconds.
        0xf9 => {
            cursor.skip(1)?;
        }
        0xfc => {
            cursor.skip(8)?;
        }
        0xfd => {
            cursor.skip(4)?;
        }
        // A function library.
        0xf5 | 0xf6 => {
            string(cursor)?;
        }
        kind => {
            let key = string(cursor)?.found;
            let of = key.map_or_else(|| "a key".into(), |at| cursor.text(&at));
            let mut found = Vec::new();
            content(cursor, kind, &mut found)?;
            values.extend(found.into_iter().map(|at| Value { of: of.clone(), at }));
        }
    }
    Some(())
}

fn content(cursor: &mut Cursor<'_>, kind: u8, found: &mut Vec<Range<usize>>) -> Option<()> {
    let mut note = |text: Text| found.extend(text.found.filter(|at| !at.is_empty()));
    match kind {
        0 => note(string(cursor)?),
        // A list or a set; a hash: fields and values in turn.
        1 | 2 | 4 => {
            let count = length(cursor)?.checked_mul(if kind == 4 { 2 } else { 1 })?;
            for _ in 0..count {
                note(string(cursor)?);
            }
        }
        // A sorted set with binary scores.
        5 => {
            for _ in 0..length(cursor)? {
                note(string(cursor)?);
                cursor.skip(8)?;
            }
        }
        // One string with a structure of its own.
        9..=13 | 16 | 17 | 20 => {
            string(cursor)?;
        }
        // Quicklists of such strings; the later kind says of each which it is, 1 for a plain element.
        14 => {
            for _ in 0..length(cursor)? {
                string(cursor)?;
            }
        }
        18 => {
            for _ in 0..length(cursor)? {
                let is_plain = length(cursor)? == 1;
                let text = string(cursor)?;
                if is_plain {
                    note(text);
                }
            }
        }
        _ => return None,
    }
    Some(())
}

/// A string that was passed, and its bytes if they are stored as they are.
struct Text {
    found: Option<Range<usize>>,
}

fn string(cursor: &mut Cursor<'_>) -> Option<Text> {
    match prefix(cursor)? {
        Prefix::Length(len) => Some(Text { found: Some(cursor.skip(usize::try_from(len).ok()?)?) }),
        // An integer of one, two or four bytes.
        Prefix::Special(kind @ 0..=2) => Some(Text { found: Some(cursor.skip(1 << kind)?) }),
        Prefix::Special(3) => {
            let compressed = usize::try_from(length(cursor)?).ok()?;
            length(cursor)?;
            cursor.skip(compressed)?;
            Some(Text { found: None })
        }
        Prefix::Special(_) => None,
    }
}

enum Prefix {
    Length(u64),
    Special(u8),
}

fn prefix(cursor: &mut Cursor<'_>) -> Option<Prefix> {
    let first = cursor.u8()?;
    Some(match first >> 6 {
        0 => Prefix::Length(u64::from(first & 0x3f)),
        1 => Prefix::Length(u64::from(first & 0x3f) << 8 | u64::from(cursor.u8()?)),
        2 if first == 0x80 => Prefix::Length(u64::from(u32::from_be_bytes(cursor.array()?))),
        2 if first == 0x81 => Prefix::Length(u64::from_be_bytes(cursor.array()?)),
        2 => return None,
        _ => Prefix::Special(first & 0x3f),
    })
}

fn length(cursor: &mut Cursor<'_>) -> Option<u64> {
    match prefix(cursor)? {
        Prefix::Length(len) => Some(len),
        Prefix::Special(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dump with a field, an expiring string, an integer and a hash.
    fn dump() -> Vec<u8> {
        let mut bytes = b"REDIS0010\xfa\x03ver\x017\xfe\x00\xfb\x03\x01".to_vec();
        bytes.extend(b"\xfc\0\0\0\0\0\0\0\x01\x00\x01a\x05hello");
        bytes.extend(b"\x00\x01n\xc1\x39\x30");
        bytes.extend(b"\x04\x01h\x01\x01f\x40\x02vv");
        bytes.push(0xff);
        let seal = crc64_jones(&bytes);
        bytes.extend(seal.to_le_bytes());
        bytes
    }

    #[test]
    fn values_are_found_behind_every_opcode() {
        let bytes = dump();
        let found: Vec<(String, &[u8])> =
            values(&bytes).unwrap().into_iter().map(|v| (v.of, &bytes[v.at])).collect();
        let expected: [(&str, &[u8]); 4] = [("a", b"hello"), ("n", b"\x39\x30"), ("h", b"f"), ("h", b"vv")];
        assert_eq!(found, expected.map(|(of, at)| (of.to_owned(), at)));
    }

    #[test]
    fn a_repaired_seal_is_what_a_fresh_one_would_be() {
        let mut bytes = dump();
        bytes[50] ^= 4;
        let end = bytes.len() - SEAL;
        assert_ne!(crc64_jones(&bytes[..end]).to_le_bytes(), bytes[end..]);
        repair(&mut bytes).unwrap();
        assert_eq!(crc64_jones(&bytes[..end]).to_le_bytes(), bytes[end..]);
        bytes[end..].fill(0);
        assert!(repair(&mut bytes).unwrap().contains("without"));
    }

    #[test]
    fn any_cut_is_read_without_harm() {
        let bytes = dump();
        for cut in 0..bytes.len() {
            let _ = values(&bytes[..cut]);
        }
    }
}
