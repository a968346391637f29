//! Clock faults: what a process is told when it asks for the time, changed while it runs.
//!
//! ```text
//!   a process, in its node                                        the harness
//!   clock_gettime() ──→ shim ──→ C library: the real time
//!                        │ ▲
//!              what was  │ │ a line: told − real,         ┌─────────┐
//!              told      ▼ └── as a function of real ─────┤  Clock  │
//!                       [ one shared page ] ─────────────→└─────────┘
//! ```
//!
//! A [`Clock`] is made for one process before it starts; [`Clock::env`] goes into its
//! [`Program::env`](crate::Program::env) and puts the shim, a small library that the binary carries with it, before
//! the C library. As long as nobody [`skew`](Clock::skew)s the clock the process is told the real time. The page
//! is the node's, not the process's: a restarted process finds its clock as wrong as it was.
//!
//! **What was told is the evidence.** The shim writes into the page how often it was asked and how far from the
//! truth its answers were; [`Clock::told`] reads that. A process that was not reached has no readings.
//!
//! **Which clocks.** Jumps and strobes touch the wall clock only, since no operator or time server can make a machine's
//! monotonic clock jump. Drift may touch both: a bad oscillator does. Told monotonic time never goes backwards, and when
//! a drift heals it keeps what it has gained or lost and only goes on at the real pace, for it has no truth to come back
//! to. The wall clock heals by one step to the real time, as a time server's first correction does.
//!
//! **Deadlines.** A process computes an absolute deadline from what it was told. The shim turns it back to the real time
//! at which the process would be told that deadline; otherwise a wait of a second would sleep for the whole offset. A wait
//! that is under way when the clock changes keeps the real time it was given.
//!
//! **What it does not reach** is in [`REACH`], for people.

mod page;
mod skew;
mod told;

// The shim's own files, for tests; here they hook nothing.
#[cfg(all(test, target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "../clock-shim/hooks.rs"]
#[allow(dead_code)]
mod hooks;
#[cfg(all(test, target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "../clock-shim/real.rs"]
#[allow(dead_code)]
mod real;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::mount::{MsFlags, mount};

use self::page::{Domain, Line, Mapping};
pub use self::skew::{Clocks, Skew};
pub use self::told::{Told, ToldBy};
use crate::error::{LabError, Result};
use crate::node::Node;

/// What clock faults do not reach, in words for people.
pub const REACH: &str = "\
Clock faults reach programs that ask the C library (glibc, 64-bit x86 or ARM) for the time: redis-server, the Java \
machine and our agents do. They do not reach statically linked programs, programs that ask the kernel with a system \
call of their own or read the processor's counter, set-uid programs, CPU time, file times, or anything inside the kernel: \
relative sleeps and time-outs (epoll, poll, nanosleep), TCP timers and POSIX timers keep the real pace. Clients run inside \
the harness and have its clock.";

/// The shim; empty where there is none for this C library.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/clock-shim.so"));
const LIBRARY_NAME: &str = "lab-clock-shim.so";

/// Where a node gets a memory of its own for pages: in memory, so that telling the time never waits for a disk, and in
/// the node, so that it goes with it. The first that exists.
const PLACES: [&str; 2] = ["/dev/shm", "/mnt"];

/// The clock of one process. Clones mean the same clock.
#[derive(Clone)]
pub struct Clock {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    env: Vec<(String, String)>,
    mapping: Mapping,
    began: Mutex<[Began; 2]>,
}

/// Where the measurement of a domain began.
#[derive(Clone, Copy, Debug, Default)]
struct Began {
    real_ns: i64,
    offset_ns: i64,
    reads: u64,
}

/// True if this binary carries the shim.
pub fn is_available() -> bool {
    !LIBRARY.is_empty()
}

