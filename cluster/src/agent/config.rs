//! Settings of an agent: a TOML file, each value of which a flag of the same name overrides.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    credentials::Secret,
    defence::{Defence, Without},
    security::{Security, SecurityError, TlsFlags},
    znodes::ROOT,
};

/// Settings of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Shard it serves.
    pub shard: u32,
    /// Name of its node, unique in the shard.
    pub node: String,
    /// Its Redis, at the address that clients and the other nodes reach.
    pub redis: SocketAddr,
    /// `host:port,host:port,…`
    pub zookeeper: String,
    /// File that event lines are appended to.
    pub events: PathBuf,
    /// What the passwords of the cluster are derived from.
    pub secret: Secret,
    /// Defences that are left out.
    #[serde(default)]
    pub without: Without,
    /// Where the cluster lives in ZooKeeper.
    #[serde(default = "default_root")]
    pub root: String,
    /// Periods and limits.
    #[serde(default)]
    pub timing: Timing,
    /// Whether clients and Redis prove their requests and replies; all of a cluster alike.
    #[serde(default)]
    pub authenticated: bool,
    /// How its links to Redis and ZooKeeper are protected.
    #[serde(rename = "tls", default, skip_serializing_if = "Security::is_plain")]
    pub security: Security,
}

fn default_root() -> String {
    ROOT.to_owned()
}

/// Periods and limits of an agent, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// D: a lease that was not renewed, a Redis that did not answer, a heartbeat that was not acknowledged
    /// for this long is given up.
    pub lease_ms: u64,
    /// Between two renewals of the lease.
    pub renew_ms: u64,
    /// Between two looks at a Redis.
    pub poll_ms: u64,
    /// How long an election may take before the next epoch is proposed, up to twice that at random.
    pub patience_ms: u64,
    /// ZooKeeper session.
    pub session_ms: u64,
    /// Replicas that must acknowledge a heartbeat: as many as clients wait for.
    pub wait_replicas: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            lease_ms: 400,
            renew_ms: 100,
            poll_ms: 25,
            patience_ms: 500,
            session_ms: 1500,
            wait_replicas: 1,
        }
    }
}

impl Timing {
    /// D as a duration.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// How long a heartbeat waits for replicas, milliseconds: a lease that is long because links are slow must
    /// not be lost to a wait that is short.
    pub fn beat_wait_ms(&self) -> u64 {
        self.renew_ms.max(self.lease_ms / 4).max(50)
    }
}

/// Why an agent cannot start.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Flags that clap refuses, or `--help`.
    #[error(transparent)]
    Flags(#[from] clap::Error),
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// Neither the file nor a flag gives a value.
    #[error("{0} is not set: give --{0} or set it in the file named by --config")]
    Unset(&'static str),
    /// TLS files that are missing or of no use.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// A value that makes no sense.
    #[error("{0}")]
    Value(String),
}

/// Flags of `shard-agent`.
#[derive(Debug, Parser)]
#[command(name = "shard-agent", about = "Watches over one Redis of a shard: leads it through failovers")]
struct Flags {
    /// TOML file with the settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Shard it serves
    #[arg(long)]
    shard: Option<u32>,
    /// Name of its node, unique in the shard
    #[arg(long)]
    node: Option<String>,
    /// Its Redis, at the address that others reach
    #[arg(long, value_name = "ADDR:PORT")]
    redis: Option<SocketAddr>,
    /// ZooKeeper servers
    #[arg(long, value_name = "ADDR:PORT,…")]
    zookeeper: Option<String>,
    /// File that event lines are appended to
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// What the passwords of the cluster are derived from; in the file where others may list processes
    #[arg(long)]
    secret: Option<String>,
    /// Defences to leave out, for experiments: it is then no longer safe
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    without: Option<Vec<Defence>>,
    /// Where the cluster lives in ZooKeeper
    #[arg(long, value_name = "PATH")]
    root: Option<String>,
    /// Lease, and limit for silence, in milliseconds [default: 400]
    #[arg(long, value_name = "MS")]
    lease_ms: Option<u64>,
    /// Between two renewals of the lease, in milliseconds [default: 100]
    #[arg(long, value_name = "MS")]
    renew_ms: Option<u64>,
    /// Between two looks at a Redis, in milliseconds [default: 25]
    #[arg(long, value_name = "MS")]
    poll_ms: Option<u64>,
    /// Length of an election after which the next epoch is proposed, in milliseconds [default: 500]
    #[arg(long, value_name = "MS")]
    patience_ms: Option<u64>,
    /// ZooKeeper session timeout, in milliseconds [default: 1500]
    #[arg(long, value_name = "MS")]
    session_ms: Option<u64>,
    /// Replicas that must acknowledge a heartbeat [default: 1]
    #[arg(long, value_name = "N")]
    wait_replicas: Option<u32>,
    /// Clients and Redis prove their requests and replies
    #[arg(long)]
    authenticated: bool,
    #[command(flatten)]
    tls: TlsFlags,
}

/// The settings in the file, where none is required.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileConfig {
    shard: Option<u32>,
    node: Option<String>,
    redis: Option<SocketAddr>,
    zookeeper: Option<String>,
    events: Option<PathBuf>,
    secret: Option<Secret>,
    without: Option<Without>,
    root: Option<String>,
    #[serde(default)]
    timing: Timing,
    #[serde(default)]
    authenticated: bool,
    #[serde(default)]
    tls: Security,
}

