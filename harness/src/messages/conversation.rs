//! One connection: bytes put in order, read by the codec of its protocol, and for each message when all of it had come.

use std::collections::{BTreeMap, VecDeque};

use nemesis::wire::{Codec, Kind, Link, Message, Protocol, Step, Way};
use results::messages::Fate;

use super::label;
use super::recording::{Fate as PacketFate, Segment};

/// Most messages of a direction that wait for their arrival to be seen.
const AWAITED_MAX: usize = 4_096;

/// A message that somebody wants to know of.
#[derive(Debug, Clone)]
pub struct Said {
    /// When its first byte came, nanoseconds of the run clock.
    pub sent_ns: i64,
    /// When its last byte was handed on.
    pub received_ns: Option<i64>,
    /// Who sent it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// What it says.
    pub label: String,
    /// The key or path it is about.
    pub subject: Vec<u8>,
    /// What became of it.
    pub fate: Fate,
}

/// A message before anybody has asked for its words.
pub struct Sighting<'a> {
    /// When its first byte came.
    pub sent_ns: i64,
    /// Who sent it.
    pub from: &'a str,
    /// To whom.
    pub to: &'a str,
    /// Which conversation it is of.
    pub link: Link,
    /// Its kind.
    pub kind: Kind,
    /// The key or path it is about.
    pub subject: &'a [u8],
}

/// A connection from its SYN on.
pub struct Conversation {
    codec: Box<dyn Codec>,
    /// Names of client and server.
    names: [String; 2],
    ways: [Direction; 2],
    said: Vec<Said>,
    /// Nothing more can be understood.
    lost: bool,
}

/// One direction. Offsets count its bytes from 0.
#[derive(Default)]
struct Direction {
    /// Number of the first byte, once the SYN was seen.
    base: Option<u32>,
    /// Bytes that came so far, each counted when it first came.
    sent: u64,
    /// Of those, not yet read, and where they begin.
    pending: Vec<u8>,
    read: u64,
    /// When bytes came: up to this offset at this time, in what manner.
    came: VecDeque<(u64, i64, PacketFate)>,
    /// Bytes handed on without a gap, and islands beyond.
    handed: u64,
    islands: BTreeMap<u64, u64>,
    /// Ends of messages whose arrival was not seen yet, and their places.
    awaited: VecDeque<(u64, usize)>,
}

impl Conversation {
    /// A connection between nodes of these names.
    pub fn new(protocol: Protocol, client: String, server: String) -> Conversation {
        Conversation {
            codec: protocol.codec(),
            names: [client, server],
            ways: <[Direction; 2]>::default(),
            said: Vec::new(),
            lost: false,
        }
    }

    /// Was it opened by this SYN, or another copy of it?
    pub fn opened_by(&self, segment: &Segment<'_>) -> bool {
        self.ways[0].base == Some(segment.seq.wrapping_add(1))
    }

    /// All that was wanted, in order of sending per direction.
    pub fn finish(self) -> Vec<Said> {
        self.said
    }

