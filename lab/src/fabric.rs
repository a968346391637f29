//! The network between the nodes: a switch in this process, and rules on its directed links.
//!
//! Every packet a node sends comes out of its TUN device into one thread of ours, which looks up the
//! receiver and writes it into that one's device, drops it, or holds it. There is no kernel bridge
//! beside it, so what the fabric does not carry does not arrive. Links without rules pay one table
//! look-up and two counters.

mod capture;
mod held;
mod link;
pub(crate) mod packet;
mod rule;
mod switch;
pub(crate) mod table;
mod twin;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::capture::CaptureWriter;
pub use self::link::LinkCounters;
use self::link::LinkStats;
pub use self::rule::{Action, CountedPer, End, Flap, Latency, Link, Ports, Rule, RuleCounters, Side, Spread};
use self::rule::{RuleId, RuleState};
use self::switch::{Switch, WAKE_TOKEN};
use self::table::{Port, Table};
use self::twin::TwinState;
pub use self::twin::{Twin, TwinCounters, TwinGuard};
use crate::error::{LabError, Result};
use crate::flow::{Flow, Interceptor, Tap, TapGuard, TapState};
use crate::node::NodeId;
use crate::sys;

/// How long the switch may take to follow a changed rule before the caller goes on without its word.
const ACKNOWLEDGE_DEADLINE: Duration = Duration::from_secs(2);

/// A handle to the network of one lab. Clones mean the same network.
#[derive(Clone)]
pub struct Fabric {
    shared: Arc<Shared>,
}

/// What went through the fabric without a rule's doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FabricTotals {
    /// Packets delivered.
    pub delivered: u64,
    /// Packets for addresses no node has, and packets that are not IPv4; they vanish.
    pub unroutable: u64,
    /// Packets a receiver's device refused, because its node was going down.
    pub refused: u64,
    /// Packets missing from the capture because the disk was too slow.
    pub uncaptured: u64,
    /// Packets that rules are holding at this moment.
    pub held: u64,
}

/// What the switch thread shares with the handles.
struct Shared {
    epoll: OwnedFd,
    wake: OwnedFd,
    stopped: AtomicBool,
    /// The generation of `State::table`, readable without the lock.
    generation: AtomicU64,
    state: Mutex<State>,
    /// The generation the switch works with, and a bell for its changes.
    acknowledged: Mutex<u64>,
    acknowledgement: Condvar,
    totals: Totals,
    lost_captures: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    ports: Vec<Arc<Port>>,
    /// Every port's counters, kept when the ports are gone.
    links: Vec<Arc<[LinkStats]>>,
    rules: Vec<Arc<RuleState>>,
    next_rule: RuleId,
    taps: Vec<Arc<TapState>>,
    next_tap: u64,
    twins: Vec<Arc<TwinState>>,
    next_twin: u64,
    table: Arc<Table>,
}

#[derive(Default)]
struct Totals {
    delivered: AtomicU64,
    unroutable: AtomicU64,
    refused: AtomicU64,
    held: AtomicU64,
}

impl Totals {
    fn note_held(&self, packets: usize) {
        self.held.store(packets as u64, Ordering::Relaxed);
    }

    fn note_unroutable(&self) {
        self.unroutable.fetch_add(1, Ordering::Relaxed);
    }

