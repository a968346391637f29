//! A campaign file, read: what it says, each with its place, checked as far as one entry can be by itself.

use anyhow::Result;
use results::campaign::{Expectation, Expected, Limits};
use toml::de::DeTable;

use super::flags::Flag;
use super::source::{Field, Placed, Source, Span, Table, unknown};
use crate::registry;

/// What a campaign file says.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// The file.
    pub source: Source,
    /// Its name: part of the folder's.
    pub name: String,
    /// What it is for; may be empty.
    pub about: String,
    /// Flags of every run.
    pub defaults: Vec<Flag>,
    /// The product to begin with; none where only `[[include]]` says what is run.
    pub matrix: Option<Axes>,
    /// Further products.
    pub includes: Vec<Include>,
    /// Cells that are left out.
    pub excludes: Vec<Pattern>,
    /// Cells with flags of their own.
    pub overrides: Vec<(Pattern, Vec<Flag>)>,
    /// What is expected; the last that fits a cell counts.
    pub expects: Vec<Expect>,
    /// Runs of each cell.
    pub repeat: u32,
    /// Further runs of one that ends otherwise than expected.
    pub rerun: u32,
    /// When no more is started.
    pub limits: Limits,
}

/// The axes that are given; the others are taken from `[matrix]`, or are what `run` does by itself.
#[derive(Debug, Clone, Default)]
pub struct Axes {
    /// Targets.
    pub targets: Option<Vec<Placed<String>>>,
    /// Variants, with what is left out of them.
    pub variants: Option<Vec<Placed<Variant>>>,
    /// Workloads.
    pub workloads: Option<Vec<Placed<String>>>,
    /// Mixes of faults.
    pub faults: Option<Vec<Placed<Faults>>>,
    /// Seeds.
    pub seeds: Option<Placed<Seeds>>,
    /// Seconds of load.
    pub durations: Option<Vec<Placed<f64>>>,
}

/// A further product of axes.
#[derive(Debug, Clone)]
pub struct Include {
    /// Where it stands.
    pub span: Span,
    /// Its axes.
    pub axes: Axes,
    /// Flags of its runs.
    pub set: Vec<Flag>,
}

/// A variant by a name of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Name, for tables and patterns.
    pub name: String,
    /// `--variant`.
    pub variant: String,
    /// `--weaken`.
    pub weaken: Vec<String>,
    /// `--bug`.
    pub bug: Option<String>,
}

/// A mix of faults by a name of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// Name, for tables and patterns.
    pub name: String,
    /// `--faults`: families, or a path as the file gives it.
    pub given: String,
    /// Whether it is a path, relative to the campaign file.
    pub is_file: bool,
}

/// Which seeds.
#[derive(Debug, Clone, PartialEq)]
pub enum Seeds {
    /// So many from the first on.
    Count { first: Option<u64>, count: u64 },
    /// These.
    List(Vec<u64>),
}

/// What cells have in common: for each axis that is named, one of these values.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// Where it stands.
    pub span: Span,
    /// Axis and values, as text.
    pub axes: Vec<(&'static str, Vec<Placed<String>>)>,
}

/// What cells have to end as.
#[derive(Debug, Clone)]
pub struct Expect {
    /// Which cells.
    pub pattern: Pattern,
    /// How.
    pub expectation: Expectation,
    /// Runs of each, if not as many as of all.
    pub repeat: Option<u32>,
    /// Further runs, likewise.
    pub rerun: Option<u32>,
}

/// Axes by the names they have in patterns.
pub const AXES: [&str; 6] = ["target", "variant", "workload", "faults", "seed", "duration"];
const TOP: [&str; 11] = [
    "name", "about", "repeat", "rerun", "defaults", "matrix", "include", "exclude", "override", "expect",
    "budget",
];
const MATRIX: [&str; 6] = ["targets", "variants", "workloads", "faults", "seeds", "durations"];
/// Seeds above these are not exact in every reader of JSON.
const SEED_MAX: u64 = (1 << 53) - 1;

