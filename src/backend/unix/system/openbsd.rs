//! OpenBSD. Beside this file are those of the other systems, with the same names in them; `backend/mod.rs` chooses. None of
//! this was ever run: it is written from the manual pages.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, sockopt};

use super::bsd::{get_struct, told_ttl};
use super::bsd_only::{told_destination, told_interface};
use super::unix::message::{Push, number_at};
use super::unix::option::{get, set};
use super::unix::udp::{in_addr, parts};
use crate::Keepalive;
use crate::engine::op::Space;
use crate::local::Credentials;
use crate::udp::{Interface, RecvControl, SendControl};

pub(crate) use super::bsd::{
    BOTH_VERSIONS, CAN_SEGMENT, DIRECTORY, HOP_LIMIT, JOIN_V6, LEAVE_V6, RECV_HOP_LIMIT, Stat,
    TELLS_OF_WRITERS, abstract_address, abstract_name, copy_range, error_kind, gro, has_company, has_writer,
    link_unnamed, metadata, only_own_groups, push_segment_size, set_gro, set_user_timeout, share_blocks,
    stat, transfer_at_once, unnamed_file, user_timeout,
};
pub(crate) use super::bsd_only::{NO_SIGNAL, accept, rename_no_replace, sync};
pub(crate) use super::close_on_exec::{RECV_CLOSE_ON_EXEC, close_on_exec, pipe, socket, socket_pair};
pub(crate) use super::linger::{linger, set_linger};
pub(in crate::backend) use super::nanoseconds;

/// Sends and receives heed `MSG_DONTWAIT`: it is what non-blocking mode is made of (`sosend` in sys/kern/uipc_socket.c).
pub(crate) const NONBLOCKING: bool = false;

/// Nothing reserves space or gives it back.
pub(crate) fn allocate(_: BorrowedFd<'_>, _: u64, _: u64, _: Space) -> Result<(), Errno> {
    Err(Errno::OPNOTSUPP)
}

/// Nothing tells where holes are.
pub(crate) fn next_data(_: BorrowedFd<'_>, _: u64) -> Result<(u64, u64), Errno> {
    Err(Errno::OPNOTSUPP)
}

/// poll(2) has no event of its own for the end of what can be received.
pub(crate) const READ_CLOSED: i16 = 0;

pub(crate) fn family(socket: BorrowedFd<'_>) -> Result<AddressFamily, Errno> {
    sockopt::socket_domain(socket)
}

pub(crate) fn listens(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    sockopt::socket_acceptconn(socket)
}

pub(crate) fn protocol(socket: BorrowedFd<'_>) -> Result<Option<Protocol>, Errno> {
    sockopt::socket_protocol(socket)
}

/// Several listeners may share an address.
pub(crate) fn share_connections(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    sockopt::set_socket_reuseport(listener, true)
}

/// Keep-alive is on or off; its times are the system's (`net.inet.tcp.keepidle`, sysctl(2)).
pub(crate) fn set_keepalive(_: BorrowedFd<'_>, keepalive: Keepalive) -> Result<(), Errno> {
    if keepalive == Keepalive::Off { Ok(()) } else { Err(Errno::OPNOTSUPP) }
}

pub(crate) fn keepalive(_: BorrowedFd<'_>) -> Result<Keepalive, Errno> {
    Err(Errno::OPNOTSUPP)
}

/// Who is at the other end of a Unix socket.
pub(crate) fn credentials(socket: BorrowedFd<'_>) -> Result<Credentials, Errno> {
    // SAFETY: all fields are numbers.
    let found: libc::sockpeercred = unsafe { get_struct(socket, libc::SOL_SOCKET, libc::SO_PEERCRED)? };
    Ok(Credentials::new(found.pid.unsigned_abs(), found.uid, found.gid))
}

/// `IP_RECVTTL` of <netinet/in.h>, which libc doesn't name.
pub(crate) const RECV_TTL: i32 = 31;
/// There is none: an option that no system has.
pub(crate) const RECV_TOS: i32 = -1;

