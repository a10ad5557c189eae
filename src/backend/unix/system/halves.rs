//! Where a datagram of IPv4 was sent to, and where one is sent from, on the systems without `IP_PKTINFO`: FreeBSD, OpenBSD
//! and DragonFly have one control message for each half of it.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::bsd::told_ttl;
use super::bsd_only::{told_destination, told_interface};
use super::system::{RECV_TOS, RECV_TTL};
use super::unix::message::{Push, number_at};
use super::unix::option::{get, set};
use crate::udp::{Ecn, RecvControl};

/// Receives tell where a datagram of IPv4 was sent to.
pub(crate) fn set_packet_info(socket: BorrowedFd<'_>, on: bool) -> Result<(), Errno> {
    set(socket, libc::IPPROTO_IP, libc::IP_RECVDSTADDR, i32::from(on))?;
    set(socket, libc::IPPROTO_IP, libc::IP_RECVIF, i32::from(on))
}

pub(crate) fn packet_info(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    get(socket, libc::IPPROTO_IP, libc::IP_RECVDSTADDR).map(|value| value != 0)
}

pub(crate) fn push_packet_info(push: &mut Push<'_>, source: Ipv4Addr, _: u32) {
    push(libc::IPPROTO_IP, libc::IP_SENDSRCADDR, &source.octets());
}

/// It is an option of the socket only.
pub(crate) fn push_ttl(_: &mut Push<'_>, _: u8) {}

/// Reads a control message that isn't of IPv6, if it has a name here.
pub(crate) fn read_control(control: &mut RecvControl, level: i32, kind: i32, data: &[u8]) {
    match (level, kind) {
        (libc::IPPROTO_IP, RECV_TOS) => {
            control.ecn = data.first().map(|&tos| Ecn::of_tos(tos));
        }
        (libc::IPPROTO_IP, RECV_TTL) => told_ttl(control, data),
        (libc::IPPROTO_IP, libc::IP_RECVDSTADDR) => told_destination(control, number_at(data, 0)),
        (libc::IPPROTO_IP, libc::IP_RECVIF) => {
            // struct sockaddr_dl: its length, its family, the index.
            let index = number_at(data, 2).map(u16::from_ne_bytes);
            told_interface(control, index.map(u32::from));
        }
        _ => {}
    }
}
