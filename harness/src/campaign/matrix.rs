//! Axes multiplied: what a campaign file says becomes runs, one by one.

use std::collections::HashSet;

use anyhow::Result;

use super::file::{Axes, Campaign, Expect, Faults, Include, Pattern, Seeds, Variant};
use super::flags::Flag;
use super::source::{Placed, Span, nearest};

/// One run, with where everything about it was said.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// Target.
    pub target: Placed<&'a str>,
    /// Variant.
    pub variant: Placed<&'a Variant>,
    /// Workload.
    pub workload: Placed<&'a str>,
    /// Mix of faults.
    pub faults: Placed<&'a Faults>,
    /// Seed.
    pub seed: Placed<u64>,
    /// Seconds of load.
    pub duration: Placed<f64>,
    /// Flags, each once.
    pub flags: Vec<&'a Flag>,
    /// Those of them that `[[include]]` or `[[override]]` has set.
    pub own_flags: Vec<&'a Flag>,
    /// Which of several equal ones, from 1.
    pub turn: u32,
    /// What is expected; none for the usual.
    pub expect: Option<&'a Expect>,
    /// The place of its seed among those of its product: runs are in this order, so that whoever stops early has
    /// seen something of everything.
    round: usize,
}

/// What `run` does by itself, where no axis says otherwise.
pub struct Usual {
    axes: Axes,
    variant: Variant,
    faults: Faults,
}

impl Default for Usual {
    fn default() -> Self {
        Usual {
            axes: Axes::default(),
            variant: Variant {
                name: "hardened".into(),
                variant: "hardened".into(),
                weaken: Vec::new(),
                bug: None,
            },
            faults: Faults {
                name: "kill,pause,partition".into(),
                given: "kill,pause,partition".into(),
                is_file: false,
            },
        }
    }
}

/// All runs in order. Seeds that are only counted begin at `first_seed`, or at 1.
pub fn expand<'a>(
    campaign: &'a Campaign,
    usual: &'a Usual,
    first_seed: Option<u64>,
) -> Result<Vec<Draft<'a>>> {
    let none = &usual.axes;
    let mut drafts = Vec::new();
    if campaign.matrix.is_some() || campaign.includes.is_empty() {
        let axes = campaign.matrix.as_ref();
        product(axes.unwrap_or(none), None, usual, first_seed, &mut drafts);
        for pattern in &campaign.excludes {
            let before = drafts.len();
            let unfiltered = drafts.clone();
            drafts.retain(|draft| !fits(pattern, draft));
            if drafts.len() == before {
                return Err(fits_nothing(campaign, pattern, &unfiltered));
            }
        }
    }
    for include in &campaign.includes {
        product(campaign.matrix.as_ref().unwrap_or(none), Some(include), usual, first_seed, &mut drafts);
    }
    for draft in &mut drafts {
        for flag in &campaign.defaults {
            if !draft.flags.iter().any(|own| own.name == flag.name) {
                draft.flags.push(flag);
            }
        }
    }
    for (pattern, set) in &campaign.overrides {
        let mut any = false;
        for draft in drafts.iter_mut().filter(|draft| fits(pattern, draft)) {
            any = true;
            for flag in set {
                draft.set(flag);
            }
        }
        if !any {
            return Err(fits_nothing(campaign, pattern, &drafts));
        }
    }
    let mut seen = HashSet::new();
    drafts.retain(|draft| seen.insert(draft.key()));
    for expect in &campaign.expects {
        let mut any = false;
        for draft in drafts.iter_mut().filter(|draft| fits(&expect.pattern, draft)) {
            any = true;
            draft.expect = Some(expect);
        }
        if !any {
            return Err(fits_nothing(campaign, &expect.pattern, &drafts));
        }
    }
    let mut all = Vec::new();
    for draft in drafts {
        let repeat = draft.expect.and_then(|expect| expect.repeat).unwrap_or(campaign.repeat);
        all.extend((1..=repeat).map(|turn| Draft { turn, ..draft.clone() }));
    }
    all.sort_by_key(|draft| (draft.turn, draft.round));
    if all.is_empty() {
        return Err(campaign.source.refuse(&(0..0), "no run is left; mend [matrix] or [[exclude]]"));
    }
    Ok(all)
}

