//! What `check` says of one file: as JSON, whose schema is in `docs/histories.md`, and as text.

use std::collections::HashMap;

use checker::history::formats::Note;
use checker::model::partitions;
use checker::model::register::{Register, RegisterPart};
use checker::{Anomaly, Budget, Checker, History, KeyVerdict, Op, OpEnd, Verdict, plan, replay};
use results::explain;
use results::summary::{Counts, Liveness, RunSummary};
use serde::Serialize;

use crate::exit::Exit;

/// Version of the schema: it grows when a field changes its meaning or goes, not when one is added.
const SCHEMA: u32 = 1;

/// Search states that may be spent to show an order where the verdict did not need one.
const WITNESS_STATES_MAX: u64 = 2_000_000;

/// Operations of a witness that are told on a terminal.
const WITNESS_TOLD: usize = 12;

/// Notes, keys and contradictions told on a terminal; JSON has all.
const TOLD_MAX: usize = 20;

/// What was found in one file or run folder.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// Of this description.
    pub schema: u32,
    /// As it was named on the command line, or found in a folder that was.
    pub file: String,
    /// `valid`, `unknown`, `invalid`, or `error` if it could not be read.
    pub verdict: &'static str,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Operations by how they ended.
    pub operations: Counts,
    /// Each checker's answers, key by key.
    pub keys: Vec<KeyAnswer>,
    /// Were all shards live again in time? Only of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Liveness>,
    /// What it cost.
    pub spent: Spent,
    /// What was left out or mended in reading.
    pub notes: Vec<Told>,
    /// The code that this file alone would end with.
    pub exit_code: i32,
}

/// How a file was read.
#[derive(Debug, Serialize)]
pub struct Source {
    /// Its form.
    pub format: &'static str,
    /// `gzip`, `zstd` or null.
    pub compression: Option<&'static str>,
    /// What it was judged as.
    pub model: &'static str,
    /// Was that told from its operations?
    pub model_detected: bool,
    /// Were its values split into keys and values?
    pub independent: bool,
}

/// One checker's answer about one key.
#[derive(Debug, Serialize)]
pub struct KeyAnswer {
    /// The checker.
    pub checker: String,
    /// The key; empty when there is none, or when it is about all of them.
    pub key: String,
    /// Operations on it.
    pub operations: usize,
    /// What answered.
    pub engine: String,
    /// `valid`, `unknown` or `invalid`.
    pub verdict: &'static str,
    /// The contradictions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<Anomaly>,
    /// Why nobody can say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
    /// An order that explains what was seen, as indices of operations, if it was asked for and there is one to
    /// show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<Vec<u64>>,
}

/// What was spent, and how much there was.
#[derive(Debug, Default, Serialize)]
pub struct Spent {
    /// Seconds of reading.
    pub read_s: f64,
    /// Seconds of judging.
    pub judge_s: f64,
    /// Seconds there were for judging; null without a bound.
    pub judge_s_max: Option<f64>,
    /// Bytes that searches may have held at one time.
    pub bytes_max: u64,
    /// Was the time over before every key was judged?
    pub out_of_time: bool,
}

/// A note on a line.
#[derive(Debug, Serialize)]
pub struct Told {
    /// From 1.
    pub line: u64,
    /// What was wrong, and what became of it.
    pub what: String,
}

impl From<Note> for Told {
    fn from(note: Note) -> Self {
        Told { line: note.line, what: note.what }
    }
}

impl Answer {
    /// A file that could not be read or judged.
    pub fn failed(file: String, error: String, exit: Exit) -> Self {
        Answer {
            schema: SCHEMA,
            file,
            verdict: "error",
            error: Some(error),
            source: None,
            operations: Counts::default(),
            keys: Vec::new(),
            liveness: None,
            spent: Spent::default(),
            notes: Vec::new(),
            exit_code: exit.code(),
        }
    }

    /// A history.
    pub fn of_history(
        file: String,
        source: Source,
        operations: Counts,
        keys: Vec<KeyAnswer>,
        spent: Spent,
        notes: Vec<Note>,
    ) -> Self {
        let rank =
            |key: &KeyAnswer| ["valid", "unknown", "invalid"].iter().position(|word| *word == key.verdict);
        let verdict = keys.iter().max_by_key(|key| rank(key)).map_or("valid", |key| key.verdict);
        let exit = match verdict {
            "invalid" => Exit::Invalid,
            "unknown" => Exit::Unknown,
            _ => Exit::Valid,
        };
        Answer {
            schema: SCHEMA,
            file,
            verdict,
            error: None,
            source: Some(source),
            operations,
            keys,
            liveness: None,
            spent,
            notes: notes.into_iter().map(Told::from).collect(),
            exit_code: exit.code(),
        }
    }

    /// A run folder.
    pub fn of_run(file: String, summary: &RunSummary, spent: Spent) -> Self {
        let invoked = summary.counts.invoked as usize;
        let key = |(name, verdict): &(String, Verdict)| {
            let key = KeyVerdict { key: String::new(), ops: invoked, engine: "", verdict: verdict.clone() };
            KeyAnswer { engine: name.clone(), ..KeyAnswer::new(name, key) }
        };
        Answer {
            verdict: summary.verdict.word(),
            error: summary.error.clone(),
            operations: summary.counts,
            keys: summary.checkers.iter().map(key).collect(),
            liveness: Some(summary.liveness.clone()),
            spent,
            exit_code: Exit::of(&summary.verdict, &summary.liveness).code(),
            ..Answer::failed(file, String::new(), Exit::Harness)
        }
    }

    /// How `check` ends if there is nothing else.
    pub fn exit(&self) -> Exit {
        Exit::from_code(self.exit_code)
    }

