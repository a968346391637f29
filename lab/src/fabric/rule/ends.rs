//! Ends of connections that nobody is told of.

use super::effect::{Effect, Fate, Seen};
use crate::fabric::packet::checksum;
use crate::fabric::packet::tcp::{FIN, RST, Segment};

/// A RST vanishes, a FIN arrives as a segment without one.
#[derive(Debug)]
pub(super) struct Hidden;

impl Effect for Hidden {
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate {
        let Some(segment) = Segment::read(seen.packet) else { return Fate::Pass };
        if segment.has(RST) {
            seen.tally.hidden.add(1);
            return Fate::Drop;
        }
        if !segment.has(FIN) {
            return Fate::Pass;
        }
        seen.tally.hidden.add(1);
        let mut packet = seen.packet.to_vec();
        packet[segment.flags_at] &= !FIN;
        if checksum::hold(seen.packet) {
            checksum::repair(&mut packet);
        }
        Fate::Become(packet)
    }
}
