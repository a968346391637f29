//! `junit.xml`: a suite per target, variant, workload and mix of faults, a test case per cell.
//!
//! In the dialect that Jenkins' schema `junit-10.xsd` describes and that the test pages of other CI engines read.

use askama::Template;

use super::line::{Ended, told};
use super::summary::{CampaignSummary, Case, Group, Standing, State};
use crate::error::Result;

#[derive(Template)]
#[template(path = "junit.xml")]
struct Page {
    name: String,
    tests: usize,
    failures: usize,
    errors: usize,
    time: String,
    suites: Vec<Suite>,
}

struct Suite {
    name: String,
    timestamp: String,
    failures: usize,
    errors: usize,
    skipped: usize,
    time: String,
    properties: Vec<(&'static str, String)>,
    cases: Vec<TestCase>,
}

struct TestCase {
    name: String,
    class: String,
    time: String,
    end: End,
    output: String,
}

/// How a test case ended.
enum End {
    Passed,
    /// Kind, sentence, text.
    Failed(&'static str, String, String),
    Broken(&'static str, String, String),
    Skipped(String),
}

/// The file. Runs that the budget left out are skipped, those without a verdict are errors.
pub fn render(summary: &CampaignSummary) -> Result<String> {
    let mut suites: Vec<Suite> = Vec::new();
    let mut names: Vec<String> = summary.groups.iter().map(Group::suite).collect();
    names.dedup();
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            continue;
        }
        suites.push(suite(summary, name));
    }
    let sum = |count: fn(&Suite) -> usize| suites.iter().map(count).sum();
    let page = Page {
        name: text(&summary.name),
        tests: sum(|suite| suite.cases.len()),
        failures: sum(|suite| suite.failures),
        errors: sum(|suite| suite.errors),
        time: seconds(summary.cases.iter().map(Case::wall_s).sum()),
        suites,
    };
    Ok(page.render()? + "\n")
}

fn suite(summary: &CampaignSummary, name: &str) -> Suite {
    let groups = || summary.groups.iter().filter(|group| group.suite() == name);
    let own = || summary.cases.iter().filter(|case| case.suite == name);
    let class = groups().next().map(|group| class(&summary.name, group)).unwrap_or_default();
    let mut cases: Vec<TestCase> = own().map(|case| test_case(summary, case, &class)).collect();
    cases.extend(groups().filter(|group| group.counts_share()).map(|group| share_case(group, &class)));
    let count = |is: fn(&End) -> bool| cases.iter().filter(|case| is(&case.end)).count();
    let properties = groups().next().map(|group| {
        let pairs = [
            ("target", &group.target),
            ("variant", &group.variant),
            ("workload", &group.workload),
            ("faults", &group.faults),
        ];
        pairs.into_iter().map(|(name, value)| (name, text(value))).collect()
    });
    Suite {
        name: text(name),
        // The schema knows no time zones here.
        timestamp: summary.started_at.trim_end_matches('Z').to_owned(),
        failures: count(|end| matches!(end, End::Failed(..))),
        errors: count(|end| matches!(end, End::Broken(..))),
        skipped: count(|end| matches!(end, End::Skipped(_))),
        time: seconds(own().map(Case::wall_s).sum()),
        properties: properties.unwrap_or_default(),
        cases,
    }
}

fn test_case(summary: &CampaignSummary, case: &Case, class: &str) -> TestCase {
    let end = match (case.stands, case.worst()) {
        (Standing::NotRun, _) => End::Skipped(match summary.state {
            State::Running => "not run yet".into(),
            _ if summary.stopped.is_empty() => "not run".into(),
            _ => text(&format!("not run: {}", summary.stopped)),
        }),
        (Standing::Unexpected, Some(worst)) => {
            let message = text(&worst.why);
            let again = case.again_words();
            let again = if again.is_empty() { again } else { format!("\n{again}") };
            let body = text(&format!("{}{again}", worst.reason));
            match worst.verdict {
                Ended::Error => End::Broken("error", message, body),
                Ended::NotLive => End::Failed("not-live", message, body),
                Ended::Unknown => End::Failed("unknown", message, body),
                Ended::Invalid | Ended::Valid => End::Failed("invalid", message, body),
            }
        }
        _ => End::Passed,
    };
    let lines = case.runs.iter().map(|line| {
        let folder = line.folder.as_deref().unwrap_or("no folder");
        format!(
            "run {}: {}, {:.1} s, {folder}\n",
            line.attempt,
            told(line.verdict, &line.anomalies),
            line.wall_s
        )
    });
    TestCase {
        name: text(&case.name),
        class: class.to_owned(),
        time: seconds(case.wall_s()),
        end,
        output: text(&lines.collect::<String>()),
    }
}

/// That a violation shows often enough is a test of its own.
fn share_case(group: &Group, class: &str) -> TestCase {
    let words = format!("{} as expected", group.as_expected.words());
    let end = match group.often_enough {
        Some(true) => End::Passed,
        Some(false) => End::Failed("not-found", "not found often enough".into(), text(&words)),
        None => End::Skipped("not all runs have ended".into()),
    };
    TestCase {
        name: text(&format!("expect {}", group.expectation)),
        class: class.to_owned(),
        time: seconds(0.0),
        end,
        output: text(&words),
    }
}

/// Dots part packages in every viewer; a name has none of its own.
fn class(campaign: &str, group: &Group) -> String {
    let parts = [campaign, &group.target, &group.variant, &group.workload, &group.faults];
    text(&parts.map(|part| part.replace(['.', '/', ' '], "-")).join("."))
}

fn seconds(s: f64) -> String {
    format!("{s:.3}")
}

/// XML 1.0 has no way to say most control characters.
fn text(text: &str) -> String {
    let legal = |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if legal(c) { c } else { '\u{fffd}' }).collect()
}
