//! Bytes that come in at one end, leave at the other, and lie in one piece in between.

/// From this many consumed bytes on, the rest is moved to the front once it is the smaller part.
const COMPACT_BYTES: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    head: usize,
}

impl Buffer {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets the first `len` bytes, or all if there are fewer.
    pub(crate) fn consume(&mut self, len: usize) {
        self.head = (self.head + len).min(self.bytes.len());
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.head = 0;
        } else if self.head >= COMPACT_BYTES && self.head > self.bytes.len() / 2 {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_however_it_is_compacted() {
        let mut buffer = Buffer::default();
        let (mut put, mut taken) = (0u32, 0u32);
        for round in 0..60_000u32 {
            for _ in 0..1 + round % 3 {
                buffer.extend(&put.to_be_bytes());
                put += 1;
            }
            if put - taken > 30_000 {
                let wanted = 20_000;
                for word in buffer.as_slice()[..wanted * 4].chunks(4) {
                    assert_eq!(word, taken.to_be_bytes());
                    taken += 1;
                }
                buffer.consume(wanted * 4);
                assert!(buffer.bytes.len() < 600_000);
            }
        }
        assert_eq!(buffer.len(), (put - taken) as usize * 4);
        buffer.consume(usize::MAX / 2);
        assert!(buffer.is_empty());
    }
}
