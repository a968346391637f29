//! What a file's medium does not hold yet: the changes since its last sync, each with what undoes it.
//!
//! Pure: no file is touched here. The caller performs each change at once, so that whoever reads sees it,
//! and hands in what was there before; a power cut is then the undoing of changes, newest first.
//!
//! ```text
//!   synced |---- w1 ---- w2 ---- w3        Nothing   up to the bar
//!          |-- (w1)  (w2)  (w3 cut) --|    Torn      all but the last write's tail
//!          |-- any of the blocks    --|    Blocks    as a disk that writes back in its own order
//! ```

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

/// The unit in which [`Survival::Blocks`] keeps or loses, in bytes.
pub const BLOCK: u64 = 4096;

/// Which of the changes since a file's last sync a power cut leaves on the medium.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Survival {
    /// None: the file is as it was when it was last synced.
    Nothing,
    /// All but the tail of the last write, of which only the first bytes survive.
    Torn {
        /// How many bytes survive, at most all but one; `None` draws it.
        keep_bytes: Option<u64>,
    },
    /// Each 4 KiB block that was touched, independently of the others, with this probability (0 to 1).
    Blocks {
        /// From 0 to 1.
        probability: f64,
    },
}

/// One change, and what was there before.
#[derive(Clone, Debug)]
struct Change {
    is_write: bool,
    /// When, in nanoseconds of the caller's clock.
    at_ns: u64,
    /// First byte touched.
    offset: u64,
    /// Bytes touched.
    len: u64,
    /// The file's length before.
    old_len: u64,
    /// What the bytes from `offset` on were, as far as the file reached.
    old: Vec<u8>,
}

/// The changes of one file since its last sync.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsynced {
    changes: VecDeque<Change>,
    /// How many changes were forgotten, being synced.
    forgotten: u64,
    /// Bytes of `old` held in memory.
    held: u64,
}

/// A moment in a file's changes: a sync that began there makes durable what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

/// One step of undoing, to be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Put these bytes there.
    Write { offset: u64, bytes: Vec<u8> },
    /// Make the file this long.
    SetLen(u64),
}

impl Unsynced {
    /// Notes a write of `len` bytes at `offset` to a file of `old_len` bytes; `old` is what it overwrote:
    /// from `offset` to the nearer of both ends.
    pub(crate) fn wrote(&mut self, at_ns: u64, offset: u64, len: u64, old_len: u64, old: Vec<u8>) {
        self.push(Change { is_write: true, at_ns, offset, len, old_len, old });
    }

    /// Notes a change of length; `old` is what a cut took away, empty if the file grew.
    pub(crate) fn resized(&mut self, at_ns: u64, new_len: u64, old_len: u64, old: Vec<u8>) {
        let (offset, len) = (new_len.min(old_len), new_len.abs_diff(old_len));
        self.push(Change { is_write: false, at_ns, offset, len, old_len, old });
    }

    fn push(&mut self, change: Change) {
        self.held += change.old.len() as u64;
        self.changes.push_back(change);
    }

