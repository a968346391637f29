//! ZooKeeper's snapshot: sessions, access lists and nodes, sealed with an Adler-32 (`FileSnap` of ZooKeeper 3.8,
//! uncompressed, which is the default).
//!
//! ```text
//!   "ZKSN" version dbid │ sessions │ access lists │ nodes … "/" │ seal │ zxid and digest │ seal
//!                                                                 └ Adler-32 of all before it (8), "/"
//! ```
//!
//! The digest and the second seal came with 3.6.

use super::Value;
use super::bytes::{Cursor, adler32};

const HEADER: usize = 16;
/// A checksum and the string "/".
const SEAL: usize = 8 + 4 + 1;

/// The data of every node, with its path.
pub fn values(bytes: &[u8]) -> Result<Vec<Value>, String> {
    walk(bytes).map(|(values, _)| values).ok_or_else(|| "it is no whole snapshot".into())
}

/// Makes every seal right, in order: the later ones cover the earlier.
pub fn repair(bytes: &mut [u8]) -> Result<String, String> {
    let (_, first) = walk(bytes).ok_or("it is no whole snapshot")?;
    let mut seals = 0;
    let mut at = first;
    while let Some(end) = seal_at(bytes, at) {
        let checksum = i64::from(adler32(&bytes[..at]));
        bytes[at..at + 8].copy_from_slice(&checksum.to_be_bytes());
        seals += 1;
        // What lies between two seals: the transaction, the digest's version and the digest.
        at = end + 8 + 4 + 8;
    }
    if seals == 0 {
        Err("it has no checksum at its end".into())
    } else {
        Ok(format!("{seals} Adler-32 repaired"))
    }
}

/// The end of a seal that begins at `at`, if one does.
fn seal_at(bytes: &[u8], at: usize) -> Option<usize> {
    let end = at.checked_add(SEAL)?;
    (bytes.get(at + 8..end)? == b"\0\0\0\x01/").then_some(end)
}

/// All values, and where the first seal begins.
fn walk(bytes: &[u8]) -> Option<(Vec<Value>, usize)> {
    let mut cursor = Cursor::at(bytes, 0);
    cursor.skip(HEADER)?;
    for _ in 0..cursor.i32()? {
        cursor.skip(8 + 4)?; // a session and its timeout
    }
    for _ in 0..cursor.i32()? {
        cursor.i64()?;
        for _ in 0..cursor.i32()? {
            cursor.i32()?;
            cursor.jute_bytes()?;
            cursor.jute_bytes()?;
        }
    }
    let mut values = Vec::new();
    loop {
        let path = cursor.jute_bytes()?;
        if &bytes[path.clone()] == b"/" {
            return Some((values, cursor.at));
        }
        let data = cursor.jute_bytes()?;
        // Access list; four transaction numbers and times, three versions, the owner, the last child's change.
        cursor.skip(8 + 4 * 8 + 3 * 4 + 2 * 8)?;
        if !data.is_empty() {
            values.push(Value { of: cursor.text(&path), at: data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jute(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as i32).to_be_bytes()[..], bytes].concat()
    }

    fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
        let sum = i64::from(adler32(&bytes));
        bytes.extend(sum.to_be_bytes());
        bytes.extend(jute(b"/"));
        bytes
    }

    fn snapshot() -> Vec<u8> {
        let mut bytes = b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff".to_vec();
        bytes.extend([&1i32.to_be_bytes()[..], &9i64.to_be_bytes(), &4_000i32.to_be_bytes()].concat());
        bytes.extend(
            [&1i32.to_be_bytes()[..], &1i64.to_be_bytes(), &1i32.to_be_bytes(), &31i32.to_be_bytes()]
                .concat(),
        );
        bytes.extend([jute(b"world"), jute(b"anyone")].concat());
        for (path, data) in [("", &b""[..]), ("/a", b"hello"), ("/a/b", b"x")] {
            bytes.extend([jute(path.as_bytes()), jute(data), vec![0; 68]].concat());
        }
        bytes.extend(jute(b"/"));
        let mut bytes = seal(bytes);
        bytes.extend([0; 20]);
        seal(bytes)
    }

    #[test]
    fn the_data_of_nodes_is_found() {
        let bytes = snapshot();
        let found: Vec<(String, &[u8])> =
            values(&bytes).unwrap().into_iter().map(|v| (v.of, &bytes[v.at])).collect();
        assert_eq!(found, [("/a".to_owned(), &b"hello"[..]), ("/a/b".to_owned(), b"x")]);
        assert!(values(&bytes[..60]).is_err());
    }

    #[test]
    fn both_seals_are_repaired() {
        let sound = snapshot();
        let mut bytes = sound.clone();
        assert_eq!(repair(&mut bytes).unwrap(), "2 Adler-32 repaired");
        assert_eq!(bytes, sound, "they were right");
        let at = values(&bytes).unwrap()[0].at.start;
        bytes[at] ^= 1;
        repair(&mut bytes).unwrap();
        assert!(bytes.iter().zip(&sound).filter(|(a, b)| a != b).count() > 2);
        bytes[at] ^= 1;
        repair(&mut bytes).unwrap();
        assert_eq!(bytes, sound);
    }

    #[test]
    fn any_cut_is_read_without_harm() {
        let bytes = snapshot();
        for cut in 0..bytes.len() {
            let _ = values(&bytes[..cut]);
            let _ = repair(&mut bytes[..cut].to_vec());
        }
    }
}
