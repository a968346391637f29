//! What is done to data directories: operations that fail or wait, a power cut, damage to files at rest.
//!
//! ZooKeeper's servers keep files that outlive their processes, so they are the targets. What a correct ensemble
//! is made to survive is drawn: errors, no space, slow and stuck syncs, a power cut, a write it tore, a damage
//! that the server notices. What breaks an assumption it is built on (a disk that lies about its syncs, synced
//! records that vanish, a forgery under a right checksum) is for those who ask for it.

use std::fmt;
use std::time::Duration;

use lab::{DiskAction, DiskCounters, DiskErrno, DiskOp, DiskRule, PowerCut, Survival};
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use super::{Evidence, Healed, InForce, Means, Strike};
use crate::arena::{Arena, DiskRuleInForce, Part, Victim};
use crate::family::Family;
use crate::files::{Aim, Damage, Damaged};
use crate::schedule::Limits;
use crate::targets::Target;

/// A harm to the data directory of a process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum DiskHarm {
    /// Operations fail with an I/O error.
    IoError {
        /// Which.
        #[serde(default)]
        on: FailingOps,
        /// Of these each with this probability, 0 to 1.
        #[serde(default = "always")]
        probability: f64,
    },
    /// No space is left.
    DiskFull {
        /// But for so many bytes.
        #[serde(default)]
        free_bytes: u64,
    },
    /// Every sync takes longer.
    SlowFsync {
        /// At least by so long, milliseconds.
        base_ms: u64,
        /// And by up to so much more, uniform, milliseconds.
        #[serde(default)]
        jitter_ms: u64,
    },
    /// Every sync waits until the window's end.
    StuckFsync,
    /// SIGKILL, and what was not synced is lost; started again at the window's end.
    PowerCut,
    /// The same, but that all writes survive except the tail of each file's last one.
    TornWrite,
    /// Syncs are answered and not done; at the window's end the power is cut, and the process started again.
    LyingFsync,
    /// SIGKILL, one bit of a file is flipped, and a start at once.
    BitFlip {
        /// Of which file.
        file: DataFile,
        /// Where, and whether the checksum is made right again.
        #[serde(default)]
        aim: Aim,
    },
    /// SIGKILL, the end of a file is cut off, and a start at once.
    Truncate {
        /// Of which file.
        file: DataFile,
        /// Anywhere, or within the last record.
        #[serde(default)]
        aim: Aim,
    },
}

fn always() -> f64 {
    1.0
}

/// Operations that fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailingOps {
    /// `fsync` and `fdatasync`.
    #[default]
    Sync,
    /// Writes.
    Write,
    /// Reads.
    Read,
    /// All of these, and opening, making, renaming, cutting and removing files.
    All,
}

impl FailingOps {
    fn ops(self) -> Vec<DiskOp> {
        match self {
            FailingOps::Sync => vec![DiskOp::Sync],
            FailingOps::Write => vec![DiskOp::Write],
            FailingOps::Read => vec![DiskOp::Read],
            FailingOps::All => DiskOp::ALL.into(),
        }
    }

    fn word(self) -> &'static str {
        match self {
            FailingOps::Sync => "syncs",
            FailingOps::Write => "writes",
            FailingOps::Read => "reads",
            FailingOps::All => "file operations",
        }
    }
}

/// A file of a server, of which the newest is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataFile {
    /// ZooKeeper's transaction log.
    Log,
    /// ZooKeeper's snapshot.
    Snapshot,
}

impl DataFile {
    /// As people say it.
    pub fn word(self) -> &'static str {
        match self {
            DataFile::Log => "log",
            DataFile::Snapshot => "snapshot",
        }
    }
}

