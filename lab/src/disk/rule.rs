//! Disk rules: what happens to which operations on which files, as plain values; and their live state.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::glob;

/// A kind of operation on a file, as a rule names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskOp {
    /// Opening a file that exists.
    Open,
    /// Making a file, a directory or a link.
    Create,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Changing a file's length, or setting space aside for it.
    Truncate,
    /// `fsync` and `fdatasync` of a file or a directory.
    Sync,
    /// Renaming; the path judged is the old one.
    Rename,
    /// Removing a file or a directory.
    Unlink,
}

impl DiskOp {
    /// All of them.
    pub const ALL: [DiskOp; 8] = [
        DiskOp::Open,
        DiskOp::Create,
        DiskOp::Read,
        DiskOp::Write,
        DiskOp::Truncate,
        DiskOp::Sync,
        DiskOp::Rename,
        DiskOp::Unlink,
    ];
}

/// An error a disk can answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DiskErrno {
    /// The medium is broken.
    Eio,
    /// No space is left.
    Enospc,
    /// The file system has been made read-only, as after an error of its own.
    Erofs,
    /// The quota is used up.
    Edquot,
    /// No permission.
    Eacces,
    /// Too many open files.
    Emfile,
}

impl DiskErrno {
    /// The number the kernel uses.
    pub(crate) fn code(self) -> i32 {
        match self {
            DiskErrno::Eio => libc::EIO,
            DiskErrno::Enospc => libc::ENOSPC,
            DiskErrno::Erofs => libc::EROFS,
            DiskErrno::Edquot => libc::EDQUOT,
            DiskErrno::Eacces => libc::EACCES,
            DiskErrno::Emfile => libc::EMFILE,
        }
    }
}

/// What a disk rule does to each operation it matches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskAction {
    /// The operation is not carried out and answers with this error.
    Errno(DiskErrno),
    /// The operation is carried out after `base` plus a uniform draw from `0..=jitter`. Healing lets those
    /// that wait go on at once.
    Slow {
        /// The least it waits.
        base: Duration,
        /// The most that is added to it.
        jitter: Duration,
    },
    /// The operation waits until the rule is healed, and is carried out then. A process that is killed
    /// while it waits dies at once; its operation is not carried out.
    Stuck,
    /// The file system has this much space left: writes past a file's end and into its holes use it up, removing
    /// and cutting give back. A write that does not fit is cut short, the next one fails with `ENOSPC`; `statfs` tells
    /// the truth about it. Only writes and `fallocate` are matched, whatever `ops` says.
    Full {
        /// Bytes that are free when the rule is installed.
        free_bytes: u64,
    },
    /// One bit of what is read or written is flipped: a read harms the reader only, a write the file.
    FlipBit,
    /// A sync answers at once that all is well, and nothing is synced: a disk that lies. Seen by a power
    /// cut only. Only syncs are matched, whatever `ops` says.
    IgnoreSync,
}

/// A harm to operations on files. Installing it returns a guard that takes it away again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskRule {
    /// A name for people.
    pub name: String,
    /// The operations it covers.
    pub ops: Vec<DiskOp>,
    /// The files it covers, as a pattern over paths relative to the mount point: `*` within a name, `**`
    /// across directories; without a slash the pattern is about the last name. `**` covers everything.
    pub files: String,
    /// What happens.
    pub action: DiskAction,
    /// Each operation is struck with this probability, 0 to 1, drawn independently.
    pub probability: f64,
    /// Fixes the draws: of one file, the n-th matching operation meets the same fate under the same seed.
    pub seed: u64,
}

/// What a disk rule has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskCounters {
    /// Operations of its kinds on its files that came as far as this rule.
    pub matched: u64,
    /// Those that failed by it.
    pub failed: u64,
    /// Those it made wait.
    pub delayed: u64,
    /// Those of them that wait now.
    pub waiting: u64,
    /// Those whose process was killed while they waited.
    pub killed: u64,
    /// Bits it flipped.
    pub flipped: u64,
    /// Bytes it refused to write.
    pub refused_bytes: u64,
    /// Syncs it answered without syncing.
    pub ignored_syncs: u64,
}

/// A rule while it is installed.
#[derive(Debug)]
pub(crate) struct RuleState {
    pub(crate) id: u64,
    pub(crate) rule: DiskRule,
    pub(crate) matched: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) delayed: AtomicU64,
    pub(crate) waiting: AtomicU64,
    pub(crate) killed: AtomicU64,
    pub(crate) flipped: AtomicU64,
    pub(crate) refused_bytes: AtomicU64,
    pub(crate) ignored_syncs: AtomicU64,
    /// Space left, for [`DiskAction::Full`].
    pub(crate) free: Mutex<u64>,
    healed: Mutex<bool>,
    is_healed: AtomicBool,
    heal: Condvar,
    dice: Mutex<HashMap<String, ChaCha8Rng>>,
}

/// How waiting for a rule ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The time is over, or the rule healed: go on.
    Over,
    /// Nobody waits for the answer any more.
    Killed,
}

