//! What a play showed.

use nemesis::byzantine::score::{Funnel, Observations};
use serde::Serialize;

/// Facts in the order in which they were seen, and what they mean for the outcome.
#[derive(Debug, Default, Serialize)]
pub struct Seen {
    /// What was looked at, and what was seen.
    pub facts: Vec<(String, String)>,
    /// A process ended that nobody ended.
    pub crashed: bool,
    /// Somebody in the system said that something was wrong.
    pub signalled: bool,
    /// Somebody refused what was altered: an error, a reset, a new session.
    pub refused: bool,
    /// What parts of the system hold or believe differs.
    pub differs: bool,
    /// A promise was broken.
    pub broken: bool,
}

impl Seen {
    /// Something worth telling.
    pub fn note(&mut self, what: &str, seen: impl ToString) {
        self.facts.push((what.into(), seen.to_string()));
    }

    /// How a process ended, if it did.
    pub fn exited(&mut self, exit: Option<lab::Exit>) {
        if let Some(exit) = exit {
            self.note("a process ended", lab::ProcessState::Exited(exit));
            self.crashed = true;
        }
    }

    /// Whether somebody gave this sign that something was wrong.
    pub fn signal(&mut self, given: bool, sign: &str) {
        if given {
            self.note("a sign of trouble", sign);
            self.signalled = true;
        }
    }

    /// Whether somebody refused what was altered.
    pub fn refusal(&mut self, refused: bool) {
        self.refused |= refused;
    }

    /// Whether what two parts hold or believe agrees.
    pub fn audit(&mut self, agree: bool, what: &str) {
        self.note(what, if agree { "agree" } else { "differ" });
        self.differs |= !agree;
    }

    /// Whether a promise of the system was kept.
    pub fn promise(&mut self, kept: bool, promise: &str) {
        self.note(promise, if kept { "kept" } else { "broken" });
        self.broken |= !kept;
    }
}

impl Seen {
    /// What it comes to, after so many messages were altered.
    pub fn observations(&self, altered: u64) -> Observations {
        let given = |flag: bool, words: &str| if flag { vec![words.to_string()] } else { Vec::new() };
        Observations {
            funnel: Funnel { planned: altered, matched: altered, applied: altered, delivered: altered },
            exits: given(self.crashed, "a process ended"),
            signals: given(self.signalled, "a sign of trouble"),
            refusals: self.refused.into(),
            stepped_down: false,
            audit_differs: self.differs || self.broken,
            anomaly: None,
            live_again: true,
        }
    }
}