impl Clock {
    /// Makes a clock for one process in `node`, telling the real time. `name` is for the page's file: letters, digits,
    /// `-`, and no other clock's in this node.
    pub fn create(node: &Node, name: &str) -> Result<Clock> {
        let error = |why: String| LabError::Clock { name: name.to_owned(), why };
        if !is_available() {
            return Err(error("the clock shim needs glibc on 64-bit x86 or ARM".into()));
        }
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(error("use letters, digits and `-` in its name".into()));
        }
        let file = format!("lab-clock-{name}");
        let made = node.run_inside(move || own_memory().and_then(|dir| make_page(&dir, &file)))?;
        let (dir, page, mapping) = made.map_err(|e| error(e.to_string()))?;
        Ok(Clock::of(name, &dir, &page, mapping))
    }

    fn of(name: &str, dir: &Path, page: &Path, mapping: Mapping) -> Clock {
        let mut preload = dir.join(LIBRARY_NAME).display().to_string();
        if let Some(others) = std::env::var("LD_PRELOAD").ok().filter(|others| !others.is_empty()) {
            preload = format!("{preload}:{others}");
        }
        let variable = page::VARIABLE.to_string_lossy().into_owned();
        let env = vec![("LD_PRELOAD".to_owned(), preload), (variable, page.display().to_string())];
        let began = [Domain::Wall, Domain::Monotonic]
            .map(|domain| Began { real_ns: page::real_now(domain), ..Began::default() });
        Clock { inner: Arc::new(Inner { name: name.to_owned(), env, mapping, began: Mutex::new(began) }) }
    }

    /// Variables that make a process use this clock, and its children too.
    pub fn env(&self) -> &[(String, String)] {
        &self.inner.env
    }

    /// How often a program has been started with this clock.
    pub fn starts(&self) -> u64 {
        self.inner.mapping.page().attached.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Makes the clock wrong until the guard goes. A clock has one skew at a time: the next replaces it.
    pub fn skew(&self, skew: Skew) -> Result<SkewGuard> {
        skew.check().map_err(|why| LabError::Clock { name: self.inner.name.clone(), why })?;
        match skew {
            Skew::Jump { offset_ns } => {
                self.bend(Domain::Wall, |line| Line { offset: offset_ns, ..line });
            }
            Skew::Strobe { delta_ns, period_ns } => {
                self.bend(Domain::Wall, |line| Line { strobe: delta_ns, period: period_ns, ..line });
            }
            Skew::Drift { rate, clocks } => {
                for domain in clocks.domains() {
                    self.bend(*domain, |line| Line { rate: skew::ppb(rate), ..line });
                }
            }
        }
        Ok(SkewGuard { clock: self.clone(), armed: true })
    }

    /// Lets the clock be right again: the wall clock steps to the real time, the monotonic one goes on at its pace.
    pub fn straighten(&self) {
        self.bend(Domain::Wall, |line| line);
        self.bend(Domain::Monotonic, |line| line);
    }

    /// What the process was told since the clock was last changed.
    pub fn told(&self) -> Told {
        let began = *self.began();
        let page = self.inner.mapping.page();
        let of = |domain: Domain| told::of(page.report(domain), began[domain as usize]);
        Told { wall: of(Domain::Wall), monotonic: of(Domain::Monotonic) }
    }

    /// Draws a new line from now on. `shape` gets one that is straight, but in the monotonic domain goes on from where
    /// the last one has come to.
    fn bend(&self, domain: Domain, shape: impl FnOnce(Line) -> Line) {
        let mut began = self.began();
        let page = self.inner.mapping.page();
        let mut old = page.line(domain);
        if domain == Domain::Monotonic && old.never_back == 0 {
            // In force before the new line's anchor is read: whatever is told after the anchor is remembered.
            old.never_back = 1;
            page.draw(domain, &old);
        }
        let anchor = page::real_now(domain);
        let before = old.offset_at(anchor);
        let kept = if domain == Domain::Monotonic { before } else { 0 };
        let new = shape(Line { anchor, offset: kept, never_back: old.never_back, ..Line::default() });
        page.draw(domain, &new);
        let report = page.report(domain);
        report.restart();
        let reads = report.reads.load(std::sync::atomic::Ordering::Relaxed);
        began[domain as usize] = Began { real_ns: anchor, offset_ns: new.offset_at(anchor), reads };
    }

    fn began(&self) -> MutexGuard<'_, [Began; 2]> {
        self.inner.began.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that is wrong. Dropping it makes the clock right.
#[must_use = "the clock is right again as soon as this is dropped"]
pub struct SkewGuard {
    clock: Clock,
    armed: bool,
}

impl SkewGuard {
    /// What the process was told so far.
    pub fn told(&self) -> Told {
        self.clock.told()
    }

    /// Straightens the clock now; from then on [`told`](SkewGuard::told) is of the right clock.
    pub fn straighten(&mut self) {
        if std::mem::take(&mut self.armed) {
            self.clock.straighten();
        }
    }
}

impl Drop for SkewGuard {
    fn drop(&mut self) {
        self.straighten();
    }
}

/// Gives the node, whose thread calls, a memory of its own with the library in it, if it has none yet.
fn own_memory() -> io::Result<PathBuf> {
    let dir = PLACES.map(PathBuf::from).into_iter().find(|place| place.is_dir());
    let dir = dir.ok_or_else(|| io::Error::other(format!("none of {} is there", PLACES.join(", "))))?;
    let library = dir.join(LIBRARY_NAME);
    if !library.exists() {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("lab-clocks"), &dir, Some("tmpfs"), flags, Some("size=1m,mode=0755")).map_err(|e| {
            io::Error::other(format!("mount a memory of the node's own at {}: {e}", dir.display()))
        })?;
        std::fs::write(&library, LIBRARY)?;
    }
    Ok(dir)
}

fn make_page(dir: &Path, file: &str) -> io::Result<(PathBuf, PathBuf, Mapping)> {
    let path = dir.join(file);
    let mut page = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    page.write_all(&[0; page::SIZE])?;
    let mapping = Mapping::of(&page)?;
    mapping.page().begin();
    Ok((dir.to_owned(), path, mapping))
}

#[cfg(test)]
mod tests;
