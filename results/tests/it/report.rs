//! The page and the terminal's ending: what must be in them, and that nothing gets out of its place.

use checker::{Anomaly, Verdict};
use results::explain::{self, Mood, headline};
use results::messages::{self, Fate, MessageLine};
use results::summary::Liveness;
use results::{Report, RunFolder, layout, table};
use tempfile::TempDir;

use crate::synthetic::{self, Run};

fn render(run: &Run) -> String {
    let logs = ["harness.log".into(), "nodes/s0r1/redis #1.log".into()];
    let notes = ["history.jsonl ends in mid-line 3".to_owned()];
    report(run, &notes, &logs).render().unwrap()
}

fn report<'a>(run: &'a Run, notes: &'a [String], logs: &'a [std::path::PathBuf]) -> Report<'a> {
    Report {
        summary: &run.summary,
        history: &run.history,
        node_events: &run.events,
        messages: &[],
        notes,
        logs,
    }
}

/// Where each of these stands, each after the one before.
fn assert_in_order(page: &str, words: &[&str]) {
    let mut from = 0;
    for word in words {
        let at = page[from..].find(word).unwrap_or_else(|| panic!("{word:?} is missing or out of order"));
        from += at + word.len();
    }
}

#[test]
fn the_page_tells_the_run_from_verdict_to_command() {
    let page = render(&synthetic::run(1_500));
    assert!(page.starts_with("<!doctype html>\n<html lang"));
    assert_in_order(
        &page,
        &[
            ">Invalid</h1>",
            "1 contradiction in what clients were told",
            "The first: lost-update on key k17: process 4",
            "href=\"#anomaly-0\"",
            "Why",
            "history.jsonl ends in mid-line 3",
            "lost-update",
            "k17",
            "<pre>p4 |--w 93--|\n",
            "Show it on the timeline",
            "Key facts",
            "1,500",
            "5 of 6",
            "<canvas",
            "id=\"operations\"",
            "Failovers",
            "#0 kill",
            ">120<",
            ">810<",
            "Faults and their evidence",
            "s0r1 (master)",
            "packets dropped: 1204",
            "the signal did not arrive",
            "Plots",
            "Latency of every operation",
            "Operations per second",
            "Availability of each shard",
            "Failovers, phase by phase",
            "Distribution of failover times",
            "href=\"nodes/s0r1/redis%20%231.log\"",
            "Checkers",
            "coverage",
            "7.0.15",
            "Repeat this run",
            "shardstorm run --seed 42 --time-limit 30 --faults kill,pause,partition</pre>",
        ],
    );
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = render(&synthetic::run(1_500));
    for needle in
        ["src=", "@import", "url(", "<link", "<iframe", "import(", "fetch(", "XMLHttpRequest", "WebSocket"]
    {
        assert!(!page.contains(needle), "the page asks for more: {needle}");
    }
    let addresses: Vec<&str> = page.match_indices("http:").map(|(at, _)| &page[at..at + 26]).collect();
    assert!(addresses.iter().all(|a| *a == "http://www.w3.org/2000/svg"), "{addresses:?}");
    assert!(!page.contains("https:"));
    // And a browser would not let it.
    assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-"));
    assert_eq!(page.matches("http-equiv").count(), 1);
}

#[test]
fn the_page_of_a_long_run_stays_small() {
    let page = render(&synthetic::run(100_000));
    assert!(page.len() < 2_500_000, "{}", page.len());
}

#[test]
fn hostile_strings_stay_text() {
    let mut run = synthetic::run(300);
    let hostile = "<script>alert('x')</script>\"&";
    let anomaly = Anomaly {
        name: hostile.into(),
        key: hostile.into(),
        ops: vec![0, 1],
        reason: hostile.into(),
        drawing: format!("</pre>{hostile}"),
    };
    run.summary.verdict = Verdict::Invalid { anomalies: vec![anomaly] };
    run.summary.checkers = vec![(hostile.into(), Verdict::unknown(hostile))];
    run.summary.versions = vec![(hostile.into(), hostile.into())];
    run.summary.command = hostile.into();
    run.summary.error = Some(hostile.into());
    run.summary.spec.workload = hostile.into();
    for fault in &mut run.summary.faults {
        fault.kind = hostile.into();
        fault.target = hostile.into();
        fault.nodes = vec![hostile.into()];
        fault.evidence = vec![(hostile.into(), hostile.into())];
    }
    for failover in &mut run.summary.failovers {
        failover.to = hostile.into();
    }
    run.history.ops[0].node = Some(hostile.into());
    let page = render(&run);
    // The page's own: the operations, packed, and what draws them.
    assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (2, 2));
    assert!(!page.contains("</pre>&#60;/pre") && !page.contains("alert('x')"));
    assert!(page.contains("&#60;script&#62;") || page.contains("&lt;script&gt;"));
    assert_eq!(page.matches("<pre").count(), page.matches("</pre>").count());
}

