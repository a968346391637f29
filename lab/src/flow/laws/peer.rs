//! A small TCP end, written from the standard and apart from the code it tests: go-back-N, a bounded buffer that its
//! reader empties slowly, a probe for a closed window, half-close.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::flow::segment::{ACK, FIN, Path, RST, SYN, Segment};

const RTO_MS: u64 = 250;

#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerOptions {
    pub(crate) mss: u16,
    pub(crate) scale: Option<u8>,
    pub(crate) buffer: usize,
    pub(crate) reads_per_ms: usize,
    pub(crate) timestamps: bool,
}

pub(crate) struct Peer {
    client: bool,
    path: Path,
    syn: u32,
    their_syn: Option<u32>,
    options: PeerOptions,
    their_scale: u8,
    their_mss: usize,
    timestamps: bool,
    their_clock: u32,
    /// The client has its SYN confirmed, the server its SYN-ACK.
    open: bool,
    stream: Vec<u8>,
    /// Offsets into `stream`, the FIN counted behind its last byte.
    una: usize,
    next: usize,
    edge: usize,
    timer_ms: u64,
    received: Vec<u8>,
    unread: usize,
    early: BTreeMap<usize, Vec<u8>>,
    fin_at: Option<usize>,
    told_window: usize,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (una, next, len, edge) = (self.una, self.next, self.stream.len(), self.edge);
        let (received, fin) = (self.received.len(), self.fin_at);
        write!(f, "una {una} next {next} of {len}, edge {edge}, received {received}, fin at {fin:?}")
    }
}

impl Peer {
    pub(crate) fn new(
        client: bool,
        me: (Ipv4Addr, u16),
        other: (Ipv4Addr, u16),
        syn: u32,
        options: PeerOptions,
        stream: Vec<u8>,
    ) -> Peer {
        Peer {
            client,
            path: Path { from: me, to: other },
            syn,
            their_syn: None,
            options,
            their_scale: 0,
            their_mss: 536,
            timestamps: options.timestamps,
            their_clock: 0,
            open: false,
            stream,
            una: 0,
            next: 0,
            edge: 0,
            timer_ms: 0,
            received: Vec::new(),
            unread: 0,
            early: BTreeMap::new(),
            fin_at: None,
            told_window: 0,
        }
    }

    pub(crate) fn sent(&self) -> &[u8] {
        &self.stream
    }

    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    /// All sent and acknowledged, all received, both ends closed.
    pub(crate) fn is_done(&self) -> bool {
        self.una > self.stream.len() && self.has_fin()
    }

    fn has_fin(&self) -> bool {
        self.fin_at == Some(self.received.len())
    }

    fn window(&self) -> usize {
        (self.options.buffer - self.unread.min(self.options.buffer)) >> self.options.scale.unwrap_or(0)
    }

    fn write(&mut self, at: i64, flags: u8, payload: &[u8], now_ms: u64) -> Vec<u8> {
        let window = self.window().min(65_535);
        self.told_window = window << self.options.scale.unwrap_or(0);
        let ack = self.received.len() as u32 + u32::from(self.has_fin());
        let segment = Segment {
            seq: self.syn.wrapping_add(1).wrapping_add(at as u32),
            ack: self.their_syn.map_or(0, |syn| syn.wrapping_add(1).wrapping_add(ack)),
            flags,
            window: window as u16,
            mss: None,
            scale: None,
            sacks: false,
            timestamps: self.timestamps.then_some((now_ms as u32, self.their_clock)),
            payload,
        };
        let packet = segment.write(self.path);
        if flags & SYN != 0 { self.with_options(packet) } else { packet }
    }

    /// MSS and scale, which the writer of the code under test does not write. Checksums are not looked at on the way
    /// to the tap.
    fn with_options(&self, mut packet: Vec<u8>) -> Vec<u8> {
        let mut options = vec![2, 4];
        options.extend(self.options.mss.to_be_bytes());
        options.extend(self.options.scale.map_or([1, 1, 1, 1], |scale| [1, 3, 3, scale]));
        packet.extend(&options);
        let total = packet.len() as u16;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[32] += (options.len() / 4 * 16) as u8;
        packet
    }

