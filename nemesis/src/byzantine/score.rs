//! What a fault came to. Pure: observations in, one word out.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How far a fault got, in messages. Each number is at most the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Funnel {
    /// Strikes it was to make.
    pub planned: u64,
    /// Messages it meant that were seen.
    pub matched: u64,
    /// Messages it struck.
    pub applied: u64,
    /// Strikes whose bytes the receiver acknowledged. What is kept from arriving counts when struck.
    pub delivered: u64,
}

/// What was seen of a run with one fault, against a control run without.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observations {
    /// How far the fault got.
    pub funnel: Funnel,
    /// Processes of the target that ended by themselves, and how.
    pub exits: Vec<String>,
    /// What the target said in its logs, metrics and answers that shows it noticed.
    pub signals: Vec<String>,
    /// Requests or connections that the target or its clients refused and tried again: errors, resets,
    /// resynchronisations beyond those of the control run.
    pub refusals: u64,
    /// A part of the target took itself out of service, alive.
    pub stepped_down: bool,
    /// Replicas, compared directly, differ.
    pub audit_differs: bool,
    /// The checker's word for what clients saw, if it was wrong.
    pub anomaly: Option<String>,
    /// Requests succeeded again within the bound after the fault was lifted.
    pub live_again: bool,
}

/// What a fault came to: exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It never happened, so nothing is shown.
    NotTriggered,
    /// Nothing came of it.
    Masked,
    /// Refused with an error, a reset or a retry, and all was well.
    RejectedClean,
    /// A process ended over it, and no wrong state was seen.
    RejectedCrash,
    /// Noticed, and what was struck stopped serving.
    DetectedStopped,
    /// Noticed, and yet wrong state is served.
    DetectedServed,
    /// Wrong state, and the target never said a word.
    Silent,
    /// Nothing wrong was seen, but requests did not succeed again in time.
    Liveness,
}

impl Outcome {
    /// Every outcome, from harmless to worst.
    pub const ALL: [Outcome; 8] = [
        Outcome::NotTriggered,
        Outcome::Masked,
        Outcome::RejectedClean,
        Outcome::RejectedCrash,
        Outcome::DetectedStopped,
        Outcome::Liveness,
        Outcome::DetectedServed,
        Outcome::Silent,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::NotTriggered => "not-triggered",
            Outcome::Masked => "masked",
            Outcome::RejectedClean => "rejected-clean",
            Outcome::RejectedCrash => "rejected-crash",
            Outcome::DetectedStopped => "detected-stopped",
            Outcome::DetectedServed => "detected-served",
            Outcome::Silent => "silent",
            Outcome::Liveness => "liveness",
        }
    }

    /// True if safety or liveness was lost.
    pub fn is_violation(self) -> bool {
        matches!(self, Outcome::DetectedServed | Outcome::Silent | Outcome::Liveness)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Observations {
    /// The one outcome. Wrong state outweighs everything; a crash outweighs being slow to come back.
    pub fn outcome(&self) -> Outcome {
        let wrong = self.audit_differs || self.anomaly.is_some();
        let crashed = !self.exits.is_empty();
        let noticed = crashed || self.stepped_down || !self.signals.is_empty();
        if self.funnel.applied == 0 || self.funnel.delivered == 0 {
            Outcome::NotTriggered
        } else if wrong && noticed {
            Outcome::DetectedServed
        } else if wrong {
            Outcome::Silent
        } else if crashed {
            Outcome::RejectedCrash
        } else if self.stepped_down {
            Outcome::DetectedStopped
        } else if !self.live_again {
            Outcome::Liveness
        } else if self.refusals > 0 || noticed {
            Outcome::RejectedClean
        } else {
            Outcome::Masked
        }
    }
}

/// What an outcome says about a target that claims, or does not claim, to withstand the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// The target claims to withstand this, and did not: a finding.
    ViolationInBudget,
    /// No such claim was made: scored, not failed.
    ViolationOutOfBudget,
}

impl Verdict {
    /// Of this outcome, where the target claims to withstand the fault or does not.
    pub fn of(outcome: Outcome, claimed: bool) -> Verdict {
        match (outcome.is_violation(), claimed) {
            (false, _) => Verdict::Ok,
            (true, true) => Verdict::ViolationInBudget,
            (true, false) => Verdict::ViolationOutOfBudget,
        }
    }
}

/// A share of trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rate {
    /// Trials in which it happened.
    pub hits: u64,
    /// Trials.
    pub of: u64,
}

impl Rate {
    /// Wilson's interval: where the true rate lies with 95 % confidence. All of it for no trials.
    pub fn wilson(self) -> (f64, f64) {
        if self.of == 0 {
            return (0.0, 1.0);
        }
        const Z: f64 = 1.959_963_984_540_054;
        let n = self.of as f64;
        let p = self.hits.min(self.of) as f64 / n;
        let scale = 1.0 + Z * Z / n;
        let middle = (p + Z * Z / (2.0 * n)) / scale;
        let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        ((middle - half).max(0.0), (middle + half).min(1.0))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.wilson();
        write!(f, "{}/{} ({:.2} to {:.2})", self.hits, self.of, low, high)
    }
}

