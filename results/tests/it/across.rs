//! Many runs told together: gathered, drawn, compared.

use std::fs;
use std::path::Path;

use checker::Verdict;
use results::across::compare::Finding;
use results::across::tally::{End, cells};
use results::across::{Measure, Sample, collect, compare, page, series, trend};
use results::plot::across::{AcrossData, AcrossPlot, trend as draw_trend};
use results::summary::{Failover, RunSummary};
use results::{Error, RunFile, RunFolder};
use tempfile::TempDir;

use crate::plots::assert_legible;
use crate::synthetic::{self, MS, S};

/// A run with one failover after a kill for each of these times, milliseconds.
fn run(variant: &str, times_ms: &[u64]) -> RunSummary {
    let mut summary = synthetic::run(0).summary;
    summary.spec.variant = variant.into();
    summary.verdict = Verdict::Valid;
    summary.failovers = (2..)
        .zip(times_ms)
        .map(|(epoch, &ms)| Failover {
            epoch,
            to: "s0r2".into(),
            fault: Some(0),
            fault_ns: Some(4 * S),
            suspected_ns: Some(4 * S + MS),
            first_ack_ns: Some(4 * S + ms * MS),
            ..Failover::default()
        })
        .collect();
    summary
}

fn sample(cell: &str, n: usize, summary: RunSummary) -> Sample {
    let folder = format!("20261122T143732Z-register-{n}");
    Sample { group: summary.spec.variant.clone(), cell: cell.into(), summary, folder }
}

fn samples(variant: &str, times_ms: &[u64]) -> Vec<Sample> {
    times_ms
        .chunks(3)
        .enumerate()
        .map(|(n, times)| sample("register · kill", n, run(variant, times)))
        .collect()
}

/// `n` runs in ten cells, every seventh of which broke a promise.
fn campaign(n: usize) -> Vec<Sample> {
    (0..n)
        .map(|i| {
            let mut summary = synthetic::run(300).summary;
            summary.spec.variant = if i % 2 == 0 { "hardened" } else { "course" }.into();
            if i % 7 != 0 {
                summary.verdict = Verdict::Valid;
            }
            for failover in &mut summary.failovers {
                let later = (i as u64 * 37 % 101) * 9 * MS;
                failover.first_ack_ns = failover.first_ack_ns.map(|ns| ns + later);
            }
            sample(&format!("workload {} & <faults>", i % 10), i, summary)
        })
        .collect()
}

#[test]
fn a_slowdown_is_found_and_noise_is_not() {
    let base: Vec<u64> = (0..15).map(|i| 500 + 37 * i % 200).collect();
    let slow: Vec<u64> = base.iter().map(|ms| ms * 3 / 2).collect();
    let again: Vec<u64> = (0..15).map(|i| 505 + 53 * i % 190).collect();
    let (a, b) = (samples("hardened", &base), samples("hardened", &slow));

    let worse = compare(&a, &b);
    assert_eq!(worse.families[0].name, "kill · hardened");
    assert_eq!((worse.families[0].finding, worse.slower_by(0.2).len()), (Finding::Slower, 1));
    assert!(worse.slower_by(0.6).is_empty(), "half as long again is not more than 60 %");
    assert!((worse.families[0].ratio.unwrap() - 1.5).abs() < 0.01);
    assert!(worse.families[0].ratio_interval.unwrap().holds(1.5));
    assert!(worse.text().contains("kill · hardened: B is slower"), "{}", worse.text());
    let mut open = b.clone();
    open[0].summary.failovers[0].first_ack_ns = None;
    assert!(compare(&a, &open).text().contains("14 (+1)"), "what never ended is told");

    assert_eq!(compare(&b, &a).families[0].finding, Finding::Faster);
    let same = compare(&a, &samples("hardened", &again));
    assert_eq!((same.families[0].finding, same.slower_by(0.0).len()), (Finding::NoDifference, 0));
}

