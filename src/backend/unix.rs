//! Sockets on Unix: the calls that answer at once, and the C layouts that shots point at.

mod calls;
pub(crate) mod copy;
pub(crate) mod files;
pub(super) mod local;
pub(in crate::backend) mod message;
pub(in crate::backend) mod option;
pub(super) mod parcel;
pub(super) mod pipes;
pub(super) mod resolve;
pub(super) mod udp;

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::Duration;

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::addr::{SocketAddrArg, SocketAddrStorage};
use rustix::net::{self, AddressFamily, Protocol, SocketAddrAny, SocketType, ipproto, sockopt};

use super::{RawDescriptor, system};
use crate::handle::HandleKind;
use crate::op::{Half, Interest, Kind, Readiness};
use crate::{Error, ErrorKind, Keepalive, Linger, ListenOptions, TcpOptions};

pub(crate) use calls::System;
pub(crate) use message::{Arrival, Head, can_send};

/// The kinds of the error numbers that std's table doesn't tell apart.
pub(crate) fn error_kind(os: i32) -> Option<ErrorKind> {
    Some(match Errno::from_raw_os_error(os) {
        Errno::ISCONN => ErrorKind::AlreadyConnected,
        Errno::DESTADDRREQ => ErrorKind::NotConnected,
        Errno::MSGSIZE => ErrorKind::MessageTooLong,
        Errno::MFILE | Errno::NFILE | Errno::TOOMANYREFS => ErrorKind::TooManyDescriptors,
        Errno::NOBUFS => ErrorKind::OutOfMemory,
        Errno::BADF | Errno::NOTSOCK => ErrorKind::BadDescriptor,
        Errno::IO => ErrorKind::DeviceError,
        Errno::LOOP => ErrorKind::FilesystemLoop,
        Errno::HOSTDOWN => ErrorKind::HostUnreachable,
        Errno::PROTO => ErrorKind::ConnectionAborted,
        Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::PROTOTYPE | Errno::OPNOTSUPP => {
            ErrorKind::Unsupported
        }
        Errno::NOPROTOOPT => ErrorKind::Unsupported,
        errno => return system::error_kind(errno),
    })
}

/// What the system answers to a receive that finds no buffer in its pool.
pub(crate) fn is_out_of_buffers(os: i32) -> bool {
    os == Errno::NOBUFS.raw_os_error()
}

/// FIFOs have no server and no clients.
pub(crate) const HAS_NAMED_PIPES: bool = false;

/// What the system answers to an operation that was cancelled.
pub(crate) fn is_cancelled(os: i32) -> bool {
    os == Errno::CANCELED.raw_os_error()
}

/// A socket address as the system reads and writes it.
pub(crate) struct Address {
    pub(crate) storage: MaybeUninit<SocketAddrStorage>,
    pub(crate) length: u32,
}

impl Address {
    /// Room for an address that the system writes.
    pub(crate) fn empty() -> Address {
        Address { storage: MaybeUninit::zeroed(), length: size_of::<SocketAddrStorage>() as u32 }
    }

    /// No address, and no room for one.
    pub(crate) fn none() -> Address {
        Address { length: 0, ..Address::empty() }
    }

    pub(crate) fn of(address: SocketAddr) -> Address {
        let mut empty = Address::empty();
        // SAFETY: the storage is as large as any socket address.
        empty.length = unsafe { address.write_sockaddr(empty.storage.as_mut_ptr()) };
        empty
    }

    pub(crate) fn capacity(&self) -> usize {
        size_of::<SocketAddrStorage>()
    }

    /// The address that the system wrote; `None` if it wrote none, or one of another family.
    pub(crate) fn get(&self) -> Option<SocketAddr> {
        let length = self.length as usize;
        if length < size_of::<libc::sa_family_t>() || length > size_of::<SocketAddrStorage>() {
            return None;
        }
        // SAFETY: the storage was zeroed at first and then written by the system, so `length` bytes are
        // initialised, and `length` is in range.
        let any = unsafe { SocketAddrAny::read(self.storage.as_ptr(), self.length) };
        SocketAddr::try_from(any).ok()
    }
}

