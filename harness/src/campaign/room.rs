//! How many runs a machine carries side by side.

use std::fmt;

use anyhow::Result;

use crate::exit::UsageError;

/// What a run takes of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    cores: u32,
    mib: u64,
}

/// Real servers: nine of them and our fabric. With 400 operations per second they were seen to take half a core and
/// 0.5 GiB; the rest is for starts, elections and judgement.
const REAL: Share = Share { cores: 2, mib: 1_536 };
/// The cluster in memory.
const FAKE: Share = Share { cores: 1, mib: 256 };

fn share(target: &str) -> Share {
    if target == "fake" { FAKE } else { REAL }
}

/// A machine with what is left of it.
#[derive(Debug, Clone)]
pub struct Room {
    /// So many runs at most, whatever they take.
    jobs: Option<u32>,
    cores: u32,
    mib: u64,
    taken: Vec<Share>,
}

impl Room {
    /// This machine, or as many runs side by side as the user says.
    pub fn here(jobs: Option<u32>) -> Result<Room> {
        if jobs == Some(0) {
            return Err(UsageError("--jobs 0: give at least 1, or leave it out".into()).into());
        }
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        Ok(Room { jobs, cores, mib: memory_mib(), taken: Vec::new() })
    }

    /// Whether a run on this target may begin now. The first always may.
    pub fn fits(&self, target: &str) -> bool {
        if self.taken.is_empty() {
            return true;
        }
        if let Some(jobs) = self.jobs {
            return (self.taken.len() as u32) < jobs;
        }
        let more = share(target);
        let cores: u32 = self.taken.iter().map(|share| share.cores).sum();
        let mib: u64 = self.taken.iter().map(|share| share.mib).sum();
        cores + more.cores <= self.cores && mib + more.mib <= self.mib
    }

    /// A run begins.
    pub fn take(&mut self, target: &str) {
        self.taken.push(share(target));
    }

    /// A run has ended.
    pub fn give(&mut self, target: &str) {
        if let Some(at) = self.taken.iter().position(|taken| *taken == share(target)) {
            self.taken.swap_remove(at);
        }
    }

    /// Seconds in which runs of these lengths are over, begun in this order as soon as there is room.
    pub fn wall_s<'a>(&self, runs: impl Iterator<Item = (&'a str, f64)>) -> f64 {
        let mut room = Room { taken: Vec::new(), ..self.clone() };
        let mut now = 0.0;
        let mut under_way: Vec<(f64, &str)> = Vec::new();
        let end_first = |under_way: &mut Vec<(f64, &'a str)>| {
            let first = (0..under_way.len()).min_by(|&a, &b| under_way[a].0.total_cmp(&under_way[b].0))?;
            Some(under_way.swap_remove(first))
        };
        for (target, seconds) in runs {
            while !room.fits(target) {
                let Some((end, target)) = end_first(&mut under_way) else { break };
                room.give(target);
                now = end;
            }
            room.take(target);
            under_way.push((now + seconds, target));
        }
        under_way.iter().fold(now, |latest, (end, _)| latest.max(*end))
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.jobs {
            Some(1) => f.write_str("one after the other (--jobs 1)"),
            Some(jobs) => write!(f, "{jobs} side by side (--jobs {jobs})"),
            None => write!(
                f,
                "as many side by side as {} and {:.1} GiB carry (a real cluster takes {} cores and {:.1} GiB, a fake one \
                 {} core; --jobs says otherwise)",
                results::units::plural(self.cores.into(), "core"),
                self.mib as f64 / 1024.0,
                REAL.cores,
                REAL.mib as f64 / 1024.0,
                FAKE.cores,
            ),
        }
    }
}

/// Memory that can be had, by the kernel and by the limits of our control group.
fn memory_mib() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let meminfo = read("/proc/meminfo");
    let available = meminfo.lines().find_map(|line| {
        let rest = line.strip_prefix("MemAvailable:")?;
        rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
    });
    let group =
        read("/proc/self/cgroup").lines().find_map(|line| line.strip_prefix("0::").map(str::to_owned));
    let number = |name: &str| {
        let path = format!("/sys/fs/cgroup{}/{name}", group.as_deref().unwrap_or("").trim_end_matches('/'));
        read(&path).trim().parse::<u64>().ok()
    };
    let within =
        number("memory.max").map(|max| max.saturating_sub(number("memory.current").unwrap_or(0)) >> 20);
    let free = available.map_or(2_048, |kib| kib >> 10);
    within.map_or(free, |limit| free.min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(jobs: Option<u32>, cores: u32, mib: u64) -> Room {
        Room { jobs, cores, mib, taken: Vec::new() }
    }

    #[test]
    fn a_machine_carries_what_it_has_cores_and_memory_for() {
        let count = |mut room: Room, target: &str| {
            let mut n = 0;
            while room.fits(target) && n < 100 {
                room.take(target);
                n += 1;
            }
            n
        };
        assert_eq!(count(room(None, 2, 8_000), "zk-redis"), 1);
        assert_eq!(count(room(None, 8, 8_000), "zk-redis"), 4);
        assert_eq!(count(room(None, 8, 3_200), "zk-redis"), 2);
        assert_eq!(count(room(None, 2, 8_000), "fake"), 2);
        assert_eq!(count(room(None, 1, 100), "zk-redis"), 1, "a small machine carries one all the same");
        assert_eq!(count(room(Some(3), 1, 100), "zk-redis"), 3);
    }

    #[test]
    fn the_time_of_runs_side_by_side_is_that_of_the_last_to_end() {
        let wall = |jobs, runs: &[f64]| room(Some(jobs), 1, 1).wall_s(runs.iter().map(|s| ("fake", *s)));
        assert_eq!(wall(1, &[3.0, 2.0, 1.0]), 6.0);
        assert_eq!(wall(2, &[3.0, 2.0, 2.0, 1.0]), 4.0);
        assert_eq!(wall(2, &[]), 0.0);
    }
}
