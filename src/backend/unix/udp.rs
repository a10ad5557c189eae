//! UDP sockets on Unix: making, connecting, options and groups.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketType, ipproto, sockopt};

use super::option::{get, set};
use super::{RawDescriptor, borrow, os_error, system};
use crate::op::Kind;
use crate::udp::{Interface, Multicast, UdpOptions};
use crate::{Error, ErrorKind};

pub(in crate::backend) fn bind(address: SocketAddr, options: &UdpOptions) -> Result<RawDescriptor, Error> {
    let error = os_error(Kind::BindUdp);
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = system::socket(family, SocketType::DGRAM, Some(ipproto::UDP)).map_err(&error)?;
    match options.v6only {
        Some(_) if address.is_ipv4() => return Err(Error::new(ErrorKind::InvalidInput, Kind::BindUdp)),
        Some(on) => sockopt::set_ipv6_v6only(&socket, on).map_err(&error)?,
        None => {}
    }
    if let Some(on) = options.reuse_address {
        sockopt::set_socket_reuseaddr(&socket, on).map_err(&error)?;
    }
    if let Some(on) = options.reuse_port {
        sockopt::set_socket_reuseport(&socket, on).map_err(&error)?;
    }
    system::only_own_groups(socket.as_fd());
    let late = UdpOptions { v6only: None, reuse_address: None, reuse_port: None, ..*options };
    set_options(socket.as_raw_fd(), &late, Kind::BindUdp)?;
    net::bind(&socket, &address).map_err(&error)?;
    Ok(socket.into_raw_fd())
}

pub(in crate::backend) fn connect(descriptor: RawDescriptor, to: SocketAddr) -> Result<(), Error> {
    net::connect(borrow(&descriptor), &to).map_err(os_error(Kind::ConnectUdp))
}

