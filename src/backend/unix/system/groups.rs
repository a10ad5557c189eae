//! Multicast groups of IPv4 by `struct ip_mreqn`, on the systems that have it: an interface is named by its index or by
//! an address.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::unix::option::set;
use super::unix::udp::{in_addr, parts};
use crate::udp::Interface;

fn request(group: Ipv4Addr, interface: Interface) -> Result<libc::ip_mreqn, Errno> {
    let (address, index) = parts(interface)?;
    let address = address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    Ok(libc::ip_mreqn { imr_multiaddr: in_addr(group), imr_address: in_addr(address), imr_ifindex: index })
}

/// By which interface multicast datagrams of IPv4 leave.
pub(crate) fn set_multicast_interface(socket: BorrowedFd<'_>, interface: Interface) -> Result<(), Errno> {
    set(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, request(Ipv4Addr::UNSPECIFIED, interface)?)
}

/// Joins a group of IPv4 or leaves it.
pub(crate) fn member(
    socket: BorrowedFd<'_>,
    group: Ipv4Addr,
    interface: Interface,
    join: bool,
) -> Result<(), Errno> {
    let name = if join { libc::IP_ADD_MEMBERSHIP } else { libc::IP_DROP_MEMBERSHIP };
    set(socket, libc::IPPROTO_IP, name, request(group, interface)?)
}
