//! Runs side by side: what differed, how each ended, and how quick it was.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use askama::Template;
use checker::{EventKind, Process};
use hyper::StatusCode;
use results::across::{Sample, compare};
use results::failover::Distribution;
use results::summary::{Counts, Failover, RunSummary};
use results::{RunFolder, units};
use serde::Serialize;
use serde_json::Value;

use super::line::Line;
use super::query::{Query, escaped, names};
use super::reply::Reply;
use super::run::find;
use super::site::{API_SCHEMA, Site, rendered};
use super::store::{Entry, Kind};

/// Runs that fit side by side.
const RUNS_MAX: usize = 8;

/// Lengths of time in a few numbers, nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// How many there were.
    pub count: usize,
    /// Half of them took no longer.
    pub median_ns: u64,
    /// 90 of 100.
    pub p90_ns: u64,
    /// 99 of 100.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Spread {
    fn of(lengths: &Distribution) -> Option<Spread> {
        Some(Spread {
            count: lengths.sorted_ns().len(),
            median_ns: lengths.quantile_ns(0.5)?,
            p90_ns: lengths.quantile_ns(0.9)?,
            p99_ns: lengths.quantile_ns(0.99)?,
            max_ns: lengths.max_ns()?,
        })
    }
}

/// One run of a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// As in the index.
    pub entry: Arc<Entry>,
    /// Everything that was asked for, name to text.
    pub spec: BTreeMap<String, String>,
    /// Operations by how they ended.
    pub counts: Counts,
    /// Totals of failovers, from fault to first acknowledged write.
    pub failovers: Option<Spread>,
    /// Those that ended ok, by function: `read`, `write`, ….
    pub latencies: BTreeMap<String, Spread>,
    /// Seconds until every shard took writes again after the last heal.
    pub live_after_s: Option<f64>,
    /// How it ended, for whoever compares failovers one by one.
    #[serde(skip)]
    summary: Option<RunSummary>,
}

/// Latencies of runs, measured once.
#[derive(Default)]
pub struct Latencies(Mutex<HashMap<PathBuf, Measured>>);

type ByFunction = BTreeMap<String, Spread>;
type Measured = ((SystemTime, u64), ByFunction);

impl Latencies {
    fn of(&self, history: &Path) -> ByFunction {
        let stamp = std::fs::metadata(history).and_then(|meta| Ok((meta.modified()?, meta.len())));
        let Ok(stamp) = stamp else { return ByFunction::new() };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, spreads)) = known.get(history)
            && *then == stamp
        {
            return spreads.clone();
        }
        drop(known);
        let spreads = measure(history);
        known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(history.to_owned(), (stamp, spreads.clone()));
        spreads
    }
}

/// Reads a history once. Lines that cannot be read are passed over: here nothing is judged.
fn measure(history: &Path) -> ByFunction {
    let mut lengths: HashMap<String, Vec<u64>> = HashMap::new();
    let mut called: HashMap<Process, u64> = HashMap::new();
    let Ok(file) = File::open(history) else { return ByFunction::new() };
    let mut file = BufReader::with_capacity(1 << 18, file);
    let mut raw = Vec::new();
    while file.read_until(b'\n', &mut raw).is_ok_and(|read| read > 0) {
        if let Ok(line) = serde_json::from_slice::<Line<'_>>(&raw)
            && line.process != Process::Nemesis
        {
            match line.kind {
                EventKind::Invoke => drop(called.insert(line.process, line.time)),
                kind => {
                    let since = called.remove(&line.process);
                    if let (EventKind::Ok, Some(since)) = (kind, since) {
                        let length = line.time.saturating_sub(since);
                        match lengths.get_mut(&*line.f) {
                            Some(lengths) => lengths.push(length),
                            None => drop(lengths.insert(line.f.into_owned(), vec![length])),
                        }
                    }
                }
            }
        }
        raw.clear();
    }
    let spread = |(f, lengths): (String, Vec<u64>)| Some((f, Spread::of(&lengths.into_iter().collect())?));
    lengths.into_iter().filter_map(spread).collect()
}

/// Spec keys with their values as text.
fn flat(spec: &impl Serialize) -> BTreeMap<String, String> {
    let Ok(Value::Object(map)) = serde_json::to_value(spec) else { return BTreeMap::new() };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().unwrap_or_default()).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    map.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// The runs that are asked for; those that are none are said.