#[test]
fn too_few_to_tell_is_said_and_is_no_slowdown() {
    let found = compare(&samples("hardened", &[500, 510, 520]), &samples("hardened", &[5_000, 5_100, 5_200]));
    assert_eq!(found.families[0].finding, Finding::TooFew);
    assert!(found.slower_by(0.2).is_empty());
    assert!(found.text().contains("nobody can say"), "{}", found.text());
    let nothing = compare(&[], &samples("hardened", &[500]));
    assert!(nothing.families.is_empty() && nothing.apart[0].contains("only B"), "{:?}", nothing.apart);
    assert!(nothing.text().contains("nothing to compare"));
}

#[test]
fn variants_are_compared_where_none_is_shared_and_kept_apart_where_some_are() {
    let (course, hardened) = (samples("course", &[900; 9]), samples("hardened", &[500; 9]));
    assert_eq!(compare(&course, &hardened).families[0].name, "kill");
    let both: Vec<Sample> = course.iter().chain(&hardened).cloned().collect();
    let found = compare(&both, &hardened);
    assert_eq!(found.families.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["kill · hardened"]);
    assert!(found.apart[0].starts_with("kill · course: only A"), "{:?}", found.apart);
}

#[test]
fn as_json_it_can_be_read_by_others() {
    let times: Vec<u64> = (0..12).map(|i| 500 + i).collect();
    let value = serde_json::to_value(compare(&samples("x", &times), &samples("x", &times))).unwrap();
    assert_eq!(
        (value["schema"].as_u64(), value["families"][0]["finding"].as_str()),
        (Some(1), Some("no-difference"))
    );
    assert_eq!(value["families"][0]["a"]["median"]["value_ns"].as_f64(), Some(505.5 * MS as f64));
}

#[test]
fn a_page_tells_the_verdict_first_links_every_run_and_needs_nothing_else() {
    let folder = TempDir::new().unwrap();
    let samples = campaign(20);
    let path = page::write(folder.path(), "nightly <b>", None, &samples).unwrap();
    let html = fs::read_to_string(path).unwrap();
    assert!(html.contains("20 runs, 3 of which broke a promise, in 3 of 10 cells:"), "{html}");
    for sample in &samples {
        assert!(html.contains(&format!("href=\"runs/{}/report.html\"", sample.folder)), "{}", sample.folder);
    }
    for plot in AcrossPlot::ALL {
        assert!(html.contains(&format!("<figure id=\"{}\">", plot.stem())), "{}", plot.stem());
    }
    assert!(!html.contains("<b>\"") && !html.contains("& <faults>") && html.contains("nightly &#60;b&#62;"));
    for outside in ["http://", "https://", "<script", "<link", "@import", "url("] {
        let elsewhere = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains(outside), "{outside}");
    }
    assert!(html.contains("<desc>") && html.contains("prefers-color-scheme: dark"));
}

#[test]
fn a_page_of_no_runs_and_one_of_good_ones() {
    assert!(page::render("x", None, &[]).unwrap().contains("There is no run to tell of."));
    let good: Vec<Sample> = campaign(7).split_off(1);
    assert!(page::render("x", None, &good).unwrap().contains("6 runs, and every one kept its promise."));
    let judged = page::Judged { exit_code: 2, sentence: "A weakness was not found." };
    let page = page::render("x", Some(judged), &good).unwrap();
    assert!(
        page.contains("<h1 class=\"doubt\">Unknown</h1>")
            && page.contains("A weakness was not found. 6 runs")
    );
    let mut one = campaign(2).split_off(1);
    one[0].summary.verdict = Verdict::unknown("too little happened");
    assert!(page::render("x", None, &one).unwrap().contains("<h1 class=\"doubt\">Unknown</h1>"));
}

