//! Running a schedule: a thread per lane, so that a slow fault delays no other lane.

mod claims;
mod rhythm;
mod watch;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::claims::{Claims, Struck};
use self::rhythm::{Each, Flip};
use self::watch::{GRACE, Post, Posts};
use crate::arena::Arena;
use crate::harm::{Evidence, Healed, Strike};
use crate::schedule::{Rhythm, Schedule, Window};
use crate::targets::{Resolved, resolve};

/// Which end of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdgeKind {
    /// About to strike: what it resolved to is known, the harm not yet done.
    Start,
    /// Healed: all evidence is in.
    Stop,
}

/// What is known of a strike at one of its edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Nodes it resolved to; empty if nobody held the role.
    pub nodes: Vec<String>,
    /// The role each of them held, same order.
    pub roles: Vec<String>,
    /// Did it take effect? Known at the stop edge; true only with evidence.
    pub installed: bool,
    /// What shows it, or why it was not installed.
    pub evidence: Evidence,
}

/// An edge of a window, handed to the recorder as it happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge<'a> {
    /// The window.
    pub window: &'a Window,
    /// Which end of it.
    pub kind: EdgeKind,
    /// When it struck, or was about to.
    pub began: Instant,
    /// What is known of it.
    pub report: Report,
}

/// Ends every lane early: windows in force heal at once, later ones never open. Clones share the signal.
#[derive(Debug, Clone, Default)]
pub struct StopSignal(Arc<(Mutex<bool>, Condvar)>);

impl StopSignal {
    /// Gives the signal.
    pub fn stop(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Has it been given?
    pub fn is_given(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `deadline`; false when the signal came first.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        let mut stopped = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stopped {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return true;
            };
            stopped = self.0.1.wait_timeout(stopped, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}

/// Tells of edges as they happen; called from the lanes' threads.
pub type Record<'a> = &'a (dyn Fn(Edge<'_>) + Sync);

/// Runs the schedule to its end, or until told to stop; returns when everything has healed, with what went wrong with
/// the nemesis itself, each a sentence: after that nothing more was struck.
///
/// `origin` is the instant from which the windows' times count. `record` is called at every edge: at a start before
/// the harm is done, at a stop after it is undone. A window that its lane does not heal in time is healed by a
/// watchdog.
pub fn run_lanes(
    schedule: &Schedule,
    arena: &dyn Arena,
    origin: Instant,
    stop: &StopSignal,
    record: Record<'_>,
) -> Vec<String> {
    run_watched(schedule, arena, origin, (stop, GRACE), record)
}

fn run_watched(
    schedule: &Schedule,
    arena: &dyn Arena,
    origin: Instant,
    (stop, grace): (&StopSignal, Duration),
    record: Record<'_>,
) -> Vec<String> {
    let claims = Claims::new(arena.topology(), schedule.limits);
    let struck = Struck::default();
    let ground = Ground { arena, origin, stop, grace, claims: &claims, struck: &struck, record };
    let posts = Posts::default();
    let troubles = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let (ground, posts, troubles) = (&ground, &posts, &troubles);
        scope.spawn(move || posts.watch(scope, ground));
        let lanes: Vec<_> = schedule
            .lanes()
            .into_iter()
            .map(|lane| {
                let windows = schedule.windows.iter().filter(move |window| window.lane == lane);
                scope.spawn(move || windows.into_iter().all(|window| ground.open(window, posts, troubles)))
            })
            .collect();
        for lane in lanes {
            let _ = lane.join(); // its panics are caught and told
        }
        posts.is_over();
    });
    troubles.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// All that windows share.
struct Ground<'a> {
    arena: &'a dyn Arena,
    origin: Instant,
    stop: &'a StopSignal,
    /// How long after its end a window is overdue.
    grace: Duration,
    claims: &'a Claims<'a>,
    struck: &'a Struck,
    record: Record<'a>,
}

/// Tells the edges of one window.
#[derive(Clone, Copy)]
struct Teller<'a> {
    window: &'a Window,
    began: Instant,
    record: Record<'a>,
}

impl Teller<'_> {
    fn tell(&self, kind: EdgeKind, resolved: &Resolved, installed: bool, evidence: Evidence) {
        let nodes = resolved.victims.iter().map(|victim| victim.node.clone()).collect();
        let report = Report { nodes, roles: resolved.roles.clone(), installed, evidence };
        (self.record)(Edge { window: self.window, kind, began: self.began, report });
    }
}

impl<'a> Ground<'a> {
    /// Runs a window when its time has come; false when no more are to be opened.
    fn open(&'a self, window: &'a Window, posts: &Posts<'a>, troubles: &Mutex<Vec<String>>) -> bool {
        if !self.stop.wait_until(self.origin + Duration::from_millis(window.start_ms)) {
            return false;
        }
        let teller = Teller { window, began: Instant::now(), record: self.record };
        let ran = catch_unwind(AssertUnwindSafe(|| self.run(teller, posts)));
        if let Err(panic) = ran {
            // Whatever was in force has healed as its guard went; the others heal now.
            self.stop.stop();
            let why = format!("the nemesis panicked in window {}: {}", window.id, words(&*panic));
            troubles.lock().unwrap_or_else(PoisonError::into_inner).push(why);
        }
        !self.stop.is_given()
    }