impl Campaign {
    /// Reads a file; every mistake is an error with its place.
    pub fn parse(source: Source) -> Result<Campaign> {
        let parsed = DeTable::parse(&source.text).map_err(|error| {
            source.refuse(&error.span().unwrap_or(0..0), format!("this is no TOML: {}", error.message()))
        })?;
        let top = Table::new(&source, parsed.get_ref(), 0..0, &TOP)?;
        let Some(name) = top.get("name") else {
            return Err(top.refuse("there is no `name`; give the campaign one, like name = \"nightly\""));
        };
        let name = plain_name(&name)?;
        let text = |key| top.get(key).map(|field| Ok::<_, anyhow::Error>(field.string()?.value)).transpose();
        let count = |key, range| top.get(key).map(|field| field.whole(range)).transpose();
        let campaign = Campaign {
            name: name.value,
            about: text("about")?.unwrap_or_default(),
            defaults: flags(top.get("defaults"))?,
            matrix: top.get("matrix").map(|field| axes(&field.table(&MATRIX)?)).transpose()?,
            includes: list(&top, "include", include)?,
            excludes: list(&top, "exclude", |field| pattern(&field.table(&AXES)?))?,
            overrides: list(&top, "override", overrides)?,
            expects: list(&top, "expect", expect)?,
            repeat: count("repeat", 1..=1000)?.map_or(1, |n| n.value as u32),
            rerun: count("rerun", 0..=100)?.map_or(3, |n| n.value as u32),
            limits: top.get("budget").map(|field| limits(&field)).transpose()?.unwrap_or_default(),
            source: source.clone(),
        };
        Ok(campaign)
    }
}

/// Everything in a list of tables.
fn list<T>(top: &Table<'_>, key: &str, read: impl Fn(&Field<'_>) -> Result<T>) -> Result<Vec<T>> {
    let Some(field) = top.get(key) else { return Ok(Vec::new()) };
    if !field.is_list() {
        return Err(field.refuse(format!("`{key}` comes in double brackets: [[{key}]]")));
    }
    field.items()?.iter().map(read).collect()
}

/// A name that is legal in file names.
fn plain_name(field: &Field<'_>) -> Result<Placed<String>> {
    let name = field.string()?;
    if name.value.is_empty() || results::layout::plain(&name.value) != name.value {
        return Err(field.refuse("a name has letters, digits, `.`, `_` and `-` only"));
    }
    Ok(name)
}

/// A table of flags; none if there is no table.
fn flags(field: Option<Field<'_>>) -> Result<Vec<Flag>> {
    let Some(field) = field else { return Ok(Vec::new()) };
    // Which keys are known is told by the flags themselves.
    field.any_table()?.fields().map(|field| Flag::of(&field)).collect()
}

fn axes(table: &Table<'_>) -> Result<Axes> {
    let named = |key: &str, read: &dyn Fn(&Field<'_>) -> Result<Placed<String>>| -> Result<_> {
        let Some(field) = table.get(key) else { return Ok(None) };
        let values = field.items()?.iter().map(read).collect::<Result<Vec<_>>>()?;
        Ok(Some(values))
    };
    let known = |entries: &'static [registry::Entry], what: &'static str| {
        move |field: &Field<'_>| {
            let names: Vec<&str> = entries.iter().map(|(name, _)| *name).collect();
            let name = field.string()?;
            match names.contains(&name.value.as_str()) {
                true => Ok(name),
                false => Err(field.refuse(unknown(what, &name.value, &names))),
            }
        }
    };
    let variants = |field: Field<'_>| field.items()?.iter().map(variant).collect::<Result<Vec<_>>>();
    let mixes = |field: Field<'_>| field.items()?.iter().map(faults).collect::<Result<Vec<_>>>();
    let durations =
        |field: Field<'_>| field.one_or_more()?.iter().map(Field::seconds).collect::<Result<Vec<_>>>();
    Ok(Axes {
        targets: named("targets", &known(registry::TARGETS, "target"))?,
        variants: table.get("variants").map(variants).transpose()?,
        workloads: named("workloads", &known(registry::WORKLOADS, "workload"))?,
        faults: table.get("faults").map(mixes).transpose()?,
        seeds: table.get("seeds").map(|field| seeds(&field)).transpose()?,
        durations: table.get("durations").map(durations).transpose()?,
    })
}

