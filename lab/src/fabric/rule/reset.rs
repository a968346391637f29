//! TCP connections that are reset at both ends, or at one of them.
//!
//! A host obeys a reset only if it carries the very sequence number it expects next (RFC 5961, section 3.2). Two ways
//! lead to that number: what the host itself acknowledged last, and where the last segment on its way to it ended.
//! Between them lie segments still under way; so where they differ, both are sent. One too low is ignored, one too
//! high is answered with a challenge.

use serde::{Deserialize, Serialize};

use super::Ports;
use super::connections::{Ends, Remembered};
use super::effect::{Effect, Fate, Made, Seen};
use crate::fabric::packet::tcp::{self, ACK, RST, SYN, Segment};

/// An end of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Who opened it. Where the opening was not seen: whose port is none of the rule's, or else the higher one.
    Client,
    /// The other one.
    Server,
}

/// What is remembered of one direction: from the lesser end, and back.
type PerWay<T> = [T; 2];

/// Where both directions of a connection stand.
#[derive(Debug, Default)]
struct Connection {
    /// The highest sequence number after a segment that went by.
    next: PerWay<Option<u32>>,
    /// Which way the client sends, if its first segment was seen.
    client_way: Option<usize>,
    /// Both ends were told that it is over.
    is_reset: bool,
    /// Which way the end sends that has lost this connection.
    loser_way: Option<usize>,
}

impl Connection {
    /// Notes a segment that goes by.
    fn follow(&mut self, segment: &Segment) {
        let way = way(segment);
        if segment.opens() {
            *self = Connection { client_way: Some(way), ..Connection::default() };
        }
        let next = segment.next_seq();
        if self.next[way].is_none_or(|seen| tcp::after(next, seen)) {
            self.next[way] = Some(next);
        }
    }

    /// Resets to the receiver of a segment, as if from its sender. `arrives` says whether the segment itself does.
    fn to_receiver(&self, segment: &Segment, seen: &Seen<'_>, arrives: bool) -> Vec<Made> {
        let expected = if arrives { segment.next_seq() } else { segment.seq };
        let reset =
            |seq| Made { link: seen.link, packet: tcp::reset(segment.from, segment.to, seq, segment.ack) };
        numbers(expected, self.next[way(segment)]).map(reset).collect()
    }

    /// Resets to the sender of a segment, as if from its receiver.
    fn to_sender(&self, segment: &Segment, seen: &Seen<'_>, arrives: bool) -> Vec<Made> {
        let acknowledged = if arrives { segment.next_seq() } else { segment.seq };
        let reset = |seq| Made {
            link: (seen.link.1, seen.link.0),
            packet: tcp::reset(segment.to, segment.from, seq, acknowledged),
        };
        numbers(segment.ack, self.next[1 - way(segment)]).map(reset).collect()
    }
}

/// The number a host should expect, and the other one that it may have come to.
fn numbers(expected: u32, seen: Option<u32>) -> impl Iterator<Item = u32> {
    [Some(expected), seen.filter(|seen| *seen != expected)].into_iter().flatten()
}

/// 0 if a segment comes from the lesser end.
fn way(segment: &Segment) -> usize {
    usize::from(segment.from > segment.to)
}

/// A segment of a connection that both ends take for open.
fn is_of_open_connection(segment: &Segment) -> bool {
    segment.has(ACK) && !segment.has(SYN) && !segment.has(RST)
}

/// Both ends lose the connection.
#[derive(Debug)]
pub(super) struct Reset {
    probability: f64,
    connections: Remembered<Ends, Connection>,
}

impl Reset {
    pub(super) fn new(probability: f64) -> Reset {
        Reset { probability, connections: Remembered::new() }
    }
}

impl Effect for Reset {
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate {
        let Some(segment) = Segment::read(seen.packet) else { return Fate::Pass };
        let connection = self.connections.of(Ends::of(&segment));
        if !is_of_open_connection(&segment) || !seen.dice.chance(self.probability) {
            connection.follow(&segment);
            return Fate::Pass;
        }
        let passes = seen.dice.chance(0.5);
        let mut made = connection.to_receiver(&segment, seen, passes);
        made.extend(connection.to_sender(&segment, seen, passes));
        // What an end sent before it heard of the reset may draw another one: the same connection all the same.
        seen.tally.reset.add(u64::from(!connection.is_reset));
        connection.is_reset = true;
        Fate::Beside { passes, made }
    }
}

