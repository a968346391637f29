//! `runs.jsonl`: one line per finished run, and how what came compares with what was expected.

use checker::Verdict;
use serde::{Deserialize, Serialize};

use super::plan::{Expectation, Expected};
use crate::summary::{Liveness, RunSummary};

/// A run that has ended. Without its line, a run has not been.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunLine {
    /// The cell, by its place in the plan.
    pub index: u32,
    /// 1, or more where the cell was run again because it had ended otherwise than expected.
    pub attempt: u32,
    /// The run folder, relative to the campaign's; none if the run made none.
    pub folder: Option<String>,
    /// Exit code; none if a signal ended it.
    pub exit_code: Option<i32>,
    /// How it ended.
    pub verdict: Ended,
    /// Names of the contradictions, each once.
    #[serde(default)]
    pub anomalies: Vec<String>,
    /// The first reason for the verdict, a sentence; empty for a valid one.
    #[serde(default)]
    pub reason: String,
    /// Seconds from start to end.
    pub wall_s: f64,
    /// When it ended, RFC 3339, UTC.
    pub ended_at: String,
    /// How that compares with what was expected.
    pub outcome: Outcome,
    /// Why it is not as expected; empty where it is.
    #[serde(default)]
    pub why: String,
}

/// How a run ended, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Every promise was kept.
    Valid,
    /// A promise was broken.
    Invalid,
    /// Nobody can say.
    Unknown,
    /// No violation, but not live again in time.
    NotLive,
    /// The harness failed, or its process died: no verdict.
    Error,
}

/// How the end of a run compares with what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is what was expected.
    AsExpected,
    /// A violation was expected and did not show: no failure as long as it shows often enough.
    Missed,
    /// Something else.
    Unexpected,
}

impl Ended {
    /// All of them, in the order of tables.
    pub const ALL: [Ended; 5] = [Ended::Valid, Ended::Invalid, Ended::NotLive, Ended::Unknown, Ended::Error];

    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Ended::Valid => "valid",
            Ended::Invalid => "invalid",
            Ended::Unknown => "unknown",
            Ended::NotLive => "not live",
            Ended::Error => "error",
        }
    }

    /// Of a run that left a summary. A violation is never masked, not even by the harness's own failure.
    pub fn of(summary: &RunSummary) -> Ended {
        match (&summary.verdict, &summary.error, &summary.liveness) {
            (Verdict::Invalid { .. }, _, _) => Ended::Invalid,
            (_, Some(_), _) => Ended::Error,
            (_, _, Liveness::NotLive { .. }) => Ended::NotLive,
            (Verdict::Unknown { .. }, _, _) => Ended::Unknown,
            (Verdict::Valid, _, _) => Ended::Valid,
        }
    }
}

/// The first reason for a run's verdict, a sentence; empty for a valid one.
pub fn reason(summary: &RunSummary) -> String {
    match (&summary.verdict, &summary.error, &summary.liveness) {
        (Verdict::Invalid { anomalies }, _, _) => match anomalies.as_slice() {
            [] => String::new(),
            [first, ..] => format!("{} on key {}: {}", first.name, first.key, first.reason),
        },
        (_, Some(error), _) => error.clone(),
        (_, _, Liveness::NotLive { bound_s, why }) => {
            format!("not live again within {bound_s} s: {}", why.join("; "))
        }
        (Verdict::Unknown { why }, _, _) => why.join("; "),
        (Verdict::Valid, _, _) => String::new(),
    }
}

impl Expectation {
    /// Judges the end of a run, and says why it is not as expected if it is not.
    pub fn judge(&self, ended: Ended, anomalies: &[String]) -> (Outcome, String) {
        let because = |what: String| (Outcome::Unexpected, what);
        match (self.verdict, ended) {
            (Expected::Valid, Ended::Valid) => (Outcome::AsExpected, String::new()),
            (_, Ended::Error) => because("the run has no verdict".into()),
            (Expected::Any, _) => (Outcome::AsExpected, String::new()),
            (Expected::Valid, ended) => because(format!("{}, expected valid", told(ended, anomalies))),
            (Expected::Invalid, Ended::Invalid) => {
                if self.anomalies.is_empty() || anomalies.iter().any(|name| self.anomalies.contains(name)) {
                    return (Outcome::AsExpected, String::new());
                }
                because(format!("{}, expected {self}", told(ended, anomalies)))
            }
            (Expected::Invalid, ended) => {
                (Outcome::Missed, format!("{}, expected {self}", told(ended, anomalies)))
            }
        }
    }
}

/// An end with its names: `invalid (stale-read, lost-update)`.
pub fn told(ended: Ended, anomalies: &[String]) -> String {
    match anomalies {
        [] => ended.word().to_owned(),
        names => format!("{} ({})", ended.word(), names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_held_against_what_was_expected() {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expect =
            |verdict, anomalies: &[&str]| Expectation { verdict, anomalies: names(anomalies), at_least: 1.0 };
        let valid = expect(Expected::Valid, &[]);
        let weak = expect(Expected::Invalid, &["stale-read"]);
        let any = expect(Expected::Any, &[]);
        use Outcome::{AsExpected, Missed, Unexpected};
        let table = [
            (&valid, Ended::Valid, &[][..], AsExpected),
            (&valid, Ended::Invalid, &["stale-read"], Unexpected),
            (&valid, Ended::Unknown, &[], Unexpected),
            (&valid, Ended::NotLive, &[], Unexpected),
            (&valid, Ended::Error, &[], Unexpected),
            (&weak, Ended::Invalid, &["lost-update", "stale-read"], AsExpected),
            (&weak, Ended::Invalid, &["lost-update"], Unexpected),
            (&weak, Ended::Valid, &[], Missed),
            (&weak, Ended::NotLive, &[], Missed),
            (&weak, Ended::Error, &[], Unexpected),
            (&any, Ended::Invalid, &["lost-update"], AsExpected),
            (&any, Ended::Error, &[], Unexpected),
        ];
        for (expectation, ended, anomalies, outcome) in table {
            let (judged, why) = expectation.judge(ended, &names(anomalies));
            assert_eq!(judged, outcome, "{expectation} and {ended:?} {anomalies:?}");
            assert_eq!(why.is_empty(), outcome == AsExpected, "{why}");
        }
    }
}
