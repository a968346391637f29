//! Draws the page and the pictures of the runs in a folder, to look at them.
//!
//! `cargo run -p results --example across -- <store, campaign or run> <folder to write to>`

use std::path::PathBuf;
use std::time::Instant;
use std::{env, error, fs};

use results::across::{collect, page, trend};

fn main() -> Result<(), Box<dyn error::Error>> {
    let mut args = env::args().skip(1).map(PathBuf::from);
    let (from, to) = args.next().zip(args.next()).ok_or("give a folder of runs, and one to write to")?;
    fs::create_dir_all(&to)?;
    let samples = collect(&from)?;
    let begun = Instant::now();
    let path = page::write(&to, "runs", &samples)?;
    println!("{} runs, {} after {:?}", samples.len(), path.display(), begun.elapsed());
    for file in page::write_pictures(&to, &samples)? {
        println!("{}", file.display());
    }
    let points = trend::points(&samples);
    results::plot::across::trend(&points).write(&to, "trend")?;
    print!("{}", trend::text(&points));
    println!("drawn in {:?}", begun.elapsed());
    Ok(())
}