/// Linux takes a port away that it had chosen itself; the socket gets it back.
pub(in crate::backend) fn disconnect(descriptor: RawDescriptor) -> Result<(), Error> {
    let socket = borrow(&descriptor);
    let address = || net::getsockname(socket).and_then(SocketAddr::try_from);
    let again = || -> Result<(), Errno> {
        let before = address()?;
        match net::connect_unspec(socket) {
            // On some systems it says so though it has done it.
            Ok(()) | Err(Errno::AFNOSUPPORT | Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
        let mut after = address()?;
        if after.port() == 0 && before.port() != 0 {
            after.set_port(before.port());
            net::bind(socket, &after)?;
        }
        Ok(())
    };
    again().map_err(os_error(Kind::DisconnectUdp))
}

pub(in crate::backend) fn check(descriptor: &OwnedFd) -> Result<bool, Error> {
    let error = os_error(Kind::Adopt);
    let datagrams = sockopt::socket_type(descriptor).map_err(&error)? == SocketType::DGRAM;
    let protocol = system::protocol(descriptor.as_fd()).map_err(&error)?;
    let right = datagrams && protocol.is_some_and(|protocol| protocol == ipproto::UDP);
    if right { Ok(false) } else { Err(Error::new(ErrorKind::InvalidInput, Kind::Adopt)) }
}

/// Which versions of IP a socket has.
#[derive(Copy, Clone)]
struct Versions {
    v4: bool,
    v6: bool,
}

impl Versions {
    fn of(socket: BorrowedFd<'_>) -> Result<Versions, Errno> {
        let v6 = system::family(socket)? == AddressFamily::INET6;
        Ok(Versions { v4: !v6 || (system::BOTH_VERSIONS && !sockopt::ipv6_v6only(socket)?), v6 })
    }

    /// Sets an `int` that both versions have, each under its own name.
    fn set(self, socket: BorrowedFd<'_>, v4: i32, v6: i32, value: i32) -> Result<(), Errno> {
        if self.v6 {
            set(socket, libc::IPPROTO_IPV6, v6, value)?;
        }
        if self.v4 { set(socket, libc::IPPROTO_IP, v4, value) } else { Ok(()) }
    }

    /// As `set`, for what version 4 has as one byte.
    fn set_multicast(self, socket: BorrowedFd<'_>, v4: i32, v6: i32, value: u8) -> Result<(), Errno> {
        if self.v6 {
            set(socket, libc::IPPROTO_IPV6, v6, i32::from(value))?;
        }
        if self.v4 { set(socket, libc::IPPROTO_IP, v4, value) } else { Ok(()) }
    }

    /// Reads one, by the name of version 6 where there is that.
    fn get(self, socket: BorrowedFd<'_>, v4: i32, v6: i32) -> Result<i32, Errno> {
        if self.v6 { get(socket, libc::IPPROTO_IPV6, v6) } else { get(socket, libc::IPPROTO_IP, v4) }
    }
}

pub(in crate::backend) fn set_options(
    descriptor: RawDescriptor,
    options: &UdpOptions,
    kind: Kind,
) -> Result<(), Error> {
    let late = options.v6only.is_some() || options.reuse_address.is_some() || options.reuse_port.is_some();
    if late || options.ttl == Some(0) {
        return Err(Error::new(ErrorKind::InvalidInput, kind));
    }
    let socket = borrow(&descriptor);
    set_all(socket, options).map_err(os_error(kind))
}

fn set_all(socket: BorrowedFd<'_>, options: &UdpOptions) -> Result<(), Errno> {
    let ip = Versions::of(socket)?;
    if let Some(on) = options.broadcast {
        sockopt::set_socket_broadcast(socket, on)?;
    }
    if let Some(bytes) = options.recv_buffer {
        sockopt::set_socket_recv_buffer_size(socket, bytes)?;
    }
    if let Some(bytes) = options.send_buffer {
        sockopt::set_socket_send_buffer_size(socket, bytes)?;
    }
    if let Some(hops) = options.ttl {
        ip.set(socket, libc::IP_TTL, libc::IPV6_UNICAST_HOPS, hops.into())?;
    }
    if let Some(byte) = options.tos {
        ip.set(socket, libc::IP_TOS, libc::IPV6_TCLASS, byte.into())?;
    }
    if let Some(on) = options.recv_packet_info {
        // That of version 6 speaks of both.
        if ip.v6 {
            set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, i32::from(on))?;
        } else {
            system::set_packet_info(socket, on)?;
        }
    }
    if let Some(on) = options.recv_ttl {
        ip.set(socket, system::RECV_TTL, system::RECV_HOP_LIMIT, on.into())?;
    }
    if let Some(on) = options.recv_ecn {
        ip.set(socket, system::RECV_TOS, libc::IPV6_RECVTCLASS, on.into())?;
    }
    if let Some(on) = options.gro {
        system::set_gro(socket, on)?;
    }
    if let Some(hops) = options.multicast_ttl {
        ip.set_multicast(socket, libc::IP_MULTICAST_TTL, libc::IPV6_MULTICAST_HOPS, hops)?;
    }
    if let Some(on) = options.multicast_loop {
        ip.set_multicast(socket, libc::IP_MULTICAST_LOOP, libc::IPV6_MULTICAST_LOOP, on.into())?;
    }
    match options.multicast_interface {
        Some(interface) => set_interface(socket, ip, interface),
        None => Ok(()),
    }
}

fn set_interface(socket: BorrowedFd<'_>, ip: Versions, interface: Interface) -> Result<(), Errno> {
    let (address, index) = parts(interface)?;
    if ip.v6 && address.is_none() {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, index)?;
    }
    if !ip.v4 {
        return if address.is_some() { Err(Errno::INVAL) } else { Ok(()) };
    }
    system::set_multicast_interface(socket, interface)
}

/// An interface's address or index.
pub(in crate::backend) fn parts(interface: Interface) -> Result<(Option<Ipv4Addr>, i32), Errno> {
    match interface {
        Interface::System => Ok((None, 0)),
        Interface::Index(index) => Ok((None, i32::try_from(index).map_err(|_| Errno::INVAL)?)),
        Interface::Address(address) => Ok((Some(address), 0)),
    }
}

