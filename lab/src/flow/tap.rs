//! Taps: which connections are tapped, by whom, and what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::conn::Tally;
use super::{Flow, Interceptor};
use crate::fabric::Fabric;
use crate::node::NodeId;

/// Which connections are tapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tap {
    /// A name for people; it appears in captures.
    pub name: String,
    /// Only connections to these ports; to any if empty.
    pub server_ports: Vec<u16>,
    /// Only connections with either side among these nodes; `None` for all.
    pub nodes: Option<Vec<NodeId>>,
}

/// What a tap has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapCounters {
    /// Connections that got an interceptor.
    pub flows: u64,
    /// Those of them in which bytes were replaced, inserted or swallowed.
    pub edited: u64,
    /// Packets of the ends that did not go on as they were.
    pub taken: u64,
    /// Packets sent in the name of an end.
    pub made: u64,
    /// Those of them that repeat bytes sent before.
    pub repeated: u64,
    /// How often more than [`PENDING_MAX`](super::PENDING_MAX) bytes waited, and passed for that.
    pub overflowed: u64,
    /// Connections reset because an interceptor asked for it.
    pub reset: u64,
    /// Connections reset because the tap went while their ends counted differently.
    pub drained: u64,
    /// Connections reset because an end had not answered for two minutes.
    pub given_up: u64,
}

pub(crate) type Make = dyn Fn(&Flow) -> Option<Box<dyn Interceptor>> + Send + Sync;

/// A tap while it is installed.
pub(crate) struct TapState {
    pub(crate) id: u64,
    pub(crate) tap: Tap,
    pub(crate) make: Box<Make>,
    pub(crate) poked: AtomicBool,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    flows: AtomicU64,
    edited: AtomicU64,
    taken: AtomicU64,
    made: AtomicU64,
    repeated: AtomicU64,
    overflowed: AtomicU64,
    reset: AtomicU64,
    drained: AtomicU64,
    given_up: AtomicU64,
}

impl TapState {
    pub(crate) fn new(id: u64, tap: Tap, make: Box<Make>) -> TapState {
        TapState { id, tap, make, poked: AtomicBool::new(false), counts: Counts::default() }
    }

    /// True if a packet between these nodes can belong to it.
    pub(crate) fn covers_nodes(&self, a: NodeId, b: NodeId) -> bool {
        self.tap.nodes.as_ref().is_none_or(|nodes| nodes.contains(&a) || nodes.contains(&b))
    }

    pub(crate) fn covers_port(&self, server: u16) -> bool {
        self.tap.server_ports.is_empty() || self.tap.server_ports.contains(&server)
    }

    pub(crate) fn note_flow(&self) {
        self.counts.flows.fetch_add(1, Relaxed);
    }

    pub(crate) fn note_drained(&self) {
        self.counts.drained.fetch_add(1, Relaxed);
    }

    pub(crate) fn note(&self, taken: bool, made: usize, tally: Tally) {
        let Counts { edited, repeated, overflowed, reset, given_up, .. } = &self.counts;
        self.counts.taken.fetch_add(u64::from(taken), Relaxed);
        self.counts.made.fetch_add(made as u64, Relaxed);
        let tallied = [
            (edited, tally.edited),
            (repeated, tally.repeated),
            (overflowed, tally.overflowed),
            (reset, tally.reset),
            (given_up, tally.given_up),
        ];
        for (counter, by) in tallied.into_iter().filter(|(_, by)| *by > 0) {
            counter.fetch_add(by, Relaxed);
        }
    }

    fn counters(&self) -> TapCounters {
        let counts = &self.counts;
        TapCounters {
            flows: counts.flows.load(Relaxed),
            edited: counts.edited.load(Relaxed),
            taken: counts.taken.load(Relaxed),
            made: counts.made.load(Relaxed),
            repeated: counts.repeated.load(Relaxed),
            overflowed: counts.overflowed.load(Relaxed),
            reset: counts.reset.load(Relaxed),
            drained: counts.drained.load(Relaxed),
            given_up: counts.given_up.load(Relaxed),
        }
    }
}

impl Tap {
    /// Says what is wrong with it, if anything, in a lab of `nodes` nodes.
    pub(crate) fn problem(&self, nodes: usize) -> Option<String> {
        let named = self.nodes.as_deref()?;
        match named.iter().find(|node| node.index() >= nodes) {
            _ if named.is_empty() => Some("it covers no node".to_owned()),
            Some(node) => Some(format!("node {node} does not exist (there are {nodes})")),
            None => None,
        }
    }
}

/// Keeps a tap in place; dropping it takes the tap away as [`TapGuard::heal`] does.
#[must_use = "a tap is in place only as long as its guard lives"]
pub struct TapGuard {
    fabric: Fabric,
    tap: Arc<TapState>,
}

impl TapGuard {
    pub(crate) fn new(fabric: Fabric, tap: Arc<TapState>) -> TapGuard {
        TapGuard { fabric, tap }
    }

    /// What the tap has done so far.
    pub fn counters(&self) -> TapCounters {
        self.tap.counters()
    }

    /// Has [`woken`](Interceptor::woken) called on every interceptor of this tap soon, from the fabric's thread.
    pub fn poke(&self) {
        self.tap.poked.store(true, Relaxed);
        self.fabric.wake();
    }

    /// Takes the tap away and returns its final counters. What waits passes. Connections whose ends count alike go
    /// on untouched; those whose ends do not are reset, and counted as `drained`.
    pub fn heal(self) -> TapCounters {
        self.fabric.remove_tap(self.tap.id);
        self.tap.counters()
    }
}

impl Drop for TapGuard {
    fn drop(&mut self) {
        self.fabric.remove_tap(self.tap.id);
    }
}
