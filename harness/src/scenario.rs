//! Named scenarios: one lie on one link of unmodified servers, what comes of it, and what was expected.
//!
//! Each is a row of the catalogue of message faults (R: Redis replication, Z: a client and ZooKeeper, Q: inside the
//! ensemble, T: whole servers) as a play of few steps on servers of its own. It is played with the lie or, as a control, without.

mod ensemble;
mod pair;
mod quorum;
mod replication;
mod rig;
mod seen;
mod session;
mod stage;
mod table;
mod twins;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use results::RunFolder;
use results::writer::write_whole;
use serde::Serialize;

use crate::cli::{ScenarioArgs, ScenarioCommand, ScenarioRunArgs};
use crate::exit::{Exit, UsageError};
use nemesis::byzantine::score::Outcome;
use seen::Seen;
use stage::Stage;
use table::SCENARIOS;

/// One play.
pub struct Scenario {
    /// As the catalogue numbers it: `R6`.
    pub id: &'static str,
    /// What is done, in a line.
    pub title: &'static str,
    /// What is done to which messages, as a file of faults would say it.
    lies: &'static str,
    /// What comes of it on Redis 7.0 and ZooKeeper 3.8.
    pub expected: Outcome,
    play: fn(&Stage) -> Result<Seen>,
}

/// How a play ended: `scenario.json`.
#[derive(Debug, Serialize)]
struct Played {
    scenario: &'static str,
    title: &'static str,
    control: bool,
    lies: &'static str,
    expected: Outcome,
    seen: Outcome,
    as_expected: bool,
    messages_altered: u64,
    facts: Vec<(String, String)>,
    took_s: f64,
}

/// Lists scenarios, or plays some.
pub fn scenario(args: &ScenarioArgs) -> Result<Exit> {
    match &args.command {
        ScenarioCommand::List => {
            for scenario in SCENARIOS {
                println!("{:3}  {:16}  {}", scenario.id, scenario.expected.name(), scenario.title);
            }
            Ok(Exit::Valid)
        }
        ScenarioCommand::Run(args) => run(args),
    }
}

fn run(args: &ScenarioRunArgs) -> Result<Exit> {
    let named = |name: &String| {
        let known = || SCENARIOS.iter().map(|scenario| scenario.id).collect::<Vec<_>>().join(", ");
        let found = SCENARIOS.iter().find(|scenario| scenario.id.eq_ignore_ascii_case(name));
        found.ok_or_else(|| UsageError(format!("scenario {name}: unknown; use {}", known())))
    };
    let chosen: Vec<&'static Scenario> = match args.names.as_slice() {
        [] => SCENARIOS.iter().collect(),
        names => names.iter().map(named).collect::<Result<_, _>>()?,
    };
    crate::doctor::require_for_run()?;
    let store = std::path::absolute(&args.store).context("failed to find the current folder")?;
    let mut worst = Exit::Valid;
    for scenario in chosen {
        for repeat in 0..args.repeat {
            let seed = args.seed.wrapping_add(u64::from(repeat));
            worst = worst.worse(play(scenario, args.control, seed, &store)?);
        }
    }
    Ok(worst)
}

fn play(scenario: &'static Scenario, control: bool, seed: u64, store: &Path) -> Result<Exit> {
    let word = if control { "control" } else { "scenario" };
    let folder = RunFolder::create(store, &format!("{word}-{}-{seed}", scenario.id))?;
    let stage = Stage::new(scenario, folder.path(), control, seed);
    let began = Instant::now();
    let seen = (scenario.play)(&stage).with_context(|| format!("failed to play {}", scenario.id))?;
    let messages_altered = stage.applied();
    stage.write_strikes(&folder)?;
    // Nothing is altered in a control: then nothing may be wrong, whoever noticed the harm done beside it.
    let expected = if control { Outcome::Masked } else { scenario.expected };
    let outcome = match seen.observations(messages_altered.max(control.into())).outcome() {
        Outcome::RejectedClean if control => Outcome::Masked,
        outcome => outcome,
    };
    let played = Played {
        scenario: scenario.id,
        title: scenario.title,
        control,
        lies: scenario.lies,
        expected,
        seen: outcome,
        as_expected: outcome == expected,
        messages_altered,
        facts: seen.facts,
        took_s: began.elapsed().as_secs_f64(),
    };
    let json = serde_json::to_vec_pretty(&played).context("failed to write down what was seen")?;
    write_whole(&folder.path().join("scenario.json"), &json)?;
    print!("{}", told(&played));
    println!("  in {}\n", folder.path().display());
    Ok(if played.as_expected { Exit::Valid } else { Exit::Invalid })
}

/// A play for people.
fn told(played: &Played) -> String {
    let control = if played.control { ", nothing altered" } else { "" };
    let verdict = if played.as_expected { "as expected" } else { "NOT as expected" };
    let mut text = format!(
        "{}{control}: {}\n  expected {}, seen {}: {verdict}; {} messages altered, {:.1} s\n",
        played.scenario,
        played.title,
        played.expected.name(),
        played.seen.name(),
        played.messages_altered,
        played.took_s
    );
    for (what, seen) in &played.facts {
        text += &format!("    {what}: {seen}\n");
    }
    text
}
