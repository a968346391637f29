//! A hidden directory for files that have lost their last name but that a power cut may bring back.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;

use super::inode::{Inode, ROOT};
use super::names::{Id, Names};

/// Its name in the backing directory; nobody inside the mount sees it.
const NAME: &str = ".lab-limbo";

/// Extra names of files, by their numbers. Removed, with all that is in it, when dropped.
#[derive(Debug)]
pub(crate) struct Limbo {
    dir: PathBuf,
    kept: Mutex<HashSet<Id>>,
}

impl Limbo {
    /// Empties it, should one be left over from a harness that was killed.
    pub(crate) fn below(backing: &Path) -> io::Result<Limbo> {
        let dir = backing.join(NAME);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        Ok(Limbo { dir, kept: Mutex::default() })
    }

    /// True if this is the limbo itself.
    pub(crate) fn is_it(&self, parent: Id, name: &OsStr) -> bool {
        parent == ROOT && name == NAME
    }

    /// Keeps a file that is about to lose a name, if it still has one on the medium.
    pub(crate) fn keep(&self, inode: &Inode, names: &Names) -> io::Result<()> {
        if names.needed().contains(&inode.id) { self.link(inode) } else { Ok(()) }
    }

    /// Gives a file an extra name.
    pub(crate) fn link(&self, inode: &Inode) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.contains(&inode.id) {
            return Ok(());
        }
        fs::create_dir_all(&self.dir)?;
        let extra = self.dir.join(inode.id.to_string());
        linkat(AT_FDCWD, &inode.magic_path(), AT_FDCWD, &extra, AtFlags::AT_SYMLINK_FOLLOW)?;
        kept.insert(inode.id);
        Ok(())
    }

    /// Lets go of those who are not needed any more.
    pub(crate) fn release(&self, is_needed: impl Fn(Id) -> bool) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|id| {
            let stays = is_needed(*id);
            if !stays {
                let _ = fs::remove_file(self.dir.join(id.to_string()));
            }
            stays
        });
    }
}

impl Drop for Limbo {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
