//! All followed connections of a lab: found by their ends, timed, counted. Owned by the switch.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustc_hash::FxHashMap;

use super::conn::{Conn, Outbox};
use super::segment::{ACK, SYN, Segment, addresses, flags};
use super::tap::TapState;
use super::{Endpoint, Flow, Way};
use crate::fabric::packet;
use crate::node::NodeId;

/// A packet in the name of node `from`.
pub(crate) struct Made {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) packet: Vec<u8>,
}

/// Both ends of a connection, the same whichever is named first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key(u64);

impl Key {
    fn of(from: Endpoint, to: Endpoint) -> Key {
        let half = |end: Endpoint| u64::from(end.node.0) << 16 | u64::from(end.port);
        let (a, b) = (half(from), half(to));
        Key(a.min(b) << 32 | a.max(b))
    }
}

struct Entry {
    flow: Flow,
    conn: Conn,
    tap: Arc<TapState>,
    /// When the earliest timer set for it fires.
    armed_ns: Option<u64>,
}

impl Entry {
    fn way(&self, from: Endpoint) -> Way {
        if from == self.flow.client { Way::ToServer } else { Way::ToClient }
    }
}

#[derive(Default)]
pub(crate) struct Flows {
    entries: FxHashMap<Key, Entry>,
    taps: Vec<Arc<TapState>>,
    timers: BinaryHeap<Reverse<(u64, Key)>>,
    /// By directed link: how many taps and followed connections it has.
    watched: Vec<u32>,
    nodes: usize,
    next_id: u64,
    outbox: Outbox,
    made: Vec<Made>,
}

impl Flows {
    /// True if a packet of this link may be of interest.
    #[inline]
    pub(crate) fn watches(&self, from: usize, to: usize) -> bool {
        self.watched.get(from * self.nodes + to).is_some_and(|reasons| *reasons > 0)
    }

    /// A packet on a watched link. The tap that took it, if it is not to go on as it is.
    pub(crate) fn packet(
        &mut self,
        from: usize,
        to: usize,
        packet: &[u8],
        now_ns: u64,
    ) -> Option<Arc<TapState>> {
        let flags = flags(packet)?;
        let (from_port, to_port) = packet::ports(packet)?;
        let from = Endpoint { node: NodeId(from as u16), port: from_port };
        let to = Endpoint { node: NodeId(to as u16), port: to_port };
        let key = Key::of(from, to);
        if flags & (SYN | ACK) == SYN {
            self.open(key, from, to, packet, now_ns);
        }
        let entry = self.entries.get_mut(&key)?;
        let segment = Segment::read(packet)?;
        let goes_on = entry.conn.packet(entry.way(from), &segment, now_ns, &mut self.outbox);
        let taker = (!goes_on).then(|| entry.tap.clone());
        self.after(key, !goes_on, now_ns);
        taker
    }

    /// Begins to follow a connection, if a tap wants it.
    fn open(&mut self, key: Key, client: Endpoint, server: Endpoint, packet: &[u8], now_ns: u64) {
        let Some(syn) = Segment::read(packet) else { return };
        if let Some(known) = self.entries.get(&key) {
            if !known.conn.is_replaced_by(known.way(client), &syn) {
                return;
            }
            self.forget(key);
        }
        if !syn.payload.is_empty() {
            return;
        }
        let flow = Flow { id: self.next_id, client, server, opened_ns: now_ns };
        let covering =
            |tap: &&Arc<TapState>| tap.covers_port(server.port) && tap.covers_nodes(client.node, server.node);
        let mut taps = self.taps.iter().filter(covering);
        let Some((tap, interceptor)) = taps.find_map(|tap| Some((tap.clone(), (tap.make)(&flow)?))) else {
            return;
        };
        self.next_id += 1;
        tap.note_flow();
        let (from, to) = addresses(packet);
        let conn = Conn::new((from, client.port), (to, server.port), interceptor, now_ns);
        self.entries.insert(key, Entry { flow, conn, tap, armed_ns: None });
        self.watch(flow, 1);
    }

    fn forget(&mut self, key: Key) {
        if let Some(entry) = self.entries.remove(&key) {
            self.watch(entry.flow, -1);
        }
    }

