//! Registers with unique values, judged while the run goes on, in memory bounded by what is live.
//!
//! The same promise as [`unique`](crate::unique), kept event by event. An update that returned before anything
//! now open was called divides the past from the present: whatever certainly precedes it can be met by no
//! operation that is still to come back, so its group is folded into its chain's zone and forgotten. What stays
//! is what operations may still meet, the zones that a live one could still contradict, and one small record
//! for every indefinite write that nobody has seen, as such a write may surface at any time.
//!
//! ```text
//! p0 |--w1--|  |--w2--|                  w1 is over once w2, called after it, is back
//! p1                      |--w3--|  ^    and nothing older is open: only w3 is held here
//! ```
//!
//! Events pass through a [lag](WatchOptions::lag_ns) of the clients' timeout, so that the outcome of a call is
//! known when the call is looked at.
//!
//! ```
//! use checker::history::sketch;
//! use checker::stream::{Stop, Watch, WatchOptions};
//!
//! let events = sketch::events(
//!     "
//! p0 |--w1--|  |--w2--|
//! p1                     |--r1--|
//! ",
//! )?;
//! let mut watch = Watch::new(WatchOptions::default());
//! let stop = events.into_iter().try_for_each(|event| watch.push(event)).and_then(|()| watch.finish());
//! let Err(Stop::Violation(anomaly)) = stop else { panic!("the second write was over") };
//! assert_eq!((anomaly.name.as_str(), &anomaly.ops[..]), ("lost-update", &[0, 2, 4][..]));
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```
//!
//! # What it does not do
//! - Compare-and-sets that were refused with `mismatch` are held against the time in which their value was
//!   certainly there, as in the whole check, but not fitted into an order besides.
//! - A value that is written again is noticed only while its first writer is live.
//! - Values are remembered only a while after their time: a value from long ago is told as `fabricated-value`.
//! - Anomalies carry no drawing: that takes the recorded history, and [`Linearizable`](crate::Linearizable).

mod fault;
mod lag;
mod register;
mod zone;

use rustc_hash::FxHashMap;
use serde_json::Value;
use thiserror::Error;

use crate::history::FormError;
use crate::model::key_text;
use crate::model::register::NotRegister;
use crate::{Anomaly, Event};
use fault::Fault;
use lag::{Edge, End, Lag, Step};
pub use register::Live;
use register::Register;

/// How a [`Watch`] works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchOptions {
    /// Nanoseconds after which a call without an outcome counts as indefinite: at least the clients' timeout.
    /// An outcome that comes later still stops the watch with [`WatchError::TooLate`].
    pub lag_ns: u64,
    /// Edges of one key after which what is over is forgotten. Smaller values find violations a little sooner
    /// and hold less; the verdict does not depend on it.
    pub epoch_events: u32,
}

impl Default for WatchOptions {
    /// A minute of lag, 256 edges.
    fn default() -> Self {
        WatchOptions { lag_ns: 60_000_000_000, epoch_events: 256 }
    }
}

/// Why a watch ended before the history did.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Stop {
    /// The promise was broken: the first proof found.
    #[error("{}: {}", .0.name, .0.reason)]
    Violation(Box<Anomaly>),
    /// These events cannot be judged as they come.
    #[error(transparent)]
    Undecidable(#[from] WatchError),
}

/// Why events cannot be judged as they come.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WatchError {
    /// Not a history.
    #[error(transparent)]
    Form(#[from] FormError),
    /// Not operations of a register.
    #[error(transparent)]
    NotRegister(#[from] NotRegister),
    /// Values are not unique.
    #[error(
        "operation {index} writes {value} to key {key} again; only unique values can be judged as they come, \
         so check the recorded history instead"
    )]
    Repeated {
        /// Index of its invocation.
        index: u64,
        /// What it writes.
        value: String,
        /// Where.
        key: String,
    },
    /// The lag is shorter than the clients' timeout.
    #[error(
        "event {index} completes the call at event {call} after more than the lag of {lag_ms} ms; \
         set the lag to the clients' timeout or more"
    )]
    TooLate {
        /// The completion.
        index: u64,
        /// The call it completes.
        call: u64,
        /// The lag, in milliseconds.
        lag_ms: u64,
    },
}

/// Judges registers, key by key, event by event.
#[derive(Debug)]
pub struct Watch {
    options: WatchOptions,
    lag: Lag,
    keys: FxHashMap<Value, u32>,
    registers: Vec<(Value, Register<Value>)>,
    ops: u64,
    stopped: Option<Stop>,
}

impl Watch {
    /// A watch that has seen nothing.
    pub fn new(options: WatchOptions) -> Self {
        Watch {
            options,
            lag: Lag::new(options.lag_ns),
            keys: FxHashMap::default(),
            registers: Vec::new(),
            ops: 0,
            stopped: None,
        }
    }

    /// Takes the next event of the log, and judges those that are older than the lag.
    ///
    /// After it has stopped, every further event gives the same answer.
    pub fn push(&mut self, event: Event) -> Result<(), Stop> {
        if let Some(stop) = &self.stopped {
            return Err(stop.clone());
        }
        self.take(event).inspect_err(|stop| self.stopped = Some(stop.clone()))
    }

    /// The history is over: judges what is left. Calls still open are indefinite.
    pub fn finish(mut self) -> Result<(), Stop> {
        if let Some(stop) = self.stopped {
            return Err(stop);
        }
        self.lag.end();
        self.judge_ready()?;
        for at in 0..self.registers.len() {
            let settled = self.registers[at].1.finish();
            settled.map_err(|fault| self.stop(at, &fault))?;
        }
        Ok(())
    }

    /// Operations judged so far: those whose call is older than the lag.
    pub fn ops(&self) -> u64 {
        self.ops
    }

    /// What is held in memory, over all keys.
    pub fn live(&self) -> Live {
        self.registers.iter().fold(Live::default(), |sum, (_, register)| {
            let live = register.live();
            Live {
                groups: sum.groups + live.groups,
                zones: sum.zones + live.zones,
                unseen: sum.unseen + live.unseen,
            }
        })
    }

    fn take(&mut self, event: Event) -> Result<(), Stop> {
        let (keys, registers) = (&mut self.keys, &mut self.registers);
        let epoch_events = self.options.epoch_events;
        self.lag.push(event, |key| {
            *keys.entry(key).or_insert_with_key(|key| {
                registers.push((key.clone(), Register::new(Value::Null, epoch_events)));
                registers.len() as u32 - 1
            })
        })?;
        self.judge_ready()
    }

    fn judge_ready(&mut self) -> Result<(), Stop> {
        while let Some(Step { key, op, inv, edge }) = self.lag.next() {
            let register = &mut self.registers[key as usize].1;
            self.ops += u64::from(matches!(edge, Edge::Call(..)));
            let judged = match edge {
                Edge::Call(act, End::Definite) => register.call(op, inv, &act),
                Edge::Call(act, End::Indefinite) => register.call_indefinite(op, inv, &act),
                Edge::Call(act, End::Failed) => register.failed(op, &act),
                Edge::Return(act, at) => register.ret(op, inv, at, &act),
            };
            judged.map_err(|fault| self.stop(key as usize, &fault))?;
        }
        Ok(())
    }

    /// A register's fault as an answer.
    fn stop(&self, place: usize, fault: &Fault<Value>) -> Stop {
        let key = key_text(&self.registers[place].0);
        match fault.told() {
            Ok(mut told) => {
                if let Fault::NoWriter { value, past: None, .. } = fault
                    && let Some((other, _)) = self
                        .registers
                        .iter()
                        .enumerate()
                        .find(|(i, (_, r))| *i != place && r.knows(value))
                        .map(|(_, r)| r)
                {
                    told.name = "value-of-another-key";
                    told.reason.push_str(&format!("; but {value} was written to key {}", key_text(other)));
                }
                Stop::Violation(Box::new(Anomaly {
                    name: told.name.to_string(),
                    key,
                    ops: told.ops,
                    reason: told.reason,
                    drawing: String::new(),
                }))
            }
            Err((index, value)) => Stop::Undecidable(WatchError::Repeated { index, value, key }),
        }
    }
}
