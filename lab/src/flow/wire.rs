//! An interceptor's hands on one connection.

use super::stream::Stream;
use super::{Both, Receipt, Way};

/// What an [`Interceptor`](super::Interceptor) sees of its connection, and acts with.
pub struct Wire<'a> {
    now_ns: u64,
    streams: &'a mut Both<Stream>,
    asks: &'a mut Asks,
}

/// What an interceptor has asked for.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    pub(crate) reset: bool,
    pub(crate) wake_ns: Option<u64>,
}

impl<'a> Wire<'a> {
    pub(crate) fn new(now_ns: u64, streams: &'a mut Both<Stream>, asks: &'a mut Asks) -> Wire<'a> {
        Wire { now_ns, streams, asks }
    }

    /// The time, in nanoseconds of `CLOCK_MONOTONIC`.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Bytes received in order and not decided on.
    pub fn pending(&self, way: Way) -> &[u8] {
        self.streams[way].pending()
    }

    /// How many bytes the sender of `way` sent before the first pending one.
    pub fn offset(&self, way: Way) -> u64 {
        self.streams[way].decided()
    }

    /// How many bytes the receiver of `way` gets before the next one passed or put in.
    pub fn out_offset(&self, way: Way) -> u64 {
        self.streams[way].end()
    }

    /// Tells, now and later, how many bytes the receiver of `way` has acknowledged.
    pub fn receipt(&mut self, way: Way) -> Receipt {
        self.streams[way].receipt()
    }

    /// The first `len` pending bytes go on as they are; all, if there are fewer.
    pub fn pass(&mut self, way: Way, len: usize) {
        self.streams[way].pass(len);
    }

    /// `with` goes on instead of the first `len` pending bytes (of all, if there are fewer): `len` 0 inserts, an
    /// empty `with` swallows. Nothing can be added behind the end of a way.
    pub fn replace(&mut self, way: Way, len: usize, with: &[u8]) {
        self.streams[way].replace(len, with);
    }

    /// Resets the connection on both sides; this flow is over.
    pub fn reset(&mut self) {
        self.asks.reset = true;
    }

    /// Asks for [`woken`](super::Interceptor::woken) at `ns` of `CLOCK_MONOTONIC`. Of several times asked for the
    /// earliest counts, once: ask again when woken.
    pub fn wake_at(&mut self, ns: u64) {
        self.asks.wake_ns = Some(self.asks.wake_ns.map_or(ns, |earlier| earlier.min(ns)));
    }
}
