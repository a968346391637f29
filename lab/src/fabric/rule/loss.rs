//! Packets that vanish: all, a share, runs of them, or the long ones.

use rustc_hash::FxHashMap;

use super::Link;
use super::effect::{Effect, Fate, Seen};

fn drop_if(lost: bool) -> Fate {
    if lost { Fate::Drop } else { Fate::Pass }
}

/// A cut wire.
#[derive(Debug)]
pub(super) struct Always;

impl Effect for Always {
    fn judge(&mut self, _: &mut Seen<'_>) -> Fate {
        Fate::Drop
    }
}

/// A share of the packets.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) probability: f64,
    pub(super) correlation: f64,
}

impl Effect for Share {
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate {
        drop_if(seen.dice.share(self.correlation) < self.probability)
    }
}

/// A link that is good or bad.
#[derive(Debug)]
pub(super) struct Bursts {
    /// Probability to change, while good and while bad.
    change: [f64; 2],
    /// Probability of loss, while good and while bad.
    loss: [f64; 2],
    is_bad: FxHashMap<Link, bool>,
}

impl Bursts {
    pub(super) fn new(to_bad: f64, to_good: f64, loss_good: f64, loss_bad: f64) -> Bursts {
        Bursts { change: [to_bad, to_good], loss: [loss_good, loss_bad], is_bad: FxHashMap::default() }
    }
}

impl Effect for Bursts {
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate {
        let is_bad = self.is_bad.entry(seen.link).or_default();
        *is_bad ^= seen.dice.chance(self.change[usize::from(*is_bad)]);
        drop_if(seen.dice.chance(self.loss[usize::from(*is_bad)]))
    }
}

/// A path whose MTU is smaller than its ends believe.
#[derive(Debug)]
pub(super) struct LongerThan {
    pub(super) mtu: u16,
}

impl Effect for LongerThan {
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate {
        drop_if(seen.packet.len() > usize::from(self.mtu))
    }
}
