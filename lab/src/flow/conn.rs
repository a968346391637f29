//! One connection: packets of its two ends in, packets to them out. No socket, no clock; time is told.

use std::net::Ipv4Addr;

use super::delivery::{Chunk, Delivery, Tick};
use super::segment::{ACK, FIN, PSH, Path, RST, SYN, Segment, payload_max};
use super::stream::{Arrival, Stream};
use super::wire::{Asks, Wire};
use super::{Both, Interceptor, PENDING_MAX, Way};

/// How long an owned flow answers for its ends after both have closed: the last acknowledgement may have been lost.
const LINGER_NS: u64 = 60_000_000_000;

/// Between two probes passed on: no real end asks as often, and two odd ones must not keep each other busy.
const PROBE_GAP_NS: u64 = 20_000_000;

/// What a receiver takes that did not say (RFC 9293, section 3.7.1).
const MSS_DEFAULT: u16 = 536;

/// Packets to put on the wire, and which way.
pub(crate) type Outbox = Vec<(Way, Vec<u8>)>;

/// Who answers for delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The ends themselves: their packets go by.
    Plain,
    /// We do.
    Owned,
    /// It was reset: whoever still speaks is told so.
    Dead,
}

/// What is known of one end.
#[derive(Clone, Copy, Debug)]
struct End {
    addr: (Ipv4Addr, u16),
    /// The sequence number of its SYN.
    syn: Option<u32>,
    mss: u16,
    scale: Option<u8>,
    /// The last reading of its clock, if it tells.
    clock: Option<u32>,
    window: u16,
}

impl End {
    fn new(addr: (Ipv4Addr, u16)) -> End {
        End { addr, syn: None, mss: MSS_DEFAULT, scale: None, clock: None, window: 0 }
    }

    fn introduce(&mut self, syn: &Segment<'_>) {
        self.syn = Some(syn.seq);
        self.mss = syn.mss.unwrap_or(MSS_DEFAULT);
        self.scale = syn.scale;
        self.clock = syn.timestamps.map(|(clock, _)| clock);
        self.window = syn.window;
    }

    fn hear(&mut self, segment: &Segment<'_>) {
        self.window = segment.window;
        if let (Some(clock), Some((reading, _))) = (&mut self.clock, segment.timestamps)
            && reading.wrapping_sub(*clock) < 1 << 31
        {
            *clock = reading;
        }
    }
}

/// What happened, for the tap's counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) repeated: u64,
    pub(crate) overflowed: u64,
    pub(crate) reset: u64,
    pub(crate) given_up: u64,
    pub(crate) edited: u64,
}

pub(crate) struct Conn {
    /// By the way it sends.
    ends: Both<End>,
    streams: Both<Stream>,
    deliveries: Both<Delivery>,
    /// The acknowledgement, in original offsets, and the window last sent that way.
    told: Both<(u64, u16)>,
    /// When the next probe may go that way.
    probe_ns: Both<u64>,
    mode: Mode,
    /// The ends' own packets may carry bytes from this offset on; those before were perhaps others on the far side.
    plain_from: Both<u64>,
    /// The client has confirmed the handshake.
    open: bool,
    interceptor: Option<Box<dyn Interceptor>>,
    asks: Asks,
    expires_ns: Option<u64>,
    has_edits: bool,
    /// An end's own RST went by.
    has_ended: bool,
    pub(crate) tally: Tally,
}

impl Conn {
    /// A connection whose SYN is about to be handed to [`Conn::packet`].
    pub(crate) fn new(
        client: (Ipv4Addr, u16),
        server: (Ipv4Addr, u16),
        interceptor: Box<dyn Interceptor>,
        now_ns: u64,
    ) -> Conn {
        Conn {
            ends: Both([End::new(client), End::new(server)]),
            streams: Both::default(),
            deliveries: Both([Delivery::new(now_ns), Delivery::new(now_ns)]),
            told: Both::default(),
            probe_ns: Both::default(),
            mode: Mode::Plain,
            plain_from: Both::default(),
            open: false,
            interceptor: Some(interceptor),
            asks: Asks::default(),
            expires_ns: None,
            has_edits: false,
            has_ended: false,
            tally: Tally::default(),
        }
    }

    /// True if a SYN with this sequence number opens another connection than this one.
    pub(crate) fn is_replaced_by(&self, way: Way, syn: &Segment<'_>) -> bool {
        way == Way::ToClient || self.mode == Mode::Dead || self.ends[way].syn != Some(syn.seq)
    }

