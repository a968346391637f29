//! All runs, shrinks and campaigns: filtered, sorted, page by page.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use results::units;
use serde::Serialize;

use super::query::{Query, escaped};
use super::reply::Reply;
use super::site::{API_SCHEMA, Site, rendered};
use super::store::{Entry, Kind, failovers_in_words};

/// Rows of a page.
const PAGE_ROWS: usize = 100;
/// Rows of an answer of the API, unless it is asked for fewer.
const API_ROWS: usize = 10_000;

/// The filters that take one of several values: name in the address, title, and the values that an entry has.
type Facet = (&'static str, &'static str, fn(&Entry) -> Vec<String>);

const FACETS: [Facet; 6] = [
    ("verdict", "Verdict", |entry| vec![entry.state.clone()]),
    ("workload", "Workload", |entry| entry.spec.iter().map(|spec| spec.workload.clone()).collect()),
    ("variant", "Variant", |entry| vec![entry.variant()]),
    ("fault", "Fault", |entry| entry.faults.clone()),
    ("target", "Target", |entry| entry.spec.iter().map(|spec| spec.target.clone()).collect()),
    ("kind", "Kind", |entry| vec![entry.kind.word().to_owned()]),
];

/// Does an entry pass all filters but one?
fn passes(entry: &Entry, query: &Query, but: Option<&str>) -> bool {
    let facets = FACETS.iter().filter(|(name, ..)| Some(*name) != but).all(|(name, _, values)| {
        query.get(name).is_none_or(|wanted| values(entry).iter().any(|value| value == wanted))
    });
    let lies_within = query.get("within").is_none_or(|group| entry.group == group);
    facets && lies_within && {
        let wanted = query.get("q").unwrap_or_default().to_lowercase();
        let words = if wanted.is_empty() { String::new() } else { entry.words() };
        wanted.split_whitespace().all(|word| words.contains(word))
    }
}

/// Orders entries that come newest first.
fn sort(entries: &mut [Arc<Entry>], by: &str) {
    match by {
        "oldest" => entries.reverse(),
        "operations" => entries.sort_by_key(|entry| Reverse(entry.counts.invoked)),
        "failovers" => entries.sort_by_key(|entry| Reverse(entry.failovers)),
        "failover-time" => entries.sort_by_key(|entry| Reverse(entry.failover_median_ns)),
        "workload" => entries.sort_by_key(|entry| entry.spec.as_ref().map(|spec| spec.workload.clone())),
        "verdict" => entries.sort_by_key(|entry| {
            let ranks =
                ["running", "judging", "invalid", "not-live", "failed", "unknown", "ended", "unreadable"];
            ranks.iter().position(|rank| *rank == entry.state).unwrap_or(ranks.len())
        }),
        _ => {}
    }
}

const SORTS: [(&str, &str); 7] = [
    ("", "newest first"),
    ("oldest", "oldest first"),
    ("verdict", "worst first"),
    ("operations", "most operations"),
    ("failovers", "most failovers"),
    ("failover-time", "slowest failovers"),
    ("workload", "by workload"),
];

#[derive(Template)]
#[template(path = "serve/index.html")]
struct Page {
    title: String,
    store: String,
    within: String,
    within_name: String,
    q: String,
    selects: Vec<Select>,
    chips: Vec<Chip>,
    rows: Vec<Row>,
    matched: usize,
    total: usize,
    is_filtered: bool,
    previous: Option<String>,
    next: Option<String>,
    page: usize,
    pages: usize,
}

struct Select {
    name: &'static str,
    title: &'static str,
    any: &'static str,
    options: Vec<Choice>,
}

struct Choice {
    value: String,
    text: String,
    is_chosen: bool,
}

/// How many ended how, as a link to them.
struct Chip {
    href: String,
    word: String,
    mood: &'static str,
    count: usize,
    is_chosen: bool,
}

struct Row {
    path: String,
    href: String,
    name: String,
    kind: &'static str,
    is_run: bool,
    state: String,
    mood: &'static str,
    sentence: String,
    workload: String,
    seed: String,
    variant: String,
    target: String,
    faults: Vec<String>,
    anomalies: Vec<String>,
    operations: String,
    failovers: String,
    date: String,
    time: String,
    group: String,
    group_name: String,
    runs_href: String,
    runs: usize,
}

impl Row {
    fn new(entry: &Entry) -> Row {
        let (date, time) = entry.started_at.split_once('T').unwrap_or((&entry.started_at, ""));
        let is_live = entry.mood == "live";
        let spec = entry.spec.as_ref();
        Row {
            href: format!("/{}/{}", if is_live { "live" } else { "run" }, escaped(&entry.path)),
            path: entry.path.clone(),
            name: entry.name.clone(),
            kind: entry.kind.word(),
            is_run: entry.kind == Kind::Run,
            state: entry.state.replace('-', " "),
            mood: entry.mood,
            sentence: entry.sentence.clone(),
            workload: spec.map(|spec| spec.workload.clone()).unwrap_or_default(),
            seed: spec.map(|spec| spec.seed.to_string()).unwrap_or_default(),
            variant: entry.variant(),
            target: spec.map(|spec| spec.target.clone()).unwrap_or_default(),
            faults: entry.faults.clone(),
            anomalies: entry.anomalies.clone(),
            operations: if entry.counts.invoked == 0 {
                String::new()
            } else {
                units::count(entry.counts.invoked)
            },
            failovers: failovers_in_words(entry),
            date: date.to_owned(),
            time: time.trim_end_matches('Z').to_owned(),
            group_name: last_name(&entry.group).to_owned(),
            group: format!("/run/{}", escaped(&entry.group)),
            runs_href: format!("/?within={}", escaped(&entry.path)),
            runs: entry.runs,
        }
    }
}

