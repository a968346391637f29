//! `summary.md`: how a campaign stands, for a pull request or the page of a CI run.

use super::line::{RunLine, told};
use super::summary::{CampaignSummary, Case, Group, Standing, State};
use crate::layout;
use crate::units;

/// Cells that are told one by one; the rest are in `campaign.json`.
const TOLD_MAX: usize = 25;

/// The whole page. `folder` is where links lead from: empty for a page in the campaign folder itself.
pub fn render(summary: &CampaignSummary, folder: &str) -> String {
    let mut text = format!("# Campaign {}: {}\n\n", plain(&summary.name), title(summary));
    if !summary.about.is_empty() {
        text += &format!("{}\n\n", plain(&summary.about));
    }
    text += &format!("**{}**\n\n", plain(&summary.sentence));
    text += &facts(summary);
    text += &table(summary);
    text += &section("Not as expected", summary, Standing::Unexpected, |case| failed(case, folder));
    text += &section("Expected, but did not show", summary, Standing::Missed, |case| missed(case, folder));
    let left: Vec<&Case> = summary.cases.iter().filter(|case| case.stands == Standing::NotRun).collect();
    if !left.is_empty() && summary.state != State::Running {
        text += &format!("## Not run\n\n{}", units::plural(left.len() as u64, "cell"));
        text += &format!(
            " of the plan; go on with `shardstorm campaign resume`. The first: {}.\n\n",
            plain(&named(left[0]))
        );
    }
    text
}

fn title(summary: &CampaignSummary) -> &'static str {
    match (summary.exit_code, summary.state) {
        (_, State::Running) => "under way",
        (0, State::Complete) => "as expected",
        (0, _) => "as expected, not complete",
        (1, _) => "a promise was broken",
        (2, _) => "not sure",
        (3, _) => "not live",
        _ => "the harness failed",
    }
}

fn facts(summary: &CampaignSummary) -> String {
    let mut facts = vec![
        format!("{} to {}", summary.started_at, summary.ended_at),
        format!(
            "{} of {}",
            units::plural(u64::from(summary.counts.runs), "run"),
            units::plural(u64::from(summary.counts.planned), "cell")
        ),
        format!("exit code {}", summary.exit_code),
        format!("shardstorm {}", summary.version),
    ];
    if let Some(shard) = &summary.shard {
        facts.push(format!("shard {shard}"));
    }
    if !summary.missing_shards.is_empty() {
        let names: Vec<String> = summary.missing_shards.iter().map(ToString::to_string).collect();
        facts.push(format!("**missing: shard {}**", names.join(", ")));
    }
    if !summary.stopped.is_empty() {
        facts.push(format!("stopped: {}", plain(&summary.stopped)));
    }
    format!("{}\n\n", facts.join(" · "))
}

fn table(summary: &CampaignSummary) -> String {
    let mut text = String::from(
        "| | target | variant | workload | faults | expected | runs | as expected | verdicts | time |\n\
         |---|---|---|---|---|---|---:|---:|---|---:|\n",
    );
    for group in &summary.groups {
        let verdicts =
            group.verdicts.iter().filter(|(_, n)| *n > 0).map(|(ended, n)| format!("{n} {}", ended.word()));
        let rate = group.as_expected;
        let share = match (rate.of, group.counts_share()) {
            (0, _) => "–".to_owned(),
            (_, true) => rate.words(),
            _ => format!("{} of {}", rate.hits, rate.of),
        };
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {share} | {} | {} |\n",
            mark(group),
            plain(&group.target),
            plain(&group.variant),
            plain(&group.workload),
            plain(&group.faults),
            plain(&group.expectation.to_string()),
            group.planned,
            verdicts.collect::<Vec<_>>().join(", "),
            units::seconds(group.wall_s),
        );
    }
    text + "\n"
}

/// A word, not a colour: this is read aloud, too.
fn mark(group: &Group) -> &'static str {
    let rate = group.as_expected;
    match group.often_enough {
        Some(true) => "ok",
        Some(false) => "**too few**",
        None if rate.of == 0 => "not run",
        None if rate.hits == rate.of => "ok",
        None if group.counts_share() => "open",
        None => "**not ok**",
    }
}

fn section(
    title: &str,
    summary: &CampaignSummary,
    stands: Standing,
    tell: impl Fn(&Case) -> String,
) -> String {
    let all: Vec<&Case> = summary.cases.iter().filter(|case| case.stands == stands).collect();
    if all.is_empty() {
        return String::new();
    }
    let mut text = format!("## {title}\n\n");
    all.iter().take(TOLD_MAX).for_each(|case| text += &tell(case));
    if all.len() > TOLD_MAX {
        text += &format!("- and {} more, in `{}`\n", all.len() - TOLD_MAX, layout::CAMPAIGN);
    }
    text + "\n"
}

fn failed(case: &Case, folder: &str) -> String {
    let Some(worst) = case.worst() else { return String::new() };
    let mut text = format!("- **{}**: {}", plain(&named(case)), plain(&worst.why));
    if !worst.reason.is_empty() {
        text += &format!("<br>{}", plain(&worst.reason));
    }
    let again = case.again_words();
    if !again.is_empty() {
        text += &format!("<br>{again}");
    }
    text + &format!("<br>{}\n", links(&case.runs, folder))
}

fn missed(case: &Case, folder: &str) -> String {
    let what = case.runs.first().map(|line| told(line.verdict, &line.anomalies)).unwrap_or_default();
    format!("- {}: {what} · {}\n", plain(&named(case)), links(&case.runs, folder))
}

fn links(runs: &[RunLine], folder: &str) -> String {
    let link = |line: &RunLine| {
        let name = format!("run {} ({})", line.attempt, line.verdict.word());
        match &line.folder {
            Some(run) if folder.is_empty() => format!("[{name}]({run}/{})", layout::REPORT),
            Some(run) => format!("{name}: `{folder}/{run}`"),
            None => name,
        }
    };
    runs.iter().map(link).collect::<Vec<_>>().join(" · ")
}

fn named(case: &Case) -> String {
    format!("{} {}", case.suite, case.name)
}

/// Text that neither ends a cell or a line, nor becomes a tag or emphasis.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
