//! Exit codes, all of them.

use std::process::ExitCode;

use checker::Verdict;
use results::summary::Liveness;

/// How `shardstorm` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// 0: every promise was kept.
    Valid = 0,
    /// 1: a promise was broken. Masks everything else.
    Invalid = 1,
    /// 2: nobody can say. Never green.
    Unknown = 2,
    /// 3: no violation seen, but the cluster was not live again in time.
    NotLive = 3,
    /// 254: bad arguments, or the environment cannot serve.
    Usage = 254,
    /// 255: the harness itself failed.
    Harness = 255,
}

impl Exit {
    /// Of a run that was judged. A violation is never masked: invalid, then not live, then unknown.
    pub fn of(verdict: &Verdict, liveness: &Liveness) -> Exit {
        match (verdict, liveness) {
            (Verdict::Invalid { .. }, _) => Exit::Invalid,
            (_, Liveness::NotLive { .. }) => Exit::NotLive,
            (Verdict::Unknown { .. }, _) => Exit::Unknown,
            (Verdict::Valid, _) => Exit::Valid,
        }
    }

    /// Read back from a summary.
    pub fn from_code(code: i32) -> Exit {
        let all = [Exit::Valid, Exit::Invalid, Exit::Unknown, Exit::NotLive, Exit::Usage];
        all.into_iter().find(|exit| exit.code() == code).unwrap_or(Exit::Harness)
    }

    /// The one that counts when several things were judged: a violation is never masked, nor is what could not
    /// be judged at all.
    pub fn worse(self, other: Exit) -> Exit {
        let ranks = [Exit::Valid, Exit::Unknown, Exit::NotLive, Exit::Usage, Exit::Harness, Exit::Invalid];
        let rank = |exit: Exit| ranks.iter().position(|&ranked| ranked == exit);
        if rank(other) > rank(self) { other } else { self }
    }

    /// The number.
    pub fn code(self) -> i32 {
        i32::from(self as u8)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Bad arguments or an environment that cannot serve: one sentence and the mend, exit 254.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_never_masked_and_unknown_is_never_green() {
        let invalid = Verdict::Invalid { anomalies: vec![] };
        let unknown = Verdict::unknown("too little happened");
        let live = Liveness::Live { after_s: 1.0 };
        let dead = Liveness::NotLive { bound_s: 20.0, why: vec![] };
        let table = [
            (&Verdict::Valid, &live, 0),
            (&Verdict::Valid, &Liveness::NotJudged, 0),
            (&Verdict::Valid, &dead, 3),
            (&unknown, &live, 2),
            (&unknown, &dead, 3),
            (&invalid, &live, 1),
            (&invalid, &dead, 1),
        ];
        for (verdict, liveness, code) in table {
            assert_eq!(Exit::of(verdict, liveness).code(), code, "{verdict:?} {liveness:?}");
        }
    }

    #[test]
    fn the_worst_of_several_counts() {
        let worst = |all: &[Exit]| all.iter().copied().fold(Exit::Valid, Exit::worse);
        assert_eq!(worst(&[Exit::Valid, Exit::Unknown, Exit::Valid]), Exit::Unknown);
        assert_eq!(worst(&[Exit::Usage, Exit::Unknown]), Exit::Usage);
        assert_eq!(worst(&[Exit::Harness, Exit::Invalid, Exit::Usage]), Exit::Invalid);
    }
}