/// A rule's word on one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    Fail(i32),
    /// For so long, or until it is healed.
    Wait(Option<Duration>),
    /// The bit to flip, to be taken modulo the number of bits there are.
    Flip(u64),
    /// The rule's own account of free space decides.
    Account,
    IgnoreSync,
}

/// How often a waiter looks whether somebody still waits for it.
const LOOK: Duration = Duration::from_millis(10);

impl RuleState {
    pub(crate) fn new(id: u64, rule: DiskRule) -> RuleState {
        let zero = || AtomicU64::new(0);
        let free = if let DiskAction::Full { free_bytes } = rule.action { free_bytes } else { 0 };
        RuleState {
            id,
            rule,
            matched: zero(),
            failed: zero(),
            delayed: zero(),
            waiting: zero(),
            killed: zero(),
            flipped: zero(),
            refused_bytes: zero(),
            ignored_syncs: zero(),
            free: Mutex::new(free),
            healed: Mutex::default(),
            is_healed: AtomicBool::new(false),
            heal: Condvar::new(),
            dice: Mutex::default(),
        }
    }

    /// True if the rule is about this operation on this file.
    pub(crate) fn covers(&self, op: DiskOp, path: &str) -> bool {
        let ops = match self.rule.action {
            DiskAction::Full { .. } => matches!(op, DiskOp::Write | DiskOp::Truncate),
            DiskAction::IgnoreSync => op == DiskOp::Sync,
            DiskAction::FlipBit => matches!(op, DiskOp::Read | DiskOp::Write) && self.rule.ops.contains(&op),
            _ => self.rule.ops.contains(&op),
        };
        ops && !self.is_healed.load(Relaxed) && glob::covers(&self.rule.files, path)
    }

    /// Judges an operation it covers, and counts it; what comes of it the caller counts.
    pub(crate) fn judge(&self, path: &str) -> Fate {
        self.matched.fetch_add(1, Relaxed);
        let probability = self.rule.probability;
        if probability < 1.0 && self.with_dice(path, |dice| dice.random::<f64>() >= probability) {
            return Fate::Pass;
        }
        match self.rule.action {
            DiskAction::Errno(errno) => {
                self.failed.fetch_add(1, Relaxed);
                Fate::Fail(errno.code())
            }
            DiskAction::Slow { base, jitter } => {
                let extra = self.with_dice(path, |dice| dice.random_range(0..=jitter.as_nanos() as u64));
                Fate::Wait(Some(base + Duration::from_nanos(extra)))
            }
            DiskAction::Stuck => Fate::Wait(None),
            DiskAction::Full { .. } => Fate::Account,
            DiskAction::FlipBit => Fate::Flip(self.with_dice(path, |dice| dice.random())),
            DiskAction::IgnoreSync => Fate::IgnoreSync,
        }
    }

    /// Waits until the time is over or the rule heals, or until nobody waits for the answer any more.
    pub(crate) fn wait(&self, time: Option<Duration>, is_abandoned: impl Fn() -> bool) -> Waited {
        let until = time.map(|time| Instant::now() + time);
        self.delayed.fetch_add(1, Relaxed);
        self.waiting.fetch_add(1, Relaxed);
        let mut healed = lock(&self.healed);
        let waited = loop {
            let left = until.map_or(LOOK, |until| until.saturating_duration_since(Instant::now()));
            if *healed || left.is_zero() {
                break Waited::Over;
            }
            if is_abandoned() {
                self.killed.fetch_add(1, Relaxed);
                break Waited::Killed;
            }
            healed = match self.heal.wait_timeout(healed, left.min(LOOK)) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        };
        self.waiting.fetch_sub(1, Relaxed);
        waited
    }

    /// Ends the rule and lets all who wait for it go on.
    pub(crate) fn heal(&self) {
        self.is_healed.store(true, Relaxed);
        *lock(&self.healed) = true;
        self.heal.notify_all();
    }

    pub(crate) fn counters(&self) -> DiskCounters {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        DiskCounters {
            matched: read(&self.matched),
            failed: read(&self.failed),
            delayed: read(&self.delayed),
            waiting: read(&self.waiting),
            killed: read(&self.killed),
            flipped: read(&self.flipped),
            refused_bytes: read(&self.refused_bytes),
            ignored_syncs: read(&self.ignored_syncs),
        }
    }

    /// Takes up to `wanted` bytes from the space left; returns how many it gave, counting the rest.
    pub(crate) fn take_space(&self, wanted: u64) -> u64 {
        let mut free = lock(&self.free);
        let given = wanted.min(*free);
        *free -= given;
        self.refused_bytes.fetch_add(wanted - given, Relaxed);
        given
    }

    /// Gives space back.
    pub(crate) fn give_space(&self, bytes: u64) {
        let mut free = lock(&self.free);
        *free = free.saturating_add(bytes);
    }

    fn with_dice<T>(&self, path: &str, f: impl FnOnce(&mut ChaCha8Rng) -> T) -> T {
        let mut dice = lock(&self.dice);
        if !dice.contains_key(path) {
            dice.insert(path.to_owned(), ChaCha8Rng::from_seed(file_seed(self.rule.seed, path)));
        }
        f(dice.get_mut(path).expect("it was just put there"))
    }
}