fn sides(site: &Site, query: &Query) -> (Vec<Side>, Vec<String>) {
    let mut missing = Vec::new();
    let mut sides: Vec<Side> = Vec::new();
    for path in query.all("run").filter(|path| !path.is_empty()) {
        let found = names(&escaped(path)).and_then(|names| find(site, &names));
        match found {
            Some((entry, _)) if entry.kind == Kind::Run && sides.len() < RUNS_MAX => {
                if sides.iter().all(|side| side.entry.path != entry.path) {
                    sides.push(side(site, entry));
                }
            }
            Some((entry, _)) if entry.kind == Kind::Run => {
                missing.push(format!("{path} is left out: {RUNS_MAX} runs fit side by side"));
            }
            _ => missing.push(format!("{path} is no run of this store")),
        }
    }
    (sides, missing)
}

fn side(site: &Site, entry: Arc<Entry>) -> Side {
    let folder = RunFolder::open(&site.store.root().join(&entry.path)).ok();
    let summary = folder.as_ref().and_then(|folder| folder.read_summary().ok().flatten());
    let totals: Distribution =
        summary.iter().flat_map(|summary| &summary.failovers).filter_map(Failover::total_ns).collect();
    let live_after_s = summary.as_ref().and_then(|summary| match summary.liveness {
        results::summary::Liveness::Live { after_s } => Some(after_s),
        _ => None,
    });
    Side {
        spec: entry.spec.as_ref().map(flat).unwrap_or_default(),
        counts: entry.counts,
        failovers: Spread::of(&totals),
        latencies: folder.map(|folder| site.latencies.of(&folder.history())).unwrap_or_default(),
        live_after_s,
        summary,
        entry,
    }
}

#[derive(Template)]
#[template(path = "serve/compare.html")]
struct Page {
    heads: Vec<Head>,
    sections: Vec<Section>,
    same: Vec<(String, String)>,
    findings: Vec<String>,
    missing: Vec<String>,
    api_href: String,
}

struct Head {
    href: String,
    name: String,
    state: String,
    mood: &'static str,
    sentence: String,
    without_href: String,
}

/// Rows under a heading.
struct Section {
    title: &'static str,
    note: &'static str,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    cells: Vec<String>,
    /// `differs` or `same` for what is one or the other, nothing for what is measured.
    class: &'static str,
}

impl Row {
    fn new(name: impl Into<String>, cells: impl Iterator<Item = Option<String>>) -> Row {
        let cells: Vec<String> = cells.map(|cell| cell.unwrap_or_else(|| "–".into())).collect();
        let differs = cells.iter().collect::<BTreeSet<_>>().len() > 1;
        Row { name: name.into(), cells, class: if differs { "differs" } else { "same" } }
    }

    fn measured(name: impl Into<String>, cells: impl Iterator<Item = Option<String>>) -> Row {
        Row { class: "", ..Row::new(name, cells) }
    }
}

/// The page `/compare?run=…&run=…`.
pub fn page(site: &Site, query: &Query) -> Reply {
    let (sides, missing) = sides(site, query);
    if sides.is_empty() {
        let words = "name runs to compare: tick some in the index, or /compare?run=…&run=…";
        return Reply::error(StatusCode::BAD_REQUEST, words);
    }
    let address = |but: Option<&str>| {
        let paths = sides.iter().map(|side| side.entry.path.as_str()).filter(|path| Some(*path) != but);
        paths.map(|path| format!("run={}", escaped(path))).collect::<Vec<_>>().join("&")
    };
    let head = |side: &Side| Head {
        href: format!("/run/{}", escaped(&side.entry.path)),
        name: side.entry.name.clone(),
        state: side.entry.state.replace('-', " "),
        mood: side.entry.mood,
        sentence: side.entry.sentence.clone(),
        without_href: format!("/compare?{}", address(Some(&side.entry.path))),
    };
    let (differing, same) = specs(&sides);
    let all = vec![
        Section {
            title: "What differed",
            note: "everything else that was asked for is the same",
            rows: differing,
        },
        Section { title: "How they ended", note: "", rows: endings(&sides) },
        Section {
            title: "Failovers",
            note: "from the fault to the first acknowledged write",
            rows: spreads("", &sides, |side| side.failovers.as_ref()),
        },
        Section { title: "Latency", note: "of calls that ended ok", rows: latencies(&sides) },
    ];
    rendered(&Page {
        heads: sides.iter().map(head).collect(),
        sections: all.into_iter().filter(|section| !section.rows.is_empty()).collect(),
        same,
        findings: findings(&sides),
        missing,
        api_href: format!("/api/compare?{}", address(None)),
    })
}

