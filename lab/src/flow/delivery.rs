//! Reliable delivery of one stream to its receiver, once we answer for it: what to send now, what again, and when.
//!
//! Within the receiver's window there is no congestion control: nothing on the fabric queues. Losses are repaired as
//! in NewReno (RFC 6582): the first hole after three repeated acknowledgements, the next ones as the acknowledgements
//! move; everything again, ever faster, after a timeout (RFC 6298 with [`RTO_MIN_NS`], [`RTO_MAX_NS`]).

use super::stream::Stream;

/// Above Linux's delayed acknowledgements (40 ms), well below its shortest timeout (200 ms).
const RTO_MIN_NS: u64 = 70_000_000;
/// As the lab's kernels have it: what lived through a cut is soon back.
const RTO_MAX_NS: u64 = 1_000_000_000;
const RTO_FIRST_NS: u64 = 200_000_000;

/// After so long without a packet from the receiver it is given up.
const SILENCE_MAX_NS: u64 = 120_000_000_000;

/// Repeated acknowledgements that mean a loss.
const REPEATED: u32 = 3;

/// Bytes to put on the wire: `len` from sent offset `at` on, then perhaps the FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) at: u64,
    pub(crate) len: usize,
    pub(crate) fin: bool,
    /// It has been sent before.
    pub(crate) again: bool,
}

/// What a timer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// It was not due.
    Nothing,
    /// Something is to be sent again: ask for chunks.
    Again,
    /// The receiver's window has been closed for long: ask it.
    Probe,
    /// The receiver has been silent for too long.
    GiveUp,
}

#[derive(Debug)]
pub(crate) struct Delivery {
    /// Sent up to here at least once; the FIN counts as a byte.
    sent: u64,
    /// The end of the receiver's window.
    edge: u64,
    /// Where to repeat from, and how many segments now.
    again: (u64, u32),
    /// Losses before this offset are being repaired.
    repairing: Option<u64>,
    /// Since a timeout: everything is sent again, two segments for each acknowledgement.
    timed_out: bool,
    repeated: u32,
    /// An offset, and when it was first sent: measures one round trip at a time, of nothing sent twice.
    timed: Option<(u64, u64)>,
    /// Smoothed round trip and its variation.
    round_trip: Option<(u64, u64)>,
    rto_ns: u64,
    due_ns: Option<u64>,
    heard_ns: u64,
}

impl Delivery {
    pub(crate) fn new(now_ns: u64) -> Delivery {
        Delivery {
            sent: 0,
            edge: 0,
            again: (0, 0),
            repairing: None,
            timed_out: false,
            repeated: 0,
            timed: None,
            round_trip: None,
            rto_ns: RTO_FIRST_NS,
            due_ns: None,
            heard_ns: now_ns,
        }
    }

    /// Up to where something has been sent; the FIN counts as a byte.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// True if something was sent and is not acknowledged.
    pub(crate) fn is_outstanding(&self, stream: &Stream) -> bool {
        self.sent > stream.acknowledged()
    }

    /// True if everything was sent, and no loss is known.
    pub(crate) fn is_even(&self, stream: &Stream) -> bool {
        self.sent == stream.send_limit() && self.repairing.is_none()
    }

    /// The sender's own packets went by and carried everything the stream has.
    pub(crate) fn note_forwarded(&mut self, stream: &Stream) {
        self.sent = stream.send_limit();
    }

    /// The receiver has room up to `edge`.
    pub(crate) fn set_edge(&mut self, edge: u64) {
        self.edge = edge;
    }

    /// The receiver has acknowledged everything before `at`; `repeats` if it said so before, and said nothing else.
    pub(crate) fn acknowledged(&mut self, stream: &mut Stream, at: u64, repeats: bool, now_ns: u64) {
        self.heard_ns = now_ns;
        if at > stream.acknowledged() {
            stream.acknowledge(at);
            self.note_progress(at, now_ns);
        } else if at == stream.acknowledged() && repeats && self.is_outstanding(stream) {
            self.repeated += 1;
            if self.repeated == REPEATED && self.repairing.is_none() {
                self.again = (at, 1);
                self.repairing = Some(self.sent);
                self.timed = None;
            }
        }
    }

    fn note_progress(&mut self, at: u64, now_ns: u64) {
        self.repeated = 0;
        self.due_ns = None;
        if let Some((_, since_ns)) = self.timed.take_if(|(end, _)| *end <= at) {
            self.note_round_trip(now_ns - since_ns);
        }
        match self.repairing {
            Some(until) if at < until && self.timed_out => self.again = (self.again.0.max(at), 2),
            Some(until) if at < until => self.again = (at, 1),
            Some(_) => self.end_repair(),
            None => {}
        }
    }

