//! The test bed: nodes in namespaces of their own, the userspace network between them, and the
//! processes inside them. It knows nothing of what is tested in it.
//!
//! ```text
//!   node s0r1                       this process                       node zk1
//!  ┌───────────────┐        ┌──────────────────────────────┐        ┌───────────────┐
//!  │ PID 1  redis  │  TUN   │  fabric: one switch thread   │  TUN   │ PID 1  java   │
//!  │ 10.77.0.1 ────┼───────→│  route, count, drop, hold    │───────→┼──── 10.77.0.4 │
//!  └───────────────┘        └──────────────────────────────┘        └───────────────┘
//! ```
//!
//! A [`Node`] is a network, a mount and a PID namespace. Its only way out is a TUN device whose other
//! end is read by the [`Fabric`] in this process, so a rule there is the whole truth about what passes.
//! Clients are nodes too: a thread that [`Node::enter`]s makes its sockets inside.
//!
//! **Nothing outlives the harness.** Each node hangs on its PID 1, which waits for the end of a pipe
//! that only this process holds open. When the process ends, even by `kill -9`, the pipe closes, PID 1
//! ends, the kernel kills what else ran in that PID namespace, and with the last process the
//! namespaces, mounts and devices go. There is nothing to clean up, and no name, bridge or firewall
//! table that two runs could share: labs side by side use the same addresses and never meet.
//!
//! **Privileges.** Root, or an unprivileged user where the kernel allows user namespaces: call
//! [`host::become_root_in_user_namespace`] first thing in `main`.
//!
//! Logs, captures and working directories are ordinary paths of the host: a node shares its files.

pub mod bench;
pub mod clock;
mod disk;
mod error;
mod fabric;
pub mod flow;
pub mod host;
mod netlink;
mod node;
mod process;
mod sys;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

pub use self::clock::{Clock, Clocks, Skew, SkewGuard, Told, ToldBy};
pub use self::disk::{
    Disk, DiskAction, DiskCounters, DiskErrno, DiskOp, DiskOptions, DiskRule, DiskRuleGuard, Lost, NameSync,
    Pending, PowerCut, Survival,
};
pub use self::error::{LabError, Result};
pub use self::fabric::{
    Action, CountedPer, End, Fabric, FabricTotals, Flap, Latency, Link, LinkCounters, Ports, Rule,
    RuleCounters, RuleGuard, Side, Spread, Twin, TwinCounters, TwinGuard,
};
pub use self::node::{Node, NodeId};
pub use self::process::{Exit, Process, ProcessState, Program};

use self::fabric::{Running, table};
use self::node::Plan;

/// How to build a lab. Start from [`LabOptions::named`] and change what matters.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// A name for people; it appears in captures.
    pub name: String,
    /// Where to record every packet as pcapng; `None` records nothing.
    pub capture: Option<PathBuf>,
    /// Bytes after which the recording ends, to within a quarter of a megabyte; `None` goes on for ever.
    pub capture_bytes_max: Option<u64>,
    /// The largest packet a node sends, in bytes, IP header included: 576 to 65,535.
    pub mtu: u32,
    /// Kernel settings of every node's network namespace, as `net.ipv4.tcp_…` and value. Those the
    /// kernel does not have are skipped: see [`Node::skipped_sysctls`].
    pub sysctls: Vec<(String, String)>,
}

/// Settings that every node gets unless told otherwise.
///
/// - IPv6 off: the fabric carries IPv4, and a stack that tries v6 first would only wait for itself.
/// - TCP forgets what it learnt of a peer between connections, so that one fault does not slow down
///   the connections made after it.
/// - Retransmissions at least once a second (Linux 6.15): otherwise a connection that lived through a
///   ten-second cut may stay silent for another ten after the cut has healed.
pub const DEFAULT_SYSCTLS: [(&str, &str); 3] = [
    ("net.ipv6.conf.all.disable_ipv6", "1"),
    ("net.ipv4.tcp_no_metrics_save", "1"),
    ("net.ipv4.tcp_rto_max_ms", "1000"),
];

