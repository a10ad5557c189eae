//! DragonFly. Beside this file are those of the other systems, with the same names in them; `backend/mod.rs` chooses. None of
//! this was ever run: it is written from the manual pages and the system's headers.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::sockopt;

use super::bsd::get_struct;
use super::unix::message::Push;
use crate::local::Credentials;
use crate::udp::SendControl;

pub(crate) use super::bsd::{
    BOTH_VERSIONS, CAN_SEGMENT, DIRECTORY, HOP_LIMIT, JOIN_V6, LEAVE_V6, RECV_HOP_LIMIT, Stat,
    TELLS_OF_WRITERS, abstract_address, abstract_name, copy_range, error_kind, gro, has_company, has_writer,
    link_unnamed, metadata, only_own_groups, push_segment_size, set_gro, set_user_timeout, share_blocks,
    stat, transfer_at_once, unnamed_file, user_timeout,
};
pub(crate) use super::bsd_only::{NO_SIGNAL, accept, rename_no_replace};
pub(crate) use super::by_type::{family, protocol};
pub(crate) use super::close_on_exec::{RECV_CLOSE_ON_EXEC, close_on_exec, pipe, socket, socket_pair};
pub(crate) use super::groups::{member, set_multicast_interface};
pub(crate) use super::halves::{packet_info, push_packet_info, push_ttl, read_control, set_packet_info};
pub(crate) use super::keepalive::{keepalive, set_keepalive};
pub(crate) use super::lacking::{READ_CLOSED, allocate, member_of_source, next_data};
pub(crate) use super::linger::{linger, set_linger};

/// Sends and receives heed `MSG_DONTWAIT`: it is what non-blocking mode is made of (`sosend`, `sosendudp` and `soreceive` in
/// sys/kern/uipc_socket.c).
pub(crate) const NONBLOCKING: bool = false;

/// Older systems have no fdatasync(2), and rustix none for any; fsync(2) does all that it does.
pub(crate) fn sync(file: BorrowedFd<'_>, _: bool) -> Result<(), Errno> {
    rustix::fs::fsync(file)
}

pub(crate) fn listens(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    sockopt::socket_acceptconn(socket)
}

/// Several listeners may share an address.
pub(crate) fn share_connections(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    sockopt::set_socket_reuseport(listener, true)
}

/// Who is at the other end of a Unix socket. Its process isn't told: 0.
pub(crate) fn credentials(socket: BorrowedFd<'_>) -> Result<Credentials, Errno> {
    const SOL_LOCAL: i32 = 0;
    // SAFETY: all fields are numbers, but for a pointer that nobody looks at.
    let found: libc::xucred = unsafe { get_struct(socket, SOL_LOCAL, libc::LOCAL_PEERCRED)? };
    Ok(Credentials::new(0, found.cr_uid, found.cr_groups[0]))
}

pub(crate) const RECV_TTL: i32 = libc::IP_RECVTTL;
/// `IP_RECVTOS` of <netinet/in.h>, which libc doesn't name.
pub(crate) const RECV_TOS: i32 = 68;

/// The sizes of what control messages of IPv4 hold.
pub(crate) const CONTROL_ROOM: [usize; 4] = [4, 4, 4, size_of::<libc::sockaddr_dl>()];

/// A source can be named (<netinet/in.h>; older systems take it and don't heed it: `udp_output` of 2011); all else is an option
/// of the socket.
pub(crate) fn can_send_v4(control: &SendControl) -> bool {
    control.ecn.is_none() && control.ttl.is_none() && control.interface.is_none()
}

pub(crate) fn push_tos(_: &mut Push<'_>, _: u8) {}

/// The parts of times that are less than a second, and when a file was created: nobody knows.
pub(crate) mod nanoseconds {
    use super::Stat;

    pub(crate) fn accessed(stat: &Stat) -> i64 {
        stat.st_atime_nsec
    }

    pub(crate) fn modified(stat: &Stat) -> i64 {
        stat.st_mtime_nsec
    }

    pub(crate) fn changed(stat: &Stat) -> i64 {
        stat.st_ctime_nsec
    }

    pub(crate) fn created(_: &Stat) -> Option<(i64, i64)> {
        None
    }
}

/// What kqueue has under other names, types or numbers elsewhere, or not at all.
pub(crate) mod knotes {
    use std::ffi::c_int;

    use rustix::fs::Stat;

    pub(crate) type Filter = i16;
    pub(crate) type Flags = u16;

    /// The filter for urgent data.
    pub(crate) const EXCEPT: Option<Filter> = Some(libc::EVFILT_EXCEPT);
    pub(crate) const NOTE_OOB: u32 = libc::NOTE_OOB;

    /// Whether readers aren't told when the last writer goes: they are.
    pub(crate) fn misses_the_end(_: c_int, _: &Stat) -> bool {
        false
    }
}