    fn end_repair(&mut self) {
        self.repairing = None;
        self.timed_out = false;
        self.again = (0, 0);
    }

    fn note_round_trip(&mut self, took_ns: u64) {
        let (smooth, variation) = match self.round_trip {
            None => (took_ns, took_ns / 2),
            Some((smooth, variation)) => {
                ((7 * smooth + took_ns) / 8, (3 * variation + smooth.abs_diff(took_ns)) / 4)
            }
        };
        self.round_trip = Some((smooth, variation));
        self.rto_ns = (smooth + 4 * variation).clamp(RTO_MIN_NS, RTO_MAX_NS);
    }

    /// The next bytes to send now, at most `len_max` of them. Ask until there are none.
    pub(crate) fn next_chunk(&mut self, stream: &Stream, len_max: usize, now_ns: u64) -> Option<Chunk> {
        let chunk =
            self.next_repeated(stream, len_max).or_else(|| self.next_fresh(stream, len_max, now_ns))?;
        self.arm(now_ns);
        Some(chunk)
    }

    /// Starts the timer unless it runs; silence begins with the first question.
    fn arm(&mut self, now_ns: u64) {
        if self.due_ns.is_none() {
            self.due_ns = Some(now_ns + self.rto_ns);
            self.heard_ns = now_ns;
        }
    }

    fn next_repeated(&mut self, stream: &Stream, len_max: usize) -> Option<Chunk> {
        let (from, count) = self.again;
        let at = from.max(stream.acknowledged());
        if count == 0 || at >= self.sent {
            self.again.1 = 0;
            return None;
        }
        let len = stream.sendable(at, len_max).len().min((self.sent - at) as usize);
        let fin = at + len as u64 == stream.end() && self.sent > stream.end();
        self.again = (at + len as u64 + u64::from(fin), count - 1);
        Some(Chunk { at, len, fin, again: true })
    }

    fn next_fresh(&mut self, stream: &Stream, len_max: usize, now_ns: u64) -> Option<Chunk> {
        let (at, rest) = (self.sent, stream.end().saturating_sub(self.sent));
        let room = self.edge.saturating_sub(at);
        let len = rest.min(room).min(len_max as u64);
        let cut_by_window = len < rest && len < len_max as u64;
        if cut_by_window && (len == 0 || self.is_outstanding(stream)) {
            return None; // no crumbs: the window will open further
        }
        let fin = stream.is_closed() && at + len == stream.end();
        if len == 0 && !fin {
            return None;
        }
        self.sent += len + u64::from(fin);
        if self.timed.is_none() && self.repairing.is_none() {
            self.timed = Some((self.sent, now_ns));
        }
        Some(Chunk { at, len: len as usize, fin, again: false })
    }

    /// Sets the timer after all chunks were taken.
    pub(crate) fn set_timer(&mut self, stream: &Stream, now_ns: u64) {
        if self.is_outstanding(stream) || self.sent < stream.send_limit() {
            self.arm(now_ns);
        } else {
            self.due_ns = None;
        }
    }