/// Each file draws from a stream of its own, so that operations elsewhere do not shift its draws: the
/// rule's seed, and FNV-1a over the path.
fn file_seed(seed: u64, path: &str) -> [u8; 32] {
    let hash = path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&hash.to_le_bytes());
    bytes
}

impl DiskRule {
    /// Says what is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let implied = matches!(self.action, DiskAction::Full { .. } | DiskAction::IgnoreSync);
        let flips = |op: &DiskOp| matches!(op, DiskOp::Read | DiskOp::Write);
        match self.action {
            _ if self.ops.is_empty() && !implied => Some("it covers no operation".to_owned()),
            _ if self.files.is_empty() => Some("it covers no file; `**` stands for all of them".to_owned()),
            _ if !(0.0..=1.0).contains(&self.probability) => {
                Some(format!("probability {} is not between 0 and 1", self.probability))
            }
            DiskAction::Slow { base, jitter } if base + jitter > Duration::from_secs(3600) => {
                Some(format!("a delay of up to {:?} is longer than an hour", base + jitter))
            }
            DiskAction::FlipBit if !self.ops.iter().any(flips) => {
                Some("only reads and writes carry bits to flip".to_owned())
            }
            _ => None,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(action: DiskAction) -> DiskRule {
        let ops = vec![DiskOp::Write, DiskOp::Sync];
        DiskRule { name: "r".into(), ops, files: "*.aof".into(), action, probability: 1.0, seed: 7 }
    }

    #[test]
    fn the_same_seed_strikes_the_same_operations_whatever_other_files_do() {
        let half = DiskRule { probability: 0.5, ..rule(DiskAction::Errno(DiskErrno::Eio)) };
        let fates = |state: &RuleState| -> Vec<Fate> { (0..200).map(|_| state.judge("a.aof")).collect() };
        let (alone, shared) = (RuleState::new(1, half.clone()), RuleState::new(2, half.clone()));
        for _ in 0..13 {
            shared.judge("b.aof");
        }
        let first = fates(&alone);
        assert_eq!(first, fates(&shared));
        assert_ne!(first, fates(&RuleState::new(3, DiskRule { seed: 8, ..half })));
        let failed = first.iter().filter(|fate| **fate == Fate::Fail(libc::EIO)).count() as u64;
        assert!((70..130).contains(&failed), "{failed}");
        assert_eq!((alone.counters().matched, alone.counters().failed), (200, failed));
    }

    #[test]
    fn a_rule_covers_its_operations_on_its_files() {
        let state = RuleState::new(1, rule(DiskAction::Stuck));
        assert!(state.covers(DiskOp::Sync, "d/x.aof"));
        assert!(!state.covers(DiskOp::Read, "d/x.aof") && !state.covers(DiskOp::Sync, "x.rdb"));
        let full = RuleState::new(1, rule(DiskAction::Full { free_bytes: 10 }));
        assert!(full.covers(DiskOp::Truncate, "x.aof") && !full.covers(DiskOp::Sync, "x.aof"));
        state.heal();
        assert!(!state.covers(DiskOp::Sync, "d/x.aof"));
    }

    #[test]
    fn healing_releases_who_waits_and_a_dead_one_is_let_go() {
        let state = RuleState::new(1, rule(DiskAction::Stuck));
        assert_eq!(state.wait(None, || true), Waited::Killed);
        assert_eq!(state.wait(Some(Duration::from_millis(3)), || false), Waited::Over);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| state.wait(None, || false));
            while state.counters().waiting == 0 {
                std::thread::yield_now();
            }
            state.heal();
            assert_eq!(waiter.join().unwrap(), Waited::Over);
        });
        assert_eq!((state.counters().delayed, state.counters().killed, state.counters().waiting), (3, 1, 0));
    }

    #[test]
    fn space_is_used_up_and_given_back() {
        let state = RuleState::new(1, rule(DiskAction::Full { free_bytes: 10 }));
        assert_eq!((state.take_space(7), state.take_space(7)), (7, 3));
        state.give_space(5);
        assert_eq!(state.take_space(7), 5);
        assert_eq!(state.counters().refused_bytes, 4 + 2);
    }

    #[test]
    fn rules_that_cannot_work_are_told_why() {
        let bad = |change: fn(&mut DiskRule)| {
            let mut rule = rule(DiskAction::Stuck);
            change(&mut rule);
            rule.problem().unwrap_or_default()
        };
        assert!(bad(|r| r.ops.clear()).contains("no operation"));
        assert!(bad(|r| r.files.clear()).contains("no file"));
        assert!(bad(|r| r.probability = f64::NAN).contains("between 0 and 1"));
        assert!(bad(|r| (r.action, r.ops) = (DiskAction::FlipBit, vec![DiskOp::Sync])).contains("bits"));
        assert_eq!(rule(DiskAction::Stuck).problem(), None);
    }
}
