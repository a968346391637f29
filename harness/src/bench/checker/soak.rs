//! Registers judged event by event while they are generated, as in a run that does not end.

use anyhow::{Result, bail};
use checker::Event;
use checker::stream::{Live, Stop, Watch, WatchOptions};

use super::case::{Case, Source};
use super::generate::{EVENT_NS, Events};
use super::judge::{LATENCY, Measured};
use super::measure::{Cost, Repeat, cpu_now, median, ms, resident_bytes};

/// Client timeout of the simulated run, in nanoseconds.
const TIMEOUT_NS: u64 = 1_000_000_000;

/// Events generated at once; generating them is not measured.
const CHUNK: usize = 8_192;

/// What one pass over the history showed.
struct Pass {
    stop: Option<Stop>,
    cpu_ms: f64,
    ops: u64,
    /// Resident memory beyond what was there before the first event: the most of all looks, one a chunk.
    memory_bytes: u64,
    live: Live,
    /// History time from the wrong event to the one at which the watch stopped, in seconds.
    latency_s: Option<f64>,
}

/// Judges a generated history as it comes.
pub fn measure(case: &Case, repeat: Repeat) -> Result<Measured> {
    let Source::Generated(shape) = case.source else {
        bail!("{}: only generated histories are streamed", case.name)
    };
    let began = std::time::Instant::now();
    let mut passes = Vec::new();
    while passes.is_empty() || (passes.len() < repeat.runs && began.elapsed() < repeat.time_max) {
        passes.push(pass(Events::new(shape))?);
    }
    let mut cpu: Vec<f64> = passes.iter().map(|pass| pass.cpu_ms).collect();
    let most = |figure: fn(&Pass) -> u64| passes.iter().map(figure).max().unwrap_or(0);
    let last = &passes[passes.len() - 1];
    let cpu_ms = median(&mut cpu);
    let cost = Cost {
        cpu_ms,
        cpu_ms_min: cpu[0],
        cpu_ms_max: cpu[cpu.len() - 1],
        wall_ms: ms(began.elapsed()) / passes.len() as f64,
        memory_bytes: most(|pass| pass.memory_bytes),
        runs: passes.len(),
    };
    let mut figures = vec![
        ("operations per second".to_string(), last.ops as f64 / cpu_ms * 1e3),
        ("values held at most".to_string(), most(|pass| pass.live.groups as u64) as f64),
        ("stretches held at most".to_string(), most(|pass| pass.live.zones as u64) as f64),
        ("unseen writes held at most".to_string(), most(|pass| pass.live.unseen as u64) as f64),
    ];
    figures.extend(last.latency_s.map(|latency_s| (LATENCY.to_string(), latency_s)));
    let verdict = match &last.stop {
        None => "valid",
        Some(Stop::Violation(_)) => "invalid",
        Some(Stop::Undecidable(_)) => "unknown",
    };
    Ok(Measured { verdict: verdict.to_string(), operations: last.ops, cost, parts: Vec::new(), figures })
}

fn pass(mut events: Events) -> Result<Pass> {
    let before_bytes = resident_bytes();
    let options = WatchOptions { lag_ns: TIMEOUT_NS, ..WatchOptions::default() };
    let mut watch = Watch::new(options);
    let mut chunk: Vec<Event> = Vec::with_capacity(CHUNK);
    let mut pass =
        Pass { stop: None, cpu_ms: 0.0, ops: 0, memory_bytes: 0, live: Live::default(), latency_s: None };
    let mut position = 0;
    loop {
        chunk.extend(events.by_ref().take(CHUNK));
        let is_over = chunk.is_empty();
        let before = cpu_now();
        let mut stop = None;
        for event in chunk.drain(..) {
            position = event.index;
            if let Err(why) = watch.push(event) {
                stop = Some(why);
                break;
            }
        }
        pass.cpu_ms += ms(cpu_now() - before);
        pass.memory_bytes = pass.memory_bytes.max(resident_bytes().saturating_sub(before_bytes));
        let live = watch.live();
        pass.live = Live {
            groups: pass.live.groups.max(live.groups),
            zones: pass.live.zones.max(live.zones),
            unseen: pass.live.unseen.max(live.unseen),
        };
        pass.ops = watch.ops();
        if is_over || stop.is_some() {
            let before = cpu_now();
            pass.stop = stop.or_else(|| watch.finish().err());
            pass.cpu_ms += ms(cpu_now() - before);
            let wrong = events.planted().filter(|_| pass.stop.is_some());
            pass.latency_s = wrong.map(|wrong| (position - wrong) as f64 * EVENT_NS as f64 / 1e9);
            return Ok(pass);
        }
    }
}