    /// For a terminal; `explained`: key by key, with drawings.
    pub fn text(&self, history: &History, explained: bool) -> String {
        let Counts { invoked, ok, fail, info } = self.operations;
        let mut text = format!(
            "{}: {}: {invoked} operations ({ok} ok, {fail} fail, {info} info)",
            self.file, self.verdict
        );
        if let Some(Source { format, compression, model, model_detected, independent }) = &self.source {
            let how = if *model_detected { ", by its operations" } else { "" };
            let packed = compression.map(|name| format!(" in {name}")).unwrap_or_default();
            let split = if *independent { ", values split into keys and values" } else { "" };
            text += &format!("; read as {format}{packed}{split}; judged as {model}{how}");
        }
        text.push('\n');
        let mut bad: Vec<&KeyAnswer> =
            self.keys.iter().filter(|key| explained || key.verdict != "valid").collect();
        bad.sort_by_key(|key| match key.verdict {
            "invalid" => 0,
            "unknown" => 1,
            _ => 2,
        });
        for key in bad.iter().take(TOLD_MAX) {
            text += &if explained { key.explained(history) } else { key.told() };
        }
        if bad.len() > TOLD_MAX {
            text += &format!("  and {} more keys (--json has them all)\n", bad.len() - TOLD_MAX);
        }
        text
    }

    /// Notes for a terminal.
    pub fn notes_text(&self) -> String {
        let mut text = String::new();
        for Told { line, what } in self.notes.iter().take(TOLD_MAX) {
            text += &format!("shardstorm: note: {}: line {line}: {what}\n", self.file);
        }
        if self.notes.len() > TOLD_MAX {
            let more = self.notes.len() - TOLD_MAX;
            text += &format!("shardstorm: note: {}: and {more} more notes (--json has them)\n", self.file);
        }
        text
    }
}

impl KeyAnswer {
    /// What `checker` found about a key.
    pub(super) fn new(checker: &str, found: KeyVerdict) -> Self {
        let verdict = found.verdict.word();
        let (anomalies, why) = match found.verdict {
            Verdict::Valid => (Vec::new(), Vec::new()),
            Verdict::Unknown { why } => (Vec::new(), why),
            Verdict::Invalid { anomalies } => (anomalies, Vec::new()),
        };
        KeyAnswer {
            checker: checker.to_string(),
            key: found.key,
            operations: found.ops,
            engine: found.engine.to_string(),
            verdict,
            anomalies,
            why,
            witness: None,
        }
    }

    fn title(&self) -> String {
        if self.key.is_empty() { self.checker.clone() } else { format!("key {}", self.key) }
    }

    fn told(&self) -> String {
        let reasons = self.anomalies.iter().map(explain::anomaly).chain(self.why.iter().cloned());
        reasons.map(|reason| format!("  {reason}\n")).collect()
    }

    fn explained(&self, history: &History) -> String {
        let KeyAnswer { operations, engine, verdict, .. } = self;
        let mut text = format!("  {}: {verdict}, {operations} operations, by {engine}\n", self.title());
        for anomaly in &self.anomalies {
            text += &format!("    {}: {}\n", anomaly.name, anomaly.reason);
            text += &anomaly.drawing.lines().map(|line| format!("      {line}\n")).collect::<String>();
        }
        for why in &self.why {
            text += &format!("    {why}\n");
        }
        if let Some(order) = &self.witness {
            let head = order.iter().take(WITNESS_TOLD).filter_map(|index| {
                let at = history.ops.binary_search_by_key(index, |op| op.index).ok();
                // What a model takes for granted comes first, whatever its number.
                at.or_else(|| history.ops.iter().position(|op| op.index == *index))
                    .map(|at| spoken(&history.ops[at]))
            });
            let more = order.len().saturating_sub(WITNESS_TOLD);
            let more = if more == 0 { String::new() } else { format!(", and {more} more") };
            text += &format!("    explained by the order {}{more}\n", head.collect::<Vec<_>>().join(", "));
        }
        text
    }
}

/// An operation in a witness.
fn spoken(op: &Op) -> String {
    let f = if op.end == OpEnd::Fail { format!("refused {}", op.f) } else { op.f.to_string() };
    let seen = match (op.end, &*op.f) {
        (OpEnd::Ok, "read") => format!(" {}", op.output),
        _ if op.input.is_null() => String::new(),
        _ => format!(" {}", op.input),
    };
    format!("{} {f}{seen} by {}", op.index, op.process)
}

/// All answers about a history.
pub fn answers(
    history: &History,
    checkers: &[Box<dyn Checker>],
    budget: &Budget,
    explained: bool,
) -> Vec<KeyAnswer> {
    let mut all = Vec::new();
    for checker in checkers {
        for found in checker.check_keys(history, budget) {
            all.push(KeyAnswer::new(checker.name(), found));
        }
    }
    if explained {
        add_witnesses(history, &mut all);
    }
    all
}

/// Orders of registers that are linearizable, each replayed before it is shown.
fn add_witnesses(history: &History, answers: &mut [KeyAnswer]) {
    let parts = partitions(history);
    let parts: HashMap<String, _> = parts.iter().map(|part| (part.key_text(), part)).collect();
    let budget = Budget::of_states(WITNESS_STATES_MAX);
    for answer in answers.iter_mut().filter(|a| a.checker == "linearizable" && a.verdict == "valid") {
        let Some(part) = parts.get(&answer.key) else { continue };
        let Ok(part) = RegisterPart::new(history, &part.ops) else { continue };
        let order = plan::witness(&part, &budget);
        answer.witness = order
            .filter(|order| replay(&Register, &part.entries, order).is_ok())
            .map(|order| order.into_iter().map(|entry| history.ops[part.entries[entry].op].index).collect());
    }
}
