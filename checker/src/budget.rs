//! What a checker may spend: search states, bytes, and time as somebody else measures it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How much a checker may spend before it has to answer [`Verdict::Unknown`](crate::Verdict::Unknown).
#[derive(Debug, Clone)]
pub struct Budget {
    /// Most search states that one partition (key) may visit.
    pub states_max: u64,
    /// Most bytes that the searches may hold at one time, besides the history itself; shared between the keys
    /// that are judged at the same time.
    pub bytes_max: u64,
    /// Ends every search soon after it was raised.
    pub stop: Stop,
}

impl Default for Budget {
    /// As many states as one likes within 1 GiB, and no end in time.
    fn default() -> Self {
        Budget { states_max: u64::MAX, bytes_max: 1 << 30, stop: Stop::default() }
    }
}

impl Budget {
    /// No more than `states_max` search states for a key.
    pub fn of_states(states_max: u64) -> Self {
        Budget { states_max, ..Budget::default() }
    }

    /// No more than `bytes_max` bytes at one time.
    pub fn of_bytes(bytes_max: u64) -> Self {
        Budget { bytes_max, ..Budget::default() }
    }

    /// What each of `sharers` gets that work at the same time.
    pub(crate) fn shared_by(&self, sharers: usize) -> Budget {
        Budget { bytes_max: self.bytes_max / sharers.max(1) as u64, ..self.clone() }
    }
}

/// A flag that ends searches. A checker has no clock: whoever has one keeps a clone and raises it.
///
/// ```
/// use checker::{Budget, Stop};
///
/// let stop = Stop::default();
/// let budget = Budget { stop: stop.clone(), ..Budget::default() };
/// assert!(!budget.stop.is_raised());
/// stop.raise();
/// assert!(budget.stop.is_raised());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Stop {
    raised: Arc<AtomicBool>,
    /// Raised flags above count too.
    above: Option<Arc<Stop>>,
}

impl Stop {
    /// Asks every search that polls this flag, or one below it, to end. For good.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::Relaxed);
    }

    /// Was it raised, or one above it?
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed) || self.above.as_ref().is_some_and(|above| above.is_raised())
    }

    /// A flag that is raised with this one, and can be raised alone: for searches that compete.
    pub fn below(&self) -> Stop {
        Stop { raised: Arc::default(), above: Some(Arc::new(self.clone())) }
    }
}

/// What ended a search before it had an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// [`Budget::states_max`].
    States,
    /// [`Budget::bytes_max`].
    Bytes,
    /// [`Budget::stop`].
    Stop,
    /// More operations open at one time than the engine can follow.
    Width,
}

/// Counts what one search spends, and ends it at the budget.
#[derive(Debug)]
pub(crate) struct Meter {
    states: u64,
    states_max: u64,
    fixed: u64,
    bytes_peak: u64,
    bytes_max: u64,
    stop: Stop,
}

impl Meter {
    pub(crate) fn new(budget: &Budget) -> Self {
        Meter {
            states: 0,
            states_max: budget.states_max,
            fixed: 0,
            bytes_peak: 0,
            bytes_max: budget.bytes_max,
            stop: budget.stop.clone(),
        }
    }

    /// So many states more were visited.
    pub(crate) fn visits(&mut self, states: u64) -> Result<(), EndedBy> {
        self.states += states;
        match () {
            () if self.states > self.states_max => Err(EndedBy::States),
            () if self.stop.is_raised() => Err(EndedBy::Stop),
            () => Ok(()),
        }
    }

    /// So many bytes are held all the time.
    pub(crate) fn holds(&mut self, bytes: u64) -> Result<(), EndedBy> {
        self.fixed = bytes;
        self.holds_besides(0)
    }

    /// So many bytes are held now, besides those that are held all the time.
    pub(crate) fn holds_besides(&mut self, bytes: u64) -> Result<(), EndedBy> {
        self.bytes_peak = self.bytes_peak.max(self.fixed + bytes);
        if self.bytes_peak > self.bytes_max { Err(EndedBy::Bytes) } else { Ok(()) }
    }

    pub(crate) fn states(&self) -> u64 {
        self.states
    }

    pub(crate) fn bytes_peak(&self) -> u64 {
        self.bytes_peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_below_is_raised_with_the_one_above_and_not_the_other_way_round() {
        let above = Stop::default();
        let (one, two) = (above.below(), above.below());
        one.raise();
        assert!(one.is_raised() && !above.is_raised() && !two.is_raised());
        above.raise();
        assert!(two.is_raised());
    }

    #[test]
    fn what_is_shared_is_memory_and_nothing_else() {
        let budget = Budget { states_max: 7, bytes_max: 100, stop: Stop::default() };
        let share = budget.shared_by(4);
        assert_eq!((share.states_max, share.bytes_max), (7, 25));
        budget.stop.raise();
        assert!(share.stop.is_raised());
    }
}