/// Faults by outcomes over many runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scores(BTreeMap<String, BTreeMap<Outcome, u64>>);

impl Scores {
    /// One more run of this fault.
    pub fn add(&mut self, fault: &str, outcome: Outcome) {
        *self.0.entry(fault.to_owned()).or_default().entry(outcome).or_default() += 1;
    }

    /// The faults, in order of name.
    pub fn faults(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// How often this fault came to this, of the runs in which it happened at all.
    pub fn rate(&self, fault: &str, outcome: Outcome) -> Rate {
        let row = self.0.get(fault);
        let count = |outcome: Outcome| row.and_then(|row| row.get(&outcome)).copied().unwrap_or(0);
        let happened = |outcome: &Outcome| *outcome != Outcome::NotTriggered;
        Rate { hits: count(outcome), of: Outcome::ALL.into_iter().filter(happened).map(count).sum() }
    }

    /// The number that matters: silent corruptions of all faults that happened.
    pub fn silent(&self) -> Rate {
        self.0
            .keys()
            .map(|fault| self.rate(fault, Outcome::Silent))
            .fold(Rate::default(), |sum, rate| Rate { hits: sum.hits + rate.hits, of: sum.of + rate.of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(change: impl FnOnce(&mut Observations)) -> Outcome {
        let funnel = Funnel { planned: 1, matched: 1, applied: 1, delivered: 1 };
        let mut seen = Observations { funnel, live_again: true, ..Observations::default() };
        change(&mut seen);
        seen.outcome()
    }

    #[test]
    fn every_outcome_has_its_observations() {
        assert_eq!(seen(|_| {}), Outcome::Masked);
        assert_eq!(seen(|o| o.refusals = 1), Outcome::RejectedClean);
        assert_eq!(seen(|o| o.exits.push("redis of s0r1: 1".into())), Outcome::RejectedCrash);
        assert_eq!(seen(|o| o.stepped_down = true), Outcome::DetectedStopped);
        assert_eq!(seen(|o| o.audit_differs = true), Outcome::Silent);
        assert_eq!(seen(|o| o.anomaly = Some("lost write".into())), Outcome::Silent);
        assert_eq!(seen(|o| o.live_again = false), Outcome::Liveness);
        let served = |o: &mut Observations| {
            o.signals.push("digest_mismatches_count 3".into());
            o.audit_differs = true;
        };
        assert_eq!(seen(served), Outcome::DetectedServed);
    }

    #[test]
    fn what_did_not_happen_is_never_a_pass() {
        assert_eq!(seen(|o| o.funnel.applied = 0), Outcome::NotTriggered);
        assert_eq!(seen(|o| o.funnel.delivered = 0), Outcome::NotTriggered);
        let unrelated = |o: &mut Observations| {
            o.funnel.applied = 0;
            o.audit_differs = true;
        };
        assert_eq!(seen(unrelated), Outcome::NotTriggered);
    }

    #[test]
    fn a_crash_with_wrong_state_is_no_clean_rejection() {
        let both = |o: &mut Observations| {
            o.exits.push("zookeeper of zk1: 12".into());
            o.anomaly = Some("stale read".into());
        };
        assert_eq!(seen(both), Outcome::DetectedServed);
    }

    #[test]
    fn only_a_claim_makes_a_violation_a_finding() {
        assert_eq!(Verdict::of(Outcome::Silent, true), Verdict::ViolationInBudget);
        assert_eq!(Verdict::of(Outcome::Silent, false), Verdict::ViolationOutOfBudget);
        assert_eq!(Verdict::of(Outcome::RejectedCrash, true), Verdict::Ok);
    }

    #[test]
    fn wilson_is_right_where_tables_say_so() {
        let near = |rate: Rate, low: f64, high: f64| {
            let (a, b) = rate.wilson();
            assert!((a - low).abs() < 5e-5 && (b - high).abs() < 5e-5, "{a} {b}");
        };
        near(Rate { hits: 20, of: 20 }, 0.8389, 1.0);
        near(Rate { hits: 0, of: 10 }, 0.0, 0.2775);
        near(Rate { hits: 5, of: 10 }, 0.2366, 0.7634);
        assert_eq!(Rate::default().wilson(), (0.0, 1.0));
    }

    #[test]
    fn runs_in_which_nothing_happened_are_not_counted() {
        let mut scores = Scores::default();
        for outcome in [Outcome::Silent, Outcome::Silent, Outcome::Masked, Outcome::NotTriggered] {
            scores.add("R1", outcome);
        }
        scores.add("R11", Outcome::RejectedCrash);
        assert_eq!(scores.rate("R1", Outcome::Silent), Rate { hits: 2, of: 3 });
        assert_eq!(scores.silent(), Rate { hits: 2, of: 4 });
        assert_eq!(scores.faults().collect::<Vec<_>>(), ["R1", "R11"]);
    }
}
