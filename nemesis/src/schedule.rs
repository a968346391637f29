//! What goes wrong when: windows drawn from a seed before the run, or read from a TOML file. Pure.

mod draw;
mod fields;
mod file;
mod mix;
mod rhythm;
mod safe;
mod swarm;
mod weaken;
mod write;

pub use file::ScheduleError;
pub use rhythm::{Event, Rhythm};
pub use safe::{MajorityStays, Minority, SafeLimits};

use serde::{Deserialize, Serialize};

use crate::family::Family;
use crate::harm::Harm;
use crate::targets::Target;

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
    /// All the time, by turns, or each time something happens.
    #[serde(default, skip_serializing_if = "Rhythm::is_steady")]
    pub rhythm: Rhythm,
    /// Fixes whatever is still left to chance when it strikes: which replica, which half.
    pub seed: u64,
}

/// All windows of a run, in order of start.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Schedule {
    /// The windows; ids are their positions.
    pub windows: Vec<Window>,
    /// What is refused while it runs, although a window asks for it.
    #[serde(default, skip_serializing_if = "SafeLimits::is_none")]
    pub limits: SafeLimits,
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

impl Window {
    /// What is done, for people: the harm and its rhythm.
    pub fn what(&self) -> String {
        format!("{}{}", self.harm, self.rhythm.words())
    }
}

impl Schedule {
    /// Draws which of the families are on and how hard, and then their windows. The same arguments give the same
    /// schedule, byte for byte.
    pub fn swarm(families: &[Family], limits: &Limits, seed: u64) -> Schedule {
        let safe = SafeLimits::default();
        let stage = mix::Stage { limits, quiet: &[], safe: &safe };
        Schedule::numbered(swarm::draw(families, mix::usual_stretch(limits), &stage, 0, seed), safe)
    }

    /// Lanes in use, in order.
    pub fn lanes(&self) -> Vec<u32> {
        let mut lanes: Vec<u32> = self.windows.iter().map(|window| window.lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }

    /// Sorts by start and numbers the windows; a window that another is the same as is found again by its
    /// old number.
    fn numbered(mut windows: Vec<Window>, limits: SafeLimits) -> Self {
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
        Schedule { windows, limits }
    }
}