fn variant(field: &Field<'_>) -> Result<Placed<Variant>> {
    let known = registry::variants();
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let check = |field: &Field<'_>| -> Result<String> {
        let name = field.string()?.value;
        match names.contains(&name.as_str()) {
            true => Ok(name),
            false => Err(field.refuse(unknown("variant", &name, &names))),
        }
    };
    if !field.is_table() {
        let name = check(field)?;
        return Ok(field.placed(Variant {
            name: name.clone(),
            variant: name,
            weaken: Vec::new(),
            bug: None,
        }));
    }
    let table = field.table(&["name", "variant", "weaken", "bug"])?;
    let variant =
        table.get("variant").map(|field| check(&field)).transpose()?.unwrap_or_else(|| "hardened".into());
    let weaken = match table.get("weaken") {
        Some(field) => {
            field.one_or_more()?.iter().map(|item| Ok(item.string()?.value)).collect::<Result<_>>()?
        }
        None => Vec::new(),
    };
    let bug = table.get("bug").map(|field| Ok::<_, anyhow::Error>(field.string()?.value)).transpose()?;
    let given = table.get("name").map(|field| plain_name(&field)).transpose()?.map(|name| name.value);
    let made = || {
        let parts = std::iter::once(&variant).chain(&weaken).chain(&bug).map(String::as_str);
        parts.collect::<Vec<_>>().join("+")
    };
    Ok(field.placed(Variant { name: given.unwrap_or_else(made), variant, weaken, bug }))
}

fn faults(field: &Field<'_>) -> Result<Placed<Faults>> {
    if !field.is_table() {
        let given = field.string()?.value;
        let is_file = given.ends_with(".toml") || given.contains('/');
        let stem = std::path::Path::new(&given).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = if is_file { results::layout::plain(&stem.unwrap_or_default()) } else { given.clone() };
        return Ok(field.placed(Faults { name, given, is_file }));
    }
    let table = field.table(&["name", "families", "file"])?;
    let (given, is_file) = match (table.get("families"), table.get("file")) {
        (Some(families), None) => {
            let names: Vec<String> =
                families.one_or_more()?.iter().map(|item| Ok(item.string()?.value)).collect::<Result<_>>()?;
            (names.join(","), false)
        }
        (None, Some(file)) => {
            let path = file.string()?.value;
            if !path.ends_with(".toml") {
                return Err(file.refuse("a file of faults ends in .toml"));
            }
            (path, true)
        }
        _ => return Err(field.refuse("a mix of faults has either `families` or a `file`")),
    };
    let name = table.get("name").ok_or_else(|| field.refuse("a mix of faults in braces has a `name`"))?;
    Ok(field.placed(Faults { name: plain_name(&name)?.value, given, is_file }))
}

fn seeds(field: &Field<'_>) -> Result<Placed<Seeds>> {
    if field.is_table() {
        let table = field.table(&["first", "count"])?;
        let count =
            table.get("count").ok_or_else(|| field.refuse("seeds from a first one have a `count`"))?;
        let first = table.get("first").map(|first| first.whole(0..=SEED_MAX)).transpose()?;
        let seeds =
            Seeds::Count { first: first.map(|first| first.value), count: count.whole(1..=100_000)?.value };
        return Ok(field.placed(seeds));
    }
    if field.is_list() {
        let all: Result<Vec<u64>> =
            field.items()?.iter().map(|item| Ok(item.whole(0..=SEED_MAX)?.value)).collect();
        return Ok(field.placed(Seeds::List(all?)));
    }
    if !field.is_string() {
        return Ok(field.placed(Seeds::Count { first: None, count: field.whole(1..=100_000)?.value }));
    }
    let text = field.string()?.value;
    let range = text.split_once("..").and_then(|(first, last)| {
        let (first, last) =
            (first.trim().parse::<u64>().ok()?, last.trim_start_matches('=').trim().parse::<u64>().ok()?);
        (first <= last && last <= SEED_MAX && last - first < 100_000).then_some((first, last))
    });
    let (first, last) = range.ok_or_else(|| {
        field.refuse("`seeds`: give a number of seeds, a list of them, or a range with both ends in it, like \"1..10\"")
    })?;
    Ok(field.placed(Seeds::List((first..=last).collect())))
}

