//! The page of a campaign: one HTML file that opens offline, the verdict first.

use std::path::{Path, PathBuf};

use askama::Template;

use super::series::{Measure, Series, Spread, ns, series};
use super::tally::{Cell, End, cells};
use super::{Sample, trend};
use crate::error::Result;
use crate::failover::Phase;
use crate::layout;
use crate::plot::across::{self, AcrossData, AcrossPlot};
use crate::plot::picture::Picture;
use crate::plot::theme;
use crate::table::UNSEEN;
use crate::units;
use crate::writer::write_whole;

/// Anomalies named in one cell of the table; the runs' reports have all.
const ANOMALIES_TOLD: usize = 4;

/// Writes the page of these runs into a campaign's folder, as [`layout::REPORT`]; links lead to
/// `runs/<folder>/report.html`. Returns where it is.
pub fn write(folder: &Path, title: &str, judged: Option<Judged<'_>>, samples: &[Sample]) -> Result<PathBuf> {
    let path = folder.join(layout::REPORT);
    write_whole(&path, render(title, judged, samples)?.as_bytes())?;
    Ok(path)
}

/// What was made of the runs by who knew what to expect of them.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// The exit code that followed.
    pub exit_code: i32,
    /// One sentence.
    pub sentence: &'a str,
}

impl Judged<'_> {
    fn verdict(self, seen: &Verdict) -> Verdict {
        let (mood, title) = match self.exit_code {
            0 => ("good", "As expected"),
            1 => ("bad", "Invalid"),
            2 => ("doubt", "Unknown"),
            3 => ("bad", "Not live"),
            _ => ("bad", "Failed"),
        };
        Verdict { mood, title, sentence: format!("{} {}", self.sentence, seen.sentence) }
    }
}

/// Writes the pictures of these runs into a folder, as SVG and PNG; returns the files.
pub fn write_pictures(folder: &Path, samples: &[Sample]) -> Result<Vec<PathBuf>> {
    let (series, cells) = (series(samples), cells(samples));
    let data = AcrossData { series: &series, cells: &cells };
    let mut files = Vec::new();
    for plot in AcrossPlot::ALL {
        files.extend(plot.draw(&data).write(folder, plot.stem())?);
    }
    Ok(files)
}

/// The page.
pub fn render(title: &str, judged: Option<Judged<'_>>, samples: &[Sample]) -> Result<String> {
    let (series, cells) = (series(samples), cells(samples));
    let seen = verdict(samples.len() as u64, &cells);
    let data = AcrossData { series: &series, cells: &cells };
    let mut figures: Vec<Figure> = AcrossPlot::ALL
        .into_iter()
        .map(|plot| figure(plot.stem(), &plot.draw(&data)))
        .collect::<Result<_>>()?;
    let points = trend::points(samples);
    if points.len() > 1 {
        figures.push(figure("trend", &across::trend(&points))?);
    }
    let count = |end: End| cells.iter().map(|cell| cell.count(end)).sum::<u64>();
    let page = Page {
        dark_css: theme::dark_css(".plot"),
        title: title.to_owned(),
        when: when(samples),
        verdict: judged.map(|judged| judged.verdict(&seen)).unwrap_or(seen),
        ends: End::ALL.map(|end| (end.word(), end.sign(), end.mood(), units::count(count(end)))).to_vec(),
        facts: facts(samples),
        groups: groups(&cells),
        spreads: series.iter().map(SpreadRow::new).collect(),
        phase_names: Phase::ALL.map(Phase::mark).to_vec(),
        phases: series.iter().map(phase_row).collect(),
        figures,
        versions: versions(samples),
    };
    Ok(page.render()?)
}

fn figure(stem: &'static str, picture: &Picture) -> Result<Figure> {
    let svg = picture.to_svg().map_err(|why| crate::Error::Draw { plot: stem, why })?;
    // Sized by the page: the picture keeps its own measures in its view box alone.
    let body = svg.split_once("viewBox").map_or(svg.as_str(), |(_, rest)| rest);
    Ok(Figure {
        stem,
        title: picture.title.clone(),
        caption: picture.caption.clone(),
        svg: format!("<svg role=\"img\" viewBox{body}"),
    })
}