    /// What it sends of its own accord in this millisecond.
    pub(crate) fn act(&mut self, now_ms: u64, rng: &mut ChaCha8Rng) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let read = self.unread.min(self.options.reads_per_ms);
        self.unread -= read;
        if !self.open {
            if self.client && now_ms >= self.timer_ms {
                self.timer_ms = now_ms + RTO_MS;
                out.push(self.write(-1, SYN, &[], now_ms));
            }
            return out;
        }
        let options = self.options;
        if self.told_window < options.buffer / 4 && options.buffer - self.unread >= options.buffer / 2 {
            out.push(self.write(self.next as i64, ACK, &[], now_ms));
        }
        if now_ms >= self.timer_ms {
            self.timer_ms = now_ms + RTO_MS;
            if self.next > self.una {
                self.next = self.una;
            } else if self.una <= self.stream.len() {
                out.push(self.write(self.una as i64 - 1, ACK, &[], now_ms)); // a probe
            }
        }
        for _ in 0..10 {
            let room = self.edge.saturating_sub(self.next).min(self.stream.len().saturating_sub(self.next));
            let len = room.min(rng.random_range(1..=self.their_mss.min(1448)));
            let fin = self.next + len == self.stream.len();
            if len == 0 && !fin || self.next > self.stream.len() || rng.random_range(0..4) == 0 {
                break;
            }
            let payload = self.stream[self.next..self.next + len].to_vec();
            let flags = ACK | if fin { FIN } else { 0 };
            out.push(self.write(self.next as i64, flags, &payload, now_ms));
            self.next += len + usize::from(fin);
        }
        out
    }

    pub(crate) fn receive(&mut self, segment: &Segment<'_>, now_ms: u64) -> Vec<Vec<u8>> {
        assert!(!segment.has(RST), "nobody asked for a reset");
        if segment.has(SYN) {
            return self.shake(segment, now_ms);
        }
        let Some(their_syn) = self.their_syn else { return Vec::new() };
        if self.client && !self.open {
            return Vec::new();
        }
        assert_eq!(self.timestamps, segment.timestamps.is_some(), "timestamps came or went");
        if let Some((clock, echo)) = segment.timestamps {
            assert!(u64::from(echo) <= now_ms && u64::from(clock) <= now_ms, "a clock was made up");
            self.their_clock = self.their_clock.max(clock);
        }
        let limit = usize::from(self.options.mss) - if self.timestamps { 12 } else { 0 };
        assert!(segment.payload.len() <= limit, "{} bytes, at most {limit}", segment.payload.len());
        self.open = true;
        self.take_ack(segment, now_ms);
        let at = segment.seq.wrapping_sub(their_syn.wrapping_add(1)) as i32 as i64;
        let fresh = self.take_bytes(at, segment);
        let expected = self.received.len() as i64 + i64::from(self.has_fin());
        if !segment.payload.is_empty() || segment.has(FIN) || at < expected || fresh {
            return vec![self.write(self.next as i64, ACK, &[], now_ms)];
        }
        Vec::new()
    }

    fn shake(&mut self, syn: &Segment<'_>, now_ms: u64) -> Vec<Vec<u8>> {
        if self.their_syn.is_none() {
            self.their_syn = Some(syn.seq);
            self.their_clock = syn.timestamps.map_or(0, |(clock, _)| clock);
            self.timestamps &= syn.timestamps.is_some();
            self.their_mss = syn.mss.map_or(536, usize::from) - if self.timestamps { 12 } else { 0 };
            self.their_scale = syn.scale.unwrap_or(0);
            self.edge = usize::from(syn.window);
        }
        if self.client {
            self.open = true;
            self.timer_ms = now_ms + RTO_MS;
            vec![self.write(self.next as i64, ACK, &[], now_ms)]
        } else {
            vec![self.write(-1, SYN | ACK, &[], now_ms)]
        }
    }

    fn take_ack(&mut self, segment: &Segment<'_>, now_ms: u64) {
        let at = segment.ack.wrapping_sub(self.syn.wrapping_add(1)) as i32;
        assert!(
            at >= 0 && at as usize <= self.stream.len() + 1,
            "acknowledged {at} of {}",
            self.stream.len()
        );
        let at = at as usize;
        if at > self.una {
            self.una = at;
            self.next = self.next.max(at);
            self.timer_ms = now_ms + RTO_MS;
        }
        if at >= self.una {
            self.edge = at + (usize::from(segment.window) << self.their_scale);
        }
    }

    /// True if it brought something new.
    fn take_bytes(&mut self, at: i64, segment: &Segment<'_>) -> bool {
        let before = self.received.len();
        let end = at + segment.payload.len() as i64;
        if segment.has(FIN) {
            assert!(self.fin_at.is_none_or(|fin| fin as i64 == end), "the end has moved to {end}");
            self.fin_at = Some(end as usize);
        }
        // Whatever comes a second time must be what came the first time.
        for (i, byte) in segment.payload.iter().enumerate() {
            let offset = at + i as i64;
            assert!(offset >= 0, "bytes before the beginning");
            if let Some(known) = self.received.get(offset as usize) {
                assert_eq!(known, byte, "byte {offset} came again as another");
            }
        }
        let room = (before + self.options.buffer - self.unread.min(self.options.buffer)) as i64;
        if at <= before as i64 && end > before as i64 {
            let fresh = &segment.payload[(before as i64 - at) as usize..];
            self.received.extend(&fresh[..fresh.len().min((room - before as i64) as usize)]);
        } else if at > before as i64 && end <= room && !segment.payload.is_empty() {
            self.early.insert(at as usize, segment.payload.to_vec());
        }
        while let Some(first) = self.early.first_entry().filter(|first| *first.key() <= self.received.len()) {
            let (at, bytes) = first.remove_entry();
            self.received.extend(bytes.get(self.received.len() - at..).unwrap_or_default());
        }
        self.unread += self.received.len() - before;
        self.received.len() > before
    }
}
