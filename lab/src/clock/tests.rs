use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::page::{Page, SECOND};
use super::*;

/// A clock without a node, in a folder of its own.
fn clock() -> (tempfile::TempDir, Clock) {
    let dir = tempfile::tempdir().unwrap();
    let (folder, path, mapping) = make_page(dir.path(), "page").unwrap();
    let clock = Clock::of("test", &folder, &path, mapping);
    (dir, clock)
}

fn page(clock: &Clock) -> &Page {
    clock.inner.mapping.page()
}

/// What the clock tells now, and the real time right before.
fn ask(clock: &Clock, domain: Domain) -> (i64, i64) {
    let real = page::real_now(domain);
    (page(clock).tell(domain, real), real)
}

#[test]
fn a_line_says_how_far_off_it_is_and_when_a_deadline_is_due() {
    let jump = Line { anchor: 100, offset: 7, ..Line::default() };
    assert_eq!((jump.offset_at(0), jump.offset_at(1_000)), (7, 7));
    let drift = Line { anchor: 100, offset: 7, rate: 500_000_000, ..Line::default() };
    assert_eq!((drift.offset_at(100), drift.offset_at(300)), (7, 107));
    let slow = Line { rate: -500_000_000, ..drift };
    assert_eq!(slow.offset_at(300), -93);
    let strobe = Line { anchor: 100, strobe: 40, period: 10, ..Line::default() };
    let seen: Vec<i64> = [100, 109, 110, 119, 120].iter().map(|at| strobe.offset_at(*at)).collect();
    assert_eq!(seen, [40, 40, 0, 0, 40]);
    for line in [jump, drift, slow] {
        for real in [50, 100, 300, 12_345] {
            let told = real + line.offset_at(real);
            assert!((line.real_of(told, real) - real).abs() <= 2, "{line:?} at {real}");
        }
    }
    assert_eq!(strobe.real_of(150 + 40, 105), 150, "as it runs now");
    // Twenty years at five times the pace is still in range.
    let far = Line { anchor: 1_800_000_000 * SECOND, rate: 4_000_000_000, ..Line::default() };
    let late = far.anchor + 20 * 365 * 86_400 * SECOND;
    assert_eq!(far.real_of(late, far.anchor), far.anchor + (late - far.anchor) / 5);
}

#[test]
fn a_jump_is_told_and_healed_by_a_step() {
    let (_dir, clock) = clock();
    let (told, real) = ask(&clock, Domain::Wall);
    assert_eq!(told, real);
    let mut guard = clock.skew(Skew::Jump { offset_ns: -4 * SECOND }).unwrap();
    assert_eq!(guard.told().wall.reads, 0, "the reading before does not count");
    let (told, real) = ask(&clock, Domain::Wall);
    assert_eq!(told, real - 4 * SECOND);
    let (told, real) = ask(&clock, Domain::Monotonic);
    assert_eq!(told, real, "only the wall clock jumps");
    let seen = guard.told().wall;
    assert_eq!((seen.reads, seen.least_ns, seen.most_ns), (1, -4 * SECOND, -4 * SECOND));
    assert_eq!(seen.to_string(), "-4.000 s (1 reading)");
    guard.straighten();
    assert_eq!(clock.told().wall.to_string(), "not asked");
    let (told, real) = ask(&clock, Domain::Wall);
    assert_eq!(told, real);
    assert_eq!(clock.told().wall.to_string(), "+0.000 s (1 reading)");
    drop(clock.skew(Skew::Jump { offset_ns: SECOND }).unwrap());
    let (told, real) = ask(&clock, Domain::Wall);
    assert_eq!(told, real, "a dropped guard heals");
}

