//! Draws every picture there is of the runs in some folders, and their page: the gallery of `docs/plots.md`.
//!
//! `cargo run -p results --example gallery -- <folder to write to> <store, campaign or run>…`
//!
//! Pictures of one run are of the first run of the first folder that has the most failovers.

use std::path::PathBuf;
use std::time::Instant;
use std::{env, error, fs};

use checker::History;
use results::across::{collect, page, trend};
use results::plot::{Data, Plot, across};
use results::{RunFolder, layout};

fn main() -> Result<(), Box<dyn error::Error>> {
    let mut args = env::args().skip(1).map(PathBuf::from);
    let to = args.next().ok_or("give a folder to write to, and folders of runs")?;
    let from: Vec<PathBuf> = args.collect();
    fs::create_dir_all(&to)?;
    let mut samples = Vec::new();
    for folder in &from {
        samples.extend(collect(folder)?);
    }

    let first = from.first().ok_or("give folders of runs")?;
    let of_first = collect(first)?;
    let most = of_first.iter().rev().max_by_key(|sample| sample.summary.failovers.len());
    if let Some(sample) = most {
        let places =
            [first.clone(), first.join(&sample.folder), first.join(layout::RUNS).join(&sample.folder)];
        let place =
            places.iter().find(|place| place.join(layout::RUN).is_file()).ok_or("the run has gone")?;
        let record = RunFolder::open(place)?.read()?;
        let history = History::from_events(record.events.iter().cloned())?;
        let (faults, failovers) = (&sample.summary.faults, &sample.summary.failovers);
        let data = Data { history: &history, faults, failovers, node_events: &record.node_events };
        for plot in Plot::ALL {
            plot.draw(&data).write(&to, plot.stem())?;
        }
        println!("one run: {}", place.display());
    }

    let begun = Instant::now();
    let path = page::write(&to, "gallery", None, &samples)?;
    println!("{} runs, {} after {:?}", samples.len(), path.display(), begun.elapsed());
    page::write_pictures(&to, &samples)?;
    across::trend(&trend::points(&samples)).write(&to, "trend")?;
    println!("all drawn after {:?}", begun.elapsed());
    Ok(())
}
