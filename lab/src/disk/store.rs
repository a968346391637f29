//! The backing store: every operation carried out there at once, and what a power cut would undo noted.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use super::inode::{Inode, Inodes};
use super::limbo::Limbo;
use super::names::{Id, Names};
use super::rule::{DiskOp, Fate, RuleState};
use super::space;
use super::unsynced::{Mark, Unsynced};
use super::{DiskAction, DiskOptions, NameSync};

/// A file that some process has open.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) inode: Arc<Inode>,
    pub(crate) file: File,
    writes: bool,
    /// Every write is synced before it is answered (`O_SYNC`, `O_DSYNC`).
    syncs: bool,
}

/// What the installed rules say about one operation.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    pub(crate) waits: Vec<(Arc<RuleState>, Option<Duration>)>,
    pub(crate) fail: Option<i32>,
    pub(crate) flip: Option<(Arc<RuleState>, u64)>,
    pub(crate) account: Option<Arc<RuleState>>,
    pub(crate) ignore_sync: Option<Arc<RuleState>>,
}

/// The file system behind one mount.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) inodes: Mutex<Inodes>,
    pub(crate) names: Mutex<Names>,
    pub(crate) limbo: Limbo,
    handles: Mutex<HashMap<u64, Arc<Handle>>>,
    next_handle: AtomicU64,
    pub(crate) rules: RwLock<Vec<Arc<RuleState>>>,
    options: DiskOptions,
    began: Instant,
    /// Bytes of undoing held in memory, by all files.
    held: AtomicU64,
    /// How often a file was written back early because memory was short.
    pub(crate) written_back: AtomicU64,
}

impl Store {
    pub(crate) fn over(backing: &Path, options: DiskOptions) -> io::Result<Store> {
        Ok(Store {
            inodes: Mutex::new(Inodes::of(backing)?),
            names: Mutex::default(),
            limbo: Limbo::below(backing)?,
            handles: Mutex::default(),
            next_handle: AtomicU64::new(1),
            rules: RwLock::default(),
            options,
            began: Instant::now(),
            held: AtomicU64::new(0),
            written_back: AtomicU64::new(0),
        })
    }

    /// What the rules say; `path` is asked for only if there are any.
    pub(crate) fn judge(&self, op: DiskOp, path: impl FnOnce(&Inodes) -> String) -> Judgement {
        let mut judgement = Judgement::default();
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        if rules.is_empty() {
            return judgement;
        }
        let path = path(&lock(&self.inodes));
        for rule in rules.iter().filter(|rule| rule.covers(op, &path)) {
            match rule.judge(&path) {
                Fate::Pass => {}
                Fate::Fail(errno) => {
                    judgement.fail = Some(errno);
                    break;
                }
                Fate::Wait(time) => judgement.waits.push((rule.clone(), time)),
                Fate::Flip(bit) => judgement.flip = Some((rule.clone(), bit)),
                Fate::Account => judgement.account = Some(rule.clone()),
                Fate::IgnoreSync => judgement.ignore_sync = Some(rule.clone()),
            }
        }
        judgement
    }

