//! Names on the command line, and what they stand for.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use checker::Checker;
use cluster::defence::Without;
use cluster::fake::FakeBug;
use cluster::weakness::{self, VARIANTS, WEAKNESSES, Weakness};
use nemesis::Family;
use results::spec::RunSpec;
use workloads::generator::Pace;
use workloads::keyed::Object;
use workloads::{
    Append, Bank, Counter, Keyed, KeyedOptions, Lock, LockOptions, Members, MembersOptions, Queue, Register,
    ReplicaReads, Set, Workload,
};

use crate::exit::UsageError;

/// A name and what it stands for, in a line.
pub type Entry = (&'static str, &'static str);

/// What can be tested.
pub const TARGETS: &[Entry] = &[
    ("zk-redis", "real Redis and ZooKeeper servers in network namespaces, every link through our fabric"),
    ("fake", "an in-memory cluster behind the same client: no privileges, no servers, any machine"),
];

/// Protocols of agents and clients.
pub fn variants() -> Vec<Entry> {
    VARIANTS.iter().map(|(name, about, _)| (*name, *about)).collect()
}

/// The weaknesses with these names.
pub fn weaknesses(names: &[String]) -> Result<Vec<&'static Weakness>> {
    names
        .iter()
        .map(|name| weakness::named(name).map_err(|e| UsageError(format!("--weaken: {e}")).into()))
        .collect()
}

/// The defences that a run leaves out; what its spec names was checked when it was planned.
pub fn without(spec: &RunSpec) -> Result<Without> {
    Ok(weakness::without(&spec.variant, &weaknesses(&spec.weaken)?))
}

/// The workload that means `--reshard`.
pub const RESHARDING: &str = "resharding";

/// What clients do.
pub const WORKLOADS: &[Entry] = &[
    ("register", "read, write and compare-and-set of unique values; linearizable per key"),
    ("set", "add unique elements, read all; linearizable per key"),
    ("append", "append unique elements to lists, read them whole; linearizable per key"),
    ("counter", "increment, read the count; linearizable per key"),
    ("queue", "enqueue unique values, dequeue the oldest; linearizable per key"),
    (
        "bank",
        "transfers between accounts of one bank, reads of all; linearizable per key, money stays the same",
    ),
    (RESHARDING, "that of register, while a shard is added and removed (--reshard)"),
    ("replica-reads", "writes at masters, reads at replicas; no read further behind than --staleness-s"),
    (
        "lock",
        "counting under a lock with fencing tokens; tokens grow, old ones are refused, every write counts",
    ),
    (
        "members",
        "join, leave and list a group; nobody missing, no ghost, nobody twice, nobody back from the dead",
    ),
];

/// What a workload is made from besides its name.
#[derive(Debug, Clone, Copy)]
pub struct WorkloadOptions {
    /// Fixes every input.
    pub seed: u64,
    /// How fast the workers go, for how long.
    pub pace: Pace,
    /// How far behind the reads of `replica-reads` may be.
    pub staleness_max: Duration,
}

/// What is done with a workload whose type is known only here.
pub trait ForWorkload {
    /// What comes of it.
    type Output;

    /// Does it.
    fn with<W>(self, workload: W) -> Result<Self::Output>
    where
        W: Workload + Send + Sync + 'static,
        W::Input: Send + Sync;
}

/// Makes the workload called `name` and hands it to `visitor`. The one place that knows all of them.
pub fn dispatch<V: ForWorkload>(name: &str, options: WorkloadOptions, visitor: V) -> Result<V::Output> {
    match name {
        "register" | RESHARDING => visitor.with(keyed(Register::default(), options)?),
        "set" => visitor.with(keyed(Set, options)?),
        "append" => visitor.with(keyed(Append, options)?),
        "counter" => visitor.with(keyed(Counter, options)?),
        "queue" => visitor.with(keyed(Queue, options)?),
        "bank" => visitor.with(keyed(Bank, options)?),
        "replica-reads" => {
            visitor.with(keyed(ReplicaReads { staleness_max: options.staleness_max }, options)?)
        }
        "lock" => visitor.with(Lock::new(LockOptions::new(options.seed, options.pace))),
        "members" => {
            let members = Members::new(MembersOptions::new(options.seed, options.pace));
            visitor.with(members.context("failed to make the workload members")?)
        }
        _ => one_of("--workload", name, WORKLOADS)
            .and_then(|()| Err(anyhow!("workload {name} is listed, but cannot be made"))),
    }
}