    /// A packet of one of the ends. True if it is to go on as it is; what goes instead is in `out`.
    pub(crate) fn packet(&mut self, way: Way, segment: &Segment<'_>, now_ns: u64, out: &mut Outbox) -> bool {
        if self.mode == Mode::Dead {
            self.refuse(way, segment, out);
            return false;
        }
        if segment.has(RST) {
            return self.take_reset(way, out);
        }
        if segment.has(SYN) {
            if !self.open {
                self.ends[way].introduce(segment);
                self.deliveries[way.back()].set_edge(u64::from(segment.window)); // not scaled in a SYN
            }
            return true;
        }
        let back = way.back();
        let (Some(syn), Some(their_syn)) = (self.ends[way].syn, self.ends[back].syn) else { return true };
        self.open |= way == Way::ToServer;
        self.ends[way].hear(segment);
        let bare = segment.payload.is_empty() && !segment.has(FIN);
        self.take_ack(way, segment, their_syn, bare, now_ns);
        let at = offset(syn, segment.seq, self.streams[way].decided());
        let arrival = self.streams[way].receive(at, segment.payload, segment.has(FIN));
        if arrival == Arrival::Grew {
            self.ask(now_ns, |interceptor, wire| interceptor.data(way, wire));
            if self.streams[way].pending().len() > PENDING_MAX {
                self.streams[way].pass(usize::MAX);
                self.tally.overflowed += 1;
            }
        }
        if self.streams[way].is_ending() {
            self.ask(now_ns, |interceptor, wire| interceptor.closed(way, wire));
            self.streams[way].close();
        }
        let carries_changed = !segment.payload.is_empty() && at < self.plain_from[way] as i64;
        if self.mode == Mode::Plain && !self.asks.reset && !carries_changed && self.is_plain() {
            self.deliveries[way].note_forwarded(&self.streams[way]);
            self.told[way] = self.to_tell(way);
            return true;
        }
        self.own();
        self.answer(way, arrival, bare, now_ns, out);
        false
    }

    /// Sends what there is to send, and what `way`'s packet is an answer to, asks for or needs.
    fn answer(&mut self, way: Way, arrival: Arrival, bare: bool, now_ns: u64, out: &mut Outbox) {
        let back = way.back();
        let before = out.len();
        let settled = !self.is_outstanding(way);
        // An answer to what the other end asked goes through; a repetition of our concern does not.
        let answers = bare && arrival == Arrival::Nothing && !self.is_outstanding(back);
        self.settle(now_ns, out);
        if self.mode == Mode::Dead || !self.open {
            return;
        }
        let spoken = |out: &Outbox, way: Way| out[before..].iter().any(|(spoke, _)| *spoke == way);
        match arrival {
            Arrival::Nothing if answers && !spoken(out, way) => self.tell(way, out),
            // A sender that asks whether its receiver is there is not answered in its name; one that repeats may have
            // missed an answer, or we may have.
            Arrival::Old if settled => {
                if !bare && !spoken(out, back) {
                    self.tell(back, out);
                }
                if now_ns >= self.probe_ns[way] {
                    self.probe_ns[way] = now_ns + PROBE_GAP_NS;
                    self.probe(way, out);
                }
            }
            Arrival::Early if !spoken(out, back) => self.tell(back, out),
            _ => {}
        }
    }

    /// Time has passed, or somebody poked.
    pub(crate) fn tick(&mut self, poked: bool, now_ns: u64, out: &mut Outbox) {
        if self.mode == Mode::Dead {
            return;
        }
        let woken = self.asks.wake_ns.take_if(|wake_ns| *wake_ns <= now_ns).is_some();
        if woken || poked {
            self.ask(now_ns, |interceptor, wire| interceptor.woken(wire));
            if self.mode == Mode::Plain && !self.asks.reset && self.is_plain() {
                return;
            }
            self.own();
        }
        if self.mode != Mode::Owned {
            return;
        }
        for way in Way::BOTH {
            match self.deliveries[way].tick(&self.streams[way], now_ns) {
                Tick::Nothing | Tick::Again => {}
                Tick::Probe => self.probe(way, out),
                Tick::GiveUp => {
                    self.tally.given_up += 1;
                    return self.reset(out);
                }
            }
        }
        self.settle(now_ns, out);
    }