    fn watch(&mut self, flow: Flow, by: i32) {
        let (client, server) = (flow.client.node.index(), flow.server.node.index());
        for link in [client * self.nodes + server, server * self.nodes + client] {
            if let Some(reasons) = self.watched.get_mut(link) {
                *reasons = reasons.saturating_add_signed(by);
            }
        }
    }

    /// Collects what a connection has to send, sets its timer, counts, and forgets it if it is over.
    fn after(&mut self, key: Key, taken: bool, now_ns: u64) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if taken || !self.outbox.is_empty() {
            entry.tap.note(taken, self.outbox.len(), std::mem::take(&mut entry.conn.tally));
        }
        let ends = [entry.flow.client.node.index(), entry.flow.server.node.index()];
        for (way, packet) in self.outbox.drain(..) {
            let (from, to) = (ends[way as usize], ends[way.back() as usize]);
            self.made.push(Made { from, to, packet });
        }
        if entry.conn.is_over(now_ns) {
            return self.forget(key);
        }
        if let Some(due_ns) = entry.conn.due_ns()
            && entry.armed_ns.is_none_or(|armed_ns| due_ns < armed_ns)
        {
            entry.armed_ns = Some(due_ns);
            self.timers.push(Reverse((due_ns, key)));
        }
    }

    /// What is to be put on the wire; ask after every call.
    pub(crate) fn take_made(&mut self) -> Vec<Made> {
        std::mem::take(&mut self.made)
    }

    /// When [`Flows::tick`] is wanted.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.timers.peek().map(|Reverse((due_ns, _))| *due_ns)
    }

    /// Calls the connections whose time has come.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        while let Some(Reverse((due_ns, key))) = self.timers.peek().copied().filter(|due| due.0.0 <= now_ns) {
            self.timers.pop();
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            if entry.armed_ns == Some(due_ns) {
                entry.armed_ns = None;
                entry.conn.tick(false, now_ns, &mut self.outbox);
                self.after(key, false, now_ns);
            }
        }
    }

    /// Wakes the interceptors of the taps that were poked.
    pub(crate) fn poke(&mut self, now_ns: u64) {
        let poked: Vec<u64> =
            self.taps.iter().filter(|tap| tap.poked.swap(false, Relaxed)).map(|tap| tap.id).collect();
        if poked.is_empty() {
            return;
        }
        for key in self.keys(|entry| poked.contains(&entry.tap.id)) {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.conn.tick(true, now_ns, &mut self.outbox);
            }
            self.after(key, false, now_ns);
        }
    }

    /// Goes on with other taps, and another number of nodes. Connections of taps that are gone are let go.
    pub(crate) fn follow(&mut self, taps: &[Arc<TapState>], nodes: usize, now_ns: u64) {
        let same = |a: &[Arc<TapState>], b: &[Arc<TapState>]| {
            a.iter().map(|tap| tap.id).eq(b.iter().map(|tap| tap.id))
        };
        if self.nodes == nodes && same(&self.taps, taps) {
            return;
        }
        let gone: Vec<u64> = self.taps.iter().map(|tap| tap.id).collect();
        let gone: Vec<u64> = gone.into_iter().filter(|id| taps.iter().all(|tap| tap.id != *id)).collect();
        self.taps = taps.to_vec();
        self.nodes = nodes;
        self.watched = vec![0; nodes * nodes];
        for link in 0..nodes * nodes {
            let (from, to) = (NodeId((link / nodes) as u16), NodeId((link % nodes) as u16));
            self.watched[link] = self.taps.iter().filter(|tap| tap.covers_nodes(from, to)).count() as u32;
        }
        let flows: Vec<Flow> = self.entries.values().map(|entry| entry.flow).collect();
        flows.into_iter().for_each(|flow| self.watch(flow, 1));
        for key in self.keys(|entry| gone.contains(&entry.tap.id)) {
            if let Some(entry) = self.entries.get_mut(&key)
                && entry.conn.release(now_ns, &mut self.outbox)
            {
                entry.tap.note_drained();
            }
            self.after(key, false, now_ns);
        }
    }

    /// Connections in the order they were opened, so that equal runs act in equal order.
    fn keys(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Key> {
        let wanted = self.entries.iter().filter(|(_, entry)| wanted(entry));
        let mut keys: Vec<(u64, Key)> = wanted.map(|(key, entry)| (entry.flow.id, *key)).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::Path;
    use super::super::{Interceptor, Tap, Wire};
    use super::*;

    /// Swallows what goes to the server.
    struct Swallow;

    impl Interceptor for Swallow {
        fn data(&mut self, way: Way, wire: &mut Wire<'_>) {
            match way {
                Way::ToServer => wire.replace(way, usize::MAX, b""),
                Way::ToClient => wire.pass(way, usize::MAX),
            }
        }
    }

    fn tap(id: u64, ports: &[u16], nodes: Option<&[u16]>) -> Arc<TapState> {
        let nodes = nodes.map(|nodes| nodes.iter().map(|node| NodeId(*node)).collect());
        let tap = Tap { name: "t".into(), server_ports: ports.to_vec(), nodes };
        Arc::new(TapState::new(id, tap, Box::new(|_| Some(Box::new(Swallow)))))
    }

    fn packet(from: (u8, u16), to: (u8, u16), seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let addr = |(host, port): (u8, u16)| ([10, 77, 0, host + 1].into(), port);
        let (mss, scale, sacks, timestamps, window) = (None, None, false, None, 500);
        Segment { seq, ack, flags, window, mss, scale, sacks, timestamps, payload }
            .write(Path { from: addr(from), to: addr(to) })
    }

    #[test]
    fn only_links_of_tapped_nodes_are_looked_at() {
        let mut flows = Flows::default();
        assert!(!flows.watches(0, 1));
        flows.follow(&[tap(0, &[], Some(&[1]))], 4, 0);
        assert!(flows.watches(0, 1) && flows.watches(1, 3));
        assert!(!flows.watches(0, 2) && !flows.watches(3, 2) && !flows.watches(7, 7));
        flows.follow(&[], 4, 0);
        assert!(!flows.watches(0, 1));
    }

    #[test]
    fn a_flow_is_taken_from_its_syn_on_by_the_first_tap_that_covers_it_and_never_later() {
        let (client, server, other) = ((0, 40_000), (1, 7000), (1, 7001));
        let taps = [tap(0, &[7001], None), tap(1, &[7000], None)];
        let mut flows = Flows::default();
        flows.follow(&taps, 2, 0);
        assert!(flows.packet(0, 1, &packet(client, server, 9, 0, ACK, b"late"), 0).is_none());
        assert!(flows.packet(0, 1, &packet(client, server, 9, 0, SYN, b""), 0).is_none());
        assert!(flows.packet(1, 0, &packet(server, client, 99, 10, SYN | ACK, b""), 0).is_none());
        assert!(flows.packet(0, 1, &packet(client, server, 10, 100, ACK, b""), 0).is_none());
        let taker = flows.packet(0, 1, &packet(client, server, 10, 100, ACK, b"bytes"), 0);
        assert_eq!(taker.map(|tap| tap.id), Some(1));
        let made = flows.take_made();
        assert_eq!(made.iter().map(|made| (made.from, made.to)).collect::<Vec<_>>(), [(1, 0)]);
        assert_eq!(Segment::read(&made[0].packet).map(|answer| (answer.seq, answer.ack)), Some((100, 15)));
        assert!(flows.packet(0, 1, &packet(client, other, 9, 0, SYN, b"early"), 0).is_none());
        assert_eq!(flows.entries.len(), 1, "a SYN with data is left alone");

        // The tap goes: both ends are told, and told again; the link is looked at until a new SYN.
        flows.follow(&taps[..1], 2, 0);
        assert_eq!(flows.take_made().len(), 2);
        assert!(flows.packet(0, 1, &packet(client, server, 15, 100, ACK, b"more"), 0).is_some());
        let made = flows.take_made();
        assert!(made.len() == 1 && Segment::read(&made[0].packet).is_some_and(|refusal| refusal.seq == 100));
        assert!(flows.packet(0, 1, &packet(client, server, 5_000, 0, SYN, b""), 0).is_none());
        assert!(flows.entries.is_empty());
        flows.follow(&[], 2, 0);
        assert!(!flows.watches(0, 1) && !flows.watches(1, 0));
    }
}