/// One piece of memory of a vectored operation: `struct iovec`.
#[repr(transparent)]
pub(crate) struct IoVec(libc::iovec);

impl IoVec {
    pub(crate) fn new(memory: NonNull<u8>, length: usize) -> IoVec {
        IoVec(libc::iovec { iov_base: memory.as_ptr().cast(), iov_len: length })
    }

    pub(crate) fn memory(&self) -> NonNull<u8> {
        NonNull::new(self.0.iov_base.cast()).expect("made from memory that is not null")
    }

    pub(crate) fn length(&self) -> usize {
        self.0.iov_len
    }

    /// Steps over the first `bytes` bytes.
    pub(crate) fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.0.iov_len);
        self.0.iov_base = self.0.iov_base.cast::<u8>().wrapping_add(bytes).cast();
        self.0.iov_len -= bytes;
    }
}

/// The header of a vectored operation on a socket: `struct msghdr`.
#[repr(transparent)]
pub(crate) struct Message(libc::msghdr);

impl Message {
    pub(crate) fn new(pieces: NonNull<IoVec>, count: usize) -> Message {
        // SAFETY: every field of msghdr may be zero: null pointers and zero lengths.
        let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.msg_iov = pieces.as_ptr().cast();
        header.msg_iovlen = count as _;
        Message(header)
    }

    /// Whether the system has answered with control data.
    pub(crate) fn has_control(&self) -> bool {
        self.0.msg_controllen > 0
    }
}

fn os_error(kind: Kind) -> impl Fn(Errno) -> Error {
    move |errno| Error::from_os(errno.raw_os_error(), kind)
}

/// The descriptor of an open handle, for one call.
pub(super) fn borrow(descriptor: &RawDescriptor) -> BorrowedFd<'_> {
    // SAFETY: the handle table owns the descriptor and holds it open; nothing closes it during this call.
    unsafe { BorrowedFd::borrow_raw(*descriptor) }
}

fn tcp_socket(address: SocketAddr, kind: Kind) -> Result<OwnedFd, Error> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    system::socket(family, SocketType::STREAM, Some(ipproto::TCP)).map_err(os_error(kind))
}

pub(super) fn listen(address: SocketAddr, options: &ListenOptions) -> Result<RawDescriptor, Error> {
    let error = os_error(Kind::Listen);
    let socket = tcp_socket(address, Kind::Listen)?;
    sockopt::set_socket_reuseaddr(&socket, options.reuse_address).map_err(&error)?;
    if options.reuse_port {
        system::share_connections(socket.as_fd()).map_err(&error)?;
    }
    match options.v6only {
        Some(_) if address.is_ipv4() => return Err(Error::new(ErrorKind::InvalidInput, Kind::Listen)),
        Some(on) => sockopt::set_ipv6_v6only(&socket, on).map_err(&error)?,
        None => {}
    }
    set_tcp_options(socket.as_raw_fd(), &options.tcp, Kind::Listen)?;
    net::bind(&socket, &address).map_err(&error)?;
    net::listen(&socket, i32::try_from(options.backlog).unwrap_or(i32::MAX)).map_err(&error)?;
    Ok(socket.into_raw_fd())
}

pub(super) fn stream_socket(
    to: SocketAddr,
    from: Option<SocketAddr>,
    options: &TcpOptions,
) -> Result<RawDescriptor, Error> {
    let socket = tcp_socket(to, Kind::Connect)?;
    set_tcp_options(socket.as_raw_fd(), options, Kind::Connect)?;
    if let Some(from) = from {
        net::bind(&socket, &from).map_err(os_error(Kind::Connect))?;
    }
    Ok(socket.into_raw_fd())
}