fn keyed<O: Object>(object: O, options: WorkloadOptions) -> Result<Keyed<O>> {
    let name = object.name();
    Keyed::new(object, KeyedOptions::new(options.seed, options.pace))
        .with_context(|| format!("failed to make the workload {name}"))
}

/// What judges histories of the workload called `name`.
pub fn checkers(name: &str, staleness_max: Duration) -> Result<Vec<Box<dyn Checker>>> {
    struct Checkers;
    impl ForWorkload for Checkers {
        type Output = Vec<Box<dyn Checker>>;
        fn with<W: Workload>(self, workload: W) -> Result<Self::Output> {
            Ok(workload.checkers())
        }
    }
    let pace = Pace { rate: 0.0, concurrency: 1, time_limit_ns: 0 };
    dispatch(name, WorkloadOptions { seed: 0, pace, staleness_max }, Checkers)
}

/// Where reads go.
pub const READS: &[Entry] = &[
    ("master", "the master of the key's shard"),
    ("replica", "any replica of the key's shard: stale by design"),
];

/// Checks that `name` is one of `entries`.
pub fn one_of(flag: &str, name: &str, entries: &[Entry]) -> Result<()> {
    if entries.iter().any(|(known, _)| *known == name) {
        return Ok(());
    }
    let known: Vec<_> = entries.iter().map(|(known, _)| *known).collect();
    Err(UsageError(format!("{flag} {name}: unknown; use {}", known.join(" or "))).into())
}

/// The bug of the fake cluster called `name`.
pub fn bug(name: &str) -> Result<FakeBug> {
    name.parse().map_err(|e| UsageError(format!("--bug: {e}")).into())
}

/// Everything that can be named, for `shardstorm list`.
pub fn describe() -> String {
    let faults: Vec<Entry> = Family::ALL.iter().map(|family| (family.name(), family.about())).collect();
    let variants = variants();
    let weaknesses: Vec<Entry> = WEAKNESSES.iter().map(|weakness| (weakness.name, weakness.about)).collect();
    let bugs: Vec<Entry> = FakeBug::ALL.iter().map(|bug| (bug.name(), bug.description())).collect();
    let models = crate::check::describe();
    let sections: [(&str, &[Entry]); 9] = [
        ("targets (--target)", TARGETS),
        ("variants (--variant)", &variants),
        ("weaknesses (--weaken; what each needs to show is in docs/weaknesses.md)", &weaknesses),
        ("workloads (--workload)", WORKLOADS),
        ("what histories of other tools can be judged as (check --model)", &models),
        ("reads (--reads)", READS),
        ("faults (--faults)", &faults),
        ("whom a fault strikes (in a TOML file of faults)", nemesis::targets::FORMS),
        ("bugs of the fake cluster (--target fake --bug)", &bugs),
    ];
    let mut text = String::new();
    for (title, entries) in sections {
        let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        text += &format!("{title}\n");
        for (name, about) in entries {
            text += &format!("  {name:width$}  {about}\n");
        }
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_that_is_listed_can_be_made_under_its_name() {
        struct Name;
        impl ForWorkload for Name {
            type Output = &'static str;
            fn with<W: Workload>(self, workload: W) -> Result<&'static str> {
                Ok(workload.name())
            }
        }
        let pace = Pace { rate: 1.0, concurrency: 1, time_limit_ns: 1 };
        let options = WorkloadOptions { seed: 1, pace, staleness_max: Duration::from_secs(1) };
        for (name, _) in WORKLOADS {
            // Resharding is what happens to the cluster meanwhile: its clients read and write registers.
            let made = if *name == "resharding" { "register" } else { *name };
            assert_eq!(dispatch(name, options, Name).unwrap(), made);
            assert!(!checkers(name, Duration::from_secs(1)).unwrap().is_empty());
        }
        let error = dispatch("song", options, Name).unwrap_err().to_string();
        assert!(error.contains("--workload song") && error.contains("register or set"), "{error}");
    }
}
