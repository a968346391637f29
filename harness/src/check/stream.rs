//! `check --stream`: registers judged while their history is read.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use checker::stream::{Stop, Watch, WatchOptions};
use checker::{Event, EventKind, KeyVerdict, Process, Verdict};
use results::summary::Counts;

use super::Wishes;
use super::answer::{Answer, KeyAnswer, Source};
use super::input::{self, Next};
use crate::exit::UsageError;

/// The model that can be judged so.
const MODEL: &str = "register";

/// Judges one file; what comes after the first contradiction is not read.
pub(super) fn judge(path: &Path, wishes: &Wishes) -> Result<(Answer, String)> {
    if wishes.model.is_some_and(|model| model.name != MODEL) {
        return Err(UsageError(format!("--stream judges --model {MODEL} and no other")).into());
    }
    let begun = Instant::now();
    let lag_ns = u64::try_from(wishes.lag.as_nanos()).unwrap_or(u64::MAX);
    let mut watch = Watch::new(WatchOptions { lag_ns, ..WatchOptions::default() });
    let mut operations = Counts::default();
    let mut stopped = None;
    let reading = input::read_each(path, wishes.format, wishes.leniency, &mut |event| {
        count(&mut operations, &event);
        match watch.push(event) {
            Ok(()) => Next::Continue(()),
            Err(stop) => {
                stopped = Some(stop);
                Next::Break(())
            }
        }
    })?;
    let ended = stopped.map_or_else(|| watch.finish(), Err);
    operations.info = operations.invoked - operations.ok - operations.fail;
    let (key, verdict) = match ended {
        Ok(()) => (String::new(), Verdict::Valid),
        Err(Stop::Violation(anomaly)) => {
            (anomaly.key.clone(), Verdict::Invalid { anomalies: vec![*anomaly] })
        }
        Err(Stop::Undecidable(why)) => (String::new(), Verdict::unknown(why.to_string())),
    };
    let told = KeyVerdict { key, ops: operations.invoked as usize, engine: "stream", verdict };
    let source = Source {
        format: reading.format.name(),
        compression: reading.compression.name(),
        model: MODEL,
        model_detected: false,
        independent: false,
    };
    let spent = wishes.spent(begun.elapsed().as_secs_f64(), Instant::now(), &wishes.budget);
    let name = path.display().to_string();
    let keys = vec![KeyAnswer::new("linearizable", told)];
    let answer = Answer::of_history(name, source, operations, keys, spent, reading.notes);
    let text = answer.text(&checker::History::default(), false);
    Ok((answer, text))
}

/// Calls without an outcome are counted in the end.
fn count(operations: &mut Counts, event: &Event) {
    if event.process == Process::Nemesis {
        return;
    }
    match event.kind {
        EventKind::Invoke => operations.invoked += 1,
        EventKind::Ok => operations.ok += 1,
        EventKind::Fail => operations.fail += 1,
        EventKind::Info => {}
    }
}
