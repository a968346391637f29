//! The clock shim: a library that `LD_PRELOAD` puts before the C library, and that answers a process's questions
//! for the time from a page shared with the harness. `lab/build.rs` compiles it, `lab/src/clock.rs` explains it.
//!
//! Without `std`: nothing here may allocate, lock or start anything, for it runs inside allocators and signal
//! handlers of programs that know nothing of it.
#![no_std]

mod attach;
mod hooks;
mod page;
mod real;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    real::abort()
}
