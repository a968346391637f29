//! A blocking rtnetlink socket, just enough for what ioctls cannot do (rtnetlink(7)).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::sys::check;

const NLMSG_ERROR: u16 = 2;
const NLMSG_HEADER_BYTES: usize = 16;
const VETH_INFO_PEER: u16 = 1;

/// A route netlink socket of the calling thread's network namespace.
pub(crate) struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Netlink> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers; the returned descriptor is ours alone.
        let fd = check(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) })?;
        // SAFETY: `fd` was just returned by the kernel and nobody else owns it.
        Ok(Netlink { socket: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Sets how many packets `device` may queue. The ioctl for this asks for the host's root.
    pub(crate) fn set_queue_len(&self, device: &str, packets: u32) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, 0);
        message.link_header();
        message.attribute(libc::IFLA_IFNAME, &c_bytes(device));
        message.attribute(libc::IFLA_TXQLEN, &packets.to_ne_bytes());
        self.ask(message)
    }

    /// Makes a pair of virtual Ethernet devices, `here` and `there`, the second in another namespace.
    pub(crate) fn add_veth_pair(&self, here: &str, there: &str, other_netns: &File) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL);
        message.link_header();
        message.attribute(libc::IFLA_IFNAME, &c_bytes(here));
        message.nested(libc::IFLA_LINKINFO, |info| {
            info.attribute(libc::IFLA_INFO_KIND, b"veth");
            info.nested(libc::IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |peer| {
                    peer.link_header();
                    peer.attribute(libc::IFLA_IFNAME, &c_bytes(there));
                    peer.attribute(libc::IFLA_NET_NS_FD, &other_netns.as_raw_fd().to_ne_bytes());
                });
            });
        });
        self.ask(message)
    }

    /// Sends a request and waits for the kernel's answer to it.
    fn ask(&self, message: Message) -> io::Result<()> {
        let bytes = message.finish();
        let fd = self.socket.as_raw_fd();
        // SAFETY: the kernel reads `bytes.len()` bytes from `bytes`.
        let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), 0) };
        check(sent as libc::c_int)?;
        let mut answer = [0u8; 4096];
        // SAFETY: the kernel writes at most `answer.len()` bytes into `answer`.
        let len =
            check(unsafe { libc::recv(fd, answer.as_mut_ptr().cast(), answer.len(), 0) } as libc::c_int)?;
        match error_code(&answer[..len as usize]) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(-code)),
            None => Err(io::Error::other("netlink gave an answer of another kind")),
        }
    }
}

/// The code in an acknowledgement: 0, or a negated `errno`.
fn error_code(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = answer.get(NLMSG_HEADER_BYTES..NLMSG_HEADER_BYTES + 4)?;
    (kind == NLMSG_ERROR).then(|| i32::from_ne_bytes(code.try_into().unwrap_or_default()))
}

fn c_bytes(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// A request under construction: header, fixed part, attributes.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: libc::c_int) -> Message {
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16;
        let mut bytes = vec![0; NLMSG_HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes[8..12].copy_from_slice(&1u32.to_ne_bytes());
        Message { bytes }
    }

    /// An empty `struct ifinfomsg`: the device is named by an attribute.
    fn link_header(&mut self) {
        self.bytes.extend([0; 16]);
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nested(kind, |message| message.bytes.extend(value));
    }

    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        fill(self);
        let len = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let len = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_nest_and_are_padded_to_whole_words() {
        let mut message = Message::new(libc::RTM_NEWLINK, 0);
        message.nested(18, |info| info.attribute(1, b"veth!"));
        let bytes = message.finish();
        assert_eq!(bytes.len(), 16 + 4 + 4 + 8);
        assert_eq!(u32::from_ne_bytes(bytes[..4].try_into().unwrap()), 32);
        assert_eq!(bytes[16..20], [[16, 0], [18, 0]].concat());
        assert_eq!(bytes[20..24], [[9, 0], [1, 0]].concat());
        assert_eq!(&bytes[24..29], b"veth!");
    }

    #[test]
    fn an_acknowledgement_is_read_and_anything_else_is_not() {
        let mut answer = vec![0; 36];
        answer[4] = 2;
        assert_eq!(error_code(&answer), Some(0));
        answer[16..20].copy_from_slice(&(-libc::EPERM).to_ne_bytes());
        assert_eq!(error_code(&answer), Some(-libc::EPERM));
        answer[4] = 16;
        assert_eq!(error_code(&answer), None);
        assert_eq!(error_code(&answer[..10]), None);
    }
}
