//! PID 1 of a node: a process that does nothing but exist, and ends when the harness does.
//!
//! It is a plain `fork` of the harness, so between `fork` and its last breath it may only make system
//! calls: other threads may have held any lock at that moment. The kernel kills every process of a PID
//! namespace when its PID 1 ends, and frees the namespaces and mounts with the last of them, so the
//! node's whole lifetime hangs on the one `read` at the end of [`run`].

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::sys::{check, pipe};

/// The node's PID 1, seen from the harness.
#[derive(Debug)]
pub(crate) struct Init {
    pid: libc::pid_t,
    /// PID 1 blocks reading the other end. Closing this one, by whatever death, ends the node.
    _lifeline: OwnedFd,
}

impl Init {
    /// Forks PID 1 out of the calling thread, which must have unshared its PID namespace, and must live
    /// as long as the node: the death signal follows the thread, not the process.
    pub(crate) fn fork(name: &CStr) -> io::Result<Init> {
        let (read_end, write_end) = pipe()?;
        let (ready_read, ready_write) = pipe()?;
        // SAFETY: the child calls only `run`, which makes nothing but async-signal-safe calls and never
        // returns.
        let pid = check(unsafe { libc::fork() })?;
        if pid == 0 {
            run(read_end.as_raw_fd(), ready_write.as_raw_fd(), name)
        }
        drop(ready_write);
        let init = Init { pid, _lifeline: write_end };
        let mut byte = [0u8; 1];
        match nix::unistd::read(&ready_read, &mut byte) {
            Ok(1) => Ok(init),
            _ => Err(io::Error::other("the node's first process died at its start")),
        }
    }

    /// The pid, in the harness's PID namespace.
    pub(crate) fn pid(&self) -> u32 {
        self.pid as u32
    }

    /// Kills PID 1 and waits for it; the kernel has killed every other process of the node by then.
    pub(crate) fn kill_and_reap(self) {
        // SAFETY: `pid` is our own child and not yet reaped, so it cannot name another process.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            while libc::waitpid(self.pid, std::ptr::null_mut(), 0) < 0
                && *libc::__errno_location() == libc::EINTR
            {}
        }
    }
}

/// The whole life of PID 1. Only async-signal-safe calls.
fn run(lifeline: RawFd, ready: RawFd, name: &CStr) -> ! {
    // SAFETY: system calls on descriptors and strings that were made before the fork; no allocation, no
    // lock, no return.
    unsafe {
        // A second belt: if the spawner thread dies with the process, so do we, whoever holds the pipe.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // Out of the terminal's reach; inherited handlers must not run here.
        libc::setsid();
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
        // Orphans of the node become our children; ignoring SIGCHLD lets the kernel reap them.
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
        // A /proc that shows this node's processes only. Where a container forbids it the old one
        // stays, which every program can live with.
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        libc::mount(c"proc".as_ptr(), c"/proc".as_ptr(), c"proc".as_ptr(), flags, std::ptr::null());
        libc::chdir(c"/".as_ptr());
        // Whatever else the harness had open must not live on in us: other nodes' lifelines least of all.
        libc::dup2(lifeline, 0);
        libc::dup2(ready, 1);
        close_from(2);
        libc::write(1, [1u8].as_ptr().cast(), 1);
        libc::close(1);
        let mut byte = [0u8; 1];
        while libc::read(0, byte.as_mut_ptr().cast(), 1) < 0 && *libc::__errno_location() == libc::EINTR {}
        libc::_exit(0)
    }
}

/// Closes every descriptor from `first` up.
///
/// # Safety
/// The caller must own no live object that wraps one of them.
unsafe fn close_from(first: libc::c_uint) {
    // SAFETY: no pointers; see above.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) == 0 {
            return;
        }
        // Before Linux 5.9.
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        for fd in first..limit.rlim_cur.min(1 << 20) as libc::c_uint {
            libc::close(fd as libc::c_int);
        }
    }
}
