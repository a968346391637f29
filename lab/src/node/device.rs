//! The node's network devices, set up with plain ioctls inside its own network namespace.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::netlink::Netlink;
use crate::sys::check;

/// Where the kernel offers TUN devices.
pub(crate) const TUN_PATH: &str = "/dev/net/tun";

/// The name of the device inside every node.
const DEVICE: &str = "lab0";

const IFREQ_UNION_BYTES: usize = 24;

/// The kernel's `struct ifreq`: a device name, then a union of 24 bytes.
#[repr(C, align(8))]
struct IfReq {
    name: [u8; libc::IFNAMSIZ],
    value: [u8; IFREQ_UNION_BYTES],
}

impl IfReq {
    fn named(device: &str) -> IfReq {
        let mut name = [0; libc::IFNAMSIZ];
        name[..device.len()].copy_from_slice(device.as_bytes());
        IfReq { name, value: [0; IFREQ_UNION_BYTES] }
    }

    fn with_flags(device: &str, flags: libc::c_int) -> IfReq {
        let mut req = IfReq::named(device);
        req.value[..2].copy_from_slice(&(flags as u16).to_ne_bytes());
        req
    }

    fn with_number(device: &str, number: i32) -> IfReq {
        let mut req = IfReq::named(device);
        req.value[..4].copy_from_slice(&number.to_ne_bytes());
        req
    }

    /// With a `sockaddr_in` as the value.
    fn with_address(device: &str, addr: Ipv4Addr) -> IfReq {
        let mut req = IfReq::named(device);
        req.value[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        req.value[4..8].copy_from_slice(&addr.octets());
        req
    }
}

/// Asks the kernel for a new layer-3 TUN device in the calling thread's network namespace and returns
/// its other end: one read is one packet the node sent, one write is one packet the node receives.
pub(crate) fn open_tun() -> Result<OwnedFd, (&'static str, io::Error)> {
    let fd = open_close_on_exec(Path::new(TUN_PATH), libc::O_RDWR | libc::O_NONBLOCK)
        .map_err(|e| ("open /dev/net/tun", e))?;
    let req = IfReq::with_flags(DEVICE, libc::IFF_TUN | libc::IFF_NO_PI);
    ioctl(&fd, libc::TUNSETIFF, &req).map_err(|e| ("create a TUN device on /dev/net/tun", e))?;
    Ok(fd)
}

/// Gives the TUN device its address, MTU and queue length and brings it and the loopback device up.
pub(crate) fn configure(addr: Ipv4Addr, prefix_len: u32, mtu: u32, queue_len: u32) -> io::Result<()> {
    let socket = control_socket()?;
    ioctl(&socket, libc::SIOCSIFMTU, &IfReq::with_number(DEVICE, mtu as i32))?;
    Netlink::open()?.set_queue_len(DEVICE, queue_len)?;
    bring_up(&socket, "lo")?;
    assign(DEVICE, addr, prefix_len)
}

/// Gives `device` an address, and a route to its neighbours, and brings it up, in the calling thread's
/// network namespace.
pub(crate) fn assign(device: &str, addr: Ipv4Addr, prefix_len: u32) -> io::Result<()> {
    let socket = control_socket()?;
    let netmask = Ipv4Addr::from(u32::MAX.checked_shl(32 - prefix_len).unwrap_or(0));
    ioctl(&socket, libc::SIOCSIFADDR, &IfReq::with_address(device, addr))?;
    ioctl(&socket, libc::SIOCSIFNETMASK, &IfReq::with_address(device, netmask))?;
    bring_up(&socket, device)
}

/// Packets that the TUN device of the node with this PID 1 could not queue.
pub(crate) fn transmit_drops(init_pid: u32) -> Option<u64> {
    parse_transmit_drops(&std::fs::read_to_string(format!("/proc/{init_pid}/net/dev")).ok()?)
}

/// Reads the table of proc_net(5): after the colon eight receive columns, then bytes, packets, errs and
/// drop of the transmit side.
fn parse_transmit_drops(table: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix(DEVICE)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().nth(11)?.parse().ok()
}

fn bring_up(socket: &OwnedFd, device: &str) -> io::Result<()> {
    ioctl(socket, libc::SIOCSIFFLAGS, &IfReq::with_flags(device, libc::IFF_UP | libc::IFF_RUNNING))
}

/// A socket that carries device ioctls to the calling thread's network namespace.
fn control_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the returned descriptor is ours alone.
    let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: `fd` was just returned by the kernel and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn open_close_on_exec(path: &Path, flags: libc::c_int) -> io::Result<OwnedFd> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    let fd = check(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) })?;
    // SAFETY: `fd` was just returned by the kernel and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn ioctl(fd: &OwnedFd, request: libc::Ioctl, req: &IfReq) -> io::Result<()> {
    let mut copy = IfReq { name: req.name, value: req.value };
    // SAFETY: every request used here reads one `struct ifreq`, which `IfReq` mirrors in size and
    // layout; those that write back write within it, and the kernel's copy is never read again.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, &mut copy as *mut IfReq) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_read_from_the_devices_own_line() {
        let table = "Inter-|   Receive     |  Transmit\n face |bytes packets errs drop\n    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  lab0:21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36\n";
        assert_eq!(parse_transmit_drops(table), Some(32));
        assert_eq!(parse_transmit_drops("lo: 1 2\n"), None);
    }
}
