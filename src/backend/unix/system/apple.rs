//! macOS and Apple's other systems. Beside this file are those of the other systems, with the same names in them;
//! `backend/mod.rs` chooses. None of this was ever run: it is written from Apple's manual pages and the published source
//! of the kernel (apple/darwin-xnu).

use std::ffi::{CStr, c_int};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::Duration;

use rustix::fs::{RenameFlags, SeekFrom};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{self, AddressFamily, Protocol, SocketFlags, SocketType, sockopt};

use super::RawDescriptor;
use super::bsd::{get_struct, told_ttl};
use super::unix::Address;
use super::unix::message::{Push, number_at};
use super::unix::option::{get, last_error, set, succeeded};
use crate::engine::op::Space;
use crate::local::Credentials;
use crate::udp::{Ecn, PacketInfo, RecvControl, SendControl};

pub(crate) use super::bsd::{
    BOTH_VERSIONS, CAN_SEGMENT, DIRECTORY, HOP_LIMIT, JOIN_V6, LEAVE_V6, RECV_HOP_LIMIT, Stat,
    TELLS_OF_WRITERS, abstract_address, abstract_name, copy_range, error_kind, gro, has_company, has_writer,
    link_unnamed, metadata, only_own_groups, push_segment_size, set_gro, set_user_timeout, share_blocks,
    stat, transfer_at_once, unnamed_file, user_timeout,
};
pub(crate) use super::by_type::{family, protocol};
pub(crate) use super::groups::{member, set_multicast_interface};
pub(crate) use super::keepalive::{keepalive, set_keepalive};
pub(in crate::backend) use super::nanoseconds;
pub(crate) use super::source_groups::member_of_source;

/// There are no `SOCK_CLOEXEC` and no `pipe2`: a process that is started between the two calls by another thread has a
/// copy for good. Nothing can be done about that from here.
pub(crate) fn close_on_exec(descriptor: &OwnedFd) {
    // It fails only if the descriptor isn't open.
    let _ = fcntl_setfd(descriptor, FdFlags::CLOEXEC);
}

/// The flag for a receive of descriptors: there is none.
pub(crate) const RECV_CLOSE_ON_EXEC: i32 = 0;

/// There is no `MSG_NOSIGNAL` either (it came late, and write(2) has no flags): no socket of ours ever raises SIGPIPE.
fn prepare(socket: OwnedFd) -> Result<OwnedFd, Errno> {
    close_on_exec(&socket);
    sockopt::set_socket_nosigpipe(&socket, true)?;
    never_waits(&socket)?;
    Ok(socket)
}

/// Sends heed `MSG_DONTWAIT` only where they wait for another send; for room in the buffer they wait all the same
/// (`sosendcheck` in bsd/kern/uipc_socket.c looks at `SS_NBIO` and `MSG_NBIO` alone; receives heed it). So our own sockets
/// are in non-blocking mode from the beginning. What came from outside is left as it is.
fn never_waits(socket: &OwnedFd) -> Result<(), Errno> {
    rustix::io::ioctl_fionbio(socket, true)
}

/// As what `never_waits` makes of them: sockets of ours are in non-blocking mode.
pub(crate) const NONBLOCKING: bool = true;

/// For sends: `SO_NOSIGPIPE` does it.
pub(crate) const NO_SIGNAL: c_int = 0;

/// There is no accept4, and whether the connection inherits the listener's O_NONBLOCK and SO_NOSIGPIPE is not to be relied
/// on: all is set here. One that was reset meanwhile has no address, or can't be set up (EINVAL): it is none.
///
/// # Safety
/// There is room for the address.
pub(crate) unsafe fn accept(descriptor: RawDescriptor, address: NonNull<Address>) -> Result<u32, Errno> {
    let address = address.as_ptr();
    // SAFETY: the caller vouches for the room; only addresses of its fields are taken.
    let accepted = unsafe {
        let (storage, length) = (&raw mut (*address).storage, &raw mut (*address).length);
        libc::accept(descriptor, storage.cast(), length)
    };
    if accepted < 0 {
        return Err(last_error());
    }
    // SAFETY: it was just opened, and nobody else knows of it.
    let accepted = prepare(unsafe { OwnedFd::from_raw_fd(accepted) });
    accepted.map(|socket| socket.into_raw_fd() as u32).map_err(|errno| match errno {
        Errno::INVAL => Errno::CONNABORTED,
        errno => errno,
    })
}

