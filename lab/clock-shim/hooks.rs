//! The functions that stand before the C library's.
//!
//! Readings are answered with the told time. Absolute deadlines were computed by the process from what it was told,
//! so they are turned back to when that will be before the kernel waits for them.

use core::ffi::{c_int, c_long, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::page::{Domain, Page, SECOND};
use super::real::{self, Function, Itimerspec, Timespec, Timeval};

const REALTIME: c_int = 0;
const MONOTONIC: c_int = 1;
const REALTIME_COARSE: c_int = 5;
const MONOTONIC_COARSE: c_int = 6;
/// `TIMER_ABSTIME`, and `TFD_TIMER_ABSTIME` too.
const ABSOLUTE: c_int = 1;
/// `TIME_UTC`
const UTC: c_int = 1;
const FUTEX_COMMAND: i64 = 127;
const FUTEX_WAIT_BITSET: i64 = 9;
const FUTEX_REALTIME: i64 = 256;
/// Deadlines of later than this many seconds mean never, and fit no 64 bits of nanoseconds.
const NEVER: i64 = 9_000_000_000;
/// A deadline earlier than this many seconds is not one of a wall clock (2001), and one later is not one of a clock
/// that began with the machine. What a condition variable or a timer was made for is not to be seen from outside.
const EPOCH: i64 = 1_000_000_000;

static PAGE: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());

/// From now on times are told from this page, which must live as long as the process.
pub fn set_page(page: *mut Page) {
    PAGE.store(page, Ordering::Release);
}

fn page() -> Option<&'static Page> {
    // SAFETY: null, or a page that is never unmapped and made of atomics only.
    unsafe { PAGE.load(Ordering::Acquire).as_ref() }
}

fn domain_of(clock: c_int) -> Option<Domain> {
    match clock {
        // Also CLOCK_REALTIME_ALARM and CLOCK_TAI.
        REALTIME | REALTIME_COARSE | 8 | 11 => Some(Domain::Wall),
        // Also CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME and CLOCK_BOOTTIME_ALARM.
        MONOTONIC | MONOTONIC_COARSE | 4 | 7 | 9 => Some(Domain::Monotonic),
        _ => None, // CPU time is what it is
    }
}

fn ns(time: Timespec) -> i64 {
    time.sec * SECOND + time.nsec
}

fn timespec(ns: i64) -> Timespec {
    Timespec { sec: ns.div_euclid(SECOND), nsec: ns.rem_euclid(SECOND) }
}

/// The real time of a domain's main clock.
fn real_now(domain: Domain) -> i64 {
    let clock = if domain == Domain::Wall { REALTIME } else { MONOTONIC };
    let mut now = Timespec::default();
    // SAFETY: a timespec of ours; every Linux has both clocks.
    unsafe { real::clock_gettime(clock, &mut now) };
    ns(now)
}

/// The wall clock as told.
fn wall_now() -> i64 {
    let real = real_now(Domain::Wall);
    page().map_or(real, |page| page.tell(Domain::Wall, real))
}

/// Calls `wait` with the real time at which the told one will be `*at`.
///
/// # Safety
/// `at` is null or points to a timespec.
unsafe fn until<R>(domain: Domain, at: *const Timespec, wait: impl FnOnce(*const Timespec) -> R) -> R {
    // SAFETY: the caller's word.
    let turned = unsafe { at.as_ref() }.and_then(|at| turned_back(domain, *at));
    wait(turned.as_ref().map_or(at, ptr::from_ref))
}

/// None if it can stay as it is.
fn turned_back(domain: Domain, at: Timespec) -> Option<Timespec> {
    let line = page()?.line(domain);
    if line.is_straight() || !(0..NEVER).contains(&at.sec) || !(0..SECOND).contains(&at.nsec) {
        return None;
    }
    Some(timespec(line.real_of(ns(at), real_now(domain)).max(0)))
}

/// The domain a deadline must be of.
///
/// # Safety
/// `at` is null or points to a timespec.
unsafe fn domain_of_deadline(at: *const Timespec) -> Domain {
    // SAFETY: the caller's word.
    match unsafe { at.as_ref() } {
        Some(at) if at.sec < EPOCH => Domain::Monotonic,
        _ => Domain::Wall,
    }
}

