//! Multicast from one source only, on the systems that have RFC 3678.

use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;

use super::unix::option::set;
use super::unix::udp::{in_addr, parts};
use crate::udp::Interface;

/// Joins a group or leaves it, as far as this source sends to it.
pub(crate) fn member_of_source(
    socket: BorrowedFd<'_>,
    group: IpAddr,
    source: IpAddr,
    interface: Interface,
    join: bool,
) -> Result<(), Errno> {
    let (address, index) = parts(interface)?;
    match (group, source, address) {
        (IpAddr::V4(group), IpAddr::V4(source), Some(address)) => {
            let name = if join { libc::IP_ADD_SOURCE_MEMBERSHIP } else { libc::IP_DROP_SOURCE_MEMBERSHIP };
            let request = libc::ip_mreq_source {
                imr_multiaddr: in_addr(group),
                imr_sourceaddr: in_addr(source),
                imr_interface: in_addr(address),
            };
            set(socket, libc::IPPROTO_IP, name, request)
        }
        (_, _, Some(_)) => Err(Errno::INVAL),
        (group, source, None) if group.is_ipv4() == source.is_ipv4() => {
            let name = if join { libc::MCAST_JOIN_SOURCE_GROUP } else { libc::MCAST_LEAVE_SOURCE_GROUP };
            let level = if group.is_ipv4() { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 };
            // SAFETY: all of it may be zero.
            let mut request: libc::group_source_req = unsafe { std::mem::zeroed() };
            request.gsr_interface = index as u32;
            request.gsr_group = storage(group);
            request.gsr_source = storage(source);
            set(socket, level, name, request)
        }
        _ => Err(Errno::INVAL),
    }
}

/// An address as those structs have it.
fn storage(address: IpAddr) -> libc::sockaddr_storage {
    // SAFETY: all of it may be zero.
    let mut storage: libc::sockaddr_storage = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: it is as large as any socket address, and aligned for each.
    unsafe { SocketAddr::new(address, 0).write_sockaddr((&raw mut storage).cast()) };
    storage
}