fn include(field: &Field<'_>) -> Result<Include> {
    let table = field.table(&[&MATRIX[..], &["set"]].concat())?;
    Ok(Include { span: table.span.clone(), axes: axes(&table)?, set: flags(table.get("set"))? })
}

/// Axes of a table that has other keys, too.
fn pattern(table: &Table<'_>) -> Result<Pattern> {
    let mut named = Vec::new();
    for axis in AXES {
        let Some(field) = table.get(axis) else { continue };
        let items = field.one_or_more()?;
        let values = items.iter().map(|item| {
            Ok(match axis {
                "seed" => item.placed(item.whole(0..=SEED_MAX)?.value.to_string()),
                "duration" => item.placed(item.seconds()?.value.to_string()),
                _ => item.string()?,
            })
        });
        named.push((axis, values.collect::<Result<Vec<_>>>()?));
    }
    Ok(Pattern { span: table.span.clone(), axes: named })
}

fn overrides(field: &Field<'_>) -> Result<(Pattern, Vec<Flag>)> {
    let table = field.table(&[&AXES[..], &["set"]].concat())?;
    let Some(set) = table.get("set") else {
        return Err(table.refuse("nothing is set; give flags, like set = { rate = 100 }"));
    };
    Ok((pattern(&table)?, flags(Some(set))?))
}

fn expect(field: &Field<'_>) -> Result<Expect> {
    let table =
        field.table(&[&AXES[..], &["verdict", "anomalies", "at_least", "repeat", "rerun"]].concat())?;
    let verdict = match table.get("verdict") {
        None => Expected::Valid,
        Some(field) => match field.string()?.value.as_str() {
            "valid" => Expected::Valid,
            "invalid" => Expected::Invalid,
            "any" => Expected::Any,
            other => return Err(field.refuse(unknown("verdict", other, &["valid", "invalid", "any"]))),
        },
    };
    for key in ["anomalies", "at_least"] {
        if let (Some(field), true) = (table.get(key), verdict != Expected::Invalid) {
            return Err(field.refuse(format!("`{key}` goes with verdict = \"invalid\"")));
        }
    }
    let anomalies = match table.get("anomalies") {
        Some(field) => field.one_or_more()?.iter().map(anomaly).collect::<Result<_>>()?,
        None => Vec::new(),
    };
    let at_least = match table.get("at_least") {
        Some(field) => {
            let share = field.number()?.value;
            if !(share > 0.0 && share <= 1.0) {
                return Err(field.refuse("`at_least` is a share of the runs: above 0, and 1 at most"));
            }
            share
        }
        None => 1.0,
    };
    let count = |key, range| -> Result<Option<u32>> {
        Ok(table.get(key).map(|field| field.whole(range)).transpose()?.map(|n| n.value as u32))
    };
    Ok(Expect {
        pattern: pattern(&table)?,
        expectation: Expectation { verdict, anomalies, at_least },
        repeat: count("repeat", 1..=1000)?,
        rerun: count("rerun", 0..=100)?,
    })
}

fn anomaly(field: &Field<'_>) -> Result<String> {
    let name = field.string()?.value;
    let known: Vec<&str> = checker::anomalies::ALL.iter().map(|(name, _)| *name).collect();
    match known.contains(&name.as_str()) {
        true => Ok(name),
        false => Err(field.refuse(unknown("anomaly", &name, &known))),
    }
}

fn limits(field: &Field<'_>) -> Result<Limits> {
    let table = field.table(&["total", "failures"])?;
    let total = table.get("total").map(|field| field.seconds()).transpose()?;
    let failures = table.get("failures").map(|field| field.whole(1..=1_000_000)).transpose()?;
    Ok(Limits { total_s: total.map(|t| t.value), failures: failures.map(|n| n.value as u32) })
}