pub(super) fn set_tcp_options(
    descriptor: RawDescriptor,
    options: &TcpOptions,
    kind: Kind,
) -> Result<(), Error> {
    let socket = borrow(&descriptor);
    let set = || -> Result<(), Errno> {
        if let Some(on) = options.nodelay {
            sockopt::set_tcp_nodelay(socket, on)?;
        }
        if let Some(keepalive) = options.keepalive {
            set_keepalive(socket, keepalive)?;
        }
        if let Some(linger) = options.linger {
            system::set_linger(socket, linger_time(linger))?;
        }
        if let Some(bytes) = options.recv_buffer {
            sockopt::set_socket_recv_buffer_size(socket, bytes)?;
        }
        if let Some(bytes) = options.send_buffer {
            sockopt::set_socket_send_buffer_size(socket, bytes)?;
        }
        if let Some(timeout) = options.user_timeout {
            let millis = timeout.as_nanos().div_ceil(1_000_000);
            system::set_user_timeout(socket, u32::try_from(millis).map_err(|_| Errno::INVAL)?)?;
        }
        Ok(())
    };
    set().map_err(os_error(kind))
}

fn set_keepalive(socket: BorrowedFd<'_>, keepalive: Keepalive) -> Result<(), Errno> {
    system::set_keepalive(socket, keepalive)?;
    sockopt::set_socket_keepalive(socket, keepalive != Keepalive::Off)
}

fn linger_time(linger: Linger) -> Option<Duration> {
    match linger {
        Linger::System => None,
        Linger::Reset => Some(Duration::ZERO),
        Linger::Wait(time) => Some(time.max(Duration::from_secs(1))),
    }
}

pub(super) fn tcp_options(descriptor: RawDescriptor) -> Result<TcpOptions, Error> {
    let socket = borrow(&descriptor);
    let get = || -> Result<TcpOptions, Errno> {
        let keepalive =
            if sockopt::socket_keepalive(socket)? { system::keepalive(socket)? } else { Keepalive::Off };
        let linger = match system::linger(socket)? {
            None => Linger::System,
            Some(Duration::ZERO) => Linger::Reset,
            Some(time) => Linger::Wait(time),
        };
        Ok(TcpOptions {
            nodelay: Some(sockopt::tcp_nodelay(socket)?),
            keepalive: Some(keepalive),
            linger: Some(linger),
            recv_buffer: Some(sockopt::socket_recv_buffer_size(socket)?),
            send_buffer: Some(sockopt::socket_send_buffer_size(socket)?),
            user_timeout: system::user_timeout(socket)?,
        })
    };
    get().map_err(os_error(Kind::GetOptions))
}

pub(super) fn local_address(descriptor: RawDescriptor) -> Result<SocketAddr, Error> {
    let address = net::getsockname(borrow(&descriptor)).and_then(SocketAddr::try_from);
    address.map_err(os_error(Kind::LocalAddress))
}

pub(super) fn peer_address(descriptor: RawDescriptor) -> Result<SocketAddr, Error> {
    let address =
        net::getpeername(borrow(&descriptor)).and_then(|peer| peer.ok_or(Errno::NOTCONN)?.try_into());
    address.map_err(os_error(Kind::PeerAddress))
}

pub(super) fn shutdown(descriptor: RawDescriptor, half: Half) -> Result<(), Error> {
    let how = match half {
        Half::Read => net::Shutdown::Read,
        Half::Write => net::Shutdown::Write,
        Half::Both => net::Shutdown::Both,
    };
    net::shutdown(borrow(&descriptor), how).map_err(os_error(Kind::Shutdown))
}

/// Checks an adopted descriptor; says whether its close may wait for unsent data.
pub(super) fn check(descriptor: &OwnedFd, kind: HandleKind) -> Result<bool, Error> {
    if kind == HandleKind::UdpSocket {
        return udp::check(descriptor);
    }
    let error = os_error(Kind::Adopt);
    if kind == HandleKind::File {
        return check_file(descriptor);
    }
    use HandleKind::{UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream};
    if matches!(kind, UnixListener | UnixStream | UnixDatagram | UnixSeqpacket | UnixSeqpacketListener) {
        return local::check(descriptor, kind);
    }
    if kind == HandleKind::Pipe {
        return pipes::check(descriptor);
    }
    let stream = sockopt::socket_type(descriptor).map_err(&error)? == SocketType::STREAM;
    let tcp = system::protocol(descriptor.as_fd()).map_err(&error)?
        == Some(Protocol::from_raw(ipproto::TCP.as_raw()));
    let listening = system::listens(descriptor.as_fd()).map_err(&error)?;
    let connected = match net::getpeername(descriptor) {
        Ok(_) => true,
        Err(Errno::NOTCONN) => false,
        Err(errno) => return Err(error(errno)),
    };
    let right = match kind {
        HandleKind::TcpListener => listening,
        HandleKind::TcpStream => !listening && connected,
        _ => unreachable!("checked above"),
    };
    if !stream || !tcp || !right {
        return Err(Error::new(ErrorKind::InvalidInput, Kind::Adopt));
    }
    let linger = system::linger(descriptor.as_fd()).map_err(&error)?;
    Ok(linger.is_some_and(|time| time > Duration::ZERO))
}

