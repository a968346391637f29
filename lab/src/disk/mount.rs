//! `mount(2)` of our file system, inside a node, without helpers.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// The device through which the kernel asks us.
pub(crate) const DEVICE: &str = "/dev/fuse";

/// Opens the device; the descriptor is ours in whatever namespace it was opened.
pub(crate) fn open_device() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(DEVICE)
}

/// Mounts over `mount_point` in the mount namespace of the calling thread. Requests come through `device`.
///
/// Its mount namespace is private to the node, so the mount goes with the node's last process; and with the
/// last descriptor of `device`, which closes with our process, every request that is pending fails. So a
/// harness that is killed leaves neither a mount nor a process that waits for ever.
pub(crate) fn mount_here(device: &File, mount_point: &Path) -> io::Result<()> {
    // SAFETY: both only read the caller's credentials.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    let options = format!(
        "fd={},rootmode=40000,user_id={uid},group_id={gid},default_permissions,allow_other",
        device.as_raw_fd()
    );
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    mount(Some("lab-disk"), mount_point, Some("fuse"), flags, Some(options.as_str()))?;
    Ok(())
}

/// Takes the mount away from the tree; who has files open there keeps them.
pub(crate) fn unmount_here(mount_point: &Path) -> io::Result<()> {
    umount2(mount_point, MntFlags::MNT_DETACH)?;
    Ok(())
}