/// `clock_gettime(2)`
///
/// # Safety
/// As of the function it stands for; so with all that follow.
#[cfg_attr(clock_shim, unsafe(no_mangle))]
pub unsafe extern "C" fn clock_gettime(clock: c_int, out: *mut Timespec) -> c_int {
    // SAFETY: the caller's word; what the C library has just written may be read and written.
    unsafe {
        let result = real::clock_gettime(clock, out);
        let (0, Some(domain), Some(page)) = (result, domain_of(clock), page()) else { return result };
        let asked = ns(*out);
        let told = match clock {
            REALTIME | MONOTONIC => page.tell(domain, asked),
            // A coarse reading lies up to a tick in the past; with a slow line on top it would run backwards.
            REALTIME_COARSE | MONOTONIC_COARSE if page.line(domain).is_straight() => asked,
            REALTIME_COARSE | MONOTONIC_COARSE => page.tell(domain, real_now(domain)),
            _ => {
                let real = real_now(domain);
                asked + page.tell(domain, real) - real
            }
        };
        *out = timespec(told);
        0
    }
}

/// `gettimeofday(2)`
#[cfg_attr(clock_shim, unsafe(no_mangle))]
pub unsafe extern "C" fn gettimeofday(out: *mut Timeval, zone: *mut [c_int; 2]) -> c_int {
    let Timespec { sec, nsec } = timespec(wall_now());
    // SAFETY: each is null or the caller's to write to. The zone is zero with the C library, too.
    unsafe {
        if !zone.is_null() {
            *zone = [0; 2];
        }
        if !out.is_null() {
            *out = Timeval { sec, usec: nsec / 1000 };
        }
    }
    0
}

/// `time(2)`
#[cfg_attr(clock_shim, unsafe(no_mangle))]
pub unsafe extern "C" fn time(out: *mut i64) -> i64 {
    let Timespec { sec, .. } = timespec(wall_now());
    if !out.is_null() {
        // SAFETY: the caller's word.
        unsafe { *out = sec };
    }
    sec
}

/// `timespec_get(3)`
#[cfg_attr(clock_shim, unsafe(no_mangle))]
pub unsafe extern "C" fn timespec_get(out: *mut Timespec, base: c_int) -> c_int {
    if base != UTC {
        return 0;
    }
    // SAFETY: the caller's word.
    unsafe { *out = timespec(wall_now()) };
    base
}

