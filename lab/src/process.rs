//! A program running inside a node: start, stop, continue, kill, restart, its log and its state.

mod tree;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{LabError, Result};
use crate::node::Node;
use crate::sys;

/// How long a whole tree may take to reach the state a signal asks for. Stopping waits for threads that
/// sit in the kernel (a disk write), which is why this is not milliseconds.
const SIGNAL_DEADLINE: Duration = Duration::from_secs(5);

/// What to run, kept so that it can be run again.
#[derive(Clone, Debug)]
pub struct Program {
    /// A name for people, such as `redis`.
    pub name: String,
    /// The binary, looked up in `PATH` if it holds no slash, then its arguments.
    pub argv: Vec<OsString>,
    /// Variables set on top of the harness's own environment.
    pub env: Vec<(String, String)>,
    /// Its working directory; must exist.
    pub cwd: PathBuf,
    /// The file its stdout and stderr are appended to; created if missing.
    pub log: PathBuf,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What the kernel says a process is doing, from `waitpid` and `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// Alive: running, runnable or asleep.
    Running,
    /// Alive, halted by SIGSTOP.
    Stopped,
    /// Over.
    Exited(Exit),
}

impl fmt::Display for ProcessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessState::Running => write!(f, "running"),
            ProcessState::Stopped => write!(f, "stopped"),
            ProcessState::Exited(Exit::Code(code)) => write!(f, "exited with code {code}"),
            ProcessState::Exited(Exit::Signal(signal)) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// A handle to a started program and all its descendants, across restarts. Clones mean the same one;
/// dropping handles changes nothing, the node ends what still runs.
///
/// Signals reach the whole tree: every process of the session the program leads, every descendant of
/// those by parentage, and every session such a descendant leads. Only a daemon that opened a session
/// of its own *and* whose parent has died before is out of reach; even that one dies with the node.
#[derive(Clone)]
pub struct Process {
    inner: Arc<Inner>,
}

struct Inner {
    node: Node,
    program: Program,
    life: Mutex<Life>,
}

/// The current incarnation.
struct Life {
    child: Child,
    pid: u32,
    /// Readable once the leader has ended.
    pidfd: Arc<OwnedFd>,
    exit: Option<Exit>,
    /// We have asked for its end.
    asked: bool,
    /// The sessions of the tree seen so far: how descendants are known once the leader is dead.
    sessions: HashSet<u32>,
    /// Leader reaped and no descendant left: the pid may now belong to a stranger.
    tree_gone: bool,
    starts: u32,
}

impl Process {
    pub(crate) fn start(node: Node, program: Program) -> Result<Process> {
        let (child, pidfd) = launch(&node, &program)?;
        let life = Mutex::new(Life::new(child, pidfd, 1));
        Ok(Process { inner: Arc::new(Inner { node, program, life }) })
    }

    /// The leader's pid as the harness sees it; changes with every restart.
    pub fn pid(&self) -> u32 {
        self.lock().pid
    }

    /// The program's name.
    pub fn name(&self) -> &str {
        &self.inner.program.name
    }

    /// The node it runs in.
    pub fn node(&self) -> &Node {
        &self.inner.node
    }

    /// What it was started from.
    pub fn program(&self) -> &Program {
        &self.inner.program
    }

    /// How often it was started, the first time included.
    pub fn starts(&self) -> u32 {
        self.lock().starts
    }

    /// What the kernel says the leader is doing right now.
    pub fn state(&self) -> ProcessState {
        let mut life = self.lock();
        if let Some(exit) = life.poll_exit() {
            return ProcessState::Exited(exit);
        }
        if tree::leader_stands_still(life.pid) { ProcessState::Stopped } else { ProcessState::Running }
    }

    /// How it has ended, unless it runs or its end was asked for here.
    pub fn ended_by_itself(&self) -> Option<Exit> {
        let mut life = self.lock();
        life.poll_exit().filter(|_| !life.asked)
    }

    /// The pids of all living members of the tree, the leader included, as the harness sees them.
    pub fn members(&self) -> Vec<u32> {
        self.lock().members().into_iter().filter(|m| m.alive()).map(|m| m.pid).collect()
    }

    /// Halts the whole tree (SIGSTOP) and returns when every thread of every member stands still: none
    /// will run another instruction of its own. A kernel call already under way may still complete.
    pub fn stop(&self) -> Result<()> {
        self.signal_tree("stop", libc::SIGSTOP, tree::Member::stands_still)
    }

    /// Lets a halted tree run again (SIGCONT) and returns when no member is halted.
    pub fn cont(&self) -> Result<()> {
        self.signal_tree("continue", libc::SIGCONT, |member| !member.is_halted())
    }

    /// Kills the whole tree (SIGKILL) and returns when it is gone and reaped. Fine on a dead one.
    pub fn kill(&self) -> Result<()> {
        self.kill_tree(&mut self.lock())
    }

    /// Asks the leader to end (SIGTERM, continuing the tree if it is halted), waits up to `grace`, then kills
    /// what is left of the tree.
    pub fn terminate(&self, grace: Duration) -> Result<()> {
        {
            let mut life = self.lock();
            if life.poll_exit().is_none() {
                life.asked = true;
                let _ = sys::signal(life.pid, libc::SIGTERM);
                for member in life.members() {
                    let _ = sys::signal(member.pid, libc::SIGCONT);
                }
            }
        }
        self.wait_exit(grace);
        self.kill()
    }

    /// Starts the same program again in the same node, its log appended; kills what still runs first.
    pub fn restart(&self) -> Result<()> {
        let mut life = self.lock();
        self.kill_tree(&mut life)?;
        let (child, pidfd) = launch(&self.inner.node, &self.inner.program)?;
        *life = Life::new(child, pidfd, life.starts + 1);
        Ok(())
    }

    /// Waits until the leader has ended; `None` if `timeout` passes first.
    pub fn wait_exit(&self, timeout: Duration) -> Option<Exit> {
        let pidfd = self.lock().pidfd.clone();
        let _ = sys::wait_readable(&pidfd, timeout);
        self.lock().poll_exit()
    }

    /// The last `lines` lines of its log, or of the log's last 64 KiB; empty when there is none.
    pub fn log_tail(&self, lines: usize) -> String {
        log_tail(&self.inner.program.log, lines).unwrap_or_default()
    }

    /// Collects the exit of a leader whose node has just gone down.
    pub(crate) fn reap(&self) {
        let mut life = self.lock();
        if life.exit.is_none() {
            let status = life.child.wait();
            life.exit = status.ok().map(exit_of);
        }
        life.tree_gone = true;
    }

    fn kill_tree(&self, life: &mut Life) -> Result<()> {
        life.asked |= life.poll_exit().is_none();
        // Frozen first: nobody forks, and no link from parent to child breaks before it was seen.
        life.signal_group(libc::SIGSTOP);
        let deadline = Instant::now() + SIGNAL_DEADLINE;
        let mut pause = Pause::new();
        while !life.tree_gone {
            let exited = life.poll_exit().is_some();
            let members = life.members();
            let alive: Vec<u32> = members.iter().filter(|m| m.alive()).map(|m| m.pid).collect();
            let late = Instant::now() > deadline;
            // PID 1 reaps orphans within moments; a zombie that stays all the same does no harm.
            if exited && alive.is_empty() && (members.is_empty() || late) {
                life.tree_gone = true;
                break;
            }
            for pid in &alive {
                let _ = sys::signal(*pid, libc::SIGKILL);
            }
            if late {
                let why = format!("still alive after {SIGNAL_DEADLINE:?}: {alive:?}");
                return Err(self.signal_error("kill", life.pid, why));
            }
            pause.sleep();
        }
        Ok(())
    }

    /// Signals the leader's group at once, so that the harm has a sharp edge in time; then looks through
    /// `/proc` and signals every member not yet `settled`, again and again, until two looks in a row find
    /// all settled: a fork that slipped between the signal and the look is caught by the second.
    fn signal_tree(
        &self,
        action: &'static str,
        signal: libc::c_int,
        settled: impl Fn(&tree::Member) -> bool,
    ) -> Result<()> {
        let mut life = self.lock();
        let deadline = Instant::now() + SIGNAL_DEADLINE;
        let mut pause = Pause::new();
        let mut calm_looks = 0;
        life.signal_group(signal);
        while calm_looks < 2 {
            if life.poll_exit().is_some() {
                return Err(self.signal_error(action, life.pid, "it has already ended".to_owned()));
            }
            let members = life.members();
            let unsettled: Vec<u32> =
                members.iter().filter(|m| m.alive() && !settled(m)).map(|m| m.pid).collect();
            if unsettled.is_empty() {
                calm_looks += 1;
                continue;
            }
            calm_looks = 0;
            if Instant::now() > deadline {
                let why = format!("not all of it followed within {SIGNAL_DEADLINE:?}: {unsettled:?}");
                return Err(self.signal_error(action, life.pid, why));
            }
            for pid in unsettled {
                let _ = sys::signal(pid, signal);
            }
            pause.sleep();
        }
        Ok(())
    }

    fn signal_error(&self, action: &'static str, pid: u32, why: String) -> LabError {
        LabError::Signal { action, name: self.name().to_owned(), pid, why }
    }

    fn lock(&self) -> MutexGuard<'_, Life> {
        self.inner.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({} on {}, pid {})", self.name(), self.inner.node.name(), self.pid())
    }
}

impl Life {
    fn new(child: Child, pidfd: Arc<OwnedFd>, starts: u32) -> Life {
        let pid = child.id();
        Life {
            child,
            pid,
            pidfd,
            exit: None,
            asked: false,
            sessions: HashSet::from([pid]),
            tree_gone: false,
            starts,
        }
    }

    /// Reaps the leader if it has ended.
    fn poll_exit(&mut self) -> Option<Exit> {
        if self.exit.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.exit = Some(exit_of(status));
            // Once reaped, the pid is free for others as soon as no member of its sessions is left.
            self.tree_gone = tree::members(&mut self.sessions).is_empty();
        }
        self.exit
    }

    /// Reaches most of the tree without a look at `/proc`, as long as the leader's pid is surely its own.
    fn signal_group(&mut self, signal: libc::c_int) {
        if self.poll_exit().is_none() {
            let _ = sys::signal_group(self.pid, signal);
        }
    }

    fn members(&mut self) -> Vec<tree::Member> {
        if self.tree_gone { Vec::new() } else { tree::members(&mut self.sessions) }
    }
}

/// Sleeps a little longer each time, up to 5 ms.
struct Pause(Duration);

impl Pause {
    fn new() -> Pause {
        Pause(Duration::from_micros(100))
    }

    fn sleep(&mut self) {
        std::thread::sleep(self.0);
        self.0 = (self.0 * 2).min(Duration::from_millis(5));
    }
}

fn exit_of(status: std::process::ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

/// Starts `program` from inside `node`.
fn launch(node: &Node, program: &Program) -> Result<(Child, Arc<OwnedFd>)> {
    let file_error = |path: &Path, source| LabError::File { path: path.to_owned(), source };
    let binary = program.argv.first().cloned().unwrap_or_default();
    let spawn_error = |source| LabError::Spawn {
        program: binary.to_string_lossy().into_owned(),
        node: node.name().to_owned(),
        source,
    };
    if !program.cwd.is_dir() {
        return Err(file_error(&program.cwd, io::ErrorKind::NotADirectory.into()));
    }
    let log = OpenOptions::new().create(true).append(true).open(&program.log);
    let log = log.map_err(|e| file_error(&program.log, e))?;
    let log_too = log.try_clone().map_err(|e| file_error(&program.log, e))?;
    let mut command = Command::new(&binary);
    command
        .args(&program.argv[program.argv.len().min(1)..])
        .envs(program.env.iter().map(|(k, v)| (k, v)))
        .current_dir(&program.cwd)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_too);
    // SAFETY: the hook makes two system calls and touches no memory shared with other threads.
    unsafe { command.pre_exec(detach) };
    let mut child = node.run_inside(move || command.spawn())?.map_err(spawn_error)?;
    match sys::pidfd_open(child.id()) {
        Ok(pidfd) => Ok((child, Arc::new(pidfd))),
        Err(e) => {
            let _ = child.kill().and_then(|()| child.wait());
            Err(spawn_error(e))
        }
    }
}

/// Runs between fork and exec: a session of its own, out of reach of the terminal's Ctrl-C, and death
/// with the spawner thread as a second belt beside PID 1.
fn detach() -> io::Result<()> {
    // SAFETY: both are async-signal-safe system calls without pointers.
    unsafe {
        sys::check(libc::setsid())?;
        sys::check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)).map(drop)
    }
}

fn log_tail(path: &Path, lines: usize) -> io::Result<String> {
    const TAIL_BYTES: u64 = 64 * 1024;
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].join("\n"))
}
