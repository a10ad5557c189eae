//! What Linux (and Android, which is one) does in its own way. Beside this file are those of the other systems, with the
//! same names in them; `backend/mod.rs` chooses.

use std::ffi::{CStr, c_int};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{self, Access, AtFlags, FallocateFlags, FileType, Mode, OFlags, RenameFlags, SeekFrom};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketAddrUnix, sockopt};
use rustix::pipe::SpliceFlags;

use super::RawDescriptor;
use super::syscall::{Syscall, answer};
use super::unix::Address;
use super::unix::files::{StatBlock, file_type, time_of};
use super::unix::message::{Push, number_at};
use super::unix::option::{get, set};
use crate::engine::op::Space;
use crate::local::Credentials;
use crate::op::Metadata;
use crate::udp::{Ecn, PacketInfo, RecvControl, SendControl};

pub(crate) use super::close_on_exec::{RECV_CLOSE_ON_EXEC, close_on_exec, pipe, socket, socket_pair};
pub(crate) use super::groups::{member, set_multicast_interface};
pub(crate) use super::keepalive::{keepalive, set_keepalive};
pub(crate) use super::linger::{linger, set_linger};
pub(crate) use super::source_groups::member_of_source;
use crate::ErrorKind;

/// For an address on a network that isn't there. Error numbers that other systems don't have are listed here.
pub(crate) fn error_kind(errno: Errno) -> Option<ErrorKind> {
    (errno == Errno::NONET).then_some(ErrorKind::NetworkDown)
}

/// `RWF_NOSIGNAL` (Linux 6.18): a write to what nobody reads raises no SIGPIPE.
pub(crate) const WITHOUT_SIGNAL: i32 = 0x100;

/// Whether the system knows `WITHOUT_SIGNAL`; found by trying.
pub(crate) fn knows_without_signal() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let Ok((_read, write)) = pipe() else { return false };
        let piece = libc::iovec { iov_base: b"x".as_ptr().cast_mut().cast(), iov_len: 1 };
        // SAFETY: the piece is there, and only read.
        unsafe { libc::pwritev2(write.as_raw_fd(), &raw const piece, 1, -1, WITHOUT_SIGNAL) == 1 }
    })
}

/// The event of poll(2) that tells of the end of what can be received.
pub(crate) const READ_CLOSED: i16 = libc::POLLRDHUP;

/// What a socket is: its family, whether it listens, and its protocol.
pub(crate) fn family(socket: BorrowedFd<'_>) -> Result<AddressFamily, Errno> {
    sockopt::socket_domain(socket)
}

pub(crate) fn listens(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    sockopt::socket_acceptconn(socket)
}

pub(crate) fn protocol(socket: BorrowedFd<'_>) -> Result<Option<Protocol>, Errno> {
    sockopt::socket_protocol(socket)
}

/// Lets several listeners share an address, so that connections are spread over them.
pub(crate) fn share_connections(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    sockopt::set_socket_reuseport(listener, true)
}

/// `TCP_USER_TIMEOUT`, in milliseconds.
pub(crate) fn set_user_timeout(socket: BorrowedFd<'_>, millis: u32) -> Result<(), Errno> {
    sockopt::set_tcp_user_timeout(socket, millis)
}

/// `None` if the system has none.
pub(crate) fn user_timeout(socket: BorrowedFd<'_>) -> Result<Option<Duration>, Errno> {
    Ok(Some(Duration::from_millis(sockopt::tcp_user_timeout(socket)?.into())))
}

/// The address of a Unix socket that is in no file system.
pub(crate) fn abstract_address(name: &[u8]) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new_abstract_name(name)
}

/// The name of such a socket.
pub(crate) fn abstract_name(address: &SocketAddrUnix) -> Option<&[u8]> {
    address.abstract_name()
}

/// Who is at the other end of a Unix socket.
pub(crate) fn credentials(socket: BorrowedFd<'_>) -> Result<Credentials, Errno> {
    let found = sockopt::socket_peercred(socket)?;
    let pid = found.pid.as_raw_nonzero().get().unsigned_abs();
    Ok(Credentials::new(pid, found.uid.as_raw(), found.gid.as_raw()))
}

/// A socket of IPv6 that has IPv4, too, has the options of both.
pub(crate) const BOTH_VERSIONS: bool = true;

