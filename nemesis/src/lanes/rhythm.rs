//! Windows that strike more than once: by turns, or each time somebody is elected.

use std::time::{Duration, Instant};

use super::claims::Claim;
use super::{Ground, strike};
use crate::STRIKES;
use crate::arena::View;
use crate::harm::{Evidence, Healed, InForce, Strike};
use crate::schedule::Window;
use crate::targets::{Resolved, Target, resolve_at};

/// How often it looks whether somebody new is elected.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Strikes that are told one by one; the others are counted.
const TOLD_MAX: usize = 40;

/// On and off by turns.
pub(super) struct Flip<'a> {
    ground: &'a Ground<'a>,
    window: &'a Window,
    strike: Strike,
    turns: (Duration, Duration),
    now: Option<Box<dyn InForce + 'a>>,
    turn_at: Instant,
    log: Log,
}

impl<'a> Flip<'a> {
    /// Strikes these victims at once.
    pub(super) fn new(
        ground: &'a Ground<'a>,
        window: &'a Window,
        resolved: &Resolved,
        turns: (u64, u64),
    ) -> Self {
        let turns = (Duration::from_millis(turns.0), Duration::from_millis(turns.1));
        let strike = strike(window, resolved, window.seed, turns.0);
        let now = Some(window.harm.inject(&strike, ground.arena));
        Flip { ground, window, strike, turns, now, turn_at: Instant::now() + turns.0, log: Log::default() }
    }

    fn off(&mut self) {
        if let Some(mut now) = self.now.take() {
            self.log.note("", &now.undo());
        }
    }
}

impl InForce for Flip<'_> {
    fn beat(&mut self) -> Option<Instant> {
        if self.turn_at <= Instant::now() {
            if self.now.is_some() {
                self.off();
                self.turn_at = Instant::now() + self.turns.1;
            } else {
                // Dice of its own for each turn, or each would do the very same.
                self.strike.seed = self.window.seed.wrapping_add(self.log.strikes);
                self.now = Some(self.window.harm.inject(&self.strike, self.ground.arena));
                self.turn_at = Instant::now() + self.turns.0;
            }
        }
        let inner = self.now.as_mut().and_then(|now| now.beat());
        Some(inner.map_or(self.turn_at, |inner| inner.min(self.turn_at)))
    }

    fn undo(&mut self) -> Healed {
        self.off();
        self.log.healed()
    }
}

impl Drop for Flip<'_> {
    fn drop(&mut self) {
        self.off();
    }
}

/// Strikes whoever holds the target's role, and again whenever an election has been.
pub(super) struct Each<'a> {
    ground: &'a Ground<'a>,
    window: &'a Window,
    hold: Duration,
    seen: Option<Elected>,
    now: Option<Strikes<'a>>,
    log: Log,
    /// Everybody struck so far, in order.
    struck: Resolved,
}

/// A strike in force.
struct Strikes<'a> {
    injected: Box<dyn InForce + 'a>,
    _claim: Claim<'a>,
    until: Instant,
    what: String,
}

/// Who is elected: masters with their epochs, or a leader.
type Elected = Vec<(String, u64)>;

impl<'a> Each<'a> {
    pub(super) fn new(ground: &'a Ground<'a>, window: &'a Window, hold_ms: u64) -> Self {
        let hold = Duration::from_millis(hold_ms);
        Each { ground, window, hold, seen: None, now: None, log: Log::default(), struck: Resolved::default() }
    }

    fn strike(&mut self, view: &View) {
        let (window, ground) = (self.window, self.ground);
        let at_s = ground.origin.elapsed().as_secs_f64();
        let seed = window.seed.wrapping_add(self.log.strikes);
        let resolved = match resolve_at(window.target, seed, ground.arena.topology(), view) {
            Ok(resolved) => resolved,
            Err(why) => return self.log.refused(at_s, &why),
        };
        let claim = match ground.claims.claim(window, &resolved.victims) {
            Ok(claim) => claim,
            Err(why) => return self.log.refused(at_s, &why),
        };
        let who: Vec<String> = resolved
            .victims
            .iter()
            .zip(&resolved.roles)
            .map(|(v, role)| format!("{} ({role})", v.node))
            .collect();
        let what = format!("at {at_s:.3} s {}: ", who.join(", "));
        let injected = window.harm.inject(&strike(window, &resolved, seed, self.hold), ground.arena);
        ground.struck.note(window.id, &resolved.victims);
        self.struck.victims.extend(resolved.victims);
        self.struck.roles.extend(resolved.roles);
        self.now = Some(Strikes { injected, _claim: claim, until: Instant::now() + self.hold, what });
    }

    fn heal(&mut self) {
        if let Some(mut now) = self.now.take() {
            let healed = now.injected.undo();
            self.log.note(&now.what, &healed);
            if !healed.installed {
                self.seen = None; // whoever was elected has not been struck yet
            }
        }
    }
}

impl InForce for Each<'_> {
    fn beat(&mut self) -> Option<Instant> {
        if self.now.as_ref().is_some_and(|now| now.until <= Instant::now()) {
            self.heal();
        }
        if let Some(now) = &mut self.now {
            let inner = now.injected.beat();
            return Some(inner.map_or(now.until, |inner| inner.min(now.until)));
        }
        let view = self.ground.arena.view();
        let elected = elected(self.window.target, &view);
        if elected.is_some() && elected != self.seen {
            self.seen = elected;
            self.strike(&view);
        }
        Some(Instant::now() + LOOK_EVERY)
    }

    fn undo(&mut self) -> Healed {
        self.heal();
        self.log.healed()
    }

    fn resolved(&self) -> Option<Resolved> {
        Some(self.struck.clone())
    }
}

impl Drop for Each<'_> {
    fn drop(&mut self) {
        self.heal();
    }
}

/// Those whom the target's roles fell to; none while one of them is nobody's.
fn elected(target: Target, view: &View) -> Option<Elected> {
    let mut elected = Elected::new();
    for target in target.each() {
        for shard in target.shards() {
            elected.push(view.masters.get(shard)?.clone()?);
        }
        if matches!(target, Target::ZooKeeperLeader | Target::ZooKeeperFollower) {
            elected.push((view.zookeeper_leader.clone()?, 0));
        }
    }
    Some(elected)
}

/// What came of each strike.
#[derive(Default)]
struct Log {
    strikes: u64,
    installed: u64,
    refused: u64,
    told: Evidence,
}

impl Log {
    fn note(&mut self, what: &str, healed: &Healed) {
        self.strikes += 1;
        self.installed += u64::from(healed.installed);
        let seen: Vec<String> =
            healed.evidence.iter().map(|(what, seen)| format!("{what}: {seen}")).collect();
        self.tell(format!("{what}{}", seen.join("; ")));
    }

    fn refused(&mut self, at_s: f64, why: &str) {
        self.refused += 1;
        self.strikes += 1;
        self.tell(format!("at {at_s:.3} s refused: {why}"));
    }

    fn tell(&mut self, what: String) {
        if self.told.len() < TOLD_MAX {
            self.told.push((format!("strike {}", self.strikes), what));
        }
    }

    fn healed(&mut self) -> Healed {
        let mut evidence = vec![(STRIKES.to_string(), self.strikes.to_string())];
        evidence.push(("took effect".into(), self.installed.to_string()));
        if self.refused > 0 {
            evidence.push(("refused".into(), self.refused.to_string()));
        }
        evidence.append(&mut self.told);
        Healed { installed: self.installed > 0, evidence }
    }
}
