//! Namespaces of one's own, made without privileges: a user namespace gives the right to make and to set up the others.

use std::fs::write;
use std::io::{Error, IoSlice};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, sendmsg,
    sendto, socket_with,
};
use rustix::process::{getegid, geteuid};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags, set_capabilities};

use super::needs;
use crate::failure::Result;

/// Leaves the namespaces of the launcher. Users and groups keep their numbers: to the server it is the same user.
#[expect(deprecated, reason = "unsound with `FILES` alone, which is not asked for; its successor is the same call, unsafe")]
pub(super) fn enter() -> Result<()> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWIPC;
    let kernel = "unprivileged user, network, mount and IPC namespaces (see user_namespaces(7), \
                  `user.max_user_namespaces`, `kernel.apparmor_restrict_unprivileged_userns`, a container's seccomp profile)";
    rustix::thread::unshare(flags).map_err(|e| needs(kernel, e))?;
    let map = |name: &str, text: String| write(format!("/proc/self/{name}"), text).map_err(|e| needs(kernel, e));
    // An unprivileged process may map its own group only once it has given up changing its groups.
    map("setgroups", "deny".into())?;
    map("uid_map", format!("{user} {user} 1"))?;
    map("gid_map", format!("{group} {group} 1"))
}

/// Brings up the loopback device, the only one of a new network namespace (rtnetlink(7) `RTM_NEWLINK`).
pub(super) fn loopback_up() -> Result<()> {
    up().map_err(|e| needs("a loopback device in a network namespace", e))
}

fn up() -> std::io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    sendto(&socket, &request(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0_u8; 256];
    let (_, length) = recv(&socket, &mut answer, RecvFlags::empty())?;
    match answer.get(..length).and_then(errno) {
        Some(0) => Ok(()),
        Some(error) => Err(Error::from_raw_os_error(error.saturating_neg())),
        None => Err(Error::other("the kernel's answer is not as expected")),
    }
}

/// `nlmsghdr` and `ifinfomsg`: set `IFF_UP` on device 1, and acknowledge.
fn request() -> Vec<u8> {
    let mut bytes = REQUEST_SIZE.to_ne_bytes().to_vec();
    bytes.extend(RTM_NEWLINK.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    // Sequence number, port; then family and kind, which say nothing here.
    for word in [1, 0, 0, LOOPBACK, IFF_UP, IFF_UP] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// What an `nlmsgerr` says: 0, or a negative error number.
fn errno(answer: &[u8]) -> Option<i32> {
    let kind = answer.get(4..6)?.try_into().ok().map(u16::from_ne_bytes)?;
    (kind == NLMSG_ERROR).then(|| answer.get(16..20)?.try_into().ok().map(i32::from_ne_bytes))?
}

/// Gives a listener to the server (unix(7) `SCM_RIGHTS`).
pub(super) fn send(server: &UnixStream, listener: &TcpListener) -> Result<()> {
    let descriptors = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(server, &[IoSlice::new(b"+")], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

/// Puts something empty over a file or a directory, for this namespace alone.
pub(super) fn hide(path: &Path) -> Result<()> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let hidden =
        if path.is_dir() { mount("tmpfs", path, "tmpfs", flags, c"size=4k,mode=000") } else { mount_bind("/dev/null", path) };
    hidden.map_err(|e| needs(&format!("a mount over `{}`", path.display()), e))
}

/// Gives up what the user namespace gave. Without privileges to gain, no program gets it back.
pub(super) fn drop_capabilities() -> Result<()> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, sets).map_err(|e| needs("to give up its capabilities", e))
}

const REQUEST_SIZE: u32 = 32;
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const LOOPBACK: u32 = 1;
const IFF_UP: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_length_that_it_says() {
        assert_eq!(request().len(), REQUEST_SIZE as usize);
    }

    #[test]
    fn an_answer_is_an_error_number_or_nothing() {
        let answer = |kind: u16, error: i32| {
            let mut bytes = vec![36, 0, 0, 0];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(error.to_ne_bytes());
            bytes
        };
        assert_eq!(errno(&answer(NLMSG_ERROR, -1)), Some(-1));
        assert_eq!(errno(&answer(NLMSG_ERROR, 0)), Some(0));
        assert_eq!(errno(&answer(RTM_NEWLINK, 0)), None);
        assert_eq!(errno(&[0; 5]), None);
    }
}