pub(in crate::backend) fn in_addr(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) }
}

pub(in crate::backend) fn options(descriptor: RawDescriptor) -> Result<UdpOptions, Error> {
    get_all(borrow(&descriptor)).map_err(os_error(Kind::GetUdpOptions))
}

fn get_all(socket: BorrowedFd<'_>) -> Result<UdpOptions, Errno> {
    let ip = Versions::of(socket)?;
    let number = |v4: i32, v6: i32| ip.get(socket, v4, v6);
    let byte = |v4: i32, v6: i32| number(v4, v6).map(|value| u8::try_from(value).ok());
    let on = |v4: i32, v6: i32| match number(v4, v6) {
        Ok(value) => Ok(Some(value != 0)),
        // Not every system has every option.
        Err(Errno::NOPROTOOPT) => Ok(None),
        Err(errno) => Err(errno),
    };
    let recv_packet_info = match ip.v6 {
        true => get(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)? != 0,
        false => system::packet_info(socket)?,
    };
    Ok(UdpOptions {
        reuse_address: Some(sockopt::socket_reuseaddr(socket)?),
        reuse_port: Some(sockopt::socket_reuseport(socket)?),
        v6only: if ip.v6 { Some(sockopt::ipv6_v6only(socket)?) } else { None },
        broadcast: Some(sockopt::socket_broadcast(socket)?),
        recv_buffer: Some(sockopt::socket_recv_buffer_size(socket)?),
        send_buffer: Some(sockopt::socket_send_buffer_size(socket)?),
        ttl: byte(libc::IP_TTL, libc::IPV6_UNICAST_HOPS)?,
        tos: byte(libc::IP_TOS, libc::IPV6_TCLASS)?,
        recv_packet_info: Some(recv_packet_info),
        recv_ttl: on(system::RECV_TTL, system::RECV_HOP_LIMIT)?,
        recv_ecn: on(system::RECV_TOS, libc::IPV6_RECVTCLASS)?,
        gro: system::gro(socket)?,
        multicast_ttl: byte(libc::IP_MULTICAST_TTL, libc::IPV6_MULTICAST_HOPS)?,
        multicast_loop: on(libc::IP_MULTICAST_LOOP, libc::IPV6_MULTICAST_LOOP)?,
        multicast_interface: interface(number(libc::IP_MULTICAST_IF, libc::IPV6_MULTICAST_IF)?, ip),
    })
}

/// For IPv4 the system tells an address only.
fn interface(number: i32, ip: Versions) -> Option<Interface> {
    match (number, ip.v6) {
        (0, true) => Some(Interface::System),
        (0, false) => None,
        (index, true) => u32::try_from(index).ok().map(Interface::Index),
        (address, false) => Some(Interface::Address(Ipv4Addr::from(address.to_ne_bytes()))),
    }
}

/// Joins a group or leaves it.
pub(in crate::backend) fn member(
    descriptor: RawDescriptor,
    membership: &Multicast,
    join: bool,
    kind: Kind,
) -> Result<(), Error> {
    let socket = borrow(&descriptor);
    let done = match (membership.group, membership.source) {
        (IpAddr::V4(group), None) => system::member(socket, group, membership.interface, join),
        (IpAddr::V6(group), None) => member_v6(socket, group, membership.interface, join),
        (group, Some(source)) => system::member_of_source(socket, group, source, membership.interface, join),
    };
    done.map_err(os_error(kind))
}

fn member_v6(socket: BorrowedFd<'_>, group: Ipv6Addr, interface: Interface, join: bool) -> Result<(), Errno> {
    let (address, index) = parts(interface)?;
    if address.is_some() {
        return Err(Errno::INVAL);
    }
    let name = if join { system::JOIN_V6 } else { system::LEAVE_V6 };
    let group = libc::in6_addr { s6_addr: group.octets() };
    set(
        socket,
        libc::IPPROTO_IPV6,
        name,
        libc::ipv6_mreq { ipv6mr_multiaddr: group, ipv6mr_interface: index as _ },
    )
}
