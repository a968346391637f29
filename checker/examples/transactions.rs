//! How fast transactions are judged, and in how much memory:
//! `cargo run --release -p checker --example transactions [transactions…]`.
//!
//! Generates histories of a serial database at concurrency 50: one to four steps a transaction, half of them
//! appends, ten lists at a time, each given up after some 32 appends (so that a read shows 16 elements on average), one
//! transaction in a hundred indefinite, one in a hundred failed. The same with one stale read near the end. The measure begins with the history as parsed values and ends with the verdict: interning
//! keys and values is in it, reading a file is not. Milliseconds are processor time of the thread, the least of three
//! runs; bytes are what was allocated at once beyond the history, per transaction.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use checker::txn::ListAppend;
use checker::{Budget, Checker, Event, EventKind, History, Process};
use serde_json::{Value, json};

const CONCURRENCY: u64 = 50;
const LISTS: u64 = 10;
const APPENDS_MAX: usize = 32;

/// The system's allocator, and how much of it is in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; counting does not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let in_use = IN_USE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(in_use, Relaxed);
        // SAFETY: the caller's promise on `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: `at` came from `alloc` above with this layout, as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100_000, 1_000_000] } else { sizes };
    println!("{:>12} {:>6} {:>10} {:>8}  verdict", "transactions", "bad", "cpu ms", "bytes");
    for size in sizes {
        for bad in [false, true] {
            let history = History::from_events(generate(size, bad)).expect("well formed");
            let (mut cpu_ms, mut bytes, mut word) = (f64::MAX, 0, "");
            for _ in 0..3 {
                let before = IN_USE.load(Relaxed);
                PEAK.store(before, Relaxed);
                let start = cpu_ns();
                word = ListAppend::default().check(&history, &Budget::default()).word();
                cpu_ms = f64::min(cpu_ms, (cpu_ns() - start) as f64 / 1e6);
                bytes = (PEAK.load(Relaxed) - before) / size;
            }
            println!("{size:>12} {bad:>6} {cpu_ms:>10.1} {bytes:>8}  {word}");
        }
    }
}

/// Nanoseconds that this thread has run.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux with schedstat");
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number first")
}

/// A small generator of its own (splitmix64), so that the figures do not depend on a library's stream.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// All lists ever, by key; the last ones are in use.
struct Lists(Vec<Vec<u64>>);

impl Lists {
    /// One of those in use that is not full; a full one makes room for a new one.
    fn choose(&mut self, dice: &mut Dice) -> usize {
        let at = self.0.len() - 1 - dice.below(LISTS) as usize;
        if self.0[at].len() >= APPENDS_MAX {
            self.0.push(Vec::new());
        }
        at
    }
}

/// A step: what it appends or none for a read, and where.
type Step = (Option<u64>, usize);

enum Call {
    Idle,
    Waiting(Vec<Step>),
    /// Took effect, with this result.
    Done(Value),
}

/// Steps as the history has them; reads return what `lists` hold now, if there are any.
fn told(steps: &[Step], lists: Option<&[&[u64]]>) -> Value {
    let mut reads = lists.into_iter().flatten();
    steps
        .iter()
        .map(|(value, key)| match value {
            Some(value) => json!(["append", key, value]),
            None => json!(["r", key, reads.next()]),
        })
        .collect()
}

fn generate(size: usize, bad: bool) -> Vec<Event> {
    let mut dice = Dice(11);
    let mut events: Vec<Event> = Vec::with_capacity(size * 2);
    let mut lists = Lists(vec![Vec::new(); LISTS as usize]);
    let mut clients: Vec<(u64, Call)> = (0..CONCURRENCY).map(|id| (id, Call::Idle)).collect();
    let (mut started, mut running, mut fresh, mut value, mut stale) = (0, 0, CONCURRENCY, 0, bad);
    while started < size || running > 0 {
        let at = dice.below(CONCURRENCY) as usize;
        let id = clients[at].0;
        let mut push = |kind, value: Value| {
            let index = events.len() as u64;
            events.push(Event {
                index,
                time_ns: index * 1_000,
                process: Process::Client(id),
                kind,
                f: "txn".into(),
                key: None,
                value,
                error: None,
                shard: None,
                epoch: None,
                node: None,
            });
        };
        clients[at].1 = match std::mem::replace(&mut clients[at].1, Call::Idle) {
            Call::Idle if started < size => {
                (started, running) = (started + 1, running + 1);
                let count = 1 + dice.below(4);
                let step = |_| {
                    value += 1;
                    ((dice.below(2) == 0).then_some(value), lists.choose(&mut dice))
                };
                let steps: Vec<Step> = (0..count).map(step).collect();
                push(EventKind::Invoke, told(&steps, None));
                Call::Waiting(steps)
            }
            Call::Idle => Call::Idle,
            Call::Waiting(steps) if dice.below(100) == 0 => {
                running -= 1;
                push(EventKind::Fail, told(&steps, None));
                Call::Idle
            }
            Call::Waiting(steps) => {
                let mut reads: Vec<Vec<u64>> = Vec::new();
                for (value, key) in &steps {
                    match value {
                        Some(value) => lists.0[*key].push(*value),
                        None => reads.push(lists.0[*key].clone()),
                    }
                }
                if let Some(read) = reads.iter_mut().find(|read| read.len() > 20)
                    && stale
                    && started > size * 95 / 100
                {
                    stale = false;
                    read.truncate(1);
                }
                Call::Done(told(&steps, Some(&reads.iter().map(Vec::as_slice).collect::<Vec<_>>())))
            }
            Call::Done(_) if dice.below(100) == 0 => {
                running -= 1;
                push(EventKind::Info, Value::Null);
                clients[at].0 = fresh;
                fresh += 1;
                Call::Idle
            }
            Call::Done(result) => {
                running -= 1;
                push(EventKind::Ok, result);
                Call::Idle
            }
        };
    }
    events
}
