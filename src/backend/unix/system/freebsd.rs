//! FreeBSD. Beside this file are those of the other systems, with the same names in them; `backend/mod.rs` chooses. None of
//! this was ever run: it is written from the manual pages.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, sockopt};

use super::bsd::get_struct;
use super::unix::message::Push;
use super::unix::option::succeeded;
use crate::engine::op::Space;
use crate::local::Credentials;
use crate::udp::SendControl;

pub(crate) use super::bsd::{
    BOTH_VERSIONS, CAN_SEGMENT, DIRECTORY, HOP_LIMIT, JOIN_V6, LEAVE_V6, RECV_HOP_LIMIT, Stat,
    TELLS_OF_WRITERS, abstract_address, abstract_name, copy_range, error_kind, gro, has_company, has_writer,
    link_unnamed, metadata, only_own_groups, push_segment_size, set_gro, set_user_timeout, share_blocks,
    stat, transfer_at_once, unnamed_file, user_timeout,
};
pub(crate) use super::bsd_only::{NO_SIGNAL, accept, rename_no_replace};
pub(crate) use super::close_on_exec::{RECV_CLOSE_ON_EXEC, close_on_exec, pipe, socket, socket_pair};
pub(crate) use super::groups::{member, set_multicast_interface};
pub(crate) use super::halves::{packet_info, push_packet_info, push_ttl, read_control, set_packet_info};
pub(crate) use super::keepalive::{keepalive, set_keepalive};
pub(crate) use super::linger::{linger, set_linger};
pub(in crate::backend) use super::nanoseconds;
pub(crate) use super::source_groups::member_of_source;
pub(crate) use super::sync::sync;

/// Sends and receives heed `MSG_DONTWAIT` (`sosend_generic` in sys/kern/uipc_socket.c).
pub(crate) const NONBLOCKING: bool = false;

/// posix_fallocate(2), which not every file system has (ZFS), and since 14.0 fspacectl(2).
pub(crate) fn allocate(file: BorrowedFd<'_>, offset: u64, length: u64, how: Space) -> Result<(), Errno> {
    match how {
        Space::Grow => rustix::fs::fallocate(file, FallocateFlags::empty(), offset, length),
        // It is not possible without changing the file's size.
        Space::Keep => Err(Errno::OPNOTSUPP),
        Space::Punch => {
            let number = |value: u64| libc::off_t::try_from(value).map_err(|_| Errno::FBIG);
            let range = libc::spacectl_range { r_offset: number(offset)?, r_len: number(length)? };
            // SAFETY: the range is only read, and nothing is to be told of what is left of it.
            succeeded(unsafe {
                let nowhere = std::ptr::null_mut();
                libc::fspacectl(file.as_raw_fd(), libc::SPACECTL_DEALLOC, &raw const range, 0, nowhere)
            })
        }
    }
}

/// Where the next data are from this place on, and where they end.
pub(crate) fn next_data(file: BorrowedFd<'_>, offset: u64) -> Result<(u64, u64), Errno> {
    let data = rustix::fs::seek(file, SeekFrom::Data(offset))?;
    Ok((data, rustix::fs::seek(file, SeekFrom::Hole(data))?))
}

/// poll(2) has had an event for the end of what can be received since 13.0.
pub(crate) const READ_CLOSED: i16 = libc::POLLRDHUP;

pub(crate) fn family(socket: BorrowedFd<'_>) -> Result<AddressFamily, Errno> {
    sockopt::socket_domain(socket)
}

pub(crate) fn listens(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    sockopt::socket_acceptconn(socket)
}

pub(crate) fn protocol(socket: BorrowedFd<'_>) -> Result<Option<Protocol>, Errno> {
    sockopt::socket_protocol(socket)
}

/// Without `LB` only the last listener gets connections. Since 12.0.
pub(crate) fn share_connections(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    sockopt::set_socket_reuseport_lb(listener, true)
}

/// Who is at the other end of a Unix socket. Its process is told since 13.0; 0 before.
pub(crate) fn credentials(socket: BorrowedFd<'_>) -> Result<Credentials, Errno> {
    // SAFETY: all fields are numbers.
    let found: libc::xucred = unsafe { get_struct(socket, libc::SOL_LOCAL, libc::LOCAL_PEERCRED)? };
    // SAFETY: zeroed or written; older systems write a null pointer there.
    let pid = unsafe { found.cr_pid__c_anonymous_union.cr_pid };
    Ok(Credentials::new(pid.unsigned_abs(), found.cr_uid, found.cr_groups[0]))
}

pub(crate) const RECV_TTL: i32 = libc::IP_RECVTTL;
pub(crate) const RECV_TOS: i32 = libc::IP_RECVTOS;

/// The sizes of what control messages of IPv4 hold.
pub(crate) const CONTROL_ROOM: [usize; 4] = [4, 4, 4, size_of::<libc::sockaddr_dl>()];

/// Time to live and interface are options of the socket only.
pub(crate) fn can_send_v4(control: &SendControl) -> bool {
    control.ttl.is_none() && control.interface.is_none()
}

/// One byte, unlike elsewhere.
pub(crate) fn push_tos(push: &mut Push<'_>, tos: u8) {
    push(libc::IPPROTO_IP, libc::IP_TOS, &[tos]);
}

/// What kqueue has under other names, types or numbers elsewhere, or not at all.
pub(crate) mod knotes {
    use std::ffi::c_int;

    use rustix::fs::Stat;

    pub(crate) type Filter = i16;
    pub(crate) type Flags = u16;

    /// The filter for urgent data: there is none.
    pub(crate) const EXCEPT: Option<Filter> = None;
    pub(crate) const NOTE_OOB: u32 = 0;

    /// Whether readers aren't told when the last writer goes: they are.
    pub(crate) fn misses_the_end(_: c_int, _: &Stat) -> bool {
        false
    }
}
