//! Where a scenario plays: its servers, and the lies it is armed with.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nemesis::byzantine::MessageFault;
use nemesis::wire::Protocol;
use results::RunFolder;
use serde::Deserialize;

use super::Scenario;
use super::ensemble::{CLIENT_PORT, ELECTION_PORT, Ensemble, QUORUM_PORT};
use super::pair::{self, Pair};
use super::rig::Rig;
use crate::recorder::RunClock;
use crate::wiretap::{self, Armed, Wiretap};

/// Raises what a scenario asks for, with taps on its links from the first packet, and arms its lies when told.
pub struct Stage {
    scenario: &'static Scenario,
    folder: PathBuf,
    control: bool,
    seed: u64,
    clock: RunClock,
    tap: RefCell<Option<Wiretap>>,
    armed: RefCell<Vec<Armed>>,
    /// Altered otherwise than by lies.
    counted: Cell<u64>,
}

/// Lies as they are written.
#[derive(Deserialize)]
struct Lies {
    lie: Vec<MessageFault>,
}

impl Stage {
    /// A stage whose files lie in `folder`. A control is the same play with nothing altered.
    pub fn new(scenario: &'static Scenario, folder: &Path, control: bool, seed: u64) -> Stage {
        Stage {
            scenario,
            folder: folder.to_owned(),
            control,
            seed,
            clock: RunClock::start(),
            tap: RefCell::default(),
            armed: RefCell::default(),
            counted: Cell::default(),
        }
    }

    /// True when nothing is to be altered.
    pub fn is_control(&self) -> bool {
        self.control
    }

    /// Where the scenario's files lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Counts packets that were altered otherwise than by lies.
    pub fn count(&self, altered: u64) {
        self.counted.set(self.counted.get() + altered);
    }

    /// A master with a replica that follows.
    pub fn pair(&self) -> Result<Pair> {
        let mut pair = self.pair_apart()?;
        pair.follow()?;
        pair.await_link()?;
        Ok(pair)
    }

    /// A master, and what will be its replica.
    pub fn pair_apart(&self) -> Result<Pair> {
        Pair::up(&self.folder, |rig| self.lay_taps(rig, &[(pair::PORT, Protocol::Redis)]))
    }

    /// A ZooKeeper ensemble of this size with client nodes `c1` and `c2`.
    pub fn ensemble(&self, size: u8) -> Result<Ensemble> {
        let ports = [
            (CLIENT_PORT, Protocol::ZkClient),
            (QUORUM_PORT, Protocol::Quorum),
            (ELECTION_PORT, Protocol::Election),
        ];
        Ensemble::up(&self.folder, size, &["c1", "c2"], |rig| self.lay_taps(rig, &ports))
    }

    fn lay_taps(&self, rig: &Rig, ports: &[(u16, Protocol)]) -> Result<()> {
        *self.tap.borrow_mut() = Some(Wiretap::lay(rig.fabric(), rig.names(), ports, self.seed)?);
        Ok(())
    }

    /// From now on the scenario's lies are told.
    pub fn arm(&self) -> Result<()> {
        self.arm_at(&[])
    }

    /// The same; a word in angle brackets in the lies means this node.
    pub fn arm_at(&self, roles: &[(&str, &str)]) -> Result<()> {
        if self.control {
            return Ok(());
        }
        let text = roles.iter().fold(self.scenario.lies.to_string(), |text, (role, node)| {
            text.replace(&format!("<{role}>"), node)
        });
        let lies: Lies =
            toml::from_str(&text).with_context(|| format!("the lies of {}", self.scenario.id))?;
        let tap = self.tap.borrow();
        let tap = tap.as_ref().context("nothing is tapped yet")?;
        for (id, lie) in (0..).zip(lies.lie) {
            self.armed.borrow_mut().push(tap.arm(id, lie).map_err(anyhow::Error::msg)?);
        }
        Ok(())
    }

    /// The lies end.
    pub fn disarm(&self) {
        self.armed.borrow_mut().clear();
    }

    /// Messages altered so far.
    pub fn applied(&self) -> u64 {
        self.counted.get() + self.tap.borrow().as_ref().map_or(0, |tap| tap.strikes().len() as u64)
    }

    /// Writes down every message altered, before and after.
    pub fn write_strikes(&self, folder: &RunFolder) -> Result<()> {
        let tap = self.tap.borrow();
        let mut lines = folder.strike_lines()?;
        for strike in tap.iter().flat_map(Wiretap::strikes) {
            let time_ns = self.clock.of_mono(strike.at_ns);
            lines.append(&wiretap::line(strike, time_ns))?;
        }
        Ok(())
    }
}
