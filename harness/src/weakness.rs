//! How reliably each weakness is found: runs with the faults that expose it, counted.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use cluster::weakness::{self, Weakness};

use crate::cli::WeaknessArgs;
use crate::exit::{Exit, UsageError};
use crate::rate::wilson_words;

/// A weakness with the faults and flags of a run that exposes it.
struct Exhibit {
    weakness: &'static str,
    /// Name and text of a file of faults.
    faults: (&'static str, &'static str),
    flags: &'static [&'static str],
}

/// The file of faults of this name in `campaigns/weaknesses`.
macro_rules! faults {
    ($name:literal) => {
        ($name, include_str!(concat!("../../campaigns/weaknesses/", $name, ".toml")))
    };
}

const fn exhibit(
    weakness: &'static str,
    faults: (&'static str, &'static str),
    flags: &'static [&'static str],
) -> Exhibit {
    Exhibit { weakness, faults, flags }
}

/// Seconds of load are the first flag of each.
const EXHIBITS: &[Exhibit] = &[
    exhibit("no-wait", faults!("isolated-master"), &["18"]),
    exhibit("wait-ignored", faults!("isolated-master"), &["18"]),
    exhibit("local-reads", faults!("isolated-master"), &["18"]),
    exhibit("promote-without-votes", faults!("lagging-heir"), &["20"]),
    exhibit("restarted-votes", faults!("empty-voter"), &["21"]),
    exhibit("no-fence", faults!("cut-replication"), &["19"]),
    exhibit("own-clock-lease", faults!("stopped-agent-cut-redis"), &["22"]),
    exhibit("old-view", faults!("stopped-node"), &["18"]),
    exhibit("vote-by-offset", faults!("long-tail"), &["19", "--concurrency", "64"]),
    exhibit("late-follow", faults!("stopped-agent"), &["21"]),
    exhibit("early-admission", faults!("early-voter"), &["15"]),
    exhibit("blind-retry", faults!("lossy-master"), &["17"]),
    exhibit("stale-ring", ("none", ""), &["20", "--reshard"]),
    exhibit(
        "lock-without-token",
        faults!("cut-clients"),
        &["24", "--workload", "lock", "--concurrency", "24"],
    ),
    exhibit("lock-sequence-token", faults!("cut-clients"), &["24", "--workload", "lock"]),
    exhibit("cached-members", faults!("cut-clients"), &["24", "--workload", "members"]),
];

/// How some runs of one exhibit ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    runs: u32,
    invalid: u32,
    /// Ended otherwise than valid or invalid.
    failed: u32,
}

/// Runs each weakness with its faults, or with `--control` the hardened cluster under the same, and tells how
/// often the checkers objected.
pub fn weakness(args: &WeaknessArgs) -> Result<Exit> {
    let chosen = chosen(&args.names)?;
    let folder = std::path::absolute(&args.store)?.join("weaknesses");
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    println!("{:22} {:>7}  {:>15}  difference", "weakness", "found", "95 % interval");
    let mut as_expected = true;
    let mut failed = 0;
    for (exhibit, weakness) in chosen {
        let tally = run_all(exhibit, args, &folder)?;
        as_expected &= tally.invalid == if args.control { 0 } else { tally.runs };
        failed += tally.failed;
        let found = format!("{}/{}", tally.invalid, tally.runs);
        let interval = wilson_words(tally.invalid, tally.runs);
        println!("{:22} {found:>7}  {interval:>15}  {}", weakness.name, weakness.about);
    }
    if failed > 0 {
        eprintln!(
            "shardstorm: {failed} runs ended without a verdict; their output is in {}",
            folder.display()
        );
        return Ok(Exit::Harness);
    }
    Ok(if as_expected { Exit::Valid } else { Exit::Invalid })
}

fn chosen(names: &[String]) -> Result<Vec<(&'static Exhibit, &'static Weakness)>> {
    let usage = |message: String| anyhow::Error::from(UsageError(message));
    let find = |name: &str| EXHIBITS.iter().find(|exhibit| exhibit.weakness == name);
    let all: Vec<&'static Exhibit> = if names.is_empty() {
        EXHIBITS.iter().collect()
    } else {
        let no_run = |name: &String| {
            usage(format!("{name}: no run exposes it reliably; the tests of the crate `cluster` show it"))
        };
        let named = names.iter().map(|name| {
            weakness::named(name).map_err(usage)?;
            find(name).ok_or_else(|| no_run(name))
        });
        named.collect::<Result<_>>()?
    };
    all.into_iter().map(|exhibit| Ok((exhibit, weakness::named(exhibit.weakness).map_err(usage)?))).collect()
}

fn run_all(exhibit: &Exhibit, args: &WeaknessArgs, folder: &Path) -> Result<Tally> {
    let (name, text) = exhibit.faults;
    let file = folder.join(format!("{name}.toml"));
    std::fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
    let (time_limit, flags) = exhibit.flags.split_first().expect("every exhibit has a time limit");
    let mut tally = Tally::default();
    for seed in args.seed..args.seed + u64::from(args.runs) {
        let log = folder.join(format!("{}-{seed}.log", exhibit.weakness));
        let output =
            std::fs::File::create(&log).with_context(|| format!("failed to write {}", log.display()))?;
        let mut run = Command::new("/proc/self/exe");
        run.args(["run", "--shards", "1", "--time-limit", time_limit, "--seed", &seed.to_string()]);
        run.arg("--store").arg(folder).arg("--faults");
        match text {
            "" => run.arg(name),
            _ => run.arg(&file),
        };
        run.args(flags);
        if !args.control {
            run.args(["--weaken", exhibit.weakness]);
        }
        run.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let code = run.status().context("failed to start a run")?.code();
        tally.runs += 1;
        match code {
            Some(0) => {}
            Some(1) => tally.invalid += 1,
            Some(254) => bail!("a run was refused: {}", std::fs::read_to_string(&log)?.trim_end()),
            _ => tally.failed += 1,
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nemesis::{Limits, Schedule};

    #[test]
    fn every_exhibit_names_a_weakness_and_faults_that_fit_its_run() {
        for exhibit in EXHIBITS {
            assert!(weakness::named(exhibit.weakness).is_ok(), "{}", exhibit.weakness);
            let (name, text) = exhibit.faults;
            let time_limit_ms = exhibit.flags[0].parse::<u64>().unwrap() * 1000;
            let limits = Limits { time_limit_ms, shards: 1, replicas: 3, zookeepers: 3 };
            let schedule = Schedule::from_toml(text, &limits, 1);
            assert!(schedule.is_ok(), "{name}: {}", schedule.unwrap_err());
        }
    }

    #[test]
    fn the_page_of_weaknesses_has_them_all() {
        let page = include_str!("../../docs/weaknesses.md");
        for weakness in cluster::weakness::WEAKNESSES {
            assert!(page.contains(&format!("| `{}` |", weakness.name)), "{} is missing", weakness.name);
        }
    }

    #[test]
    fn a_name_that_has_no_run_says_where_it_is_shown() {
        let message = |name: &str| chosen(&[name.to_string()]).err().unwrap().to_string();
        assert!(message("moat").contains("unknown weakness `moat`"));
        assert!(message("member-close-race").contains("the tests of the crate `cluster` show it"));
    }
}
