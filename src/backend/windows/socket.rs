//! Sockets on Windows: the calls that answer at once.

use std::net::SocketAddr;
use std::os::windows::io::{AsSocket, BorrowedSocket, IntoRawSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use windows_sys::Win32::Networking::WinSock as wsa;

use super::descriptor::{as_socket, borrow_socket};
use super::{OwnedDescriptor, RawDescriptor, Sort};
use crate::handle::HandleKind;
use crate::op::{Half, Kind};
use crate::{Error, ErrorKind, Keepalive, Linger, ListenOptions, TcpOptions};

pub(in crate::backend) fn io_error(kind: Kind) -> impl Fn(std::io::Error) -> Error {
    move |error| match error.raw_os_error() {
        Some(os) => Error::from_os(os, kind),
        None => Error::new(ErrorKind::InvalidInput, kind),
    }
}

/// What Winsock said last on this thread.
pub(in crate::backend) fn last_error() -> i32 {
    // SAFETY: it only reads a number of this thread's.
    unsafe { wsa::WSAGetLastError() }
}

/// A socket that can do overlapped I/O and isn't inherited by child processes.
pub(in crate::backend) fn new(domain: Domain, sort: Type, protocol: Protocol) -> std::io::Result<Socket> {
    Socket::new(domain, sort, Some(protocol))
}

fn tcp_socket(address: SocketAddr, kind: Kind) -> Result<Socket, Error> {
    new(Domain::for_address(address), Type::STREAM, Protocol::TCP).map_err(io_error(kind))
}

/// `SO_EXCLUSIVEADDRUSE` is what keeps others from taking over an address: on Windows `SO_REUSEADDR` lets anybody in, and what it
/// is for elsewhere (the address of connections that are long over) is so without it.
pub(in crate::backend) fn listen(address: SocketAddr, options: &ListenOptions) -> Result<Socket, Error> {
    let error = io_error(Kind::Listen);
    let socket = tcp_socket(address, Kind::Listen)?;
    if options.reuse_port {
        return Err(Error::new(ErrorKind::Unsupported, Kind::Listen));
    }
    match options.v6only {
        Some(_) if address.is_ipv4() => return Err(Error::new(ErrorKind::InvalidInput, Kind::Listen)),
        Some(on) => socket.set_only_v6(on).map_err(&error)?,
        // As on other systems.
        None if address.is_ipv6() => socket.set_only_v6(false).map_err(&error)?,
        None => {}
    }
    set_int(socket.as_socket(), wsa::SOL_SOCKET, wsa::SO_EXCLUSIVEADDRUSE, 1).map_err(&error)?;
    set_tcp_options(socket.as_socket(), &options.tcp, Kind::Listen)?;
    socket.bind(&address.into()).map_err(&error)?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX)).map_err(&error)?;
    Ok(socket)
}

/// A socket to connect with: `ConnectEx` wants it to be bound.
pub(in crate::backend) fn stream_socket(
    to: SocketAddr,
    from: Option<SocketAddr>,
    options: &TcpOptions,
) -> Result<Socket, Error> {
    let error = io_error(Kind::Connect);
    let socket = tcp_socket(to, Kind::Connect)?;
    set_tcp_options(socket.as_socket(), options, Kind::Connect)?;
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => {
            socket.set_only_v6(false).map_err(&error)?;
            ([0_u16; 8], 0).into()
        }
    };
    socket.bind(&from.unwrap_or(any).into()).map_err(&error)?;
    Ok(socket)
}

/// What the system counts in an `int`.
pub(super) fn in_range(bytes: usize) -> std::io::Result<usize> {
    let refused = || std::io::Error::from_raw_os_error(wsa::WSAEINVAL);
    i32::try_from(bytes).map(|_| bytes).map_err(|_| refused())
}

pub(in crate::backend) fn set_tcp_options(
    socket: BorrowedSocket<'_>,
    options: &TcpOptions,
    kind: Kind,
) -> Result<(), Error> {
    let socket = SockRef::from(&socket);
    let set = || -> std::io::Result<()> {
        if let Some(on) = options.nodelay {
            socket.set_tcp_nodelay(on)?;
        }
        if let Some(keepalive) = options.keepalive {
            set_keepalive(&socket, keepalive)?;
        }
        if let Some(linger) = options.linger {
            socket.set_linger(linger_time(linger)?)?;
        }
        if let Some(bytes) = options.recv_buffer {
            socket.set_recv_buffer_size(in_range(bytes)?)?;
        }
        if let Some(bytes) = options.send_buffer {
            socket.set_send_buffer_size(in_range(bytes)?)?;
        }
        Ok(())
    };
    if options.user_timeout.is_some() {
        return Err(Error::new(ErrorKind::Unsupported, kind));
    }
    set().map_err(io_error(kind))
}

