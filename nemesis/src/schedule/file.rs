//! A schedule written by hand; `docs/schedules.md` has the language, by example.
//!
//! Everything is read before anything is drawn, and each mistake is told with its line, its column and its mend.

mod mixes;
mod window;

use thiserror::Error;
use toml::de::DeTable;

use self::window::Entry;
use super::fields::{Fields, Mistake, line_and_column};
use super::mix::{Stage, Stretch, usual_stretch};
use super::{Limits, SafeLimits, Schedule, Window, swarm};
use crate::family::{Family, Group};

/// Why a file of faults cannot be used: line and column, then what is wrong and the mend.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{line}:{column}: {}{problem}", whose.as_ref().map(|whose| format!("{whose}: ")).unwrap_or_default())]
pub struct ScheduleError {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// The part of the file it is in, as people find it: `window 3`.
    pub whose: Option<String>,
    /// What is wrong, and the mend.
    pub problem: String,
}

impl Schedule {
    /// Reads a schedule from TOML. `seed` settles what the file leaves to chance.
    pub fn from_toml(text: &str, limits: &Limits, seed: u64) -> Result<Schedule, ScheduleError> {
        let document = DeTable::parse(text).map_err(|error| {
            let (line, column) = line_and_column(text, error.span().map_or(0, |span| span.start));
            ScheduleError { line, column, whose: None, problem: error.message().to_string() }
        })?;
        let file = Fields::of(String::new(), 0, document.get_ref());
        read(file, limits, seed).map_err(|mistake| {
            let (line, column) = line_and_column(text, mistake.at);
            let whose = (!mistake.whose.is_empty()).then_some(mistake.whose);
            ScheduleError { line, column, whose, problem: mistake.problem }
        })
    }
}

const TAKES: &str = "[[window]], [[mix]], [[phase]], [[quiet]], [limits], [swarm]";

fn read(mut file: Fields<'_>, limits: &Limits, seed: u64) -> Result<Schedule, Mistake> {
    let safe = file.take::<SafeLimits>("limits")?.map(|(safe, _)| safe).unwrap_or_default();
    let quiet: Vec<Stretch> =
        file.tables("quiet")?.into_iter().map(|entry| quiet(entry, limits)).collect::<Result<_, _>>()?;
    let stage = Stage { limits, quiet: &quiet, safe: &safe };
    let tables = file.tables("window")?.into_iter().enumerate();
    let mut entries: Vec<Entry> =
        tables.map(|(i, fields)| Entry::read(fields, i, &stage, seed)).collect::<Result<_, _>>()?;
    let mut mixes: Vec<mixes::Placed> = Vec::new();
    for fields in file.tables("mix")? {
        mixes.push(mixes::read(fields, usual_stretch(limits), limits)?);
    }
    mixes.extend(phases(file.tables("phase")?, limits)?);
    let swarms = file.tables("swarm")?;
    file.done(TAKES)?;

    let mut lanes = Lanes::after(&entries, &mixes);
    for (n, placed) in (0..).zip(mixes) {
        let lane = placed.lane.unwrap_or_else(|| lanes.next());
        let windows = placed.mix.draw(&stage, lane, &mut mixes::dice(seed, n));
        entries.extend(windows.into_iter().map(|window| placed.entry(window)));
    }
    for (n, fields) in (0..).zip(swarms) {
        let (whose, at) = (fields.whose.clone(), fields.at);
        let (families, stretch) = swarm(fields, limits)?;
        let windows = swarm::draw(&families, stretch, &stage, lanes.next(), mixes::seed_of(seed, n, "swarm"));
        entries.extend(windows.into_iter().map(|window| Entry { window, whose: whose.clone(), at }));
        lanes = Lanes::after(&entries, &[]);
    }
    check_lanes(&entries)?;
    Ok(Schedule::numbered(entries.into_iter().map(|entry| entry.window).collect(), safe))
}

/// Lanes that nobody has asked for yet.
struct Lanes(u32);

impl Lanes {
    fn after(entries: &[Entry], mixes: &[mixes::Placed]) -> Lanes {
        let taken =
            entries.iter().map(|entry| entry.window.lane).chain(mixes.iter().filter_map(|mix| mix.lane));
        Lanes(taken.max().map_or(0, |lane| lane.saturating_add(1)))
    }

    fn next(&mut self) -> u32 {
        let lane = self.0;
        self.0 = self.0.saturating_add(1);
        lane
    }
}

