//! A node: namespaces of its own, one address, one TUN device, its processes.

pub(crate) mod device;
mod init;
mod spawner;

use std::fmt;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

pub(crate) use self::spawner::Plan;
use self::spawner::{Built, Spawner};
use crate::error::{LabError, Result};
use crate::netlink::Netlink;
use crate::process::{Process, Program};
use crate::sys;

/// A node's number within its lab, from 0 in the order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u16);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl NodeId {
    /// As an index into per-node tables.
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A handle to one node. Clones mean the same node; it goes down with its [`Lab`](crate::Lab), and
/// handles that are left then answer with [`LabError::NodeDown`].
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    id: NodeId,
    name: String,
    addr: Ipv4Addr,
    init_pid: u32,
    skipped_sysctls: Vec<String>,
    alive: Mutex<Option<Alive>>,
}

/// What ends with the node.
struct Alive {
    spawner: Arc<Mutex<Spawner>>,
    netns: File,
    processes: Vec<Process>,
}

impl Node {
    /// Builds a node; returns it with the fabric's end of its TUN device.
    pub(crate) fn build(id: NodeId, plan: Plan) -> Result<(Node, OwnedFd)> {
        let (name, addr) = (plan.name.clone(), plan.addr);
        let Built { spawner, tun, netns, init_pid, skipped_sysctls } = Spawner::start(plan)?;
        let spawner = Arc::new(Mutex::new(spawner));
        let alive = Mutex::new(Some(Alive { spawner, netns, processes: Vec::new() }));
        let inner = Inner { id, name, addr, init_pid, skipped_sysctls, alive };
        Ok((Node { inner: Arc::new(inner) }, tun))
    }

    /// The node's number within its lab.
    pub fn id(&self) -> NodeId {
        self.inner.id
    }

    /// The name it was added with.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its only address that other nodes can reach.
    pub fn addr(&self) -> Ipv4Addr {
        self.inner.addr
    }

    /// The pid of its PID 1 as the harness sees it; `/proc/<pid>/ns/*` are the node's namespaces.
    pub fn init_pid(&self) -> u32 {
        self.inner.init_pid
    }

    /// Kernel settings asked for in [`LabOptions::sysctls`](crate::LabOptions) that this kernel does
    /// not have or does not let us change, each as `name: why`.
    pub fn skipped_sysctls(&self) -> &[String] {
        &self.inner.skipped_sysctls
    }

    /// Packets the node's own device dropped because its queue to the fabric was full: losses that no
    /// rule explains. `None` once the node is down.
    pub fn device_drops(&self) -> Option<u64> {
        self.lock().as_ref()?;
        device::transmit_drops(self.init_pid())
    }

    /// Starts a program inside the node, in a session of its own, stdout and stderr appended to its log.
    ///
    /// It is killed when the node goes down. A program that dies at its start is no error here: see
    /// [`Process::state`] and [`Process::log_tail`].
    pub fn spawn(&self, program: &Program) -> Result<Process> {
        let process = Process::start(self.clone(), program.clone())?;
        let mut alive = self.lock();
        match alive.as_mut() {
            Some(alive) => {
                alive.processes.push(process.clone());
                Ok(process)
            }
            None => {
                process.reap();
                Err(self.down_error())
            }
        }
    }

    /// Runs `f` on a new thread inside the node's network namespace: every socket it makes is the
    /// node's. Files and processes stay the harness's own.
    ///
    /// The thread does not end with the node; its sockets are then cut off from everyone.
    pub fn enter<T: Send + 'static>(
        &self,
        thread_name: &str,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        let netns = match self.lock().as_ref() {
            Some(alive) => alive.netns.try_clone(),
            None => return Err(self.down_error()),
        };
        let error = |step, source| LabError::Node { node: self.name().to_owned(), step, source };
        let netns = netns.map_err(|e| error("open its network namespace", e))?;
        let (report, entered) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name(thread_name.to_owned()).spawn(move || {
            let outcome = sys::enter_netns(&netns);
            drop(netns);
            let inside = outcome.is_ok();
            let _ = report.send(outcome);
            if !inside {
                // `enter` reports the failure; this only ends the thread without a `T` and without noise.
                std::panic::resume_unwind(Box::new("not inside the node"));
            }
            f()
        });
        let thread = thread.map_err(|e| error("start a thread inside it", e))?;
        match entered.recv() {
            Ok(Ok(())) => Ok(thread),
            Ok(Err(e)) => Err(error("enter its network namespace", e)),
            Err(_) => {
                Err(error("enter its network namespace", std::io::Error::other("the thread ended early")))
            }
        }
    }

    /// Joins this node and `other` with a kernel veth pair beside the fabric, to measure against.
    pub(crate) fn add_veth(&self, other: &Node, here: Ipv4Addr, there: Ipv4Addr) -> Result<()> {
        const PAIR: [&str; 2] = ["veth0", "veth1"];
        let netns = match other.lock().as_ref() {
            Some(alive) => alive.netns.try_clone(),
            None => return Err(other.down_error()),
        };
        let make = move || {
            Netlink::open()?.add_veth_pair(PAIR[0], PAIR[1], &netns?)?;
            device::assign(PAIR[0], here, 24)
        };
        let made = self.run_inside(make)?;
        let made = made.and(other.run_inside(move || device::assign(PAIR[1], there, 24))?);
        let error = |source| LabError::Node { node: self.name().to_owned(), step: "add a veth pair", source };
        made.map_err(error)
    }

    /// Runs `job` on the thread that lives in the node, and waits for it.
    pub(crate) fn run_inside<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let spawner = match self.lock().as_ref() {
            Some(alive) => alive.spawner.clone(),
            None => return Err(self.down_error()),
        };
        lock_spawner(&spawner).run(job).ok_or_else(|| self.down_error())
    }

    /// Kills everything inside, without waiting. The first of three steps down, which a lab takes with
    /// all its nodes at a time, because each takes the kernel a while.
    pub(crate) fn strike(&self) {
        // The lock is held, so PID 1 is not reaped yet and its pid is still its own.
        if let Some(_alive) = self.lock().as_ref() {
            let _ = sys::signal(self.init_pid(), libc::SIGKILL);
        }
    }

    /// Reaps the processes we started, for PID 1 cannot end before, and tells the spawner to go.
    pub(crate) fn let_go(&self) {
        // Not under the lock: a process that is being restarted right now wants it.
        let parts = self.lock().as_ref().map(|alive| (alive.spawner.clone(), alive.processes.clone()));
        if let Some((spawner, processes)) = parts {
            processes.iter().for_each(Process::reap);
            lock_spawner(&spawner).close();
        }
    }

    /// Waits until PID 1 is gone. Repeatable.
    pub(crate) fn down(&self) {
        self.strike();
        self.let_go();
        let Some(alive) = self.lock().take() else { return };
        // Those that were started after the first look; whoever comes later reaps for himself.
        alive.processes.iter().for_each(Process::reap);
        lock_spawner(&alive.spawner).stop();
    }

    fn down_error(&self) -> LabError {
        LabError::NodeDown { node: self.name().to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Alive>> {
        self.inner.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock_spawner(spawner: &Mutex<Spawner>) -> MutexGuard<'_, Spawner> {
    spawner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({} {} {})", self.id(), self.name(), self.addr())
    }
}
