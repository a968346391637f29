//! Reading binary formats without ever reaching past their end; and the checksums they use.

use std::ops::Range;

/// A place in a file. Every step says `None` where the file ends too early.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn at(bytes: &'a [u8], at: usize) -> Cursor<'a> {
        Cursor { bytes, at }
    }

    /// The next `len` bytes, as a range.
    pub(crate) fn skip(&mut self, len: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len())?;
        let range = self.at..end;
        self.at = end;
        Some(range)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let range = self.skip(N)?;
        self.bytes[range].try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Big-endian, as Java writes.
    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// Big-endian.
    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// A buffer or string of ZooKeeper's jute: its length, -1 for none, and its bytes.
    pub(crate) fn jute_bytes(&mut self) -> Option<Range<usize>> {
        match self.i32()? {
            -1 => Some(self.at..self.at),
            len => self.skip(usize::try_from(len).ok()?),
        }
    }

    /// Text for people.
    pub(crate) fn text(&self, at: &Range<usize>) -> String {
        String::from_utf8_lossy(&self.bytes[at.clone()]).into_owned()
    }
}

/// Adler-32 (RFC 1950), as ZooKeeper seals records and snapshots.
pub(crate) fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (mut a, mut b) = (1u32, 0u32);
    // The most bytes whose sums stay below 2^32.
    for chunk in bytes.chunks(5_552) {
        for byte in chunk {
            a += u32::from(*byte);
            b += a;
        }
        (a, b) = (a % MODULUS, b % MODULUS);
    }
    b << 16 | a
}

/// CRC-64 with the polynomial of Jones, reflected, as Redis seals dumps.
pub(crate) fn crc64_jones(bytes: &[u8]) -> u64 {
    const REFLECTED: u64 = 0x95ac_9329_ac4b_c9b5;
    const TABLE: [u64; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut crc, mut bit) = (byte as u64, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ REFLECTED } else { crc >> 1 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc, byte| TABLE[((crc ^ u64::from(*byte)) & 0xff) as usize] ^ crc >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_the_usual_test_strings() {
        assert_eq!(crc64_jones(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(adler32(&[0xff; 100_000]), {
            let (mut a, mut b) = (1u64, 0u64);
            for _ in 0..100_000 {
                a = (a + 255) % 65_521;
                b = (b + a) % 65_521;
            }
            (b << 16 | a) as u32
        });
    }

    #[test]
    fn a_cursor_stops_at_the_end() {
        let mut cursor = Cursor::at(&[0, 0, 0, 2, 7, 8, 9], 0);
        assert_eq!(cursor.jute_bytes(), Some(4..6));
        assert_eq!((cursor.i32(), cursor.u8(), cursor.u8()), (None, Some(9), None));
        assert_eq!(Cursor::at(&[0x7f, 0xff, 0xff, 0xff], 0).jute_bytes(), None);
    }
}
