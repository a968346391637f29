//! What came of a message fault: one outcome of eight.

use serde::{Deserialize, Serialize};

/// What came of it, from harmless to harmful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// No message met the description: nothing was tested, and nothing has passed.
    NotTriggered,
    /// Nobody could tell, and nothing was wrong afterwards.
    Masked,
    /// Somebody refused it: an error, a reset, a retry.
    RejectedClean,
    /// A process ended because of it.
    RejectedCrash,
    /// Somebody said that something was wrong, and stopped.
    DetectedStopped,
    /// Nothing wrong was served, but the system did not come back in time.
    Liveness,
    /// Somebody said that something was wrong, and what was wrong was served all the same.
    DetectedServed,
    /// Something wrong was served or stored, and nobody said so.
    Silent,
}

impl Outcome {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::NotTriggered => "not-triggered",
            Outcome::Masked => "masked",
            Outcome::RejectedClean => "rejected-clean",
            Outcome::RejectedCrash => "rejected-crash",
            Outcome::DetectedStopped => "detected-stopped",
            Outcome::Liveness => "liveness",
            Outcome::DetectedServed => "detected-served",
            Outcome::Silent => "silent",
        }
    }
}

/// What was seen after a fault, of the target and by an audit behind its back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observations {
    /// Messages altered.
    pub applied: u64,
    /// What was served or stored is wrong: a broken promise, or copies that differ.
    pub wrong: bool,
    /// Somebody in the system said that something was wrong: a log line, a metric.
    pub signalled: bool,
    /// Somebody refused what was altered: an error to a client, a reset, a new session.
    pub refused: bool,
    /// A process ended that nobody ended.
    pub crashed: bool,
    /// Somebody stopped serving of his own accord, without ending.
    pub stopped: bool,
    /// The system was live again within the bound.
    pub live: bool,
}

impl Observations {
    /// The one outcome. What is wrong outweighs how it came about; a crash outweighs a word about it.
    pub fn outcome(&self) -> Outcome {
        match () {
            () if self.applied == 0 => Outcome::NotTriggered,
            () if self.wrong && (self.signalled || self.crashed) => Outcome::DetectedServed,
            () if self.wrong => Outcome::Silent,
            () if self.crashed => Outcome::RejectedCrash,
            () if self.stopped => Outcome::DetectedStopped,
            () if !self.live => Outcome::Liveness,
            () if self.refused || self.signalled => Outcome::RejectedClean,
            () => Outcome::Masked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_observations() {
        let altered = Observations { applied: 1, live: true, ..Observations::default() };
        let table = [
            (Observations { applied: 0, wrong: true, ..altered }, Outcome::NotTriggered),
            (altered, Outcome::Masked),
            (Observations { refused: true, ..altered }, Outcome::RejectedClean),
            (Observations { signalled: true, ..altered }, Outcome::RejectedClean),
            (Observations { crashed: true, signalled: true, ..altered }, Outcome::RejectedCrash),
            (Observations { stopped: true, signalled: true, ..altered }, Outcome::DetectedStopped),
            (Observations { live: false, ..altered }, Outcome::Liveness),
            (Observations { wrong: true, signalled: true, ..altered }, Outcome::DetectedServed),
            (Observations { wrong: true, refused: true, ..altered }, Outcome::Silent),
        ];
        for (seen, outcome) in table {
            assert_eq!(seen.outcome(), outcome, "{seen:?}");
        }
    }
}
