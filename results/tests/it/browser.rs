//! The page in a real browser: headless Chromium opens the file and says what became of it.
//!
//! Where there is no Chromium these tests say so and pass; under `CI` they fail.

use std::path::{Path, PathBuf};
use std::process::Command;

use checker::{Anomaly, Verdict};
use results::Report;
use tempfile::TempDir;

use crate::devtools::Hand;
use crate::synthetic::{self, Run};

/// A browser without a window that sees nothing but the file: whoever asks a name server gets no answer.
pub const ALONE: [&str; 8] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--disable-background-networking",
    "--disable-sync",
];

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|folder| NAMES.map(|name| folder.join(name)))
        .find(|program| program.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "there is no chromium: install the package of that name");
        eprintln!("skipped: there is no chromium on this machine");
    }
    found
}

/// What a page looked like when it had come to rest.
struct Seen {
    dom: String,
    log: String,
}

impl Seen {
    /// What the page says of itself in an attribute of its body.
    fn data(&self, name: &str) -> &str {
        let start = self.dom.find("<body").unwrap_or_else(|| panic!("no page: {}", self.log));
        let body = &self.dom[start..start + self.dom[start..].find('>').unwrap()];
        let value = body.split_once(&format!("data-{name}=\"")).map(|(_, rest)| rest);
        value.and_then(|rest| rest.split('"').next()).unwrap_or_else(|| panic!("no data-{name} in {body}"))
    }
}

/// Opens a page and waits until it has come to rest. Its clock runs ahead whenever it only waits.
fn open(browser: &Path, page: &Path, fragment: &str, flags: &[&str]) -> Seen {
    run(browser, page, fragment, &[&["--virtual-time-budget=20000"], flags].concat())
}

