//! What is done to a target. A harm is plain data, checked before the run; injected it is a guard that heals.
//!
//! Each means of harm is a group with a file of its own: its values as people write them in TOML, what is wrong
//! with them, how they are drawn from a seed, how they are done through the [`Arena`], and what shows that they
//! took effect. [`Harm`] is one of any group and knows nothing but where to ask.

mod clock;
mod disk;
mod message;
mod net;
mod process;

use std::fmt;
use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};

pub use self::clock::ClockHarm;
pub use self::disk::{DataFile, DiskHarm, FailingOps};
pub use self::message::MessageHarm;
pub use self::net::{Course, NetFault, NetHarm};
pub use self::process::ProcessHarm;
use crate::arena::{Arena, Victim};
use crate::family::{Family, Group};
use crate::schedule::Limits;
use crate::targets::{Resolved, Target};

/// Evidence: what was looked at, and what was seen.
pub type Evidence = Vec<(String, String)>;

/// Who is to be struck, by what name and with which dice.
#[derive(Debug, Clone)]
pub struct Strike {
    /// Number of the window.
    pub window: u64,
    /// For logs and captures: `window 3: partition`.
    pub name: String,
    /// The processes meant.
    pub victims: Vec<Victim>,
    /// Fixes whatever the harm leaves to chance.
    pub seed: u64,
    /// How long it is meant to last; a harm that can heal by itself does so some time after. `None` is for ever.
    pub lasts: Option<Duration>,
}

impl Strike {
    /// Names of the nodes struck, each once.
    pub fn nodes(&self) -> Vec<String> {
        let mut nodes: Vec<String> = self.victims.iter().map(|victim| victim.node.clone()).collect();
        nodes.dedup();
        nodes
    }
}

/// A harm that was injected. Dropping it heals.
pub trait InForce: Send {
    /// Does what is due by now, and says when it wants to be asked again; `None` when nothing more is to be done.
    fn beat(&mut self) -> Option<Instant> {
        None
    }

    /// Undoes the harm, once: a second call finds nothing left to undo.
    fn undo(&mut self) -> Healed;

    /// Whom it has struck, where that was not settled when it began.
    fn resolved(&self) -> Option<Resolved> {
        None
    }
}

/// What is known of a harm once it is undone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Healed {
    /// Did it take effect? True only with evidence.
    pub installed: bool,
    /// What shows it, or why it did not.
    pub evidence: Evidence,
}

impl Healed {
    /// Nothing was done, because of this.
    pub fn refused(why: impl Into<String>) -> Self {
        Healed { installed: false, evidence: vec![("not installed".into(), why.into())] }
    }
}

/// What every group of harms is able to say and to do.
pub(crate) trait Means: Sized + Serialize + DeserializeOwned + fmt::Display {
    /// The faults of this group, as `fault = "…"` in a file.
    const FAULTS: &'static [&'static str];

    /// The family it belongs to.
    fn family(&self) -> Family;

    /// What is wrong with its values for this target, and the mend.
    fn check(&self, target: Target, limits: &Limits) -> Result<(), String>;

    /// A harm of this family, for a target that was drawn before. `first` is the family's first of the run, which
    /// is meant to make a master fail.
    fn draw(family: Family, first: bool, target: Target, rng: &mut ChaCha8Rng) -> Self;

    /// Does it. What could not be done is in the evidence; nothing done means not installed.
    fn inject<'a>(&self, strike: &Strike, arena: &'a dyn Arena) -> Box<dyn InForce + 'a>;
}

/// One harm of any group.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Harm {
    /// Processes killed, stopped.
    Process(ProcessHarm),
    /// Packets lost, held, altered.
    Net(NetHarm),
    /// Processes told a wrong time.
    Clock(ClockHarm),
    /// Disks that fail.
    Disk(DiskHarm),
    /// Messages altered.
    Message(MessageHarm),
}

/// Asks the group that a harm is of.
macro_rules! ask {
    ($harm:expr, $means:ident => $answer:expr) => {
        match $harm {
            Harm::Process($means) => $answer,
            Harm::Net($means) => $answer,
            Harm::Clock($means) => $answer,
            Harm::Disk($means) => $answer,
            Harm::Message($means) => $answer,
        }
    };
}

