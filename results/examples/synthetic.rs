//! Writes the pictures and the report of a run that never was into a folder, to look at them.
//!
//! `cargo run -p results --example synthetic -- <folder> [<operations>|empty|crowded]`

#[path = "../tests/it/synthetic.rs"]
#[expect(dead_code, reason = "shared with the tests, which use the rest")]
mod synthetic;

use std::path::PathBuf;
use std::{env, error};

use results::plot;
use results::{Report, RunFile, RunFolder, explain};

fn main() -> Result<(), Box<dyn error::Error>> {
    let mut args = env::args().skip(1);
    let store = PathBuf::from(args.next().ok_or("give a folder to write to")?);
    let run = match args.next().as_deref() {
        None => synthetic::run(6_000),
        Some("empty") => synthetic::empty(),
        Some("crowded") => synthetic::crowded(),
        Some(count) => synthetic::run(count.parse()?),
    };
    let folder = RunFolder::create(&store, "synthetic")?;
    let spec = run.summary.spec.clone();
    folder.write_run(&RunFile::new(
        spec,
        run.summary.started_at.clone(),
        run.summary.command.clone(),
        &[],
    ))?;
    folder.write_summary(&run.summary)?;
    let begun = std::time::Instant::now();
    let logs = ["harness.log", "nodes/s0r1/redis.log", "nodes/s0r1/agent.log", "nodes/zk1/zookeeper.log"]
        .map(PathBuf::from);
    let report = Report {
        summary: &run.summary,
        history: &run.history,
        node_events: &run.events,
        messages: &[],
        notes: &[],
        logs: &logs,
    };
    report.write(&folder)?;
    print!("{}", explain::ending(&run.summary));
    println!("report after {:?}", begun.elapsed());
    for file in plot::write_all(&folder, &report.data())? {
        println!("{} ({} kB)", file.display(), file.metadata()?.len() / 1000);
    }
    println!("drawn in {:?}", begun.elapsed());
    Ok(())
}