#[test]
fn no_label_lies_on_another_in_any_picture_of_many_runs() {
    for n in [0, 1, 20, 60] {
        let samples = campaign(n);
        let (series, cells) = (series(&samples), cells(&samples));
        for plot in AcrossPlot::ALL {
            let picture = plot.draw(&AcrossData { series: &series, cells: &cells });
            assert_legible(&format!("{n} runs, {}", plot.stem()), &picture);
            assert!(n == 0 || !picture.caption.is_empty());
        }
        let mut days = samples;
        for (i, sample) in days.iter_mut().enumerate() {
            sample.summary.started_at = format!("2026-11-{:02}T00:00:00Z", i % 28 + 1);
        }
        assert_legible(&format!("trend of {n}"), &draw_trend(&trend::points(&days)));
    }
}

#[test]
fn cells_count_how_runs_ended() {
    let mut samples = campaign(21);
    samples[1].summary.verdict = Verdict::unknown("why");
    samples[11].summary.error = Some("it broke".into());
    let cells = cells(&samples);
    let all = |end| cells.iter().map(|cell| cell.count(end)).sum::<u64>();
    assert_eq!(End::ALL.map(all), [3, 1, 0, 1, 16]);
    let cell = cells.iter().find(|cell| cell.count(End::Failed) == 1).unwrap();
    assert_eq!((cell.runs.len(), cell.judged()), (2, 1));
    let violated = cells.iter().find(|cell| cell.count(End::Violated) > 0).unwrap();
    assert_eq!(violated.anomalies, [("lost-update".to_owned(), 1)]);
}

#[test]
fn points_of_a_trend_are_in_order_of_time_and_keep_commits_apart() {
    let mut samples = samples("hardened", &[500; 9]);
    for (sample, (at, commit)) in
        samples.iter_mut().zip([("2026-11-24", "bbb"), ("2026-11-22", "zzz"), ("2026-11-22", "aaa")])
    {
        sample.summary.started_at = format!("{at}T0{}:00:00Z", if commit == "aaa" { 9 } else { 1 });
        sample.summary.versions = vec![("commit".into(), commit.into())];
    }
    let points = trend::points(&samples);
    let order: Vec<_> = points.iter().map(|point| (point.commit.as_str(), point.runs)).collect();
    assert_eq!(order, [("zzz", 1), ("aaa", 1), ("bbb", 1)]);
    assert_eq!(points[0].series[0].0, "kill · hardened");
    assert!(trend::text(&points).contains("n = 3: no p95"));
}

fn write_run(store: &Path, judged: bool) {
    let run = synthetic::run(50);
    let folder = RunFolder::create(store, "register-1").unwrap();
    let spec = run.summary.spec.clone();
    folder.write_run(&RunFile::new(spec, run.summary.started_at.clone(), "x".into(), &[])).unwrap();
    if judged {
        folder.write_summary(&run.summary).unwrap();
    }
}

#[test]
fn runs_are_gathered_from_a_run_a_campaign_and_a_store() {
    let store = TempDir::new().unwrap();
    write_run(store.path(), true);
    write_run(store.path(), false);
    let campaign = store.path().join("20261122T150001Z-nightly");
    write_run(&campaign.join("runs"), true);
    write_run(&campaign.join("runs"), true);
    let shrink = store.path().join("20261122T150001Z-shrink-register-42");
    write_run(&shrink.join("runs"), true);
    fs::write(shrink.join("shrink.json"), "{}").unwrap();

    assert_eq!(
        collect(store.path()).unwrap().len(),
        3,
        "a run that was not judged, and those of a shrink, do not count"
    );
    let of_campaign = collect(&campaign).unwrap();
    assert_eq!((of_campaign.len(), of_campaign[0].cell.as_str()), (2, "register · kill, pause, partition"));
    let run = campaign.join("runs").join(&of_campaign[0].folder);
    assert_eq!(collect(&run).unwrap().len(), 1);
    assert_eq!(series(&of_campaign)[0].values(Measure::Total).len(), 4, "two kills a run");

    let empty = TempDir::new().unwrap();
    let refused = collect(empty.path()).unwrap_err();
    assert!(
        matches!(&refused, Error::NotARunFolder { .. })
            && refused.to_string().contains("no run that was judged")
    );
    assert!(collect(&store.path().join("nowhere")).unwrap_err().to_string().contains("does not exist"));
}
