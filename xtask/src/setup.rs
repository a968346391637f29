//! System packages a run needs, installed where they are missing (Debian, Ubuntu).

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Package, and what it is for.
const PACKAGES: [(&str, &str); 4] = [
    ("redis-server", "the store under test"),
    ("redis-tools", "redis-benchmark, for `shardstorm bench fabric`"),
    ("zookeeper", "the coordinator under test (brings a Java runtime)"),
    ("libxml2-utils", "xmllint, with which a test holds junit.xml against a schema"),
];

/// The same, for tests alone.
const FOR_TESTS: [(&str, &str); 1] = [("chromium", "the browser that reports are tested in")];

/// What is set up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Runs.
    Runs,
    /// Runs and all tests.
    Tests,
}

/// Debian's hook that decides whether a package may start its service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing; says what, and starts, stops or restarts no service.
pub fn install_missing(purpose: Purpose) -> Result<()> {
    if !on_path("dpkg-query") || !on_path("apt-get") {
        eprintln!("xtask: not a Debian or Ubuntu system; see `shardstorm doctor` for what a run needs");
        return Ok(());
    }
    let for_tests = FOR_TESTS.iter().filter(|_| purpose == Purpose::Tests);
    let mut missing = Vec::new();
    for (package, about) in PACKAGES.iter().chain(for_tests).filter(|(package, _)| !installed(package)) {
        eprintln!("xtask: installing {package} ({about})");
        missing.push(*package);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let quiet = QuietServices::begin()?;
    as_root(&["apt-get", "update", "-qq"])?;
    let mut install = vec!["apt-get", "install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&missing);
    let done = as_root(&install);
    drop(quiet);
    done.with_context(|| format!("failed to install {}", missing.join(", ")))
}

/// While it lives, packages that are installed do not start their services: a run starts its own servers,
/// in namespaces, and what was running on this machine before goes on as it was.
struct QuietServices {
    ours: bool,
}

impl QuietServices {
    fn begin() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(QuietServices { ours: false });
        }
        let script = format!("printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}");
        as_root(&["sh", "-c", &script])?;
        Ok(QuietServices { ours: true })
    }
}

impl Drop for QuietServices {
    fn drop(&mut self) {
        if self.ours && as_root(&["rm", "-f", POLICY]).is_err() {
            eprintln!(
                "xtask: could not remove {POLICY}; remove it, or packages will not start their services"
            );
        }
    }
}

fn as_root(command: &[&str]) -> Result<()> {
    let is_root = output(&["id", "-u"])? == "0";
    let mut whole = Vec::new();
    if !is_root {
        if !on_path("sudo") {
            bail!("this needs root and there is no sudo; as root, run: {}", command.join(" "));
        }
        whole.push("sudo");
    }
    whole.extend(command);
    let status = Command::new(whole[0])
        .args(&whole[1..])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("failed to start {}", whole[0]))?;
    if !status.success() {
        bail!("`{}` failed", whole.join(" "));
    }
    Ok(())
}

fn installed(package: &str) -> bool {
    output(&["dpkg-query", "-W", "-f=${db:Status-Status}", package]).is_ok_and(|status| status == "installed")
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn output(command: &[&str]) -> Result<String> {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let output = output.with_context(|| format!("failed to start {}", command[0]))?;
    if !output.status.success() {
        bail!("`{}` failed", command.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}
