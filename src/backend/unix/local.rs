//! Unix sockets: making them, their addresses, and who is at the other end.

use std::ffi::OsStr;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{self, AddressFamily, SocketAddrAny, SocketAddrUnix, SocketType, sockopt};

use super::{Address, RawDescriptor, borrow, os_error, system};
use crate::handle::HandleKind;
use crate::local::{Credentials, Name, UnixAddress};
use crate::op::Kind;
use crate::{Error, ErrorKind};

fn socket(kind: Kind) -> Result<OwnedFd, Error> {
    system::socket(AddressFamily::UNIX, SocketType::STREAM, None).map_err(os_error(kind))
}

/// As the system takes it.
fn raw(address: &UnixAddress, kind: Kind) -> Result<SocketAddrUnix, Error> {
    let raw = match address.name() {
        Name::Unnamed => return Err(Error::new(ErrorKind::InvalidInput, kind)),
        Name::Path(path) if path.as_os_str().is_empty() => Err(Errno::INVAL),
        Name::Path(path) => SocketAddrUnix::new(path.as_os_str().as_bytes()),
        Name::Abstract(name) => system::abstract_address(name),
    };
    raw.map_err(|errno| match errno {
        Errno::OPNOTSUPP => Error::new(ErrorKind::Unsupported, kind),
        _ => Error::new(ErrorKind::InvalidInput, kind),
    })
}

fn named(address: &SocketAddrUnix) -> UnixAddress {
    let name = match (address.path_bytes(), system::abstract_name(address)) {
        (Some(path), _) if !path.is_empty() => Name::Path(PathBuf::from(OsStr::from_bytes(path))),
        (_, Some(name)) if !name.is_empty() => Name::Abstract(name.to_vec()),
        _ => Name::Unnamed,
    };
    UnixAddress::of(name)
}

impl Address {
    pub(crate) fn of_local(address: &UnixAddress, kind: Kind) -> Result<Address, Error> {
        let raw = raw(address, kind)?;
        let mut empty = Address::empty();
        // SAFETY: the storage is as large as any socket address.
        empty.length = unsafe { raw.write_sockaddr(empty.storage.as_mut_ptr()) };
        Ok(empty)
    }

    /// The address of a Unix socket that the system wrote; `None` if it wrote one of another family.
    pub(crate) fn get_local(&self) -> Option<UnixAddress> {
        let length = self.length as usize;
        if length < size_of::<libc::sa_family_t>() || length > self.capacity() {
            return None;
        }
        // SAFETY: as in `get`.
        let any = unsafe { SocketAddrAny::read(self.storage.as_ptr(), self.length) };
        SocketAddrUnix::try_from(any).ok().map(|address| named(&address))
    }
}

pub(in crate::backend) fn listen(address: &UnixAddress, backlog: u32) -> Result<RawDescriptor, Error> {
    let address = raw(address, Kind::ListenUnix)?;
    let socket = socket(Kind::ListenUnix)?;
    let error = os_error(Kind::ListenUnix);
    net::bind(&socket, &address).map_err(&error)?;
    net::listen(&socket, i32::try_from(backlog).unwrap_or(i32::MAX)).map_err(&error)?;
    Ok(socket.into_raw_fd())
}

pub(in crate::backend) fn stream() -> Result<RawDescriptor, Error> {
    socket(Kind::ConnectUnix).map(IntoRawFd::into_raw_fd)
}

pub(in crate::backend) fn pair() -> Result<[RawDescriptor; 2], Error> {
    let (one, other) = system::socket_pair(SocketType::STREAM).map_err(os_error(Kind::UnixPair))?;
    Ok([one.into_raw_fd(), other.into_raw_fd()])
}

pub(in crate::backend) fn address(descriptor: RawDescriptor, kind: Kind) -> Result<UnixAddress, Error> {
    let socket = borrow(&descriptor);
    let address = if kind == Kind::PeerAddress {
        net::getpeername(socket).and_then(|peer| peer.ok_or(Errno::NOTCONN))
    } else {
        net::getsockname(socket)
    };
    let address = address.map_err(os_error(kind))?;
    let address = SocketAddrUnix::try_from(address);
    // Another family's is of no handle that says it is a Unix socket.
    address.map(|address| named(&address)).map_err(|_| Error::new(ErrorKind::Unsupported, kind))
}

pub(in crate::backend) fn credentials(descriptor: RawDescriptor) -> Result<Credentials, Error> {
    system::credentials(borrow(&descriptor)).map_err(os_error(Kind::PeerCredentials))
}

/// Checks an adopted descriptor.
pub(super) fn check(descriptor: &OwnedFd, kind: HandleKind) -> Result<bool, Error> {
    let error = os_error(Kind::Adopt);
    let local = system::family(descriptor.as_fd()).map_err(&error)? == AddressFamily::UNIX;
    let stream = sockopt::socket_type(descriptor).map_err(&error)? == SocketType::STREAM;
    let listening = system::listens(descriptor.as_fd()).map_err(&error)?;
    let right = match kind {
        HandleKind::UnixListener => listening,
        _ => !listening && net::getpeername(descriptor).is_ok(),
    };
    if local && stream && right { Ok(false) } else { Err(Error::new(ErrorKind::InvalidInput, Kind::Adopt)) }
}
