//! What this machine offers, and for each lack the exact mend.

use anyhow::Result;
use cluster::provision;
use lab::host::{self, Offer};

use crate::exit::{Exit, UsageError};

/// Prints the table; exit 0 if a run on real servers can start here, 254 if not.
pub fn doctor() -> Result<Exit> {
    let offers = survey();
    print!("{}", table(&offers));
    let lacks: Vec<&str> = lacks(&offers).map(|offer| offer.name.as_str()).collect();
    if lacks.is_empty() {
        println!("\n`shardstorm run` can raise a real cluster here.");
        return Ok(Exit::Valid);
    }
    println!(
        "\n`shardstorm run` cannot raise a real cluster here for want of: {}.\n\
         `shardstorm run --target fake` works all the same.",
        lacks.join(", ")
    );
    Ok(Exit::Usage)
}

/// What a run on real servers needs; an error that lists each lack with its mend.
pub fn require_for_run() -> Result<()> {
    let offers: Vec<Offer> = survey().into_iter().filter(|offer| offer.required).collect();
    if lacks(&offers).next().is_none() {
        return Ok(());
    }
    let text = format!(
        "this machine cannot raise a real cluster:\n{}mend what is missing, or use --target fake",
        table(&offers)
    );
    Err(UsageError(text).into())
}

/// What faults of disks need on top; an error with the mend.
pub fn require_disks() -> Result<()> {
    match host::survey().into_iter().find(|offer| offer.name == host::FUSE && !offer.ok) {
        None => Ok(()),
        Some(Offer { found, mend, .. }) => Err(UsageError(format!(
            "this machine cannot make disks fail: {found}\nmend it ({mend}), or leave the disk faults out"
        ))
        .into()),
    }
}

fn lacks(offers: &[Offer]) -> impl Iterator<Item = &Offer> {
    offers.iter().filter(|offer| offer.required && !offer.ok)
}

fn survey() -> Vec<Offer> {
    let mut offers = host::survey();
    offers.extend(servers());
    offers.push(clocks());
    offers
}

fn servers() -> Vec<Offer> {
    let offer = |name: &str, found: Result<String, provision::ProvisionError>| match found {
        Ok(found) => Offer { name: name.into(), ok: true, found, mend: String::new(), required: true },
        Err(error) => {
            let mend = match &error {
                provision::ProvisionError::Missing { package, .. } => {
                    format!("sudo apt-get install {package}")
                }
                _ => "install it again, or put a working one first in PATH".into(),
            };
            Offer { name: name.into(), ok: false, found: error.to_string(), mend, required: true }
        }
    };
    let redis = provision::redis::find();
    let zookeeper = provision::zookeeper::find();
    let java = zookeeper.as_ref().map(|found| found.java_version.clone());
    let java = java.unwrap_or_else(|_| "not asked: ZooKeeper is missing".into());
    vec![
        offer("redis-server", redis.map(|found| format!("{} ({})", found.version, found.program.display()))),
        offer("zookeeper", zookeeper.map(|found| found.version)),
        Offer {
            name: "java".into(),
            ok: !java.starts_with("not"),
            found: java,
            mend: "sudo apt-get install default-jre-headless".into(),
            required: false,
        },
    ]
}

/// The shim is in the binary; it needs a C library to stand before.
fn clocks() -> Offer {
    let ok = lab::clock::is_available();
    let found = if ok {
        "the shim for glibc, built in"
    } else {
        "this binary was not built for glibc on 64-bit x86 or ARM"
    };
    let mend = if ok { "" } else { "build for such a target, or leave clock faults out" };
    Offer { name: "clock faults".into(), ok, found: found.into(), mend: mend.into(), required: false }
}

fn table(offers: &[Offer]) -> String {
    let width =
        |column: fn(&Offer) -> &str| offers.iter().map(|o| column(o).chars().count()).max().unwrap_or(0);
    let (names, founds) = (width(|o| &o.name), width(|o| if o.ok { &o.found } else { "" }));
    let mut text = String::new();
    for offer in offers {
        let mark = match (offer.ok, offer.required) {
            (true, _) => "yes",
            (false, true) => "NO",
            (false, false) => "no",
        };
        text += format!("{mark:4}{:names$}  {:founds$}", offer.name, offer.found).trim_end();
        if !offer.ok {
            text += &format!("\n    {:names$}  mend: {}", "", offer.mend);
        }
        text += "\n";
    }
    text
}

/// Ours, for the run's manifest.
pub fn own_versions() -> Vec<(String, String)> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![
        ("shardstorm".into(), env!("CARGO_PKG_VERSION").into()),
        ("commit".into(), option_env!("SHARDSTORM_COMMIT").unwrap_or("unknown").into()),
        ("rand".into(), RAND_VERSION.into()),
        ("kernel".into(), kernel.trim().into()),
    ]
}

/// Draws may change between minor versions of `rand`, so a plan is repeatable under the same one only.
const RAND_VERSION: &str = "0.10";