/// Whatever can be opened by a path.
fn check_file(descriptor: &OwnedFd) -> Result<bool, Error> {
    let stat = rustix::fs::fstat(descriptor).map_err(os_error(Kind::Adopt))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => Err(Error::new(ErrorKind::InvalidInput, Kind::Adopt)),
        _ => Ok(false),
    }
}

/// Whether closing a descriptor of whatever kind may wait for unsent data.
pub(super) fn lingers(descriptor: BorrowedFd<'_>) -> bool {
    system::linger(descriptor).is_ok_and(|linger| linger.is_some_and(|time| time > Duration::ZERO))
}

/// A second descriptor of something outside, or the system's error number.
pub(crate) fn duplicate_of(descriptor: impl AsFd) -> Result<OwnedFd, i32> {
    rustix::io::fcntl_dupfd_cloexec(descriptor, 0).map_err(Errno::raw_os_error)
}

/// Which events of poll(2) an interest stands for, and what tells of them.
const EVENTS: [(Interest, i16); 3] = [
    (Interest::READABLE, libc::POLLIN),
    (Interest::WRITABLE, libc::POLLOUT),
    // io_uring isn't woken by what tells of POLLPRI alone; sockets tell of both at once.
    (Interest::PRIORITY, libc::POLLPRI | libc::POLLRDBAND),
];

/// What poll(2) says of a stream whose peer sends nothing more.
pub(super) const READ_CLOSED: u32 = system::READ_CLOSED as u32;

pub(super) fn events(interest: Interest) -> u32 {
    let asked = EVENTS.iter().filter(|(bit, _)| interest.contains(*bit));
    // io_uring answers POLLRDHUP unasked: so do we everywhere.
    asked.fold(READ_CLOSED, |events, &(_, event)| events | event as u32)
}

/// What the system's answer to a poll says.
pub(crate) fn readiness(events: u32) -> Readiness {
    let is = |event: i16| events & event as u32 != 0;
    Readiness {
        readable: is(libc::POLLIN),
        writable: is(libc::POLLOUT),
        priority: is(libc::POLLPRI | libc::POLLRDBAND),
        read_closed: is(system::READ_CLOSED),
        hang_up: is(libc::POLLHUP),
        error: is(libc::POLLERR),
    }
}

pub(super) fn is_nonblocking(descriptor: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_getfl(descriptor).is_ok_and(|flags| flags.contains(rustix::fs::OFlags::NONBLOCK))
}

/// Whether it is a stream of bytes without borders in it, as those of Unix sockets have where descriptors are passed.
pub(super) fn is_tcp(socket: BorrowedFd<'_>) -> bool {
    let stream = sockopt::socket_type(socket).is_ok_and(|found| found == SocketType::STREAM);
    stream && net::getsockname(socket).is_ok_and(|address| SocketAddr::try_from(address).is_ok())
}

pub(super) fn attach(descriptor: OwnedFd) -> RawDescriptor {
    descriptor.into_raw_fd()
}

pub(super) fn detach(descriptor: RawDescriptor) -> OwnedFd {
    // SAFETY: the handle table owned it and has just given it up.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

pub(super) fn duplicate(descriptor: RawDescriptor) -> Result<OwnedFd, Error> {
    rustix::io::fcntl_dupfd_cloexec(borrow(&descriptor), 0).map_err(os_error(Kind::Duplicate))
}