#[test]
fn a_strobe_is_told_both_ways() {
    let (_dir, clock) = clock();
    let guard = clock.skew(Skew::Strobe { delta_ns: SECOND, period_ns: 2_000_000 }).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(20) {
        let (told, real) = ask(&clock, Domain::Wall);
        assert!([0, SECOND].contains(&(told - real)));
    }
    let seen = guard.told().wall;
    assert_eq!((seen.least_ns, seen.most_ns), (0, SECOND));
    assert!(seen.to_string().starts_with("+0.000 to +1.000 s ("), "{seen}");
}

#[test]
fn a_drift_has_its_pace_and_monotonic_time_keeps_what_it_gained() {
    let (_dir, clock) = clock();
    for (rate, gains) in [(1.5, 1), (0.5, -1)] {
        let mut guard = clock.skew(Skew::Drift { rate, clocks: Clocks::Both }).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        ask(&clock, Domain::Wall);
        ask(&clock, Domain::Monotonic);
        let told = guard.told();
        for seen in [told.wall, told.monotonic] {
            assert!((seen.pace.unwrap() - rate).abs() < 1e-6, "{seen:?}");
        }
        assert_eq!(told.wall.last_ns.signum(), gains);
        guard.straighten();
        let (told, real) = ask(&clock, Domain::Wall);
        assert_eq!(told, real);
        let (told, real) = ask(&clock, Domain::Monotonic);
        let gained = told - real;
        std::thread::sleep(Duration::from_millis(15));
        let (told, real) = ask(&clock, Domain::Monotonic);
        assert!((told - real - gained).abs() < 10_000, "the offset stays, the pace is real");
        assert!((guard.told().monotonic.pace.unwrap() - 1.0).abs() < 1e-3);
    }
}

