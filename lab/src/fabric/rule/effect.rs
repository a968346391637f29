//! What stands between a rule's action and a packet.

use std::fmt;

use super::Link;
use super::counters::Tally;
use super::dice::Dice;

/// The working part of an action, with whatever it remembers of links and connections.
pub(super) trait Effect: Send + fmt::Debug {
    /// Says what happens to a packet. Packets may hold anything.
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate;
}

/// A packet in front of a rule.
pub(super) struct Seen<'a> {
    pub(super) link: Link,
    pub(super) packet: &'a [u8],
    /// When it gets here, in monotonic nanoseconds: later than now if an earlier rule holds it.
    pub(super) now_ns: u64,
    /// The dice of this rule on this link.
    pub(super) dice: &'a mut Dice,
    pub(super) tally: &'a Tally,
}

/// A rule's word on one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    Drop,
    /// Held until this monotonic time.
    HoldUntil(u64),
    /// Delivered, and then once more.
    Twice,
    /// Goes on in this form.
    Become(Vec<u8>),
    /// Goes on, or not, and the rule sends some of its own after it.
    Beside {
        passes: bool,
        made: Vec<Made>,
    },
}

/// A packet of a rule's own making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) link: Link,
    pub(crate) packet: Vec<u8>,
}