/// One end loses the connection.
#[derive(Debug)]
pub(super) struct HalfOpen {
    loser: End,
    probability: f64,
    ports: Vec<u16>,
    connections: Remembered<Ends, Connection>,
}

impl HalfOpen {
    pub(super) fn new(loser: End, probability: f64, ports: &Ports) -> HalfOpen {
        HalfOpen { loser, probability, ports: ports.numbers.clone(), connections: Remembered::new() }
    }

    /// Which way the end sends that is to lose the connection.
    fn loser_way(&self, segment: &Segment, client_way: Option<usize>) -> usize {
        let (from, to) = (segment.from.port(), segment.to.port());
        let to_server = match (self.ports.contains(&from), self.ports.contains(&to)) {
            (false, true) => true,
            (true, false) => false,
            _ => from >= to,
        };
        let client_way = client_way.unwrap_or(if to_server { way(segment) } else { 1 - way(segment) });
        if self.loser == End::Client { client_way } else { 1 - client_way }
    }
}

impl Effect for HalfOpen {
    fn judge(&mut self, seen: &mut Seen<'_>) -> Fate {
        let Some(segment) = Segment::read(seen.packet) else { return Fate::Pass };
        let client_way = self.connections.of(Ends::of(&segment)).client_way;
        let loser_way = self.loser_way(&segment, client_way);
        let connection = self.connections.of(Ends::of(&segment));
        if segment.opens() || connection.loser_way.is_none() {
            let strikes = is_of_open_connection(&segment) && seen.dice.chance(self.probability);
            if !strikes {
                connection.follow(&segment);
                return Fate::Pass;
            }
            connection.loser_way = Some(loser_way);
            connection.next[way(&segment)].get_or_insert(segment.seq);
            connection.next[1 - way(&segment)].get_or_insert(segment.ack);
            seen.tally.reset.add(1);
        }
        let made = match connection.loser_way {
            _ if segment.has(RST) => Vec::new(),
            Some(loser_way) if loser_way == way(&segment) => connection.to_sender(&segment, seen, false),
            _ => connection.to_receiver(&segment, seen, false),
        };
        Fate::Beside { passes: false, made }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::net::SocketAddrV4;

    use proptest::prelude::*;

    use super::super::tests::state;
    use super::super::{Action, RuleState};
    use super::*;
    use crate::fabric::packet::samples::{end, tcp};
    use crate::fabric::packet::tcp::FIN;
    use crate::node::NodeId;

    /// Two hosts with one connection and the packets between them, in order and without loss.
    struct Pair {
        ends: [SocketAddrV4; 2],
        sent: [u32; 2],
        received: [u32; 2],
        under_way: [VecDeque<Vec<u8>>; 2],
    }

    impl Pair {
        fn connected(first: [u32; 2]) -> Pair {
            let next = first.map(|seq| seq.wrapping_add(1));
            let ends = [end(0, 40_000), end(1, 6379)];
            Pair { ends, sent: next, received: [next[1], next[0]], under_way: Default::default() }
        }

        fn send(&mut self, who: usize, payload: &[u8], flags: u8) {
            let (from, to) = (self.ends[who], self.ends[1 - who]);
            self.under_way[who].push_back(tcp(from, to, self.sent[who], self.received[who], flags, payload));
            self.sent[who] = self.sent[who].wrapping_add(payload.len() as u32 + u32::from(flags & FIN));
        }

        /// Lets the next packet of `who` reach the rule; returns what is made of it.
        fn carry(&mut self, who: usize, rule: &RuleState) -> Option<Fate> {
            let packet = self.under_way[who].pop_front()?;
            let link = [(NodeId(0), NodeId(1)), (NodeId(1), NodeId(0))][who];
            let fate = rule.judge(link, &packet, 0);
            if matches!(fate, Fate::Pass | Fate::Beside { passes: true, .. }) {
                self.received[1 - who] = Segment::read(&packet).expect("a segment").next_seq();
            }
            Some(fate)
        }

        /// True if this host believes one of these resets.
        fn believes(&self, who: usize, made: &[Made]) -> bool {
            made.iter().filter_map(|made| Segment::read(&made.packet)).any(|reset| {
                reset.has(RST)
                    && (reset.from, reset.to) == (self.ends[1 - who], self.ends[who])
                    && reset.seq == self.received[who]
            })
        }
    }

    proptest! {
        #[test]
        fn both_ends_believe_a_reset_whatever_is_under_way(
            first: [u32; 2],
            traffic in proptest::collection::vec((any::<bool>(), any::<bool>(), 0usize..30), 1..60),
            seed: u64,
        ) {
            let rule = state(Action::Reset { probability: 0.1 }, seed);
            let mut pair = Pair::connected(first);
            for (sends, who, len) in traffic {
                let who = usize::from(who);
                if sends {
                    pair.send(who, &vec![1; len], ACK);
                } else if let Some(Fate::Beside { made, .. }) = pair.carry(who, &rule) {
                    prop_assert!(pair.believes(0, &made) && pair.believes(1, &made), "{:?}", made);
                    prop_assert_eq!(rule.counters().reset, 1);
                    for made in &made {
                        let to = Segment::read(&made.packet).expect("a segment").to;
                        prop_assert_eq!(made.link.1, NodeId(u16::from(to == pair.ends[1])));
                    }
                    break;
                }
            }
        }

        #[test]
        fn one_end_alone_loses_a_half_open_connection_and_nothing_more_passes(
            first: [u32; 2], loser_is_client: bool, starter: bool, seed: u64,
        ) {
            let (loser, loses) = if loser_is_client { (End::Client, 0) } else { (End::Server, 1) };
            let rule = state(Action::HalfOpen { loser, probability: 1.0 }, seed);
            let mut pair = Pair::connected(first);
            for who in [usize::from(starter), 1 - usize::from(starter), loses, 1 - loses] {
                pair.send(who, b"hello", ACK);
                let Some(Fate::Beside { passes, made }) = pair.carry(who, &rule) else { panic!("it passed") };
                prop_assert!(!passes && pair.believes(loses, &made), "{:?}", made);
                prop_assert!(!pair.believes(1 - loses, &made));
            }
            prop_assert_eq!((rule.counters().reset, rule.counters().dropped), (1, 4));
        }
    }

    #[test]
    fn the_one_who_opened_a_connection_is_its_client_whatever_its_port() {
        let (low, high) = (end(0, 1_000), end(1, 50_000));
        let rule = state(Action::HalfOpen { loser: End::Client, probability: 1.0 }, 1);
        let back = (NodeId(1), NodeId(0));
        assert_eq!(rule.judge((NodeId(0), NodeId(1)), &tcp(low, high, 9, 0, SYN, &[]), 0), Fate::Pass);
        assert_eq!(rule.judge(back, &tcp(high, low, 70, 10, SYN | ACK, &[]), 0), Fate::Pass);
        let Fate::Beside { made, .. } = rule.judge(back, &tcp(high, low, 71, 10, ACK, b"x"), 0) else {
            panic!("it passed")
        };
        let reset = Segment::read(&made[0].packet).unwrap();
        assert_eq!((reset.to, reset.seq), (low, 71));
        let again = tcp(low, high, 500, 0, SYN, &[]);
        assert_eq!(rule.judge((NodeId(0), NodeId(1)), &again, 0), Fate::Pass, "a new connection may open");
    }

    #[test]
    fn a_connection_counts_once_however_often_it_is_reset_and_again_when_it_is_opened_anew() {
        let (client, server, there) = (end(0, 40_000), end(1, 6379), (NodeId(0), NodeId(1)));
        let rule = state(Action::Reset { probability: 1.0 }, 1);
        let segment = |flags| rule.judge(there, &tcp(client, server, 1, 1, flags, &[]), 0);
        assert!(matches!(segment(ACK), Fate::Beside { .. }) && matches!(segment(ACK), Fate::Beside { .. }));
        assert_eq!(rule.counters().reset, 1);
        segment(SYN);
        segment(ACK);
        assert_eq!(rule.counters().reset, 2);
    }

    #[test]
    fn connections_that_are_being_opened_and_resets_are_left_alone() {
        let (client, server) = (end(0, 40_000), end(1, 6379));
        let rule = state(Action::Reset { probability: 1.0 }, 1);
        for flags in [SYN, SYN | ACK, RST, RST | ACK] {
            let packet = tcp(client, server, 1, 1, flags, &[]);
            assert_eq!(rule.judge((NodeId(0), NodeId(1)), &packet, 0), Fate::Pass);
        }
        assert_eq!(rule.counters().reset, 0);
    }
}
