//! From plan and lines to how a campaign stands: pure.

use std::collections::HashMap;

use results::campaign::summary::{Counts, Standing};
use results::campaign::{
    CampaignPlan, CampaignSummary, Case, Cell, Ended, Expected, Group, Outcome, Rate, RunLine,
    SCHEMA_VERSION, State,
};
use results::units;

use super::runner::Stop;
use crate::exit::Exit;
use crate::rate::wilson;

/// What is known beside plan and lines.
#[derive(Debug, Clone, Default)]
pub struct Circumstances {
    /// Why no more was started; none while more is to come.
    pub stop: Option<Stop>,
    /// Shards that were not there to be joined.
    pub missing_shards: Vec<u32>,
}

/// How the campaign stands.
pub fn summary(
    plan: &CampaignPlan,
    lines: &HashMap<u32, Vec<RunLine>>,
    circumstances: &Circumstances,
) -> CampaignSummary {
    let cases: Vec<Case> = plan.own().map(|cell| case(cell, lines.get(&cell.index))).collect();
    let counts = counts(&cases);
    let state = match &circumstances.stop {
        None => State::Running,
        Some(_) if counts.not_run == 0 => State::Complete,
        Some(_) => State::Stopped,
    };
    let stop = circumstances.stop.filter(|_| state == State::Stopped);
    let groups = groups(plan, &cases, circumstances);
    let missing = !circumstances.missing_shards.is_empty();
    let exit = exit(&cases, &groups, counts, stop, missing);
    let ended_at = cases.iter().flat_map(|case| &case.runs).map(|line| &line.ended_at).max();
    let stopped = match stop {
        Some(Stop::Done) | None if missing => "not all shards are there".to_owned(),
        Some(Stop::Done) => "not all runs have ended".to_owned(),
        Some(stop) => stop.words(),
        None => String::new(),
    };
    CampaignSummary {
        schema_version: SCHEMA_VERSION,
        name: plan.name.clone(),
        about: plan.about.clone(),
        id: plan.id.clone(),
        file: plan.file.clone(),
        started_at: plan.planned_at.clone(),
        ended_at: ended_at.unwrap_or(&plan.planned_at).clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        shard: plan.shard,
        missing_shards: circumstances.missing_shards.clone(),
        state,
        stopped,
        exit_code: exit.code(),
        sentence: sentence(&cases, &groups, counts),
        counts,
        groups,
        cases,
    }
}

fn case(cell: &Cell, lines: Option<&Vec<RunLine>>) -> Case {
    let runs = lines.cloned().unwrap_or_default();
    let first = runs.iter().find(|line| line.attempt == 1);
    let stands = match first {
        None => Standing::NotRun,
        // What a further run shows counts as well: a crash at first does not hide a violation later.
        Some(_) if runs.iter().any(|line| line.outcome == Outcome::Unexpected) => Standing::Unexpected,
        Some(line) if line.outcome == Outcome::Missed => Standing::Missed,
        Some(_) => Standing::AsExpected,
    };
    let mut case = Case {
        index: cell.index,
        suite: cell.suite(),
        name: cell.case(),
        seed: cell.seed,
        duration_s: cell.duration_s,
        stands,
        verdict: first.map(|line| line.verdict),
        again: None,
        runs,
    };
    let again = case.worst().map(|worst| {
        let is_same = |line: &&RunLine| {
            let shares = worst.anomalies.is_empty()
                || line.anomalies.iter().any(|name| worst.anomalies.contains(name));
            line.verdict == worst.verdict && shares
        };
        let others: Vec<&RunLine> = case.runs.iter().filter(|line| line.attempt != worst.attempt).collect();
        (worst.verdict, others.iter().copied().filter(is_same).count(), others.len())
    });
    if let Some((verdict, same, others)) = again {
        case.verdict = Some(verdict);
        case.again = (others > 0).then(|| rate(same as u32, others as u32));
    }
    case
}

fn rate(hits: u32, of: u32) -> Rate {
    let (low, high) = wilson(hits, of);
    Rate { hits, of, low, high }
}

fn counts(cases: &[Case]) -> Counts {
    let stand = |standing| cases.iter().filter(|case| case.stands == standing).count() as u32;
    Counts {
        planned: cases.len() as u32,
        as_expected: stand(Standing::AsExpected),
        missed: stand(Standing::Missed),
        unexpected: stand(Standing::Unexpected),
        not_run: stand(Standing::NotRun),
        runs: cases.iter().map(|case| case.runs.len() as u32).sum(),
    }
}

