//! The switch: one thread that takes every packet out of its sender's TUN device and puts it, or does
//! not put it, into its receiver's.

mod judge;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use super::Shared;
use super::capture::{Capture, Note};
use super::held::HeldQueue;
use super::packet;
use super::rule::RuleState;
use super::table::{Port, Table, index_of};
use crate::flow::Flows;
use crate::sys::check;

/// Room for the largest packet IPv4 knows.
const PACKET_MAX: usize = 65_536;

/// Packets taken from one port before the others get their turn.
const BURST: usize = 64;

/// How long after a packet the switch looks for the next one before it sleeps, nanoseconds. Being woken costs
/// more than that on a machine whose processors have gone idle; whoever else wants to run goes first.
const LINGER_NS: u64 = 50_000;

/// The epoll token of the wake-up event; ports use their index.
pub(super) const WAKE_TOKEN: u64 = u64::MAX;

/// The state the switch thread owns.
pub(super) struct Switch {
    shared: Arc<Shared>,
    table: Arc<Table>,
    held: HeldQueue,
    /// The rules in force, and when the first of them will be over of itself.
    rules: Vec<Arc<RuleState>>,
    expiry_ns: Option<u64>,
    /// The connections that taps follow; a packet meets them before any rule.
    flows: Flows,
    capture: Option<Capture>,
    /// How many packets each port is expected to have at its next turn: as long as it has no more, nobody
    /// need ask it for one more in vain.
    expected: Vec<usize>,
}

impl Switch {
    pub(super) fn new(shared: Arc<Shared>, capture: Option<Capture>) -> Switch {
        Switch {
            shared,
            table: Arc::default(),
            held: HeldQueue::default(),
            rules: Vec::new(),
            expiry_ns: None,
            flows: Flows::default(),
            capture,
            expected: Vec::new(),
        }
    }

    /// Moves packets until the lab goes down.
    pub(super) fn run(mut self) {
        let mut buffer = vec![0u8; PACKET_MAX];
        let mut ready = [libc::epoll_event { events: 0, u64: 0 }; 64];
        tighten_timers();
        let mut last_ns = 0;
        while !self.shared.stopped() {
            self.refresh();
            self.expire_due();
            self.deliver_due();
            self.tick_flows();
            let lingers = now_ns().saturating_sub(last_ns) < LINGER_NS;
            let timeout_ns = if lingers { Some(0) } else { self.timeout_ns() };
            let count = epoll_wait(&self.shared.epoll, &mut ready, timeout_ns).unwrap_or(0);
            match count {
                0 if lingers => std::thread::yield_now(),
                0 => {}
                _ => last_ns = now_ns(),
            }
            for event in &ready[..count] {
                match event.u64 {
                    WAKE_TOKEN => {
                        drain(&self.shared.wake);
                        self.flows.poke(now_ns());
                        self.send_made();
                    }
                    port => self.empty_port(port as usize, &mut buffer),
                }
            }
        }
    }

    /// Takes from one port what it is expected to have. What it has beyond that is found at its next turn, for
    /// which twice as much is then expected.
    fn empty_port(&mut self, from: usize, buffer: &mut [u8]) {
        if self.expected.len() <= from {
            self.expected.resize(from + 1, 1);
        }
        for taken in 0..self.expected[from] {
            self.refresh();
            let Some(port) = self.table.port(from) else { return };
            let Some(len) = read_packet(&port.tun, buffer) else {
                self.expected[from] = taken.max(1);
                return;
            };
            self.route(from, &buffer[..len]);
        }
        self.expected[from] = (2 * self.expected[from]).min(BURST);
    }

    /// Decides about one packet from port `from`.
    fn route(&mut self, from: usize, packet: &[u8]) {
        let to = packet::destination(packet).and_then(index_of);
        let Some(to) = to.filter(|to| self.table.port(*to).is_some()) else {
            self.shared.totals.note_unroutable();
            return;
        };
        if let Some((to, packet)) = self.table.twins().iter().find_map(|twin| twin.lead(from, to, packet)) {
            return self.route_to(from, to, &packet);
        }
        self.route_to(from, to, packet);
    }

    /// Decides about a packet whose receiver is known.
    fn route_to(&mut self, from: usize, to: usize, packet: &[u8]) {
        if self.flows.watches(from, to) && self.is_taken(from, to, packet) {
            return self.send_made();
        }
        self.carry(from, to, packet);
    }

    /// Shows a packet to the flows. True if they took it: what they make of it is sent in its place.
    fn is_taken(&mut self, from: usize, to: usize, packet: &[u8]) -> bool {
        let Some(tap) = self.flows.packet(from, to, packet, now_ns()) else { return false };
        self.record(from, packet, Note::Taken { tap: &tap.tap.name });
        true
    }

    /// Puts what the flows made on its links.
    fn send_made(&mut self) {
        for made in self.flows.take_made() {
            self.carry(made.from, made.to, &made.packet);
        }
    }

