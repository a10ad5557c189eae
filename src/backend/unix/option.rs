//! Socket options that nobody else has a function for.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// Sets an option whose value is a number or one of C's structs without padding.
pub(in crate::backend) fn set<T: Copy>(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: T,
) -> Result<(), Errno> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value is there for `length` bytes, and the system only reads it.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    succeeded(result)
}

/// Reads an option that is an `int`.
pub(in crate::backend) fn get(socket: BorrowedFd<'_>, level: i32, name: i32) -> Result<i32, Errno> {
    let mut value = 0_i32;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: there is room for `length` bytes, and the system writes no more.
    succeeded(unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length)
    })?;
    // Some systems have bytes where others have ints (IP_MULTICAST_TTL).
    Ok(if length == 1 { value.to_ne_bytes()[0].into() } else { value })
}

/// A C function's answer: 0, or -1 and `errno`.
pub(in crate::backend) fn succeeded(result: i32) -> Result<(), Errno> {
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// What `errno` says.
pub(in crate::backend) fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
