//! OpenBSD. Beside this file are those of the other systems, with the same names in them; `backend/mod.rs` chooses. None of
//! this was ever run: it is written from the manual pages.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, sockopt};

use super::bsd::get_struct;
use super::unix::message::Push;
use super::unix::option::set;
use super::unix::udp::{in_addr, parts};
use crate::Keepalive;
use crate::local::Credentials;
use crate::udp::{Interface, SendControl};

pub(crate) use super::bsd::{
    BOTH_VERSIONS, CAN_SEGMENT, DIRECTORY, HOP_LIMIT, JOIN_V6, LEAVE_V6, RECV_HOP_LIMIT, Stat,
    TELLS_OF_WRITERS, abstract_address, abstract_name, copy_range, error_kind, gro, has_company, has_writer,
    link_unnamed, metadata, only_own_groups, push_segment_size, set_gro, set_user_timeout, share_blocks,
    stat, transfer_at_once, unnamed_file, user_timeout,
};
pub(crate) use super::bsd_only::{NO_SIGNAL, accept, rename_no_replace};
pub(crate) use super::close_on_exec::{RECV_CLOSE_ON_EXEC, close_on_exec, pipe, socket, socket_pair};
pub(crate) use super::halves::{packet_info, push_packet_info, push_ttl, read_control, set_packet_info};
pub(crate) use super::lacking::{READ_CLOSED, allocate, member_of_source, next_data};
pub(crate) use super::linger::{linger, set_linger};
pub(in crate::backend) use super::nanoseconds;
pub(crate) use super::sync::sync;

/// Sends and receives heed `MSG_DONTWAIT`: it is what non-blocking mode is made of (`sosend` in sys/kern/uipc_socket.c).
pub(crate) const NONBLOCKING: bool = false;

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

/// The sizes of what control messages of IPv4 hold.
pub(crate) const CONTROL_ROOM: [usize; 4] = [4, 0, 4, size_of::<libc::sockaddr_dl>()];

/// A source can be named; all else is an option of the socket.
pub(crate) fn can_send_v4(control: &SendControl) -> bool {
    control.ecn.is_none() && control.ttl.is_none() && control.interface.is_none()
}

pub(crate) fn push_tos(_: &mut Push<'_>, _: u8) {}

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
