//! Why there is no answer, and how much is known all the same.

use std::fmt;

use crate::EndedBy;

/// A search that its budget ended: how far a legal order certainly goes, and where it stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    /// A legal order of everything up to this position in the history exists; what was open there may have taken
    /// effect or not. None where not even the first return was reached.
    pub proven_until: Option<u64>,
    /// Definite operations that had returned by then.
    pub proven_ops: usize,
    /// Definite operations there are.
    pub definite_ops: usize,
    /// Positions between which the search stopped: the first return that was not worked out to its end, and the
    /// last before it that was.
    pub window: (u64, u64),
    /// Operations open there, as places in `History::ops`.
    pub open: Vec<usize>,
    /// Search states visited.
    pub states: u64,
    /// Most bytes held at one time.
    pub bytes: u64,
    /// What ended it.
    pub ended_by: EndedBy,
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ended_by {
            EndedBy::States => write!(f, "no answer within the budget of {} search states", self.states)?,
            EndedBy::Bytes => write!(f, "no answer within the budget of memory ({})", Size(self.bytes))?,
            EndedBy::Stop => write!(f, "no answer within the budget of time")?,
            EndedBy::Width => write!(f, "more operations open at one time than can be followed")?,
        }
        match self.proven_until {
            Some(position) => write!(
                f,
                "; a legal order exists up to event {position}, with {} of {} definite operations",
                self.proven_ops, self.definite_ops
            )?,
            None => write!(f, "; no part of the history is proven")?,
        }
        write!(
            f,
            "; the search stopped between events {} and {}, with {} operations open, after {} states and {}",
            self.window.0,
            self.window.1,
            self.open.len(),
            self.states,
            Size(self.bytes)
        )
    }
}

/// Bytes as people read them.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_024 => write!(f, "{} bytes", self.0),
            1_024..1_048_576 => write!(f, "{} KiB", self.0 / 1_024),
            _ => write!(f, "{} MiB", self.0 / 1_048_576),
        }
    }
}
