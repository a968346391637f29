//! The ground a scenario stands on: a lab of its own, a folder for its files, and programs on its nodes.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use lab::{Lab, LabOptions, Node, Process, ProcessState, Program};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A lab with named nodes and the programs on them; all of it ends when this is dropped.
pub struct Rig {
    processes: HashMap<String, Process>,
    nodes: HashMap<String, Node>,
    folder: PathBuf,
    lab: Lab,
}

impl Rig {
    /// Raises nodes of these names; what their programs write lies below `folder`.
    pub fn up(folder: &Path, nodes: &[&str]) -> Result<Rig> {
        let mut lab = Lab::up(LabOptions::named("scenario"))?;
        let nodes = lab.add_nodes(nodes)?;
        let nodes = nodes.into_iter().map(|node| (node.name().to_string(), node)).collect();
        Ok(Rig { processes: HashMap::new(), nodes, folder: folder.to_owned(), lab })
    }

    /// The network between the nodes.
    pub fn fabric(&self) -> &lab::Fabric {
        self.lab.fabric()
    }

    /// The node of this name; scenarios name their own.
    pub fn node(&self, name: &str) -> &Node {
        &self.nodes[name]
    }

    /// Names of all nodes by number, as records of strikes want them.
    pub fn names(&self) -> Vec<String> {
        self.lab.nodes().iter().map(|node| node.name().to_string()).collect()
    }

    /// A directory for the programs of a node, made if missing.
    pub fn dir(&self, node: &str) -> Result<PathBuf> {
        let dir = self.folder.join(results::layout::NODES).join(node);
        std::fs::create_dir_all(&dir).with_context(|| format!("failed to make {}", dir.display()))?;
        Ok(dir)
    }

    /// Starts a program on a node; there is one on each.
    pub fn start(&mut self, node: &str, name: &str, argv: Vec<OsString>, cwd: PathBuf) -> Result<()> {
        let log = self.dir(node)?.join(format!("{name}.log"));
        let program = Program { name: name.into(), argv, env: Vec::new(), cwd, log };
        let process = self.node(node).spawn(&program)?;
        self.processes.insert(node.to_string(), process);
        Ok(())
    }

    /// The program on a node.
    pub fn process(&self, node: &str) -> Result<&Process> {
        self.processes.get(node).ok_or_else(|| anyhow!("nothing was started on {node}"))
    }

    /// Its whole log so far.
    pub fn log(&self, node: &str) -> Result<String> {
        let path = &self.process(node)?.program().log;
        std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
    }

    /// Code or signal it ended with, if it has ended.
    pub fn ended(&self, node: &str) -> Result<Option<lab::Exit>> {
        match self.process(node)?.state() {
            ProcessState::Exited(exit) => Ok(Some(exit)),
            _ => Ok(None),
        }
    }

    /// Does this to the links between two nodes, in the directions given as pairs of names, until the guard is dropped.
    pub fn strike(&self, links: &[(&str, &str)], action: lab::Action) -> Result<lab::RuleGuard> {
        let links = links.iter().map(|(from, to)| (self.node(from).id(), self.node(to).id())).collect();
        Ok(self.fabric().install(lab::Rule::new("scenario", links, action, 0))?)
    }

    /// Runs `job` on a thread whose sockets are the node's, to its end.
    pub fn inside<T: Send + 'static>(
        &self,
        node: &str,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.node(node).enter("scenario", job)?.join().map_err(|_| anyhow!("a thread has panicked"))?
    }
}

/// Waits until `look` finds something; an error says what was waited for.
pub fn eventually<T>(what: &str, bound: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + bound;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("{what}: not within {bound:?}");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Watches for `bound`; whether `look` ever found something.
pub fn ever<T>(bound: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let deadline = Instant::now() + bound;
    while Instant::now() < deadline {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(None)
}
