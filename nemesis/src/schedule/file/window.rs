//! One window as it is written: when, whom, in which rhythm, and the values of its fault.

use serde_json::Value;

use crate::harm::Harm;
use crate::schedule::fields::{Fields, Mistake};
use crate::schedule::mix::Stage;
use crate::schedule::{Event, Rhythm, Window};
use crate::targets::Target;

/// A window and where it stands.
pub(super) struct Entry {
    pub window: Window,
    /// As people find it: `window 3`.
    pub whose: String,
    pub at: usize,
}

/// What every window takes, whatever its fault.
const TAKES: &str = "start_s, stop_s, target, lane, seed, each, hold_ms, flip";

impl Entry {
    /// Reads the window at `position` of the file, from 0.
    pub(super) fn read(
        mut fields: Fields<'_>,
        position: usize,
        stage: &Stage<'_>,
        seed: u64,
    ) -> Result<Entry, Mistake> {
        let (start_at, target_at) = (fields.place("start_s"), fields.place("target"));
        let (start, stop) = (fields.number("start_s")?, fields.number("stop_s")?);
        let target = fields.text("target")?;
        if let Some((target, _)) = &target {
            fields.whose = format!("{} (`{target}`)", fields.whose);
        }
        let lane = fields.take("lane")?.map_or(0, |(lane, _)| lane);
        let own_seed = fields.take("seed")?.map(|(seed, _): (u64, _)| seed);
        let rhythm_at = fields.place(if fields.has("each") { "each" } else { "flip" });
        let rhythm = rhythm(&mut fields)?;
        // Before anything is said to be missing: what is missing may be there under a name that is none.
        let harm = harm(&fields)?;
        let missing = |name: &str| fields.mistake(format!("missing field `{name}`"));
        let start_s = start.ok_or_else(|| missing("start_s"))?.0;
        let stop_s = stop.ok_or_else(|| missing("stop_s"))?.0;
        let (target, _) = target.ok_or_else(|| missing("target"))?;
        let target: Target = target.parse().map_err(|why: String| fields.mistake_at(target_at, why))?;
        let window = Window {
            id: position as u64 + 1,
            lane,
            start_ms: ms(start_s),
            stop_ms: ms(stop_s),
            harm,
            target,
            rhythm,
            seed: own_seed.unwrap_or(seed.wrapping_add(position as u64) >> 11),
        };
        let place = |at: usize, problem: String| Mistake {
            at,
            whose: format!("{} (`{target}`)", whose(position)),
            problem,
        };
        check_target(&window, position, stage).map_err(|why| place(target_at, why))?;
        check_time((start_s, stop_s), stage).map_err(|why| place(start_at, why))?;
        check_rhythm(&window).map_err(|why| place(rhythm_at, why))?;
        Ok(Entry { window, whose: whose(position), at: target_at })
    }
}

fn whose(position: usize) -> String {
    format!("window {}", position + 1)
}

fn ms(seconds: f64) -> u64 {
    (seconds * 1_000.0).round() as u64
}

/// The harm of what is left; a field that nobody knows is named before one that is missing.
pub(super) fn harm(fields: &Fields<'_>) -> Result<Harm, Mistake> {
    let values = fields.rest()?;
    let given: Vec<String> = values.keys().filter(|name| *name != "fault").cloned().collect();
    Harm::of_values(values).map_err(|why| {
        let problem = misspelt(&given, &why).unwrap_or(why);
        let named = problem.split('`').nth(1).unwrap_or("fault");
        let at = if fields.has(named) { fields.place(named) } else { fields.place("fault") };
        fields.mistake_at(at, problem)
    })
}

/// A field that is nearly one of a window's own, or the one that `why` says is missing.
fn misspelt(given: &[String], why: &str) -> Option<String> {
    let missing = why.split("missing field `").nth(1).and_then(|rest| rest.split('`').next());
    let stranger = why.split("unknown field `").nth(1).and_then(|rest| rest.split('`').next());
    let known = TAKES.split(", ").chain(missing);
    let near = known.flat_map(|known| given.iter().map(move |name| (known, name)));
    let mut near = near.filter(|(known, name)| is_near(known, name));
    match (missing, stranger) {
        (None, None) => None,
        (_, Some(stranger)) => {
            let (known, _) = near.find(|(_, name)| *name == stranger)?;
            Some(format!("unknown field `{stranger}`: did you mean `{known}`?"))
        }
        (Some(_), None) => {
            let (known, name) = near.next()?;
            Some(format!("unknown field `{name}`: did you mean `{known}`?"))
        }
    }
}