    /// Takes the next segment; `wants` says which messages are to be kept.
    pub fn take(
        &mut self,
        to_server: bool,
        segment: &Segment<'_>,
        fate: PacketFate,
        time_ns: i64,
        wants: impl Fn(&Sighting<'_>) -> bool,
    ) {
        let at = usize::from(!to_server);
        let way = &mut self.ways[at];
        if segment.opens {
            way.base = way.base.or(Some(segment.seq.wrapping_add(1)));
        }
        let Some(base) = way.base.filter(|_| !segment.payload.is_empty()) else { return };
        // Streams here are shorter than 4 GB.
        let offset = u64::from(segment.seq.wrapping_sub(base));
        let end = offset + segment.payload.len() as u64;
        if offset > way.sent {
            self.lost = true; // the recording has a hole
            return;
        }
        if fate == PacketFate::Recalled {
            return self.recalled(at, offset, end, time_ns);
        }
        if end > way.sent {
            way.pending.extend(&segment.payload[(way.sent - offset) as usize..]);
            way.sent = end;
            way.came.push_back((end, time_ns, fate));
        }
        if !self.lost {
            self.read(at, &wants);
        }
        match fate {
            PacketFate::Passed => self.handed_on(at, offset, end, time_ns),
            PacketFate::Held(for_ns) => self.handed_on(at, offset, end, time_ns + for_ns),
            // A receiver that sees from the checksum that it was altered waits for another copy.
            PacketFate::Altered => self.altered(at, offset, end, time_ns),
            PacketFate::Dropped | PacketFate::Recalled | PacketFate::Taken => {}
        }
    }

    /// Reads whole messages off the head of what is pending.
    fn read(&mut self, at: usize, wants: &impl Fn(&Sighting<'_>) -> bool) {
        let way = [Way::ToServer, Way::ToClient][at];
        let mut done = 0;
        loop {
            let bytes = &self.ways[at].pending[done..];
            if bytes.is_empty() {
                break;
            }
            match self.codec.parse(way, bytes) {
                Step::Need(_) => break,
                Step::Body { len, .. } if len > 0 && len <= bytes.len() => done += len,
                Step::Message(message) if message.len > 0 && message.len <= bytes.len() => {
                    let start = self.ways[at].read + done as u64;
                    let text = bytes[..message.len].to_vec();
                    done += message.len;
                    self.note(at, start, &message, &text, wants);
                    if let Some(ask) = message.ask {
                        self.codec.asked(ask);
                    }
                }
                _ => {
                    self.lost = true;
                    break;
                }
            }
        }
        let direction = &mut self.ways[at];
        direction.pending.drain(..done);
        direction.read += done as u64;
        if self.lost {
            direction.pending = Vec::new();
        }
    }

    fn note(
        &mut self,
        at: usize,
        start: u64,
        message: &Message,
        bytes: &[u8],
        wants: &impl Fn(&Sighting<'_>) -> bool,
    ) {
        let direction = &mut self.ways[at];
        while direction.came.front().is_some_and(|came| came.0 <= start) {
            direction.came.pop_front();
        }
        let Some(&(_, sent_ns, first)) = direction.came.front() else { return };
        let subject = message.subject.as_deref().unwrap_or_default();
        let (from, to) = (&self.names[at], &self.names[1 - at]);
        let sighting = Sighting { sent_ns, from, to, link: message.link, kind: message.kind, subject };
        if message.ghost || !wants(&sighting) {
            return;
        }
        let fate = match first {
            PacketFate::Dropped => Fate::Resent,
            PacketFate::Held(_) => Fate::Held,
            PacketFate::Altered => Fate::Altered,
            _ => Fate::Delivered,
        };
        direction.awaited.push_back((start + message.len as u64, self.said.len()));
        if direction.awaited.len() > AWAITED_MAX {
            direction.awaited.pop_front();
        }
        self.said.push(Said {
            sent_ns,
            received_ns: None,
            from: from.clone(),
            to: to.clone(),
            label: label::of(message, bytes),
            subject: subject.to_vec(),
            fate,
        });
    }

    /// Bytes were handed on to their receiver.
    fn handed_on(&mut self, at: usize, offset: u64, end: u64, time_ns: i64) {
        let direction = &mut self.ways[at];
        let island = direction.islands.entry(offset).or_default();
        *island = end.max(*island);
        while let Some((&from, &to)) = direction.islands.first_key_value() {
            if from > direction.handed {
                break;
            }
            direction.handed = direction.handed.max(to);
            direction.islands.remove(&from);
        }
        while let Some(&(end, place)) = direction.awaited.front() {
            if end > direction.handed {
                break;
            }
            direction.awaited.pop_front();
            self.said[place].received_ns = Some(time_ns.max(self.said[place].sent_ns));
        }
    }

    /// Other bytes than these were handed on.
    fn altered(&mut self, at: usize, offset: u64, end: u64, time_ns: i64) {
        let direction = &self.ways[at];
        for &(its_end, place) in &direction.awaited {
            if its_end > offset && its_end <= end {
                self.said[place].fate = Fate::Altered;
                self.said[place].received_ns = Some(time_ns);
            }
        }
    }

    /// What was held, and counted as handed on, was not.
    fn recalled(&mut self, at: usize, offset: u64, end: u64, time_ns: i64) {
        let (from, to) = (self.names[at].clone(), self.names[1 - at].clone());
        let later = |said: &&mut Said| said.from == from && said.to == to && said.received_ns > Some(time_ns);
        if self.ways[at].handed <= end && self.ways[at].handed > offset {
            self.said.iter_mut().rev().take(64).filter(later).for_each(|said| said.received_ns = None);
        }
    }
}

impl Said {
    /// With the fate of one that never arrived, if it did not.
    pub fn settled(mut self) -> Said {
        if self.received_ns.is_none() {
            self.fate = Fate::Lost;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::*;

    const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 1), 40_000);
    const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 2), 6379);
    const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n5\r\n";

    /// A connection that has been opened; the first byte each way has the number 1,001.
    fn opened() -> Conversation {
        let mut conversation = Conversation::new(Protocol::Redis, "c0".into(), "s0r0".into());
        for to_server in [true, false] {
            let syn = Segment { opens: true, ..segment(to_server, 0, b"") };
            conversation.take(to_server, &Segment { seq: 1_000, ..syn }, PacketFate::Passed, 0, |_| true);
        }
        conversation
    }

    fn segment(to_server: bool, offset: u32, payload: &[u8]) -> Segment<'_> {
        let (from, to) = if to_server { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        Segment { from, to, seq: 1_001 + offset, opens: false, payload }
    }

    /// Sends segments to the server: offset, bytes, fate, time.
    fn hear(segments: &[(u32, &[u8], PacketFate, i64)]) -> Vec<Said> {
        let mut conversation = opened();
        for &(offset, payload, fate, time_ns) in segments {
            conversation.take(true, &segment(true, offset, payload), fate, time_ns, |_| true);
        }
        conversation.finish().into_iter().map(Said::settled).collect()
    }

    #[test]
    fn a_message_cut_in_two_has_arrived_with_its_last_byte() {
        let said = hear(&[(0, &SET[..9], PacketFate::Passed, 10), (9, &SET[9..], PacketFate::Passed, 30)]);
        assert_eq!(said.len(), 1);
        assert_eq!((said[0].sent_ns, said[0].received_ns, said[0].fate), (10, Some(30), Fate::Delivered));
        assert_eq!((said[0].label.as_str(), said[0].subject.as_slice()), ("SET k 5", &b"k"[..]));
        assert_eq!((said[0].from.as_str(), said[0].to.as_str()), ("c0", "s0r0"));
    }

    #[test]
    fn what_is_dropped_is_lost_unless_it_is_sent_again() {
        let said = hear(&[(0, SET, PacketFate::Dropped, 10), (0, SET, PacketFate::Dropped, 210)]);
        assert_eq!((said[0].received_ns, said[0].fate), (None, Fate::Lost));
        let said = hear(&[(0, SET, PacketFate::Dropped, 10), (0, SET, PacketFate::Passed, 210)]);
        assert_eq!((said[0].sent_ns, said[0].received_ns, said[0].fate), (10, Some(210), Fate::Resent));
    }

    #[test]
    fn what_follows_a_loss_arrives_with_what_was_lost() {
        let next = SET.len() as u32;
        let said = hear(&[
            (0, SET, PacketFate::Dropped, 10),
            (next, SET, PacketFate::Passed, 20),
            (0, SET, PacketFate::Passed, 210),
        ]);
        let arrived: Vec<Option<i64>> = said.iter().map(|said| said.received_ns).collect();
        assert_eq!(arrived, [Some(210), Some(210)], "TCP hands on in order");
    }

    #[test]
    fn what_is_held_arrives_when_it_is_due_and_not_at_all_when_it_is_recalled() {
        let held = (0, SET, PacketFate::Held(500), 10);
        let said = hear(&[held]);
        assert_eq!((said[0].received_ns, said[0].fate), (Some(510), Fate::Held));
        let said = hear(&[held, (0, SET, PacketFate::Recalled, 300)]);
        assert_eq!((said[0].received_ns, said[0].fate), (None, Fate::Lost));
    }

    #[test]
    fn after_a_hole_in_the_recording_nothing_is_made_up() {
        let said = hear(&[(0, SET, PacketFate::Passed, 10), (900, SET, PacketFate::Passed, 20)]);
        assert_eq!(said.len(), 1);
    }

    #[test]
    fn only_what_is_wanted_is_kept_and_answers_know_their_question() {
        let mut conversation = opened();
        let on_k = |seen: &Sighting<'_>| seen.subject == b"k";
        let ping = b"*1\r\n$4\r\nPING\r\n";
        let both = [&ping[..], SET].concat();
        conversation.take(true, &segment(true, 0, &both), PacketFate::Passed, 10, on_k);
        conversation.take(false, &segment(false, 0, b"+PONG\r\n+OK\r\n"), PacketFate::Passed, 20, on_k);
        let labels: Vec<String> = conversation.finish().into_iter().map(|said| said.label).collect();
        assert_eq!(labels, ["SET k 5", "k: +OK"]);
    }
}
