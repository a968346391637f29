//! A mutex: at most one process holds it.
//!
//! `acquire` takes it, `release` gives it back; a process holds it for certain from the return of its acquire
//! until it calls release. Two certain holds never overlap, and that is all a linearizable mutex with owners
//! promises: where the holds are disjoint in time, acquires can be put where they return and releases where
//! they are called.
//!
//! ```text
//! p0 |-acquire()-|                       |-release()-|
//! p1                  |-acquire()-|                        invalid: held by both
//! ```
//!
//! Where `acquire` returns a token and `release` has it as its argument, that says which hold it ends, whoever
//! calls; what is done with the token meanwhile (`claim`, `guarded`, `read`) tells nothing here.
//!
//! An indefinite acquire may never have succeeded and is left out. A process whose release is indefinite, or
//! which never releases at all, holds the mutex for certain until it calls release, or to the end.
//!
//! ```
//! use checker::object::mutex::Mutex;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |-acquire()-|                       |-release()-|
//! p1                  |-acquire()-|
//! ",
//! )?;
//! let Verdict::Invalid { anomalies } = Mutex.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!((anomalies[0].name.as_str(), &anomalies[0].ops[..]), ("two-holders", &[0, 2, 4][..]));
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::{Broken, Trouble, by_key, foreign};
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Process, Verdict};

/// Is there, key by key, never more than one holder? O(n log n).
///
/// Anomalies: `two-holders`; `release-without-hold`, a release that succeeded for a process that held nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mutex;

impl Checker for Mutex {
    fn name(&self) -> &'static str {
        "mutex"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, _| judge(ops))
    }
}

/// A hold that certainly lasts from one position to another.
#[derive(Clone, Copy)]
struct Hold {
    from: u64,
    until: u64,
    acquire: usize,
    release: Option<usize>,
    process: Process,
}

fn judge(ops: &[(usize, &Op)]) -> Result<(), Trouble> {
    let mut holds = holds(ops)?;
    holds.sort_by_key(|hold| hold.from);
    for pair in holds.windows(2) {
        let [first, second] = [pair[0], pair[1]];
        if second.from < first.until {
            let places = [Some(first.acquire), first.release, Some(second.acquire)];
            let reason = format!(
                "process {} was granted the mutex while process {} held it and had not called release",
                second.process, first.process
            );
            return Err(Broken::new("two-holders", places.into_iter().flatten().collect(), reason).into());
        }
    }
    Ok(())
}

/// What a release says it gives back.
#[derive(PartialEq, Eq, Hash)]
enum Title {
    Token(i64),
    /// Without a token: whatever its process holds.
    Of(Process),
}

fn title(op: &Op, token: &Value) -> Title {
    token.as_i64().map_or(Title::Of(op.process), Title::Token)
}

fn holds(ops: &[(usize, &Op)]) -> Result<Vec<Hold>, Trouble> {
    let mut holds = Vec::new();
    let mut open: FxHashMap<Title, Hold> = FxHashMap::default();
    for &(place, op) in ops {
        match (&*op.f, op.end) {
            ("acquire" | "release", OpEnd::Fail)
            | ("acquire", OpEnd::Info)
            | ("claim" | "guarded" | "read", _) => {}
            ("acquire", OpEnd::Ok) => {
                let hold = Hold {
                    from: op.ret,
                    until: u64::MAX,
                    acquire: place,
                    release: None,
                    process: op.process,
                };
                // Granted again to its own holder: the first hold is as good as never given back.
                holds.extend(open.insert(title(op, &op.output), hold));
            }
            ("release", end) => match open.remove(&title(op, &op.input)) {
                Some(hold) => holds.push(Hold { until: op.call, release: Some(place), ..hold }),
                None if end == OpEnd::Ok => {
                    let reason = format!("process {} released a mutex that it did not hold", op.process);
                    return Err(Broken::new("release-without-hold", vec![place], reason).into());
                }
                None => {}
            },
            _ => return Err(foreign(op, "a mutex")),
        }
    }
    holds.extend(open.into_values());
    Ok(holds)
}