    fn run(&'a self, teller: Teller<'a>, posts: &Posts<'a>) {
        let window = teller.window;
        let due = self.origin + Duration::from_millis(window.stop_ms);
        if let Rhythm::Each { hold_ms, .. } = window.rhythm {
            // Whom it strikes is found out again and again.
            let post = Post::new(teller, Resolved::default(), due);
            return self.hold(post, posts, || Box::new(Each::new(self, window, hold_ms)));
        }
        let refuse = |resolved: &Resolved, why: String| {
            teller.tell(EdgeKind::Start, resolved, false, Vec::new());
            let Healed { installed, evidence } = Healed::refused(why);
            teller.tell(EdgeKind::Stop, resolved, installed, evidence);
        };
        let resolved = match resolve(window, self.arena, |id| self.struck.of(id)) {
            Ok(resolved) => resolved,
            Err(why) => return refuse(&Resolved::default(), why),
        };
        self.struck.note(window.id, &resolved.victims);
        let claim = match self.claims.claim(window, &resolved.victims) {
            Ok(claim) => claim,
            Err(why) => return refuse(&resolved, why),
        };
        let post = Post::new(teller, resolved.clone(), due);
        let lasts = Duration::from_millis(window.stop_ms.saturating_sub(window.start_ms));
        self.hold(post, posts, || match window.rhythm {
            Rhythm::Flip { on_ms, off_ms } => Box::new(Flip::new(self, window, &resolved, (on_ms, off_ms))),
            _ => window.harm.inject(&strike(window, &resolved, window.seed, lasts), self.arena),
        });
        drop(claim);
    }

    /// Does a harm, keeps it in force until its end or until told to stop, and heals it.
    fn hold(
        &self,
        post: Post<'a>,
        posts: &Posts<'a>,
        inject: impl FnOnce() -> Box<dyn crate::harm::InForce + 'a>,
    ) {
        let end = post.due();
        post.teller.tell(EdgeKind::Start, &post.resolved, false, Vec::new());
        let post = posts.add(post);
        let _relieved = Relieved { post: &post, posts };
        post.inject(inject);
        loop {
            let next = post.beat().map_or(end, |due| due.min(end));
            if !self.stop.wait_until(next) || next == end {
                break;
            }
        }
        post.end(None);
    }
}

/// Takes a window off the watchdog's list when its lane is done with it, be it by a panic.
struct Relieved<'p, 'a> {
    post: &'p Arc<Post<'a>>,
    posts: &'p Posts<'a>,
}

impl Drop for Relieved<'_, '_> {
    fn drop(&mut self) {
        self.posts.remove(self.post);
        if std::thread::panicking() {
            let why = ("panicked".to_string(), "its lane ended in a panic of the nemesis".to_string());
            self.post.end(Some(why.clone()));
            // What panicked while it was undone is gone already.
            let nothing = Healed { installed: false, evidence: vec![why] };
            self.post.tell(&self.post.resolved, nothing, None);
        }
    }
}

/// What a harm is told of its victims.
fn strike(window: &Window, resolved: &Resolved, seed: u64, lasts: Duration) -> Strike {
    Strike {
        window: window.id,
        name: format!("window {}: {}", window.id, window.harm.family().name()),
        victims: resolved.victims.clone(),
        seed,
        lasts: Some(lasts),
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().map(ToString::to_string);
    said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".into())
}

#[cfg(test)]
mod tests;