impl Harm {
    /// Its family.
    pub fn family(&self) -> Family {
        ask!(self, means => means.family())
    }

    /// What is wrong with its values for this target, and the mend.
    pub fn check(&self, target: Target, limits: &Limits) -> Result<(), String> {
        let each = target.each().into_iter().map(Target::stand_in);
        each.into_iter().try_for_each(|target| ask!(self, means => means.check(target, limits)))
    }

    /// True when links between nodes other than the targets are struck as well.
    pub fn is_wide(&self) -> bool {
        matches!(self, Harm::Net(net) if net.is_wide())
    }

    /// True when it needs the messages of every connection to be read, from its first packet on.
    pub fn reads_messages(&self) -> bool {
        matches!(self, Harm::Message(_) | Harm::Process(ProcessHarm::CrashAt(_)))
    }

    /// A harm of `family`.
    pub(crate) fn draw(family: Family, first: bool, target: Target, rng: &mut ChaCha8Rng) -> Harm {
        match family.group() {
            Group::Process => Harm::Process(Means::draw(family, first, target, rng)),
            Group::Net => Harm::Net(Means::draw(family, first, target, rng)),
            Group::Clock => Harm::Clock(Means::draw(family, first, target, rng)),
            Group::Disk => Harm::Disk(Means::draw(family, first, target, rng)),
            Group::Message => Harm::Message(Means::draw(family, first, target, rng)),
        }
    }

    /// Does it.
    pub fn inject<'a>(&self, strike: &Strike, arena: &'a dyn Arena) -> Box<dyn InForce + 'a> {
        ask!(self, means => means.inject(strike, arena))
    }

    /// Reads one from named values, `fault` among them; says which values the fault takes when one does not belong.
    pub(crate) fn of_values(values: serde_json::Map<String, serde_json::Value>) -> Result<Harm, String> {
        let fault = match values.get("fault") {
            Some(serde_json::Value::String(fault)) => fault.clone(),
            Some(_) => return Err("`fault` is a name in quotes, as in fault = \"kill\"".into()),
            None => return Err("missing field `fault`: say what is done, as in fault = \"kill\"".into()),
        };
        let given: Vec<String> = values.keys().cloned().collect();
        let value = serde_json::Value::Object(values);
        fn read<M: Means>(value: serde_json::Value) -> Result<M, String> {
            serde_json::from_value(value).map_err(|e| e.to_string())
        }
        let harm = if ProcessHarm::FAULTS.contains(&&*fault) {
            read(value).map(Harm::Process)
        } else if NetHarm::FAULTS.contains(&&*fault) {
            read(value).map(Harm::Net)
        } else if ClockHarm::FAULTS.contains(&&*fault) {
            read(value).map(Harm::Clock)
        } else if DiskHarm::FAULTS.contains(&&*fault) {
            read(value).map(Harm::Disk)
        } else if MessageHarm::FAULTS.contains(&&*fault) {
            read(value).map(Harm::Message)
        } else {
            return Err(format!("unknown fault `{fault}`: use one of {}", Harm::faults().join(", ")));
        };
        let harm = harm.map_err(|e| format!("{fault}: {e}"))?;
        let takes = harm.takes();
        match given.iter().find(|name| !takes.contains(name)) {
            Some(stranger) => {
                let own: Vec<&str> =
                    takes.iter().map(String::as_str).filter(|name| *name != "fault").collect();
                let own = if own.is_empty() { "nothing more".into() } else { own.join(", ") };
                Err(format!("unknown field `{stranger}`: {fault} takes {own}"))
            }
            None => Ok(harm),
        }
    }

    /// Every fault that a file can name.
    pub fn faults() -> Vec<&'static str> {
        [ProcessHarm::FAULTS, NetHarm::FAULTS, ClockHarm::FAULTS, DiskHarm::FAULTS, MessageHarm::FAULTS]
            .concat()
    }

    /// Names of the values it is made of.
    fn takes(&self) -> Vec<String> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(values)) => values.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }
}

impl<'de> Deserialize<'de> for Harm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Harm::of_values(serde_json::Map::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ask!(self, means => means.fmt(f))
    }
}
