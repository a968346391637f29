//! The kernel's requests, answered: judged by the rules first, then carried out on the backing store.
//!
//! A worker thread never waits: an operation that has to is moved to a thread of its own, so a stuck `fsync`
//! holds up nothing but what the kernel itself queues behind it (writes to the same file).

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use super::inode::Inodes;
use super::names::Id;
use super::rule::{DiskOp, Waited};
use super::store::{Judgement, Store, lock};

/// The kernel asks again each time: we change files behind its back.
const TTL: Duration = Duration::ZERO;

/// The most bytes of one read or write request.
const REQUEST_MAX: u32 = 1 << 20;

/// One mount's side that answers.
pub(crate) struct Server {
    pub(crate) store: Arc<Store>,
    /// Set when the mount is given up: nobody waits any longer.
    pub(crate) closed: Arc<AtomicBool>,
}

/// A reply that can carry an error.
trait Refuse: Send + 'static {
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ty),*) => { $(impl Refuse for $reply {
        fn refuse(self, errno: Errno) {
            self.error(errno);
        }
    })* };
}

refuse!(ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite);

impl Server {
    /// Judges an operation, waits where it must, and carries it out.
    fn judged<R: Refuse>(
        &self,
        req: &Request,
        op: DiskOp,
        path: impl FnOnce(&Inodes) -> String,
        reply: R,
        job: impl FnOnce(&Store, &Judgement, R) + Send + 'static,
    ) {
        let judgement = self.store.judge(op, path);
        if judgement.waits.is_empty() {
            return finish(&self.store, &judgement, reply, job);
        }
        self.wait_then(req, judgement, reply, job);
    }

    fn wait_then<R: Refuse>(
        &self,
        req: &Request,
        judgement: Judgement,
        reply: R,
        job: impl FnOnce(&Store, &Judgement, R) + Send + 'static,
    ) {
        let (store, closed, task) = (self.store.clone(), self.closed.clone(), req.pid());
        let waiter = move || {
            for (rule, time) in &judgement.waits {
                let is_abandoned = || closed.load(Relaxed) || is_being_killed(task);
                if rule.wait(*time, is_abandoned) == Waited::Killed {
                    return reply.refuse(Errno::EINTR);
                }
            }
            finish(&store, &judgement, reply, job);
        };
        let thread = std::thread::Builder::new().name("disk-wait".to_owned());
        // Without a thread the reply is dropped, which the kernel is told as an error.
        let _ = thread.spawn(waiter);
    }
}

fn finish<R: Refuse>(
    store: &Store,
    judgement: &Judgement,
    reply: R,
    job: impl FnOnce(&Store, &Judgement, R),
) {
    match judgement.fail {
        Some(errno) => reply.refuse(Errno::from_i32(errno)),
        None => job(store, judgement, reply),
    }
}

/// True if the thread that asked has a SIGKILL pending, or is gone. The kernel tells us of interrupts, but
/// the library does not pass them on; and a thread whose request we have taken waits in the kernel,
/// unkillable, until we answer. The kernel gives its number as our own PID namespace knows it, 0 if it does
/// not (proc_pid_status(5) for `SigPnd` and `ShdPnd`).
fn is_being_killed(task: u32) -> bool {
    if task == 0 {
        return false;
    }
    let Ok(status) = std::fs::read_to_string(format!("/proc/{task}/status")) else { return true };
    let pending = |field: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(field));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    };
    (pending("SigPnd:") | pending("ShdPnd:")) & (1 << (libc::SIGKILL - 1)) != 0
}

fn attr(id: Id, metadata: &Metadata) -> FileAttr {
    let time = |secs: i64, nanos: i64| match u64::try_from(secs) {
        Ok(secs) => UNIX_EPOCH + Duration::new(secs, nanos as u32),
        Err(_) => UNIX_EPOCH,
    };
    FileAttr {
        ino: INodeNo(id),
        size: metadata.len(),
        blocks: metadata.blocks(),
        atime: time(metadata.atime(), metadata.atime_nsec()),
        mtime: time(metadata.mtime(), metadata.mtime_nsec()),
        ctime: time(metadata.ctime(), metadata.ctime_nsec()),
        crtime: UNIX_EPOCH,
        kind: FileType::from_std(metadata.file_type()).unwrap_or(FileType::RegularFile),
        perm: (metadata.mode() & 0o7777) as u16,
        nlink: metadata.nlink() as u32,
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: metadata.rdev() as u32,
        blksize: 4096,
        flags: 0,
    }
}

fn entry(reply: ReplyEntry, found: io::Result<(Arc<super::inode::Inode>, Metadata)>) {
    match found {
        Ok((inode, metadata)) => reply.entry(&TTL, &attr(inode.id, &metadata), Generation(0)),
        Err(e) => reply.error(e.into()),
    }
}

