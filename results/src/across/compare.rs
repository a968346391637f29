//! Is B slower than A? Per family of fault, by the time from the fault to the first acknowledged write.

use serde::Serialize;

use super::series::{Measure, Spread, ns, series};
use super::{Sample, variant_of};
use crate::stats::rank::{effect, holm, mann_whitney};
use crate::stats::spread::median;
use crate::stats::{Interval, bootstrap};
use crate::table::{Align, Table};

/// Chance of a false alarm that is accepted, over all families together.
pub const ALPHA: f64 = 0.05;

/// Fixes what the bootstrap draws.
const SEED: u64 = 0x5bd1_e995;

/// Version of the fields of a [`Comparison`] as JSON; a field may be added without a new one.
pub const SCHEMA: u32 = 1;

/// Two sets of runs side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// Runs of A, the baseline.
    pub runs_a: usize,
    /// Runs of B.
    pub runs_b: usize,
    /// What both have failovers of.
    pub families: Vec<Family>,
    /// What only one of them has, each a sentence.
    pub apart: Vec<String>,
}

/// One family of fault, in one variant where both sides have the same ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Family {
    /// `kill`, or `kill · hardened`.
    pub name: String,
    /// Times of A.
    pub a: Spread,
    /// Times of B.
    pub b: Spread,
    /// Failovers of A that never saw a write acknowledged, and are in none of the numbers.
    pub unfinished_a: usize,
    /// The same of B.
    pub unfinished_b: usize,
    /// Median of B over median of A.
    pub ratio: Option<f64>,
    /// Its interval at 95 %, by bootstrap; none of too few.
    pub ratio_interval: Option<Interval>,
    /// Mann and Whitney's U: pairs in which B took longer.
    pub u: f64,
    /// Probability of such a U if there were no difference, two-sided.
    pub p: f64,
    /// The same, corrected by Holm's method for the number of families.
    pub p_holm: f64,
    /// Was it counted out, or approximated?
    pub exact: bool,
    /// Probability that B takes longer than A, ties half.
    pub superiority: f64,
    /// That in a word: negligible, small, medium, large.
    pub effect: &'static str,
    /// What to make of it.
    pub finding: Finding,
}

/// What to make of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// B takes longer, and chance does not explain it.
    Slower,
    /// B takes less, and chance does not explain it.
    Faster,
    /// Nothing that chance does not explain.
    NoDifference,
    /// So few values that not even a complete separation would show.
    TooFew,
}

/// Compares two sets of runs. Where they share variants, each family is compared within each of those; where they share
/// none, the variants are what is compared, and families are taken as a whole.
pub fn compare(a: &[Sample], b: &[Sample]) -> Comparison {
    let variants =
        |of: &[Sample]| -> Vec<String> { of.iter().map(|s| variant_of(&s.summary.spec)).collect() };
    let (in_a, in_b) = (variants(a), variants(b));
    let shared = in_a.iter().any(|variant| in_b.contains(variant));
    let (of_a, of_b) = (keyed(a, shared), keyed(b, shared));
    let other = |of: &[Side], name: &str| of.iter().position(|side| side.name == name);
    let pairs = of_a.iter().filter_map(|a| Some((a, &of_b[other(&of_b, &a.name)?])));
    let mut families: Vec<Family> = pairs.filter_map(|(a, b)| family(a, b)).collect();
    let corrected = holm(&families.iter().map(|family| family.p).collect::<Vec<_>>());
    let several = families.len();
    for (family, p_holm) in families.iter_mut().zip(corrected) {
        family.p_holm = p_holm;
        family.finding = finding(family, several);
    }
    let mut apart = Vec::new();
    let only = |of: &[Side], than: &[Side], side: &str, apart: &mut Vec<String>| {
        for Side { name, values, .. } in of.iter().filter(|of| other(than, &of.name).is_none()) {
            let n = values.len();
            apart.push(format!("{name}: only {side} has failovers that were timed (n = {n})"));
        }
    };
    only(&of_a, &of_b, "A", &mut apart);
    only(&of_b, &of_a, "B", &mut apart);
    Comparison { schema: SCHEMA, runs_a: a.len(), runs_b: b.len(), families, apart }
}

/// One family of one side.
struct Side {
    name: String,
    values: Vec<f64>,
    unfinished: usize,
}

/// By family, and by variant where the sides share some. What was never timed is left out.
fn keyed(of: &[Sample], shared: bool) -> Vec<Side> {
    let mut keyed: Vec<Side> = Vec::new();
    for one in series(of) {
        let name = if shared { one.name() } else { one.family.clone() };
        let values = one.values(Measure::Total);
        let unfinished = one.failovers.len() - values.len();
        match keyed.iter_mut().find(|known| known.name == name) {
            Some(known) => {
                known.values.extend(values);
                known.unfinished += unfinished;
            }
            None => keyed.push(Side { name, values, unfinished }),
        }
    }
    keyed.iter_mut().for_each(|side| side.values.sort_unstable_by(f64::total_cmp));
    keyed.retain(|side| !side.values.is_empty());
    keyed
}

