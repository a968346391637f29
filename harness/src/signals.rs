//! Ctrl-C ends a run early but in order; a second one ends it at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static ASKED: AtomicUsize = AtomicUsize::new(0);

/// Whether the user wants the run to end. One per process, since signals are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interrupt;

extern "C" fn on_signal(_: nix::libc::c_int) {
    if ASKED.fetch_add(1, Ordering::Relaxed) > 0 {
        // SAFETY: `_exit` is async-signal-safe; nodes and their processes die with this process.
        unsafe { nix::libc::_exit(crate::exit::Exit::Harness as i32) }
    }
}

impl Interrupt {
    /// Takes SIGINT, SIGTERM and SIGHUP over from here on.
    pub fn install() -> Interrupt {
        let action = SigAction::new(SigHandler::Handler(on_signal), SaFlags::SA_RESTART, SigSet::empty());
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            // SAFETY: the handler only touches an atomic and calls `_exit`.
            let installed = unsafe { sigaction(signal, &action) };
            installed.expect("these signals can be handled");
        }
        Interrupt
    }

    /// True once one of them came.
    pub fn asked(&self) -> bool {
        ASKED.load(Ordering::Relaxed) > 0
    }
}
