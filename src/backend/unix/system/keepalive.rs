//! The times of TCP's keep-alive, on the systems where a socket has its own: all but OpenBSD.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::sockopt;

use crate::Keepalive;

/// How the peer is asked whether it is still there; whether it is asked at all is another option.
pub(crate) fn set_keepalive(socket: BorrowedFd<'_>, keepalive: Keepalive) -> Result<(), Errno> {
    let Keepalive::On { idle, interval, probes } = keepalive else { return Ok(()) };
    sockopt::set_tcp_keepidle(socket, idle)?;
    sockopt::set_tcp_keepintvl(socket, interval)?;
    sockopt::set_tcp_keepcnt(socket, probes)
}

pub(crate) fn keepalive(socket: BorrowedFd<'_>) -> Result<Keepalive, Errno> {
    Ok(Keepalive::On {
        idle: sockopt::tcp_keepidle(socket)?,
        interval: sockopt::tcp_keepintvl(socket)?,
        probes: sockopt::tcp_keepcnt(socket)?,
    })
}