/// A stretch of the load from `from_s` to `to_s`, in milliseconds.
fn stretch(fields: &mut Fields<'_>, usual: Option<Stretch>, limits: &Limits) -> Result<Stretch, Mistake> {
    let (whole_ms, at) = (limits.time_limit_ms, fields.place("from_s"));
    let (from, to) = (fields.number("from_s")?, fields.number("to_s")?);
    let known = |given: Option<(f64, usize)>, usual: Option<u64>, name: &str| match (given, usual) {
        (Some((seconds, _)), _) => Ok(seconds * 1_000.0),
        (None, Some(ms)) => Ok(ms as f64),
        (None, None) => {
            Err(fields.mistake(format!("missing field `{name}`, seconds from the beginning of the load")))
        }
    };
    let (from_ms, to_ms) =
        (known(from, usual.map(|u| u.0), "from_s")?, known(to, usual.map(|u| u.1), "to_s")?);
    if from_ms >= 0.0 && from_ms < to_ms && to_ms <= whole_ms as f64 {
        return Ok((from_ms.round() as u64, to_ms.round() as u64));
    }
    let problem = format!(
        "{} s to {} s does not lie within the load of {} s; from_s must come before to_s",
        from_ms / 1_000.0,
        to_ms / 1_000.0,
        whole_ms as f64 / 1_000.0
    );
    Err(fields.mistake_at(at, problem))
}

fn quiet(mut fields: Fields<'_>, limits: &Limits) -> Result<Stretch, Mistake> {
    let stretch = stretch(&mut fields, None, limits);
    fields.done("from_s, to_s")?;
    stretch
}

/// The mixes of phases, each within its phase; phases follow one another.
fn phases(tables: Vec<Fields<'_>>, limits: &Limits) -> Result<Vec<mixes::Placed>, Mistake> {
    let (mut mixes, mut earlier): (Vec<mixes::Placed>, Vec<(String, Stretch)>) = (Vec::new(), Vec::new());
    for mut fields in tables {
        if let Some((name, _)) = fields.text("name")? {
            fields.whose = format!("phase `{name}`");
        }
        let inner = fields.tables("mix")?;
        let stretch = stretch(&mut fields, None, limits);
        fields.done("name, from_s, to_s, [[phase.mix]]")?;
        let stretch = stretch?;
        if let Some((other, _)) = earlier.iter().find(|(_, other)| other.0 < stretch.1 && stretch.0 < other.1)
        {
            return Err(fields.mistake(format!("overlaps {other}; phases come one after the other")));
        }
        for mix in inner {
            let (whose, at) = (mix.whose.clone(), mix.at);
            let placed = mixes::read(mix, stretch, limits)?;
            if placed.mix.stretch.0 < stretch.0 || placed.mix.stretch.1 > stretch.1 {
                return Err(Mistake {
                    at,
                    whose,
                    problem: "reaches beyond its phase; leave from_s and to_s out".into(),
                });
            }
            mixes.push(placed);
        }
        earlier.push((fields.whose.clone(), stretch));
    }
    Ok(mixes)
}

fn swarm(mut fields: Fields<'_>, limits: &Limits) -> Result<(Vec<Family>, Stretch), Mistake> {
    let given = fields.take::<Vec<String>>("families")?;
    let stretch = stretch(&mut fields, Some(usual_stretch(limits)), limits);
    fields.done("families, from_s, to_s")?;
    let families = match given {
        Some((names, at)) if names.is_empty() => {
            return Err(fields.mistake_at(at, "`families` is empty: name some, or leave it out"));
        }
        Some((names, at)) => {
            let family = |name: &String| name.parse().map_err(|why: String| fields.mistake_at(at, why));
            names.iter().map(family).collect::<Result<_, _>>()?
        }
        None => {
            Family::ALL.into_iter().filter(|f| matches!(f.group(), Group::Process | Group::Net)).collect()
        }
    };
    Ok((families, stretch?))
}

fn check_lanes(entries: &[Entry]) -> Result<(), Mistake> {
    let overlap = |one: &Window, other: &Window| {
        one.lane == other.lane && one.start_ms < other.stop_ms && other.start_ms < one.stop_ms
    };
    for (i, entry) in entries.iter().enumerate() {
        if let Some(other) = entries[..i].iter().find(|other| overlap(&entry.window, &other.window)) {
            let problem = format!(
                "overlaps {} in lane {}; give one of them another `lane`",
                other.whose, entry.window.lane
            );
            return Err(Mistake { at: entry.at, whose: entry.whose.clone(), problem });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