fn family(side_a: &Side, side_b: &Side) -> Option<Family> {
    let (a, b) = (side_a.values.as_slice(), side_b.values.as_slice());
    let test = mann_whitney(a, b)?;
    let ratio = median(b)? / median(a)?;
    Some(Family {
        name: side_a.name.clone(),
        a: Spread::of(a),
        b: Spread::of(b),
        unfinished_a: side_a.unfinished,
        unfinished_b: side_b.unfinished,
        ratio: Some(ratio).filter(|ratio| ratio.is_finite()),
        ratio_interval: bootstrap::ratio_of_medians(a, b, SEED),
        u: test.u,
        p: test.p,
        p_holm: test.p,
        exact: test.exact,
        superiority: test.superiority,
        effect: effect(test.superiority),
        finding: Finding::NoDifference,
    })
}

fn finding(family: &Family, several: usize) -> Finding {
    // The least p that so many values can give, for the first of several families.
    let (n, m) = (family.a.n as f64, family.b.n as f64);
    let hands = (1..=family.a.n).fold(1.0, |hands, i| hands * (m + i as f64) / i as f64);
    if n.min(m) < 1.0 || 2.0 / hands * several as f64 > ALPHA {
        return Finding::TooFew;
    }
    match family.p_holm <= ALPHA {
        true if family.superiority > 0.5 => Finding::Slower,
        true => Finding::Faster,
        false => Finding::NoDifference,
    }
}

impl Comparison {
    /// Families in which B is slower by more than a share (0.2 is 20 %), and chance does not explain it.
    pub fn slower_by(&self, share: f64) -> Vec<&Family> {
        let slower = |family: &&Family| {
            family.finding == Finding::Slower && family.ratio.is_none_or(|ratio| ratio > 1.0 + share)
        };
        self.families.iter().filter(slower).collect()
    }

    /// Families of which nobody can say.
    pub fn too_few(&self) -> impl Iterator<Item = &Family> {
        self.families.iter().filter(|family| family.finding == Finding::TooFew)
    }

    /// For a terminal: a table, and a sentence a family. Ends with a newline.
    pub fn text(&self) -> String {
        let columns = ["fault", "n A", "n B", "median A", "median B", "B / A", "p", "effect"];
        let columns: Vec<(&str, Align)> = columns
            .into_iter()
            .map(|name| (name, if matches!(name, "fault" | "effect") { Align::Left } else { Align::Right }))
            .collect();
        let mut table = Table::new(&columns);
        for family in &self.families {
            table.row([
                family.name.clone(),
                told_n(family.a.n, family.unfinished_a),
                told_n(family.b.n, family.unfinished_b),
                family.a.told("median", family.a.median),
                family.b.told("median", family.b.median),
                family.told_ratio(),
                told_p(family.p_holm),
                format!("{} ({:.2})", family.effect, family.superiority),
            ]);
        }
        let mut text = format!(
            "A: {}, B: {}; time from the fault to the first acknowledged write\n",
            crate::units::plural(self.runs_a as u64, "run"),
            crate::units::plural(self.runs_b as u64, "run"),
        );
        if !self.families.is_empty() {
            text.push_str(&table.text());
        }
        for sentence in self.families.iter().map(Family::sentence).chain(self.apart.iter().cloned()) {
            text.push_str(&format!("{sentence}\n"));
        }
        if self.families.is_empty() {
            text.push_str(
                "there is no fault of which both have a failover that was timed: nothing to compare\n",
            );
        } else {
            text.push_str(
                "n: failovers that were timed (+ those in which no write was acknowledged, which count for nothing here); medians with 95 % intervals by order statistics; B / A by bootstrap; p by Mann and Whitney's test, two-sided, \
                 Holm-corrected; effect: probability that B takes longer\n",
            );
        }
        text
    }
}

impl Family {
    fn told_ratio(&self) -> String {
        match (self.ratio, self.ratio_interval) {
            (Some(ratio), Some(i)) => format!("{ratio:.2} ({:.2}–{:.2})", i.low, i.high),
            (Some(ratio), None) => format!("{ratio:.2}"),
            (None, _) => crate::table::UNSEEN.to_owned(),
        }
    }

    /// What to make of it, in words.
    pub fn sentence(&self) -> String {
        let times = || {
            let median = |spread: &Spread| spread.median.value_ns.map_or_else(String::new, ns);
            format!("{} instead of {} at the median", median(&self.b), median(&self.a))
        };
        let p = told_p(self.p_holm);
        match self.finding {
            Finding::Slower => {
                format!("{}: B is slower, {}; the difference is {} (p {p})", self.name, times(), self.effect)
            }
            Finding::Faster => {
                format!("{}: B is faster, {}; the difference is {} (p {p})", self.name, times(), self.effect)
            }
            Finding::NoDifference => {
                let within = self.ratio_interval.map(|i| {
                    format!("; its median may be {:.0} % to {:.0} % of A's", i.low * 100.0, i.high * 100.0)
                });
                format!(
                    "{}: no difference that chance does not explain (p {p}){}",
                    self.name,
                    within.unwrap_or_default()
                )
            }
            Finding::TooFew => format!(
                "{}: nobody can say: with {} and {} failovers even a complete separation would be chance",
                self.name, self.a.n, self.b.n
            ),
        }
    }
}

/// With those that were not timed: `7 (+1)`.
fn told_n(n: usize, unfinished: usize) -> String {
    if unfinished == 0 { n.to_string() } else { format!("{n} (+{unfinished})") }
}

fn told_p(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}