fn last_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The page `/`.
pub fn page(site: &Site, query: &Query) -> Reply {
    let all = site.store.entries();
    let mut matching: Vec<Arc<Entry>> =
        all.iter().filter(|entry| passes(entry, query, None)).cloned().collect();
    sort(&mut matching, query.get("sort").unwrap_or_default());
    let pages = matching.len().div_ceil(PAGE_ROWS).max(1);
    let number = query.get("page").and_then(|page| page.parse::<usize>().ok()).unwrap_or(1).clamp(1, pages);
    let rows = matching.iter().skip((number - 1) * PAGE_ROWS).take(PAGE_ROWS).map(|entry| Row::new(entry));
    let turn = |to: usize| format!("/?{}", query.with(&[("page", &to.to_string())]));
    let within = query.get("within").unwrap_or_default();
    let filters = FACETS.iter().map(|(name, ..)| *name).chain(["q", "within"]);
    rendered(&Page {
        title: if within.is_empty() { "Runs".into() } else { last_name(within).to_owned() },
        store: site.store.root().display().to_string(),
        within: within.to_owned(),
        within_name: last_name(within).to_owned(),
        q: query.get("q").unwrap_or_default().to_owned(),
        selects: selects(&all, query),
        chips: chips(&all, query),
        rows: rows.collect(),
        matched: matching.len(),
        total: all.len(),
        is_filtered: filters.into_iter().any(|name| query.get(name).is_some()),
        previous: (number > 1).then(|| turn(number - 1)),
        next: (number < pages).then(|| turn(number + 1)),
        page: number,
        pages,
    })
}

/// The values there are, as far as the other filters let them through, each with how many have it.
fn counted(all: &[Arc<Entry>], query: &Query, (name, _, values): &Facet) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in all.iter().filter(|entry| passes(entry, query, Some(name))) {
        for value in values(entry).into_iter().filter(|value| !value.is_empty()) {
            *counts.entry(value).or_default() += 1;
        }
    }
    if let Some(chosen) = query.get(name) {
        counts.entry(chosen.to_owned()).or_default();
    }
    counts
}

fn selects(all: &[Arc<Entry>], query: &Query) -> Vec<Select> {
    let facet = |facet: &Facet| {
        let options = counted(all, query, facet).into_iter().map(|(value, count)| Choice {
            text: format!(
                "{} ({count})",
                if facet.0 == "verdict" { value.replace('-', " ") } else { value.clone() }
            ),
            is_chosen: query.get(facet.0) == Some(&value),
            value,
        });
        Select { name: facet.0, title: facet.1, any: "any", options: options.collect() }
    };
    // What has one value only has nothing to choose from.
    let mut selects: Vec<Select> = FACETS.iter().map(facet).collect();
    selects.retain(|select| select.options.len() > 1 || query.get(select.name).is_some());
    let options = SORTS.iter().map(|(value, text)| Choice {
        value: (*value).to_owned(),
        text: (*text).to_owned(),
        is_chosen: query.get("sort").unwrap_or_default() == *value,
    });
    selects.push(Select { name: "sort", title: "Order", any: "", options: options.collect() });
    selects
}

fn chips(all: &[Arc<Entry>], query: &Query) -> Vec<Chip> {
    let verdicts = &FACETS[0];
    let counts = counted(all, query, verdicts);
    let chip = |(word, count): (String, usize)| {
        let mood = all.iter().find(|entry| entry.state == word).map_or("", |entry| entry.mood);
        let is_chosen = query.get(verdicts.0) == Some(&word);
        let to = if is_chosen { "" } else { &word };
        let href = format!("/?{}", query.with(&[(verdicts.0, to), ("page", "")]));
        Chip { href, mood, count, is_chosen, word: word.replace('-', " ") }
    };
    counts.into_iter().map(chip).collect()
}

#[derive(Serialize)]
struct Data {
    schema: u32,
    store: String,
    total: usize,
    matched: usize,
    runs: Vec<Arc<Entry>>,
}

/// `/api/runs`: the same, with `offset` and `limit`.
pub fn data(site: &Site, query: &Query) -> Reply {
    let all = site.store.entries();
    let total = all.len();
    let mut runs: Vec<Arc<Entry>> = all.into_iter().filter(|entry| passes(entry, query, None)).collect();
    sort(&mut runs, query.get("sort").unwrap_or_default());
    let matched = runs.len();
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let limit = number("limit").unwrap_or(API_ROWS).min(API_ROWS);
    let runs = runs.into_iter().skip(number("offset").unwrap_or(0)).take(limit).collect();
    Reply::json(&Data {
        schema: API_SCHEMA,
        store: site.store.root().display().to_string(),
        total,
        matched,
        runs,
    })
}
