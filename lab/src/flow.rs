//! Connections through the fabric, followed from their SYN, whose bytes somebody may change on the way.
//!
//! A [`Tap`] names connections; for each new one an [`Interceptor`] is made, which sees the bytes of both directions
//! in order, once, and says what becomes of them: they pass, others go on in their place, they wait, or the connection
//! is reset. Both ends keep an ordinary TCP connection that has nothing to notice.
//!
//! **Plain flows.** As long as nothing was changed and nothing waits, the packets that came in go out, bit for bit.
//!
//! **Owned flows.** From the first byte that is replaced, inserted, swallowed or kept waiting, the fabric answers for
//! the delivery of both directions: it takes every packet of the flow, sends segments of its own with sequence numbers
//! mapped, keeps what it sent until the receiver has acknowledged it, sends it again from there, byte for byte, and
//! acknowledges to a sender what its receiver has acknowledged, mapped down, and what was swallowed. SACK blocks,
//! which would speak of other numbers, end here. Once everything is delivered and both sides count alike again, the
//! flow is plain again; while they do not, it is owned for life, and reset when the tap goes.
//!
//! **Order.** A packet comes past the tap first and then, if it goes on, past the rules of its link: what the tap
//! decided on stays decided when a rule drops the packet, and the copy that TCP sends later carries the same bytes.
//! Segments the fabric makes meet the same rules, counters and capture.
//!
//! **Waiting.** Bytes that wait are not acknowledged, so their sender stops after its window (10 segments, 14 kB, on
//! a new connection) and, if they wait for longer than some 15 s, gives up. Past [`PENDING_MAX`] everything passes.
//!
//! Connections whose SYN was not seen, or came with data, are never touched.

mod buffer;
mod conn;
mod delivery;
mod flows;
#[cfg(test)]
mod laws;
mod map;
mod receipt;
mod segment;
mod stream;
mod tap;
mod wire;

pub(crate) use self::flows::Flows;
pub use self::receipt::Receipt;
pub(crate) use self::tap::TapState;
pub use self::tap::{Tap, TapCounters, TapGuard};
pub use self::wire::Wire;
use crate::node::NodeId;

/// Bytes that may wait in one direction of a connection. When there are more, all of them pass, and the tap counts
/// an overflow.
pub const PENDING_MAX: usize = 1 << 20;

/// Which way bytes go in a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the side that sent the SYN.
    ToServer,
    /// From the side that answered it.
    ToClient,
}

impl Way {
    /// Both ways.
    pub const BOTH: [Way; 2] = [Way::ToServer, Way::ToClient];

    /// The other way.
    pub fn back(self) -> Way {
        match self {
            Way::ToServer => Way::ToClient,
            Way::ToClient => Way::ToServer,
        }
    }
}

/// One of each way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Both<T>([T; 2]);

impl<T> std::ops::Index<Way> for Both<T> {
    type Output = T;
    fn index(&self, way: Way) -> &T {
        &self.0[way as usize]
    }
}

impl<T> std::ops::IndexMut<Way> for Both<T> {
    fn index_mut(&mut self, way: Way) -> &mut T {
        &mut self.0[way as usize]
    }
}

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The node.
    pub node: NodeId,
    /// Its TCP port.
    pub port: u16,
}

/// One TCP connection through the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its ordinal among the followed connections of the lab, from 0.
    pub id: u64,
    /// The side that sent the SYN.
    pub client: Endpoint,
    /// The side that got it.
    pub server: Endpoint,
    /// When the SYN came, in nanoseconds of `CLOCK_MONOTONIC`.
    pub opened_ns: u64,
}

/// What sits in one connection, made at its SYN. Called from the thread that moves all packets: be quick, never wait.
pub trait Interceptor: Send {
    /// `wire.pending(way)` has grown. Bytes that are neither passed nor replaced stay pending, and are not yet
    /// acknowledged to their sender.
    fn data(&mut self, way: Way, wire: &mut Wire<'_>);

    /// The sender of `way` is done: all its bytes have come. What is still pending afterwards is passed on, and the
    /// end with it; nothing can be added to this way any more.
    fn closed(&mut self, way: Way, wire: &mut Wire<'_>) {
        let _ = (way, wire);
    }

    /// The time asked for with [`Wire::wake_at`] has come, or the tap was poked.
    fn woken(&mut self, wire: &mut Wire<'_>) {
        let _ = wire;
    }
}
