//! What DragonFly, FreeBSD, NetBSD and OpenBSD have in common, where Linux and macOS differ.

use std::ffi::{CStr, c_int};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use rustix::fs::{AtFlags, linkat, unlinkat};
use rustix::io::Errno;

use super::RawDescriptor;
use super::unix::Address;
use super::unix::option::last_error;
use crate::udp::{PacketInfo, RecvControl};

/// For sends: no SIGPIPE.
pub(crate) const NO_SIGNAL: c_int = libc::MSG_NOSIGNAL;

/// Where a datagram was sent to. Address and interface come in either order, or one of them alone.
pub(super) fn told_destination(control: &mut RecvControl, address: Option<[u8; 4]>) {
    let Some(address) = address else { return };
    let interface = control.packet_info.map_or(0, |info| info.interface);
    control.packet_info = Some(PacketInfo::new(IpAddr::from(Ipv4Addr::from(address)), interface));
}

/// By which interface it came.
pub(super) fn told_interface(control: &mut RecvControl, index: Option<u32>) {
    let Some(index) = index else { return };
    let destination = control.packet_info.map_or(Ipv4Addr::UNSPECIFIED.into(), |info| info.destination);
    control.packet_info = Some(PacketInfo::new(destination, index));
}

/// # Safety
/// There is room for the address.
pub(crate) unsafe fn accept(descriptor: RawDescriptor, address: NonNull<Address>) -> Result<u32, Errno> {
    let address = address.as_ptr();
    // SAFETY: the caller vouches for the room; only addresses of its fields are taken. O_NONBLOCK is as the flags say,
    // not inherited, as accept(2) has it on the BSDs.
    let accepted = unsafe {
        let (storage, length) = (&raw mut (*address).storage, &raw mut (*address).length);
        libc::accept4(descriptor, storage.cast(), length, libc::SOCK_CLOEXEC)
    };
    u32::try_from(accepted).map_err(|_| last_error())
}

/// Nothing does this in one step: for a moment there are both names. Directories can't have two.
pub(crate) fn rename_no_replace(
    from: BorrowedFd<'_>,
    path: &CStr,
    to: BorrowedFd<'_>,
    second: &CStr,
) -> Result<(), Errno> {
    match linkat(from, path, to, second, AtFlags::empty()) {
        Ok(()) => unlinkat(from, path, AtFlags::empty()),
        Err(Errno::PERM | Errno::ISDIR) => Err(Errno::OPNOTSUPP),
        Err(errno) => Err(errno),
    }
}
