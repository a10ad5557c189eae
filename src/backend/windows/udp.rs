//! UDP sockets on Windows: making, connecting, options and groups.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use windows_sys::Win32::Networking::WinSock as wsa;

use super::descriptor::{as_socket, borrow_socket};
use super::layout::raw_v6;
use super::socket::{get_family, get_int, in_range, io_error, last_error, new, set, set_int};
use super::{Address, RawDescriptor};
use crate::op::Kind;
use crate::udp::{Interface, Multicast, UdpOptions};
use crate::{Error, ErrorKind};

pub(in crate::backend) fn bind(address: SocketAddr, options: &UdpOptions) -> Result<Socket, Error> {
    let error = io_error(Kind::BindUdp);
    let refused = |kind| Error::new(kind, Kind::BindUdp);
    let socket = new(Domain::for_address(address), Type::DGRAM, Protocol::UDP).map_err(&error)?;
    match options.v6only {
        Some(_) if address.is_ipv4() => return Err(refused(ErrorKind::InvalidInput)),
        Some(on) => socket.set_only_v6(on).map_err(&error)?,
        // As on other systems.
        None if address.is_ipv6() => socket.set_only_v6(false).map_err(&error)?,
        None => {}
    }
    if options.reuse_port == Some(true) {
        return Err(refused(ErrorKind::Unsupported));
    }
    if let Some(on) = options.reuse_address {
        socket.set_reuse_address(on).map_err(&error)?;
    }
    let late = UdpOptions { v6only: None, reuse_address: None, reuse_port: None, ..*options };
    set_options(socket.as_socket(), &late, Kind::BindUdp)?;
    socket.bind(&address.into()).map_err(&error)?;
    forget_resets(socket.as_socket());
    Ok(socket)
}

/// A datagram that nobody took makes no later receive fail: whom would that concern.
pub(in crate::backend) fn forget_resets(socket: BorrowedSocket<'_>) {
    for code in [wsa::SIO_UDP_CONNRESET, wsa::SIO_UDP_NETRESET] {
        let (off, mut returned) = (0_i32, 0);
        // SAFETY: the number is there and only read; nothing else is asked for. A system without it refuses.
        unsafe {
            wsa::WSAIoctl(
                as_socket(socket.as_raw_socket()),
                code,
                (&raw const off).cast(),
                size_of::<i32>() as u32,
                std::ptr::null_mut(),
                0,
                &raw mut returned,
                std::ptr::null_mut(),
                None,
            );
        }
    }
}

pub(in crate::backend) fn connect(descriptor: RawDescriptor, to: SocketAddr) -> Result<(), Error> {
    SockRef::from(&borrow_socket(&descriptor)).connect(&to.into()).map_err(io_error(Kind::ConnectUdp))
}

