//! What NetBSD, OpenBSD and DragonFly lack.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::engine::op::Space;
use crate::udp::Interface;

/// Nothing reserves space or gives it back.
pub(crate) fn allocate(_: BorrowedFd<'_>, _: u64, _: u64, _: Space) -> Result<(), Errno> {
    Err(Errno::OPNOTSUPP)
}

/// Nothing tells where holes are.
pub(crate) fn next_data(_: BorrowedFd<'_>, _: u64) -> Result<(u64, u64), Errno> {
    Err(Errno::OPNOTSUPP)
}

/// poll(2) has no event of its own for the end of what can be received.
pub(crate) const READ_CLOSED: i16 = 0;

/// There is no source-specific multicast.
pub(crate) fn member_of_source(
    _: BorrowedFd<'_>,
    _: IpAddr,
    _: IpAddr,
    _: Interface,
    _: bool,
) -> Result<(), Errno> {
    Err(Errno::OPNOTSUPP)
}