/// Other systems give a socket what comes for the groups that it joined; Linux, unless told otherwise, what comes for
/// any that somebody on the machine joined. Where it can't be told (IPv6 before 4.20), that stays so.
pub(crate) fn only_own_groups(socket: BorrowedFd<'_>) {
    let _ = set(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, 0);
    let _ = set(socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_ALL, 0);
}

/// Options of UDP: their names, where systems that have them differ in those, and the type of some values.
pub(crate) const RECV_TTL: i32 = libc::IP_RECVTTL;
pub(crate) const RECV_TOS: i32 = libc::IP_RECVTOS;
pub(crate) const RECV_HOP_LIMIT: i32 = libc::IPV6_RECVHOPLIMIT;
pub(crate) const HOP_LIMIT: i32 = libc::IPV6_HOPLIMIT;
pub(crate) const JOIN_V6: i32 = libc::IPV6_ADD_MEMBERSHIP;
pub(crate) const LEAVE_V6: i32 = libc::IPV6_DROP_MEMBERSHIP;

/// Receives tell where a datagram of IPv4 was sent to.
pub(crate) fn set_packet_info(socket: BorrowedFd<'_>, on: bool) -> Result<(), Errno> {
    set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, i32::from(on))
}

pub(crate) fn packet_info(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    get(socket, libc::IPPROTO_IP, libc::IP_PKTINFO).map(|value| value != 0)
}

/// Several datagrams may come at once.
pub(crate) fn set_gro(socket: BorrowedFd<'_>, on: bool) -> Result<(), Errno> {
    set(socket, libc::SOL_UDP, libc::UDP_GRO, i32::from(on))
}