/// What differs between the specs, and what is the same in all.
fn specs(sides: &[Side]) -> (Vec<Row>, Vec<(String, String)>) {
    let keys: BTreeSet<&String> = sides.iter().flat_map(|side| side.spec.keys()).collect();
    let rows = keys
        .into_iter()
        .map(|key| Row::new(key.clone(), sides.iter().map(|side| side.spec.get(key).cloned())));
    let (differing, same): (Vec<Row>, Vec<Row>) = rows.partition(|row| row.class == "differs");
    (differing, same.into_iter().map(|row| (row.name, row.cells[0].clone())).collect())
}

/// Of two runs: whether the second fails over otherwise than the first, a sentence for each family of faults.
fn findings(sides: &[Side]) -> Vec<String> {
    let [a, b] = sides else { return Vec::new() };
    let sample = |side: &Side| {
        let (group, cell, folder) = (String::new(), String::new(), side.entry.path.clone());
        side.summary.clone().map(|summary| vec![Sample { group, cell, summary, folder }])
    };
    let Some((a, b)) = sample(a).zip(sample(b)) else { return Vec::new() };
    let comparison = compare::compare(&a, &b);
    comparison.families.iter().map(compare::Family::sentence).chain(comparison.apart).collect()
}

fn endings(sides: &[Side]) -> Vec<Row> {
    let row = |name: &str, cell: &dyn Fn(&Side) -> Option<String>| Row::new(name, sides.iter().map(cell));
    let count = |name: &str, of: fn(&Counts) -> u64| {
        Row::measured(name, sides.iter().map(|side| Some(units::count(of(&side.counts)))))
    };
    let list = |words: &[String]| if words.is_empty() { None } else { Some(words.join(", ")) };
    vec![
        row("verdict", &|side| Some(side.entry.state.replace('-', " "))),
        row("anomalies", &|side| list(&side.entry.anomalies)),
        row("faults in effect", &|side| list(&side.entry.faults)),
        Row::measured("live again after", sides.iter().map(|side| side.live_after_s.map(units::seconds))),
        count("operations", |counts| counts.invoked),
        count("ok", |counts| counts.ok),
        count("fail", |counts| counts.fail),
        count("info", |counts| counts.info),
    ]
}

fn latencies(sides: &[Side]) -> Vec<Row> {
    let functions: BTreeSet<&String> = sides.iter().flat_map(|side| side.latencies.keys()).collect();
    functions.into_iter().flat_map(|f| spreads(f, sides, |side| side.latencies.get(f))).collect()
}

/// What was measured of each, side by side; see [`findings`] for what that shows.
fn spreads<'s>(of: &str, sides: &'s [Side], spread: impl Fn(&'s Side) -> Option<&'s Spread>) -> Vec<Row> {
    if sides.iter().all(|side| spread(side).is_none()) {
        return Vec::new();
    }
    let name = |what: &str| if of.is_empty() { what.to_owned() } else { format!("{of}, {what}") };
    let row = |what: &str, pick: fn(&Spread) -> String| {
        Row::measured(name(what), sides.iter().map(|side| spread(side).map(pick)))
    };
    let mut rows = vec![
        row("number", |spread| units::count(spread.count as u64)),
        row("median", |spread| units::duration(spread.median_ns)),
        row("90 %", |spread| units::duration(spread.p90_ns)),
    ];
    if !of.is_empty() {
        rows.push(row("99 %", |spread| units::duration(spread.p99_ns)));
    }
    rows.push(row("longest", |spread| units::duration(spread.max_ns)));
    rows
}

#[derive(Serialize)]
struct Data {
    schema: u32,
    runs: Vec<Side>,
    missing: Vec<String>,
}

/// `/api/compare?run=…&run=…`.
pub fn data(site: &Site, query: &Query) -> Reply {
    let (runs, missing) = sides(site, query);
    Reply::json(&Data { schema: API_SCHEMA, runs, missing })
}
