//! What is done to clocks: a process is told a wrong time.

use std::fmt;
use std::time::{Duration, Instant};

use lab::{Clocks, Skew, Told, ToldBy};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use super::{Evidence, Healed, InForce, Means, Strike};
use crate::arena::{Arena, SkewInForce, Victim};
use crate::family::Family;
use crate::schedule::Limits;
use crate::targets::Target;

/// A harm to the clocks of processes. Each process of the target is told another time than the machine has, whatever
/// else it is told; see [`lab::clock`] for which clocks follow and what is not reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum ClockHarm {
    /// The wall clock jumps, and jumps back at the window's end.
    ClockJump {
        /// How far, milliseconds; backwards if negative.
        offset_ms: i64,
    },
    /// The wall clock jumps forth and back.
    ClockStrobe {
        /// How far, milliseconds; backwards if negative.
        delta_ms: i64,
        /// Time between two jumps, milliseconds.
        period_ms: u64,
    },
    /// Clocks run faster or slower.
    ClockDrift {
        /// Told seconds in a real one, 0.1 to 5.
        rate: f64,
        /// Which clocks.
        #[serde(default)]
        clocks: Clocks,
    },
}

/// How long a healed process may take to ask for the time again, before the evidence says that it has not.
const ASKS_AGAIN: Duration = Duration::from_millis(250);

impl ClockHarm {
    fn skew(self) -> Skew {
        let ns = |ms: i64| ms.saturating_mul(1_000_000);
        match self {
            ClockHarm::ClockJump { offset_ms } => Skew::Jump { offset_ns: ns(offset_ms) },
            ClockHarm::ClockStrobe { delta_ms, period_ms } => {
                let period_ns = ns(period_ms.try_into().unwrap_or(i64::MAX));
                Skew::Strobe { delta_ns: ns(delta_ms), period_ns }
            }
            ClockHarm::ClockDrift { rate, clocks } => Skew::Drift { rate, clocks },
        }
    }

    /// What was told by the clocks it is about, each with its name.
    fn about(self, told: &Told) -> Vec<(&'static str, ToldBy)> {
        let (wall, monotonic) = (("wall clock", told.wall), ("monotonic clock", told.monotonic));
        match self {
            ClockHarm::ClockDrift { clocks: Clocks::Monotonic, .. } => vec![monotonic],
            ClockHarm::ClockDrift { clocks: Clocks::Both, .. } => vec![wall, monotonic],
            _ => vec![wall],
        }
    }

    /// As evidence reads: how far off, how often asked, and for a drift how fast.
    fn words(self, told: &Told) -> String {
        let clocks = self.about(told).into_iter().map(|(clock, told)| match (self, told.pace) {
            (ClockHarm::ClockDrift { .. }, Some(pace)) => format!("{clock} {told} at rate {pace:.3}"),
            _ => format!("{clock} {told}"),
        });
        clocks.collect::<Vec<_>>().join(", ")
    }

    /// True if the process was told a wrong time at least once.
    fn shows_in(self, told: &Told) -> bool {
        let wrong = |told: &ToldBy| told.reads > 0 && (told.least_ns != 0 || told.most_ns != 0);
        self.about(told).iter().any(|(_, told)| wrong(told))
    }
}

impl Means for ClockHarm {
    const FAULTS: &'static [&'static str] = &["clock-jump", "clock-strobe", "clock-drift"];

    fn family(&self) -> Family {
        Family::Clock
    }

    fn check(&self, target: Target, _: &Limits) -> Result<(), String> {
        if target == Target::Client {
            return Err("clients run inside the harness and have its clock: use another target".into());
        }
        self.skew().check()
    }

    fn draw(_: Family, _: bool, target: Target, rng: &mut ChaCha8Rng) -> Self {
        // An agent hardly ever asks what time of day it is: only a drift of its other clock means anything to it.
        let kinds: &[u8] = if matches!(target, Target::Agent { .. }) { &[2] } else { &[0, 0, 1, 2] };
        let pick = |from: &[i64], rng: &mut ChaCha8Rng| *from.choose(rng).expect("not empty");
        match kinds.choose(rng).expect("not empty") {
            0 => ClockHarm::ClockJump {
                offset_ms: pick(&[-3_600_000, -5_000, -300, 300, 5_000, 3_600_000], rng),
            },
            1 => ClockHarm::ClockStrobe {
                delta_ms: pick(&[-5_000, -300, 300, 5_000], rng),
                period_ms: pick(&[10, 50, 200], rng) as u64,
            },
            _ => ClockHarm::ClockDrift {
                rate: *[0.5, 0.9, 1.1, 2.0].choose(rng).expect("not empty"),
                clocks: if rng.random_bool(0.5) || kinds.len() == 1 { Clocks::Both } else { Clocks::Wall },
            },
        }
    }

    fn inject<'a>(&self, strike: &Strike, arena: &'a dyn Arena) -> Box<dyn InForce + 'a> {
        let (mut skewed, mut evidence) = (Vec::new(), Evidence::new());
        for victim in &strike.victims {
            match arena.skew(victim, &self.skew()) {
                Ok(skew) => skewed.push((victim.clone(), skew)),
                Err(why) => evidence.push((victim.to_string(), format!("failed: {why}"))),
            }
        }
        Box::new(Struck { harm: *self, skewed, evidence })
    }
}

/// Clocks that are wrong; each is right again when it is dropped.
struct Struck {
    harm: ClockHarm,
    skewed: Vec<(Victim, Box<dyn SkewInForce>)>,
    evidence: Evidence,
}