impl DiskHarm {
    /// The rule it installs, if it is done by one.
    fn rule(&self, strike: &Strike) -> Option<DiskRule> {
        let ms = Duration::from_millis;
        let (ops, action) = match *self {
            DiskHarm::IoError { on, .. } => (on.ops(), DiskAction::Errno(DiskErrno::Eio)),
            DiskHarm::DiskFull { free_bytes } => (vec![], DiskAction::Full { free_bytes }),
            DiskHarm::SlowFsync { base_ms, jitter_ms } => {
                (vec![DiskOp::Sync], DiskAction::Slow { base: ms(base_ms), jitter: ms(jitter_ms) })
            }
            DiskHarm::StuckFsync => (vec![DiskOp::Sync], DiskAction::Stuck),
            DiskHarm::LyingFsync => (vec![], DiskAction::IgnoreSync),
            _ => return None,
        };
        let probability = if let DiskHarm::IoError { probability, .. } = *self { probability } else { 1.0 };
        let (name, files) = (strike.name.clone(), "**".to_owned());
        Some(DiskRule { name, ops, files, action, probability, seed: strike.seed })
    }

    /// The power cut it is, or ends with.
    fn power_cut(&self, seed: u64) -> Option<PowerCut> {
        let survival = match self {
            DiskHarm::PowerCut | DiskHarm::LyingFsync => Survival::Nothing,
            DiskHarm::TornWrite => Survival::Torn { keep_bytes: None },
            _ => return None,
        };
        Some(PowerCut { survival, seed })
    }

    fn damage(&self) -> Option<(DataFile, Damage)> {
        match *self {
            DiskHarm::BitFlip { file, aim } => Some((file, Damage::FlipBit(aim))),
            DiskHarm::Truncate { file, aim } => Some((file, Damage::Truncate(aim))),
            _ => None,
        }
    }

    /// The counter that shows a rule.
    fn shown_by(&self, counters: &DiskCounters) -> (&'static str, u64) {
        match self {
            DiskHarm::SlowFsync { .. } | DiskHarm::StuckFsync => ("syncs delayed", counters.delayed),
            DiskHarm::LyingFsync => ("syncs answered and not done", counters.ignored_syncs),
            DiskHarm::DiskFull { .. } => ("bytes that found no space", counters.refused_bytes),
            _ => ("operations failed", counters.failed),
        }
    }
}

impl Means for DiskHarm {
    const FAULTS: &'static [&'static str] = &[
        "io-error",
        "disk-full",
        "slow-fsync",
        "stuck-fsync",
        "power-cut",
        "torn-write",
        "lying-fsync",
        "bit-flip",
        "truncate",
    ];

    fn family(&self) -> Family {
        Family::Disk
    }

    fn check(&self, target: Target, _: &Limits) -> Result<(), String> {
        let has_files = |target: &Target| {
            matches!(
                target,
                Target::ZooKeeperLeader
                    | Target::ZooKeeperFollower
                    | Target::ZooKeeperMinority
                    | Target::ZooKeeperEnsemble
                    | Target::Process { part: Part::ZooKeeper, .. }
                    | Target::SameAs { .. }
            )
        };
        if *self != DiskHarm::PowerCut && !target.each().iter().all(has_files) {
            return Err(
                "only ZooKeeper keeps files that outlive its process: use target = \"zookeeper leader\" or \
                        \"zookeeper minority\""
                    .into(),
            );
        }
        match *self {
            DiskHarm::IoError { probability, .. } if !(0.0..=1.0).contains(&probability) => {
                Err("`probability` must be between 0 and 1".into())
            }
            DiskHarm::SlowFsync { base_ms, jitter_ms } if base_ms.saturating_add(jitter_ms) > 3_600_000 => {
                Err("a sync cannot be made slower by more than an hour".into())
            }
            _ => Ok(()),
        }
    }

    fn draw(_: Family, first: bool, target: Target, rng: &mut ChaCha8Rng) -> Self {
        if first {
            return DiskHarm::PowerCut;
        }
        let mut choices = vec![
            (DiskHarm::IoError { on: FailingOps::Sync, probability: 1.0 }, 3),
            (DiskHarm::IoError { on: FailingOps::Write, probability: 1.0 }, 2),
            (DiskHarm::DiskFull { free_bytes: 0 }, 2),
            (DiskHarm::SlowFsync { base_ms: 50, jitter_ms: 100 }, 3),
            (DiskHarm::StuckFsync, 3),
            (DiskHarm::PowerCut, 3),
            (DiskHarm::TornWrite, 3),
        ];
        if target == Target::ZooKeeperMinority {
            // The server will not start with it, and a majority is left.
            choices.push((DiskHarm::BitFlip { file: DataFile::Log, aim: Aim::Value }, 2));
        }
        choices.choose_weighted(rng, |(_, weight)| *weight).expect("some weight is not zero").0
    }

    fn inject<'a>(&self, strike: &Strike, arena: &'a dyn Arena) -> Box<dyn InForce + 'a> {
        let mut struck = Struck {
            arena,
            harm: *self,
            seed: strike.seed,
            rules: Vec::new(),
            down: Vec::new(),
            damaged: Vec::new(),
            installed: false,
            evidence: Evidence::new(),
        };
        let rule = self.rule(strike);
        for victim in &strike.victims {
            if victim.part != Part::ZooKeeper && *self == DiskHarm::PowerCut {
                struck.lose(victim);
            } else if victim.part != Part::ZooKeeper {
                struck.note(victim, "not installed", "it keeps no files that outlive its process".into());
            } else if let Some(rule) = &rule {
                struck.install(victim, rule);
            } else if let Some((file, damage)) = self.damage() {
                struck.damage(victim, file, damage);
            } else {
                struck.cut_power(victim);
            }
        }
        Box::new(struck)
    }
}