fn set_keepalive(socket: &Socket, keepalive: Keepalive) -> std::io::Result<()> {
    if let Keepalive::On { idle, interval, probes } = keepalive {
        // In whole seconds, as elsewhere.
        let seconds = |time: Duration| time.as_nanos().div_ceil(1_000_000_000);
        let (idle, interval) = (seconds(idle), seconds(interval));
        if ![idle, interval].iter().all(|time| (1..=32_767).contains(time)) || !(1..=127).contains(&probes) {
            return Err(out_of_range());
        }
        let [idle, interval] = [idle, interval].map(|time| Duration::from_secs(time as u64));
        let times = TcpKeepalive::new().with_time(idle).with_interval(interval);
        socket.set_tcp_keepalive(&times)?;
        set_int(socket.as_socket(), wsa::IPPROTO_TCP, wsa::TCP_KEEPCNT, probes as i32)?;
    }
    socket.set_keepalive(keepalive != Keepalive::Off)
}

/// What the system is told in whole seconds, of which it counts 65,535.
fn linger_time(linger: Linger) -> std::io::Result<Option<Duration>> {
    match linger {
        Linger::System => Ok(None),
        Linger::Reset => Ok(Some(Duration::ZERO)),
        Linger::Wait(time) => match time.as_nanos().div_ceil(1_000_000_000).max(1) {
            seconds if seconds > u128::from(u16::MAX) => Err(out_of_range()),
            seconds => Ok(Some(Duration::from_secs(seconds as u64))),
        },
    }
}

fn out_of_range() -> std::io::Error {
    std::io::Error::from_raw_os_error(wsa::WSAEINVAL)
}

pub(in crate::backend) fn tcp_options(socket: BorrowedSocket<'_>) -> Result<TcpOptions, Error> {
    let socket = SockRef::from(&socket);
    let get = || -> std::io::Result<TcpOptions> {
        let linger = match socket.linger()? {
            None => Linger::System,
            Some(Duration::ZERO) => Linger::Reset,
            Some(time) => Linger::Wait(time),
        };
        Ok(TcpOptions {
            nodelay: Some(socket.tcp_nodelay()?),
            keepalive: Some(keepalive(&socket)?),
            linger: Some(linger),
            recv_buffer: Some(socket.recv_buffer_size()?),
            send_buffer: Some(socket.send_buffer_size()?),
            user_timeout: None,
        })
    };
    get().map_err(io_error(Kind::GetOptions))
}

fn keepalive(socket: &Socket) -> std::io::Result<Keepalive> {
    if !socket.keepalive()? {
        return Ok(Keepalive::Off);
    }
    let number = |name: i32| get_int(socket.as_socket(), wsa::IPPROTO_TCP, name).map(|value| value as u32);
    let times = (number(wsa::TCP_KEEPIDLE), number(wsa::TCP_KEEPINTVL), number(wsa::TCP_KEEPCNT));
    Ok(match times {
        (Ok(idle), Ok(interval), Ok(probes)) => Keepalive::On {
            idle: Duration::from_secs(idle.into()),
            interval: Duration::from_secs(interval.into()),
            probes,
        },
        // Before Windows 10 1709 nobody can tell.
        _ => Keepalive::SystemTimes,
    })
}

/// Sets an option that is an `int` or a `DWORD`.
pub(in crate::backend) fn set_int(
    socket: BorrowedSocket<'_>,
    level: i32,
    name: i32,
    value: i32,
) -> std::io::Result<()> {
    set(socket, level, name, &value)
}

/// Sets an option whose value is a number or one of C's structs without padding.
pub(in crate::backend) fn set<T: Copy>(
    socket: BorrowedSocket<'_>,
    level: i32,
    name: i32,
    value: &T,
) -> std::io::Result<()> {
    use std::os::windows::io::AsRawSocket;
    let length = size_of::<T>() as i32;
    // SAFETY: the value is there for `length` bytes, and the system only reads it.
    let result = unsafe {
        wsa::setsockopt(
            as_socket(socket.as_raw_socket()),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(last_error())) }
}