    /// Now, as the moment a sync begins.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.forgotten + self.changes.len() as u64)
    }

    /// The moment before the first change that is not older than `at_ns`; a sync from there is what writing back
    /// by age comes to.
    pub(crate) fn mark_at(&self, at_ns: u64) -> Mark {
        Mark(self.forgotten + self.changes.partition_point(|change| change.at_ns < at_ns) as u64)
    }

    /// Everything before `mark` is on the medium.
    pub(crate) fn synced(&mut self, mark: Mark) {
        while self.forgotten < mark.0 {
            let Some(change) = self.changes.pop_front() else { return };
            self.held -= change.old.len() as u64;
            self.forgotten += 1;
        }
    }

    /// True if all is on the medium.
    pub(crate) fn is_clean(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes held in memory to undo with.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held
    }

    /// Bytes that were written or cut since the last sync.
    pub(crate) fn touched_bytes(&self) -> u64 {
        self.changes.iter().map(|change| change.len).sum()
    }

    /// What takes the file, as it is now, back to its last sync.
    pub(crate) fn undo_all(&self) -> Vec<Step> {
        self.changes.iter().rev().flat_map(Change::undo).collect()
    }

    /// What tears the last write off after some of its bytes, and how many bytes are lost; `None` if there
    /// was no write of two bytes or more.
    pub(crate) fn tear(&self, keep_bytes: Option<u64>, seed: u64) -> Option<(Vec<Step>, u64)> {
        let last = self.changes.iter().rposition(|change| change.is_write && change.len > 1)?;
        let torn = &self.changes[last];
        let keep = match keep_bytes {
            Some(keep) => keep.min(torn.len - 1),
            None => ChaCha8Rng::seed_from_u64(seed).random_range(1..torn.len),
        };
        let mut steps: Vec<Step> = self.changes.range(last + 1..).rev().flat_map(Change::undo).collect();
        let kept_old = torn.old.get(keep as usize..).unwrap_or_default();
        if !kept_old.is_empty() {
            steps.push(Step::Write { offset: torn.offset + keep, bytes: kept_old.to_vec() });
        }
        let reached = if keep == 0 { 0 } else { torn.offset + keep };
        steps.push(Step::SetLen(torn.old_len.max(reached)));
        Some((steps, torn.len - keep))
    }

    /// The blocks that were touched and, by the draw, survive, each as its number; and how many do not.
    pub(crate) fn surviving_blocks(&self, probability: f64, seed: u64) -> (Vec<u64>, u64) {
        let blocks = |change: &Change| match change.len {
            0 => 0..0,
            len => change.offset / BLOCK..(change.offset + len - 1) / BLOCK + 1,
        };
        let touched: BTreeSet<u64> = self.changes.iter().flat_map(blocks).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let all = touched.len() as u64;
        let kept: Vec<u64> = touched.into_iter().filter(|_| rng.random::<f64>() < probability).collect();
        let lost = all - kept.len() as u64;
        (kept, lost)
    }
}

