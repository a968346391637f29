//! What a campaign leaves for programs and people, written anew as it goes on.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use results::RunFolder;
use results::across::{Sample, page};
use results::campaign::summary::Standing;
use results::campaign::{CampaignFolder, CampaignSummary, github, junit, markdown};
use results::layout;
use results::writer::{write_json, write_whole};

/// `campaign.json`, `junit.xml` and `summary.md`; `report.html` when no more is run.
pub fn write(folder: &CampaignFolder, summary: &CampaignSummary) -> Result<()> {
    write_json(&folder.join(layout::CAMPAIGN), summary)?;
    write_whole(&folder.join(layout::JUNIT), junit::render(summary)?.as_bytes())?;
    write_whole(&folder.join(layout::SUMMARY), markdown::render(summary, "").as_bytes())?;
    Ok(())
}

/// The same when no more is run, with what CI engines take and what is said on the terminal.
pub fn finish(folder: &CampaignFolder, summary: &CampaignSummary) -> Result<()> {
    write(folder, summary)?;
    if let Err(error) = draw_report(folder, summary) {
        eprintln!("shardstorm: the campaign's report could not be drawn: {error:#}");
    }
    print!("{}", told(folder.path(), summary));
    if std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true") {
        print!("{}", github::annotations(summary));
    }
    if let Some(page) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|page| !page.is_empty()) {
        let page = Path::new(&page);
        let text = markdown::render(summary, &folder.path().display().to_string());
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(page);
        let written = file
            .as_mut()
            .map_err(|error| error.to_string())
            .and_then(|file| writeln!(file, "{text}").map_err(|error| error.to_string()));
        written.map_err(anyhow::Error::msg).with_context(|| format!("failed to write {}", page.display()))?;
    }
    Ok(())
}

/// Draws the campaign's own page, of all runs that left a verdict.
fn draw_report(folder: &CampaignFolder, summary: &CampaignSummary) -> Result<()> {
    let runs = summary.cases.iter().flat_map(|case| case.runs.iter().map(move |run| (case, run)));
    let mut samples = Vec::new();
    for (case, run) in runs {
        let Some(name) = &run.folder else { continue };
        let Some(ended) = RunFolder::open(&folder.join(name)).and_then(|run| run.read_summary())? else {
            continue;
        };
        let name = name.strip_prefix("runs/").unwrap_or(name);
        samples.push(Sample {
            group: case.suite.clone(),
            // Seeds are samples of one cell.
            cell: case.name.replace(&format!("seed {}, ", case.seed), ""),
            summary: ended,
            folder: name.to_owned(),
        });
    }
    let judged = page::Judged { exit_code: summary.exit_code, sentence: &summary.sentence };
    page::write(folder.path(), &summary.name, Some(judged), &samples)?;
    Ok(())
}

/// What the terminal says in the end.
fn told(path: &Path, summary: &CampaignSummary) -> String {
    let mut text = format!("\n{}\n", summary.sentence);
    for case in summary.cases.iter().filter(|case| case.stands == Standing::Unexpected) {
        let Some(worst) = case.worst() else { continue };
        text += &format!("\n{} {}: {}\n", case.suite, case.name, worst.why);
        if !worst.reason.is_empty() {
            text += &format!("  {}\n", worst.reason);
        }
        let again = case.again_words();
        if !again.is_empty() {
            text += &format!("  {again}\n");
        }
        if let Some(run) = &worst.folder {
            text += &format!("  {}\n", path.join(run).join(layout::REPORT).display());
        }
    }
    for group in summary.groups.iter().filter(|group| group.often_enough.is_some()) {
        text +=
            &format!("{}: {} as expected, {}\n", group.suite(), group.as_expected.words(), group.expectation);
    }
    if !summary.stopped.is_empty() {
        text += &format!(
            "stopped: {}; go on with: shardstorm campaign resume {}\n",
            summary.stopped,
            path.display()
        );
    }
    text + &format!("summary: {}\n", path.join(layout::SUMMARY).display())
}