impl AgentConfig {
    /// Settings from the arguments (program name first) and the file they name.
    pub fn from_args(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Self, ConfigError> {
        let flags = Flags::try_parse_from(args)?;
        let file = match &flags.config {
            None => FileConfig::default(),
            Some(path) => {
                let text = fs::read_to_string(path)
                    .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
                toml::from_str(&text).map_err(|e| ConfigError::Parse {
                    path: path.clone(),
                    message: e.to_string().trim_end().replace('\n', "; "),
                })?
            }
        };
        merge(flags, file)
    }
}

fn merge(flags: Flags, file: FileConfig) -> Result<AgentConfig, ConfigError> {
    fn required<T>(name: &'static str, flag: Option<T>, file: Option<T>) -> Result<T, ConfigError> {
        flag.or(file).ok_or(ConfigError::Unset(name))
    }
    let base = file.timing;
    let timing = Timing {
        lease_ms: flags.lease_ms.unwrap_or(base.lease_ms),
        renew_ms: flags.renew_ms.unwrap_or(base.renew_ms),
        poll_ms: flags.poll_ms.unwrap_or(base.poll_ms),
        patience_ms: flags.patience_ms.unwrap_or(base.patience_ms),
        session_ms: flags.session_ms.unwrap_or(base.session_ms),
        wait_replicas: flags.wait_replicas.unwrap_or(base.wait_replicas),
    };
    let config = AgentConfig {
        shard: required("shard", flags.shard, file.shard)?,
        node: required("node", flags.node, file.node)?,
        redis: required("redis", flags.redis, file.redis)?,
        zookeeper: required("zookeeper", flags.zookeeper, file.zookeeper)?,
        events: required("events", flags.events, file.events)?,
        secret: required("secret", flags.secret.map(Secret::new), file.secret)?,
        without: flags.without.map(Without::from_iter).or(file.without).unwrap_or_default(),
        root: flags.root.or(file.root).unwrap_or_else(default_root),
        timing,
        authenticated: flags.authenticated || file.authenticated,
        security: flags.tls.over(file.tls)?,
    };
    validate(&config)?;
    Ok(config)
}

fn validate(config: &AgentConfig) -> Result<(), ConfigError> {
    let t = &config.timing;
    if t.renew_ms == 0 || t.poll_ms == 0 {
        return Err(ConfigError::Value("renew_ms and poll_ms must be at least 1".into()));
    }
    if t.lease_ms < 2 * t.renew_ms {
        return Err(ConfigError::Value(format!(
            "lease_ms {} is too short for renew_ms {}: give at least twice as much",
            t.lease_ms, t.renew_ms
        )));
    }
    if config.node.is_empty() || config.node.contains('/') {
        return Err(ConfigError::Value(format!(
            "node {:?} cannot name a znode: no slash, not empty",
            config.node
        )));
    }
    if !config.root.starts_with('/') || config.root.ends_with('/') {
        return Err(ConfigError::Value(format!("root {:?} is not a path like /shardstorm", config.root)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<AgentConfig, ConfigError> {
        let all = std::iter::once("shard-agent").chain(args.iter().copied());
        AgentConfig::from_args(all.map(std::ffi::OsString::from))
    }

    const ALL: [&str; 12] = [
        "--secret",
        "hush",
        "--shard",
        "1",
        "--node",
        "r1a",
        "--redis",
        "10.0.0.1:6379",
        "--zookeeper",
        "10.0.0.9:2181",
        "--events",
        "/e",
    ];

    #[test]
    fn flags_alone_are_enough() {
        let config = parse(&ALL).unwrap();
        assert_eq!((config.shard, config.root.as_str()), (1, "/shardstorm"));
        assert_eq!(config.timing, Timing::default());
    }

    #[test]
    fn a_flag_overrides_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent.toml");
        let written = AgentConfig { shard: 7, ..parse(&ALL).unwrap() };
        fs::write(&file, toml::to_string(&written).unwrap()).unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(parse(&["--config", path]).unwrap(), written);
        let config = parse(&["--config", path, "--lease-ms", "900", "--node", "other"]).unwrap();
        assert_eq!((config.timing.lease_ms, config.node.as_str(), config.shard), (900, "other", 7));
    }

    #[test]
    fn bad_settings_are_one_sentence_each() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bad.toml");
        fs::write(&file, "shard = 1\ncolour = 2\n").unwrap();
        let table: [(&[&str], &str); 5] = [
            (&[], "shard is not set: give --shard"),
            (&["--config", "/no/such/file"], "cannot read /no/such/file"),
            (&["--config", file.to_str().unwrap()], "unknown field `colour`"),
            (&["--lease-ms", "150"], "lease_ms 150 is too short for renew_ms 100"),
            (&["--root", "shardstorm"], "is not a path like /shardstorm"),
        ];
        for (args, expected) in table {
            let needs_base = args.first().is_some_and(|a| *a != "--config");
            let base: &[&str] = if needs_base { &ALL } else { &[] };
            let all: Vec<&str> = base.iter().chain(args).copied().collect();
            let message = parse(&all).unwrap_err().to_string();
            assert!(message.contains(expected), "{args:?}: {message}");
            assert!(!message.trim_end().contains('\n'), "{message}");
        }
    }
}