impl LabOptions {
    /// A lab with this name, Ethernet's MTU, [`DEFAULT_SYSCTLS`] and no capture.
    pub fn named(name: impl Into<String>) -> LabOptions {
        let sysctls = DEFAULT_SYSCTLS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        LabOptions {
            name: name.into(),
            capture: None,
            capture_bytes_max: None,
            mtu: 1500,
            sysctls: sysctls.into(),
        }
    }
}

/// A running test bed. It goes down, with everything in it, when dropped.
pub struct Lab {
    options: LabOptions,
    nodes: Vec<Node>,
    running: Running,
}

/// Packets a node's device may queue towards the fabric. Past that the kernel drops, unseen by any
/// rule, so it is far more than TCP's windows let pile up while the switch is waiting for a processor.
const DEVICE_QUEUE_PACKETS: u32 = 10_000;

impl Lab {
    /// Brings up an empty lab.
    pub fn up(options: LabOptions) -> Result<Lab> {
        let running = Running::start(&options.name, options.capture.as_deref(), options.capture_bytes_max)?;
        Ok(Lab { options, nodes: Vec::new(), running })
    }

    /// Adds a node; names are unique within the lab. Takes some 20 ms, most of it waiting.
    pub fn add_node(&mut self, name: &str) -> Result<Node> {
        Ok(self.add_nodes(&[name])?.remove(0))
    }

    /// Adds several nodes, in this order, building them side by side. All or none.
    pub fn add_nodes<S: AsRef<str>>(&mut self, names: &[S]) -> Result<Vec<Node>> {
        let names: Vec<&str> = names.iter().map(S::as_ref).collect();
        self.check_names(&names)?;
        let first = self.nodes.len();
        let plans = names.iter().enumerate().map(|(i, name)| self.plan(NodeId((first + i) as u16), name));
        let built: Vec<Result<(Node, OwnedFd)>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                plans.map(|(id, plan)| scope.spawn(move || Node::build(id, plan))).collect();
            threads.into_iter().map(|thread| thread.join().expect("building a node does not panic")).collect()
        });
        let (nodes, tuns): (Vec<Node>, Vec<OwnedFd>) = built.into_iter().collect::<Result<_>>()?;
        for (name, tun) in names.iter().zip(tuns) {
            self.running.plug(name, tun)?;
        }
        self.nodes.extend(nodes.iter().cloned());
        Ok(nodes)
    }

    fn plan(&self, id: NodeId, name: &str) -> (NodeId, Plan) {
        let plan = Plan {
            name: name.to_owned(),
            addr: table::addr_of(id),
            prefix_len: table::PREFIX_LEN,
            mtu: self.options.mtu,
            queue_len: DEVICE_QUEUE_PACKETS,
            sysctls: self.options.sysctls.clone(),
        };
        (id, plan)
    }

    /// The network between the nodes.
    pub fn fabric(&self) -> &Fabric {
        self.running.fabric()
    }

    /// All nodes, by number.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name() == name)
    }

    /// Takes everything down and completes the capture; what dropping does, with the failure told.
    pub fn down(mut self) -> Result<()> {
        self.take_down()
    }

    fn take_down(&mut self) -> Result<()> {
        for step in [Node::strike, Node::let_go, Node::down] {
            self.nodes.iter().for_each(step);
        }
        self.running.stop()
    }

    fn check_names(&self, names: &[&str]) -> Result<()> {
        for (i, name) in names.iter().enumerate() {
            let bad = |why| Err(LabError::BadNodeName { name: (*name).to_owned(), why });
            if name.is_empty() || name.len() > 64 {
                return bad("a name has 1 to 64 characters");
            }
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
                return bad("a name has letters, digits, '-', '_' and '.' only");
            }
            if self.node(name).is_some() || names[..i].contains(name) {
                return bad("the lab has a node of that name already");
            }
            if self.nodes.len() + i >= table::NODES_MAX {
                return Err(LabError::TooManyNodes { name: (*name).to_owned(), max: table::NODES_MAX });
            }
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.take_down();
    }
}
