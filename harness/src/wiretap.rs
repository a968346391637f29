//! Our hands on every connection of a system: the fabric's taps, with what reads and alters messages in them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use lab::Fabric;
use lab::flow::{Flow, Tap, TapGuard};
use nemesis::FaultOnMessages;
use nemesis::byzantine::{Editor, Ends, Faults, Held, MessageFault, Strike, Tally, Tapped, Trigger};
use nemesis::wire::Protocol;
use nemesis::{PointOfMessages, wire};
use results::strikes::StrikeLine;

/// Taps on the connections to some ports, from their first packet on.
pub struct Wiretap {
    faults: Faults,
    taps: Arc<[TapGuard]>,
    /// What is done comes from a log, not from faults that are armed.
    repeats: AtomicBool,
}

impl Wiretap {
    /// Taps all connections to these ports. Nodes are named by their numbers; `seed` fixes what faults leave to chance.
    pub fn lay(fabric: &Fabric, names: Vec<String>, ports: &[(u16, Protocol)], seed: u64) -> Result<Wiretap> {
        let (faults, names) = (Faults::new(seed), Arc::new(names));
        let lay = |&(port, protocol): &(u16, Protocol)| {
            let (faults, names) = (faults.clone(), names.clone());
            let tap = Tap { name: format!("{protocol:?}"), server_ports: vec![port], nodes: None };
            fabric.tap(tap, move |flow| {
                Some(Box::new(Tapped(Editor::new(&faults, ends(flow, &names), protocol))))
            })
        };
        let taps = ports.iter().map(lay).collect::<lab::Result<_>>().context("failed to tap the links")?;
        Ok(Wiretap { faults, taps, repeats: AtomicBool::new(false) })
    }

    /// Puts a fault in force, under a number of its own, until what is returned is dropped.
    pub fn arm(&self, id: u64, fault: MessageFault) -> Result<Armed, String> {
        self.faults.add(id, fault).map_err(|e| e.to_string())?;
        if !self.repeats.load(Ordering::Relaxed) {
            self.faults.arm(id);
        }
        Ok(Armed { faults: self.faults.clone(), taps: self.taps.clone(), id })
    }

    /// From now on does what a log says, each strike once, when its message comes again; faults only count.
    pub fn repeat(&self, log: Vec<Strike>) {
        self.repeats.store(true, Ordering::Relaxed);
        self.faults.replay(log);
    }

    /// Waits for a point in a conversation, and holds there.
    pub fn watch(&self, trigger: Trigger) -> Result<Point, String> {
        let held = self.faults.watch(trigger).map_err(|e| e.to_string())?;
        Ok(Point { held: Some(held), taps: self.taps.clone() })
    }

    /// Everything altered so far.
    pub fn strikes(&self) -> Vec<Strike> {
        self.faults.strikes()
    }
}

/// A fault in force.
pub struct Armed {
    faults: Faults,
    taps: Arc<[TapGuard]>,
    id: u64,
}

impl FaultOnMessages for Armed {
    fn tally(&self) -> Tally {
        self.faults.tally(self.id)
    }

    fn first(&self) -> Option<Strike> {
        self.faults.strikes().into_iter().find(|strike| strike.fault == self.id)
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        self.faults.disarm(self.id);
        self.taps.iter().for_each(TapGuard::poke);
    }
}

/// A point at which messages are held.
pub struct Point {
    held: Option<Held>,
    taps: Arc<[TapGuard]>,
}

impl PointOfMessages for Point {
    fn reached(&mut self) -> Option<String> {
        let fired = self.held.as_ref()?.fired.recv_timeout(Duration::ZERO).ok()?;
        Some(format!("{} from {} to {}", fired.kind, fired.from, fired.to))
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        drop(self.held.take());
        self.taps.iter().for_each(TapGuard::poke);
    }
}

/// The sides of a connection, by name.
fn ends(flow: &Flow, names: &[String]) -> Ends {
    let name =
        |node: lab::NodeId| names.get(usize::from(node.0)).cloned().unwrap_or_else(|| node.to_string());
    Ends {
        flow: flow.id,
        client: name(flow.client.node),
        server: name(flow.server.node),
        server_port: flow.server.port,
    }
}

/// A strike for `strikes.jsonl`, on the run's clock.
pub fn line(strike: Strike, time_ns: i64) -> StrikeLine {
    let (from, to) = match strike.way {
        wire::Way::ToServer => (&strike.client, &strike.server),
        wire::Way::ToClient => (&strike.server, &strike.client),
    };
    StrikeLine {
        time_ns,
        fault: strike.fault,
        from: from.clone(),
        to: to.clone(),
        told: strike.to_string(),
        strike: serde_json::to_value(&strike).unwrap_or_default(),
    }
}