#[derive(Template)]
#[template(path = "across.html")]
struct Page {
    dark_css: String,
    title: String,
    when: String,
    verdict: Verdict,
    ends: Vec<(&'static str, &'static str, &'static str, String)>,
    facts: Vec<(&'static str, String, String)>,
    groups: Vec<GroupView>,
    spreads: Vec<SpreadRow>,
    phase_names: Vec<&'static str>,
    phases: Vec<(String, Vec<String>)>,
    figures: Vec<Figure>,
    versions: Vec<(String, String)>,
}

struct Verdict {
    mood: &'static str,
    title: &'static str,
    sentence: String,
}

struct Figure {
    stem: &'static str,
    title: String,
    caption: String,
    svg: String,
}

struct GroupView {
    name: String,
    cells: Vec<CellView>,
}

struct CellView {
    name: String,
    mood: &'static str,
    violated: String,
    interval: String,
    anomalies: String,
    median: String,
    timed: usize,
    runs: Vec<RunLink>,
}

struct RunLink {
    href: String,
    sign: &'static str,
    mood: &'static str,
    hint: String,
}

struct SpreadRow {
    name: String,
    n: usize,
    runs: usize,
    unfinished: usize,
    median: String,
    p95: String,
    p99: String,
    max: String,
    lost: String,
    stale: String,
}

impl SpreadRow {
    fn new(series: &Series) -> SpreadRow {
        let spread = series.spread(Measure::Total);
        let sum = |of: &dyn Fn(&crate::summary::Failover) -> Option<u64>| {
            let told: Vec<u64> = series.failovers.iter().filter_map(of).collect();
            if told.is_empty() { UNSEEN.to_owned() } else { units::count(told.iter().sum()) }
        };
        SpreadRow {
            name: series.name(),
            n: spread.n,
            runs: series.runs,
            unfinished: series.failovers.len() - spread.n,
            median: spread.told("median", spread.median),
            p95: spread.told("p95", spread.p95),
            p99: spread.told("p99", spread.p99),
            max: spread.max_ns.map_or_else(|| UNSEEN.to_owned(), ns),
            lost: sum(&|failover| failover.lost_writes),
            stale: sum(&|failover| failover.stale_reads),
        }
    }
}

fn phase_row(series: &Series) -> (String, Vec<String>) {
    let median = |phase: Phase| {
        let mut lengths: Vec<f64> =
            series.failovers.iter().filter_map(|f| f.phase_ns(phase)).map(|ns| ns as f64).collect();
        lengths.sort_unstable_by(f64::total_cmp);
        let spread = Spread::of(&lengths);
        spread.median.value_ns.map_or_else(|| UNSEEN.to_owned(), |value| units::ms(value as u64))
    };
    (series.name(), Phase::ALL.map(median).to_vec())
}

/// What is worst comes first: how many runs, how many of them broke a promise, in which cells.
fn verdict(runs: u64, cells: &[Cell<'_>]) -> Verdict {
    let count = |end: End| cells.iter().map(|cell| cell.count(end)).sum::<u64>();
    let (violated, kept) = (count(End::Violated), count(End::Kept));
    let of_runs = units::plural(runs, "run");
    let bad: Vec<String> = cells
        .iter()
        .filter(|cell| cell.count(End::Violated) > 0)
        .map(|cell| {
            format!("{}, {} ({} of {})", cell.group, cell.name, cell.count(End::Violated), cell.judged())
        })
        .collect();
    let rest = End::ALL[1..4].iter().filter(|&&end| count(end) > 0);
    let rest: Vec<String> = rest.map(|&end| format!("{} {}", count(end), end.word())).collect();
    let rest = if rest.is_empty() { String::new() } else { format!(" Besides: {}.", rest.join(", ")) };
    match violated {
        0 if runs == 0 => {
            Verdict { mood: "doubt", title: "Nothing", sentence: "There is no run to tell of.".to_owned() }
        }
        0 if kept == runs => Verdict {
            mood: "good",
            title: "Valid",
            sentence: format!("{of_runs}, and every one kept its promise."),
        },
        0 if count(End::NotLive) > 0 => Verdict {
            mood: "bad",
            title: "Not live",
            sentence: format!(
                "{of_runs}, none of which was seen to break its promise; {kept} kept it.{rest}"
            ),
        },
        0 => Verdict {
            mood: "doubt",
            title: "Unknown",
            sentence: format!(
                "{of_runs}, none of which was seen to break its promise; {kept} kept it.{rest}"
            ),
        },
        _ => {
            let shown = bad.len().min(6);
            let more = if bad.len() > shown {
                format!("; and {} cells more", bad.len() - shown)
            } else {
                String::new()
            };
            Verdict {
                mood: "bad",
                title: "Invalid",
                sentence: format!(
                    "{of_runs}, {violated} of which broke a promise, in {} of {}: {}{more}.{rest}",
                    bad.len(),
                    units::plural(cells.len() as u64, "cell"),
                    bad[..shown].join("; ")
                ),
            }
        }
    }
}

fn facts(samples: &[Sample]) -> Vec<(&'static str, String, String)> {
    let failovers = || samples.iter().flat_map(|sample| &sample.summary.failovers);
    let timed = failovers().filter(|failover| failover.total_ns().is_some()).count();
    let sum = |of: &dyn Fn(&crate::summary::Failover) -> Option<u64>| failovers().filter_map(of).sum::<u64>();
    let ops: u64 = samples.iter().map(|sample| sample.summary.counts.invoked).sum();
    let faults =
        samples.iter().flat_map(|sample| &sample.summary.faults).filter(|fault| fault.installed).count();
    vec![
        ("Operations", units::count(ops), "over all runs".to_owned()),
        ("Faults in effect", units::count(faults as u64), "each with evidence".to_owned()),
        (
            "Failovers",
            units::count(failovers().count() as u64),
            format!("{} timed from end to end", units::count(timed as u64)),
        ),
        (
            "Writes lost",
            units::count(sum(&|f| f.lost_writes)),
            "acknowledged, at a failover, at least".to_owned(),
        ),
        ("Stale reads", units::count(sum(&|f| f.stale_reads)), "around a failover, at least".to_owned()),
    ]
}

fn groups(cells: &[Cell<'_>]) -> Vec<GroupView> {
    let mut groups: Vec<GroupView> = Vec::new();
    for cell in cells {
        let view = cell_view(cell);
        match groups.last_mut().filter(|group| group.name == cell.group) {
            Some(group) => group.cells.push(view),
            None => groups.push(GroupView { name: cell.group.to_owned(), cells: vec![view] }),
        }
    }
    groups
}

fn cell_view(cell: &Cell<'_>) -> CellView {
    let worst = cell.runs.iter().map(|(_, end)| *end).min().unwrap_or(End::Kept);
    let mut anomalies: Vec<String> =
        cell.anomalies.iter().take(ANOMALIES_TOLD).map(|(name, runs)| format!("{name} ({runs})")).collect();
    if cell.anomalies.len() > ANOMALIES_TOLD {
        anomalies.push(format!("{} more", cell.anomalies.len() - ANOMALIES_TOLD));
    }
    let runs = cell.runs.iter().map(|(sample, end)| RunLink {
        href: format!("{}/{}/{}", layout::RUNS, encoded(&sample.folder), layout::REPORT),
        sign: end.sign(),
        mood: end.mood(),
        hint: format!("seed {}: {}", sample.summary.spec.seed, end.word()),
    });
    CellView {
        name: cell.name.to_owned(),
        mood: worst.mood(),
        violated: format!("{} of {}", cell.count(End::Violated), cell.judged()),
        interval: cell
            .violated()
            .map_or_else(|| UNSEEN.to_owned(), |i| format!("{:.0}–{:.0} %", i.low * 100.0, i.high * 100.0)),
        anomalies: if anomalies.is_empty() { UNSEEN.to_owned() } else { anomalies.join(", ") },
        median: cell.median_ns.map_or_else(|| UNSEEN.to_owned(), ns),
        timed: cell.timed,
        runs: runs.collect(),
    }
}

/// For a place in a link.
fn encoded(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'~');
    name.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// From the first run to the last.
fn when(samples: &[Sample]) -> String {
    let at = |text: &str| text.replace('T', " ").replace('Z', " UTC");
    let times = || samples.iter().map(|sample| sample.summary.started_at.as_str());
    match (times().min(), times().max()) {
        (Some(first), Some(last)) if first != last => format!("{} to {}", at(first), at(last)),
        (Some(first), _) => at(first),
        _ => String::new(),
    }
}

/// Of what took part, every version that was seen.
fn versions(samples: &[Sample]) -> Vec<(String, String)> {
    let mut versions: Vec<(String, Vec<String>)> = Vec::new();
    for (name, version) in samples.iter().flat_map(|sample| &sample.summary.versions) {
        match versions.iter_mut().find(|(known, _)| known == name) {
            Some((_, seen)) if seen.contains(version) => {}
            Some((_, seen)) => seen.push(version.clone()),
            None => versions.push((name.clone(), vec![version.clone()])),
        }
    }
    versions.into_iter().map(|(name, seen)| (name, seen.join(", "))).collect()
}
