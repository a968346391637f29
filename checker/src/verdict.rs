//! Three-valued verdicts: `Valid < Unknown < Invalid`; merging keeps the worst.

use serde::{Deserialize, Serialize};

/// What a checker found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// The promise was kept.
    Valid,
    /// Nobody can say: the reasons, each a sentence. Never green.
    Unknown {
        /// Why no answer could be given.
        why: Vec<String>,
    },
    /// The promise was broken: the proofs.
    Invalid {
        /// Each a contradiction that stands on its own.
        anomalies: Vec<Anomaly>,
    },
}

/// One broken promise, with the operations that prove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// Name from the literature: `stale-read`, `lost-update`, `fabricated-value`, …
    pub name: String,
    /// Partition (key) in which it happened; empty when there is none.
    pub key: String,
    /// Indices of the *invocation events* of the operations that prove it, in history order.
    pub ops: Vec<u64>,
    /// One sentence a person understands.
    pub reason: String,
    /// A drawn timeline of those operations, one line per process; may be empty.
    pub drawing: String,
}

/// What was found about one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyVerdict {
    /// The key, as anomalies name it; empty when there is none.
    pub key: String,
    /// Operations on it.
    pub ops: usize,
    /// What answered: `unique`, `search`, or the name of a checker with an algorithm of its own.
    pub engine: &'static str,
    /// The answer.
    pub verdict: Verdict,
}

impl KeyVerdict {
    /// The worst of all; [`Verdict::Valid`] of none.
    pub fn merged(keys: Vec<KeyVerdict>) -> Verdict {
        keys.into_iter().map(|key| key.verdict).fold(Verdict::Valid, Verdict::merge)
    }
}

impl Verdict {
    /// An unknown verdict with one reason.
    pub fn unknown(why: impl Into<String>) -> Self {
        Verdict::Unknown { why: vec![why.into()] }
    }

    /// The worse of the two; equal kinds pool their reasons, in order.
    pub fn merge(self, other: Verdict) -> Verdict {
        use Verdict::{Invalid, Unknown, Valid};
        match (self, other) {
            (Invalid { mut anomalies }, Invalid { anomalies: more }) => {
                anomalies.extend(more);
                Invalid { anomalies }
            }
            (Invalid { anomalies }, _) | (_, Invalid { anomalies }) => Invalid { anomalies },
            (Unknown { mut why }, Unknown { why: more }) => {
                why.extend(more);
                Unknown { why }
            }
            (Unknown { why }, Valid) | (Valid, Unknown { why }) => Unknown { why },
            (Valid, Valid) => Valid,
        }
    }

    /// `valid`, `unknown` or `invalid`.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::Unknown { .. } => "unknown",
            Verdict::Invalid { .. } => "invalid",
        }
    }
}