fn empty(reply: ReplyEmpty, done: io::Result<()>) {
    match done {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(e.into()),
    }
}

fn written(reply: ReplyWrite, done: io::Result<u32>) {
    match done {
        Ok(bytes) => reply.written(bytes),
        Err(e) => reply.error(e.into()),
    }
}

/// What is asked of a file's attributes, but for its length.
struct Touch {
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    atime: Option<TimeOrNow>,
    mtime: Option<TimeOrNow>,
}

impl Touch {
    fn apply(&self, store: &Store, id: Id) -> io::Result<()> {
        if let Some(mode) = self.mode {
            store.set_mode(id, mode)?;
        }
        let path = store.inode(id)?.magic_path();
        if self.uid.is_some() || self.gid.is_some() {
            std::os::unix::fs::chown(&path, self.uid, self.gid)?;
        }
        if self.atime.is_some() || self.mtime.is_some() {
            let spec = |time: Option<TimeOrNow>| match time {
                None => TimeSpec::UTIME_OMIT,
                Some(TimeOrNow::Now) => TimeSpec::UTIME_NOW,
                Some(TimeOrNow::SpecificTime(time)) => time_spec(time),
            };
            let (atime, mtime) = (spec(self.atime), spec(self.mtime));
            utimensat(nix::fcntl::AT_FDCWD, &path, &atime, &mtime, UtimensatFlags::FollowSymlink)?;
        }
        Ok(())
    }
}

