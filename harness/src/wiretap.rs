//! Our hands on every connection of a system: the fabric's taps, with what reads and alters messages in them.

use anyhow::{Context, Result};
use lab::Fabric;
use lab::flow::{Tap, TapGuard};
use nemesis::byzantine::{Armed, Interference, MessageFault, Protocol, StrikeRecord};
use results::strikes::StrikeLine;

/// Taps on the connections to some ports, from their first packet on.
pub struct Wiretap {
    interference: Interference,
    _taps: Vec<TapGuard>,
}

impl Wiretap {
    /// Taps all connections to these ports. Nodes are named by their numbers; `seed` fixes what faults leave to chance.
    pub fn lay(fabric: &Fabric, names: Vec<String>, ports: &[(u16, Protocol)], seed: u64) -> Result<Wiretap> {
        let interference = Interference::new(names, seed);
        let lay = |&(port, protocol): &(u16, Protocol)| {
            let interference = interference.clone();
            let tap = Tap { name: format!("{protocol:?}"), server_ports: vec![port], nodes: None };
            fabric.tap(tap, move |flow| Some(interference.interceptor(protocol, flow)))
        };
        let taps = ports.iter().map(lay).collect::<lab::Result<_>>().context("failed to tap the links")?;
        Ok(Wiretap { interference, _taps: taps })
    }

    /// Puts a fault in force until what is returned is dropped.
    pub fn arm(&self, id: u64, fault: MessageFault) -> Armed {
        self.interference.arm(id, fault)
    }

    /// Everything altered so far.
    pub fn strikes(&self) -> Vec<StrikeRecord> {
        self.interference.strikes()
    }

    /// What could not be read, each a sentence.
    pub fn notes(&self) -> Vec<String> {
        let notes = self.interference.notes().into_iter();
        notes.map(|(note, count)| format!("not read on, {count} times: {note}")).collect()
    }
}

/// A strike for `strikes.jsonl`; `clock` puts a reading of the machine's monotonic clock on the run's.
pub fn line(strike: StrikeRecord, fault: &MessageFault, clock: impl Fn(u64) -> i64) -> StrikeLine {
    StrikeLine {
        time_ns: clock(strike.mono_ns),
        fault: strike.fault,
        link: strike.link.name().into(),
        flow: strike.flow,
        from: strike.from,
        to: strike.to,
        message: strike.message,
        occurrence: strike.occurrence,
        op: fault.to_string(),
        offset_in: strike.offset_in,
        offset_out: strike.offset_out,
        delta: strike.delta,
        field: strike.field,
        before: strike.before.escape_ascii().to_string(),
        after: strike.after.escape_ascii().to_string(),
    }
}
