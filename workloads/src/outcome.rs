//! The one table from what a client got to what the history says.
//!
//! | | read | anything else |
//! |---|---|---|
//! | result | ok | ok |
//! | its condition did not hold | | fail, `mismatch` |
//! | definite error | fail | fail |
//! | indefinite error, timeout | fail: a read changes nothing | info: it may still happen |

use checker::EventKind;
use cluster::store::{CallError, Command};

/// Error text of an operation whose condition did not hold (a compare-and-set that found another value, a transfer
/// that would overdraw): also an observation, which checkers use.
pub const MISMATCH: &str = "mismatch";

/// Error text of a call whose future was dropped.
pub const TIMEOUT: &str = "timeout";

/// What an operation may do to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it only looks.
    Observes,
    /// It may change something.
    Updates,
}

impl Effect {
    /// Of this command.
    pub fn of(command: &Command) -> Self {
        if command.is_read() { Effect::Observes } else { Effect::Updates }
    }
}

/// What the history says of a call that came back with `error`.
pub fn of_error(effect: Effect, error: &CallError) -> EventKind {
    match (effect, error.definite) {
        (Effect::Observes, _) | (Effect::Updates, true) => EventKind::Fail,
        (Effect::Updates, false) => EventKind::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_update_without_a_definite_answer_stays_open() {
        let table = [
            (Effect::Observes, CallError::definite("no master"), EventKind::Fail),
            (Effect::Observes, CallError::indefinite("connection reset"), EventKind::Fail),
            (Effect::Updates, CallError::definite("connection refused"), EventKind::Fail),
            (Effect::Updates, CallError::indefinite("wait 0 of 1"), EventKind::Info),
        ];
        for (effect, error, kind) in table {
            assert_eq!(of_error(effect, &error), kind, "{effect:?} {error:?}");
        }
        assert_eq!(Effect::of(&Command::Count), Effect::Observes);
        assert_eq!(Effect::of(&Command::Dequeue), Effect::Updates);
    }
}