/// `None` if the system doesn't know that.
pub(crate) fn gro(socket: BorrowedFd<'_>) -> Result<Option<bool>, Errno> {
    match get(socket, libc::SOL_UDP, libc::UDP_GRO) {
        Ok(value) => Ok(Some(value != 0)),
        Err(Errno::NOPROTOOPT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The sizes of what control messages that aren't of IPv6 hold.
pub(crate) const CONTROL_ROOM: [usize; 4] = [4, 4, 12, 4];

/// Where to send from and by which interface, for IPv4.
pub(crate) fn push_packet_info(push: &mut Push<'_>, source: Ipv4Addr, interface: u32) {
    // struct in_pktinfo: interface, source, and an address for receives.
    let mut info = [0; 12];
    info[..4].copy_from_slice(&interface.to_ne_bytes());
    info[4..8].copy_from_slice(&source.octets());
    push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
}

pub(crate) fn push_tos(push: &mut Push<'_>, tos: u8) {
    push(libc::IPPROTO_IP, libc::IP_TOS, &i32::from(tos).to_ne_bytes());
}

pub(crate) fn push_ttl(push: &mut Push<'_>, ttl: u8) {
    push(libc::IPPROTO_IP, libc::IP_TTL, &i32::from(ttl).to_ne_bytes());
}

pub(crate) fn push_segment_size(push: &mut Push<'_>, size: u16) {
    push(libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
}

/// Reads a control message that isn't of IPv6, if it has a name here.
pub(crate) fn read_control(control: &mut RecvControl, level: i32, kind: i32, data: &[u8]) {
    let int = || number_at(data, 0).map(i32::from_ne_bytes);
    match (level, kind) {
        // One byte, while all others are ints.
        (libc::IPPROTO_IP, libc::IP_TOS) => control.ecn = data.first().map(|&tos| Ecn::of_tos(tos)),
        (libc::IPPROTO_IP, libc::IP_TTL) => control.ttl = int().and_then(|hops| u8::try_from(hops).ok()),
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let destination = number_at::<4>(data, 8).map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
            let interface = number_at(data, 0).map(u32::from_ne_bytes);
            control.packet_info = destination.zip(interface).map(|(to, by)| PacketInfo::new(to, by));
        }
        (libc::SOL_UDP, libc::UDP_GRO) => {
            control.segment_size = int().and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
        }
        _ => {}
    }
}

/// Whether a send over IPv4 can have this beside it.
pub(crate) fn can_send_v4(_: &SendControl) -> bool {
    true
}

/// Whether one send can be several datagrams.
pub(crate) const CAN_SEGMENT: bool = true;

/// What the system knows of a file.
pub(crate) type Stat = libc::statx;

/// What `Stat` asks the system for.
pub(crate) const STAT_MASK: u32 = libc::STATX_BASIC_STATS | libc::STATX_BTIME;

pub(crate) fn metadata(stat: &Stat) -> Metadata {
    let at = |time: &libc::statx_timestamp| time_of(time.tv_sec, time.tv_nsec.into());
    let born = stat.stx_mask & libc::STATX_BTIME != 0;
    Metadata {
        file_type: file_type(FileType::from_raw_mode(stat.stx_mode.into())),
        size: stat.stx_size,
        allocated: stat.stx_blocks.saturating_mul(512),
        accessed: at(&stat.stx_atime),
        modified: at(&stat.stx_mtime),
        changed: at(&stat.stx_ctime),
        created: born.then(|| at(&stat.stx_btime)),
        mode: u32::from(stat.stx_mode) & 0o7777,
        links: stat.stx_nlink.into(),
        inode: stat.stx_ino,
        device: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
        user: stat.stx_uid,
        group: stat.stx_gid,
    }
}

/// For sends: no SIGPIPE.
pub(crate) const NO_SIGNAL: c_int = libc::MSG_NOSIGNAL;

/// # Safety
/// There is room for the address.
pub(crate) unsafe fn accept(descriptor: RawDescriptor, address: NonNull<Address>) -> Result<u32, Errno> {
    let address = address.as_ptr();
    // SAFETY: the caller vouches for the room; only addresses of its fields are taken.
    unsafe {
        let (storage, length) = (&raw mut (*address).storage, &raw mut (*address).length);
        answer(libc::accept4(descriptor, storage.cast(), length, libc::SOCK_CLOEXEC) as isize)
    }
}

/// Reads or writes what can be read or written at once (`RWF_NOWAIT`). `AGAIN`: nothing can; `OPNOTSUPP`: nobody knows
/// without trying (a terminal, a FIFO, a file system or kernel without it, or a write that could raise SIGPIPE).
///
/// # Safety
/// As for `Syscall::without_waiting`.
pub(crate) unsafe fn transfer_at_once(call: &Syscall, descriptor: RawDescriptor) -> Result<u32, Errno> {
    let piece = |memory: *mut u8, length| libc::iovec { iov_base: memory.cast(), iov_len: length };
    let one;
    let (pieces, count, offset) = match *call {
        Syscall::Read { memory, length, offset } => {
            one = piece(memory, length);
            (&raw const one, 1, offset)
        }
        Syscall::Write { memory, length, offset } => {
            one = piece(memory.cast_mut(), length);
            (&raw const one, 1, offset)
        }
        Syscall::ReadVectored { pieces, count, offset }
        | Syscall::WriteVectored { pieces, count, offset } => {
            (pieces.as_ptr().cast_const().cast(), count, offset)
        }
        _ => return Err(Errno::OPNOTSUPP),
    };
    let at = offset.map_or(-1, |offset| offset as libc::off_t);
    // SAFETY: the caller vouches for the memory.
    let answered = unsafe {
        if call.writes() {
            if !knows_without_signal() {
                return Err(Errno::OPNOTSUPP);
            }
            let flags = libc::RWF_NOWAIT | WITHOUT_SIGNAL;
            answer(libc::pwritev2(descriptor, pieces, count as c_int, at, flags))
        } else {
            answer(libc::preadv2(descriptor, pieces, count as c_int, at, libc::RWF_NOWAIT))
        }
    };
    match answered {
        Err(Errno::NOSYS | Errno::INVAL) => Err(Errno::OPNOTSUPP),
        answered => answered,
    }
}

/// Whether other threads of the process may run while the calling one does.
pub(crate) fn has_company() -> bool {
    std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1) || is_pinned_to_one_of_several()
}

/// A thread that is pinned to one CPU says nothing of the others.
fn is_pinned_to_one_of_several() -> bool {
    // SAFETY: sysconf(3) only reads a number of the system's.
    let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    cpus > 1 && rustix::thread::sched_getaffinity(None).is_ok_and(|set| set.count() == 1)
}

/// Whether `has_writer` can tell.
pub(crate) const TELLS_OF_WRITERS: bool = true;

/// Whether somebody has the end to write to of a FIFO open, or has left something in it. Copying a byte out of it, which
/// leaves it there, answers 0 if nobody has (tee(2)).
pub(crate) fn has_writer(end: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (_read, write) = pipe()?;
    match rustix::pipe::tee(end, write, 1, SpliceFlags::NONBLOCK) {
        Ok(0) => Ok(false),
        Ok(_) | Err(Errno::AGAIN) => Ok(true),
        Err(errno) => Err(errno),
    }
}

/// Asks the system for what it knows of a file: of the descriptor `itself`, or of a path that begins there.
pub(crate) fn stat(
    descriptor: RawDescriptor,
    path: &CStr,
    follow: bool,
    itself: bool,
    block: &StatBlock,
) -> Result<(), Errno> {
    let flags =
        if itself { libc::AT_EMPTY_PATH } else { 0 } | if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    // SAFETY: the path ends with a zero byte, and the block has room for the answer.
    let answered = unsafe { libc::statx(descriptor, path.as_ptr(), flags, STAT_MASK, block.as_ptr()) };
    answer(answered as isize).map(|_| ())
}

/// Sends and receives heed `MSG_DONTWAIT`: sockets stay in blocking mode.
pub(crate) const NONBLOCKING: bool = false;

/// fsync(2).
pub(crate) fn sync(file: BorrowedFd<'_>, data_only: bool) -> Result<(), Errno> {
    if data_only { fs::fdatasync(file) } else { fs::fsync(file) }
}

/// fallocate(2).
pub(crate) fn allocate(file: BorrowedFd<'_>, offset: u64, length: u64, how: Space) -> Result<(), Errno> {
    let mode = match how {
        Space::Grow => FallocateFlags::empty(),
        Space::Keep => FallocateFlags::KEEP_SIZE,
        Space::Punch => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
    };
    fs::fallocate(file, mode, offset, length)
}

/// renameat2(2).
pub(crate) fn rename_no_replace(
    from: BorrowedFd<'_>,
    path: &CStr,
    to: BorrowedFd<'_>,
    second: &CStr,
) -> Result<(), Errno> {
    fs::renameat_with(from, path, to, second, RenameFlags::NOREPLACE)
}

/// How a directory is opened where a path begins.
pub(crate) const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A new file in this directory without a name, that can be given one later; to write to.
pub(crate) fn unnamed_file(directory: BorrowedFd<'_>, mode: Mode) -> Option<OwnedFd> {
    fs::access("/proc/self/fd", Access::EXISTS).ok()?;
    fs::openat(directory, c".", OFlags::WRONLY | OFlags::CLOEXEC | OFlags::TMPFILE, mode).ok()
}

/// Gives it one that nobody has.
pub(crate) fn link_unnamed(
    file: BorrowedFd<'_>,
    directory: BorrowedFd<'_>,
    name: &CStr,
) -> Result<(), Errno> {
    match fs::linkat(file, c"", directory, name, AtFlags::EMPTY_PATH) {
        // Without privileges since 6.10; this way everybody may.
        Err(Errno::NOENT | Errno::PERM | Errno::INVAL) => {
            let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
            fs::linkat(fs::CWD, itself, directory, name, AtFlags::SYMLINK_FOLLOW)
        }
        linked => linked,
    }
}

/// Lets a new file share another one's blocks.
pub(crate) fn share_blocks(to: BorrowedFd<'_>, from: BorrowedFd<'_>) -> Result<(), Errno> {
    fs::ioctl_ficlone(to, from)
}

/// Lets the system copy up to `most` bytes from and to this place; 0 at the end.
pub(crate) fn copy_range(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    offset: u64,
    most: u64,
) -> Result<u64, Errno> {
    let (mut read, mut written) = (offset, offset);
    let copied = fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), most as usize);
    copied.map(|bytes| bytes as u64)
}

/// Where the next data are from this place on, and where they end.
pub(crate) fn next_data(file: BorrowedFd<'_>, offset: u64) -> Result<(u64, u64), Errno> {
    let data = fs::seek(file, SeekFrom::Data(offset))?;
    Ok((data, fs::seek(file, SeekFrom::Hole(data))?))
}