/// Defines hooks of functions whose last argument is a deadline.
macro_rules! waits {
    ($($(#[$doc:meta])* $how:ident $name:ident = $static:ident ($($arg:ident: $type:ty),*; at) on $domain:expr;)*) => {
        $(
            static $static: Function = Function::$how(waits!(@name $name));

            $(#[$doc])*
            #[cfg_attr(clock_shim, unsafe(no_mangle))]
            pub unsafe extern "C" fn $name($($arg: $type,)* at: *const Timespec) -> c_int {
                type Wait = unsafe extern "C" fn($($type,)* *const Timespec) -> c_int;
                // SAFETY: the function of this name has this type; the rest is the caller's word.
                unsafe {
                    let wait = core::mem::transmute::<*mut c_void, Wait>($static.get());
                    match $domain(($($arg,)* at)) {
                        Some(domain) => until(domain, at, |at| wait($($arg,)* at)),
                        None => wait($($arg,)* at),
                    }
                }
            }
        )*

        /// All that are looked up in the beginning.
        pub static WAITS: &[&Function] = &[&CLOCK_NANOSLEEP, &TIMERFD_SETTIME, $(&$static),*];
    };
    (@name $name:ident) => {
        match core::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
            Ok(name) => name,
            Err(_) => panic!("a name ends with a zero"),
        }
    };
}

type Object = *mut c_void;

waits! {
    /// `pthread_cond_timedwait(3)`
    of_conditions pthread_cond_timedwait = COND_TIMEDWAIT (cond: Object, mutex: Object; at)
        on |(_, _, at)| Some(domain_of_deadline(at));
    /// `pthread_cond_clockwait(3)`
    named pthread_cond_clockwait = COND_CLOCKWAIT (cond: Object, mutex: Object, clock: c_int; at)
        on |(_, _, clock, _)| domain_of(clock);
    /// `sem_timedwait(3)`
    named sem_timedwait = SEM_TIMEDWAIT (sem: Object; at) on |_| Some(Domain::Wall);
    /// `sem_clockwait(3)`
    named sem_clockwait = SEM_CLOCKWAIT (sem: Object, clock: c_int; at) on |(_, clock, _)| domain_of(clock);
    /// `pthread_mutex_timedlock(3)`
    named pthread_mutex_timedlock = MUTEX_TIMEDLOCK (mutex: Object; at) on |_| Some(Domain::Wall);
    /// `pthread_mutex_clocklock(3)`
    named pthread_mutex_clocklock = MUTEX_CLOCKLOCK (mutex: Object, clock: c_int; at)
        on |(_, clock, _)| domain_of(clock);
    /// `pthread_rwlock_timedrdlock(3)`
    named pthread_rwlock_timedrdlock = RDLOCK (lock: Object; at) on |_| Some(Domain::Wall);
    /// `pthread_rwlock_timedwrlock(3)`
    named pthread_rwlock_timedwrlock = WRLOCK (lock: Object; at) on |_| Some(Domain::Wall);
}

static CLOCK_NANOSLEEP: Function = Function::named(c"clock_nanosleep");
static TIMERFD_SETTIME: Function = Function::named(c"timerfd_settime");

/// `clock_nanosleep(2)`
#[cfg_attr(clock_shim, unsafe(no_mangle))]
pub unsafe extern "C" fn clock_nanosleep(
    clock: c_int,
    flags: c_int,
    time: *const Timespec,
    left: *mut Timespec,
) -> c_int {
    type Sleep = unsafe extern "C" fn(c_int, c_int, *const Timespec, *mut Timespec) -> c_int;
    // SAFETY: the function of this name has this type; the rest is the caller's word.
    unsafe {
        let sleep = core::mem::transmute::<*mut c_void, Sleep>(CLOCK_NANOSLEEP.get());
        match domain_of(clock) {
            Some(domain) if flags & ABSOLUTE != 0 => {
                until(domain, time, |time| sleep(clock, flags, time, left))
            }
            _ => sleep(clock, flags, time, left),
        }
    }
}

/// `timerfd_settime(2)`
#[cfg_attr(clock_shim, unsafe(no_mangle))]
pub unsafe extern "C" fn timerfd_settime(
    fd: c_int,
    flags: c_int,
    new: *const Itimerspec,
    old: *mut Itimerspec,
) -> c_int {
    type Set = unsafe extern "C" fn(c_int, c_int, *const Itimerspec, *mut Itimerspec) -> c_int;
    // SAFETY: the function of this name has this type; the rest is the caller's word.
    unsafe {
        let set = core::mem::transmute::<*mut c_void, Set>(TIMERFD_SETTIME.get());
        let asked = new.as_ref().filter(|new| flags & ABSOLUTE != 0 && new.value != Timespec::default());
        let turned = asked.and_then(|new| {
            let value = turned_back(domain_of_deadline(&new.value), new.value)?;
            Some(Itimerspec { value, ..*new })
        });
        set(fd, flags, turned.as_ref().map_or(new, ptr::from_ref), old)
    }
}

/// `syscall(2)`: Rust's own locks wait with it until an absolute time. Clocks read with it are left as they are,
/// which is how a program that must know the real time asks for it.
///
/// The C function takes any number of arguments; on the machines this is built for they come as these do.
#[cfg_attr(clock_shim, unsafe(no_mangle))]
pub unsafe extern "C" fn syscall(number: c_long, a: i64, b: i64, c: i64, d: i64, e: i64, f: i64) -> c_long {
    // SAFETY: the caller's word.
    unsafe {
        if number == real::FUTEX && b & FUTEX_COMMAND == FUTEX_WAIT_BITSET {
            let domain = if b & FUTEX_REALTIME != 0 { Domain::Wall } else { Domain::Monotonic };
            return until(domain, d as *const Timespec, |at| {
                real::syscall(number, [a, b, c, at as i64, e, f])
            });
        }
        real::syscall(number, [a, b, c, d, e, f])
    }
}
