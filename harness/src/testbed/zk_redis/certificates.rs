//! Certificates of a run: made before anything starts, one for each server node and one for clients, and gone
//! with the data.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cluster::provision::certificates::Authority;
use cluster::security::{Security, Transport};
use lab::Node;

use crate::testbed::CONTROL;

/// Who has which certificate; nobody has one in a run over plain links.
pub struct Certificates {
    issued: BTreeMap<String, Security>,
    folders: Vec<PathBuf>,
    transport: Transport,
}

impl Certificates {
    /// Issues one for each of the `servers`, in the folder `tls` of its node's below `logs`, and one for clients
    /// and observers; with `tls` false, none.
    pub fn issue(logs: &Path, servers: &[String], nodes: &HashMap<String, Node>, tls: bool) -> Result<Self> {
        let mut made =
            Certificates { issued: BTreeMap::new(), folders: Vec::new(), transport: Transport::plain() };
        if !tls {
            return Ok(made);
        }
        let authority = Authority::new("this run")?;
        for name in servers {
            let addr = IpAddr::V4(nodes[name].addr());
            made.add(&authority, logs, name, &[addr])?;
        }
        made.add(&authority, logs, CONTROL, &[])?;
        made.transport = made.of(CONTROL).load().context("failed to read the clients' certificate")?;
        Ok(made)
    }

    fn add(&mut self, authority: &Authority, logs: &Path, name: &str, addrs: &[IpAddr]) -> Result<()> {
        let folder = logs.join(name).join("tls");
        self.folders.push(folder.clone());
        self.issued.insert(name.to_owned(), Security::Tls(authority.issue(&folder, name, addrs)?));
        Ok(())
    }

    /// The security of the processes on a node.
    pub fn of(&self, name: &str) -> Security {
        self.issued.get(name).cloned().unwrap_or_default()
    }

    /// How clients and observers connect.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Removes the files. What still runs has read them.
    pub fn remove(&self) {
        for folder in &self.folders {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