/// fsync(2) brings it to the disk's own memory only.
pub(crate) fn sync(file: BorrowedFd<'_>, _data_only: bool) -> Result<(), Errno> {
    match rustix::fs::fcntl_fullfsync(file) {
        // Not every file system has it.
        Err(Errno::NOTSUP | Errno::NOTTY | Errno::INVAL) => rustix::fs::fsync(file),
        synced => synced,
    }
}

/// renamex_np(2).
pub(crate) fn rename_no_replace(
    from: BorrowedFd<'_>,
    path: &CStr,
    to: BorrowedFd<'_>,
    second: &CStr,
) -> Result<(), Errno> {
    rustix::fs::renameat_with(from, path, to, second, RenameFlags::NOREPLACE)
}

/// What is reserved begins at the end of what the file has already (F_PEOFPOSMODE): holes before that stay.
pub(crate) fn allocate(file: BorrowedFd<'_>, offset: u64, length: u64, how: Space) -> Result<(), Errno> {
    let number = |value: u64| libc::off_t::try_from(value).map_err(|_| Errno::FBIG);
    let (offset, length) = (number(offset)?, number(length)?);
    let end = offset.checked_add(length).ok_or(Errno::FBIG)?;
    if how == Space::Punch {
        // Both ends must be multiples of the file system's block; it is EINVAL otherwise.
        let hole = libc::fpunchhole_t { fp_flags: 0, reserved: 0, fp_offset: offset, fp_length: length };
        // SAFETY: the command takes this struct.
        return succeeded(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_PUNCHHOLE, &raw const hole) });
    }
    let stat = rustix::fs::fstat(file)?;
    let missing = end - stat.st_blocks.saturating_mul(512);
    if missing > 0 {
        let mut store = libc::fstore_t {
            fst_flags: libc::F_ALLOCATEALL,
            fst_posmode: libc::F_PEOFPOSMODE,
            fst_offset: 0,
            fst_length: missing,
            fst_bytesalloc: 0,
        };
        // SAFETY: the command takes this struct.
        succeeded(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_PREALLOCATE, &raw mut store) })?;
    }
    // ftruncate would cut what another thread wrote behind it meanwhile: so not without need.
    if how == Space::Grow && end > stat.st_size { rustix::fs::ftruncate(file, end as u64) } else { Ok(()) }
}

/// Where the next data are from this place on, and where they end.
pub(crate) fn next_data(file: BorrowedFd<'_>, offset: u64) -> Result<(u64, u64), Errno> {
    let data = rustix::fs::seek(file, SeekFrom::Data(offset))?;
    Ok((data, rustix::fs::seek(file, SeekFrom::Hole(data))?))
}

/// A new socket, not for child processes.
pub(crate) fn socket(
    family: AddressFamily,
    kind: SocketType,
    protocol: Option<Protocol>,
) -> Result<OwnedFd, Errno> {
    net::socket(family, kind, protocol).and_then(prepare)
}

/// Two Unix sockets that are connected to each other, as `socket`.
pub(crate) fn socket_pair(kind: SocketType) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (one, other) = net::socketpair(AddressFamily::UNIX, kind, SocketFlags::empty(), None)?;
    Ok((prepare(one)?, prepare(other)?))
}

/// The two ends of a pipe, not for child processes, and without SIGPIPE.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (read, write) = rustix::pipe::pipe()?;
    close_on_exec(&read);
    close_on_exec(&write);
    // SAFETY: the command takes an int.
    succeeded(unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETNOSIGPIPE, 1) })?;
    Ok((read, write))
}

/// poll(2) has no event of its own for the end of what can be received.
pub(crate) const READ_CLOSED: i16 = 0;

/// `SO_ACCEPTCONN` is declared, but the kernel answers nothing: a stream socket without a peer counts as a listener. One
/// that isn't refuses to accept.
pub(crate) fn listens(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    let streams = sockopt::socket_type(socket)? == SocketType::STREAM;
    Ok(streams && net::getpeername(socket) == Err(Errno::NOTCONN))
}

/// Several listeners may share an address; connections aren't spread evenly.
pub(crate) fn share_connections(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    sockopt::set_socket_reuseport(listener, true)
}

