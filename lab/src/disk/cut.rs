//! The power cut: the backing store is put back to what a medium would hold.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::inode::Inode;
use super::names::Restore;
use super::store::{Store, lock, read_range};
use super::unsynced::{BLOCK, Step, Survival};

/// How the medium is left.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerCut {
    /// What survives of the changes since the last sync of each file. Names (creations, renames, removals)
    /// are lost under [`Survival::Nothing`], survive under [`Survival::Torn`], and under
    /// [`Survival::Blocks`] survive together with that probability, as one commit of a journal.
    pub survival: Survival,
    /// Fixes the draws.
    pub seed: u64,
}

/// What a power cut took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Files whose content went back.
    pub files: u64,
    /// Bytes of un-synced writes and cuts that were taken back; by whole blocks with [`Survival::Blocks`].
    pub bytes: u64,
    /// Names that were put back.
    pub names: u64,
    /// The files and names in question, relative to the mount point, sorted; without doubles.
    pub paths: Vec<String>,
}

impl Store {
    /// Puts everything back. Nobody may have a file open for writing.
    pub(crate) fn cut(&self, cut: &PowerCut) -> io::Result<Lost> {
        let mut lost = Lost::default();
        // Before anything is put back, all that is to come back must have a name that stays.
        let mut names = self.names();
        for id in names.needed() {
            self.limbo.link(&*lock(&self.inodes).get(id)?)?;
        }
        let mut inodes = lock(&self.inodes).all();
        inodes.sort_by_key(|inode| inode.id);
        for inode in inodes {
            let bytes = self.cut_file(&inode, cut)?;
            if bytes > 0 {
                lost.files += 1;
                lost.bytes += bytes;
                lost.paths.push(lock(&self.inodes).path(inode.id));
            }
        }
        let keeps_names = match cut.survival {
            Survival::Nothing => false,
            Survival::Torn { .. } => true,
            Survival::Blocks { probability } => {
                ChaCha8Rng::seed_from_u64(cut.seed).random::<f64>() < probability
            }
        };
        for restore in names.cut() {
            if keeps_names {
                continue;
            }
            lost.names += 1;
            lost.paths.push(lock(&self.inodes).path_in(restore.dir, &restore.name));
            self.restore(&restore)?;
        }
        self.limbo.release(|_| false);
        lock(&self.inodes).prune(|_| false);
        lost.paths.sort();
        lost.paths.dedup();
        Ok(lost)
    }

    /// Returns how many bytes were lost.
    fn cut_file(&self, inode: &Inode, cut: &PowerCut) -> io::Result<u64> {
        let mut log = inode.log();
        self.write_back(&mut log);
        if log.is_clean() {
            return Ok(0);
        }
        let seed = cut.seed ^ inode.id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let file = inode.open(libc::O_RDWR)?;
        let bytes = match cut.survival {
            Survival::Nothing => {
                apply(&file, &log.undo_all())?;
                log.touched_bytes()
            }
            Survival::Torn { keep_bytes } => match log.tear(keep_bytes, seed) {
                Some((steps, bytes)) => {
                    apply(&file, &steps)?;
                    bytes
                }
                None => 0,
            },
            Survival::Blocks { probability } => {
                let (kept, lost) = log.surviving_blocks(probability, seed);
                let current: Vec<(u64, Vec<u8>)> = kept
                    .iter()
                    .map(|block| Ok((block * BLOCK, read_range(&file, block * BLOCK, BLOCK)?)))
                    .collect::<io::Result<_>>()?;
                apply(&file, &log.undo_all())?;
                for (offset, bytes) in current {
                    file.write_all_at(&bytes, offset)?;
                }
                lost * BLOCK
            }
        };
        self.undone(&mut log);
        Ok(bytes)
    }

    /// Makes a name mean what it means on the medium.
    fn restore(&self, Restore { dir, name, file }: &Restore) -> io::Result<()> {
        let dir = self.inode(*dir)?;
        match unlinkat(&dir.fd, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(nix::errno::Errno::ENOENT) => {}
            Err(e) => return Err(e.into()),
        }
        let Some(file) = file else { return Ok(()) };
        let file = self.inode(*file)?;
        let name: &OsStr = name;
        linkat(AT_FDCWD, &file.magic_path(), &dir.fd, name, AtFlags::AT_SYMLINK_FOLLOW)?;
        Ok(())
    }
}

fn apply(file: &File, steps: &[Step]) -> io::Result<()> {
    for step in steps {
        match step {
            Step::Write { offset, bytes } => file.write_all_at(bytes, *offset)?,
            Step::SetLen(len) => file.set_len(*len)?,
        }
    }
    Ok(())
}
