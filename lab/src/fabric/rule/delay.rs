//! Packets held back: all of them for a drawn time, or just those that close a connection.

use std::time::Duration;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::effect::{Effect, Fate, Seen};
use super::{Link, nanos};
use crate::fabric::packet::tcp::{FIN, Segment};

/// A hold of this length ends only with its rule.
const UNTIL_HEALED_NS: u64 = 10 * 365 * 86_400 * 1_000_000_000;

/// What is added to the base is never more than this many times the jitter; only the longest tail has more.
const TAIL_MAX: f64 = 100.0;

/// How long packets are held.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The least a packet is held ([`Spread::Normal`]: the middle).
    pub base: Duration,
    /// How far the holds spread; see [`Spread`].
    pub jitter: Duration,
    /// How what is added to the base is distributed.
    pub spread: Spread,
    /// Of the normal deviates behind two neighbours' draws, from 0 to below 1. Whatever it is, the distribution over
    /// all packets stays the same.
    pub correlation: f64,
}

impl Latency {
    /// Between `base` and `base + jitter`, each packet for itself.
    pub fn uniform(base: Duration, jitter: Duration) -> Latency {
        Latency { base, jitter, spread: Spread::Uniform, correlation: 0.0 }
    }
}

/// A distribution of what is added to the base, in units of the jitter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// Between nothing and the jitter.
    #[default]
    Uniform,
    /// Of mean 0, with the jitter as standard deviation; a packet is never held for less than no time.
    Normal,
    /// Of the jitter as mean: many short, few long.
    Exponential,
    /// Of the jitter as mean, with a heavy tail: most very short, now and then one very long (Pareto's second kind,
    /// shape 3).
    Pareto,
}

impl Spread {
    /// A draw, in units of the jitter.
    fn draw(self, seen: &mut Seen<'_>, correlation: f64) -> f64 {
        let drawn = match self {
            Spread::Uniform => seen.dice.share(correlation),
            Spread::Normal => seen.dice.normal(correlation),
            Spread::Exponential => -(1.0 - seen.dice.share(correlation)).ln(),
            Spread::Pareto => 2.0 * ((1.0 - seen.dice.share(correlation)).powf(-1.0 / 3.0) - 1.0),
        };
        drawn.clamp(-TAIL_MAX, TAIL_MAX)
    }
}

/// Every packet is held, none overtakes another.
#[derive(Debug)]
pub(super) struct Queue {
    latency: Latency,
    /// When the last packet of each link leaves.
    last_due_ns: FxHashMap<Link, u64>,
}

impl Queue {
    pub(super) fn new(latency: Latency) -> Queue {
        Queue { latency, last_due_ns: FxHashMap::default() }
    }
}

impl Effect for Queue {
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate {
        let Latency { base, jitter, spread, correlation } = self.latency;
        let extra_ns = nanos(jitter) as f64 * spread.draw(seen, correlation);
        let hold_ns = (nanos(base) as f64 + extra_ns).max(0.0) as u64;
        let last_ns = self.last_due_ns.entry(seen.link).or_default();
        *last_ns = (*last_ns).max(seen.now_ns.saturating_add(hold_ns));
        Fate::HoldUntil(*last_ns)
    }
}

/// Segments that close a connection are held.
#[derive(Debug)]
pub(super) struct Fins {
    pub(super) hold: Option<Duration>,
}

impl Effect for Fins {
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate {
        if !Segment::read(seen.packet).is_some_and(|segment| segment.has(FIN)) {
            return Fate::Pass;
        }
        let hold_ns = self.hold.map_or(UNTIL_HEALED_NS, nanos);
        Fate::HoldUntil(seen.now_ns.saturating_add(hold_ns))
    }
}