    /// The rules that keep account of free space.
    pub(crate) fn accounts(&self) -> Vec<Arc<RuleState>> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        let is_account = |rule: &&Arc<RuleState>| matches!(rule.rule.action, DiskAction::Full { .. });
        rules.iter().filter(is_account).cloned().collect()
    }

    fn give_space(&self, bytes: u64) {
        self.accounts().iter().for_each(|rule| rule.give_space(bytes));
    }

    pub(crate) fn inode(&self, id: Id) -> io::Result<Arc<Inode>> {
        lock(&self.inodes).get(id)
    }

    pub(crate) fn handle(&self, fh: u64) -> io::Result<Arc<Handle>> {
        let handle = lock(&self.handles).get(&fh).cloned();
        handle.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
    }

    /// How many handles may still write.
    pub(crate) fn writers(&self) -> usize {
        lock(&self.handles).values().filter(|handle| handle.writes).count()
    }

    pub(crate) fn lookup(&self, parent: Id, name: &OsStr) -> io::Result<(Arc<Inode>, Metadata)> {
        if self.limbo.is_it(parent, name) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        let inode = lock(&self.inodes).find(parent, name, 1)?;
        let metadata = inode.metadata()?;
        Ok((inode, metadata))
    }

    pub(crate) fn forget(&self, id: Id, lookups: u64) {
        let needed = lock(&self.names).needed();
        lock(&self.inodes).forget(id, lookups, |id| needed.contains(&id));
    }

    pub(crate) fn open(&self, id: Id, flags: i32) -> io::Result<u64> {
        let inode = self.inode(id)?;
        let file = inode.open(flags)?;
        Ok(self.register(inode, file, flags))
    }

    fn register(&self, inode: Arc<Inode>, file: File, flags: i32) -> u64 {
        let fh = self.next_handle.fetch_add(1, Relaxed);
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
        let syncs = flags & (libc::O_SYNC | libc::O_DSYNC) != 0;
        lock(&self.handles).insert(fh, Arc::new(Handle { inode, file, writes, syncs }));
        fh
    }

    pub(crate) fn release(&self, fh: u64) {
        lock(&self.handles).remove(&fh);
    }

    /// Makes a file and opens it, or opens the one that is there.
    pub(crate) fn create(
        &self,
        parent: Id,
        name: &OsStr,
        mode: u32,
        flags: i32,
    ) -> io::Result<(Arc<Inode>, Metadata, u64)> {
        self.keep_out(parent, name)?;
        let dir = self.inode(parent)?;
        let mut names = self.names();
        let how = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR | OFlag::O_CLOEXEC;
        match openat(&dir.fd, name, how, Mode::from_bits_truncate(mode)) {
            Ok(fd) => {
                let inode = lock(&self.inodes).find(parent, name, 1)?;
                names.changed(self.now_ns(), parent, name, None, Some(inode.id));
                drop(names);
                let metadata = inode.metadata()?;
                let fh = self.register(inode.clone(), File::from(fd), flags);
                Ok((inode, metadata, fh))
            }
            Err(nix::errno::Errno::EEXIST) if flags & libc::O_EXCL == 0 => {
                drop(names);
                let (inode, metadata) = self.lookup(parent, name)?;
                let fh = self.open(inode.id, flags)?;
                Ok((inode, metadata, fh))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Directories are durable at once.
    pub(crate) fn mkdir(&self, parent: Id, name: &OsStr, mode: u32) -> io::Result<(Arc<Inode>, Metadata)> {
        self.keep_out(parent, name)?;
        let dir = self.inode(parent)?;
        mkdirat(&dir.fd, name, Mode::from_bits_truncate(mode))?;
        self.lookup(parent, name)
    }

    pub(crate) fn symlink(
        &self,
        parent: Id,
        name: &OsStr,
        target: &Path,
    ) -> io::Result<(Arc<Inode>, Metadata)> {
        self.keep_out(parent, name)?;
        let dir = self.inode(parent)?;
        let mut names = self.names();
        symlinkat(target, &dir.fd, name)?;
        let (inode, metadata) = self.lookup(parent, name)?;
        names.changed(self.now_ns(), parent, name, None, Some(inode.id));
        Ok((inode, metadata))
    }

    pub(crate) fn link(&self, id: Id, parent: Id, name: &OsStr) -> io::Result<(Arc<Inode>, Metadata)> {
        self.keep_out(parent, name)?;
        let (file, dir) = (self.inode(id)?, self.inode(parent)?);
        let mut names = self.names();
        linkat(nix::fcntl::AT_FDCWD, &file.magic_path(), &dir.fd, name, AtFlags::AT_SYMLINK_FOLLOW)?;
        names.changed(self.now_ns(), parent, name, None, Some(id));
        drop(names);
        self.lookup(parent, name)
    }

    pub(crate) fn unlink(&self, parent: Id, name: &OsStr) -> io::Result<()> {
        self.keep_out(parent, name)?;
        let dir = self.inode(parent)?;
        let mut names = self.names();
        let victim = lock(&self.inodes).find(parent, name, 0)?;
        let freed = victim.metadata().ok().filter(|m| m.nlink() == 1).map_or(0, |m| m.blocks() * 512);
        names.changed(self.now_ns(), parent, name, Some(victim.id), None);
        self.limbo.keep(&victim, &names)?;
        if let Err(e) = unlinkat(&dir.fd, name, UnlinkatFlags::NoRemoveDir) {
            names.changed(self.now_ns(), parent, name, None, Some(victim.id));
            return Err(e.into());
        }
        drop(names);
        self.give_space(freed);
        Ok(())
    }

    /// A directory that is gone is gone for good, with what a power cut could have put back into it.
    pub(crate) fn rmdir(&self, parent: Id, name: &OsStr) -> io::Result<()> {
        self.keep_out(parent, name)?;
        let dir = self.inode(parent)?;
        let mut names = self.names();
        let victim = lock(&self.inodes).find(parent, name, 0)?;
        unlinkat(&dir.fd, name, UnlinkatFlags::RemoveDir)?;
        names.dir_synced(victim.id);
        Ok(())
    }

    pub(crate) fn rename(&self, from: (Id, &OsStr), to: (Id, &OsStr), flags: u32) -> io::Result<()> {
        self.keep_out(from.0, from.1)?;
        self.keep_out(to.0, to.1)?;
        let (from_dir, to_dir) = (self.inode(from.0)?, self.inode(to.0)?);
        let flags = RenameFlags::from_bits_truncate(flags);
        let mut names = self.names();
        let moved = lock(&self.inodes).find(from.0, from.1, 0)?;
        let replaced = lock(&self.inodes).find(to.0, to.1, 0).ok();
        if replaced.as_ref().is_some_and(|replaced| replaced.id == moved.id) {
            return Ok(()); // Two names of one file: rename(2) leaves both.
        }
        if let Some(replaced) = replaced.as_ref().filter(|replaced| !replaced.is_dir) {
            // Before it may lose its last name; a link too many is removed at the next sync.
            self.limbo.link(replaced)?;
        }
        renameat2(&from_dir.fd, from.1, &to_dir.fd, to.1, flags)?;
        let exchanged = flags.contains(RenameFlags::RENAME_EXCHANGE);
        if !moved.is_dir {
            let left = replaced.as_ref().filter(|_| exchanged).map(|replaced| replaced.id);
            names.changed(self.now_ns(), from.0, from.1, Some(moved.id), left);
            names.changed(
                self.now_ns(),
                to.0,
                to.1,
                replaced.as_ref().map(|replaced| replaced.id),
                Some(moved.id),
            );
        }
        let mut inodes = lock(&self.inodes);
        inodes.find(to.0, to.1, 0)?;
        if exchanged {
            inodes.find(from.0, from.1, 0)?;
        }
        Ok(())
    }

    fn keep_out(&self, parent: Id, name: &OsStr) -> io::Result<()> {
        let hit = self.limbo.is_it(parent, name);
        if hit { Err(io::Error::from_raw_os_error(libc::EACCES)) } else { Ok(()) }
    }

    /// Reads up to `size` bytes; fewer only at the end of the file.
    pub(crate) fn read(&self, fh: u64, offset: u64, size: u32, judgement: &Judgement) -> io::Result<Vec<u8>> {
        let handle = self.handle(fh)?;
        let mut bytes = read_range(&handle.file, offset, u64::from(size))?;
        flip(&mut bytes, judgement);
        Ok(bytes)
    }

    /// Writes, and notes what was overwritten; returns how much was written.
    pub(crate) fn write(&self, fh: u64, offset: u64, data: &[u8], judgement: &Judgement) -> io::Result<u32> {
        let handle = self.handle(fh)?;
        let mut log = handle.inode.log();
        let old_len = handle.file.metadata()?.len();
        let mut data = data;
        if let Some(account) = &judgement.account {
            let end = offset + data.len() as u64;
            let into_holes = space::to_allocate(&handle.file, offset..end.min(old_len))?;
            let growth = end.saturating_sub(old_len.max(offset)) + into_holes;
            let refused = growth - account.take_space(growth);
            data = &data[..data.len().saturating_sub(refused as usize)];
            if data.is_empty() && refused > 0 {
                account.failed.fetch_add(1, Relaxed);
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
        }
        let flipped;
        if judgement.flip.is_some() {
            let mut copy = data.to_vec();
            flip(&mut copy, judgement);
            flipped = copy;
            data = &flipped;
        }
        let len = data.len() as u64;
        let old = read_range(&handle.file, offset, len.min(old_len.saturating_sub(offset)))?;
        self.held.fetch_add(old.len() as u64, Relaxed);
        log.wrote(self.now_ns(), offset, len, old_len, old);
        handle.file.write_all_at(data, offset)?;
        self.relieve(&handle.inode, &mut log);
        drop(log);
        if handle.syncs {
            self.sync(fh, true)?;
        }
        Ok(len as u32)
    }

    /// Changes a file's length.
    pub(crate) fn set_len(&self, id: Id, new_len: u64) -> io::Result<()> {
        let inode = self.inode(id)?;
        let file = inode.open(libc::O_RDWR)?;
        let mut log = inode.log();
        let old_len = file.metadata()?.len();
        let freed = space::allocated(&file, new_len..old_len)?;
        let old = read_range(&file, new_len, old_len.saturating_sub(new_len))?;
        self.held.fetch_add(old.len() as u64, Relaxed);
        log.resized(self.now_ns(), new_len, old_len, old);
        file.set_len(new_len)?;
        self.relieve(&inode, &mut log);
        drop(log);
        self.give_space(freed);
        Ok(())
    }

    /// Sets space aside, or zeroes a range, as `fallocate(2)`.
    pub(crate) fn allocate(
        &self,
        fh: u64,
        offset: u64,
        len: u64,
        mode: i32,
        judgement: &Judgement,
    ) -> io::Result<()> {
        const MOVES: i32 = libc::FALLOC_FL_COLLAPSE_RANGE | libc::FALLOC_FL_INSERT_RANGE;
        if mode & MOVES != 0 {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        let handle = self.handle(fh)?;
        let mut log = handle.inode.log();
        let old_len = handle.file.metadata()?.len();
        let keeps_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let end = offset.saturating_add(len);
        let zeroes = mode & (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE) != 0;
        let growth = if keeps_size { 0 } else { end.saturating_sub(old_len) };
        if let Some(account) = judgement.account.as_ref().filter(|_| !zeroes) {
            let wanted = growth + space::to_allocate(&handle.file, offset..end.min(old_len))?;
            let given = account.take_space(wanted);
            if given < wanted {
                account.give_space(given);
                account.failed.fetch_add(1, Relaxed);
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
        }
        let touched = if zeroes { len.min(old_len.saturating_sub(offset)) } else { 0 };
        let old = read_range(&handle.file, offset, touched)?;
        // SAFETY: a plain system call on an open descriptor.
        let done = unsafe { libc::fallocate(handle.file.as_raw_fd(), mode, offset as i64, len as i64) };
        crate::sys::check(done)?;
        self.held.fetch_add(old.len() as u64, Relaxed);
        if zeroes {
            log.wrote(self.now_ns(), offset, touched, old_len, old);
        }
        if growth > 0 {
            log.resized(self.now_ns(), end, old_len, Vec::new());
        }
        self.relieve(&handle.inode, &mut log);
        Ok(())
    }

    /// Syncs a file: what was done to it before is durable, and with a journal so is every name.
    pub(crate) fn sync(&self, fh: u64, only_data: bool) -> io::Result<()> {
        let handle = self.handle(fh)?;
        let mark = handle.inode.log().mark();
        if only_data {
            handle.file.sync_data()?
        } else {
            handle.file.sync_all()?
        }
        let mut log = handle.inode.log();
        self.forget_to(&mut log, mark);
        drop(log);
        if self.options.names == NameSync::Journal {
            self.commit(None);
        }
        Ok(())
    }

    /// Syncs a directory: its names are durable, with a journal all names.
    pub(crate) fn sync_dir(&self, id: Id) -> io::Result<()> {
        let dir = self.inode(id)?;
        File::open(dir.magic_path())?.sync_all()?;
        self.commit((self.options.names == NameSync::Strict).then_some(id));
        Ok(())
    }

    fn commit(&self, only: Option<Id>) {
        let mut names = lock(&self.names);
        if !names.is_clean() {
            self.commit_in(&mut names, only);
        }
    }

    fn commit_in(&self, names: &mut Names, only: Option<Id>) {
        match only {
            Some(dir) => names.dir_synced(dir),
            None => names.all_synced(),
        }
        let needed = names.needed();
        self.limbo.release(|id| needed.contains(&id));
        lock(&self.inodes).prune(|id| needed.contains(&id));
    }

    /// The names, to be changed: those that have waited long enough are committed first.
    pub(crate) fn names(&self) -> MutexGuard<'_, Names> {
        let mut names = lock(&self.names);
        if names.waits_since(self.ns_ago(self.options.names_written_after)) {
            self.commit_in(&mut names, None);
        }
        names
    }

    /// Now, by the disk's own clock.
    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// The moment that long ago; 0, which nothing is older than, if there was none or nothing is to be that old.
    pub(crate) fn ns_ago(&self, age: Option<Duration>) -> u64 {
        age.map_or(0, |age| self.now_ns().saturating_sub(age.as_nanos() as u64))
    }

    /// What was written longer ago is on the medium.
    pub(crate) fn write_back(&self, log: &mut Unsynced) {
        self.forget_to(log, log.mark_at(self.ns_ago(self.options.data_written_after)));
    }

    fn forget_to(&self, log: &mut Unsynced, mark: Mark) {
        let before = log.held_bytes();
        log.synced(mark);
        self.held.fetch_sub(before - log.held_bytes(), Relaxed);
    }

    /// Everything is on the medium, as if it had been done long ago.
    pub(crate) fn settle(&self) {
        let inodes = lock(&self.inodes).all();
        for inode in inodes {
            let mut log = inode.log();
            let mark = log.mark();
            self.forget_to(&mut log, mark);
        }
        self.commit(None);
    }

    /// Past its bound, memory is freed as a kernel would free it: by writing a file back.
    fn relieve(&self, inode: &Inode, log: &mut Unsynced) {
        if self.held.load(Relaxed) > self.options.undo_bytes_max {
            debug_assert!(!inode.is_dir);
            let mark = log.mark();
            self.forget_to(log, mark);
            self.written_back.fetch_add(1, Relaxed);
        }
    }

    /// Nothing is left to undo: what was held for it is free.
    pub(crate) fn undone(&self, log: &mut Unsynced) {
        let mark = log.mark();
        self.forget_to(log, mark);
    }

    pub(crate) fn set_mode(&self, id: Id, mode: u32) -> io::Result<()> {
        std::fs::set_permissions(self.inode(id)?.magic_path(), PermissionsExt::from_mode(mode))
    }
}

/// Reads exactly the range, or up to the end of the file.
pub(crate) fn read_range(file: &File, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

fn flip(bytes: &mut [u8], judgement: &Judgement) {
    if let Some((rule, bit)) = judgement.flip.as_ref().filter(|_| !bytes.is_empty()) {
        let bit = bit % (bytes.len() as u64 * 8);
        bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        rule.flipped.fetch_add(1, Relaxed);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
