//! What a socket is, on the systems without `SO_DOMAIN` and `SO_PROTOCOL`: macOS, NetBSD and DragonFly.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, Protocol, SocketType, ipproto, sockopt};

/// Every socket has an address, be it all zeroes.
pub(crate) fn family(socket: BorrowedFd<'_>) -> Result<AddressFamily, Errno> {
    net::getsockname(socket).map(|address| address.address_family())
}

/// Streams of IP are TCP, and datagrams UDP (or on macOS ICMP, which isn't told apart).
pub(crate) fn protocol(socket: BorrowedFd<'_>) -> Result<Option<Protocol>, Errno> {
    let ip = matches!(family(socket)?, AddressFamily::INET | AddressFamily::INET6);
    Ok(match sockopt::socket_type(socket)? {
        SocketType::STREAM if ip => Some(ipproto::TCP),
        SocketType::DGRAM if ip => Some(ipproto::UDP),
        _ => None,
    })
}