    /// When [`Conn::tick`] is wanted.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        let timers = Way::BOTH.map(|way| self.deliveries[way].due_ns());
        let mut all = timers.into_iter().chain([self.asks.wake_ns, self.expires_ns]).flatten();
        let first = all.next()?;
        Some(all.fold(first, u64::min))
    }

    /// True if nothing has to be remembered of it any more.
    pub(crate) fn is_over(&self, now_ns: u64) -> bool {
        match self.mode {
            Mode::Plain => self.has_ended() || (self.interceptor.is_none() && self.is_plain()),
            Mode::Owned => self.has_ended || self.expires_ns.is_some_and(|expires_ns| expires_ns <= now_ns),
            Mode::Dead => false,
        }
    }

    /// The tap is gone: what waits passes; a flow whose ends count differently is reset. True if it was.
    pub(crate) fn release(&mut self, now_ns: u64, out: &mut Outbox) -> bool {
        self.interceptor = None;
        self.asks.wake_ns = None;
        if self.mode != Mode::Owned {
            return false;
        }
        for way in Way::BOTH {
            self.streams[way].pass(usize::MAX);
        }
        if Way::BOTH.iter().any(|way| self.streams[*way].growth() != 0) && !self.has_ended() {
            self.reset(out);
            return true;
        }
        self.settle(now_ns, out);
        false
    }

    fn has_ended(&self) -> bool {
        self.has_ended || Way::BOTH.iter().all(|way| self.streams[*way].is_over())
    }

    /// Lets the interceptor decide.
    fn ask(&mut self, now_ns: u64, question: impl FnOnce(&mut dyn Interceptor, &mut Wire<'_>)) {
        match &mut self.interceptor {
            Some(interceptor) => {
                question(interceptor.as_mut(), &mut Wire::new(now_ns, &mut self.streams, &mut self.asks));
            }
            None => Way::BOTH.iter().for_each(|way| self.streams[*way].pass(usize::MAX)),
        }
    }

    /// True if the ends' own packets say exactly what is to be said.
    fn is_plain(&self) -> bool {
        Way::BOTH.iter().all(|way| self.streams[*way].is_aligned() && self.streams[*way].is_its_own())
    }

    fn is_outstanding(&self, way: Way) -> bool {
        self.deliveries[way].is_outstanding(&self.streams[way])
    }

    fn own(&mut self) {
        self.mode = Mode::Owned;
        let is_edited = |stream: &Stream| stream.growth() != 0 || !stream.is_its_own();
        if !self.has_edits && Way::BOTH.iter().any(|way| is_edited(&self.streams[*way])) {
            self.has_edits = true;
            self.tally.edited += 1;
        }
    }

    /// Does what the interceptor asked for, sends what there is to send, and goes back to plain if it can.
    fn settle(&mut self, now_ns: u64, out: &mut Outbox) {
        if self.asks.reset {
            self.tally.reset += 1;
            return self.reset(out);
        }
        if self.open {
            for way in Way::BOTH {
                self.send(way, now_ns, out);
            }
            for way in Way::BOTH {
                if self.told[way] != self.to_tell(way) {
                    self.tell(way, out);
                }
            }
        }
        if self.has_ended() {
            self.expires_ns.get_or_insert(now_ns + LINGER_NS);
        }
        if self.is_plain() && Way::BOTH.iter().all(|way| self.deliveries[*way].is_even(&self.streams[*way])) {
            self.mode = Mode::Plain;
            self.expires_ns = None;
            for way in Way::BOTH {
                self.deliveries[way].rest();
                self.plain_from[way] = self.streams[way].acknowledged();
            }
        }
    }

    /// What `way`'s packets say of the other way: how much has come, and how much may.
    fn to_tell(&self, way: Way) -> (u64, u16) {
        (self.streams[way.back()].received(), self.ends[way].window)
    }

    /// Learns from a packet of `way` what its sender has of the other way.
    fn take_ack(&mut self, way: Way, segment: &Segment<'_>, their_syn: u32, bare: bool, now_ns: u64) {
        let back = way.back();
        let (stream, delivery) = (&mut self.streams[back], &mut self.deliveries[back]);
        let at = offset(their_syn, segment.ack, delivery.sent());
        let (Ok(at), true) = (u64::try_from(at), segment.has(ACK)) else { return };
        if at > delivery.sent() {
            return;
        }
        let scale = self.ends[way].scale.zip(self.ends[back].scale).map_or(0, |(scale, _)| scale);
        let says_no_more = segment.sacks || self.told[way].1 == segment.window;
        let repeats = bare && says_no_more && self.mode == Mode::Owned;
        delivery.acknowledged(stream, at, repeats, now_ns);
        delivery.set_edge(stream.acknowledged() + (u64::from(segment.window) << scale));
    }

    fn send(&mut self, way: Way, now_ns: u64, out: &mut Outbox) {
        let len_max = payload_max(self.ends[way.back()].mss, self.clocks(way).is_some());
        while let Some(chunk) = self.deliveries[way].next_chunk(&self.streams[way], len_max, now_ns) {
            self.put(way, chunk, out);
        }
        self.deliveries[way].set_timer(&self.streams[way], now_ns);
    }

    fn put(&mut self, way: Way, chunk: Chunk, out: &mut Outbox) {
        let stream = &self.streams[way];
        let payload = stream.sendable(chunk.at, chunk.len);
        let pushed = if chunk.at + chunk.len as u64 == stream.end() && chunk.len > 0 { PSH } else { 0 };
        let flags = ACK | pushed | if chunk.fin { FIN } else { 0 };
        self.tally.repeated += u64::from(chunk.again);
        if let Some(packet) = self.write(way, chunk.at, flags, payload) {
            out.push((way, packet));
        }
        self.told[way] = self.to_tell(way);
    }

    /// Sends an acknowledgement without data.
    fn tell(&mut self, way: Way, out: &mut Outbox) {
        let at = self.deliveries[way].sent();
        out.extend(self.write(way, at, ACK, &[]).map(|packet| (way, packet)));
        self.told[way] = self.to_tell(way);
    }

    /// Asks the receiver of `way` for an acknowledgement, as TCP does: with a sequence number it has seen before.
    fn probe(&mut self, way: Way, out: &mut Outbox) {
        if self.open {
            let before = self.streams[way].acknowledged().wrapping_sub(1);
            out.extend(self.write(way, before, ACK, &[]).map(|packet| (way, packet)));
            self.told[way] = self.to_tell(way);
        }
    }

    fn reset(&mut self, out: &mut Outbox) {
        for way in Way::BOTH {
            let at = self.deliveries[way].sent();
            out.extend(self.write(way, at, RST | ACK, &[]).map(|packet| (way, packet)));
        }
        self.die();
    }

    fn take_reset(&mut self, way: Way, out: &mut Outbox) -> bool {
        let goes_by = self.mode == Mode::Plain || !self.open;
        if goes_by {
            self.has_ended = true;
        } else {
            let at = self.deliveries[way].sent();
            out.extend(self.write(way, at, RST | ACK, &[]).map(|packet| (way, packet)));
            self.die();
        }
        goes_by
    }

    fn die(&mut self) {
        self.mode = Mode::Dead;
        self.interceptor = None;
        self.streams = Both::default();
        self.asks = Asks::default();
        self.expires_ns = None;
        Way::BOTH.iter().for_each(|way| self.deliveries[*way].rest());
    }

    /// Answers a packet on a dead connection as an end without it does (RFC 9293, section 3.10.7.1).
    fn refuse(&mut self, way: Way, segment: &Segment<'_>, out: &mut Outbox) {
        if !segment.has(RST) {
            let path = self.path(way.back());
            let flags = RST;
            let (mss, scale, sacks, timestamps) = (None, None, false, None);
            let (seq, payload) = (segment.ack, &[][..]);
            let refusal = Segment { seq, ack: 0, flags, window: 0, mss, scale, sacks, timestamps, payload };
            out.push((way.back(), refusal.write(path)));
        }
    }

    fn path(&self, way: Way) -> Path {
        Path { from: self.ends[way].addr, to: self.ends[way.back()].addr }
    }

    /// The clock readings for a packet of `way`, if both ends use them.
    fn clocks(&self, way: Way) -> Option<(u32, u32)> {
        self.ends[way].clock.zip(self.ends[way.back()].clock)
    }

    fn write(&self, way: Way, at: u64, flags: u8, payload: &[u8]) -> Option<Vec<u8>> {
        let (syn, their_syn) = self.ends[way].syn.zip(self.ends[way.back()].syn)?;
        let (received, window) = self.to_tell(way);
        let segment = Segment {
            seq: syn.wrapping_add(1).wrapping_add(at as u32),
            ack: their_syn.wrapping_add(1).wrapping_add(received as u32),
            flags,
            window,
            mss: None,
            scale: None,
            sacks: false,
            timestamps: self.clocks(way),
            payload,
        };
        Some(segment.write(self.path(way)))
    }
}

/// The offset of a sequence number in a stream that began after `syn`, the one nearest to `near`. Negative before it.
fn offset(syn: u32, seq: u32, near: u64) -> i64 {
    let expected = syn.wrapping_add(1).wrapping_add(near as u32);
    near as i64 + i64::from(seq.wrapping_sub(expected) as i32)
}
