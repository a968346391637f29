//! `shard-agent`: one per Redis, on the same node. Leads it through failovers with the other agents of its
//! shard by way of ZooKeeper.
//!
//! ```text
//! own Redis ── health ──┐
//! master    ── probe  ──┤             ┌─ event lines
//! heartbeat ────────────┼─ runner ────┼─ Redis: REPLICAOF …
//! ZooKeeper ── mirror ──┤    │        └─ ZooKeeper: multi[check config, …]
//! lease     ── keeper ──┘  protocol: what to do, given all this
//! ```
//!
//! Every box is a task of its own: a slow one delays no other.

use std::{ffi::OsString, process::ExitCode};

pub mod config;
pub mod health;
mod journal;
mod keeper;
pub mod observation;
pub mod orders;
pub mod protocol;
mod runner;

pub use config::{AgentConfig, ConfigError, Timing};

use journal::{Journal, log};

/// Runs an agent with command-line arguments (program name first) until the process is killed.
///
/// Returns only when it cannot start: 0 after `--help`, 254 with one sentence on standard error for bad
/// settings, 255 if the system refuses what it needs.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let config = match AgentConfig::from_args(args) {
        Ok(config) => config,
        Err(ConfigError::Flags(e)) => {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(254) } else { ExitCode::SUCCESS };
        }
        Err(e) => {
            eprintln!("shard-agent: {e}");
            return ExitCode::from(254);
        }
    };
    let transport = match config.security.load() {
        Ok(transport) => transport,
        Err(e) => {
            eprintln!("shard-agent: {e}");
            return ExitCode::from(254);
        }
    };
    let journal = match Journal::open(&config.events, config.shard, &config.node) {
        Ok(journal) => journal,
        Err(e) => {
            eprintln!("shard-agent: cannot write events to {}: {e}", config.events.display());
            return ExitCode::from(254);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("shard-agent: cannot start: {e}");
            return ExitCode::from(255);
        }
    };
    log(&format!("agent of {} in shard {}, redis at {}", config.node, config.shard, config.redis));
    runtime.block_on(async { runner::Runner::start(config, journal, transport).run().await });
    ExitCode::SUCCESS
}