impl Change {
    fn undo(&self) -> Vec<Step> {
        let mut steps = Vec::with_capacity(2);
        if !self.old.is_empty() {
            steps.push(Step::Write { offset: self.offset, bytes: self.old.clone() });
        }
        steps.push(Step::SetLen(self.old_len));
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a program may do to a file.
    #[derive(Clone, Debug)]
    enum Act {
        Write {
            offset: usize,
            bytes: Vec<u8>,
        },
        Resize(usize),
        Sync,
        /// A sync that begins here and ends after the next act.
        SlowSync,
    }

    fn act() -> impl Strategy<Value = Act> {
        let bytes = proptest::collection::vec(1u8..=255, 1..40);
        prop_oneof![
            6 => (0usize..60, bytes).prop_map(|(offset, bytes)| Act::Write { offset, bytes }),
            2 => (0usize..80).prop_map(Act::Resize),
            1 => Just(Act::Sync),
            1 => Just(Act::SlowSync),
        ]
    }

    fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset..end].copy_from_slice(bytes);
    }

    /// The file, its log, and by the naive book: every content it had since the last sync.
    #[derive(Default)]
    struct Bench {
        file: Vec<u8>,
        log: Unsynced,
        since_sync: Vec<Vec<u8>>,
    }

    impl Bench {
        fn after(acts: &[Act]) -> Bench {
            let mut bench = Bench { since_sync: vec![Vec::new()], ..Bench::default() };
            let mut pending: Option<(Mark, usize)> = None;
            for act in acts {
                let finishing = pending.take();
                match act {
                    Act::Write { offset, bytes } => bench.write(*offset, bytes),
                    Act::Resize(len) => bench.resize(*len),
                    Act::Sync => {
                        bench.log.synced(bench.log.mark());
                        bench.since_sync = vec![bench.file.clone()];
                    }
                    Act::SlowSync => pending = Some((bench.log.mark(), bench.since_sync.len() - 1)),
                }
                if let Some((mark, began)) = finishing {
                    bench.log.synced(mark);
                    if !matches!(act, Act::Sync) {
                        bench.since_sync.drain(..began);
                        pending = pending.map(|(mark, at)| (mark, at - began));
                    }
                }
            }
            bench
        }

        fn write(&mut self, offset: usize, bytes: &[u8]) {
            let old_len = self.file.len();
            let old = self.file.get(offset..(offset + bytes.len()).min(old_len)).unwrap_or_default();
            self.log.wrote(0, offset as u64, bytes.len() as u64, old_len as u64, old.to_vec());
            put(&mut self.file, offset, bytes);
            self.since_sync.push(self.file.clone());
        }

        fn resize(&mut self, len: usize) {
            let old = self.file.get(len..).unwrap_or_default().to_vec();
            self.log.resized(0, len as u64, self.file.len() as u64, old);
            self.file.resize(len, 0);
            self.since_sync.push(self.file.clone());
        }

        fn apply(&self, steps: &[Step]) -> Vec<u8> {
            let mut file = self.file.clone();
            for step in steps {
                match step {
                    Step::Write { offset, bytes } => put(&mut file, *offset as usize, bytes),
                    Step::SetLen(len) => file.resize(*len as usize, 0),
                }
            }
            file
        }
    }

    proptest! {
        #[test]
        fn losing_everything_leaves_the_last_synced_content(acts in proptest::collection::vec(act(), 0..25)) {
            let bench = Bench::after(&acts);
            prop_assert_eq!(bench.apply(&bench.log.undo_all()), bench.since_sync[0].clone());
            prop_assert_eq!(bench.log.is_clean(), bench.since_sync.len() == 1);
        }

        #[test]
        fn a_torn_write_leaves_a_prefix_of_it_on_what_was_there_before(
            acts in proptest::collection::vec(act(), 0..20),
            seed: u64,
        ) {
            let bench = Bench::after(&acts);
            let Some((steps, lost)) = bench.log.tear(None, seed) else { return Ok(()) };
            let last = acts.iter().rposition(|a| matches!(a, Act::Write { bytes, .. } if bytes.len() > 1));
            let last = last.unwrap();
            let Act::Write { offset, bytes } = &acts[last] else { unreachable!() };
            let mut expected = Bench::after(&acts[..last]).file;
            prop_assert!(lost >= 1 && lost < bytes.len() as u64);
            put(&mut expected, *offset, &bytes[..bytes.len() - lost as usize]);
            prop_assert_eq!(bench.apply(&steps), expected);
        }

        #[test]
        fn memory_holds_only_what_was_overwritten(acts in proptest::collection::vec(act(), 0..25)) {
            let bench = Bench::after(&acts);
            let held: usize = bench.log.changes.iter().map(|change| change.old.len()).sum();
            prop_assert_eq!(bench.log.held_bytes(), held as u64);
        }
    }

    #[test]
    fn a_tear_keeps_as_many_bytes_as_asked_but_never_all() {
        let mut bench = Bench { since_sync: vec![Vec::new()], ..Bench::default() };
        bench.write(0, b"abcdef");
        bench.write(2, b"XYZ!!!");
        let torn = |keep| bench.apply(&bench.log.tear(Some(keep), 0).unwrap().0);
        assert_eq!(torn(2), b"abXYef");
        assert_eq!(torn(5), b"abXYZ!!");
        assert_eq!(torn(99), b"abXYZ!!");
        assert_eq!(torn(0), b"abcdef");
    }

    #[test]
    fn what_is_old_enough_is_written_back() {
        let mut log = Unsynced::default();
        for at in [10, 20, 30] {
            log.wrote(at, at, 1, at, Vec::new());
        }
        log.synced(log.mark_at(25));
        assert_eq!(log.undo_all(), [Step::SetLen(30)]);
        log.synced(log.mark_at(10));
        assert_eq!(log.undo_all().len(), 1);
        log.synced(log.mark_at(31));
        assert!(log.is_clean());
    }

    #[test]
    fn blocks_survive_by_their_share_and_are_told_by_number() {
        let mut log = Unsynced::default();
        for block in 0..1_000 {
            log.wrote(0, block * BLOCK + 7, 10, block * BLOCK, Vec::new());
        }
        log.wrote(0, BLOCK - 1, 2, 1_000 * BLOCK, vec![0; 2]);
        let (kept, lost) = log.surviving_blocks(0.3, 5);
        assert_eq!(kept.len() as u64 + lost, 1_000);
        assert!((230..370).contains(&kept.len()), "{}", kept.len());
        assert_eq!(log.surviving_blocks(0.3, 5).0, kept);
        assert_eq!(log.surviving_blocks(1.0, 5).1, 0);
        assert!(log.surviving_blocks(0.0, 5).0.is_empty());
    }
}
