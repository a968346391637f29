//! Pictures as readers meet them: legible, bounded, honest when there is nothing to see.

use std::fs;

use checker::{History, OpEnd};
use results::RunFolder;
use results::plot::picture::{Picture, Rect, Shape};
use results::plot::{Data, Plot, write_all};
use tempfile::TempDir;

use crate::synthetic::{self, MS, Run, S, write};

fn data(run: &Run) -> Data<'_> {
    Data {
        history: &run.history,
        faults: &run.summary.faults,
        failovers: &run.summary.failovers,
        node_events: &run.events,
    }
}

/// No label lies on another, and none leaves the paper.
pub fn assert_legible(name: &str, picture: &Picture) {
    let labels: Vec<_> = picture.labels().filter(|label| !label.text.is_empty()).collect();
    let paper = Rect::new(0.0, 0.0, picture.width, picture.height);
    for (i, label) in labels.iter().enumerate() {
        let bounds = label.bounds();
        let inside =
            bounds.x0 >= paper.x0 && bounds.x1 <= paper.x1 && bounds.y0 >= paper.y0 && bounds.y1 <= paper.y1;
        assert!(inside, "{name}: {:?} leaves the paper: {bounds:?}", label.text);
        for other in &labels[i + 1..] {
            assert!(!bounds.overlaps(&other.bounds()), "{name}: {:?} lies on {:?}", label.text, other.text);
        }
    }
}

#[test]
fn no_label_lies_on_another_in_any_picture() {
    let early = {
        let mut run = synthetic::run(40);
        run.history.ops.truncate(3);
        run.history.end_ns = 700 * MS;
        run.summary.faults.truncate(1);
        run
    };
    let runs = [
        ("usual", synthetic::run(6_000)),
        ("crowded", synthetic::crowded()),
        ("empty", synthetic::empty()),
        ("early", early),
    ];
    for (name, run) in &runs {
        for plot in Plot::ALL {
            assert_legible(&format!("{name} {}", plot.stem()), &plot.draw(&data(run)));
        }
    }
}

#[test]
fn an_empty_run_says_so_in_words() {
    let run = synthetic::empty();
    let words = ["No operation", "No operation", "No write", "No failover happened", "No failover was timed"];
    for (plot, words) in Plot::ALL.into_iter().zip(words) {
        let svg = plot.svg(&data(&run)).unwrap();
        assert!(svg.contains(words), "{}: {svg}", plot.stem());
    }
}

#[test]
fn every_picture_is_written_twice() {
    let store = TempDir::new().unwrap();
    let folder = RunFolder::create(store.path(), "x").unwrap();
    let files = write_all(&folder, &data(&synthetic::run(200))).unwrap();
    assert_eq!(files.len(), 2 * Plot::ALL.len());
    for file in &files {
        let bytes = fs::read(file).unwrap();
        match file.extension().unwrap().to_str().unwrap() {
            "svg" => {
                assert!(bytes.starts_with(b"<svg") && bytes.ends_with(b"</svg>\n"), "{}", file.display())
            }
            _ => assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 10_000, "{}", file.display()),
        }
    }
}

#[test]
fn a_long_run_draws_no_more_than_a_reader_can_see() {
    let run = synthetic::run(120_000);
    let svg = Plot::Latency.svg(&data(&run)).unwrap();
    assert!(svg.len() < 1_500_000, "{} bytes", svg.len());
    assert!(svg.contains("Darker where many fall together."));
}

#[test]
fn outcomes_differ_in_shape_not_only_in_colour() {
    let ends = [OpEnd::Ok, OpEnd::Fail, OpEnd::Info];
    let shapes: Vec<usize> = ends
        .into_iter()
        .map(|end| {
            let history =
                History { ops: vec![write(0, 0, 1, S, Some(2 * S), end)], faults: vec![], end_ns: 3 * S };
            let data = Data { history: &history, faults: &[], failovers: &[], node_events: &[] };
            // After the legend and the axes, the last mark is the operation's.
            let picture = Plot::Latency.draw(&data);
            match picture.marks.last().unwrap().shape {
                Shape::Dot(..) => 0,
                Shape::Polygon(..) => 1,
                Shape::Line(..) => 2,
                _ => panic!("an operation is drawn last"),
            }
        })
        .collect();
    assert_eq!(shapes, [0, 1, 2]);
}

#[test]
fn hostile_names_stay_text() {
    let mut run = synthetic::run(500);
    for fault in &mut run.summary.faults {
        fault.target = "<script>alert(1)</script>\u{0}\u{1b}[31m & \"co\"".into();
        fault.kind = "</svg><img src=x>".into();
    }
    for event in &mut run.events {
        event.node = "<b>\u{7}".into();
    }
    for plot in Plot::ALL {
        let svg = plot.svg(&data(&run)).unwrap();
        assert!(!svg.contains("<script") && !svg.contains("<img") && !svg.contains("<b>"), "{}", plot.stem());
        assert!(svg.chars().all(|c| c == '\n' || !c.is_control()), "{}", plot.stem());
        assert_eq!(svg.matches("</svg>").count(), 1, "{}", plot.stem());
    }
}
