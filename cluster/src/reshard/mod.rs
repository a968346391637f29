//! Adding and removing shards under load: slots move from shard to shard with the keys in them.
//!
//! Only the slots whose owner differs between the ring before and the ring after move ([`plan`](plan())), in portions.
//! One portion moves in steps, each of which may be repeated, by the same [driver](run) or by another:
//!
//! ```text
//! ring   announce(id)                                    switch                    next, or the end
//! from               freeze  export…                            drop…  release
//! to          prepare              import…          own
//!                    └────────── nobody serves ──────────┘
//! ```
//!
//! The ring's record ([`RingRecord`](crate::znodes::RingRecord)) says what is under way and changes by
//! compare-and-set only. The steps at a shard are scripts (`steps.lua`), acknowledged like every operation: of
//! the epoch of its master, counted in the sequence number, held by a majority. So no failover undoes one
//! that is known to have happened. `export` alone only reads.
//!
//! # Why no key has two owners and nothing that was acknowledged is lost
//! A shard serves a slot only in state `1` of its own data ([`slot_state`](crate::dataset::slot_state)), which the
//! script of every operation checks; the ring only tells clients where to ask. `own` is sent after `freeze` was
//! acknowledged, and from then on every master of the giver has the slot frozen. So there is never more than
//! one owner, whatever ring a client believes in.
//!
//! What is in a slot when `freeze` is acknowledged is in the stream before it, so a majority has it, and no
//! operation changes it afterwards: `export` reads the same from every later master, and it is complete, since
//! the scan begins after the freeze. (A call that was executed but not acknowledged may be in it or not; its
//! client does not know either.) `import` and `own` are acknowledged in this order. `drop` follows `switch`,
//! which follows `own`. A key that expires meanwhile keeps its time.
//!
//! # Why a driver that was stopped and comes back does no harm
//! A move has a number, the epoch of the ring in which its present driver took it up by compare-and-set; so a
//! later one has a greater number. `prepare`, `freeze` and `claim` leave it in the data of the shard, unless
//! that has a greater one, and every other step must find just its own there. A second driver leaves its number
//! with both shards before it reads or writes any key. Whatever the first one still sends, or has on its way,
//! arrives in one of two times:
//! * before the second driver's number: then it is part of the same move of the same frozen contents. A key
//!   that `import` puts in is put in again, with the same value; `own` means that all of them were in;
//!   `freeze`, `drop` and `release` do what is yet to be done.
//! * after it: then it is refused.
//!
//! A driver overtakes nobody, but its own repetitions may overtake each other: an `import` of which no answer came
//! may be executed after a second one, after `own`, after a client's write. It is refused then, because `import`
//! needs the slot in state `i`; the same goes for each step and its state. When a slot comes back to a shard it
//! was taken from, the move has another number.
//!
//! In ZooKeeper the first driver's next compare-and-set fails, and it ends with [`ReshardError::Superseded`].

mod driver;
mod keeper;
mod plan;
pub mod steps;

use std::{collections::BTreeSet, fmt, ops::ControlFlow, time::Duration};

use thiserror::Error;

pub use driver::run;
pub use plan::{Transfer, plan};

use crate::{
    client::ClientOptions,
    security::Transport,
    znodes::{Move, Paths, RedisNode},
};

/// What the ring is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// With this shard, whose servers run already.
    Add(u32),
    /// Without this shard.
    Remove(u32),
    /// What the change under way wants.
    Resume,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::Add(shard) => write!(f, "add shard {shard}"),
            Goal::Remove(shard) => write!(f, "remove shard {shard}"),
            Goal::Resume => f.write_str("resume"),
        }
    }
}

/// Where the cluster is, and how a driver works.
#[derive(Debug, Clone)]
pub struct Options {
    /// `host:port,host:port,…`
    pub zookeeper: String,
    /// How its servers are reached.
    pub transport: Transport,
    /// Where its records are.
    pub paths: Paths,
    /// How its operations are sent; defences are left out of none.
    pub client: ClientOptions,
    /// Most slots that move at once: more of them mean fewer scans of the keys, but each is away for longer.
    pub batch_slots: usize,
    /// Keys that one step of a scan looks at.
    pub scan_count: u32,
    /// Longest time for one step, a failover of either shard included.
    pub patience: Duration,
}

impl Options {
    /// Portions of 32 slots, and a minute's patience.
    pub fn new(zookeeper: impl Into<String>, client: ClientOptions) -> Self {
        Options {
            zookeeper: zookeeper.into(),
            transport: Transport::default(),
            paths: Paths::default(),
            client,
            batch_slots: 32,
            scan_count: 1000,
            patience: Duration::from_secs(60),
        }
    }
}

/// Why a change of the ring did not come to its end. All but the first two leave a change that
/// [`Goal::Resume`] goes on with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReshardError {
    /// There is no ring.
    #[error("zookeeper holds no cluster: bootstrap it first")]
    NoCluster,
    /// The goal makes no sense here.
    #[error("{0}")]
    Goal(String),
    /// The ring cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// Another driver has taken the change over, or has ended it.
    #[error("another driver has taken the change over")]
    Superseded,
    /// Somebody did not do what was asked for long enough.
    #[error("{what} was not done within {waited_ms} ms ({why}); resume when the shard is well again")]
    Stuck {
        /// Which step, at whom.
        what: String,
        /// How long it was tried.
        waited_ms: u128,
        /// The last answer.
        why: String,
    },
    /// A shard's data is not as it should be.
    #[error("shard {shard} refuses to {step}: {why}; its data and the ring contradict each other")]
    Refused {
        /// The shard.
        shard: u32,
        /// The step.
        step: String,
        /// Code of its answer.
        why: String,
    },
    /// The caller wanted it to stop.
    #[error("stopped on request; it can be resumed")]
    Stopped,
}

