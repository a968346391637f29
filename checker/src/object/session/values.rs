//! The session guarantees where versions are not told, but every value is written once.

use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::object::staleness::Part;
use crate::object::{Broken, by_key};
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Process, Verdict};

/// Does every process, key by key, get the four session guarantees? `write` writes unique values, `read` returns
/// them, from whatever replica. One value is older than another if it was certainly in place before the write of the
/// other one was called: exact as to that, O(n log n). It does not ask for one order of all operations.
///
/// - *read your writes*: no process reads a value older than one that it wrote;
/// - *monotonic writes*: whoever has read a process's write does not read an earlier one of the same process;
/// - *writes follow reads*: nor anything that the process had read before it wrote;
/// - *monotonic reads*: nor anything else that is older.
///
/// Anomalies, each named for the guarantee that was broken: `read-your-writes`, `monotonic-writes`,
/// `writes-follow-reads`, `monotonic-reads`; `fabricated-value`, `aborted-read`, `value-of-another-key` and
/// `future-read`, which none of them allows.
///
/// ```
/// use checker::object::session::ValueSessions;
/// use checker::{Budget, Checker, Verdict, history::sketch};
///
/// let history = sketch::history(
///     "
/// p0 |--w1--|  |--w2--|
/// p1                      |--r2--|  |--r1--|
/// ",
/// )?;
/// let Verdict::Invalid { anomalies } = ValueSessions.check(&history, &Budget::default()) else { panic!() };
/// assert_eq!((anomalies[0].name.as_str(), &anomalies[0].ops[..]), ("monotonic-writes", &[0, 2, 4, 6][..]));
/// # Ok::<(), checker::history::sketch::SketchError>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct ValueSessions;

impl Checker for ValueSessions {
    fn name(&self) -> &'static str {
        "value-sessions"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, _| {
            let part = Part::new(ops)?;
            part.written()?;
            Ok(judge(&part, ops)?)
        })
    }
}

/// The newest value that a session knows of: who told it, its writer's place, its write.
type Newest<'h> = Option<(usize, usize, &'h Op)>;

#[derive(Default)]
struct Session<'h> {
    wrote: Newest<'h>,
    read: Newest<'h>,
}

fn judge<'h>(part: &Part<'h>, ops: &[(usize, &'h Op)]) -> Result<(), Broken> {
    let mut sessions: FxHashMap<Process, Session<'h>> = FxHashMap::default();
    // When each process had first read each value.
    let mut had_read: FxHashMap<(Process, &Value), (u64, usize)> = FxHashMap::default();
    for &(place, read) in &part.reads {
        let first = had_read.entry((read.process, &read.output)).or_insert((read.ret, place));
        *first = (*first).min((read.ret, place));
    }
    let newer = |known: Newest<'h>, told: (usize, usize, &'h Op)| {
        if known.is_none_or(|(.., write)| write.call < told.2.call) { Some(told) } else { known }
    };
    for &(place, op) in ops.iter().filter(|(_, op)| op.end == OpEnd::Ok) {
        let session = sessions.entry(op.process).or_default();
        if op.f == "write" {
            session.wrote = newer(session.wrote, (place, place, op));
            continue;
        }
        let older = |&(.., write): &(usize, usize, &'h Op)| part.is_older(&op.output, write);
        if let Some(own) = session.wrote.filter(older) {
            return Err(told(part, "read-your-writes", own, (place, op), None));
        }
        if let Some(newest) = session.read.filter(older) {
            let (_, _, write) = newest;
            let before = had_read.get(&(write.process, &op.output)).filter(|(ret, _)| *ret < write.call);
            let name = match part.writes.get(&op.output) {
                Some((_, old)) if old.process == write.process => "monotonic-writes",
                _ if before.is_some() => "writes-follow-reads",
                _ => "monotonic-reads",
            };
            let shown = before.filter(|_| name == "writes-follow-reads").map(|&(_, place)| place);
            return Err(told(part, name, newest, (place, op), shown));
        }
        if let Some(&(writer, write)) = part.writes.get(&op.output) {
            session.read = newer(session.read, (place, writer, write));
        }
    }
    Ok(())
}

fn told(
    part: &Part<'_>,
    name: &'static str,
    (by, writer, write): (usize, usize, &Op),
    (place, read): (usize, &Op),
    shown: Option<usize>,
) -> Broken {
    let met = if by == writer { "written" } else { "read" };
    let why = match name {
        "monotonic-writes" => format!(", and process {} had written the one after the other", write.process),
        "writes-follow-reads" => {
            format!(", and process {} had read the one before it wrote the other", write.process)
        }
        _ => String::new(),
    };
    let reason = format!(
        "process {} read {} after it had {met} {}, which is newer{why}",
        read.process, read.output, write.input
    );
    let old = part.writes.get(&read.output).map(|&(place, _)| place);
    // What shows that the old one was in place before the new one was written.
    let known = shown.or(part.known.get(&read.output).map(|&(_, place)| place));
    let known = known.filter(|_| !read.output.is_null());
    let places = [by, writer, place].into_iter().chain(old).chain(known).collect();
    Broken::new(name, places, reason)
}