/// Disks that fail, processes that are down, files that are damaged.
struct Struck<'a> {
    arena: &'a dyn Arena,
    harm: DiskHarm,
    seed: u64,
    rules: Vec<(Victim, Box<dyn DiskRuleInForce>)>,
    /// To be started again.
    down: Vec<Victim>,
    /// Running on them, or refusing to.
    damaged: Vec<(Victim, Damaged)>,
    installed: bool,
    evidence: Evidence,
}

impl Struck<'_> {
    fn install(&mut self, victim: &Victim, rule: &DiskRule) {
        match self.arena.install_on_disk(victim, rule) {
            Ok(rule) => self.rules.push((victim.clone(), rule)),
            Err(why) => self.note(victim, "not installed", why),
        }
    }

    /// Kills it; false, with a note, if that failed.
    fn kill(&mut self, victim: &Victim) -> bool {
        let seen = self.arena.kill(victim);
        let killed = seen.is_ok();
        if killed {
            self.down.push(victim.clone());
        }
        self.note_seen(victim, "after SIGKILL", seen);
        killed
    }

    /// What a power cut takes from a process that keeps no files.
    fn lose(&mut self, victim: &Victim) {
        let seen = self.arena.lose(victim);
        if seen.is_ok() {
            self.installed = true;
            self.down.push(victim.clone());
            self.note(victim, "lost to the power cut", "all that was in its memory".into());
        }
        self.note_seen(victim, "after SIGKILL", seen);
    }

    fn cut_power(&mut self, victim: &Victim) {
        let Some(cut) = self.harm.power_cut(self.seed) else { return };
        if !self.kill(victim) {
            return;
        }
        match self.arena.cut_power(victim, &cut) {
            Ok(lost) => {
                self.installed |= self.harm != DiskHarm::LyingFsync || lost.bytes > 0 || lost.names > 0;
                let mut told = format!("{} bytes in {} files, {} names", lost.bytes, lost.files, lost.names);
                if !lost.paths.is_empty() {
                    told += &format!(": {}", lost.paths.join(", "));
                }
                self.note(victim, "lost to the power cut", told);
            }
            Err(why) => self.note(victim, "power not cut", why),
        }
    }

    fn damage(&mut self, victim: &Victim, file: DataFile, damage: Damage) {
        if !self.kill(victim) {
            return;
        }
        match self.arena.damage(victim, file, damage, self.seed) {
            Ok(damaged) => {
                self.installed = true;
                self.note(victim, "damaged", damaged.to_string());
                self.damaged.push((victim.clone(), damaged));
            }
            Err(why) => self.note(victim, "not damaged", why),
        }
        self.start_again();
    }

    fn start_again(&mut self) {
        for victim in std::mem::take(&mut self.down) {
            let seen = self.arena.restart(&victim);
            self.note_seen(&victim, "after restart", seen);
        }
    }

    /// Starts those again that could not live with it.
    fn revive(&mut self, victim: &Victim, damaged: Option<&Damaged>) {
        // A file is mended only under a process that is not writing to it.
        let revived = match (self.arena.is_ended(victim), damaged) {
            (Ok(false), _) => return,
            (Ok(true), Some(damaged)) => damaged
                .mend()
                .and_then(|()| self.arena.revive(victim))
                .map(|seen| seen.map(|seen| format!("{seen}; its file was mended"))),
            (Ok(true), None) => self.arena.revive(victim),
            (Err(why), _) => Err(why),
        };
        match revived {
            Ok(Some(seen)) => self.note(victim, "had ended", seen),
            Ok(None) => {}
            Err(why) => self.note(victim, "not revived", why),
        }
    }

    fn note(&mut self, victim: &Victim, when: &str, what: String) {
        self.evidence.push((format!("{victim} {when}"), what));
    }

    fn note_seen(&mut self, victim: &Victim, when: &str, seen: Result<String, String>) {
        self.note(victim, when, seen.unwrap_or_else(|why| format!("failed: {why}")));
    }

    fn release(&mut self) {
        for (victim, rule) in std::mem::take(&mut self.rules) {
            if self.harm == DiskHarm::LyingFsync {
                self.cut_power(&victim);
            }
            let counters = rule.counters();
            drop(rule);
            let (what, hit) = self.harm.shown_by(&counters);
            if self.harm != DiskHarm::LyingFsync {
                self.installed |= hit > 0;
                self.revive(&victim, None);
            }
            self.note(&victim, what, hit.to_string());
        }
        for (victim, damaged) in std::mem::take(&mut self.damaged) {
            self.revive(&victim, Some(&damaged));
        }
        self.start_again();
    }
}