/// What has just been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The change is ours: begun, or taken over.
    Taken,
    /// The ring says what moves.
    Announced,
    /// The destination expects the slots.
    Prepared,
    /// The source does not serve them any more.
    Frozen,
    /// All their keys are at the destination.
    Copied,
    /// The destination serves them.
    Owned,
    /// The ring says so.
    Switched,
    /// The source has deleted their keys.
    Dropped,
    /// The source has nothing to do with them any more.
    Released,
    /// The ring is as it should be.
    Finished,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Stage; 10] = [
        Stage::Taken,
        Stage::Announced,
        Stage::Prepared,
        Stage::Frozen,
        Stage::Copied,
        Stage::Owned,
        Stage::Switched,
        Stage::Dropped,
        Stage::Released,
        Stage::Finished,
    ];
}

/// How far a driver is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress<'a> {
    /// What has just been done.
    pub stage: Stage,
    /// The move it belongs to.
    pub moving: Option<&'a Move>,
    /// Slots that are still to move, those of this move included until it is switched.
    pub slots_left: usize,
    /// What was done so far.
    pub report: &'a Report,
}

/// A move that was carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// Who gave.
    pub from: u32,
    /// Who got.
    pub to: u32,
    /// How many slots.
    pub slots: usize,
    /// How many keys were in them.
    pub keys: u64,
    /// From the request to freeze until the ring said where to go; longer where a failover came between.
    pub unavailable: Duration,
}

/// What a driver has done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Moves of which this driver has seen the slots change hands.
    pub moves: Vec<Moved>,
    /// From taking the change up to its end.
    pub duration: Duration,
}

impl Report {
    /// Slots that changed hands.
    pub fn slots(&self) -> usize {
        self.moves.iter().map(|moved| moved.slots).sum()
    }

    /// Keys that were copied.
    pub fn keys(&self) -> u64 {
        self.moves.iter().map(|moved| moved.keys).sum()
    }

    /// For how long slots were not served: the median and the longest, over slots; none if none moved.
    pub fn unavailable(&self) -> Option<(Duration, Duration)> {
        let mut all: Vec<Duration> =
            self.moves.iter().flat_map(|moved| std::iter::repeat_n(moved.unavailable, moved.slots)).collect();
        all.sort_unstable();
        Some((*all.get(all.len() / 2)?, *all.last()?))
    }
}

/// Tells the caller how far a driver is; it may stop it, as a crash would.
pub type Watcher<'a> = dyn FnMut(Progress<'_>) -> ControlFlow<()> + Send + 'a;

/// The shards there are to be when `goal` is reached by a ring of `shards`; an error says in a sentence why it
/// cannot be.
fn target(shards: &[u32], goal: Goal) -> Result<Vec<u32>, String> {
    let mut to: BTreeSet<u32> = shards.iter().copied().collect();
    match goal {
        Goal::Add(shard) if !to.insert(shard) => return Err(format!("shard {shard} is on the ring already")),
        Goal::Remove(shard) if !to.remove(&shard) => return Err(format!("shard {shard} is not on the ring")),
        Goal::Remove(shard) if to.is_empty() => {
            return Err(format!("shard {shard} is the last one: its keys would have nowhere to go"));
        }
        Goal::Resume => return Err("no change is under way: there is nothing to resume".into()),
        Goal::Add(_) | Goal::Remove(_) => {}
    }
    Ok(to.into_iter().collect())
}

/// Writes the first records of a shard that owns nothing, so that its agents elect a master; what is there already
/// is left as it is.
pub async fn introduce(options: &Options, shard: u32, nodes: &[RedisNode]) -> Result<(), ReshardError> {
    let mut names = BTreeSet::new();
    if nodes.is_empty() || !nodes.iter().all(|node| names.insert(&node.node)) {
        return Err(ReshardError::Goal(format!("shard {shard} needs nodes, each with a name of its own")));
    }
    keeper::Keeper::open(options).introduce(shard, nodes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_that_makes_no_sense_is_refused_in_a_sentence() {
        assert_eq!(target(&[0, 1], Goal::Add(7)), Ok(vec![0, 1, 7]));
        assert_eq!(target(&[0, 1], Goal::Remove(0)), Ok(vec![1]));
        let table = [
            (Goal::Add(1), "shard 1 is on the ring already"),
            (Goal::Remove(7), "shard 7 is not on the ring"),
            (Goal::Resume, "no change is under way: there is nothing to resume"),
        ];
        for (goal, why) in table {
            assert_eq!(target(&[0, 1], goal), Err(why.into()));
        }
        assert!(target(&[3], Goal::Remove(3)).unwrap_err().contains("last one"));
    }

    #[test]
    fn unavailability_counts_by_slot() {
        let moved =
            |slots, ms| Moved { from: 0, to: 1, slots, keys: 5, unavailable: Duration::from_millis(ms) };
        let report = Report { moves: vec![moved(1, 900), moved(30, 20), moved(9, 40)], ..Report::default() };
        assert_eq!(report.unavailable(), Some((Duration::from_millis(20), Duration::from_millis(900))));
        assert_eq!((report.slots(), report.keys()), (40, 15));
        assert_eq!(Report::default().unavailable(), None);
    }
}
