//! What can go wrong with the test bed itself (never with what runs inside it).

use std::io;
use std::path::PathBuf;

/// A failure of the test bed. Each message fits after "failed to" or "cannot" and names the mend where
/// there is one.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A step of building a node was refused by the kernel.
    #[error("build node `{node}`: {step}: {source}{}", mend_for(step, source))]
    Node {
        /// The node's name.
        node: String,
        /// The step, as a short phrase.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The address plan is full.
    #[error("add node `{name}`: a lab holds at most {max} nodes")]
    TooManyNodes {
        /// The name of the node that was one too many.
        name: String,
        /// The most nodes a lab holds.
        max: usize,
    },
    /// Two nodes of one lab were given the same name, or a name was empty or held odd characters.
    #[error("add node `{name}`: {why}")]
    BadNodeName {
        /// The name in question.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A rule that cannot be carried out as written.
    #[error("install rule `{name}`: {why}")]
    BadRule {
        /// The rule's name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A tap that cannot be put in place as written.
    #[error("install tap `{name}`: {why}")]
    BadTap {
        /// The tap's name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Twins that cannot be put in place as written.
    #[error("put twins `{name}` at one address: {why}")]
    BadTwin {
        /// Their name.
        name: String,
        /// What is wrong with them.
        why: String,
    },
    /// The switch could not be set up.
    #[error("start the fabric: {step}: {source}")]
    Fabric {
        /// The step, as a short phrase.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of the run could not be opened or written.
    #[error("write `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("start `{program}` in node `{node}`: {source}{}", spawn_mend(source))]
    Spawn {
        /// The binary that was asked for.
        program: String,
        /// The node's name.
        node: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A signal did not bring the whole process tree into the wanted state in time.
    #[error("{action} process `{name}` (pid {pid}): {why}")]
    Signal {
        /// The verb: stop, continue, kill.
        action: &'static str,
        /// The process's name.
        name: String,
        /// Its leader's pid.
        pid: u32,
        /// What was seen instead.
        why: String,
    },
    /// The node was already taken down.
    #[error("use node `{node}`: it is already down")]
    NodeDown {
        /// The node's name.
        node: String,
    },
    /// A process's clock could not be made, or not made wrong as asked.
    #[error("set clock `{name}`: {why}")]
    Clock {
        /// The clock's name.
        name: String,
        /// What is wrong, and the mend.
        why: String,
    },
    /// A faulty disk could not be set up, or not be cut.
    #[error("put a faulty disk into node `{node}`: {step}: {source}{}", disk_mend(step, source))]
    Disk {
        /// The node's name.
        node: String,
        /// The step, as a short phrase.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A measurement could not be made.
    #[error("measure the fabric: {0}")]
    Bench(String),
}

/// The most likely mend for a refused step, with a leading separator, or nothing.
fn mend_for(step: &str, source: &io::Error) -> &'static str {
    let denied = matches!(source.raw_os_error(), Some(libc::EPERM | libc::EACCES));
    match (step, source.raw_os_error()) {
        (s, _) if denied && s.starts_with("open /dev/net/tun") => {
            "; give this user access to it: sudo chmod 0666 /dev/net/tun"
        }
        (s, Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)) if s.contains("/dev/net/tun") => {
            "; load the driver: sudo modprobe tun"
        }
        (_, Some(libc::ENOSPC)) => "; raise the limits in /proc/sys/user/max_*_namespaces",
        (_, Some(libc::EMFILE)) => "; raise the open file limit: ulimit -n 65536",
        _ if denied => "; run as root, or allow unprivileged user namespaces (`doctor` shows how)",
        _ => "",
    }
}

/// The mend where disks cannot be made to fail.
fn disk_mend(step: &str, source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ENXIO | libc::ENODEV) if step == "open /dev/fuse" || step == "mount it" => {
            "; load the driver: sudo modprobe fuse (in a container: --device /dev/fuse)"
        }
        Some(libc::EACCES | libc::EPERM) if step == "open /dev/fuse" => {
            "; give this user access to it: sudo chmod 0666 /dev/fuse"
        }
        _ => "",
    }
}

fn spawn_mend(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => {
            "; install it, or give the path of the binary (or create its working directory)"
        }
        io::ErrorKind::PermissionDenied => "; make the file executable",
        _ => "",
    }
}

/// `Result` with a [`LabError`].
pub type Result<T> = std::result::Result<T, LabError>;
