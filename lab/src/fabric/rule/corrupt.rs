//! Bits turned over on the way.

use super::effect::{Effect, Fate, Seen};
use crate::fabric::packet::checksum::{self, Layout};

/// One bit of some packets is turned over.
#[derive(Debug)]
pub(super) struct Flip {
    pub(super) probability: f64,
    pub(super) repair: bool,
}

impl Effect for Flip {
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate {
        let range = match Layout::of(seen.packet) {
            Some(layout) if self.repair => layout.payload,
            None if self.repair => return Fate::Pass,
            // The first byte says that it is IPv4; the receiver's device refuses anything else.
            _ => 1..seen.packet.len(),
        };
        if range.is_empty() || !seen.dice.chance(self.probability) {
            return Fate::Pass;
        }
        let bit = seen.dice.below(8 * range.len() as u64) as usize;
        let mut packet = seen.packet.to_vec();
        packet[range.start + bit / 8] ^= 1 << (bit % 8);
        if self.repair {
            checksum::repair(&mut packet);
        }
        seen.tally.corrupted.add(1);
        Fate::Become(packet)
    }
}
