//! Processor time and peak memory of a piece of work in this process.

use std::hint::black_box;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What one piece of work cost, over all its runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Processor time, user and system, of all threads, in milliseconds: the median of the runs.
    pub cpu_ms: f64,
    /// The least of them.
    pub cpu_ms_min: f64,
    /// The most of them.
    pub cpu_ms_max: f64,
    /// Wall time in milliseconds: the median. On a busy machine it says little.
    pub wall_ms: f64,
    /// Most memory that was resident during any of the runs, beyond what was resident before it, in bytes.
    pub memory_bytes: u64,
    /// How many runs there were.
    pub runs: usize,
}

/// How often work is repeated.
#[derive(Debug, Clone, Copy)]
pub struct Repeat {
    /// Runs of work that is over soon.
    pub runs: usize,
    /// No further run begins after so much wall time.
    pub time_max: Duration,
}

/// Runs `work` again and again; what the last run gave, and what the runs cost.
///
/// What a run gives is dropped outside of the measured part.
pub fn cost<T>(repeat: Repeat, mut work: impl FnMut() -> T) -> (T, Cost) {
    let began = Instant::now();
    let (mut cpu, mut wall, mut memory_bytes) = (Vec::new(), Vec::new(), 0);
    loop {
        let before_bytes = forget_peak();
        let (cpu_before, wall_before) = (cpu_now(), Instant::now());
        let given = black_box(work());
        let (cpu_spent, wall_spent) = (cpu_now() - cpu_before, wall_before.elapsed());
        memory_bytes = memory_bytes.max(status_bytes("VmHWM:").saturating_sub(before_bytes));
        cpu.push(ms(cpu_spent));
        wall.push(ms(wall_spent));
        if cpu.len() >= repeat.runs.max(1) || began.elapsed() >= repeat.time_max {
            cpu.sort_unstable_by(f64::total_cmp);
            let (cpu_ms_min, cpu_ms_max) = (cpu[0], cpu[cpu.len() - 1]);
            let (cpu_ms, wall_ms) = (median(&mut cpu), median(&mut wall));
            return (given, Cost { cpu_ms, cpu_ms_min, cpu_ms_max, wall_ms, memory_bytes, runs: cpu.len() });
        }
    }
}

/// The middle of some figures, or the mean of the two in the middle.
pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => figures[len / 2],
        len => (figures[len / 2 - 1] + figures[len / 2]) / 2.0,
    }
}

/// Processor time of this process so far, all its threads together. The same account as `getrusage`, in
/// nanoseconds.
pub fn cpu_now() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Memory that is resident now, in bytes.
pub fn resident_bytes() -> u64 {
    status_bytes("VmRSS:")
}

/// Gives unused memory back and makes the kernel forget the peak so far; what is resident then, in bytes.
///
/// Where the kernel does not let itself be told, peaks are those of the whole process: too much, never too
/// little.
fn forget_peak() -> u64 {
    // SAFETY: takes no pointer and only returns free memory of this process to the kernel.
    unsafe { libc::malloc_trim(0) };
    drop(std::fs::write("/proc/self/clear_refs", "5"));
    resident_bytes()
}

/// A line of the process's status that is in kibibytes.
fn status_bytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_for_a_while_is_counted_and_what_was_there_before_is_not() {
        let before = vec![1u8; 64 << 20];
        let repeat = Repeat { runs: 3, time_max: Duration::from_secs(5) };
        let (sum, cost) =
            cost(repeat, || vec![1u8; 16 << 20].iter().map(|&byte| u64::from(byte)).sum::<u64>());
        assert_eq!((sum, cost.runs), (16 << 20, 3));
        let (least, most) = (15 << 20, 40 << 20);
        assert!((least..most).contains(&cost.memory_bytes), "{cost:?} beside {} bytes", before.len());
        assert!(cost.cpu_ms_min > 0.0 && cost.cpu_ms_min <= cost.cpu_ms && cost.cpu_ms <= cost.cpu_ms_max);
    }

    #[test]
    fn the_median_of_an_even_number_is_between() {
        assert_eq!(median(&mut [4.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 9.0]), 3.0);
    }
}