/// Receives tell where a datagram of IPv4 was sent to: there is no `IP_PKTINFO`, but one message for each half of it.
pub(crate) fn set_packet_info(socket: BorrowedFd<'_>, on: bool) -> Result<(), Errno> {
    set(socket, libc::IPPROTO_IP, libc::IP_RECVDSTADDR, i32::from(on))?;
    set(socket, libc::IPPROTO_IP, libc::IP_RECVIF, i32::from(on))
}

pub(crate) fn packet_info(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    get(socket, libc::IPPROTO_IP, libc::IP_RECVDSTADDR).map(|value| value != 0)
}

/// Interfaces have addresses only, for IPv4.
fn address_of(interface: Interface) -> Result<Ipv4Addr, Errno> {
    match parts(interface)? {
        (Some(address), _) => Ok(address),
        (None, 0) => Ok(Ipv4Addr::UNSPECIFIED),
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// Joins a group of IPv4 or leaves it.
pub(crate) fn member(
    socket: BorrowedFd<'_>,
    group: Ipv4Addr,
    interface: Interface,
    join: bool,
) -> Result<(), Errno> {
    let name = if join { libc::IP_ADD_MEMBERSHIP } else { libc::IP_DROP_MEMBERSHIP };
    let request =
        libc::ip_mreq { imr_multiaddr: in_addr(group), imr_interface: in_addr(address_of(interface)?) };
    set(socket, libc::IPPROTO_IP, name, request)
}

/// By which interface multicast datagrams of IPv4 leave.
pub(crate) fn set_multicast_interface(socket: BorrowedFd<'_>, interface: Interface) -> Result<(), Errno> {
    set(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, in_addr(address_of(interface)?))
}

/// There is no source-specific multicast.
pub(crate) fn member_of_source(
    _: BorrowedFd<'_>,
    _: IpAddr,
    _: IpAddr,
    _: Interface,
    _: bool,
) -> Result<(), Errno> {
    Err(Errno::OPNOTSUPP)
}

/// The sizes of what control messages of IPv4 hold.
pub(crate) const CONTROL_ROOM: [usize; 4] = [4, 0, 4, size_of::<libc::sockaddr_dl>()];

/// A source can be named; all else is an option of the socket.
pub(crate) fn can_send_v4(control: &SendControl) -> bool {
    control.ecn.is_none() && control.ttl.is_none() && control.interface.is_none()
}

pub(crate) fn push_packet_info(push: &mut Push<'_>, source: Ipv4Addr, _: u32) {
    push(libc::IPPROTO_IP, libc::IP_SENDSRCADDR, &source.octets());
}

pub(crate) fn push_tos(_: &mut Push<'_>, _: u8) {}

pub(crate) fn push_ttl(_: &mut Push<'_>, _: u8) {}

/// Reads a control message that isn't of IPv6, if it has a name here.
pub(crate) fn read_control(control: &mut RecvControl, level: i32, kind: i32, data: &[u8]) {
    match (level, kind) {
        (libc::IPPROTO_IP, RECV_TTL) => told_ttl(control, data),
        (libc::IPPROTO_IP, libc::IP_RECVDSTADDR) => told_destination(control, number_at(data, 0)),
        (libc::IPPROTO_IP, libc::IP_RECVIF) => {
            // struct sockaddr_dl: its length, its family, the index.
            let index = number_at(data, 2).map(u16::from_ne_bytes);
            told_interface(control, index.map(u32::from));
        }
        _ => {}
    }
}

/// What kqueue has under other names, types or numbers elsewhere, or not at all.
pub(crate) mod knotes {
    use std::ffi::c_int;

    use rustix::fs::Stat;

    pub(crate) type Filter = i16;
    pub(crate) type Flags = u16;

    /// The filter for urgent data, since 6.2.
    pub(crate) const EXCEPT: Option<Filter> = Some(libc::EVFILT_EXCEPT);
    pub(crate) const NOTE_OOB: u32 = libc::NOTE_OOB;

    /// Whether readers aren't told when the last writer goes: they are.
    pub(crate) fn misses_the_end(_: c_int, _: &Stat) -> bool {
        false
    }
}
