//! One engine on history files: `cargo run --release -p checker --example engines -- ENGINE FILE…`.
//!
//! `ENGINE` is `plan` (what the checker does), `search` (registers without the help of unique values), `general`
//! (depth-first search for any model), `local` (forward sets for any model) or `unique`. For each file the verdict of all keys together, the least of
//! some runs in milliseconds, the most memory allocated meanwhile in MB, and what an unknown says. Reading the
//! file is not timed. `SECONDS` in the environment ends each file's runs (60 where it is not set).

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use checker::forward::Forward;
use checker::history::formats::{self, Leniency};
use checker::linear::{self, Search};
use checker::model::partitions;
use checker::model::register::{Register, RegisterPart};
use checker::plan::{self, Decision};
use checker::unique::{self, Unique};
use checker::{Budget, History, Stop};

/// The system's allocator, with its books open.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on unchanged; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let engine = args.next().ok_or("which engine? plan, search, general or unique")?;
    let seconds = std::env::var("SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let (mut total, mut unknown, mut slowest) = (0.0, 0, 0.0f64);
    for file in args {
        let history = read(&file)?;
        let parts: Vec<RegisterPart<'_>> = partitions(&history)
            .iter()
            .map(|part| RegisterPart::new(&history, &part.ops))
            .collect::<Result<_, _>>()?;
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        let (answer, ms) = least(&engine, &parts, seconds)?;
        let peak = (PEAK.load(Relaxed) - before) as f64 / 1e6;
        let name = file.rsplit('/').next().unwrap_or(&file);
        println!("{name:45} {answer:12.300} {ms:10.3} ms {peak:9.2} MB");
        (total, slowest) = (total + ms, slowest.max(ms));
        unknown += usize::from(answer.starts_with("unknown"));
    }
    println!("total {total:.3} ms, slowest {slowest:.3} ms, {unknown} unknown");
    Ok(())
}

fn read(file: &str) -> Result<History, Box<dyn Error>> {
    let bytes = match file.ends_with(".gz") {
        true => std::process::Command::new("gzip").arg("-dc").arg(file).output()?.stdout,
        false => std::fs::read(file)?,
    };
    Ok(History::from_events(formats::read(&bytes, None, Leniency::Lenient)?.events)?)
}

/// The answer and the least time of up to seven runs, within about two seconds if one takes long.
fn least(engine: &str, parts: &[RegisterPart<'_>], seconds: u64) -> Result<(String, f64), String> {
    let (mut best, mut answer) = (f64::MAX, String::new());
    let begin = Instant::now();
    for _ in 0..7 {
        let stop = Stop::default();
        let budget = Budget { stop: stop.clone(), ..Budget::default() };
        let (done, waits) = std::sync::mpsc::channel::<()>();
        let clock = std::thread::spawn(move || {
            if waits.recv_timeout(Duration::from_secs(seconds)).is_err() {
                stop.raise();
            }
        });
        let start = Instant::now();
        answer = judge(engine, parts, &budget)?;
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
        // The clock may have ended by itself.
        let _ = done.send(());
        clock.join().map_err(|_| "the clock broke")?;
        if begin.elapsed() > Duration::from_secs(2) {
            break;
        }
    }
    Ok((answer, best))
}

fn judge(engine: &str, parts: &[RegisterPart<'_>], budget: &Budget) -> Result<String, String> {
    let mut worst = String::from("legal");
    for part in parts {
        let found = match engine {
            "plan" => decided(plan::decide(part, budget)),
            "search" => decided(plan::by_search(part, budget)),
            "general" => match linear::search(&Register, &part.entries, budget) {
                Search::Linearizable { .. } => "legal".to_string(),
                Search::Impossible(_) => "illegal".to_string(),
                Search::OutOfBudget(deepest, _) => format!("unknown {deepest:?}"),
            },
            "local" => {
                let report = linear::local::pass(&Register, &part.entries, &[0], budget);
                match report.found {
                    Forward::Possible { .. } => "legal".to_string(),
                    Forward::Impossible { .. } => "illegal".to_string(),
                    Forward::TooLarge => format!("unknown {:?} after {}", report.ended_by, report.survived),
                }
            }
            "unique" => match unique::check(&part.entries, part.values_len()) {
                Unique::Legal => "legal".to_string(),
                Unique::Illegal(_) => "illegal".to_string(),
                other => format!("unknown {other:?}"),
            },
            _ => return Err(format!("no engine `{engine}`")),
        };
        if found != "legal" {
            worst = found;
        }
    }
    Ok(worst)
}

fn decided(decision: Decision) -> String {
    match decision {
        Decision::Legal => "legal".to_string(),
        Decision::Illegal(_) | Decision::Exhausted(_) => "illegal".to_string(),
        Decision::Unknown(undecided) => format!("unknown {undecided}"),
    }
}
