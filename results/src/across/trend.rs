//! How failover times went from commit to commit.

use std::collections::BTreeMap;

use super::Sample;
use super::series::{Measure, Spread, series};
use crate::table::{Align, Table};

/// The runs of one commit on one day.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Day, `2026-11-22`.
    pub date: String,
    /// Commit, as the runs recorded it; `?` where they did not.
    pub commit: String,
    /// Runs.
    pub runs: usize,
    /// Times from fault to first acknowledged write per series, by [`super::Series::name`].
    pub series: Vec<(String, Spread)>,
}

/// Points in order of time: of the first run of each commit on each day.
pub fn points(samples: &[Sample]) -> Vec<Point> {
    let mut days: BTreeMap<(String, String), Vec<Sample>> = BTreeMap::new();
    for sample in samples {
        let summary = &sample.summary;
        let date = summary.started_at.get(..10).unwrap_or("?").to_owned();
        let commit = summary.versions.iter().find(|(name, _)| name == "commit");
        let commit = commit.map_or("?", |(_, commit)| commit.get(..12).unwrap_or(commit)).to_owned();
        days.entry((date, commit)).or_default().push(sample.clone());
    }
    let mut points: Vec<(String, Point)> = days
        .into_iter()
        .map(|((date, commit), samples)| {
            let first = samples.iter().map(|sample| sample.summary.started_at.clone()).min();
            let series = series(&samples)
                .iter()
                .map(|series| (series.name(), series.spread(Measure::Total)))
                .filter(|(_, spread)| spread.n > 0)
                .collect();
            (first.unwrap_or_default(), Point { date, commit, runs: samples.len(), series })
        })
        .collect();
    points.sort_by(|a, b| a.0.cmp(&b.0));
    points.into_iter().map(|(_, point)| point).collect()
}

/// Names of all series, sorted.
pub fn names(points: &[Point]) -> Vec<&str> {
    let mut names: Vec<&str> =
        points.iter().flat_map(|point| point.series.iter().map(|(name, _)| name.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// For a terminal: a row a point and series.
pub fn text(points: &[Point]) -> String {
    let mut table = Table::new(&[
        ("date", Align::Left),
        ("commit", Align::Left),
        ("runs", Align::Right),
        ("fault · variant", Align::Left),
        ("n", Align::Right),
        ("median", Align::Right),
        ("p95", Align::Right),
    ]);
    for point in points {
        for (name, spread) in &point.series {
            table.row([
                point.date.clone(),
                point.commit.clone(),
                point.runs.to_string(),
                name.clone(),
                spread.n.to_string(),
                spread.told("median", spread.median),
                spread.told("p95", spread.p95),
            ]);
        }
    }
    table.text()
}