#[test]
fn an_anomaly_is_told_with_the_order_tried_and_the_messages_around_it() {
    let mut run = synthetic::run(300);
    let (ops, texts) = (&mut run.history.ops, ["write", "write", "read", "read"]);
    for (i, (op, f)) in ops.iter_mut().zip(texts).enumerate() {
        (op.f, op.key, op.end, op.error) = (f.into(), "k17".into(), checker::OpEnd::Ok, None);
        (op.call, op.ret) = (2 * i as u64, 2 * i as u64 + 1);
        (op.input, op.output) = match i {
            0 | 1 => (serde_json::json!(i), serde_json::Value::Null),
            _ => (serde_json::Value::Null, serde_json::json!(3 - i)),
        };
    }
    let anomaly = Anomaly { ops: vec![0, 1, 2, 3], ..synthetic::anomaly() };
    let message = |label: &str, received_ns, fate| MessageLine {
        scene: messages::of_anomaly(&anomaly),
        sent_ns: 1_000_000,
        received_ns,
        from: "c0".into(),
        to: "s0r1".into(),
        label: label.into(),
        fate,
    };
    let heard =
        [message("SET k17 <1>", Some(1_000_000), Fate::Delivered), message("GET k17", None, Fate::Lost)];
    run.summary.verdict = Verdict::Invalid { anomalies: vec![anomaly] };
    let page = Report { messages: &heard, ..report(&run, &[], &[]) }.render().unwrap();
    assert_in_order(
        &page,
        &[
            "One order of them, as far as any comes",
            "<li>#0 process 0: write k17 0 → the register holds 0</li>",
            "<li>#1 process 1: write k17 1 → the register holds 1</li>",
            "<li>#2 process 2: read k17 → the register holds 1</li>",
            "does not fit",
            "#3 process 3: read k17: it returned 0, and the register holds 1",
            "Messages between the nodes around it",
            "s0r1",
            "SET k17 &lt;1&gt;",
            "GET k17",
        ],
    );
    let unheard = render(&run);
    assert!(unheard.contains("No messages between the nodes are kept of this moment"));
    run.summary.spec.target = "fake".into();
    assert!(render(&run).contains("The in-memory cluster has no network"));
}

#[test]
fn an_empty_run_has_a_page_that_says_so() {
    let mut run = synthetic::empty();
    run.summary.verdict = Verdict::unknown("no operation was invoked");
    run.summary.checkers.clear();
    run.summary.liveness = Liveness::NotJudged;
    run.summary.cut_short = Some("interrupted".into());
    let page = report(&run, &[], &[]).render().unwrap();
    for words in [
        ">Unknown</h1>",
        "no operation was invoked",
        "The run was cut short: interrupted.",
        "No failover happened in this run.",
        "No operation was recorded in this run.",
        "No fault was injected in this run.",
        "No checker has judged this run.",
    ] {
        assert!(page.contains(words), "{words:?} is missing");
    }
}

#[test]
fn hundreds_of_contradictions_are_counted_but_not_all_told() {
    let mut run = synthetic::run(300);
    run.summary.verdict = Verdict::Invalid { anomalies: vec![synthetic::anomaly(); 300] };
    let page = render(&run);
    assert_eq!(page.matches("<article").count(), 20);
    assert!(page.contains("<summary>17 more</summary>"));
    assert!(page.contains("And 280 more"));
}

