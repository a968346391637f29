//! What is measured: a name, where its history comes from, who judges it, and what it has to reach.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::generate::Shape;

/// One measurement, in a process of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Unique; the filter looks at it.
    pub name: String,
    /// Cases that are also added up.
    pub group: String,
    pub source: Source,
    pub judge: Judge,
    /// The model by which Porcupine judges the same history: `register`, `kv` or `kv-whole`; none if it does not.
    pub porcupine: Option<String>,
    /// What the verdict must be, where that is known.
    pub valid: Option<bool>,
    pub targets: Vec<Target>,
    /// Runs; the medians count.
    pub runs: usize,
}

/// Where the history comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Source {
    Generated(Shape),
    /// So many transactions on lists, one stale read among them if it is to be bad.
    Transactions {
        count: usize,
        bad: bool,
    },
    /// A file of any form that `check` reads.
    File(PathBuf),
}

/// Who judges, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Judge {
    /// The whole register checker, and its parts besides.
    Register,
    /// The general search on a plain model of a register.
    GeneralRegister,
    /// The checker of texts by key.
    Text,
    /// The general search on text under each key.
    GeneralText,
    /// The same without partitioning by key.
    GeneralStore,
    /// The checker of transactions on lists.
    ListAppend,
    /// The register checker event by event.
    Stream,
}

/// What a case, or a group of cases together, has to reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// At most so many milliseconds of processor time.
    CpuMs(f64),
    /// At most so many MiB beside the history.
    MemoryMib(f64),
    /// At most so many bytes an operation beside the history.
    BytesPerOp(f64),
    /// At most the so-many-th part of Porcupine's processor time.
    PorcupineOver(f64),
    /// At least so many operations per second of processor time.
    OpsPerSecond(f64),
    /// The explanation takes at most so many times what the check takes.
    ExplanationOver(f64),
    /// A violation is found at most so many seconds of history time after it was there to see.
    LatencyS(f64),
}
