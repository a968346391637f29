//! Recorded histories, verdict in the name. `examples/record.rs` made them.

use std::path::Path;

use checker::history::parse_bytes;
use checker::{Budget, Checker, Coverage, Linearizable, Verdict};

/// What each invalid recording must be called, one anomaly a key.
const NAMES: [(&str, &[&str]); 6] = [
    ("bit-flip", &["fabricated-value", "fabricated-value"]),
    ("double-cas", &["split-cas", "lost-update"]),
    ("late-abort", &["aborted-read"]),
    ("lost-write", &["stale-read", "lost-update"]),
    ("split-brain", &["lost-update", "stale-read"]),
    ("stale-read", &["lost-update"]),
];

#[test]
fn every_recording_is_judged_as_its_name_says() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"));
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|file| file.expect("readable").path())
        .collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    for path in files {
        let file = path.file_name().and_then(|name| name.to_str()).expect("a name").to_string();
        let mut words = file.split('.');
        let (name, verdict) = (words.next().expect("a name"), words.next().expect("a verdict"));
        let parsed =
            parse_bytes(&std::fs::read(&path).expect("readable")).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(parsed.note.is_some(), name.starts_with("cut"), "{file}");
        let history = parsed.into_history().unwrap_or_else(|error| panic!("{file}: {error}"));
        let found = Linearizable.check(&history, &Budget::default());
        assert_eq!(found.word(), verdict, "{file}: {found:#?}");
        if let Verdict::Invalid { anomalies } = found {
            let names: Vec<&str> = anomalies.iter().map(|anomaly| anomaly.name.as_str()).collect();
            let expected = NAMES.iter().find(|(recorded, _)| *recorded == name).expect("a known recording").1;
            anomalies.iter().for_each(|a| println!("{file} {}: {}\n{}", a.name, a.reason, a.drawing));
            assert_eq!(names, expected, "{file}");
        }
        let coverage = Coverage { ok_per_function_min: 3, ..Coverage::of_faults(1) };
        assert_eq!(coverage.check(&history, &Budget::default()), Verdict::Valid, "{file}");
    }
}
