//! What this machine offers to a lab, and how to get the privileges for one.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::disk::mount;
use crate::error::LabError;
use crate::node::device;
use crate::sys::{self, check};

/// The rights this process has for building labs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privileges {
    /// It has CAP_SYS_ADMIN from the start.
    Root,
    /// It is root inside a user namespace of its own.
    UserNamespace,
    /// It cannot build labs.
    None {
        /// The reason, and what would mend it.
        why: String,
    },
}

/// Makes this process root in a user namespace of its own, unless it has CAP_SYS_ADMIN already.
///
/// Must be the first thing in `main`: the kernel lets only a single-threaded process do this. Files it
/// creates still belong to the user who started it. A refusal is no error but [`Privileges::None`],
/// since much of a harness works without a lab.
pub fn become_root_in_user_namespace() -> Result<Privileges, LabError> {
    if sys::has_cap_sys_admin() {
        return Ok(Privileges::Root);
    }
    // SAFETY: both only read the caller's credentials.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    // SAFETY: no pointers; the kernel refuses it in a process of several threads.
    if let Err(e) = check(unsafe { libc::unshare(libc::CLONE_NEWUSER) }) {
        return Ok(Privileges::None { why: user_namespace_refusal(&e) });
    }
    let map = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text)
            .map_err(|source| LabError::File { path: format!("/proc/self/{file}").into(), source })
    };
    // Without giving up setgroups an unprivileged process may not map its group (user_namespaces(7)).
    map("setgroups", "deny".to_owned())?;
    map("uid_map", format!("0 {uid} 1"))?;
    map("gid_map", format!("0 {gid} 1"))?;
    match try_namespaces(false) {
        Trial::Fine => Ok(Privileges::UserNamespace),
        Trial::Refused { step, error } => {
            Ok(Privileges::None { why: format!("{step}: {error}; {APPARMOR_MEND}") })
        }
    }
}

const APPARMOR_MEND: &str =
    "run as root, or allow it: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0";

fn user_namespace_refusal(error: &io::Error) -> String {
    let knob = |path: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == "0");
    let mend = if error.raw_os_error() == Some(libc::EINVAL) {
        "it must be asked for before the first thread starts"
    } else if knob("/proc/sys/kernel/unprivileged_userns_clone") {
        "run as root, or: sudo sysctl kernel.unprivileged_userns_clone=1"
    } else if knob("/proc/sys/user/max_user_namespaces") {
        "run as root, or: sudo sysctl user.max_user_namespaces=10000"
    } else {
        "run as root (in a container: with --privileged, or --cap-add SYS_ADMIN --cap-add NET_ADMIN)"
    };
    format!("the kernel refused a user namespace ({error}); {mend}")
}

/// One thing a lab needs or can use, and whether this machine has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// What it is.
    pub name: String,
    /// True if it can be used.
    pub ok: bool,
    /// What was found, in a few words.
    pub found: String,
    /// What to do about its lack; empty if it is there.
    pub mend: String,
    /// True if no lab works without it.
    pub required: bool,
}

/// What this machine offers, by trying it: in a short-lived child, so that nothing stays changed.
///
/// May be called before or after [`become_root_in_user_namespace`].
pub fn survey() -> Vec<Offer> {
    vec![namespaces(), tun_device(), fuse_device(), kernel()]
}

/// The required offers this machine lacks; empty if a lab can be built.
pub fn lacks() -> Vec<Offer> {
    survey().into_iter().filter(|offer| offer.required && !offer.ok).collect()
}

fn offer(name: &str, required: bool, outcome: Result<String, (String, String)>) -> Offer {
    let (ok, found, mend) = match outcome {
        Ok(found) => (true, found, String::new()),
        Err((found, mend)) => (false, found, mend),
    };
    Offer { name: name.to_owned(), ok, found, mend, required }
}

