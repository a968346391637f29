//! The watchdog: a window that is overdue, because its lane's thread is stalled, is healed by another thread.
//!
//! Rules on links end by themselves some time after their window, whatever becomes of us; what is here is for all
//! other harms, and for a thread that is stuck in the middle of one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use super::{EdgeKind, Ground, Teller};
use crate::harm::{Healed, InForce};
use crate::targets::Resolved;

/// How long after a window's end it is overdue. Calls into an arena are bound to take less.
pub(super) const GRACE: Duration = Duration::from_secs(4);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A window in force, as its lane and the watchdog see it.
pub(super) struct Post<'a> {
    pub(super) teller: Teller<'a>,
    pub(super) resolved: Resolved,
    due: Instant,
    /// Locked by whoever is at work on it.
    in_force: Mutex<Option<Box<dyn InForce + 'a>>>,
    /// Its end has been told, by whomever.
    is_told: AtomicBool,
    /// Somebody is about to heal it in its lane's place.
    is_rescued: AtomicBool,
}

impl<'a> Post<'a> {
    pub(super) fn new(teller: Teller<'a>, resolved: Resolved, due: Instant) -> Self {
        let (is_told, is_rescued) = (AtomicBool::new(false), AtomicBool::new(false));
        Post { teller, resolved, due, in_force: Mutex::new(None), is_told, is_rescued }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn InForce + 'a>>> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the harm.
    pub(super) fn inject(&self, inject: impl FnOnce() -> Box<dyn InForce + 'a>) {
        let mut in_force = self.lock();
        *in_force = Some(inject());
        if self.is_told.load(Ordering::SeqCst) {
            *in_force = None; // too late: it heals as it goes
        }
    }

    /// See [`InForce::beat`].
    pub(super) fn beat(&self) -> Option<Instant> {
        self.lock().as_mut().and_then(|in_force| in_force.beat())
    }

    /// Heals it and tells its end, unless that has been done.
    pub(super) fn end(&self, note: Option<(String, String)>) {
        let mut place = self.lock(); // until it is healed: who looks sees that somebody is at work on it
        if let Some(mut in_force) = place.take() {
            let healed = in_force.undo();
            let resolved = in_force.resolved();
            drop(in_force);
            drop(place);
            self.tell(&resolved.unwrap_or_else(|| self.resolved.clone()), healed, note);
        }
    }

    /// Tells its end, once.
    pub(super) fn tell(&self, resolved: &Resolved, healed: Healed, note: Option<(String, String)>) {
        if !self.is_told.swap(true, Ordering::SeqCst) {
            let Healed { installed, mut evidence } = healed;
            evidence.extend(note);
            self.teller.tell(EdgeKind::Stop, resolved, installed, evidence);
        }
    }

    /// When its window ends.
    pub(super) fn due(&self) -> Instant {
        self.due
    }
}

/// All windows that are in force.
#[derive(Default)]
pub(super) struct Posts<'a> {
    posts: Mutex<Vec<Arc<Post<'a>>>>,
    is_over: AtomicBool,
}

impl<'a> Posts<'a> {
    pub(super) fn add(&self, post: Post<'a>) -> Arc<Post<'a>> {
        let post = Arc::new(post);
        self.lock().push(post.clone());
        post
    }

    pub(super) fn remove(&self, post: &Arc<Post<'a>>) {
        self.lock().retain(|other| !Arc::ptr_eq(other, post));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Post<'a>>>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All lanes have ended.
    pub(super) fn is_over(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Watches until that.
    pub(super) fn watch<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        ground: &'scope Ground<'scope>,
    ) where
        'a: 'scope,
    {
        let mut stopped_at = None;
        while !self.is_over.load(Ordering::SeqCst) {
            std::thread::sleep(LOOK_EVERY);
            if ground.stop.is_given() {
                stopped_at.get_or_insert_with(Instant::now);
            }
            let due = |post: &Post<'_>| stopped_at.map_or(post.due, |stopped| post.due.min(stopped));
            let overdue: Vec<_> = self
                .lock()
                .iter()
                .filter(|post| due(post) + ground.grace <= Instant::now())
                .filter(|post| !post.is_rescued.swap(true, Ordering::SeqCst))
                .cloned()
                .collect();
            for post in overdue {
                // A thread each: whatever has stalled the lane may stall who helps it as well.
                scope.spawn(move || rescue(&post, ground));
            }
        }
    }
}

/// Heals a window whose lane does not.
fn rescue(post: &Post<'_>, ground: &Ground<'_>) {
    let note = |what: &str| {
        let late = format!("more than {:.1} s after its end {what}", ground.grace.as_secs_f64());
        Some(("overdue".to_string(), late))
    };
    match post.in_force.try_lock() {
        Ok(in_force) if in_force.is_some() => {
            drop(in_force);
            post.end(note("it was healed by the watchdog"));
        }
        // Nothing is in force: its lane is about to open it, or is telling its end.
        Ok(_) => post.is_rescued.store(false, Ordering::SeqCst),
        Err(TryLockError::Poisoned(_)) => post.end(note("it was healed by the watchdog")),
        Err(TryLockError::WouldBlock) => {
            // Its lane is stuck in the middle of it. What can be undone from outside is.
            post.tell(&post.resolved, Healed::default(), note("its lane was still at work on it"));
            for victim in &post.resolved.victims {
                let _ = ground.arena.resume(victim); // whoever was not halted needs no help
                let _ = ground.arena.revive(victim);
            }
        }
    }
}