    /// Stops the timer: the sender itself answers for delivery.
    pub(crate) fn rest(&mut self) {
        self.due_ns = None;
        self.timed = None;
        self.repeated = 0;
        self.end_repair();
    }

    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.due_ns
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, stream: &Stream, now_ns: u64) -> Tick {
        if self.due_ns.is_none_or(|due_ns| now_ns < due_ns) {
            return Tick::Nothing;
        }
        if now_ns.saturating_sub(self.heard_ns) > SILENCE_MAX_NS {
            return Tick::GiveUp;
        }
        self.rto_ns = (2 * self.rto_ns).min(RTO_MAX_NS);
        self.due_ns = Some(now_ns + self.rto_ns);
        self.timed = None;
        self.repeated = 0;
        if !self.is_outstanding(stream) {
            return Tick::Probe;
        }
        self.repairing = Some(self.sent);
        self.timed_out = true;
        self.again = (stream.acknowledged(), 1);
        Tick::Again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn stream(bytes: usize) -> Stream {
        let mut stream = Stream::default();
        stream.receive(0, &vec![7; bytes], false);
        stream.pass(bytes);
        stream
    }

    fn chunks(delivery: &mut Delivery, stream: &Stream, now_ns: u64) -> Vec<(u64, usize, bool)> {
        let next = || delivery.next_chunk(stream, 100, now_ns);
        let chunks = std::iter::from_fn(next).map(|chunk| (chunk.at, chunk.len, chunk.again)).collect();
        delivery.set_timer(stream, now_ns);
        chunks
    }

    #[test]
    fn the_window_is_filled_without_crumbs_and_probed_when_closed() {
        let (mut delivery, mut stream) = (Delivery::new(0), stream(250));
        delivery.set_edge(130);
        assert_eq!(chunks(&mut delivery, &stream, 0), [(0, 100, false)]);
        delivery.acknowledged(&mut stream, 100, false, MS);
        assert_eq!(
            chunks(&mut delivery, &stream, MS),
            [(100, 30, false)],
            "nothing under way: better than nothing"
        );
        delivery.acknowledged(&mut stream, 130, false, 2 * MS);
        assert_eq!(chunks(&mut delivery, &stream, 2 * MS), []);
        let due_ns = delivery.due_ns().expect("a timer");
        assert_eq!(delivery.tick(&stream, due_ns - 1), Tick::Nothing);
        assert_eq!(delivery.tick(&stream, due_ns), Tick::Probe);
        delivery.set_edge(1000);
        assert_eq!(chunks(&mut delivery, &stream, due_ns), [(130, 100, false), (230, 20, false)]);
    }

    #[test]
    fn three_repetitions_repair_hole_after_hole() {
        let (mut delivery, mut stream) = (Delivery::new(0), stream(1000));
        delivery.set_edge(1 << 20);
        assert_eq!(chunks(&mut delivery, &stream, 0).len(), 10);
        for _ in 0..2 {
            delivery.acknowledged(&mut stream, 0, true, MS);
            assert_eq!(chunks(&mut delivery, &stream, MS), []);
        }
        delivery.acknowledged(&mut stream, 0, true, MS);
        assert_eq!(chunks(&mut delivery, &stream, MS), [(0, 100, true)]);
        delivery.acknowledged(&mut stream, 400, false, 2 * MS);
        assert_eq!(chunks(&mut delivery, &stream, 2 * MS), [(400, 100, true)]);
        delivery.acknowledged(&mut stream, 1000, false, 3 * MS);
        assert_eq!(chunks(&mut delivery, &stream, 3 * MS), []);
        assert_eq!(delivery.due_ns(), None);
    }

    #[test]
    fn after_a_timeout_everything_goes_again_ever_faster_and_silence_ends_it() {
        let (mut delivery, mut stream) = (Delivery::new(0), stream(1000));
        stream.receive(1000, b"", true);
        stream.close();
        delivery.set_edge(1 << 20);
        assert_eq!(chunks(&mut delivery, &stream, 0).len(), 10);
        assert_eq!(delivery.sent(), 1001);
        assert_eq!(delivery.tick(&stream, RTO_FIRST_NS), Tick::Again);
        assert_eq!(chunks(&mut delivery, &stream, RTO_FIRST_NS), [(0, 100, true)]);
        assert_eq!(delivery.due_ns(), Some(3 * RTO_FIRST_NS), "twice as long");
        delivery.acknowledged(&mut stream, 100, false, RTO_FIRST_NS + MS);
        assert_eq!(chunks(&mut delivery, &stream, RTO_FIRST_NS + MS), [(100, 100, true), (200, 100, true)]);
        delivery.acknowledged(&mut stream, 900, false, RTO_FIRST_NS + MS);
        assert_eq!(chunks(&mut delivery, &stream, RTO_FIRST_NS + MS), [(900, 100, true)], "with the FIN");
        let mut ticks = 0;
        let last = loop {
            let tick = delivery.tick(&stream, delivery.due_ns().expect("a timer"));
            if tick != Tick::Again {
                break tick;
            }
            ticks += 1;
        };
        assert_eq!((last, ticks > 100), (Tick::GiveUp, true));
    }

    #[test]
    fn the_timeout_follows_the_round_trips_of_what_was_sent_once() {
        let (mut delivery, mut stream) = (Delivery::new(0), stream(300));
        delivery.set_edge(100);
        chunks(&mut delivery, &stream, 0);
        delivery.acknowledged(&mut stream, 100, false, 50 * MS);
        assert_eq!(delivery.rto_ns, 150 * MS, "50 + 4 * 25");
        delivery.set_edge(200);
        chunks(&mut delivery, &stream, 50 * MS);
        assert_eq!(delivery.tick(&stream, 200 * MS), Tick::Again);
        chunks(&mut delivery, &stream, 200 * MS);
        delivery.acknowledged(&mut stream, 200, false, 201 * MS);
        assert_eq!(delivery.rto_ns, 300 * MS, "which of the two was acknowledged, nobody knows");
    }
}
