//! A campaign's folder and its renderers, with words that would break a careless one.

use results::campaign::folder::read_lines;
use results::campaign::summary::{Counts, Standing};
use results::campaign::{
    CampaignFolder, CampaignPlan, CampaignSummary, Case, Ended, Expectation, Expected, Group, Limits,
    Outcome, Rate, RunLine, State, github, junit, markdown,
};

const NASTY: &str = "k|1 ]]> <b>*x*</b> & \"q\" \u{1}\nnext: 100 %, `y`";

fn line(index: u32, attempt: u32) -> RunLine {
    RunLine {
        index,
        attempt,
        folder: Some(format!("runs/{index}-{attempt}")),
        exit_code: Some(1),
        verdict: Ended::Invalid,
        anomalies: vec!["stale-read".into()],
        reason: NASTY.into(),
        wall_s: 1.5,
        ended_at: "2026-11-28T07:00:00Z".into(),
        outcome: Outcome::Unexpected,
        why: "invalid (stale-read), expected valid".into(),
    }
}

fn rate(hits: u32, of: u32) -> Rate {
    Rate { hits, of, low: 0.0, high: 1.0 }
}

fn summary(cases: u32) -> CampaignSummary {
    let expectation = Expectation { verdict: Expected::Valid, anomalies: Vec::new(), at_least: 1.0 };
    let case = |index| Case {
        index,
        suite: "fake hardened register kill,pause".into(),
        name: format!("seed {index}, 10 s"),
        seed: index.into(),
        duration_s: 10.0,
        stands: Standing::Unexpected,
        verdict: Some(Ended::Invalid),
        again: Some(rate(2, 3)),
        runs: vec![line(index, 1), RunLine { verdict: Ended::Error, ..line(index, 2) }],
    };
    CampaignSummary {
        schema_version: 1,
        name: "c".into(),
        about: NASTY.into(),
        id: "0".into(),
        file: "c.toml".into(),
        started_at: "2026-11-28T06:00:00Z".into(),
        ended_at: "2026-11-28T07:00:00Z".into(),
        version: "0".into(),
        shard: None,
        missing_shards: vec![2],
        state: State::Stopped,
        stopped: "not all shards are there".into(),
        exit_code: 1,
        sentence: "All is lost.".into(),
        counts: Counts { planned: cases, unexpected: cases, runs: 2 * cases, ..Counts::default() },
        groups: vec![Group {
            target: "fake".into(),
            variant: "hardened".into(),
            workload: "register".into(),
            faults: "kill,pause".into(),
            expectation,
            planned: cases,
            as_expected: rate(0, cases),
            verdicts: vec![(Ended::Invalid, cases)],
            often_enough: None,
            wall_s: 3.0,
        }],
        cases: (0..cases).map(case).collect(),
    }
}

#[test]
fn words_of_a_run_do_not_become_markup() {
    let xml = junit::render(&summary(1)).unwrap();
    assert!(!xml.contains('\u{1}') && !xml.contains("]]>") && !xml.contains("<b>"), "{xml}");
    assert!(xml.contains("100 %, `y`") && xml.contains("tests=\"1\" failures=\"1\" errors=\"0\""), "{xml}");
    let page = markdown::render(&summary(1), "");
    assert!(
        !page.contains("<b>") && page.contains("k\\|1") && page.contains("**missing: shard 2**"),
        "{page}"
    );
    assert_eq!(page.lines().filter(|line| line.starts_with("| ")).count(), 2, "{page}");
    let annotation = github::annotations(&summary(1));
    assert_eq!(annotation.lines().count(), 2, "{annotation}");
    assert!(
        annotation.contains("title=fake hardened register kill%2Cpause seed 0%2C 10 s%3A invalid::"),
        "{annotation}"
    );
}

#[test]
fn a_violation_is_told_before_a_crash_and_what_is_too_much_is_counted() {
    let crash_first = Case {
        runs: vec![RunLine { verdict: Ended::Error, ..line(0, 1) }, line(0, 2), line(0, 3)],
        ..summary(1).cases.remove(0)
    };
    assert_eq!(crash_first.worst().map(|line| (line.verdict, line.attempt)), Some((Ended::Invalid, 2)));
    let many = summary(40);
    assert_eq!(github::annotations(&many).lines().count(), 10);
    assert!(github::annotations(&many).contains("title=32 more::"), "{}", github::annotations(&many));
    assert!(markdown::render(&many, "").contains("- and 15 more, in `campaign.json`"));
}

#[test]
fn a_line_that_was_cut_off_is_taken_away_and_the_others_stay() {
    let store = tempfile::tempdir().unwrap();
    let plan = CampaignPlan {
        schema_version: 1,
        name: "c".into(),
        about: String::new(),
        id: "0".into(),
        file: "c.toml".into(),
        planned_at: "2026-11-28T06:00:00Z".into(),
        shard: None,
        limits: Limits::default(),
        expectations: Vec::new(),
        cells: Vec::new(),
    };
    let folder = CampaignFolder::create(store.path(), &plan, "name = 'c'", &[]).unwrap();
    let (mut lines, none) = folder.lines().unwrap();
    assert!(none.is_empty());
    lines.append(&line(0, 1)).unwrap();
    lines.append(&line(1, 1)).unwrap();
    let whole = std::fs::read(folder.lines_file()).unwrap();
    for cut in 0..=whole.len() {
        std::fs::write(folder.lines_file(), &whole[..cut]).unwrap();
        let (mut lines, there) = folder.lines().unwrap();
        let ended = whole[..cut].iter().filter(|&&b| b == b'\n').count();
        assert_eq!(there.len(), ended, "cut at {cut}");
        lines.append(&line(7, 1)).unwrap();
        assert_eq!(read_lines(&folder.lines_file()).unwrap().len(), ended + 1, "cut at {cut}");
    }
    let (_, read) = CampaignFolder::open(folder.path()).unwrap();
    assert_eq!(read, plan);
    let newer =
        std::fs::read_to_string(folder.join("plan.json")).unwrap().replace("_version\": 1", "_version\": 2");
    std::fs::write(folder.join("plan.json"), newer).unwrap();
    let error = CampaignFolder::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("update shardstorm"), "{error}");
}
