//! The only writer of events, the only reader of the run clock.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use checker::{Event, EventKind, FaultRecord, Process};
use nemesis::{Edge, EdgeKind};
use nix::time::{ClockId, clock_gettime};
use results::Journal;
use results::summary::Counts;
use serde_json::Value;
use workloads::{Call, Completion};

/// Records what happens, in the order in which it happens, before anything depends on it.
pub struct Recorder {
    journal: Journal,
    clock: RunClock,
    tallies: Tallies,
    broken: OnceLock<String>,
    /// Who else is told of every event, each with its index; not always in order.
    ear: Option<Sender<Event>>,
}

/// The run's monotonic clock: nanoseconds since the load began.
#[derive(Debug, Clone, Copy)]
pub struct RunClock {
    origin: Instant,
    origin_mono_ns: i64,
}

impl RunClock {
    /// A clock that reads 0 now.
    pub fn start() -> Self {
        // The two readings are a few nanoseconds apart; agents and harness share the machine's monotonic clock.
        let mono = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock");
        RunClock { origin: Instant::now(), origin_mono_ns: mono.tv_sec() * 1_000_000_000 + mono.tv_nsec() }
    }

    /// The instant at which it read 0.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// What the wall clock read then, nanoseconds since 1970.
    pub fn zero_on_the_wall_ns(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.as_nanos() as i64 - self.now_ns() as i64
    }

    /// Nanoseconds since then.
    pub fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// An instant on this clock; 0 for what was before.
    pub fn of_instant(&self, instant: Instant) -> u64 {
        instant.saturating_duration_since(self.origin).as_nanos() as u64
    }

    /// A reading of the machine's `CLOCK_MONOTONIC` on this clock; negative for what was before.
    pub fn of_mono(&self, mono_ns: u64) -> i64 {
        mono_ns as i64 - self.origin_mono_ns
    }
}

/// How many operations ended how, so far.
#[derive(Debug, Default)]
struct Tallies {
    invoked: AtomicU64,
    ok: AtomicU64,
    fail: AtomicU64,
    info: AtomicU64,
}

/// The journal cannot be written: the run cannot go on, what was recorded stays.
#[derive(Debug, thiserror::Error)]
#[error("the journal is broken")]
pub struct Broken;

impl Recorder {
    /// Records into `journal` by `clock`.
    pub fn new(journal: Journal, clock: RunClock) -> Self {
        Recorder { journal, clock, tallies: Tallies::default(), broken: OnceLock::new(), ear: None }
    }

    /// The same, telling `ear` of every event once it is recorded.
    pub fn heard_by(self, ear: Sender<Event>) -> Self {
        Recorder { ear: Some(ear), ..self }
    }

    /// The run clock.
    pub fn clock(&self) -> &RunClock {
        &self.clock
    }

    /// A call begins. When this returns, the call may be sent.
    pub fn invoke(&self, process: u64, call: Call) -> Result<(), Broken> {
        self.tallies.invoked.fetch_add(1, Ordering::Relaxed);
        self.append(Event {
            key: Some(Value::String(call.key)),
            value: call.value,
            ..self.event(Process::Client(process), EventKind::Invoke, call.f)
        })
    }

    /// A call ended.
    pub fn complete(
        &self,
        process: u64,
        f: &'static str,
        key: String,
        completion: Completion,
    ) -> Result<(), Broken> {
        let tally = match completion.kind {
            EventKind::Ok => &self.tallies.ok,
            EventKind::Fail => &self.tallies.fail,
            EventKind::Info | EventKind::Invoke => &self.tallies.info,
        };
        tally.fetch_add(1, Ordering::Relaxed);
        let (shard, epoch, node) = match completion.served_by {
            Some(by) => (Some(by.shard), Some(by.epoch), Some(Cow::Owned(by.node))),
            None => (None, None, None),
        };
        self.append(Event {
            key: Some(Value::String(key)),
            value: completion.value,
            error: completion.error,
            shard,
            epoch,
            node,
            ..self.event(Process::Client(process), completion.kind, f)
        })
    }

    /// A fault strikes, or has healed.
    pub fn fault(&self, edge: &Edge<'_>) -> Result<(), Broken> {
        let start_ns = self.clock.of_instant(edge.began);
        let (f, stop_ns) = match edge.kind {
            EdgeKind::Start => ("fault-start", None),
            EdgeKind::Stop => ("fault-stop", Some(self.clock.now_ns())),
        };
        let record = FaultRecord {
            id: edge.window.id,
            kind: edge.window.harm.family().name().into(),
            detail: edge.window.harm.to_string(),
            target: edge.window.target.to_string(),
            nodes: edge.report.nodes.clone(),
            roles: edge.report.roles.clone(),
            wide: edge.window.harm.is_wide(),
            start_ns,
            stop_ns,
            installed: edge.report.installed,
            evidence: edge.report.evidence.clone(),
        };
        self.window(f, record)
    }

    /// Shards come or go from here on, or have done so: recorded like a fault, so that it is seen beside them.
    pub fn reshard(&self, record: FaultRecord) -> Result<(), Broken> {
        let f = if record.stop_ns.is_none() { "fault-start" } else { "fault-stop" };
        self.window(f, record)
    }

    fn window(&self, f: &'static str, record: FaultRecord) -> Result<(), Broken> {
        let value = serde_json::to_value(record).expect("a fault record is plain data");
        self.append(Event { value, ..self.event(Process::Nemesis, EventKind::Info, f) })
    }

    /// The run enters a phase: `load`, `settle`, `final-reads`, `end`.
    pub fn phase(&self, name: &str) -> Result<(), Broken> {
        self.append(Event {
            value: Value::String(name.into()),
            ..self.event(Process::Nemesis, EventKind::Info, "phase")
        })
    }

    /// Counts so far.
    pub fn counts(&self) -> Counts {
        let [invoked, ok, fail, info] =
            [&self.tallies.invoked, &self.tallies.ok, &self.tallies.fail, &self.tallies.info]
                .map(|tally| tally.load(Ordering::Relaxed));
        Counts { invoked, ok, fail, info }
    }

    /// Why nothing more can be recorded, if so.
    pub fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }

    /// Waits until the disk has everything.
    pub fn finish(self) -> Result<(), String> {
        match self.broken.into_inner() {
            Some(why) => Err(why),
            None => self.journal.finish().map(drop).map_err(|e| e.to_string()),
        }
    }

    fn event(&self, process: Process, kind: EventKind, f: &'static str) -> Event {
        Event {
            index: 0, // the journal's to give
            time_ns: self.clock.now_ns(),
            process,
            kind,
            f: Cow::Borrowed(f),
            key: None,
            value: Value::Null,
            error: None,
            shard: None,
            epoch: None,
            node: None,
        }
    }

    fn append(&self, mut event: Event) -> Result<(), Broken> {
        self.journal.append(&mut event).map_err(|error| {
            self.broken.get_or_init(|| error.to_string());
            Broken
        })?;
        if let Some(ear) = &self.ear {
            let _ = ear.send(event); // who has heard enough is gone
        }
        Ok(())
    }
}
