//! The shared page as the harness holds it.

#[path = "../../clock-shim/page.rs"]
#[allow(dead_code)] // what only the shim calls
mod shared;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

pub use self::shared::*;

/// A page mapped into this process.
pub struct Mapping(NonNull<Page>);

// SAFETY: a page is made of atomics, and the mapping belongs to no thread.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a file of [`SIZE`] bytes.
    pub fn of(file: &File) -> io::Result<Mapping> {
        let (read_write, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping of an open file; nothing else is touched.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, read_write, shared, file.as_raw_fd(), 0) };
        match NonNull::new(at) {
            Some(page) if at != libc::MAP_FAILED => Ok(Mapping(page.cast())),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The page.
    pub fn page(&self) -> &Page {
        // SAFETY: mapped as long as we live, longer than a page and aligned as one, and made of atomics only.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by us with this size; no reference to it outlives us.
        unsafe { libc::munmap(self.0.as_ptr().cast(), SIZE) };
    }
}

/// The real time of a domain's main clock, nanoseconds.
pub fn real_now(domain: Domain) -> i64 {
    let clock = match domain {
        Domain::Wall => libc::CLOCK_REALTIME,
        Domain::Monotonic => libc::CLOCK_MONOTONIC,
    };
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a timespec of ours to write to; every Linux has both clocks.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now.tv_sec * SECOND + now.tv_nsec
}
