//! The one long-lived thread that lives inside a node and does there what must be done from inside.
//!
//! It unshares network, mount and PID namespaces for itself, so every child it forks is born in the
//! node while the harness keeps a real `Child` with a real pid. It must be one thread for the node's
//! whole life, because a parent-death signal fires when the *thread* that forked the child ends.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::device;
use super::init::Init;
use crate::error::{LabError, Result};

type Job = Box<dyn FnOnce() + Send>;

/// What a node is built from.
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) addr: std::net::Ipv4Addr,
    pub(crate) prefix_len: u32,
    pub(crate) mtu: u32,
    pub(crate) queue_len: u32,
    pub(crate) sysctls: Vec<(String, String)>,
}

/// A node's namespaces, held open by the spawner thread and PID 1.
pub(crate) struct Spawner {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What building a node hands back to the harness.
pub(crate) struct Built {
    pub(crate) spawner: Spawner,
    pub(crate) tun: OwnedFd,
    pub(crate) netns: File,
    pub(crate) init_pid: u32,
    /// Settings this kernel does not have or does not let us change, as `name: why`.
    pub(crate) skipped_sysctls: Vec<String>,
}

struct Inside {
    tun: OwnedFd,
    netns: File,
    init: Init,
    skipped_sysctls: Vec<String>,
}

impl Spawner {
    /// Builds the node on a new thread and returns when it is complete.
    pub(crate) fn start(plan: Plan) -> Result<Built> {
        let name = plan.name.clone();
        let node_error = move |step, source| LabError::Node { node: name.clone(), step, source };
        let (jobs, inbox) = sync_channel::<Job>(16);
        let (report, built) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(format!("node-{}", plan.name))
            .spawn(move || match build(&plan) {
                Ok(Inside { tun, netns, init, skipped_sysctls }) => {
                    let _ = report.send(Ok((tun, netns, init.pid(), skipped_sysctls)));
                    serve(inbox);
                    init.kill_and_reap();
                }
                Err(e) => {
                    let _ = report.send(Err(e));
                }
            })
            .map_err(|e| node_error("start its thread", e))?;
        match built.recv() {
            Ok(Ok((tun, netns, init_pid, skipped_sysctls))) => {
                let spawner = Spawner { jobs: Some(jobs), thread: Some(thread) };
                Ok(Built { spawner, tun, netns, init_pid, skipped_sysctls })
            }
            Ok(Err((step, source))) => Err(node_error(step, source)),
            Err(_) => Err(node_error("build it", io::Error::other("its thread ended early"))),
        }
    }

    /// Runs `job` on the spawner thread, inside the node, and returns its result; `None` when the node
    /// is down.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (report, result) = sync_channel(1);
        let job: Job = Box::new(move || {
            let _ = report.send(job());
        });
        self.jobs.as_ref()?.send(job).ok()?;
        result.recv().ok()
    }

    /// Takes no more jobs; the thread lets go of the node by itself.
    pub(crate) fn close(&mut self) {
        self.jobs = None;
    }

    /// Ends the node: PID 1 dies, with it every process, and with those the namespaces.
    pub(crate) fn stop(&mut self) {
        self.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(inbox: Receiver<Job>) {
    for job in inbox {
        job();
    }
}

type Step<T> = std::result::Result<T, (&'static str, io::Error)>;

/// Turns the calling thread into a node.
fn build(plan: &Plan) -> Step<Inside> {
    let namespaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    unshare(namespaces).map_err(|e| ("create its network, mount and PID namespaces", e.into()))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(|e| ("make its mounts private", e.into()))?;
    let netns = File::open("/proc/thread-self/ns/net").map_err(|e| ("open its network namespace", e))?;
    let tun = device::open_tun()?;
    let name = CString::new(format!("node:{}", plan.name)).unwrap_or_default();
    let init = Init::fork(&name).map_err(|e| ("fork its first process", e))?;
    // After PID 1 has mounted the node's own /proc, which stays writable where a container's is not,
    // and before the device comes up, so that it starts with these settings.
    let skipped_sysctls = set_sysctls(&plan.sysctls);
    device::configure(plan.addr, plan.prefix_len, plan.mtu, plan.queue_len)
        .map_err(|e| ("configure its TUN device", e))?;
    Ok(Inside { tun, netns, init, skipped_sysctls })
}

/// Writes each setting of the node's own network namespace; returns those that did not take.
fn set_sysctls(sysctls: &[(String, String)]) -> Vec<String> {
    let set = |name: &str, value: &str| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        std::fs::write(path, value)
    };
    sysctls
        .iter()
        .filter_map(|(name, value)| set(name, value).err().map(|e| format!("{name}: {e}")))
        .collect()
}