fn namespaces() -> Offer {
    let root = sys::has_cap_sys_admin();
    let outcome = match try_namespaces(!root) {
        Trial::Fine if !root => Ok("unprivileged, in a user namespace".to_owned()),
        Trial::Fine if in_initial_user_namespace() => Ok("as root".to_owned()),
        Trial::Fine => Ok("as root of a user namespace".to_owned()),
        Trial::Refused { step: "user namespace", error } => {
            Err((format!("refused: {error}"), user_namespace_refusal(&error)))
        }
        Trial::Refused { step, error } => Err((format!("{step}: {error}"), APPARMOR_MEND.to_owned())),
    };
    offer("namespaces", true, outcome)
}

fn tun_device() -> Offer {
    let outcome = match fs::OpenOptions::new().read(true).write(true).open(device::TUN_PATH) {
        Ok(_) => Ok(device::TUN_PATH.to_owned()),
        Err(e) => Err((format!("{}: {e}", device::TUN_PATH), tun_mend(&e).to_owned())),
    };
    offer("tun", true, outcome)
}

fn tun_mend(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => "sudo chmod 0666 /dev/net/tun",
        Some(libc::ENOENT) => {
            "sudo modprobe tun; if the node is still missing: sudo mkdir -p /dev/net && sudo mknod -m 0666 \
             /dev/net/tun c 10 200 (in a container: --device /dev/net/tun)"
        }
        _ => "sudo modprobe tun (in a container: --device /dev/net/tun)",
    }
}

/// The offer that [`Disk`](crate::Disk)s need, by name.
pub const FUSE: &str = "fuse";

fn fuse_device() -> Offer {
    let path = mount::DEVICE;
    let outcome = match mount::open_device() {
        Ok(_) => Ok(path.to_owned()),
        Err(e) => Err((format!("{path}: {e}"), fuse_mend(&e).to_owned())),
    };
    offer(FUSE, false, outcome)
}

fn fuse_mend(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => "sudo chmod 0666 /dev/fuse (in a container: --device /dev/fuse)",
        _ => "sudo modprobe fuse (in a container: --device /dev/fuse)",
    }
}

fn kernel() -> Offer {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let new_enough = version(release).is_some_and(|version| version >= (5, 3));
    let outcome = match new_enough {
        true => Ok(release.to_owned()),
        false => Err((release.to_owned(), "use Linux 5.3 or newer (pidfd_open)".to_owned())),
    };
    offer("kernel", true, outcome)
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// True if user ids mean here what they mean to the host's kernel.
fn in_initial_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

enum Trial {
    Fine,
    Refused { step: &'static str, error: io::Error },
}

/// Tries, in a child that ends at once, to enter the namespaces a node needs.
fn try_namespaces(with_user_namespace: bool) -> Trial {
    const STEPS: [&str; 2] = ["user namespace", "network, mount and PID namespaces"];
    // SAFETY: the child makes system calls only and ends with `_exit`, as it must in a process that may
    // have other threads.
    let status = unsafe {
        let pid = libc::fork();
        if pid < 0 {
            return Trial::Refused { step: "fork", error: io::Error::last_os_error() };
        }
        if pid == 0 {
            if with_user_namespace && libc::unshare(libc::CLONE_NEWUSER) < 0 {
                libc::_exit(*libc::__errno_location() & 0x7f);
            }
            let flags = libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWPID;
            if libc::unshare(flags) < 0 {
                libc::_exit((*libc::__errno_location() & 0x7f) | 0x80);
            }
            libc::_exit(0);
        }
        let mut status = 0;
        while libc::waitpid(pid, &mut status, 0) < 0 && *libc::__errno_location() == libc::EINTR {}
        libc::WEXITSTATUS(status)
    };
    match status {
        0 => Trial::Fine,
        code => Trial::Refused {
            step: STEPS[(code >> 7) as usize & 1],
            error: io::Error::from_raw_os_error(code & 0x7f),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_read_whatever_follows_the_numbers() {
        assert_eq!(version("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(version("5.15.0-91-generic"), Some((5, 15)));
        assert_eq!(version("6.1"), Some((6, 1)));
        assert_eq!(version("linux"), None);
    }

    #[test]
    fn every_lack_comes_with_its_mend() {
        for offer in survey() {
            assert_eq!(offer.ok, offer.mend.is_empty(), "{offer:?}");
            assert!(!offer.found.is_empty(), "{offer:?}");
        }
    }
}
