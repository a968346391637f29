//! A kill at a point of a protocol: when a message is seen, and before another arrives.

use std::time::{Duration, Instant};

use super::Struck;
use crate::arena::{PointOfMessages, Victim};
use crate::byzantine::Trigger;
use crate::harm::{Healed, InForce};

/// How often it looks whether the message has come: the message waits meanwhile, so this delays nothing but it.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Waits for the point, kills there, and lets what was held go on.
pub(super) struct Waiting<'a> {
    struck: Struck<'a>,
    victims: Vec<Victim>,
    point: Option<Box<dyn PointOfMessages>>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(mut struck: Struck<'a>, victims: &[Victim], trigger: &Trigger) -> Waiting<'a> {
        let point = struck.arena.watch(trigger);
        let point = point.map_err(|why| struck.evidence.push(("not installed".into(), why))).ok();
        Waiting { struck, victims: victims.to_vec(), point }
    }
}

impl InForce for Waiting<'_> {
    fn beat(&mut self) -> Option<Instant> {
        let message = self.point.as_mut()?.reached();
        match message {
            None => Some(Instant::now() + LOOK_EVERY),
            Some(message) => {
                self.struck.evidence.push(("reached".into(), message));
                self.struck.strike(&self.victims);
                self.point = None;
                None
            }
        }
    }

    fn undo(&mut self) -> Healed {
        if self.point.take().is_some() {
            self.struck.evidence.push(("not installed".into(), "the point was not reached in time".into()));
        }
        self.struck.undo()
    }
}