    fn note_write(&self, taken: bool) {
        // The switch is the only writer: no locked instruction needed on the busy path.
        let counter = if taken { &self.delivered } else { &self.refused };
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// The running switch; owned by the lab, ended by it.
pub(crate) struct Running {
    fabric: Fabric,
    thread: Option<JoinHandle<()>>,
    capture: Option<CaptureWriter>,
}

impl Running {
    /// Starts a switch without ports.
    pub(crate) fn start(lab: &str, capture: Option<&Path>, bytes_max: Option<u64>) -> Result<Running> {
        let error = |step| move |source| LabError::Fabric { step, source };
        let capture = capture.map(|path| CaptureWriter::create(path, lab, bytes_max)).transpose()?;
        let shared = Arc::new(Shared {
            epoll: epoll_create().map_err(error("create its event queue"))?,
            wake: sys::eventfd().map_err(error("create its wake-up event"))?,
            stopped: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            state: Mutex::default(),
            acknowledged: Mutex::new(0),
            acknowledgement: Condvar::new(),
            totals: Totals::default(),
            lost_captures: capture.as_ref().map(|c| c.lost_packets.clone()).unwrap_or_default(),
        });
        watch(&shared.epoll, &shared.wake, WAKE_TOKEN).map_err(error("watch its wake-up event"))?;
        let switch = Switch::new(shared.clone(), capture.as_ref().and_then(CaptureWriter::recorder));
        let thread = std::thread::Builder::new()
            .name("fabric-switch".to_owned())
            .spawn(move || switch.run())
            .map_err(error("start its thread"))?;
        Ok(Running { fabric: Fabric { shared }, thread: Some(thread), capture })
    }

    pub(crate) fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// Plugs in the TUN device of the next node.
    pub(crate) fn plug(&self, name: &str, tun: OwnedFd) -> Result<()> {
        let shared = &self.fabric.shared;
        let mut state = shared.lock();
        let index = state.ports.len();
        if let Some(capture) = &self.capture {
            capture.add_interface(name, table::addr_of(NodeId(index as u16)));
        }
        let port = Arc::new(Port::new(tun));
        state.ports.push(port.clone());
        state.links.push(port.links.clone());
        shared.recompile(state);
        watch(&shared.epoll, &port.tun, index as u64)
            .map_err(|source| LabError::Fabric { step: "watch a node's device", source })
    }

    /// Ends the switch, closes all devices, completes the capture. Repeatable.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let shared = &self.fabric.shared;
        shared.stopped.store(true, Ordering::Release);
        shared.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        shared.close();
        self.capture.as_mut().map_or(Ok(()), CaptureWriter::finish)
    }
}

impl Fabric {
    /// Puts a rule in force and returns the guard that takes it away again.
    ///
    /// When this returns, the switch is using it: no packet decided from now on escapes it.
    pub fn install(&self, rule: Rule) -> Result<RuleGuard> {
        let mut state = self.shared.lock();
        if let Some(why) = rule.problem(state.ports.len()) {
            return Err(LabError::BadRule { name: rule.name, why });
        }
        let id = state.next_rule;
        state.next_rule += 1;
        let rule = Arc::new(RuleState::new(id, rule));
        state.rules.push(rule.clone());
        self.shared.recompile(state);
        Ok(RuleGuard { fabric: self.clone(), rule })
    }

    /// From now on every new connection that matches gets what `make` returns; `None` leaves it to the next tap, or
    /// alone. `make` is called from the thread that moves all packets. Connections that exist already are not touched.
    pub fn tap(
        &self,
        tap: Tap,
        make: impl Fn(&Flow) -> Option<Box<dyn Interceptor>> + Send + Sync + 'static,
    ) -> Result<TapGuard> {
        let mut state = self.shared.lock();
        if let Some(why) = tap.problem(state.ports.len()) {
            return Err(LabError::BadTap { name: tap.name, why });
        }
        let id = state.next_tap;
        state.next_tap += 1;
        let tap = Arc::new(TapState::new(id, tap, Box::new(make)));
        state.taps.push(tap.clone());
        self.shared.recompile(state);
        Ok(TapGuard::new(self.clone(), tap))
    }

    /// Puts a second node at a node's address, for some of the others. Where several would lead a packet, the first does.
    pub fn twin(&self, twin: Twin) -> Result<TwinGuard> {
        let mut state = self.shared.lock();
        if let Some(why) = twin.problem(state.ports.len()) {
            return Err(LabError::BadTwin { name: twin.name, why });
        }
        let id = state.next_twin;
        state.next_twin += 1;
        let twin = Arc::new(TwinState::new(id, twin));
        state.twins.push(twin.clone());
        self.shared.recompile(state);
        Ok(TwinGuard::new(self.clone(), twin))
    }

    fn part(&self, id: u64) {
        let mut state = self.shared.lock();
        let before = state.twins.len();
        state.twins.retain(|twin| twin.id != id);
        if state.twins.len() < before {
            self.shared.recompile(state);
        }
    }

    /// What a directed link has carried since the lab came up; zeros for nodes that do not exist.
    pub fn link_counters(&self, from: NodeId, to: NodeId) -> LinkCounters {
        let state = self.shared.lock();
        let links = state.links.get(from.index());
        links.and_then(|links| links.get(to.index())).map(LinkStats::read).unwrap_or_default()
    }

