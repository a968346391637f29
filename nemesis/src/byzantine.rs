//! Messages altered on their way: which, how, and what was done.
//!
//! A [`MessageFault`] says which messages of which link are meant and what becomes of them. An [`Interference`] sits
//! in every connection of a system, reads its messages with the codec of its port, and, while a fault is armed, strikes
//! those that are meant; each strike is written down before and after. With nothing armed all bytes pass as they came.

mod editor;
mod fault;
pub mod score;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lab::flow::{Flow, Interceptor};

use self::editor::Editor;
pub use self::fault::{Link, Literal, MessageFault, Op};
use crate::wire::Codec;
use crate::wire::election::Election;
use crate::wire::quorum::Quorum;
use crate::wire::resp::Resp;
use crate::wire::zk_client::ZkClient;

/// What is spoken at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RESP, of clients and of replicas.
    Redis,
    /// Jute, of ZooKeeper's clients.
    ZkClient,
    /// ZooKeeper's leader election.
    Election,
    /// ZAB.
    Quorum,
}

impl Protocol {
    fn codec(self) -> Box<dyn Codec> {
        match self {
            Protocol::Redis => Box::new(Resp::default()),
            Protocol::ZkClient => Box::new(ZkClient::default()),
            Protocol::Election => Box::new(Election::default()),
            Protocol::Quorum => Box::new(Quorum::default()),
        }
    }
}

/// One strike: a message altered, before and after.
#[derive(Debug, Clone, PartialEq)]
pub struct StrikeRecord {
    /// The fault that did it, as it was numbered when armed.
    pub fault: u64,
    /// When, nanoseconds of `CLOCK_MONOTONIC`.
    pub mono_ns: u64,
    /// Kind of link.
    pub link: Link,
    /// The connection, by its ordinal in the lab.
    pub flow: u64,
    /// Node that sent the message.
    pub from: String,
    /// Node it was meant for.
    pub to: String,
    /// Its kind.
    pub message: String,
    /// The how many-th that was meant, from 1.
    pub occurrence: u64,
    /// The field altered, if it was one.
    pub field: Option<String>,
    /// Where it stood in the stream as it was sent.
    pub offset_in: u64,
    /// Where it stood in the stream as it was passed on.
    pub offset_out: u64,
    /// As it was.
    pub before: Vec<u8>,
    /// As it was passed on.
    pub after: Vec<u8>,
    /// Bytes by which it grew.
    pub delta: i64,
}

/// Bytes of a message that a record keeps.
const RECORDED_MAX: usize = 512;
/// Strikes that are kept; later ones are counted only.
const STRIKES_MAX: usize = 100_000;

/// Everything that is done to the messages of one system. Clones mean the same.
#[derive(Clone)]
pub struct Interference {
    shared: Arc<Shared>,
}

struct Shared {
    /// Node names, by their numbers in the lab.
    names: Vec<String>,
    seed: u64,
    /// Changes with every fault armed or disarmed; odd or even says nothing.
    generation: AtomicU64,
    armed: Mutex<Vec<Arc<ArmedFault>>>,
    strikes: Mutex<Vec<StrikeRecord>>,
    notes: Mutex<BTreeMap<String, u64>>,
}

/// A fault in force.
struct ArmedFault {
    id: u64,
    fault: MessageFault,
    matched: AtomicU64,
    applied: AtomicU64,
    gate: Gate,
}

/// Where a message waits until somebody has done something.
#[derive(Default)]
struct Gate {
    fired: Mutex<bool>,
    bell: Condvar,
    released: AtomicBool,
}

/// A fault in force; it ends when this is dropped.
pub struct Armed {
    shared: Arc<Shared>,
    fault: Arc<ArmedFault>,
}

/// What a fault has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageCounters {
    /// Messages of the kind, on the link, between the nodes that are meant.
    pub matched: u64,
    /// Those that were altered.
    pub applied: u64,
}

impl Interference {
    /// For a system whose nodes have these names, by number. `seed` fixes what faults leave to chance.
    pub fn new(names: Vec<String>, seed: u64) -> Interference {
        Interference {
            shared: Arc::new(Shared {
                names,
                seed,
                generation: AtomicU64::new(0),
                armed: Mutex::default(),
                strikes: Mutex::default(),
                notes: Mutex::default(),
            }),
        }
    }

    /// What sits in a connection to a port where this is spoken.
    pub fn interceptor(&self, protocol: Protocol, flow: &Flow) -> Box<dyn Interceptor> {
        Box::new(Editor::new(self.shared.clone(), protocol, flow))
    }

    /// Puts a fault in force, under a number of the caller's.
    pub fn arm(&self, id: u64, fault: MessageFault) -> Armed {
        let (matched, applied) = (AtomicU64::new(0), AtomicU64::new(0));
        let fault = Arc::new(ArmedFault { id, fault, matched, applied, gate: Gate::default() });
        lock(&self.shared.armed).push(fault.clone());
        self.shared.generation.fetch_add(1, Ordering::Release);
        Armed { shared: self.shared.clone(), fault }
    }

    /// All strikes so far, in order.
    pub fn strikes(&self) -> Vec<StrikeRecord> {
        lock(&self.shared.strikes).clone()
    }

    /// What could not be read, and how often, each a phrase.
    pub fn notes(&self) -> Vec<(String, u64)> {
        lock(&self.shared.notes).iter().map(|(note, count)| (note.clone(), *count)).collect()
    }
}

impl Armed {
    /// What it has done so far.
    pub fn counters(&self) -> MessageCounters {
        MessageCounters {
            matched: self.fault.matched.load(Ordering::Relaxed),
            applied: self.fault.applied.load(Ordering::Relaxed),
        }
    }

    /// Its strikes so far.
    pub fn strikes(&self) -> Vec<StrikeRecord> {
        lock(&self.shared.strikes).iter().filter(|strike| strike.fault == self.fault.id).cloned().collect()
    }

    /// For [`Op::Hold`]: waits until the message that is meant has come; false when it did not within `bound`. It goes
    /// no further until [`release`](Armed::release) is called.
    pub fn wait_held(&self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        let mut fired = lock(&self.fault.gate.fired);
        while !*fired {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            fired = self.fault.gate.bell.wait_timeout(fired, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Lets the message that is held go on.
    pub fn release(&self) {
        self.fault.gate.released.store(true, Ordering::Release);
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        self.release();
        lock(&self.shared.armed).retain(|armed| !Arc::ptr_eq(armed, &self.fault));
        self.shared.generation.fetch_add(1, Ordering::Release);
    }
}

impl Shared {
    fn name(&self, node: lab::NodeId) -> &str {
        self.names.get(usize::from(node.0)).map_or("?", String::as_str)
    }

    fn record(&self, strike: StrikeRecord) {
        let mut strikes = lock(&self.strikes);
        if strikes.len() < STRIKES_MAX {
            strikes.push(strike);
        }
    }

    fn note(&self, note: String) {
        *lock(&self.notes).entry(note).or_default() += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
