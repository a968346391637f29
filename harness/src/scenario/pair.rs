//! A plain Redis master with one plain replica, as anybody would start them, joined by the fabric.
//!
//! What a scenario asks of them goes over each node's own loopback, which no fault reaches.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use ::redis::{Connection, FromRedisValue};
use anyhow::{Context, Result};
use cluster::provision::redis;

use super::rig::{Rig, eventually};

/// Where Redis listens.
pub const PORT: u16 = 6379;
/// The node of the master, at the start.
pub const MASTER: &str = "master";
/// The node of its replica.
pub const REPLICA: &str = "replica";
/// How long anything that must happen may take.
pub const BOUND: Duration = Duration::from_secs(15);

/// Master and replica, with a connection of ours to each.
pub struct Pair {
    pub rig: Rig,
    master: Connection,
    replica: Connection,
}

impl Pair {
    /// Raises both, still strangers; `tap` may lay hands on the fabric before the first packet.
    pub fn up(folder: &Path, tap: impl FnOnce(&Rig) -> Result<()>) -> Result<Pair> {
        let installed = redis::find()?;
        let mut rig = Rig::up(folder, &[MASTER, REPLICA])?;
        tap(&rig)?;
        let port = PORT.to_string();
        let plain = [
            ("port", port.as_str()),
            ("bind", "0.0.0.0"),
            ("protected-mode", "no"),
            ("save", ""),
            ("enable-debug-command", "local"),
            // A second of grace before a full synchronisation serves nobody here.
            ("repl-diskless-sync-delay", "0"),
            // Pings in the replication stream would move offsets at moments of their own.
            ("repl-ping-replica-period", "3600"),
        ];
        for node in [MASTER, REPLICA] {
            let dir = rig.dir(node)?;
            let mut argv: Vec<OsString> = vec![installed.program.clone().into()];
            for (name, value) in plain {
                argv.extend([format!("--{name}").into(), OsString::from(value)]);
            }
            rig.start(node, "redis", argv, dir)?;
        }
        let (master, replica) = (connect(&rig, MASTER)?, connect(&rig, REPLICA)?);
        Ok(Pair { rig, master, replica })
    }

    /// Tells the one to be a replica of the other; see [`Pair::await_link`].
    pub fn follow(&mut self) -> Result<()> {
        let master_addr = self.rig.node(MASTER).addr().to_string();
        self.ask::<()>(REPLICA, &["REPLICAOF", &master_addr, &PORT.to_string()])
    }

    /// Sends a command to one of the two.
    pub fn ask<T: FromRedisValue>(&mut self, node: &str, words: &[&str]) -> Result<T> {
        let connection = if node == MASTER { &mut self.master } else { &mut self.replica };
        let mut command = ::redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(connection).with_context(|| format!("{} to the {node}", words.join(" ")))
    }

    /// `INFO replication` of one of the two, as a map.
    pub fn info(&mut self, node: &str, section: &str) -> Result<BTreeMap<String, String>> {
        let text: String = self.ask(node, &["INFO", section])?;
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Ok(pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    /// The offset in the replication stream that a node reports for itself.
    pub fn offset(&mut self, node: &str) -> Result<u64> {
        let info = self.info(node, "replication")?;
        let name = if node == MASTER { "master_repl_offset" } else { "slave_repl_offset" };
        info.get(name).context("no offset in INFO")?.parse().context("an offset that is no number")
    }

    /// Both digests of all data, the master's first: equal when the data is.
    pub fn digests(&mut self) -> Result<(String, String)> {
        Ok((self.ask(MASTER, &["DEBUG", "DIGEST"])?, self.ask(REPLICA, &["DEBUG", "DIGEST"])?))
    }

    /// Waits until the replica says that it follows.
    pub fn await_link(&mut self) -> Result<()> {
        eventually("the replica follows its master", BOUND, || {
            let info = self.info(REPLICA, "replication")?;
            Ok((info.get("master_link_status").map(String::as_str) == Some("up")).then_some(()))
        })
    }

    /// How often the replica has synchronised in full, and in part, as the master counts.
    pub fn syncs(&mut self) -> Result<(u64, u64)> {
        let stats = self.info(MASTER, "stats")?;
        let count = |name: &str| stats.get(name).and_then(|n| n.parse().ok()).unwrap_or(0);
        Ok((count("sync_full"), count("sync_partial_ok")))
    }
}

fn connect(rig: &Rig, node: &str) -> Result<Connection> {
    rig.inside(node, || {
        eventually("Redis answers", BOUND, || {
            let client = ::redis::Client::open(("127.0.0.1", PORT))?;
            let Ok(mut connection) = client.get_connection_with_timeout(BOUND) else { return Ok(None) };
            Ok(::redis::cmd("PING").query::<String>(&mut connection).is_ok().then_some(connection))
        })
    })
}