/// `SO_LINGER` is in ticks of a hundredth of a second; `SO_LINGER_SEC` is what others call `SO_LINGER`.
pub(crate) fn set_linger(socket: BorrowedFd<'_>, time: Option<Duration>) -> Result<(), Errno> {
    let seconds = time.map_or(0, |time| time.as_secs() + u64::from(time.subsec_nanos() > 0));
    let value = libc::linger {
        l_onoff: time.is_some().into(),
        l_linger: i32::try_from(seconds).map_err(|_| Errno::INVAL)?,
    };
    set(socket, libc::SOL_SOCKET, libc::SO_LINGER_SEC, value)
}

pub(crate) fn linger(socket: BorrowedFd<'_>) -> Result<Option<Duration>, Errno> {
    // SAFETY: both fields are numbers.
    let value: libc::linger = unsafe { get_struct(socket, libc::SOL_SOCKET, libc::SO_LINGER_SEC)? };
    Ok((value.l_onoff != 0).then(|| Duration::from_secs(u64::from(value.l_linger.unsigned_abs()))))
}

/// Who is at the other end of a Unix socket.
pub(crate) fn credentials(socket: BorrowedFd<'_>) -> Result<Credentials, Errno> {
    // SAFETY: all fields are numbers.
    let found: libc::xucred = unsafe { get_struct(socket, libc::SOL_LOCAL, libc::LOCAL_PEERCRED)? };
    let pid = get(socket, libc::SOL_LOCAL, libc::LOCAL_PEERPID)?;
    Ok(Credentials::new(pid.unsigned_abs(), found.cr_uid, found.cr_groups[0]))
}

pub(crate) const RECV_TTL: i32 = libc::IP_RECVTTL;
pub(crate) const RECV_TOS: i32 = libc::IP_RECVTOS;

/// Receives tell where a datagram of IPv4 was sent to.
pub(crate) fn set_packet_info(socket: BorrowedFd<'_>, on: bool) -> Result<(), Errno> {
    set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, i32::from(on))
}

pub(crate) fn packet_info(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    get(socket, libc::IPPROTO_IP, libc::IP_PKTINFO).map(|value| value != 0)
}

/// The sizes of what control messages of IPv4 hold.
pub(crate) const CONTROL_ROOM: [usize; 4] = [4, 4, 12, 0];

/// Time to live is an option of the socket only.
pub(crate) fn can_send_v4(control: &SendControl) -> bool {
    control.ttl.is_none()
}

/// `struct in_pktinfo`, as Linux has it: interface, source, and an address for receives.
pub(crate) fn push_packet_info(push: &mut Push<'_>, source: Ipv4Addr, interface: u32) {
    let mut info = [0; 12];
    info[..4].copy_from_slice(&interface.to_ne_bytes());
    info[4..8].copy_from_slice(&source.octets());
    push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
}

pub(crate) fn push_tos(push: &mut Push<'_>, tos: u8) {
    push(libc::IPPROTO_IP, libc::IP_TOS, &i32::from(tos).to_ne_bytes());
}

pub(crate) fn push_ttl(_: &mut Push<'_>, _: u8) {}

/// Reads a control message that isn't of IPv6, if it has a name here.
pub(crate) fn read_control(control: &mut RecvControl, level: i32, kind: i32, data: &[u8]) {
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_RECVTOS) => {
            control.ecn = data.first().map(|&tos| Ecn::of_tos(tos));
        }
        (libc::IPPROTO_IP, libc::IP_RECVTTL) => told_ttl(control, data),
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let destination = number_at::<4>(data, 8).map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
            let interface = number_at(data, 0).map(u32::from_ne_bytes);
            control.packet_info = destination.zip(interface).map(|(to, by)| PacketInfo::new(to, by));
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

    /// The filter for urgent data.
    pub(crate) const EXCEPT: Option<Filter> = Some(libc::EVFILT_EXCEPT);
    pub(crate) const NOTE_OOB: u32 = libc::NOTE_OOB;

    /// Whether readers aren't told when the last writer goes: those of FIFOs that are files, which pipes are not.
    pub(crate) fn misses_the_end(descriptor: c_int, _: &Stat) -> bool {
        let mut path = [0_u8; libc::PATH_MAX as usize];
        // SAFETY: the command writes a path of at most that length, and fails for what has none.
        unsafe { libc::fcntl(descriptor, libc::F_GETPATH, path.as_mut_ptr()) == 0 }
    }
}
