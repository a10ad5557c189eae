//! NetBSD. Beside this file are those of the other systems, with the same names in them; `backend/mod.rs` chooses. None of
//! this was ever run: it is written from the manual pages.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::sockopt;

use super::bsd::{get_struct, told_ttl};
use super::bsd_only::{told_destination, told_interface};
use super::unix::message::{Push, number_at};
use super::unix::option::{get, set};
use super::unix::udp::{in_addr, parts};
use crate::local::Credentials;
use crate::udp::{Interface, RecvControl, SendControl};

pub(crate) use super::bsd::{
    BOTH_VERSIONS, CAN_SEGMENT, DIRECTORY, HOP_LIMIT, JOIN_V6, LEAVE_V6, RECV_HOP_LIMIT, Stat,
    TELLS_OF_WRITERS, abstract_address, abstract_name, copy_range, error_kind, gro, has_company, has_writer,
    link_unnamed, metadata, only_own_groups, push_segment_size, set_gro, set_user_timeout, share_blocks,
    stat, transfer_at_once, unnamed_file, user_timeout,
};
pub(crate) use super::bsd_only::{NO_SIGNAL, accept, rename_no_replace};
pub(crate) use super::by_type::{family, protocol};
pub(crate) use super::close_on_exec::{RECV_CLOSE_ON_EXEC, close_on_exec, pipe, socket, socket_pair};
pub(crate) use super::keepalive::{keepalive, set_keepalive};
pub(crate) use super::lacking::{READ_CLOSED, allocate, member_of_source, next_data};
pub(crate) use super::linger::{linger, set_linger};
pub(crate) use super::sync::sync;

/// Whether a send heeds `MSG_DONTWAIT` isn't said in send(2): sockets of ours are in non-blocking mode where it matters.
pub(crate) const NONBLOCKING: bool = true;

pub(crate) fn listens(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    sockopt::socket_acceptconn(socket)
}

/// Several listeners may share an address.
pub(crate) fn share_connections(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    sockopt::set_socket_reuseport(listener, true)
}

/// Who is at the other end of a Unix socket.
pub(crate) fn credentials(socket: BorrowedFd<'_>) -> Result<Credentials, Errno> {
    const SOL_LOCAL: i32 = 0;
    // SAFETY: all fields are numbers.
    let found: libc::unpcbid = unsafe { get_struct(socket, SOL_LOCAL, libc::LOCAL_PEEREID)? };
    Ok(Credentials::new(found.unp_pid.unsigned_abs(), found.unp_euid, found.unp_egid))
}

/// `IP_RECVTTL` of <netinet/in.h>, which libc doesn't name.
pub(crate) const RECV_TTL: i32 = 23;
/// There is none: an option that no system has.
pub(crate) const RECV_TOS: i32 = -1;

/// Receives tell where a datagram of IPv4 was sent to.
pub(crate) fn set_packet_info(socket: BorrowedFd<'_>, on: bool) -> Result<(), Errno> {
    set(socket, libc::IPPROTO_IP, libc::IP_RECVPKTINFO, i32::from(on))
}

pub(crate) fn packet_info(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    get(socket, libc::IPPROTO_IP, libc::IP_RECVPKTINFO).map(|value| value != 0)
}

/// An interface by its index is an address in 0.0.0.0/8.
fn address_of(interface: Interface) -> Result<Ipv4Addr, Errno> {
    match parts(interface)? {
        (Some(address), _) => Ok(address),
        (None, index @ 0..=0xff_ffff) => Ok(Ipv4Addr::from(index.unsigned_abs())),
        _ => Err(Errno::INVAL),
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
pub(crate) const CONTROL_ROOM: [usize; 4] = [4, 4, 8, 0];

/// ECN and time to live are options of the socket only.
pub(crate) fn can_send_v4(control: &SendControl) -> bool {
    control.ecn.is_none() && control.ttl.is_none()
}

/// `struct in_pktinfo`: source, interface.
pub(crate) fn push_packet_info(push: &mut Push<'_>, source: Ipv4Addr, interface: u32) {
    let mut info = [0; 8];
    info[..4].copy_from_slice(&source.octets());
    info[4..].copy_from_slice(&interface.to_ne_bytes());
    push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
}

pub(crate) fn push_tos(_: &mut Push<'_>, _: u8) {}

pub(crate) fn push_ttl(_: &mut Push<'_>, _: u8) {}

/// Reads a control message that isn't of IPv6, if it has a name here.
pub(crate) fn read_control(control: &mut RecvControl, level: i32, kind: i32, data: &[u8]) {
    match (level, kind) {
        (libc::IPPROTO_IP, RECV_TTL) => told_ttl(control, data),
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            told_destination(control, number_at(data, 0));
            told_interface(control, number_at(data, 4).map(u32::from_ne_bytes));
        }
        _ => {}
    }
}

/// The parts of times that are less than a second, and when a file was created.
pub(crate) mod nanoseconds {
    use super::Stat;

    pub(crate) fn accessed(stat: &Stat) -> i64 {
        stat.st_atimensec
    }

    pub(crate) fn modified(stat: &Stat) -> i64 {
        stat.st_mtimensec
    }

    pub(crate) fn changed(stat: &Stat) -> i64 {
        stat.st_ctimensec
    }

    pub(crate) fn created(stat: &Stat) -> Option<(i64, i64)> {
        Some((stat.st_birthtime, stat.st_birthtimensec))
    }
}

/// What kqueue has under other names, types or numbers elsewhere, or not at all.
pub(crate) mod knotes {
    use std::ffi::c_int;

    use rustix::fs::Stat;

    pub(crate) type Filter = u32;
    pub(crate) type Flags = u32;

    /// The filter for urgent data: there is none.
    pub(crate) const EXCEPT: Option<Filter> = None;
    pub(crate) const NOTE_OOB: u32 = 0;

    /// Whether readers aren't told when the last writer goes: they are.
    pub(crate) fn misses_the_end(_: c_int, _: &Stat) -> bool {
        false
    }
}
