//! The machine's clocks, as event lines carry them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `CLOCK_MONOTONIC` of the machine, nanoseconds: comparable between processes.
///
/// Asked of the kernel, not of the C library. A test of wrong clocks puts itself before the C library of one process;
/// what is decided by time is decided by `Instant`s, which do follow it, but the record of what happened when must not:
/// it is compared with the records of others.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec to write to, and the clock exists on every Linux.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Wall clock as this process is told it, since 1970.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