impl InForce for Struck<'_> {
    fn undo(&mut self) -> Healed {
        self.release();
        Healed { installed: self.installed, evidence: std::mem::take(&mut self.evidence) }
    }
}

impl Drop for Struck<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Display for DiskHarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aim = |aim: Aim| match aim {
            Aim::Blind => "anywhere in",
            Aim::Value => "in a record of",
            Aim::Repaired => "in a value, its checksum repaired, of",
        };
        match self {
            DiskHarm::IoError { on, probability: 1.0 } => write!(f, "all {} fail with EIO", on.word()),
            DiskHarm::IoError { on, probability } => {
                write!(f, "{:.0} % of {} fail with EIO", probability * 100.0, on.word())
            }
            DiskHarm::DiskFull { free_bytes } => write!(f, "{free_bytes} bytes of space are left"),
            DiskHarm::SlowFsync { base_ms, jitter_ms: 0 } => write!(f, "each sync takes {base_ms} ms longer"),
            DiskHarm::SlowFsync { base_ms, jitter_ms } => {
                write!(f, "each sync takes {base_ms} to {} ms longer", base_ms + jitter_ms)
            }
            DiskHarm::StuckFsync => f.write_str("syncs do not come back"),
            DiskHarm::PowerCut => f.write_str("power cut: what was not synced is lost"),
            DiskHarm::TornWrite => f.write_str("power cut: the last write is torn"),
            DiskHarm::LyingFsync => f.write_str("syncs are answered and not done, then a power cut"),
            DiskHarm::BitFlip { file, aim: at } => {
                write!(f, "a bit flipped {} the {}", aim(*at), file.word())
            }
            DiskHarm::Truncate { file, aim: Aim::Blind } => write!(f, "the {} cut short", file.word()),
            DiskHarm::Truncate { file, .. } => write!(f, "the {} cut in its last record", file.word()),
        }
    }
}
