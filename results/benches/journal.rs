//! Events per second into the journal on disk, two per operation, by number of threads.
//!
//! Beside it, as a yardstick, the bare cost of the same `write(2)`s without formatting or numbering.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Instant;
use std::{env, thread};

use checker::{Event, EventKind, Process};
use results::Journal;
use serde_json::json;

const OPS: u64 = 400_000;

fn event(time_ns: u64, process: u64, kind: EventKind) -> Event {
    Event {
        index: 0,
        time_ns,
        process: Process::Client(process),
        kind,
        f: "write".into(),
        key: Some(json!("k17")),
        value: json!(time_ns),
        error: None,
        shard: Some(1),
        epoch: Some(3),
        node: Some("s1r2".into()),
    }
}

fn journal_ops_per_s(path: &Path, threads: u64, together: bool) -> f64 {
    let journal = Journal::create(path).expect("the bench's folder can be written");
    let begun = Instant::now();
    thread::scope(|scope| {
        for process in 0..threads {
            let journal = &journal;
            scope.spawn(move || {
                for i in 0..OPS / threads {
                    let mut pair =
                        [EventKind::Ok, EventKind::Invoke].map(|kind| event(i * 5_000, process, kind));
                    if together {
                        journal.append_all(&mut pair).expect("there is room");
                    } else {
                        pair.iter_mut().for_each(|event| {
                            journal.append(event).expect("there is room");
                        });
                    }
                }
            });
        }
    });
    OPS as f64 / begun.elapsed().as_secs_f64()
}

fn bare_ops_per_s(path: &Path) -> f64 {
    let line =
        serde_json::to_string(&event(123_456_789, 7, EventKind::Invoke)).expect("an event is plain") + "\n";
    let mut file =
        File::options().append(true).create_new(true).open(path).expect("the folder can be written");
    let begun = Instant::now();
    for _ in 0..2 * OPS {
        file.write_all(line.as_bytes()).expect("there is room");
    }
    OPS as f64 / begun.elapsed().as_secs_f64()
}

fn main() {
    if env::args().any(|arg| arg == "--test") {
        return; // `cargo test --benches` asks only whether it builds
    }
    let dir = env::var_os("BENCH_DIR").map_or_else(env::temp_dir, Into::into);
    let path = dir.join(format!("shardstorm-journal-{}.jsonl", std::process::id()));
    let measured = |name: &str, ops_per_s: f64| {
        let bytes = fs::metadata(&path).map_or(0, |meta| meta.len());
        println!("{name:<30} {:>9.0} operations/s, {} MB", ops_per_s, bytes / 1_000_000);
        let _ = fs::remove_file(&path);
    };
    for _ in 0..2 {
        measured("bare write(2)", bare_ops_per_s(&path));
        for threads in [1, 2, 4, 10] {
            let name = format!("journal, {threads} thread(s)");
            measured(&name, journal_ops_per_s(&path, threads, false));
            measured(&format!("{name}, pairs"), journal_ops_per_s(&path, threads, true));
        }
    }
}
