//! Unix sockets: making them, their addresses, and who is at the other end.

use std::ffi::OsStr;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{self, AddressFamily, SocketAddrAny, SocketAddrUnix, SocketType, sockopt};

use super::{Address, RawDescriptor, borrow, option, os_error, system};
use crate::handle::HandleKind;
use crate::local::{Credentials, Name, UnixAddress};
use crate::op::Kind;
use crate::{Error, ErrorKind, UnixListenOptions};

fn socket(sort: SocketType, kind: Kind) -> Result<OwnedFd, Error> {
    system::socket(AddressFamily::UNIX, sort, None).map_err(os_error(kind))
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
    // Behind the longest path the system's zero byte would be taken for a part of it.
    let path = address.path_bytes().map(|path| path.split(|&byte| byte == 0).next().unwrap_or_default());
    let name = match (path, system::abstract_name(address)) {
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

/// The file of a listening socket, which is removed when this is dropped, if it is still that socket's. To be dropped before
/// the socket is closed: as long as it is open its file's number is given to no other file.
#[derive(Debug)]
pub(crate) struct SocketFile {
    /// So that it is found from wherever the process is by then.
    path: PathBuf,
    /// Device and number of the file; none if it is to stay.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// Of a socket that was bound just now.
    fn of(address: &UnixAddress) -> Option<SocketFile> {
        let path = address.as_path()?;
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let identity = Some(SocketFile::identity(&path)?);
        Some(SocketFile { path, identity })
    }

    /// Lets it stay.
    pub(crate) fn leave(mut self) {
        self.identity = None;
    }

    fn identity(path: &Path) -> Option<(u64, u64)> {
        let found = std::fs::symlink_metadata(path).ok()?;
        found.file_type().is_socket().then(|| (found.dev(), found.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && SocketFile::identity(&self.path) == self.identity {
            // Who listens there next is told that it is in the way.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Listens for what the kind says.
pub(in crate::backend) fn listen(
    address: &UnixAddress,
    options: &UnixListenOptions,
    kind: Kind,
) -> Result<(RawDescriptor, Option<SocketFile>), Error> {
    let name = raw(address, kind)?;
    let sort = if kind == Kind::ListenUnixSeqpacket { SocketType::SEQPACKET } else { SocketType::STREAM };
    let socket = socket(sort, kind)?;
    let error = os_error(kind);
    net::bind(&socket, &name).map_err(&error)?;
    let file = if options.unlink_on_close { SocketFile::of(address) } else { None };
    net::listen(&socket, i32::try_from(options.backlog).unwrap_or(i32::MAX)).map_err(&error)?;
    Ok((socket.into_raw_fd(), file))
}

/// A socket to connect with, for a stream or for records.
pub(in crate::backend) fn unconnected(records: bool) -> Result<RawDescriptor, Error> {
    let sort = if records { SocketType::SEQPACKET } else { SocketType::STREAM };
    let socket = socket(sort, Kind::ConnectUnix)?;
    if records {
        tell_records(&socket, true);
    }
    Ok(socket.into_raw_fd())
}

/// Has the system say of every record when it came, so that an empty one and the end are told apart; or no longer. On a
/// socket that doesn't fail; without it an empty record would look like the end.
pub(in crate::backend) fn tell_records(socket: impl AsFd, on: bool) {
    let _ = option::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMP, i32::from(on));
}

/// Two sockets of what the kind says, connected to each other.
pub(in crate::backend) fn pair(kind: Kind) -> Result<[RawDescriptor; 2], Error> {
    let sort = match kind {
        Kind::UnixDatagramPair => SocketType::DGRAM,
        Kind::UnixSeqpacketPair => SocketType::SEQPACKET,
        _ => SocketType::STREAM,
    };
    let (one, other) = system::socket_pair(sort).map_err(os_error(kind))?;
    if kind == Kind::UnixSeqpacketPair {
        tell_records(&one, true);
        tell_records(&other, true);
    }
    Ok([one.into_raw_fd(), other.into_raw_fd()])
}

/// A datagram socket, without a name if the address is none.
pub(in crate::backend) fn bind_datagram(address: &UnixAddress) -> Result<RawDescriptor, Error> {
    let kind = Kind::BindUnixDatagram;
    let socket = socket(SocketType::DGRAM, kind)?;
    if !address.is_unnamed() {
        net::bind(&socket, &raw(address, kind)?).map_err(os_error(kind))?;
    }
    Ok(socket.into_raw_fd())
}

/// Connects a datagram socket, to nobody if there is no address. It doesn't wait.
pub(in crate::backend) fn connect_datagram(
    descriptor: RawDescriptor,
    to: Option<&UnixAddress>,
) -> Result<(), Error> {
    let socket = borrow(&descriptor);
    match to {
        Some(to) => {
            let kind = Kind::ConnectUnixDatagram;
            net::connect(socket, &raw(to, kind)?).map_err(os_error(kind))
        }
        None => net::connect_unspec(socket).map_err(os_error(Kind::DisconnectUnixDatagram)),
    }
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
    let sort = sockopt::socket_type(descriptor).map_err(&error)?;
    let listening = system::listens(descriptor.as_fd()).map_err(&error)?;
    let right = match kind {
        HandleKind::UnixDatagram => sort == SocketType::DGRAM,
        HandleKind::UnixListener => sort == SocketType::STREAM && listening,
        HandleKind::UnixSeqpacketListener => sort == SocketType::SEQPACKET && listening,
        _ => {
            let wanted =
                if kind == HandleKind::UnixSeqpacket { SocketType::SEQPACKET } else { SocketType::STREAM };
            sort == wanted && !listening && net::getpeername(descriptor).is_ok()
        }
    };
    if local && right { Ok(false) } else { Err(Error::new(ErrorKind::InvalidInput, Kind::Adopt)) }
}
