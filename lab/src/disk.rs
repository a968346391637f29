//! Faulty disks: a file system of ours (FUSE) over a directory, inside one node, that fails by rule and
//! remembers what a power cut would lose.
//!
//! ```text
//!   node zk1                         this process
//!  ┌─────────────────────┐ /dev/fuse ┌──────────────────────────────┐
//!  │ server ── data/  ───┼──────────→│ rules: fail, wait, flip      │──→ the same directory,
//!  │           (mounted) │           │ un-synced writes remembered  │    as the harness sees it
//!  └─────────────────────┘           └──────────────────────────────┘
//! ```
//!
//! Every operation is carried out on the backing directory at once, so what is read is what was written.
//! What undoes it is kept until the file is synced; [`Disk::lose_unsynced`], called between the killing of a
//! server and its start, undoes it: the state a power cut leaves.
//!
//! **What a cut loses.** Content and length of files go back to the last sync of each. Creations, removals
//! and renames of files are lost unless made durable: with [`NameSync::Journal`], as ext4 and XFS do it, by
//! the next sync of *any* file or directory; with [`NameSync::Strict`], as POSIX words it, only by a sync of
//! the directory. Directories themselves, owners, modes and times are durable at once. Time writes back as it
//! does on Linux unless told otherwise: content after 30 seconds, names 5 seconds after the first of them was
//! changed; and so does want of memory ([`DiskOptions::undo_bytes_max`]). A sync that a rule makes fail leaves its
//! changes un-synced, and a later one that succeeds makes them durable; that Linux may forget such pages
//! (marking them clean) is not modelled.
//!
//! **What it does not reach.** Files mapped into memory (`mmap`) are read and written by pages the kernel
//! caches, so rules for reads and writes see those late or not at all; neither Redis nor ZooKeeper maps its
//! data. Special files cannot be made, extended attributes are refused. Locks work within the node.

mod cut;
mod glob;
mod inode;
mod limbo;
pub(crate) mod mount;
mod names;
mod rule;
mod serve;
mod space;
mod store;
mod unsynced;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use fuser::{Config, Session, SessionACL};
use serde::{Deserialize, Serialize};

pub use self::cut::{Lost, PowerCut};
pub use self::rule::{DiskAction, DiskCounters, DiskErrno, DiskOp, DiskRule};
pub use self::unsynced::Survival;

use self::rule::RuleState;
use self::serve::Server;
use self::store::{Store, lock};
use crate::error::{LabError, Result};
use crate::node::Node;

/// What makes names durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameSync {
    /// Any sync of a file or directory makes all names durable that were changed before, as on file
    /// systems with an ordered journal.
    #[default]
    Journal,
    /// Only a sync of the directory makes its names durable.
    Strict,
}

/// How a disk remembers.
#[derive(Clone, Copy, Debug)]
pub struct DiskOptions {
    /// What makes names durable.
    pub names: NameSync,
    /// The most bytes of overwritten content that are kept to be put back, over all files. Past it the file
    /// in hand is taken as written back, as a kernel short of memory would; see [`Pending::written_back`].
    pub undo_bytes_max: u64,
    /// The age at which content is on the medium without a sync; `None` for never. Linux: 30 s
    /// (`vm.dirty_expire_centisecs`).
    pub data_written_after: Option<Duration>,
    /// How long after the first of them was changed names are durable without a sync; `None` for never. ext4: 5 s
    /// (`commit=5`).
    pub names_written_after: Option<Duration>,
}

impl Default for DiskOptions {
    fn default() -> DiskOptions {
        DiskOptions {
            names: NameSync::Journal,
            undo_bytes_max: 256 << 20,
            data_written_after: Some(Duration::from_secs(30)),
            names_written_after: Some(Duration::from_secs(5)),
        }
    }
}

/// What a power cut could take right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Files with un-synced changes.
    pub files: u64,
    /// Bytes of those changes.
    pub bytes: u64,
    /// How often a file was written back early for want of memory, so far.
    pub written_back: u64,
}

/// Threads that answer the kernel; operations that wait have threads of their own.
const WORKERS: usize = 3;
/// How long the last file of a killed process may take to be closed.
const CLOSE_BOUND: Duration = Duration::from_secs(5);

/// A faulty disk: one directory of one node. Dropping it heals every rule and takes the mount away; who has
/// files open there keeps them, and they are served until they are closed or the node goes down.
pub struct Disk {
    node: Node,
    mount_point: PathBuf,
    store: Arc<Store>,
    closed: Arc<AtomicBool>,
    next_rule: AtomicU64,
}

