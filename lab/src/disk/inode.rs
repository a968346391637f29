//! The files and directories the kernel knows of, each by a number and a descriptor on the backing store.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::names::Id;
use super::unsynced::Unsynced;

/// The number of the mounted directory itself.
pub(crate) const ROOT: Id = 1;

/// One file or directory. It is kept open, so it stays what it is whatever becomes of its name.
#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) id: Id,
    /// Opened with `O_PATH`.
    pub(crate) fd: OwnedFd,
    pub(crate) is_dir: bool,
    key: (u64, u64),
    /// Where it was last seen.
    place: Mutex<(Id, OsString)>,
    /// What its medium does not hold yet.
    pub(crate) log: Mutex<Unsynced>,
}

impl Inode {
    /// A path that means this very file as long as the inode lives.
    pub(crate) fn magic_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        // A duplicate, closed again at once, for `File` wants to own it.
        File::from(self.fd.try_clone()?).metadata()
    }

    /// Opens the file itself; writers may read too, for what they overwrite must be known.
    pub(crate) fn open(&self, flags: i32) -> io::Result<File> {
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
        let extra = flags & (libc::O_NOATIME | libc::O_NOFOLLOW);
        let mut options = OpenOptions::new();
        options.read(true).write(writes).custom_flags(extra);
        options.open(self.magic_path())
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Unsynced> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Known {
    inode: Arc<Inode>,
    /// How many references the kernel holds.
    lookups: u64,
}

/// All inodes in use.
#[derive(Debug)]
pub(crate) struct Inodes {
    by_id: HashMap<Id, Known>,
    by_key: HashMap<(u64, u64), Id>,
    next: Id,
}

impl Inodes {
    /// Begins with the directory that is mounted.
    pub(crate) fn of(backing: &Path) -> io::Result<Inodes> {
        let root =
            OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(backing)?;
        let key = key_of(&root.metadata()?);
        let inode = Inode {
            id: ROOT,
            fd: root.into(),
            is_dir: true,
            key,
            place: Mutex::new((ROOT, OsString::new())),
            log: Mutex::default(),
        };
        let by_id = HashMap::from([(ROOT, Known { inode: Arc::new(inode), lookups: 1 })]);
        Ok(Inodes { by_id, by_key: HashMap::from([(key, ROOT)]), next: ROOT })
    }

    pub(crate) fn get(&self, id: Id) -> io::Result<Arc<Inode>> {
        let known = self.by_id.get(&id).map(|known| known.inode.clone());
        known.ok_or_else(|| io::Error::from_raw_os_error(libc::ESTALE))
    }

    /// What `name` in `parent` is now, as an inode, with `lookups` more references of the kernel.
    pub(crate) fn find(&mut self, parent: Id, name: &OsStr, lookups: u64) -> io::Result<Arc<Inode>> {
        let dir = self.get(parent)?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = File::from(openat(&dir.fd, name, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        let key = key_of(&metadata);
        let id = *self.by_key.entry(key).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        let known = self.by_id.entry(id).or_insert_with(|| {
            let inode = Inode {
                id,
                fd: file.into(),
                is_dir: metadata.is_dir(),
                key,
                place: Mutex::default(),
                log: Mutex::default(),
            };
            Known { inode: Arc::new(inode), lookups: 0 }
        });
        known.lookups += lookups;
        *lock(&known.inode.place) = (parent, name.to_owned());
        Ok(known.inode.clone())
    }

    /// The kernel has dropped `lookups` of its references; `is_needed` says who must be kept all the same.
    pub(crate) fn forget(&mut self, id: Id, lookups: u64, is_needed: impl Fn(Id) -> bool) {
        let Some(known) = self.by_id.get_mut(&id) else { return };
        known.lookups = known.lookups.saturating_sub(lookups);
        if id != ROOT && known.lookups == 0 && known.inode.log().is_clean() && !is_needed(id) {
            self.by_key.remove(&known.inode.key);
            self.by_id.remove(&id);
        }
    }

    /// Drops whom neither the kernel nor a power cut could ask for.
    pub(crate) fn prune(&mut self, is_needed: impl Fn(Id) -> bool) {
        let idle: Vec<Id> =
            self.by_id.iter().filter(|(_, known)| known.lookups == 0).map(|(id, _)| *id).collect();
        for id in idle {
            self.forget(id, 0, &is_needed);
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Inode>> {
        self.by_id.values().map(|known| known.inode.clone()).collect()
    }

    /// Where an inode is, or was last, relative to the mount point; not UTF-8 becomes `�`.
    pub(crate) fn path(&self, id: Id) -> String {
        let mut names = Vec::new();
        let mut at = id;
        // A bound, should a directory have been moved below itself while we looked.
        while at != ROOT && names.len() < 256 {
            let Some(known) = self.by_id.get(&at) else { break };
            let (parent, name) = lock(&known.inode.place).clone();
            names.push(name.to_string_lossy().into_owned());
            at = parent;
        }
        names.reverse();
        names.join("/")
    }

    /// The path of `name` in `parent`.
    pub(crate) fn path_in(&self, parent: Id, name: &OsStr) -> String {
        let name = name.to_string_lossy();
        if parent == ROOT { name.into_owned() } else { format!("{}/{name}", self.path(parent)) }
    }
}

fn key_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
