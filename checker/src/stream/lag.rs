//! Events held back until the outcome of each call is known.

use std::borrow::Cow;
use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::WatchError;
use super::register::Act;
use crate::history::FormError;
use crate::model::register::NotRegister;
use crate::{Event, EventKind, Process};

/// One edge of an operation whose outcome is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    /// Which register.
    pub(super) key: u32,
    /// Index of the operation's invocation event.
    pub(super) op: u64,
    /// Position of its call among all events, from 1.
    pub(super) inv: u64,
    pub(super) edge: Edge,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Edge {
    /// Called; a read's value is not known yet.
    Call(Act<Value>, End),
    /// Back at this position.
    Return(Act<Value>, u64),
}

/// How a call will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Definite,
    Indefinite,
    Failed,
}

#[derive(Debug)]
struct Slot {
    step: Step,
    process: u64,
    time_ns: u64,
    /// Is its outcome still unknown?
    waits: bool,
}

#[derive(Debug)]
struct Client {
    /// Number of its last call among all slots.
    slot: u64,
    op: u64,
    f: Cow<'static, str>,
    stands: Stands,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Open,
    Completed,
    Retired,
    /// Taken to be indefinite, as its outcome did not come in time.
    GivenUp,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Lag {
    lag_ns: u64,
    now_ns: u64,
    position: u64,
    slots: VecDeque<Slot>,
    /// How many slots were taken out at the front.
    taken: u64,
    clients: FxHashMap<u64, Client>,
    is_over: bool,
}

impl Lag {
    pub(super) fn new(lag_ns: u64) -> Self {
        Lag {
            lag_ns,
            now_ns: 0,
            position: 0,
            slots: VecDeque::new(),
            taken: 0,
            clients: FxHashMap::default(),
            is_over: false,
        }
    }

    /// Takes the next event; `key` is its register, for a call.
    pub(super) fn push(&mut self, event: Event, key: impl FnOnce(Value) -> u32) -> Result<(), WatchError> {
        self.position += 1;
        self.now_ns = self.now_ns.max(event.time_ns);
        match event.process {
            Process::Nemesis => Ok(()),
            Process::Client(id) if event.kind == EventKind::Invoke => self.call(id, event, key),
            Process::Client(id) => self.complete(id, event),
        }
    }

    /// Nothing more comes: calls still open are indefinite.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// The next edge whose outcome is known, or given up on.
    pub(super) fn next(&mut self) -> Option<Step> {
        let front = self.slots.front()?;
        let is_late = self.now_ns.saturating_sub(front.time_ns) > self.lag_ns;
        if front.waits && !is_late && !self.is_over {
            return None;
        }
        let slot = self.slots.pop_front()?;
        if let Some(client) = self.clients.get_mut(&slot.process)
            && client.slot == self.taken
        {
            match client.stands {
                Stands::Open => client.stands = Stands::GivenUp,
                // Nothing more is expected of it; were all kept, memory would grow.
                Stands::Retired => drop(self.clients.remove(&slot.process)),
                Stands::Completed | Stands::GivenUp => {}
            }
        }
        self.taken += 1;
        Some(slot.step)
    }

    fn call(&mut self, id: u64, event: Event, key: impl FnOnce(Value) -> u32) -> Result<(), WatchError> {
        let (index, process) = (event.index, event.process);
        if let Some(client) = self.clients.get(&id) {
            match client.stands {
                Stands::Open => {
                    return Err(FormError::CallWhileOpen { index, process, open: client.op }.into());
                }
                Stands::Retired | Stands::GivenUp => {
                    return Err(FormError::AfterInfo { index, process, call: client.op }.into());
                }
                Stands::Completed => {}
            }
        }
        let act = act(index, &event.f, event.value)?;
        let slot = self.taken + self.slots.len() as u64;
        self.clients.insert(id, Client { slot, op: index, f: event.f, stands: Stands::Open });
        let edge = Edge::Call(act, End::Indefinite);
        let step = Step { key: key(event.key.unwrap_or(Value::Null)), op: index, inv: self.position, edge };
        self.slots.push_back(Slot { step, process: id, time_ns: event.time_ns, waits: true });
        Ok(())
    }

    fn complete(&mut self, id: u64, event: Event) -> Result<(), WatchError> {
        let (index, process) = (event.index, event.process);
        let Some(client) = self.clients.get_mut(&id) else {
            return Err(FormError::NoCall { index, process }.into());
        };
        let call = client.op;
        match client.stands {
            Stands::Open => {}
            Stands::Completed => return Err(FormError::TwoCompletions { index, process, call }.into()),
            Stands::Retired => return Err(FormError::AfterInfo { index, process, call }.into()),
            Stands::GivenUp => {
                return Err(WatchError::TooLate { index, call, lag_ms: self.lag_ns / 1_000_000 });
            }
        }
        if client.f != event.f {
            let (called, found) = (client.f.to_string(), event.f.to_string());
            return Err(FormError::OtherCall { index, process, call, called, found }.into());
        }
        client.stands = if event.kind == EventKind::Info { Stands::Retired } else { Stands::Completed };
        let slot = &mut self.slots[(client.slot - self.taken) as usize];
        slot.waits = false;
        let Edge::Call(act, end) = &mut slot.step.edge else { return Ok(()) };
        *end = match event.kind {
            EventKind::Ok => End::Definite,
            EventKind::Info | EventKind::Invoke => return Ok(()),
            EventKind::Fail => match act {
                Act::Cas(expected, _) if event.error.as_deref() == Some("mismatch") => {
                    *act = Act::Differs(expected.clone());
                    End::Definite
                }
                _ => {
                    *end = End::Failed;
                    return Ok(());
                }
            },
        };
        let told = match act {
            Act::Read(_) => Act::Read(event.value),
            other => other.clone(),
        };
        let step = Step { edge: Edge::Return(told, self.position), ..slot.step };
        self.slots.push_back(Slot { step, process: id, time_ns: event.time_ns, waits: false });
        Ok(())
    }
}

fn act(index: u64, f: &str, value: Value) -> Result<Act<Value>, NotRegister> {
    match (f, value) {
        ("read", _) => Ok(Act::Read(Value::Null)),
        ("write", value) => Ok(Act::Write(value)),
        ("cas", Value::Array(pair)) => match <[Value; 2]>::try_from(pair) {
            Ok([expected, new]) => Ok(Act::Cas(expected, new)),
            Err(pair) => Err(NotRegister::Pair { index, value: Value::Array(pair).to_string() }),
        },
        ("cas", value) => Err(NotRegister::Pair { index, value: value.to_string() }),
        (f, _) => Err(NotRegister::Function { index, f: f.to_string() }),
    }
}
