//! The test bed.
#![allow(missing_docs)]
pub mod fabric {
    use std::time::Duration;
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub enum Action { Drop, Delay { base: Duration, jitter: Duration }, Loss { probability: f64 } }
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct RuleCounters { pub matched: u64, pub dropped: u64, pub delayed: u64 }
}
