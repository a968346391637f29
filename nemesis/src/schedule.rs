//! What goes wrong when: windows drawn from a seed before the run, or read from a TOML file. Pure.

mod draw;
mod file;

pub use file::ScheduleError;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::shape::Shape;
use crate::targets::Target;

/// A family of faults, as named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// SIGKILL, restart at the window's end.
    Kill,
    /// SIGSTOP, SIGCONT at the window's end.
    Pause,
    /// Links cut, in one of the [`Shape`]s.
    Partition,
    /// Packets held back.
    Delay,
    /// Packets lost.
    Loss,
}

impl Family {
    /// Every family.
    pub const ALL: [Family; 5] =
        [Family::Kill, Family::Pause, Family::Partition, Family::Delay, Family::Loss];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Family::Kill => "kill",
            Family::Pause => "pause",
            Family::Partition => "partition",
            Family::Delay => "delay",
            Family::Loss => "loss",
        }
    }

    /// One line for `list`.
    pub fn about(self) -> &'static str {
        match self {
            Family::Kill => {
                "SIGKILL a Redis, an agent or a ZooKeeper server; started again when the window ends"
            }
            Family::Pause => "SIGSTOP it; SIGCONT when the window ends",
            Family::Partition => {
                "cut links: isolate one, halves, majorities ring, bridge, one-way, client from server"
            }
            Family::Delay => "hold back every packet to and from the target, with jitter",
            Family::Loss => "lose a share of the packets to and from the target",
        }
    }

    /// True when it strikes links, so that clients can be its target.
    pub fn is_network(self) -> bool {
        matches!(self, Family::Partition | Family::Delay | Family::Loss)
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Family::ALL.into_iter().find(|family| family.name() == text).ok_or_else(|| {
            let names: Vec<_> = Family::ALL.iter().map(|family| family.name()).collect();
            format!("unknown fault `{text}`: use any of {}, or the path of a TOML file", names.join(", "))
        })
    }
}

/// What is done to the target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Harm {
    /// SIGKILL; restarted at the window's end.
    Kill,
    /// SIGSTOP; SIGCONT at the window's end.
    Pause,
    /// Links cut.
    Partition {
        /// Which links.
        shape: Shape,
    },
    /// Every packet to and from the target is held back.
    Delay {
        /// At least so long, milliseconds.
        base_ms: u64,
        /// And up to so much longer, uniform, milliseconds.
        jitter_ms: u64,
    },
    /// Packets to and from the target are lost at random.
    Loss {
        /// Probability per packet, 0 to 1.
        probability: f64,
    },
}

impl Harm {
    /// Its family.
    pub fn family(&self) -> Family {
        match self {
            Harm::Kill => Family::Kill,
            Harm::Pause => Family::Pause,
            Harm::Partition { .. } => Family::Partition,
            Harm::Delay { .. } => Family::Delay,
            Harm::Loss { .. } => Family::Loss,
        }
    }
}

impl Harm {
    /// True when links between nodes other than the targets are struck as well.
    pub fn is_wide(&self) -> bool {
        matches!(self, Harm::Partition { shape: Shape::Halves | Shape::MajoritiesRing | Shape::Bridge })
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Harm::Kill => f.write_str("kill -9, then restart"),
            Harm::Pause => f.write_str("SIGSTOP, then SIGCONT"),
            Harm::Partition { shape } => f.write_str(shape.word()),
            Harm::Delay { base_ms, jitter_ms: 0 } => write!(f, "{base_ms} ms"),
            Harm::Delay { base_ms, jitter_ms } => write!(f, "{base_ms} to {} ms", base_ms + jitter_ms),
            Harm::Loss { probability } => write!(f, "{:.0} % of packets", probability * 100.0),
        }
    }
}

/// One harm on one target from one time to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Its number in the schedule, from 0, in order of start.
    pub id: u64,
    /// Lane it runs in; windows of one lane never overlap, lanes do.
    pub lane: u32,
    /// When it opens, milliseconds after the load began.
    pub start_ms: u64,
    /// When it heals.
    pub stop_ms: u64,
    /// What is done.
    #[serde(flatten)]
    pub harm: Harm,
    /// To whom.
    pub target: Target,
    /// Fixes whatever is still left to chance when it strikes: which replica, which half.
    pub seed: u64,
}

/// All windows of a run, in order of start.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Schedule {
    /// The windows; ids are their positions.
    pub windows: Vec<Window>,
}

/// What a schedule is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Length of the load, milliseconds; the last window heals before its end.
    pub time_limit_ms: u64,
    /// Number of shards.
    pub shards: usize,
    /// Redis servers per shard.
    pub replicas: usize,
    /// ZooKeeper servers.
    pub zookeepers: usize,
}

impl Schedule {
    /// Lanes in use, in order.
    pub fn lanes(&self) -> Vec<u32> {
        let mut lanes: Vec<u32> = self.windows.iter().map(|window| window.lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }

    /// Sorts by start and numbers the windows; a window that another is the same as is found again by its
    /// old number.
    fn numbered(mut windows: Vec<Window>) -> Self {
        windows.sort_by_key(|window| (window.start_ms, window.lane));
        let old_ids: Vec<u64> = windows.iter().map(|window| window.id).collect();
        for (id, window) in windows.iter_mut().enumerate() {
            window.id = id as u64;
            if let Target::SameAs { window: meant } = &mut window.target
                && let Some(now) = old_ids.iter().position(|old| old == meant)
            {
                *meant = now as u64;
            }
        }
        Schedule { windows }
    }
}
