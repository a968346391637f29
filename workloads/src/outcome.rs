//! The one table from what a client got to what the history says.
//!
//! | | read | write, cas |
//! |---|---|---|
//! | result | ok | ok |
//! | cas found another value | | fail, `mismatch` |
//! | definite error | fail | fail |
//! | indefinite error, timeout | fail: a read changes nothing | info: it may still happen |

use checker::EventKind;
use cluster::store::CallError;

/// Error text of a compare-and-set that found another value: also an observation, which checkers use.
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

/// What the history says of a call that came back with `error`.
pub fn of_error(effect: Effect, error: &CallError) -> EventKind {
    match (effect, error.definite) {
        (Effect::Observes, _) | (Effect::Updates, true) => EventKind::Fail,
        (Effect::Updates, false) => EventKind::Info,
    }
}

/// What the history says of a call that did not come back in time.
pub fn of_timeout(effect: Effect) -> EventKind {
    of_error(effect, &CallError::indefinite(TIMEOUT))
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
        assert_eq!(of_timeout(Effect::Observes), EventKind::Fail);
        assert_eq!(of_timeout(Effect::Updates), EventKind::Info);
    }
}