#[test]
fn monotonic_time_never_goes_back_while_others_change_it() {
    let (_dir, clock) = clock();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let (told, _) = ask(&clock, Domain::Monotonic);
                    assert!(told >= last, "back by {} ns", last - told);
                    last = told;
                }
            });
        }
        for turn in 0..300 {
            let rate = [0.1, 5.0][turn % 2];
            let guard = clock.skew(Skew::Drift { rate, clocks: Clocks::Monotonic }).unwrap();
            std::thread::sleep(Duration::from_micros(200));
            drop(guard);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn skews_that_make_no_sense_are_refused_with_a_mend() {
    let (_dir, clock) = clock();
    let refused = |skew| clock.skew(skew).map(drop).unwrap_err().to_string();
    assert!(refused(Skew::Jump { offset_ns: 0 }).contains("other than 0"));
    assert!(refused(Skew::Jump { offset_ns: i64::MIN }).contains("ten years"));
    assert!(refused(Skew::Strobe { delta_ns: 5, period_ns: 0 }).contains("longer period"));
    for rate in [1.0, 0.0, -1.0, 6.0, f64::NAN] {
        assert!(refused(Skew::Drift { rate, clocks: Clocks::Wall }).contains("rate"), "{rate}");
    }
}

/// The hooks themselves, called by name: nothing stands before this process's own C library.
#[cfg(all(target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[test]
fn the_hooks_tell_the_page_and_turn_deadlines_back() {
    use super::hooks::*;
    use super::real::{Timespec, Timeval};
    use std::ptr::null_mut;

    let (_dir, clock) = clock();
    set_page(std::ptr::from_ref(page(&clock)).cast_mut());
    let wall = || page::real_now(Domain::Wall);
    let mut at = Timespec::default();
    let mut tv = Timeval::default();
    let near = |told_s: i64, offset_s: i64| (told_s - wall() / SECOND - offset_s).abs() <= 1;
    // SAFETY: every pointer is to a value of ours that lives for the call, or null where that is allowed.
    unsafe {
        let _guard = clock.skew(Skew::Jump { offset_ns: 20 * SECOND }).unwrap();
        assert_eq!(clock_gettime(0, &mut at), 0);
        assert!(near(at.sec, 20));
        for clock in [5, 11] {
            assert_eq!(clock_gettime(clock, &mut at), 0);
            assert!(at.sec > wall() / SECOND + 15);
        }
        assert_eq!(gettimeofday(&mut tv, null_mut()), 0);
        assert!(near(tv.sec, 20) && near(time(null_mut()), 20));
        assert_eq!((timespec_get(&mut at, 1), timespec_get(&mut at, 9)), (1, 0));
        assert!(near(at.sec, 20));
        assert_eq!(clock_gettime(99, &mut at), -1, "an unknown clock is still none");
        let cpu = clock_gettime(2, &mut at);
        assert!(cpu == 0 && at.sec < 1000, "CPU time is what it is");

        // A deadline 50 ms from what is told comes in 50 ms, not in twenty seconds, and not at once.
        let deadline = || {
            let mut at = Timespec::default();
            clock_gettime(0, &mut at);
            let ns = at.sec * SECOND + at.nsec + 50_000_000;
            Timespec { sec: ns / SECOND, nsec: ns % SECOND }
        };
        let takes_50_ms = |what: &str, wait: &mut dyn FnMut(&Timespec)| {
            let (at, began) = (deadline(), Instant::now());
            wait(&at);
            let took = began.elapsed().as_millis();
            assert!((40..2_000).contains(&took), "{what} took {took} ms");
        };
        takes_50_ms("clock_nanosleep", &mut |at| {
            assert_eq!(clock_nanosleep(0, 1, at, null_mut()), 0);
        });
        let mut mutex: libc::pthread_mutex_t = libc::PTHREAD_MUTEX_INITIALIZER;
        let mut cond: libc::pthread_cond_t = libc::PTHREAD_COND_INITIALIZER;
        let (m, c) = ((&raw mut mutex).cast(), (&raw mut cond).cast());
        libc::pthread_mutex_lock(&mut mutex);
        takes_50_ms("pthread_cond_timedwait", &mut |at| {
            assert_eq!(pthread_cond_timedwait(c, m, at), libc::ETIMEDOUT);
        });
        takes_50_ms("pthread_cond_clockwait", &mut |at| {
            assert_eq!(pthread_cond_clockwait(c, m, 0, at), libc::ETIMEDOUT);
        });
        takes_50_ms("pthread_mutex_timedlock", &mut |at| {
            assert_eq!(pthread_mutex_timedlock(m, at), libc::ETIMEDOUT);
        });
        let mut sem: libc::sem_t = std::mem::zeroed();
        libc::sem_init(&mut sem, 0, 0);
        takes_50_ms("sem_timedwait", &mut |at| {
            assert_eq!(sem_timedwait((&raw mut sem).cast(), at), -1);
        });
        takes_50_ms("futex", &mut |at| {
            let word = 0u32;
            let at = std::ptr::from_ref(at) as i64;
            let futex = libc::SYS_futex;
            assert_eq!(syscall(futex, (&raw const word) as i64, 9 | 256, 0, at, 0, -1), -1);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ETIMEDOUT));
        });
        takes_50_ms("timerfd_settime", &mut |at| {
            let timer = libc::timerfd_create(libc::CLOCK_REALTIME, 0);
            let once = super::real::Itimerspec { value: *at, ..Default::default() };
            assert_eq!(timerfd_settime(timer, 1, &once, null_mut()), 0);
            let mut fired = 0u64;
            assert_eq!(libc::read(timer, (&raw mut fired).cast(), 8), 8);
            libc::close(timer);
        });
        libc::pthread_mutex_unlock(&mut mutex);
    }
    set_page(null_mut());
}

#[test]
fn the_page_begins_with_the_truth_and_a_foreign_file_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let (_, path, mapping) = make_page(dir.path(), "page").unwrap();
    assert!(mapping.page().is_begun());
    assert!(mapping.page().line(Domain::Wall).is_straight());
    assert!(make_page(dir.path(), "page").is_err(), "one process, one page");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"other", 0).unwrap();
    assert!(!mapping.page().is_begun());
}
