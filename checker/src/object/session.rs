//! What a client may expect of its own session, whatever replica it speaks to (Terry et al. 1994).
//!
//! `read` returns the version that it saw, `write` the version that it made; versions are integers that grow
//! with every write to the key. Within one process:
//! - *read your writes*: no read sees a version below one that the process wrote before;
//! - *monotonic reads*: nor below one that it read before;
//! - *monotonic writes*: every write makes a version above those that it wrote before;
//! - *writes follow reads*: and above those that it read before.
//!
//! ```text
//! p0 |-write()=2-|  |-read()=1-|     invalid: its own write is not there
//! ```
//!
//! [`Sessions`] goes by such versions; [`ValueSessions`] does without them where every value is written once, and
//! asks besides that *others* see a process's writes in its order, and behind what it had read.
//!
//! Nothing else is asked across processes: stale reads of others' writes are no fault here. Indefinite operations
//! tell nothing.
//!
//! ```
//! use checker::object::session::Sessions;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |-write()=2-|  |-read()=1-|
//! ",
//! )?;
//! let Verdict::Invalid { anomalies } = Sessions.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!((anomalies[0].name.as_str(), &anomalies[0].ops[..]), ("read-your-writes", &[0, 2][..]));
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

mod values;

use rustc_hash::FxHashMap;

use super::{Broken, Trouble, by_key, foreign};
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Process, Verdict};
pub use values::ValueSessions;

/// Does every process, key by key, get the four session guarantees? Exact for given versions, O(n).
///
/// Anomalies, each named for the guarantee that was broken: `read-your-writes`, `monotonic-reads`,
/// `monotonic-writes`, `writes-follow-reads`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sessions;

impl Checker for Sessions {
    fn name(&self) -> &'static str {
        "sessions"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, _| judge(ops))
    }
}

/// The highest versions of a session so far, with who saw or made them.
#[derive(Default)]
struct Session {
    read: Option<(i64, usize)>,
    written: Option<(i64, usize)>,
}

fn judge(ops: &[(usize, &Op)]) -> Result<(), Trouble> {
    let mut sessions: FxHashMap<Process, Session> = FxHashMap::default();
    // A process does one thing after another: its calls are in the order of its session.
    for &(place, op) in ops {
        let is_write = match (&*op.f, op.end) {
            ("read", OpEnd::Ok) => false,
            ("write", OpEnd::Ok) => true,
            ("read" | "write", _) => continue,
            _ => return Err(foreign(op, "a session")),
        };
        let Some(version) = op.output.as_i64() else {
            let why = format!("operation {} returned {}, which is no version", op.index, op.output);
            return Err(Trouble::Unjudged(why));
        };
        let session = sessions.entry(op.process).or_default();
        let names = match is_write {
            false => ["read-your-writes", "monotonic-reads"],
            true => ["monotonic-writes", "writes-follow-reads"],
        };
        for (before, name) in [session.written, session.read].into_iter().zip(names) {
            if let Some((known, by)) = before
                && (version < known || is_write && version == known)
            {
                let verb = if is_write { "wrote" } else { "read" };
                let reason = format!(
                    "process {} {verb} version {version}, although it had met version {known} before",
                    op.process
                );
                return Err(Broken::new(name, vec![by, place], reason).into());
            }
        }
        let highest = if is_write { &mut session.written } else { &mut session.read };
        *highest = (*highest).max(Some((version, place)));
    }
    Ok(())
}
