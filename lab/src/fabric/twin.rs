//! Twins: two nodes at one address. Some senders are led to another node than the one whose address they call, and take
//! what it sends them for that one's (Bano and others, Twins, 2020, there by two instances with one key).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::Fabric;
use super::packet::checksum::readdress;
use super::table::addr_of;
use crate::node::NodeId;

/// Where the source address of an IPv4 packet stands (RFC 791).
const SOURCE_AT: usize = 12;
/// Where its destination address stands.
const DESTINATION_AT: usize = 16;

/// Two nodes at one address: who calls it meets one or the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// For captures and errors.
    pub name: String,
    /// The node whose address it is; whoever is not shown the other meets this one.
    pub of: NodeId,
    /// The other node at that address. It has its own address as well, by which all others know it.
    pub other: NodeId,
    /// Nodes that meet the other one.
    pub shown_to: Vec<NodeId>,
}

/// Packets that went to or came from the other of two twins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinCounters {
    /// Led to it although the first one's address was called.
    pub led: u64,
    /// Sent by it and taken for the first one's.
    pub posed: u64,
}

/// A twin in force.
pub(crate) struct TwinState {
    pub(crate) id: u64,
    pub(crate) twin: Twin,
    led: AtomicU64,
    posed: AtomicU64,
}

impl Twin {
    pub(super) fn problem(&self, nodes: usize) -> Option<String> {
        let all = self.shown_to.iter().chain([&self.of, &self.other]);
        if let Some(stranger) = all.into_iter().find(|node| node.index() >= nodes) {
            return Some(format!("there is no {stranger}"));
        }
        if self.of == self.other {
            return Some("a node cannot be its own twin".into());
        }
        if self.shown_to.is_empty() || self.shown_to.iter().any(|to| *to == self.of || *to == self.other) {
            return Some("it is shown to nodes other than the two, and to at least one".into());
        }
        None
    }
}

impl TwinState {
    pub(super) fn new(id: u64, twin: Twin) -> TwinState {
        TwinState { id, twin, led: AtomicU64::new(0), posed: AtomicU64::new(0) }
    }

    fn is_shown_to(&self, node: usize) -> bool {
        self.twin.shown_to.iter().any(|to| to.index() == node)
    }

    /// The node that a packet to the address of `to` is led to, with the packet as it arrives there.
    pub(super) fn lead(&self, from: usize, to: usize, packet: &[u8]) -> Option<(usize, Vec<u8>)> {
        if to != self.twin.of.index() || !self.is_shown_to(from) {
            return None;
        }
        self.led.fetch_add(1, Ordering::Relaxed);
        Some((self.twin.other.index(), at_address(packet, DESTINATION_AT, addr_of(self.twin.other))))
    }

    /// A packet as `to` gets it, if it comes from the twin that poses as the other to it.
    pub(super) fn pose(&self, from: usize, to: usize, packet: &[u8]) -> Option<Vec<u8>> {
        if from != self.twin.other.index() || !self.is_shown_to(to) {
            return None;
        }
        self.posed.fetch_add(1, Ordering::Relaxed);
        Some(at_address(packet, SOURCE_AT, addr_of(self.twin.of)))
    }
}

fn at_address(packet: &[u8], at: usize, addr: Ipv4Addr) -> Vec<u8> {
    let mut packet = packet.to_vec();
    readdress(&mut packet, at, addr);
    packet
}

/// Keeps two nodes at one address; dropping it leaves each with its own. Connections that it led astray then break, as
/// they do when a machine with a doubled address goes.
#[must_use = "twins are there only as long as their guard lives"]
pub struct TwinGuard {
    fabric: Fabric,
    twin: Arc<TwinState>,
}

impl TwinGuard {
    pub(super) fn new(fabric: Fabric, twin: Arc<TwinState>) -> TwinGuard {
        TwinGuard { fabric, twin }
    }

    /// What it has done so far.
    pub fn counters(&self) -> TwinCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TwinCounters { led: read(&self.twin.led), posed: read(&self.twin.posed) }
    }
}

impl Drop for TwinGuard {
    fn drop(&mut self) {
        self.fabric.part(self.twin.id);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::packet::{checksum, samples};
    use super::*;

    proptest! {
        #[test]
        fn a_packet_at_another_address_is_as_right_or_as_wrong_as_before(
            payload in proptest::collection::vec(any::<u8>(), 0..60), udp: bool, source: bool, flip in 0usize..8,
        ) {
            let (from, to) = (samples::end(1, 4000), samples::end(2, 6379));
            let mut packet = match udp {
                true => samples::udp(from, to, &payload),
                false => samples::tcp(from, to, 7, 9, 0x18, &payload),
            };
            let (at, addr) = (if source { SOURCE_AT } else { DESTINATION_AT }, addr_of(NodeId(5)));
            let moved = at_address(&packet, at, addr);
            prop_assert!(checksum::hold(&moved));
            prop_assert_eq!(&moved[at..at + 4], &addr.octets());
            packet[20] ^= 1 << flip;
            prop_assert!(!checksum::hold(&at_address(&packet, at, addr)), "what was corrupted stays so");
        }
    }
}
