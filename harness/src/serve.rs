//! `serve`: the runs of a store in a browser. Read-only, confined to the store, on this machine alone unless told
//! otherwise.
//!
//! A request goes through [`http`] (who may ask, and how), [`site`] (what is asked for) and one page's file; what is
//! answered is a [`reply`]. All that is read from disk comes through [`store`] and [`files`].

mod compare;
mod files;
mod http;
mod index;
mod line;
mod live;
mod query;
mod reply;
mod run;
mod site;
mod store;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ServeArgs;
use crate::exit::{Exit, UsageError};
use site::Site;

/// Serves until it is told to end.
pub fn serve(args: &ServeArgs) -> Result<Exit> {
    let root = store(&args.store)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("failed to start a runtime")?;
    let done = runtime.block_on(until_told(&root, args.listen));
    // What is still being sent is nobody's loss: Ctrl-C ends at once.
    runtime.shutdown_background();
    done.map(|()| Exit::Valid)
}

fn store(path: &Path) -> Result<PathBuf> {
    let refused = |why: &str| {
        UsageError(format!(
            "--store {}: {why}; name the folder that `shardstorm run` writes to",
            path.display()
        ))
    };
    let root = path.canonicalize().map_err(|error| refused(&error.to_string()))?;
    if root.is_dir() { Ok(root) } else { Err(refused("it is a file").into()) }
}

async fn until_told(root: &Path, listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await.map_err(|error| UsageError(refusal(listen, &error)))?;
    let here = listener.local_addr().context("failed to ask for the port")?;
    let mut terminated = signal(SignalKind::terminate()).context("failed to wait for signals")?;
    say(&format!("shardstorm: {} at http://{here}/ (Ctrl-C ends)", root.display()));
    if !here.ip().is_loopback() {
        let words = "anyone who reaches this address can read the whole store: histories, logs and captures";
        eprintln!("shardstorm: warning: {words}");
    }
    let site = Arc::new(Site::new(root.to_owned(), here.ip().is_loopback()));
    site.clone().look_around();
    tokio::select! {
        () = http::accept(listener, site) => {}
        told = tokio::signal::ctrl_c() => told.context("failed to wait for signals")?,
        _ = terminated.recv() => {}
    }
    Ok(())
}

/// On standard output, for whoever started us and wants to know the port; a closed one is no trouble.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn refusal(listen: SocketAddr, error: &io::Error) -> String {
    let any = SocketAddr::new(listen.ip(), 0);
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("--listen {listen}: another program has this port; `--listen {any}` takes a free one")
        }
        io::ErrorKind::PermissionDenied => {
            format!("--listen {listen}: not allowed; take a port from 1024 on, or `--listen {any}`")
        }
        _ => format!("--listen {listen}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_named_with_the_mend() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8437));
        let said = refusal(listen, &io::Error::from(io::ErrorKind::AddrInUse));
        assert!(said.contains("127.0.0.1:8437") && said.contains("`--listen 127.0.0.1:0`"), "{said}");
    }
}
