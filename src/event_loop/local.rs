//! The front of the crate: Unix sockets.

use super::EventLoop;
use crate::handle::UnixSocket;
use crate::handle::sealed::Handle as _;
use crate::local::Credentials;
use crate::op;
use crate::{Error, OpId, UnixAddress, UnixListener, UnixStream};

/// Unix sockets.
impl<S> EventLoop<S> {
    /// Listens on a Unix socket: at a path, which makes a file there, or an abstract name. Up to 1,024 connections wait to be
    /// accepted.
    ///
    /// A path's file stays when the listener is closed, and must not be there when one begins to listen
    /// ([`AddrInUse`](crate::ErrorKind::AddrInUse), whether or not anybody listens there): remove it before. Who may
    /// connect is decided by its permissions, which are those that the process's mask (umask(2)) leaves.
    ///
    /// # Errors
    /// [`AddrInUse`](crate::ErrorKind::AddrInUse), [`InvalidInput`](crate::ErrorKind::InvalidInput) (no address, longer
    /// than 107 bytes, a zero byte in a path), [`NotFound`](crate::ErrorKind::NotFound) and
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) (the path's directory),
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors), [`Unsupported`](crate::ErrorKind::Unsupported) (in
    /// a simulation); see bind(2), unix(7).
    ///
    /// ```
    /// # let directory = std::env::temp_dir().join(format!("nbio-listen-{}", std::process::id()));
    /// # std::fs::create_dir(&directory).unwrap();
    /// # let path = directory.join("socket");
    /// let io = nbio::EventLoop::new()?;
    /// let listener = io.listen_unix(&path)?;
    /// let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    /// io.accept(listener, |_, io, accepted| {
    ///     let stream = accepted.unwrap().stream;
    ///     assert_eq!(io.peer_credentials(stream).unwrap().pid, std::process::id());
    /// });
    /// io.run()?;
    /// # std::fs::remove_dir_all(&directory).unwrap();
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn listen_unix(&self, address: impl Into<UnixAddress>) -> Result<UnixListener, Error> {
        self.core.listen_local(&address.into()).map(UnixListener::from_id)
    }

    /// Connects to a listening Unix socket: [`op::ConnectUnix`].
    pub fn connect_unix(
        &self,
        to: impl Into<UnixAddress>,
        callback: impl FnOnce(&mut S, &EventLoop<S>, Result<UnixStream, Error>) + 'static,
    ) -> OpId {
        self.submit(op::ConnectUnix::new(to), callback)
    }

    /// Two Unix streams that are connected to each other.
    ///
    /// # Errors
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors), [`Unsupported`](crate::ErrorKind::Unsupported) (in
    /// a simulation); see socketpair(2).
    ///
    /// ```
    /// let io = nbio::EventLoop::new()?;
    /// let (one, other) = io.unix_pair()?;
    /// io.send_all(one, "hello", |_, _, _| ());
    /// io.recv_exact(other, [0; 5], 5, |_, _, done| assert_eq!(&done.buf, b"hello"));
    /// io.run()?;
    /// # Ok::<(), nbio::Error>(())
    /// ```
    pub fn unix_pair(&self) -> Result<(UnixStream, UnixStream), Error> {
        let [one, other] = self.core.local_pair()?;
        Ok((UnixStream::from_id(one), UnixStream::from_id(other)))
    }

    /// The address that a Unix socket is bound to; unnamed if it isn't.
    ///
    /// # Errors
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); getsockname(2).
    pub fn unix_local_address(&self, socket: impl UnixSocket) -> Result<UnixAddress, Error> {
        self.core.unix_address(socket.id(), op::Kind::LocalAddress)
    }

    /// The address at the other end of a Unix stream; unnamed if that isn't bound, as of most clients.
    ///
    /// # Errors
    /// [`NotConnected`](crate::ErrorKind::NotConnected), [`StaleHandle`](crate::ErrorKind::StaleHandle),
    /// [`WrongLoop`](crate::ErrorKind::WrongLoop); getpeername(2).
    pub fn unix_peer_address(&self, stream: UnixStream) -> Result<UnixAddress, Error> {
        self.core.unix_address(stream.id(), op::Kind::PeerAddress)
    }

    /// Who is at the other end of a Unix stream. Of both ends of [`unix_pair`](EventLoop::unix_pair) it is this process.
    ///
    /// # Errors
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), [`WrongLoop`](crate::ErrorKind::WrongLoop); see unix(7).
    pub fn peer_credentials(&self, stream: UnixStream) -> Result<Credentials, Error> {
        self.core.peer_credentials(stream.id())
    }
}