/// A letter or two apart.
fn is_near(one: &str, other: &str) -> bool {
    let most = if one.len() < 6 { 1 } else { 2 };
    let apart = letters_apart(one, other);
    apart > 0 && apart <= most
}

/// Letters to be changed, put in or left out (Levenshtein 1965).
fn letters_apart(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let here = if a == b { before } else { 1 + before.min(row[j]).min(row[j + 1]) };
            before = std::mem::replace(&mut row[j + 1], here);
        }
    }
    row[other.len()]
}

fn rhythm(fields: &mut Fields<'_>) -> Result<Rhythm, Mistake> {
    let each = fields.take::<Value>("each")?;
    // A fault of its own may have a `hold_ms`; this one comes with `each` only.
    let hold = if each.is_some() { fields.take::<u64>("hold_ms")? } else { None };
    let flip = fields.take::<Flip>("flip")?;
    match (each, hold, flip) {
        (None, _, None) => Ok(Rhythm::Steady),
        (None, _, Some((Flip { on_ms, off_ms }, at))) => {
            if on_ms == 0 || off_ms == 0 {
                return Err(
                    fields.mistake_at(at, "`flip` is on and off by turns: give on_ms and off_ms at least 1")
                );
            }
            Ok(Rhythm::Flip { on_ms, off_ms })
        }
        (Some((_, at)), _, Some(_)) => {
            Err(fields.mistake_at(at, "`each` and `flip` exclude each other: use two windows"))
        }
        (Some((event, at)), hold, None) => {
            let event: Event = serde_json::from_value(event.clone()).map_err(|_| {
                fields.mistake_at(at, format!("`each` cannot be {event}: use each = \"election\""))
            })?;
            match hold {
                Some((hold_ms, _)) if hold_ms > 0 => Ok(Rhythm::Each { event, hold_ms }),
                _ => {
                    Err(fields
                        .mistake_at(at, "`each` needs `hold_ms`: how long each strike lasts, at least 1"))
                }
            }
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Flip {
    on_ms: u64,
    off_ms: u64,
}

fn check_target(window: &Window, position: usize, stage: &Stage<'_>) -> Result<(), String> {
    let limits = stage.limits;
    if window.target.shards().iter().any(|shard| *shard >= limits.shards) {
        return Err(format!(
            "the run has shards 0 to {}; change the target or --shards",
            limits.shards.saturating_sub(1)
        ));
    }
    window.harm.check(window.target, limits)?;
    if let Some(other) = window.target.same_as()
        && (other == 0 || other > position as u64)
    {
        return Err(format!("window {other} does not come before this one in the file; count from 1"));
    }
    if window.harm.is_wide() && stage.safe.counts_nodes() {
        return Err(
            "it strikes links between nodes beyond its target, which [limits] cannot count: use another \
                    shape, or leave `zookeeper` and `shard` out of [limits]"
                .into(),
        );
    }
    Ok(())
}

fn check_time((start_s, stop_s): (f64, f64), stage: &Stage<'_>) -> Result<(), String> {
    let whole_ms = stage.limits.time_limit_ms as f64;
    let in_time = start_s >= 0.0 && start_s < stop_s;
    if !in_time || stop_s * 1_000.0 > whole_ms {
        return Err(format!(
            "{start_s} s to {stop_s} s does not lie within the load of {} s; start_s must come before stop_s",
            whole_ms / 1_000.0
        ));
    }
    let quiet = stage.quiet.iter().find(|(from, to)| ms(start_s) < *to && *from < ms(stop_s));
    match quiet {
        Some((from, to)) => Err(format!(
            "it is open in the quiet period from {} s to {} s; make two windows of it",
            *from as f64 / 1_000.0,
            *to as f64 / 1_000.0
        )),
        None => Ok(()),
    }
}

fn check_rhythm(window: &Window) -> Result<(), String> {
    if matches!(window.rhythm, Rhythm::Each { .. }) && !window.target.is_elected() {
        return Err(
            "nobody is elected to that: use a role in a shard, or the zookeeper leader or follower".into()
        );
    }
    Ok(())
}