#[test]
fn what_the_verdict_says_is_not_said_again() {
    let mut run = synthetic::empty();
    run.summary.cut_short = Some("interrupted".into());
    run.summary.verdict = Verdict::unknown("the run was cut short: interrupted");
    assert_eq!(render(&run).matches("interrupted").count(), 1);
    run.summary.verdict = Verdict::Valid;
    assert_eq!(render(&run).matches("interrupted").count(), 1);
}

#[test]
fn the_headline_never_masks_what_is_worse() {
    let mut summary = synthetic::run(100).summary;
    summary.error = Some("the disk is full".into());
    summary.liveness = Liveness::NotLive { bound_s: 20.0, why: vec!["shard 1 has no master".into()] };
    let title = |summary: &_| (headline(summary).title, headline(summary).mood);
    assert_eq!(title(&summary), ("Invalid".into(), Mood::Bad));
    summary.verdict = Verdict::Valid;
    assert_eq!(title(&summary), ("Not live".into(), Mood::Bad));
    summary.liveness = Liveness::NotJudged;
    assert_eq!(title(&summary), ("Harness failed".into(), Mood::Doubt));
    summary.error = None;
    assert_eq!(title(&summary), ("Valid".into(), Mood::Good));
    summary.verdict = Verdict::unknown("too little happened");
    assert_eq!(title(&summary), ("Unknown".into(), Mood::Doubt));
}

#[test]
fn the_terminal_hears_the_verdict_first_and_the_command_last() {
    let text = explain::ending(&synthetic::run(3_000).summary);
    assert_in_order(
        &text,
        &[
            "Invalid: ",
            "linearizable: invalid\n  lost-update on key k17: process 4",
            "      p4 |--w 93--|\n",
            "3,000 operations: ",
            "liveness: every shard took writes again 1.4 s after the last heal",
            "faults without effect: #5 pause on a ZooKeeper minority",
            "4 failovers",
            "repeat with: shardstorm run --seed 42 --time-limit 30 --faults kill,pause,partition\n",
        ],
    );
    assert!(text.ends_with("pause,partition\n"));
}

#[test]
fn the_failover_table_is_aligned() {
    let summary = synthetic::run(3_000).summary;
    let text = table::failovers(&summary.failovers, &summary.faults);
    let lines: Vec<&str> = text.lines().collect();
    let end_of_from = lines[1].find("from").unwrap();
    assert!(lines[2..6].iter().all(|line| line[end_of_from..].starts_with('s')), "{text}");
    let widths: Vec<usize> = lines[1..6].iter().map(|line| line.chars().count()).collect();
    assert!(widths.windows(2).all(|w| w[0] == w[1]), "{text}");
    assert_eq!(table::failovers(&[], &[]), "no failover happened\n");
}

#[test]
fn an_operation_is_told_in_one_line() {
    let mut op = synthetic::write(12, 0, 3, 12_304 * synthetic::MS, None, checker::OpEnd::Info);
    assert_eq!(
        explain::operation(&op),
        "#12 12.304 s p2 write 5 12 → nobody can say: timeout (s0r1, epoch 3)"
    );
    op.end = checker::OpEnd::Ok;
    op.error = None;
    op.f = "read".into();
    op.input = serde_json::Value::Null;
    op.output = 88.into();
    assert_eq!(explain::operation(&op), "#12 12.304 s p2 read 5 → ok 88 (s0r1, epoch 3)");
}

#[test]
fn logs_of_nodes_are_found_and_the_report_is_written_beside_them() {
    let store = TempDir::new().unwrap();
    let folder = RunFolder::create(store.path(), "x").unwrap();
    let node = folder.node("s0r1");
    std::fs::create_dir_all(node.join("data")).unwrap();
    for file in [node.join("redis.log"), node.join("data/x.log"), folder.harness_log()] {
        std::fs::write(file, "line\n").unwrap();
    }
    let logs = folder.logs();
    let names: Vec<String> = logs.iter().map(|log| log.display().to_string()).collect();
    assert_eq!(names, ["harness.log", "nodes/s0r1/data/x.log", "nodes/s0r1/redis.log"]);
    let run = synthetic::run(50);
    let path = report(&run, &[], &logs).write(&folder).unwrap();
    assert_eq!(path, folder.path().join(layout::REPORT));
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.contains("href=\"nodes/s0r1/redis.log\""));
}
