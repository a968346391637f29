//! A schedule written by hand.
//!
//! ```toml
//! [[window]]
//! start_s = 3.0
//! stop_s = 6.0
//! fault = "partition"          # kill, crash-loop, pause, partition, delay, loss, clock-jump, clock-strobe,
//!                              # clock-drift, io-error, disk-full, slow-fsync, stuck-fsync, power-cut, torn-write,
//!                              # lying-fsync, bit-flip, truncate
//! shape = "isolate-one"        # partition only
//! target = "master of shard 0" # or: replica, first replica, second replica, agent, master node of shard N;
//!                              # zookeeper leader, zookeeper minority, client, same as window N (from 1, as
//!                              # they stand in the file)
//! lane = 0                     # optional; windows of one lane must not overlap
//! seed = 17                    # optional: fixes what is left to chance when it strikes
//! ```

use serde::Deserialize;
use thiserror::Error;

use super::{Limits, Schedule, Window};
use crate::harm::Harm;
use crate::targets::Target;

/// Why a file of faults cannot be used.
#[derive(Debug, Error)]
pub enum ScheduleError {
    /// Not TOML, or not of this form; the message names line and column.
    #[error("{0}")]
    Form(#[from] toml::de::Error),
    /// Of this form, but it makes no sense.
    #[error("window {number} (`{target}`): {problem}")]
    Window {
        /// Counted from 1, as people do.
        number: usize,
        /// Its target, to find it by.
        target: String,
        /// What is wrong, and the mend.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    window: Vec<Entry>,
}

/// A window as it is written: when, whom, and the values of its fault.
#[derive(Deserialize)]
struct Entry {
    start_s: f64,
    stop_s: f64,
    target: String,
    #[serde(default)]
    lane: u32,
    seed: Option<u64>,
    #[serde(flatten)]
    harm: serde_json::Map<String, serde_json::Value>,
}

impl Schedule {
    /// Reads a schedule from TOML. `seed` settles what the file leaves to chance.
    pub fn from_toml(text: &str, limits: &Limits, seed: u64) -> Result<Schedule, ScheduleError> {
        let file: File = toml::from_str(text)?;
        let mut windows = Vec::new();
        for (i, entry) in file.window.into_iter().enumerate() {
            let target = entry.target.clone();
            let problem = |problem| ScheduleError::Window { number: i + 1, target, problem };
            windows.push(entry.into_window(i, limits, seed).map_err(problem)?);
        }
        check_lanes(&windows)?;
        Ok(Schedule::numbered(windows))
    }
}

impl Entry {
    fn into_window(self, position: usize, limits: &Limits, seed: u64) -> Result<Window, String> {
        let harm = Harm::of_values(self.harm)?;
        let target: Target = self.target.parse()?;
        if target.shards().iter().any(|shard| *shard >= limits.shards) {
            return Err(format!(
                "the run has shards 0 to {}; change the target or --shards",
                limits.shards.saturating_sub(1)
            ));
        }
        harm.check(target, limits)?;
        if let Target::SameAs { window } = target
            && (window == 0 || window > position as u64)
        {
            return Err(format!("window {window} does not come before this one in the file; count from 1"));
        }
        let in_time = self.start_s >= 0.0 && self.start_s < self.stop_s;
        if !in_time || self.stop_s * 1_000.0 > limits.time_limit_ms as f64 {
            return Err(format!(
                "{} s to {} s does not lie within the load of {} s; start_s must come before stop_s",
                self.start_s,
                self.stop_s,
                limits.time_limit_ms as f64 / 1_000.0
            ));
        }
        Ok(Window {
            id: position as u64 + 1,
            lane: self.lane,
            start_ms: (self.start_s * 1_000.0).round() as u64,
            stop_ms: (self.stop_s * 1_000.0).round() as u64,
            harm,
            target,
            seed: self.seed.unwrap_or(seed.wrapping_add(position as u64) >> 11),
        })
    }
}

fn check_lanes(windows: &[Window]) -> Result<(), ScheduleError> {
    for (i, window) in windows.iter().enumerate() {
        let clash = windows[..i].iter().position(|other| {
            other.lane == window.lane && other.start_ms < window.stop_ms && window.start_ms < other.stop_ms
        });
        if let Some(other) = clash {
            return Err(ScheduleError::Window {
                number: i + 1,
                target: window.target.to_string(),
                problem: format!(
                    "overlaps window {} in lane {}; give one of them another `lane`",
                    other + 1,
                    window.lane
                ),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harm::NetHarm;
    use crate::shape::Shape;

    const LIMITS: Limits = Limits { time_limit_ms: 30_000, shards: 2, replicas: 3, zookeepers: 3 };

    fn window(body: &str) -> Result<Schedule, String> {
        let text = format!("[[window]]\n{body}");
        Schedule::from_toml(&text, &LIMITS, 1).map_err(|e| e.to_string())
    }

    #[test]
    fn a_window_reads_as_written() {
        let schedule = window(
            "start_s = 3\nstop_s = 6.5\nfault = 'partition'\nshape = 'one-way'\ntarget = 'agent of shard 1'",
        )
        .unwrap();
        let window = &schedule.windows[0];
        assert_eq!((window.start_ms, window.stop_ms), (3_000, 6_500));
        assert_eq!(window.harm, Harm::Net(NetHarm::partition(Shape::OneWay)));
        assert_eq!(window.target, Target::Agent { shard: 1 });
    }

    #[test]
    fn every_mistake_is_named_with_its_mend() {
        let cases = [
            ("start_s = 3\nstop_s = 6\nfault = 'burn'\ntarget = 'client'", "unknown fault `burn`"),
            ("start_s = 3\nstop_s = 6\nfault = 'kill'\ntarget = 'client'", "only lose its links"),
            ("start_s = 3\nstop_s = 6\nfault = 'kill'\ntarget = 'master of shard 2'", "shards 0 to 1"),
            ("start_s = 6\nstop_s = 3\nfault = 'kill'\ntarget = 'zookeeper leader'", "must come before"),
            (
                "start_s = 6\nstop_s = 31\nfault = 'kill'\ntarget = 'zookeeper leader'",
                "within the load of 30 s",
            ),
            ("start_s = 3\nstop_s = 6\nfault = 'partition'\ntarget = 'client'", "missing field `shape`"),
            (
                "start_s = 3\nstop_s = 6\nfault = 'partition'\nshape = 'halves'\ntarget = 'client'",
                "client-from-server",
            ),
            (
                "start_s = 3\nstop_s = 6\nfault = 'kill'\nshape = 'halves'\ntarget = 'client'",
                "unknown field `shape`: kill takes nothing more",
            ),
            (
                "start_s = 3\nstop_s = 6\nfault = 'loss'\nprobability = 1.5\ntarget = 'client'",
                "between 0 and 1",
            ),
            ("start_s = 3\nstop_s = 6\nfault = 'pause'\ntarget = 'boss'", "unknown target `boss`"),
            ("start_s = 3\nstop_s = 6\nfault = 'pause'", "missing field `target`"),
            ("start_s = 3\nstopp_s = 6\nfault = 'pause'", "missing field `stop_s`"),
        ];
        for (body, expected) in cases {
            let message = window(body).unwrap_err();
            assert!(message.contains(expected), "{body}\n=> {message}");
        }
    }

    #[test]
    fn a_window_that_another_is_the_same_as_keeps_being_meant_when_they_are_sorted() {
        let two = "start_s = 5\nstop_s = 6\nfault = 'kill'\ntarget = 'master of shard 0'\n\
                   [[window]]\nstart_s = 3\nstop_s = 4\nfault = 'pause'\ntarget = 'master of shard 1'\n\
                   [[window]]\nstart_s = 7\nstop_s = 8\nfault = 'pause'\ntarget = 'same as window 1'";
        let schedule = window(two).unwrap();
        assert_eq!(schedule.windows[2].target, Target::SameAs { window: 1 }, "it comes second in time");
        assert_eq!(schedule.windows[1].target, Target::Master { shard: 0 });
        let itself = "start_s = 5\nstop_s = 6\nfault = 'kill'\ntarget = 'same as window 1'";
        assert!(window(itself).unwrap_err().contains("does not come before"));
    }

    #[test]
    fn windows_of_one_lane_must_not_overlap() {
        let two = "start_s = 3\nstop_s = 6\nfault = 'kill'\ntarget = 'master of shard 0'\n\
                   [[window]]\nstart_s = 5\nstop_s = 8\nfault = 'pause'\ntarget = 'master of shard 1'";
        assert!(window(two).unwrap_err().contains("overlaps window 1 in lane 0"));
        assert_eq!(window(&format!("{two}\nlane = 1")).unwrap().lanes(), [0, 1]);
    }
}
