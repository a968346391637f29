//! What is done to processes: killed, killed again and again, halted.

mod point;

use std::fmt;
use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use self::point::Waiting;
use super::{Evidence, Healed, InForce, Means, Strike};
use crate::arena::{Arena, Part, Victim};
use crate::byzantine::Trigger;
use crate::family::Family;
use crate::schedule::Limits;
use crate::targets::Target;

/// A harm to processes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum ProcessHarm {
    /// SIGKILL; restarted at the window's end.
    Kill,
    /// SIGKILL, a start, and SIGKILL again, until the window ends.
    CrashLoop {
        /// How long it stays down each time, milliseconds.
        down_ms: u64,
        /// How long it is let run each time, milliseconds.
        up_ms: u64,
    },
    /// SIGKILL at a point of a protocol: when a message is seen, before it, or another, arrives; restarted at the
    /// window's end.
    CrashAt(Box<Trigger>),
    /// SIGSTOP; SIGCONT at the window's end.
    Pause,
}

impl Means for ProcessHarm {
    const FAULTS: &'static [&'static str] = &["kill", "crash-loop", "crash-at", "pause"];

    fn family(&self) -> Family {
        match self {
            ProcessHarm::Kill | ProcessHarm::CrashLoop { .. } | ProcessHarm::CrashAt(_) => Family::Kill,
            ProcessHarm::Pause => Family::Pause,
        }
    }

    fn check(&self, _: Target, _: &Limits) -> Result<(), String> {
        match self {
            ProcessHarm::CrashLoop { up_ms: 0, .. } => {
                Err("a crash loop lets the process run for a moment: give `up_ms` at least 1".into())
            }
            ProcessHarm::CrashAt(trigger) => trigger.check().map_err(|e| e.to_string()),
            _ => Ok(()),
        }
    }

    fn draw(family: Family, first: bool, _: Target, rng: &mut ChaCha8Rng) -> Self {
        use rand::RngExt;
        match family {
            Family::Pause => ProcessHarm::Pause,
            _ if !first && rng.random_bool(CRASH_LOOP_SHARE) => {
                ProcessHarm::CrashLoop { down_ms: 100, up_ms: rng.random_range(200..800) }
            }
            _ => ProcessHarm::Kill,
        }
    }

    fn inject<'a>(&self, strike: &Strike, arena: &'a dyn Arena) -> Box<dyn InForce + 'a> {
        let mut struck = Struck {
            arena,
            harm: self.clone(),
            down: Vec::new(),
            up: Vec::new(),
            turn_at: None,
            kills: 0,
            installed: false,
            evidence: Evidence::new(),
        };
        if let ProcessHarm::CrashAt(trigger) = self {
            return Box::new(Waiting::new(struck, &strike.victims, trigger));
        }
        struck.strike(&strike.victims);
        struck.turn_at = struck.next_turn();
        Box::new(struck)
    }
}

/// Kills of a drawn schedule that are loops; the first of a run never is.
const CRASH_LOOP_SHARE: f64 = 0.15;

/// Processes that are down or halted.
struct Struck<'a> {
    arena: &'a dyn Arena,
    harm: ProcessHarm,
    /// Struck now: to be started again, or to be let go on.
    down: Vec<Victim>,
    /// In a loop: running again until their next turn.
    up: Vec<Victim>,
    turn_at: Option<Instant>,
    kills: u64,
    installed: bool,
    evidence: Evidence,
}

impl Struck<'_> {
    fn strike(&mut self, victims: &[Victim]) {
        for victim in victims {
            let is_client = victim.part == Part::Client;
            let (when, seen) = match self.harm {
                ProcessHarm::Pause if is_client => ("when halted", self.arena.pause(victim)),
                ProcessHarm::Pause => ("after SIGSTOP", self.arena.pause(victim)),
                _ if is_client => ("when killed", self.arena.kill(victim)),
                ProcessHarm::Kill | ProcessHarm::CrashLoop { .. } | ProcessHarm::CrashAt(_) => {
                    ("after SIGKILL", self.arena.kill(victim))
                }
            };
            if seen.is_ok() {
                self.down.push(victim.clone());
                self.installed = true;
                self.kills += 1;
            }
            self.note(victim, when, seen);
        }
    }

    fn release(&mut self) {
        for victim in std::mem::take(&mut self.down) {
            let (when, seen) = match self.harm {
                ProcessHarm::Pause if victim.part == Part::Client => ("then", self.arena.resume(&victim)),
                ProcessHarm::Pause => ("after SIGCONT", self.arena.resume(&victim)),
                ProcessHarm::Kill | ProcessHarm::CrashLoop { .. } | ProcessHarm::CrashAt(_) => {
                    ("after restart", self.arena.restart(&victim))
                }
            };
            self.note(&victim, when, seen);
            self.up.push(victim);
        }
    }

    fn next_turn(&self) -> Option<Instant> {
        let ProcessHarm::CrashLoop { down_ms, up_ms } = self.harm else { return None };
        let wait_ms = if self.down.is_empty() { up_ms } else { down_ms };
        Some(Instant::now() + Duration::from_millis(wait_ms))
    }

    fn note(&mut self, victim: &Victim, when: &str, seen: Result<String, String>) {
        let what = format!("{victim} {when}");
        self.evidence.push((what, seen.unwrap_or_else(|why| format!("failed: {why}"))));
    }
}

impl InForce for Struck<'_> {
    fn beat(&mut self) -> Option<Instant> {
        if self.turn_at.is_some_and(|at| at <= Instant::now()) {
            if self.down.is_empty() {
                let up = std::mem::take(&mut self.up);
                self.strike(&up);
                // Whom a kill was refused gets another chance at the next turn.
                self.up = up.into_iter().filter(|victim| !self.down.contains(victim)).collect();
            } else {
                self.release();
            }
            self.turn_at = self.next_turn();
        }
        self.turn_at
    }

    fn undo(&mut self) -> Healed {
        self.turn_at = None;
        self.release();
        if let ProcessHarm::CrashLoop { .. } = self.harm {
            self.evidence.push(("kills".into(), self.kills.to_string()));
        }
        Healed { installed: self.installed, evidence: std::mem::take(&mut self.evidence) }
    }
}

impl Drop for Struck<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Display for ProcessHarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessHarm::Kill => f.write_str("kill -9, then restart"),
            ProcessHarm::CrashLoop { down_ms, up_ms } => {
                write!(f, "kill -9, restart after {down_ms} ms, kill again after {up_ms} ms, and so on")
            }
            ProcessHarm::CrashAt(trigger) => write!(f, "kill -9 {trigger}, then restart"),
            ProcessHarm::Pause => f.write_str("SIGSTOP, then SIGCONT"),
        }
    }
}
