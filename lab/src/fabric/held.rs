//! Packets that rules hold, in the order they will leave.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::rule::RuleId;

/// A packet on its way, held until its time.
#[derive(Debug)]
pub(crate) struct HeldPacket {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) packet: Box<[u8]>,
    /// When it reached the fabric.
    pub(crate) arrived_ns: u64,
    /// How long each rule on its way holds it.
    pub(crate) holds: Vec<(RuleId, u64)>,
}

impl HeldPacket {
    fn due_ns(&self) -> u64 {
        self.arrived_ns + self.holds.iter().map(|(_, hold_ns)| hold_ns).sum::<u64>()
    }
}

#[derive(Debug)]
struct Entry {
    due_ns: u64,
    /// Breaks ties in order of arrival.
    serial: u64,
    held: HeldPacket,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
impl Entry {
    fn key(&self) -> (u64, u64) {
        (self.due_ns, self.serial)
    }
}

/// A queue by due time.
#[derive(Debug, Default)]
pub(crate) struct HeldQueue {
    heap: BinaryHeap<Reverse<Entry>>,
    next_serial: u64,
}

impl HeldQueue {
    pub(crate) fn push(&mut self, held: HeldPacket) {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.heap.push(Reverse(Entry { due_ns: held.due_ns(), serial, held }));
    }

    /// How many packets are held.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// When the next packet is due, in monotonic nanoseconds.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.due_ns)
    }

    pub(crate) fn pop_due(&mut self, now_ns: u64) -> Option<HeldPacket> {
        if self.next_due_ns()? > now_ns {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.held)
    }

    /// Takes back the holds of rules that are gone, and sorts anew. A packet held by that rule alone is
    /// due at once.
    pub(crate) fn release(&mut self, installed: impl Fn(RuleId) -> bool) {
        let mut entries: Vec<Entry> = std::mem::take(&mut self.heap).into_iter().map(|r| r.0).collect();
        for entry in &mut entries {
            entry.held.holds.retain(|(rule, _)| installed(*rule));
            entry.due_ns = entry.held.due_ns();
        }
        self.heap = entries.into_iter().map(Reverse).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(mark: u8, arrived_ns: u64, holds: &[(RuleId, u64)]) -> HeldPacket {
        HeldPacket { from: 0, to: 1, packet: Box::new([mark]), arrived_ns, holds: holds.to_vec() }
    }

    fn drain(queue: &mut HeldQueue, now_ns: u64) -> Vec<u8> {
        std::iter::from_fn(|| queue.pop_due(now_ns)).map(|h| h.packet[0]).collect()
    }

    #[test]
    fn packets_leave_by_due_time_then_by_arrival() {
        let mut queue = HeldQueue::default();
        queue.push(held(1, 0, &[(1, 50)]));
        queue.push(held(2, 10, &[(1, 40)]));
        queue.push(held(3, 0, &[(2, 20)]));
        assert_eq!(queue.next_due_ns(), Some(20));
        assert_eq!(drain(&mut queue, 49), [3]);
        assert_eq!(drain(&mut queue, 50), [1, 2]);
        assert_eq!(queue.next_due_ns(), None);
    }

    #[test]
    fn a_healed_rule_lets_go_of_its_packets_in_order_and_of_no_others() {
        let mut queue = HeldQueue::default();
        queue.push(held(1, 5, &[(1, 1_000)]));
        queue.push(held(2, 6, &[(1, 1_000)]));
        queue.push(held(3, 7, &[(1, 1_000), (2, 500)]));
        queue.push(held(4, 8, &[(2, 500)]));
        queue.release(|rule| rule != 1);
        assert_eq!(drain(&mut queue, 8), [1, 2]);
        assert_eq!(drain(&mut queue, 507), [3]);
        assert_eq!(drain(&mut queue, 508), [4]);
    }
}
