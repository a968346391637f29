//! Campaigns: a file becomes a plan of runs, each run a process of its own, and all of them one folder.
//!
//! ```text
//! file → Campaign → drafts (matrix) → CampaignPlan ─┐
//!                                                   ├→ Book → Session → RunLine a run
//!                               runs.jsonl → lines ─┘            │
//!                                          conclude ←────────────┘ → campaign.json, junit.xml, summary.md
//! ```
//!
//! A run has been when its line is on the disk, and not before: whatever ends a campaign, `resume` goes on from there.

mod child;
mod conclude;
mod ends;
mod estimate;
mod file;
mod flags;
mod matrix;
mod merge;
mod plan;
mod progress;
mod resume;
mod room;
mod runner;
mod source;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use results::campaign::{CampaignFolder, CampaignPlan, Shard};

use crate::cli::{CampaignArgs, CampaignCommand, CampaignFileArgs, CampaignResumeArgs};
use crate::exit::{Exit, UsageError};
use conclude::Circumstances;
use estimate::Estimates;
pub use merge::merge;
use plan::{Asks, Planned};
use resume::Book;
use room::Room;
use runner::{Session, Stop};

/// Between two writings of how a campaign stands while it goes on.
const STAND: Duration = Duration::from_secs(5);

/// Plans, runs, or goes on.
pub fn campaign(args: &CampaignArgs) -> Result<Exit> {
    match (&args.command, &args.run) {
        (Some(CampaignCommand::Plan(args)), _) => show(args),
        (Some(CampaignCommand::Run(args)), _) | (None, Some(args)) => begin(args),
        (Some(CampaignCommand::Resume(args)), _) => go_on(args),
        (None, None) => Err(UsageError("give a campaign file, like campaigns/smoke.toml".into()).into()),
    }
}

fn planned(args: &CampaignFileArgs) -> Result<Planned> {
    plan::plan(&args.file, args.first_seed, args.shard)
}

fn show(args: &CampaignFileArgs) -> Result<Exit> {
    let (planned, room) = (planned(args)?, Room::here(args.jobs)?);
    print!("{}", plan::describe(&planned, &Estimates::of_store(&args.store), &room));
    Ok(Exit::Valid)
}

fn begin(args: &CampaignFileArgs) -> Result<Exit> {
    let (planned, room) = (planned(args)?, Room::here(args.jobs)?);
    require(planned.asks)?;
    let store = std::path::absolute(&args.store).context("failed to find the current folder")?;
    let estimates = Estimates::of_store(&store);
    let folder = CampaignFolder::create(&store, &planned.plan, &planned.file, &planned.faults)?;
    eprint!("{}", opening(&folder, &planned.plan, &estimates, &room));
    sit(&folder, &planned.plan, room, estimates)
}

fn go_on(args: &CampaignResumeArgs) -> Result<Exit> {
    let room = Room::here(args.jobs)?;
    let (folder, plan) = CampaignFolder::open(&args.folder)?;
    if plan.own().any(|cell| cell.target != "fake") {
        require(Asks { cluster: true, disks: false })?;
    }
    let estimates = Estimates::of_store(folder.path().parent().unwrap_or(Path::new(".")));
    sit(&folder, &plan, room, estimates)
}

/// What the machine must offer, said before the first run and not by it.
fn require(asks: Asks) -> Result<()> {
    if asks.cluster {
        crate::doctor::require_for_run()?;
    }
    if asks.disks {
        crate::doctor::require_disks()?;
    }
    Ok(())
}

/// Runs what is left, and tells how it stands.
fn sit(folder: &CampaignFolder, plan: &CampaignPlan, room: Room, estimates: Estimates) -> Result<Exit> {
    let mut session = Session::open(folder, plan, room, estimates)?;
    let stand = |book: &Book<'_>, stop: Option<Stop>| {
        conclude::summary(plan, book.lines(), &Circumstances { stop, missing_shards: Vec::new() })
    };
    ends::write(folder, &stand(session.book(), None))?;
    let mut last = Instant::now();
    let ran = session.run(|book| {
        if last.elapsed() > STAND {
            last = Instant::now();
            if let Err(error) = ends::write(folder, &stand(book, None)) {
                eprintln!("shardstorm: how the campaign stands could not be written: {error:#}");
            }
        }
    });
    let stop = match ran {
        Ok(stop) => stop,
        Err(error) => {
            let _ = ends::write(folder, &stand(session.book(), Some(Stop::Broken))); // the first error is the one to tell
            return Err(error);
        }
    };
    let summary = stand(session.book(), Some(stop));
    ends::finish(folder, &summary)?;
    Ok(Exit::from_code(summary.exit_code))
}

fn opening(folder: &CampaignFolder, plan: &CampaignPlan, estimates: &Estimates, room: &Room) -> String {
    let runs = plan.own().map(|cell| (cell.target.as_str(), estimates.seconds(cell)));
    let (n, wall) = (plan.own().count() as u64, room.wall_s(runs));
    let shard = plan.shard.map(|shard| format!(", shard {shard}")).unwrap_or_default();
    format!(
        "shardstorm: campaign {}{shard}: {}, about {}, {room}\nshardstorm: in {}\n",
        plan.name,
        results::units::plural(n, "run"),
        results::units::seconds(wall),
        folder.path().display()
    )
}

/// `k/n`, as `--shard` takes it.
pub fn shard(text: &str) -> Result<Shard, String> {
    let parts =
        text.split_once('/').and_then(|(k, n)| Some((k.trim().parse().ok()?, n.trim().parse().ok()?)));
    match parts {
        Some((index, of)) if (1..=of).contains(&index) && of <= 10_000 => Ok(Shard { index, of }),
        _ => Err("expected k/n with k from 1 to n, like 2/4".into()),
    }
}
