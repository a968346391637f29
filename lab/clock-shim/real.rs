//! What lies behind the shim: the C library's own functions and the kernel.

use core::ffi::{CStr, c_char, c_int, c_long, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

/// `struct timespec` of 64-bit Linux.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timespec {
    pub sec: i64,
    pub nsec: i64,
}

/// `struct timeval` of 64-bit Linux.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeval {
    pub sec: i64,
    pub usec: i64,
}

/// `struct itimerspec` of 64-bit Linux.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Itimerspec {
    pub interval: Timespec,
    pub value: Timespec,
}

#[cfg(target_arch = "x86_64")]
mod numbers {
    pub const CLOCK_GETTIME: i64 = 228;
    pub const FUTEX: i64 = 202;
}

#[cfg(target_arch = "aarch64")]
mod numbers {
    pub const CLOCK_GETTIME: i64 = 113;
    pub const FUTEX: i64 = 98;
}

pub use numbers::FUTEX;

#[link(name = "c")]
unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlvsym(handle: *mut c_void, name: *const c_char, version: *const c_char) -> *mut c_void;
    fn __errno_location() -> *mut c_int;
    #[link_name = "abort"]
    fn c_abort() -> !;
}

// Part of the C library since glibc 2.34, an empty library there.
#[link(name = "dl")]
unsafe extern "C" {}

/// The next library that has the name.
const NEXT: *mut c_void = -1isize as *mut c_void;
/// The version of `pthread_cond_timedwait` that takes a condition variable of today. Asked without a version the
/// loader gives the one of 2001, which takes a pointer to one.
#[cfg(target_arch = "x86_64")]
const CONDITIONS: &CStr = c"GLIBC_2.3.2";
#[cfg(target_arch = "aarch64")]
const CONDITIONS: &CStr = c"GLIBC_2.17";

/// A function of the C library, looked up once.
pub struct Function {
    name: &'static CStr,
    versioned: bool,
    found: AtomicPtr<c_void>,
}

impl Function {
    pub const fn named(name: &'static CStr) -> Function {
        Function { name, versioned: false, found: AtomicPtr::new(ptr::null_mut()) }
    }

    pub const fn of_conditions(name: &'static CStr) -> Function {
        Function { name, versioned: true, found: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Looks it up. In a constructor, since what looks up may allocate.
    pub fn resolve(&self) -> *mut c_void {
        let mut found = ptr::null_mut();
        // SAFETY: both strings end with a zero; the handle is the loader's own constant.
        unsafe {
            if self.versioned {
                found = dlvsym(NEXT, self.name.as_ptr(), CONDITIONS.as_ptr());
            }
            if found.is_null() {
                found = dlsym(NEXT, self.name.as_ptr());
            }
        }
        self.found.store(found, Ordering::Release);
        found
    }

    /// It, if it has been looked up.
    pub fn known(&self) -> *mut c_void {
        self.found.load(Ordering::Acquire)
    }

    /// It, looked up now if need be. Who asks has been linked to it, so it is there.
    pub fn get(&self) -> *mut c_void {
        let known = self.known();
        let found = if known.is_null() { self.resolve() } else { known };
        if found.is_null() { abort() } else { found }
    }
}

static CLOCK_GETTIME: Function = Function::named(c"clock_gettime");

/// Looks up what answers for the time.
pub fn resolve() {
    CLOCK_GETTIME.resolve();
}

/// The C library's `clock_gettime`; the kernel's as long as that has not been looked up.
///
/// # Safety
/// As of `clock_gettime`.
pub unsafe fn clock_gettime(clock: c_int, out: *mut Timespec) -> c_int {
    let known = CLOCK_GETTIME.known();
    if known.is_null() {
        // SAFETY: the caller's word.
        return unsafe { syscall(numbers::CLOCK_GETTIME, [clock as i64, out as i64, 0, 0, 0, 0]) as c_int };
    }
    type ClockGettime = unsafe extern "C" fn(c_int, *mut Timespec) -> c_int;
    // SAFETY: the function of this name has this type; the rest is the caller's word.
    unsafe { core::mem::transmute::<*mut c_void, ClockGettime>(known)(clock, out) }
}

/// A system call as the function of that name makes it: -1 and `errno` for a failure.
///
/// # Safety
/// As of the call made.
pub unsafe fn syscall(number: i64, args: [i64; 6]) -> c_long {
    // SAFETY: the caller's word; `errno` is this thread's own.
    unsafe {
        let result = kernel(number, args);
        if (-4095..0).contains(&result) {
            *__errno_location() = -result as c_int;
            return -1;
        }
        result
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn kernel(number: i64, [a, b, c, d, e, f]: [i64; 6]) -> i64 {
    let result;
    // SAFETY: the registers of the kernel's calling convention; the effect is the caller's word.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[cfg(target_arch = "aarch64")]
unsafe fn kernel(number: i64, [a, b, c, d, e, f]: [i64; 6]) -> i64 {
    let result;
    // SAFETY: the registers of the kernel's calling convention; the effect is the caller's word.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    result
}

/// Ends the process.
pub fn abort() -> ! {
    // SAFETY: it takes nothing.
    unsafe { c_abort() }
}