/// Reads an option that is an `int` or a `DWORD`.
pub(in crate::backend) fn get_int(socket: BorrowedSocket<'_>, level: i32, name: i32) -> std::io::Result<i32> {
    use std::os::windows::io::AsRawSocket;
    let mut value = 0_i32;
    let mut length = size_of::<i32>() as i32;
    // SAFETY: there is room for `length` bytes, and the system writes no more.
    let result = unsafe {
        wsa::getsockopt(
            as_socket(socket.as_raw_socket()),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(value) } else { Err(std::io::Error::from_raw_os_error(last_error())) }
}

pub(in crate::backend) fn local_address(descriptor: RawDescriptor) -> Result<SocketAddr, Error> {
    address(SockRef::from(&borrow_socket(&descriptor)).local_addr(), Kind::LocalAddress)
}

pub(in crate::backend) fn peer_address(descriptor: RawDescriptor) -> Result<SocketAddr, Error> {
    address(SockRef::from(&borrow_socket(&descriptor)).peer_addr(), Kind::PeerAddress)
}

fn address(address: std::io::Result<SockAddr>, kind: Kind) -> Result<SocketAddr, Error> {
    let address = address.map_err(io_error(kind))?;
    address.as_socket().ok_or(Error::new(ErrorKind::Unsupported, kind))
}

pub(in crate::backend) fn shutdown(descriptor: RawDescriptor, half: Half) -> Result<(), Error> {
    let how = match half {
        Half::Read => std::net::Shutdown::Read,
        Half::Write => std::net::Shutdown::Write,
        Half::Both => std::net::Shutdown::Both,
    };
    SockRef::from(&borrow_socket(&descriptor)).shutdown(how).map_err(io_error(Kind::Shutdown))
}

/// Checks an adopted socket; says whether its close may wait for unsent data.
pub(in crate::backend) fn check(descriptor: &OwnedDescriptor, kind: HandleKind) -> Result<bool, Error> {
    let error = io_error(Kind::Adopt);
    let wrong = Error::new(ErrorKind::InvalidInput, Kind::Adopt);
    if descriptor.sort() != Sort::Socket {
        return Err(wrong);
    }
    let raw = descriptor.raw();
    let borrowed = borrow_socket(&raw);
    let socket = SockRef::from(&borrowed);
    let sort = socket.r#type().map_err(&error)?;
    let family = get_family(borrowed).map_err(&error)?;
    let ip = family == wsa::AF_INET || family == wsa::AF_INET6;
    if kind == HandleKind::UdpSocket {
        return if ip && sort == Type::DGRAM { Ok(false) } else { Err(wrong) };
    }
    let listening = get_int(borrowed, wsa::SOL_SOCKET, wsa::SO_ACCEPTCONN).map_err(&error)? != 0;
    let right = match kind {
        HandleKind::TcpListener => listening,
        HandleKind::TcpStream => {
            !listening
                && match socket.peer_addr() {
                    Ok(_) => true,
                    Err(refused) if refused.kind() == std::io::ErrorKind::NotConnected => false,
                    Err(failed) => return Err(error(failed)),
                }
        }
        _ => return Err(Error::new(ErrorKind::Unsupported, Kind::Adopt)),
    };
    if !ip || sort != Type::STREAM || !right {
        return Err(wrong);
    }
    let linger = socket.linger().map_err(&error)?;
    Ok(linger.is_some_and(|time| time > Duration::ZERO))
}

/// The family of a socket, be it bound or not: `SO_PROTOCOL_INFO` tells.
pub(in crate::backend) fn get_family(socket: BorrowedSocket<'_>) -> std::io::Result<u16> {
    protocol_info(socket).map(|info| info.iAddressFamily as u16)
}

/// What the system knows of a socket's provider.
pub(in crate::backend) fn protocol_info(
    socket: BorrowedSocket<'_>,
) -> std::io::Result<wsa::WSAPROTOCOL_INFOW> {
    use std::os::windows::io::AsRawSocket;
    // SAFETY: every field of it is a number.
    let mut info: wsa::WSAPROTOCOL_INFOW = unsafe { std::mem::zeroed() };
    let mut length = size_of::<wsa::WSAPROTOCOL_INFOW>() as i32;
    // SAFETY: there is room for `length` bytes, and the system writes no more.
    let result = unsafe {
        wsa::getsockopt(
            as_socket(socket.as_raw_socket()),
            wsa::SOL_SOCKET,
            wsa::SO_PROTOCOL_INFOW,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(info) } else { Err(std::io::Error::from_raw_os_error(last_error())) }
}

/// Whether closing it may wait for unsent data.
pub(in crate::backend) fn lingers(socket: BorrowedSocket<'_>) -> bool {
    SockRef::from(&socket).linger().is_ok_and(|linger| linger.is_some_and(|time| time > Duration::ZERO))
}

/// A second descriptor of the same socket.
pub(in crate::backend) fn duplicate(socket: BorrowedSocket<'_>) -> std::io::Result<OwnedDescriptor> {
    let duplicate = SockRef::from(&socket).try_clone()?;
    Ok(OwnedDescriptor::of(duplicate.into_raw_socket(), Sort::Socket))
}
