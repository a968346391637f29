//! ZooKeeper's transaction log: a header, then records with an Adler-32, a length and an end byte, then zeros
//! that were set aside for more (`FileTxnLog` of ZooKeeper 3.8).
//!
//! ```text
//!   "ZKLG" version dbid │ checksum(8) length(4) transaction 'B' │ … │ 0 0 0 0 …
//!                         └ Adler-32 of the transaction
//! ```

use std::ops::Range;

use super::Value;
use super::bytes::{Cursor, adler32};

/// Bytes of the header.
const HEADER: usize = 16;
/// Ends every record.
const END: u8 = b'B';
/// Most records a transaction may nest into each other (`multi` holds no `multi`, but bytes may say so).
const DEPTH_MAX: u32 = 3;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// All of it, end byte included.
    pub whole: Range<usize>,
    /// The transaction in it.
    pub body: Range<usize>,
    /// The transaction's number.
    pub zxid: i64,
    /// True if its checksum is right.
    pub sound: bool,
}

/// The complete records, up to the zeros, or to where the structure breaks.
pub fn records(bytes: &[u8]) -> Vec<Record> {
    let (mut records, mut cursor) = (Vec::new(), Cursor::at(bytes, HEADER));
    while let Some(record) = record(&mut cursor, bytes) {
        records.push(record);
    }
    records
}

fn record(cursor: &mut Cursor<'_>, bytes: &[u8]) -> Option<Record> {
    let start = cursor.at;
    let checksum = cursor.i64()?;
    let body = cursor.jute_bytes().filter(|body| !body.is_empty())?;
    if cursor.u8()? != END {
        return None;
    }
    let mut inner = Cursor::at(bytes, body.start + 8 + 4);
    let zxid = inner.i64()?;
    let sound = i64::from(adler32(&bytes[body.clone()])) == checksum;
    Some(Record { whole: start..cursor.at, body, zxid, sound })
}

/// The data of every create and set, with the path.
pub fn values(bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    for Record { body, .. } in records(bytes) {
        let mut cursor = Cursor::at(&bytes[..body.end], body.start);
        // Session, counter, transaction, time: of no interest here.
        let kind = cursor.skip(8 + 4 + 8 + 8).and_then(|_| cursor.i32());
        if let Some(kind) = kind {
            transaction(&mut cursor, kind, 0, &mut values);
        }
    }
    values
}

fn transaction(cursor: &mut Cursor<'_>, kind: i32, depth: u32, values: &mut Vec<Value>) -> Option<()> {
    const CREATE: i32 = 1;
    const SET_DATA: i32 = 5;
    const MULTI: i32 = 14;
    const CREATE2: i32 = 15;
    const CREATE_CONTAINER: i32 = 19;
    const CREATE_TTL: i32 = 21;
    match kind {
        CREATE | SET_DATA | CREATE2 | CREATE_CONTAINER | CREATE_TTL => {
            let path = cursor.jute_bytes()?;
            let data = cursor.jute_bytes()?;
            if !data.is_empty() {
                values.push(Value { of: cursor.text(&path), at: data });
            }
        }
        MULTI if depth < DEPTH_MAX => {
            for _ in 0..cursor.i32()? {
                let kind = cursor.i32()?;
                let body = cursor.jute_bytes()?;
                let mut inner = cursor.clone();
                inner.at = body.start;
                transaction(&mut inner, kind, depth + 1, values);
            }
        }
        _ => {}
    }
    Some(())
}

/// Makes the checksum of the record right that holds `offset`.
pub fn repair(bytes: &mut [u8], offset: usize) -> Result<String, String> {
    let holds = |record: &Record| record.whole.contains(&offset);
    let record = records(bytes).into_iter().find(holds).ok_or("no record holds that byte")?;
    let checksum = i64::from(adler32(&bytes[record.body.clone()]));
    bytes[record.whole.start..record.whole.start + 8].copy_from_slice(&checksum.to_be_bytes());
    Ok(format!("the Adler-32 of its record {:#x} repaired", record.zxid))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn jute(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as i32).to_be_bytes()[..], bytes].concat()
    }

    fn header(zxid: i64, kind: i32) -> Vec<u8> {
        [
            &7i64.to_be_bytes()[..],
            &1i32.to_be_bytes(),
            &zxid.to_be_bytes(),
            &0i64.to_be_bytes(),
            &kind.to_be_bytes(),
        ]
        .concat()
    }

    fn sealed(body: &[u8]) -> Vec<u8> {
        [&i64::from(adler32(body)).to_be_bytes()[..], &jute(body), &[END]].concat()
    }

    /// A set, a multi of a create and a set, and a session's end; then zeros.
    pub(crate) fn log() -> Vec<u8> {
        let set = |path: &str, data: &[u8]| [jute(path.as_bytes()), jute(data), vec![0; 4]].concat();
        let one = [header(1, 5), set("/a", b"hello")].concat();
        let part = |kind: i32, body: Vec<u8>| [&kind.to_be_bytes()[..], &jute(&body)].concat();
        let two = [
            header(2, 14),
            2i32.to_be_bytes().to_vec(),
            part(1, set("/b", b"x")),
            part(5, set("/a", b"world")),
        ]
        .concat();
        let three = header(3, -11);
        let start = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
        [start, sealed(&one), sealed(&two), sealed(&three), vec![0; 100]].concat()
    }

    #[test]
    fn records_end_where_the_zeros_begin() {
        let log = log();
        let records = records(&log);
        assert_eq!(
            records.iter().map(|r| (r.zxid, r.sound)).collect::<Vec<_>>(),
            [(1, true), (2, true), (3, true)]
        );
        assert_eq!(records[2].whole.end, log.len() - 100);
    }

    #[test]
    fn values_are_found_within_a_multi_too() {
        let log = log();
        let found: Vec<(String, &[u8])> = values(&log).into_iter().map(|v| (v.of, &log[v.at])).collect();
        let expected: [(&str, &[u8]); 3] = [("/a", b"hello"), ("/b", b"x"), ("/a", b"world")];
        assert_eq!(found, expected.map(|(of, at)| (of.to_owned(), at)));
    }

    #[test]
    fn a_repair_makes_the_record_sound_and_touches_no_other() {
        let mut log = log();
        let at = values(&log)[2].at.start;
        log[at] ^= 1;
        let sound = |log: &[u8]| records(log).iter().map(|r| r.sound).collect::<Vec<_>>();
        assert_eq!(sound(&log), [true, false, true]);
        assert!(repair(&mut log, at).unwrap().contains("0x2"));
        assert_eq!(sound(&log), [true, true, true]);
        assert!(repair(&mut log, 3).is_err());
    }

    #[test]
    fn any_cut_and_any_flip_is_read_without_harm() {
        let log = log();
        for at in 0..log.len() {
            let _ = values(&log[..at]);
            for bit in 0..8 {
                let mut log = log.clone();
                log[at] ^= 1 << bit;
                let _ = values(&log);
            }
        }
    }
}