impl InForce for Struck {
    fn undo(&mut self) -> Healed {
        let (mut evidence, mut skewed) =
            (std::mem::take(&mut self.evidence), std::mem::take(&mut self.skewed));
        let mut installed = false;
        for (victim, skew) in &mut skewed {
            let told = skew.told();
            installed |= self.harm.shows_in(&told);
            skew.straighten();
            evidence.push((format!("{victim} was told"), self.harm.words(&told)));
        }
        let deadline = Instant::now() + ASKS_AGAIN;
        let silent =
            |skew: &dyn SkewInForce| self.harm.about(&skew.told()).iter().all(|(_, told)| told.reads == 0);
        for (victim, skew) in skewed {
            while silent(&*skew) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            evidence.push((format!("{victim} once healed"), self.harm.words(&skew.told())));
        }
        Healed { installed, evidence }
    }
}

impl fmt::Display for ClockHarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: i64| format!("{:+} s", ms as f64 / 1_000.0);
        match *self {
            ClockHarm::ClockJump { offset_ms } => write!(f, "clock {}", seconds(offset_ms)),
            ClockHarm::ClockStrobe { delta_ms, period_ms } => {
                write!(f, "clock {} and back, each for {period_ms} ms", seconds(delta_ms))
            }
            ClockHarm::ClockDrift { rate, clocks } => {
                let which = match clocks {
                    Clocks::Wall => "wall clock",
                    Clocks::Monotonic => "monotonic clock",
                    Clocks::Both => "all clocks",
                };
                write!(f, "{which} at {rate} times the pace")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harm::Harm;
    use rand::SeedableRng;

    const LIMITS: Limits = Limits { time_limit_ms: 30_000, shards: 2, replicas: 3, zookeepers: 3 };

    fn read(text: &str) -> Result<Harm, String> {
        let harm: Harm = toml::from_str(text).map_err(|e| e.to_string())?;
        harm.check(Target::Master { shard: 0 }, &LIMITS).map(|()| harm)
    }

    #[test]
    fn faults_are_read_as_people_write_them_and_say_what_they_are() {
        let says = |text: &str| read(text).unwrap().to_string();
        assert_eq!(says("fault = \"clock-jump\"\noffset_ms = -4000"), "clock -4 s");
        let strobe = "fault = \"clock-strobe\"\ndelta_ms = 300\nperiod_ms = 50";
        assert_eq!(says(strobe), "clock +0.3 s and back, each for 50 ms");
        let drift = "fault = \"clock-drift\"\nrate = 1.5";
        assert_eq!(says(drift), "wall clock at 1.5 times the pace");
        assert_eq!(says(&format!("{drift}\nclocks = \"both\"")), "all clocks at 1.5 times the pace");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_mend() {
        let refused = |text: &str| read(text).unwrap_err();
        assert!(refused("fault = \"clock-jump\"\noffset_ms = 0").contains("other than 0"));
        assert!(refused("fault = \"clock-jump\"\noffset_ms = 9000000000000").contains("ten years"));
        let strobe = "fault = \"clock-strobe\"\ndelta_ms = 300\nperiod_ms = 0";
        assert!(refused(strobe).contains("longer period"));
        assert!(refused("fault = \"clock-drift\"\nrate = 1").contains("rate = 1.5"));
        assert!(refused("fault = \"clock-drift\"\nrate = 2\nclocks = \"cpu\"").contains("monotonic"));
        let jump = ClockHarm::ClockJump { offset_ms: 5 };
        assert!(jump.check(Target::Client, &LIMITS).unwrap_err().contains("another target"));
    }

    #[test]
    fn whatever_is_drawn_can_be_done() {
        for seed in 0..200 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let target = Target::Master { shard: 0 };
            ClockHarm::draw(Family::Clock, seed == 0, target, &mut rng).check(target, &LIMITS).unwrap();
            let agent = ClockHarm::draw(Family::Clock, false, Target::Agent { shard: 0 }, &mut rng);
            assert!(matches!(agent, ClockHarm::ClockDrift { clocks: Clocks::Both, .. }), "{agent}");
        }
    }

    #[test]
    fn only_a_wrong_time_that_was_told_is_evidence() {
        let told = |reads, ns| {
            let by = ToldBy { reads, last_ns: ns, least_ns: ns, most_ns: ns, pace: Some(1.5) };
            let nothing = ToldBy { reads: 9, last_ns: 0, least_ns: 0, most_ns: 0, pace: None };
            Told { wall: by, monotonic: nothing }
        };
        let jump = ClockHarm::ClockJump { offset_ms: 4_000 };
        assert!(jump.shows_in(&told(3, 4_000_000_000)));
        assert!(!jump.shows_in(&told(0, 4_000_000_000)) && !jump.shows_in(&told(3, 0)));
        assert_eq!(jump.words(&told(3, 4_000_000_000)), "wall clock +4.000 s (3 readings)");
        let drift = ClockHarm::ClockDrift { rate: 1.5, clocks: Clocks::Wall };
        assert_eq!(drift.words(&told(1, 50_000_000)), "wall clock +0.050 s (1 reading) at rate 1.500");
        let monotonic = ClockHarm::ClockDrift { rate: 1.5, clocks: Clocks::Monotonic };
        assert!(!monotonic.shows_in(&told(3, 4_000_000_000)), "another clock's error is none of it");
    }
}