/// Every combination of the axes of `[matrix]`, or of an `[[include]]` with those of `[matrix]` for what it leaves open.
fn product<'a>(
    matrix: &'a Axes,
    include: Option<&'a Include>,
    usual: &'a Usual,
    first_seed: Option<u64>,
    into: &mut Vec<Draft<'a>>,
) {
    let nowhere = 0..0;
    let own = include.map(|include| &include.axes);
    let set: Vec<&Flag> = include.map(|include| include.set.iter().collect()).unwrap_or_default();
    let span = include.map_or(nowhere, |include| include.span.clone());
    let words = |own: Option<&'a Vec<Placed<String>>>,
                 matrix: Option<&'a Vec<Placed<String>>>,
                 usual: &'static str| {
        match own.or(matrix) {
            Some(all) => {
                all.iter().map(|one| Placed { value: one.value.as_str(), span: one.span.clone() }).collect()
            }
            None => vec![Placed { value: usual, span: span.clone() }],
        }
    };
    let targets = words(own.and_then(|own| own.targets.as_ref()), matrix.targets.as_ref(), "zk-redis");
    let workloads = words(own.and_then(|own| own.workloads.as_ref()), matrix.workloads.as_ref(), "register");
    let variants: Vec<Placed<&Variant>> =
        values(own.and_then(|own| own.variants.as_ref()), matrix.variants.as_ref(), &usual.variant, &span);
    let faults: Vec<Placed<&Faults>> =
        values(own.and_then(|own| own.faults.as_ref()), matrix.faults.as_ref(), &usual.faults, &span);
    let durations: Vec<Placed<f64>> =
        match own.and_then(|own| own.durations.as_ref()).or(matrix.durations.as_ref()) {
            Some(all) => all.clone(),
            None => vec![Placed { value: 30.0, span: span.clone() }],
        };
    let seeds = seeds(own.and_then(|own| own.seeds.as_ref()).or(matrix.seeds.as_ref()), first_seed, &span);
    for (round, seed) in seeds.iter().enumerate() {
        for target in &targets {
            for variant in &variants {
                for workload in &workloads {
                    for mix in &faults {
                        for duration in &durations {
                            into.push(Draft {
                                target: target.clone(),
                                variant: variant.clone(),
                                workload: workload.clone(),
                                faults: mix.clone(),
                                seed: seed.clone(),
                                duration: duration.clone(),
                                flags: set.clone(),
                                own_flags: set.clone(),
                                turn: 1,
                                expect: None,
                                round,
                            });
                        }
                    }
                }
            }
        }
    }
}

fn values<'a, T>(
    own: Option<&'a Vec<Placed<T>>>,
    matrix: Option<&'a Vec<Placed<T>>>,
    usual: &'a T,
    span: &Span,
) -> Vec<Placed<&'a T>> {
    match own.or(matrix) {
        Some(all) => all.iter().map(|one| Placed { value: &one.value, span: one.span.clone() }).collect(),
        None => vec![Placed { value: usual, span: span.clone() }],
    }
}

fn seeds(given: Option<&Placed<Seeds>>, first_seed: Option<u64>, span: &Span) -> Vec<Placed<u64>> {
    let one = Placed { value: Seeds::Count { first: None, count: 1 }, span: span.clone() };
    let given = given.unwrap_or(&one);
    let all: Vec<u64> = match &given.value {
        Seeds::List(all) => all.clone(),
        Seeds::Count { first, count } => {
            let first = first_seed.or(*first).unwrap_or(1);
            (first..first.saturating_add(*count)).collect()
        }
    };
    all.into_iter().map(|value| Placed { value, span: given.span.clone() }).collect()
}

impl<'a> Draft<'a> {
    /// Its value on an axis, as patterns have it.
    fn on(&self, axis: &str) -> String {
        match axis {
            "target" => self.target.value.to_owned(),
            "variant" => self.variant.value.name.clone(),
            "workload" => self.workload.value.to_owned(),
            "faults" => self.faults.value.name.clone(),
            "seed" => self.seed.value.to_string(),
            _ => self.duration.value.to_string(),
        }
    }

    fn set(&mut self, flag: &'a Flag) {
        for flags in [&mut self.flags, &mut self.own_flags] {
            flags.retain(|other| other.name != flag.name);
            flags.push(flag);
        }
    }

    /// What makes it another run than others.
    fn key(&self) -> Vec<String> {
        let mut flags: Vec<&Vec<String>> = self.flags.iter().map(|flag| &flag.words).collect();
        flags.sort();
        super::file::AXES
            .iter()
            .map(|axis| self.on(axis))
            .chain(flags.into_iter().flatten().cloned())
            .collect()
    }

    /// What sets it apart beside the axes.
    pub fn label(&self) -> String {
        self.own_flags.iter().map(|flag| flag.said.as_str()).collect::<Vec<_>>().join(", ")
    }
}

fn fits(pattern: &Pattern, draft: &Draft<'_>) -> bool {
    pattern.axes.iter().all(|(axis, values)| values.iter().any(|value| value.value == draft.on(axis)))
}

/// Points at the value that no run has, or at the whole pattern where only the combination is not there.
fn fits_nothing(campaign: &Campaign, pattern: &Pattern, drafts: &[Draft<'_>]) -> anyhow::Error {
    for (axis, values) in &pattern.axes {
        let there: Vec<String> = drafts.iter().map(|draft| draft.on(axis)).collect();
        let Some(value) = values.iter().find(|value| !there.contains(&value.value)) else { continue };
        let mend = match nearest(&value.value, there.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "name one that is in [matrix] or [[include]]".into(),
        };
        return campaign.source.refuse(&value.span, format!("no run has {axis} `{}`; {mend}", value.value));
    }
    campaign.source.refuse(&pattern.span, "no run fits all of this at once; mend it or take it away")
}
