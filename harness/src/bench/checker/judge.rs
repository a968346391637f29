//! One case from its history to what it cost; runs in a process of its own.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use checker::general::General;
use checker::model::partitions;
use checker::model::register::RegisterPart;
use checker::object::text;
use checker::txn::ListAppend;
use checker::{Budget, Checker, Event, History, Linearizable, Stop, Verdict, plan};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::case::{Case, Judge, Source};
use super::generate::Events;
use super::measure::{Cost, Repeat, cost};
use super::models::{PlainRegister, Store, Text};
use super::{soak, transactions};

/// Wall time after which a case is not run another time.
const TIME_MAX: Duration = Duration::from_secs(20);

/// Wall time that the last run has at least, before its search is ended.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(60);

/// What a case gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// `valid`, `invalid` or `unknown`.
    pub verdict: String,
    pub operations: u64,
    /// From the history in memory to the verdict with its explanation.
    pub cost: Cost,
    /// Parts of that, measured on their own.
    pub parts: Vec<(String, Cost)>,
    /// Other figures, by name, with their unit.
    pub figures: Vec<(String, f64)>,
}

/// Judges the case's history again and again.
pub fn measure(case: &Case) -> Result<Measured> {
    let repeat = Repeat { runs: case.runs, time_max: TIME_MAX };
    if case.judge == Judge::Stream {
        return soak::measure(case, repeat);
    }
    let events = events(&case.source)?;
    let events = if case.judge == Judge::GeneralStore { keys_as_values(events) } else { events };
    let history = History::from_events(events).with_context(|| case.name.clone())?;
    let mut parts = Vec::new();
    let (verdict, cost) = match case.judge {
        Judge::Register => {
            parts = register_parts(&history, &in_time(), repeat)?;
            judged(Linearizable, &history, repeat)
        }
        Judge::GeneralRegister => judged(General::new("register", PlainRegister), &history, repeat),
        Judge::Text => judged(text::Text, &history, repeat),
        Judge::GeneralText => judged(General::new("text", Text), &history, repeat),
        Judge::GeneralStore => judged(General::new("store", Store), &history, repeat),
        Judge::ListAppend => judged(ListAppend::default(), &history, repeat),
        Judge::Stream => unreachable!("measured above"),
    };
    let operations = history.ops.len() as u64;
    Ok(Measured { verdict: verdict.word().to_string(), operations, cost, parts, figures: Vec::new() })
}

/// The usual memory, and an end in time: every run may take as long as the last one that is begun.
fn in_time() -> Budget {
    let stop = Stop::default();
    let raised = stop.clone();
    // Ends with the process.
    std::thread::spawn(move || {
        std::thread::sleep(TIME_MAX + SEARCH_TIME_MAX);
        raised.raise();
    });
    Budget { stop, ..Budget::default() }
}

fn judged(checker: impl Checker, history: &History, repeat: Repeat) -> (Verdict, Cost) {
    let budget = in_time();
    cost(repeat, || checker.check(history, &budget))
}

/// Name of the part that makes numbers of keys and values.
pub const READ_IN: &str = "read in";
/// Name of the part that decides.
pub const DECIDE: &str = "decide";

/// Name of the figure that says how much history time a violation took to be found, in seconds.
pub const LATENCY: &str = "seconds to the verdict";

/// Splitting by key and numbering values; then the engines alone.
fn register_parts(history: &History, budget: &Budget, repeat: Repeat) -> Result<Vec<(String, Cost)>> {
    let read_in = || {
        let parts = partitions(history);
        parts.iter().map(|partition| RegisterPart::new(history, &partition.ops)).collect::<Vec<_>>()
    };
    let (parts, read_in_cost) = cost(repeat, read_in);
    let parts: Vec<RegisterPart<'_>> =
        parts.into_iter().collect::<Result<_, _>>().map_err(|why| anyhow!("{why}"))?;
    let decide = || parts.iter().map(|part| plan::decide(part, budget)).collect::<Vec<_>>();
    let (_, decide_cost) = cost(repeat, decide);
    Ok(vec![(READ_IN.to_string(), read_in_cost), (DECIDE.to_string(), decide_cost)])
}

/// The events of a case, as our own form has them.
pub fn events(source: &Source) -> Result<Vec<Event>> {
    match source {
        Source::Generated(shape) => Ok(Events::new(*shape).collect()),
        Source::Transactions { count, bad } => Ok(transactions::events(*count, *bad)),
        Source::File(path) => crate::check::events(path),
    }
}

/// The same operations on one object: what was the key becomes part of argument and result.
fn keys_as_values(events: Vec<Event>) -> Vec<Event> {
    let moved = |mut event: Event| {
        let key = event.key.take().unwrap_or(Value::Null);
        event.value = json!([key, event.value]);
        event
    };
    events.into_iter().map(moved).collect()
}
