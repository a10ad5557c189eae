//! Sockets and pipes of which no child process ever gets a copy, on the systems that can make them so in one step: all
//! but macOS.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, Protocol, SocketFlags, SocketType};
use rustix::pipe::{PipeFlags, pipe_with};

/// A new socket. SIGPIPE is suppressed where it is used: by `MSG_NOSIGNAL`.
pub(crate) fn socket(
    family: AddressFamily,
    kind: SocketType,
    protocol: Option<Protocol>,
) -> Result<OwnedFd, Errno> {
    net::socket_with(family, kind, SocketFlags::CLOEXEC, protocol)
}

/// Two Unix sockets that are connected to each other.
pub(crate) fn socket_pair(kind: SocketType) -> Result<(OwnedFd, OwnedFd), Errno> {
    net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
}

/// The two ends of a pipe.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    pipe_with(PipeFlags::CLOEXEC)
}

/// The flag for a receive of descriptors, as far as there is one.
pub(crate) const RECV_CLOSE_ON_EXEC: i32 = libc::MSG_CMSG_CLOEXEC;

/// Sees to it that a received descriptor has it: here the flag did.
pub(crate) fn close_on_exec(_: &OwnedFd) {}
