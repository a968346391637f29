//! Canaries: ways in which the fake may break its promise, each of which a checker must find.

use std::fmt;
use std::str::FromStr;

use super::FakeError;

/// One deliberate fault in the fake cluster's logic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FakeBug {
    /// Acknowledge before replication.
    LostWrite,
    /// Read from any replica.
    StaleRead,
    /// A deposed master keeps serving.
    SplitBrain,
    /// Some writes are applied a second time, a little later.
    DuplicateApply,
    /// The replica that knows least is elected.
    ForgetOnFailover,
    /// Some reads return a value nobody wrote.
    Fabricate,
    /// Some reads return the value of another key.
    WrongKey,
}

impl FakeBug {
    /// Every bug there is.
    pub const ALL: [FakeBug; 7] = [
        FakeBug::LostWrite,
        FakeBug::StaleRead,
        FakeBug::SplitBrain,
        FakeBug::DuplicateApply,
        FakeBug::ForgetOnFailover,
        FakeBug::Fabricate,
        FakeBug::WrongKey,
    ];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            FakeBug::LostWrite => "lost-write",
            FakeBug::StaleRead => "stale-read",
            FakeBug::SplitBrain => "split-brain",
            FakeBug::DuplicateApply => "duplicate-apply",
            FakeBug::ForgetOnFailover => "forget-on-failover",
            FakeBug::Fabricate => "fabricate",
            FakeBug::WrongKey => "wrong-key",
        }
    }

    /// What it does, in one line.
    pub fn description(self) -> &'static str {
        match self {
            FakeBug::LostWrite => "the master acknowledges a write before any replica has it",
            FakeBug::StaleRead => "reads are answered by any replica, however far it lags",
            FakeBug::SplitBrain => {
                "a deposed master keeps serving for two seconds, and half of the clients ask it"
            }
            FakeBug::DuplicateApply => "one write in twenty is applied a second time, a little later",
            FakeBug::ForgetOnFailover => "the replica that lags most is elected master",
            FakeBug::Fabricate => "one read in a hundred returns a value with a flipped bit",
            FakeBug::WrongKey => "one read in a hundred returns the value of another key",
        }
    }

    /// True when it shows only after a master was replaced.
    pub fn needs_failover(self) -> bool {
        matches!(self, FakeBug::LostWrite | FakeBug::SplitBrain | FakeBug::ForgetOnFailover)
    }
}

impl fmt::Display for FakeBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FakeBug {
    type Err = FakeError;

    fn from_str(name: &str) -> Result<Self, FakeError> {
        FakeBug::ALL
            .into_iter()
            .find(|bug| bug.name() == name)
            .ok_or_else(|| FakeError::UnknownBug(name.to_owned()))
    }
}