impl Disk {
    /// Mounts a file system over `mount_point` in `node`, of what is in `backing`. Both may be the same
    /// directory: then the node sees the faulty disk, and the harness what is on it.
    ///
    /// Mount it before the server is started: files that are open already bypass it. An error names the
    /// mend: the device is missing, or may not be used.
    pub fn mount(node: &Node, backing: &Path, mount_point: &Path, options: DiskOptions) -> Result<Disk> {
        let failed = |step: &'static str, source: io::Error| LabError::Disk {
            node: node.name().to_owned(),
            step,
            source,
        };
        let store = Store::over(backing, options).map_err(|e| failed("open its directory", e))?;
        let store = Arc::new(store);
        let device = mount::open_device().map_err(|e| failed("open /dev/fuse", e))?;
        let at = mount_point.to_owned();
        let device = node
            .run_inside(move || mount::mount_here(&device, &at).map(|()| device))?
            .map_err(|e| failed("mount it", e))?;
        let closed = Arc::new(AtomicBool::new(false));
        let server = Server { store: store.clone(), closed: closed.clone() };
        let mut config = Config::default();
        config.n_threads = Some(WORKERS);
        let session = Session::from_fd(server, device.into(), SessionACL::All, config)
            .map_err(|e| failed("greet the kernel", e))?;
        let thread = std::thread::Builder::new().name(format!("disk-{}", node.name()));
        // It ends when the mount and the last file in it are gone, at the latest with the node.
        thread.spawn(move || session.run()).map_err(|e| failed("start its thread", e))?;
        let (node, mount_point) = (node.clone(), mount_point.to_owned());
        Ok(Disk { node, mount_point, store, closed, next_rule: AtomicU64::new(1) })
    }

    /// The node it is in.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Where it is mounted.
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Puts a rule in force until its guard is dropped. Rules act in the order of their installation: an
    /// operation waits for all that make it wait, and fails by the first that makes it fail.
    pub fn install(&self, rule: DiskRule) -> Result<DiskRuleGuard> {
        if let Some(why) = rule.problem() {
            return Err(LabError::BadRule { name: rule.name, why });
        }
        let state = Arc::new(RuleState::new(self.next_rule.fetch_add(1, Relaxed), rule));
        let mut rules = self.store.rules.write().unwrap_or_else(PoisonError::into_inner);
        rules.push(state.clone());
        Ok(DiskRuleGuard { store: self.store.clone(), state })
    }

    /// What a power cut could take right now.
    pub fn pending(&self) -> Pending {
        let inodes = lock(&self.store.inodes).all();
        let dirty = inodes.iter().map(|inode| inode.log()).filter(|log| !log.is_clean());
        let (files, bytes) = dirty.fold((0, 0), |(n, bytes), log| (n + 1, bytes + log.touched_bytes()));
        Pending { files, bytes, written_back: self.store.written_back.load(Relaxed) }
    }

    /// Takes everything as written back, as if it had been done long ago.
    pub fn settle(&self) {
        self.store.settle();
    }

    /// Leaves on the backing directory what a power cut at this moment would leave. Call it after the
    /// processes were killed and before they are started again; an error says who still writes.
    pub fn lose_unsynced(&self, cut: PowerCut) -> Result<Lost> {
        let failed = |step, source| LabError::Disk { node: self.node.name().to_owned(), step, source };
        let deadline = Instant::now() + CLOSE_BOUND;
        // Closing is told to us a moment after the process is gone.
        while self.store.writers() > 0 {
            if Instant::now() > deadline {
                let why = format!("{} files are still open for writing", self.store.writers());
                return Err(failed("cut its power: kill its processes first", io::Error::other(why)));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.store.cut(&cut).map_err(|e| failed("undo what was not synced", e))
    }

    fn heal_all(&self) {
        let mut rules = self.store.rules.write().unwrap_or_else(PoisonError::into_inner);
        rules.drain(..).for_each(|rule| rule.heal());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.heal_all();
        let at = self.mount_point.clone();
        // With the node down the mount is gone already.
        let _ = self.node.run_inside(move || mount::unmount_here(&at));
        self.closed.store(true, Relaxed);
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({} of {})", self.mount_point.display(), self.node.name())
    }
}

/// A disk rule in force. Dropping it heals: who waits goes on at once, and nothing else changes.
#[derive(Debug)]
pub struct DiskRuleGuard {
    store: Arc<Store>,
    state: Arc<RuleState>,
}

impl DiskRuleGuard {
    /// The rule it stands for.
    pub fn rule(&self) -> &DiskRule {
        &self.state.rule
    }

    /// What the rule has done so far.
    pub fn counters(&self) -> DiskCounters {
        self.state.counters()
    }

    /// Takes the rule away; returns what it had done until then.
    pub fn heal(self) -> DiskCounters {
        self.take_away();
        self.state.counters()
    }

    fn take_away(&self) {
        let mut rules = self.store.rules.write().unwrap_or_else(PoisonError::into_inner);
        rules.retain(|rule| rule.id != self.state.id);
        drop(rules);
        self.state.heal();
    }
}

impl Drop for DiskRuleGuard {
    fn drop(&mut self) {
        self.take_away();
    }
}
