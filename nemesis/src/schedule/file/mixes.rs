//! A mix as it is written.

use std::collections::BTreeMap;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use serde::Deserialize;

use super::window::{self, Entry};
use crate::family::Family;
use crate::harm::Harm;
use crate::schedule::fields::{Fields, Mistake};
use crate::schedule::mix::{Ingredient, Mix, Stretch, usual_ms};
use crate::schedule::{Limits, Window};
use crate::targets::Target;

const TAKES: &str = "from_s, to_s, faults, [[mix.harm]], targets, window_s, gap_s, ramp, lane";

/// A mix and where it stands.
pub(super) struct Placed {
    pub mix: Mix,
    /// The lane asked for; none for one of its own.
    pub lane: Option<u32>,
    whose: String,
    at: usize,
}

impl Placed {
    pub(super) fn entry(&self, window: Window) -> Entry {
        Entry { window, whose: self.whose.clone(), at: self.at }
    }
}

/// The dice of the n-th mix of a file: what one draws does not shift another.
pub(super) fn dice(seed: u64, n: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed_of(seed, n, "mix"))
}

/// A seed for the n-th part of a kind.
pub(super) fn seed_of(seed: u64, n: u64, kind: &str) -> u64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(n << 8 | kind.len() as u64);
    rng.next_u64()
}

/// Names, or names with weights.
#[derive(Deserialize)]
#[serde(untagged)]
enum Weighted {
    Names(Vec<String>),
    Weights(BTreeMap<String, f64>),
}

impl Weighted {
    fn each(self) -> Vec<(String, f64)> {
        match self {
            Weighted::Names(names) => names.into_iter().map(|name| (name, 1.0)).collect(),
            Weighted::Weights(weights) => weights.into_iter().collect(),
        }
    }
}

/// One value, or from the least to the most.
#[derive(Deserialize)]
#[serde(untagged)]
enum Span {
    One(f64),
    Two([f64; 2]),
}

/// Reads a mix that lies within `usual` unless it says otherwise.
pub(super) fn read(mut fields: Fields<'_>, usual: Stretch, limits: &Limits) -> Result<Placed, Mistake> {
    let stretch = super::stretch(&mut fields, Some(usual), limits);
    let (usual_window, usual_gap) = usual_ms(limits);
    let window_ms = span_ms(&mut fields, "window_s")?.unwrap_or(usual_window);
    let gap_ms = span_ms(&mut fields, "gap_s")?.unwrap_or(usual_gap);
    let ramp = ramp(&mut fields)?;
    let lane = fields.take::<u32>("lane")?.map(|(lane, _)| lane);
    let targets = targets(&mut fields, limits)?;
    let mut ingredients = families(&mut fields)?;
    for harm in fields.tables("harm")? {
        ingredients.push(one_harm(harm)?);
    }
    fields.done(TAKES)?;
    if ingredients.is_empty() {
        return Err(fields.mistake("it has nothing to draw from: give `faults` or [[mix.harm]]"));
    }
    if ingredients.iter().map(|(_, weight)| weight).sum::<f64>() <= 0.0 {
        return Err(fields.mistake("all its weights are 0: give one of them more"));
    }
    for (ingredient, _) in &ingredients {
        fits(ingredient, &targets, limits).map_err(|why| fields.mistake(why))?;
    }
    let mix = Mix { stretch: stretch?, window_ms, gap_ms, ingredients, targets, ramp };
    Ok(Placed { mix, lane, whose: fields.whose, at: fields.at })
}

fn families(fields: &mut Fields<'_>) -> Result<Vec<(Ingredient, f64)>, Mistake> {
    let Some((given, at)) = fields.take::<Weighted>("faults")? else { return Ok(Vec::new()) };
    let each = given.each().into_iter().map(|(name, weight)| {
        let family: Family = name.parse().map_err(|why: String| fields.mistake_at(at, why))?;
        Ok((Ingredient::Any(family), checked(weight, &name).map_err(|why| fields.mistake_at(at, why))?))
    });
    each.collect()
}

fn targets(fields: &mut Fields<'_>, limits: &Limits) -> Result<Vec<(Target, f64)>, Mistake> {
    let Some((given, at)) = fields.take::<Weighted>("targets")? else { return Ok(Vec::new()) };
    let each = given.each().into_iter().map(|(name, weight)| {
        let wrong = |why: String| fields.mistake_at(at, why);
        let target: Target = name.parse().map_err(wrong)?;
        if target.same_as().is_some() {
            return Err(wrong("a mix has no windows with numbers: use roles and nodes as `targets`".into()));
        }
        if let Some(shard) = target.shards().into_iter().find(|shard| *shard >= limits.shards) {
            return Err(wrong(format!("the run has no shard {shard}; change `{name}` or --shards")));
        }
        Ok((target, checked(weight, &name).map_err(wrong)?))
    });
    let targets: Vec<(Target, f64)> = each.collect::<Result<_, _>>()?;
    if targets.iter().map(|(_, weight)| weight).sum::<f64>() <= 0.0 {
        return Err(fields.mistake_at(at, "`targets` has nobody in it: name some, or leave it out"));
    }
    Ok(targets)
}

fn one_harm(mut fields: Fields<'_>) -> Result<(Ingredient, f64), Mistake> {
    let weight = fields.number("weight")?;
    let weight = match weight {
        Some((weight, at)) => checked(weight, "weight").map_err(|why| fields.mistake_at(at, why))?,
        None => 1.0,
    };
    Ok((Ingredient::This(Box::new(window::harm(&fields)?)), weight))
}

/// A harm that suits none of the targets would never be drawn.
fn fits(ingredient: &Ingredient, targets: &[(Target, f64)], limits: &Limits) -> Result<(), String> {
    let Ingredient::This(harm) = ingredient else { return Ok(()) };
    let mut why = None;
    for (target, _) in targets {
        match harm.check(*target, limits) {
            Ok(()) => return Ok(()),
            Err(refused) => why = Some(refused),
        }
    }
    why.map_or(Ok(()), |why| Err(format!("{} suits none of its targets: {why}", Harm::family(harm).name())))
}

fn checked(weight: f64, name: &str) -> Result<f64, String> {
    if weight.is_finite() && weight >= 0.0 {
        return Ok(weight);
    }
    Err(format!("the weight {weight} of `{name}` is none: give 0 or more"))
}

fn span_ms(fields: &mut Fields<'_>, name: &str) -> Result<Option<(u64, u64)>, Mistake> {
    let Some((span, at)) = fields.take::<Span>(name)? else { return Ok(None) };
    let (least, most) = match span {
        Span::One(one) => (one, one),
        Span::Two([least, most]) => (least, most),
    };
    if least > 0.0 && least <= most && most <= 86_400.0 {
        return Ok(Some((
            (least * 1_000.0).round().max(1.0) as u64,
            (most * 1_000.0).round().max(1.0) as u64,
        )));
    }
    Err(fields.mistake_at(
        at,
        format!("`{name}` is seconds above 0, or [shortest, longest], not {least} to {most}"),
    ))
}

fn ramp(fields: &mut Fields<'_>) -> Result<(f64, f64), Mistake> {
    let Some((ramp, at)) = fields.take::<(f64, f64)>("ramp")? else { return Ok((1.0, 1.0)) };
    let is_strength = |strength: f64| (0.01..=100.0).contains(&strength);
    if is_strength(ramp.0) && is_strength(ramp.1) {
        return Ok(ramp);
    }
    Err(fields.mistake_at(
        at,
        "`ramp` is the strength at the beginning and at the end, like [0.3, 1.5], from 0.01 to 100",
    ))
}
