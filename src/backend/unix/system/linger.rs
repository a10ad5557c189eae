//! How long a close waits for what is unsent, on the systems whose `SO_LINGER` is in seconds: all but macOS.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;

pub(crate) fn set_linger(socket: BorrowedFd<'_>, time: Option<Duration>) -> Result<(), Errno> {
    sockopt::set_socket_linger(socket, time)
}

pub(crate) fn linger(socket: BorrowedFd<'_>) -> Result<Option<Duration>, Errno> {
    sockopt::socket_linger(socket)
}