    fn tick_flows(&mut self) {
        if self.flows.next_due_ns().is_some_and(|due_ns| due_ns <= now_ns()) {
            self.flows.tick(now_ns());
            self.send_made();
        }
    }

    /// Puts a packet on a link: counts it, and delivers it unless a rule has something to say.
    fn carry(&mut self, from: usize, to: usize, packet: &[u8]) {
        let Some((sender, receiver)) = self.table.port(from).zip(self.table.port(to)) else { return };
        let stats = &sender.links[to];
        stats.note_packet(packet.len());
        if let Some(rules) = self.table.hooks(from, to) {
            let rules = rules.clone();
            return self.judge(from, to, packet, &rules);
        }
        if let Some(capture) = &mut self.capture {
            capture.packet(from, packet, Note::Passed);
        }
        self.hand(receiver, (from, to), packet);
    }

    /// Hands a packet to its receiver, as from whom that one takes it to be.
    fn hand(&self, receiver: &Port, (from, to): (usize, usize), packet: &[u8]) {
        let posed = self.table.twins().iter().find_map(|twin| twin.pose(from, to, packet));
        self.shared.totals.note_write(write_packet(&receiver.tun, posed.as_deref().unwrap_or(packet)));
    }

    fn record(&mut self, from: usize, packet: &[u8], note: Note<'_>) {
        if let Some(capture) = &mut self.capture {
            capture.packet(from, packet, note);
        }
    }

    /// Takes over a changed table, lets go of packets whose rule was healed, and says so.
    #[inline]
    fn refresh(&mut self) {
        if self.shared.generation() != self.table.generation {
            self.take_table();
        }
    }

    #[cold]
    fn take_table(&mut self) {
        (self.table, self.rules) = self.shared.table();
        self.let_go();
        self.flows.follow(self.table.taps(), self.table.width(), now_ns());
        self.send_made();
        self.shared.acknowledge(self.table.generation);
    }

    /// How long nothing can happen, in nanoseconds; `None` for ever.
    fn timeout_ns(&mut self) -> Option<u64> {
        let held = self.held.next_due_ns().map(|due_ns| due_ns.saturating_sub(now_ns()));
        let expiry = self.expiry_ns.map(|expiry_ns| expiry_ns.saturating_sub(now_ns()));
        let flush = self.capture.as_mut().and_then(Capture::flush_in_ns);
        let flows = self.flows.next_due_ns().map(|due_ns| due_ns.saturating_sub(now_ns()));
        [held, expiry, flush, flows].into_iter().flatten().min()
    }
}

/// The monotonic clock in nanoseconds.
pub(super) fn now_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for the kernel to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The next packet of a TUN device, or `None` if it has none (or is gone).
fn read_packet(tun: &OwnedFd, buffer: &mut [u8]) -> Option<usize> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`.
    let len = unsafe { libc::read(tun.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(len).ok()
}

/// Hands a packet to a node; false if its device did not take it.
fn write_packet(tun: &OwnedFd, packet: &[u8]) -> bool {
    // SAFETY: the kernel reads `packet.len()` bytes from `packet`.
    unsafe { libc::write(tun.as_raw_fd(), packet.as_ptr().cast(), packet.len()) >= 0 }
}

fn drain(event: &OwnedFd) {
    let mut count = [0u8; 8];
    let _ = nix::unistd::read(event, &mut count);
}

/// Waits for events with nanosecond resolution (`epoll_pwait2`, Linux 5.11), or in whole milliseconds,
/// rounded up, on older kernels.
fn epoll_wait(
    epoll: &OwnedFd,
    events: &mut [libc::epoll_event],
    timeout_ns: Option<u64>,
) -> io::Result<usize> {
    let (fd, room) = (epoll.as_raw_fd(), events.len() as libc::c_int);
    if let Some(ns) = timeout_ns.filter(|ns| *ns > 0) {
        let timeout =
            libc::timespec { tv_sec: (ns / 1_000_000_000) as _, tv_nsec: (ns % 1_000_000_000) as _ };
        let no_mask = std::ptr::null::<libc::sigset_t>();
        // SAFETY: `events` has `room` entries, `timeout` outlives the call, no signal mask is given.
        let count = unsafe {
            libc::syscall(libc::SYS_epoll_pwait2, fd, events.as_mut_ptr(), room, &timeout, no_mask, 0usize)
        };
        match check(count as libc::c_int) {
            Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => {}
            other => return other.map(|count| count as usize),
        }
    }
    let millis = timeout_ns.map_or(-1, |ns| ns.div_ceil(1_000_000).min(i32::MAX as u64) as libc::c_int);
    // SAFETY: `events` has `room` entries.
    check(unsafe { libc::epoll_wait(fd, events.as_mut_ptr(), room, millis) }).map(|count| count as usize)
}

/// The kernel may wake a sleeper up to 50 µs late to save power; delays here are meant as written.
fn tighten_timers() {
    // SAFETY: no pointers; affects the calling thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}
