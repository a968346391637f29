//! Names on the command line, and what they stand for.

use anyhow::Result;
use cluster::defence::Without;
use cluster::fake::FakeBug;
use cluster::weakness::{self, VARIANTS, WEAKNESSES, Weakness};
use nemesis::Family;
use results::spec::RunSpec;

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

/// What clients do.
pub const WORKLOADS: &[Entry] = &[(
    "register",
    "read, write and compare-and-set of unique values over rotating keys; linearizable per key",
)];

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
    let fault_targets: &[Entry] = &[
        ("master of shard N", "whoever is master of that shard when the fault strikes"),
        ("replica of shard N", "one of its replicas"),
        ("agent of shard N", "the agent beside its master"),
        ("zookeeper leader", "the ZooKeeper server that leads"),
        ("zookeeper minority", "as many ZooKeeper servers as leave a majority"),
        ("client", "one client node (links only)"),
    ];
    let sections: [(&str, &[Entry]); 8] = [
        ("targets (--target)", TARGETS),
        ("variants (--variant)", &variants),
        ("weaknesses (--weaken; what each needs to show is in docs/weaknesses.md)", &weaknesses),
        ("workloads (--workload)", WORKLOADS),
        ("reads (--reads)", READS),
        ("faults (--faults)", &faults),
        ("whom a fault strikes (in a TOML file of faults)", fault_targets),
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
