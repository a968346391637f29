//! A set of short word strings, packed end to end: no allocation per member, exact comparison.

use std::hash::Hasher;

use rustc_hash::FxHasher;

/// Keys seen so far. Costs the key's words plus 8 to 16 bytes each.
#[derive(Debug)]
pub(super) struct Memo {
    words: Vec<u32>,
    /// Where each key begins in `words`; one more at the end.
    starts: Vec<usize>,
    /// Open addressing: number of a key plus one, 0 where free. A power of two long.
    table: Vec<u32>,
}

impl Default for Memo {
    fn default() -> Self {
        Memo { words: Vec::new(), starts: vec![0], table: vec![0; 64] }
    }
}

impl Memo {
    /// Bytes held, with room for the copy while it grows.
    pub(super) fn bytes(&self) -> u64 {
        let words = self.words.capacity() + self.table.len();
        (words * size_of::<u32>() + self.starts.capacity() * size_of::<usize>()) as u64 * 3 / 2
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Adds `key`; false when it was there.
    pub(super) fn insert(&mut self, key: &[u32]) -> bool {
        let Some(slot) = self.free_slot(key) else { return false };
        self.words.extend_from_slice(key);
        self.starts.push(self.words.len());
        self.table[slot] = self.len() as u32;
        if self.len() * 3 > self.table.len() * 2 {
            self.grow();
        }
        true
    }

    fn key(&self, number: usize) -> &[u32] {
        &self.words[self.starts[number]..self.starts[number + 1]]
    }

    /// Where `key` would go; none when it is there already.
    fn free_slot(&self, key: &[u32]) -> Option<usize> {
        let mask = self.table.len() - 1;
        let mut slot = hash(key) & mask;
        loop {
            match self.table[slot] {
                0 => return Some(slot),
                number if self.key(number as usize - 1) == key => return None,
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let mask = self.table.len() * 2 - 1;
        let mut table = vec![0; mask + 1];
        for number in 0..self.len() {
            let mut slot = hash(self.key(number)) & mask;
            while table[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            table[slot] = number as u32 + 1;
        }
        self.table = table;
    }
}

fn hash(key: &[u32]) -> usize {
    let mut hasher = FxHasher::default();
    for pair in key.chunks(2) {
        hasher.write_u64(u64::from(pair[0]) << 32 | u64::from(pair.get(1).copied().unwrap_or(0)));
    }
    // The table is indexed by the low bits; Fx leaves its best bits to `finish`.
    hasher.finish() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_other_lengths_are_other_keys() {
        let mut memo = Memo::default();
        assert!(memo.insert(&[1]));
        assert!(memo.insert(&[1, 0]));
        assert!(memo.insert(&[]));
        assert!(!memo.insert(&[1, 0]));
        assert_eq!(memo.len(), 3);
    }

    #[test]
    fn growing_forgets_nothing() {
        let mut memo = Memo::default();
        assert!((0..50_000u32).all(|i| memo.insert(&[i, i ^ 0x5555, 3])));
        assert!(!(0..50_000u32).any(|i| memo.insert(&[i, i ^ 0x5555, 3])));
    }
}
