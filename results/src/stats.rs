//! Statistics of small samples, as pure functions. What cannot be said of so few values is none, not a guess.
//!
//! Values are finite numbers; a caller with others has made a mistake.

pub mod bootstrap;
pub mod normal;
pub mod rank;
pub mod share;
pub mod spread;

use serde::Serialize;

/// An interval that holds what is asked for in a stated share of all samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Is a value within, ends included?
    pub fn holds(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// The share of samples whose intervals hold the truth, everywhere in this crate.
pub const CONFIDENCE: f64 = 0.95;