/// To the unspecified address, which means nobody.
pub(in crate::backend) fn disconnect(descriptor: RawDescriptor) -> Result<(), Error> {
    let local = super::socket::local_address(descriptor).map_err(|error| error.of(Kind::DisconnectUdp))?;
    let nobody: SocketAddr = match local {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let nobody = Address::of(nobody);
    // SAFETY: the address is there and only read.
    let done = unsafe { wsa::connect(as_socket(descriptor), nobody.as_ptr(), nobody.length) };
    if done == 0 { Ok(()) } else { Err(Error::from_os(last_error(), Kind::DisconnectUdp)) }
}

/// Which versions of IP a socket has.
#[derive(Copy, Clone)]
struct Versions {
    v4: bool,
    v6: bool,
}

impl Versions {
    fn of(socket: BorrowedSocket<'_>) -> std::io::Result<Versions> {
        let v6 = get_family(socket)? == wsa::AF_INET6;
        Ok(Versions { v4: !v6 || !SockRef::from(&socket).only_v6()?, v6 })
    }

    /// Sets an `int` that both versions have, each under its own name.
    fn set(self, socket: BorrowedSocket<'_>, v4: i32, v6: i32, value: i32) -> std::io::Result<()> {
        if self.v6 {
            set_int(socket, wsa::IPPROTO_IPV6, v6, value)?;
        }
        if !self.v4 {
            return Ok(());
        }
        match set_int(socket, wsa::IPPROTO_IP, v4, value) {
            // A socket of version 6 may not know those of version 4.
            Err(_) if self.v6 => Ok(()),
            done => done,
        }
    }

    /// Reads one, by the name of version 6 where there is that.
    fn get(self, socket: BorrowedSocket<'_>, v4: i32, v6: i32) -> std::io::Result<i32> {
        if self.v6 { get_int(socket, wsa::IPPROTO_IPV6, v6) } else { get_int(socket, wsa::IPPROTO_IP, v4) }
    }
}

pub(in crate::backend) fn set_options(
    socket: BorrowedSocket<'_>,
    options: &UdpOptions,
    kind: Kind,
) -> Result<(), Error> {
    let late = options.v6only.is_some() || options.reuse_address.is_some() || options.reuse_port.is_some();
    if late || options.ttl == Some(0) {
        return Err(Error::new(ErrorKind::InvalidInput, kind));
    }
    // The system ignores IP_TOS (there is a service of its own for that), and cuts and joins only where it is told the size.
    if options.tos.is_some() || options.gro == Some(true) {
        return Err(Error::new(ErrorKind::Unsupported, kind));
    }
    set_all(socket, options).map_err(io_error(kind))
}

fn set_all(socket: BorrowedSocket<'_>, options: &UdpOptions) -> std::io::Result<()> {
    let ip = Versions::of(socket)?;
    let whole = SockRef::from(&socket);
    if let Some(on) = options.broadcast {
        whole.set_broadcast(on)?;
    }
    if let Some(bytes) = options.recv_buffer {
        whole.set_recv_buffer_size(in_range(bytes)?)?;
    }
    if let Some(bytes) = options.send_buffer {
        whole.set_send_buffer_size(in_range(bytes)?)?;
    }
    if let Some(hops) = options.ttl {
        ip.set(socket, wsa::IP_TTL, wsa::IPV6_UNICAST_HOPS, hops.into())?;
    }
    if let Some(on) = options.recv_packet_info {
        ip.set(socket, wsa::IP_PKTINFO, wsa::IPV6_PKTINFO, on.into())?;
    }
    if let Some(on) = options.recv_ttl {
        ip.set(socket, wsa::IP_RECVTTL, wsa::IPV6_HOPLIMIT, on.into())?;
    }
    if let Some(on) = options.recv_ecn {
        ip.set(socket, wsa::IP_RECVECN, wsa::IPV6_RECVECN, on.into())?;
    }
    if let Some(hops) = options.multicast_ttl {
        ip.set(socket, wsa::IP_MULTICAST_TTL, wsa::IPV6_MULTICAST_HOPS, hops.into())?;
    }
    if let Some(on) = options.multicast_loop {
        ip.set(socket, wsa::IP_MULTICAST_LOOP, wsa::IPV6_MULTICAST_LOOP, on.into())?;
    }
    match options.multicast_interface {
        Some(interface) => set_interface(socket, ip, interface),
        None => Ok(()),
    }
}

fn invalid() -> std::io::Error {
    std::io::Error::from_raw_os_error(wsa::WSAEINVAL)
}

/// The system takes an interface of version 4 by its address, or by its index in an address of the network 0.
fn number_v4(interface: Interface) -> std::io::Result<u32> {
    match interface {
        Interface::System => Ok(0),
        Interface::Index(index) if index < 1 << 24 => Ok(index.to_be()),
        // That network has no more.
        Interface::Index(index) if index <= i32::MAX as u32 => {
            Err(std::io::Error::from_raw_os_error(wsa::WSAEADDRNOTAVAIL))
        }
        Interface::Index(_) => Err(invalid()),
        Interface::Address(address) => Ok(u32::from_ne_bytes(address.octets())),
    }
}

fn index(interface: Interface) -> std::io::Result<u32> {
    match interface {
        Interface::System => Ok(0),
        Interface::Index(index) => Ok(index),
        Interface::Address(_) => Err(invalid()),
    }
}

fn set_interface(socket: BorrowedSocket<'_>, ip: Versions, interface: Interface) -> std::io::Result<()> {
    // An address is one of version 4.
    if ip.v6 && !(ip.v4 && matches!(interface, Interface::Address(_))) {
        let index = index(interface)?;
        return set(socket, wsa::IPPROTO_IPV6, wsa::IPV6_MULTICAST_IF, &index);
    }
    set(socket, wsa::IPPROTO_IP, wsa::IP_MULTICAST_IF, &number_v4(interface)?)
}

pub(in crate::backend) fn options(socket: BorrowedSocket<'_>) -> Result<UdpOptions, Error> {
    get_all(socket).map_err(io_error(Kind::GetUdpOptions))
}

fn get_all(socket: BorrowedSocket<'_>) -> std::io::Result<UdpOptions> {
    let ip = Versions::of(socket)?;
    let whole = SockRef::from(&socket);
    let byte =
        |v4: i32, v6: i32| ip.get(socket, v4, v6).ok().and_then(|value| u8::try_from(value & 0xff).ok());
    // Not every Windows has every option.
    let on = |v4: i32, v6: i32| ip.get(socket, v4, v6).ok().map(|value| value & 0xff != 0);
    Ok(UdpOptions {
        reuse_address: Some(whole.reuse_address()?),
        reuse_port: None,
        v6only: if ip.v6 { Some(whole.only_v6()?) } else { None },
        broadcast: Some(whole.broadcast()?),
        recv_buffer: Some(whole.recv_buffer_size()?),
        send_buffer: Some(whole.send_buffer_size()?),
        ttl: byte(wsa::IP_TTL, wsa::IPV6_UNICAST_HOPS),
        tos: None,
        recv_packet_info: on(wsa::IP_PKTINFO, wsa::IPV6_PKTINFO),
        recv_ttl: on(wsa::IP_RECVTTL, wsa::IPV6_HOPLIMIT),
        recv_ecn: on(wsa::IP_RECVECN, wsa::IPV6_RECVECN),
        gro: None,
        multicast_ttl: byte(wsa::IP_MULTICAST_TTL, wsa::IPV6_MULTICAST_HOPS),
        multicast_loop: on(wsa::IP_MULTICAST_LOOP, wsa::IPV6_MULTICAST_LOOP),
        multicast_interface: ip
            .get(socket, wsa::IP_MULTICAST_IF, wsa::IPV6_MULTICAST_IF)
            .ok()
            .and_then(|number| interface(number as u32, ip)),
    })
}

fn interface(number: u32, ip: Versions) -> Option<Interface> {
    match (number, ip.v6) {
        (0, true) => Some(Interface::System),
        (0, false) => None,
        (index, true) => Some(Interface::Index(index)),
        (number, false) => {
            let address = Ipv4Addr::from(number.to_ne_bytes());
            let index = u32::from_be(number);
            Some(if index < 1 << 24 { Interface::Index(index) } else { Interface::Address(address) })
        }
    }
}

/// Joins a group or leaves it.
pub(in crate::backend) fn member(
    descriptor: RawDescriptor,
    membership: &Multicast,
    join: bool,
    kind: Kind,
) -> Result<(), Error> {
    let socket = borrow_socket(&descriptor);
    if membership.group.is_ipv6() && get_family(socket).map_err(io_error(kind))? != wsa::AF_INET6 {
        return Err(Error::new(ErrorKind::Unsupported, kind));
    }
    let done = match (membership.group, membership.source) {
        (IpAddr::V4(group), None) => member_v4(socket, group, membership.interface, join),
        (IpAddr::V6(group), None) => member_v6(socket, group, membership.interface, join),
        (IpAddr::V4(group), Some(IpAddr::V4(source))) => {
            member_of_source(socket, group, source, membership.interface, join)
        }
        (IpAddr::V6(group), Some(IpAddr::V6(source))) => {
            member_of_source_v6(socket, group, source, membership.interface, join)
        }
        _ => return Err(Error::new(ErrorKind::InvalidInput, kind)),
    };
    done.map_err(io_error(kind))
}

fn in_addr(number: u32) -> wsa::IN_ADDR {
    wsa::IN_ADDR { S_un: wsa::IN_ADDR_0 { S_addr: number } }
}

fn member_v4(
    socket: BorrowedSocket<'_>,
    group: Ipv4Addr,
    interface: Interface,
    join: bool,
) -> std::io::Result<()> {
    let name = if join { wsa::IP_ADD_MEMBERSHIP } else { wsa::IP_DROP_MEMBERSHIP };
    let group = in_addr(u32::from_ne_bytes(group.octets()));
    let request = wsa::IP_MREQ { imr_multiaddr: group, imr_interface: in_addr(number_v4(interface)?) };
    set(socket, wsa::IPPROTO_IP, name, &request)
}

fn member_v6(
    socket: BorrowedSocket<'_>,
    group: Ipv6Addr,
    interface: Interface,
    join: bool,
) -> std::io::Result<()> {
    let name = if join { wsa::IPV6_ADD_MEMBERSHIP } else { wsa::IPV6_DROP_MEMBERSHIP };
    let group = wsa::IN6_ADDR { u: wsa::IN6_ADDR_0 { Byte: group.octets() } };
    let request = wsa::IPV6_MREQ { ipv6mr_multiaddr: group, ipv6mr_interface: index(interface)? };
    set(socket, wsa::IPPROTO_IPV6, name, &request)
}

fn member_of_source(
    socket: BorrowedSocket<'_>,
    group: Ipv4Addr,
    source: Ipv4Addr,
    interface: Interface,
    join: bool,
) -> std::io::Result<()> {
    let name = if join { wsa::IP_ADD_SOURCE_MEMBERSHIP } else { wsa::IP_DROP_SOURCE_MEMBERSHIP };
    let request = wsa::IP_MREQ_SOURCE {
        imr_multiaddr: in_addr(u32::from_ne_bytes(group.octets())),
        imr_sourceaddr: in_addr(u32::from_ne_bytes(source.octets())),
        imr_interface: in_addr(number_v4(interface)?),
    };
    set(socket, wsa::IPPROTO_IP, name, &request)
}

fn member_of_source_v6(
    socket: BorrowedSocket<'_>,
    group: Ipv6Addr,
    source: Ipv6Addr,
    interface: Interface,
    join: bool,
) -> std::io::Result<()> {
    let name = if join { wsa::MCAST_JOIN_SOURCE_GROUP } else { wsa::MCAST_LEAVE_SOURCE_GROUP };
    // SAFETY: zeros are a value of it, too; and an address of version 6 has been written over them.
    let storage = |address: Ipv6Addr| unsafe {
        let mut storage = std::mem::MaybeUninit::<wsa::SOCKADDR_STORAGE>::zeroed();
        storage.as_mut_ptr().cast::<wsa::SOCKADDR_IN6>().write(raw_v6(SocketAddrV6::new(address, 0, 0, 0)));
        storage.assume_init()
    };
    let request = wsa::GROUP_SOURCE_REQ {
        gsr_interface: index(interface)?,
        gsr_group: storage(group),
        gsr_source: storage(source),
    };
    set(socket, wsa::IPPROTO_IPV6, name as i32, &request)
}