fn time_spec(time: SystemTime) -> TimeSpec {
    TimeSpec::from_duration(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Every open file bypasses the page cache: each read and each write is a request that rules can see, and
/// none is answered from memory after the file was changed behind the kernel's back.
const OPENED: FopenFlags = FopenFlags::FOPEN_DIRECT_IO;

impl Filesystem for Server {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Files can be mapped all the same, where the kernel allows it (Linux 6.6).
        let _ = config.add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP);
        let _ = config.set_max_write(REQUEST_MAX);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, self.store.lookup(parent.0, name));
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.store.forget(ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.store.inode(ino.0).and_then(|inode| inode.metadata()) {
            Ok(metadata) => reply.attr(&TTL, &attr(ino.0, &metadata)),
            Err(e) => reply.error(e.into()),
        }
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let touch = Touch { mode, uid, gid, atime, mtime };
        let job = move |store: &Store, _: &Judgement, reply: ReplyAttr| {
            let resized = size.map_or(Ok(()), |size| store.set_len(ino.0, size));
            let done = resized.and_then(|()| touch.apply(store, ino.0));
            match done.and_then(|()| store.inode(ino.0)?.metadata()) {
                Ok(metadata) => reply.attr(&TTL, &attr(ino.0, &metadata)),
                Err(e) => reply.error(e.into()),
            }
        };
        if size.is_some() {
            self.judged(req, DiskOp::Truncate, |inodes| inodes.path(ino.0), reply, job);
        } else {
            job(&self.store, &Judgement::default(), reply);
        }
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        let read = |fd: &std::os::fd::OwnedFd| nix::fcntl::readlinkat(fd, "").map_err(io::Error::from);
        match self.store.inode(ino.0).and_then(|inode| read(&inode.fd)) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(e) => reply.error(e.into()),
        }
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let owned = name.to_owned();
        self.judged(
            req,
            DiskOp::Create,
            |inodes| inodes.path_in(parent.0, name),
            reply,
            move |store, _, reply| entry(reply, store.mkdir(parent.0, &owned, mode)),
        );
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let owned = name.to_owned();
        self.judged(
            req,
            DiskOp::Unlink,
            |inodes| inodes.path_in(parent.0, name),
            reply,
            move |store, _, reply| empty(reply, store.unlink(parent.0, &owned)),
        );
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let owned = name.to_owned();
        self.judged(
            req,
            DiskOp::Unlink,
            |inodes| inodes.path_in(parent.0, name),
            reply,
            move |store, _, reply| empty(reply, store.rmdir(parent.0, &owned)),
        );
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (owned, target) = (name.to_owned(), target.to_owned());
        self.judged(
            req,
            DiskOp::Create,
            |inodes| inodes.path_in(parent.0, name),
            reply,
            move |store, _, reply| entry(reply, store.symlink(parent.0, &owned, &target)),
        );
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = (name.to_owned(), newname.to_owned());
        self.judged(
            req,
            DiskOp::Rename,
            |inodes| inodes.path_in(parent.0, name),
            reply,
            move |store, _, reply| {
                empty(reply, store.rename((parent.0, &from), (newparent.0, &to), flags.bits()));
            },
        );
    }

    fn link(&self, req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let owned = newname.to_owned();
        self.judged(
            req,
            DiskOp::Create,
            |inodes| inodes.path_in(newparent.0, newname),
            reply,
            move |store, _, reply| entry(reply, store.link(ino.0, newparent.0, &owned)),
        );
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.judged(
            req,
            DiskOp::Open,
            |inodes| inodes.path(ino.0),
            reply,
            move |store, _, reply| match store.open(ino.0, flags.0) {
                Ok(fh) => reply.opened(FileHandle(fh), OPENED),
                Err(e) => reply.error(e.into()),
            },
        );
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let owned = name.to_owned();
        self.judged(
            req,
            DiskOp::Create,
            |inodes| inodes.path_in(parent.0, name),
            reply,
            move |store, _, reply| match store.create(parent.0, &owned, mode, flags) {
                Ok((inode, metadata, fh)) => {
                    let attr = attr(inode.id, &metadata);
                    reply.created(&TTL, &attr, Generation(0), FileHandle(fh), OPENED);
                }
                Err(e) => reply.error(e.into()),
            },
        );
    }

    fn read(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.judged(
            req,
            DiskOp::Read,
            |inodes| inodes.path(ino.0),
            reply,
            move |store, judgement, reply| match store.read(fh.0, offset, size, judgement) {
                Ok(bytes) => reply.data(&bytes),
                Err(e) => reply.error(e.into()),
            },
        );
    }

    fn write(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let judgement = self.store.judge(DiskOp::Write, |inodes| inodes.path(ino.0));
        if judgement.waits.is_empty() {
            let job = |store: &Store, judgement: &Judgement, reply| {
                written(reply, store.write(fh.0, offset, data, judgement));
            };
            return finish(&self.store, &judgement, reply, job);
        }
        let data = data.to_vec();
        self.wait_then(req, judgement, reply, move |store, judgement, reply| {
            written(reply, store.write(fh.0, offset, &data, judgement));
        });
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.store.release(fh.0);
        reply.ok();
    }

    fn fsync(&self, req: &Request, ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let job = move |store: &Store, judgement: &Judgement, reply| match &judgement.ignore_sync {
            Some(rule) => {
                rule.ignored_syncs.fetch_add(1, Relaxed);
                empty(reply, Ok(()));
            }
            None => empty(reply, store.sync(fh.0, datasync)),
        };
        self.judged(req, DiskOp::Sync, |inodes| inodes.path(ino.0), reply, job);
    }

    fn fsyncdir(&self, req: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let job = move |store: &Store, judgement: &Judgement, reply| match &judgement.ignore_sync {
            Some(rule) => {
                rule.ignored_syncs.fetch_add(1, Relaxed);
                empty(reply, Ok(()));
            }
            None => empty(reply, store.sync_dir(ino.0)),
        };
        self.judged(req, DiskOp::Sync, |inodes| inodes.path(ino.0), reply, job);
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let list = || -> io::Result<Vec<(FileType, std::ffi::OsString)>> {
            let dir = self.store.inode(ino.0)?;
            let dots = [".", ".."].map(|dots| (FileType::Directory, dots.into()));
            let mut all = Vec::from(dots);
            for entry in std::fs::read_dir(dir.magic_path())? {
                let entry = entry?;
                let kind = FileType::from_std(entry.file_type()?).unwrap_or(FileType::RegularFile);
                if !self.store.limbo.is_it(ino.0, &entry.file_name()) {
                    all.push((kind, entry.file_name()));
                }
            }
            // Offsets are places in this list: sorted, they mean the same in the next call.
            all[2..].sort_by(|(_, a), (_, b)| a.cmp(b));
            Ok(all)
        };
        match list() {
            Ok(all) => {
                for (place, (kind, name)) in all.iter().enumerate().skip(offset as usize) {
                    // The inode number is a hint that nobody may rely on; it must not be 0.
                    if reply.add(INodeNo(u64::MAX), place as u64 + 1, *kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(e) => reply.error(e.into()),
        }
    }

    fn fallocate(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.judged(
            req,
            DiskOp::Truncate,
            |inodes| inodes.path(ino.0),
            reply,
            move |store, judgement, reply| {
                empty(reply, store.allocate(fh.0, offset, length, mode, judgement));
            },
        );
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let stat = self
            .store
            .inode(super::inode::ROOT)
            .and_then(|root| nix::sys::statvfs::fstatvfs(&root.fd).map_err(io::Error::from));
        match stat {
            Ok(stat) => {
                let frag = stat.fragment_size().max(1);
                let free = |blocks: u64| {
                    let accounts = self.store.accounts();
                    let least = accounts.iter().map(|rule| *lock(&rule.free) / frag).min();
                    blocks.min(least.unwrap_or(u64::MAX))
                };
                let (bfree, bavail) = (free(stat.blocks_free()), free(stat.blocks_available()));
                let (files, ffree) = (stat.files(), stat.files_free());
                let namelen = stat.name_max() as u32;
                reply.statfs(stat.blocks(), bfree, bavail, files, ffree, frag as u32, namelen, frag as u32);
            }
            Err(e) => reply.error(e.into()),
        }
    }
}