/// Rows, in order of the plan.
fn groups(plan: &CampaignPlan, cases: &[Case], circumstances: &Circumstances) -> Vec<Group> {
    let by_index: HashMap<u32, &Case> = cases.iter().map(|case| (case.index, case)).collect();
    let mut order: Vec<(String, usize)> = Vec::new();
    let mut members: HashMap<(String, usize), Vec<&Cell>> = HashMap::new();
    for cell in &plan.cells {
        let key = (cell.suite(), cell.expectation);
        let row = members.entry(key.clone()).or_default();
        if row.is_empty() {
            order.push(key);
        }
        row.push(cell);
    }
    let mut rows = Vec::new();
    for key in order {
        let Some((all, expectation)) = members.get(&key).zip(plan.expectations.get(key.1)) else { continue };
        let own: Vec<&Case> = all.iter().filter_map(|cell| by_index.get(&cell.index).copied()).collect();
        let Some(cell) = all.first().filter(|_| !own.is_empty()) else { continue };
        let firsts: Vec<&RunLine> =
            own.iter().filter_map(|case| case.runs.iter().find(|line| line.attempt == 1)).collect();
        let hits = firsts.iter().filter(|line| line.outcome == Outcome::AsExpected).count() as u32;
        let of = firsts.len() as u32;
        // A share is open while runs are to come, here or in other shards.
        let is_settled = match circumstances.stop {
            None | Some(Stop::Interrupted | Stop::Broken) => own.len() == firsts.len(),
            Some(_) => true,
        };
        let is_known = is_settled && own.len() == all.len() && of > 0;
        let counts = expectation.verdict == Expected::Invalid && is_known;
        rows.push(Group {
            target: cell.target.clone(),
            variant: cell.variant.clone(),
            workload: cell.workload.clone(),
            faults: cell.faults.clone(),
            expectation: expectation.clone(),
            planned: own.len() as u32,
            as_expected: rate(hits, of),
            verdicts: Ended::ALL
                .map(|ended| (ended, firsts.iter().filter(|line| line.verdict == ended).count() as u32))
                .to_vec(),
            often_enough: counts.then(|| f64::from(hits) + 1e-9 >= expectation.at_least * f64::from(of)),
            wall_s: own.iter().map(|case| case.wall_s()).sum(),
        });
    }
    rows
}

/// The worst of all runs that are not as expected: a violation, then what could not be judged, then the rest. What was
/// expected and not found often enough, and what was not run without the budget saying so, leaves it open.
fn exit(cases: &[Case], groups: &[Group], counts: Counts, stop: Option<Stop>, missing: bool) -> Exit {
    let unexpected =
        cases.iter().flat_map(|case| &case.runs).filter(|line| line.outcome == Outcome::Unexpected);
    let worst = unexpected.map(exit_of).fold(Exit::Valid, Exit::worse);
    let too_few = groups.iter().any(|group| group.often_enough == Some(false));
    let by_budget = matches!(stop, Some(Stop::TimeUp(_) | Stop::Failures(_)));
    let nothing = counts.planned > 0 && counts.runs == 0;
    let is_open = too_few || missing || nothing || (counts.not_run > 0 && !by_budget);
    if is_open { worst.worse(Exit::Unknown) } else { worst }
}

fn exit_of(line: &RunLine) -> Exit {
    match line.verdict {
        Ended::Valid => Exit::Valid,
        Ended::Invalid => Exit::Invalid,
        Ended::NotLive => Exit::NotLive,
        Ended::Unknown => Exit::Unknown,
        Ended::Error => Exit::Harness,
    }
}

fn sentence(cases: &[Case], groups: &[Group], counts: Counts) -> String {
    let mut parts = Vec::new();
    let cells = |n: u32| units::plural(n.into(), "cell");
    if counts.unexpected > 0 {
        let of = |ended| {
            let is = |case: &&Case| case.stands == Standing::Unexpected && case.verdict == Some(ended);
            (ended, cases.iter().filter(is).count())
        };
        let kinds = [Ended::Invalid, Ended::Error, Ended::NotLive, Ended::Unknown].map(of);
        let kinds = kinds.iter().filter(|(_, n)| *n > 0).map(|(ended, n)| format!("{n} {}", ended.word()));
        parts.push(format!(
            "{} of {} ended otherwise than expected: {}",
            counts.unexpected,
            cells(counts.planned),
            kinds.collect::<Vec<_>>().join(", ")
        ));
    }
    let too_few = groups.iter().filter(|group| group.often_enough == Some(false)).count() as u64;
    if too_few > 0 {
        let verb = if too_few == 1 { "was" } else { "were" };
        parts.push(format!("{} {verb} not found often enough", units::plural(too_few, "expected violation")));
    }
    if parts.is_empty() && counts.not_run == 0 {
        parts.push(format!("all of {} ended as expected", cells(counts.planned)));
    } else if counts.not_run > 0 {
        let ended = counts.planned - counts.not_run;
        if parts.is_empty() {
            parts.push(format!("{ended} of {} ended, all as expected", cells(counts.planned)));
        }
        parts.push(format!(
            "{} {} not run",
            cells(counts.not_run),
            if counts.not_run == 1 { "was" } else { "were" }
        ));
    }
    if counts.missed > 0 && too_few == 0 {
        parts.push(format!("{} did not show the violation that others of its row did", cells(counts.missed)));
    }
    let mut text = parts.join("; ") + ".";
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        text.replace_range(..1, &first);
    }
    text
}