fn run(browser: &Path, page: &Path, fragment: &str, flags: &[&str]) -> Seen {
    let profile = TempDir::new().unwrap();
    let output = Command::new(browser)
        .args(ALONE)
        .args(["--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(flags)
        .arg(format!("file://{}{fragment}", page.display()))
        .output()
        .unwrap();
    Seen {
        dom: String::from_utf8_lossy(&output.stdout).into_owned(),
        log: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn write(run: &Run, to: &Path) -> PathBuf {
    let report = Report {
        summary: &run.summary,
        history: &run.history,
        node_events: &run.events,
        messages: &[],
        notes: &[],
        logs: &[],
    };
    let page = to.join("report.html");
    std::fs::write(&page, report.render().unwrap()).unwrap();
    page
}

/// A run with an anomaly on key 3, proved by three writes around 10 s.
fn run_with_proof() -> Run {
    let mut run = synthetic::run(6_000);
    let ops = run.history.ops.iter().filter(|op| op.key == 3 && op.call_ns > 10 * synthetic::S).take(3);
    let anomaly = Anomaly { key: "3".into(), ops: ops.map(|op| op.index).collect(), ..synthetic::anomaly() };
    run.summary.verdict = Verdict::Invalid { anomalies: vec![anomaly] };
    run
}

fn anomaly(run: &Run) -> &Anomaly {
    match &run.summary.verdict {
        Verdict::Invalid { anomalies } => &anomalies[0],
        _ => panic!("the run has an anomaly"),
    }
}

#[test]
fn the_timeline_is_drawn_and_the_browser_has_nothing_to_object_to() {
    let Some(browser) = browser() else { return };
    let folder = TempDir::new().unwrap();
    let page = write(&synthetic::run(6_000), folder.path());
    let seen = open(&browser, &page, "", &[]);
    assert!(!seen.log.contains("CONSOLE"), "{}", seen.log);
    assert_eq!((seen.data("ready"), seen.data("in-view")), ("6000", "6000"));
    let status = "6,000 operations: ";
    assert!(seen.dom.contains(status), "the status says what is in view");
    assert!(!seen.dom.contains("data-error"));
}

#[test]
fn an_anomaly_s_address_stands_at_the_operations_that_prove_it() {
    let Some(browser) = browser() else { return };
    let folder = TempDir::new().unwrap();
    let run = run_with_proof();
    let page = write(&run, folder.path());
    let seen = open(&browser, &page, "#anomaly-0", &[]);
    assert!(!seen.log.contains("CONSOLE"), "{}", seen.log);
    let proof = anomaly(&run);
    let indices: Vec<String> = proof.ops.iter().map(u64::to_string).collect();
    assert_eq!(seen.data("chosen"), indices.join(","));
    let (from, to) = seen.data("view").split_once(',').unwrap();
    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
    let ops: Vec<_> = run.history.ops.iter().filter(|op| proof.ops.contains(&op.index)).collect();
    for op in &ops {
        let end = op.ret_ns.unwrap_or(op.call_ns) / 1_000;
        assert!(op.call_ns / 1_000 > from && end < to, "{op:?} is not between {from} and {to}");
    }
    let span = (ops[2].ret_ns.unwrap() - ops[0].call_ns) / 1_000;
    assert!(to - from < 2 * span, "the window is no wider than it has to be");
    let others = run.history.ops.iter().filter(|op| op.key == 3);
    let in_view = others.filter(|op| (from..to).contains(&(op.call_ns / 1_000))).count();
    assert_eq!(seen.data("in-view"), in_view.to_string(), "only operations on its key are shown");
    let side = seen.dom.split_once("data-part=\"side\"").unwrap().1;
    let side = &side[..side.find("</aside>").unwrap()];
    for words in ["lost-update", "the new master of epoch 3 never had it", "p4 |--w 93--|"] {
        assert!(side.contains(words), "{words:?} is not beside the timeline");
    }
    for op in ops {
        assert!(side.contains(&format!("#{} process", op.index)));
    }
}

#[test]
fn other_addresses_lead_to_a_window_or_an_operation() {
    let Some(browser) = browser() else { return };
    let folder = TempDir::new().unwrap();
    let page = write(&synthetic::run(6_000), folder.path());
    let seen = open(&browser, &page, "#t=12.3,12.9", &[]);
    assert_eq!(seen.data("view"), "12300000,12900000");
    let seen = open(&browser, &page, "#op=1204", &[]);
    assert_eq!(seen.data("chosen"), "1204");
    assert!(seen.dom.contains("#1204 by process 4"));
}

#[test]
fn a_phone_shows_it_without_scrolling_sideways_and_a_broken_address_is_no_harm() {
    let Some(browser) = browser() else { return };
    let folder = TempDir::new().unwrap();
    let page = write(&run_with_proof(), folder.path());
    // A window cannot be as narrow as a phone: the page is put into a frame that is.
    let outer = folder.path().join("phone.html");
    let frame = r##"<!doctype html><body><iframe src="report.html#anomaly-0" style="width:360px;height:700px;border:0"></iframe>
        <script>addEventListener("load", () => setTimeout(() => {
          const page = document.querySelector("iframe").contentDocument;
          const { scrollWidth, clientWidth } = page.documentElement;
          document.body.dataset.wide = scrollWidth > clientWidth ? `${scrollWidth} in ${clientWidth}` : clientWidth <= 360;
          document.body.dataset.ready = page.body.dataset.ready;
        }, 3000));</script></body>"##;
    std::fs::write(&outer, frame).unwrap();
    let seen = open(&browser, &outer, "", &["--allow-file-access-from-files"]);
    assert_eq!((seen.data("ready"), seen.data("wide")), ("6000", "true"));
    for fragment in ["#anomaly-99", "#t=9,3", "#op=99999999", "#nothing"] {
        let seen = open(&browser, &page, fragment, &[]);
        assert_eq!((seen.data("ready"), seen.data("in-view")), ("6000", "6000"), "{fragment}");
    }
}

/// The part of the run that is in view, microseconds.
fn in_view(hand: &mut Hand) -> (f64, f64) {
    let view = hand.value("document.body.dataset.view");
    let (from, to) = view.as_str().unwrap().split_once(',').unwrap();
    (from.parse().unwrap(), to.parse().unwrap())
}

/// Does something, and waits until another part is in view; the part before, and after.
fn moved(hand: &mut Hand, what: &str, act: impl FnOnce(&mut Hand)) -> ((f64, f64), (f64, f64)) {
    let before = in_view(hand);
    act(hand);
    let still = format!("{},{}", before.0, before.1);
    hand.until(what, "document.body.dataset.view", |view| view != &still);
    // What glides has to arrive.
    let mut after = in_view(hand);
    loop {
        std::thread::sleep(std::time::Duration::from_millis(250));
        let now = in_view(hand);
        if now == after {
            return (before, after);
        }
        after = now;
    }
}

fn width((from, to): (f64, f64)) -> f64 {
    to - from
}

#[test]
fn mouse_wheel_keys_and_fingers_move_the_timeline() {
    let Some(browser) = browser() else { return };
    let folder = TempDir::new().unwrap();
    let page = write(&synthetic::run(6_000), folder.path());
    let mut hand = Hand::at(&browser, &page);
    let place = "(() => { const view = document.querySelector('[data-part=view]'); view.scrollIntoView({ block: 'center' });
                 const box = view.getBoundingClientRect(); return [box.left, box.top, box.width, box.height]; })()";
    let place: Vec<f64> = serde_json::from_value(hand.value(place)).unwrap();
    let [left, top, wide, high] = place[..] else { panic!("{place:?}") };
    let at = |x: f64| (left + wide * x, top + high * 0.8);
    let whole = in_view(&mut hand);

    // Before it was clicked, the wheel is the page's.
    hand.wheel(at(0.5), 1.0);
    assert_eq!(in_view(&mut hand), whole);
    hand.mouse("mousePressed", at(0.5));
    hand.mouse("mouseReleased", at(0.5));
    hand.until("the timeline has the focus", "document.activeElement.dataset.part ?? ''", |part| {
        part == "view"
    });
    let (before, after) = moved(&mut hand, "the wheel zooms in", |hand| hand.wheel(at(0.5), -240.0));
    assert!(width(after) < 0.8 * width(before), "{before:?} {after:?}");
    let (before, after) = moved(&mut hand, "a drag pans", |hand| {
        hand.mouse("mousePressed", at(0.7));
        hand.mouse("mouseMoved", at(0.6));
        hand.mouse("mouseMoved", at(0.4));
        hand.mouse("mouseReleased", at(0.4));
    });
    assert!(after.0 > before.0 && (width(after) / width(before) - 1.0).abs() < 0.01, "{before:?} {after:?}");

    let (before, after) = moved(&mut hand, "an arrow pans", |hand| hand.key("ArrowLeft"));
    assert!(after.0 < before.0 && (width(after) / width(before) - 1.0).abs() < 0.01, "{before:?} {after:?}");
    let (before, after) = moved(&mut hand, "plus zooms in", |hand| hand.key("+"));
    assert!(width(after) < width(before), "{before:?} {after:?}");
    let (before, after) = moved(&mut hand, "minus zooms out", |hand| hand.key("-"));
    assert!(width(after) > width(before), "{before:?} {after:?}");
    hand.key(".");
    let first = hand.until("an operation is chosen", "document.body.dataset.chosen", |chosen| chosen != "");
    hand.key(".");
    hand.until("the next one is", "document.body.dataset.chosen", |chosen| chosen != "" && *chosen != first);
    hand.key("Escape");
    hand.until("none is", "document.body.dataset.chosen", |chosen| chosen == "");

    let (before, after) = moved(&mut hand, "two fingers zoom in", |hand| {
        hand.touch("touchStart", &[at(0.45), at(0.55)]);
        hand.touch("touchMove", &[at(0.4), at(0.6)]);
        hand.touch("touchMove", &[at(0.3), at(0.7)]);
        hand.touch("touchEnd", &[]);
    });
    assert!(width(after) < 0.6 * width(before), "{before:?} {after:?}");
    let (before, after) = moved(&mut hand, "one finger pans", |hand| {
        hand.touch("touchStart", &[at(0.6)]);
        hand.touch("touchMove", &[at(0.5)]);
        hand.touch("touchMove", &[at(0.3)]);
        hand.touch("touchEnd", &[]);
    });
    assert!(after.0 > before.0 && (width(after) / width(before) - 1.0).abs() < 0.01, "{before:?} {after:?}");
    let (_, after) = moved(&mut hand, "Home shows the whole run", |hand| hand.key("Home"));
    assert_eq!(after, whole);
}

#[test]
fn a_page_that_reaches_out_is_noticed() {
    let Some(browser) = browser() else { return };
    let folder = TempDir::new().unwrap();
    let page = write(&synthetic::run(50), folder.path());
    let text = std::fs::read_to_string(&page).unwrap();
    // Whatever gets into the page, its policy stops it, and says so.
    std::fs::write(
        &page,
        text.replace(
            "<main>",
            "<main><img src=\"other.png\"><script>document.body.dataset.broken = 1</script>",
        ),
    )
    .unwrap();
    let seen = open(&browser, &page, "", &[]);
    assert!(seen.log.contains("Content Security Policy"), "{}", seen.log);
    assert!(!seen.dom.contains("data-broken"));
}

/// Figures, not a law: `cargo nextest run -p results --run-ignored only million --no-capture`, best with `--release`.
#[test]
#[ignore = "a measure: takes half a minute"]
fn a_million_operations_open_and_zoom() {
    let Some(browser) = browser() else { return };
    let folder = TempDir::new().unwrap();
    let long = synthetic::long(1_000_000);
    let begun = std::time::Instant::now();
    let page = write(&long, folder.path());
    let drawn = begun.elapsed();
    let size = page.metadata().unwrap().len();
    // By the wall clock.
    let seen = run(&browser, &page, "#measure", &["--timeout=30000"]);
    println!(
        "written in {drawn:.1?}, {:.1} MB, ready after {} ms, frames of a flight from the whole run to one operation \
         (median, 99 %, longest): {} ms",
        size as f64 / 1e6,
        seen.data("ready-ms"),
        seen.data("frames")
    );
    assert!(size < 25_000_000);
}
