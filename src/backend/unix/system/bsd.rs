//! What macOS and the BSDs have in common and Linux does differently. The file of each system has the rest and takes
//! these over, under the same names as `linux.rs`.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use super::RawDescriptor;
use super::syscall::Syscall;
use super::system::nanoseconds;
use super::unix::files::{StatBlock, file_type, time_of};
use super::unix::message::Push;
use super::unix::option::succeeded;
use crate::ErrorKind;
use crate::op::Metadata;
use crate::udp::RecvControl;

/// The error numbers that Linux lacks mean nothing to a program.
pub(crate) fn error_kind(_: Errno) -> Option<ErrorKind> {
    None
}

/// There is no `TCP_USER_TIMEOUT`.
pub(crate) fn set_user_timeout(_: BorrowedFd<'_>, _: u32) -> Result<(), Errno> {
    Err(Errno::OPNOTSUPP)
}

pub(crate) fn user_timeout(_: BorrowedFd<'_>) -> Result<Option<Duration>, Errno> {
    Ok(None)
}

/// All names of Unix sockets are paths.
pub(crate) fn abstract_address(_: &[u8]) -> Result<SocketAddrUnix, Errno> {
    Err(Errno::OPNOTSUPP)
}

pub(crate) fn abstract_name(_: &SocketAddrUnix) -> Option<&[u8]> {
    None
}

/// A socket of IPv6 has no options of IPv4, though it may have IPv4.
pub(crate) const BOTH_VERSIONS: bool = false;

/// A socket gets what comes for the groups that it joined, and nothing else.
pub(crate) fn only_own_groups(_: BorrowedFd<'_>) {}

/// Datagrams are neither put together nor taken apart.
pub(crate) fn set_gro(_: BorrowedFd<'_>, on: bool) -> Result<(), Errno> {
    if on { Err(Errno::OPNOTSUPP) } else { Ok(()) }
}

pub(crate) fn gro(_: BorrowedFd<'_>) -> Result<Option<bool>, Errno> {
    Ok(None)
}

pub(crate) const CAN_SEGMENT: bool = false;

pub(crate) fn push_segment_size(_: &mut Push<'_>, _: u16) {}

/// From RFC 3542; libc doesn't name them on every system.
pub(crate) const RECV_HOP_LIMIT: i32 = 37;
pub(crate) const HOP_LIMIT: i32 = 47;
pub(crate) const JOIN_V6: i32 = libc::IPV6_JOIN_GROUP;
pub(crate) const LEAVE_V6: i32 = libc::IPV6_LEAVE_GROUP;

/// Reads an option that is one of C's structs.
///
/// # Safety
/// `T` consists of numbers, so that whatever the system writes is one, and zeroes, too.
pub(super) unsafe fn get_struct<T: Copy>(socket: BorrowedFd<'_>, level: i32, name: i32) -> Result<T, Errno> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: there is room for `length` bytes, and the system writes no more.
    succeeded(unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length)
    })?;
    // SAFETY: the caller vouches for it.
    Ok(unsafe { value.assume_init() })
}

/// One byte, as all of them tell it.
pub(super) fn told_ttl(control: &mut RecvControl, data: &[u8]) {
    control.ttl = data.first().copied();
}

/// What the system knows of a file. It fills all of it, asked or not.
pub(crate) type Stat = libc::stat;

#[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "other systems have other types")]
pub(crate) fn metadata(stat: &Stat) -> Metadata {
    Metadata {
        file_type: file_type(FileType::from_raw_mode(stat.st_mode)),
        size: stat.st_size.unsigned_abs(),
        // In blocks of 512 bytes, whatever `st_blksize` says.
        allocated: stat.st_blocks.unsigned_abs().saturating_mul(512),
        accessed: time_of(stat.st_atime, nanoseconds::accessed(stat)),
        modified: time_of(stat.st_mtime, nanoseconds::modified(stat)),
        changed: time_of(stat.st_ctime, nanoseconds::changed(stat)),
        created: nanoseconds::created(stat).map(|(seconds, parts)| time_of(seconds, parts)),
        mode: u32::from(stat.st_mode) & 0o7777,
        links: stat.st_nlink.into(),
        inode: stat.st_ino,
        device: stat.st_dev as u64,
        user: stat.st_uid,
        group: stat.st_gid,
    }
}

/// Asks for what the system knows of a file: of the descriptor `itself`, or of a path that begins there.
pub(crate) fn stat(
    descriptor: RawDescriptor,
    path: &CStr,
    follow: bool,
    itself: bool,
    block: &StatBlock,
) -> Result<(), Errno> {
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    // SAFETY: the path ends with a zero byte, and the block has room for the answer.
    succeeded(unsafe {
        // There is no AT_EMPTY_PATH.
        if itself {
            libc::fstat(descriptor, block.as_ptr())
        } else {
            libc::fstatat(descriptor, path.as_ptr(), block.as_ptr(), flags)
        }
    })
}

/// Nothing tells what can be read or written at once, but trying.
///
/// # Safety
/// None: it does nothing. Elsewhere it needs what `Syscall::without_waiting` does.
pub(crate) unsafe fn transfer_at_once(_: &Syscall, _: RawDescriptor) -> Result<u32, Errno> {
    Err(Errno::OPNOTSUPP)
}

/// Whether other threads of the process may run while the calling one does.
pub(crate) fn has_company() -> bool {
    std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1)
}

/// Whether `has_writer` can tell.
pub(crate) const TELLS_OF_WRITERS: bool = false;

/// Nothing tells whether somebody has the end to write to of a FIFO open.
pub(crate) fn has_writer(_: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(true)
}

/// Where a path begins can't be opened without the right to read it (O_PATH).
pub(crate) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A file without a name can't be given one.
pub(crate) fn unnamed_file(_: BorrowedFd<'_>, _: Mode) -> Option<OwnedFd> {
    None
}

pub(crate) fn link_unnamed(_: BorrowedFd<'_>, _: BorrowedFd<'_>, _: &CStr) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// No open file can be made to share another one's blocks.
pub(crate) fn share_blocks(_: BorrowedFd<'_>, _: BorrowedFd<'_>) -> Result<(), Errno> {
    Err(Errno::OPNOTSUPP)
}

/// What isn't brought here can't be copied.
pub(crate) fn copy_range(_: BorrowedFd<'_>, _: BorrowedFd<'_>, _: u64, _: u64) -> Result<u64, Errno> {
    Err(Errno::NOSYS)
}
