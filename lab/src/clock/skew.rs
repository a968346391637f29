//! How a clock is wrong.

use serde::{Deserialize, Serialize};

use super::page::{Domain, PPB, SECOND};

/// How a clock is wrong, from the moment it is put in force.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Skew {
    /// The wall clock is off by so much.
    Jump {
        /// Told less real, nanoseconds; either sign, at most ten years.
        offset_ns: i64,
    },
    /// The wall clock jumps forth and back.
    Strobe {
        /// Told less real in every other period, the first included, nanoseconds; at most ten years.
        delta_ns: i64,
        /// Time between two jumps, nanoseconds.
        period_ns: i64,
    },
    /// Clocks run faster or slower.
    Drift {
        /// Told seconds in a real one, 0.1 to 5.
        rate: f64,
        /// Which.
        clocks: Clocks,
    },
}

/// Which clocks of a process drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clocks {
    /// The time of day.
    #[default]
    Wall,
    /// What time-outs are measured with.
    Monotonic,
    /// All of them.
    Both,
}

impl Clocks {
    pub(super) fn domains(self) -> &'static [Domain] {
        match self {
            Clocks::Wall => &[Domain::Wall],
            Clocks::Monotonic => &[Domain::Monotonic],
            Clocks::Both => &[Domain::Wall, Domain::Monotonic],
        }
    }
}

/// Beyond this no deadline could be told from one of another clock.
const MOST_NS: i64 = 10 * 365 * 86_400 * SECOND;

impl Skew {
    /// What is wrong with it, and the mend.
    pub fn check(&self) -> Result<(), String> {
        match *self {
            Skew::Jump { offset_ns: ns } | Skew::Strobe { delta_ns: ns, .. } if ns == 0 => {
                Err("a clock that is off by nothing is right: give an offset other than 0".into())
            }
            Skew::Jump { offset_ns: ns } | Skew::Strobe { delta_ns: ns, .. }
                if !(-MOST_NS..=MOST_NS).contains(&ns) =>
            {
                Err("a clock can be off by ten years at most: give a smaller offset".into())
            }
            Skew::Strobe { period_ns, .. } if period_ns < 1_000_000 => {
                Err("a strobe jumps no more often than every millisecond: give a longer period".into())
            }
            Skew::Drift { rate, .. } if !(0.1..=5.0).contains(&rate) || ppb(rate) == 0 => {
                Err("a clock that drifts has a rate from 0.1 to 5 and other than 1, as in rate = 1.5".into())
            }
            _ => Ok(()),
        }
    }
}

/// What a rate adds to the real one, in parts per billion.
pub(super) fn ppb(rate: f64) -> i64 {
    ((rate - 1.0) * PPB as f64).round() as i64
}