    /// What went through without a rule's doing.
    pub fn totals(&self) -> FabricTotals {
        let totals = &self.shared.totals;
        FabricTotals {
            delivered: totals.delivered.load(Ordering::Relaxed),
            unroutable: totals.unroutable.load(Ordering::Relaxed),
            refused: totals.refused.load(Ordering::Relaxed),
            uncaptured: self.shared.lost_captures.load(Ordering::Relaxed),
            held: totals.held.load(Ordering::Relaxed),
        }
    }

    /// The rules in force, in order of installation; those whose dead man's switch has gone off are not.
    pub fn rules(&self) -> Vec<Rule> {
        let (state, now_ns) = (self.shared.lock(), switch::now_ns());
        let in_force = state.rules.iter().filter(|state| !state.is_over(now_ns));
        in_force.map(|state| state.rule.clone()).collect()
    }

    pub(crate) fn remove_tap(&self, id: u64) {
        let mut state = self.shared.lock();
        let before = state.taps.len();
        state.taps.retain(|tap| tap.id != id);
        if state.taps.len() < before {
            self.shared.recompile(state);
        }
    }

    /// Has the switch look at what was asked of it.
    pub(crate) fn wake(&self) {
        self.shared.ring();
    }

    fn remove(&self, id: RuleId) {
        let mut state = self.shared.lock();
        let before = state.rules.len();
        state.rules.retain(|state| state.id != id);
        if state.rules.len() < before {
            self.shared.recompile(state);
        }
    }
}

/// Holds a rule in force; dropping it heals.
#[must_use = "a rule is in force only as long as its guard lives"]
pub struct RuleGuard {
    fabric: Fabric,
    rule: Arc<RuleState>,
}

impl RuleGuard {
    /// What the rule has done so far.
    pub fn counters(&self) -> RuleCounters {
        self.rule.counters()
    }

    /// The rule as it was installed.
    pub fn rule(&self) -> &Rule {
        &self.rule.rule
    }

    /// Takes the rule away and returns its final counters. Packets it held are delivered at once, in
    /// order. When this returns the switch no longer uses it.
    pub fn heal(self) -> RuleCounters {
        self.fabric.remove(self.rule.id);
        self.rule.counters()
    }
}

impl Drop for RuleGuard {
    fn drop(&mut self) {
        self.fabric.remove(self.rule.id);
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The current table, and the rules in force.
    fn table(&self) -> (Arc<Table>, Vec<Arc<RuleState>>) {
        let state = self.lock();
        (state.table.clone(), state.rules.clone())
    }

    /// Compiles ports and rules into a new table and waits until the switch works with it.
    fn recompile(&self, mut state: MutexGuard<'_, State>) {
        let generation = state.table.generation + 1;
        state.table =
            Arc::new(Table::compile(generation, &state.ports, &state.rules, &state.taps, &state.twins));
        self.generation.store(generation, Ordering::Release); // under the lock: never backwards
        drop(state);
        self.ring();
        let seen = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = |seen: &mut u64| *seen < generation && !self.stopped();
        let _unused = self.acknowledgement.wait_timeout_while(seen, ACKNOWLEDGE_DEADLINE, behind);
    }

    fn acknowledge(&self, generation: u64) {
        *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner) = generation;
        self.acknowledgement.notify_all();
    }

    /// Lets go of every port, once the switch has ended.
    fn close(&self) {
        let mut state = self.lock();
        let links = std::mem::take(&mut state.links);
        let old = std::mem::replace(&mut *state, State { links, ..State::default() });
        drop(state);
        self.acknowledgement.notify_all();
        let State { ports, table, .. } = old;
        drop(table);
        // Taking a device away makes the kernel wait some 20 ms; side by side these waits overlap.
        std::thread::scope(|scope| ports.into_iter().for_each(|port| drop(scope.spawn(move || drop(port)))));
    }

    fn ring(&self) {
        let _ = nix::unistd::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn epoll_create() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the returned descriptor is ours alone.
    let fd = sys::check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: `fd` was just returned by the kernel and nobody else owns it.
    Ok(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) })
}

/// Asks `epoll` to report, under `token`, when `fd` becomes readable.
fn watch(epoll: &OwnedFd, fd: &OwnedFd, token: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
    let (epoll, fd) = (epoll.as_raw_fd(), fd.as_raw_fd());
    // SAFETY: `event` lives for the whole call; both descriptors are open.
    sys::check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) }).map(drop)
}
